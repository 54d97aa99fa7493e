"""Baselines out of the event's own day: the mean load in windows before the event, and perhaps after it."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from core.errors import InvalidError
from core.spans import Span
from metrics.days import DayMatrix, LikeDays, from_days, from_epoch_s
from metrics.event_frame import event_frame, undisturbed
from metrics.matching import NO_ADJUSTMENT, average
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
from metrics.needs import Need
from metrics.rules import Window, reach_s


@dataclass(frozen=True, slots=True)
class SameDay(LikeDays):
    """The mean load in windows around the event, the same for all of its intervals; a BaselineMethod.

    It needs no history, so a home can be measured from its first day on. `coverage`: least share of the windows'
    intervals that must be measured, 0 to 1. `id`, `version`, `citation`: what a stored result names as its method.
    """

    id: str
    version: int
    citation: str
    windows: tuple[Window, ...]
    coverage: float = 0.9
    lookback_days: int = 1
    min_days: int = 0

    def __post_init__(self) -> None:
        if not self.windows or not 0 < self.coverage <= 1:
            raise InvalidError(f"{self.id}: there are windows, and coverage is a share above 0.")

    @property
    def needs(self) -> frozenset[Need]:
        """What it asks of the calendar: nothing."""
        return frozenset()

    @property
    def reach_s(self) -> int:
        """How many seconds after an event's end it looks at."""
        return reach_s(self.windows)

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

        A window that ends after `notified_at` moves before it. Raises NoBaselineError where the windows were not
        measured, or other events and outages lie in them, and like `BaselineMethod.baseline`.
        """
        frame = event_frame(matrix, event, self.windows, notified_at, show)
        energy_wh = matrix.series.at(frame.before_s)
        free = undisturbed(matrix, frame.before_s, (*calendar.events, *calendar.outages))
        heard = np.isfinite(energy_wh) & free
        share = float(heard.mean()) if heard.size and len(frame.windows) == len(self.windows) else 0.0
        mean_wh = average(energy_wh[heard])
        use = DayUse(
            from_days(frame.today),
            Verdict.KEPT if share >= self.coverage else Verdict.MISSING,
            share,
            mean_wh * 3600 / matrix.series.step_s,
        )
        has_windows = frame.before_s.size > 0 and len(frame.windows) == len(self.windows)
        if share < self.coverage and has_windows and np.isfinite(energy_wh).mean() >= self.coverage:
            raise NoBasisError(
                f"{self.id} needs the hours around the event, and another event or an outage lies in them.",
                (use,),
                "undisturbed hours around the event",
            )
        if share < self.coverage:
            raise NoBaselineError(
                f"{self.id} needs the hours around the event, and too few of them were measured.", (use,)
            )
        usual_wh = np.full(frame.starts_s.shape, mean_wh)
        return Baseline(
            method=self,
            step_s=matrix.series.step_s,
            starts_s=frame.starts_s,
            overlap_s=frame.overlap_s,
            baseline_wh=usual_wh,
            unadjusted_wh=usual_wh,
            actual_wh=matrix.series.at(frame.starts_s),
            adjustment=NO_ADJUSTMENT,
            status=AdjustmentStatus.NONE,
            windows=tuple(Span(from_epoch_s(first), from_epoch_s(last)) for first, last in frame.windows),
            days=(use,),
        )
