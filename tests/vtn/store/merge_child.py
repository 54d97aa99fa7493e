"""Merges all chunks of a database and says so after each series."""

import asyncio
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from vtn.store import Database
from vtn.store.readings import merge_days


class Telling(Database):
    """A database that prints a line after each commit."""

    @asynccontextmanager
    async def write(self):
        async with super().write() as tx:
            yield tx
        print("merged a series", flush=True)  # noqa: T201  the parent reads it


async def main(url: str) -> None:
    database = await Telling.open(url)
    await merge_days(database, datetime(2030, 1, 1, tzinfo=UTC))
    await database.close()


asyncio.run(main(sys.argv[1]))
