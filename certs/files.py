"""Files that must be private and whole: keys, certificates, identities."""

import contextlib
import os
import secrets
from pathlib import Path

from core.errors import ConflictError, NotFoundError, UnavailableError

_MAX_BYTES = 262_144
_PRIVATE = 0o600


def exists(path: Path) -> bool:
    """Tell whether there is anything at `path`. Raises UnavailableError where we may not even look."""
    try:
        return path.exists()
    except OSError as error:
        raise UnavailableError(f"{path}: cannot look there: {error.strerror}.") from error


def is_vacant(path: Path) -> bool:
    """Tell whether there is nothing at `path`, or an empty directory."""
    try:
        return not exists(path) or (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise UnavailableError(f"{path}: cannot look there: {error.strerror}.") from error


def make_private_directory(path: Path) -> None:
    """Make a new directory that only its owner can enter (0700). Raises ConflictError if it exists."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    except FileExistsError as error:
        raise ConflictError(f"{path} exists already; choose another place or remove it first.") from error
    except OSError as error:
        raise UnavailableError(f"{path}: cannot make this directory: {error.strerror}.") from error


def write_new(path: Path, text: str) -> None:
    """Write a new file, 0600 from its first byte and on the disk when this returns.

    Raises ConflictError if the file exists: a key is never overwritten.
    """
    try:
        _write(path, text)
    except FileExistsError as error:
        raise ConflictError(f"{path} exists already; move it away first, it may be the only copy.") from error
    except OSError as error:
        raise UnavailableError(f"{path}: cannot write: {error.strerror}.") from error


def write_over(path: Path, text: str) -> None:
    """Write a file (0600) so that readers, and a crash, see either the old content or the new, never a part."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write(draft, text)
        draft.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise UnavailableError(f"{path}: cannot write: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make renames and new names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path, next_step: str) -> str:
    """Read a small text file. Raises NotFoundError (with the next step) if it is missing, UnavailableError else."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} is missing. {next_step}") from error
    except OSError as error:
        raise UnavailableError(f"{path}: cannot read: {error.strerror}.") from error
    if len(content) > _MAX_BYTES:
        raise UnavailableError(f"{path} is larger than any such file is. {next_step}")
    return content.decode("utf-8", errors="replace")
