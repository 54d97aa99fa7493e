"""A device is used by so many events a day, and no more."""

from datetime import UTC, datetime, timedelta

import pytest

from core.clock import ManualClock
from core.errors import UnavailableError
from ven.daily_use import DailyUse
from ven.household import Household
from ven.store import Store

from .conftest import HOUSEHOLD, NOON
from .test_comfort import Home

HOUR = timedelta(hours=1)


def home_with(most, zone="UTC"):
    devices = [
        entry | ({"limits": {"max_per_day": most}} if entry["id"] == "heater" else {}) for entry in HOUSEHOLD["devices"]
    ]
    return Household.model_validate(HOUSEHOLD | {"devices": devices, "site": {"time_zone": zone}})


async def test_the_next_event_does_without_it(event):
    home = Home(home_with(1))
    home.know(event("one", start=NOON + HOUR, values=((60, -2500.0),)))
    home.know(event("two", start=NOON + 3 * HOUR, values=((60, -2500.0),)))
    home.know(event("three", start=NOON + 5 * HOUR))
    await home.at(NOON + HOUR)
    assert home.held == ["heater", "plug"]
    await home.at(NOON + 1.5 * HOUR)
    assert home.held == ["heater", "plug"]  # the same event goes on
    home.keeper.open.clear()
    await home.at(NOON + 3 * HOUR)
    assert home.held == ["plug"]
    assert home.opted_out == []
    await home.at(NOON + 5 * HOUR)
    assert home.opted_out == ["three"]  # it had nothing else


async def test_what_was_used_is_known_after_a_restart(event):
    home = Home(home_with(1))
    home.know(event("one", start=NOON + HOUR))
    await home.at(NOON + HOUR)
    home.keeper.open.clear()
    home.begin()
    home.know(event("two", start=NOON + 3 * HOUR))
    await home.at(NOON + 3 * HOUR)
    assert home.held == []


@pytest.mark.parametrize(("zone", "again"), [("UTC", False), ("Pacific/Auckland", True)])
def test_a_day_is_a_local_one(zone, again):
    clock = ManualClock(datetime(2026, 3, 2, 10, 30, tzinfo=UTC))  # 23:30 in Auckland
    use = DailyUse(home_with(1, zone), Store(None), clock)
    assert use.allows("one", "heater")
    assert not use.allows("two", "heater")
    clock.advance(HOUR)
    assert use.allows("two", "heater") is again


def test_what_has_no_limit_is_not_counted():
    use = DailyUse(home_with(0), Store(None), ManualClock(NOON))
    assert not use.allows("one", "heater")
    assert all(use.allows(f"e{number}", "plug") for number in range(50))


def test_a_full_disk_changes_nothing_about_the_limit(monkeypatch):
    store = Store(None)
    use = DailyUse(home_with(1), store, ManualClock(NOON))

    def full(*_):
        raise UnavailableError("no room")

    monkeypatch.setattr(store, "set_fact", full)
    assert use.allows("one", "heater")
    assert not use.allows("two", "heater")
