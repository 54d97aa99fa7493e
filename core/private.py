"""Files that hold secrets or what people do: readable by their owner alone, also those of earlier versions."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

_OTHERS: Final = 0o077
_COMPANIONS: Final = ("-wal", "-shm", "-journal")


def private_directory(path: Path) -> None:
    """Make a directory that only its owner can enter (0700) unless it is there; one that is stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def private_file(path: Path) -> None:
    """Make a file (0600) unless it is there; take other people's rights from one that is ours. Raises OSError."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        _close(path)


def private_database(path: Path) -> None:
    """Do the same for a SQLite file and what SQLite keeps beside it: new ones get the rights of the file itself."""
    private_file(path)
    for ending in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            _close(path.with_name(path.name + ending))


def overwrite(path: Path, body: bytes, room: int) -> None:
    """Put text into a file (0600) in place, with blanks up to a multiple of `room` bytes. Raises OSError.

    No new blocks are needed where it held as much before, so a full disk takes it.
    """
    padded = body.ljust(-(-max(len(body), 1) // room) * room)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(handle, padded, 0)
        os.ftruncate(handle, len(padded))
    finally:
        os.close(handle)


def _close(path: Path) -> None:
    status = path.stat()
    if stat.S_ISREG(status.st_mode) and status.st_mode & _OTHERS and status.st_uid == os.geteuid():
        path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
