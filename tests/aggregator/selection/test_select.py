import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.flexibility.fleet import Fleet, Reason
from aggregator.flexibility.response import mean_w, probability
from aggregator.selection import Ask, Choice, greedy, select
from aggregator.selection.clusters import group
from aggregator.selection.linear_program import Columns, Prices, bound_of, first_prices, relax
from aggregator.selection.problem import Plan, evaluate, loads_of, prepare
from core.errors import InvalidError
from support.fleets import alike, asks, fleets

ANY = settings(max_examples=150)
NOBODY = Ask(np.zeros(4))


def check_choice(fleet: Fleet, ask: Ask, choice: Choice) -> None:
    """What holds of every choice."""
    homes = len(fleet.ven_ids)
    called = choice.power_w.any(axis=1)
    assert len(choice.reasons) == homes
    assert all(isinstance(why, Reason) for why in choice.reasons)
    assert [why is Reason.CALLED for why in choice.reasons] == called.tolist()
    assert choice.called == tuple(np.flatnonzero(called))
    for home in range(homes):
        barred, why = fleet.barred[home], choice.reasons[home]
        if barred is not None:
            assert why is barred
            assert not called[home]
        elif fleet.calls_left[home] <= 0:
            assert why is Reason.LIMIT
        if called[home]:
            check_order(fleet, ask, home, choice.power_w[home])
    if ask.most_calls is not None:
        assert called.sum() <= ask.most_calls
    for area, cap in ask.caps.items():
        assert (choice.power_w[fleet.area == area].sum(axis=0) <= cap + 1e-6).all()
    assert sorted(choice.reserve) == [i for i, why in enumerate(choice.reasons) if why is Reason.RESERVE]
    part = np.divide(choice.power_w, fleet.p50_w, out=np.zeros(fleet.size), where=choice.power_w > 0)
    whole = probability(fleet.reliability)[:, None] * mean_w(fleet.p10_w, fleet.p50_w, fleet.p90_w)
    expected = (whole * part).sum(axis=0)
    assert choice.expected_w == pytest.approx(expected)
    assert choice.short_w == pytest.approx(np.maximum(ask.target_w - expected, 0), abs=1e-6)
    assert 0 <= choice.bound <= choice.cost * (1 + 1e-9)
    assert 0 <= choice.gap <= 1


def check_order(fleet: Fleet, ask: Ask, home: int, power_w: np.ndarray) -> None:
    """An order is the p50, or a multiple of the step from the minimum on, in one block of what asks for something."""
    asked = np.flatnonzero(ask.target_w > 0)
    ordered = power_w > 0
    assert not ordered[ask.target_w == 0].any()
    minimum_w, step_w = (column[home] for column in fleet.set_points)
    for one in power_w[ordered & ~(np.abs(power_w - fleet.p50_w[home]) < 1e-6)].tolist():
        assert minimum_w <= one
        assert one % step_w == 0
    assert (power_w[ordered] <= fleet.p50_w[home, ordered] + 1e-6).all()
    first, last = np.flatnonzero(ordered[asked])[[0, -1]]
    could = np.isfinite(fleet.p50_w[home, asked]) & (fleet.p50_w[home, asked] > 0)
    block = slice(0, asked.size) if ask.one_block else slice(first, last + 1)
    assert ordered[asked][block].tolist() == could[block].tolist()


@given(st.data())
@ANY
def test_no_choice_breaks_a_rule(data: st.DataObject):
    fleet = data.draw(fleets())
    ask = data.draw(asks(fleet))
    quick, best = greedy(fleet, ask, seed=3), select(fleet, ask, seed=3)
    check_choice(fleet, ask, quick)
    check_choice(fleet, ask, best)
    assert best.cost <= quick.cost * (1 + 1e-9)
    again = select(fleet, ask, seed=3)
    assert np.array_equal(best.power_w, again.power_w)
    assert (best.reasons, best.reserve, best.cost) == (again.reasons, again.reserve, again.cost)


@given(st.data())
@ANY
def test_turns_are_kept(data: st.DataObject):
    """Who waits for its turn has others before it, called or in reserve; a cap that bars a home is really full."""
    fleet = data.draw(fleets())
    ask = data.draw(asks(fleet))
    choice = select(fleet, ask)
    case = prepare(fleet, ask, 0)
    place = dict(zip(case.rows.tolist(), case.rank.tolist(), strict=True))
    assert [place[home] for home in choice.reserve] == sorted(place[home] for home in choice.reserve)
    used = [i for i, why in enumerate(choice.reasons) if why in {Reason.CALLED, Reason.RESERVE}]
    for home, why in enumerate(choice.reasons):
        if why is Reason.TURN:
            assert used
        if why is Reason.FEEDER_CAP and fleet.barred[home] is None:
            load = choice.power_w[fleet.area == fleet.area[home]].sum(axis=0) + np.nan_to_num(fleet.p50_w[home])
            assert (load > ask.caps[int(fleet.area[home])])[ask.target_w > 0].any()


def brute_force(fleet: Fleet, ask: Ask) -> float:
    """The cost of the best plan, by trying all."""
    case = prepare(fleet, ask, 0)
    m = case.aim.size
    blocks = [(0, 0), *((a, b) for a in range(m) for b in range(a + 1, m + 1) if not case.one_block or b - a == m)]
    best = np.inf
    for chosen in itertools.product(blocks, repeat=case.rows.size):
        plan = Plan(np.array([a for a, _ in chosen], dtype=np.int64), np.array([b for _, b in chosen], dtype=np.int64))
        if plan.called.size <= case.most and (loads_of(case, plan) <= case.caps + 1e-9).all():
            best = min(best, evaluate(case, plan)[1])
    return best


@given(st.data())
@settings(max_examples=60)
def test_the_best_of_all_plans_lies_between_bound_and_choice(data: st.DataObject):
    fleet = replace(data.draw(fleets(most=4)), minimum_w=None, step_w=None)
    ask = data.draw(asks(fleet))
    if ask.target_w.size > 3:
        ask = replace(ask, target_w=np.where(np.arange(ask.target_w.size) < 3, ask.target_w, 0.0))
    choice, best = select(fleet, ask), brute_force(fleet, ask)
    assert choice.bound <= best * (1 + 1e-9) + 1e-12
    assert best <= choice.cost * (1 + 1e-9) + 1e-12


@given(st.data())
@settings(max_examples=60)
def test_any_prices_give_a_bound(data: st.DataObject):
    fleet = data.draw(fleets(most=12))
    ask = data.draw(asks(fleet))
    case = prepare(fleet, ask, 0)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    energy = rng.uniform(-case.over, case.short, case.aim.size)
    prices = Prices(energy, -rng.random(case.caps.shape), -float(rng.random()))
    assert bound_of(case, prices) <= select(fleet, ask).cost * (1 + 1e-9) + 1e-12


def test_reasons_of_a_plain_case():
    fleet = alike(40, price=np.repeat([0.1, 0.9], 20))
    fleet = replace(fleet, barred=[Reason.OFFLINE, Reason.OPTED_OUT, *fleet.barred[2:]])
    fleet.calls_left[2] = 0
    fleet.p50_w[3] = 0.0
    choice = select(fleet, Ask(np.full(4, 4000.0)))
    counts = Counter(choice.reasons)
    assert choice.reasons[:4] == (Reason.OFFLINE, Reason.OPTED_OUT, Reason.LIMIT, Reason.NO_POTENTIAL)
    assert counts[Reason.CALLED] == 6
    assert set(choice.called) < set(range(4, 20))
    assert counts[Reason.TURN] == 16 - 6 - counts[Reason.RESERVE]
    assert set(choice.reasons[20:]) == {Reason.CHEAPER}
    assert choice.expected_w == pytest.approx(np.full(4, 4800.0))


def test_price_and_reliability_decide():
    cheap = select(alike(10, price=np.repeat([0.3, 0.2], 5)), Ask(np.full(4, 2000.0)))
    assert set(cheap.called) <= set(range(5, 10))
    fits = Ask(np.full(4, 1900.0), tolerance=0.0)
    sure = select(alike(10, reliability=np.repeat([0.5, 0.95], 5)), fits)
    assert set(sure.called) <= set(range(5, 10))


def test_a_target_above_the_pool_calls_everybody_and_says_what_lacks():
    choice = select(alike(10), Ask(np.full(4, 50_000.0)))
    assert len(choice.called) == 10
    assert choice.short_w == pytest.approx(np.full(4, 42_000.0))
    assert choice.reserve == ()


def test_nothing_asked_is_nothing_ordered():
    choice = select(alike(5), NOBODY)
    assert choice.called == choice.reserve == ()
    assert set(choice.reasons) == {Reason.CHEAPER}
    assert choice.cost == choice.gap == 0


def test_no_homes_and_no_intervals():
    choice = select(alike(0), Ask(np.full(4, 100.0)))
    assert choice.reasons == ()
    assert choice.short_w.tolist() == [100.0] * 4
    assert select(alike(3, 0), Ask(np.zeros(0))).called == ()


def test_a_peak_is_met_by_homes_called_for_the_peak():
    target = np.array([10, 10, 30, 30, 10, 10]) * 8000.0
    choice = select(alike(500, 6), Ask(target))
    assert choice.expected_w == pytest.approx(target * 1.025, rel=0.02)
    assert len(choice.called) < 320
    whole = select(alike(500, 6), Ask(target, one_block=True))
    assert whole.expected_w == pytest.approx(np.full(6, target.max() * 1.025), rel=0.02)


def test_an_interval_that_asks_for_nothing_gets_nothing():
    choice = select(alike(20), Ask(np.array([4000.0, 0, 0, 4000.0])))
    assert choice.power_w[:, 1:3].sum() == 0
    assert choice.expected_w[[0, 3]] == pytest.approx([4800.0, 4800.0])


def test_caps_hold_even_for_those_who_would_respond():
    fleet = alike(40, area=np.repeat([0, 1], 20), price=np.repeat([0.1, 0.3], 20))
    choice = select(fleet, Ask(np.full(4, 12_000.0), caps={0: 5500.0}))
    assert Counter(fleet.area[list(choice.called)].tolist()) == {0: 5, 1: 11}
    assert {choice.reasons[home] for home in range(20)} == {Reason.CALLED, Reason.FEEDER_CAP}


def test_the_programme_beats_the_merit_order():
    rng = np.random.default_rng(2)
    x = np.linspace(0, 1, 24, endpoint=False)
    shape = 1 + 0.6 * np.sin(2 * np.pi * (x[None, :] + rng.random((4000, 1))))
    p50 = rng.gamma(3.0, 300.0, (4000, 1)) * shape
    fleet = alike(4000, 24, p10_w=p50 * 0.8, p50_w=p50, p90_w=p50 * 1.1, price=rng.uniform(0.1, 0.4, 4000))
    ask = Ask(1.0e6 * (1 + 0.4 * np.sin(6 * x)))
    quick, best = greedy(fleet, ask), select(fleet, ask, deadline_s=60)
    assert best.method == "lp"
    assert best.cost < 0.97 * quick.cost
    assert best.gap < 0.02
    assert best.short_w.sum() == 0


def test_out_of_time_or_a_failing_solver_leaves_the_merit_order(monkeypatch: pytest.MonkeyPatch):
    fleet, ask = alike(50), Ask(np.full(4, 10_000.0))
    late = select(fleet, ask, deadline_s=0.0)
    monkeypatch.setattr("aggregator.selection.linear_program._Master.solve", lambda *_: None)
    failed = select(fleet, ask)
    for choice in (late, failed):
        assert choice.method == "greedy"
        assert choice.expected_w == pytest.approx(np.full(4, 10_400.0))
        check_choice(fleet, ask, choice)


def test_the_relaxed_programme_is_basic():
    """No more kinds are split than there are coupling rows: that is why rounding is cheap."""
    rng = np.random.default_rng(8)
    p50 = rng.gamma(3.0, 300.0, (2000, 6))
    case = prepare(
        alike(2000, 6, p10_w=p50, p50_w=p50, p90_w=p50, price=rng.uniform(0.1, 0.4, 2000)), Ask(np.full(6, 5e5)), 0
    )
    kinds = group(case, 200)
    none = np.zeros(0, np.int64)
    nobody = Plan(np.zeros(case.rows.size, np.int64), np.zeros(case.rows.size, np.int64))
    found = relax(case, kinds, Columns(none, none, none, np.zeros(0)), first_prices(case, nobody), np.inf)
    assert found is not None
    assert found.objective - found.bound <= 1e-3 * found.objective
    columns = found.columns
    whole = np.isclose(columns.count, kinds.sizes[columns.kind])
    assert (~whole).sum() <= 2 * (6 + 1)


@given(st.integers(2, 25), st.lists(st.floats(0.05, 1.4), min_size=1, max_size=25), st.integers(0, 3))
@settings(max_examples=60)
def test_equal_homes_differ_by_one_call_at_most(homes: int, shares: list[float], seed: int):
    """Over a season of events of any size, among dearer and other homes, with homes that leave the order on the way."""
    rng = np.random.default_rng(seed)
    others = 7
    fleet = alike(homes + others, 3, price=np.array([0.2] * homes + [0.1, 0.2, 0.2, 0.3, 0.4, 0.2, 0.1]))
    fleet.p50_w[homes:] *= rng.uniform(0.5, 2.0, (others, 3))
    calls, last = np.zeros(homes + others, np.int64), np.zeros(homes + others, np.int64)
    for event, share in enumerate(shares, start=1):
        now = replace(fleet, calls=calls.copy(), last_call_s=last.copy())
        choice = select(now, Ask(np.full(3, share * homes * 800.0)), seed=event)
        called = [*choice.called, *choice.reserve[: int(rng.integers(0, 4))]]
        calls[called] += 1
        last[called] = event
        assert np.ptp(calls[:homes]) <= 1


def test_an_ask_that_does_not_fit_is_refused():
    fleet = alike(3)
    wrong = [
        Ask(np.zeros(3)),
        Ask(np.full(4, -1.0)),
        Ask(np.full(4, np.nan)),
        Ask(np.zeros(4), tolerance=2.0),
        Ask(np.zeros(4), caps={0: -1.0}),
        Ask(np.zeros(4), caps={0: float("nan")}),
        Ask(np.zeros(4), most_calls=-1),
    ]
    for ask in wrong:
        with pytest.raises(InvalidError):
            select(fleet, ask)
    with pytest.raises(InvalidError, match="one entry for each VEN"):
        select(replace(fleet, price=np.zeros(2)), Ask(np.zeros(4)))
