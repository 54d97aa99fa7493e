from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from metrics import DayType, day_matrix, series
from metrics.days import day_type, from_days, period_of, to_days, to_local_s, zone_named


def hours(start: str, count: int, step_s: int = 3600) -> np.ndarray:
    return np.datetime64(start, "s") + np.arange(count) * np.timedelta64(step_s, "s")


@given(
    st.sampled_from(["Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    st.lists(st.integers(0, 4_000_000_000), min_size=1, max_size=20),
)
def test_wall_clock_times_are_the_zones_own(zone, times):
    where = zone_named(zone)
    local = to_local_s(np.array(times), where)
    for utc_s, local_s in zip(times, local.tolist(), strict=True):
        wall = datetime.fromtimestamp(utc_s, where).replace(tzinfo=UTC)
        assert wall.timestamp() == local_s


def test_the_hour_that_spring_lacks_is_neither_data_nor_gap():
    # On 2013-03-31 London's clocks go from 01:00 to 02:00.
    matrix = day_matrix(series(hours("2013-03-30T00:00", 71), np.arange(71.0), 3600), "Europe/London")
    day = to_days(date(2013, 3, 31))
    energy, coverage = matrix.gather(np.array([day, day - 1]), np.arange(24))
    assert np.isnan(energy[0, 1])
    assert energy[0, [0, 2, 23]].tolist() == [24.0, 25.0, 46.0]
    assert coverage.tolist() == [1.0, 1.0]
    assert matrix.gather(np.array([day]), np.array([1]))[1].tolist() == [0.0]


def test_the_hour_that_autumn_has_twice_is_the_mean_of_both():
    # On 2013-10-27 London's clocks go from 02:00 back to 01:00 (01:00 UTC).
    matrix = day_matrix(series(hours("2013-10-26T23:00", 25), np.arange(25.0), 3600), "Europe/London")
    day = to_days(date(2013, 10, 27))
    energy, coverage = matrix.gather(np.array([day]), np.arange(24))
    assert energy[0, :4].tolist() == [0.0, 1.5, 3.0, 4.0]
    assert coverage.tolist() == [1.0]
    half = day_matrix(series(hours("2013-10-26T23:00", 2), np.arange(2.0), 3600), "Europe/London")
    assert half.gather(np.array([day]), np.array([1]))[1].tolist() == [0.5]


def test_windows_reach_over_midnight_and_beyond_the_series():
    matrix = day_matrix(series(hours("2013-06-01T00:00", 48), np.arange(48.0), 3600), "UTC")
    day = to_days(date(2013, 6, 1))
    energy, coverage = matrix.gather(np.array([day]), np.array([-1, 22, 25, 48]))
    assert np.array_equal(energy[0], [np.nan, 22.0, 25.0, np.nan], equal_nan=True)
    assert coverage.tolist() == [0.5]


def test_a_series_is_sorted_and_cleaned():
    times = hours("2013-06-01T00:00", 3)
    found = series(times[[2, 0, 1]], [3.0, 1.0, np.inf], 3600)
    assert np.array_equal(found.energy_wh, [1.0, np.nan, 3.0], equal_nan=True)
    assert np.array_equal(found.at(found.starts_s + 3600), [np.nan, 3.0, np.nan], equal_nan=True)


def test_the_grid_of_a_series():
    found = series([1000], [1.0], 900)
    assert found.grid(1000, 2800).tolist() == [1000, 1900]
    assert found.grid(999, 2801).tolist() == [100, 1000, 1900, 2800]
    assert found.grid(999, 2801, within=True).tolist() == [1000, 1900]
    assert found.grid(1001, 1800, within=True).tolist() == []


@pytest.mark.parametrize(
    ("starts", "energy", "step_s", "match"),
    [
        ([0, 3600], [1.0], 3600, "one start per energy"),
        ([0, 0], [1.0, 2.0], 3600, "same time"),
        ([0, 1800], [1.0, 2.0], 3600, "one grid"),
        ([0], [1.0], 7, "divide a day"),
        ([0], [1.0], 0, "divide a day"),
        ([-3600], [1.0], 3600, "1970"),
        ([1_386_781_200_000], [1.0], 3600, "seconds"),
    ],
)
def test_malformed_series_are_refused(starts, energy, step_s, match):
    with pytest.raises(InvalidError, match=match):
        series(starts, energy, step_s)


def test_a_grid_that_the_wall_clock_does_not_have():
    hourly = series(hours("2013-06-01T00:00", 48), np.ones(48), 3600)
    with pytest.raises(InvalidError, match="wall clock"):
        day_matrix(hourly, "Asia/Kolkata")
    with pytest.raises(InvalidError, match="too long"):
        day_matrix(series([0, 4_000_000_000], [1.0, 1.0], 1), "UTC")


@pytest.mark.parametrize("name", ["Mars/Base", "../../etc/passwd", "", "Europe", "a" * 300, "\0"])
def test_unknown_zones(name):
    with pytest.raises(InvalidError, match="IANA"):
        zone_named(name)


def test_no_readings_at_all():
    matrix = day_matrix(series([], [], 900), "Europe/London")
    energy, coverage = matrix.gather(np.array([15000]), np.array([3]))
    assert np.isnan(energy).all()
    assert coverage.tolist() == [0.0]
    assert np.isnan(matrix.series.at(np.array([5]))).all()


def test_day_types():
    friday = date(2013, 3, 29)
    assert day_type(friday) is DayType.WEEKDAY
    assert day_type(friday, frozenset({friday})) is DayType.HOLIDAY
    assert day_type(date(2013, 3, 30)) is DayType.WEEKEND
    assert from_days(to_days(friday)) == friday


@pytest.mark.parametrize(
    ("when", "step_s", "zone", "number", "local"),
    [
        ("2026-01-31T17:00", 900, "Europe/Paris", 73, "2026-01-31T18:00+01:00"),
        ("2026-01-31T23:00", 900, "Europe/Paris", 1, "2026-02-01T00:00+01:00"),
        ("2026-01-31T18:15", 900, "Asia/Kathmandu", 1, "2026-02-01T00:00+05:45"),
        ("2026-01-31T18:30", 900, "Asia/Kathmandu", 2, "2026-02-01T00:15+05:45"),
        ("2026-03-29T21:45", 900, "Europe/Paris", 92, "2026-03-29T23:45+02:00"),
        ("2026-10-25T01:00", 900, "Europe/Paris", 13, "2026-10-25T02:00+01:00"),
        ("2026-10-25T22:45", 900, "Europe/Paris", 100, "2026-10-25T23:45+01:00"),
        ("2026-01-31T17:00", 3600, "Europe/Paris", 19, "2026-01-31T18:00+01:00"),
    ],
)
def test_settlement_periods_are_numbered_in_the_local_day(when, step_s, zone, number, local):
    start = datetime.fromisoformat(when).replace(tzinfo=UTC)
    assert period_of(start, step_s, zone_named(zone)) == (number, local)
