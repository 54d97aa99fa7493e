"""What an event orders, in Wh, and how much of it ran."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import numpy as np

from core.direction import Direction
from core.spans import Duration
from metrics.days import Floats, Ints
from metrics.overlap import overlap
from openadr.model.event import Event

LEAST_RUN: Final = timedelta(seconds=1)
"""What ran for less did not run: a length of nothing would mean that it has no end (EV-66)."""
_TICK: Final = timedelta(microseconds=1)
_TICKS_A_SECOND: Final = 1e6


def as_run(ordered: Event, cancelled_at: datetime | None) -> Event | None:
    """Return the event as far as it ran, in whole seconds: cut off at its cancellation; None: it did not run."""
    period = ordered.period
    if cancelled_at is None or (period.end is not None and period.end <= cancelled_at):
        return ordered
    if cancelled_at - period.start < LEAST_RUN:
        return None
    cancelled_at = period.start + timedelta(seconds=math.floor((cancelled_at - period.start).total_seconds()))
    signals = []
    for signal in ordered.signals:
        edge, intervals = period.start, []
        for interval in signal.intervals:
            after = interval.duration.after(edge) if interval.duration else cancelled_at
            if edge < cancelled_at:
                intervals.append(replace(interval, duration=Duration.between(edge, min(after, cancelled_at))))
            edge = after
        signals.append(replace(signal, intervals=tuple(intervals)))
    ran = replace(period, duration=Duration.between(period.start, cancelled_at))
    return replace(ordered, period=ran, signals=tuple(signals))


def ordered_between(ordered: Event, edges: Sequence[datetime], direction: Direction) -> Floats:
    """Return the energy (Wh, positive = as ordered) that an event orders between each two of the edges (T + 1), (T,).

    0 if no signal names a power. The edges ascend. LOAD_DISPATCH/delta is the change of consumption:
    negative for `reduce`.
    """
    total = np.zeros(len(edges) - 1)
    for signal in ordered.signals:
        if (signal.name, signal.type) != ("LOAD_DISPATCH", "delta") or signal.item_base is None:
            continue
        durations = tuple(interval.duration for interval in signal.intervals)
        for place, shared_s in _shared_s(ordered.period.start, durations, tuple(edges)):
            total += signal.intervals[place].value * signal.item_base.factor * shared_s / 3600
        break
    return -total if direction is Direction.REDUCE else total


@lru_cache(maxsize=8)  # the VENs of a dispatch mostly differ in their values alone
def _shared_s(
    start: datetime, durations: tuple[Duration, ...], edges: tuple[datetime, ...]
) -> list[tuple[int, Floats]]:
    """Return which of the intervals in a row lie between the edges (T + 1), and how long (s) between each two, (T,)."""
    times = [start]
    for duration in durations:
        times.append(duration.after(times[-1]) if duration else max(times[-1], edges[-1]))  # EV-66
    begin, cell = _ticks(start, times), _ticks(start, edges)
    shared_s = overlap(begin[:-1, None], begin[1:, None], cell[:-1], cell[1:]) / _TICKS_A_SECOND
    return [(place, shared_s[place]) for place in np.flatnonzero(shared_s.any(axis=1)).tolist()]


def _ticks(since: datetime, times: Sequence[datetime]) -> Ints:
    """Return microseconds since a time: whole numbers, of which differences are exact."""
    return np.array([(when - since) // _TICK for when in times], np.int64)


def names_power(ordered: Event) -> bool:
    """Tell whether an event says how much: whether `ordered_between` goes by one of its signals."""
    return any(
        (signal.name, signal.type) == ("LOAD_DISPATCH", "delta") and signal.item_base is not None
        for signal in ordered.signals
    )
