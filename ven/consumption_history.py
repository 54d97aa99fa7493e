"""What meters and devices drew in past half hours, read from the ring once and then kept up to date.

Half hours in which an event held a device, and the hour after it, say nothing of what it draws by itself: they are
left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bridges.device import Device, Outcome, Rank, State
from core.plausible import HOME_W
from core.points import Flow, Kind, Phase, Quality, Quantity
from core.spans import Span, floor_to
from ven.readings_store import Ring
from ven.series import Measured, edges, mean_power, measured

Drawn = dict[int, float]
"""Start of a step (seconds since 1970) -> mean power in it, W."""

_DAY: Final = timedelta(days=1)
_NO_TIME: Final = timedelta()
_LATE: Final = timedelta(hours=3)
"""Readings may come that late; what lies further back is not read again."""
_AFTERMATH: Final = timedelta(hours=1)
"""How long a device catches up on what an event withheld."""
_ENOUGH: Final = 0.4
"""Which share of a step has to be seen before it says anything: a thermostat goes on and off meanwhile."""
_HELD: Final = frozenset({State.SENT, State.CONFIRMED})
_ENDED: Final = frozenset({State.OVERRIDDEN, State.RESTORED, State.REPLACED})


@dataclass(frozen=True, slots=True)
class Source:
    """Where a draw is read: the points of an import register and of a power; either may be missing."""

    register: str | None = None
    power: str | None = None


def source_of(device: Device) -> Source | None:
    """Return where the device tells what it draws, or None if it does not."""
    mine = [one for one in device.points if one.flow is not Flow.EXPORT and one.phase is Phase.TOTAL]
    counts = (one.id for one in mine if (one.quantity, one.kind) == (Quantity.ENERGY_REAL, Kind.REGISTER))
    powers = (one.id for one in mine if one.quantity is Quantity.POWER_REAL)
    found = Source(next(counts, None), next(powers, None))
    return found if found != Source() else None


class ConsumptionMemory:
    """The past steps of several sources. `refresh` before reading."""

    def __init__(
        self, ring: Ring, sources: Mapping[str, Source], step: timedelta, days: int, connection_w: float = HOME_W
    ) -> None:
        self._ring = ring
        self._connection_w = connection_w
        self._sources = dict(sources)
        self._step = step
        self._reach = _DAY * days
        self._drawn: dict[str, Drawn] = {name: {} for name in sources}
        self._read_until: datetime | None = None

    def forget(self) -> None:
        """Read everything again at the next `refresh`: older readings have come in."""
        self._drawn = {name: {} for name in self._sources}
        self._read_until = None

    def refresh(self, now: datetime, held: Mapping[str, Sequence[Span]]) -> None:
        """Read what came since the last time; `held` says when events held a device. May raise UnavailableError."""
        step_s = int(self._step.total_seconds())
        oldest = floor_to(now - self._reach, step_s)
        since = oldest if self._read_until is None else max(oldest, floor_to(self._read_until - _LATE, step_s))
        running = floor_to(now, step_s)
        for name, source in self._sources.items():
            drawn = self._drawn[name]
            for start in [one for one in drawn if one < oldest.timestamp() or one >= since.timestamp()]:
                del drawn[start]
            for one in self._read(source, since, running, now):
                drawn[int(one.start.timestamp()) // step_s * step_s] = one.power_w
            for span in held.get(name, ()):
                _leave_out(drawn, span, step_s, now)
        self._read_until = now

    def _read(self, source: Source, since: datetime, running: datetime, now: datetime) -> list[Measured]:
        """Return the mean powers since a time, day by day; the running step as far as it has come."""
        found: list[Measured] = []
        while since < running:
            until = min(since + _DAY, running)
            found += self._measure(source, edges(since, until, self._step))
            since = until
        present = floor_to(now, 60)
        if present - running >= self._step * _ENOUGH:
            found += self._measure(source, [running, present])
        return found

    def _measure(self, source: Source, at: list[datetime]) -> list[Measured]:
        found: list[Measured] = []
        if source.register:
            readings = self._ring.between(source.register, at[0], at[-1], around=True)
            # What spans several steps is no statement about one of them.
            found = [
                one
                for one in measured(readings, at, self._step, self._connection_w)
                if one.end - one.start <= self._step and one.quality is not Quality.UNCERTAIN
            ]
        if source.power and not found:
            readings = self._ring.between(source.power, at[0], at[-1])
            seen = _seen([one.start for one in readings], self._step)
            found = [
                one
                for one in mean_power(readings, at, self._connection_w)
                if seen.get(_index(one.start, self._step), _NO_TIME) >= self._step * _ENOUGH
            ]
        return found

    def of(self, name: str) -> Drawn:
        """Return the steps of a source; do not change them."""
        return self._drawn[name]


def _index(when: datetime, step: timedelta) -> int:
    return int(when.timestamp() // step.total_seconds())


def _seen(times: Sequence[datetime], step: timedelta) -> dict[int, timedelta]:
    """Return step -> time between the first and the last reading in it; `times` ascend."""
    first: dict[int, datetime] = {}
    seen: dict[int, timedelta] = {}
    for when in times:
        index = _index(when, step)
        seen[index] = when - first.setdefault(index, when)
    return seen


def held_spans(outcomes: Sequence[Outcome], now: datetime) -> dict[str, list[Span]]:
    """Return device -> when events held it, out of the journal's steps."""
    began: dict[str, Outcome] = {}
    ended: dict[str, datetime] = {}
    for one in outcomes:
        if one.command.rank is not Rank.EVENT:
            continue
        if one.state in _HELD:
            began.setdefault(one.command.id, one)
        elif one.state in _ENDED:
            ended[one.command.id] = one.at
    spans: dict[str, list[Span]] = {}
    for ident, first in began.items():
        end = ended.get(ident, min(first.command.until, now))
        if end > first.at:
            spans.setdefault(first.command.device, []).append(Span(first.at, end))
    return spans


def _leave_out(drawn: Drawn, span: Span, step_s: int, now: datetime) -> None:
    end = min((span.end or now) + _AFTERMATH, now)
    start = int(span.start.timestamp()) // step_s * step_s
    while start < end.timestamp():
        drawn.pop(start, None)
        start += step_s


def at_time(start_s: int) -> datetime:
    """Return the aware UTC time of seconds since 1970."""
    return datetime.fromtimestamp(start_s, UTC)
