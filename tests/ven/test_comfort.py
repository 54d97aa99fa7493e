"""Comfort: an event does without a device from the moment on at which people would miss it."""

from datetime import timedelta

import pytest

from bridges.device import CapabilityKind
from core.clock import ManualClock, system_clock
from core.errors import UnavailableError
from core.points import Reading
from openadr.model.opt import OptType
from ven.comfort import Comfort
from ven.devices import describe
from ven.executor import Executor
from ven.household import Household
from ven.store import Store
from ven.vtn_state import KnownEvent

from .conftest import HOUSEHOLD, NOON
from .test_executor import Keeper

MINUTE = timedelta(minutes=1)
START = NOON + timedelta(hours=1)
COLD = {"when": "meter.power < 300", "release": ["switch"]}
"""The meter stands for a thermometer: a point of another device."""


def home_with(**rules):
    devices = [
        entry | {"comfort": rules[entry["id"]]} if entry["id"] in rules else entry for entry in HOUSEHOLD["devices"]
    ]
    return Household.model_validate(HOUSEHOLD | {"devices": devices})


class Home:
    def __init__(self, household, store=None):
        self.household, self.store, self.clock = household, store or Store(None), ManualClock(NOON)
        self.keeper, self.opted_out = Keeper(), []
        self.begin()

    def begin(self):
        self.comfort = Comfort(self.household, self.store, self.clock)
        self.devices = describe(self.household, system_clock())
        self.executor = Executor(
            self.store,
            self.household,
            self.devices,
            self.keeper,
            self.clock,
            self.opted_out.append,
            comfort=self.comfort,
        )

    def know(self, event):
        self.store.put_event(KnownEvent(event, "r", OptType.IN))

    async def at(self, when):
        self.clock.advance(to=when)
        return await self.executor.follow()

    async def reads(self, value, point="meter.power"):
        self.comfort.take(Reading(point, self.clock.now(), value))
        return await self.executor.follow()

    @property
    def held(self):
        now = self.clock.now()  # a lease ends by itself
        return sorted(command.device for command in self.keeper.open.values() if command.until > now)


async def test_a_device_is_given_back_and_not_taken_again_by_the_same_event(event):
    home = Home(home_with(heater=[COLD]))
    home.know(event(values=((60, -2500.0),)))
    await home.at(START)
    await home.reads(500.0)
    assert home.held == ["heater", "plug"]
    await home.reads(299.0)
    assert home.held == ["plug"]
    assert home.opted_out == []
    await home.reads(900.0)
    assert home.held == ["plug"]
    home.know(event("later", start=START + timedelta(hours=2), values=((60, -2000.0),)))
    await home.at(START + timedelta(hours=2))
    assert "heater" in home.held


async def test_what_comfort_needs_is_not_taken_at_all(event):
    home = Home(home_with(heater=[COLD]))
    home.know(event())
    await home.at(START - MINUTE)
    await home.reads(100.0)
    assert home.executor.overridden(home.clock.now()) == {"heater"}  # so that nothing is promised of it
    await home.at(START)
    assert home.held == []


async def test_an_event_without_any_device_left_is_opted_out_of(event):
    home = Home(home_with(heater=[COLD]))
    home.know(event())
    await home.at(START)
    await home.reads(100.0)
    assert home.opted_out == ["evt"]


async def test_what_was_given_back_stays_so_after_a_restart(event):
    home = Home(home_with(heater=[COLD]))
    home.know(event(values=((60, -2500.0),)))
    await home.at(START)
    await home.reads(100.0)
    home.begin()
    await home.at(START + MINUTE)
    assert home.held == ["plug"]


async def test_a_full_disk_keeps_nobody_from_warmth(event, monkeypatch):
    home = Home(home_with(heater=[COLD]))
    home.know(event(values=((60, -2500.0),)))
    await home.at(START)

    def full(*_):
        raise UnavailableError("no room")

    monkeypatch.setattr(home.store, "set_fact", full)
    await home.reads(100.0)
    assert home.held == ["plug"]


async def test_a_sensor_that_has_been_silent_for_long_decides_nothing(event):
    home = Home(home_with(heater=[COLD]))
    home.know(event())
    home.comfort.take(Reading("meter.power", NOON - timedelta(minutes=30), 100.0))
    assert home.comfort.devices() == {"heater"}
    await home.at(START)
    assert home.held == ["heater"]
    home.comfort.take(Reading("meter.power", NOON - MINUTE, 100.0))  # late: of an hour ago and more
    await home.executor.follow()
    assert home.held == ["heater"]


async def test_an_older_reading_overtakes_no_newer_one(event):
    home = Home(home_with(heater=[COLD]))
    home.know(event())
    await home.at(START)
    await home.reads(500.0)
    home.comfort.take(Reading("meter.power", START - MINUTE, 100.0))
    await home.executor.follow()
    assert home.held == ["heater"]


def test_a_clock_that_is_set_back_makes_no_reading_stand_for_ever():
    clock = ManualClock(NOON)
    comfort = Comfort(home_with(plug=[{"when": "power < 300"}]), Store(None), clock)
    comfort.take(Reading("plug.power", NOON, 100.0))
    clock.set(NOON - timedelta(days=1))
    comfort.take(Reading("plug.power", clock.now(), 900.0))
    assert comfort.devices() == set()


@pytest.mark.parametrize(
    ("when", "value", "holds"),
    [
        ("power < 300", 299.9, True),
        ("power < 300", 300.0, False),
        ("power<=300", 300.0, True),
        ("power > -2.5", -2.4, True),
        ("power >= 10", 9.0, False),
    ],
)
def test_a_rule_compares(when, value, holds):
    comfort = Comfort(home_with(plug=[{"when": when}]), Store(None), ManualClock(NOON))
    comfort.take(Reading("plug.power", NOON, value))
    assert comfort.devices() == ({"plug"} if holds else set())
    assert comfort.gives_up("e", "plug", CapabilityKind.SWITCH) is holds


@pytest.mark.parametrize(
    "when", ["power", "< 3", "power < tank", "power < 1e9", "power = 3", "power < 3 or 1", "a.b.c < 1 "]
)
def test_what_compares_nothing_is_refused(when):
    with pytest.raises(ValueError, match="compare a point with a number"):
        home_with(plug=[{"when": when}])


def test_events_that_are_over_are_forgotten():
    comfort = Comfort(home_with(plug=[{"when": "power > 1"}]), Store(None), ManualClock(NOON))
    comfort.take(Reading("plug.power", NOON, 5.0))
    assert comfort.gives_up("e", "plug", CapabilityKind.SWITCH)
    comfort.forget([])
    assert comfort.given_up("e") == frozenset()
