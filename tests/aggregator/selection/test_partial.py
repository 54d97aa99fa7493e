import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.flexibility import inputs
from aggregator.flexibility.fleet import Fleet, Floats, Reason
from aggregator.selection import Ask, greedy, select
from aggregator.selection.partial import stepped
from aggregator.selection.problem import Plan, evaluate, loads_of, prepare
from core.errors import InvalidError
from support.fleets import alike

KW = 1000.0


def adjustable(fleet: Fleet, minimum_w: float, step_w: float) -> Fleet:
    """The fleet, everybody with a set-point."""
    homes = len(fleet.ven_ids)
    return replace(fleet, minimum_w=np.full(homes, minimum_w), step_w=np.full(homes, step_w))


@given(st.floats(0, 2e5), st.floats(1, 1e5), st.integers(1, 40), st.integers(1, 5000))
def test_the_next_orders_are_levels_around_what_is_wanted(wanted: float, whole: float, steps: int, step: int):
    lower, upper = (
        float(one) for one in stepped(np.array(wanted), np.array(whole), np.array(steps * step), np.array(step))
    )
    for order in (lower, upper):
        assert order == whole or (order % step == 0 and steps * step <= order < whole)
    assert lower <= upper
    if steps * step <= wanted <= whole:
        assert lower <= wanted + 1e-6 * step
        assert upper >= wanted - 1e-6 * step
        assert upper - lower <= step


def test_who_has_no_step_is_called_as_a_whole():
    nothing = np.array(np.nan)
    assert [float(one) for one in stepped(np.array(5.0), np.array(100.0), nothing, nothing)] == [100.0, 100.0]


@pytest.mark.parametrize("choose", [select, greedy])
def test_five_kw_of_ten_resources_of_a_hundred_are_called_at_five(choose):
    fleet = adjustable(alike(10, 4, 100 * KW, 1.0), 5 * KW, KW)
    choice = choose(fleet, Ask(np.full(4, 5 * KW)))
    assert sorted(choice.power_w.max(axis=1).tolist()) == [0.0] * 9 + [5 * KW]
    assert choice.expected_w == pytest.approx(np.full(4, 5 * KW))
    assert not choice.short_w.any()


def test_without_a_set_point_nobody_is_called_for_so_little():
    choice = select(alike(10, 4, 100 * KW, 1.0), Ask(np.full(4, 5 * KW)))
    assert choice.called == ()


def test_what_whole_homes_leave_is_filled_at_partial_power():
    fleet = adjustable(alike(10, 4, 100 * KW, 1.0), 5 * KW, KW)
    choice = select(fleet, Ask(np.array([330.0, 330.0, 412.0, 412.0]) * KW, tolerance=0.0))
    assert choice.expected_w == pytest.approx(np.array([330.0, 330.0, 412.0, 412.0]) * KW)


def test_a_set_point_fills_what_others_cannot():
    """One of eight is called at the dearer price for the four kW that the others are short of."""
    fleet = replace(alike(9, 2, 8 * KW, 1.0), price=np.array([0.2] * 8 + [0.3]))
    fleet = replace(fleet, p50_w=np.concatenate([fleet.p50_w[:8], np.full((1, 2), 100 * KW)]))
    fleet = replace(fleet, p10_w=fleet.p50_w, p90_w=fleet.p50_w)
    step = np.array([np.nan] * 8 + [KW])
    choice = select(replace(fleet, minimum_w=2 * step, step_w=step), Ask(np.full(2, 68 * KW), tolerance=0.0))
    assert choice.power_w[8].tolist() == [4 * KW] * 2
    assert choice.expected_w.tolist() == [68 * KW] * 2


def test_two_are_turned_down_where_one_cannot_be_turned_down_far_enough():
    fleet = adjustable(alike(3, 1, 100 * KW, 1.0), 60 * KW, 10 * KW)
    choice = select(fleet, Ask(np.array([130 * KW]), tolerance=0.0))
    assert choice.expected_w.tolist() == [130 * KW]


@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.floats(0.5, 1.0),
    st.lists(st.floats(0.02, 0.9), min_size=1, max_size=8),
)
@settings(max_examples=80)
def test_the_sum_is_near_the_target(homes: int, step: int, chance: float, shape: list[float]):
    """Within the tolerance or a step from it: with small minimums every target can be met."""
    fleet = adjustable(alike(homes, len(shape), 20 * KW, chance), step * 100.0, step * 100.0)
    ask = Ask(np.array(shape) * homes * 20 * KW * chance)
    choice = select(fleet, ask)
    near = step * 100.0 * chance + (ask.aim_w - ask.target_w)
    assert (np.abs(choice.expected_w - ask.aim_w) <= near + 1e-6).all()
    assert ((choice.power_w == 20 * KW) | (choice.power_w % (step * 100.0) == 0)).all()


def levels(whole_w: float, minimum_w: float, step_w: float) -> list[float]:
    """All shares at which a home can be called in an interval."""
    if np.isnan(step_w):
        return [1.0]
    return [1.0, *(one / whole_w for one in np.arange(minimum_w, whole_w, step_w))]


def best_of_all(fleet: Fleet, ask: Ask) -> float:
    """The cost of the best plan of all blocks and levels, by trying them."""
    case = prepare(fleet, ask, 0)
    m = case.aim.size
    options: list[list[Floats]] = []
    for home in range(case.rows.size):
        whole = case.whole_w(np.array([home]))[0]
        mine = [np.zeros(m)]
        for a, b in itertools.combinations(range(m + 1), 2):
            inside = [levels(whole[t], case.minimum_w[home], case.step_w[home]) for t in range(a, b)]
            mine += [np.concatenate([np.zeros(a), some, np.zeros(m - b)]) for some in itertools.product(*inside)]
        options.append(mine)
    best = np.inf
    for chosen in itertools.product(*options):
        stop = np.array([share.any() * m for share in chosen], dtype=np.int64)
        plan = Plan(np.zeros_like(stop), stop, {n: share for n, share in enumerate(chosen) if share.any()})
        if plan.called.size <= case.most and (loads_of(case, plan) <= case.caps + 1e-9).all():
            best = min(best, evaluate(case, plan)[1])
    return best


def test_of_small_cases_the_choice_is_hardly_dearer_than_the_best_of_all():
    excess = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        homes, intervals = (3, 1) if seed % 2 else (2, 2)
        power = rng.uniform(3, 12, (homes, intervals)) * KW
        step = np.where(rng.random(homes) < 0.7, KW, np.nan)
        fleet = replace(
            alike(homes, intervals),
            p10_w=power * 0.8,
            p50_w=power,
            p90_w=power * 1.2,
            price=rng.choice([0.2, 0.3], homes),
            reliability=rng.uniform(0.5, 1.0, homes),
            minimum_w=step * rng.integers(1, 4, homes),
            step_w=step,
        )
        ask = Ask(rng.uniform(0.05, 0.8, intervals) * power.sum(axis=0))
        choice, best = select(fleet, ask), best_of_all(fleet, ask)
        assert choice.bound <= best * (1 + 1e-9)
        assert best <= choice.cost * (1 + 1e-9)
        excess.append(choice.cost / best - 1)
    assert np.mean(excess) < 0.03
    assert max(excess) < 0.3


def test_turns_are_kept_at_partial_power():
    fleet = adjustable(alike(10, 2, 100 * KW, 0.9), 5 * KW, KW)
    calls, last = np.zeros(10, np.int64), np.zeros(10, np.int64)
    for day in range(1, 46):
        choice = select(replace(fleet, calls=calls, last_call_s=last), Ask(np.full(2, (day % 30) * 5 * KW)))
        called = list(choice.called)
        calls[called] += 1
        last[called] = day
        assert np.ptp(calls) <= 1


def test_a_cap_holds_at_partial_power():
    fleet = adjustable(alike(4, 2, 100 * KW, 1.0, area=np.zeros(4, np.int64)), 5 * KW, KW)
    choice = select(fleet, Ask(np.full(2, 150 * KW), caps={0: 73.5 * KW}))
    assert choice.power_w.sum(axis=0).tolist() == [73 * KW] * 2
    assert choice.reasons.count(Reason.CALLED) == 1


def test_a_fleet_with_set_points_is_stored_whole():
    fleet = replace(alike(2), minimum_w=np.array([300.0, np.nan]), step_w=np.array([100.0, np.nan]))
    again = inputs.from_json(inputs.to_json(fleet))
    assert np.array_equal(again.set_points, fleet.set_points, equal_nan=True)
    assert inputs.from_json(inputs.to_json(alike(2))).minimum_w is None


@pytest.mark.parametrize("step", [0.0, -5.0, np.inf])
def test_a_step_is_a_power_above_zero(step: float):
    with pytest.raises(InvalidError):
        select(adjustable(alike(2), 10.0, step), Ask(np.full(4, 100.0)))
