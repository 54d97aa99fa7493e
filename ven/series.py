"""Energy between the steps of a meter register: pure arithmetic, nothing is invented.

A register is read now and then. Its value at the edge of an interval is known if it was read at that very time, or if
the readings around the edge lie so close together that the edge is inside ordinary metering. Where it is not known,
the interval reaches on to the next edge that is: one longer interval with the true energy, marked as an estimate.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from core.points import Quality, Reading

MOST_W: Final = 100_000.0
"""A register that fell is believed to have started again at zero only if it then rose more slowly than this."""
_USABLE: Final = frozenset({Quality.GOOD, Quality.ESTIMATED, Quality.UNCERTAIN})


@dataclass(frozen=True, slots=True)
class Measured:
    """The energy of [start, end) in Wh; `estimated` for a gap, a register reset or a doubtful reading."""

    start: datetime
    end: datetime
    energy_wh: float
    estimated: bool

    @property
    def power_w(self) -> float:
        """The mean power."""
        return self.energy_wh * 3600 / (self.end - self.start).total_seconds()


def edges(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    """Return start, start + step, ... and end; the last step may be shorter."""
    count = math.ceil((end - start) / step)
    return [*(start + index * step for index in range(count)), end]


def measured(readings: Sequence[Reading], at: Sequence[datetime], step: timedelta) -> list[Measured]:
    """Return the energy between the given edges (ascending) as far as the register is known there.

    The sum over the result is the register's own difference between its first and last known edge.
    """
    known = _register_at(readings, at, step * 1.5)
    return [
        Measured(
            start, end, max(0.0, after.total_wh - before.total_wh), end - start > step or after.doubts > before.doubts
        )
        for (start, before), (end, after) in pairwise(known)
    ]


def is_known(readings: Sequence[Reading], edge: datetime, step: timedelta) -> bool:
    """Tell whether the register is known at one edge."""
    return bool(_register_at(readings, [edge], step * 1.5))


@dataclass(frozen=True, slots=True)
class _Level:
    """The register, counted on over resets, and how many doubtful steps lie before it."""

    total_wh: float
    doubts: int


def _unbroken(readings: Iterable[Reading]) -> list[tuple[datetime, _Level]]:
    """Return the register as one rising series: a fall is a reset (meter restarted or exchanged)."""
    levels: list[tuple[datetime, _Level]] = []
    total, doubts, last = 0.0, 0, None
    for one in readings:
        if one.quality not in _USABLE or not math.isfinite(one.value):
            continue
        doubts += one.quality is not Quality.GOOD
        if last is not None:
            rise = one.value - last.value
            if rise < 0:
                hours = (one.start - last.start).total_seconds() / 3600
                rise = one.value if 0 <= one.value <= MOST_W * hours else 0.0
                doubts += 1
            total += rise
        levels.append((one.start, _Level(total, doubts)))
        last = one
    return levels


def _register_at(
    readings: Sequence[Reading], at: Sequence[datetime], tolerance: timedelta
) -> list[tuple[datetime, _Level]]:
    levels = _unbroken(readings)
    known = []
    after = 0
    for edge in at:
        while after < len(levels) and levels[after][0] < edge:
            after += 1
        if after == len(levels):
            break
        later, high = levels[after]
        if later == edge:
            known.append((edge, high))
        elif after > 0:
            earlier, low = levels[after - 1]
            if later - earlier <= tolerance and low.doubts == high.doubts:
                share = (edge - earlier) / (later - earlier)
                total = low.total_wh + share * (high.total_wh - low.total_wh)
                known.append((edge, _Level(total, low.doubts)))
    return known


def mean_power(readings: Sequence[Reading], at: Sequence[datetime]) -> list[Measured]:
    """Return the energy between edges out of power readings (W), for devices without a register.

    The mean of the readings in an interval counts for all of it; an interval without readings is left out. Always
    marked as an estimate.
    """
    result = []
    for start, end in pairwise(at):
        values = [
            one.value
            for one in readings
            if start <= one.start < end and one.quality in _USABLE and math.isfinite(one.value)
        ]
        if values:
            hours = (end - start).total_seconds() / 3600
            result.append(Measured(start, end, sum(values) / len(values) * hours, estimated=True))
    return result
