"""The garbage collector in a process that serves: seldom over what it makes, never over what it was started with."""

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 20, 20)


def settle() -> None:
    """Say that the process has started: what lives now will live as long as it does.

    The collector then passes over it (a hundred thousand objects), and looks at new objects less often: a report of 96
    values makes several hundred, and by default every 700 are looked through, a fifth of the time that a report takes.
    Objects are freed by their reference counts all the same; only cycles wait a little longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
