"""The whole way from an ask to a choice."""

import time
from typing import Literal

import numpy as np

from aggregator.flexibility.fleet import Fleet, Floats, Whole
from aggregator.flexibility.response import known
from aggregator.selection.clusters import Kinds, cost_classes, group
from aggregator.selection.greedy import fill
from aggregator.selection.linear_program import Columns, bound_of, first_prices, flat_bound, relax
from aggregator.selection.partial import adjusted
from aggregator.selection.problem import CHUNK, Case, Plan, evaluate, patch, prepare
from aggregator.selection.reasons import explain
from aggregator.selection.rounding import rounded
from aggregator.selection.swaps import is_small, swapped
from aggregator.selection.target import Ask, Choice, check
from aggregator.selection.windows import within

# Shares of the deadline by which the programme, the repair and partial power stop; the rest is for the answer itself.
_PROGRAMME, _REPAIR, _ADJUSTMENT = 0.7, 0.85, 0.9
_GREEDY_S = 1.0
# Of so many homes the merit order is adjusted too; of more, only where it is better than the programme's plan.
_FEW = 2000
# How many kinds: few enough that each has homes to take turns among, and that the programme is quick.
_PER_KIND, _FEWEST, _MOST = 10, 64, 1000


def greedy(fleet: Fleet, ask: Ask, *, seed: int = 0) -> Choice:
    """Return the merit-order choice: quick, never in breach of a limit, with a simple bound. Errors as `select`."""
    began = time.perf_counter()
    check(fleet, ask)
    case = prepare(fleet, ask, seed)
    classes = cost_classes(case.merit)
    plan = adjusted(case, fill(case), classes, began + _GREEDY_S)
    return _answer(fleet, ask, case, plan, classes, "greedy", _flat_bound(case, plan), began)


def select(fleet: Fleet, ask: Ask, *, seed: int = 0, deadline_s: float = 5.0) -> Choice:
    """Return whom to call so that the expected delivery meets the ask at the least cost.

    Nobody is called who is barred, has no calls left or nothing to give; no cap is exceeded. The greedy choice is made
    first, and returned where the linear programme fails, is not done by `deadline_s` (machine time), or is no better.
    A target above what there is calls everybody who helps, and says what is short. The same arguments give the same
    choice, given the time. Raises InvalidError for an ask that does not fit the fleet.
    """
    began = time.perf_counter()
    check(fleet, ask)
    case = prepare(fleet, ask, seed)
    incumbent, classes = fill(case), cost_classes(case.merit)
    if not case.rows.size or not case.columns.size:
        return _answer(fleet, ask, case, incumbent, classes, "greedy", _flat_bound(case, incumbent), began)
    kinds = group(case, min(max(case.rows.size // _PER_KIND, _FEWEST), _MOST))
    relaxed = relax(
        case, kinds, _columns(kinds, incumbent), first_prices(case, incumbent), began + _PROGRAMME * deadline_s
    )
    if relaxed is None:
        plan = adjusted(case, incumbent, kinds.kind_of, began + _ADJUSTMENT * deadline_s)
        return _answer(fleet, ask, case, plan, kinds.kind_of, "greedy", _flat_bound(case, plan), began)
    bound = max(bound_of(case, relaxed.prices), 0.0)
    plan = rounded(case, kinds, relaxed.columns, began + _REPAIR * deadline_s)
    if is_small(case):
        plan = swapped(case, (plan, incumbent), kinds.kind_of, began + _REPAIR * deadline_s)
    plan = adjusted(case, plan, kinds.kind_of, began + _ADJUSTMENT * deadline_s)
    if case.rows.size <= _FEW or evaluate(case, incumbent)[1] < evaluate(case, plan)[1]:
        incumbent = adjusted(case, incumbent, classes, began + _ADJUSTMENT * deadline_s)
    if evaluate(case, plan)[1] <= evaluate(case, incumbent)[1]:
        return _answer(fleet, ask, case, plan, kinds.kind_of, "lp", bound, began)
    return _answer(fleet, ask, case, incumbent, classes, "greedy", bound, began)


def _flat_bound(case: Case, plan: Plan) -> float:
    """Return the bound at the price of the dearest home that is called, or of a shortfall if all are."""
    called = plan.called
    if not called.size:
        return max(flat_bound(case, 0.0), 0.0)
    marginal = float(case.unit[called].max())
    return max(flat_bound(case, marginal), flat_bound(case, case.short), 0.0)


def _columns(kinds: Kinds, plan: Plan) -> Columns:
    """Return the blocks of each kind that a plan uses."""
    called = plan.called
    used = np.unique(np.stack([kinds.kind_of[called], plan.start[called], plan.stop[called]]), axis=1)
    return Columns(used[0], used[1], used[2], np.zeros(used.shape[1]))


def _answer(
    fleet: Fleet,
    ask: Ask,
    case: Case,
    plan: Plan,
    kind: Whole,
    method: Literal["lp", "greedy"],
    bound: float,
    began: float,
) -> Choice:
    reasons, reserve = explain(fleet, case, plan, kind)
    expected = np.zeros(ask.target_w.size)
    level, cost = evaluate(case, plan)
    expected[case.columns] = level / case.hours * 1000
    return Choice(
        power_w=_orders(fleet, case, plan),
        reasons=reasons,
        reserve=reserve,
        method=method,
        expected_w=expected,
        short_w=np.maximum(ask.target_w - expected, 0.0),
        cost=cost,
        bound=min(bound, cost),
        gap=max(cost - bound, 0.0) / cost if cost > 0 else 0.0,
        elapsed_s=time.perf_counter() - began,
    )


def _orders(fleet: Fleet, case: Case, plan: Plan) -> Floats:
    """Return what each VEN is ordered (N, T), W: its p50 within its block, or the part of it that the plan says."""
    homes, intervals = fleet.p50_w.shape
    power = np.zeros((homes, intervals))
    called = plan.called
    for first in range(0, called.size, CHUNK):
        some = called[first : first + CHUNK]
        near = patch(case.rows[some], case.columns, intervals)
        order = known(fleet.p50_w[near]) * within(plan.start[some], plan.stop[some], case.columns.size)
        power[near] = np.maximum(order, 0.0, out=order)
    for place, share in plan.shares.items():
        row = case.rows[place]
        # A share that says a level has lost its last digits: it is a multiple of the step, unless it is all there is.
        part, step_w = power[row, case.columns] * share, case.step_w[place]
        power[row, case.columns] = np.where(share < 1, np.rint(part / step_w) * step_w, part)
    return power
