"""Few homes: what rounding leaves behind is made good by exchanging one or two blocks at a time.

With thousands of homes, whole numbers cost nothing. With five they cost half of everything: so each home's every block
is tried, alone and with every block of every other home, until nothing is left to gain; and where there are few plans
at all, all of them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.flexibility.fleet import Floats, Whole
from aggregator.selection.problem import Case, Plan, evaluate, loads_of
from aggregator.selection.windows import within

_MOST_OPTIONS = 200
_MOST_PLANS = 150_000
_MOST_ROUNDS = 60
_MOST_TRIED = 500


def is_small(case: Case) -> bool:
    """Tell whether there are so few homes and blocks that all pairs of them can be tried."""
    options: int = case.rows.size * _blocks(case).shape[1]
    return options <= _MOST_OPTIONS


def swapped(case: Case, plans: Sequence[Plan], kind: Whole, deadline: float) -> Plan:
    """Return the cheapest plan that exchanges of one or two homes' blocks lead to, from some plans, as time allows.

    Where there are few plans at all, it is the cheapest of all. No cap is exceeded that was kept, there are no more
    calls than allowed, and among homes of one `kind` (n) none is called before its turn that was not before.
    """
    options = _Options.of(case)
    found = [_improved(case, options, plan, kind, deadline) for plan in plans]
    if len(_blocks(case).T) ** case.rows.size <= _MOST_PLANS:
        found += options.best(case, kind)
    return min(found, key=lambda plan: evaluate(case, plan)[1])


def _improved(case: Case, options: "_Options", plan: Plan, kind: Whole, deadline: float) -> Plan:
    """Return what exchanges make of one plan, the best first, until none helps."""
    best, cost = plan, evaluate(case, plan)[1]
    turns = _out_of_turn(case, plan, kind)
    for _ in range(_MOST_ROUNDS):
        if time.perf_counter() > deadline:
            break
        better = next(
            (
                new
                for new in options.exchanges(case, best, cost)
                if _is_allowed(case, new) and _out_of_turn(case, new, kind) <= turns
            ),
            None,
        )
        if better is None:
            break
        best, cost, turns = better, evaluate(case, better)[1], _out_of_turn(case, better, kind)
    return best


def _blocks(case: Case) -> Whole:
    """Return starts and ends (2, B) of all blocks, first that of not being called."""
    intervals = case.aim.size
    ends = [(0, 0), (0, intervals)]
    if not case.one_block:
        ends = [(0, 0), *((a, b) for a in range(intervals) for b in range(a + 1, intervals + 1))]
    return np.array(ends, dtype=np.int64).T


@dataclass(frozen=True, slots=True, eq=False)
class _Options:
    """Every block of every home (K): whose, which, its energy (K, m) and what it costs."""

    home: Whole
    start: Whole
    stop: Whole
    energy: Floats
    cost: Floats

    @classmethod
    def of(cls, case: Case) -> "_Options":
        starts, stops = _blocks(case)
        homes, count = case.rows.size, starts.size
        home = np.repeat(np.arange(homes), count)
        start, stop = np.tile(starts, homes), np.tile(stops, homes)
        energy = case.energy[home] * within(start, stop, case.aim.size)
        cost = case.unit[home] * energy.sum(axis=1) + case.call * (stop > start)
        return cls(home, start, stop, energy, cost)

    def best(self, case: Case, kind: Whole) -> list[Plan]:
        """Return the cheapest of all plans that are allowed and keep the turns; none, if that is hard to find."""
        count = self.home.size // case.rows.size
        levels, costs = np.zeros((1, case.aim.size)), np.zeros(1)
        for first in range(0, self.home.size, count):
            mine = slice(first, first + count)
            levels = (levels[:, None, :] + self.energy[None, mine]).reshape(-1, case.aim.size)
            costs = (costs[:, None] + self.cost[None, mine]).reshape(-1)
        costs += case.penalty(levels).sum(axis=1)
        near = min(_MOST_TRIED, costs.size)
        cheapest = np.argpartition(costs, near - 1)[:near]
        for number in cheapest[np.argsort(costs[cheapest], kind="stable")].tolist():
            chosen = np.arange(case.rows.size) * count + np.array(np.unravel_index(number, (count,) * case.rows.size))
            plan = Plan(self.start[chosen], self.stop[chosen])
            if _is_allowed(case, plan) and not _out_of_turn(case, plan, kind):
                return [plan]
        return []

    def exchanges(self, case: Case, plan: Plan, cost: float) -> Iterator[Plan]:
        """Yield plans that cost less than `cost` and differ in one or two homes, the cheapest first."""
        level, _ = evaluate(case, plan)
        now = (self.start == plan.start[self.home]) & (self.stop == plan.stop[self.home])
        now |= (plan.start[self.home] == plan.stop[self.home]) & (self.stop == self.start)
        own = np.flatnonzero(now)[np.searchsorted(self.home[now], self.home)]
        energy, extra = self.energy - self.energy[own], self.cost - self.cost[own]
        paid = cost - float(case.penalty(level).sum())
        pairs = paid + extra[:, None] + extra[None, :]
        for interval in range(case.aim.size):
            lack = case.aim[interval] - level[interval] - energy[:, None, interval] - energy[None, :, interval]
            pairs += np.where(lack > 0, case.short * lack, -case.over * lack)
        # A home has one block: a pair of its blocks is none, but that of a block with the present one is a single move.
        same = self.home[:, None] == self.home[None, :]
        pairs[same & ~now[None, :]] = np.inf
        pairs[(self.home[:, None] > self.home[None, :])] = np.inf
        found = np.flatnonzero(pairs.reshape(-1) < cost - 1e-9 * case.short)
        found = found[np.argsort(pairs.reshape(-1)[found], kind="stable")][:_MOST_TRIED]
        for place in found.tolist():
            yield self._moved(plan, *divmod(place, self.home.size))

    def _moved(self, plan: Plan, first: int, other: int) -> Plan:
        start, stop = plan.start.copy(), plan.stop.copy()
        for place in (other, first):
            start[self.home[place]], stop[self.home[place]] = self.start[place], self.stop[place]
        return Plan(start, stop)


def _is_allowed(case: Case, plan: Plan) -> bool:
    return plan.called.size <= case.most and bool((loads_of(case, plan) <= case.caps + 1e-12).all())


def _out_of_turn(case: Case, plan: Plan, kind: Whole) -> int:
    """Return how often a home is called while another of its kind, whose turn comes first, is not."""
    called = plan.stop > plan.start
    first = (kind[:, None] == kind[None, :]) & (case.rank[:, None] < case.rank[None, :])
    return int((first & ~called[:, None] & called[None, :]).sum())
