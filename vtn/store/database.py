"""The database: reading in consistent snapshots, writing in transactions, and telling who changed.

What drivers raise never leaves here: disk full, lock or connection lost become UnavailableError, a broken constraint
ConflictError, a value that cannot be stored InvalidError.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Self

import structlog
from sqlalchemy import insert, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from core.commits import note_commit
from core.errors import EvenloadError, UnavailableError
from core.ids import new_id
from vtn.store import change_notifications, engines, version
from vtn.store.engines import LOCK_WAIT_S, POSTGRESQL, SQLITE, Address
from vtn.store.errors import translated
from vtn.store.rows import to_json
from vtn.store.tables import METADATA, audit

_log = structlog.get_logger(__name__)

Connection = AsyncConnection
"""What services read from: `async with db.read() as conn`, or `tx.conn` within a transaction."""


class Transaction:
    """One writing transaction. `conn` is SQLAlchemy's connection: `await tx.conn.execute(...)`."""

    def __init__(self, conn: AsyncConnection) -> None:
        self.conn = conn
        self._changed: set[str] = set()
        self._audited: list[str] = []

    @property
    def audited(self) -> list[str]:
        """What it does: each action with its subject."""
        return self._audited or ["what was asked for"]

    @property
    def announced(self) -> frozenset[str]:
        """The VENs that will be announced after the commit."""
        return frozenset(self._changed)

    def changed(self, *ven_ids: str) -> None:
        """Announce after the commit that the outbox or identity of these VENs changed."""
        self._changed.update(ven_ids)

    async def audit(
        self, who: str, action: str, subject: str, before: object = None, after: object = None, *, at: datetime
    ) -> None:
        """Add a row to the audit: who did what to what, from which value to which (model values or JSON)."""
        await self._audit([(subject, before, after)], who, action, at)

    async def audit_each(self, who: str, action: str, after: Mapping[str, object], *, at: datetime) -> None:
        """Add a row for each subject, with what it was changed to, in one statement."""
        await self._audit([(subject, None, value) for subject, value in after.items()], who, action, at)

    async def _audit(self, changes: Sequence[tuple[str, object, object]], who: str, action: str, at: datetime) -> None:
        shared = {"at": at, "who": who, "action": action[:40]}
        rows = [
            {**shared, "subject": subject[:200], "before": to_json(before), "after": to_json(after)}
            for subject, before, after in changes
        ]
        if rows:
            self._audited += [f"{row['action']} {row['subject']}" for row in rows]
            await self.conn.execute(insert(audit), rows)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo what is done inside, announcements too, if it raises; the transaction goes on.

        Raises LostTransactionError where that cannot be: then nothing of the whole transaction will be committed.
        """
        changed = set(self._changed)
        with _lost_if_failing():
            await self.conn.exec_driver_sql("SAVEPOINT one")
        try:
            yield
        except BaseException:
            self._changed = changed
            with _lost_if_failing():
                await self.conn.exec_driver_sql("ROLLBACK TO SAVEPOINT one")
                await self.conn.exec_driver_sql("RELEASE SAVEPOINT one")
            raise
        with _lost_if_failing():
            await self.conn.exec_driver_sql("RELEASE SAVEPOINT one")

    async def check(self) -> None:
        """Raise LostTransactionError if the database has already given this transaction up.

        SQLite does that when the disk is full; what came after would be committed statement by statement.
        """
        lost = self.conn.invalidated
        if not lost and self.conn.dialect.name == SQLITE:
            driver: Any = (await self.conn.get_raw_connection()).driver_connection
            lost = not driver.in_transaction
        if lost:
            raise LostTransactionError("The database gave up the transaction; nothing of it is stored. Try again.")


class LostTransactionError(UnavailableError):
    """The whole transaction is gone, not only what was being done."""


@contextmanager
def _lost_if_failing() -> Iterator[None]:
    try:
        with translated():
            yield
    except EvenloadError as error:
        raise LostTransactionError(str(error)) from error
    except SQLAlchemyError as error:
        raise LostTransactionError("The database gave up the transaction; nothing of it is stored.") from error


class Database:
    """One open database. Make it with `open`, and close it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._writer = engines.writer(address)
        self._reader = engines.reader(address, self._writer)
        self._lock = asyncio.Lock() if address.dialect == SQLITE else None
        self._owner: asyncio.Task[Any] | None = None
        self._name = new_id("db")
        self._callbacks: list[Callable[[frozenset[str]], None]] = []
        self._listener: change_notifications.Listener | None = None

    @classmethod
    async def open(cls, url: str, *, create: bool = True) -> Self:
        """Open `sqlite:///path/file.db` or `postgresql://user:password@host/name`.

        With `create`, a missing SQLite file is made (0600) and the schema is brought up to date, by one process at a
        time. Raises InvalidError for a URL that is none, NotFoundError for a missing file, ConflictError for a schema
        that is newer than this code (or older, without `create`), UnavailableError if the database does not answer.
        """
        address = engines.parse(url)
        if address.path is not None:
            engines.prepare_file(address.path, create=create)
        if not await version.is_newest(address):
            from vtn.store import schema  # noqa: PLC0415  it brings Alembic, which is seldom needed

            await schema.bring_up(address, create=create)
        await version.check_tables(address, METADATA.tables)
        database = cls(address)
        if address.dialect == POSTGRESQL:
            listener = change_notifications.Listener(engines.connector(address), database._name, database._tell)
            try:
                await listener.start()
            except Exception as error:
                await database.close()
                raise UnavailableError(f"The database {address.label} does not answer: {error}.") from error
            database._listener = listener
        return database

    @property
    def dialect(self) -> str:
        """The kind of database: "sqlite" or "postgresql"."""
        return self._address.dialect

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Read in one consistent snapshot, taken at the first query; writing fails."""
        with translated():
            async with self._reader.connect() as conn:
                yield conn

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """Write in one transaction: committed at the end, rolled back if the body raises.

        SQLite has one writer at a time: others wait here. On PostgreSQL transactions run side by side (READ
        COMMITTED): read what you are about to change with `with_for_update()`. Not to be nested. Raises
        UnavailableError if others write for so long that a request cannot wait for it (`LOCK_WAIT_S`).
        """
        finished: Transaction | None = None
        try:
            with translated():
                async with self._turn() as until, self._begun(until) as conn:
                    tx = Transaction(conn)
                    yield tx
                    await tx.check()
                    if self._listener is not None:
                        await change_notifications.announce(conn, self._name, tx.announced)
                    finished = tx
            note_commit(finished.audited)
        finally:
            # Also where the commit failed: its outcome may be unknown, and a notice is only a hint.
            if finished is not None and finished.announced:
                self._tell(finished.announced)

    def on_change(self, callback: Callable[[frozenset[str]], None]) -> None:
        """Call back with the venIDs whose outbox or identity changed, after each commit that announced them.

        Other processes' commits are heard on PostgreSQL. An empty set means "look at everything again": notices may
        have been missed. The callback must not block.
        """
        self._callbacks.append(callback)

    async def check(self) -> None:
        """See that the database answers, and could be written. Raises UnavailableError."""
        async with self.read() as conn:
            await conn.execute(select(1))
        if self._address.path is not None:
            await asyncio.to_thread(engines.check_room, self._address.path)

    async def close(self) -> None:
        """Close all connections. Closing twice does no harm."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[float]:
        """Wait for this process's turn to write; yields until when it may still wait for other processes."""
        until = time.monotonic() + LOCK_WAIT_S
        if self._lock is None:
            yield until
            return
        task = asyncio.current_task()
        if task is not None and task is self._owner:
            raise RuntimeError("write() inside write() would wait for itself for ever")
        try:
            async with asyncio.timeout(LOCK_WAIT_S):
                await self._lock.acquire()
        except TimeoutError:
            raise UnavailableError("The VTN is busy: another change takes too long. Try again.") from None
        self._owner = task
        try:
            yield until
        finally:
            self._owner = None
            self._lock.release()

    @asynccontextmanager
    async def _begun(self, until: float) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction (on SQLite with the write lock), which is committed at the end."""
        async with self._writer.connect() as conn:
            transaction = await self._begin(conn, until)
            try:
                yield conn
                await transaction.commit()
            except BaseException:
                if transaction.is_active:
                    await transaction.rollback()
                raise

    async def _begin(self, conn: AsyncConnection, until: float) -> AsyncTransaction:
        while True:
            try:
                return await conn.begin()
            except OperationalError as error:
                if self._lock is None or "is locked" not in str(error.orig) or time.monotonic() >= until:
                    raise

    def _tell(self, ven_ids: frozenset[str]) -> None:
        for callback in self._callbacks:
            try:
                callback(ven_ids)
            except Exception:  # noqa: BLE001  one bad listener must not keep the others from hearing
                _log.exception("a listener for changes failed", vens=len(ven_ids))
