"""Where the database is, and the engines that talk to it. Users write URLs; drivers are chosen here."""

import asyncio
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

from core.errors import InvalidError, NotFoundError, UnavailableError
from core.private import private_database, private_directory
from vtn.store import sqlite

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

_BUSY_MS = 10_000
_WRITERS_BUSY_MS = 100
"""A writer that finds the file locked comes back to see whether it may still wait."""
LOCK_WAIT_S = 2.8
"""Nobody waits longer to write: a request is answered within three seconds, if only with a 503 (TR-05)."""
_SOON_S = 0.02
_CONNECT_S = 10.0
_COMMAND_S = 60.0
_READERS = 2
_MORE_READERS = 6
"""Opened when the others are busy, and closed then: each holds the schema and pages of its own."""
_READERS_CACHE_KIB = 512
_WRITERS_CACHE_KIB = 1024
"""Each connection's own pages; the system keeps the file's in memory too, once for all."""
_LEAST_FREE_BYTES = 32 << 20
"""Less is as good as none: write-ahead log and checkpoints need room beside each other."""
_PROBE_BYTES = 4096
_FORMS = "Write sqlite:///path/to/file.db or postgresql://user:password@host/database."


@dataclass(frozen=True, slots=True)
class Address:
    """A database: a file (SQLite) or a DSN (PostgreSQL). `label` is safe to show: it has no password."""

    dialect: str
    label: str
    path: Path | None = None
    dsn: str = ""


def parse(url: str) -> Address:
    """Read a database URL as users write it. Raises InvalidError with the allowed forms."""
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        raise InvalidError(f"That is no database URL. {_FORMS}") from None
    scheme = parts.drivername.partition("+")[0]
    if scheme == SQLITE:
        if not parts.database or parts.database == ":memory:" or parts.host or parts.query:
            raise InvalidError(f"SQLite needs the path of a file, and nothing else. {_FORMS}")
        return Address(SQLITE, f"sqlite:///{parts.database}", path=Path(parts.database))
    if scheme in (POSTGRESQL, "postgres"):
        label = parts.set(drivername=POSTGRESQL, query={}).render_as_string(hide_password=True)
        # asyncpg reads the DSN itself, with all that libpq knows: sslmode, sslrootcert, passfile, several hosts.
        return Address(POSTGRESQL, label, dsn=f"postgresql:{url.split(':', 1)[1]}")
    raise InvalidError(f"'{scheme}' is no database that evenload can use. {_FORMS}")


def prepare_file(path: Path, *, create: bool) -> None:
    """See that the file of a SQLite database is there and readable by its owner alone (0600, a new directory 0700).

    Raises NotFoundError if it is missing and `create` is false.
    """
    is_new = not path.exists()
    if is_new and not create:
        raise NotFoundError(f"There is no database at {path}.")
    try:
        private_directory(path.parent)
        private_database(path)
        if is_new:
            sync_directory(path.parent)
    except OSError as error:
        raise UnavailableError(f"The database {path} cannot be created: {error.strerror}.") from error


def check_room(path: Path) -> None:
    """See that a SQLite database could be written. Raises UnavailableError where its disk is full or read-only."""
    probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
    try:
        free = shutil.disk_usage(path.parent).free
        with probe.open("wb", buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))
            os.fsync(file.fileno())
    except OSError as error:
        raise UnavailableError(f"{path.parent} cannot be written: {error.strerror}.") from error
    finally:
        probe.unlink(missing_ok=True)
    if free < _LEAST_FREE_BYTES:
        raise UnavailableError(f"The disk of {path} is nearly full: {free >> 20} MB are left. Make room.")


def sync_directory(directory: Path) -> None:
    """Make names that were created or replaced in a directory survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def writer(address: Address) -> AsyncEngine:
    """Return the engine of writing transactions. SQLite has one connection; each begins with the write lock."""
    if address.path is None:
        return _postgresql(address)
    pragmas = (f"PRAGMA busy_timeout={_WRITERS_BUSY_MS}", _cache(_WRITERS_CACHE_KIB))
    return _sqlite(address.path, "BEGIN IMMEDIATE", *pragmas, pool_size=1, max_overflow=0)


def reader(address: Address, writing: AsyncEngine) -> AsyncEngine:
    """Return the engine of reading transactions, each a consistent snapshot that cannot write."""
    if address.path is None:
        return writing.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    pragmas = ("PRAGMA query_only=ON", _cache(_READERS_CACHE_KIB))
    return _sqlite(address.path, "BEGIN", *pragmas, pool_size=_READERS, max_overflow=_MORE_READERS)


def _cache(kib: int) -> str:
    return f"PRAGMA cache_size=-{kib}"


def keeper(address: Address) -> AsyncEngine:
    """Return an engine for migrations and restores: single connections without a time limit.

    On SQLite it turns write-ahead logging on, which lasts, and does not enforce foreign keys while tables are rebuilt
    (dropping a parent table would delete its children); the migration checks them before it commits.
    """
    if address.path is None:
        return _postgresql(address, command_timeout=None, poolclass=NullPool)
    # Who waits for the file alone lets nobody else begin: of several that open it at once each would wait for another.
    alone = ("PRAGMA busy_timeout=0", "PRAGMA journal_mode=WAL", f"PRAGMA busy_timeout={_BUSY_MS}")
    pragmas = (*alone, "PRAGMA foreign_keys=OFF")
    return _sqlite(address.path, "BEGIN IMMEDIATE", *pragmas, poolclass=NullPool)


def to_text(value: object) -> str:
    """Return compact JSON. Raises ValueError for numbers that are not finite: JSON has none."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def connector(address: Address, command_timeout: float | None = _COMMAND_S) -> Callable[[], Awaitable[Any]]:
    """Return what opens one asyncpg connection. Raises InvalidError where asyncpg is not installed."""
    try:
        import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  an extra: only on PostgreSQL
    except ImportError:
        raise InvalidError("PostgreSQL needs another package: pip install 'evenload[server,postgres]'.") from None

    async def connect() -> Any:
        connection = await asyncpg.connect(address.dsn, timeout=_CONNECT_S, command_timeout=command_timeout)
        if command_timeout is not None:  # else for migrations, which take their time
            await connection.execute(f"SET lock_timeout = {int(LOCK_WAIT_S * 1000)}")
        return connection

    return connect


def _postgresql(address: Address, command_timeout: float | None = _COMMAND_S, **options: Any) -> AsyncEngine:
    pool: dict[str, Any] = {"pool_size": 5, "max_overflow": 5, "pool_timeout": _CONNECT_S, "pool_pre_ping": True}
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connector(address, command_timeout),
        json_serializer=to_text,
        json_deserializer=from_json,  # reads an array of numbers in a tenth of the time that json takes
        **(options or pool),
    )


def _sqlite(path: Path, begin: str, *pragmas: str, **options: Any) -> AsyncEngine:
    engine = create_async_engine(
        "sqlite+aiosqlite:///file",  # the name only tells SQLAlchemy that it is a file
        async_creator=partial(sqlite.connect, path),
        json_serializer=to_text,
        json_deserializer=from_json,  # reads an array of numbers in a tenth of the time that json takes
        **options,
    )

    def connected(connection: "DBAPIConnection", _: object) -> None:
        cursor = connection.cursor()
        for pragma in (
            f"PRAGMA busy_timeout={_BUSY_MS}",
            "PRAGMA synchronous=FULL",
            "PRAGMA foreign_keys=ON",
            "PRAGMA journal_size_limit=67108864",
            *pragmas,
        ):
            _set(cursor, pragma)
        cursor.close()

    def began(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", began)
    return engine


def _set(cursor: "DBAPICursor", pragma: str) -> None:
    """Run a pragma; while the file is locked, again and again."""
    until = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            cursor.execute(pragma)
        except sqlite3.OperationalError as error:
            if "is locked" not in str(error) or time.monotonic() >= until:
                raise
            await_only(asyncio.sleep(_SOON_S))
        else:
            return
