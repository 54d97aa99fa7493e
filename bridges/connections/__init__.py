"""The ways to devices: one module a kind, each with its options and a `Connection`.

A device's driver says which kind it needs; the household file says how to reach it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from core.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Message:
    """What came over a connection. `retained`: it was stored on the way before we listened, and may be old."""

    topic: str
    payload: bytes
    retained: bool = False


Handler = Callable[[Message], Awaitable[None] | None]
"""Takes a message, in the order of arrival; a coroutine is awaited before the next message is taken."""


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
