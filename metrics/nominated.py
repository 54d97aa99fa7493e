"""The baseline that a BRP nominated for a portfolio, shared out among its homes.

    baseline_i(t) = usual_i(t) + (N(t) - sum over the portfolio of usual_j(t)) / n

N is what was nominated for all n homes, usual what a method of their own makes of their days. So the homes' baselines
add up to what was nominated, and one that usually uses more has more of it. Where nothing was nominated it is the usual
load alone: who is to nominate cannot make what was delivered unknown by not doing so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from core.spans import Span
from metrics.day_matching import DayMatch
from metrics.days import DayMatrix, DayType
from metrics.method import ORDINARY, AdjustmentStatus, Baseline, Calendar
from metrics.needs import Need


@dataclass(frozen=True, slots=True)
class Nominated:
    """A home's part of a nomination for its portfolio; a BaselineMethod.

    `usual`: how homes are told apart. What each gets on top comes with the calendar (`nominated`). `id`, `version`,
    `citation`: what a stored result names as its method.
    """

    id: str
    version: int
    citation: str
    usual: DayMatch

    @property
    def lookback_days(self) -> int:
        """How many days before an event it looks at."""
        return self.usual.lookback_days

    @property
    def reach_s(self) -> int:
        """How many seconds after an event's end it looks at."""
        return self.usual.reach_s

    @property
    def min_days(self) -> int:
        """How many days it needs at least."""
        return self.usual.min_days

    @property
    def coverage(self) -> float:
        """Which share of a day must be measured for it to be of use."""
        return self.usual.coverage

    @property
    def needs(self) -> frozenset[Need]:
        """What it asks of the calendar: its part of a nomination."""
        return frozenset({Need.NOMINATED})

    def alike(self, kind: DayType) -> Sequence[DayType]:
        """Return the kinds of days that say something about a day of that kind."""
        return self.usual.alike(kind)

    def baseline(
        self,
        matrix: DayMatrix,
        event: Span,
        calendar: Calendar = ORDINARY,
        *,
        notified_at: datetime | None = None,
        show: Span | None = None,
    ) -> Baseline:
        """Return the baseline of a participant for an event; raises like `BaselineMethod.baseline`."""
        found = self.usual.baseline(matrix, event, calendar, notified_at=notified_at, show=show)
        more_wh = np.full(found.starts_s.shape, np.nan)
        if calendar.nominated is not None:
            more_wh = calendar.nominated.at(found.starts_s)
        known = np.isfinite(more_wh)
        return replace(
            found,
            method=self,
            baseline_wh=found.baseline_wh + np.where(known, more_wh, 0.0),
            status=found.status if known[found.in_event].all() else AdjustmentStatus.NOT_NOMINATED,
        )
