"""The linear programme over kinds: how many homes of each kind, in which blocks; and a bound for any choice at all.

    min   sum_j cost_j x_j + short . s + over . o
    s.t.  sum_j energy_jt x_j + s_t - o_t = aim_t          for each interval t       (dual y)
          sum_{j of kind k} x_j           <= size_k        for each kind k           (dual mu <= 0)
          sum_{j under cap c} ordered_jt x_j <= cap_ct     for each cap and interval (dual z <= 0)
          sum_j x_j                       <= most                                    (dual nu <= 0)

A column j is (kind, block of intervals). There are far too many, so they are made when they are needed: given the
duals, a kind's block with the lowest reduced cost is the best run of its net values (`blocks.best_blocks`), exactly.
Simplex leaves a basic solution, in which no more kinds are split between blocks, or between called and not, than there
are coupling rows; rounding therefore costs no more than a few homes.

The bound holds for every choice of single homes, and does not depend on the kinds: with any duals in their range,

    y . aim + z . cap + nu most + sum_i min(0, cost of i's best block at these prices - nu)

costs no more than the cheapest plan (Lagrange).
"""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregator.flexibility.fleet import Floats, Whole
from aggregator.selection.clusters import Kinds
from aggregator.selection.problem import CHUNK, Case, Plan, evaluate, loads_of
from aggregator.selection.windows import best_blocks, within

_GAP = 2e-4
_ROUNDS = 80
_SMALL = 1e-9
# Shortfall is charged little more than the dearest home at first: where none remains, more would not change the
# optimum, and prices that cannot fly high settle in half the rounds.
_SOFT = 1.5
_COLUMN_WISE, _MINIMISE, _PRIMAL = 1, 1, 4


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Duals, clipped to their range: `energy` (m) within -over and short, `cap` (c, m) and `call` not above 0."""

    energy: Floats
    cap: Floats
    call: float


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Blocks of kinds: `kind`, `start`, `stop`, and how many homes (`count`, fractional), each (J)."""

    kind: Whole
    start: Whole
    stop: Whole
    count: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """A solved programme: columns in use, the prices with the best bound over kinds, objective and that bound."""

    columns: Columns
    prices: Prices
    objective: float
    bound: float


def relax(case: Case, kinds: Kinds, first: Columns, guess: Prices, deadline: float) -> Relaxed | None:
    """Solve from the columns `first`, making more until the bound is close or `time.perf_counter()` passes `deadline`.

    `guess`: first guess at the prices. None where not even the first programme was solved: no time, or an error.
    """
    soft = max(_SOFT * float(kinds.unit.max()), float(guess.energy.max()))
    master = _Master(case, kinds, min(soft, case.short))
    master.add(_whole_event(case, kinds))
    master.add(first)
    centre, highest = guess, -np.inf
    found: Relaxed | None = None
    for _ in range(_ROUNDS):
        solved = master.solve(deadline)
        if solved is None:
            break
        counts, prices, kind_prices, objective = solved
        # Prices jump about at first. Half way to the best ones so far, the columns they ask for are needed sooner.
        tried = _between(centre, prices)
        value, start, stop = _worth(case, kinds, tried)
        bound = _base(case, tried) - float(kinds.sizes @ np.maximum(value, 0.0))
        if bound > highest:
            centre, highest = tried, bound
        found = Relaxed(master.columns(counts), centre, objective, highest)
        close = objective - highest <= _GAP * abs(objective)
        if not close:
            added = master.add(_helpful(value, kind_prices, start, stop))
            value, start, stop = _worth(case, kinds, prices)
            added += master.add(_helpful(value, kind_prices, start, stop))
            close = not added
        if (close and not master.harden()) or time.perf_counter() > deadline:
            break
    return found


def bound_of(case: Case, prices: Prices) -> float:
    """Return what no plan undercuts, at these prices, over single homes."""
    total = _base(case, prices)
    adjustable = case.adjustable
    for first in range(0, case.rows.size, CHUNK):
        some = slice(first, first + CHUNK)
        ordered = case.ordered[some] if len(case.caps) else case.ordered
        net = _net(case, case.energy[some], case.unit[some], case.capped[some], ordered, prices)
        mine = np.flatnonzero(adjustable[some])
        if mine.size:
            # At partial power a home gives its minimum, and no more, where that costs more than it is worth.
            least = np.minimum(case.minimum_w[some][mine, None] / np.maximum(case.whole_w(first + mine), _SMALL), 1.0)
            net[mine] = np.maximum(net[mine], net[mine] * least)
        value, _, _ = best_blocks(net, one_block=case.one_block)
        total -= float(np.maximum(value + prices.call - case.call, 0.0).sum())
    return total


def first_prices(case: Case, plan: Plan) -> Prices:
    """Return a guess at the prices from a plan.

    A kWh is worth what the dearest called home costs, or, where the plan lacks power, the penalty. Room under a full
    cap is worth what the homes beneath it would earn.
    """
    called = plan.called
    level, _ = evaluate(case, plan)
    marginal = float(case.unit[called].max(initial=0.0))
    energy = np.where(level < case.aim * (1 - 1e-6), case.short, min(marginal, case.short))
    cap = np.zeros_like(case.caps)
    for place, load in enumerate(loads_of(case, plan)):
        under = np.flatnonzero(case.capped == place)
        inside = called[case.capped[called] == place]
        if inside.size:
            full = load > case.caps[place] - case.ordered[under].max(axis=0)
            yields = case.energy[under].sum() / case.ordered[under].sum()
            cap[place] = -np.where(full, np.maximum(energy - case.unit[inside].max(), 0.0) * yields, 0.0)
    return Prices(energy, cap, 0.0)


def flat_bound(case: Case, unit: float) -> float:
    """Return the bound at the price `unit` for a kWh in every interval: a bound without a programme."""
    price = min(unit, case.short)
    worth = (price - case.unit) * case.total - case.call
    return price * float(case.aim.sum()) - float(np.maximum(worth, 0.0).sum())


def _between(prices: Prices, other: Prices) -> Prices:
    return Prices((prices.energy + other.energy) / 2, (prices.cap + other.cap) / 2, (prices.call + other.call) / 2)


def _worth(case: Case, kinds: Kinds, prices: Prices) -> tuple[Floats, Whole, Whole]:
    """Return what calling one home of each kind is worth at these prices, in its best block; and that block."""
    net = _net(case, kinds.energy, kinds.unit, kinds.capped, kinds.ordered, prices)
    value, start, stop = best_blocks(net, one_block=case.one_block)
    return value + prices.call - case.call, start, stop


def _helpful(value: Floats, kind_prices: Floats, start: Whole, stop: Whole) -> Columns:
    """Return the kinds' best blocks where they are worth more than a home of the kind is by now."""
    better = np.flatnonzero(value + kind_prices > _SMALL)
    return Columns(better, start[better], stop[better], np.zeros(better.size))


def _base(case: Case, prices: Prices) -> float:
    return float(prices.energy @ case.aim + (prices.cap * case.caps).sum() + prices.call * case.most)


def _net(case: Case, energy: Floats, unit: Floats, capped: Whole, ordered: Floats, prices: Prices) -> Floats:
    """Return what each interval of each row is worth above its cost, (n, m)."""
    net: Floats = (prices.energy[None, :] - unit[:, None]) * energy
    if len(case.caps):
        under = np.flatnonzero(capped >= 0)
        net[under] += prices.cap[capped[under]] * ordered[under]
    return net


def _whole_event(case: Case, kinds: Kinds) -> Columns:
    count = kinds.unit.size
    return Columns(np.arange(count), np.zeros(count, np.int64), np.full(count, case.aim.size), np.zeros(count))


class _Master:
    """The programme with the columns made so far, in HiGHS. Rows: balances, kinds, caps, calls."""

    def __init__(self, case: Case, kinds: Kinds, short: float) -> None:
        self.case = case
        self.kinds = kinds
        self.kind = self.start = self.stop = np.zeros(0, np.int64)
        self.columns_there: set[tuple[int, int, int]] = set()
        self.short = short
        import highspy  # noqa: PLC0415  some MB that a server needs only when it selects

        self.optimal = highspy.HighsModelStatus.kOptimal
        self.solver = highspy.Highs()  # type: ignore[no-untyped-call]
        # One thread: the server's other work goes on beside it. No presolve: each solve starts from the last basis.
        for option, value in (("output_flag", False), ("threads", 1), ("solver", "simplex"), ("presolve", "off")):
            self.solver.setOptionValue(option, value)
        self._rows()

    def _rows(self) -> None:
        """Give the solver all rows, and the columns of shortfall and overshoot."""
        case, kinds = self.case, self.kinds
        intervals = case.aim.size
        upper = np.concatenate([case.aim, kinds.sizes.astype(np.float64), case.caps.reshape(-1), [float(case.most)]])
        lower = np.concatenate([case.aim, np.full(upper.size - intervals, -np.inf)])
        each = np.arange(intervals)
        self.slack = 2 * intervals
        self.solver.passModel(
            self.slack,
            upper.size,
            self.slack,
            _COLUMN_WISE,
            _MINIMISE,
            0.0,
            np.repeat([self.short, case.over], intervals),
            np.zeros(self.slack),
            np.full(self.slack, np.inf),
            lower,
            upper,
            np.arange(self.slack, dtype=np.int32),
            np.concatenate([each, each]).astype(np.int32),
            np.repeat([1.0, -1.0], intervals),
            np.zeros(self.slack, dtype=np.int32),
        )

    def add(self, new: Columns) -> int:
        """Add the blocks that are not there yet; return how many."""
        fresh = []
        for place, key in enumerate(zip(new.kind.tolist(), new.start.tolist(), new.stop.tolist(), strict=True)):
            if key not in self.columns_there:
                self.columns_there.add(key)
                fresh.append(place)
        kind, start, stop = new.kind[fresh], new.start[fresh], new.stop[fresh]
        cost, starts, index, value = _sparse(self.case, self.kinds, kind, start, stop)
        self.solver.addCols(
            kind.size, cost, np.zeros(kind.size), np.full(kind.size, np.inf), index.size, starts, index, value
        )
        self.kind = np.concatenate([self.kind, kind])
        self.start = np.concatenate([self.start, start])
        self.stop = np.concatenate([self.stop, stop])
        return len(fresh)

    def solve(self, deadline: float) -> tuple[Floats, Prices, Floats, float] | None:
        """Return counts of the columns, prices, duals of the kinds, and the objective; None: no optimum in time."""
        case, kinds = self.case, self.kinds
        left = deadline - time.perf_counter()
        if left <= 0:
            return None
        self.solver.setOptionValue("time_limit", self.solver.getRunTime() + left)
        self.solver.run()
        if self.solver.getModelStatus() != self.optimal:
            return None
        # The first basis is dual feasible; with new columns or costs, the one at hand stays primal feasible.
        self.solver.setOptionValue("simplex_strategy", _PRIMAL)
        solution = self.solver.getSolution()
        duals = np.array(solution.row_dual)
        ends = np.cumsum([case.aim.size, kinds.unit.size, case.caps.size])
        energy, kind, cap, call = np.split(duals, ends)
        prices = Prices(
            np.clip(energy, -case.over, case.short),
            np.minimum(cap, 0.0).reshape(case.caps.shape),
            min(float(call[0]), 0.0),
        )
        values = np.array(solution.col_value)
        self.lack = float(values[: case.aim.size].sum())
        return values[self.slack :], prices, kind, float(self.solver.getObjectiveValue())

    def harden(self) -> bool:
        """Charge the full penalty for a shortfall, where there is one and it was charged less; return whether so."""
        intervals = self.case.aim.size
        if self.short >= self.case.short or self.lack <= _SMALL * float(self.case.aim.sum()):
            return False
        self.short = self.case.short
        self.solver.changeColsCost(intervals, np.arange(intervals, dtype=np.int32), np.full(intervals, self.short))
        return True

    def columns(self, counts: Floats) -> Columns:
        """Return the columns that are used."""
        used = np.flatnonzero(counts > _SMALL)
        return Columns(self.kind[used], self.start[used], self.stop[used], counts[used])


def _sparse(
    case: Case, kinds: Kinds, kind: Whole, start: Whole, stop: Whole
) -> tuple[Floats, npt.NDArray[np.int32], npt.NDArray[np.int32], Floats]:
    """Return costs, and starts, row indices and values of the columns, compressed by column."""
    intervals, count = case.aim.size, kinds.unit.size
    inside = within(start, stop, intervals)
    energy = kinds.energy[kind] * inside
    parts = [energy]
    rows = [np.tile(np.arange(intervals), (kind.size, 1))]
    if len(case.caps):
        capped = kinds.capped[kind]
        parts.append(kinds.ordered[kind] * inside * (capped >= 0)[:, None])
        rows.append(intervals + count + np.maximum(capped, 0)[:, None] * intervals + np.arange(intervals)[None, :])
    one = np.ones((kind.size, 1))
    parts += [one, one]
    last = intervals + count + case.caps.size
    rows += [intervals + kind[:, None], np.full((kind.size, 1), last)]
    values, index = np.hstack(parts), np.hstack(rows)
    filled = values != 0
    starts = np.concatenate([[0], np.cumsum(filled.sum(axis=1))[:-1]]) if kind.size else np.zeros(0)
    cost = kinds.unit[kind] * energy.sum(axis=1) + case.call
    return cost, starts.astype(np.int32), index[filled].astype(np.int32), values[filled]
