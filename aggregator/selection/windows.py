"""The best run of intervals to call a home for."""

import numpy as np

from aggregator.flexibility.fleet import Floats, Whole


def best_blocks(gain: Floats, *, one_block: bool) -> tuple[Floats, Whole, Whole]:
    """Return, for each row of `gain` (n, m), the best contiguous block: its sum, start and end (exclusive).

    A block has one interval at least; `one_block`: it is all of them. Kadane's algorithm, by prefix sums.
    """
    homes, intervals = gain.shape
    if one_block or intervals <= 1:
        return gain.sum(axis=1), np.zeros(homes, np.int64), np.full(homes, intervals, np.int64)
    prefix = np.zeros((homes, intervals + 1))
    np.cumsum(gain, axis=1, out=prefix[:, 1:])
    lowest = np.minimum.accumulate(prefix[:, :-1], axis=1)
    last = (prefix[:, 1:] - lowest).argmax(axis=1)
    each = np.arange(homes)
    floor = lowest[each, last]
    start = (prefix[:, :-1] == floor[:, None]).argmax(axis=1)
    return prefix[each, last + 1] - floor, start, last + 1


def within(start: Whole, stop: Whole, intervals: int) -> Floats:
    """Return 1 inside each block and 0 outside, (n, intervals)."""
    place = np.arange(intervals)[None, :]
    inside = (place >= start[:, None]) & (place < stop[:, None])
    return inside.astype(np.float64)
