"""How much time intervals share: orders, readings, potentials and events are all laid over a grid by this."""

import numpy as np

from metrics.days import Floats, Ints


def overlap(
    start: Floats | Ints | float,
    end: Floats | Ints | float,
    other_start: Floats | Ints | float,
    other_end: Floats | Ints | float,
) -> Floats:
    """Return how much time the intervals [start, end) and [other_start, other_end) share, never negative.

    All four are in one unit, which is the result's (seconds since 1970 give seconds), and of shapes that broadcast to
    the result's: numbers against (T,) give (T,), (n, 1) against (T,) give (n, T). Intervals may come in any order and
    overlap each other. Touching ones share nothing, nor does one without length or one that ends before it begins. An
    end may be infinite; NaN gives NaN. Raises ValueError for shapes that do not broadcast.
    """
    shared: Floats = np.maximum(np.minimum(end, other_end) - np.maximum(start, other_start), 0.0)
    return shared
