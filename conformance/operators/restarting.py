"""Restarting a VTN by a command of the user's."""

import shlex
import shutil
import subprocess
import tempfile
from typing import Final

from conformance.operator import UnableError
from core.errors import InvalidError

_LONGEST_S: Final = 120.0
_LAST_WORDS: Final = 300


def check(command: str) -> None:
    """Raise InvalidError for what can be no command here, before anything is tried."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidError(f"--restart '{command}' is no command: {error}") from error
    if not words or shutil.which(words[0]) is None:
        text = f"--restart '{command}': there is no such command. Give one that ends the VTN and starts it again."
        raise InvalidError(text)


def run(command: str | None) -> None:
    """Run a command that ends the VTN and starts it again. Raises UnableError without one, or if it fails."""
    if command is None:
        raise UnableError("nobody can restart the VTN (--restart)")
    with tempfile.TemporaryFile() as log:  # no pipe: what goes on after the command would hold it open
        try:
            done = subprocess.run(  # noqa: S603  the user's own
                shlex.split(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=_LONGEST_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnableError(f"'{command}' did not end within {_LONGEST_S:.0f} s") from None
        except (OSError, ValueError, IndexError) as error:
            raise UnableError(f"'{command}' cannot be run: {error}") from error
        if done.returncode:
            log.seek(0)
            words = log.read().decode("utf-8", "replace").strip()[-_LAST_WORDS:]
            raise UnableError(f"'{command}' ended with {done.returncode}: {words}")
