"""SenML: what devices send is read, what we write is read back."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.senml import MAX_RECORDS, Dialect, Record, read, read_time, write
from core.errors import InvalidError

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)


def test_an_iflex_measurement() -> None:
    text = '{"bn": "urn:dev:3:160", "t": 1666775763785, "n": "Import active energy", "u": "Wh", "v": 1.25}'
    (record,) = read(text, NOW)
    assert record == Record(
        "urn:dev:3:160", "Import active energy", datetime(2022, 10, 26, 9, 16, 3, 785000, UTC), 1.25, "Wh"
    )
    assert json.loads(write([record], Dialect.IFLEX)) == json.loads(text)


def test_base_fields_hold_until_they_change() -> None:
    pack = [
        {"bn": "urn:dev:meter:1:", "bt": 1.7e9, "bu": "W", "bv": 100, "n": "power", "v": 1},
        {"n": "power", "t": 60, "v": 2},
        {"bn": "urn:dev:meter:2:", "bv": 0, "n": "energy", "u": "Wh", "t": -60, "v": 3},
        {"n": "on", "vb": False},
        {"n": "word", "vs": ""},
    ]
    at = datetime.fromtimestamp(1.7e9, UTC)
    assert read(json.dumps(pack), NOW) == (
        Record("urn:dev:meter:1:", "power", at, 101.0, "W"),
        Record("urn:dev:meter:1:", "power", at + timedelta(seconds=60), 102.0, "W"),
        Record("urn:dev:meter:2:", "energy", at - timedelta(seconds=60), 3.0, "Wh"),
        Record("urn:dev:meter:2:", "on", at, False, "W"),
        Record("urn:dev:meter:2:", "word", at, "", "W"),
    )


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({}, NOW),
        ({"t": 0}, NOW),
        ({"t": -5}, NOW - timedelta(seconds=5)),
        ({"t": 2.5}, NOW + timedelta(seconds=2.5)),
        ({"t": 2**28 - 1}, NOW + timedelta(seconds=2**28 - 1)),
        ({"t": 2**28}, datetime.fromtimestamp(2**28, UTC)),
        ({"t": 1e11}, datetime.fromtimestamp(1e11, UTC)),
        ({"t": 1.7e12}, datetime.fromtimestamp(1.7e9, UTC)),
        ({"bt": "2022-11-28T19:17:41.765000"}, datetime(2022, 11, 28, 19, 17, 41, 765000, UTC)),
        ({"bt": "2022-11-28T19:17:41+01:00", "t": 1}, datetime(2022, 11, 28, 18, 17, 42, tzinfo=UTC)),
        ({"bt": 1.7e12, "t": 5}, datetime.fromtimestamp(1.7e9 + 5, UTC)),
    ],
)
def test_times(fields: dict[str, object], at: datetime) -> None:
    assert read(json.dumps({"n": "x", "v": 1} | fields), NOW)[0].at == at


def test_sums() -> None:
    pack = [{"bn": "m:", "bs": 10, "n": "power", "u": "W", "v": 5, "s": 1}, {"n": "power", "s": 2}, {"n": "base"}]
    one, two = read(json.dumps(pack), NOW)
    assert (one.value, one.sum) == (5.0, 11.0)
    assert (two.value, two.sum) == (None, 12.0)


def test_secondary_units_are_declared() -> None:
    pack = json.loads(write([Record("m:", "energy", NOW, 5.0, "Wh"), Record("m:", "power", NOW, 7.5, "W")]))
    assert pack == [
        {"bver": 26, "bn": "m:", "n": "energy", "t": 1772470800, "u": "Wh", "v": 5},
        {"n": "power", "t": 1772470800, "u": "W", "v": 7.5},
    ]
    assert len(read(json.dumps(pack), NOW)) == 2


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "nonsense",
        "7",
        '"text"',
        "[1]",
        "[[]]",
        b"\xff\xfe",
        '{"v": 1}',
        '{"n": 5, "v": 1}',
        '{"n": "x", "v": "1"}',
        '{"n": "x", "v": true}',
        '{"n": "x", "v": NaN}',
        '{"n": "x", "v": Infinity}',
        '{"n": "x", "v": 1e999}',
        '{"n": "x", "v": 1' + "0" * 400 + "}",
        '{"n": "x", "v": 1' + "0" * 9000 + "}",
        '{"n": "x", "v": 1e308, "bv": 1e308}',
        '{"n": "x", "vb": 1}',
        '{"n": "x", "vs": 1}',
        '{"n": "x", "v": 1, "vs": "1"}',
        '{"n": "x", "v": 1, "t": "noon"}',
        '{"n": "x", "v": 1, "t": -1e300}',
        '{"n": "x", "v": 1, "t": 9e15}',
        '{"n": "x", "v": 1, "bver": 11}',
        '{"n": "x", "v": 1, "urgent_": true}',
        "[" * 100_000 + "]" * 100_000,
        json.dumps([{"n": "x", "v": 1}] * (MAX_RECORDS + 1)),
    ],
)
def test_what_is_not_senml(payload: str | bytes) -> None:
    with pytest.raises(InvalidError):
        read(payload, NOW)


def test_what_strict_senml_cannot_say() -> None:
    with pytest.raises(InvalidError, match="not a SenML name"):
        write([Record("urn:dev:3:160", "Import active energy", NOW, 1.0)])
    with pytest.raises(InvalidError, match="no way"):
        write([Record("m:", "power", NOW, float("nan"))])
    with pytest.raises(InvalidError, match="no time zone"):
        write([Record("m:", "power", NOW.replace(tzinfo=None), 1.0)])
    assert write([]) == "[]"


def test_times_are_utc() -> None:
    assert read_time("2022-11-28T19:18:43.523000") == datetime(2022, 11, 28, 19, 18, 43, 523000, UTC)
    assert read_time("0001-01-01T00:00:00").tzinfo is UTC
    with pytest.raises(InvalidError):
        read_time("0001-01-01T00:00:00+23:00")


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,20}", fullmatch=True)
moments = st.integers(700_000_000_000, 7_000_000_000_000).map(
    lambda number: datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=number)
)
values = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text(max_size=20))
units = st.sampled_from(["", "W", "Wh", "V", "kWh"])


@given(st.lists(st.builds(Record, names, names, moments, values, units), max_size=10), st.sampled_from(Dialect))
def test_what_is_written_is_read_back(records: list[Record], dialect: Dialect) -> None:
    back = read(write(records, dialect), NOW)
    assert back == tuple(records)
    assert [type(record.value) for record in back] == [type(record.value) for record in records]


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "x_"]),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=20,
)


@given(json_values)
def test_anything_is_read_or_refused(whole: object) -> None:
    try:
        records = read(json.dumps(whole), NOW)
    except InvalidError:
        return
    assert all(record.at.tzinfo is UTC and record.name for record in records)


@given(st.binary(max_size=60))
def test_bytes_are_read_or_refused(payload: bytes) -> None:
    with contextlib.suppress(InvalidError):
        assert isinstance(read(payload, NOW), tuple)
