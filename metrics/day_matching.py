"""Day matching: what a participant would have used without an event, from like days before it.

    series -> day_matrix -> eligible days -> kept days -> mean -> same-day adjustment -> Baseline

The rule is data (`metrics.rules`), the arithmetic is on plain arrays (`metrics.matching`); this module finds the days
and the windows in a real series.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np

from core.spans import Span
from metrics.days import DAY_S, Bools, DayMatrix, Floats, Ints, day_type, from_days, from_epoch_s
from metrics.event_frame import EventFrame, event_frame, undisturbed
from metrics.matching import NO_ADJUSTMENT, Adjustment, adjust, average, keeping, mean, never_exports
from metrics.method import (
    ORDINARY,
    AdjustmentStatus,
    Baseline,
    Calendar,
    DayUse,
    NoBaselineError,
    NoBasisError,
    Verdict,
)
from metrics.rules import Rank, Rule
from metrics.weather import in_window

_TICK = timedelta(microseconds=1)
_APART: Final = timedelta(hours=1)
"""So close to an event a load may answer it already, or still; such hours are not compared."""
_LACKS: Final = "outdoor temperatures"
_LEAST_HOURS: Final = 4
"""From fewer hours no day is like another."""
_DECIMALS: Final = 3
"""To so many of a kelvin days are equally warm: no rounding in a sum decides between them."""


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
        frame = event_frame(matrix, event, self.windows, notified_at, show)
        lately = frame.today - np.arange(1, self.lookback_days + 1)
        weather = calendar.weather if self.rank is Rank.TEMPERATURE else None
        celsius, own_celsius = in_window(weather, matrix, frame, lately, self.coverage)
        days, uses = _eligible(self, matrix, frame, disturbed_days(matrix, event, calendar), calendar.holidays, celsius)
        _need_temperatures(self, own_celsius, len(days), uses)
        if len(days) < self.min_days:
            raise NoBaselineError(
                f"{self.id} needs {self.min_days} eligible days in the {self.lookback_days} days before "
                f"{from_days(frame.today)} and found {len(days)}. Fetch more history, or choose another method.",
                uses,
            )
        step_s = matrix.series.step_s
        loads_w = matrix.energies(days, frame.offsets) * (3600 / step_s)
        event_w = loads_w[:, frame.in_event]
        disturbed = (*calendar.events, *calendar.outages)
        rank = _rank(self, matrix, event, frame, days, disturbed)
        if self.rank is Rank.TEMPERATURE:
            apart_k: Floats = np.abs(celsius[frame.today - days - 1] - own_celsius)
            rank = np.round(apart_k, _DECIMALS)[:, None]
        if not np.isfinite(rank).any():
            raise NoBaselineError(f"{self.id} compares days, and the event's own was hardly measured.", uses)
        keep = keeping(self, rank)
        unadjusted_w = mean(loads_w, keep(loads_w))
        change, status = _same_day(self, matrix, frame, days, keep, disturbed, unadjusted_w[frame.in_event])
        kept = {from_days(day) for day in days[keep(event_w).any(axis=1)].tolist()}
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
            days=tuple(
                DayUse(use.day, Verdict.KEPT, use.coverage, use.mean_w, use.celsius) if use.day in kept else use
                for use in uses
            ),
            celsius=own_celsius,
        )


def disturbed_days(matrix: DayMatrix, event: Span, calendar: Calendar) -> Mapping[int, Verdict]:
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


def _need_temperatures(rule: Rule, own_celsius: float, eligible: int, uses: tuple[DayUse, ...]) -> None:
    """Raise NoBasisError if temperatures are all that a rule lacks: days of other weather would pay wrongly."""
    if rule.rank is not Rank.TEMPERATURE:
        return
    cold = sum(use.verdict is Verdict.NO_TEMPERATURE for use in uses)
    if eligible + cold < rule.min_days:
        return
    if not np.isfinite(own_celsius):
        raise NoBasisError(f"{rule.id} compares temperatures, and that of the event is not known.", uses, _LACKS)
    if eligible < rule.min_days:
        text = f"{rule.id} compares temperatures, and they are not known of {cold} of {eligible + cold} days."
        raise NoBasisError(text, uses, _LACKS)


def _eligible(
    rule: Rule,
    matrix: DayMatrix,
    frame: EventFrame,
    blocked: Mapping[int, Verdict],
    holidays: frozenset[date],
    celsius: Floats,
) -> tuple[Ints, tuple[DayUse, ...]]:
    """Return the latest y eligible days, newest first, and the verdict on each day looked at for them.

    `celsius` (lookback_days,): their temperatures, newest first; NaN where not known.
    """
    alike = rule.alike(day_type(from_days(frame.today), holidays))
    days = frame.today - np.arange(1, rule.lookback_days + 1)
    in_event = frame.offsets[frame.in_event]
    energy_wh, coverage = matrix.gather(days, in_event)
    if frame.before_offsets.size:
        coverage = np.minimum(coverage, matrix.gather(days, frame.before_offsets)[1])
    reach = sorted({*(in_event // matrix.slots).tolist(), *(frame.before_offsets // matrix.slots).tolist()})
    uses: list[DayUse] = []
    eligible: list[int] = []
    means_w = mean(energy_wh.T, np.isfinite(energy_wh.T)) * (3600 / matrix.series.step_s)
    by_temperature = rule.rank is Rank.TEMPERATURE
    figures = (one.tolist() for one in (days, coverage, means_w, celsius))
    for day, share, mean_w, warmth in zip(*figures, strict=True):
        if len(eligible) == rule.y:
            break
        when = from_days(day)
        hit = next((blocked[day + near] for near in reach if day + near in blocked), None)
        if day_type(when, holidays) not in alike:
            verdict = Verdict.UNLIKE
        elif hit is not None:
            verdict = hit
        elif share < rule.coverage:
            verdict = Verdict.MISSING
        elif by_temperature and not math.isfinite(warmth):
            verdict = Verdict.NO_TEMPERATURE
        else:
            verdict = Verdict.NOT_KEPT
            eligible.append(day)
        uses.append(DayUse(when, verdict, share, mean_w, warmth))
    return np.array(eligible, np.int64), tuple(uses)


def _rank(
    rule: Rule,
    matrix: DayMatrix,
    event: Span,
    frame: EventFrame,
    days: Ints,
    disturbed: Sequence[Span],
) -> Floats:
    """Return what the eligible days (k,) are ranked by, (k, m): each day's rank is the mean of its row."""
    if rule.rank is Rank.DAY_WH:
        return matrix.energies(days, np.arange(matrix.slots))
    if rule.rank is Rank.UNLIKENESS:
        return _unlikeness(matrix, event, frame.today, days, disturbed)[:, None]
    return matrix.energies(days, frame.offsets[frame.in_event])


def _unlikeness(matrix: DayMatrix, event: Span, today: int, days: Ints, disturbed: Sequence[Span]) -> Floats:
    """Return how far each day's loads lay from today's, outside the event and an hour around it: mean squares, (k,).

    NaN where too little of the two was measured.
    """
    start_s, end_s = event.start.timestamp(), (event.end or event.start).timestamp()
    starts_s = matrix.series.grid(start_s - 2 * DAY_S, end_s + 2 * DAY_S)
    offsets = matrix.offsets(starts_s, today)
    around = Span(event.start - _APART, (event.end or event.start) + _APART)
    counts = (offsets >= 0) & (offsets < matrix.slots) & undisturbed(matrix, starts_s, (*disturbed, around))
    starts_s, offsets = starts_s[counts], offsets[counts]
    apart = matrix.energies(days, offsets) - matrix.series.at(starts_s)[None, :]
    heard = np.isfinite(apart).sum(axis=1)
    enough = heard >= _LEAST_HOURS * 3600 / matrix.series.step_s
    squares = np.where(np.isfinite(apart), apart, 0.0) ** 2
    means: Floats = np.divide(squares.sum(axis=1), heard, out=np.full(len(days), np.nan), where=enough)
    return means


def _same_day(
    rule: Rule,
    matrix: DayMatrix,
    frame: EventFrame,
    days: Ints,
    keep: Callable[[Floats], Bools],
    disturbed: Sequence[Span],
    unadjusted_w: Floats,
) -> tuple[Adjustment, AdjustmentStatus]:
    """Return the same-day adjustment (W) from those intervals of the windows that today and the kept days have.

    `keep` tells which of the days' loads count (`matching.keeping`); `unadjusted_w`: what the adjustment is applied to,
    their mean in the event.
    """
    if rule.adjustment is None:
        return NO_ADJUSTMENT, AdjustmentStatus.NONE
    if not frame.before_s.size:
        return NO_ADJUSTMENT, AdjustmentStatus.NO_WINDOW
    to_w = 3600 / matrix.series.step_s
    today_w = np.where(undisturbed(matrix, frame.before_s, disturbed), matrix.series.at(frame.before_s) * to_w, np.nan)
    before_w = matrix.energies(days, frame.before_offsets) * to_w
    usual_w = mean(before_w, keep(before_w))
    both = np.isfinite(today_w) & np.isfinite(usual_w)
    if both.mean() < rule.coverage:
        return NO_ADJUSTMENT, AdjustmentStatus.MISSING_DATA
    scales = never_exports(unadjusted_w, usual_w[both], today_w[both])
    change = adjust(rule, average(usual_w[both]), average(today_w[both]), rule.ratio_floor_w, scales=scales)
    return change, AdjustmentStatus.MOVED if frame.moved else AdjustmentStatus.APPLIED
