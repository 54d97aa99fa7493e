"""From fractions of kinds to homes: whole numbers by turns, then repair by the homes' own figures.

Within a kind the first in the rotation are called, always: a plan is a number for each kind, and repair only ever calls
the next of a kind or sends the last one home.
"""

import time

import numpy as np

from aggregator.flexibility.fleet import Whole
from aggregator.selection.clusters import Kinds
from aggregator.selection.linear_program import Columns
from aggregator.selection.problem import Case, Plan, evaluate, loads_of
from aggregator.selection.windows import best_blocks, within

_MOST_MOVES = 5000


def rounded(case: Case, kinds: Kinds, columns: Columns, deadline: float) -> Plan:
    """Return a plan near the relaxed one: no cap exceeded, no more calls than allowed, no single move can improve it.

    Stops improving when `time.perf_counter()` passes `deadline`; caps are kept even then.
    """
    roster = _Roster(case, kinds, _dealt(case, kinds, columns))
    roster.respect_caps()
    for _ in range(_MOST_MOVES):
        if time.perf_counter() > deadline or not roster.improve():
            break
    return Plan(roster.start, roster.stop)


def _dealt(case: Case, kinds: Kinds, columns: Columns) -> Plan:
    """Return the whole part of each column, dealt to the kind's homes in rotation order, longest blocks first."""
    start, stop = np.zeros(case.rows.size, np.int64), np.zeros(case.rows.size, np.int64)
    taken = kinds.begin[:-1].copy()
    whole = np.floor(columns.count + 1e-7).astype(np.int64)
    for place in np.lexsort((columns.start, columns.start - columns.stop)).tolist():
        kind = columns.kind[place]
        end = min(taken[kind] + whole[place], kinds.begin[kind + 1])
        homes = kinds.queue[taken[kind] : end]
        start[homes], stop[homes] = columns.start[place], columns.stop[place]
        taken[kind] = end
    return Plan(start, stop)


class _Roster:
    """A plan that is being repaired, with the level and loads it has now."""

    def __init__(self, case: Case, kinds: Kinds, plan: Plan) -> None:
        self.case = case
        self.kinds = kinds
        self.start, self.stop = plan.start, plan.stop
        self.level, _ = evaluate(case, plan)
        self.loads = loads_of(case, plan)
        called = np.zeros(case.rows.size, np.int64)
        called[plan.called] = 1
        self.taken = np.bincount(kinds.kind_of, weights=called, minlength=kinds.unit.size).astype(np.int64)

    def respect_caps(self) -> None:
        """Send homes home where those really called exceed what their kind's mean promised: dearest kinds first."""
        for cap in range(len(self.loads)):
            dearest = np.flatnonzero(self.kinds.capped == cap)
            dearest = dearest[np.argsort(-self.kinds.unit[dearest], kind="stable")]
            for kind in dearest.tolist():
                while self.taken[kind] and (self.loads[cap] > self.case.caps[cap] + 1e-9).any():
                    self._drop(kind)

    def improve(self) -> bool:
        """Make the single best call or release, if it lowers the cost."""
        call, home, start, stop = self._best_call()
        release, kind = self._best_release()
        if max(call, release) <= 1e-9 * self.case.short:
            return False
        if call >= release:
            self._add(home, start, stop)
        else:
            self._drop(kind)
        return True

    def _best_call(self) -> tuple[float, int, int, int]:
        """Return what calling the next home of some kind saves, that home, and its block."""
        open_kinds = np.flatnonzero(self.taken < self.kinds.sizes)
        if not open_kinds.size or self.taken.sum() >= self.case.most:
            return -np.inf, -1, 0, 0
        homes = self.kinds.queue[self.kinds.begin[open_kinds] + self.taken[open_kinds]]
        energy = self.case.energy[homes]
        saved = self.case.penalty(self.level) - self.case.penalty(self.level + energy)
        saved -= self.case.unit[homes][:, None] * energy
        saved[self._too_much(homes)] = -1e6 * max(1.0, float(np.abs(saved).max()))
        value, start, stop = best_blocks(saved, one_block=self.case.one_block)
        best = int(value.argmax())
        return float(value[best]) - self.case.call, int(homes[best]), int(start[best]), int(stop[best])

    def _too_much(self, homes: Whole) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return where a home would exceed its cap (n, m)."""
        if not len(self.loads):
            return np.zeros((homes.size, self.case.aim.size), dtype=bool)
        cap = self.case.capped[homes]
        limit = self.case.caps[cap] - self.loads[cap]
        return (self.case.ordered[homes] > limit + 1e-12) & (cap >= 0)[:, None]

    def _best_release(self) -> tuple[float, int]:
        """Return what sending the last home of some kind home saves, and the kind."""
        kinds = np.flatnonzero(self.taken > 0)
        if not kinds.size:
            return -np.inf, -1
        homes = self.kinds.queue[self.kinds.begin[kinds] + self.taken[kinds] - 1]
        energy = self.case.energy[homes] * within(self.start[homes], self.stop[homes], self.case.aim.size)
        saved = self.case.penalty(self.level) - self.case.penalty(self.level - energy)
        saved += self.case.unit[homes][:, None] * energy
        value = saved.sum(axis=1) + self.case.call
        best = int(value.argmax())
        return float(value[best]), int(kinds[best])

    def _add(self, home: int, start: int, stop: int) -> None:
        self.start[home], self.stop[home] = start, stop
        self.taken[self.kinds.kind_of[home]] += 1
        self._shift(home, 1.0)

    def _drop(self, kind: int) -> None:
        self.taken[kind] -= 1
        home = int(self.kinds.queue[self.kinds.begin[kind] + self.taken[kind]])
        self._shift(home, -1.0)
        self.start[home] = self.stop[home] = 0

    def _shift(self, home: int, sign: float) -> None:
        block = slice(self.start[home], self.stop[home])
        self.level[block] += sign * self.case.energy[home, block]
        cap = self.case.capped[home]
        if cap >= 0:
            self.loads[cap, block] += sign * self.case.ordered[home, block]
