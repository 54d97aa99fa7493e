"""World time, ids, points and readings."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock, WorldClock, load_clock, system_clock
from core.errors import InvalidError
from core.ids import new_code, new_id
from core.points import UNITS, Kind, Point, Quantity, Reading, to_unit

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


def test_the_system_clock_is_the_hosts_utc():
    before = datetime.now(UTC)
    now = system_clock().now()
    after = datetime.now(UTC)
    slack = timedelta(microseconds=10)
    assert before - slack <= now <= after + slack
    assert now.tzinfo is UTC


def test_a_fast_clock_runs_from_its_epoch():
    origin = datetime.now(UTC)
    clock = WorldClock(NOON, origin, 3600.0)
    first, second = clock.now(), clock.now()
    assert NOON <= first <= second


async def test_a_fast_clock_sleeps_until_its_time():
    clock = WorldClock(NOON, datetime.now(UTC), 1000.0)
    await clock.sleep_until(NOON + timedelta(seconds=20))
    assert clock.now() >= NOON + timedelta(seconds=20)


def test_a_clock_is_saved_and_loaded(tmp_path):
    clock = WorldClock(NOON, NOON - timedelta(days=1), 60.0)
    clock.save(tmp_path / "clock.json")
    assert load_clock(tmp_path / "clock.json") == clock


@pytest.mark.parametrize(
    "change",
    [{"speed": 0}, {"speed": -1}, {"speed": float("nan")}, {"speed": float("inf")}, {"epoch": "2024-01-01T00:00:00"},
     {"origin": "soon"}, {"speed": None}, {"epoch": 5}],
)  # fmt: skip
def test_a_malformed_clock_file_is_refused(tmp_path, change):
    path = tmp_path / "clock.json"
    good = {"epoch": NOON.isoformat(), "origin": NOON.isoformat(), "speed": 1.0}
    path.write_text(json.dumps(good | change))
    with pytest.raises(InvalidError):
        load_clock(path)


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", "5"])
def test_what_is_no_clock_file_is_refused(tmp_path, text):
    path = tmp_path / "clock.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidError):
        load_clock(path)


async def test_a_manual_clock_wakes_sleepers_in_order():
    clock = ManualClock(NOON)
    woken = []

    async def sleeper(minutes):
        await clock.sleep_until(NOON + timedelta(minutes=minutes))
        woken.append(minutes)

    tasks = [asyncio.create_task(sleeper(minutes)) for minutes in (30, 10, 20)]
    await asyncio.sleep(0)
    clock.advance(timedelta(minutes=20))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert woken == [10, 20]
    clock.advance(to=NOON + timedelta(hours=1))
    await asyncio.gather(*tasks)
    assert woken == [10, 20, 30]
    await clock.sleep_until(NOON)
    with pytest.raises(InvalidError):
        clock.advance(to=NOON)


async def test_a_cancelled_sleeper_does_no_harm():
    clock = ManualClock(NOON)
    task = asyncio.create_task(clock.sleep_until(NOON + timedelta(minutes=1)))
    await asyncio.sleep(0)
    task.cancel()
    clock.advance(timedelta(hours=1))
    with pytest.raises(asyncio.CancelledError):
        await task


def test_ids_are_unique_and_sort_by_time(monkeypatch):
    ids = {new_id("evt") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(one.startswith("evt_") and len(one) == 30 for one in ids)
    stamps = iter([10**18, 10**18 + 2_000_000])
    monkeypatch.setattr("core.ids.time.time_ns", lambda: next(stamps))
    first, second = new_id("x"), new_id("x")
    assert first < second


def test_codes_are_for_people():
    code = new_code()
    assert [len(group) for group in code.split("-")] == [4, 4, 4, 4]
    assert not set(code) & set("01IO")
    assert len(new_code(1, 8)) == 8


@pytest.mark.parametrize(
    ("value", "unit", "wanted", "result"),
    [
        (1.5, "kW", "W", 1500.0),
        (2.0, "MWh", "Wh", 2e6),
        (3600.0, "J", "Wh", 1.0),
        (21.5, "°C", "Cel", 21.5),
        (5.0, "W", "W", 5.0),
        (60.0, "Wmin", "Wh", 1.0),
    ],
)
def test_units(value, unit, wanted, result):
    assert to_unit(value, unit, wanted) == pytest.approx(result)


@pytest.mark.parametrize(("unit", "wanted"), [("kW", "Wh"), ("", "W"), ("furlong", "W")])
def test_units_of_another_quantity_are_refused(unit, wanted):
    with pytest.raises(InvalidError):
        to_unit(1.0, unit, wanted)


def test_points_know_their_unit():
    assert set(UNITS) == set(Quantity)
    assert Point("meter.energy", Quantity.ENERGY_REAL, Kind.REGISTER).unit == "Wh"


@given(st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones()))
def test_readings_are_in_utc(when):
    if when.tzinfo is not None and when.utcoffset() == timedelta():
        assert Reading("p", when, 1.0).start is when
    else:
        with pytest.raises(InvalidError):
            Reading("p", when, 1.0)
