"""Outdoor temperatures: moments as they were measured or forecast, read for the intervals of a meter."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.errors import InvalidError
from metrics.days import Floats, Ints

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

    def at(self, times_s: Ints) -> Floats:
        """Return the temperatures at some times, same shape: even between moments up to six hours apart, else NaN."""
        if not self.times_s.size:
            return np.full(times_s.shape, np.nan)
        after = np.minimum(np.searchsorted(self.times_s, times_s), self.times_s.size - 1)
        before = np.maximum(after - (self.times_s[after] > times_s), 0)
        near_s = np.minimum(np.abs(self.times_s[after] - times_s), np.abs(self.times_s[before] - times_s))
        return np.where(near_s <= _FARTHEST_S, np.interp(times_s, self.times_s, self.celsius), np.nan)
