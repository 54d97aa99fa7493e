"""Reading other people's JSON: the shapes that exist, and every way of being wrong."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.tariff.price_mapping import Mapping, address, check_mapping, read
from aggregator.tariff.price_series import Price, checked
from core.errors import InvalidError
from core.spans import Duration
from vtn.store.rows import from_json, to_json

HOUR = Duration.of(hours=1)
ROWS = Mapping(items="/data", start="/start", value="/price", step=HOUR)


def hour(number, amount):
    start = datetime(2026, 1, 12, tzinfo=UTC) + timedelta(hours=number)
    return Price(start, start + timedelta(hours=1), amount)


def rows(*prices, **more):
    return {"data": [{"start": f"2026-01-12T{n:02}:00:00Z", "price": one, **more} for n, one in enumerate(prices)]}


def test_rows_with_a_fixed_step():
    assert read(ROWS, rows(0.1, "-0.05", 3)) == (hour(0, "0.1"), hour(1, "-0.05"), hour(2, "3"))


def test_rows_with_start_and_end_in_milliseconds_and_prices_per_mwh():
    mapping = Mapping(items="/data", start="/from", end="/to", value="/market/price", times="unix_ms", factor="0.001")
    ms = int(datetime(2026, 1, 12, tzinfo=UTC).timestamp()) * 1000
    hours = [ms + number * 3_600_000 for number in range(3)]
    document = {"data": [{"from": a, "to": b, "market": {"price": 85.37}} for a, b in pairwise(hours)]}
    assert read(mapping, document) == (hour(0, "0.08537"), hour(1, "0.08537"))


def test_rows_that_say_their_duration():
    mapping = Mapping(start="/0", duration="/1", value="/2")
    document = [["2026-01-12T00:00Z", "PT1H", 1], ["2026-01-12T01:00Z", 3600, 2], ["2026-01-12T02:00Z", 3600.0, "2.5"]]
    assert read(mapping, document) == (hour(0, "1"), hour(1, "2"), hour(2, "2.5"))


def test_columns_whose_last_interval_is_as_long_as_the_one_before():
    first = int(datetime(2026, 1, 12, tzinfo=UTC).timestamp())
    document = {"unix_seconds": [first, first + 3600, first + 7200], "price": [10, 20, 30], "unit": "EUR / MWh"}
    mapping = Mapping(layout="columns", start="/unix_seconds", value="/price", times="unix_s", factor="0.001")
    assert read(mapping, document) == (hour(0, "0.01"), hour(1, "0.02"), hour(2, "0.03"))


def test_columns_may_hold_ends():
    mapping = Mapping(layout="columns", start="/a", end="/b", value="/c")
    document = {"a": ["2026-01-12T00:00Z"], "b": ["2026-01-12T01:00Z"], "c": ["0.10"]}
    assert read(mapping, document) == (hour(0, "0.1"),)


def test_the_newest_may_come_first():
    document = rows(1, 2, 3)
    document["data"].reverse()
    assert read(ROWS, document) == read(ROWS, rows(1, 2, 3))


def test_a_pattern_reads_local_times():
    mapping = Mapping(items="", start="/t", value="/p", step=HOUR, times="%d.%m.%Y %H:%M", time_zone="Europe/Vienna")
    assert read(mapping, [{"t": "12.01.2026 01:00", "p": 1}]) == (hour(0, "1"),)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("step", [15, 30, 60])
@pytest.mark.parametrize(("day", "length_h"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_naive_local_times_of_a_day_on_which_clocks_change(day, length_h, step, newest_first):
    zone = ZoneInfo("Europe/Berlin")
    start = datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC)
    times = [start + timedelta(minutes=step * number) for number in range(length_h * 60 // step)]
    items = [
        {
            "t": when.astimezone(zone).replace(tzinfo=None).isoformat(),
            "e": (when + timedelta(minutes=step)).astimezone(zone).replace(tzinfo=None).isoformat(),
            "p": number / 100,
        }
        for number, when in enumerate(times)
    ]
    if newest_first:
        items.reverse()
    for mapping in (
        Mapping(start="/t", value="/p", step=Duration.of(minutes=step), time_zone="Europe/Berlin"),
        Mapping(start="/t", value="/p", end="/e", time_zone="Europe/Berlin"),
        Mapping(start="/t", value="/p", time_zone="Europe/Berlin"),
    ):
        found = read(mapping, items)
        assert [one.start for one in found] == times
        assert found[-1].end == start + timedelta(hours=length_h)
        assert [float(one.per_kwh) for one in found] == [number / 100 for number in range(len(times))]


def test_a_local_time_that_does_not_exist_is_refused():
    mapping = Mapping(start="/t", value="/p", step=HOUR, time_zone="Europe/Berlin")
    with pytest.raises(InvalidError, match="does not exist"):
        read(mapping, [{"t": "2026-03-29T02:30", "p": 1}])


def test_times_without_zone_need_one():
    with pytest.raises(InvalidError, match="state time_zone"):
        read(Mapping(start="/t", value="/p", step=HOUR), [{"t": "2026-03-29T01:30", "p": 1}])


def _changed(document, **change):
    document["data"][1].update(change)
    return document


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"data": []}, "no list"),
        ({"data": {}}, "no list"),
        ({"data": None}, "no list"),
        ({}, "nothing at '/data'"),
        ([], "nothing at '/data'"),
        ("<html>", "nothing at '/data'"),
        (None, "nothing at '/data'"),
        (7, "nothing at '/data'"),
        ({"data": [1]}, "Item 0 has nothing at '/start'"),
        ({"data": [None]}, "Item 0 has nothing"),
        ({"data": [{"start": "2026-01-12T00:00:00Z"}]}, "Item 0 has nothing at '/price'"),
        (_changed(rows(1, 2, 3), price=None), "Item 1: 'None' is no price"),
        (_changed(rows(1, 2, 3), price=True), "Item 1: 'True' is no price"),
        (_changed(rows(1, 2, 3), price=math.nan), "is no price"),
        (_changed(rows(1, 2, 3), price=math.inf), "is no price"),
        (_changed(rows(1, 2, 3), price="NaN"), "is no price"),
        (_changed(rows(1, 2, 3), price=[1]), "'a list' is no price"),
        (_changed(rows(1, 2, 3), price="1\x1b[31m"), r"'1\?\[31m' is no price"),
        (_changed(rows(1, 2, 3), price=10**4000), "'a int' is no price"),
        (_changed(rows(1, 2, 3), price="1" * 200), "is no price"),
        (_changed(rows(1, 2, 3), price=1e300), "is no price"),
        (_changed(rows(1, 2, 3), price=85.37), "85.37 per kWh is not between -10 and 10; is the factor right"),
        (_changed(rows(1, 2, 3), price=-10.1), "not between"),
        (_changed(rows(1, 2, 3), start="2026-01-12T00:00:00Z"), "Item 1 begins at the same time"),
        (_changed(rows(1, 2, 3), start="2026-01-12T05:00:00Z"), "Item 2 begins before"),
        (_changed(rows(1, 2, 3), start="2026-01-12T01:30:00Z"), "No price is given|Two prices"),
        ({"data": [rows(1)["data"][0], {"start": "2026-01-12T02:00:00Z", "price": 1}]}, "No price is given from"),
        (_changed(rows(1, 2, 3), start="tomorrow"), "Item 1: 'tomorrow' is no time as 'iso'"),
        (_changed(rows(1, 2, 3), start=7), "is no time"),
        (_changed(rows(1, 2, 3), start="2" * 5000), "is no time"),
        (_changed(rows(1, 2, 3), start="0001-01-01T00:00:00+23:59"), "outside the calendar"),
        ({"data": [rows(1)["data"][0]] * 10_001}, "10000 at most"),
    ],
)
def test_a_bad_document_is_refused_and_the_item_named(document, text):
    with pytest.raises(InvalidError, match=text):
        read(ROWS, document)


@pytest.mark.parametrize("raw", [math.nan, math.inf, 1e300, 10**400, -(10**20), True, "7", None])
@pytest.mark.parametrize("times", ["unix_s", "unix_ms"])
def test_bad_seconds_are_refused(times, raw):
    with pytest.raises(InvalidError, match="is no time"):
        read(Mapping(start="/0", value="/1", step=HOUR, times=times), [[raw, 1]])


@pytest.mark.parametrize(
    "raw", [0, -1, math.nan, math.inf, "PT0S", "-PT1H", "P1M", "P2Y", "an hour", None, True, [], 1e12]
)
def test_bad_durations_are_refused(raw):
    with pytest.raises(InvalidError, match="is no duration"):
        read(Mapping(start="/0", value="/1", duration="/2"), [["2026-01-12T00:00Z", 1, raw]])


def test_one_item_alone_does_not_say_its_length():
    with pytest.raises(InvalidError, match="state end, duration or step"):
        read(Mapping(start="/0", value="/1"), [["2026-01-12T00:00Z", 1]])


def test_columns_of_different_length_are_refused():
    mapping = Mapping(layout="columns", start="/a", value="/b", step=HOUR)
    with pytest.raises(InvalidError, match="not equally long"):
        read(mapping, {"a": ["2026-01-12T00:00Z"], "b": [1, 2]})


def test_steps_of_a_pointer():
    document = {"a/b": {"~": [{"0": [["2026-01-12T00:00Z", 1]]}]}}
    assert read(Mapping(items="/a~1b/~0/0/0", start="/0", value="/1", step=HOUR), document) == (hour(0, "1"),)
    for bad in ("/a~1b/~0/00", "/a~1b/~0/-1", "/a~1b/~0/1", "/a~1b/~0/-", "/a~1b/~0/²"):
        with pytest.raises(InvalidError, match="nothing at"):
            read(Mapping(items=bad, start="/0", value="/1", step=HOUR), document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inside, max_size=3),
    max_leaves=20,
)
places = st.sampled_from(["", "/a", "/b", "/0", "/a/0", "/a/b"])
times = st.sampled_from(["iso", "unix_s", "unix_ms", "%Y-%m-%d"])


@given(st.sampled_from(["rows", "columns"]), places, places, places, places | st.none(), times, json_values)
def test_any_document_is_read_or_refused(layout, items, start, value, end, how, document):
    mapping = Mapping(
        layout=layout, items=items if layout == "rows" else "", start=start, value=value, end=end, times=how,
        time_zone="Europe/London",
    )  # fmt: skip
    check_mapping(mapping)
    try:
        found, refusal = read(mapping, document), ""
    except InvalidError as error:
        found, refusal = (), str(error)
    assert len(refusal) < 500
    assert refusal.isprintable()
    assert refusal or checked(found) == found


def test_a_mapping_survives_the_store():
    mapping = Mapping(start="/a", value="/b", step=HOUR, headers={"Authorization": "EVENLOAD_TARIFF_KEY"})
    assert from_json(Mapping, json.loads(json.dumps(to_json(mapping)))) == mapping


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"items": "data"}, "items: 'data' is no JSON pointer"),
        ({"start": "/~2"}, "start: .* no JSON pointer"),
        ({"value": "/" + "a" * 200}, "value: .* no JSON pointer"),
        ({"layout": "columns"}, "items: Columns have no items"),
        ({"end": "/e"}, "at most one of"),
        ({"step": Duration.of()}, "step:"),
        ({"step": Duration.parse("P1M")}, "depends on the calendar"),
        ({"time_zone": "Mars/Olympus"}, "not an IANA time zone"),
        ({"times": "hourly"}, "pattern of strptime"),
        ({"times": "%Q"}, "pattern of strptime"),
        ({"times": "%H:%M"}, "pattern of strptime"),
        ({"times": "%d" * 99}, "pattern of strptime"),
        ({"factor": "0"}, "factor"),
        ({"factor": "-1"}, "factor"),
        ({"factor": "1e-3"}, "factor"),
        ({"lowest": "10"}, "lowest lies below"),
        ({"highest": "x"}, "no price"),
        ({"headers": {"Host": "EVENLOAD_TARIFF_A"}}, "not a header that can be set"),
        ({"headers": {"X Y": "EVENLOAD_TARIFF_A"}}, "not a header that can be set"),
        ({"headers": {"Authorization": "PATH"}}, "EVENLOAD_TARIFF_"),
        ({"headers": {f"X-{number}": "EVENLOAD_TARIFF_A" for number in range(6)}}, "headers: At most 5"),
    ],
)
def test_a_mapping_that_fits_nothing_is_refused(change, text):
    good = {"items": "/data", "start": "/start", "value": "/price", "step": HOUR}
    check_mapping(Mapping(**good))
    with pytest.raises(InvalidError) as refused:
        check_mapping(Mapping(**(good | change)))
    assert re.search(text, f"{refused.value.field}: {refused.value}")


def test_dates_in_an_address_are_those_of_the_zone():
    late = datetime(2026, 1, 12, 23, 30, tzinfo=UTC)
    url = "https://example.com/{yesterday}/{today}?until={tomorrow}&x={other}"
    plain = Mapping(start="", value="")
    assert address(url, plain, late) == "https://example.com/2026-01-11/2026-01-12?until=2026-01-13&x={other}"
    vienna = Mapping(start="", value="", time_zone="Europe/Vienna")
    assert address(url, vienna, late) == "https://example.com/2026-01-12/2026-01-13?until=2026-01-14&x={other}"
