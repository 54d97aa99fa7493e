"""What earns: delivery counts where something was ordered, and for as long as the participant took part.

Arrays run over the settlement intervals of the event, (n,), energies in Wh, positive = as ordered.
"""

import numpy as np

from metrics.days import Bools, Floats, Ints


def earning(ordered_wh: Floats, takes_part: Bools, *, names_power: bool) -> Bools:
    """Tell in which intervals a participant can earn: it took part, and something was ordered of it.

    `names_power`: whether the order says how much; where it does not (a plain signal), all of the event is ordered.
    """
    return takes_part & (ordered_wh != 0) if names_power else takes_part


def credited(delivered_wh: Floats, earns: Bools) -> Floats:
    """Return what counts in each interval: what was delivered where it can earn (NaN: not known), 0 elsewhere."""
    return np.where(earns, delivered_wh, 0.0)


def coverage(credited_wh: Floats, earns: Bools) -> float:
    """Return which share of the intervals that can earn is known, 0 to 1; NaN if there are none."""
    return float(np.isfinite(credited_wh[earns]).mean()) if earns.any() else float("nan")


def total(credited_wh: Floats, earns: Bools) -> float:
    """Return the sum (Wh) of what counts. A gap costs its own interval only; NaN where nothing at all is known."""
    if earns.any() and not np.isfinite(credited_wh[earns]).any():
        return float("nan")
    return float(np.nansum(credited_wh))


def by_order(delivered_wh: Floats, starts_s: Ints, step_s: int, weights: Floats, spans_s: Ints) -> Floats:
    """Return deliveries with those of long readings put where something was ordered, (n,).

    `spans_s` (k, 2): start and end of readings longer than a step; `weights` (n,): what was ordered in each interval,
    0 outside of the order. What is not all known, or had no order in it, stays as it is.
    """
    moved = delivered_wh.copy()
    for start_s, end_s in spans_s.tolist():
        inside = (starts_s >= start_s) & (starts_s + step_s <= end_s)
        share = np.where(inside, np.abs(weights), 0.0)
        if share.sum() > 0 and np.isfinite(delivered_wh[inside]).all():
            moved[inside] = delivered_wh[inside].sum() * share[inside] / share.sum()
    return moved
