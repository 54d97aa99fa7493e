"""The executor keeps the devices in step with the events, whatever happens to either."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from bridges.device import Outcome, Rank, State
from bridges.lease_state import Lease, Phase
from core.clock import ManualClock, system_clock
from core.errors import NotFoundError, UnavailableError
from openadr.model.opt import OptType
from support.waiting import until
from ven import executor
from ven.devices import describe
from ven.executor import Executor
from ven.store import Store
from ven.vtn_state import KnownEvent


class Keeper:
    """Remembers what it was told; the real one is tested in its own room."""

    def __init__(self):
        self.open, self.known, self.released, self.broken, self.answers = {}, set(), [], False, {}

    async def command(self, command):
        if self.broken:
            raise UnavailableError("no disk")
        if command.id not in self.known:
            self.known.add(command.id)
            self.open[command.id] = command
        return Outcome(command, self.answers.get(command.id, State.JOURNALLED), command.until)

    async def release(self, command_id):
        if command_id not in self.known:
            raise NotFoundError(command_id)
        self.released.append(self.open.pop(command_id))

    def held(self):
        return [Lease(command, True, Phase.HELD, "on") for command in self.open.values()]


class Home:
    def __init__(self, household, now):
        self.household = household
        self.clock = ManualClock(now)
        self.store = Store(None)
        self.keeper = Keeper()
        self.overridden = []
        self.doubt = None
        self.restart()

    def restart(self):
        devices = describe(self.household, system_clock())
        took_over = self.overridden.append
        self.executor = Executor(
            self.store, self.household, devices, self.keeper, self.clock, took_over, doubt=lambda: self.doubt
        )

    def know(self, event, **more):
        self.store.put_event(KnownEvent(event, "r", more.pop("opt", OptType.IN), **more))

    async def at(self, when):
        self.clock.advance(to=when)
        return await self.executor.follow()

    @property
    def held(self):
        return sorted((one.device, one.value) for one in self.keeper.open.values())


@pytest.fixture
def home(household, bench):
    return Home(household, bench.now)


async def test_orders_are_given_at_their_time_and_end_with_their_lease(home, event):
    one = event()
    start = one.period.start
    home.know(one)
    assert await home.at(start - timedelta(minutes=1)) == start
    assert home.held == []
    assert await home.at(start) == one.period.end
    assert home.held == [("heater", "off")]
    (command,) = home.keeper.open.values()
    assert (command.until, command.by, command.rank) == (one.period.end, "evt", Rank.EVENT)
    await home.at(one.period.end)
    assert home.keeper.released == []  # the lease ends by itself


async def test_nothing_is_commanded_twice(home, event):
    home.know(event())
    for minute in range(5):
        await home.at(event().period.start + timedelta(minutes=minute))
    assert len(home.keeper.known) == 1
    home.restart()
    await home.executor.follow()
    assert len(home.keeper.known) == 1  # the same id after a restart


async def test_a_cancelled_event_gives_its_devices_back(home, event):
    home.know(event())
    now = event().period.start + timedelta(minutes=5)
    await home.at(now)
    home.know(event(cancelled=True, modification=1), stop_at=now)
    await home.executor.follow()
    assert home.held == []
    assert len(home.keeper.released) == 1


async def test_an_opt_out_gives_the_devices_back(home, event):
    home.know(event())
    await home.at(event().period.start)
    home.know(event(), opt=OptType.OUT)
    await home.executor.follow()
    assert home.held == []


async def test_a_modification_replaces_the_orders(home, event):
    home.know(event())
    await home.at(event().period.start)
    home.know(event(modification=1, values=((60, -2400.0),)))
    await home.executor.follow()
    assert home.held == [("heater", "off"), ("plug", "off")]
    assert len(home.keeper.known) == 3


async def test_orders_of_others_are_left_alone(home, event):
    home.know(event())
    await home.at(event().period.start)
    (mine,) = home.keeper.open.values()
    by_hand = replace(mine, id="user-1", by="user", rank=Rank.USER)
    await home.keeper.command(by_hand)
    home.store.forget_events()
    await home.executor.follow()
    assert list(home.keeper.open) == ["user-1"]


async def test_a_test_event_moves_nothing(home, event):
    home.know(event(test_event="true"))
    await home.at(event().period.start)
    assert home.keeper.known == set()


async def test_a_clean_stop_gives_back_and_the_next_start_resumes(home, event):
    home.know(event())
    await home.at(event().period.start)
    (first,) = home.keeper.known
    await home.executor.let_go({"heater", "plug"})
    assert home.held == []
    home.restart()
    await home.executor.follow()
    assert home.held == [("heater", "off")]
    assert set(home.keeper.known) == {first, f"{first}_1"}  # a finished command is not repeated under its own id
    await home.executor.let_go({"heater", "plug"})
    home.restart()
    await home.executor.follow()
    assert f"{first}_2" in home.keeper.known


async def test_a_person_who_takes_all_devices_back_opts_out(home, event):
    home.know(event(values=((60, -2400.0),)))
    await home.at(event().period.start)
    heater, plug = sorted(home.keeper.open.values(), key=lambda one: one.device)
    home.executor.heard(Outcome(heater, State.OVERRIDDEN, home.clock.now()))
    assert home.overridden == []
    assert home.executor.overridden(home.clock.now()) == {"heater"}
    home.executor.heard(Outcome(plug, State.CONFIRMED, home.clock.now()))
    assert home.overridden == []
    home.executor.heard(Outcome(plug, State.OVERRIDDEN, home.clock.now()))
    assert home.overridden == ["evt"]
    assert home.executor.overridden(event().period.end) == set()


async def test_a_full_disk_is_tried_again(home, event):
    home.know(event())
    home.keeper.broken = True
    with pytest.raises(UnavailableError):
        await home.at(event().period.start)
    home.keeper.broken = False
    await home.executor.follow()
    assert home.held == [("heater", "off")]


async def test_the_next_look_is_never_far_away(home):
    now = home.clock.now()
    assert await home.executor.follow() == now + timedelta(hours=6)


async def test_a_lease_given_back_by_mistake_is_taken_again(home, event):
    """The clock ran ahead, the lease ran out, the clock was set right."""
    one = event()
    home.know(one)
    middle = one.period.start + timedelta(minutes=20)
    await home.at(middle)
    (first,) = home.keeper.open
    home.clock.advance(to=one.period.end + timedelta(minutes=5))
    await home.executor.follow()
    home.keeper.open.clear()  # it ran out
    home.clock.set(middle)
    await home.executor.follow()
    assert list(home.keeper.open) == [f"{first}_1"]
    home.restart()
    await home.executor.follow()
    assert list(home.keeper.open) == [f"{first}_1"]


async def test_what_a_person_took_back_is_not_taken_again(home, event):
    home.know(event())
    await home.at(event().period.start)
    (first,) = home.keeper.open.values()
    home.keeper.open.clear()
    home.keeper.answers[first.id] = State.OVERRIDDEN
    home.restart()
    await home.executor.follow()
    assert home.held == []


async def test_nothing_new_is_begun_by_a_clock_in_doubt(home, event):
    home.know(event())
    home.doubt = "it is earlier than it was"
    await home.at(event().period.start)
    assert home.held == []
    home.doubt = None
    await home.executor.follow()
    assert home.held == [("heater", "off")]
    home.doubt = "again"
    home.restart()
    await home.executor.follow()
    assert home.held == [("heater", "off")]  # and nothing is given back
    home.know(event(cancelled=True, modification=1), stop_at=home.clock.now())
    await home.executor.follow()
    assert home.held == []  # unless somebody says so


async def test_what_began_in_the_last_minute_before_a_crash_is_not_given_back_by_a_clock_in_doubt(home, event):
    """The last time that was stored lies before the event's start, and a doubted clock goes on from there."""
    start = event().period.start
    home.know(event())
    await home.at(start + timedelta(seconds=20))
    assert home.held == [("heater", "off")]
    home.clock.set(start - timedelta(seconds=30))
    home.doubt = "it is earlier than it was"
    home.restart()
    await home.executor.follow()
    assert home.held == [("heater", "off")]
    home.know(event(cancelled=True, modification=1), stop_at=home.clock.now())
    await home.executor.follow()
    assert home.held == []


async def test_a_full_disk_keeps_nothing_from_being_given_back(home, event):
    home.know(event())
    await home.at(event().period.start)
    home.know(event(modification=1, values=((60, -2400.0),)))
    home.keeper.broken = True
    with pytest.raises(UnavailableError):
        await home.executor.follow()
    assert home.held == []
    home.keeper.broken = False
    await home.executor.follow()
    home.store.db.execute("PRAGMA query_only = ON")
    await home.executor.let_go({"heater", "plug"})
    assert home.held == []


@pytest.mark.parametrize("by", [timedelta(hours=-3), timedelta(hours=3)])
async def test_after_a_step_of_the_clock_the_plan_is_worked_out_anew(home, event, monkeypatch, by):
    monkeypatch.setattr(executor, "_NAP_S", 0.02)
    home.know(event(start=home.clock.now() + timedelta(hours=2)))
    if by < timedelta():
        home.clock.advance(timedelta(hours=2, minutes=10))
    else:
        home.clock.advance(timedelta(minutes=10))
        by = timedelta(hours=2)
    task = asyncio.create_task(home.executor.run())
    await until(lambda: home.clock._sleepers, "the executor to sleep")
    before = home.held
    home.clock._now += by  # nobody is woken
    await until(lambda: home.held != before, "another plan")
    assert (before == []) is (by > timedelta())
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("days", [0, 1, 30, 1000])
async def test_an_event_of_a_thousand_years_holds_a_device_for_a_day_at_a_time(home, event, days):
    one = event(values=((60 * 24 * 365 * 1000, -2000.0),))
    home.know(one)
    start = one.period.start + timedelta(days=days, hours=1)
    await home.at(start)
    (command,) = home.keeper.open.values()
    assert command.until == one.period.start + timedelta(days=days + 1)
    home.know(event(values=((60 * 24 * 365 * 1000, -2000.0),), cancelled=True, modification=1), stop_at=start)
    await home.executor.follow()
    assert home.held == []
