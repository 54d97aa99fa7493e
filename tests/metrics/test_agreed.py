"""Baselines that were agreed beforehand: worked values, days on which another begins, and what readings cannot move."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.spans import Span
from metrics import (
    PRESETS,
    AdjustmentStatus,
    AgreedProfile,
    Calendar,
    DayMatrix,
    DayType,
    NoBasisError,
    day_matrix,
    placebo,
    series,
)
from metrics.agreed import agreed_wh, check_level

PROFILE, LEVEL = PRESETS["fixed-profile"], PRESETS["firm-level"]
DAY = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOURS = tuple(100 * hour for hour in range(24))


def matrix(loads_wh: np.ndarray, step_s: int, zone: str = "UTC", first: datetime = DAY) -> DayMatrix:
    starts = np.datetime64(first.astimezone(UTC).replace(tzinfo=None), "s") + np.arange(len(loads_wh)) * np.timedelta64(
        step_s, "s"
    )
    return day_matrix(series(starts, loads_wh, step_s), zone)


def span(first: datetime, hour: float, hours: float) -> Span:
    start = first + timedelta(hours=hour)
    return Span(start, start + timedelta(hours=hours))


def knowing(method: str, *profiles: AgreedProfile, holidays: frozenset[date] = frozenset()) -> Calendar:
    return Calendar(holidays=holidays, agreed={method: profiles})


def test_a_profile_says_what_each_hour_would_have_used():
    """1,700 W agreed for the hour from 17:00: 425 Wh a quarter; 300 Wh used in each, so 125 Wh delivered in each."""
    found = PROFILE.baseline(
        matrix(np.full(96, 300.0), 900),
        span(DAY, 17, 1),
        knowing("fixed-profile", AgreedProfile(date(2026, 1, 1), HOURS)),
    )
    np.testing.assert_allclose(found.baseline_wh, [425.0] * 4)
    np.testing.assert_allclose(found.baseline_wh - found.actual_wh, [125.0] * 4)
    assert (found.status, found.days, found.windows) == (AdjustmentStatus.NONE, (), ())


def test_a_firm_level_pays_all_that_is_used_below_it():
    """Counted from 3,000 W, a site that comes down to 1,200 W for two hours delivers 3,600 Wh."""
    found = LEVEL.baseline(
        matrix(np.full(24, 1200.0), 3600), span(DAY, 17, 2), knowing("firm-level", AgreedProfile(DAY.date(), (3000,)))
    )
    assert float((found.baseline_wh - found.actual_wh).sum()) == pytest.approx(3600)


def test_readings_longer_than_the_values_have_their_mean():
    """Half hours of 100 and 300 W make an hour of 200 Wh."""
    halves = tuple(100 if number % 2 == 0 else 300 for number in range(48))
    found = PROFILE.baseline(
        matrix(np.zeros(24), 3600), span(DAY, 5, 1), knowing("fixed-profile", AgreedProfile(DAY.date(), halves))
    )
    np.testing.assert_allclose(found.baseline_wh, [200.0])


def test_the_profile_that_began_last_counts_day_by_day():
    """An event over midnight: 500 W agreed until Monday, 900 W from Tuesday on, whatever order they come in."""
    later, earlier = AgreedProfile(date(2026, 3, 3), (900,)), AgreedProfile(date(2026, 1, 1), (500,))
    calendar = knowing("fixed-profile", later, earlier)
    found = PROFILE.baseline(matrix(np.zeros(48), 3600), span(DAY, 22, 4), calendar)
    np.testing.assert_allclose(found.baseline_wh, [500.0, 500.0, 900.0, 900.0])


@pytest.mark.parametrize(("day", "holiday", "expected"), [(2, False, 100.0), (2, True, 700.0), (7, False, 700.0)])
def test_weekends_and_holidays_may_have_their_own(day: int, holiday: bool, expected: float):
    first = datetime(2026, 3, day, tzinfo=UTC)
    calendar = knowing(
        "fixed-profile",
        AgreedProfile(date(2026, 1, 1), (100,), (700,)),
        holidays=frozenset({first.date()} if holiday else ()),
    )
    found = PROFILE.baseline(matrix(np.zeros(24), 3600, first=first), span(first, 3, 1), calendar)
    np.testing.assert_allclose(found.baseline_wh, [expected])


def test_hours_are_those_of_the_wall_clock_where_it_changes():
    """On 25 October 2026 Berlin has the hour from 02:00 twice, and both are worth what was agreed for it."""
    first = datetime(2026, 10, 24, 22, tzinfo=UTC)  # midnight in Berlin
    found = PROFILE.baseline(
        matrix(np.zeros(25), 3600, "Europe/Berlin", first),
        span(first, 1, 4),
        knowing("fixed-profile", AgreedProfile(date(2026, 1, 1), HOURS)),
    )
    np.testing.assert_allclose(found.baseline_wh, [100.0, 200.0, 200.0, 300.0])


@pytest.mark.parametrize(
    "calendar",
    [
        Calendar(),
        knowing("fixed-profile", AgreedProfile(DAY.date() + timedelta(days=1), (5,))),  # from tomorrow on
        knowing("firm-level", AgreedProfile(DAY.date(), (5,))),  # agreed for something else
    ],
)
def test_without_an_agreement_there_is_no_baseline(calendar: Calendar):
    with pytest.raises(NoBasisError, match="agreed for this home"):
        PROFILE.baseline(matrix(np.zeros(24), 3600), span(DAY, 3, 1), calendar)


@given(st.lists(st.floats(-5000, 5000), min_size=96, max_size=96))
def test_nothing_that_a_home_does_moves_it(loads: list[float]):
    calendar = knowing("fixed-profile", AgreedProfile(date(2026, 1, 1), HOURS))
    found = PROFILE.baseline(matrix(np.array(loads), 900), span(DAY, 17, 2), calendar)
    np.testing.assert_allclose(found.baseline_wh, [425.0] * 4 + [450.0] * 4)


@given(st.integers(0, 95), st.integers(1, 96), st.lists(st.integers(-9000, 9000), min_size=48, max_size=48))
def test_parts_of_a_day_add_up(first: int, count: int, powers: list[int]):
    """In quarters of an hour or as a whole, a span has the same energy."""
    count = min(count, 96 - first)
    profile = AgreedProfile(date(2026, 1, 1), tuple(powers))
    days = np.full(count, 20_000)
    parts = agreed_wh([profile], days, (first + np.arange(count)) * 900, 900, frozenset())
    whole = agreed_wh([profile], days[:1], np.array([first * 900]), 900 * count, frozenset())
    np.testing.assert_allclose(parts.sum(), whole[0], atol=1e-6)


def test_days_without_an_order_show_how_far_off_it_is():
    """1,000 W agreed, 800 W used: each day without an order would have been paid 200 Wh an hour."""
    calendar = knowing("fixed-profile", AgreedProfile(date(2026, 1, 1), (1000,)))
    days = matrix(np.full(24 * 11, 800.0), 3600)
    errors = placebo(days, span(DAY + timedelta(days=10), 17, 1), PROFILE, calendar)
    assert errors.bias_wh == pytest.approx(200)


@pytest.mark.parametrize("powers", [(), (1, 2), (1,) * 95, (3_000_000_000,)])
def test_a_profile_divides_a_day_and_is_a_power(powers: tuple[int, ...]):
    with pytest.raises(InvalidError):
        AgreedProfile(DAY.date(), powers)


def test_weekends_divide_a_day_too():
    with pytest.raises(InvalidError):
        AgreedProfile(DAY.date(), (5,), (1, 2))
    assert AgreedProfile(DAY.date(), (5,)).of(DayType.HOLIDAY) == (5,)


def test_a_level_is_one_power():
    check_level(AgreedProfile(DAY.date(), (5,) * 24, (5,)))
    for profile in (AgreedProfile(DAY.date(), HOURS), AgreedProfile(DAY.date(), (5,), (6,))):
        with pytest.raises(InvalidError, match="single power"):
            check_level(profile)
