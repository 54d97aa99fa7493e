"""How often homes are marked as odd: shares of figures that are known."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from benchmarks.gaming_rate import of_home, row_of
from benchmarks.placebo_study import population
from core.spans import Span
from metrics.gaming import compared

START = datetime(2026, 1, 30, 13, tzinfo=UTC)
WINDOW = Span(START, START + timedelta(hours=3))


def seen(excess_w, sd_w=100.0):
    """Return a comparison with six like days that scatter by so much."""
    days = 1000 + sd_w * np.sqrt(5 / 6) * np.array([-1.0, 1.0] * 3)[:, None]
    return compared(np.array([1000.0 + excess_w]), days, WINDOW)


def test_shares_are_of_homes_and_days():
    """Of two homes the first lies 250 W above usual, the second below, on twenty days; one is not known."""
    homes = [[seen(250.0)] * 20, [None, *[seen(-250.0)] * 19]]
    row = row_of("10of10", homes)
    assert (row.homes, row.days) == (2, 20)
    assert row.raised_percent == pytest.approx(100 * 20 / 39)
    assert row.lowered_percent == pytest.approx(100 * 19 / 39)
    assert row.seen_percent[:2] == pytest.approx((100 * 20 / 39, 100))
    assert row.systematic_percent == 50
    assert row.seen_season_percent == (50, 100, 100, 100)


def test_the_days_are_weekdays_without_an_event():
    (home,) = population(1)
    found = of_home(home, "10of10")
    assert len(found) == 54
    assert all(one.starts_at.weekday() < 5 for one in found)
    assert all((one.starts_at.hour, one.ends_at.hour, one.days) == (13, 16, 10) for one in found)
