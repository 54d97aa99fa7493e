"""Write a new migration: `python -m migrations "what changes"`. Read it before you keep it."""

import asyncio
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

import aggregator.tables  # noqa: F401  its tables are part of the schema
from vtn.store import engines, schema
from vtn.store.tables import METADATA

_OLDEST = Path(__file__).parents[1] / "tests" / "vtn" / "store" / "schema_0002.sqlite.sql"
"""The schema so far is this one with all migrations; a new database would already have what is new in the tables."""


async def _write(message: str) -> None:
    config = schema.configuration()
    head = ScriptDirectory.from_config(config).get_current_head()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "schema.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(_OLDEST.read_text("utf-8"))
        address = engines.parse(f"sqlite:///{path}")
        await schema.bring_up(address, create=True)
        engine = engines.keeper(address)
        async with engine.connect() as conn:
            config.attributes["metadata"] = METADATA

            def autogenerate(connection: object) -> None:
                config.attributes["connection"] = connection
                command.revision(config, message, autogenerate=True, rev_id=f"{int(head or 0) + 1:04d}")

            await conn.run_sync(autogenerate)
        await engine.dispose()


if len(sys.argv) != 2:  # noqa: PLR2004
    sys.exit('usage: python -m migrations "what changes"')
asyncio.run(_write(sys.argv[1]))
