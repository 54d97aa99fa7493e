"""The ways to devices: one module a kind, which makes a `Connection` from its options.

A device's driver says which kind it needs; the household file says how to reach it. A new kind is a word of
`ConnectionKind`, a module of that name with `create(options)`, and its options in the union `ConnectionOptions`.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, cast, runtime_checkable

from bridges.connections.mqtt_options import MqttOptions
from core.errors import UnavailableError


class ConnectionKind(StrEnum):
    """What is spoken on the way; also the name of the module here that speaks it."""

    MQTT = "mqtt"


ConnectionOptions = MqttOptions
"""The options of a connection, told apart by their `kind`: a union, once there is more than one."""


@dataclass(frozen=True, slots=True)
class Message:
    """What came over a connection. `retained`: it was stored on the way before we listened, and may be old."""

    topic: str
    payload: bytes
    retained: bool = False


Handler = Callable[[Message], Awaitable[None] | None]
"""Takes a message, in the order of arrival; a coroutine is awaited before the next message is taken."""


Storing = Callable[[], asyncio.Future[None] | None]
"""Tells what to wait for until all that was taken so far is on disk; None where there is nothing to wait for."""


class Connection(Protocol):
    """One way to devices, kept up by `run()`. A topic is what the kind calls a place: a topic, a path, a register.

    `qos` 0 is for what is stale once it was missed, 1 for what must arrive; a kind that knows no such thing ignores it.
    """

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""

    @property
    def heard_s(self) -> float | None:
        """When the other side was last heard, in seconds of `time.monotonic`; None if never."""

    async def run(self) -> None:
        """Open, keep up until cancelled, then close. An other side that is away is waited for."""

    async def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        """Hand a message over. Raises UnavailableError if that is not possible now, InvalidError if it never is."""

    async def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        """Give `handler` what comes from there, now and after every reconnection; where nothing comes unasked, ask."""

    async def unsubscribe(self, topic_filter: str, handler: Handler) -> None:
        """Stop that."""

    def observe(self, observer: Callable[[bool], None]) -> None:
        """Call `observer` with True and False when the connection comes up and goes down."""


@runtime_checkable
class Counting(Protocol):
    """A connection that counts the messages that came to nothing."""

    @property
    def unused(self) -> Mapping[str, int]:
        """How many, by why; the reasons are few."""


@runtime_checkable
class Acknowledging(Protocol):
    """A connection whose other side keeps a message until it is acknowledged, and else sends it again."""

    def acknowledge_after(self, storing: Storing) -> None:
        """Acknowledge messages from now on only when what `storing` returns after their handling is done."""


def connect(options: ConnectionOptions) -> Connection:
    """Return a connection that `run()` will open; its module is imported now.

    Raises InvalidError for options that cannot be used, such as files that cannot be read.
    """
    module = importlib.import_module(f"{__name__}.{options.kind}")
    return cast("Connection", module.create(options))


class NoConnection:
    """A way to nowhere: for devices that need none, and to ask drivers what their devices can do."""

    connected = False
    heard_s = None

    async def run(self) -> None:
        """Have nothing to keep up."""

    async def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        """Refuse."""
        raise UnavailableError(f"There is no connection to send {len(payload)} bytes to {topic} ({qos}, {retain}).")

    async def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        """Nothing will ever come."""

    async def unsubscribe(self, topic_filter: str, handler: Handler) -> None:
        """Nothing ever came."""

    def observe(self, observer: Callable[[bool], None]) -> None:
        """Do nothing: this connection never comes up."""
