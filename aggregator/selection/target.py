"""What selection is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aggregator.flexibility.fleet import Fleet, Floats, Reason
from core.errors import InvalidError


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """How much power is wanted in each interval of a fleet.

    - `target_w` (T), W, never negative: what is to be delivered at least. An interval of 0 asks for nothing, and nobody
      is ordered anything in it.
    - `tolerance`: what may be delivered above the target, as a share of it. Selection and the loop aim at the middle.
    - `caps`: area index -> most power (W) that may be ordered in that area at any time, if everyone responds.
    - `most_calls`: most VENs to call, None: no limit.
    - `one_block`: each home is called for all intervals. Otherwise for one block of them, in one call.
    """

    target_w: Floats
    tolerance: float = 0.05
    caps: Mapping[int, float] = field(default_factory=dict)
    most_calls: int | None = None
    one_block: bool = False

    @property
    def aim_w(self) -> Floats:
        """Return the power (T), W, to steer for: the middle of what is wanted."""
        return self.target_w * (1 + self.tolerance / 2)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Who is called, at what power, and why everybody else is not.

    - `power_w` (N, T), W: what each VEN is ordered in the intervals it is called for, else 0: its p50, or, where it has
      a set-point, a multiple of its step from its minimum on. A row of zeros: not called.
    - `reasons` (N): one for each VEN. `reserve`: who is called next if others fail, first to last (fleet indices).
    - `method`: "lp", or "greedy" where that is better, or the programme failed or ran out of time.
    - `expected_w`, `short_w` (T), W: what the called deliver on average, and what the target lacks of it.
    - `cost`: energy at its price, unreliability, a little for each call, penalties on shortfall and overshoot.
      `bound`: no choice whatsoever costs less (from the duals of the programme, over single homes, not types).
      `gap`: (cost - bound) / cost.
    - `elapsed_s`: machine time it took.
    """

    power_w: Floats
    reasons: tuple[Reason, ...]
    reserve: tuple[int, ...]
    method: Literal["lp", "greedy"]
    expected_w: Floats
    short_w: Floats
    cost: float
    bound: float
    gap: float
    elapsed_s: float

    @property
    def called(self) -> tuple[int, ...]:
        """The indices of the called VENs, ascending."""
        return tuple(index for index, why in enumerate(self.reasons) if why is Reason.CALLED)


def check(fleet: Fleet, ask: Ask) -> None:
    """Raise InvalidError where an ask does not fit the fleet, or a number in it means nothing."""
    homes, intervals = fleet.size
    if ask.target_w.shape != (intervals,):
        raise InvalidError(f"The target has shape {ask.target_w.shape}; the fleet has {intervals} intervals.")
    if not (np.isfinite(ask.target_w).all() and (ask.target_w >= 0).all()):
        raise InvalidError("A target is a known power of zero or more in every interval.")
    if not 0 <= ask.tolerance <= 1:
        raise InvalidError("A tolerance is a share from 0 to 1.")
    if any(not limit >= 0 for limit in ask.caps.values()):
        raise InvalidError("A cap is a power of zero or more.")
    if ask.most_calls is not None and ask.most_calls < 0:
        raise InvalidError("The most calls are zero or more.")
    if fleet.step_s <= 0:
        raise InvalidError("A fleet has a step above zero.")
    set_points = fleet.set_points
    columns = (
        fleet.reliability,
        fleet.price,
        fleet.calls_left,
        fleet.calls,
        fleet.last_call_s,
        fleet.area,
        *set_points,
    )
    if any(column.shape != (homes,) for column in columns) or not homes == len(fleet.ven_ids) == len(fleet.barred):
        raise InvalidError("Every column of a fleet has one entry for each VEN.")
    if not all((np.isnan(column) | ((column > 0) & np.isfinite(column))).all() for column in set_points):
        raise InvalidError("The minimum and the step of a set-point are powers above zero.")
