"""The report of what events brought: each assessment once, as soon as it is there; a sign of life in between.

The request is a standing one. A task remembers up to which assessment the VTN has confirmed, so that an outage, or a
restart, loses none; nothing is sampled, since an assessment never changes.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from core.spans import Duration, Span, floor_to
from openadr.model.assessment import BASELINE, REPORT_NAME, REPORT_TYPES, describe, r_id
from openadr.model.report import ESTIMATED, Report, ReportOffer, ReportPayload, SamplingRate
from ven.assessment import MOST_INTERVALS, Assessment, Assessments, measurable
from ven.household import Assess
from ven.report_rows import Row, intervals, placeholder
from ven.reports import Metered, Sampled
from ven.vtn_state import ReportTask

_DAY: Final = Duration.of(days=1)
_HOLDS: Final = Duration.of(days=30)
_LATE: Final = timedelta(days=1)
"""What was assessed up to so long before a request begins is sent, too."""
_MOST_VALUES: Final = len(REPORT_TYPES) * MOST_INTERVALS
_BEGINNING: Final = datetime(1970, 1, 2, tzinfo=UTC)


class AssessmentReports:
    """Reports the assessments in a store; a `ven.reports.ReportSource`."""

    name = REPORT_NAME

    def __init__(
        self, assessments: Assessments, resources: Sequence[Metered], assess: Assess, *, single: bool = False
    ) -> None:
        self._assessments = assessments
        self._resources = measurable(resources)
        self._step = assess.step
        self._method = assess.baseline
        self._single = single

    def offer(self, now: datetime) -> ReportOffer | None:
        """Return the metadata (RP-04, RP-07)."""
        rate = SamplingRate(self._step, _DAY, on_change=True)
        points = tuple(point for one in self._resources for point in describe(one.resource, self._method, rate))
        return ReportOffer(REPORT_NAME, REPORT_NAME, _HOLDS, points, now) if points else None

    def due_at(self, task: ReportTask, now: datetime) -> datetime | None:
        """Return when the next report of a task should go: at once if there is news, else after its period (RP-47)."""
        back = task.request.report_back
        when = now
        if back and not task.last and not self._news(task):
            when = back.held_after(task.delivered_until or task.request.start or now)
        return max(when, task.next_try) if task.next_try else when

    def sample(self, task: ReportTask, now: datetime) -> Sampled:
        """Return the report of a task, and what the task becomes once that is confirmed.

        Without any news it says that there is none: an interval without valid data (RP-48).
        """
        request, wanted = task.request, set(task.request.r_ids)
        news = self._news(task) if request.report_back else self._assessments.newest(1)
        sent: list[Assessment] = []
        rows: list[Row] = []
        for one in news:
            more = _rows(one, wanted)
            if sent and len(rows) + len(more) > _MOST_VALUES:
                break
            sent.append(one)
            rows += more
        if not rows:
            end = floor_to(now, self._step.exact_s)
            rows = [placeholder(name, end - self._step.timedelta(), end) for name in request.r_ids]
        stop = Span.lasting(request.start, request.duration).end if request.start and request.duration else None
        over = task.last or not request.report_back or (stop is not None and stop <= now)
        covered = dict.fromkeys(request.r_ids, sent[-1].made_at) if sent else task.covered
        after = None if over else replace(task, delivered_until=now, covered=covered, next_try=None)
        parts = intervals(rows, single=self._single)
        return Sampled(Report(task.id, request.specifier_id, task.name, now, parts, start=parts[0].start), after)

    def _news(self, task: ReportTask) -> list[Assessment]:
        begun = task.request.start
        since = max(task.covered.values(), default=_BEGINNING if begun is None else max(begun, _BEGINNING) - _LATE)
        return self._assessments.after(since)


def _rows(assessment: Assessment, wanted: set[str]) -> list[Row]:
    step, (method, _, _) = timedelta(seconds=assessment.step_s), assessment.outcome.method.partition("/")
    return [
        _row(name, one.start, one.start + step, one.baseline_wh if kind == BASELINE else one.delta_wh)
        for resource in assessment.outcome.resources
        for kind in REPORT_TYPES
        if (name := r_id(resource.resource, kind, method)) in wanted
        for one in resource.intervals
    ]


def _row(name: str, start: datetime, end: datetime, value_wh: float | None) -> Row:
    if value_wh is None:
        return placeholder(name, start, end)
    return Row(start, end, ReportPayload(name, round(value_wh, 3), ESTIMATED))
