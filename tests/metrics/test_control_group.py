"""Baselines out of a control group: hand-worked differences in differences, guards, gaps, and what must cancel."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.spans import Span
from metrics import (
    AdjustmentKind,
    AdjustmentStatus,
    Calendar,
    ControlGroup,
    ControlMean,
    DayMatrix,
    DayType,
    NoBaselineError,
    NoBasisError,
    Verdict,
    Window,
    day_matrix,
    placebo,
    series,
)
from metrics.needs import Need

RULE = ControlGroup("control", 1, "A test.", windows=(Window(-4 * 3600, -3600),), min_homes=2)
RATIO = replace(RULE, adjustment=AdjustmentKind.RATIO)
DAY = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
EVENT = Span(DAY + timedelta(hours=12), DAY + timedelta(hours=14))
HOURS = 24
SEEDS = st.integers(0, 2**32 - 1)


def starts_of(count: int) -> np.ndarray:
    return int(DAY.timestamp()) + 3600 * np.arange(count)


def hourly(loads_w: np.ndarray) -> DayMatrix:
    return day_matrix(series(starts_of(len(loads_w)), loads_w, 3600), "UTC")


def control_of(homes: np.ndarray, *, events: tuple[Span, ...] = ()) -> Calendar:
    """Return a calendar with the means of homes (k, hours)."""
    mean = ControlMean(starts_of(homes.shape[1]), 3600)
    mean.add(homes)
    return Calendar(events=events, control=mean.control())


def worked() -> tuple[np.ndarray, np.ndarray]:
    """Return a home's day (24,) and those of two control homes (2, 24), W.

    Control, mean of both: 400 W from 8 to 11, then 700 and 900 W in the event. The home: 250, 300 and 350 W from 8 to
    11, 100 and 200 W in the event.
    """
    own, control = np.full(HOURS, 9_999.0), np.full((2, HOURS), 7_777.0)
    own[[8, 9, 10, 12, 13]] = [250, 300, 350, 100, 200]
    control[0, [8, 9, 10, 12, 13]] = [300, 300, 300, 600, 800]
    control[1, [8, 9, 10, 12, 13]] = [500, 500, 500, 800, 1000]
    return own, control


def test_the_control_is_shifted_by_how_much_the_home_differed_before():
    """T = 300, C = 400: the baseline is 700 - 100 and 900 - 100, so 500 and 600 Wh were delivered.

    As a difference in differences, of the event's means: (800 - 400) - (150 - 300) = 550 W, the mean of 500 and 600.
    """
    own, control = worked()
    found = RULE.baseline(hourly(own), EVENT, control_of(control))
    np.testing.assert_allclose(found.unadjusted_wh, [700, 900])
    np.testing.assert_allclose(found.baseline_wh, [600, 800])
    np.testing.assert_allclose(found.baseline_wh - found.actual_wh, [500, 600])
    change = found.adjustment
    assert (change.kind, change.factor, change.shift) == (AdjustmentKind.ADDITIVE, 1.0, pytest.approx(-100.0))
    assert (change.baseline, change.actual) == (pytest.approx(400.0), pytest.approx(300.0))
    assert found.status is AdjustmentStatus.APPLIED
    assert found.windows == (Span(DAY + timedelta(hours=8), DAY + timedelta(hours=11)),)
    (use,) = found.days
    assert (use.day, use.verdict, use.coverage, use.mean_w) == (date(2026, 3, 2), Verdict.KEPT, 1.0, 800.0)


def test_or_scaled_by_the_ratio():
    """T / C = 300 / 400: 700 x 0.75 and 900 x 0.75."""
    own, control = worked()
    found = RATIO.baseline(hourly(own), EVENT, control_of(control))
    np.testing.assert_allclose(found.baseline_wh, [525, 675])
    assert (found.adjustment.kind, found.adjustment.factor) == (AdjustmentKind.RATIO, 0.75)


@pytest.mark.parametrize(
    ("where", "hour"),
    [
        pytest.param("control", 13, id="the control exports in the event"),
        pytest.param("control", 8, id="the control exports before it"),
        pytest.param("own", 8, id="the home exports before it"),
    ],
)
def test_a_ratio_never_works_across_zero(where, hour):
    own, control = worked()
    (own if where == "own" else control)[..., hour] = -50.0
    calendar = control_of(control)
    found = RATIO.baseline(hourly(own), EVENT, calendar)
    assert found.adjustment.kind is AdjustmentKind.ADDITIVE
    np.testing.assert_allclose(found.baseline_wh, RULE.baseline(hourly(own), EVENT, calendar).baseline_wh)


def test_a_ratio_to_almost_nothing_means_nothing():
    """C = 0.5 W, below the floor of 1 W: 700 + (300 - 0.5), and not 700 x 600."""
    own, control = worked()
    control[:, 8:11] = 0.5
    found = RATIO.baseline(hourly(own), EVENT, control_of(control))
    np.testing.assert_allclose(found.baseline_wh, [999.5, 1199.5])


def test_a_home_that_exports_may_have_a_baseline_below_zero():
    own, control = worked()
    own[8:11] = -800.0  # T - C = -1200
    found = RULE.baseline(hourly(own), EVENT, control_of(control))
    np.testing.assert_allclose(found.baseline_wh, [-500, -300])


def test_who_knows_of_the_event_is_compared_before_that():
    """Notified at 9: from 6 to 9 the home has 100 W and the control 300 W, so 700 - 200 and 900 - 200."""
    own, control = worked()
    own[6:9], control[:, 6:9] = 100.0, 300.0
    found = RULE.baseline(hourly(own), EVENT, control_of(control), notified_at=DAY + timedelta(hours=9))
    np.testing.assert_allclose(found.baseline_wh, [500, 700])
    assert found.status is AdjustmentStatus.MOVED
    assert found.windows == (Span(DAY + timedelta(hours=6), DAY + timedelta(hours=9)),)


def test_the_means_are_of_the_hours_of_which_both_are_known():
    """The home lacks 9 o'clock, when the control had 1,000 W: T = 300 and C = 400 of the other two hours."""
    own, control = worked()
    own[9], control[:, 9] = np.nan, 1000.0
    calendar = control_of(control)
    found = replace(RULE, coverage=0.6).baseline(hourly(own), EVENT, calendar)
    np.testing.assert_allclose(found.baseline_wh, [600, 800])
    with pytest.raises(NoBaselineError, match="hours before the event") as caught:
        RULE.baseline(hourly(own), EVENT, calendar)
    assert caught.value.days[0].coverage == pytest.approx(2 / 3)
    assert not isinstance(caught.value, NoBasisError)


def test_an_hour_with_too_few_control_homes_is_a_gap():
    own, control = worked()
    control[1, 12] = np.nan
    found = RULE.baseline(hourly(own), EVENT, control_of(control))
    assert np.isnan(found.baseline_wh[0])
    assert found.baseline_wh[1] == pytest.approx(800)


def test_without_a_control_group_there_is_no_baseline():
    own, control = worked()
    with pytest.raises(NoBasisError, match="needs a control group, and there is none"):
        RULE.baseline(hourly(own), EVENT)
    with pytest.raises(NoBasisError, match="3 homes of the control group in the hours of the event, and 2 are known"):
        replace(RULE, min_homes=3).baseline(hourly(own), EVENT, control_of(control))
    control[:, 9:11] = np.nan
    with pytest.raises(NoBasisError, match="2 homes of the control group in the hours before it"):
        RULE.baseline(hourly(own), EVENT, control_of(control))
    with pytest.raises(NoBasisError, match="and 0 are known"):
        RULE.baseline(hourly(own), EVENT, control_of(np.zeros((0, HOURS))))


def test_what_is_disturbed_says_nothing():
    own, control = worked()
    other = (Span(DAY + timedelta(hours=8), DAY + timedelta(hours=9)),)
    with pytest.raises(NoBasisError, match="another event or an outage lies in them"):
        RULE.baseline(hourly(own), EVENT, control_of(control, events=other))
    with pytest.raises(NoBaselineError, match="hours before"):  # a notice of two days leaves no window
        RULE.baseline(hourly(own), EVENT, control_of(control), notified_at=DAY - timedelta(days=2))


def test_intervals_of_another_length_are_refused():
    own, _ = worked()
    mean = ControlMean(starts_of(HOURS), 900)
    with pytest.raises(InvalidError, match="intervals"):
        RULE.baseline(hourly(own), EVENT, Calendar(control=mean.control()))
    with pytest.raises(InvalidError, match="24 intervals"):
        mean.add(np.zeros((2, 23)))


def test_senseless_rules_are_refused():
    assert RULE.alike(DayType.HOLIDAY) == (DayType.WEEKEND, DayType.HOLIDAY)
    assert (RULE.needs, RULE.reach_s) == ({Need.CONTROL}, 0)
    for wrong in ({"windows": ()}, {"coverage": 0.0}, {"min_homes": 0}, {"ratio_floor_w": -1.0}):
        with pytest.raises(InvalidError):
            replace(RULE, **wrong)


def loads(seed: int, homes: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 5000, (homes, HOURS))


@given(st.floats(0.001, 1000), SEEDS, st.sampled_from((RULE, replace(RATIO, ratio_floor_w=0.0))))
def test_twice_the_loads_are_twice_the_baseline(scale, seed, rule):
    own, *control = loads(seed)
    once = rule.baseline(hourly(own), EVENT, control_of(np.array(control)))
    scaled = rule.baseline(hourly(own * scale), EVENT, control_of(np.array(control) * scale))
    assert once.adjustment.kind is rule.adjustment
    np.testing.assert_allclose(scaled.baseline_wh, once.baseline_wh * scale, rtol=1e-9, atol=1e-9 * scale)


@given(SEEDS, st.permutations(range(11)), st.integers(0, 11))
def test_in_which_order_control_homes_come_changes_nothing(seed, order, cut):
    own, *control = loads(seed)
    homes = np.array(control)
    mean = ControlMean(starts_of(HOURS), 3600)
    for some in (homes[order][:cut], homes[order][cut:]):
        mean.add(some)
    once = RULE.baseline(hourly(own), EVENT, control_of(homes)).baseline_wh
    shuffled = RULE.baseline(hourly(own), EVENT, Calendar(control=mean.control())).baseline_wh
    np.testing.assert_allclose(shuffled, once)


@given(SEEDS, st.floats(-4000, 4000))
def test_what_hits_all_homes_alike_cancels(seed, shock_w):
    """A warm afternoon changes the baseline of every home by as much as its use: what is delivered stays."""
    homes = loads(seed)
    warm = homes.copy()
    warm[:, 12:14] += shock_w
    results = []
    for own, *control in (homes, warm):
        found = RULE.baseline(hourly(own), EVENT, control_of(np.array(control)))
        results.append(found.baseline_wh - found.actual_wh)
    np.testing.assert_allclose(results[1], results[0], atol=1e-8)


@given(SEEDS, st.sampled_from((RULE, RATIO)))
def test_who_uses_what_the_control_uses_delivered_nothing(seed, rule):
    homes = np.tile(loads(seed, 1), (3, 1))
    found = rule.baseline(hourly(homes[0]), EVENT, control_of(homes))
    np.testing.assert_allclose(found.baseline_wh, found.actual_wh, atol=1e-9)


def test_its_own_error_is_asked_on_days_without_an_event():
    """Every day the control rises by 50 W at noon, and the home by 20 W: the baseline is 30 W too high."""
    day = np.concatenate((np.full(12, 100.0), np.full(12, 150.0)))
    own = np.concatenate((np.full(12, 300.0), np.full(12, 320.0)))
    event = Span(EVENT.start + timedelta(days=14), EVENT.start + timedelta(days=14, hours=1))
    found = placebo(hourly(np.tile(own, 15)), event, RULE, control_of(np.tile(day, (2, 15))))
    assert len(found.dates) == 10  # Mondays to Fridays of two weeks
    np.testing.assert_allclose(found.delivered_wh, 30.0)
