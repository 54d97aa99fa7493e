"""How far the pool's baseline errs when nothing is ordered: placebo events on days before the real one.

The houses' model knows what every home drew on any date of the data, so the spread can be taken from many more days
than the history that the VTN asks for.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from core.spans import Span
from evenload.demo.model import HALF_HOUR, House
from metrics.days import DayMatrix, day_matrix, series
from metrics.method import BaselineMethod
from metrics.placebo import Placebo, placebo, pool_placebo

LOOKBACK_DAYS = 72
"""Ten working days for the first baseline, and about forty placebo events after them."""


def placebo_of(calls: Iterable[tuple[House, Span]], method: BaselineMethod) -> Placebo:
    """Return the pool's placebo events at the same hours (`sd_wh` is their standard deviation, in Wh).

    `calls`: the homes, each with the span in which it counts; all on one day. Half-hourly meters of the homes as if
    nobody ever switched, days in UTC.
    """
    return pool_placebo(
        [placebo(_matrix(house, span.start), span, method, lookback_days=LOOKBACK_DAYS) for house, span in calls]
    )


def _matrix(house: House, event_start: datetime) -> DayMatrix:
    """Lay out the home's half-hourly energy up to the event's day."""
    end = event_start.replace(hour=0, minute=0, second=0, microsecond=0)
    first = end - timedelta(days=LOOKBACK_DAYS)
    starts = [first + n * HALF_HOUR for n in range(LOOKBACK_DAYS * 48)]
    days = [first.date() + timedelta(days=n) for n in range(LOOKBACK_DAYS)]
    energies_wh = [energy_wh for day in days for energy_wh in house.half_hours_wh(day)]
    return day_matrix(series([start.timestamp() for start in starts], energies_wh, 1800), "UTC")
