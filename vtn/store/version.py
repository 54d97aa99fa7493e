"""Whether a database has the newest schema, found out without Alembic: it takes 10 MB and is needed once a version."""

import re
from collections.abc import Collection
from importlib.resources import files

from sqlalchemy import Connection, inspect, text

from core.errors import ConflictError
from vtn.store import engines
from vtn.store.engines import Address
from vtn.store.errors import translated

_MIGRATION = re.compile(r"(\d{4})_\w+\.py")


async def is_newest(address: Address) -> bool:
    """Tell whether a database's schema is the one of the newest migration. Raises UnavailableError."""
    engine = engines.keeper(address)
    try:
        with translated():
            async with engine.connect() as conn, conn.begin():
                return await conn.run_sync(_versions) == [_newest()]
    finally:
        await engine.dispose()


async def check_tables(address: Address, names: Collection[str]) -> None:
    """See that a database has these tables. Raises ConflictError, UnavailableError."""
    engine = engines.keeper(address)
    try:
        with translated():
            async with engine.connect() as conn, conn.begin():
                there = await conn.run_sync(lambda connection: inspect(connection).get_table_names())
    finally:
        await engine.dispose()
    if missing := sorted(set(names) - set(there)):
        raise ConflictError(
            f"The database {address.label} is incomplete: it lacks {', '.join(missing[:5])}"
            f"{' and others' if len(missing) > 5 else ''}. Stop here, and restore it from a backup."  # noqa: PLR2004
        )


def _versions(connection: Connection) -> list[str]:
    if not inspect(connection).has_table("alembic_version"):
        return []
    return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def _newest() -> str:
    """Return the newest revision: migrations are numbered by their files' names."""
    names = (_MIGRATION.fullmatch(file.name) for file in files("migrations").joinpath("versions").iterdir())
    return max(name[1] for name in names if name is not None)
