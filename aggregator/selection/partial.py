"""Partial power: who has a set-point is called at the level that is wanted, not as a whole or not at all.

The choice of whole homes comes first. Then one home at a time gets the block and the levels that serve the plan best,
all others as they are: one that is called is turned down, or the next of its kind is called for what is still missing.
Where the plan is best in one interval does not depend on the others, so the levels are found exactly: the two multiples
of the step next to what lacks, or the ends of what the home can do. Within a kind turns are kept: only the next is
called, only the last is let go.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aggregator.flexibility.fleet import Floats, Whole
from aggregator.selection.problem import Case, Plan, evaluate, loads_of
from aggregator.selection.windows import best_blocks, within

# So many moves, and fewer where there are more homes and intervals: a home more or less matters less there.
_MOVES, _CELLS = (20, 200), 200_000_000
_FEW = 60
# A move is worth making if it saves this part of the cost.
_WORTH = 1e-5
_HARDLY = 1e-9


def stepped(
    wanted_w: Floats, whole_w: Floats, minimum_w: Floats | np.float64, step_w: Floats | np.float64
) -> tuple[Floats, Floats]:
    """Return the orders next below and next above a wanted power, any shapes that fit, W.

    An order is a multiple of the step that is not below the minimum, or `whole_w`, which is the only one where it is
    less than that, and where there is no step (nan).
    """
    least = np.ceil(minimum_w / step_w - _HARDLY) * step_w
    below = np.maximum(np.floor(wanted_w / step_w + _HARDLY) * step_w, least)
    above = np.maximum(below, np.ceil(wanted_w / step_w - _HARDLY) * step_w)
    lower = np.where(below < whole_w, below, whole_w)
    return lower, np.where(above < whole_w, above, whole_w)


def adjusted(case: Case, plan: Plan, kind: Whole, deadline: float) -> Plan:
    """Return a plan that no change of one home's block and levels improves (of two, if they are few).

    The plan itself where nobody has a set-point. `kind` (n): homes of one kind take turns, those with a set-point
    among themselves. Stops improving when `time.perf_counter()` passes `deadline`. No cap is exceeded that was kept,
    there are no more calls than allowed.
    """
    if not case.adjustable.any():
        return plan
    board = _Board(case, plan, kind)
    for _ in range(min(max(_CELLS // case.energy.size, _MOVES[0]), _MOVES[1])):
        if time.perf_counter() > deadline or not board.improve():
            break
    board.keep_within_tolerance()
    return Plan(board.start, board.stop, board.shares)


@dataclass(frozen=True, slots=True, eq=False)
class _Responses:
    """The best block of some homes (r), with the share of their whole power in each interval (r, m), and its value."""

    value: Floats
    start: Whole
    stop: Whole
    share: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Homes whose calls may change (r), with the share at which they are called now (r, m): 0, not called.

    `free`: those that may be let go, being the last of their kind, or are not called.
    """

    home: Whole
    share: Floats
    free: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


class _Board:
    """A plan that is being improved, with the level and loads it has now."""

    def __init__(self, case: Case, plan: Plan, kind: Whole) -> None:
        self.case = case
        self.start, self.stop, self.shares = plan.start.copy(), plan.stop.copy(), dict(plan.shares)
        kind = 2 * kind + case.adjustable
        self.queue = np.lexsort((case.rank, kind))
        self.kind = kind[self.queue]
        self.level, self.cost = evaluate(case, plan)
        self.loads = loads_of(case, plan)

    def improve(self) -> bool:
        """Make the single best move, or the first exchange that helps; return whether there was one."""
        some = self._candidates()
        own = self.case.energy[some.home] * some.share
        now = self._value(some, own)
        worth = _WORTH * max(self.cost, _HARDLY)
        found = self._responses(some, self.level - own, self._loads_without(some))
        gain = np.where(some.free, np.maximum(found.value, 0.0), found.value) - now
        best = int(gain.argmax()) if gain.size else 0
        if gain.size and gain[best] > worth:
            self._set(some, found, best)
            return True
        return some.home.size <= _FEW and any(self._exchange(some, own, out, worth) for out in self._last(some))

    def keep_within_tolerance(self) -> None:
        """Turn down to the target, by the step, where more than what is tolerated above it would be delivered.

        A step more is the cheaper one where it is missing to the middle of the tolerance; but it is not what was asked.
        """
        case = self.case
        for home, share in self.shares.items():
            energy, whole = case.energy[[home]], case.whole_w(np.array([home]))
            others = self.level - energy[0] * share
            part = np.divide(np.maximum(case.target - others, 0.0), energy, out=np.ones_like(energy), where=energy > 0)
            _, order = stepped(whole * part, whole, case.minimum_w[[home]], case.step_w[[home]])
            less = np.divide(order, whole, out=np.ones_like(energy), where=energy > 0)[0]
            change = np.where((self.level > case.most_level * (1 + _HARDLY)) & (less < share), less - share, 0.0)
            self.shares[home] = share + change
            self._shift(home, energy[0] * change, change)

    def _last(self, some: _Candidates) -> Iterator[int]:
        return iter(np.flatnonzero(some.free & some.share.any(axis=1)).tolist())

    def _exchange(self, some: _Candidates, own: Floats, out: int, worth: float) -> bool:
        """Let one home go and give the best other one its block and levels, if both together help."""
        before = self.start.copy(), self.stop.copy(), dict(self.shares), self.level.copy(), self.loads.copy()
        cost = self.cost
        self._let_go(int(some.home[out]), own[out], some.share[out])
        rest = _Candidates(
            np.delete(some.home, out), np.delete(some.share, out, axis=0), np.zeros(some.home.size - 1, dtype=bool)
        )
        own = self.case.energy[rest.home] * rest.share
        found = self._responses(rest, self.level - own, self._loads_without(rest))
        gain = found.value - self._value(rest, own)
        if gain.size:
            self._set(rest, found, int(gain.argmax()))
        if self.cost < cost - worth:
            return True
        (self.start, self.stop, self.shares, self.level, self.loads), self.cost = before, cost
        return False

    def _candidates(self) -> _Candidates:
        """Return of each kind who is called next, and who was last; of set-points also the last whole of each block."""
        called = (self.stop > self.start)[self.queue]
        following = self._edge(~called, last=False) if called.sum() < self.case.most else self.queue[:0]
        last = self._edge(called, last=True)
        whole = called & self.case.adjustable[self.queue]
        if self.shares:
            whole &= ~np.isin(self.queue, list(self.shares))
        others = np.setdiff1d(np.concatenate([self._last_of_blocks(whole), list(self.shares)]).astype(np.int64), last)
        home = np.concatenate([following, last, others])
        share = within(self.start[home], self.stop[home], self.case.aim.size)
        for row, place in enumerate(home.tolist()):
            if place in self.shares:
                share[row] = self.shares[place]
        free = np.ones(home.size, dtype=bool)
        free[following.size + last.size :] = False
        return _Candidates(home, share, free)

    def _edge(self, which: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], *, last: bool) -> Whole:
        """Return the first, or the last, of each kind of those in the queue that are meant."""
        places = np.flatnonzero(which)
        kinds = self.kind[places]
        edge = np.ones(places.size, dtype=bool)
        edge[slice(None, -1) if last else slice(1, None)] = kinds[1:] != kinds[:-1]
        return self.queue[places[edge]]

    def _last_of_blocks(self, which: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Whole:
        """Return the last of each kind and block of those in the queue that are meant."""
        homes, wide = self.queue[which][::-1], self.case.aim.size + 1
        key = (self.kind[which][::-1] * wide + self.start[homes]) * wide + self.stop[homes]
        return homes[np.unique(key, return_index=True)[1]]

    def _value(self, some: _Candidates, own: Floats) -> Floats:
        """Return what each one's present call is worth, all others as they are; 0 for those not called."""
        case = self.case
        saved = case.penalty(self.level - own) - case.penalty(self.level) - case.unit[some.home][:, None] * own
        value: Floats = saved.sum(axis=1) - case.call * some.share.any(axis=1)
        return value

    def _loads_without(self, some: _Candidates) -> Floats:
        """Return what is ordered under the cap of each one without it (r, m); no rows without caps."""
        if not len(self.loads):
            return self.loads
        return self.loads[self.case.capped[some.home]] - self.case.ordered[some.home] * some.share

    def _responses(self, some: _Candidates, level: Floats, loads: Floats) -> _Responses:
        """Return the best block and levels of each one, given what the others deliver (r, m) and load."""
        case, home = self.case, some.home
        energy, whole = case.energy[home], case.whole_w(home)
        gives = energy > 0
        part = np.divide(np.maximum(case.aim - level, 0.0), energy, out=np.ones_like(energy), where=gives)
        room = np.full_like(energy, np.inf)
        if len(loads):
            capped = (case.capped[home] >= 0)[:, None] & (case.ordered[home] > 0)
            left = case.caps[case.capped[home]] - loads + _HARDLY
            np.divide(left, case.ordered[home], out=room, where=capped)
        wanted = whole * np.minimum(part, np.maximum(room, 0.0))
        share, saved = np.zeros_like(energy), np.full_like(energy, -np.inf)
        for order in stepped(wanted, whole, case.minimum_w[home][:, None], case.step_w[home][:, None]):
            level_of = np.divide(order, whole, out=np.ones_like(energy), where=gives)
            gain = case.penalty(level) - case.penalty(level + energy * level_of)
            gain -= case.unit[home][:, None] * energy * level_of
            gain[level_of > room] = -np.inf
            better = gain > saved
            share[better], saved[better] = level_of[better], gain[better]
        finite = np.isfinite(saved)
        saved[~finite] = -1e6 * max(1.0, float(np.abs(saved[finite]).max(initial=0.0)))
        value, start, stop = best_blocks(saved, one_block=case.one_block)
        share *= within(start, stop, case.aim.size)
        value = np.where((energy * share).any(axis=1), value - case.call, -np.inf)  # a call that gives nothing is none
        return _Responses(value, start, stop, share)

    def _set(self, some: _Candidates, responses: _Responses, row: int) -> None:
        """Give one home its best block and levels, or let it go where that is better and allowed."""
        home = int(some.home[row])
        self._let_go(home, self.case.energy[home] * some.share[row], some.share[row])
        if responses.value[row] > 0 or not some.free[row]:
            share = responses.share[row]
            self.start[home], self.stop[home] = responses.start[row], responses.stop[row]
            if (share[self.start[home] : self.stop[home]] < 1).any():
                self.shares[home] = share
            self._shift(home, self.case.energy[home] * share, share)
        self.cost = evaluate(self.case, Plan(self.start, self.stop, self.shares))[1]

    def _let_go(self, home: int, energy: Floats, share: Floats) -> None:
        self._shift(home, -energy, -share)
        self.start[home] = self.stop[home] = 0
        self.shares.pop(home, None)

    def _shift(self, home: int, energy: Floats, share: Floats) -> None:
        self.level = self.level + energy
        cap = self.case.capped[home]
        if cap >= 0:
            self.loads[cap] += self.case.ordered[home] * share
