"""Few homes: the choice is near the best of all plans."""

import numpy as np
import pytest

from aggregator.flexibility.fleet import Fleet
from aggregator.selection import Ask, select
from aggregator.selection.problem import Case, prepare
from aggregator.selection.windows import within
from support.fleets import alike


def small(seed: int) -> tuple[Fleet, Ask]:
    """Any three to six homes, and an ask for a part of what they can do."""
    rng = np.random.default_rng(seed)
    homes, intervals = int(rng.integers(3, 7)), int(rng.integers(1, 4))
    p50 = rng.gamma(2.0, 500.0, (homes, intervals))
    fleet = alike(
        homes,
        intervals,
        p10_w=p50 * 0.8,
        p50_w=p50,
        p90_w=p50 * 1.2,
        price=rng.choice([0.1, 0.2, 0.3], homes),
        reliability=rng.uniform(0.5, 1.0, homes),
    )
    return fleet, Ask(rng.uniform(0.2, 0.9) * 0.75 * p50.sum(axis=0) * rng.choice([0.5, 1.0], intervals))


def least_cost(case: Case) -> float:
    """Return the cost of the best plan, by trying all, whatever the turns."""
    intervals = case.aim.size
    levels, costs = np.zeros((1, intervals)), np.zeros(1)
    for home in range(case.rows.size):
        edges = range(intervals + 1)
        spans = [(0, 0), *((first, last) for first in edges for last in edges if first < last)]
        energy = np.array([within(np.array([a]), np.array([b]), intervals)[0] for a, b in spans]) * case.energy[home]
        cost = case.unit[home] * energy.sum(axis=1) + case.call * (np.arange(len(spans)) > 0)
        levels = (levels[:, None, :] + energy[None]).reshape(-1, intervals)
        costs = (costs[:, None] + cost[None]).reshape(-1)
    return float((costs + case.penalty(levels).sum(axis=1)).min())


def test_small_choices_are_near_the_best_of_all_plans():
    over = []
    for seed in range(150):
        fleet, ask = small(seed)
        over.append(select(fleet, ask).cost / least_cost(prepare(fleet, ask, 0)) - 1)
    assert np.mean(over) <= 0.01
    assert max(over) <= 0.2
    assert min(over) >= -1e-9


@pytest.mark.parametrize(("homes", "intervals"), [(1, 1), (1, 3), (2, 2), (30, 2)])
def test_a_choice_of_few_is_a_choice(homes: int, intervals: int):
    fleet = alike(homes, intervals)
    choice = select(fleet, Ask(np.full(intervals, 700.0)))
    assert len(choice.called) == 1
    assert choice.short_w.max() == 0


def test_more_than_can_be_tried_in_pairs_is_improved_too():
    rng = np.random.default_rng(4)
    p50 = rng.gamma(2.0, 500.0, (16, 4))
    fleet = alike(16, p10_w=p50, p50_w=p50, p90_w=p50, price=rng.choice([0.1, 0.2, 0.3], 16))
    gaps = [select(fleet, Ask(np.full(4, watts))).gap for watts in (3000.0, 5000.0, 7000.0)]
    assert np.mean(gaps) < 0.1
