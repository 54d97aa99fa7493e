"""Energy between the steps of a meter register: pure arithmetic, nothing is invented.

A register is read now and then; which of its readings are believed, `core.plausible` tells. Its value at the edge of an
interval is known if it was read at that very time, or if the readings around the edge lie so close together that the
edge is inside ordinary metering. Where it is not known, the interval reaches on to the next edge that is: one longer
interval with the true energy, marked as an estimate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from core import plausible
from core.plausible import HOME_W, Level
from core.points import Quality, Reading

_USABLE: Final = frozenset({Quality.GOOD, Quality.ESTIMATED, Quality.UNCERTAIN})


@dataclass(frozen=True, slots=True)
class Measured:
    """The energy of [start, end) in Wh.

    Estimated over a gap and over readings that were set aside: the energy is right, when it was used is not known.
    Uncertain where the register went on at another level: then nobody knows the energy, and it is not to be settled.
    """

    start: datetime
    end: datetime
    energy_wh: float
    quality: Quality

    @property
    def estimated(self) -> bool:
        """Whether it is anything but good."""
        return self.quality is not Quality.GOOD

    @property
    def power_w(self) -> float:
        """The mean power."""
        return self.energy_wh * 3600 / (self.end - self.start).total_seconds()


def edges(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    """Return start, start + step, ... and end; the last step may be shorter."""
    count = math.ceil((end - start) / step)
    return [*(start + index * step for index in range(count)), end]


def measured(
    readings: Sequence[Reading], at: Sequence[datetime], step: timedelta, connection_w: float = HOME_W
) -> list[Measured]:
    """Return the energy between the given edges (ascending) as far as the register is known there.

    The sum over the result is the register's own difference between its first and last known edge, without what was
    set aside; `connection_w` is what can flow at most.
    """
    known = _register_at(readings, at, step * 1.5, connection_w)
    return [
        Measured(
            start, end, max(0.0, after.total_wh - before.total_wh), _quality(before, after, gap=end - start > step)
        )
        for (start, before), (end, after) in pairwise(known)
    ]


def _quality(before: Level, after: Level, *, gap: bool) -> Quality:
    if after.uncertain > before.uncertain:
        return Quality.UNCERTAIN
    return Quality.ESTIMATED if gap or after.estimated > before.estimated else Quality.GOOD


def is_known(readings: Sequence[Reading], edge: datetime, step: timedelta, connection_w: float = HOME_W) -> bool:
    """Tell whether the register is known at one edge."""
    return bool(_register_at(readings, [edge], step * 1.5, connection_w))


def _register_at(
    readings: Sequence[Reading], at: Sequence[datetime], tolerance: timedelta, connection_w: float
) -> list[tuple[datetime, Level]]:
    usable = [one for one in readings if one.quality in _USABLE and math.isfinite(one.value)]
    levels = plausible.believed(
        [plausible.RegisterReading(one.start.timestamp(), one.value, one.quality is Quality.GOOD) for one in usable],
        connection_w,
    )
    times = [usable[one.place].start for one in levels]
    known = []
    after = 0
    for edge in at:
        while after < len(levels) and times[after] < edge:
            after += 1
        if after == len(levels):
            break
        later, high = times[after], levels[after]
        if later == edge:
            known.append((edge, high))
        elif after > 0:
            earlier, low = times[after - 1], levels[after - 1]
            if later - earlier <= tolerance and low[2:] == high[2:]:
                share = (edge - earlier) / (later - earlier)
                known.append((edge, low._replace(total_wh=low.total_wh + share * (high.total_wh - low.total_wh))))
    return known


def mean_power(readings: Sequence[Reading], at: Sequence[datetime], connection_w: float = HOME_W) -> list[Measured]:
    """Return the energy between edges out of power readings (W), for devices without a register.

    The mean of the readings in an interval counts for all of it, without those above what can flow at most; an interval
    without readings is left out. Always marked as an estimate.
    """
    result = []
    for start, end in pairwise(at):
        values = [
            one.value
            for one in readings
            if start <= one.start < end and one.quality in _USABLE and abs(one.value) <= connection_w
        ]
        if values:
            hours = (end - start).total_seconds() / 3600
            result.append(Measured(start, end, sum(values) / len(values) * hours, Quality.ESTIMATED))
    return result
