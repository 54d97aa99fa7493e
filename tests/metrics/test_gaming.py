"""What looks odd before an event: by hand, by what must not matter, and how often chance alone does it."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.direction import Direction
from core.spans import Span
from metrics import PRESETS, Calendar, day_matrix, series
from metrics.gaming import Flag, compared, flags, load_before, ramp, stands_out

START = datetime(2026, 1, 30, 17, tzinfo=UTC)  # a Friday
EVENT = Span(START, START + timedelta(hours=2))
WINDOW = Span(START - timedelta(hours=4), START - timedelta(hours=1))
LIKE = (400.0, 500.0, 600.0, 500.0, 500.0)  # mean 500, standard deviation sqrt(20,000 / 4) = 70.71
DAYS = 40
STEP_S = 900
SLOTS = 86_400 // STEP_S


def of_days(today: float, days=LIKE, direction=Direction.REDUCE):
    return compared(np.full(4, today), np.repeat(np.array(days, float)[:, None], 4, axis=1), WINDOW, direction)


def at_home(*, today_w=1500.0, between=(13, 16), missing=()):
    """Return the days of a home: 300 W, 20 W more every other day; on the last day `today_w` between some hours."""
    first = START.replace(hour=0) - timedelta(days=DAYS)
    load_w = np.full((DAYS + 1, SLOTS), 300.0)
    load_w[::2] += 20
    load_w[-1] = 300.0
    load_w[-1, between[0] * 4 : between[1] * 4] = today_w
    for hour in missing:
        load_w[-1, hour * 4 : hour * 4 + 4] = np.nan
    starts_s = int(first.timestamp()) + np.arange(load_w.size) * STEP_S
    return day_matrix(series(starts_s, load_w.ravel() * STEP_S / 3600, STEP_S), "UTC")


def before(matrix, preset="10of10", *, notified_at=None, calendar=None, direction=Direction.REDUCE):
    calendar = calendar or Calendar()
    found = PRESETS[preset].baseline(matrix, EVENT, calendar, notified_at=notified_at)
    return load_before(matrix, EVENT, found, calendar, notified_at=notified_at, direction=direction)


# -- by hand


@pytest.mark.parametrize(
    ("today", "odd"),
    [(650.0, True), (640.0, False), (350.0, False), (500.0, False)],  # 2 standard deviations are 141.42
)
def test_more_than_two_standard_deviations_above_like_days_stand_out(today, odd):
    seen = of_days(today)
    assert (seen.actual_w, seen.usual_w, seen.days) == (today, 500, 5)
    assert seen.sd_w == pytest.approx(math.sqrt(5000))
    assert seen.excess_w == today - 500
    assert seen.z == pytest.approx((today - 500) / math.sqrt(5000))
    assert stands_out(seen) is odd
    assert flags(seen, Direction.REDUCE) == ((Flag.RAISED_BEFORE,) if odd else ())


@pytest.mark.parametrize(("today", "odd"), [(350.0, True), (360.0, False), (650.0, False)])
def test_before_an_increase_it_is_less_that_stands_out(today, odd):
    seen = of_days(today, direction=Direction.INCREASE)
    assert seen.excess_w == 500 - today
    assert flags(seen, Direction.INCREASE) == ((Flag.LOWERED_BEFORE,) if odd else ())


@pytest.mark.parametrize(("today", "odd"), [(399.0, False), (400.0, True)])
def test_where_days_are_all_alike_it_takes_a_hundred_watts(today, odd):
    seen = of_days(today, (300.0,) * 6)
    assert (seen.sd_w, seen.z) == (0, None)
    assert stands_out(seen) is odd


def test_days_that_differ_by_roundings_do_not_differ():
    seen = of_days(300.0, (0.1 + 0.2, 0.3, 0.3, 0.3, 0.3))
    assert (seen.sd_w, seen.z) == (0, None)


def test_fewer_than_five_like_days_say_nothing():
    assert of_days(5000.0, LIKE[:4]) is None
    assert flags(None, Direction.REDUCE) == ()


def test_a_day_with_a_gap_counts_if_it_is_small():
    loads = np.repeat(np.array([*LIKE, 9000.0])[:, None], 20, axis=1)
    loads[0, :2] = np.nan
    loads[5, :3] = np.nan
    seen = compared(np.full(20, 650.0), loads, WINDOW)
    assert (seen.days, seen.usual_w) == (5, 500)
    loads[1, 5:9] = np.nan
    assert compared(np.full(20, 650.0), loads, WINDOW) is None


@pytest.mark.parametrize(
    ("excesses", "mean_w", "floor_w", "systematic"),
    [
        ((100, 200, 300, 200, 200), 200, 200 - 2.132 * math.sqrt(5000 / 5), True),
        ((90, 90, 90, 90, 90), 90, 90, False),  # certain, and too little
        ((1000, 0, 0, 0, 0), 200, 200 - 2.132 * 200, False),  # once is chance
        ((-300, -200, -400, -300, -300), -300, -300 - 2.132 * math.sqrt(5000 / 5), False),
    ],
)
def test_a_ramp_is_systematic_if_its_mean_is_significantly_above_nothing(excesses, mean_w, floor_w, systematic):
    found = ramp(5, float(sum(excesses)), float(sum(one**2 for one in excesses)))
    assert (found.events, found.mean_w, found.floor_w) == pytest.approx((5, mean_w, floor_w))
    assert found.is_systematic() is systematic


def test_of_four_events_nothing_is_called_systematic():
    assert ramp(4, 40_000.0, 4e8) is None
    assert ramp(0, 0.0, 0.0) is None


# -- the hours that count


def test_the_hours_are_those_of_the_adjustment():
    seen = before(at_home())
    assert (seen.starts_at, seen.ends_at) == (WINDOW.start, WINDOW.end)
    assert (seen.actual_w, seen.usual_w, seen.days) == pytest.approx((1500, 310, 10))
    assert flags(seen, Direction.REDUCE) == (Flag.RAISED_BEFORE,)
    assert flags(before(at_home(today_w=310.0)), Direction.REDUCE) == ()
    assert flags(before(at_home(today_w=0.0), direction=Direction.INCREASE), Direction.INCREASE) == (
        Flag.LOWERED_BEFORE,
    )


def test_what_is_used_after_the_notice_does_not_count():
    """Who heats ahead from 13:00 on, since it was told so at 12:30, is not meant."""
    notice = START - timedelta(hours=4, minutes=30)
    seen = before(at_home(), notified_at=notice)
    assert (seen.starts_at, seen.ends_at) == (notice - timedelta(hours=3), notice)
    assert seen.actual_w == 300
    assert not stands_out(seen)
    assert stands_out(before(at_home(between=(10, 13)), notified_at=notice))


@pytest.mark.parametrize("preset", ["10of10-unadjusted", "match-day-3", "time-of-week"])
def test_a_method_without_such_hours_is_asked_of_three_to_one_before(preset):
    seen = before(at_home(), preset)
    assert (seen.starts_at, seen.ends_at) == (START - timedelta(hours=3), START - timedelta(hours=1))
    assert seen.days == {"10of10-unadjusted": 10}.get(preset, 20)
    assert stands_out(seen)
    seen = before(at_home(), preset, notified_at=START - timedelta(hours=5))
    assert seen.ends_at == START - timedelta(hours=5)
    assert not stands_out(seen)


@pytest.mark.parametrize("preset", ["10of10", "10of10-unadjusted"])
def test_where_the_notice_leaves_no_hours_nothing_is_known(preset):
    assert before(at_home(), preset, notified_at=START - timedelta(hours=23)) is None


@pytest.mark.parametrize("preset", ["meter-before", "same-day-3plus2"])
def test_methods_of_the_same_day_look_at_no_like_days(preset):
    assert before(at_home(), preset) is None


def test_hours_that_were_not_measured_or_belong_to_another_event_say_nothing():
    assert before(at_home(missing=(14,))) is None
    other = Span(START - timedelta(hours=3), START - timedelta(hours=2))
    assert before(at_home(), calendar=Calendar(events=(other,))) is None
    assert before(at_home(), calendar=Calendar(outages=(other,))) is None
    earlier = Span(START - timedelta(hours=9), START - timedelta(hours=8))
    assert stands_out(before(at_home(), calendar=Calendar(events=(earlier,))))


def test_days_with_events_are_no_like_days():
    busy = START - timedelta(days=1)
    seen = before(at_home(), calendar=Calendar(events=(Span(busy, busy + timedelta(hours=1)),)))
    assert seen.days == 10
    assert seen.usual_w == pytest.approx(310)


# -- what must not matter

_LOADS = st.integers(5, 12).flatmap(
    lambda days: st.tuples(
        arrays(np.float64, (days, 4), elements=st.integers(-3000, 9000).map(float)),
        arrays(np.float64, 4, elements=st.integers(-3000, 9000).map(float)),
        st.sampled_from(Direction),
    )
)


def clear(seen, least=100.0):
    """Tell whether a load does not lie just at an edge, where roundings decide."""
    return abs(seen.excess_w - 2 * seen.sd_w) > 1e-3 and abs(seen.excess_w - least) > 1e-3


@given(_LOADS, st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(loads, factor):
    days, today, direction = loads
    seen = compared(today, days, WINDOW, direction)
    assume(clear(seen))
    other = compared(today * factor, days * factor, WINDOW, direction)
    assert stands_out(other, 100.0 * factor) is stands_out(seen)
    assert (other.z is None) is (seen.z is None)
    if seen.z is not None:
        assert other.z == pytest.approx(seen.z, rel=1e-6, abs=1e-9)


@given(_LOADS, st.integers(-5000, 5000))
def test_what_is_added_to_all_days_does_not_matter(loads, more):
    days, today, direction = loads
    seen = compared(today, days, WINDOW, direction)
    assume(clear(seen))
    other = compared(today + more, days + more, WINDOW, direction)
    assert stands_out(other) is stands_out(seen)
    assert (other.excess_w, other.sd_w) == pytest.approx((seen.excess_w, seen.sd_w), rel=1e-6, abs=1e-6)


@given(_LOADS)
def test_an_increase_is_a_reduction_upside_down(loads):
    days, today, direction = loads
    seen, mirrored = compared(today, days, WINDOW, direction), compared(-today, -days, WINDOW, direction.opposite)
    assert (mirrored.excess_w, mirrored.sd_w, mirrored.z) == (seen.excess_w, seen.sd_w, seen.z)


@given(_LOADS, st.randoms(use_true_random=False))
def test_the_order_of_the_days_does_not_matter(loads, random):
    days, today, direction = loads
    order = random.sample(range(len(days)), len(days))
    seen, other = compared(today, days, WINDOW, direction), compared(today, days[order], WINDOW, direction)
    assert (other.excess_w, other.sd_w) == pytest.approx((seen.excess_w, seen.sd_w), rel=1e-9, abs=1e-9)


# -- how often chance alone does it


@pytest.mark.parametrize(
    ("days", "expected"),
    [(5, 0.0709), (10, 0.0444), (20, 0.0331)],  # P(t > 2 / sqrt(1 + 1 / n)) with n - 1 degrees of freedom
)
@pytest.mark.parametrize("direction", Direction)
def test_chance_alone_is_marked_about_as_often_as_it_should_be(days, expected, direction):
    rng, homes = np.random.default_rng(days), 3000
    odd = sum(
        stands_out(compared(rng.normal(4000, 2000, 12), rng.normal(4000, 2000, (days, 12)), WINDOW, direction))
        for _ in range(homes)
    )
    assert odd / homes == pytest.approx(expected, abs=4 * math.sqrt(expected / homes))


def test_chance_alone_is_seldom_called_systematic():
    rng, homes = np.random.default_rng(1), 4000
    excess = rng.normal(0, 500, (homes, 8))
    odd = sum(ramp(8, float(one.sum()), float((one**2).sum())).is_systematic() for one in excess)
    assert 0.035 < odd / homes < 0.065


def test_who_does_it_each_time_is_seen():
    rng, homes = np.random.default_rng(2), 500
    excess = rng.normal(800, 500, (homes, 8))
    odd = sum(ramp(8, float(one.sum()), float((one**2).sum())).is_systematic() for one in excess)
    assert odd / homes > 0.95
