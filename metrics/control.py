"""A control group: homes that are never called, and what they used in the mean."""

from dataclasses import dataclass, field

import numpy as np

from core.errors import InvalidError
from metrics.days import Floats, Ints, Series


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """What a control group used. Build it with `ControlMean`.

    `series` (n,): mean energy per home and interval, Wh, import positive, NaN where no home is known. `homes` (n,): of
    how many homes each is the mean.
    """

    series: Series
    homes: Ints

    def at(self, starts_s: Ints, least: int = 1) -> Floats:
        """Return the means (Wh) of the intervals that begin then; NaN where fewer homes are known. Same shape."""
        return np.where(self.homes_at(starts_s) >= least, self.series.at(starts_s), np.nan)

    def homes_at(self, starts_s: Ints) -> Ints:
        """Return of how many homes the intervals that begin then are the means; 0 where there is none. Same shape."""
        counts: Ints = np.zeros(starts_s.shape, np.int64)
        if self.series.starts_s.size:
            place = np.minimum(np.searchsorted(self.series.starts_s, starts_s), self.series.starts_s.size - 1)
            counts = np.where(self.series.starts_s[place] == starts_s, self.homes[place], 0)
        return counts


@dataclass(slots=True, eq=False)
class ControlMean:
    """The mean of homes that come some at a time, over the intervals `starts_s` (n,) of `step_s` seconds."""

    starts_s: Ints
    step_s: int
    _total_wh: Floats = field(init=False)
    _homes: Ints = field(init=False)

    def __post_init__(self) -> None:
        self._total_wh = np.zeros(self.starts_s.shape)
        self._homes = np.zeros(self.starts_s.shape, np.int64)

    def add(self, energy_wh: Floats) -> None:
        """Take in the energies (k, n) of k homes; what is not finite is not known. Raises InvalidError for others."""
        if energy_wh.ndim != 2 or energy_wh.shape[1:] != self.starts_s.shape:  # noqa: PLR2004  homes and intervals
            raise InvalidError(f"Homes of {self.starts_s.size} intervals are wanted, not shape {energy_wh.shape}.")
        counted = np.isfinite(energy_wh)
        self._total_wh += np.where(counted, energy_wh, 0.0).sum(axis=0)
        self._homes += counted.sum(axis=0)

    def control(self) -> Control:
        """Return the means of the homes taken in so far."""
        homes = self._homes.copy()
        means = np.divide(self._total_wh, homes, out=np.full(homes.shape, np.nan), where=homes > 0)
        return Control(Series(self.starts_s, means, self.step_s), homes)
