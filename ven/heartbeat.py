"""A sign of life at the broker: that the gateway runs, since when, and on what (`heartbeat` of a household file)."""

import asyncio
import json
import platform
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import structlog

from bridges.connections import Connection
from core.clock import Clock, pause
from core.errors import EvenloadError
from ven.household import Household

_log = structlog.get_logger(__name__)

_THERMAL: Final = Path("/sys/class/thermal/thermal_zone0/temp")
_MILLI: Final = 1000.0


class Heartbeat:
    """Says so often that this gateway lives."""

    def __init__(
        self,
        household: Household,
        connections: Mapping[str, Connection],
        clock: Clock,
        started: datetime,
        thermal: Path = _THERMAL,
    ) -> None:
        self._household = household
        self._connections = connections
        self._clock = clock
        self._started = started
        self._thermal = thermal

    async def run(self) -> None:
        """Say so for ever; where nothing is asked for there is nothing to do."""
        asked = self._household.heartbeat
        if asked is None:
            return
        name = self._household.broker_name(asked.connection, "the heartbeat")
        topic = asked.topic.replace("{home}", self._household.name)
        host = self._household.all_connections()[name].host
        while True:
            try:
                words = await asyncio.to_thread(self.words, host)  # a name server may take its time
                await self._connections[name].publish(topic, json.dumps(words), qos=0)
            except EvenloadError as error:
                _log.debug("no heartbeat was sent", reason=str(error))
            await pause(self._clock, asked.every.timedelta())

    def words(self, host: str) -> dict[str, Any]:
        """Return what is said; `host` is whom it is said to, by which our own address is known."""
        return {
            "name": self._household.name,
            "at": self._clock.now().isoformat(),
            "since": self._started.isoformat(),
            "ip": _own_address(host),
            "cpu_temperature": self._temperature(),
            "firmware": f"{platform.system()} {platform.release()}",
            "runtime": f"evenload {version('evenload')}, Python {platform.python_version()}",
        }

    def _temperature(self) -> float | None:
        """Return the processor's temperature in degrees Celsius, where this machine tells it."""
        try:
            return round(int(self._thermal.read_text(encoding="ascii")) / _MILLI, 1)
        except (OSError, ValueError):
            return None


def _own_address(host: str) -> str | None:
    """Return the address by which this machine reaches a host; nothing is sent."""
    with suppress(OSError):
        family, kind, protocol, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    return None
