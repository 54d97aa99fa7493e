from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from core.errors import InvalidError
from core.spans import Span
from metrics import (
    PRESETS,
    Calendar,
    Direction,
    Placebo,
    accuracy,
    day_matrix,
    on_common_days,
    placebo,
    pool_placebo,
    series,
)

NAN = float("nan")
START = datetime(2013, 1, 1, tzinfo=UTC)
EVENT = Span(datetime(2013, 3, 14, 17, tzinfo=UTC), datetime(2013, 3, 14, 19, tzinfo=UTC))
RULE = PRESETS["high5of10"]


def home(seed, holes=()):
    energy = np.random.default_rng(seed).uniform(50, 900, 80 * 48)
    for day, slot in holes:
        energy[day * 48 + slot] = NAN
    return day_matrix(series(int(START.timestamp()) + np.arange(energy.size) * 1800, energy, 1800), "UTC")


def test_placebo_days_are_ordinary_days():
    other = Span(datetime(2013, 3, 7, 9, tzinfo=UTC), datetime(2013, 3, 7, 10, tzinfo=UTC))
    calendar = Calendar(events=(other,), holidays=frozenset({datetime(2013, 3, 4, tzinfo=UTC).date()}))
    matrix = home(1, holes=[(60, 35)])  # 2013-03-02 is a Saturday
    found = placebo(matrix, EVENT, RULE, calendar)
    assert found.dates == tuple(sorted(found.dates))
    assert all(day.isoweekday() <= 5 for day in found.dates)
    assert not {other.start.date(), EVENT.start.date(), datetime(2013, 3, 4, tzinfo=UTC).date()} & set(found.dates)
    assert found.dates[-1] == datetime(2013, 3, 13, tzinfo=UTC).date()
    assert found.dates[0] == datetime(2013, 1, 8, tzinfo=UTC).date()  # the first with five weekdays before it


def test_a_placebo_is_the_same_baseline_on_another_day():
    matrix = home(2)
    found = placebo(matrix, EVENT, RULE, notified_at=EVENT.start - timedelta(hours=4))
    for day, error in zip(found.dates, found.delivered_wh, strict=True):
        start = datetime(day.year, day.month, day.day, 17, tzinfo=UTC)
        window = Span(start, start + timedelta(hours=2))
        alone = RULE.baseline(matrix, window, Calendar(events=(EVENT,)), notified_at=start - timedelta(hours=4))
        assert error == pytest.approx((alone.baseline_wh - alone.actual_wh).sum())
    assert found.bias_wh == pytest.approx(np.mean(found.delivered_wh))
    assert found.sd_wh == pytest.approx(np.std(found.delivered_wh, ddof=1))


def test_days_with_gaps_are_no_placebo():
    whole, holed = placebo(home(3), EVENT, RULE), placebo(home(3, holes=[(71, 35)]), EVENT, RULE)  # 2013-03-13
    assert set(whole.dates) - set(holed.dates) == {datetime(2013, 3, 13, tzinfo=UTC).date()}


def test_a_pools_placebo_sums_the_homes_on_common_days():
    homes = [placebo(home(4), EVENT, RULE), placebo(home(5, holes=[(71, 35)]), EVENT, RULE)]
    pool = pool_placebo(homes)
    assert pool.dates == homes[1].dates
    assert pool.delivered_wh[0] == pytest.approx(homes[0].delivered_wh[0] + homes[1].delivered_wh[0])
    assert pool.actual_wh[0] == pytest.approx(homes[0].actual_wh[0] + homes[1].actual_wh[0])
    with pytest.raises(InvalidError):
        pool_placebo([])


def test_rules_are_compared_on_the_days_that_all_of_them_have():
    whole, holed = (placebo(home(4, holes=holes), EVENT, RULE) for holes in ([], [(71, 35)]))
    few, all_but_one = on_common_days([whole, holed])
    assert few.dates == all_but_one.dates == holed.dates
    assert few.delivered_wh.tolist() == [
        error for day, error in zip(whole.dates, whole.delivered_wh, strict=True) if day in holed.dates
    ]
    assert on_common_days([]) == []


def test_increase_turns_the_sign():
    reduce = placebo(home(6), EVENT, RULE)
    increase = placebo(home(6), EVENT, RULE, direction=Direction.INCREASE)
    assert np.array_equal(increase.delivered_wh, -reduce.delivered_wh)


def test_a_steady_home_has_no_error():
    matrix = day_matrix(
        series(int(START.timestamp()) + np.arange(80 * 48) * 1800, np.full(80 * 48, 300.0), 1800), "UTC"
    )
    found = placebo(matrix, EVENT, replace(RULE, x=10))
    assert found.bias_wh == found.sd_wh == 0
    assert (found.actual_wh == 1200).all()


def test_too_little_history_for_a_spread():
    empty = placebo(day_matrix(series([], [], 1800), "UTC"), EVENT, RULE)
    assert empty.dates == ()
    assert np.isnan([empty.bias_wh, empty.sd_wh]).all()
    assert np.isnan(Placebo((START.date(),), np.ones(1), np.ones(1)).sd_wh)


DAYS = tuple(date(2013, 3, day) for day in (4, 5, 6, 7))


def told(errors_wh, used_wh, days=DAYS):
    return Placebo(days, np.array(errors_wh, float), np.array(used_wh, float))


def test_accuracy_is_of_the_pool_and_of_the_homes():
    found = accuracy([told([10, -10, 10, -10], [100] * 4), told([-10, 10, 30, 10], [100, 300, 100, 300])])
    assert (found.homes, found.days) == (2, 4)
    assert found.bias == pytest.approx(10 / 300)  # (0 + 0 + 40 + 0) / 4 of (200 + 400 + 200 + 400) / 4
    assert found.pool_rmse == pytest.approx(20 / 300)
    assert found.home_rmse == pytest.approx((10 / 100 + np.sqrt(300) / 200) / 2)


def test_a_home_with_few_days_does_not_take_them_from_the_others():
    whole, half, short = told([1] * 4, [10] * 4), told([3] * 2, [10] * 2, DAYS[:2]), told([5], [10], DAYS[:1])
    assert accuracy([whole, half, short]) == accuracy([whole, half])
    assert (accuracy([whole, half]).homes, accuracy([whole, half]).days) == (2, 2)


def test_where_nothing_is_known_there_is_no_accuracy():
    for homes in ([], [told([], [], ())], [told([1.0, -1.0], [0, 0], DAYS[:2])]):
        found = accuracy(homes)
        assert np.isnan([found.bias, found.pool_rmse, found.home_rmse]).all()


def test_an_exporting_home_has_a_positive_error():
    found = accuracy([told([10, -10], [-100, -100], DAYS[:2])])
    assert found.pool_rmse == pytest.approx(0.1)


def test_one_in_so_many_days_is_tried_counted_from_the_event_back():
    matrix = home(1)
    everything = placebo(matrix, EVENT, RULE)
    some = placebo(matrix, EVENT, RULE, every=3)
    assert set(some.dates) < set(everything.dates)
    assert some.dates[-1] == everything.dates[-1]
    np.testing.assert_allclose(some.delivered_wh, everything.on(some.dates).delivered_wh)
