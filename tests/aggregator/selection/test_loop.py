from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.flexibility.fleet import Fleet, Reason
from aggregator.selection import Ask, Member, Members, Why, correct, select
from support.fleets import alike, asks, fleets

POWER = np.full(4, 1000.0)
TARGET = Ask(np.full(4, 20_000.0))


def delivering(count: int, power_w: float = 1000.0, first: int = 0) -> list[Member]:
    return [Member(index, POWER, "in", delivered_w=power_w) for index in range(first, first + count)]


def test_within_the_band_nothing_happens():
    fleet = alike(60)
    for total in (20_100, 20_500, 20_900):
        moves = correct(fleet, TARGET, delivering(20, total / 20), range(20, 60), 1)
        assert (moves.call, moves.release) == ((), ())
        assert moves.estimate_w == pytest.approx(total)


def test_opt_outs_are_replaced_in_rotation_order_up_to_the_middle_of_the_band():
    members = delivering(17) + [Member(index, POWER, "out") for index in range(17, 21)]
    moves = correct(alike(60, reliability=0.95), TARGET, members, (45, 30, 50, 31, 32, 33), 1)
    assert [call.index for call in moves.call] == [45, 30, 50, 31]
    assert {call.reason for call in moves.call} == {Why.OPT_OUT}
    assert moves.release == ()


def test_silent_homes_are_replaced_unless_they_are_seen_to_deliver():
    heard = delivering(17)
    silent = [Member(index, POWER, silent=True) for index in range(17, 21)]
    moves = correct(alike(60, reliability=0.95), TARGET, heard + silent, range(21, 60), 1)
    assert len(moves.call) == 4
    assert {call.reason for call in moves.call} == {Why.SILENT}
    shy = [replace(member, delivered_w=1000.0) for member in silent]
    assert correct(alike(60), TARGET, heard + shy, range(21, 60), 1).call == ()


def test_weak_delivery_is_made_up_for():
    moves = correct(alike(60, reliability=0.95), TARGET, delivering(20, 900.0), range(20, 60), 1)
    assert {call.reason for call in moves.call} == {Why.UNDER}
    assert 2 <= len(moves.call) <= 4


def test_surplus_is_released_not_below_the_band():
    moves = correct(alike(60), TARGET, delivering(25), range(25, 60), 1)
    assert moves.call == ()
    left = 25 - len(moves.release)
    assert 20 <= left <= 21
    assert {release.reason for release in moves.release} == {Why.OVER}


def test_the_last_in_the_rotation_are_released_first():
    fleet = alike(30, last_call_s=np.arange(30))
    moves = correct(fleet, TARGET, delivering(24), (), 1)
    assert [release.index for release in moves.release] == [23, 22, 21]


def test_it_does_not_repeat_itself():
    """Who was called a minute ago counts, though nothing is measured of it yet."""
    fleet = alike(60, reliability=0.95)
    members = delivering(17) + [Member(index, POWER, "out") for index in range(17, 21)]
    moves = correct(fleet, TARGET, members, range(21, 60), 1)
    called = [Member(call.index, call.power_w) for call in moves.call]
    again = correct(fleet, TARGET, members + called, range(21, 60), 1)
    assert (again.call, again.release) == ((), ())


def test_nobody_is_released_before_enough_is_measured():
    members = delivering(5) + [Member(index, POWER, "in") for index in range(5, 30)]
    moves = correct(alike(60), TARGET, members, (), 0)
    assert moves.estimate_w > 22_000
    assert moves.release == ()


def test_the_mood_of_the_day_carries_over_to_who_is_called_next():
    fleet = alike(400, reliability=0.8)
    ask = Ask(np.full(4, 100_000.0))
    poor = [Member(i, POWER, "in", delivered_w=500.0 if i % 2 else 1000.0) for i in range(100)]
    dull = [Member(i, POWER, "in", delivered_w=1000.0) for i in range(75)]
    after_poor = len(correct(fleet, ask, poor, range(100, 400), 1).call) / (102_500 - 75_000)
    after_good = len(correct(fleet, ask, dull, range(100, 400), 1).call) / (102_500 - 75_000)
    assert after_poor > 1.15 * after_good


def test_energy_that_lacks_is_caught_up_and_energy_ahead_is_not_given_back_below_the_target():
    fleet = alike(60, reliability=0.95)
    behind = correct(fleet, TARGET, delivering(20), range(20, 60), 1, ahead_wh=-500.0)
    assert behind.aim_w > 20_500
    ahead = correct(fleet, TARGET, delivering(20), range(20, 60), 1, ahead_wh=3000.0)
    assert 20_000 <= ahead.aim_w < 20_500


def test_measurements_count_for_the_interval_they_come_from():
    """Just after a step of the order, late figures still show the power of before."""
    order = np.array([1000.0, 2000.0, 2000.0, 2000.0])
    ask = Ask(np.array([20_000.0, 40_000.0, 40_000.0, 40_000.0]))
    members = [Member(index, order, "in", delivered_w=1020.0) for index in range(20)]
    assert correct(alike(60), ask, members, range(20, 60), 1, into_s=60, age_s=240).call == ()
    assert correct(alike(60), ask, members, range(20, 60), 1, into_s=60).call != ()


def test_a_move_looks_ahead_to_the_interval_it_takes_effect_in():
    ask = Ask(np.array([20_000.0, 30_000.0, 30_000.0, 30_000.0]))
    moves = correct(alike(60, reliability=0.95), ask, delivering(20), range(20, 60), 0, into_s=800)
    assert 10 <= len(moves.call) <= 13
    assert all(call.power_w.tolist() == [0, 1000, 1000, 1000] for call in moves.call)


def test_at_the_end_it_is_too_late():
    assert correct(alike(60), TARGET, delivering(1), range(1, 60), 3, into_s=800).call == ()


def test_limits_hold():
    fleet = alike(40, reliability=0.95, area=np.array([0] * 20 + [1] * 20))
    fleet = replace(fleet, barred=[*[None] * 20, Reason.RESTING, *[None] * 19])
    fleet.calls_left[21] = 0
    members = delivering(12) + [replace(member, released=True) for member in delivering(2, first=12)]
    reserve = (12, 20, 21, 5, *range(14, 40))
    moves = correct(fleet, replace(TARGET, caps={0: 13_000.0}), members, reserve, 1)
    called = [call.index for call in moves.call]
    assert called == [14, *range(22, 31)][: len(called)]
    assert len(called) >= 7
    few = correct(fleet, replace(TARGET, most_calls=16), members, reserve, 1)
    assert len(few.call) == 2


@given(st.data())
@settings(max_examples=120)
def test_whatever_is_known_no_limit_is_broken(data: st.DataObject):
    fleet = data.draw(fleets())
    ask = data.draw(asks(fleet))
    choice = select(fleet, ask)
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    members = [
        Member(
            home,
            choice.power_w[home],
            (None, "in", "out")[rng.integers(3)],
            silent=bool(rng.random() < 0.2),
            delivered_w=float(rng.choice([np.nan, 0.0, 700.0, -50.0])),
            released=bool(rng.random() < 0.2),
        )
        for home in choice.called
    ]
    t = data.draw(st.integers(0, fleet.size[1] - 1))
    moves = correct(fleet, ask, members, choice.reserve, t, into_s=60.0, ahead_wh=float(rng.normal(0, 500)))
    called = [call.index for call in moves.call]
    assert not (moves.call and moves.release)
    assert set(called) <= set(choice.reserve)
    assert [home for home in choice.reserve if home in called] == called
    assert all(fleet.barred[home] is None and fleet.calls_left[home] > 0 for home in called)
    assert ask.most_calls is None or len(members) + len(called) <= ask.most_calls
    active = [m for m in members if m.opt != "out" and not m.released]
    assert {release.index for release in moves.release} <= {m.index for m in active}
    for area, cap in ask.caps.items():
        orders = [m.ordered_w for m in active if fleet.area[m.index] == area]
        orders += [call.power_w for call in moves.call if fleet.area[call.index] == area]
        assert (np.sum([np.zeros(fleet.size[1]), *orders], axis=0)[t:] <= cap + 1e-6).all()
    for call in moves.call:
        assert (call.power_w[:t] == 0).all()
        assert call.power_w.any()
    columns = Members.of(members, fleet.size[1])
    same = correct(fleet, ask, columns, choice.reserve, t, into_s=60.0, ahead_wh=0.0)
    rows = correct(fleet, ask, members, choice.reserve, t, into_s=60.0, ahead_wh=0.0)
    assert [c.index for c in same.call] == [c.index for c in rows.call]
    assert same.release == rows.release


def adjustable(homes: int, power_w: float, minimum_w: float, step_w: float) -> Fleet:
    return alike(homes, 4, power_w, 1.0, minimum_w=np.full(homes, minimum_w), step_w=np.full(homes, step_w))


def test_a_stand_in_with_a_set_point_is_called_for_what_is_missing():
    fleet = adjustable(10, 100_000.0, 5000.0, 1000.0)
    gone = [Member(0, np.full(4, 5000.0), "out")]
    moves = correct(fleet, Ask(np.full(4, 5000.0)), gone, range(1, 10), 0)
    assert [call.index for call in moves.call] == [1]
    # One of one opted out: a little less is expected of the next one, too.
    assert moves.call[0].power_w.tolist() == [6000.0] * 4


def test_a_stand_in_follows_the_target():
    fleet = adjustable(10, 100_000.0, 5000.0, 1000.0)
    moves = correct(fleet, Ask(np.array([10.0, 10.0, 20.0, 0.0]) * 1000), [], range(10), 1)
    assert [call.power_w.tolist() for call in moves.call] == [[0.0, 10_000.0, 20_000.0, 0.0]]


@given(st.integers(1, 40), st.integers(1, 10), st.integers(0, 15), st.integers(0, 3))
@settings(max_examples=80)
def test_stand_ins_keep_to_their_set_points(step: int, least: int, out: int, t: int):
    """Whole, or a multiple of the step from the minimum on; as much as may be lacking, and the last one's step."""
    step_w = 10.0 * step
    fleet = adjustable(60, 1000.0, least * step_w, step_w)
    members = delivering(20 - out) + [Member(index, POWER, "out") for index in range(20 - out, 20)]
    moves = correct(fleet, TARGET, members, range(20, 60), t)
    for call in moves.call:
        for power_w in call.power_w[t:].tolist():
            assert power_w in {0.0, 1000.0} or (power_w % step_w == 0 and least * step_w <= power_w < 1000.0)
    ordered = sum(call.power_w[3] for call in moves.call)
    assert ordered <= 2 * (out * 1000.0 + 500.0) + max(step_w, min(least * step_w, 1000.0))
