"""A connection to SQLite that crosses to its thread once a statement.

aiosqlite runs SQLite in a thread of its own, and SQLAlchemy uses it in four steps a statement: open a cursor, execute,
fetch, close. Each step is a trip to the thread and back, which costs more than SQLite's own work. Here it is one trip.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import aiosqlite

_FIRST_ROWS: Final = 1_000
"""Fetched with the statement itself; more are fetched when asked for, so that a long table can be streamed."""


async def connect(path: Path) -> aiosqlite.Connection:
    """Open a file. The driver begins no transactions by itself: it would begin them too late, and without the lock."""
    connection = _Connection(partial(sqlite3.connect, path, isolation_level=None), iter_chunk_size=64)
    # aiosqlite was a thread itself before 0.22. A daemon: a forgotten connection must not keep the process alive.
    thread: Any = getattr(connection, "_thread", connection)
    thread.daemon = True
    return await connection


class _Connection(aiosqlite.Connection):
    def cursor(self) -> Any:
        """Return a cursor that opens with its first statement."""
        return _Cursor(self._in_thread)

    async def _in_thread(self, function: Callable[[sqlite3.Connection], Any]) -> Any:
        run: Any = self._execute  # aiosqlite's queue to its thread
        return await run(lambda: function(self._conn))


class _Cursor:
    """What SQLAlchemy needs of a cursor. It closes itself as soon as it has no more rows."""

    arraysize = 1

    def __init__(self, in_thread: Callable[..., Any]) -> None:
        self._in_thread = in_thread
        self._cursor: sqlite3.Cursor | None = None
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run one statement and fetch its first rows."""
        await self._run(lambda cursor: cursor.execute(sql, parameters))

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each set of parameters."""
        await self._run(lambda cursor: cursor.executemany(sql, parameters))

    async def fetchall(self) -> Sequence[Any]:
        """Return all rows that are left."""
        if self._cursor is not None:
            self._rows += await self._in_thread(lambda _: self._fetch(-1))
        taken, self._rows = self._rows, []
        return taken

    async def fetchmany(self, size: int = 1) -> Sequence[Any]:
        """Return the next rows, up to `size`."""
        if len(self._rows) < size and self._cursor is not None:
            self._rows += await self._in_thread(lambda _: self._fetch(max(size, _FIRST_ROWS)))
        taken, self._rows = self._rows[:size], self._rows[size:]
        return taken

    async def fetchone(self) -> Any:
        """Return the next row, or None."""
        return next(iter(await self.fetchmany(1)), None)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while rows := await self.fetchmany(_FIRST_ROWS):
            for row in rows:
                yield row

    async def close(self) -> None:
        """Forget the rows that are left."""
        if self._cursor is not None:
            await self._in_thread(lambda _: self._close())

    async def _run(self, statement: Callable[[sqlite3.Cursor], object]) -> None:
        await self.close()
        self._rows = await self._in_thread(lambda connection: self._start(connection.cursor(), statement))

    # -- in the thread

    def _start(self, cursor: sqlite3.Cursor, statement: Callable[[sqlite3.Cursor], object]) -> list[Any]:
        try:
            statement(cursor)
        except BaseException:
            # Left to the garbage collector it would be finished in the loop's thread, which then waits as long as this
            # connection's next statement waits for a lock.
            cursor.close()
            raise
        self._cursor, self.description, self.lastrowid = cursor, cursor.description, cursor.lastrowid
        rows = self._fetch(_FIRST_ROWS)
        self.rowcount = cursor.rowcount  # only now: with RETURNING it counts the rows that were fetched
        return rows

    def _fetch(self, size: int) -> list[Any]:
        cursor = self._cursor
        if cursor is None:
            return []
        rows = cursor.fetchall() if size < 0 else cursor.fetchmany(size)
        if size < 0 or len(rows) < size:
            self._close()
        return rows

    def _close(self) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()
