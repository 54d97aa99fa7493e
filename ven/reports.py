"""Reports: what the gateway offers, and data sampled from its durable store when it is due.

Nothing is queued as a message. A report task remembers how far the VTN has confirmed; what is owed is sampled from the
store on sending. So late reports go out oldest first after any outage, and a crash loses none of them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, Protocol

from core.errors import InvalidError
from core.plausible import HOME_W
from core.points import Quality, Reading
from core.spans import Duration, ceil_to, floor_to
from openadr.model.potential import REPORT_NAME as POTENTIAL
from openadr.model.report import (
    BAD,
    DOUBTFUL,
    ESTIMATED,
    GOOD,
    NO_NEW_VALUE,
    STALE,
    LoadControlState,
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    ResourceStatus,
    SamplingRate,
)
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W, ItemBase
from ven.known import ReportTask
from ven.ring import Ring
from ven.series import Measured, edges, is_known, mean_power, measured

TELEMETRY_USAGE: Final = "TELEMETRY_USAGE"
TELEMETRY_STATUS: Final = "TELEMETRY_STATUS"
HISTORY_USAGE: Final = "HISTORY_USAGE"

_MINUTE: Final = Duration.of(minutes=1)
_HOUR: Final = Duration.of(hours=1)
_HALF_HOUR: Final = Duration.of(minutes=30)
_TWO_MONTHS: Final = Duration.of(days=60)

STATUS_STALE: Final = timedelta(minutes=10)
"""A status that nobody renewed for so long is only the last usable one."""
_MOST_INTERVALS: Final = 480
_NEWEST_WITHIN: Final = timedelta(hours=1)
_LONGEST_GAP: Final = timedelta(days=40)
_LATE: Final = timedelta(days=1)
"""Telemetry whose start lies in the past is sent from then on, but no further back. A status is known only now."""
_QUALITIES: Final = {Quality.GOOD: GOOD, Quality.ESTIMATED: ESTIMATED, Quality.UNCERTAIN: DOUBTFUL}
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Metered:
    """An OpenADR resource: where its energy is read. `register` and `power` are point ids, either may be missing."""

    resource: str
    register: str | None = None
    power: str | None = None


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """What the household file says about reports.

    `settle` is how long a due report waits for the reading that closes it. `single` puts one value into each interval,
    for VTNs that read only one. `connection_w` is what the household's connection can carry.
    """

    min_period: Duration = _MINUTE
    max_period: Duration = _HOUR
    settle: timedelta = timedelta(minutes=5)
    history_step: Duration = _HALF_HOUR
    history_holds: Duration = _TWO_MONTHS
    single: bool = False
    connection_w: float = HOME_W


def status_point(resource: str, item: str) -> str:
    """Return the id under which a resource's online, override or capacity is kept among the readings."""
    return f"{resource}#{item}"


def offers(resources: Iterable[Metered], plan: ReportPlan, now: datetime) -> tuple[ReportOffer, ...]:
    """Return the metadata of everything that can be reported (RP-04, RP-07, RP-08, RP-11)."""
    rate = SamplingRate(plan.min_period, plan.max_period)
    usage: list[ReportDescription] = []
    status: list[ReportDescription] = []
    for one in resources:
        source = Target(resource_ids=(one.resource,))
        if one.register:
            usage.append(_usage(f"{one.resource}/energy", source, ENERGY_REAL_WH, rate))
        if one.register or one.power:
            usage.append(_usage(f"{one.resource}/power", source, POWER_REAL_W, rate))
        status.append(
            ReportDescription(
                f"{one.resource}/status", "x-resourceStatus", "x-notApplicable", source=source, sampling=rate
            )
        )
    made = [
        ReportOffer(TELEMETRY_USAGE, TELEMETRY_USAGE, plan.max_period, tuple(usage), now),
        ReportOffer(TELEMETRY_STATUS, TELEMETRY_STATUS, plan.max_period, tuple(status), now),
    ]
    step = SamplingRate(plan.history_step, plan.history_step)
    history = tuple(replace(one, sampling=step) for one in usage)
    made.append(ReportOffer(HISTORY_USAGE, HISTORY_USAGE, plan.history_holds, history, now))
    return tuple(offer for offer in made if offer.descriptions)


def _usage(r_id: str, source: Target, unit: ItemBase, rate: SamplingRate) -> ReportDescription:
    return ReportDescription(r_id, "usage", "Direct Read", source=source, item_base=unit, sampling=rate)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A report ready to be sent, and what its task becomes once the VTN has confirmed it; None: it is finished."""

    report: Report | None
    after: ReportTask | None


class Ahead(Protocol):
    """Reports of what is to come, which no reading tells; see `ven.potential`."""

    def offer(self, now: datetime) -> ReportOffer | None:
        """Return the metadata, or None if there is nothing to be told."""

    def due_at(self, task: ReportTask, now: datetime) -> datetime | None:
        """Return when the next report of a task should go; None: not known yet."""

    def sample(self, task: ReportTask, now: datetime) -> Sampled:
        """Return the report of a task that is due."""


class Reporter:
    """Samples the store into the reports that the VTN asked for. `ahead` adds what is to come."""

    def __init__(self, ring: Ring, resources: Sequence[Metered], plan: ReportPlan, ahead: Ahead | None = None) -> None:
        self._ahead = ahead
        self._ring = ring
        self._resources = {one.resource: one for one in resources}
        self._plan = plan
        self.history_ready = True
        """False while the meters' own memory is still being read: history reports wait."""

    def offers(self, now: datetime) -> tuple[ReportOffer, ...]:
        """Return what this gateway can report."""
        coming = self._ahead.offer(now) if self._ahead else None
        return (*offers(self._resources.values(), self._plan, now), *((coming,) if coming else ()))

    def begin(self, request: ReportRequest, name: str, now: datetime) -> ReportTask:
        """Return the task of a fresh request: where its first window starts (RP-24..RP-29)."""
        if name in (HISTORY_USAGE, POTENTIAL) or not request.report_back:
            return ReportTask(request, name)
        start = request.start or floor_to(now, 60)
        late = timedelta() if name == TELEMETRY_STATUS else _LATE
        period = request.report_back.after(start) - start
        return ReportTask(request, name, start + period * max(0, (now - late - start) // period))

    def due_at(self, task: ReportTask, now: datetime) -> datetime | None:
        """Return when the next report of a task should go; None while it waits for the meters' memory."""
        if task.name != TELEMETRY_STATUS and not self.history_ready:
            return None
        if task.name == POTENTIAL:
            return self._ahead.due_at(task, now) if self._ahead else None
        if task.name == HISTORY_USAGE:
            return task.next_try or now
        if not task.request.report_back or task.last:
            return task.next_try or now
        end = self._window(task)[1]
        if end <= now:
            end = self._resumed_end(task)
        when = end if end <= now and self._complete(task, end) else end + self._plan.settle
        return max(when, task.next_try) if task.next_try else when

    def _window(self, task: ReportTask) -> tuple[datetime, datetime]:
        """Return the next window; those whose readings the ring had to drop are passed over."""
        start = task.delivered_until
        if start is None:
            raise InvalidError(f"Report {task.id} has no windows.")
        period = task.request.report_back.after(start) - start
        lost = self._ring.dropped_until
        if lost is not None and lost > start and task.name != TELEMETRY_STATUS:
            start += period * ((lost - start) // period + 1)
        end = task.request.report_back.after(start)
        stop = _last_end(task.request)
        return start, min(end, stop) if stop else end

    def _resumed_end(self, task: ReportTask) -> datetime:
        """Return the end of the next report: later than its window's if a meter was silent there and came back after.

        So the gap goes out as one interval and not first as a placeholder.
        """
        start, end = self._window(task)
        if task.name == TELEMETRY_STATUS:
            return end
        step = self._step(task)
        period = end - start
        registers = {one.register for one in map(self._resource, task.request.r_ids) if one and one.register}
        limit = start + (_LONGEST_GAP if len(registers) == 1 else step * _MOST_INTERVALS)
        while period:
            around = [
                self._ring.first_after(point, end)
                for point in registers
                if not is_known(self._ring.between(point, end, end, around=True), end, step, self._plan.connection_w)
            ]
            later = max((one for one in around if one is not None), default=None)
            if later is None or (following := end + period * math.ceil((later - end) / period)) > limit:
                break
            end = following
        return end

    def _step(self, task: ReportTask) -> timedelta:
        return (task.request.granularity or self._plan.min_period).timedelta()

    def _complete(self, task: ReportTask, end: datetime) -> bool:
        """Tell whether every meter of the report has spoken at or after its end."""
        if task.name == TELEMETRY_STATUS:
            return True
        meters = {one.register or one.power for one in map(self._resource, task.request.r_ids) if one}
        newest = [self._ring.newest(point) for point in meters if point]
        return all(one is not None and one.start >= end for one in newest)

    def _resource(self, r_id: str) -> Metered | None:
        return self._resources.get(r_id.rpartition("/")[0])

    # -- sampling

    def sample(self, task: ReportTask, now: datetime) -> Sampled:
        """Return the next report of a task that is due, and the task as it will stand once that is confirmed.

        `report` is None if nothing is left to be said (an exhausted history): the task then just becomes `after`.
        """
        if task.name == POTENTIAL and self._ahead:
            return self._ahead.sample(task, now)
        if task.name == HISTORY_USAGE:
            return self._history(task, now)
        if not task.request.report_back:
            return Sampled(self._once(task, now), None)
        return self._periodic(task, now)

    def _once(self, task: ReportTask, now: datetime) -> Report:
        """Return the newest sample of each data point (RP-24, RP-51)."""
        step = self._plan.min_period.timedelta()
        if task.name == TELEMETRY_STATUS:
            return self._report(task, [row for r_id in task.request.r_ids for row in self._status(r_id, [now])], now)
        end = floor_to(now, self._plan.min_period.exact_s)
        rows: list[_Row] = []
        for r_id in task.request.r_ids:
            found = self._measure(r_id, edges(end - _NEWEST_WITHIN, end, step), step)[-1:]
            rows += [_value(r_id, one) for one in found] or [_nothing(r_id, end - step, end)]
        return self._report(task, rows, now)

    def _periodic(self, task: ReportTask, now: datetime) -> Sampled:
        start, end = self._window(task)
        if task.last and now <= start:
            return Sampled(self._once(task, now), None)
        if end <= start:
            return Sampled(None, None)
        step = self._step(task)
        if task.name == TELEMETRY_STATUS:
            rows = [row for r_id in task.request.r_ids for row in self._status(r_id, edges(start, end, step)[:-1])]
            covered = task.covered
        else:
            end = min(end, now) if task.last else self._resumed_end(task)
            rows, covered = self._usage(task, start, end, step)
        if not task.request.granularity:
            rows = _changes(rows)
        stop = _last_end(task.request)
        finished = task.last or (stop is not None and end >= stop)
        after = replace(task, delivered_until=end, covered=covered, next_try=None)
        return Sampled(self._report(task, rows, now) if rows else None, None if finished else after)

    def _usage(
        self, task: ReportTask, start: datetime, end: datetime, step: timedelta
    ) -> tuple[list["_Row"], dict[str, datetime]]:
        rows: list[_Row] = []
        covered = dict(task.covered)
        for r_id in task.request.r_ids:
            since = min(covered.get(r_id, start), start)
            found = self._measure(r_id, [*([since] if since < start else []), *edges(start, end, step)], step)
            rows += [_value(r_id, one) for one in found]
            if found:
                covered[r_id] = found[-1].end
            else:
                covered.setdefault(r_id, start)
            rows += [
                _nothing(r_id, low, high)
                for low, high in pairwise(edges(start, end, step))
                if not any(one.start < high and low < one.end for one in found)
            ]
        return rows, covered

    def _measure(self, r_id: str, at: list[datetime], step: timedelta) -> list[Measured]:
        resource = self._resource(r_id)
        if resource is None or len(at) < 2:  # noqa: PLR2004  two edges make an interval
            return []
        if resource.register:
            readings = self._ring.between(resource.register, at[0], at[-1], around=True)
            return measured(readings, at, step, self._plan.connection_w)
        if resource.power:
            return mean_power(self._ring.between(resource.power, at[0], at[-1]), at, self._plan.connection_w)
        return []

    def _history(self, task: ReportTask, now: datetime) -> Sampled:
        step = self._plan.history_step.timedelta()
        request = task.request
        grid_s = self._plan.history_step.exact_s
        stop = floor_to(min(_last_end(request) or now, now), grid_s)
        start = task.delivered_until or ceil_to(max(request.start or _BEGINNING, self._oldest(request, stop)), grid_s)
        covered = dict(task.covered)
        while start < stop:
            end = min(start + step * _MOST_INTERVALS, stop)
            rows: list[_Row] = []
            for r_id in request.r_ids:
                since = min(covered.get(r_id, start), start)
                found = self._measure(r_id, [*([since] if since < start else []), *edges(start, end, step)], step)
                rows += [_value(r_id, one) for one in found]
                if found:
                    covered[r_id] = found[-1].end
            if rows:
                after = (
                    replace(task, delivered_until=end, covered=covered, next_try=None)
                    if end < stop and not task.last
                    else None
                )
                return Sampled(self._report(task, rows, now), after)
            start = end
        if task.covered:
            return Sampled(None, None)
        nothing = [_nothing(r_id, stop - step, stop) for r_id in request.r_ids]
        return Sampled(self._report(task, nothing, now), None)

    def _oldest(self, request: ReportRequest, otherwise: datetime) -> datetime:
        meters = {one.register or one.power for one in map(self._resource, request.r_ids) if one}
        times = [self._ring.oldest(point) for point in meters if point]
        return min((one for one in times if one is not None), default=otherwise)

    def _status(self, r_id: str, at: Iterable[datetime]) -> list["_Row"]:
        resource = r_id.rpartition("/")[0]
        rows = []
        for when in at:
            found = {
                item: self._ring.newest(status_point(resource, item), until=when)
                for item in ("online", "override", "capacity")
            }
            rows.append(
                _Row(when, None, ReportPayload(r_id, _resource_status(found), _freshness(found["online"], when)))
            )
        return rows

    def _report(self, task: ReportTask, rows: list["_Row"], now: datetime) -> Report:
        intervals = _intervals(rows, single=self._plan.single)
        return Report(
            task.id,
            task.request.specifier_id,
            task.name,
            now,
            intervals,
            start=intervals[0].start if intervals else now,
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """One value of one data point; a status is a point in time and has no `end` (RP-43)."""

    start: datetime
    end: datetime | None
    payload: ReportPayload


def _value(r_id: str, one: Measured) -> _Row:
    value = one.power_w if r_id.endswith("/power") else one.energy_wh
    return _Row(one.start, one.end, ReportPayload(r_id, round(value, 6), _QUALITIES[one.quality]))


def _nothing(r_id: str, start: datetime, end: datetime) -> _Row:
    """Return the placeholder for an interval without valid data (RP-48)."""
    return _Row(start, end, ReportPayload(r_id, 0.0, BAD))


def _changes(rows: list[_Row]) -> list[_Row]:
    """Return the rows whose value differs from the one before; if none does, the last one as "no new value" (RP-47)."""
    kept: list[_Row] = []
    for r_id in dict.fromkeys(row.payload.r_id for row in rows):
        mine = [row for row in rows if row.payload.r_id == r_id]
        changed = [
            row
            for before, row in pairwise(mine)
            if (row.payload.value, row.payload.quality) != (before.payload.value, before.payload.quality)
        ]
        if changed:
            kept += [mine[0], *changed]
        else:
            kept += [replace(row, payload=replace(row.payload, quality=_unchanged(row.payload))) for row in mine[-1:]]
    return kept


def _unchanged(payload: ReportPayload) -> str | None:
    return NO_NEW_VALUE if payload.quality == GOOD else payload.quality


def _intervals(rows: list[_Row], *, single: bool) -> tuple[ReportInterval, ...]:
    """Return intervals from old to new, values of the same span together (RP-41, RP-42)."""
    spans: dict[tuple[datetime, datetime | None, str], list[ReportPayload]] = {}
    for row in rows:
        spans.setdefault((row.start, row.end, row.payload.r_id if single else ""), []).append(row.payload)
    return tuple(
        ReportInterval(tuple(payloads), start, Duration.between(start, end) if end else None)
        for (start, end, _), payloads in sorted(spans.items(), key=lambda item: (item[0][0], item[0][1] or item[0][0]))
    )


def _last_end(request: ReportRequest) -> datetime | None:
    return request.duration.after(request.start) if request.start and request.duration else None


def _resource_status(found: dict[str, Reading | None]) -> ResourceStatus:
    online, override, capacity = (found[item] for item in ("online", "override", "capacity"))
    return ResourceStatus(
        online=bool(online and online.value),
        manual_override=bool(override and override.value),
        capacity=LoadControlState(capacity.value if capacity else 1.0, 0.0, 1.0, 1.0),
    )


def _freshness(online: Reading | None, when: datetime) -> str:
    if online is None:
        return BAD
    return GOOD if when - online.start <= STATUS_STALE else STALE
