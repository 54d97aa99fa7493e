"""Flexibility potential: by how much this household's consumption could change in the hours to come (FN-AM-05).

Computed from what the devices drew at the same time of the last days, what events may do to them here, and how they
are now. Few days mean a wide spread: every sample gets two days more, one on which nothing runs and one on which all
of it runs throughout. Days are 24 hours of UTC, so in the fortnight after the clocks change the pattern is an hour off.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from bridges.device import CapabilityKind, Device, Driver, Rank
from bridges.lease_state import Lease
from core.direction import Direction
from core.spans import Span
from openadr.model.potential import (
    REPORT_NAME,
    Quantile,
    describe,
    describe_nominal,
    nominal_r_id,
    r_id,
)
from openadr.model.report import Report, ReportDescription, ReportInterval, ReportOffer, ReportPayload, SamplingRate
from ven.consumption_history import ConsumptionMemory, Drawn, at_time, source_of
from ven.household import Household, PotentialPlan
from ven.readings_store import Ring
from ven.reports import Sampled
from ven.rules import callable_devices
from ven.vtn_state import ReportTask

DAY_S: Final = 86_400
_BASE_SHARE: Final = 0.1
"""Which of the meter's half hours, from the lowest, shows the load that is always there."""
_UNSEEN_SHARE: Final = 0.5
"""How much of what lies above the base load is believed to be a device's that never told what it draws.

This belief weighs as much as one step with the mean of what lies above.
"""
_UNLEARNT_SHARE: Final = 0.1
"""How much of its nominal power a device is believed to draw by who has never seen it draw anything."""
_PATIENCE: Final = timedelta(minutes=2)
"""How long a device may be out of reach before that counts: links come back."""
_BY_HAND: Final = timedelta(hours=2)
"""How long a device that somebody switched off, or took back, is believed to stay out of reach."""
_NEVER_BACK: Final = datetime.max.replace(tzinfo=UTC)
_METER: Final = "meter of "


@dataclass(frozen=True, slots=True)
class Flexible:
    """A device that events may use here, and how far: down to `floor_w`, and up to nominal if it `increases`.

    `nominal_w` None: not known.
    """

    device: str
    nominal_w: float | None
    floor_w: float | None
    increases: bool = False

    def can(self, direction: Direction) -> bool:
        """Tell whether events may change its consumption that way."""
        return self.floor_w is not None if direction is Direction.REDUCE else self.increases

    def room_w(self, drawn_w: float, direction: Direction) -> float:
        """Return by how much its consumption could have changed while it drew that much."""
        if direction is Direction.REDUCE:
            return max(0.0, drawn_w - (self.floor_w or 0.0))
        return max(0.0, (self.nominal_w or drawn_w) - drawn_w)


@dataclass(frozen=True, slots=True)
class Spread:
    """Power (W) that a change reaches with 90, 50 and 10 per cent probability."""

    p10_w: float = 0.0
    p50_w: float = 0.0
    p90_w: float = 0.0

    def value(self, quantile: Quantile) -> float:
        """Return one of the three."""
        return {Quantile.P10: self.p10_w, Quantile.P50: self.p50_w, Quantile.P90: self.p90_w}[quantile]


NOTHING: Final = Spread()


# -- what events may do here


def flexible(household: Household, devices: Mapping[str, Device]) -> dict[str, tuple[Flexible, ...]]:
    """Return resource -> its devices that an event can call on (`ven.rules`); a device counts at one resource."""
    levers = {direction: callable_devices(household, devices, direction) for direction in Direction}
    reduced, increased = levers[Direction.REDUCE], levers[Direction.INCREASE]
    reach = {
        name: Flexible(
            name,
            devices[name].nominal_w,
            reduced[name].floor_w if name in reduced else None,
            increases=name in increased,
        )
        for name in dict.fromkeys([*reduced, *increased])
    }
    found: dict[str, tuple[Flexible, ...]] = {}
    for resource in household.all_resources():
        mine = tuple(one for name in dict.fromkeys(resource.devices) if (one := reach.pop(name, None)) is not None)
        if mine:
            found[resource.id] = mine
    return found


def absences(
    drivers: Mapping[str, Driver],
    devices: Iterable[Flexible],
    held: Sequence[Lease],
    overridden: Iterable[str],
    lost: Mapping[str, datetime],
    now: datetime,
) -> dict[str, datetime]:
    """Return device -> until when it has no potential: out of reach, held by an event, or in its user's hand.

    `lost` says since when devices are out of reach.
    """
    theirs = set(overridden)
    until: dict[str, datetime] = {}
    for lease in held:
        if lease.holds and lease.command.rank is not Rank.SCHEDULE:
            until[lease.command.device] = max(lease.command.until, until.get(lease.command.device, now))
    for one in devices:
        driver = drivers.get(one.device)
        if driver is None or lost.get(one.device, now) + _PATIENCE <= now:
            until[one.device] = _NEVER_BACK
        elif one.device not in until and (one.device in theirs or driver.state(CapabilityKind.SWITCH) == "off"):
            until[one.device] = now + _BY_HAND
    return until


# -- how much


def potential(
    devices: Sequence[Flexible],
    drawn: Mapping[str, Drawn],
    absent: Mapping[str, datetime],
    starts_s: Iterable[int],
    direction: Direction,
    days: int,
) -> list[Spread]:
    """Return the potential of a resource in each step that begins at `starts_s` (seconds since 1970).

    Each of the last `days` days on which all devices that are there now are known gives one sample: what could have
    been changed on it at that time, all devices together. Where no such day is known yet, each half hour that is known
    gives one, from the first one on.
    """
    return [_spread(devices, drawn, absent, start, direction, days) for start in starts_s]


def _spread(
    devices: Sequence[Flexible],
    drawn: Mapping[str, Drawn],
    absent: Mapping[str, datetime],
    start_s: int,
    direction: Direction,
    days: int,
) -> Spread:
    begin = at_time(start_s)
    able = [one for one in devices if one.can(direction) and absent.get(one.device, begin) <= begin]
    if direction is Direction.INCREASE:
        able = [one for one in able if one.nominal_w is not None]
    if not able:
        return NOTHING
    samples: list[float] = []
    for day in range(1, days + 1):
        then = [drawn.get(one.device, {}).get(start_s - day * DAY_S) for one in able]
        known = [one.room_w(draw, direction) for one, draw in zip(able, then, strict=True) if draw is not None]
        if len(known) == len(able):
            samples.append(math.fsum(known))
    limits = [one.nominal_w - ((one.floor_w or 0.0) if direction is Direction.REDUCE else 0.0)
              for one in able if one.nominal_w is not None]  # fmt: skip
    most = max(0.0, math.fsum(limits)) if len(limits) == len(able) else max(samples, default=0.0)
    if samples:
        return quantiles(samples, most)
    anytime = _anytime(able, drawn, direction, start_s - days * DAY_S)
    most = max(most, max(anytime, default=0.0)) if len(limits) < len(able) else most
    return Spread(0.0, quantiles(anytime, most).p50_w, most)


def _anytime(able: Sequence[Flexible], drawn: Mapping[str, Drawn], direction: Direction, since_s: int) -> list[float]:
    """Return what could have been changed in each step in which all devices are known, whatever the time of day."""
    first, *others = (drawn.get(one.device, {}) for one in able)
    return [
        math.fsum(one.room_w(drawn[one.device][start], direction) for one in able)
        for start in first
        if start >= since_s and all(start in each for each in others)
    ]


def quantiles(samples: Sequence[float], most_w: float) -> Spread:
    """Return p10, p50 and p90 of samples and of the two days that are always added: nothing, and all of `most_w`.

    Without any sample nothing is certain: p10 is 0, p50 a small share of `most_w`, p90 all of it.
    """
    if not samples:
        return Spread(0.0, float(round(_UNLEARNT_SHARE * most_w)), most_w)
    ranked = sorted([0.0, *(min(one, most_w) for one in samples), most_w])

    def at(share: float) -> float:
        place = share * (len(ranked) - 1)
        low = int(place)
        high = min(low + 1, len(ranked) - 1)
        return float(round(ranked[low] + (place - low) * (ranked[high] - ranked[low])))

    return Spread(at(0.1), at(0.5), at(0.9))


def filled(devices: Sequence[Flexible], drawn: Mapping[str, Drawn], meter: Drawn) -> dict[str, Drawn]:
    """Return what the devices drew, with gaps filled from the meter of their resource.

    The meter's lowest tenth of half hours shows the base load. Of what it reads above that, a device is given the share
    that it had where both are known; the less is known, the nearer that is to half of it, divided by nominal power.
    """
    whole = {one.device: dict(drawn.get(one.device, {})) for one in devices}
    if not meter:
        return whole
    base = sorted(meter.values())[int(_BASE_SHARE * (len(meter) - 1))]
    surplus = {start: max(0.0, power - base) for start, power in meter.items()}
    usual = math.fsum(surplus.values()) / len(surplus)
    nominal = math.fsum(one.nominal_w or 0.0 for one in devices)
    for one in devices:
        mine = whole[one.device]
        both = [start for start in mine if start in surplus]
        above = math.fsum(surplus[start] for start in both)
        believed = _UNSEEN_SHARE * (one.nominal_w or 0.0) / nominal if nominal else 0.0
        share = believed
        if above > 0:
            share = min(1.0, (believed * usual + math.fsum(mine[start] for start in both)) / (usual + above))
        most = one.nominal_w if one.nominal_w is not None else math.inf
        for start, power in surplus.items():
            mine.setdefault(start, min(share * power, most))
    return whole


# -- the report


@dataclass(frozen=True, slots=True)
class _Forecast:
    """The potential as it was computed at some time: (resource, direction) -> spreads by start, seconds since 1970."""

    spreads: Mapping[tuple[str, Direction], Mapping[int, Spread]]

    def differs(self, other: "_Forecast", threshold_w: float, now_s: float, step_s: int) -> bool:
        """Tell whether a step to come, that both know, has changed by more than the threshold."""
        return any(
            abs(mine.p50_w - theirs.p50_w) > threshold_w
            for key, steps in self.spreads.items()
            for start, mine in steps.items()
            if start + step_s > now_s and (theirs := other.spreads.get(key, {}).get(start)) is not None
        )


class Forecaster:
    """Keeps the household's potential up to date, and reports it periodically and when it has changed."""

    name = REPORT_NAME

    def __init__(self, ring: Ring, household: Household, devices: Mapping[str, Device]) -> None:
        plan: PotentialPlan = household.potential
        self._plan = plan
        self.resources = flexible(household, devices)
        self._meters = {one.id: one.meter for one in household.all_resources() if one.meter in devices}
        sources = {one.device: source_of(devices[one.device]) for one in self.devices}
        for resource, meter in self._meters.items():
            sources[_METER + resource] = source_of(devices[meter or ""])
        known = {name: source for name, source in sources.items() if source is not None}
        self._sources = frozenset(known)
        self._memory = ConsumptionMemory(ring, known, plan.step.timedelta(), plan.days, household.site.connection_w)
        self._rate = SamplingRate(plan.least, household.reports.max_period, on_change=True)
        self._now: _Forecast | None = None
        self._sent: dict[str, tuple[tuple[datetime, _Forecast], ...]] = {}

    @property
    def devices(self) -> list[Flexible]:
        """The devices that events may use."""
        return [one for mine in self.resources.values() for one in mine]

    def forget(self) -> None:
        """Read the past anew: the meters have told of it."""
        self._memory.forget()

    def refresh(self, now: datetime, absent: Mapping[str, datetime], held: Mapping[str, Sequence[Span]]) -> None:
        """Compute the potential as it is now. May raise UnavailableError."""
        self._memory.refresh(now, self._with_meters(held))
        step_s = self._plan.step.exact_s
        first = int(now.timestamp()) // step_s * step_s
        starts = range(first, first + self._plan.horizon.exact_s, step_s)
        spreads: dict[tuple[str, Direction], Mapping[int, Spread]] = {}
        for resource, mine in self.resources.items():
            drawn = {one.device: self._memory.of(one.device) for one in mine if one.device in self._sources}
            meter = _METER + resource
            whole = filled(mine, drawn, self._memory.of(meter) if meter in self._sources else {})
            for direction in self._directions(mine):
                found = potential(mine, whole, absent, starts, direction, self._plan.days)
                spreads[resource, direction] = dict(zip(starts, found, strict=True))
        self._now = _Forecast(spreads)

    def _with_meters(self, held: Mapping[str, Sequence[Span]]) -> dict[str, Sequence[Span]]:
        """Return when events held devices, and with that when the meters did not show the usual load."""
        every: dict[str, Sequence[Span]] = dict(held)
        for resource, mine in self.resources.items():
            every[_METER + resource] = [span for one in mine for span in held.get(one.device, ())]
        return every

    @staticmethod
    def _directions(mine: Iterable[Flexible]) -> list[Direction]:
        return [direction for direction in Direction if any(one.can(direction) for one in mine)]

    def offer(self, now: datetime) -> ReportOffer | None:
        """Return the metadata, or None if no event can use anything here (RP-04, RP-07)."""
        lines: list[ReportDescription] = []
        for resource, mine in self.resources.items():
            for direction in self._directions(mine):
                lines += describe(resource, direction, self._rate)
            if self._nominal_w(mine) is not None:
                lines.append(describe_nominal(resource, self._rate))
        return ReportOffer(REPORT_NAME, REPORT_NAME, self._plan.horizon, tuple(lines), now) if lines else None

    @staticmethod
    def _nominal_w(mine: Iterable[Flexible]) -> float | None:
        known = [one.nominal_w for one in mine]
        return math.fsum(one or 0.0 for one in known) if all(one is not None for one in known) else None

    def due_at(self, task: ReportTask, now: datetime) -> datetime | None:
        """Return when a task's next report should go; None before anything is computed (RP-24, RP-25, RP-47)."""
        if self._now is None:
            return None
        last, back = task.delivered_until, task.request.report_back
        if last is None or not back or task.last:
            when = max(now, task.request.start or now)
        else:
            when = back.held_after(last)
            if self._changed(task, last, now):
                when = min(when, self._plan.least.after(last))
        return max(when, task.next_try) if task.next_try else when

    def _changed(self, task: ReportTask, last: datetime, now: datetime) -> bool:
        """Tell whether the last report that the VTN confirmed is out of date; after a restart nobody knows."""
        sent = dict(self._sent.get(task.id, ())).get(last)
        if sent is None or self._now is None:
            return True
        step_s = self._plan.step.exact_s
        return self._now.differs(sent, self._plan.threshold_w, now.timestamp(), step_s)

    def sample(self, task: ReportTask, now: datetime) -> Sampled:
        """Return the report of a task, and what the task becomes once that is confirmed."""
        forecast = self._now or _Forecast({})
        # The newest two: the one that the VTN has, and the one that is on its way.
        self._sent[task.id] = (*self._sent.get(task.id, ())[-1:], (now, forecast))
        request = task.request
        end = Span.lasting(request.start, request.duration).end if request.start and request.duration else None
        over = task.last or not request.report_back or (end is not None and request.report_back.held_after(now) > end)
        after = None if over else replace(task, delivered_until=now, next_try=None)
        intervals = tuple(self._intervals(forecast, set(request.r_ids), now))
        if not intervals:
            return Sampled(None, after)
        start = intervals[0].start
        return Sampled(Report(task.id, request.specifier_id, task.name, now, intervals, start=start), after)

    def _intervals(self, forecast: _Forecast, wanted: set[str], now: datetime) -> Iterator[ReportInterval]:
        step = self._plan.step
        starts = sorted({start for steps in forecast.spreads.values() for start in steps})
        coming = [start for start in starts if start + step.exact_s > now.timestamp()]
        nominal = [
            ReportPayload(name, round(power_w, 1))
            for resource, mine in self.resources.items()
            if (name := nominal_r_id(resource)) in wanted and (power_w := self._nominal_w(mine)) is not None
        ]
        for start in coming:
            payloads = [
                ReportPayload(name, steps[start].value(quantile))
                for (resource, direction), steps in forecast.spreads.items()
                for quantile in Quantile
                if start in steps and (name := r_id(resource, direction, quantile)) in wanted
            ]
            if payloads or nominal:
                yield ReportInterval((*payloads, *nominal), at_time(start), step)
            nominal = []
