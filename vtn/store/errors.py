"""Turn what drivers raise into the errors of core, once, at the edge of the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.errors import ConflictError, EvenloadError, InvalidError, UnavailableError

_IN_THE_WAY = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs of PostgreSQL: serialisation failure, deadlock, lock not available."""

_ADVICE = (
    ("disk is full", "The disk of the database is full. Free some space; nothing that was acknowledged is lost."),
    ("no space left", "The disk of the database is full. Free some space; nothing that was acknowledged is lost."),
    ("database is locked", "Another process is writing to the database for too long. Try again."),
    ("readonly database", "The database cannot be written. Check the rights of its file and of its directory."),
    ("unable to open", "The database cannot be opened. Check that its directory exists and may be written."),
    ("not a database", "This file is no SQLite database."),
    ("malformed", "The database file is damaged. Restore it from a backup."),
    ("disk i/o error", "The disk of the database fails."),
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the driver raises inside as ConflictError, InvalidError or UnavailableError; let the rest through."""
    try:
        yield
    except (SQLAlchemyError, OSError, OverflowError) as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


def translate(error: Exception) -> EvenloadError | None:  # noqa: PLR0911  a table of cases
    """Return our error for a driver's error, or None where it is neither the caller's fault nor the database's."""
    if isinstance(error, IntegrityError):
        return ConflictError(f"The database refuses this: {_short(error.orig)}.")
    if isinstance(error, DBAPIError):
        return _of_driver(error)
    if isinstance(error, PoolTimeoutError):
        return UnavailableError("The database is busy: no connection became free in time. Try again.")
    if isinstance(error, StatementError) and isinstance(error.orig, (ValueError, TypeError, OverflowError)):
        return InvalidError(f"A value cannot be stored: {_short(error.orig)}.")
    if isinstance(error, OverflowError):
        return InvalidError(f"A number is too large to be stored: {_short(error)}.")
    if isinstance(error, OSError):
        return UnavailableError(f"The database does not answer: {_short(error) or type(error).__name__}.")
    return None


def _of_driver(error: DBAPIError) -> EvenloadError:
    state = getattr(error.orig, "sqlstate", None) or ""
    cause = error.orig.__cause__ if error.orig is not None else None
    text = _short(error.orig)
    # 22: data exceptions of PostgreSQL; a ValueError: what asyncpg refuses before it asks the server.
    if state.startswith("22") or isinstance(cause, ValueError):
        return InvalidError(f"A value cannot be stored: {text}.")
    if state in _IN_THE_WAY:
        return UnavailableError(f"Another transaction was in the way ({text}). Try again.")
    for sign, advice in _ADVICE:
        if sign in text.lower():
            return UnavailableError(f"{advice} ({text})")
    return UnavailableError(f"The database does not answer as it should: {text}.")


def _short(error: BaseException | None) -> str:
    """Return the first line of an error's text without the names of driver classes."""
    text = str(error).strip().split("\n", 1)[0]
    if text.startswith("<class ") and ">: " in text:
        text = text.split(">: ", 1)[1]
    return text.rstrip(".")[:300]
