"""The drivers on an in-memory link, and one of them with leases on a real broker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from bridges import iflex, senml
from bridges.backfill_request import HistoryRequest, read_request, request_topic, write_request
from bridges.backoff import Backoff
from bridges.connections import Handler, Message
from bridges.connections.mqtt import MqttConnection
from bridges.connections.mqtt_options import MqttOptions
from bridges.device import (
    Backfill,
    Command,
    Contact,
    Device,
    DeviceSpec,
    Driver,
    Observable,
    Outcome,
    State,
    Value,
)
from bridges.drivers import load, sources
from bridges.journal import Journal
from bridges.leases import LeaseManager, Pace
from core.clock import ManualClock, system_clock
from core.errors import InvalidError, UnavailableError
from core.points import Flow, Kind, Phase, Point, Quantity, Reading
from support.broker import mosquitto
from support.waiting import until

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Wire:
    """A link to no broker: what is published is kept, what is delivered goes to the handlers."""

    def __init__(self) -> None:
        self.connected = True
        self.sent: list[tuple[str, str]] = []
        self.handlers: dict[str, list[Handler]] = {}
        self.observers: list[Callable[[bool], None]] = []

    async def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        if not self.connected:
            raise UnavailableError("not connected")
        assert qos == 1
        assert not retain
        self.sent.append((topic, payload if isinstance(payload, str) else payload.decode()))

    async def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        assert qos in (0, 1)
        self.handlers.setdefault(topic_filter, []).append(handler)

    async def unsubscribe(self, topic_filter: str, handler: Handler) -> None:
        self.handlers[topic_filter].remove(handler)

    def observe(self, observer: Callable[[bool], None]) -> None:
        self.observers.append(observer)

    def turn(self, *, up: bool) -> None:
        self.connected = up
        for observer in self.observers:
            observer(up)

    def deliver(self, topic: str, payload: object, *, retained: bool = False) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        for handler in list(self.handlers[topic]):
            assert handler(Message(topic, text.encode(), retained)) is None


class House:
    """A driver, and what it told us."""

    def __init__(self, name: str, options: dict[str, object], ident: str = "heater") -> None:
        self.wire, self.clock = Wire(), ManualClock(NOW)
        spec = DeviceSpec(ident, name, "water_heater", 2000.0, options)
        self.driver: Driver = load(name).create(spec, self.wire, self.clock)
        self.readings: list[Reading] = []
        self.states: list[tuple[str, Value, datetime]] = []
        self.contacts: list[Contact] = []
        assert isinstance(self.driver, Observable)
        self.driver.observe(self.contacts.append)

    async def start(self) -> "House":
        await self.driver.start(self.readings.append, lambda *state: self.states.append(state))
        return self


SHELLY: dict[str, object] = {"id": "shellyplug-s-1"}
HEMS: dict[str, object] = {
    "hems_id": "HEMS-1",
    "device_id": 2,
    "actuator_id": 284,
    "points": {"energy": "Import - active energy", "power": 283, "voltage_l1": "Voltage L1"},
}
RELAY = "shellies/shellyplug-s-1/relay/0"


async def test_shelly_describes_itself() -> None:
    house = await House("shelly1", SHELLY | {"normal": "off", "min_interval_s": 60}).start()
    device = house.driver.describe()
    assert (device.id, device.role, device.nominal_w) == ("heater", "water_heater", 2000.0)
    assert device.points == (
        Point("heater.power", Quantity.POWER_REAL, Kind.INSTANT),
        Point("heater.energy", Quantity.ENERGY_REAL, Kind.REGISTER),
    )
    (switch,) = device.capabilities
    assert (switch.name, switch.normal, switch.values) == ("switch", "off", ("on", "off"))
    assert switch.min_interval == MINUTE
    assert not switch.hardware_lease
    assert not isinstance(house.driver, Backfill)


async def test_shelly_readings_and_states() -> None:
    house = await House("shelly1", SHELLY).start()
    assert house.wire.sent == [("shellies/shellyplug-s-1/command", "update")]
    house.wire.deliver(f"{RELAY}/power", "1987.5")
    house.wire.deliver(f"{RELAY}/energy", "90")  # watt-minutes
    house.wire.deliver(f"{RELAY}/energy", "90", retained=True)
    house.wire.deliver(f"{RELAY}/power", "5", retained=True)
    assert house.readings == [Reading("heater.power", NOW, 1987.5), Reading("heater.energy", NOW, 1.5)]
    assert house.driver.state("switch") is None
    house.wire.deliver(RELAY, "on")
    house.clock.advance(MINUTE)
    house.wire.deliver(RELAY, "overpower")
    assert house.states == [("switch", "on", NOW), ("switch", "off", NOW + MINUTE)]
    assert house.driver.state("switch") == "off"


async def test_shelly_orders() -> None:
    house = await House("shelly1", SHELLY | {"relay": 1}).start()
    house.wire.sent.clear()
    await house.driver.apply("switch", "off", NOW + MINUTE)
    assert house.wire.sent == [
        ("shellies/shellyplug-s-1/relay/1/command", "off"),
        ("shellies/shellyplug-s-1/command", "update"),
    ]
    for capability, value in (("switch", "dim"), ("switch", 0.0), ("import_limit", "off")):
        with pytest.raises(InvalidError):
            await house.driver.apply(capability, value, None)
    house.wire.connected = False
    with pytest.raises(UnavailableError):
        await house.driver.apply("switch", "on", None)


async def test_shelly_comes_and_goes() -> None:
    house = await House("shelly1", SHELLY).start()
    online = "shellies/shellyplug-s-1/online"
    assert house.driver.online  # until its last will has spoken
    house.wire.deliver(online, "true", retained=True)
    house.wire.deliver(online, "false")
    assert not house.driver.online
    house.wire.deliver("shellies/announce", {"id": "shellyplug-s-2"})
    assert not house.driver.online
    house.wire.deliver("shellies/announce", {"id": "shellyplug-s-1", "model": "SHPLG-S"})
    assert house.driver.online
    await until(lambda: len(house.wire.sent) == 2, "the greeting")
    house.wire.turn(up=False)
    assert not house.driver.online
    house.wire.sent.clear()
    house.wire.turn(up=True)
    await until(lambda: house.wire.sent == [("shellies/shellyplug-s-1/command", "update")])
    assert house.contacts == [Contact.LOST, Contact.RESTARTED, Contact.LOST, Contact.LINK]


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "12 W", "9" * 65])
async def test_shelly_nonsense_is_refused(text: str) -> None:
    house = await House("shelly1", SHELLY).start()
    for topic in (f"{RELAY}/power", f"{RELAY}/energy", RELAY):
        with pytest.raises(InvalidError):
            house.wire.deliver(topic, text)
    assert house.readings == []


async def test_a_stopped_driver_is_silent() -> None:
    for name, options in (("shelly1", SHELLY), ("iflex", HEMS), ("senml_meter", {"id": "1"})):
        house = await House(name, options).start()
        await house.driver.stop()
        assert not any(house.wire.handlers.values())
        house.wire.turn(up=False)
        assert house.contacts == []


def measure(sensor: int, name: str, value: float, unit: str, at: datetime = NOW, device: int = 2) -> str:
    return iflex.write_measurements([iflex.Measurement(str(device), str(sensor), name, at, value, unit)])


async def test_iflex_readings() -> None:
    house = await House("iflex", HEMS).start()
    topic = "iflex/HEMS-1/measurement"
    house.wire.deliver(topic, measure(517, "Import active energy", 1.5, "kWh", NOW - MINUTE))  # both spellings
    house.wire.deliver(topic, measure(283, "whatever it is called", 230.0, "W"))
    house.wire.deliver(topic, measure(289, "Voltage L1", 231.5, ""))
    house.wire.deliver(topic, measure(289, "Voltage L1", 231.5, "V", device=3))
    house.wire.deliver(topic, measure(290, "Voltage L2", 231.5, "V"))
    house.wire.deliver(topic, {"bn": "urn:dev:2:283", "n": "Active power", "vs": "high"})
    assert house.readings == [
        Reading("heater.energy", NOW - MINUTE, 1500.0),
        Reading("heater.power", NOW, 230.0),
        Reading("heater.voltage_l1", NOW, 231.5),
    ]
    assert house.driver.describe().points[2] == Point(
        "heater.voltage_l1", Quantity.VOLTAGE, Kind.INSTANT, Flow.IMPORT, Phase.L1
    )
    with pytest.raises(InvalidError, match="Cannot turn"):
        house.wire.deliver(topic, measure(283, "Active power", 1.0, "V"))
    with pytest.raises(InvalidError, match="out of range"):
        house.wire.deliver(topic, measure(517, "Import active energy", 1e308, "kWh"))  # of Wh there are no so many
    assert len(house.readings) == 3


async def test_a_reading_from_the_future_counts_from_its_arrival() -> None:
    house = await House("iflex", HEMS).start()
    with structlog.testing.capture_logs() as logs:
        house.wire.deliver("iflex/HEMS-1/measurement", measure(283, "Active power", 1.0, "W", NOW + 120 * MINUTE))
    assert house.readings == [Reading("heater.power", NOW, 1.0)]
    assert "clock is wrong" in logs[0]["event"]


class Metered(House):
    """A meter whose clock is wrong; it counts 10 Wh a minute."""

    def __init__(self, name: str, options: dict[str, object]) -> None:
        super().__init__(name, options, "meter")
        self.name, self.count = name, 0

    def send(self, stamp: object, *, retained: bool = False) -> None:
        self.count += 1
        register = 1000.0 + 10 * self.count
        if self.name == "iflex":
            topic = "iflex/HEMS-1/measurement"
            record = {"bn": "urn:dev:2:517", "n": "Import active energy", "u": "Wh"}
        else:
            topic, record = "meter/home-7/measurement", {"bn": "urn:dev:meter:home-7:", "n": "energy", "u": "Wh"}
        time = {} if stamp is None else {"t": stamp}
        self.wire.deliver(topic, [record | time | {"v": register}], retained=retained)


METERS = pytest.mark.parametrize(("name", "options"), [("senml_meter", {"id": "home-7"}), ("iflex", HEMS)])


@METERS
@pytest.mark.parametrize("unit", [1, 1000])
async def test_a_device_that_sends_1970_until_it_has_the_time_counts_from_arrival(
    name: str, options: dict[str, object], unit: int
) -> None:
    house = Metered(name, options)
    await house.start()
    for minute in range(24):
        up_s = 13 + 60 * minute
        house.send(up_s * unit if minute < 12 else house.clock.now().timestamp() * unit)
        house.clock.advance(MINUTE)
    ten_wh_a_minute = [(NOW + minute * MINUTE, 1010.0 + 10 * minute) for minute in range(24)]
    assert [(one.start, one.value) for one in house.readings] == ten_wh_a_minute


@METERS
@pytest.mark.parametrize(
    "off", [timedelta(hours=2), -timedelta(hours=2), timedelta(minutes=6), -timedelta(days=9000), -timedelta(hours=7)]
)
async def test_readings_of_a_clock_that_is_far_off_count_from_their_arrival(
    name: str, options: dict[str, object], off: timedelta
) -> None:
    house = Metered(name, options)
    await house.start()
    for _ in range(4):
        house.send((house.clock.now() + off).isoformat())
        house.clock.advance(MINUTE)
    at = [one.start for one in house.readings]
    assert at[1:] == [NOW + minute * MINUTE for minute in (1, 2, 3)]
    house.send((house.clock.now() - timedelta(seconds=5)).isoformat())
    assert house.readings[-1].start == house.clock.now() - timedelta(seconds=5)


async def test_what_a_meter_remembers_keeps_its_age() -> None:
    house = await House("senml_meter", {"id": "home-7"}, "meter").start()
    past = [NOW - timedelta(days=20) + timedelta(minutes=30 * half) for half in range(96)]
    for day in (past[:48], past[48:]):
        records = [senml.Record("urn:dev:meter:home-7:", "energy", at, float(at.hour)) for at in day]
        house.wire.deliver("meter/home-7/measurement", senml.write(records))
        house.clock.advance(timedelta(seconds=2))
    assert [one.start for one in house.readings] == past


async def test_quarter_hours_that_come_late_keep_their_time() -> None:
    house = Metered("senml_meter", {"id": "home-7"})
    await house.start()
    late = timedelta(minutes=31)
    for _ in range(4):
        house.send((house.clock.now() - late).isoformat())
        house.clock.advance(15 * MINUTE)
    assert [one.start for one in house.readings] == [NOW - late + quarter * 15 * MINUTE for quarter in range(4)]


@METERS
async def test_a_retained_value_without_a_time_is_not_fresh(name: str, options: dict[str, object]) -> None:
    house = Metered(name, options)
    await house.start()
    for stamp in (None, 0, -5, 13, "1970-01-01T00:00:13Z", (NOW + 30 * MINUTE).isoformat()):
        house.send(stamp, retained=True)
    assert house.readings == []
    house.send((NOW - 90 * MINUTE).isoformat(), retained=True)
    assert [one.start for one in house.readings] == [NOW - 90 * MINUTE]


async def test_iflex_switch() -> None:
    house = await House("iflex", HEMS).start()
    at = NOW - timedelta(seconds=3)
    states = [iflex.ActuatorState("2", "284", "off", at), iflex.ActuatorState("2", "9", "on", at)]
    house.wire.deliver("iflex/HEMS-1/state", iflex.write_state(states))
    assert house.states == [("switch", "off", at)]
    assert house.driver.state("switch") == "off"
    await house.driver.apply("switch", "on", None)
    topic, payload = house.wire.sent[-1]
    assert topic == "iflex/HEMS-1/control"
    assert iflex.read_control(payload) == (iflex.Order("2", "284", "on"),)
    with pytest.raises(InvalidError):
        await house.driver.apply("switch", 1.0, None)
    with pytest.raises(InvalidError):
        house.wire.deliver("iflex/HEMS-1/state", iflex.write_state([iflex.ActuatorState("2", "284", "dim", at)]))


async def test_iflex_sensor_only_and_own_topics() -> None:
    house = await House("iflex", {"hems_id": "H", "device_id": "3", "topics": {"measurement": "a/{hems_id}/m"}}).start()
    assert house.driver.describe().capabilities == ()
    assert sorted(house.wire.handlers) == ["a/H/m", "iflex/H/config"]
    with pytest.raises(InvalidError):
        await house.driver.apply("switch", "on", None)
    assert isinstance(house.driver, Backfill)
    await house.driver.history(NOW - 60 * MINUTE, NOW)
    topic, payload = house.wire.sent[-1]
    assert topic == "a/H/m/get"
    assert read_request(payload) == HistoryRequest(NOW - 60 * MINUTE, NOW, "3")


async def test_iflex_config_is_compared() -> None:
    house = await House("iflex", HEMS).start()
    fitting = iflex.Element(
        "2",
        "plug",
        "Actuator",
        (iflex.Control("284"),),
        (
            iflex.Sensor("517", "Import - active energy", "Wh"),
            iflex.Sensor("283", "Active power", "W"),
            iflex.Sensor("289", "Voltage L1", "V"),
        ),
    )
    with structlog.testing.capture_logs() as logs:
        house.wire.deliver("iflex/HEMS-1/config", iflex.write_config(iflex.Config("HEMS-1", NOW, (fitting,))))
        assert logs == []
        bare = iflex.Element("2", "plug", "Actuator")
        house.wire.deliver("iflex/HEMS-1/config", iflex.write_config(iflex.Config("HEMS-1", NOW, (bare,))))
        house.wire.deliver("iflex/HEMS-1/config", iflex.write_config(iflex.Config("HEMS-1", NOW, ())))
    events = [log["event"] for log in logs]
    assert ["sensors" in event for event in events] == [True, False, False]
    assert ["actuator" in event for event in events] == [False, True, False]
    assert ["such device" in event for event in events] == [False, False, True]


async def test_senml_meter() -> None:
    house = await House("senml_meter", {"id": "home-7", "period_s": 300}, "meter").start()
    pack = senml.write(
        [
            senml.Record("urn:dev:meter:home-7:", "energy", NOW, 1234.5, "kWh"),
            senml.Record("urn:dev:meter:home-7:", "power", NOW, 350.0, "W"),
            senml.Record("urn:dev:meter:home-7:", "frequency", NOW, 50.0, "Hz"),
            senml.Record("urn:dev:meter:home-7:energy", "", NOW, 7.0, "Wh"),
        ]
    )
    house.wire.deliver("meter/home-7/measurement", pack)
    assert house.readings == [
        Reading("meter.energy", NOW, 1_234_500.0),
        Reading("meter.power", NOW - 5 * MINUTE, 350.0, 5 * MINUTE),
        Reading("meter.energy", NOW, 7.0),
    ]
    energy, power = house.driver.describe().points
    assert (energy.kind, power.kind) == (Kind.REGISTER, Kind.MEAN)
    assert isinstance(house.driver, Backfill)
    await house.driver.history(NOW - MINUTE, NOW)
    assert house.wire.sent == [
        ("meter/home-7/measurement/get", '{"from":"2026-03-02T16:59:00+00:00","to":"2026-03-02T17:00:00+00:00"}')
    ]
    with pytest.raises(InvalidError):
        await house.driver.apply("switch", "on", None)


def test_history_requests() -> None:
    request = HistoryRequest(NOW - MINUTE, NOW)
    assert read_request(write_request(request)) == request
    assert request_topic("a/b") == "a/b/get"
    for payload in ("", "[]", "{}", '{"from": 1, "to": 2}', '{"from": "x", "to": "y"}'):
        with pytest.raises(InvalidError):
            read_request(payload)


def test_every_driver_declares_its_options() -> None:
    for name, source in sources().items():
        schema = source.load().Options.model_json_schema()
        assert schema["additionalProperties"] is False
        for field, rule in schema["properties"].items():
            assert rule.get("title") or "$ref" in rule, (name, field)
            assert rule.get("description"), (name, field)


def test_wrong_drivers_and_options() -> None:
    with pytest.raises(
        InvalidError, match=r"There is no driver 'zigbee'; do you mean zigbee2mqtt_plug.*`evenload devices`"
    ):
        load("zigbee")
    with pytest.raises(InvalidError, match=r"Device heater \(shelly1\): id: is missing; ident: unknown name"):
        House("shelly1", {"ident": "x"})
    with pytest.raises(InvalidError, match="unknown points pover"):
        House("iflex", HEMS | {"points": {"pover": "Active power"}})
    spec = DeviceSpec("heater", "shelly1", "x", None, load("shelly1").Options(id="a"))
    assert load("shelly1").create(spec, Wire(), ManualClock(NOW)).describe().id == "heater"


class Plug:
    """A Shelly on the other side of a broker."""

    def __init__(self, link: MqttConnection, value: str = "on") -> None:
        self.link, self.value = link, value
        self.switched: list[str] = []

    async def start(self) -> None:
        await self.link.subscribe(f"{RELAY}/command", self.obey)
        await self.link.subscribe("shellies/shellyplug-s-1/command", self.speak)

    async def obey(self, message: Message) -> None:
        value = message.payload.decode()
        if value != self.value:
            self.value = value
            self.switched.append(value)
            await self.speak(message)

    async def speak(self, _: Message) -> None:
        await self.link.publish(RELAY, self.value)


@contextlib.asynccontextmanager
async def running(*works: object) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_lease_outlives_the_broker(tmp_path: Path) -> None:
    clock = system_clock()
    outcomes: list[Outcome] = []

    def link(broker_port: int, client_id: str) -> MqttConnection:
        return MqttConnection(MqttOptions(host="127.0.0.1", port=broker_port, client_id=client_id), Backoff(0.05, 0.2))

    with mosquitto(tmp_path) as broker:
        ours, theirs = link(broker.port, "gateway"), link(broker.port, "plug")
        plug = Plug(theirs)
        await plug.start()
        driver = load("shelly1").create(DeviceSpec("heater", "shelly1", "plug", None, SHELLY), ours, clock)
        journal = Journal(tmp_path / "leases.db")
        keeper = LeaseManager({"heater": driver}, journal, clock, outcomes.append, Pace(ack_s=0.5, settle_s=0.1))
        await keeper.recover()
        await driver.start(lambda _: None, keeper.listener("heater"))
        async with running(ours.run(), theirs.run(), keeper.run()):
            await until(lambda: driver.state("switch") == "on")
            await keeper.command(Command("c1", "heater", "switch", "off", clock.now() + 60 * MINUTE, "event-1"))
            await until(lambda: [outcome.state for outcome in outcomes][-1] is State.CONFIRMED)
            broker.kill()
            await until(lambda: not driver.online)
            await keeper.release("c1")  # the end comes while the broker is away
            broker.start()
            await until(lambda: [outcome.state for outcome in outcomes][-1] is State.RESTORED)
        assert plug.switched == ["off", "on"]
        assert [outcome.state for outcome in journal.outcomes("c1")] == [
            State.JOURNALLED,
            State.SENT,
            State.CONFIRMED,
            State.RESTORED,
        ]
        journal.close()


def test_device_finds_its_capability() -> None:
    assert Device("a", "b").capability("switch") is None


class Kept:
    """A driver on a wire with a keeper behind it: one heater, switched off by a lease and confirmed."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.outcomes = house, list[Outcome]()
        self.journal = Journal(folder / "leases.db")
        pace = Pace(ack_s=0.2, settle_s=0.05, first_word_s=0.05, longest_s=0.2)
        self.keeper = LeaseManager({"heater": house.driver}, self.journal, house.clock, self.outcomes.append, pace)

    @contextlib.asynccontextmanager
    async def living(self, off: Callable[[], None]) -> AsyncIterator["Kept"]:
        await self.keeper.recover()
        await self.house.driver.start(lambda _: None, self.keeper.listener("heater"))
        async with running(self.keeper.run()):
            await self.keeper.command(Command("c1", "heater", "switch", "off", NOW + 60 * MINUTE, "event-1"))
            await until(lambda: self.orders() == ["off"], "the order")
            off()
            await until(lambda: State.CONFIRMED in self.states(), "the confirmation")
            yield self
        self.journal.close()

    def states(self) -> list[State]:
        return [outcome.state for outcome in self.outcomes]

    def orders(self) -> list[str]:
        sent = [text for topic, text in self.house.wire.sent if topic in (f"{RELAY}/command", "iflex/HEMS-1/control")]
        return [text if text in ("on", "off") else iflex.read_control(text)[0].command for text in sent]

    def words(self, value: str, at: datetime = NOW, *, retained: bool = False) -> None:
        if self.house.driver.describe().points[0].id.endswith("power"):
            self.house.wire.deliver(RELAY, value, retained=retained)
        else:
            state = iflex.write_state([iflex.ActuatorState("2", "284", value, at)])
            self.house.wire.deliver("iflex/HEMS-1/state", state, retained=retained)


BOTH = pytest.mark.parametrize(("name", "options"), [("shelly1", SHELLY), ("iflex", HEMS)])


@BOTH
async def test_a_retained_state_is_no_confirmation_and_no_hand(tmp_path: Path, name: str, options: Any) -> None:
    kept = Kept(House(name, options), tmp_path)
    async with kept.living(lambda: kept.words("off")):
        kept.words("on", retained=True)
        assert State.OVERRIDDEN not in kept.states()
        await kept.keeper.release("c1")
        await until(lambda: kept.orders()[-1] == "on", "the restore")
        kept.words("on", retained=True)
        assert State.RESTORED not in kept.states()
        kept.house.clock.advance(MINUTE)
        kept.words("on", kept.house.clock.now())
        await until(lambda: State.RESTORED in kept.states(), "the device's own word")


async def test_an_iflex_state_three_hours_old_confirms_nothing(tmp_path: Path) -> None:
    kept = Kept(House("iflex", HEMS), tmp_path)
    async with kept.living(lambda: kept.words("off")):
        await kept.keeper.release("c1")
        await until(lambda: kept.orders()[-1] == "on", "the restore")
        kept.words("on", NOW - 180 * MINUTE)
        kept.words("on", NOW - 180 * MINUTE)
        assert State.RESTORED not in kept.states()
        kept.words("on", NOW)
        await until(lambda: State.RESTORED in kept.states(), "the device's own word")


async def test_a_hems_whose_clock_is_wrong_is_understood(tmp_path: Path) -> None:
    kept = Kept(House("iflex", HEMS), tmp_path)
    clock, wrong = kept.house.clock, timedelta(hours=2)
    async with kept.living(lambda: kept.words("off")):
        await kept.keeper.release("c1")
        await until(lambda: kept.orders()[-1] == "on", "the restore")
        kept.words("on", clock.now() - wrong)
        assert State.RESTORED not in kept.states()
        clock.advance(timedelta(seconds=15))
        kept.words("on", clock.now() - wrong)
        await until(lambda: State.RESTORED in kept.states(), "the word of a clock that runs")


@BOTH
async def test_an_old_on_after_a_crash_of_the_broker_is_no_hand(tmp_path: Path, name: str, options: Any) -> None:
    kept = Kept(House(name, options), tmp_path)
    async with kept.living(lambda: kept.words("off")):
        kept.house.clock.advance(MINUTE)
        kept.house.wire.turn(up=False)
        kept.house.wire.turn(up=True)
        kept.words("on", NOW - MINUTE, retained=True)
        kept.words("on", kept.house.clock.now())  # it has just started, too
        await until(lambda: kept.orders() == ["off", "off"], "the order again")
        assert State.OVERRIDDEN not in kept.states()


async def test_a_shelly_that_starts_is_no_person(tmp_path: Path) -> None:
    kept = Kept(House("shelly1", SHELLY), tmp_path)
    async with kept.living(lambda: kept.words("off")):
        kept.house.wire.deliver("shellies/shellyplug-s-1/online", "true")  # its last will never came
        kept.house.wire.deliver("shellies/announce", {"id": "shellyplug-s-1"})
        kept.words("on")
        await until(lambda: kept.orders() == ["off", "off"], "the order again")
        kept.words("off")
        await until(lambda: kept.keeper.held()[0].phase.value == "held", "the lease held again")
        assert State.OVERRIDDEN not in kept.states()
        kept.words("on")  # and this is one
        assert State.OVERRIDDEN in kept.states()


async def test_a_hems_that_starts_is_no_person(tmp_path: Path) -> None:
    kept = Kept(House("iflex", HEMS), tmp_path)
    async with kept.living(lambda: kept.words("off")):
        kept.house.clock.advance(MINUTE)
        now = kept.house.clock.now()
        kept.house.wire.deliver("iflex/HEMS-1/config", iflex.write_config(iflex.Config("HEMS-1", now, ())))
        kept.words("on", now)
        await until(lambda: kept.orders() == ["off", "off"], "the order again")
        assert State.OVERRIDDEN not in kept.states()


async def test_a_hems_that_reappears_is_told_what_it_missed() -> None:
    house = await House("iflex", HEMS).start()
    house.wire.turn(up=False)
    house.wire.turn(up=True)
    await house.driver.apply("switch", "on", None)
    house.wire.deliver("iflex/HEMS-1/measurement", measure(283, "Active power", 1.0, "W"))
    house.wire.deliver("iflex/HEMS-1/measurement", measure(283, "Active power", 1.0, "W"))
    assert house.contacts == [Contact.LOST, Contact.LINK, Contact.RESTARTED]


@pytest.mark.parametrize("word", ["", "TRUE", "1", "online", "\x00", "offline"])
async def test_an_unknown_word_of_presence_changes_nothing(word: str) -> None:
    house = await House("shelly1", SHELLY).start()
    house.wire.deliver("shellies/shellyplug-s-1/online", word)
    assert house.driver.online
    assert house.contacts == []
    house.wire.deliver("shellies/shellyplug-s-1/online", "false")
    house.wire.deliver("shellies/shellyplug-s-1/online", word)
    assert not house.driver.online
    house.wire.deliver(f"{RELAY}/power", "12")  # any word shows that it is there
    assert house.driver.online
    assert house.contacts == [Contact.LOST, Contact.RESTARTED]


async def test_a_stored_state_stands_in_until_the_device_speaks() -> None:
    house = await House("shelly1", SHELLY).start()
    house.wire.deliver(RELAY, "off", retained=True)
    assert (house.driver.state("switch"), house.states) == ("off", [])
    house.wire.deliver(RELAY, "on")
    house.wire.deliver(RELAY, "off", retained=True)
    assert house.driver.state("switch") == "on"


async def test_an_overtaken_state_is_not_the_state() -> None:
    house = await House("iflex", HEMS).start()
    for value, at in (("on", NOW), ("off", NOW - MINUTE)):
        state = iflex.write_state([iflex.ActuatorState("2", "284", value, at)])
        house.wire.deliver("iflex/HEMS-1/state", state)
    assert house.driver.state("switch") == "on"
