"""Register arithmetic: nothing is invented, nothing is lost."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.points import Quality, Reading
from ven.series import edges, is_known, mean_power, measured

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(seconds, value, quality=Quality.GOOD):
    return Reading("m", NOON + timedelta(seconds=seconds), value, quality=quality)


def shape(result):
    return [
        (
            (one.start - NOON).total_seconds(),
            (one.end - NOON).total_seconds(),
            pytest.approx(one.energy_wh),
            one.estimated,
        )
        for one in result
    ]


def test_differences_of_readings_on_the_edges_are_exact():
    readings = [at(60 * n, 10.0 * n) for n in range(4)]
    assert shape(measured(readings, edges(NOON, NOON + 3 * MINUTE, MINUTE), MINUTE)) == [
        (0, 60, 10.0, False),
        (60, 120, 10.0, False),
        (120, 180, 10.0, False),
    ]


def test_a_gap_is_one_interval_with_the_true_energy_and_marked():
    readings = [at(0, 0.0), at(60, 10.0), at(300, 90.0), at(360, 100.0)]
    assert shape(measured(readings, edges(NOON, NOON + 6 * MINUTE, MINUTE), MINUTE)) == [
        (0, 60, 10.0, False),
        (60, 300, 80.0, True),
        (300, 360, 10.0, False),
    ]


def test_edges_between_close_readings_are_known():
    readings = [at(30 + 60 * n, 60.0 * n) for n in range(-1, 4)]
    assert shape(measured(readings, edges(NOON, NOON + 2 * MINUTE, MINUTE), MINUTE)) == [
        (0, 60, 60.0, False),
        (60, 120, 60.0, False),
    ]


def test_a_reset_is_never_taken_for_a_negative_use():
    readings = [at(0, 5000.0), at(60, 5010.0), at(120, 4.0), at(180, 14.0)]
    assert shape(measured(readings, edges(NOON, NOON + 3 * MINUTE, MINUTE), MINUTE)) == [
        (0, 60, 10.0, False),
        (60, 120, 4.0, True),
        (120, 180, 10.0, False),
    ]


def test_an_exchanged_meter_counts_nothing_over_the_exchange():
    readings = [at(0, 900_000.0), at(60, 400_000.0), at(120, 400_010.0)]
    assert shape(measured(readings, edges(NOON, NOON + 2 * MINUTE, MINUTE), MINUTE)) == [
        (0, 60, 0.0, True),
        (60, 120, 10.0, False),
    ]


def test_no_edge_is_known_inside_a_reset():
    readings = [at(-30, 5000.0), at(30, 3.0), at(90, 13.0)]
    assert not is_known(readings, NOON, MINUTE)
    assert is_known(readings, NOON + MINUTE, MINUTE)


@pytest.mark.parametrize(
    "bad", [at(60, 5.0, Quality.BAD), at(60, float("nan")), at(60, float("inf")), at(60, 5.0, Quality.STALE)]
)
def test_bad_readings_are_no_readings(bad):
    assert shape(measured([at(0, 0.0), bad, at(120, 30.0)], edges(NOON, NOON + 2 * MINUTE, MINUTE), MINUTE)) == [
        (0, 120, 30.0, True)
    ]


def test_doubtful_readings_mark_their_interval():
    readings = [at(0, 0.0), at(60, 10.0, Quality.ESTIMATED), at(120, 20.0)]
    marks = [one.estimated for one in measured(readings, edges(NOON, NOON + 2 * MINUTE, MINUTE), MINUTE)]
    assert marks == [True, False]


MEGA = 1_230_000.0
MINUTES = [MEGA + 10 * number for number in range(8)]
"""A home that uses 10 Wh a minute."""
AFTER_THREE = [(180, 240, 10.0, False), (240, 300, 10.0, False), (300, 360, 10.0, False), (360, 420, 10.0, False)]


def by_minute(values, **more):
    return shape(
        measured(
            [at(60 * n, one) for n, one in enumerate(values)], edges(NOON, NOON + 7 * MINUTE, MINUTE), MINUTE, **more
        )
    )


def replaced(place, *values):
    return [*MINUTES[:place], *values, *MINUTES[place + len(values) :]]


@pytest.mark.parametrize(
    "absurd", [0.0, MINUTES[2] * 10, MINUTES[2] / 10, MINUTES[1] - 10, MINUTES[2] + 5000, -1.0, 9e99]
)
def test_one_absurd_value_is_bridged_by_one_marked_interval_with_the_true_energy(absurd):
    assert by_minute(replaced(2, absurd)) == [(0, 60, 10.0, False), (60, 180, 20.0, True), *AFTER_THREE]


def test_two_zeros_in_a_row_are_bridged_too():
    assert by_minute(replaced(2, 0.0, 0.0)) == [(0, 60, 10.0, False), (60, 240, 30.0, True), *AFTER_THREE[1:]]


def test_a_register_that_goes_on_a_little_lower_counts_nothing_twice():
    found = by_minute([one - 25 * (n >= 2) for n, one in enumerate(MINUTES)])
    assert sum(energy.expected for _, _, energy, _ in found) <= MINUTES[-1] - MINUTES[0]
    assert found[0] == (0, 60, 10.0, False)
    assert found[-1] == (360, 420, 10.0, False)


def test_a_reset_at_a_megawatt_hour_counts_from_zero_and_what_lies_between_is_not_known():
    values = [*MINUTES[:3], 4.0, 14.0, 24.0, 34.0, 44.0]
    found = measured([at(60 * n, one) for n, one in enumerate(values)], edges(NOON, NOON + 7 * MINUTE, MINUTE), MINUTE)
    assert [(one.energy_wh, one.quality) for one in found] == [
        (10, "good"),
        (10, "good"),
        (4, "uncertain"),
        *[(10, "good")] * 4,
    ]


def test_a_rollover_loses_nothing():
    values = [(99_999_980 + 10 * n) % 10**8 for n in range(8)]
    assert [energy for _, _, energy, _ in by_minute(values)] == [10.0] * 7


@pytest.mark.parametrize("other", [400_000.0, 7_000_000.0])
def test_an_exchanged_meter_is_uncertain_once_and_right_afterwards(other):
    values = [*MINUTES[:4], *(other + 10 * n for n in range(4))]
    assert by_minute(values) == [
        *[(60 * n, 60 * n + 60, 10.0, False) for n in range(3)],
        (180, 240, 0.0, True),
        *AFTER_THREE[1:],
    ]


def test_what_the_connection_can_carry_decides():
    values = replaced(3, *(one + 900 for one in MINUTES[3:]))  # 910 Wh in a minute: 54 kW
    assert by_minute(values)[2][2:] == (920.0, True), "over two minutes it can be"
    assert by_minute(values, connection_w=60_000)[2] == (120, 180, 910.0, False)
    assert by_minute(values, connection_w=11_000)[2] == (120, 180, 0.0, True)


def test_a_meter_with_steps_of_a_kilowatt_hour_loses_nothing():
    values = [MEGA, MEGA, MEGA + 1000, MEGA + 1000, MEGA + 1000, MEGA + 1000, MEGA + 2000, MEGA + 2000]
    assert sum(energy.expected for _, _, energy, _ in by_minute(values)) == 2000


def test_the_newest_reading_is_not_believed_before_the_next_one_tells():
    assert by_minute([MEGA, MEGA + 10, 0.0]) == [(0, 60, 10.0, False)]
    assert by_minute([MEGA, MEGA + 10, 0.0, 7.0]) == [
        (0, 60, 10.0, False),
        (60, 120, 0.0, True),
        (120, 180, 7.0, False),
    ]


def test_a_power_above_the_connection_is_no_reading():
    readings = [at(0, 1000.0), at(30, 50_000.0), at(60, -1e9)]
    assert shape(mean_power(readings, edges(NOON, NOON + 2 * MINUTE, MINUTE))) == [(0, 60, 1000 / 60, True)]


def test_nothing_is_known_without_readings():
    assert measured([], edges(NOON, NOON + MINUTE, MINUTE), MINUTE) == []


def test_mean_power_stands_in_and_says_so():
    readings = [at(0, 1000.0), at(30, 2000.0), at(150, 600.0)]
    assert shape(mean_power(readings, edges(NOON, NOON + 3 * MINUTE, MINUTE))) == [
        (0, 60, 25.0, True),
        (120, 180, 10.0, True),
    ]


@given(
    st.lists(st.tuples(st.integers(1, 400), st.floats(0, 1e4)), min_size=2, max_size=60),
    st.integers(1, 900),
)
def test_the_sum_is_the_registers_own_difference(steps, step_s):
    readings, seconds, total = [], 0, 1e6
    for wait, rise in steps:
        readings.append(at(seconds, total))
        seconds, total = seconds + wait, total + rise
    readings.append(at(seconds, total))
    step = timedelta(seconds=step_s)
    at_edges = edges(NOON, NOON + timedelta(seconds=seconds), step)
    result = measured(readings, at_edges, step, connection_w=1e8)
    # Both ends are read, so both are known; the pieces adjoin and add up.
    assert result[0].start == NOON
    assert result[-1].end == readings[-1].start
    assert all(one.end == two.start for one, two in pairwise(result))
    assert sum(one.energy_wh for one in result) == pytest.approx(total - 1e6, abs=1e-6)
    assert all(one.estimated for one in result if one.end - one.start > step)


@given(st.integers(1, 5000), st.integers(1, 700))
def test_edges_cover_the_span(length_s, step_s):
    found = edges(NOON, NOON + timedelta(seconds=length_s), timedelta(seconds=step_s))
    assert (found[0], found[-1]) == (NOON, NOON + timedelta(seconds=length_s))
    assert all(timedelta() < two - one <= timedelta(seconds=step_s) for one, two in pairwise(found))
