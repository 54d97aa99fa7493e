"""Regression on time of week and temperature: each hour of the week has its load, and the weather moves it.

    load = a[weekday, time of day] + sum over pieces of b[piece] * (part of the temperature that lies in the piece)

After Mathieu, Price, Kiliccote and Piette, "Quantifying Changes in Building Electricity Use, With Application to Demand
Response", IEEE Transactions on Smart Grid 2 (2011). Ours: pieces end at fifths of the temperatures that there were,
days weigh less the longer ago they were, a weekday's load is drawn to that of all like days where it rests on few, and
the effect of the temperature is one for all hours.
"""

from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Final

import numpy as np

from core.errors import InvalidError
from core.spans import Span
from metrics.day_matching import disturbed_days
from metrics.days import Bools, DayMatrix, Floats, Ints, LikeDays, day_type, from_days
from metrics.event_frame import EventFrame, event_frame
from metrics.matching import NO_ADJUSTMENT, average
from metrics.method import (
    ORDINARY,
    AdjustmentStatus,
    Baseline,
    Calendar,
    DayUse,
    NoBaselineError,
    Verdict,
)
from metrics.needs import Need
from metrics.weather import Weather, by_day, in_window

_WEEK: Final = 7
_SUNDAY: Final = 6
_PIECES: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What was fitted; loads in the unit of those given. Build it with `fit`.

    `usual` (7, slots): load by weekday and time of day at 0 in every piece of the temperature, NaN where nothing like
    it was seen; `knots`: where pieces end; `slopes` (pieces,): load per kelvin. Both are empty without temperatures.
    """

    usual: Floats
    knots: Floats
    slopes: Floats

    def at(self, weekdays: Ints, slots: Ints, celsius: Floats | None) -> Floats:
        """Return the loads at weekdays (0 = Monday), times of day and temperatures, all (n,); NaN where unknown."""
        usual: Floats = self.usual[weekdays, slots]
        return usual if celsius is None or not self.slopes.size else usual + pieces(celsius, self.knots) @ self.slopes


def pieces(celsius: Floats, knots: Floats) -> Floats:
    """Return the parts of temperatures (...,) that lie between the knots (k,), shape (..., k + 1).

    They add up to the temperature; the first and the last piece have no outer end.
    """
    if not knots.size:
        return celsius[..., None]
    edges = np.concatenate(([-np.inf], knots, [np.inf]))
    first = np.minimum(celsius, knots[0])
    rest = [np.clip(celsius, low, high) - low for low, high in pairwise(edges[1:])]
    return np.stack((first, *rest), axis=-1)


def fit(loads: Floats, weekdays: Ints, celsius: Floats | None, weights: Floats, drawn: float) -> Fit:
    """Fit days by weighted least squares.

    `loads` and `celsius` (days, slots), NaN = not known and left out; `weekdays` and `weights` (days,). `drawn`: to so
    many days' weight a weekday is drawn to the mean of all. Columns that say the same, or nothing, do no harm: of all
    solutions it is the smallest.
    """
    known = np.isfinite(loads) if celsius is None else np.isfinite(loads) & np.isfinite(celsius)
    weight = known * weights[:, None]
    load = np.where(known, loads, 0.0)
    knots, slopes = np.zeros(0), np.zeros(0)
    if celsius is not None and known.any():
        knots = np.unique(np.quantile(celsius[known], np.arange(1, _PIECES) / _PIECES))
        parts = pieces(np.where(known, celsius, 0.0), knots)
        columns = np.concatenate((load[..., None], parts), axis=-1)
        for weekday in np.unique(weekdays):  # what a time of week has in common is not the temperature's
            rows = weekdays == weekday
            columns[rows] -= _means(columns[rows], weight[rows])
        columns = columns[known] * np.sqrt(weight[known])[:, None]
        slopes = np.linalg.lstsq(columns[:, 1:], columns[:, 0], rcond=1e-6)[0]
        load = np.where(known, load - parts @ slopes, 0.0)
    total, sums = weight.sum(axis=0), (weight * load).sum(axis=0)
    like = np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)
    usual = np.empty((_WEEK, loads.shape[1]))
    for weekday in range(_WEEK):
        rows = weekdays == weekday
        own = weight[rows].sum(axis=0) + drawn
        sums = (weight[rows] * load[rows]).sum(axis=0) + drawn * like
        usual[weekday] = np.divide(sums, own, out=like.copy(), where=own > 0)
    return Fit(usual, knots, slopes)


def _means(columns: Floats, weight: Floats) -> Floats:
    """Return the weighted means over days of columns (days, slots, k), (slots, k); 0 where nothing is known."""
    total = weight.sum(axis=0)[:, None]
    sums = (weight[..., None] * columns).sum(axis=0)
    means: Floats = np.divide(sums, total, out=np.zeros(sums.shape), where=total > 0)
    return means


@dataclass(frozen=True, slots=True)
class Regression(LikeDays):
    """Time of week, and perhaps temperature, fitted on like days before the event; a BaselineMethod.

    - `uses_temperature`: it needs the calendar's `weather`; where that does not reach, time of week stands alone.
    - `half_life_days`: a day so long ago weighs half. `drawn`: as in `fit`.
    - `lookback_days`, `min_days`, `coverage`: which days are used and how many of them are needed, as in `Rule`, with
      the coverage that of the whole day.
    """

    id: str
    version: int
    citation: str
    uses_temperature: bool = False
    lookback_days: int = 70
    half_life_days: float = 14.0
    drawn: float = 5.0
    min_days: int = 5
    coverage: float = 0.9

    def __post_init__(self) -> None:
        if not (1 <= self.min_days <= self.lookback_days and 0 < self.coverage <= 1):
            raise InvalidError(f"{self.id}: needs 1 <= min_days <= lookback_days and a coverage above 0.")
        if not (self.half_life_days > 0 and self.drawn >= 0):
            raise InvalidError(f"{self.id}: the half-life is above 0, and what it is drawn by not below.")

    @property
    def needs(self) -> frozenset[Need]:
        """What it asks of the calendar: temperatures, if it uses them."""
        return frozenset({Need.TEMPERATURE} if self.uses_temperature else ())

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
        """Return the baseline of a participant for an event, as `BaselineMethod.baseline` says."""
        frame = event_frame(matrix, event, (), notified_at, show)
        lately = frame.today - np.arange(1, self.lookback_days + 1)
        weather = calendar.weather if self.uses_temperature else None
        warmth, own_celsius = in_window(weather, matrix, frame, lately, self.coverage)
        used, uses = self._days(matrix, frame, event, calendar, warmth)
        if len(used) < self.min_days:
            raise NoBaselineError(
                f"{self.id} needs {self.min_days} eligible days in the {self.lookback_days} days before "
                f"{from_days(frame.today)} and found {len(used)}. Fetch more history, or choose another method.",
                uses,
            )
        step_s = matrix.series.step_s
        loads = matrix.gather(used, np.arange(matrix.slots))[0]
        weekdays = _weekdays(used, calendar.holidays)
        weights = 0.5 ** ((frame.today - used) / self.half_life_days)
        days = frame.today + frame.offsets // matrix.slots
        asked = _weekdays(days, calendar.holidays), frame.offsets % matrix.slots
        status = AdjustmentStatus.NONE
        celsius = self._celsius(matrix, frame, weather, used)
        if celsius is None:
            usual_wh = fit(loads, weekdays, None, weights, self.drawn).at(*asked, None)
            status = AdjustmentStatus.NO_TEMPERATURE if self.uses_temperature else status
        else:
            usual_wh = fit(loads, weekdays, celsius[0], weights, self.drawn).at(*asked, celsius[1])
        return Baseline(
            method=self,
            step_s=step_s,
            starts_s=frame.starts_s,
            overlap_s=frame.overlap_s,
            baseline_wh=usual_wh,
            unadjusted_wh=usual_wh,
            actual_wh=matrix.series.at(frame.starts_s),
            adjustment=NO_ADJUSTMENT,
            status=status,
            windows=(),
            days=uses,
            celsius=own_celsius,
        )

    def _days(
        self, matrix: DayMatrix, frame: EventFrame, event: Span, calendar: Calendar, warmth: Floats
    ) -> tuple[Ints, tuple[DayUse, ...]]:
        """Return the days used, newest first, and the verdict on each day of the look-back, of that `warmth`."""
        blocked = disturbed_days(matrix, event, calendar)
        alike = self.alike(day_type(from_days(frame.today), calendar.holidays))
        days = frame.today - np.arange(1, self.lookback_days + 1)
        coverage = matrix.gather(days, np.arange(matrix.slots))[1]
        in_event_wh = matrix.gather(days, frame.offsets[frame.in_event])[0]
        uses = []
        for row, day in enumerate(days.tolist()):
            verdict = blocked.get(day, Verdict.KEPT)
            if day_type(from_days(day), calendar.holidays) not in alike:
                verdict = Verdict.UNLIKE
            elif verdict is Verdict.KEPT and coverage[row] < self.coverage:
                verdict = Verdict.MISSING
            mean_w = average(in_event_wh[row]) * 3600 / matrix.series.step_s
            uses.append(DayUse(from_days(day), verdict, float(coverage[row]), mean_w, float(warmth[row])))
        kept: Bools = np.array([use.verdict is Verdict.KEPT for use in uses])
        return days[kept], tuple(uses)

    def _celsius(
        self, matrix: DayMatrix, frame: EventFrame, weather: Weather | None, used: Ints
    ) -> tuple[Floats, Floats] | None:
        """Return the temperatures of the days used (days, slots) and of the intervals asked (n,).

        None without them: where one of the event is not known, or of fewer days than are needed.
        """
        if weather is None:
            return None
        asked = weather.at(frame.starts_s + matrix.series.step_s // 2)
        before, coverage = by_day(weather, matrix).gather(used, np.arange(matrix.slots))
        if np.isnan(asked[frame.in_event]).any() or (coverage >= self.coverage).sum() < self.min_days:
            return None
        return before, asked


def _weekdays(days: Ints, holidays: frozenset[date]) -> Ints:
    """Return the weekdays (0 = Monday) of local dates (days since 1970-01-01); a holiday is a Sunday."""
    dates = [from_days(day) for day in days.tolist()]
    return np.array([_SUNDAY if day in holidays else day.weekday() for day in dates], np.int64)
