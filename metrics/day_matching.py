"""Day matching: what a participant would have used without an event, from like days before it.

    series -> day_matrix -> eligible days -> kept days -> mean -> same-day adjustment -> Baseline

The rule is data (`metrics.rules`), the arithmetic is on plain arrays (`metrics.matching`); this module finds the days
and the windows in a real series.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np

from core.errors import InvalidError
from core.spans import Span
from metrics.days import DAY_S, Bools, DayMatrix, Floats, Ints, day_type, from_days, from_epoch_s, to_days
from metrics.matching import NO_ADJUSTMENT, Adjustment, adjust, average, keep, mean, never_exports
from metrics.method import ORDINARY, AdjustmentStatus, Baseline, Calendar, DayUse, NoBaselineError, Verdict
from metrics.overlap import overlap
from metrics.rules import Anchor, Rule, Window

_MAX_EVENT_S = 31 * DAY_S
_EARLIEST_S = DAY_S  # an adjustment window moved further ahead of the event than this says nothing about the day
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DayMatch(Rule):
    """The mean of like days before the event, as its rule says; a BaselineMethod."""

    def baseline(
        self,
        matrix: DayMatrix,
        event: Span,
        calendar: Calendar = ORDINARY,
        *,
        notified_at: datetime | None = None,
        show: Span | None = None,
    ) -> Baseline:
        """Return the baseline of a participant for an event.

        An adjustment window that ends after `notified_at` moves before it. Raises NoBaselineError with too few eligible
        days, and like `BaselineMethod.baseline`.
        """
        frame = _frame(matrix, event, self, notified_at, show)
        days, uses = _eligible(matrix, frame, _blocked(matrix, event, calendar), calendar.holidays)
        if len(days) < self.min_days:
            raise NoBaselineError(
                f"{self.id} needs {self.min_days} eligible days in the {self.lookback_days} days before "
                f"{from_days(frame.today)} and found {len(days)}. Fetch more history, or choose another method.",
                uses,
            )
        step_s = matrix.series.step_s
        loads_w = matrix.gather(days, frame.offsets)[0] * (3600 / step_s)
        event_w = loads_w[:, frame.in_event]
        unadjusted_w = mean(loads_w, keep(self, event_w, loads_w))
        disturbed = (*calendar.events, *calendar.outages)
        change, status = _same_day(matrix, frame, days, event_w, disturbed, unadjusted_w[frame.in_event])
        kept = set(days[keep(self, event_w, event_w).any(axis=1)].tolist())
        return Baseline(
            method=self,
            step_s=step_s,
            starts_s=frame.starts_s,
            overlap_s=frame.overlap_s,
            baseline_wh=(unadjusted_w * change.factor + change.shift) * (step_s / 3600),
            unadjusted_wh=unadjusted_w * (step_s / 3600),
            actual_wh=matrix.series.at(frame.starts_s),
            adjustment=change,
            status=status,
            windows=tuple(Span(from_epoch_s(first), from_epoch_s(last)) for first, last in frame.windows),
            days=tuple(replace(use, verdict=Verdict.KEPT) if to_days(use.day) in kept else use for use in uses),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Where an event and its adjustment windows lie in a series: UTC starts, and wall-clock offsets from `today`."""

    rule: Rule
    today: int
    starts_s: Ints
    offsets: Ints
    overlap_s: Floats
    windows: tuple[tuple[float, float], ...]
    moved: bool
    before_s: Ints
    before_offsets: Ints

    @property
    def in_event(self) -> Bools:
        return self.overlap_s > 0


def _edges(span: Span) -> tuple[float, float]:
    """Return a span's edges as seconds since 1970, not rounded."""
    if span.end is None or not 0 < (span.end - span.start).total_seconds() <= _MAX_EVENT_S:
        raise InvalidError("A baseline needs an event with an end, at most 31 days after its start.")
    return span.start.timestamp(), span.end.timestamp()


def _frame(matrix: DayMatrix, event: Span, rule: Rule, notified_at: datetime | None, show: Span | None) -> _Frame:
    start_s, end_s = _edges(event)
    shown = _edges(show or event)
    step_s, today = matrix.series.step_s, matrix.local_day(event.start)
    starts_s = matrix.series.grid(min(start_s, shown[0]), max(end_s, shown[1]))
    notice_s = start_s if notified_at is None else notified_at.timestamp()
    wanted = [_placed(window, start_s, end_s) for window in rule.windows]
    placed = [_before_notice(window, one, notice_s) for window, one in zip(rule.windows, wanted, strict=True)]
    windows = tuple(one for one in placed if one[0] >= start_s - _EARLIEST_S)
    grids = [matrix.series.grid(first, last, within=True) for first, last in windows]
    before_s = np.unique(np.concatenate(grids)) if grids else np.zeros(0, np.int64)
    return _Frame(
        rule=rule,
        today=today,
        starts_s=starts_s,
        offsets=matrix.offsets(starts_s, today),
        overlap_s=overlap(start_s, end_s, starts_s, starts_s + step_s),
        windows=windows,
        moved=placed != wanted,
        before_s=before_s,
        before_offsets=matrix.offsets(before_s, today),
    )


def _placed(window: Window, start_s: float, end_s: float) -> tuple[float, float]:
    anchor_s = start_s if window.anchor is Anchor.START else end_s
    return anchor_s + window.from_s, anchor_s + window.to_s


def _before_notice(window: Window, placed: tuple[float, float], notice_s: float) -> tuple[float, float]:
    """Move a window that ends after the notice: from then on the load may already answer it (or play with it)."""
    late_s = max(0.0, placed[1] - notice_s) if window.anchor is Anchor.START else 0.0
    return placed[0] - late_s, placed[1] - late_s


def _blocked(matrix: DayMatrix, event: Span, calendar: Calendar) -> Mapping[int, Verdict]:
    """Return the local days that events and outages touch."""
    blocked = dict.fromkeys(touched_days(matrix, calendar.outages, event), Verdict.OUTAGE)
    return blocked | dict.fromkeys(touched_days(matrix, (*calendar.events, event), event), Verdict.EVENT)


def touched_days(matrix: DayMatrix, spans: Sequence[Span], event: Span) -> Iterator[int]:
    """Yield the local days, up to the event's, that the spans touch; a span without end lasts until now."""
    last = matrix.local_day(event.end or event.start)
    for span in spans:
        end = last if span.end is None else matrix.local_day(span.end - _TICK)
        first = max(matrix.local_day(span.start), matrix.first_day)
        yield from range(first, min(max(first, end), last) + 1)


def _eligible(
    matrix: DayMatrix, frame: _Frame, blocked: Mapping[int, Verdict], holidays: frozenset[date]
) -> tuple[Ints, tuple[DayUse, ...]]:
    """Return the latest y eligible days, newest first, and the verdict on each day looked at for them."""
    rule = frame.rule
    alike = rule.alike(day_type(from_days(frame.today), holidays))
    days = frame.today - np.arange(1, rule.lookback_days + 1)
    in_event = frame.offsets[frame.in_event]
    energy_wh, coverage = matrix.gather(days, in_event)
    if frame.before_offsets.size:
        coverage = np.minimum(coverage, matrix.gather(days, frame.before_offsets)[1])
    reach = np.unique(np.concatenate((in_event, frame.before_offsets)) // matrix.slots)
    uses: list[DayUse] = []
    eligible: list[int] = []
    for row, day in enumerate(days.tolist()):
        if len(eligible) == rule.y:
            break
        hit = [blocked[near] for near in (day + reach).tolist() if near in blocked]
        if day_type(from_days(day), holidays) not in alike:
            verdict = Verdict.UNLIKE
        elif hit:
            verdict = hit[0]
        elif coverage[row] < rule.coverage:
            verdict = Verdict.MISSING
        else:
            verdict = Verdict.NOT_KEPT
            eligible.append(day)
        mean_w = average(energy_wh[row]) * 3600 / matrix.series.step_s
        uses.append(DayUse(from_days(day), verdict, float(coverage[row]), mean_w))
    return np.array(eligible, np.int64), tuple(uses)


def _same_day(
    matrix: DayMatrix, frame: _Frame, days: Ints, event_w: Floats, disturbed: Sequence[Span], unadjusted_w: Floats
) -> tuple[Adjustment, AdjustmentStatus]:
    """Return the same-day adjustment (W) from those intervals of the windows that today and the kept days have.

    `unadjusted_w`: what it is applied to, the mean of the kept days in the event.
    """
    rule = frame.rule
    if rule.adjustment is None:
        return NO_ADJUSTMENT, AdjustmentStatus.NONE
    if not frame.before_s.size:
        return NO_ADJUSTMENT, AdjustmentStatus.NO_WINDOW
    to_w = 3600 / matrix.series.step_s
    today_w = np.where(_undisturbed(matrix, frame.before_s, disturbed), matrix.series.at(frame.before_s) * to_w, np.nan)
    before_w = matrix.gather(days, frame.before_offsets)[0] * to_w
    usual_w = mean(before_w, keep(rule, event_w, before_w))
    both = np.isfinite(today_w) & np.isfinite(usual_w)
    if both.mean() < rule.coverage:
        return NO_ADJUSTMENT, AdjustmentStatus.MISSING_DATA
    scales = never_exports(unadjusted_w, usual_w[both], today_w[both])
    change = adjust(rule, average(usual_w[both]), average(today_w[both]), rule.ratio_floor_w, scales=scales)
    return change, AdjustmentStatus.MOVED if frame.moved else AdjustmentStatus.APPLIED


def _undisturbed(matrix: DayMatrix, starts_s: Ints, spans: Sequence[Span]) -> Bools:
    """Tell which intervals no event or outage touches: a load that is being steered adjusts nothing."""
    free = np.ones(starts_s.shape, dtype=bool)
    for span in spans:
        end_s = np.inf if span.end is None else span.end.timestamp()
        free &= (starts_s + matrix.series.step_s <= span.start.timestamp()) | (starts_s >= end_s)
    return free
