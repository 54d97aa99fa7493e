"""Devices: what they can do, what they are told, and what came of it.

A driver only speaks its device's language. Leases, read-back, re-assertion, arbitration and restoring are done once,
for every device, in `bridges.leases`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Protocol

from core.points import Point, Reading

Value = float | str
"""A capability's value: a number in the capability's unit, or a word such as `on`."""


@dataclass(frozen=True, slots=True)
class Capability:
    """Something a device can be told.

    `name` is one of switch, import_limit, export_limit, current_limit, setpoint, mode, storage_power. `normal` is the
    value that means "no limit" and stands in for an unknown previous state; `values` lists the words of an enumerated
    capability; `low`/`high` bound a numeric one and `floor` is the least value that a shed may ask for. `hardware_lease`
    says that the device itself reverts when the lease runs out.
    """

    name: str
    normal: Value
    unit: str = ""
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    hardware_lease: bool = False
    min_interval: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its driver describes it. `nominal_w` is what it draws when it runs, if known."""

    id: str
    role: str
    points: tuple[Point, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    nominal_w: float | None = None

    def capability(self, name: str) -> Capability | None:
        """Return the capability of that name, or None."""
        return next((one for one in self.capabilities if one.name == name), None)


class Rank(IntEnum):
    """Who may overrule whom; the higher rank wins, of equals the newer command (limits: the more restrictive)."""

    SCHEDULE = 1
    EVENT = 2
    USER = 3
    SAFETY = 4


@dataclass(frozen=True, slots=True)
class Command:
    """An order to a device, with its expiry: never set-and-forget. `until` is world time, aware UTC.

    `by` names the cause (an event id, `user`, `comfort`); `id` is unique and stays the same when a restarted gateway
    repeats the command.
    """

    id: str
    device: str
    capability: str
    value: Value
    until: datetime
    by: str
    rank: Rank = Rank.EVENT


class State(StrEnum):
    """How far a command got. CONFIRMED means the device's own state message after the command."""

    JOURNALLED = "journalled"
    SENT = "sent"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    REFUSED = "refused"
    OVERRIDDEN = "overridden"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step in a command's life. `detail` says why it failed, was refused or overridden."""

    command: Command
    state: State
    at: datetime
    detail: str = ""


class Driver(Protocol):
    """The language of one device."""

    def describe(self) -> Device:
        """Return what the device is and can do."""

    async def start(
        self, on_reading: Callable[[Reading], None], on_state: Callable[[str, Value, datetime], None]
    ) -> None:
        """Begin to listen: `on_reading` gets every value, `on_state(capability, value, at)` every state message."""

    async def stop(self) -> None:
        """Stop listening; leaves the device as it is."""

    @property
    def online(self) -> bool:
        """Whether the device is believed to be reachable now."""

    def state(self, capability: str) -> Value | None:
        """Return the last state that the device itself reported, or None if it has not spoken yet."""

    async def apply(self, capability: str, value: Value, until: datetime | None) -> None:
        """Send an order. `until` lets a hardware lease be set; None restores without one.

        Returns when the order is handed over, not when the device has confirmed it. Raises UnavailableError if it
        cannot be handed over now, InvalidError if the device cannot do that.
        """
