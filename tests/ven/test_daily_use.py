"""A device is used by so many events a day, and no more."""

from datetime import UTC, datetime, timedelta

import pytest

from core.clock import ManualClock
from core.errors import UnavailableError
from core.points import Reading
from openadr.model.opt import OptType
from ven.daily_use import DailyUse
from ven.household import Household
from ven.opt_policy import HouseholdOptPolicy
from ven.store import Store

from .conftest import HOUSEHOLD, NOON
from .test_comfort import COLD, Home
from .test_comfort import home_with as comfort_home

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


def test_a_clock_that_was_wrong_for_a_while_makes_no_day_a_new_one():
    clock, store = ManualClock(NOON), Store(None)
    use = DailyUse(home_with(1), store, clock)
    assert use.allows("one", "heater")
    clock.set(NOON + timedelta(days=9))
    assert use.allows("two", "heater")
    clock.set(NOON + timedelta(minutes=1))
    assert not use.allows("three", "heater")
    assert not DailyUse(home_with(1), store, clock).allows("three", "heater")


def test_days_of_late_are_remembered_and_no_others():
    clock, store = ManualClock(NOON), Store(None)
    use = DailyUse(home_with(1), store, clock)
    for day in range(100):
        clock.set(NOON + timedelta(days=day))
        assert use.allows(f"e{day}", "heater")
    assert len(store.fact("used")["days"]) == 4


def test_what_an_earlier_version_noted_counts():
    store = Store(None)
    store.set_fact("used", {"day": NOON.date().isoformat(), "users": {"heater": ["one"]}})
    assert not DailyUse(home_with(1), store, ManualClock(NOON)).allows("two", "heater")


# -- how long


def home_for(longest, zone="UTC", **more):
    devices = [
        entry | ({"limits": {"max_time_per_day": longest, **more}} if entry["id"] == "heater" else {})
        for entry in HOUSEHOLD["devices"]
    ]
    return Household.model_validate(HOUSEHOLD | {"devices": devices, "site": {"time_zone": zone}})


async def test_a_device_is_given_back_when_its_time_of_the_day_is_over(event):
    home = Home(home_for("PT90M"))
    home.know(event("one", start=NOON + HOUR, values=((60, -2500.0),)))
    home.know(event("two", start=NOON + 3 * HOUR, values=((60, -2500.0),)))
    await home.at(NOON + HOUR)
    assert home.held == ["heater", "plug"]
    await home.at(NOON + 2 * HOUR)
    assert home.held == []
    following = await home.at(NOON + 3 * HOUR)
    assert home.held == ["heater", "plug"]
    leases = [command.until for command in home.keeper.open.values() if command.device == "heater"]
    assert max(leases) == following == NOON + 3.5 * HOUR  # also if the gateway should not be there any more
    await home.at(following)
    assert home.held == ["plug"]
    assert home.opted_out == []


async def test_the_event_hears_of_it_once_nothing_is_left(event):
    home = Home(home_for("PT30M"))
    home.know(event("one", start=NOON + HOUR, values=((60, -1500.0),)))
    await home.at(NOON + HOUR)
    await home.at(NOON + 1.5 * HOUR)
    assert (home.held, home.opted_out) == ([], ["one"])


async def test_an_event_over_midnight_does_not_begin_again(event):
    home = Home(home_for("PT2H"))
    home.know(event("night", start=NOON + 9 * HOUR, values=((360, -1500.0),)))  # 21:00 to 03:00
    await home.at(NOON + 9 * HOUR)
    assert home.held == ["heater"]
    await home.at(NOON + 11 * HOUR)
    assert home.held == []
    home.begin()  # also after a restart
    await home.at(NOON + 12.5 * HOUR)
    assert home.held == []


async def test_two_events_at_once_count_once(event):
    home = Home(home_for("PT2H"))
    home.know(event("one", start=NOON + HOUR, values=((60, -1500.0),)))
    home.know(event("two", start=NOON + HOUR, values=((120, -1500.0),)))
    await home.at(NOON + 2.5 * HOUR)
    assert home.held == ["heater"]


@pytest.mark.parametrize("start", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)])
async def test_a_days_limit_holds_at_the_ends_of_the_calendar(event, start):
    home = Home(home_for("PT10M", zone="Pacific/Auckland", max_per_day=1))
    home.know(event("odd", start=start))
    home.know(event("one", start=NOON + HOUR, values=((60, -1500.0),)))
    await home.at(NOON + HOUR)
    assert home.held == ["heater"]
    await home.at(NOON + 1.25 * HOUR)
    assert home.held == []


# -- what is answered


@pytest.mark.parametrize("limits", [{"max_per_day": 1}, {"max_time_per_day": "PT1H"}, {"max_per_day": 0}])
async def test_an_event_that_would_not_get_its_device_is_opted_out_of(event, limits):
    devices = [entry | ({"limits": limits} if entry["id"] == "heater" else {}) for entry in HOUSEHOLD["devices"]]
    household = Household.model_validate(HOUSEHOLD | {"devices": devices, "site": {"time_zone": "UTC"}})
    home = Home(household)
    judge = HouseholdOptPolicy(household, home.devices, home.executor.withheld)

    def answer(number, hours, watts=-1500.0):
        coming = event(f"e{number}", start=NOON + hours * HOUR, values=((60, watts),))
        verdict = judge.judge(coming, "ven-1")
        if verdict.opt is OptType.IN:
            home.know(coming)
        return verdict.opt, verdict.reason

    never = limits == {"max_per_day": 0}
    assert answer(1, 1)[0] is (OptType.OUT if never else OptType.IN)
    assert answer(2, 4) == (OptType.OUT, "heater: it is used enough on that day")
    assert answer(3, 6, -2500.0)[0] is OptType.IN  # there is the plug, too
    assert answer(4, 25)[0] is (OptType.OUT if never else OptType.IN)  # another day


async def test_an_event_that_runs_already_is_not_taken_for_a_cold_tank(event):
    home = Home(home_with_comfort())
    judge = HouseholdOptPolicy(home.household, home.devices, home.executor.withheld)
    home.comfort.take(Reading("meter.power", NOON, 200.0))
    assert (
        judge.judge(event(start=NOON, values=((60, -1500.0),)), "ven-1").reason == "heater: comfort: meter.power < 300"
    )
    assert judge.judge(event(start=NOON + HOUR, values=((60, -1500.0),)), "ven-1").opt is OptType.IN  # warm by then


def home_with_comfort():
    return comfort_home(heater=[COLD])
