"""Submits numbered audit rows to a GroupWriter for ever and prints each number once it is acknowledged."""

import asyncio
import itertools
import sys
from datetime import UTC, datetime

from vtn.store import Database
from vtn.store.writer import GroupWriter

NOON = datetime(2025, 3, 4, 12, tzinfo=UTC)


async def main(url: str, name: str) -> None:
    database = await Database.open(url)
    writer = GroupWriter(database, max_batch=20)
    await writer.start()
    numbers = itertools.count()

    async def submit_for_ever() -> None:
        while True:
            number = next(numbers)
            await writer.submit(lambda tx: tx.audit(name, "test", str(number), at=NOON))  # noqa: B023  run at once
            print(number, flush=True)  # noqa: T201  the acknowledgement

    await asyncio.gather(*(submit_for_ever() for _ in range(30)))


asyncio.run(main(sys.argv[1], sys.argv[2]))
