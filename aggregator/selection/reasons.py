"""One word for every VEN, and who stands in if others fail."""

from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from aggregator.flexibility.fleet import Fleet, Reason, Whole
from aggregator.flexibility.response import probability
from aggregator.selection.greedy import merit_order
from aggregator.selection.problem import Case, Plan, evaluate, loads_of

_WORDS = tuple(Reason)
_CODE = MappingProxyType({why: code for code, why in enumerate(_WORDS)})
# The reserve covers all but one in 200 events, with responses correlated as strongly as 0.05.
_Z = 2.576
_RHO = 0.05
_LEAST = 3


def explain(fleet: Fleet, case: Case, plan: Plan, kind: Whole) -> tuple[tuple[Reason, ...], tuple[int, ...]]:
    """Return a reason for each VEN of the fleet, and the reserve (fleet indices) in rotation order.

    `kind` (n): homes of one kind take turns. A VEN of a kind of which others are called or in reserve has to wait for
    its turn; a kind that is passed over altogether has cheaper (or better fitting) alternatives.
    """
    words = np.full(len(fleet.ven_ids), _CODE[Reason.NO_POTENTIAL])
    if not case.columns.size:
        words[(fleet.p50_w > 0).any(axis=1)] = _CODE[Reason.CHEAPER]
    words[fleet.calls_left <= 0] = _CODE[Reason.LIMIT]
    for index, why in enumerate(fleet.barred):
        if why is not None:
            words[index] = _CODE[why]
    called = np.zeros(case.rows.size, dtype=bool)
    called[plan.called] = True
    full = ~called & _over_cap(case, plan)
    reserve = _reserve(fleet, case, plan, called | full)
    taking_turns = np.isin(kind, np.concatenate([kind[called], kind[reserve]]))
    own = np.where(taking_turns, _CODE[Reason.TURN], _CODE[Reason.CHEAPER])
    own[full] = _CODE[Reason.FEEDER_CAP]
    own[reserve] = _CODE[Reason.RESERVE]
    own[called] = _CODE[Reason.CALLED]
    words[case.rows] = own
    return tuple(_WORDS[code] for code in words.tolist()), tuple(case.rows[reserve].tolist())


def _over_cap(case: Case, plan: Plan) -> npt.NDArray[np.bool_]:
    """Return who would exceed a cap if called for the whole event, on top of the plan (n)."""
    full = np.zeros(case.rows.size, dtype=bool)
    for cap, load in enumerate(loads_of(case, plan)):
        under = np.flatnonzero(case.capped == cap)
        full[under] = (load[None, :] + case.ordered[under] > case.caps[cap] + 1e-9).any(axis=1)
    return full


def _reserve(fleet: Fleet, case: Case, plan: Plan, excluded: npt.NDArray[np.bool_]) -> Whole:
    """Return places of the homes that stand by: in merit order as many as may be needed, then in rotation order."""
    order = merit_order(case)
    waiting = order[~excluded[order]]
    energy = case.total
    called = plan.called
    if not waiting.size or not called.size:
        return waiting[:0]
    chance = probability(fleet.reliability[case.rows[called]])
    mean = max(float(energy[called] @ chance / energy[called].sum()), 0.05)
    spread = _Z * np.sqrt((1 - mean) / mean * (_RHO + 1 / called.size))
    delivered = float(evaluate(case, plan)[0].sum())
    wanted = max(delivered, float(case.aim.sum())) * spread / (1 - min(spread, 0.5))
    before = np.cumsum(energy[waiting]) - energy[waiting]
    count = max(int(np.searchsorted(before, wanted)), _LEAST)
    chosen = waiting[:count]
    return chosen[np.argsort(case.rank[chosen], kind="stable")]
