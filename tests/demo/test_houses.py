"""The houses at a real broker: they measure, obey, remember, survive; the test speaks plain MQTT to them."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import aiomqtt
import pytest

from core.clock import ManualClock, WorldClock
from evenload.demo.device_messages import hems_id, shelly_id
from evenload.demo.home_log import LOG_NAME, Entry, HouseLog, read_log, switches
from evenload.demo.model import MINUTE, Meter, make_home, make_houses
from evenload.demo.plan import DemoPlan
from evenload.demo.simulated_homes import CLOCK_NAME, Broker, live, running_houses
from support.broker import Broker as Mosquitto
from support.broker import mosquitto
from support.waiting import until

PLAN = DemoPlan(homes=2)
HEMS, PLUG = f"iflex/{hems_id(make_home(1, 1))}", f"shellies/{shelly_id(make_home(1, 2))}"
METER = "meter/home-02/measurement"
OFF = json.dumps({"devices_control": [{"device": "2", "control_device": {"actuator_id": "284", "command": "off"}}]})


@dataclass
class Town:
    """The running houses, the world's time, and everything that was heard at the broker."""

    run: Path
    broker: Mosquitto
    clock: ManualClock
    client: aiomqtt.Client
    heard: list[tuple[str, str, bool]] = field(default_factory=list)

    def said(self, topic: str) -> list[str]:
        return [payload for at, payload, _ in self.heard if at == topic]

    def log(self, home: str, *what: str) -> list[Entry]:
        return [one for one in read_log(self.run / LOG_NAME) if one.home == home and one.what in what]

    async def listen(self) -> None:
        await self.client.subscribe("#", qos=1)
        async for message in self.client.messages:
            self.heard.append((message.topic.value, message.payload.decode(), message.retain))

    async def minutes(self, count: int) -> None:
        """Let so many minutes of the world pass, and wait until both houses have told of each."""
        for _ in range(count):
            told = len(self.said(METER)), len(self.said(f"{HEMS}/measurement"))
            self.clock.advance(MINUTE)
            await until(lambda told=told: len(self.said(METER)) > told[0], "the meter's minute")
            await until(lambda told=told: len(self.said(f"{HEMS}/measurement")) >= told[1] + 4, "the HEMS's minute")

    async def ask(self, topic: str, payload: str) -> None:
        await self.client.publish(topic, payload, qos=1)


@contextlib.asynccontextmanager
async def town(
    broker: Mosquitto, run: Path, clock: ManualClock, *, ignore_commands: bool = False, plan: DemoPlan = PLAN
) -> AsyncIterator[Town]:
    stop = asyncio.Event()
    with HouseLog(run / LOG_NAME) as log:
        begun = len(read_log(run / LOG_NAME))
        houses = running_houses(plan, clock, run / LOG_NAME, log, ignore_commands=ignore_commands)
        async with aiomqtt.Client(broker.host, broker.port) as client, asyncio.TaskGroup() as tasks:
            here = Town(run, broker, clock, client)
            ears = tasks.create_task(here.listen())
            tasks.create_task(live(houses, Broker(broker.host, broker.port), stop))
            await until(
                lambda: sum(one.what == "online" for one in read_log(run / LOG_NAME)[begun:]) == 2, "two houses online"
            )
            yield here
            stop.set()
            ears.cancel()


@pytest.fixture
def broker(tmp_path):
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def clock():
    return ManualClock(PLAN.world_start)


async def test_houses_introduce_themselves_and_keep_their_state_retained(broker, tmp_path, clock):
    async with town(broker, tmp_path, clock), aiomqtt.Client(broker.host, broker.port) as late:
        await late.subscribe("#")
        retained = {}
        async for message in late.messages:
            assert message.retain
            retained[message.topic.value] = message.payload
            if len(retained) == 4:
                break
        assert retained.keys() == {f"{HEMS}/config", f"{HEMS}/state", f"{PLUG}/relay/0", f"{PLUG}/online"}
        assert (retained[f"{PLUG}/relay/0"], retained[f"{PLUG}/online"]) == (b"on", b"true")


async def test_every_minute_is_published_and_equals_the_model(broker, tmp_path, clock, series):
    async with town(broker, tmp_path, clock) as here:
        await here.minutes(5)
        _, shelly = make_houses(PLAN.seed, 2, series)
        meter = Meter(shelly, PLAN.register_start, PLAN.world_start)
        expected = [
            (minute.start.timestamp() + 60, minute.total_w, meter.register_at(meter.at), minute.heater_w)
            for minute in meter.advance(PLAN.world_start + 5 * MINUTE)
        ]
        packs = [json.loads(pack) for pack in here.said(METER)]
        powers = [float(power) for power in here.said(f"{PLUG}/relay/0/power")]
        assert [
            (pytest.approx(pack[0]["bt"]), pytest.approx(pack[1]["v"], abs=0.06), pytest.approx(pack[0]["v"] / 3600), w)
            for pack, w in zip(packs, powers, strict=True)
        ] == [(at, total, wh, pytest.approx(heater, abs=0.006)) for at, total, wh, heater in expected]


async def test_a_command_switches_is_answered_and_shows_in_measurement_and_log(broker, tmp_path, clock):
    async with town(broker, tmp_path, clock) as here:
        before = len(here.said(f"{HEMS}/state"))
        await here.ask(f"{HEMS}/control", OFF)
        await here.ask(f"{PLUG}/relay/0/command", "off")
        await until(lambda: len(here.said(f"{HEMS}/state")) > before, "the HEMS's answer")
        await until(lambda: here.said(f"{PLUG}/relay/0")[-1] == "off", "the plug's answer")
        assert json.loads(here.said(f"{HEMS}/state")[-1])["devices_state"][0]["state"][0]["vs"] == "off"
        await here.minutes(3)
        assert set(here.said(f"{PLUG}/relay/0/power")) == {"0.00"}
        heater = [json.loads(one) for one in here.said(f"{HEMS}/measurement") if "urn:dev:2:283" in one]
        assert [one["v"] for one in heater] == [0, 0, 0]
        await here.ask(f"{PLUG}/relay/0/command", "on")
        await until(lambda: here.said(f"{PLUG}/relay/0")[-1] == "on", "the plug back on")
        log = read_log(tmp_path / LOG_NAME)
        assert [(one.at, one.on) for one in switches(log, "home-01")] == [(PLAN.world_start, False)]
        assert [one.on for one in switches(log, "home-02")] == [False, True]
        told = [one.what for one in here.log("home-02", "command", "switch", "state") if one.value == "off"]
        assert told == ["command", "switch", "state"]


async def test_a_repeated_command_is_answered_and_switches_nothing(broker, tmp_path, clock):
    async with town(broker, tmp_path, clock) as here:
        for count in (2, 3, 4):
            await here.ask(f"{PLUG}/relay/0/command", "on")
            await until(lambda count=count: len(here.log("home-02", "state")) == count, "another answer")
        assert here.log("home-02", "switch") == []


async def test_a_meter_tells_its_past_in_half_hours_and_the_last_one_fits_the_live_register(broker, tmp_path, clock):
    async with town(broker, tmp_path, clock) as here:
        start = PLAN.world_start - timedelta(days=PLAN.history_days)
        request = json.dumps({"from": start.isoformat(), "to": PLAN.world_start.isoformat()})
        await here.ask(f"{METER}/get", request)
        await here.ask(f"{HEMS}/measurement/get", request)
        for home in ("home-01", "home-02"):
            await until(lambda home=home: here.log(home, "history"), "history")
        await until(lambda: len(here.said(METER)) == 2 == len(here.said(f"{HEMS}/measurement")), "both packs of each")
        for topic, per_s, per_wh in ((METER, 1, 3600), (f"{HEMS}/measurement", 1000, 1)):
            records = [record for pack in here.said(topic) for record in json.loads(pack)]
            stamps = [datetime.fromtimestamp(one["t"] / per_s, UTC) for one in records]
            assert stamps == [start + n * timedelta(minutes=30) for n in range(48 * PLAN.history_days + 1)]
            values = [one["v"] / per_wh for one in records]
            assert all(later > earlier for earlier, later in pairwise(values))
        last_wh = json.loads(here.said(METER)[-1])[-1]["v"] / 3600
        await here.minutes(1)
        register, power = json.loads(here.said(METER)[-1])
        assert register["v"] / 3600 - last_wh == pytest.approx(power["v"] / 60, abs=0.01)


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("0001-01-01", "0001-01-02", 0),
        ("9999-12-31T23:59:59", "9999-12-31T23:59:59", 0),
        ("0001-01-01", "9999-12-31T23:59:59", 48 * 21 + 34),
        ("2013-11-20T16:29:00Z", "2013-11-20T16:31:00Z", 1),
    ],
)
async def test_a_meter_tells_only_what_it_has(broker, tmp_path, clock, start, end, count):
    async with town(broker, tmp_path, clock) as here:
        await here.ask(f"{METER}/get", json.dumps({"from": start, "to": end}))
        await until(lambda: here.log("home-02", "history"), "an answer")
        assert here.log("home-02", "history")[0].value == str(count)


async def test_the_newcomer_s_meter_remembers_nothing_and_measures_like_any_other(broker, tmp_path, clock):
    async with town(broker, tmp_path, clock, plan=replace(PLAN, newcomer=2)) as here:
        request = json.dumps({"from": "2013-11-20", "to": "2013-11-20T01:00"})
        await here.ask(f"{METER}/get", request)
        await here.ask(f"{PLUG}/relay/0/command", "off")
        await until(lambda: here.log("home-02", "switch"), "what was asked after the history")
        await here.minutes(1)
        assert not here.log("home-02", "history", "error")
        assert len(here.said(METER)) == 1


async def test_nonsense_is_logged_and_the_house_lives_on(broker, tmp_path, clock):
    async with town(broker, tmp_path, clock) as here:
        await here.ask(f"{HEMS}/control", "nonsense")
        await here.ask(f"{HEMS}/control", "[" * 20_000)
        await here.ask(f"{HEMS}/control", OFF)
        await until(lambda: here.log("home-01", "switch"), "the switch after the nonsense")
        assert len(here.log("home-01", "error")) == 2


async def test_a_retained_order_is_too_old_to_obey(broker, tmp_path, clock):
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.publish(f"{PLUG}/relay/0/command", "off", qos=1, retain=True)
    async with town(broker, tmp_path, clock) as here:
        await here.ask(f"{PLUG}/command", "update")
        await until(lambda: len(here.log("home-02", "state")) == 2, "the answer to what came later")
        assert here.log("home-02", "command", "switch") == []


async def test_faulty_houses_neither_switch_nor_answer(broker, tmp_path, clock):
    async with town(broker, tmp_path, clock, ignore_commands=True) as here:
        await here.ask(f"{PLUG}/relay/0/command", "off")
        await here.ask(f"{METER}/get", json.dumps({"from": "2013-11-20", "to": "2013-11-20T01:00"}))
        await until(lambda: here.log("home-02", "history"), "what was asked after the command")
        assert [one.what for one in here.log("home-02", "command", "ignored", "switch", "state")] == [
            "state",
            "command",
            "ignored",
        ]
        assert here.said(f"{PLUG}/relay/0") == ["on"]


async def test_houses_reconnect_and_say_their_state_again(broker, tmp_path, clock):
    stop = asyncio.Event()
    path = tmp_path / LOG_NAME
    with HouseLog(path) as log:
        houses = running_houses(PLAN, clock, path, log)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(live(houses, Broker(broker.host, broker.port), stop))
            await until(lambda: sum(one.what == "online" for one in read_log(path)) == 2, "both online")
            broker.kill()
            await until(lambda: sum(one.what == "error" for one in read_log(path)) == 2, "both have noticed")
            clock.advance(30 * MINUTE)
            broker.start()
            await until(lambda: sum(one.what == "online" for one in read_log(path)) == 4, "both online again")
            stop.set()
    assert sum(one.what == "offline" for one in read_log(path)) == 2


async def test_restarted_houses_go_on_where_the_log_ends(broker, tmp_path, clock, series):
    async with town(broker, tmp_path, clock) as here:
        await here.ask(f"{HEMS}/control", OFF)
        await until(lambda: here.log("home-01", "switch"), "the switch")
        await here.minutes(2)
    async with town(broker, tmp_path, clock) as here:
        assert json.loads(here.said(f"{HEMS}/state")[-1])["devices_state"][0]["state"][0]["vs"] == "off"
        await here.minutes(1)
        (energy_wh,) = [json.loads(one)["v"] for one in here.said(f"{HEMS}/measurement") if "urn:dev:1:160" in one]
        log = switches(read_log(tmp_path / LOG_NAME), "home-01")
    (house,) = make_houses(PLAN.seed, 1, series)
    unbroken = Meter(house, PLAN.register_start, PLAN.world_start)
    for flip in log:
        unbroken.switch(flip)
    list(unbroken.advance(PLAN.world_start + 3 * MINUTE))
    assert energy_wh == pytest.approx(unbroken.register_at(unbroken.at), abs=1e-3)


async def test_the_process_runs_on_the_world_s_clock_and_ends_cleanly(tmp_path):
    (tmp_path / "password").write_text("secret\n")
    origin = datetime.now(UTC)
    WorldClock(PLAN.world_start, origin, 240.0).save(tmp_path / CLOCK_NAME)
    with mosquitto(tmp_path, password="secret", username="houses") as broker:
        await _run_process(tmp_path, broker)
    log = read_log(tmp_path / LOG_NAME)
    assert {one.home for one in log if one.what == "online"} == {"home-01", "home-02", "home-03"}
    assert {one.home for one in log if one.what == "offline"} == {"home-01", "home-02", "home-03"}
    assert all(PLAN.world_start <= one.time < PLAN.world_start + timedelta(days=1) for one in log)


async def _run_process(run: Path, broker: Mosquitto) -> None:
    command = [sys.executable, "-m", "evenload.demo.simulated_homes", "--run", run, "--broker-port", str(broker.port)]
    command += ["--username", "houses", "--password-file", run / "password", "--homes", "3"]
    async with aiomqtt.Client(broker.host, broker.port, username="houses", password="secret") as client:
        await client.subscribe(METER)
        process = await asyncio.create_subprocess_exec(*command, env=_environment())
        try:
            stamps = []
            async for message in client.messages:
                stamps.append(json.loads(message.payload)[0]["bt"])
                if len(stamps) == 8:
                    break
            assert all(stamp % 60 == 0 for stamp in stamps)
            assert stamps == sorted(set(stamps))
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def test_a_run_without_a_clock_is_a_clear_error(tmp_path):
    command = [sys.executable, "-m", "evenload.demo.simulated_homes", "--run", tmp_path]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "not a clock file" in done.stderr
    assert "Traceback" not in done.stderr


def _environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    return {**os.environ, "PYTHONPATH": str(root)}
