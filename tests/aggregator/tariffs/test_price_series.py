"""Series of prices: what is a good one, how versions lie over each other, sums. Against a model minute by minute."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.currencies import CURRENCIES, check_currency
from aggregator.tariff.price_series import (
    MOST_INTERVALS,
    Claim,
    Price,
    checked,
    clipped,
    current,
    following,
    merged,
    read_amount,
    run_from,
    spoken,
    total,
    written,
)
from core.errors import InvalidError
from core.spans import Span

T0 = datetime(2026, 3, 29, tzinfo=UTC)
LAST = 60
"""The model's world: so many minutes from T0."""


def at(minute):
    return T0 + timedelta(minutes=minute)


def price(start, end, amount="0.1"):
    return Price(at(start), at(end), amount)


amounts = st.decimals(-20, 20, places=3).map(written)


@st.composite
def contiguous(draw):
    edges = sorted(draw(st.sets(st.integers(0, LAST), min_size=2, max_size=6)))
    return tuple(price(a, b, draw(amounts)) for a, b in pairwise(edges))


@st.composite
def gappy(draw):
    return tuple(one for one in draw(contiguous()) if draw(st.booleans()))


@st.composite
def spans(draw):
    start, end = sorted(draw(st.sets(st.integers(0, LAST), min_size=2, max_size=2)))
    return Span(at(start), at(end))


def by_minute(series):
    """Return minute -> price."""
    found = {}
    for one in series:
        minute = one.start
        while minute < one.end:
            assert minute not in found, "two prices at once"
            found[minute] = one.amount
            minute += timedelta(minutes=1)
    return found


def in_order(series):
    assert all(one.start < one.end for one in series)
    assert all(a.end <= b.start for a, b in pairwise(series))


def inside(minutes, span):
    return {minute: amount for minute, amount in minutes.items() if span.contains(minute)}


@given(st.lists(st.tuples(contiguous(), st.booleans()), max_size=6), spans())
def test_the_newest_version_that_speaks_for_a_moment_counts(layers, span):
    """Layers come newest first; the model writes them oldest first, one over the other."""
    model = {}
    for series, whole in reversed(layers):
        model = ({} if whole else model) | by_minute(series)
    claims = [Claim(series[0].start, series[-1].end, whole) for series, whole in layers]
    parts = spoken(claims, span)
    found = sorted((one for index, part in parts for one in clipped(layers[index][0], part)), key=lambda one: one.start)
    in_order(found)
    assert by_minute(found) == inside(model, span)


@given(gappy(), gappy())
def test_a_sum_is_known_where_both_are(one, other):
    sums = total(one, other)
    in_order(sums)
    left, right = by_minute(one), by_minute(other)
    assert by_minute(sums) == {minute: left[minute] + right[minute] for minute in left.keys() & right.keys()}
    assert by_minute(total(other, one)) == by_minute(sums)


@given(gappy(), spans())
def test_clipping_keeps_what_is_inside(series, span):
    found = clipped(series, span)
    in_order(found)
    assert by_minute(found) == inside(by_minute(series), span)


@given(gappy())
def test_merging_changes_no_price_and_leaves_no_equal_neighbours(series):
    found = merged(series)
    assert by_minute(found) == by_minute(series)
    assert not [a for a, b in pairwise(found) if a.end == b.start and a.per_kwh == b.per_kwh]


@given(gappy(), st.integers(-5, LAST + 5))
def test_a_run_goes_to_the_next_gap(series, minute):
    run = by_minute(run_from(series, at(minute)))
    left = {when: amount for when, amount in by_minute(series).items() if when >= at(minute)}
    if not left:
        assert run == {}
        return
    expected, when = {}, min(left)
    while when in left:
        expected[when] = left[when]
        when += timedelta(minutes=1)
    assert run == expected


@given(gappy(), st.integers(-5, LAST + 5))
def test_the_present_and_the_next_price(series, minute):
    now = current(series, at(minute))
    assert (None if now is None else now.amount) == by_minute(series).get(at(minute))
    later = following(series, at(minute))
    assert later == next((one for one in series if one.start > at(minute)), None)


@given(st.decimals(-1_000_000, 1_000_000, places=8))
def test_an_amount_survives_being_written(amount):
    text = written(amount)
    assert Decimal(read_amount(text)) == amount
    assert read_amount(text) == text
    assert "E" not in text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("0.10", "0.1"), ("-0.0", "0"), ("0010", "10"), ("100", "100"), ("-0.05", "-0.05"), ("1000000", "1000000")],
)
def test_there_is_one_way_to_write_an_amount(text, canonical):
    assert read_amount(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "1,5", "1e3", "NaN", "Infinity", "+1", ".5", "5.", " 1", "0.123456789", "1000001", "٣", "1_0", "--1"]
)
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(InvalidError, match="no price"):
        read_amount(text)


@pytest.mark.parametrize(
    ("prices", "text"),
    [
        ([], "1 to 10000"),
        ([price(0, 15), price(30, 45)], "No price is given from 2026-03-29T00:15"),
        ([price(0, 15), price(10, 45)], "Two prices"),
        ([price(0, 15), price(0, 15)], "Two prices"),
        ([price(15, 30), price(0, 15)], "Two prices"),
        ([price(15, 15)], "not later"),
        ([price(15, 0)], "not later"),
        ([Price(at(0) + timedelta(seconds=1), at(9), "1")], "whole minutes"),
        ([Price(at(0), at(9) + timedelta(microseconds=1), "1")], "whole minutes"),
        ([Price(at(0).replace(tzinfo=None), at(9), "1")], "no time zone"),
        ([Price(datetime(1969, 12, 31, tzinfo=UTC), at(9), "1")], "1970"),
        ([Price(at(0), datetime(2200, 1, 1, tzinfo=UTC), "1")], "1970"),
        ([price(0, 15, "abc")], "no price"),
        ([price(number, number + 1) for number in range(MOST_INTERVALS + 1)], "not 10001"),
    ],
)
def test_a_series_that_is_not_good_is_refused(prices, text):
    with pytest.raises(InvalidError, match=text):
        checked(prices)


def test_times_of_other_zones_become_utc():
    """The night in which Central Europe's clocks go forward: 01:30+01:00 and 03:00+02:00 adjoin after half an hour."""
    winter, summer = timezone(timedelta(hours=1)), timezone(timedelta(hours=2))
    night = datetime(2026, 3, 29, 1, 30, tzinfo=winter)
    (one,) = checked([Price(night, datetime(2026, 3, 29, 3, 0, tzinfo=summer), "0.10")])
    assert one == Price(datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC), "0.1")


def test_currencies():
    for code in ("EUR", "XCG", "HUF"):
        check_currency(code)
    for code in ("eur", "EURO", "XAU", "XXX", "", "E€R"):
        with pytest.raises(InvalidError, match="ISO 4217"):
            check_currency(code)
    assert all(len(code) == 3 for code in CURRENCIES)
