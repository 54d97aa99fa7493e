"""Hand-checked figures: ten eligible days, newest first, and one event day."""

from dataclasses import replace

import numpy as np
import pytest

from core.errors import InvalidError
from metrics import (
    DEFAULT_PRESET,
    PRESETS,
    AdjustmentKind,
    DayMatch,
    DayType,
    Keep,
    Match,
    Rank,
    Window,
    delivered,
    match,
    nmbe,
    rrmse,
)

EVENT_KW = np.array([100, 104, 96, 110, 90, 120, 98, 102, 106, 94], float)[:, None]
BEFORE_KW = np.array([80, 84, 76, 88, 72, 96, 78, 82, 84, 76], float)[:, None]
ACTUAL_KW = 70.0

RATIO_20 = DayMatch(
    "test",
    1,
    "",
    y=10,
    x=10,
    keep=Keep.ALL,
    adjustment=AdjustmentKind.RATIO,
    windows=(Window(-10800, -3600),),
    cap=(0.8, 1.2),
)
ADDITIVE = replace(RATIO_20, adjustment=AdjustmentKind.ADDITIVE)


def solve(rule: DayMatch, before_kw: float = 90.0) -> Match:
    return match(rule, EVENT_KW, BEFORE_KW, before_kw)


@pytest.mark.parametrize(
    ("rule", "unadjusted", "before", "factor", "adjusted", "credited"),
    [
        pytest.param(RATIO_20, 102.0, 81.6, 1.102941, 112.5, 42.5, id="10 of 10, ratio"),
        pytest.param(PRESETS["10of10"], 102.0, 81.6, 1.102941, 112.5, 42.5, id="10of10"),
        pytest.param(PRESETS["mid8of10"], 101.25, 81.0, None, 110.25, 40.25, id="mid8of10"),
        pytest.param(PRESETS["high5of10"], 108.4, 86.8, 1.036866, 112.396313, 42.396313, id="high5of10"),
        pytest.param(PRESETS["high3of10"], 112.0, 89.333333, None, 112.666667, 42.666667, id="high3of10"),
        pytest.param(PRESETS["high3of5"], 104.666667, 84.0, 1.071429, 112.142857, 42.142857, id="high3of5"),
        pytest.param(PRESETS["high4of5"], 102.5, 82.0, None, 110.5, 40.5, id="high4of5"),
        pytest.param(PRESETS["10of10-upward"], 102.0, 81.6, None, 110.4, 40.4, id="10of10-upward"),
        pytest.param(PRESETS["20of20"], 102.0, 81.6, None, 110.4, 40.4, id="20of20, of which there are ten"),
        pytest.param(replace(ADDITIVE, x=5, keep=Keep.HIGH), 108.4, 86.8, None, 111.6, 41.6, id="high 5 of 10, add"),
        pytest.param(replace(ADDITIVE, x=8, keep=Keep.MID), 101.25, 81.0, None, 110.25, 40.25, id="mid 8 of 10, add"),
        pytest.param(
            replace(RATIO_20, y=5, x=3, keep=Keep.HIGH, cap=(0.6, 1.4)),
            104.666667,
            84.0,
            1.071429,
            112.142857,
            42.142857,
            id="high 3 of 5, ratio within 40 %",
        ),
    ],
)
def test_adjusted_baselines(rule, unadjusted, before, factor, adjusted, credited):
    found = solve(rule)
    assert found.unadjusted[0] == pytest.approx(unadjusted, abs=1e-6)
    assert found.adjustment.baseline == pytest.approx(before, abs=1e-6)
    assert found.baseline[0] == pytest.approx(adjusted, abs=1e-6)
    assert delivered(found.baseline, np.array([ACTUAL_KW]))[0] == pytest.approx(credited, abs=1e-6)
    if factor is None:
        assert found.adjustment.kind is AdjustmentKind.ADDITIVE
    else:
        assert found.adjustment.factor == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize(("today", "shift"), [(600.0, 100.0), (400.0, 0.0)])
def test_an_upward_only_adjustment_never_lowers(today, shift):
    found = match(PRESETS["10of10-upward"], np.full((10, 1), 500.0), np.full((10, 1), 500.0), today)
    assert found.adjustment.shift == shift
    assert found.baseline[0] == 500.0 + shift


def test_without_an_adjustment_the_day_itself_changes_nothing():
    found = solve(PRESETS["10of10-unadjusted"])
    assert found.baseline[0] == found.unadjusted[0] == 102.0
    assert found.adjustment.kind is None


def test_high_15_of_20_keeps_other_days_in_each_interval():
    """Two intervals: the load of day n is n and 19 - n, so the 15 highest are 5 to 19 in both, of other days."""
    loads = np.column_stack([np.arange(20.0), 19.0 - np.arange(20.0)])
    found = match(PRESETS["high15of20"], loads, np.full((20, 1), 10.0), 11.0)
    assert found.unadjusted.tolist() == [12.0, 12.0]
    assert found.baseline == pytest.approx([13.2, 13.2])
    assert found.kept[:, 0].tolist() == [False] * 5 + [True] * 15
    assert found.kept[:, 1].tolist() == [True] * 15 + [False] * 5
    assert match(PRESETS["high15of20"], loads, np.full((20, 1), 10.0), 15.0).adjustment.factor == 1.2


def test_the_kept_days_of_high_5_of_10():
    kept = solve(PRESETS["high5of10"]).kept[:, 0]
    assert sorted(EVENT_KW[kept, 0]) == [102, 104, 106, 110, 120]


def test_the_ratio_is_clamped():
    found = solve(RATIO_20, before_kw=120.0)
    assert found.adjustment.raw_factor == pytest.approx(1.470588, abs=1e-6)
    assert found.adjustment.factor == 1.2
    assert found.baseline[0] == pytest.approx(122.4)
    assert found.baseline[0] - ACTUAL_KW == pytest.approx(52.4)
    assert solve(RATIO_20, before_kw=10.0).baseline[0] == pytest.approx(102 * 0.8)


@pytest.mark.parametrize(("before_kw", "shift"), [(600.0, 100.0), (400.0, 0.0)])
def test_upward_only(before_kw, shift):
    rule = replace(ADDITIVE, upward_only=True)
    flat = np.full((10, 1), 500.0)
    found = match(rule, flat, flat, before_kw)
    assert found.adjustment.shift == shift
    assert found.baseline[0] == 500 + shift
    ratio = match(replace(rule, adjustment=AdjustmentKind.RATIO, cap=(0.8, 1.2)), flat, flat, before_kw)
    assert ratio.baseline[0] == 500 + shift


def test_rrmse_and_bias():
    load, flat = np.array([100.0, 110, 90, 100, np.nan]), np.full(5, 100.0)
    assert rrmse(load, flat) == pytest.approx(0.070711, abs=1e-6)
    assert nmbe(load, flat) == 0
    assert nmbe(load, flat + 10) == pytest.approx(0.1)
    assert np.isnan(rrmse(load[4:], flat[4:]))
    assert np.isnan(nmbe(np.zeros(2), np.ones(2)))


def test_ranked_by_interval_each_interval_has_its_own_days():
    rule = replace(RATIO_20, y=3, x=1, keep=Keep.HIGH, rank=Rank.INTERVAL, adjustment=None, windows=(), min_days=1)
    found = match(rule, np.array([[1.0, 9.0], [5.0, 2.0], [3.0, np.nan]]))
    assert found.baseline.tolist() == [5.0, 9.0]
    assert found.kept.tolist() == [[False, True], [True, False], [False, False]]
    assert match(replace(rule, keep=Keep.LOW), np.array([[4.0], [2.0], [3.0]])).baseline.tolist() == [2.0]


def test_a_ratio_to_almost_nothing_becomes_a_shift():
    rule = replace(RATIO_20, ratio_floor_w=1.0)
    found = match(rule, EVENT_KW, np.full((10, 1), 0.5), 30.0)
    assert found.adjustment.kind is AdjustmentKind.ADDITIVE
    assert found.baseline[0] == pytest.approx(102 + 29.5)
    exporting = match(replace(rule, ratio_floor_w=0.0), EVENT_KW, np.full((10, 1), -50.0), -60.0)
    assert exporting.baseline[0] == pytest.approx(92)


def test_without_a_usable_window_there_is_no_adjustment():
    found = match(RATIO_20, EVENT_KW, np.full((10, 1), np.nan), 90.0)
    assert found.baseline[0] == found.unadjusted[0] == 102
    assert found.adjustment.kind is None


@pytest.mark.parametrize(
    "change",
    [
        {"x": 11},
        {"min_days": 0},
        {"cap": (1.1, 1.2)},
        {"coverage": 0.0},
        {"windows": ()},
        {"adjustment": None},
        {"lookback_days": 5},
    ],
)
def test_rules_that_make_no_sense_are_refused(change):
    with pytest.raises(InvalidError):
        replace(RATIO_20, **change)


def test_a_window_lies_outside_the_event():
    with pytest.raises(InvalidError):
        Window(-3600, 60)
    with pytest.raises(InvalidError):
        Window(-3600, -7200)


def test_a_rule_names_the_day_types_that_it_covers():
    assert PRESETS["high5of10"].alike(DayType.HOLIDAY) == (DayType.WEEKEND, DayType.HOLIDAY)
    with pytest.raises(InvalidError, match="holiday"):
        replace(RATIO_20, like=((DayType.WEEKDAY,),)).alike(DayType.HOLIDAY)


def test_every_preset_names_its_source():
    assert DEFAULT_PRESET in PRESETS
    assert len(PRESETS) >= 12
    for name, rule in PRESETS.items():
        assert name == rule.id
        assert rule.version >= 1
        assert len(rule.citation) > 40
