"""The log of messages of a world."""

from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from core.ids import new_id
from support.vtn_world import NOON, World
from vtn.services import message_log
from vtn.services.message_bodies import packed
from vtn.services.message_log import LogLine
from vtn.services.settings import LogBounds
from vtn.transport.message_log import Exchange, MessageLog


def log_of(world: World, bounds: LogBounds | None = None, **options: Any) -> MessageLog:
    """Return a log that writes to the world's database."""
    return MessageLog(world.db, world.directory, bounds or LogBounds(), CollectorRegistry(), **options)


async def logged(world: World, *exchanges: Exchange, **options: Any) -> None:
    """Have exchanges in the world's log."""
    log = log_of(world, **options)
    for exchange in exchanges:
        log.note(exchange)
    await log.flush()


def a_line(minute: float = 0, who: str = "ven_1", **more: Any) -> LogLine:
    """Return a line of the log, said so many minutes after noon."""
    plain: dict[str, Any] = {
        "id": new_id("msg"),
        "at": NOON + timedelta(minutes=minute),
        "who": who,
        "fingerprint": "AA:01",
        "sender": "ven",
        "profile": "2.0b",
        "type": "oadrPoll",
        "answer_type": "oadrDistributeEvent",
        "status": 200,
        "code": 200,
        "fault": False,
        "request_bytes": 1,
        "answer_bytes": 2,
        "cut": False,
        "bodies": packed(b"<a/>", b"<b/>"),
    }
    return LogLine(**plain | more)


async def kept(world: World, *lines: LogLine) -> None:
    """Have lines in the world's log."""
    async with world.tx() as tx:
        await message_log.keep(tx, lines)
