"""Restarting a VTN by a command of the user's."""

import shlex
import subprocess
from typing import Final

from conformance.operator import UnableError

_LONGEST_S: Final = 120.0
_LAST_WORDS: Final = 300


def run(command: str | None) -> None:
    """Run a command that ends the VTN and starts it again. Raises UnableError without one, or if it fails."""
    if command is None:
        raise UnableError("nobody can restart the VTN (--restart)")
    try:
        done = subprocess.run(  # noqa: S603  the user's own
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnableError(f"'{command}' did not end within {_LONGEST_S:.0f} s") from None
    except (OSError, ValueError, IndexError) as error:
        raise UnableError(f"'{command}' cannot be run: {error}") from error
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip()[-_LAST_WORDS:]
        raise UnableError(f"'{command}' ended with {done.returncode}: {words}")
