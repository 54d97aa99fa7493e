"""Placebo events: the same baseline on days when nothing was ordered, so whatever it "delivers" is its own error.

The spread of those errors says how large a delivery must be to stand out, for one home and, because errors of homes
partly cancel, separately for a pool.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from core.direction import Direction
from core.errors import InvalidError
from core.spans import Span
from metrics.day_matching import touched_days
from metrics.days import DayMatrix, Floats, day_type, from_days
from metrics.method import ORDINARY, AdjustmentStatus, BaselineMethod, Calendar, NoBaselineError
from metrics.performance import delivered


@dataclass(frozen=True, slots=True, eq=False)
class Placebo:
    """What the baseline made of days without an event.

    `dates`: local dates, ascending; `delivered_wh` (days,): the energy that an event there would have been credited
    with, signed; `actual_wh` (days,): the energy used in the window. The ideal is 0 everywhere.
    """

    dates: tuple[date, ...]
    delivered_wh: Floats
    actual_wh: Floats

    @property
    def bias_wh(self) -> float:
        """Mean error; NaN without days."""
        return float(self.delivered_wh.mean()) if self.dates else float("nan")

    @property
    def sd_wh(self) -> float:
        """Standard deviation of the errors (n - 1 in the denominator); NaN with fewer than two days."""
        return float(self.delivered_wh.std(ddof=1)) if len(self.dates) > 1 else float("nan")

    def on(self, days: Sequence[date]) -> "Placebo":
        """Return the placebo events on some of its days, in their order."""
        rows = [self.dates.index(day) for day in days]
        return Placebo(tuple(days), self.delivered_wh[rows], self.actual_wh[rows])


def placebo(
    matrix: DayMatrix,
    event: Span,
    method: BaselineMethod,
    calendar: Calendar = ORDINARY,
    *,
    notified_at: datetime | None = None,
    direction: Direction = Direction.REDUCE,
    lookback_days: int = 365,
    every: int = 1,
    needs_temperature: bool = False,
) -> Placebo:
    """Return what the method would have credited on earlier days at the event's wall-clock window, one participant.

    Counted are like days within `lookback_days` that no event or outage touches, whose window is fully measured and
    that have a baseline; with `every` only one in so many of the like days, to be quick. A placebo notice comes as long
    before the window as the real one did. `needs_temperature`: no day counts on which the method has to do without.
    """
    calendar = replace(calendar, events=(*calendar.events, event))
    taken = set(touched_days(matrix, (*calendar.events, *calendar.outages), event))
    today = matrix.local_day(event.start)
    alike = method.alike(day_type(from_days(today), calendar.holidays))
    dates: list[date] = []
    energies: list[tuple[float, float]] = []
    like = [day for day in range(today - lookback_days, today) if day_type(from_days(day), calendar.holidays) in alike]
    for day in like[::-1][::every][::-1]:
        window = _moved(matrix, event, day - today)
        if taken & set(touched_days(matrix, (window,), event)):
            continue
        notice = None if notified_at is None else notified_at + (window.start - event.start)
        try:
            found = method.baseline(matrix, window, calendar, notified_at=notice)
        except NoBaselineError:
            continue
        if needs_temperature and found.status is AdjustmentStatus.NO_TEMPERATURE:
            continue
        error = delivered(found.baseline_wh, found.actual_wh, direction).sum()
        if np.isfinite(error):
            dates.append(from_days(day))
            energies.append((float(error), float(found.actual_wh.sum())))
    errors, used = np.array(energies, np.float64).reshape(-1, 2).T
    return Placebo(tuple(dates), errors, used)


def pool_placebo(homes: Sequence[Placebo]) -> Placebo:
    """Return a pool's placebo events: the sum over the homes, on the days that every home has.

    Raises InvalidError without homes.
    """
    if not homes:
        raise InvalidError("A pool needs at least one home.")
    alike = on_common_days(homes)
    return Placebo(
        alike[0].dates,
        np.sum([home.delivered_wh for home in alike], axis=0),
        np.sum([home.actual_wh for home in alike], axis=0),
    )


def on_common_days(placebos: Sequence[Placebo]) -> list[Placebo]:
    """Return the same placebo events, of several homes or rules, on the days only that all of them have."""
    common = sorted(set.intersection(*(set(one.dates) for one in placebos))) if placebos else []
    return [one.on(common) for one in placebos]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far a rule is off on days without events; shares of what was used, NaN where nothing is known.

    `bias`: mean error of the pool, positive if the baseline is too high. `pool_rmse`: root mean square error of the
    pool's energy per event; `home_rmse`: the mean of the homes' own. `homes` and `days`: how many that rests on.
    """

    homes: int
    days: int
    bias: float
    pool_rmse: float
    home_rmse: float

    @property
    def is_known(self) -> bool:
        """Tell whether the errors are known: there were days, and something was used on them."""
        return math.isfinite(self.pool_rmse)


def accuracy(homes: Sequence[Placebo]) -> Accuracy:
    """Return how accurate a rule was for a pool: bias and error of placebo events (reduction) on the days of all.

    Homes with fewer than half of the days of the best known home are left out: each would take its missing days from
    the others. Source: metrics of the California ISO Baseline Accuracy Assessment (Bode and Ciccone, 2017).
    """
    most = max((len(home.dates) for home in homes), default=0)
    known = [home for home in homes if home.dates and 2 * len(home.dates) >= most]
    if not known:
        return Accuracy(0, 0, float("nan"), float("nan"), float("nan"))
    pool = pool_placebo(known)
    own = [_relative(home)[1] for home in known]
    return Accuracy(
        len(known),
        len(pool.dates),
        *_relative(pool),
        float(np.nanmean(own)) if np.any(np.isfinite(own)) else float("nan"),
    )


def _relative(placebo: Placebo) -> tuple[float, float]:
    """Return bias and root mean square error per event, as shares of the mean use; NaN without days or use."""
    used_wh = float(placebo.actual_wh.mean()) if placebo.dates else 0.0
    if used_wh == 0:
        return float("nan"), float("nan")
    return placebo.bias_wh / abs(used_wh), float(np.sqrt(np.mean(placebo.delivered_wh**2))) / abs(used_wh)


def rrmse(actual: Floats, baseline_: Floats) -> float:
    """Return the relative root mean square error sqrt(mean(e^2)) / mean(actual); NaN pairs are left out.

    NaN if nothing remains or the mean load is zero.
    """
    error, load = _errors(actual, baseline_)
    return float(np.sqrt(np.mean(error**2)) / load.mean()) if load.size and load.mean() else float("nan")


def nmbe(actual: Floats, baseline_: Floats) -> float:
    """Return the normalised mean bias sum(baseline - actual) / sum(actual), positive if the baseline is too high.

    NaN pairs are left out; NaN if nothing remains or the sum is zero.
    """
    error, load = _errors(actual, baseline_)
    return float(error.sum() / load.sum()) if load.size and load.sum() else float("nan")


def _errors(actual: Floats, baseline_: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(actual) & np.isfinite(baseline_)
    return (baseline_ - actual)[known], actual[known]


def _moved(matrix: DayMatrix, event: Span, days: int) -> Span:
    """Return the event's span so many local days later, at the same wall clock and of the same length."""
    local = event.start.astimezone(matrix.zone) + timedelta(days=days)
    start = local.astimezone(UTC)
    return Span(start, start + ((event.end or event.start) - event.start))
