"""Flexibility potential: by how much this household's consumption could change in the hours to come (FN-AM-05).

Computed from what the devices drew at the same time of the last days, what events may do to them here, and how they
are now. Few days mean a wide spread: every sample gets two days more, one on which nothing runs and one on which all
of it runs throughout. Days are 24 hours of UTC, so in the fortnight after the clocks change the pattern is an hour off.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from bridges.device import CapabilityKind, Device, Driver, Rank
from bridges.lease_state import Lease
from core.direction import Direction
from core.points import Quantity
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
from ven.charge_history import ChargeMemory, Stored
from ven.consumption_history import ConsumptionMemory, Drawn, at_time, source_of
from ven.household import Household, PotentialPlan, Step
from ven.levers import Lever, is_source, is_storage
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
_KEPT_UP_H: Final = 1.0
"""For how many hours a battery should keep up what is promised of it."""
_UNLEARNT_SHARE: Final = 0.1
"""How much of its nominal power a device is believed to draw by who has never seen it draw anything."""
_PATIENCE: Final = timedelta(minutes=2)
"""How long a device may be out of reach before that counts: links come back."""
_BY_HAND: Final = timedelta(hours=2)
"""How long a device that somebody switched off, or took back, is believed to stay out of reach."""
_NEVER_BACK: Final = datetime.max.replace(tzinfo=UTC)
_NONE_SPENT: Final[Mapping[str, datetime]] = MappingProxyType({})
_METER: Final = "meter of "


@dataclass(frozen=True, slots=True)
class Storage:
    """What a battery can do: `discharge_w` and `charge_w` at most, `capacity_wh` from full to empty."""

    discharge_w: float
    charge_w: float
    capacity_wh: float | None = None

    def room_w(self, drawn_w: float, direction: Direction, stored_wh: float | None) -> float:
        """Return by how much it could have changed what it drew, and kept that up for an hour.

        How much it holds decides; where that is not known, it could only have ceased to charge.
        """
        if stored_wh is None or self.capacity_wh is None:
            return max(0.0, drawn_w) if direction is Direction.REDUCE else 0.0
        if direction is Direction.REDUCE:
            return max(0.0, drawn_w + min(self.discharge_w, stored_wh / _KEPT_UP_H))
        return max(0.0, min(self.charge_w, (self.capacity_wh - stored_wh) / _KEPT_UP_H) - drawn_w)


@dataclass(frozen=True, slots=True)
class Flexible:
    """A device that events may use here, and how far: down to `floor_w`, and up to nominal if it `increases`.

    `nominal_w` None: not known. `reduces_w` and `increases_w` bound what the order of a programme gets of it by a
    setting of its own.
    """

    device: str
    nominal_w: float | None
    floor_w: float | None
    increases: bool = False
    reduces_w: float | None = None
    increases_w: float | None = None
    storage: Storage | None = None

    def can(self, direction: Direction) -> bool:
        """Tell whether events may change its consumption that way."""
        return self.floor_w is not None if direction is Direction.REDUCE else self.increases

    def most_w(self, direction: Direction) -> float | None:
        """Return by how much it can change its consumption at most; None if nobody knows what it draws."""
        own = self.reduces_w if direction is Direction.REDUCE else self.increases_w
        if own is not None:
            return own
        if self.storage is not None:
            reach = self.storage.discharge_w if direction is Direction.REDUCE else self.storage.charge_w
            return reach if self.storage.capacity_wh is not None else 0.0
        if self.nominal_w is None:
            return None
        return max(0.0, self.nominal_w - (self.floor_w or 0.0 if direction is Direction.REDUCE else 0.0))

    def room_w(self, drawn_w: float, direction: Direction, stored_wh: float | None = None) -> float:
        """Return by how much its consumption could have changed while it drew that much (and held so much)."""
        if self.storage is not None:
            return self.storage.room_w(drawn_w, direction, stored_wh)
        if direction is Direction.REDUCE:
            return min(max(0.0, drawn_w - (self.floor_w or 0.0)), _or_any(self.reduces_w))
        room_w = max(0.0, self.nominal_w - drawn_w) if self.nominal_w is not None else _or_any(self.increases_w)
        return min(room_w, _or_any(self.increases_w))


def _or_any(bound_w: float | None) -> float:
    return math.inf if bound_w is None else bound_w


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
    reduced = callable_devices(household, devices, Direction.REDUCE)
    increased = callable_devices(household, devices, Direction.INCREASE)
    reach = {
        name: _reach(household, devices[name], reduced.get(name), increased.get(name))
        for name in dict.fromkeys([*reduced, *increased])
        if not is_source(devices[name])
    }
    found: dict[str, tuple[Flexible, ...]] = {}
    for resource in household.all_resources():
        mine = tuple(one for name in dict.fromkeys(resource.devices) if (one := reach.pop(name, None)) is not None)
        if mine:
            found[resource.id] = mine
    return found


def _reach(
    household: Household, device: Device, less: tuple[Step, Lever] | None, more: tuple[Step, Lever] | None
) -> Flexible:
    entry, nominal_w = household.device(device.id), device.nominal_w
    floor_w = None if less is None else 0.0
    if less is not None and less[0].do is None and nominal_w is not None:
        floor_w = max(0.0, nominal_w - less[1].most_w)
    storage = None
    if is_storage(device):
        discharge_w, charge_w = (each[1].most_w if each is not None else 0.0 for each in (less, more))
        storage = Storage(discharge_w, charge_w, entry.storage_wh if entry is not None else None)
    return Flexible(
        device.id,
        nominal_w,
        floor_w,
        increases=more is not None,
        reduces_w=less[0].changes_w if less is not None else None,
        increases_w=more[0].changes_w if more is not None else None,
        storage=storage,
    )


def absences(
    drivers: Mapping[str, Driver],
    devices: Iterable[Flexible],
    held: Sequence[Lease],
    overridden: Iterable[str],
    lost: Mapping[str, datetime],
    now: datetime,
    direction: Direction = Direction.REDUCE,
    spent: Mapping[str, datetime] = _NONE_SPENT,
) -> dict[str, datetime]:
    """Return device -> until when it has no potential in a direction, since nothing would be done.

    It is out of reach, held by an event, in its user's hand, used often enough (`spent`: until when), or does already
    what an event would tell it. `lost` says since when devices are out of reach.
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
        elif one.device not in until:
            kept = now + _BY_HAND if one.device in theirs else _idle_until(driver, direction, now)
            if kept is not None:
                until[one.device] = kept
        if one.device in spent:
            until[one.device] = max(spent[one.device], until.get(one.device, now))
    return until


def _idle_until(driver: Driver, direction: Direction, now: datetime) -> datetime | None:
    """Return until when a switch is believed to be already where an event would put it; None: it is not there.

    One that somebody switched off stays so for a while. One that is on can be switched on at no time where that is what
    it is in normal times.
    """
    there = "off" if direction is Direction.REDUCE else "on"
    if driver.state(CapabilityKind.SWITCH) != there:
        return None
    switch = driver.describe().capability(CapabilityKind.SWITCH)
    always = direction is Direction.INCREASE and switch is not None and switch.normal == there
    return _NEVER_BACK if always else now + _BY_HAND


# -- how much


def potential(
    devices: Sequence[Flexible],
    drawn: Mapping[str, Drawn],
    absent: Mapping[str, datetime],
    starts_s: Iterable[int],
    direction: Direction,
    days: int,
    stored: Mapping[str, Stored] | None = None,
) -> list[Spread]:
    """Return the potential of a resource in each step that begins at `starts_s` (seconds since 1970).

    Each of the last `days` days on which all devices that are there now are known gives one sample: what could have
    been changed on it at that time, all devices together. Where no such day is known yet, each half hour that is known
    gives one, from the first one on. `stored` says what batteries held; what they hold in a step itself, where that
    is known, goes before what they held in the past.
    """
    past = _Past(drawn, stored or {})
    return [_spread(devices, past, absent, start, direction, days) for start in starts_s]


@dataclass(frozen=True, slots=True)
class _Past:
    drawn: Mapping[str, Drawn]
    stored: Mapping[str, Stored]

    def room_w(self, device: Flexible, then_s: int, direction: Direction, now_s: int | None = None) -> float | None:
        """Return by how much a device could have changed what it drew in a past step; None: nobody knows.

        What a battery holds at `now_s`, where that is known, goes before what it held then.
        """
        drawn_w = self.drawn.get(device.device, {}).get(then_s)
        if device.storage is None:
            return None if drawn_w is None else device.room_w(drawn_w, direction)
        held = self.stored.get(device.device, {})
        stored_wh = held[now_s] if now_s is not None and now_s in held else held.get(then_s)
        return device.room_w(drawn_w or 0.0, direction, stored_wh)


def _spread(
    devices: Sequence[Flexible],
    past: _Past,
    absent: Mapping[str, datetime],
    start_s: int,
    direction: Direction,
    days: int,
) -> Spread:
    begin = at_time(start_s)
    able = [one for one in devices if one.can(direction) and absent.get(one.device, begin) <= begin]
    if direction is Direction.INCREASE:
        able = [one for one in able if one.most_w(direction) is not None]
    if not able:
        return NOTHING
    samples: list[float] = []
    for day in range(1, days + 1):
        rooms = [past.room_w(one, start_s - day * DAY_S, direction, start_s) for one in able]
        known = [room for room in rooms if room is not None]
        if len(known) == len(able):
            samples.append(math.fsum(known))
    limits = [most_w for one in able if (most_w := one.most_w(direction)) is not None]
    most = math.fsum(limits) if len(limits) == len(able) else max(samples, default=0.0)
    if samples:
        return quantiles(samples, most)
    anytime = _anytime(able, past, direction, start_s - days * DAY_S)
    most = max(most, max(anytime, default=0.0)) if len(limits) < len(able) else most
    return Spread(0.0, quantiles(anytime, most).p50_w, most)


def _anytime(able: Sequence[Flexible], past: _Past, direction: Direction, since_s: int) -> list[float]:
    """Return what could have been changed in each step in which all devices are known, whatever the time of day."""
    first = next((past.drawn.get(one.device, {}) for one in able if one.storage is None), {})
    steps = ([past.room_w(one, start, direction) for one in able] for start in first if start >= since_s)
    return [math.fsum(room for room in rooms if room is not None) for rooms in steps if None not in rooms]


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
    nominal = math.fsum(one.nominal_w or 0.0 for one in devices if one.storage is None)
    for one in devices:
        if one.storage is not None:
            continue
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


def _charge_points(mine: Iterable[Flexible], devices: Mapping[str, Device]) -> dict[str, str]:
    """Return device -> the point of its state of charge, of the batteries that tell it."""
    found: dict[str, str] = {}
    for one in mine:
        points = (point.id for point in devices[one.device].points if point.quantity is Quantity.CHARGE)
        if one.storage is not None and (point := next(points, None)) is not None:
            found[one.device] = point
    return found


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
        self._charge = ChargeMemory(ring, _charge_points(self.devices, devices), plan.step.timedelta(), plan.days)
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
        self._charge.forget()

    def refresh(
        self,
        now: datetime,
        absent: Mapping[Direction, Mapping[str, datetime]],
        held: Mapping[str, Sequence[Span]],
        without: Sequence[Span] = (),
    ) -> None:
        """Compute the potential as it is now. May raise UnavailableError.

        `absent` is what `absences` says; `held` when events held devices; `without` when no event is taken part in.
        """
        self._memory.refresh(now, self._with_meters(held))
        self._charge.refresh(now)
        step_s = self._plan.step.exact_s
        first = int(now.timestamp()) // step_s * step_s
        starts = range(first, first + self._plan.horizon.exact_s, step_s)
        steps = (Span(at_time(start), at_time(start + step_s)) for start in starts)
        out = {start for start, step in zip(starts, steps, strict=True) if any(map(step.overlaps, without))}
        spreads: dict[tuple[str, Direction], Mapping[int, Spread]] = {}
        for resource, mine in self.resources.items():
            drawn = {one.device: self._memory.of(one.device) for one in mine if one.device in self._sources}
            meter = _METER + resource
            stored = self._stored(mine)
            whole = filled(mine, drawn, self._memory.of(meter) if meter in self._sources else {})
            for direction in self._directions(mine):
                found = potential(mine, whole, absent.get(direction, {}), starts, direction, self._plan.days, stored)
                spreads[resource, direction] = dict(zip(starts, found, strict=True)) | dict.fromkeys(out, NOTHING)
        self._now = _Forecast(spreads)

    def _stored(self, mine: Iterable[Flexible]) -> dict[str, Stored]:
        """Return what the batteries among these devices held at the beginning of each step, Wh."""
        return {
            one.device: {start: share * one.storage.capacity_wh for start, share in self._charge.of(one.device).items()}
            for one in mine
            if one.storage is not None and one.storage.capacity_wh is not None
        }

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
