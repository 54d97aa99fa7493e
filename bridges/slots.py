"""Who holds a capability of a device: the rules, without I/O and without waiting.

A slot is one capability of one device. Commands lay claims on it; the strongest claim holds it.
"""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from bridges.device import Capability, Command, Driver, Value
from core.errors import InvalidError
from core.spans import utc

_LIMITS = frozenset({"import_limit", "export_limit", "current_limit"})
"""Capabilities of which the lower value is the more restrictive."""


class Phase(Enum):
    """Where a slot stands with its device.

    FREE: nobody holds it. WRITE: the device must be told. SENT: told, not yet confirmed. HELD: confirmed.
    """

    FREE = "free"
    WRITE = "write"
    SENT = "sent"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Pace:
    """Machine times, in seconds.

    `ack_s`: how long a device may take to confirm, doubled on each of the `tries` after which a command counts as
    FAILED (and is tried on, at most every `longest_s`). `settle_s`: after our link came back, time for a missed
    state message to tell of the user's hand before a lease is asserted again. `first_word_s`: how long the first write
    waits for a device that has not spoken yet, so that its real state is what gets restored. `grace_s`: after a lease
    ran out, time for the next interval's command to follow without the device going back and forth.
    """

    ack_s: float = 15.0
    tries: int = 4
    settle_s: float = 1.0
    first_word_s: float = 2.0
    longest_s: float = 300.0
    grace_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Lease:
    """A command that is open: what it holds, whether it is the one the device follows, and what will be restored."""

    command: Command
    holds: bool
    phase: Phase
    previous: Value | None


@dataclass(slots=True)
class Claim:
    """A command that lives; `seq` is its place in the order of arrival."""

    seq: int
    command: Command
    released: bool = False
    confirmed_at: datetime | None = None

    def over(self, now: datetime) -> bool:
        """Tell whether the claim has ended."""
        return self.released or self.command.until <= now


@dataclass(slots=True)
class Slot:
    """One capability of one device, and what we are doing with it.

    `previous` is what gets restored, `restoring` the claim that is being undone, `touched` whether we wrote since the
    last restore. `attempts` counts orders that could not be handed over, `silent` those that were not confirmed;
    `handing_over` is set while the driver sends, and `early` keeps a confirmation that came before it had returned.
    `listening`: the first write waits for the device's first word. `retry_at` and `reassert_at` are machine time
    (seconds of the event loop's clock); `written_at` and `heard_at` are world time.
    """

    device: str
    capability: Capability
    driver: Driver
    claims: dict[str, Claim] = field(default_factory=dict)
    holder: Claim | None = None
    restoring: Claim | None = None
    phase: Phase = Phase.FREE
    touched: bool = False
    previous: Value | None = None
    written: Value | None = None
    written_at: datetime | None = None
    heard_at: datetime | None = None
    listening: bool = False
    attempts: int = 0
    silent: int = 0
    retry_at: float = 0.0
    reassert_at: float | None = None
    handing_over: bool = False
    early: datetime | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def goal(self) -> Value:
        """What the device shall do: the holder's value, or what it did before us, or its normal."""
        if self.holder is not None:
            return self.holder.command.value
        return self.capability.normal if self.previous is None else self.previous

    def aim(self, holder: Claim | None, restoring: Claim | None) -> None:
        """Turn to a new goal; the device must be told."""
        self.holder, self.restoring = holder, restoring
        self.phase = Phase.WRITE
        self.listening, self.attempts, self.silent, self.retry_at, self.reassert_at = False, 0, 0, 0.0, None
        self.wake.set()

    def release(self) -> None:
        """Let go of everything."""
        self.claims.clear()
        self.holder = self.restoring = None
        self.phase, self.touched, self.previous, self.reassert_at = Phase.FREE, False, None, None
        self.wake.set()

    def strongest(self, claims: Iterable[Claim]) -> Claim | None:
        """Return the claim that holds: the highest rank; of equals the lowest limit, else the newest."""
        limit = self.capability.name in _LIMITS

        def strength(claim: Claim) -> tuple[int, float, int]:
            return claim.command.rank, -float(claim.command.value) if limit else 0.0, claim.seq

        return max(claims, key=strength, default=None)


def same(one: Value, other: Value) -> bool:
    """Tell whether two values mean the same; devices round numbers, so a tenth of a percent is no difference."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other, rel_tol=1e-3, abs_tol=0.02)


def admitted(command: Command, capability: Capability, now: datetime) -> tuple[Value, str]:
    """Return the value to apply, and a note where the floor raised it. Raises InvalidError for what cannot be done."""
    if utc(command.until) <= now:
        raise InvalidError(f"It was over at {command.until.isoformat()}.")
    value = command.value
    if capability.values:
        if value not in capability.values:
            raise InvalidError(f"{capability.name} takes {', '.join(capability.values)}, not {value!r:.40}.")
        return value, ""
    if isinstance(value, bool | str) or not math.isfinite(value):
        raise InvalidError(f"{capability.name} takes a number in {capability.unit or 'no unit'}, not {value!r:.40}.")
    note = ""
    if capability.floor is not None and value < capability.floor:
        note = f"raised from {value:g} to the floor {capability.floor:g} {capability.unit}".rstrip()
        value = capability.floor
    low = -math.inf if capability.low is None else capability.low
    high = math.inf if capability.high is None else capability.high
    if not low <= value <= high:
        raise InvalidError(f"{capability.name} takes {low:g} to {high:g} {capability.unit}, not {value:g}.")
    return value, note
