"""Change notices between processes on one PostgreSQL (LISTEN/NOTIFY): hints that a VEN's rows changed.

A notice is a hint and may be lost; whoever listens hears of every reconnection and then looks at everything again.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.store.engines import to_text

_CHANNEL: Final = "evenload"
_MAX_PAYLOAD: Final = 7_900
"""Bytes; PostgreSQL allows 8000."""
_MAX_NAMED: Final = 2_000
"""More VENs than this at once are announced as "everything"."""
_PING_S: Final = 15.0
_RETRY_S: Final = (0.1, 5.0)

EVERYTHING: Final[frozenset[str]] = frozenset()
"""What listeners are told when they must look at every VEN again."""

_log = structlog.get_logger(__name__)


async def announce(conn: AsyncConnection, sender: str, ven_ids: frozenset[str]) -> None:
    """Send notices of changed VENs with the present transaction: they go out when it commits."""
    for payload in payloads(sender, ven_ids):
        await conn.execute(select(func.pg_notify(_CHANNEL, payload)))


def payloads(sender: str, ven_ids: Iterable[str]) -> Iterator[str]:
    """Yield notices `[sender, venID, ...]`, each short enough; `[sender]` alone stands for every VEN."""
    named = sorted(ven_ids)
    if len(named) > _MAX_NAMED or any(_size(ven_id) > _MAX_PAYLOAD // 2 for ven_id in named):
        yield to_text([sender])
        return
    batch, size = [sender], _size(sender) + 2
    for ven_id in named:
        if size + _size(ven_id) > _MAX_PAYLOAD:
            yield to_text(batch)
            batch, size = [sender], _size(sender) + 2
        batch.append(ven_id)
        size += _size(ven_id)
    if len(batch) > 1:
        yield to_text(batch)


def _size(text: str) -> int:
    return len(to_text(text).encode()) + 1


class Listener:
    """Hears what other processes announce, on a connection of its own that it keeps alive."""

    def __init__(
        self, connect: Callable[[], Awaitable[Any]], sender: str, tell: Callable[[frozenset[str]], None]
    ) -> None:
        self._connect = connect
        self._sender = sender
        self._tell = tell
        self._conn: Any = None
        self._lost = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen from now on. Raises what the driver raises if there is no connection."""
        await self._listen()
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stop listening."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        await self._hang_up()

    async def _listen(self) -> None:
        self._lost.clear()
        conn = await self._connect()
        self._conn = conn
        conn.add_termination_listener(lambda _: self._lost.set())
        await conn.add_listener(_CHANNEL, self._heard)

    async def _hang_up(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(Exception):  # a dead connection may fail in any way; it is being thrown away
                await conn.close(timeout=1)

    def _heard(self, _conn: object, _pid: int, _channel: str, payload: str) -> None:
        try:
            sender, *ven_ids = json.loads(payload)
            named = frozenset(str(ven_id) for ven_id in ven_ids)
        except (ValueError, TypeError):
            sender, named = "", EVERYTHING  # not one of ours: the safe reading is "something changed"
        if sender != self._sender:
            self._tell(named)

    async def _keep(self) -> None:
        """Ping, so that a silently dead connection is noticed; reconnect with back-off, then say "everything"."""
        while True:
            try:
                async with asyncio.timeout(_PING_S):
                    await self._lost.wait()
            except TimeoutError:
                if await self._answers():
                    continue
            await self._reconnect()
            self._tell(EVERYTHING)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(_PING_S):
                await self._conn.execute("SELECT 1")
        except Exception:  # noqa: BLE001  the driver's errors have no common base
            return False
        return True

    async def _reconnect(self) -> None:
        pause, longest = _RETRY_S
        _log.warning("change notices are interrupted")
        while True:
            await self._hang_up()
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001  the driver's errors have no common base
                _log.info("no connection for change notices yet", error=str(error), retry_in_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                _log.info("change notices are back")
                return
