"""Temperatures between the moments at which they are known, and those of an event's hours on other days."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from core.errors import InvalidError
from core.spans import Span
from metrics import Weather, day_matrix, series
from metrics.event_frame import event_frame
from metrics.weather import by_day, in_window

HOUR = 3600
MONDAY = datetime(2026, 1, 12, tzinfo=UTC)


def test_between_moments_it_changes_evenly_and_far_from_them_it_is_not_known():
    weather = Weather(np.array([0, 4 * HOUR, 20 * HOUR]), np.array([0.0, 8.0, 16.0]))
    found = weather.at(np.array([-4, -3, 0, 1, 4, 7, 8, 17, 20, 24]) * HOUR)
    np.testing.assert_allclose(found, [np.nan, 0, 0, 2, 8, 9.5, np.nan, 14.5, 16, np.nan])


def test_of_nowhere_nothing_is_known():
    assert np.isnan(Weather(np.zeros(0, np.int64), np.zeros(0)).at(np.arange(3))).all()


@pytest.mark.parametrize(
    ("times", "celsius"), [([0, 1], [1.0]), ([1, 0], [1.0, 1.0]), ([0, 0], [1.0, 1.0]), ([0], [np.nan]), ([0], [273.2])]
)
def test_what_is_no_temperature_is_refused(times, celsius):
    with pytest.raises(InvalidError):
        Weather(np.array(times), np.array(celsius))


def meter(days=3, step_s=1800, zone="UTC", first=MONDAY):
    starts_s = int(first.timestamp()) + step_s * np.arange(days * 86_400 // step_s)
    return day_matrix(series(starts_s, np.ones(starts_s.size), step_s), zone)


def hourly(*celsius, first=MONDAY):
    return Weather(int(first.timestamp()) + HOUR * np.arange(len(celsius)), np.array(celsius, float))


def test_a_meter_is_told_the_temperature_at_the_middle_of_each_interval():
    """It rises by 1 K an hour from midnight on: by half hours 0.25, 0.75, 1.25 ..., and 3 h beyond what is known."""
    days = by_day(hourly(*range(25)), meter())
    np.testing.assert_allclose(days.energy_wh[1][:3], [0.25, 0.75, 1.25])
    np.testing.assert_allclose(days.energy_wh[0][-7:], [np.nan, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(days.energy_wh[2][:7], [24] * 6 + [np.nan])
    assert by_day(Weather(np.zeros(0, np.int64), np.zeros(0)), meter()).energy_wh.size == 0


def window(weather, days, coverage=1.0, day=2):
    """Ask about 10:00 to 12:00 of a day after the Monday, and of so many days before it."""
    matrix = meter()
    start = MONDAY + timedelta(days=day, hours=10)
    frame = event_frame(matrix, Span(start, start + timedelta(hours=2)), (), None, None)
    return in_window(weather, matrix, frame, frame.today - np.arange(1, days + 1), coverage)


def test_the_hours_of_an_event_have_a_mean_temperature_on_each_day():
    """From 10:00 to 12:00 it is 10 to 12 degrees on Monday, and 24 more on each day that follows: 11, 35 and 59."""
    before, own = window(hourly(*range(72)), 3)
    np.testing.assert_allclose(before, [35, 11, np.nan])
    assert own == pytest.approx(59)


def test_where_too_little_of_the_hours_has_a_temperature_none_is_said():
    weather = hourly(*range(24), *[50] * 9)  # known to 08:00, and three hours on: half of 10:00 to 12:00
    assert np.isnan(window(weather, 1, day=1)[1])
    assert window(weather, 1, 0.5, day=1)[1] == pytest.approx(50)
    np.testing.assert_allclose(window(weather, 2)[0], [np.nan, 11])
    before, own = window(None, 2)
    assert np.isnan([*before, own]).all()


def test_the_hours_are_those_of_the_wall_clock():
    """Berlin's clocks change on 29 March 2026: 17:00 was 16:00 UTC before, and is 15:00 UTC after."""
    first = datetime(2026, 3, 27, tzinfo=UTC)
    matrix = meter(days=5, zone="Europe/Berlin", first=first)
    event = Span(datetime(2026, 3, 30, 15, tzinfo=UTC), datetime(2026, 3, 30, 16, tzinfo=UTC))
    frame = event_frame(matrix, event, (), None, None)
    half_a_degree_an_hour = hourly(*np.arange(120) / 2, first=first)
    before, own = in_window(half_a_degree_an_hour, matrix, frame, frame.today - np.array([1, 3]), 1.0)
    np.testing.assert_allclose([own, *before], [(72 + 15.5) / 2, (48 + 15.5) / 2, 16.5 / 2])
