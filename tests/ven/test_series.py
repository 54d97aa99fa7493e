"""Register arithmetic: nothing is invented, nothing is lost."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
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


def test_nothing_is_known_without_readings():
    assert measured([], edges(NOON, NOON + MINUTE, MINUTE), MINUTE) == []


def test_mean_power_stands_in_and_says_so():
    readings = [at(0, 1000.0), at(30, 2000.0), at(150, 600.0)]
    assert shape(mean_power(readings, edges(NOON, NOON + 3 * MINUTE, MINUTE))) == [
        (0, 60, 25.0, True),
        (120, 180, 10.0, True),
    ]


@settings(deadline=None)
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
    result = measured(readings, edges(NOON, NOON + timedelta(seconds=seconds), step), step)
    # Both ends are read, so both are known; the pieces adjoin and add up.
    assert result[0].start == NOON
    assert result[-1].end == readings[-1].start
    assert all(one.end == two.start for one, two in pairwise(result))
    assert sum(one.energy_wh for one in result) == pytest.approx(total - 1e6, abs=1e-6)
    assert all(one.estimated for one in result if one.end - one.start > step)


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 700))
def test_edges_cover_the_span(length_s, step_s):
    found = edges(NOON, NOON + timedelta(seconds=length_s), timedelta(seconds=step_s))
    assert (found[0], found[-1]) == (NOON, NOON + timedelta(seconds=length_s))
    assert all(timedelta() < two - one <= timedelta(seconds=step_s) for one, two in pairwise(found))
