"""What was made durable while something ran: the store says it, and whoever must answer for it hears it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COMMITTED: ContextVar[list[str] | None] = ContextVar("committed", default=None)


@contextmanager
def noting_commits() -> Iterator[list[str]]:
    """Collect what is committed inside, by this task or those that it starts: a few words for each change."""
    committed: list[str] = []
    token = _COMMITTED.set(committed)
    try:
        yield committed
    finally:
        _COMMITTED.reset(token)


def note_commit(changes: Iterable[str]) -> None:
    """Say what has just been committed, once it cannot be undone."""
    committed = _COMMITTED.get()
    if committed is not None:
        committed += changes
