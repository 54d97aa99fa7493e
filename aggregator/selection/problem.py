"""The arithmetic that the greedy rule and the programme share: candidates, energies, costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aggregator.flexibility.fleet import Fleet, Floats, Whole
from aggregator.flexibility.response import known, mean_w, probability
from aggregator.selection.rotation import ranks
from aggregator.selection.target import Ask
from aggregator.selection.windows import within

CHUNK = 1024  # rows at a time: they stay in the processor's cache
_W_PER_KW = 1000.0
_LEAST_RELIABLE = 0.05
# Homes take turns with those of their price whatever was learnt about them, but for those that fail as often as not:
# these come after the others, until they are so many calls behind.
_USUAL, _DOUBTFUL, _UNRELIABLE = 0.8, 0.5, 1 / 3
_BEHIND = 2

Flags = npt.NDArray[np.bool_]
Patch = slice | Whole | tuple[Whole, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """n candidates (callable, with something to give) over the m intervals that ask for power. Energies in kWh.

    - `rows` (n): their indices in the fleet; `columns` (m): the intervals' indices; `hours`: length of an interval.
    - `energy` (n, m): expected delivery; `total` (n): its sum, `if_all` (n): the sum if it responds for sure. `unit`
      (n): cost of an expected kWh: the price, plus unreliability, for what a home fails to deliver has to be found
      elsewhere. `merit` (n): the cost by which homes are alike or not: the price, and hardly anything that was learnt
      (`_merits`). `rank` (n): place in the rotation.
    - `target`, `aim`, `most_level` (m): what is wanted at least, what is steered for, and what is tolerated. `short`,
      `over`: penalty for each kWh below and above the aim. `call`: what a call costs, however long: about a hundredth
      of a usual call's energy, so that one long call is better than two short ones.
    - `capped` (n): row of `caps` (c, m) that the home falls under, -1: none. `ordered` (n, m): what it is asked for,
      which is what counts against a cap; no rows where there are no caps.
    - `most`: most calls. `one_block`: calls are for all intervals.
    - `minimum_w`, `step_w` (n): of its set-point, W, nan: it is called as a whole. `p50_w`: that of the fleet.
    """

    rows: Whole
    columns: Whole
    hours: float
    energy: Floats
    total: Floats
    if_all: Floats
    unit: Floats
    merit: Floats
    rank: Whole
    target: Floats
    aim: Floats
    most_level: Floats
    short: float
    over: float
    call: float
    capped: Whole
    ordered: Floats
    caps: Floats
    most: int
    one_block: bool
    minimum_w: Floats
    step_w: Floats
    p50_w: Floats

    @property
    def adjustable(self) -> Flags:
        """Tell of each candidate (n) whether it can be called at partial power."""
        return np.isfinite(self.step_w)

    def whole_w(self, places: Whole) -> Floats:
        """Return what candidates are ordered when called as a whole (k, m), W."""
        return np.maximum(known(self.p50_w[np.ix_(self.rows[places], self.columns)]), 0.0)

    def penalty(self, level: Floats) -> Floats:
        """Return the penalties for delivering `level` (..., m)."""
        lack = self.aim - level
        return np.where(lack > 0, self.short * lack, -self.over * lack)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A block for each candidate (n): from `start` up to before `stop`; equal: not called.

    `shares`: of those called at partial power, the part of their whole power in each interval (m): 0 outside the block.
    """

    start: Whole
    stop: Whole
    shares: Mapping[int, Floats] = field(default_factory=dict)

    @property
    def called(self) -> Whole:
        """The places of those who are called."""
        return np.flatnonzero(self.stop > self.start)


def prepare(fleet: Fleet, ask: Ask, seed: int) -> Case:
    """Return the case of an ask that was checked. The fleet's arrays are read, never changed."""
    columns = np.flatnonzero(ask.target_w > 0)
    hours = fleet.step_s / 3600
    free = np.array([why is None for why in fleet.barred], dtype=bool) & (fleet.calls_left > 0)
    rows, energy, total = _energies(fleet, free, columns, hours)
    price = _prices(fleet, rows)
    chance = probability(fleet.reliability[rows])
    unit = _unit_costs(price, chance)
    usual = float(np.median(unit)) if rows.size else 1.0
    minimum_w, step_w = fleet.set_points
    areas = sorted(ask.caps)
    capped = np.full(rows.size, -1, np.int64)
    for place, area in enumerate(areas):
        capped[fleet.area[rows] == area] = place
    return Case(
        rows=rows,
        columns=columns,
        hours=hours,
        energy=energy,
        total=total,
        if_all=np.divide(total, chance, out=np.zeros_like(total), where=chance > 0),
        unit=unit,
        merit=_merits(price, chance, fleet.calls[rows]),
        rank=ranks([fleet.ven_ids[row] for row in rows.tolist()], fleet.last_call_s[rows], fleet.calls[rows], seed),
        target=ask.target_w[columns] * hours / _W_PER_KW,
        aim=ask.aim_w[columns] * hours / _W_PER_KW,
        most_level=ask.target_w[columns] * (1 + ask.tolerance) * hours / _W_PER_KW,
        short=10 * max(usual, float(unit.max(initial=0.0))),
        over=usual / 10,
        call=usual * float(total.sum()) / max(rows.size, 1) / 100,
        capped=capped,
        ordered=_ordered(fleet, rows, columns, hours) if areas else np.zeros((0, columns.size)),
        caps=np.array([np.full(columns.size, ask.caps[area] * hours / _W_PER_KW) for area in areas]).reshape(
            len(areas), columns.size
        ),
        most=rows.size if ask.most_calls is None else min(ask.most_calls, rows.size),
        one_block=ask.one_block,
        minimum_w=minimum_w[rows],
        step_w=step_w[rows],
        p50_w=fleet.p50_w,
    )


def evaluate(case: Case, plan: Plan) -> tuple[Floats, float]:
    """Return the expected delivery (m), kWh, and the cost of a plan: what the bound is a bound of."""
    called = _whole(plan)
    level, cost = np.zeros(case.aim.size), case.call * (called.size + len(plan.shares))
    for first in range(0, called.size, CHUNK):
        some = called[first : first + CHUNK]
        inside = within(plan.start[some], plan.stop[some], case.aim.size)
        inside *= case.energy[some]
        level += inside.sum(axis=0)
        cost += float(case.unit[some] @ inside.sum(axis=1))
    for place, share in plan.shares.items():
        level += case.energy[place] * share
        cost += float(case.unit[place] * (case.energy[place] @ share))
    return level, cost + float(case.penalty(level).sum())


def loads_of(case: Case, plan: Plan) -> Floats:
    """Return what is ordered under each cap (c, m), kWh."""
    called = _whole(plan)
    found = [_summed(case.ordered, plan, called[case.capped[called] == place]) for place in range(len(case.caps))]
    loads: Floats = np.array(found).reshape(case.caps.shape)
    for place, share in plan.shares.items():
        if case.capped[place] >= 0:
            loads[case.capped[place]] += case.ordered[place] * share
    return loads


def _whole(plan: Plan) -> Whole:
    """Return the places of those who are called as a whole."""
    called = plan.called
    return called[~np.isin(called, list(plan.shares))] if plan.shares else called


def _summed(values: Floats, plan: Plan, places: Whole) -> Floats:
    total = np.zeros(values.shape[1])
    for first in range(0, places.size, CHUNK):
        some = places[first : first + CHUNK]
        total += np.einsum("nm,nm->m", values[some], within(plan.start[some], plan.stop[some], values.shape[1]))
    return total


def _energies(fleet: Fleet, free: Flags, columns: Whole, hours: float) -> tuple[Whole, Floats, Floats]:
    """Return who of the `free` (N) has something to give, the expected energies (n, m), kWh, and their sums (n)."""
    rows: Whole = np.flatnonzero(free)
    energy, total = np.empty((rows.size, columns.size)), np.zeros(rows.size)
    chance = probability(fleet.reliability) * hours / _W_PER_KW
    every = columns.size == fleet.p50_w.shape[1]
    filled = 0
    for first in range(0, free.size, CHUNK):
        block = slice(first, first + CHUNK)
        near = block if every else (block, columns)
        middle = fleet.p50_w[near]
        power = mean_w(fleet.p10_w[near], middle, fleet.p90_w[near])
        power *= chance[block, None]
        if middle.size and middle.min() <= 0:
            # Where the p50 is nothing, nothing can be ordered, whatever luck may bring.
            power *= middle > 0
        place = slice(filled, filled + int(free[block].sum()))
        np.compress(free[block], power, axis=0, out=energy[place])
        total[place] = energy[place].sum(axis=1)
        filled = place.stop
    useful = total > 0
    return (rows, energy, total) if useful.all() else (rows[useful], energy[useful], total[useful])


def patch(rows: Whole, columns: Whole, intervals: int) -> Patch:
    """Return the index of these rows and columns in an array (N, intervals): slices where they lie side by side."""
    if columns.size != intervals:
        return np.ix_(rows, columns)
    if rows.size and rows[-1] - rows[0] == rows.size - 1 and (rows[1:] > rows[:-1]).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _ordered(fleet: Fleet, rows: Whole, columns: Whole, hours: float) -> Floats:
    power = known(fleet.p50_w[patch(rows, columns, fleet.p50_w.shape[1])])
    return np.maximum(power, 0.0) * hours / _W_PER_KW


def _prices(fleet: Fleet, rows: Whole) -> Floats:
    """Return the price of a kWh (n); the usual one where none is known."""
    known = np.isfinite(fleet.price[rows])
    price = np.where(known, np.maximum(fleet.price[rows], 0.0), 0.0)
    usual = float(np.median(price[known])) if known.any() else 0.0
    return np.where(known, price, usual)


def _unit_costs(price: Floats, chance: Floats) -> Floats:
    """Return what an expected kWh costs (n): never below a thousandth, so that nothing is free."""
    usual = float(np.median(price)) if price.size else 0.0
    chance = np.maximum(chance, _LEAST_RELIABLE)
    costs: Floats = price + max(usual, 0.01) / 4 * (1 - chance) / chance + 0.001
    return costs


def _merits(price: Floats, chance: Floats, calls: Whole) -> Floats:
    """Return the cost by which homes are alike (n): it keeps what was learnt about homes from deciding who is called.

    Reliability is learnt from calls. If it decided, a home with bad luck would not be asked again, and another every
    day. So it does not, down to `_DOUBTFUL`; below, only until a home is `_BEHIND` calls behind others of its price.
    """
    _, alike = np.unique(price, return_inverse=True)
    most = np.zeros(int(alike.max(initial=-1)) + 1, np.int64)
    np.maximum.at(most, alike.reshape(-1), calls)
    behind = calls + _BEHIND <= most[alike.reshape(-1)]
    return _unit_costs(price, np.where((chance > _DOUBTFUL) | behind, _USUAL, _UNRELIABLE))
