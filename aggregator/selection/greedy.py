"""Merit order: the cheapest homes first, those of equal cost by turns, until every interval has what it needs.

Always computed first: an answer that exists whatever happens to the programme. Homes fill the target from the base up:
a home is called from the first to the last interval that still lacks something when its turn comes, so a peak is met by
homes that are called for the peak alone.
"""

import numpy as np

from aggregator.flexibility.fleet import Floats, Whole
from aggregator.selection.clusters import cost_classes
from aggregator.selection.problem import CHUNK, Case, Plan
from aggregator.selection.windows import within


def merit_order(case: Case) -> Whole:
    """Return the candidates, cheapest class of merit first, in rotation order within a class."""
    return np.lexsort((case.rank, cost_classes(case.merit)))


def fill(case: Case) -> Plan:
    """Return the greedy plan: no cap exceeded, no more calls than allowed."""
    start, stop = np.zeros(case.rows.size, np.int64), np.zeros(case.rows.size, np.int64)
    lack = case.aim.copy()
    room = case.caps.copy()
    left = case.most
    queue = merit_order(case)
    for first in range(0, queue.size, CHUNK):
        if left <= 0 or not (lack > 0).any():
            break
        some = _fitting(case, queue[first : first + CHUNK], room)
        begin, end = _blocks(case, some, lack)
        useful = np.flatnonzero(end > begin)[:left]
        some, begin, end = some[useful], begin[useful], end[useful]
        start[some], stop[some] = begin, end
        left -= some.size
        inside = within(begin, end, case.aim.size)
        for cap in range(len(room)):
            under = case.capped[some] == cap
            room[cap] -= (case.ordered[some[under]] * inside[under]).sum(axis=0)
        inside *= case.energy[some]
        lack -= inside.sum(axis=0)
    return Plan(start, stop)


def _fitting(case: Case, some: Whole, room: Floats) -> Whole:
    """Return those who fit under their caps together, for all intervals: the first ones of each area."""
    fits = np.ones(some.size, dtype=bool)
    for cap in range(len(room)):
        under = np.flatnonzero(case.capped[some] == cap)
        fits[under] = (np.cumsum(case.ordered[some[under]], axis=0) <= room[cap] + 1e-12).all(axis=1)
    return some[fits]


def _blocks(case: Case, some: Whole, lack: Floats) -> tuple[Whole, Whole]:
    """Return a block for each: the hull of the intervals that lack something after those before it, and it can help."""
    intervals = case.aim.size
    energy = case.energy[some]
    before = np.zeros((some.size + 1, intervals))
    np.cumsum(energy, axis=0, out=before[1:])
    helps = (before[:-1] < lack[None, :]) & (energy > 0)
    some_help = helps.any(axis=1)
    begin = helps.argmax(axis=1)
    end = intervals - helps[:, ::-1].argmax(axis=1)
    if case.one_block:
        begin, end = np.zeros_like(begin), np.full_like(end, intervals)
    return np.where(some_help, begin, 0), np.where(some_help, end, 0)
