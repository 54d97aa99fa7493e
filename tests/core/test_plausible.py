"""What a register is believed: by what the connection carries and by what comes next (core.plausible)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.plausible import HOME_W, Change, RegisterReading, believed, carries, change

WATTS = 40_000.0
RISES = st.lists(st.tuples(st.integers(1, 4000), st.floats(0, 1)), max_size=60)
ANYTHING = st.lists(st.tuples(st.integers(0, 4000), st.floats(-1e3, 1e9) | st.sampled_from([0.0, 1e6, 1e6 + 1, 1e7])))


def rising(steps, first=1_230_000.0):
    """Return readings of a register that rises by a share of what the connection carries."""
    readings = [RegisterReading(0.0, first)]
    for wait_s, share in steps:
        at_s, wh, _ = readings[-1]
        readings.append(RegisterReading(at_s + wait_s, wh + share * WATTS * wait_s / 3600))
    return readings


@given(RISES)
def test_a_series_without_faults_is_untouched(steps):
    readings = rising(steps)
    levels = believed(readings, WATTS)
    assert [one.place for one in levels] == list(range(len(readings)))
    assert (levels[-1].estimated, levels[-1].uncertain) == (0, 0)
    assert levels[-1].total_wh == pytest.approx(readings[-1].wh - readings[0].wh, abs=1e-6)


@given(ANYTHING)
def test_what_is_booked_never_exceeds_the_connection_unless_it_is_uncertain(steps):
    readings, at_s = [], 0.0
    for wait_s, wh in steps:
        at_s += wait_s
        readings.append(RegisterReading(at_s, wh))
    for before, after in pairwise(believed(readings, WATTS)):
        passed_s = readings[after.place].at_s - readings[before.place].at_s
        assert after.total_wh >= before.total_wh
        assert after.uncertain > before.uncertain or carries(after.total_wh - before.total_wh, passed_s, WATTS + 1)


@given(RISES.filter(lambda steps: len(steps) > 4), st.data())
def test_one_absurd_value_costs_nothing_and_leaves_the_rest_alone(steps, data):
    readings = rising(steps)
    place = data.draw(st.integers(1, len(readings) - 2))
    absurd = data.draw(st.sampled_from([0.0, readings[place].wh * 10, readings[place].wh / 10]))
    spoilt = [*readings[:place], readings[place]._replace(wh=absurd), *readings[place + 1 :]]
    levels = believed(spoilt, WATTS)
    assert [one.place for one in levels] == [n for n in range(len(readings)) if n != place]
    assert levels[-1].total_wh == pytest.approx(readings[-1].wh - readings[0].wh, abs=1e-6)
    assert (levels[-1].estimated, levels[-1].uncertain) == (1, 0)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (99_999_990.0, 10.0, (Change.ROLLOVER, 20.0)),
        (999_990.0, 4.0, (Change.ROLLOVER, 14.0)),
        (5010.0, 4.0, (Change.RESET, 4.0)),
        (1_230_000.0, 0.0, (Change.RESET, 0.0)),
        (1_230_000.0, 400_000.0, (Change.EXCHANGE, 0.0)),
        (400_000.0, 1_230_000.0, (Change.EXCHANGE, 0.0)),
    ],
)
def test_changes_of_level_are_told_apart(before, after, expected):
    assert change(RegisterReading(0, before), RegisterReading(60, after), HOME_W) == expected


def test_a_register_that_comes_back_soon_was_there_all_along():
    values = [1000.0, 1010.0, 3.0, 5.0, 1040.0, 1050.0]
    levels = believed([RegisterReading(60.0 * n, 1e6 + one if one > 100 else one) for n, one in enumerate(values)])
    assert [one.total_wh for one in levels] == [0, 10, 40, 50]
    assert (levels[-1].estimated, levels[-1].uncertain) == (1, 0)


@pytest.mark.parametrize("spike", [101.0, 600.0])
def test_a_spike_that_the_connection_can_just_carry_costs_nothing(spike):
    register = [1e6 + 10 * minute for minute in range(10)]
    register[4] += spike + 10
    register[7] += spike + 10
    levels = believed([RegisterReading(60.0 * minute, wh) for minute, wh in enumerate(register)], WATTS)
    assert [one.place for one in levels] == [0, 1, 2, 3, 5, 6, 8, 9]
    assert [one.total_wh for one in levels] == [0, 10, 20, 30, 50, 60, 80, 90]
    assert (levels[-1].estimated, levels[-1].uncertain) == (2, 0)


def test_a_spike_after_coming_back_from_another_level_costs_nothing():
    register = [1e6, 1e6 + 10, 5.0, 6.0, 1e6 + 40, 1e6 + 650, 1e6 + 60, 1e6 + 70]
    levels = believed([RegisterReading(60.0 * minute, wh) for minute, wh in enumerate(register)], WATTS)
    assert [(one.place, one.total_wh) for one in levels] == [(0, 0), (1, 10), (4, 40), (6, 60), (7, 70)]


def test_a_register_that_trembles_counts_nothing_twice():
    values = [1000 + 5 * n - (7 if n % 3 == 2 else 0) for n in range(61)]
    levels = believed([RegisterReading(60.0 * n, 1e6 + one) for n, one in enumerate(values)])
    assert levels[-1].total_wh == values[-1] - values[0]
    assert levels[-1].uncertain == 0


def test_a_net_register_may_fall():
    levels = believed(
        [RegisterReading(60.0 * n, one) for n, one in enumerate((100.0, 50.0, -200.0, 9e9, -100.0))], net=True
    )
    assert [one.total_wh for one in levels] == [0, -50, -300, -200]


def test_readings_that_are_no_numbers_are_set_aside():
    levels = believed(
        [
            RegisterReading(0, 1e6),
            RegisterReading(60, float("nan")),
            RegisterReading(120, float("inf")),
            RegisterReading(180, 1e6 + 30),
        ]
    )
    assert [(one.place, one.total_wh, one.estimated) for one in levels] == [(0, 0, 0), (3, 30, 1)]
