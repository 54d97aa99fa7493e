"""The gateway: a VTN's answer, or a message that it hands out with a poll."""

import asyncio
import tempfile
import zlib
from pathlib import Path

import structlog
from fuzz.gateway_world import World, good

from openadr.v20b import messages as m
from openadr.v20b.encode import encode

_LIVES_FOR = 30
"""A gateway is made anew after so many messages."""
_STAGES = 4


class Gateway:
    """A gateway with devices, made anew now and then, after hours with a sound VTN in which it must recover."""

    def __init__(self) -> None:
        structlog.configure(processors=[_drop])
        self._loop = asyncio.new_event_loop()
        self._begin()

    def take(self, body: bytes) -> None:
        """Answer the gateway with a body: mostly its polls, and now and then whatever it asks first.

        Raises what the gateway raises, and AssertionError if it does not speak any more, or does not recover.
        """
        if self._taken >= _LIVES_FOR:
            self._world.settle()
            self._end()
            self._begin()
        self._taken += 1
        asked = self._world.next()
        while zlib.crc32(body) % _STAGES and not isinstance(asked, m.Poll):
            self._world.answer(encode(good(asked)))
            asked = self._world.next()
        self._world.answer(body)

    def close(self) -> None:
        """See that it recovers, and end it."""
        try:
            self._world.settle()
        finally:
            self._end()
            self._loop.close()

    def _begin(self) -> None:
        self._taken = 0
        self._folder = tempfile.TemporaryDirectory()
        self._world = World(Path(self._folder.name), self._loop)

    def _end(self) -> None:
        self._world.end()
        self._folder.cleanup()


def _drop(_logger: object, _method: str, _entry: dict) -> dict:
    raise structlog.DropEvent
