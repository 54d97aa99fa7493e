"""Candidates for a call as arrays: what pooling and selection work on, whoever filled it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


class Reason(StrEnum):
    """Why a VEN was called, or why not. Each eligible VEN gets exactly one."""

    CALLED = "called"
    RESERVE = "reserve"
    CHEAPER = "cheaper alternatives"
    TURN = "turn of others"
    OFFLINE = "offline"
    STALE = "stale potential"
    NO_POTENTIAL = "no potential"
    UNMEASURED = "not measured"
    OUTSIDE_WINDOW = "outside window"
    LIMIT = "limit reached"
    RESTING = "resting"
    OPTED_OUT = "opted out"
    BUSY = "in another event"
    FEEDER_CAP = "feeder cap"
    CONTROL = "in the control group"


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """N VENs over T intervals of `step_s` seconds from `start_s` (seconds since 1970), in one direction.

    `nameplate_w` (N): what the devices could do at most, nan: not known. `p10_w`, `p50_w`, `p90_w` (N, T): the change
    of consumption that a VEN achieves if it responds, positive = as asked; 0 where it has none. `reliability` (N):
    probability that it responds when called, nan: not known. `price` (N): cost of a kWh, in the programme's currency.
    `calls_left` (N): calls that the limits still allow (a large number: no limit). `calls`, `last_call_s` (N): calls
    this season, and when the last one began (0: never), for rotation. `barred` (N): why a VEN cannot be called, or
    None. `area` (N): index of its area or feeder in `areas`, -1: none.

    `minimum_w`, `step_w` (N): a VEN with a set-point can be called at partial power too, at any multiple of its step
    that is not below its minimum, up to its p50; nan: only as a whole. None: nobody has a set-point.
    """

    ven_ids: tuple[str, ...]
    start_s: int
    step_s: int
    nameplate_w: Floats
    p10_w: Floats
    p50_w: Floats
    p90_w: Floats
    reliability: Floats
    price: Floats
    calls_left: Whole
    calls: Whole
    last_call_s: Whole
    barred: Sequence[Reason | None]
    area: Whole
    areas: tuple[str, ...] = ()
    minimum_w: Floats | None = None
    step_w: Floats | None = None

    @property
    def set_points(self) -> tuple[Floats, Floats]:
        """Return minimum and step of each VEN (N), W, nan: it is called as a whole."""
        nothing = np.full(len(self.ven_ids), np.nan)
        if self.minimum_w is None or self.step_w is None:
            return nothing, nothing
        return self.minimum_w, self.step_w

    @property
    def size(self) -> tuple[int, int]:
        """(N, T)."""
        homes, intervals = self.p50_w.shape
        return homes, intervals
