"""What looks odd before an event: a load that was raised in the hours by which the baseline is adjusted.

Who uses more than usual then has a higher baseline, and is credited with more. What is said here is for somebody to
look at and changes nothing that is paid: a cold day, guests, or an oven look the same. The hours are those that the
baseline was adjusted by, which lie before the notice, so whoever heats or cools ahead once it knows is not meant.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import numpy as np

from core.direction import Direction
from core.spans import Span
from metrics.days import DayMatrix, Floats, from_epoch_s, to_days
from metrics.event_frame import event_frame, undisturbed
from metrics.matching import mean
from metrics.method import ORDINARY, AdjustmentStatus, Baseline, Calendar, Verdict
from metrics.rules import Window
from metrics.uncertainty import t95

SIGMAS: Final = 2.0
"""So many standard deviations of the like days lie between what is usual and what stands out."""
LEAST_W: Final = 100.0
"""Less than this stands out nowhere: a home whose days are all alike is not marked for a lamp."""
LEAST_DAYS: Final = 5
"""With fewer like days nobody knows what is usual."""
LEAST_EVENTS: Final = 5
"""With fewer events nothing is called systematic."""
_MOST_DAYS: Final = 20
"""The latest like days count: farther back it is another season."""
_COVERAGE: Final = 0.9
_BEFORE: Final = Window(-3 * 3600, -1 * 3600)
"""Looked at where the method has no hours before the event of its own."""
_ELIGIBLE: Final = frozenset({Verdict.KEPT, Verdict.NOT_KEPT})


class Flag(StrEnum):
    """What looks odd about a home in an event, for somebody to look at."""

    RAISED_BEFORE = "raised_before"
    """It used more than usual just before a reduction."""
    LOWERED_BEFORE = "lowered_before"
    """It used less than usual just before an increase."""


@dataclass(frozen=True, slots=True)
class LoadBefore:
    """How a home's load before an event compares with that of like days at the same hours, in W.

    `starts_at`, `ends_at`: the hours, those that the baseline was adjusted by. `actual_w`: mean on the event's day;
    `usual_w` and `sd_w`: mean and standard deviation (n - 1) of the means of the like days, so many as `days`.
    `excess_w`: how far it lies on the side that raises what is credited: above what is usual before a reduction, below
    it before an increase. `z`: the same in standard deviations; None: the days do not differ.
    """

    starts_at: datetime
    ends_at: datetime
    actual_w: float
    usual_w: float
    sd_w: float
    days: int
    excess_w: float
    z: float | None


def load_before(
    matrix: DayMatrix,
    event: Span,
    baseline: Baseline,
    calendar: Calendar = ORDINARY,
    *,
    notified_at: datetime | None = None,
    direction: Direction = Direction.REDUCE,
) -> LoadBefore | None:
    """Return how the load before an event compares with that of the like days that its baseline looked at.

    The hours are the baseline's windows before the event; where its method has none, from 3 h to 1 h before it, or as
    long before `notified_at`. None: not known, since there are fewer than LEAST_DAYS like days (a method of the same
    day looks at none), no hours before the notice, or too few readings that no other event or outage touches.
    """
    today = matrix.local_day(event.start)
    like = [day for use in baseline.days if use.verdict in _ELIGIBLE and (day := to_days(use.day)) < today]
    if len(like) < LEAST_DAYS or not (spans := _spans(matrix, event, baseline, notified_at)):
        return None
    window = Span(min(first for first, _ in spans), max(last for _, last in spans))
    grids = [matrix.series.grid(first.timestamp(), last.timestamp(), within=True) for first, last in spans]
    before_s = grids[0] if len(grids) == 1 else np.unique(np.concatenate(grids))
    loads_wh = matrix.series.at(before_s)
    heard = np.isfinite(loads_wh)
    if disturbed := [one for one in (*calendar.events, *calendar.outages) if one.overlaps(window)]:
        heard &= undisturbed(matrix, before_s, disturbed)
    if np.count_nonzero(heard) < max(1.0, _COVERAGE * heard.size):
        return None
    to_w = 3600 / matrix.series.step_s
    offsets = matrix.offsets(before_s, today)[heard]
    days_wh = matrix.energies(np.array(like[:_MOST_DAYS], np.int64), offsets)
    return compared(loads_wh[heard] * to_w, days_wh * to_w, window, direction)


def _spans(
    matrix: DayMatrix, event: Span, baseline: Baseline, notified_at: datetime | None
) -> Sequence[tuple[datetime, datetime]]:
    """Return the hours before the event that are looked at, none where the notice leaves none."""
    if baseline.status is AdjustmentStatus.NO_WINDOW:
        return ()
    own = [(one.start, one.end) for one in baseline.windows if one.end is not None and one.end <= event.start]
    if own:
        return own
    frame = event_frame(matrix, event, (_BEFORE,), notified_at, None)
    return [(from_epoch_s(first), from_epoch_s(last)) for first, last in frame.windows]


def compared(today: Floats, days: Floats, window: Span, direction: Direction = Direction.REDUCE) -> LoadBefore | None:
    """Return how loads in a window (m,) compare with those of like days there, `days` (k, m), NaN = missing.

    A day counts if nine tenths of it are measured. None: fewer than LEAST_DAYS do. What is in W of the result is in
    the unit of the loads.
    """
    means = _means(days)
    count = len(means)
    if count < LEAST_DAYS:
        return None
    actual, centre = float(today.sum()) / len(today), math.fsum(means) / count
    sd = math.sqrt(math.fsum((one - centre) ** 2 for one in means) / (count - 1))
    excess = -direction.sign * (actual - centre)
    differ = sd > 1e-9 * (abs(centre) + abs(actual))  # equal days differ by roundings
    return LoadBefore(
        starts_at=window.start,
        ends_at=window.end or window.start,
        actual_w=actual,
        usual_w=centre,
        sd_w=sd if differ else 0.0,
        days=count,
        excess_w=excess,
        z=excess / sd if differ else None,
    )


def _means(loads: Floats) -> list[float]:
    """Return the mean of each day's loads (k, m), of those days of which enough was measured."""
    known = np.isfinite(loads)
    if known.all():  # by far the most often
        means = loads.sum(axis=1) / loads.shape[1]
    else:
        enough = known.mean(axis=1) >= _COVERAGE
        means = mean(loads[enough].T, known[enough].T)
    plain: list[float] = means.tolist()
    return plain


def stands_out(before: LoadBefore | None, least: float = LEAST_W) -> bool:
    """Tell whether a load lies more than SIGMAS standard deviations on the side that pays, and at least `least`."""
    return before is not None and before.excess_w >= least and before.excess_w > SIGMAS * before.sd_w


def flags(before: LoadBefore | None, direction: Direction) -> tuple[Flag, ...]:
    """Return what looks odd about a home in an event of that direction; none where nothing is known."""
    if not stands_out(before):
        return ()
    return (Flag.RAISED_BEFORE if direction is Direction.REDUCE else Flag.LOWERED_BEFORE,)


@dataclass(frozen=True, slots=True)
class Ramp:
    """A home's excess before events, over several of them, in W.

    `mean_w`: mean excess. `floor_w`: the least that it is with 95 % confidence, one-sided (Student's t).
    """

    events: int
    mean_w: float
    floor_w: float

    def is_systematic(self, least: float = LEAST_W) -> bool:
        """Tell whether the home, by and large, raises its load before events: significantly, and by `least` or more."""
        return self.floor_w > 0 and self.mean_w >= least


def ramp(events: int, total: float, squares: float) -> Ramp | None:
    """Return the ramp of so many events from the sum of their excesses (W) and that of its squares.

    None: fewer than LEAST_EVENTS. Sums are what a database has at hand.
    """
    if events < LEAST_EVENTS:
        return None
    centre = total / events
    variance = max(0.0, squares - total * centre) / (events - 1)
    return Ramp(events, centre, centre - t95(events - 1) * math.sqrt(variance / events))
