"""Write a new migration: `python -m migrations "what changes"`. Read it before you keep it."""

import asyncio
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

import aggregator.tables  # noqa: F401  its tables are part of the schema
from vtn.store import engines, schema
from vtn.store.tables import METADATA


async def _write(message: str) -> None:
    config = schema.configuration()
    number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
    with tempfile.TemporaryDirectory() as directory:
        address = engines.parse(f"sqlite:///{Path(directory) / 'schema.db'}")
        await schema.bring_up(address, create=True)
        engine = engines.keeper(address)
        async with engine.connect() as conn:
            config.attributes["metadata"] = METADATA

            def autogenerate(connection: object) -> None:
                config.attributes["connection"] = connection
                command.revision(config, message, autogenerate=True, rev_id=f"{number:04d}")

            await conn.run_sync(autogenerate)
        await engine.dispose()


if len(sys.argv) != 2:  # noqa: PLR2004
    sys.exit('usage: python -m migrations "what changes"')
asyncio.run(_write(sys.argv[1]))
