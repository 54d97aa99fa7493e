"""Devices: what they can do, what they are told, and what came of it.

A driver only speaks its device's language. Leases, read-back, re-assertion, arbitration and restoring are done once,
for every device, in `bridges.leases`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final, Protocol, runtime_checkable

from pydantic import BaseModel

from core.points import Point, Reading

Value = float | str
"""A capability's value: a number in the capability's unit, or a word such as `on`."""


def same(left: Value, right: Value) -> bool:
    """Tell whether two values mean the same; devices round numbers, so a tenth of a percent is no difference."""
    if isinstance(left, str) or isinstance(right, str):
        return left == right
    return math.isclose(left, right, rel_tol=1e-3, abs_tol=0.02)


class CapabilityKind(StrEnum):
    """What a device can be told; the words of household files, templates and the journal."""

    SWITCH = "switch"
    IMPORT_LIMIT = "import_limit"
    EXPORT_LIMIT = "export_limit"
    CURRENT_LIMIT = "current_limit"
    SETPOINT = "setpoint"
    OFFSET = "offset"
    MODE = "mode"
    BOOST = "boost"
    STORAGE_POWER = "storage_power"
    SOC_TARGET = "soc_target"
    DUTY = "duty"
    NOTIFY = "notify"


LIMITS: Final = frozenset({CapabilityKind.IMPORT_LIMIT, CapabilityKind.EXPORT_LIMIT, CapabilityKind.CURRENT_LIMIT})
"""Capabilities of which the lower value is the more restrictive; none of them is negative."""


@dataclass(frozen=True, slots=True)
class Capability:
    """Something a device can be told, of the kind `name`.

    `normal` is the value that means "no limit" and stands in for an unknown previous state; `values` lists the words
    of an enumerated capability; `low`/`high` bound a numeric one and `floor` is the least value that a shed may ask
    for. `hardware_lease` says that the device itself reverts when the lease runs out, `readable` that it answers when
    its driver asks for its state. Without `readback` it never says what it does: an order is sent, and never confirmed.
    `text`: it takes any text, as a notice for people does.
    """

    name: CapabilityKind
    normal: Value
    unit: str = ""
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    hardware_lease: bool = False
    readable: bool = False
    min_interval: timedelta = timedelta()
    readback: bool = True
    text: bool = False

    @property
    def least(self) -> float:
        """The least number that it may be set to; negative infinity if nothing bounds it."""
        bounds = [bound for bound in (self.low, self.floor) if bound is not None]
        return max([*bounds, 0.0 if self.name in LIMITS else -math.inf])


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its driver describes it. `nominal_w` is what it draws when it runs, if known."""

    id: str
    role: str
    points: tuple[Point, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    nominal_w: float | None = None

    def capability(self, name: CapabilityKind) -> Capability | None:
        """Return the capability of that kind, or None."""
        return next((capability for capability in self.capabilities if capability.name == name), None)


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device as its owner describes it; `bridges.drivers` turns it into a driver.

    `driver` is a name that `bridges.drivers.load` knows; `options` is what that driver's `Options` model takes, as a
    plain mapping or already as that model.
    """

    id: str
    driver: str
    role: str
    nominal_w: float | None = None
    options: Mapping[str, object] | BaseModel = field(default_factory=dict)


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
    capability: CapabilityKind
    value: Value
    until: datetime
    by: str
    rank: Rank = Rank.EVENT


class State(StrEnum):
    """How far a command got. CONFIRMED means the device's own state message after the command.

    REFUSED, OVERRIDDEN, RESTORED and REPLACED are final. REPLACED: the command ended while another one holds the
    device, so there was nothing to restore. FAILED is final when the lease has ended; before that the device did not
    confirm in time, is still tried now and then, and CONFIRMED may follow.
    """

    JOURNALLED = "journalled"
    SENT = "sent"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    REFUSED = "refused"
    OVERRIDDEN = "overridden"
    RESTORED = "restored"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step in a command's life. `detail` says why it failed, was refused or overridden."""

    command: Command
    state: State
    at: datetime
    detail: str = ""


StateListener = Callable[[CapabilityKind, Value, datetime | None], None]
"""Takes a device's own word on its state, and when it said so, in world time; None where that cannot be told."""


class Driver(Protocol):
    """The language of one device."""

    def describe(self) -> Device:
        """Return what the device is and can do."""

    async def start(self, on_reading: Callable[[Reading], None], on_state: StateListener) -> None:
        """Begin to listen: `on_reading` gets every value, `on_state` every word on the device's state.

        What a broker has stored (a retained message) is not the device's word and is not passed on.
        """

    async def stop(self) -> None:
        """Stop listening; leaves the device as it is."""

    @property
    def online(self) -> bool:
        """Whether the device is believed to be reachable now."""

    def state(self, capability: CapabilityKind) -> Value | None:
        """Return the last state known of the device, also a stored one, or None if there is none yet."""

    async def apply(self, capability: CapabilityKind, value: Value, until: datetime | None) -> None:
        """Send an order. `until` lets a hardware lease be set; None restores without one.

        Returns when the order is handed over, not when the device has confirmed it. Raises UnavailableError if it
        cannot be handed over now, InvalidError if the device cannot do that.
        """


class Contact(StrEnum):
    """What became of the way to a device.

    LINK: our own link is back, the device may have been up all the time; a state that differs and that was not said
    only now is the user's hand. RESTARTED: the device itself was away and is back, so a state that differs is what it
    booted with.
    """

    LOST = "lost"
    LINK = "link"
    RESTARTED = "restarted"


@runtime_checkable
class Observable(Protocol):
    """A driver that tells when its device comes and goes."""

    def observe(self, on_contact: Callable[[Contact], None]) -> None:
        """Call `on_contact` from now on."""


@runtime_checkable
class Reverting(Protocol):
    """A driver whose device goes back by itself (`Capability.hardware_lease`)."""

    def recall(self, capability: CapabilityKind, before: Value | None, order: Command) -> None:
        """Take notice, before `start`, of the last order of an earlier life, and of what the device did before it.

        `before` is None where it has been given back: then only its timer may still run.
        """


@runtime_checkable
class Backfill(Protocol):
    """A driver whose device remembers its readings."""

    async def history(self, since: datetime, until: datetime) -> None:
        """Ask for the readings in [since, until]; they come through `on_reading`, with the times they were taken.

        Raises UnavailableError if the request cannot be handed over now.
        """
