"""Reports: what the gateway offers, and data sampled from its durable store when it is due.

Nothing is queued as a message. A report task remembers how far the VTN has confirmed; what is owed is sampled from the
store on sending. So late reports go out oldest first after any outage, and a crash loses none of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from core.errors import InvalidError
from core.plausible import HOME_W
from core.spans import LATEST, Duration, Span, Steps, ceil_to, floor_to, shifted
from openadr.model.report import Report, ReportDescription, ReportOffer, ReportRequest, SamplingRate
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W, ItemBase
from ven.readings_store import Ring
from ven.report_rows import Row, changes, intervals, placeholder, placeholders, status_row, value_row
from ven.series import Measured, is_known, mean_power, measured
from ven.vtn_state import ReportTask

TELEMETRY_USAGE: Final = "TELEMETRY_USAGE"
TELEMETRY_STATUS: Final = "TELEMETRY_STATUS"
HISTORY_USAGE: Final = "HISTORY_USAGE"
_EXPORT: Final = "/export"
"""What ends the rID of an export: by the word a VTN understands which way it goes."""

_MINUTE: Final = Duration.of(minutes=1)
_HOUR: Final = Duration.of(hours=1)
_HALF_HOUR: Final = Duration.of(minutes=30)
_TWO_MONTHS: Final = Duration.of(days=60)

_MOST_INTERVALS: Final = 480
_MOST_VALUES: Final = 1440
"""What one message holds, of all data points together: about a megabyte of statuses."""
_MOST_LATE: Final = 1440
"""How many late reports are sent one by one: a day of minutes."""
_MOST_PARTS: Final = 1000
"""How many parts of a history without any value are looked at for one message."""
_MOST_RETURNS: Final = 100
"""How many times a silent meter may have come and gone again while one gap is looked at."""
_NEWEST_WITHIN: Final = timedelta(hours=1)
_LONGEST_GAP: Final = 57_600
"""Over how many steps a silent meter's gap is closed by one interval: 40 days of minutes."""
_LATE: Final = timedelta(days=1)
"""Telemetry whose start lies in the past is sent from then on, but no further back. A status is known only now."""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Metered:
    """An OpenADR resource: where its energy is read. Point ids, each may be missing; `export` is a register, too."""

    resource: str
    register: str | None = None
    power: str | None = None
    export: str | None = None

    def register_of(self, r_id: str) -> str | None:
        """Return the register that a data point of this resource is read from."""
        return self.export if r_id.endswith(_EXPORT) else self.register


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
        if one.export:
            usage.append(_usage(f"{one.resource}{_EXPORT}", source, ENERGY_REAL_WH, rate))
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


class ReportSource(Protocol):
    """A report of what no reading tells: what is to come (`ven.potential`), or what an event brought."""

    @property
    def name(self) -> str:
        """Its reportName."""

    def offer(self, now: datetime) -> ReportOffer | None:
        """Return the metadata, or None if there is nothing to be told."""

    def due_at(self, task: ReportTask, now: datetime) -> datetime | None:
        """Return when the next report of a task should go; None: not known yet."""

    def sample(self, task: ReportTask, now: datetime) -> Sampled:
        """Return the report of a task that is due."""


class Reporter:
    """Samples the store into the reports that the VTN asked for. `others` add what no reading tells.

    A periodic request has windows, each as long as its report-back duration, counted from its start. A window is due
    once it is over; one too large for a message goes out in several.
    """

    def __init__(self, ring: Ring, resources: Sequence[Metered], plan: ReportPlan, *others: ReportSource) -> None:
        self._others = {one.name: one for one in others}
        self._ring = ring
        self._resources = {one.resource: one for one in resources}
        self._plan = plan
        self.history_ready = True
        """False while the meters' own memory is still being read: history reports wait."""

    def offers(self, now: datetime) -> tuple[ReportOffer, ...]:
        """Return what this gateway can report."""
        made = (one.offer(now) for one in self._others.values())
        return (*offers(self._resources.values(), self._plan, now), *(one for one in made if one is not None))

    def begin(self, request: ReportRequest, name: str, now: datetime) -> ReportTask:
        """Return the task of a fresh request: where its first window starts (RP-24..RP-29)."""
        if name == HISTORY_USAGE or name in self._others or not request.report_back:
            return ReportTask(request, name)
        request = replace(request, start=request.start or floor_to(now, 60))
        windows, end = _windows(request), _last_end(request)
        if end is None:
            oldest = now - (timedelta() if name == TELEMETRY_STATUS else _LATE)
        else:
            # All of a bounded request is sent, as far back as the readings and the history that is offered go.
            end = min(end, now)
            oldest = min(self._oldest(request, name, end), shifted(end, -_LATE.total_seconds()))
            oldest = max(oldest, (-self._plan.history_holds).held_after(end))
        return ReportTask(request, name, windows.at(max(0, windows.index(oldest))))

    def due_at(self, task: ReportTask, now: datetime) -> datetime | None:
        """Return when the next report of a task should go; None while it waits for the meters' memory."""
        if task.name != TELEMETRY_STATUS and not self.history_ready:
            return None
        if task.name in self._others:
            return self._others[task.name].due_at(task, now)
        if task.name == HISTORY_USAGE or not task.request.report_back or task.last:
            return task.next_try or now
        end = self._window(task)[1]
        if end <= now:
            end = self._resumed_end(task)
        settled = shifted(end, self._plan.settle.total_seconds())
        when = end if end <= now and self._complete(task, end) else settled
        return max(when, task.next_try) if task.next_try else when

    def _window(self, task: ReportTask) -> tuple[datetime, datetime]:
        """Return the next window; those whose readings the ring had to drop are passed over.

        It is empty once the request's time is over.
        """
        start, windows = task.delivered_until, _windows(task.request)
        if start is None:
            raise InvalidError(f"Report {task.id} has no windows.")
        lost = self._ring.dropped_until
        if lost is not None and lost > start and task.name != TELEMETRY_STATUS:
            start = windows.after(lost)
        stop = _last_end(task.request) or LATEST
        return min(start, stop), min(windows.after(start), stop)

    def _resumed_end(self, task: ReportTask) -> datetime:
        """Return the end of the next report: later than its window's if a meter was silent there and came back after.

        So the gap goes out as one interval and not first as a placeholder.
        """
        start, window_end = self._window(task)
        if task.name == TELEMETRY_STATUS or window_end <= start:
            return window_end
        end = window_end
        windows, stop, step = _windows(task.request), _last_end(task.request) or LATEST, self._step_s(task, start)
        registers = {point for point in map(self._register, task.request.r_ids) if point}
        message_end = shifted(start, step.total_seconds() * self._most(task))
        limit = shifted(start, step.total_seconds() * _LONGEST_GAP) if len(registers) == 1 else message_end
        for _ in range(_MOST_RETURNS):
            around = [
                self._ring.first_after(point, end)
                for point in registers
                if not is_known(self._ring.between(point, end, end, around=True), end, step, self._plan.connection_w)
            ]
            later = max((one for one in around if one is not None), default=None)
            if later is None or later > stop or (following := min(windows.from_(later), stop)) > limit:
                break
            end = following
        return end if end <= message_end or self._closes(task, start, end, step) else window_end

    def _closes(self, task: ReportTask, start: datetime, end: datetime, step: timedelta) -> bool:
        """Tell whether each data point has one value for a long gap: its register is known on both sides of it."""
        sides = {
            (r_id, side) for r_id in task.request.r_ids for side in (min(task.covered.get(r_id, start), start), end)
        }
        return all(
            (register := self._register(r_id)) is not None
            and is_known(self._ring.between(register, side, side, around=True), side, step, self._plan.connection_w)
            for r_id, side in sides
        )

    def _step(self, task: ReportTask) -> Duration:
        return task.request.granularity or self._plan.min_period

    def _step_s(self, task: ReportTask, start: datetime) -> timedelta:
        """Return the length of the step that begins at a time."""
        return self._step(task).held_after(start) - start

    @staticmethod
    def _most(task: ReportTask) -> int:
        """Return how many steps of a task fit into one message."""
        return max(1, min(_MOST_INTERVALS, _MOST_VALUES // max(1, len(task.request.r_ids))))

    def _complete(self, task: ReportTask, end: datetime) -> bool:
        """Tell whether every meter of the report has spoken at or after its end."""
        if task.name == TELEMETRY_STATUS:
            return True
        newest = [self._ring.newest(point) for point in self._points(task.request)]
        return all(one is not None and one.start >= end for one in newest)

    def _resource(self, r_id: str) -> Metered | None:
        return self._resources.get(r_id.rpartition("/")[0])

    def _register(self, r_id: str) -> str | None:
        resource = self._resource(r_id)
        return resource.register_of(r_id) if resource else None

    def _points(self, request: ReportRequest) -> set[str]:
        meters = {self._register(r_id) or one.power for r_id in request.r_ids if (one := self._resource(r_id))}
        return {point for point in meters if point}

    def _oldest(self, request: ReportRequest, name: str, otherwise: datetime) -> datetime:
        """Return the time of the oldest reading that a request could be about."""
        status = {status_point(r_id.rpartition("/")[0], "online") for r_id in request.r_ids}
        times = [self._ring.oldest(point) for point in (status if name == TELEMETRY_STATUS else self._points(request))]
        return min((one for one in times if one is not None), default=otherwise)

    # -- sampling

    def sample(self, task: ReportTask, now: datetime) -> Sampled:
        """Return the next report of a task that is due, and the task as it will stand once that is confirmed.

        `report` is None if nothing is left to be said (an exhausted history): the task then just becomes `after`.
        """
        if task.name in self._others:
            return self._others[task.name].sample(task, now)
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
        edges = Steps(end - _NEWEST_WITHIN, self._plan.min_period).between(end - _NEWEST_WITHIN, end)
        rows: list[Row] = []
        for r_id in task.request.r_ids:
            newest = self._measure(r_id, edges, step)[-1:]
            rows += [value_row(r_id, one) for one in newest] or [placeholder(r_id, end - step, end)]
        return self._report(task, rows, now)

    def _periodic(self, task: ReportTask, now: datetime) -> Sampled:
        start, end = self._window(task)
        if task.last and now <= start:
            return Sampled(self._once(task, now), None)
        if end <= start:
            return Sampled(None, None)
        steps = replace(_windows(task.request), step=self._step(task))
        part_end = steps.at(steps.index(start) + self._most(task))
        if part_end < end or task.last:
            end = min(part_end, end, now)
        else:
            resumed = self._resumed_end(task)
            end = resumed if resumed > end else max(end, min(part_end, self._caught_up(task, now)))
        edges = steps.between(start, end)
        if task.name == TELEMETRY_STATUS:
            rows = [row for r_id in task.request.r_ids for row in self._status(r_id, edges[:-1])]
            covered = task.covered
        else:
            rows, covered = self._usage(task, edges)
            if len(rows) > _MOST_VALUES and part_end < end:
                end = part_end
                rows, covered = self._usage(task, steps.between(start, end))
        if not task.request.granularity:
            rows = changes(rows)
        stop = _last_end(task.request)
        finished = task.last or (stop is not None and end >= stop)
        after = replace(task, delivered_until=end, covered=covered, next_try=None)
        return Sampled(self._report(task, rows, now) if rows else None, None if finished else after)

    def _caught_up(self, task: ReportTask, now: datetime) -> datetime:
        """Return until when windows go out together: only the newest that are late have a report each."""
        windows, stop = _windows(task.request), _last_end(task.request) or LATEST
        return windows.at(windows.index(min(now, stop)) - _MOST_LATE)

    def _usage(self, task: ReportTask, edges: list[datetime]) -> tuple[list[Row], dict[str, datetime]]:
        rows: list[Row] = []
        covered = dict(task.covered)
        step = self._step_s(task, edges[0])
        for r_id in task.request.r_ids:
            values = self._since(r_id, covered, edges, step)
            rows += [value_row(r_id, one) for one in values]
            covered.setdefault(r_id, edges[0])
            rows += placeholders(r_id, edges, values)
        return rows, covered

    def _since(self, r_id: str, covered: dict[str, datetime], edges: list[datetime], step: timedelta) -> list[Measured]:
        """Return the values between edges, the first one since the last that was delivered; moves `covered` on."""
        since = min(covered.get(r_id, edges[0]), edges[0])
        values = self._measure(r_id, [*([since] if since < edges[0] else []), *edges], step)
        if values:
            covered[r_id] = values[-1].end
        return values

    def _measure(self, r_id: str, at: list[datetime], step: timedelta) -> list[Measured]:
        resource = self._resource(r_id)
        if resource is None or len(at) < 2:  # noqa: PLR2004  two edges make an interval
            return []
        if register := resource.register_of(r_id):
            readings = self._ring.between(register, at[0], at[-1], around=True)
            return measured(readings, at, step, self._plan.connection_w)
        if resource.power:
            return mean_power(self._ring.between(resource.power, at[0], at[-1]), at, self._plan.connection_w)
        return []

    def _history(self, task: ReportTask, now: datetime) -> Sampled:
        """Return the next part of a history that holds anything."""
        request, grid_s = task.request, self._plan.history_step.exact_s
        step = timedelta(seconds=grid_s)
        stop = floor_to(min(_last_end(request) or now, now), grid_s)
        oldest = max(request.start or _BEGINNING, self._oldest(request, HISTORY_USAGE, stop))
        start = task.delivered_until or ceil_to(oldest, grid_s)
        for _ in range(_MOST_PARTS):
            if start >= stop:
                break
            end = min(shifted(start, self._most(task) * step.total_seconds()), stop)
            edges = Steps(start, self._plan.history_step).between(start, end)
            rows, covered = self._past(request, edges, step, task.covered)
            if rows:
                going_on = end < stop and not task.last
                after = replace(task, delivered_until=end, covered=covered, next_try=None) if going_on else None
                return Sampled(self._report(task, rows, now), after)
            start = self._goes_on(request, end, step) or stop
        if task.covered:
            return Sampled(None, None)
        nothing = [placeholder(r_id, shifted(stop, -step.total_seconds()), stop) for r_id in request.r_ids]
        return Sampled(self._report(task, nothing, now), None)

    def _goes_on(self, request: ReportRequest, end: datetime, step: timedelta) -> datetime | None:
        """Return where a history has readings again after a part that has none, or None."""
        times = [self._ring.first_after(point, end) for point in self._points(request)]
        following = min((one for one in times if one is not None), default=None)
        return max(end, floor_to(following, self._plan.history_step.exact_s) - step) if following else None

    def _past(
        self, request: ReportRequest, edges: list[datetime], step: timedelta, before: Mapping[str, datetime]
    ) -> tuple[list[Row], dict[str, datetime]]:
        """Return the rows of a part of a history; a data point without any value there gets placeholders (RP-40)."""
        covered = dict(before)
        values = {r_id: self._since(r_id, covered, edges, step) for r_id in request.r_ids}
        rows = [value_row(r_id, one) for r_id, mine in values.items() for one in mine]
        if rows:
            rows += [row for r_id, mine in values.items() if not mine for row in placeholders(r_id, edges, mine)]
        return rows, covered

    def _status(self, r_id: str, at: Iterable[datetime]) -> list[Row]:
        points = [status_point(r_id.rpartition("/")[0], item) for item in ("online", "override", "capacity")]
        return [status_row(r_id, when, *(self._ring.newest(point, until=when) for point in points)) for when in at]

    def _report(self, task: ReportTask, rows: list[Row], now: datetime) -> Report:
        parts = intervals(rows, single=self._plan.single)
        start = parts[0].start if parts else now
        return Report(task.id, task.request.specifier_id, task.name, now, parts, start=start)


def _windows(request: ReportRequest) -> Steps:
    if request.start is None:
        raise InvalidError(f"Report {request.request_id} has no start.")
    return Steps(request.start, request.report_back)


def _last_end(request: ReportRequest) -> datetime | None:
    return Span.lasting(request.start, request.duration).end if request.start and request.duration else None
