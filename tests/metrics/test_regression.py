"""Time of week and temperature: hand-worked fits, days left out, and what must not change a result."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.spans import Span
from metrics import PRESETS, Calendar, NoBaselineError, Regression, Verdict, Weather, day_matrix, series
from metrics.method import AdjustmentStatus
from metrics.regression import fit, pieces

FIRST = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
DAYS = 36
DAY = FIRST + timedelta(days=DAYS - 1)  # a Monday
EVENT = Span(DAY + timedelta(hours=17), DAY + timedelta(hours=19))
PLAIN = PRESETS["time-of-week"]
WARM = PRESETS["time-of-week-temperature"]


def matrix_of(loads_wh, zone="UTC", first=FIRST):
    starts = np.datetime64(first.replace(tzinfo=None), "s") + np.arange(np.size(loads_wh)) * np.timedelta64(3600, "s")
    return day_matrix(series(starts, np.ravel(loads_wh), 3600), zone)


def weather_of(celsius):
    return Weather(int(FIRST.timestamp()) + 3600 * np.arange(celsius.size) + 1800, celsius.ravel())


def test_a_load_that_has_a_weekday_and_a_day_type_worked_by_hand():
    """Monday saw 10 and 20, the second of half the weight; all like days together saw 14; it is drawn by 3 to that.

    (1 x 20 + 0.5 x 10 + 3 x like) / (1 + 0.5 + 3), where like = (20 + 5 + 1 x 15.5 + 0.5 x 3) / 3 = 14.
    """
    loads, weekdays = np.array([[20.0], [10.0], [15.5], [3.0]]), np.array([0, 0, 1, 1])
    found = fit(loads, weekdays, None, np.array([1.0, 0.5, 1.0, 0.5]), 3.0)
    assert found.usual[0, 0] == pytest.approx((20 + 5 + 3 * 14) / 4.5)
    assert found.usual[1, 0] == pytest.approx((15.5 + 1.5 + 3 * 14) / 4.5)
    assert found.usual[2, 0] == pytest.approx(14), "of a Wednesday that nobody saw, the like days speak"


def test_pieces_add_up_to_the_temperature():
    np.testing.assert_allclose(pieces(np.array([-5.0, 3.0, 12.0]), np.array([0.0, 10.0])), [
        [-5, 0, 0], [0, 3, 0], [0, 10, 2]])  # fmt: skip
    np.testing.assert_allclose(pieces(np.array([7.0]), np.zeros(0)), [[7]])


def test_heat_below_a_knot_and_hours_of_the_week_are_told_apart():
    """100 Wh and 10 Wh a weekday's hour, and 50 Wh per kelvin whatever the hour: all of it is found again."""
    hours, days = np.arange(24), np.arange(DAYS)
    celsius = np.random.default_rng(1).uniform(-5, 15, (DAYS, 24))
    loads = 1000 + 100 * hours + 10 * (days % 7)[:, None] - 50 * celsius
    found = replace(WARM, drawn=0.0).baseline(matrix_of(loads), EVENT, Calendar(weather=weather_of(celsius)))
    np.testing.assert_allclose(found.baseline_wh, loads[-1, 17:19])
    assert found.status is AdjustmentStatus.NONE


def test_a_day_of_frost_uses_more_than_its_hour_of_the_week_says():
    celsius = np.random.default_rng(2).uniform(0, 10, (DAYS, 24))
    celsius[-1] = -5.0
    loads = 1000 - 50 * celsius
    calendar = Calendar(weather=weather_of(celsius))
    np.testing.assert_allclose(WARM.baseline(matrix_of(loads), EVENT, calendar).baseline_wh, 1250)
    assert (PLAIN.baseline(matrix_of(loads), EVENT, calendar).baseline_wh < 1000).all()


def test_the_preset_with_temperatures_worked_by_hand():
    """A home uses 300 Wh an hour at 20 degrees and 50 Wh more for each degree above, less below; days had 15 to 25.

    The last piece has no outer end, so at 30 degrees it is 300 + 10 x 50 = 800 Wh, beyond the 550 Wh of the warmest day
    that was seen. The clock alone says no more than those.
    """
    celsius = np.repeat(np.random.default_rng(5).permutation(np.linspace(15, 25, DAYS)), 24).reshape(DAYS, 24)
    celsius[-1] = 30.0
    calendar = Calendar(weather=weather_of(celsius))
    matrix = matrix_of(300 + 50 * (celsius - 20))
    found = WARM.baseline(matrix, EVENT, calendar)
    np.testing.assert_allclose(found.baseline_wh, 800)
    assert (found.celsius, found.status) == (30.0, AdjustmentStatus.NONE)
    assert [use.celsius for use in found.days[:3]] == pytest.approx(celsius[-2:-5:-1, 17])
    assert (PLAIN.baseline(matrix, EVENT, calendar).baseline_wh <= 550).all()


def test_where_temperatures_do_not_reach_time_of_week_stands_alone_and_says_so():
    loads = np.random.default_rng(3).uniform(100, 1000, (DAYS, 24))
    plain = PLAIN.baseline(matrix_of(loads), EVENT)
    short = weather_of(np.full((DAYS - 2, 24), 5.0))
    late = Weather(int(DAY.timestamp()) + 3600 * np.arange(24), np.full(24, 5.0))
    for weather in (None, short, late):
        found = WARM.baseline(matrix_of(loads), EVENT, Calendar(weather=weather))
        np.testing.assert_allclose(found.baseline_wh, plain.baseline_wh)
        assert found.status is AdjustmentStatus.NO_TEMPERATURE


def test_a_temperature_that_never_changes_does_no_harm():
    loads = np.random.default_rng(4).uniform(100, 1000, (DAYS, 24))
    calendar = Calendar(weather=weather_of(np.full((DAYS, 24), 5.0)))
    found = WARM.baseline(matrix_of(loads), EVENT, calendar)
    np.testing.assert_allclose(found.baseline_wh, PLAIN.baseline(matrix_of(loads), EVENT).baseline_wh)


def test_days_of_events_outages_gaps_and_another_kind_are_not_used():
    loads = np.full((DAYS, 24), 500.0)
    loads[-4], loads[-5], loads[-3:-1] = 9_000, 9_000, 9_000  # Friday, Thursday, the weekend
    loads[-6, :3], loads[-6, 17] = np.nan, 9_000  # Wednesday
    calendar = Calendar(
        events=(Span(DAY - timedelta(days=3, hours=-8), DAY - timedelta(days=3, hours=-9)),),
        outages=(Span(DAY - timedelta(days=4, hours=-8), DAY - timedelta(days=4, hours=-9)),),
    )
    found = PLAIN.baseline(matrix_of(loads), EVENT, calendar)
    np.testing.assert_allclose(found.baseline_wh, 500)
    assert [use.verdict for use in found.days[:6]] == [
        Verdict.UNLIKE, Verdict.UNLIKE, Verdict.EVENT, Verdict.OUTAGE, Verdict.MISSING, Verdict.KEPT]  # fmt: skip


def test_a_holiday_is_a_sunday():
    loads = np.full((DAYS, 24), 500.0)
    loads[6::7], loads[5::7] = 2_000, 100  # Sundays, Saturdays
    calendar = Calendar(holidays=frozenset({DAY.date()}))
    found = replace(PLAIN, drawn=0.0).baseline(matrix_of(loads), EVENT, calendar)
    np.testing.assert_allclose(found.baseline_wh, 2_000)


def test_too_few_days_have_no_baseline_and_say_which_were_looked_at():
    with pytest.raises(NoBaselineError, match="needs 5 eligible days") as caught:
        PLAIN.baseline(matrix_of(np.ones((4, 24)), first=DAY - timedelta(days=3)), EVENT)
    assert len(caught.value.days) == PLAIN.lookback_days
    assert caught.value.days[0].day == date(2026, 2, 8)


def test_hours_are_those_of_the_wall_clock():
    """Berlin's clocks change on 29 March: 17:00 is 17:00 before and after."""
    zone, first = "Europe/Berlin", datetime(2026, 2, 28, 23, tzinfo=UTC)
    starts = [first + timedelta(hours=hour) for hour in range(24 * 37)]
    local = matrix_of(np.zeros(len(starts)), zone, first).offsets(np.array([int(s.timestamp()) for s in starts]), 0)
    matrix = matrix_of((local % 24).astype(float), zone, first)
    event = Span(datetime(2026, 4, 2, 15, tzinfo=UTC), datetime(2026, 4, 2, 17, tzinfo=UTC))
    np.testing.assert_allclose(PLAIN.baseline(matrix, event).baseline_wh, [17, 18])


@given(st.floats(0.001, 1000), st.integers(0, 2**32 - 1))
def test_twice_the_loads_are_twice_the_baseline_and_the_event_day_and_older_days_change_nothing(scale, seed):
    rng = np.random.default_rng(seed)
    loads, celsius = rng.uniform(1, 5000, (DAYS, 24)), rng.uniform(-10, 30, (DAYS, 24))
    calendar = Calendar(weather=weather_of(celsius))
    rule = replace(WARM, lookback_days=28)
    once = rule.baseline(matrix_of(loads), EVENT, calendar).baseline_wh
    np.testing.assert_allclose(rule.baseline(matrix_of(loads * scale), EVENT, calendar).baseline_wh, once * scale)
    loads[-1], loads[:7] = 77.0, 9_999.0
    np.testing.assert_allclose(rule.baseline(matrix_of(loads), EVENT, calendar).baseline_wh, once)


@pytest.mark.parametrize("wrong", [{"min_days": 0}, {"coverage": 0.0}, {"half_life_days": 0.0}, {"drawn": -1.0}])
def test_senseless_rules_are_refused(wrong):
    with pytest.raises(InvalidError):
        Regression("x", 1, "", **wrong)
