"""The log of messages of a world."""

from typing import Any

from prometheus_client import CollectorRegistry

from support.vtn_world import World
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
