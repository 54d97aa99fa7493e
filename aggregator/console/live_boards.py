"""One reading of a dispatch for everybody who watches it."""

import asyncio
import time
from collections import OrderedDict
from datetime import datetime
from typing import Final

from aiohttp import web

from aggregator.trade.dispatch_progress import Progress, read
from vtn.store.database import Connection


class LiveBoards:
    """Reads a dispatch at most once a second (machine time), however many people watch; large ones less often."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[float, Progress]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def read(self, conn: Connection, dispatch_id: str, now: datetime) -> Progress:
        """Return a snapshot that is hardly older than a second. Raises NotFoundError."""
        lock = self._locks.setdefault(dispatch_id, asyncio.Lock())
        if len(self._locks) > 2 * self._most:
            self._locks = {name: one for name, one in self._locks.items() if name in self._kept or one.locked()}
        async with lock:
            until, found = self._kept.get(dispatch_id, (0.0, None))
            if found is None or time.monotonic() >= until:
                began = time.monotonic()
                found = await read(conn, dispatch_id, now)
                took_s = time.monotonic() - began
                self._kept[dispatch_id] = time.monotonic() + max(0.8, 4 * took_s), found
                self._kept.move_to_end(dispatch_id)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found

    def forget(self, dispatch_id: str) -> None:
        """Read a dispatch anew next time: it was changed here."""
        self._kept.pop(dispatch_id, None)


LIVE: Final = web.AppKey("live_boards", LiveBoards)
