"""The schema and its version: make it, bring a database up to it, and refuse one that the code does not know."""

import re
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import ConflictError, UnavailableError
from migrations import fresh
from vtn.store import engines
from vtn.store.engines import Address
from vtn.store.errors import translated

HEAD = "head"
_LOCK = 0x65766C64
"""Number of the advisory lock (PostgreSQL) under which schemas change: "evld"."""


async def bring_up(address: Address, *, create: bool) -> None:
    """Make the newest schema, or migrate to it, if `create`; else only check that the database has it.

    All in one transaction, and one process at a time: others wait and then find the work done. Raises ConflictError
    for a database that is newer than this code, too old for it, or older and not to be migrated.
    """
    engine = engines.keeper(address)
    try:
        with translated():
            async with engine.connect() as conn, conn.begin():
                await lock(conn)
                revision = await conn.run_sync(revision_of)
                await conn.run_sync(_check, revision, address.label, create=create)
                await (make if revision is None else migrate)(conn, HEAD)
    finally:
        await engine.dispose()


async def lock(conn: AsyncConnection) -> None:
    """Keep other processes from changing the schema until this transaction ends (SQLite: it holds the write lock)."""
    if conn.dialect.name == engines.POSTGRESQL:
        await conn.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


async def make(conn: AsyncConnection, revision: str) -> None:
    """Give an empty database the schema of a revision inside the present transaction.

    An older one, for a backup, is the newest one taken back: its rows then go the usual way through the migrations.
    """
    await conn.run_sync(_make, revision)


async def migrate(conn: AsyncConnection, revision: str) -> None:
    """Apply migrations up to a revision inside the present transaction."""
    await conn.run_sync(_upgrade, revision)
    if conn.dialect.name == engines.SQLITE:
        broken = (await conn.execute(text("PRAGMA foreign_key_check"))).first()
        if broken is not None:
            raise UnavailableError(f"Table {broken[0]} refers to rows of {broken[2]} that are not there.")


def revision_of(connection: Connection) -> str | None:
    """Return the schema revision of a database, or None for one that has no schema of ours."""
    return MigrationContext.configure(connection).get_current_revision()


def is_known(revision: str) -> bool:
    """Tell whether this code knows a revision."""
    return any(script.revision == revision for script in _scripts().walk_revisions())


def is_too_old(revision: str) -> bool:
    """Tell whether a revision came before all that this code knows."""
    return re.fullmatch(r"\d{4}", revision) is not None and revision < _oldest()


def configuration() -> Config:
    """Return Alembic's configuration: the installed package `migrations`, no file of its own."""
    config = Config()
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration())


def _oldest() -> str:
    return _scripts().get_base() or ""


def _check(connection: Connection, revision: str | None, label: str, *, create: bool) -> None:
    head = _scripts().get_current_head()
    if revision is not None and is_too_old(revision):
        raise ConflictError(
            f"The database {label} has schema {revision}, which is too old: this evenload brings {_oldest()} and later "
            "ones up to date. Begin with a new database."
        )
    if revision is not None and not is_known(revision):
        raise ConflictError(
            f"The database {label} has schema {revision}, which this evenload (schema {head}) does not know: a newer "
            "evenload wrote it. Install that version, or restore a backup that this one can read."
        )
    if not create and revision != head:
        raise ConflictError(
            f"The database {label} has schema {revision or 'none'}, this evenload needs {head}. Starting the VTN on it "
            "brings it up to date; make a backup before."
        )
    if revision is None and (tables := inspect(connection).get_table_names()):
        raise ConflictError(
            f"The database {label} holds tables that are not evenload's ({', '.join(sorted(tables)[:3])} ...). "
            "Give evenload a database of its own."
        )


def _make(connection: Connection, revision: str) -> None:
    fresh.create(connection)
    scripts = _scripts()
    MigrationContext.configure(connection).stamp(scripts, HEAD)
    if revision not in (HEAD, scripts.get_current_head()):
        command.downgrade(_on(connection), revision)


def _upgrade(connection: Connection, revision: str) -> None:
    if revision == HEAD and revision_of(connection) == _scripts().get_current_head():
        return
    command.upgrade(_on(connection), revision)


def _on(connection: Connection) -> Config:
    config = configuration()
    config.attributes["connection"] = connection
    return config
