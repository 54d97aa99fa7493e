"""The files in a gateway's state directory, opened together; a full disk does not keep them shut.

SQLite needs some room even to open a file that is there. A reserve lies beside the files: it is given up when they
cannot be opened, and made again once the disk has room to spare.
"""

import errno
import fcntl
import os
import shutil
import sqlite3
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Final

import structlog

from bridges.journal import Journal
from core.errors import ConflictError, UnavailableError
from core.private import private_directory, private_file
from ven.quarantine import Quarantine
from ven.store import Store
from ven.vitals import LOCK_FILE, VitalsFile

_log = structlog.get_logger(__name__)

STORE_FILE: Final = "gateway.db"
JOURNAL_FILE: Final = "journal.db"
HANDLING_FILE: Final = "handling"
RESERVE_FILE: Final = "reserve"
_RESERVE_BYTES: Final = 512 * 1024
"""Room for the shared memory and the first pages of two write-ahead logs, several times over."""
_TO_SPARE: Final = 4
"""The reserve is made again when so many times its size are free: what it gave away is in use until then."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM_CODES: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_PRIMARY: Final = 0xFF
"""The lowest byte of an extended result code of SQLite is the primary one."""
_LOCK_TRIES: Final = 3
_LOCK_PAUSE_S: Final = 0.03


class StateFiles:
    """The open files of one gateway, which is the only one in this directory until `close`."""

    def __init__(self, state: Path) -> None:
        """Open or create all of them.

        Raises ConflictError if another gateway runs there, UnavailableError if the disk refuses.
        """
        self._reserve = state / RESERVE_FILE
        self._lock = _claim(state)
        try:
            self._open_all(state)
        except BaseException:
            self._lock.close()
            raise
        self.keep_reserve()

    def _open_all(self, state: Path) -> None:
        try:
            self._open(state)
        except UnavailableError as error:
            if not _lacks_room(error):
                raise
            try:
                self._reserve.unlink()
            except OSError:
                raise error from None
            _log.warning("the reserve is given up, to start on a full disk", reason=str(error))
            self._open(state)

    def _open(self, state: Path) -> None:
        with ExitStack() as opened:
            self.store = Store(state / STORE_FILE)
            opened.callback(self.store.close)
            self.quarantine = Quarantine(self.store, state / HANDLING_FILE)
            opened.callback(self.quarantine.close)
            self.journal = Journal(state / JOURNAL_FILE)
            self.vitals = VitalsFile(state)
            opened.pop_all()

    def keep_reserve(self) -> None:
        """Make the reserve unless it is there or the disk has little room; never raises."""
        with suppress(OSError):
            present = self._reserve.lstat().st_size if self._reserve.exists() else 0  # a crash may have left a part
            if present >= _RESERVE_BYTES or shutil.disk_usage(self._reserve.parent).free < _TO_SPARE * _RESERVE_BYTES:
                return
            handle = os.open(self._reserve, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, _RESERVE_BYTES)
            finally:
                os.close(handle)

    def close(self) -> None:
        """Close them, and let the next gateway in."""
        self.journal.close()
        self.quarantine.close()
        self.store.close()
        self._lock.close()


def _lacks_room(error: UnavailableError) -> bool:
    """Tell whether a full disk may be behind it: then SQLite cannot make its shared memory, or write."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return cause.errno in _NO_ROOM
    return getattr(cause, "sqlite_errorcode", 0) & _PRIMARY in _NO_ROOM_CODES


def _claim(state: Path) -> IO[str]:
    """Keep a second gateway off the same state directory. Raises ConflictError; closing the file lets go."""
    try:
        private_directory(state)
        private_file(state / LOCK_FILE)
        file = (state / LOCK_FILE).open("w", encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"The state directory {state} cannot be used: {error.strerror}.") from error
    try:
        _lock(file)
    except OSError as error:
        file.close()
        raise ConflictError(
            f"Another gateway runs on {state}; each household needs a state directory of its own."
        ) from error
    return file


def _lock(file: IO[str]) -> None:
    """Take the lock; `ven status` holds it for an instant when it looks. Raises BlockingIOError."""
    for _ in range(_LOCK_TRIES):
        with suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_LOCK_PAUSE_S)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
