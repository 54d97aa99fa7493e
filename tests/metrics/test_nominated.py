"""A nomination shared out among homes: worked by hand, and it adds up."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.spans import Span
from metrics import PRESETS, AdjustmentStatus, Calendar, DayMatrix, NoBaselineError, Series, day_matrix, series

NOMINATED = PRESETS["nominated"]
FIRST = datetime(2026, 2, 2, tzinfo=UTC)  # a Monday
EVENT = Span(FIRST + timedelta(days=21, hours=17), FIRST + timedelta(days=21, hours=19))
IN_EVENT_S = int(EVENT.start.timestamp()) + 3600 * np.arange(2)


def home(usual_wh: float, today_wh: float = 0.0) -> DayMatrix:
    loads = np.full(24 * 22, usual_wh)
    loads[21 * 24 :] = today_wh
    starts = np.datetime64(FIRST.replace(tzinfo=None), "s") + np.arange(len(loads)) * np.timedelta64(3600, "s")
    return day_matrix(series(starts, loads, 3600), "UTC")


def on_top(*wh: float) -> Calendar:
    return Calendar(nominated=Series(IN_EVENT_S[: len(wh)], np.array(wh), 3600))


def test_each_home_has_its_usual_load_and_the_same_part_of_the_rest():
    """Homes of 1,000 and 3,000 W usually, 5,000 and 4,400 W nominated: 500 and 200 W more each."""
    calendar = on_top(500.0, 200.0)
    small = NOMINATED.baseline(home(1000.0, 900.0), EVENT, calendar)
    large = NOMINATED.baseline(home(3000.0), EVENT, calendar)
    np.testing.assert_allclose(small.baseline_wh + large.baseline_wh, [5000.0, 4400.0])
    np.testing.assert_allclose(small.baseline_wh - small.actual_wh, [600.0, 300.0])
    np.testing.assert_allclose(small.unadjusted_wh, 1000.0)
    assert small.method is NOMINATED


@pytest.mark.parametrize("calendar", [Calendar(), on_top(0.0), on_top(0.0, float("nan"))])
def test_where_nothing_was_nominated_it_is_the_usual_load_and_says_so(calendar: Calendar):
    """Who is to nominate cannot make what was delivered unknown by not doing so."""
    found = NOMINATED.baseline(home(1000.0), EVENT, calendar)
    np.testing.assert_allclose(found.baseline_wh, 1000.0)
    assert found.status is AdjustmentStatus.NOT_NOMINATED
    assert NOMINATED.baseline(home(1000.0), EVENT, on_top(0.0, 0.0)).status is AdjustmentStatus.NONE


def test_a_home_without_days_has_none_either():
    early = Span(FIRST + timedelta(days=1), FIRST + timedelta(days=1, hours=2))
    with pytest.raises(NoBaselineError, match="10of10-unadjusted needs"):
        NOMINATED.baseline(home(1000.0), early, on_top(1.0, 1.0))


@given(st.lists(st.floats(-3000, 9000), min_size=1, max_size=6), st.floats(-20_000, 20_000))
def test_the_homes_add_up_to_the_nomination(usual: list[float], nominated_wh: float):
    each = (nominated_wh - sum(usual)) / len(usual)
    found = [NOMINATED.baseline(home(wh), EVENT, on_top(each, each)).baseline_wh for wh in usual]
    np.testing.assert_allclose(np.sum(found, axis=0), nominated_wh, atol=1e-6)
