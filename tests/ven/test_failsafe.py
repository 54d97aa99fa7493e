"""The eight lessons of a gateway that had its failsafe wrong at first, as they hold for OpenADR.

They are those of evcc's EEBUS limits (issues 25545, 29705, 32491, 32492, 33839 of evcc-io/evcc, and what became of
them). OpenADR has no heartbeat: an answered poll is one, and events have absolute times.
"""

from datetime import timedelta

import pytest

from bridges.device import Capability, CapabilityKind, Command
from bridges.lease_state import admitted
from core.errors import InvalidError
from openadr.model.opt import OptType
from openadr.v20b.messages import DistributeEvent, OadrResponse, Poll, RequestEvent, Response
from ven.engine import Failure
from ven.levers import fit
from ven.vtn_state import KnownEvent

from .conftest import NOON, delivered
from .test_executor import Home

MINUTE = timedelta(minutes=1)
START = NOON + timedelta(hours=1)


class House(Home):
    """An engine that hears a VTN, or does not, and an executor on the same store."""

    def __init__(self, household, bench):
        super().__init__(household, bench.now)
        self.bench = bench
        self.store = bench.store
        self.restart()

    async def at(self, when):
        self.bench.now = when
        return await super().at(when)

    def lose_the_vtn(self, until):
        """Let nothing be answered until a time."""
        bench = self.bench
        while bench.now < until:
            if bench.next() is None:
                bench.now = min(until, max(bench.now + timedelta(seconds=1), bench.engine.wake_at(bench.now)))
            else:
                bench.engine.failed(Failure.UNREACHABLE, bench.now)


@pytest.fixture
def house(household, bench):
    return House(household, bench.register())


async def test_1_a_lost_vtn_changes_nothing_about_an_event_that_runs(house, event):
    house.bench.deliver(event())
    await house.at(START)
    assert house.held == [("heater", "off")]
    house.lose_the_vtn(START + 30 * MINUTE)
    await house.at(START + 30 * MINUTE)
    assert house.held == [("heater", "off")]


async def test_2_a_vtn_that_is_back_has_to_say_something_before_anything_changes(house, event):
    house.bench.deliver(event())
    await house.at(START)
    house.lose_the_vtn(START + 10 * MINUTE)
    house.bench.poll(OadrResponse(Response()))  # it lives, and says nothing
    await house.executor.follow()
    assert house.held == [("heater", "off")]


async def test_3_an_event_ends_when_it_said_that_it_would_whether_or_not_the_vtn_is_back(house, event):
    house.bench.deliver(event())
    await house.at(START)
    house.lose_the_vtn(START + 59 * MINUTE)
    await house.at(START + 59 * MINUTE)
    (command,) = house.keeper.open.values()
    assert command.until == START + 60 * MINUTE
    house.lose_the_vtn(START + 61 * MINUTE)
    del house.keeper.open[command.id]  # the lease ran out
    await house.at(START + 61 * MINUTE)
    assert house.held == []


async def test_4_an_event_without_an_end_does_not_expire(house, event):
    house.bench.deliver(event(values=((0, -2000.0),)))
    await house.at(START)
    for day in range(1, 4):
        house.lose_the_vtn(START + timedelta(days=day))
        for command in [each for each in house.keeper.open.values() if each.until <= house.bench.now]:
            del house.keeper.open[command.id]
        await house.at(house.bench.now)
        assert house.held == [("heater", "off")], day


@pytest.mark.parametrize(
    "kind", [CapabilityKind.IMPORT_LIMIT, CapabilityKind.EXPORT_LIMIT, CapabilityKind.CURRENT_LIMIT]
)
def test_5_a_negative_limit_is_none(kind):
    limit = Capability(kind, 7000.0, "W")
    assert fit(limit, -500.0) == 0.0
    with pytest.raises(InvalidError, match="takes 0 to inf"):
        admitted(Command("c", "d", kind, -500.0, START, "evt"), limit, NOON)


@pytest.mark.parametrize("back", ["the event", "nothing"])
async def test_6_after_a_lost_poll_the_vtn_is_asked_for_what_holds(house, event, back):
    house.bench.deliver(event())
    await house.at(START)
    house.lose_the_vtn(START + 2 * MINUTE)
    house.bench.now += 2 * MINUTE
    while not isinstance(message := house.bench.next(), RequestEvent):
        if message is None:
            house.bench.now = house.bench.engine.wake_at(house.bench.now)
        else:
            house.bench.hear(OadrResponse(Response()))
            assert not isinstance(message, Poll) or house.bench.now < START + 6 * MINUTE
    listed = (delivered(event()),) if back == "the event" else ()
    house.bench.hear(DistributeEvent("vtn", "sync", listed, Response()))
    await house.at(house.bench.now)
    assert house.held == ([("heater", "off")] if listed else [])


def test_7_a_limit_is_never_below_what_the_home_needs():
    limit = Capability(CapabilityKind.IMPORT_LIMIT, 11_000.0, "W", floor=4_200.0)
    assert fit(limit, 0.0) == 4_200.0
    value, note = admitted(Command("c", "d", CapabilityKind.IMPORT_LIMIT, 0.0, START, "evt"), limit, NOON)
    assert value == 4_200.0
    assert "raised from 0 to the floor 4200" in note


async def test_8_after_a_restart_what_ran_is_known_before_anything_is_done(house, event):
    house.store.put_event(KnownEvent(event(), "r", OptType.IN))
    await house.at(START)
    before = dict(house.keeper.open)
    house.restart()
    house.bench.engine.start(house.bench.now)
    await house.executor.follow()
    assert house.keeper.open == before
    assert house.keeper.released == []
