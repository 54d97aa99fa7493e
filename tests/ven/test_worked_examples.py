"""The homes of examples/homes: household file, event, clock and readings; what follows is a timeline of orders."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridges.device import CapabilityKind
from core.clock import ManualClock, system_clock
from core.points import Reading
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.opt import OptType
from openadr.model.signal import Interval, Signal
from openadr.model.units import POWER_REAL_W, currency_per_kwh
from openadr.v20b.encode import encode
from openadr.v20b.messages import DistributeEvent, Response
from ven.comfort import Comfort
from ven.devices import describe
from ven.executor import Executor
from ven.explain import as_text, explain
from ven.household_file import load_household
from ven.store import Store
from ven.vtn_state import KnownEvent

from .test_executor import Keeper

HOMES = Path(__file__).resolve().parents[2] / "examples" / "homes"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def home(name):
    return load_household(HOMES / f"{name}.yaml")


def event(name, kind, *values, minutes=60, start=NOON, unit=None):
    length = Duration.of(minutes=minutes)
    signal = Signal(name, kind, "s", tuple(Interval(length, value) for value in values), unit)
    period = ActivePeriod(start, Duration.of(minutes=minutes * len(values)))
    return Event("evt", 0, "http://example.com/dr", start, period, (signal,))


def timeline(name, asked, now=NOON - timedelta(hours=1)):
    """Return (minutes after noon, its minutes, device.capability, value) of every order, and what is drawn."""
    delivery = DistributeEvent("vtn", "r", (DeliveredEvent(asked, EventStatus.FAR),), Response())
    (explained,) = found = explain(home(name), encode(delivery), now)
    assert explained.opt is OptType.IN, explained.reason
    rows = [
        (
            int((order.at - NOON) / MINUTE),
            int((order.until - order.at) / MINUTE),
            f"{order.device}.{order.capability}",
            order.value,
        )
        for order in explained.orders
    ]
    return sorted(rows), as_text(found)


def test_a_home_with_a_heat_pump_follows_levels():
    rows, text = timeline("heat-pump", event("SIMPLE", "level", 1.0, 2.0, 3.0))
    assert rows == [
        (0, 60, "room.setpoint", 20.0),  # a degree less than normal
        (0, 180, "plug.switch", "off"),
        (60, 60, "heatpump.import_limit", 2500.0),
        (60, 60, "tank.setpoint", 42.0),
        (120, 60, "heatpump.import_limit", 1500.0),  # its floor
    ]
    drawn = text.splitlines()
    assert "  plug.switch            [off-----------------------------------------------------------]" in drawn
    assert "  room.setpoint          [20-----------------]" in drawn


@pytest.mark.parametrize(
    ("asked_w", "rows"),
    [
        (-1500.0, [(0, 60, "plug.switch", "off")]),
        (-3000.0, [(0, 60, "heatpump.import_limit", 3000.0), (0, 60, "plug.switch", "off")]),
        (-9000.0, [(0, 60, "heatpump.import_limit", 1500.0), (0, 60, "plug.switch", "off")]),
    ],
)
def test_a_home_with_a_heat_pump_sheds_what_is_asked(asked_w, rows):
    assert timeline("heat-pump", event("LOAD_DISPATCH", "delta", asked_w, unit=POWER_REAL_W))[0] == rows


def test_a_home_with_a_heat_pump_throttles_its_panels():
    rows, _ = timeline("heat-pump", event("LOAD_CONTROL", "x-loadControlCapacity", 0.6, 1.0, 0.0, minutes=15))
    assert rows == [
        (0, 15, "pv.export_limit", 60.0),
        (15, 15, "pv.export_limit", 100.0),
        (30, 15, "pv.export_limit", 0.0),
    ]


async def test_a_home_with_a_heat_pump_keeps_its_people_warm():
    household, store, clock, keeper = home("heat-pump"), Store(None), ManualClock(NOON - MINUTE), Keeper()
    comfort = Comfort(household, store, clock)
    opted_out = []
    executor = Executor(
        store, household, describe(household, system_clock()), keeper, clock, opted_out.append, comfort=comfort
    )
    store.put_event(KnownEvent(event("SIMPLE", "level", 2.0, minutes=180), "r", OptType.IN))
    seen = []
    for minute, tank, room in (
        (0, 48.0, 20.5),
        (30, 43.0, 20.0),
        (60, 41.9, 19.8),
        (90, 50.0, 19.4),
        (179, 50.0, 21.0),
    ):
        clock.advance(to=NOON + minute * MINUTE)
        comfort.take(Reading("heatpump.tank", clock.now(), tank))
        comfort.take(Reading("room.room", clock.now(), room))
        await executor.follow()
        held = {f"{command.device}.{command.capability}" for command in keeper.open.values()}
        seen.append((minute, sorted(held)))
    all_of_it = ["heatpump.import_limit", "plug.switch", "tank.setpoint"]
    rest = ["plug.switch", "tank.setpoint"]  # the tank's set point has no rule; the pump is free to warm it
    assert seen == [(0, all_of_it), (30, all_of_it), (60, rest), (90, rest), (179, rest)]
    assert opted_out == []
    assert comfort.given_up("evt") == {("heatpump", CapabilityKind.IMPORT_LIMIT)}


def test_a_home_with_a_battery_and_a_car_follows_prices():
    prices = event("ELECTRICITY_PRICE", "price", 0.05, 0.20, 0.45, unit=currency_per_kwh("EUR"))
    rows, _ = timeline("battery-and-car", prices)
    assert rows == [
        (0, 60, "car.mode", "now"),
        (0, 60, "ess.setpoint", 1300.0),
        (60, 60, "car.mode", "pv"),
        (120, 60, "car.mode", "off"),
        (120, 60, "ess.setpoint", -1300.0),
    ]


def test_a_car_charges_with_what_is_left_to_it_and_never_with_less_than_it_takes():
    rows, _ = timeline("battery-and-car", event("LOAD_CONTROL", "x-loadControlCapacity", 1.0, 0.5, 0.1))
    assert rows == [
        (0, 60, "car.current_limit", 25.0),
        (60, 60, "car.current_limit", 12.5),
        (120, 60, "car.current_limit", 6.0),
    ]


def test_a_flat_with_plugs_follows_levels_and_spares_the_freezer():
    rows, _ = timeline("flat", event("SIMPLE", "level", 3.0, minutes=120))
    assert rows == [
        (0, 60, "freezer.switch", "off"),
        (0, 120, "boiler.switch", "off"),
        (0, 120, "dishwasher.switch", "off"),
    ]


def test_a_flat_sleeps_undisturbed():
    night = event("SIMPLE", "level", 1.0, start=NOON.replace(hour=22))
    delivery = DistributeEvent("vtn", "r", (DeliveredEvent(night, EventStatus.FAR),), Response())
    (explained,) = explain(home("flat"), encode(delivery), NOON)
    assert explained.opt is OptType.OUT
    assert explained.orders == ()
