"""Copies of readings: stored with the reading, sent in order, at least once, and bounded."""

import asyncio
import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from bridges import senml
from bridges.connections import NoConnection
from core.clock import system_clock
from core.errors import UnavailableError
from core.points import Quality, Reading
from ven.copies import Copier, CopyQueue, backlogs
from ven.devices import describe
from ven.household import Household
from ven.readings_store import Ring
from ven.store import Store

from .conftest import HOUSEHOLD

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Broker(NoConnection):
    """Keeps what it gets; `fails` says how many messages it loses first."""

    def __init__(self):
        self.sent, self.fails = [], 0

    async def publish(self, topic, payload, qos=1, *, retain=False):
        assert (qos, retain) == (1, False)
        if self.fails:
            self.fails -= 1
            raise UnavailableError("away")
        self.sent.append((topic, payload))


class Home:
    def __init__(self, *copies, store=None):
        self.household = Household.model_validate(HOUSEHOLD | {"copies": copies})
        self.store = store or Store(None)
        self.broker = Broker()
        self.begin()

    def begin(self):
        self.queue = CopyQueue(self.store, self.household.copies)
        self.ring = Ring(self.store, 10_000, self.queue.put)
        points = [each for device in describe(self.household, system_clock()).values() for each in device.points]
        self.copier = Copier(self.household, self.queue, {"mqtt": self.broker}, points)

    async def all(self):
        for copy in self.household.copies:
            while await self.copier.send(copy):
                pass
        return self.broker.sent


def reading(minute, value=1.0, point="meter.energy", duration=None, quality=Quality.GOOD):
    return Reading(point, NOON + minute * MINUTE, value, duration, quality)


async def test_readings_go_out_in_their_order_and_once():
    home = Home({"id": "cloud"})
    home.ring.add([reading(2), reading(0), reading(2)])
    home.ring.add([reading(1), reading(0)])  # the last is known
    sent = await home.all()
    assert [json.loads(payload)["t"][14:16] for _, payload in sent] == ["02", "00", "01"]
    assert sent[0] == (
        "evenload/home/meter/energy",
        '{"v":1.0,"u":"Wh","t":"2026-03-02T12:02:00+00:00"}',
    )
    assert await home.all() == sent
    assert [each.waiting for each in backlogs(home.store, home.household)] == [0]


async def test_what_a_reading_is_goes_with_it():
    home = Home({"id": "cloud"})
    home.ring.add([reading(0, 5.5, "meter.power", MINUTE, Quality.ESTIMATED)])
    ((_, payload),) = await home.all()
    assert json.loads(payload) == {
        "v": 5.5,
        "u": "W",
        "t": "2026-03-02T12:00:00+00:00",
        "duration_s": 60.0,
        "quality": "estimated",
    }


async def test_what_the_broker_did_not_take_comes_again_after_a_restart():
    home = Home({"id": "cloud", "batch": 2})
    home.ring.add([reading(minute) for minute in range(4)])
    home.broker.fails = 1
    with pytest.raises(UnavailableError):
        await home.copier.send(home.household.copies[0])
    home.begin()  # killed
    sent = await home.all()
    assert [json.loads(payload)["t"][14:16] for _, payload in sent] == ["00", "01", "02", "03"]


async def test_a_batch_that_broke_off_comes_again_as_a_whole():
    home = Home({"id": "cloud", "batch": 2})
    home.ring.add([reading(0), reading(1)])
    publish = home.broker.publish

    async def second_is_lost(topic, payload, qos=1, *, retain=False):
        if home.broker.sent:
            home.broker.publish = publish
            raise UnavailableError("away")
        await publish(topic, payload, qos, retain=retain)

    home.broker.publish = second_is_lost
    with pytest.raises(UnavailableError):
        await home.copier.send(home.household.copies[0])
    sent = await home.all()
    assert [json.loads(payload)["t"][14:16] for _, payload in sent] == ["00", "00", "01"]  # at least once


async def test_a_copy_has_the_points_and_names_that_it_asks_for():
    home = Home(
        {"id": "energy", "points": ["*.energy"], "names": {"meter.energy": "E"}, "topic": "a/{home}/{device}/{point}"},
        {"id": "plug", "points": ["plug.*"], "topic": "b/{hardware_id}", "hardware_id": "H+1"},
    )
    home.ring.add([reading(0), reading(0, point="plug.power"), reading(0, point="plug.energy")])
    assert [topic for topic, _ in await home.all()] == ["a/home/meter/E", "a/home/plug/energy", "b/H_1", "b/H_1"]


async def test_too_many_that_wait_cost_the_oldest_and_are_counted():
    home = Home({"id": "cloud", "keep": 100})
    for minute in range(250):
        home.ring.add([reading(minute)])
    (backlog,) = backlogs(home.store, home.household)
    assert backlog.waiting + backlog.dropped == 250
    assert backlog.waiting <= 100
    home.begin()
    sent = await home.all()
    assert len(sent) == backlog.waiting
    assert json.loads(sent[-1][1])["t"] == (NOON + 249 * MINUTE).isoformat()


async def test_what_is_taken_back_with_its_reading_is_not_counted(monkeypatch):
    home = Home({"id": "cloud", "keep": 100})

    def full(*_):
        raise UnavailableError("no room")

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(home.ring, "_cap", 0)
            patch.setattr(home.ring, "_drop", full)
            with pytest.raises(UnavailableError):
                home.ring.add([reading(minute) for minute in range(60)])
    home.ring.add([reading(minute) for minute in range(60)])
    assert [(each.waiting, each.dropped) for each in backlogs(home.store, home.household)] == [(60, 0)]
    assert len(await home.all()) == 60


async def test_what_waits_for_a_copy_that_is_gone_is_forgotten():
    home = Home({"id": "cloud"})
    home.ring.add([reading(0)])
    other = Home({"id": "other"}, store=home.store)
    other.queue.forget_others()
    assert home.store.rows("SELECT count(*) FROM copies")[0][0] == 0


async def test_senml_is_read_back_as_it_was():
    home = Home({"id": "s", "format": "senml", "batch": 10, "hardware_id": "høme", "points": ["meter.*"]})
    home.ring.add([reading(0, 12.0), reading(1, 250.0, "meter.power", MINUTE)])
    ((topic, payload),) = await home.all()
    assert topic == "evenload/home/senml"
    assert [(record.name, record.at, record.value, record.unit) for record in senml.read(payload, None)] == [
        ("urn:dev:ven:h_me:meter:energy", NOON, 12.0, "Wh"),
        ("urn:dev:ven:h_me:meter:power", NOON + 2 * MINUTE, 250.0, "W"),
    ]


async def test_iflex_gets_an_object_a_message():
    home = Home(
        {"id": "s", "format": "iflex", "names": {"meter.energy": "Import active energy"}, "hardware_id": "4JDB"}
    )
    home.ring.add([reading(0, 1.25)])
    ((topic, payload),) = await home.all()
    assert topic == "iflex/4JDB/measurement"
    assert json.loads(payload) == {
        "bn": "urn:dev:ven:4JDB:meter:",
        "t": int(NOON.timestamp() * 1000),
        "n": "Import active energy",
        "u": "Wh",
        "v": 1.25,
    }


async def test_sitewhere_gets_the_values_of_a_moment_together():
    names = {
        "meter.energy": "electricity.energy.active.consumed.total",
        "meter.power": "electricity.power.active.consumed.total",
    }
    home = Home({"id": "s", "format": "sitewhere", "names": names, "batch": 3, "topic": "SiteWhere/input/json"})
    home.ring.add([reading(0, 5.0), reading(0, 300.0, "meter.power"), reading(1, 6.0)])
    sent = await home.all()
    assert {topic for topic, _ in sent} == {"SiteWhere/input/json"}
    assert json.loads(sent[0][1]) == {
        "hardwareId": "home",
        "type": "DeviceMeasurements",
        "request": {
            "measurements": {
                "electricity.energy.active.consumed.total": 5.0,
                "electricity.power.active.consumed.total": 300.0,
            },
            "eventDate": "2026-03-02T12:00:00+00:00",
            "updateState": True,
        },
    }
    assert len(sent) == 2


async def test_sitewhere_gets_batches():
    home = Home({"id": "s", "format": "sitewhere", "batch": 30})
    home.ring.add([reading(minute, float(minute)) for minute in range(40)])
    sent = await home.all()
    assert [topic for topic, _ in sent] == ["SiteWhere/input/jsonbatch"] * 2
    batch = json.loads(sent[1][1])
    assert batch["hardwareId"] == "home"
    assert len(batch["measurements"]) == 10
    assert batch["measurements"][0] == {"measurements": {"energy": 30.0}, "eventDate": "2026-03-02T12:30:00+00:00"}


@pytest.mark.parametrize("form", ["json", "senml", "iflex", "sitewhere"])
async def test_a_reading_that_cannot_be_written_holds_up_no_other(form):
    home = Home({"id": "s", "format": form, "batch": 3, "topic": "t"})
    home.ring.add([reading(0, 5.5), reading(1, math.inf), reading(2, 6.5)])
    sent = "".join(str(payload) for _, payload in await home.all())
    assert "5.5" in sent
    assert "6.5" in sent
    assert "nfinity" not in sent
    assert [each.waiting for each in backlogs(home.store, home.household)] == [0]


@pytest.mark.parametrize("topic", ["SiteWhere/input/json", "SiteWhere/input/jsonbatch"])
async def test_readings_of_one_name_and_time_do_not_hide_each_other(topic):
    home = Home({"id": "s", "format": "sitewhere", "batch": 3, "topic": topic})
    home.ring.add([reading(0, 5.5), reading(0, 7.25, "plug.energy")])
    sent = "".join(payload for _, payload in await home.all())
    assert '"energy":5.5' in sent
    assert '"energy":7.25' in sent


async def test_it_sends_what_comes_and_goes_on_after_trouble():
    home = Home({"id": "cloud"}, {"id": "again", "topic": "again/{point}"})
    home.broker.fails = 1
    work = asyncio.create_task(home.copier.run())
    home.ring.add([reading(0)])
    async with asyncio.timeout(20):
        while len(home.broker.sent) < 2:  # noqa: ASYNC110  the broker tells nobody
            await asyncio.sleep(0.01)
    home.ring.add([reading(1)])
    async with asyncio.timeout(20):
        while len(home.broker.sent) < 4:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)
    work.cancel()
    assert sorted({topic for topic, _ in home.broker.sent}) == ["again/energy", "evenload/home/meter/energy"]
