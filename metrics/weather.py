"""Outdoor temperatures: moments as they were measured or forecast, read for the intervals of a meter."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from core.errors import InvalidError
from metrics.days import DayMatrix, Floats, Ints, day_matrix, series
from metrics.event_frame import EventFrame
from metrics.matching import average, mean

_FARTHEST_S: Final = 3 * 3600
"""Farther from the next known moment, a temperature is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """Temperatures of a place: `times_s` (n,), seconds since 1970 UTC, ascending; `celsius` (n,), finite.

    Raises InvalidError for other shapes, doubled times and what is no temperature of this earth's air.
    """

    times_s: Ints
    celsius: Floats

    def __post_init__(self) -> None:
        if self.times_s.shape != self.celsius.shape or self.times_s.ndim != 1 or (np.diff(self.times_s) <= 0).any():
            raise InvalidError("Temperatures have one time each, ascending.")
        if not (np.abs(self.celsius) <= 100).all():  # noqa: PLR2004  water boils; NaN is refused, too
            raise InvalidError("A temperature lies between -100 and 100 degrees Celsius.")

    def digest(self) -> bytes:
        """Return a hash of all that is in it."""
        return hashlib.sha256(self.times_s.tobytes() + self.celsius.tobytes()).digest()

    def at(self, times_s: Ints) -> Floats:
        """Return the temperatures at some times, same shape: even between moments up to six hours apart, else NaN."""
        if not self.times_s.size:
            return np.full(times_s.shape, np.nan)
        after = np.minimum(np.searchsorted(self.times_s, times_s), self.times_s.size - 1)
        before = np.maximum(after - (self.times_s[after] > times_s), 0)
        near_s = np.minimum(np.abs(self.times_s[after] - times_s), np.abs(self.times_s[before] - times_s))
        return np.where(near_s <= _FARTHEST_S, np.interp(times_s, self.times_s, self.celsius), np.nan)


def by_day(weather: Weather, like: DayMatrix) -> DayMatrix:
    """Return the temperatures as a meter like this one would report them: of each interval that of its middle.

    Laid out by the meter's local days and wall clock; the `energy_wh` are degrees Celsius.
    """
    return _by_day(weather, like.series.step_s, like.series.phase_s, like.zone)


@lru_cache(maxsize=16)  # the homes of one event share their weather and the grid of their meters
def _by_day(weather: Weather, step_s: int, phase_s: int, zone: ZoneInfo) -> DayMatrix:
    starts_s: Ints = np.zeros(0, np.int64)
    if weather.times_s.size:
        first = max((int(weather.times_s[0]) - _FARTHEST_S - phase_s) // step_s, 0)
        last = (int(weather.times_s[-1]) + _FARTHEST_S - phase_s) // step_s
        starts_s = np.arange(first, last + 1, dtype=np.int64) * step_s + phase_s
    return day_matrix(series(starts_s, weather.at(starts_s + step_s // 2), step_s), zone.key)


def in_window(
    weather: Weather | None, matrix: DayMatrix, frame: EventFrame, days: Ints, coverage: float
) -> tuple[Floats, float]:
    """Return the mean temperatures of the event's wall-clock hours on earlier local days (k,), and that of the event.

    NaN where less than `coverage` (0 to 1) of these hours has one, and everywhere without weather.
    """
    if weather is None:
        return np.full(days.shape, np.nan), np.nan
    celsius, share = by_day(weather, matrix).gather(days, frame.offsets[frame.in_event])
    means = mean(celsius.T, np.isfinite(celsius.T))
    own = weather.at(frame.starts_s[frame.in_event] + matrix.series.step_s // 2)
    enough = np.isfinite(own).mean() >= coverage
    return np.where(share >= coverage, means, np.nan), average(own) if enough else np.nan
