"""Delivered against ordered: per interval, per event, per pool.

Arrays run over the intervals of the event, energies in Wh, signed so that more of what was ordered is positive. NaN is
"not known" and earns nothing: such an interval counts as 0 delivered in every ratio and as a miss in compliance, while
`coverage` says how much was known.
"""

from dataclasses import dataclass

import numpy as np

from core.direction import Direction
from core.errors import InvalidError
from metrics.days import Bools, Floats


def delivered(baseline: Floats, actual: Floats, direction: Direction = Direction.REDUCE) -> Floats:
    """Return what was delivered per interval: baseline - actual for `reduce`, the opposite for `increase`.

    Same unit and shape as the arguments; negative where the participant did the contrary; NaN where either is NaN.
    """
    difference = baseline - actual
    return difference if direction is Direction.REDUCE else -difference


def ordered_wh(power_w: Floats | float, overlap_s: Floats) -> Floats:
    """Return the ordered energy per interval (n,): power (W, positive) times the event's seconds in the interval."""
    return np.asarray(power_w, np.float64) * overlap_s / 3600


@dataclass(frozen=True, slots=True)
class Performance:
    """How an event went, for one participant or a pool.

    - `requested_wh` Q and `delivered_wh` R, signed (NaN if nothing is known); `positive_wh`: the sum of the positive
      intervals alone.
    - `ratio` R/Q; `capped_ratio`: mean over ordered intervals of min(1, r/q), so that over-delivery earns no credit
      elsewhere (an interval of contrary delivery counts negative).
    - `compliance`: share of ordered intervals with r >= threshold * q; `longest_miss`: most intervals missed in a row.
    - `deficiency_wh`: sum of what each interval lacked.
    - `coverage`: share of ordered intervals whose delivery is known, 0 to 1.

    Without an order (Q = 0) the ratios, compliance and coverage are NaN.
    """

    requested_wh: float
    delivered_wh: float
    positive_wh: float
    ratio: float
    capped_ratio: float
    compliance: float
    longest_miss: int
    deficiency_wh: float
    coverage: float


def performance(delivered_wh: Floats, requested_wh: Floats, threshold: float = 0.9) -> Performance:
    """Return the figures of one event from delivered and ordered energy per interval, both (n,), Wh.

    Raises InvalidError for other shapes, an order that is not known in every interval, or one below zero: turn the
    sign of both by `Direction` first.
    """
    if delivered_wh.ndim != 1 or delivered_wh.shape != requested_wh.shape:
        raise InvalidError("Performance needs one delivered and one ordered energy per interval.")
    if not np.all(requested_wh >= 0):
        raise InvalidError("An ordered energy is known and not negative; the direction says which way it goes.")
    known = np.isfinite(delivered_wh)
    credited = np.where(known, delivered_wh, 0.0)
    asked = requested_wh > 0
    share = credited[asked] / requested_wh[asked]
    met = known[asked] & (share >= threshold)
    requested = float(requested_wh.sum())
    total = float(credited.sum()) if known.any() else float("nan")
    return Performance(
        requested_wh=requested,
        delivered_wh=total,
        positive_wh=float(np.maximum(credited, 0.0).sum()),
        ratio=total / requested if requested else float("nan"),
        capped_ratio=_share(np.minimum(1.0, share)),
        compliance=_share(met),
        longest_miss=_longest_run(~met),
        deficiency_wh=float(np.maximum(requested_wh - credited, 0.0).sum()),
        coverage=_share(known[asked]),
    )


def pooled(delivered_wh: Floats) -> Floats:
    """Return the pool's delivery per interval (n,) from that of its participants (participants, n), Wh.

    What is not known of a participant adds nothing; an interval of which nothing is known is NaN. The pool's ratio is
    that of the sums, sum(R)/sum(Q), never a mean of ratios: `performance(pooled(r), q.sum(axis=0))`.
    """
    known = np.isfinite(delivered_wh)
    return np.where(known.any(axis=0), np.where(known, delivered_wh, 0.0).sum(axis=0), np.nan)


def _share(values: Floats | Bools) -> float:
    return float(values.mean()) if values.size else float("nan")


def _longest_run(flags: Bools) -> int:
    longest = run = 0
    for flag in flags.tolist():
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest
