"""The barrier: what handling a stored or received item raises stays with that item.

An exception is counted at once. What ends the process itself (memory, a kill by the service manager) can only be seen
afterwards: before an item is handled its name is written to a small file, which outlives the process. The next start
finds it there and counts; at the third such start the item is barred and set aside unhandled.
"""

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from core.errors import UnavailableError
from ven.memory import Memory

_log = structlog.get_logger(__name__)

_LONGEST_KEY: Final = 200
_LONGEST_MARK: Final = 2048
_MOST_LOGGED: Final = 1000
MOST_ENDS: Final = 3
"""An item that ended the process at so many starts is not handled any more."""


def where(error: BaseException) -> str:
    """Return the innermost places that an exception came through: short, and without anybody's values."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))


class Quarantine:
    """Knows what one household's gateway was handling, and what it could not handle.

    `path` is the file for the item that is being handled; None: nothing outlives the process (tests).
    """

    def __init__(self, memory: Memory, path: Path | None = None) -> None:
        """Open the file. Raises UnavailableError if it cannot be used."""
        self._memory = memory
        self._file: int | None = None
        self._now_handled = b""
        self._logged: set[tuple[str, str]] = set()
        if path is not None:
            try:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise UnavailableError(f"{path} cannot be used: {error.strerror}.") from error
        self._barred = self._read_barred()

    def recall(self, now: datetime) -> None:
        """Count the item that the last process ended on, if there is one; a full disk leaves it to the next start."""
        if self._file is None:
            return
        with suppress(ValueError, TypeError, UnavailableError):
            kind, key = json.loads(os.pread(self._file, _LONGEST_MARK, 0))
            fault = self._memory.note_fault(kind, key, "the gateway ended while it handled this", now, ended=True)
            _log.error("the last run ended while it handled this", kind=kind, key=key, times=fault.ends)
        self._mark(b"")
        self._barred = self._read_barred()

    def _read_barred(self) -> frozenset[tuple[str, str]]:
        return frozenset((fault.kind, fault.key) for fault in self._memory.faults() if fault.ends >= MOST_ENDS)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @contextmanager
    def handling(self, kind: str, key: str) -> Iterator[None]:
        """Remember what is being handled, beyond the end of the process. Not durable against a loss of power."""
        before = self._now_handled
        self._mark(json.dumps([kind, key[:_LONGEST_KEY]]).encode())
        try:
            yield
        finally:
            self._mark(before)

    def barred(self, kind: str, key: str) -> bool:
        """Tell whether handling this ended the process at too many starts."""
        return (kind, key[:_LONGEST_KEY]) in self._barred

    def caught(self, kind: str, key: str, error: Exception, now: datetime) -> str:
        """Count what handling an item raised, log it once in this process, and return a text for people."""
        reason = f"{type(error).__name__}: {error}"[:200]
        self._memory.note_fault(kind, key, reason, now)
        if (item := (kind, key[:_LONGEST_KEY])) not in self._logged:
            if len(self._logged) >= _MOST_LOGGED:
                self._logged.clear()
            self._logged.add(item)
            _log.error("this cannot be handled and is set aside", kind=kind, key=key, reason=reason, where=where(error))
        return reason

    def _mark(self, item: bytes) -> None:
        self._now_handled = item
        if self._file is not None:
            with suppress(OSError):  # a full disk must not keep anything from being handled
                os.pwrite(self._file, item.ljust(_LONGEST_MARK), 0)
