"""An even grid over the time of an order, on which flexibility is reckoned and events are cut into intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

import numpy as np

from aggregator.flexibility.fleet import Floats
from aggregator.intervals import PowerInterval
from metrics.overlap import overlap

_STEPS_S: Final = (60, 120, 180, 300)
_FEW: Final = 60
"""Up to so many intervals an event may have for the sake of a finer step."""


@dataclass(frozen=True, slots=True)
class Grid:
    """`count` steps of `step_s` seconds from `start` (aware UTC)."""

    start: datetime
    step_s: int
    count: int

    @classmethod
    def over(cls, intervals: Sequence[PowerInterval]) -> Self:
        """Return the grid of contiguous intervals of whole minutes: each is a whole number of steps.

        A step lasts 5 minutes at most, and less where the events stay short, so that whoever is called to replace
        another can begin soon, inside an interval.
        """
        common_s = math.gcd(*(one.duration_s for one in intervals))
        whole_s = sum(one.duration_s for one in intervals)
        fitting = [step for step in _STEPS_S if common_s % step == 0]
        step_s = next((step for step in fitting if whole_s // step <= _FEW), fitting[-1])
        return cls(intervals[0].start, step_s, whole_s // step_s)

    @property
    def start_s(self) -> int:
        """Its start in seconds since 1970."""
        return int(self.start.timestamp())

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.at(self.count)

    def at(self, index: int) -> datetime:
        """Return when a step begins."""
        return self.start + timedelta(seconds=index * self.step_s)

    def ahead(self, now: datetime) -> int:
        """Return the index of the first step that has not begun: 0 to `count`."""
        elapsed_s = (now - self.start).total_seconds()
        return min(max(math.ceil(elapsed_s / self.step_s), 0), self.count)

    def running(self, now: datetime) -> int:
        """Return the index of the step that runs; negative before the start, `count` or more after the end."""
        return math.floor((now - self.start).total_seconds() / self.step_s)

    def since(self, index: int) -> "Grid":
        """Return the steps from an index on."""
        return Grid(self.at(index), self.step_s, self.count - index)

    def power_w(self, intervals: Sequence[PowerInterval]) -> Floats:
        """Return the power (W) that intervals have in each step, (count,); a step partly covered has the mean."""
        edges = self.start_s + self.step_s * np.arange(self.count + 1)
        total = np.zeros(self.count)
        for one in intervals:
            shared_s = overlap(one.start.timestamp(), one.end.timestamp(), edges[:-1], edges[1:])
            total += one.power_w * shared_s / self.step_s
        return total
