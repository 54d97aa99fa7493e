"""What a household does by prices: thresholds, ranks of the day, and no switching to and fro."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.spans import Span
from ven.household import PriceRule
from ven.prices import tables

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
NO_HOLD = timedelta()


def rule(device="plug", **condition):
    return PriceRule.model_validate({**condition, "do": {device: {"switch": "off"}}})


def series(*prices, minutes=60, start=MIDNIGHT):
    length = timedelta(minutes=minutes)
    return [
        (Span(start + index * length, start + (index + 1) * length), float(price)) for index, price in enumerate(prices)
    ]


def told(rules, prices, hold=NO_HOLD, zone=UTC):
    """Return the device that is told something in each interval, or a dash."""
    return "".join(next(iter(table), "-")[0] for table in tables(rules, prices, zone, hold))


def test_thresholds_above_and_below():
    rules = [rule("a", above=0.3), rule("b", above=0.5), rule("c", below=0.1), rule("d", below=0.0)]
    assert told(rules, series(0.2, 0.31, 0.5, 0.51, 0.1, 0.05, -0.1)) == "-aab-cd"


def test_until_bridges_the_way_back():
    rules = [rule("a", above=0.30, until=0.25), rule("b", below=0.05, until=0.10)]
    assert told(rules, series(0.26, 0.31, 0.26, 0.25, 0.26, 0.04, 0.09, 0.10, 0.09)) == "-aa--bb--"


def test_the_dearest_and_the_cheapest_hours_of_a_day():
    prices = series(*[5, 4, 3, 2, 1, 1, 2, 6, 8, 7, 5, 4, 4, 4, 4, 5, 6, 9, 10, 9, 7, 6, 5, 4])
    assert told([rule("d", dearest="PT3H"), rule("c", cheapest="PT4H")], prices) == "---cccc----------ddd----"


def test_days_are_local_days():
    zone = ZoneInfo("Europe/Zurich")  # 23:00 UTC is midnight
    prices = series(*[1] * 22, 5, 9, 2, 3, *[1] * 20)
    assert told([rule("d", dearest="PT1H")], prices, zone=zone)[20:28] == "--dd----"
    assert told([rule("d", dearest="PT1H")], prices, zone=UTC)[20:28] == "---d-d--"


def test_a_day_of_one_price_has_no_dearest_hours():
    assert told([rule("d", dearest="PT3H"), rule("c", cheapest="PT3H")], series(*[7] * 24)) == "-" * 24


def test_of_equal_prices_the_earlier_hours_count_and_no_more_than_asked():
    assert told([rule("d", dearest="PT2H")], series(1, 5, 5, 5, 1)) == "-dd--"
    assert told([rule("d", dearest="PT90M")], series(1, 5, 5, 5, 1)) == "-d---"


def test_thresholds_go_before_ranks():
    rules = [rule("d", dearest="PT1H"), rule("a", above=8)]
    assert told(rules, series(1, 9, 2, 1)) == "-a--"


def test_what_was_begun_or_left_stays_so_for_a_while():
    prices = series(1, 5, 1, 5, 1, 1, 1, 5, minutes=5)
    assert told([rule("a", above=3)], prices) == "-a-a---a"
    assert told([rule("a", above=3)], prices, hold=timedelta(minutes=15)) == "-aaa---a"
    assert told([rule("a", above=3)], prices, hold=timedelta(minutes=10)) == "-aaa---a"


def test_an_interval_without_end_has_no_rank():
    open_end = [*series(1, 5, 2), (Span(MIDNIGHT + timedelta(hours=3), None), 9.0)]
    assert told([rule("d", dearest="PT1H")], open_end) == "-d--"
    assert told([rule("a", above=8)], open_end) == "---a"


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=96), st.integers(1, 95), st.integers(1, 120))
def test_no_change_comes_sooner_than_the_hold_allows(prices, quarters, hold_minutes):
    hold = timedelta(minutes=hold_minutes)
    rules = [rule("a", above=2.0), rule("d", dearest=f"PT{quarters * 15}M"), rule("c", cheapest="PT2H")]
    spans = series(*prices, minutes=15)
    chosen = tables(rules, spans, UTC, hold)
    changes = [
        span.start for (span, _), (before, after) in zip(spans[1:], pairwise(chosen), strict=True) if before != after
    ]
    assert all(later - earlier >= hold for earlier, later in pairwise(changes))
    dearest = [table for table in tables([rule("d", dearest=f"PT{quarters * 15}M")], spans, UTC, NO_HOLD) if table]
    assert len(dearest) <= quarters


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ({}, "exactly one"),
        ({"above": 1, "below": 2}, "exactly one"),
        ({"above": 1, "until": 1}, "lower than above"),
        ({"below": 1, "until": 0.5}, "higher than below"),
        ({"dearest": "PT3H", "until": 1}, "above or below"),
        ({"dearest": "P1D"}, "less than a day"),
        ({"above": float("nan")}, "finite"),
        ({"cheapest": "PT0S"}, "longer than nothing"),
    ],
)
def test_a_rule_has_one_condition_that_can_be_met(condition, says):
    with pytest.raises(ValueError, match=says):
        rule(**condition)
