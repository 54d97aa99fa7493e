from datetime import date, timedelta

import numpy as np
import pytest

from metrics import Placebo
from metrics.uncertainty import LEAST_DAYS, t95, uncertainty

FIRST = date(2026, 1, 5)


def homes(errors, skipped=()):
    """Return placebos of (days, homes) errors, without those (day, home) that are skipped."""
    found = []
    for column, own in enumerate(np.asarray(errors, float).T):
        rows = [row for row in range(own.size) if (row, column) not in skipped]
        dates = tuple(FIRST + timedelta(days=row) for row in rows)
        found.append(Placebo(dates, own[rows], np.full(len(rows), 500.0)))
    return found


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 6.314), (7, 1.895), (30, 1.697), (31, 1.6955), (40, 1.684), (60, 1.671), (120, 1.658)]
)
def test_quantiles_of_students_t(freedom, quantile):
    assert t95(freedom) == pytest.approx(quantile, abs=6e-4)


def test_width_and_bias_of_a_pool_that_is_known_whole():
    errors = np.random.default_rng(1).normal(40, 100, (12, 5))
    found = uncertainty(homes(errors), 5)
    sums = errors.sum(axis=1)
    assert found.days == 12
    assert found.bias_wh == pytest.approx(sums.mean())
    assert found.half_width_wh == pytest.approx(1.796 * sums.std(ddof=1) * np.sqrt(13 / 12))


def test_a_constant_error_is_all_bias():
    found = uncertainty(homes(np.full((10, 3), 70.0)), 3)
    assert (found.half_width_wh, found.bias_wh) == pytest.approx((0, 210))


def test_a_sample_speaks_for_any_size():
    rng = np.random.default_rng(2)
    common = rng.normal(0, 20, (400, 1))
    errors = common + rng.normal(5, 100, (400, 1000))
    whole, part = uncertainty(homes(errors), 1000), uncertainty(homes(errors[:, :60]), 1000)
    assert part.half_width_wh == pytest.approx(whole.half_width_wh, rel=0.15)
    assert part.bias_wh == pytest.approx(whole.bias_wh, rel=0.25)
    independent = rng.normal(0, 100, (400, 60))
    alone = uncertainty(homes(independent), 6000)
    assert alone.half_width_wh < 3 * t95(399) * 100 * np.sqrt(6000), "errors that cancel grow with the root"


def test_days_that_some_homes_lack_count_and_homes_that_lack_many_stand_aside():
    errors = np.full((12, 10), 10.0)
    assert uncertainty(homes(errors, {(3, 1), (4, 2)}), 10).days == 12
    assert uncertainty(homes(errors, {(3, n) for n in range(5)}), 10).days == 11
    young = {(row, 0) for row in range(8)}
    found = uncertainty(homes(errors, young), 10)
    assert (found.days, found.bias_wh) == (12, pytest.approx(100))


def test_too_few_days_say_nothing():
    assert uncertainty(homes(np.zeros((LEAST_DAYS, 2))), 2) is not None
    assert uncertainty(homes(np.zeros((LEAST_DAYS - 1, 2))), 2) is None
    assert uncertainty([], 0) is None
    assert uncertainty(homes(np.zeros((0, 2))), 2) is None


def test_a_home_of_which_a_single_day_is_known_says_nothing_of_the_spread():
    rng = np.random.default_rng(3)
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(40)]

    def seen(some):
        return Placebo(tuple(some), rng.normal(size=len(some)), np.ones(len(some)))

    many = [seen(days[:20]) for _ in range(9)]
    for late in (days[20:30], days[19:30]):
        found = uncertainty([*many, seen(late)], 50)
        assert np.isfinite([found.half_width_wh, found.bias_wh]).all()
