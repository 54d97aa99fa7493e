"""Kinds of homes: those who can stand in for each other, so that taking turns decides among them."""

from dataclasses import dataclass

import numpy as np

from aggregator.flexibility.fleet import Floats, Whole
from aggregator.selection.problem import Case

# Widths of the classes, finest first: cost of a kWh (ratio), energy (ratio), where in the event it lies (share), and,
# where caps count what is ordered, expected delivery against it (ratio).
_WIDTHS = (
    (1.015, 1.3, 0.06, 1.04),
    (1.02, 1.3, 0.06, 1.04),
    (1.03, 1.6, 0.06, 1.04),
    (1.05, 1.6, 0.12, 1.06),
    (1.05, 2.0, 0.25, 1.06),
    (1.05, 4.0, 0.25, 1.06),
    (1.05, 1e9, 0.25, 1.06),
    (1.06, 1e9, 0.33, 1.06),
    (1.08, 1e9, 0.33, 1.1),
    (1.05, 1e9, 0.5, 1.12),
    (1.06, 1e9, 0.5, 1.12),
    (1.1, 1e9, 0.5, 1.15),
    (1.2, 1e9, 1.0, 1.15),
    (1.5, 1e9, 2.0, 1.3),
    (2.0, 1e9, 2.0, 1e9),
)


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """K kinds of the n candidates.

    `kind_of` (n): kind of each. `queue` (n): candidates, kind by kind, in rotation order; those of kind k lie from
    `begin[k]` up to before `begin[k + 1]`. `energy` (K, m): mean; `ordered` (K, m): mean, no rows without caps;
    `unit` (K): cost of a kWh; `capped` (K).
    """

    kind_of: Whole
    queue: Whole
    begin: Whole
    energy: Floats
    ordered: Floats
    unit: Floats
    capped: Whole

    @property
    def sizes(self) -> Whole:
        """Return how many homes are of each kind (K)."""
        sizes: Whole = np.diff(self.begin)
        return sizes


def cost_classes(unit: Floats, ratio: float = 1.05) -> Whole:
    """Return the class of each cost (n): costs in one class differ by less than this ratio."""
    found: Whole = np.floor(np.log(unit) / np.log(ratio)).astype(np.int64)
    return found


def group(case: Case, most: int) -> Kinds:
    """Return kinds by cap, merit, energy, and where in the event it lies: the finest of at most `most` kinds.

    What a home has been called for before, and how it answered, plays no part (but see `problem.prepare`), so that
    equal homes are of one kind for ever.
    """
    total = case.total
    spot = np.arange(case.aim.size) / max(case.aim.size, 1)
    centre = case.energy @ spot / total
    early = case.energy[:, : case.aim.size // 2].sum(axis=1) / total
    of = np.zeros(case.rows.size, np.int64)
    yields = case.if_all / case.ordered.sum(axis=1) if len(case.caps) else np.ones(case.rows.size)
    for cost, energy, shape, share in _WIDTHS:
        parts = (
            case.capped,
            cost_classes(case.merit, cost),
            np.floor(np.log(case.if_all) / np.log(energy)).astype(np.int64),
            np.rint(centre / shape).astype(np.int64),
            np.rint(early / shape).astype(np.int64),
            np.where(case.capped >= 0, np.floor(np.log(yields) / np.log(share)), 0).astype(np.int64),
        )
        of = _numbered(parts)
        if of.max(initial=0) < most:
            break
    queue = np.lexsort((case.rank, of))
    begin = np.searchsorted(of[queue], np.arange(of.max(initial=-1) + 2))
    return _described(case, of, queue, begin)


def _numbered(parts: tuple[Whole, ...]) -> Whole:
    """Return one number for each combination of classes, counted from 0."""
    key = np.zeros(parts[0].size, np.int64)
    if not key.size:
        return key
    for part in parts:
        merged = key * (int(np.ptp(part)) + 1) + part - part.min()
        key = np.unique(merged, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return key


def _described(case: Case, rows: Whole, queue: Whole, begin: Whole) -> Kinds:
    count = begin.size - 1
    energy, unit, capped = np.zeros((count, case.aim.size)), np.zeros(count), np.full(count, -1, np.int64)
    ordered = np.zeros((count if len(case.caps) else 0, case.aim.size))
    for k in range(count):
        members = queue[begin[k] : begin[k + 1]]
        own = case.energy[members]
        energy[k] = own.mean(axis=0)
        unit[k] = case.unit[members] @ own.sum(axis=1) / own.sum()
        capped[k] = case.capped[members[0]]
        if len(ordered):
            ordered[k] = case.ordered[members].mean(axis=0)
    return Kinds(rows, queue, begin, energy, ordered, unit, capped)
