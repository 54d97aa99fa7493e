"""Wait for a condition, with a deadline, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Callable

_DEADLINE_S = 20.0


async def until(condition: Callable[[], object], what: str = "the condition", deadline_s: float = _DEADLINE_S) -> None:
    """Return as soon as `condition()` is true; fail the test if it is not in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come about within {deadline_s:g} s")
        await asyncio.sleep(0.005)
