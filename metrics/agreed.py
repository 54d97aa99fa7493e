"""Baselines that were agreed beforehand: a power by time of day, or one level, whatever the home used before.

What was agreed is known of a participant (`metrics.method.Calendar.agreed`), not reckoned from its readings; so these
need no history, have no adjustment, and nothing that a home does can move them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from core.errors import InvalidError
from core.spans import Span
from metrics.agreed_profile import AgreedProfile
from metrics.days import DAY_S, DayMatrix, Floats, Ints, LikeDays, day_type, from_days
from metrics.event_frame import event_frame
from metrics.matching import NO_ADJUSTMENT
from metrics.method import ORDINARY, AdjustmentStatus, Baseline, Calendar, NoBasisError
from metrics.needs import Need


@dataclass(frozen=True, slots=True)
class Agreed(LikeDays):
    """The agreed power itself; a BaselineMethod.

    `level`: it is one power for all times, such as the peak that a firm service level is counted from. `id`, `version`,
    `citation`: what a stored result names as its method.
    """

    id: str
    version: int
    citation: str
    level: bool = False
    lookback_days: int = 0
    min_days: int = 0
    coverage: float = 0.0

    @property
    def needs(self) -> frozenset[Need]:
        """What it asks of the calendar: the agreed powers."""
        return frozenset({Need.AGREED})

    @property
    def reach_s(self) -> int:
        """How many seconds after an event's end it looks at: none."""
        return 0

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

        Raises NoBasisError where nothing is agreed for a day of the event, and like `BaselineMethod.baseline`.
        """
        frame = event_frame(matrix, event, (), notified_at, show)
        step_s = matrix.series.step_s
        days = frame.today + frame.offsets // matrix.slots
        since_s = frame.offsets % matrix.slots * step_s
        usual_wh = agreed_wh(calendar.agreed.get(self.id, ()), days, since_s, step_s, calendar.holidays)
        if np.isnan(usual_wh[frame.in_event]).any():
            text = f"{self.id} needs a power that was agreed for this home and day; enter it."
            raise NoBasisError(text, (), "an agreed baseline")
        return Baseline(
            method=self,
            step_s=step_s,
            starts_s=frame.starts_s,
            overlap_s=frame.overlap_s,
            baseline_wh=usual_wh,
            unadjusted_wh=usual_wh,
            actual_wh=matrix.series.at(frame.starts_s),
            adjustment=NO_ADJUSTMENT,
            status=AdjustmentStatus.NONE,
            windows=(),
            days=(),
        )


def agreed_wh(
    profiles: Sequence[AgreedProfile], days: Ints, since_s: Ints, step_s: int, holidays: frozenset[date]
) -> Floats:
    """Return the agreed energies (Wh) of intervals of `step_s`, (n,); NaN where nothing is agreed.

    `days` (n,): their local dates, days since 1970-01-01; `since_s` (n,): their starts by the wall clock, seconds after
    midnight. Of several profiles the one that became valid last counts, day by day. An interval that lasts over
    several values has their mean.
    """
    energy_wh = np.full(days.shape, np.nan)
    for day in np.unique(days).tolist():
        local = from_days(day)
        valid = [profile for profile in profiles if profile.valid_from <= local]
        if not valid:
            continue
        newest = max(valid, key=lambda profile: profile.valid_from)
        powers_w = np.array(newest.of(day_type(local, holidays)), np.float64)
        edges_s = np.linspace(0, DAY_S, powers_w.size + 1)
        sums_wh = np.concatenate(([0.0], np.cumsum(powers_w))) * (DAY_S / powers_w.size / 3600)
        here = days == day
        ends_s = np.minimum(since_s[here] + step_s, DAY_S)
        energy_wh[here] = np.interp(ends_s, edges_s, sums_wh) - np.interp(since_s[here], edges_s, sums_wh)
    return energy_wh


def check_level(profile: AgreedProfile) -> None:
    """Raise InvalidError unless a profile is a single power for all times."""
    if len(set(profile.weekdays_w) | set(profile.weekends_w)) > 1:
        raise InvalidError("A firm level is a single power, in W, for all times.", field="weekdays_w")
