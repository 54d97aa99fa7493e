"""How far the energy that a pool delivered is known: what the same baseline errs on days without an event.

The errors of homes partly cancel and partly do not (a warm evening moves all of them). Both parts are estimated from
the homes' errors of the same days, so a sample of the homes says it for all of them. What the baseline errs by in the
mean, its bias, is known and stated apart: half the width of the interval is that of what scatters around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from metrics.placebo import Placebo

LEAST_DAYS: Final = 8
"""With fewer days without an event nothing is said."""
_MOST_MISSING: Final = 0.2
"""A day counts if at most this part of the homes lacks it; the others stand in for these."""
_T95: Final = (
    *(6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812),
    *(1.796, 1.782, 1.771, 1.761, 1.753, 1.746, 1.740, 1.734, 1.729, 1.725),
    *(1.721, 1.717, 1.714, 1.711, 1.708, 1.706, 1.703, 1.701, 1.699, 1.697),
)
_NORMAL_95: Final = 1.6449


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Of a delivered energy, Wh: half the width of its 90 % interval, around `delivered - bias`.

    `bias_wh`: what the baseline credits in the mean on days without an event, positive if it is too high. `days`: how
    many of these it rests on.
    """

    half_width_wh: float
    bias_wh: float
    days: int


def t95(freedom: int) -> float:
    """Return the 95 % quantile of Student's t with so many degrees of freedom (at least 1)."""
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z = _NORMAL_95  # Cornish and Fisher's expansion, right to three digits from here on
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def uncertainty(homes: Sequence[Placebo], count: int) -> Uncertainty | None:
    """Return how far the energy of `count` homes is known, from placebo events of some or all of them.

    None: too few days without an event are shared by the homes. Homes with fewer than half of the days of the best
    known one stand aside: the others speak for them.
    """
    most = max((len(home.dates) for home in homes), default=0)
    seen = [home for home in homes if home.dates and 2 * len(home.dates) >= most]
    if not seen:
        return None
    errors_wh = _common(seen)
    errors_wh = errors_wh[:, np.isfinite(errors_wh).sum(axis=0) > 1]  # of a single day nobody knows a spread
    days, sample = errors_wh.shape
    if days < LEAST_DAYS or not sample:
        return None
    own = np.nanvar(errors_wh, axis=0, ddof=1)
    sums_wh = np.nanmean(errors_wh, axis=1) * sample
    spread = float(np.var(sums_wh, ddof=1))
    if count > sample > 1:
        together = max((spread - float(own.sum())) / (sample * (sample - 1)), 0.0)
        spread = count * float(own.mean()) + count * (count - 1) * together
    elif count > sample:
        spread *= count**2  # one home says nothing of how far errors cancel
    # The mean error is an estimate as well, and this day has an error of its own: hence 1 + 1 / days.
    half_wh = t95(days - 1) * float(np.sqrt(spread * (1 + 1 / days)))
    return Uncertainty(half_wh, float(sums_wh.mean()) * count / sample, days)


def _common(homes: Sequence[Placebo]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the errors (days, homes) on the days that most of the homes have, NaN where one has none."""
    counts: dict[date, int] = {}
    for home in homes:
        for day in home.dates:
            counts[day] = counts.get(day, 0) + 1
    days = sorted(day for day, heard in counts.items() if heard >= (1 - _MOST_MISSING) * len(homes))
    place = {day: row for row, day in enumerate(days)}
    errors = np.full((len(days), len(homes)), np.nan)
    for column, home in enumerate(homes):
        for day, error in zip(home.dates, home.delivered_wh.tolist(), strict=True):
            if day in place:
                errors[place[day], column] = error
    return errors
