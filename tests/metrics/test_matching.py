"""Properties that every day-matching rule has."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import PRESETS, AdjustmentKind, DayMatch, Keep, Rank, Window, match

WINDOW = (Window(-10800, -3600),)
loads = st.integers(50, 5000).map(float)


@st.composite
def rules(draw: st.DrawFn) -> DayMatch:
    y = draw(st.integers(1, 12))
    kind = draw(st.sampled_from([None, *AdjustmentKind]))
    return DayMatch(
        "drawn",
        1,
        "",
        y=y,
        x=draw(st.integers(1, y)),
        keep=draw(st.sampled_from(Keep)),
        rank=draw(st.sampled_from(Rank)),
        min_days=1,
        adjustment=kind,
        windows=WINDOW if kind else (),
        cap=(0.8, 1.2),
    )


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    days = draw(st.integers(1, 14))
    event = draw(st.lists(st.lists(loads, min_size=3, max_size=3), min_size=days, max_size=days))
    before = draw(st.lists(st.lists(loads, min_size=2, max_size=2), min_size=days, max_size=days))
    return np.array(event), np.array(before), draw(loads)


@given(rules(), tables(), st.sampled_from([0.25, 3.0, 1000.0]))
def test_twice_the_load_is_twice_the_baseline(rule, table, scale):
    event, before, actual = table
    once = match(rule, event, before, actual)
    scaled = match(rule, scale * event, scale * before, scale * actual)
    assert scaled.baseline == pytest.approx(scale * once.baseline)
    assert np.array_equal(scaled.kept, once.kept)


@given(rules(), tables(), st.lists(loads, min_size=3, max_size=3))
def test_a_day_older_than_y_changes_nothing(rule, table, older):
    event, before, actual = table
    event, before = event[: rule.y], before[: rule.y]
    if len(event) < rule.y:
        return
    once = match(rule, event, before, actual)
    more = match(rule, np.vstack((event, older)), np.vstack((before, older[:2])), actual)
    assert np.array_equal(more.baseline, once.baseline)


@given(rules(), tables(), st.tuples(st.floats(0.5, 1), st.floats(1, 1.5), st.floats(0, 0.5), st.floats(0, 0.5)))
def test_a_wider_cap_never_moves_the_factor_towards_one(rule, table, bounds):
    event, before, actual = table
    rule = replace(rule, adjustment=AdjustmentKind.RATIO, windows=WINDOW)
    low, high, lower, higher = bounds
    tight = match(replace(rule, cap=(low, high)), event, before, actual).adjustment.factor
    wide = match(replace(rule, cap=(low - lower, high + higher)), event, before, actual).adjustment.factor
    assert abs(wide - 1) >= abs(tight - 1)
    assert low <= tight <= high


@given(rules(), tables())
def test_as_many_days_as_promised_are_kept(rule, table):
    event, before, actual = table
    kept = match(rule, event, before, actual).kept
    days = min(len(event), rule.y)
    assert (kept.sum(axis=0) == (days if rule.keep is Keep.ALL else min(rule.x, days))).all()


@given(rules(), st.integers(1, 14))
def test_of_equal_days_the_recent_ones_are_kept(rule, days):
    kept = match(rule, np.full((days, 2), 700.0)).kept
    count = int(kept[:, 0].sum())
    assert kept[:count].all()
    assert not kept[count:].any()


def test_ties_at_either_end_of_the_middle():
    rule = replace(PRESETS["high5of10"], y=6, x=2, keep=Keep.MID, adjustment=None, windows=())
    kept = match(rule, np.array([[9.0], [1.0], [5.0], [9.0], [1.0], [9.0]])).kept[:, 0]
    assert kept.tolist() == [True, False, True, False, False, False]


def test_an_odd_number_too_many_falls_at_the_low_end():
    rule = DayMatch("drawn", 1, "", y=4, x=3, keep=Keep.MID, min_days=1)
    assert match(rule, np.array([[1.0], [4.0], [2.0], [3.0]])).baseline.tolist() == [3.0]


@given(tables())
def test_high_and_low_enclose_the_middle(table):
    event, _, _ = table
    rule = DayMatch("drawn", 1, "", y=12, x=3, min_days=1)
    low, mid, high = (
        match(replace(rule, keep=keep), event).baseline.mean() for keep in (Keep.LOW, Keep.MID, Keep.HIGH)
    )
    assert low <= mid + 1e-9
    assert mid <= high + 1e-9


def test_a_gap_does_not_make_a_day_look_low():
    rule = DayMatch("drawn", 1, "", y=2, x=1, min_days=1)
    found = match(rule, np.array([[50.0, 50.0], [60.0, np.nan]]))
    assert found.kept.tolist() == [[False, False], [True, True]]
    assert found.baseline[0] == 60
    assert np.isnan(found.baseline[1])
