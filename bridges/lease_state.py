"""The lease machine: one capability of one device, its states and what moves it from one to the next. No I/O here.

What the words mean
-------------------
*Claimed*: a command asks for a value until a time. Several claims may stand; the strongest one holds (`strongest`).
*Marked*: what the device did before us (`previous`) is on disk. Only then may the first order go out.
*Written*: an order was handed over. It may be lost on the way, or reach a device that is not there.
*Confirmed*: the device itself has said, after the write, that it does what it was told.
*Released*: a claim's time is up, or its cause is gone. Nothing happens to a device that another claim holds.
*Restored*: no claim is left, and the device itself has confirmed that it does again what it did before the first of
them. Until then `previous` stays as it was marked, whatever is claimed, written, lost or restarted in between.

Which clock
-----------
World time (`Clock.now`) says when a claim ends, and nothing else: it may be set, in either direction. Everything that
is measured (the least time between writes, whether a word is younger than a write) runs on `Clock.elapsed`, world
time that cannot be set. Machine time paces retries and waits for answers.

What counts as the device's word
--------------------------------
A driver hands over each state message with the time at which it was said, or with None where nobody can tell: what a
device says right after its own start, or unstamped right after our link came back. Retained messages are not handed
over; `Driver.state` may still show them. Then
- a word *agrees* (AGREED) if it names the goal and was said after the write: nothing older confirms anything;
- a word is the user's *hand* (HAND) if the device had confirmed, the word is younger than the last one that agreed, and
  differs: the hand wins and the lease is given up. What a device says after we came back (RECHECK at our start) was
  said by hand only if it was said before that; later it may have started with us, after a power cut. A safety command
  is asserted over the hand (DRIFT);
- any other word changes nothing. A device that was away (RESTARTED) is told again, whatever it says.

One order at a time: another value is not written before the last one was answered, or `Pace.ack_s` has passed. A word
that comes late can then not be taken for the answer to the next order, nor for somebody's hand.

The states
----------
FREE       nothing of ours is on the device
CLAIMED    a claim holds it, nothing is marked or written yet: we listen for its own state
WRITE      marked; the device must be told the holder's value
SENT       told, not confirmed
HELD       confirmed
RECHECK    was confirmed, but we or the link were away: hear what the device has to say, then assert again
RESTORE    no claim is left; the device must be told its previous state
RESTORING  told so, not confirmed

Every way out of WRITE, SENT, HELD and RECHECK that is not the user's hand leads through RESTORING to FREE, and a claim
that arrives at any time is served: that is why devices come back and no claim is lost. `TABLE` is the whole machine.
What is not in it changes nothing.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from bridges.device import LIMITS, Capability, CapabilityKind, Command, Driver, Rank, Value, same
from bridges.own_state import OwnState
from core.errors import InvalidError
from core.spans import utc


class Phase(Enum):
    """The state of a slot; the module's docstring says what each means."""

    FREE = "free"
    CLAIMED = "claimed"
    WRITE = "write"
    SENT = "sent"
    HELD = "held"
    RECHECK = "recheck"
    RESTORE = "restore"
    RESTORING = "restoring"


class Event(Enum):
    """What happens to a slot."""

    CLAIM = "another claim holds now"
    END = "no claim is left"
    MARKED = "the previous state is on disk"
    UNMARKED = "the first order turned out to be impossible: nothing was written"
    TOLD = "an order is handed over"
    UNTOLD = "the order could not be handed over"
    AGREED = "the device confirms"
    SILENCE = "the device did not confirm in time"
    HAND = "the user took the device back"
    DRIFT = "the device left a command that stands above its user"
    LINK = "our link is back"
    RESTARTED = "the device was away and is back"
    DUE = "there was time enough to hear"
    HOPELESS = "the device cannot be restored: its driver says so"


class Action(Enum):
    """What is to be recorded and told when a slot moves."""

    NOTHING = "nothing"
    DROP = "close what the device was never told"
    CONFIRM = "the command is confirmed"
    GIVE_WAY = "close everything: the user's hand wins"
    RESTORED = "close what has ended: the device is back"
    GIVE_UP = "close what has ended: the device cannot be brought back"


_NOTHING = Action.NOTHING

TABLE: Final[Mapping[Phase, Mapping[Event, tuple[Phase, Action]]]] = {
    Phase.FREE: {
        Event.CLAIM: (Phase.CLAIMED, _NOTHING),
        Event.END: (Phase.FREE, Action.DROP),
    },
    Phase.CLAIMED: {
        Event.CLAIM: (Phase.CLAIMED, _NOTHING),
        Event.END: (Phase.FREE, Action.DROP),
        Event.MARKED: (Phase.WRITE, _NOTHING),
        Event.LINK: (Phase.CLAIMED, _NOTHING),
        Event.RESTARTED: (Phase.CLAIMED, _NOTHING),
    },
    Phase.WRITE: {
        Event.CLAIM: (Phase.WRITE, _NOTHING),
        Event.END: (Phase.RESTORE, _NOTHING),
        Event.UNMARKED: (Phase.CLAIMED, _NOTHING),
        Event.TOLD: (Phase.SENT, _NOTHING),
        Event.LINK: (Phase.WRITE, _NOTHING),
        Event.RESTARTED: (Phase.WRITE, _NOTHING),
    },
    Phase.SENT: {
        Event.CLAIM: (Phase.WRITE, _NOTHING),
        Event.END: (Phase.RESTORE, _NOTHING),
        Event.UNTOLD: (Phase.WRITE, _NOTHING),
        Event.AGREED: (Phase.HELD, Action.CONFIRM),
        Event.SILENCE: (Phase.WRITE, _NOTHING),
        Event.LINK: (Phase.WRITE, _NOTHING),
        Event.RESTARTED: (Phase.WRITE, _NOTHING),
    },
    Phase.HELD: {
        Event.CLAIM: (Phase.WRITE, _NOTHING),
        Event.END: (Phase.RESTORE, _NOTHING),
        Event.HAND: (Phase.FREE, Action.GIVE_WAY),
        Event.DRIFT: (Phase.WRITE, _NOTHING),
        Event.LINK: (Phase.RECHECK, _NOTHING),
        Event.RESTARTED: (Phase.WRITE, _NOTHING),
    },
    Phase.RECHECK: {
        Event.CLAIM: (Phase.WRITE, _NOTHING),
        Event.END: (Phase.RESTORE, _NOTHING),
        Event.HAND: (Phase.FREE, Action.GIVE_WAY),
        Event.DRIFT: (Phase.WRITE, _NOTHING),
        Event.DUE: (Phase.WRITE, _NOTHING),
        Event.LINK: (Phase.RECHECK, _NOTHING),
        Event.RESTARTED: (Phase.WRITE, _NOTHING),
    },
    Phase.RESTORE: {
        Event.CLAIM: (Phase.WRITE, _NOTHING),
        Event.TOLD: (Phase.RESTORING, _NOTHING),
        Event.LINK: (Phase.RESTORE, _NOTHING),
        Event.RESTARTED: (Phase.RESTORE, _NOTHING),
    },
    Phase.RESTORING: {
        Event.CLAIM: (Phase.WRITE, _NOTHING),
        Event.UNTOLD: (Phase.RESTORE, _NOTHING),
        Event.AGREED: (Phase.FREE, Action.RESTORED),
        Event.SILENCE: (Phase.RESTORE, _NOTHING),
        Event.LINK: (Phase.RESTORE, _NOTHING),
        Event.RESTARTED: (Phase.RESTORE, _NOTHING),
        Event.HOPELESS: (Phase.FREE, Action.GIVE_UP),
    },
}

_LONGEST_TEXT: Final = 200
SAME_MOMENT: Final = timedelta(milliseconds=50)
"""An age is read off two clocks; times that differ by less are the same."""

UNSAID: Final = frozenset({Phase.CLAIMED, Phase.WRITE, Phase.RESTORE})
"""The device must be told something."""
UNANSWERED: Final = frozenset({Phase.SENT, Phase.RESTORING})
"""The device was told and owes its word."""
_AGAIN: Final = frozenset({Event.TOLD, Event.UNTOLD, Event.SILENCE})
"""Events within one effort: its tries go on being counted."""

_NEVER_LOOSENED: Final = frozenset({CapabilityKind.IMPORT_LIMIT, CapabilityKind.EXPORT_LIMIT})
"""Limits that stand for people's or the grid's own: an event adds to them. (A car may well be given more current.)"""


@dataclass(frozen=True, slots=True)
class Pace:
    """Machine times, in seconds.

    `ack_s`: how long a device may take to confirm, doubled on each of the `tries` after which a command counts as
    FAILED (and is tried on, at most every `longest_s`). `settle_s`: after our link came back, time for a missed
    state message to tell of the user's hand before a lease is asserted again. `first_word_s`: how long the first write
    waits for a device that has not spoken yet, so that its real state is what gets restored. `grace_s`: after a lease
    ran out, time for the next interval's command to follow without the device going back and forth. At most `burst`
    orders go out in `burst_s`, however many commands come, tries of the same one apart. After `drifts` a command
    that the device keeps leaving counts as FAILED, and is asserted every `longest_s` only. `nap_s`: how
    soon a clock that was set is noticed.
    """

    ack_s: float = 15.0
    tries: int = 4
    settle_s: float = 1.0
    first_word_s: float = 2.0
    longest_s: float = 300.0
    grace_s: float = 0.05
    burst: int = 4
    burst_s: float = 10.0
    drifts: int = 10
    nap_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A command that is open: what it holds, whether it is the one the device follows, and what will be restored.

    `ending`: its time is up or it was released; it is open until the device is back.
    """

    command: Command
    holds: bool
    phase: Phase
    previous: Value | None
    ending: bool = False


@dataclass(slots=True)
class Claim:
    """A command that lives; `seq` is its place in the order of arrival."""

    seq: int
    command: Command
    released: bool = False
    confirmed_at: datetime | None = None
    drifts: int = 0
    """How often the device left it by itself."""

    def over(self, now: datetime) -> bool:
        """Tell whether the claim has ended."""
        return self.released or self.command.until <= now


@dataclass(slots=True)
class CapabilityState:
    """One capability of one device, and what we are doing with it.

    `previous` is what gets restored, `holder` the claim that the device follows, `restoring` the claim that is being
    undone. `attempts` counts orders that could not be handed over, `silent` those that were not confirmed,
    `old_answers` those that were answered with one and the same old stamp (`old_said`, last at try `old_try`);
    `changes` are the latest first orders of their kind; `handing_over` is set while the driver sends, and `early` notes
    a confirmation that came before it had returned. `spoken`: the device has told its state since it, the link or we
    came (`since`); `listening`: the first write waits for that. `own` is what it does while nothing of ours is on it.
    `settled` is what we know better than the device's late words, until `settled_until`: what it was left at.
    `owed_until` is how long the answer to our last order is waited for before another value is written.

    `retry_at`, `settled_until`, `owed_until` and `changes` are machine time (seconds of the event loop's clock),
    `written_at`, `heard_at`, `since` and `may_write_at` are `Clock.elapsed`, `back_at` is world time.
    """

    device: str
    capability: Capability
    driver: Driver
    pace: Pace = field(default_factory=Pace)
    claims: dict[str, Claim] = field(default_factory=dict)
    holder: Claim | None = None
    restoring: Claim | None = None
    phase: Phase = Phase.FREE
    previous: Value | None = None
    own: OwnState = field(default_factory=OwnState)
    settled: Value | None = None
    settled_until: float = 0.0
    written: Value | None = None
    written_at: timedelta | None = None
    may_write_at: timedelta | None = None
    owed_until: float = 0.0
    heard_at: timedelta | None = None
    back_at: datetime | None = None
    since: timedelta = timedelta.min
    spoken: bool = False
    listening: bool = False
    attempts: int = 0
    silent: int = 0
    old_answers: int = 0
    old_said: timedelta | None = None
    old_try: int = -1
    retry_at: float = 0.0
    changes: list[float] = field(default_factory=list)
    handing_over: bool = False
    early: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def before(self) -> Value:
        """What the device did before us, or its normal where that is not known."""
        return self.capability.normal if self.previous is None else self.previous

    @property
    def goal(self) -> Value:
        """What the device shall do: the holder's value, or what it did before us.

        What an event limits is limited by at least so much: it loosens no stricter limit that was there before.
        """
        if self.holder is None:
            return self.before
        wanted, own = self.holder.command.value, self.previous
        if self.capability.name not in _NEVER_LOOSENED or self.holder.command.rank > Rank.EVENT:
            return wanted
        if isinstance(own, str | None) or isinstance(wanted, str) or not self._is_limit(own):
            return wanted
        return min(own, wanted)

    def _is_limit(self, value: float) -> bool:
        """Tell whether a device's own word is a limit; for having none it may say 0, or less than it takes."""
        nothing_at_all = self.capability.name == CapabilityKind.EXPORT_LIMIT  # 0 is a limit there
        return value >= self.capability.least and (value > 0 or nothing_at_all)

    @property
    def repeats(self) -> bool:
        """Whether the next order tells the device what it was told last."""
        marked = self.phase not in (Phase.FREE, Phase.CLAIMED)
        return marked and self.written is not None and same(self.written, self.goal)

    def move(self, event: Event) -> Action | None:
        """Take the step that the table has for an event; None where it changes nothing."""
        row = TABLE[self.phase].get(event)
        if row is None:
            return None
        self.phase, action = row
        if event not in _AGAIN:
            self.attempts = self.silent = self.old_answers = 0
            self.old_said, self.old_try = None, -1
            self.listening, self.retry_at = False, 0.0
        if event in (Event.RESTARTED, Event.UNTOLD):
            self.owed_until = 0.0
        self.wake.set()
        return action

    def settle_at(self, value: Value | None, now_s: float) -> None:
        """Forget everything but the claims that still stand; words about our own writes may still be on their way."""
        self.holder = self.restoring = self.previous = self.back_at = None
        self.settled, self.settled_until = value, now_s + self.pace.ack_s

    def strongest(self, claims: Iterable[Claim]) -> Claim | None:
        """Return the claim that holds: the highest rank; of equals the lowest limit, else the newest.

        Of limits that are words nobody knows which is the lower, and the newest counts.
        """
        limit = self.capability.name in LIMITS and not self.capability.values

        def strength(claim: Claim) -> tuple[int, float, int]:
            value = claim.command.value  # a word is of a driver that this device had before
            return claim.command.rank, 0.0 if isinstance(value, str) or not limit else -value, claim.seq

        return max(claims, key=strength, default=None)

    def note_old_answer(self, spoken_at: timedelta) -> None:
        """Count the tries that were answered with the same old stamp."""
        if self.old_said is None or abs(spoken_at - self.old_said) > SAME_MOMENT:
            self.old_said, self.old_answers = spoken_at, 0
        elif self.old_try == self.silent:
            return
        self.old_try = self.silent
        self.old_answers += 1

    def paced_at(self) -> float:
        """Return the machine time from which the next order may go out. Tries of one order have their own back-off."""
        full = len(self.changes) == self.pace.burst and not self.silent and not self.attempts
        return max(0.0 if self.repeats else self.owed_until, self.changes[0] + self.pace.burst_s if full else 0.0)

    def note_order(self, now_s: float) -> None:
        """Remember that an order goes out now."""
        if not self.silent and not self.attempts:
            self.changes = [*self.changes, now_s][-self.pace.burst :]
        self.owed_until = now_s + self.pace.ack_s


def admitted(command: Command, capability: Capability, now: datetime) -> tuple[Value, str]:
    """Return the value to apply, and a note where the floor raised it. Raises InvalidError for what cannot be done."""
    if utc(command.until) <= now:
        raise InvalidError(f"It was over at {command.until.isoformat()}.")
    value = command.value
    if capability.text:
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            raise InvalidError(f"{capability.name} takes a text of {_LONGEST_TEXT} characters at most.")
        return value, ""
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
    low = capability.least
    high = math.inf if capability.high is None else capability.high
    if not low <= value <= high:
        raise InvalidError(f"{capability.name} takes {low:g} to {high:g} {capability.unit}, not {value:g}.")
    return value, note
