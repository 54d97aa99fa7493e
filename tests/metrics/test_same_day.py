"""Baselines out of the event's own day: hand-worked windows, notices, gaps and days that change their clock."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.spans import Span
from metrics import (
    PRESETS,
    Calendar,
    DayMatrix,
    DayType,
    NoBaselineError,
    NoBasisError,
    Verdict,
    day_matrix,
    placebo,
    series,
)
from metrics.same_day import SameDay

AROUND, BEFORE = PRESETS["same-day-3plus2"], PRESETS["meter-before"]
DAY = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
EVENT = Span(DAY + timedelta(hours=12), DAY + timedelta(hours=17))  # hours ending 13 to 17


def hourly(loads_w: np.ndarray, first: datetime = DAY, zone: str = "UTC") -> DayMatrix:
    starts = np.datetime64(first.replace(tzinfo=None), "s") + np.arange(len(loads_w)) * np.timedelta64(3600, "s")
    return day_matrix(series(starts, loads_w, 3600), zone)


def test_hours_9_to_11_and_19_to_20_stand_for_13_to_17():
    """The worked example of the rule: hours ending 9, 10, 11, 19 and 20, whatever the others held."""
    loads = np.full(24, 9_999.0)
    loads[[8, 9, 10, 18, 19]] = [100, 200, 300, 400, 500]
    loads[12:17] = 50.0
    found = AROUND.baseline(hourly(loads), EVENT)
    np.testing.assert_allclose(found.baseline_wh, 300.0)
    np.testing.assert_allclose(found.baseline_wh - found.actual_wh, 250.0)
    assert found.windows == (
        Span(DAY + timedelta(hours=8), DAY + timedelta(hours=11)),
        Span(DAY + timedelta(hours=18), DAY + timedelta(hours=20)),
    )
    (use,) = found.days
    assert (use.day, use.verdict, use.mean_w) == (date(2026, 3, 2), Verdict.KEPT, 300.0)


def test_the_hour_before_stands_for_a_short_event():
    loads = np.zeros(24)
    loads[11] = 800.0
    np.testing.assert_allclose(BEFORE.baseline(hourly(loads), EVENT).baseline_wh, 800.0)


def test_who_knows_of_the_event_is_measured_before_that():
    loads = np.arange(24.0)
    found = BEFORE.baseline(hourly(loads), EVENT, notified_at=DAY + timedelta(hours=9))
    np.testing.assert_allclose(found.baseline_wh, 8.0)
    assert found.windows == (Span(DAY + timedelta(hours=8), DAY + timedelta(hours=9)),)


def test_a_notice_of_more_than_a_day_leaves_no_window():
    with pytest.raises(NoBaselineError, match="around the event"):
        BEFORE.baseline(hourly(np.ones(24)), EVENT, notified_at=DAY - timedelta(days=2))


def test_what_is_not_measured_or_disturbed_says_nothing():
    loads = np.ones(24)
    loads[19] = np.nan
    with pytest.raises(NoBaselineError) as caught:
        AROUND.baseline(hourly(loads), EVENT)
    assert caught.value.days[0].coverage == 0.8
    assert np.isfinite(replace(AROUND, coverage=0.8).baseline(hourly(loads), EVENT).baseline_wh).all()
    other = Calendar(events=(Span(DAY + timedelta(hours=8), DAY + timedelta(hours=9)),))
    with pytest.raises(NoBasisError, match="another event or an outage lies in them") as disturbed:
        AROUND.baseline(hourly(np.ones(24)), EVENT, other)
    assert disturbed.value.lacks == "undisturbed hours around the event"


def test_windows_are_hours_of_the_clock_that_runs_on():
    """On the day that lacks an hour, three hours before the event are three hours, not two and a gap."""
    first = datetime(2026, 3, 28, 23, tzinfo=UTC)  # midnight in Berlin; the clocks change at 01:00 UTC
    event = Span(datetime(2026, 3, 29, 3, tzinfo=UTC), datetime(2026, 3, 29, 4, tzinfo=UTC))
    loads = np.arange(23.0)
    found = BEFORE.baseline(hourly(loads, first, "Europe/Berlin"), event)
    np.testing.assert_allclose(found.baseline_wh, 3.0)


@given(st.floats(0.001, 1000), st.integers(0, 2**32 - 1))
def test_twice_the_loads_are_twice_the_baseline(scale, seed):
    loads = np.random.default_rng(seed).uniform(1, 5000, 24)
    once = AROUND.baseline(hourly(loads), EVENT).baseline_wh
    np.testing.assert_allclose(AROUND.baseline(hourly(loads * scale), EVENT).baseline_wh, once * scale)


def test_its_own_error_is_found_on_days_without_an_event():
    loads = np.tile(np.concatenate((np.full(12, 100.0), np.full(12, 150.0))), 15)
    event = Span(EVENT.start + timedelta(days=14), EVENT.start + timedelta(days=14, hours=1))
    found = placebo(hourly(loads), event, BEFORE)
    assert len(found.dates) == 10  # Mondays to Fridays of two weeks
    np.testing.assert_allclose(found.delivered_wh, -50.0)


def test_every_kind_of_day_has_one_and_senseless_rules_are_refused():
    assert BEFORE.alike(DayType.HOLIDAY) == (DayType.WEEKEND, DayType.HOLIDAY)
    with pytest.raises(InvalidError):
        SameDay("x", 1, "", ())
    with pytest.raises(InvalidError):
        replace(BEFORE, coverage=0.0)
