"""Spans of constant power, as BRPs and the aggregator speak of them: half-open, UTC, whole watts."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class PowerInterval:
    """`power_w` (never negative: the direction stands beside it) from `start` for `duration_s` seconds."""

    start: datetime
    duration_s: int
    power_w: int

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.start + timedelta(seconds=self.duration_s)


def check_contiguous(intervals: Sequence[PowerInterval]) -> None:
    """Raise InvalidError unless there is one at least, each begins where the one before ends, and none is empty."""
    if not intervals:
        raise InvalidError("At least one interval is needed.")
    for one in intervals:
        if one.duration_s <= 0 or one.power_w < 0:
            raise InvalidError("An interval has a duration above zero and a power of zero or more.")
    for before, after in itertools.pairwise(intervals):
        if before.end != after.start:
            raise InvalidError(f"The interval at {after.start.isoformat()} does not begin where the one before ends.")


def energy_wh(intervals: Sequence[PowerInterval]) -> float:
    """Return the energy of all intervals."""
    return sum(one.power_w * one.duration_s for one in intervals) / 3600
