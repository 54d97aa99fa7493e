"""The gateway's sign of life."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from bridges.connections import NoConnection
from core.clock import ManualClock
from core.errors import UnavailableError
from support.waiting import until
from ven.heartbeat import Heartbeat
from ven.household import Household

from .conftest import HOUSEHOLD

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Broker(NoConnection):
    def __init__(self):
        self.sent, self.fails = [], 0

    async def publish(self, topic, payload, qos=1, *, retain=False):
        if self.fails:
            self.fails -= 1
            raise UnavailableError("away")
        self.sent.append((topic, json.loads(payload), qos, retain))


def home(**plan):
    return Household.model_validate(HOUSEHOLD | {"heartbeat": plan})


async def test_it_says_each_minute_that_the_gateway_lives(tmp_path):
    broker, clock = Broker(), ManualClock(NOON)
    (tmp_path / "temp").write_text("48312\n")
    beats = Heartbeat(home(), {"mqtt": broker}, clock, NOON - timedelta(hours=2), tmp_path / "temp")
    broker.fails = 1
    work = asyncio.create_task(beats.run())
    async with asyncio.timeout(20):
        while len(broker.sent) < 3:
            clock.advance(to=clock.now() + timedelta(seconds=10))
            await asyncio.sleep(0.01)
    work.cancel()
    topic, words, qos, retain = broker.sent[0]
    assert (topic, qos, retain) == ("evenload/home/heartbeat", 0, False)
    gap = datetime.fromisoformat(broker.sent[1][1]["at"]) - datetime.fromisoformat(words["at"])
    assert gap >= timedelta(minutes=1)
    assert words["since"] == "2026-03-02T10:00:00+00:00"
    assert words["cpu_temperature"] == 48.3
    assert words["ip"] in ("127.0.0.1", "::1")
    assert words["runtime"].startswith("evenload ")
    assert words["firmware"]


async def test_a_clock_set_back_by_a_day_does_not_silence_it_for_a_day(monkeypatch):
    monkeypatch.setattr("core.clock._LONGEST_NAP_S", 0.02)
    broker, clock = Broker(), ManualClock(NOON)
    work = asyncio.create_task(Heartbeat(home(), {"mqtt": broker}, clock, NOON).run())
    await until(lambda: clock._sleepers, "the wait after the first")
    clock.set(NOON - timedelta(days=1))
    await asyncio.sleep(0.1)
    assert len(broker.sent) == 1
    clock.advance(timedelta(minutes=1))
    await until(lambda: len(broker.sent) == 2, "the second")
    work.cancel()


@pytest.mark.parametrize("text", ["", "hot", "9" * 5000])
def test_a_machine_that_tells_no_temperature_has_none(tmp_path, text):
    (tmp_path / "temp").write_text(text)
    beats = Heartbeat(home(), {}, ManualClock(NOON), NOON, tmp_path / "temp")
    words = beats.words("no-such-host.invalid")
    assert (words["cpu_temperature"], words["ip"]) == (None, None)


async def test_without_a_plan_nothing_is_said():
    household = Household.model_validate(HOUSEHOLD)
    await Heartbeat(household, {}, ManualClock(NOON), NOON).run()


def test_it_is_not_said_too_often():
    with pytest.raises(ValueError, match="ten seconds"):
        home(every="PT1S")
