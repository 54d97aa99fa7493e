"""Home Assistant's discovery: what publishers announce becomes templates that can be used, and nothing does harm."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bridges.connections import Handler, Message, NoConnection
from bridges.device import CapabilityKind, DeviceSpec
from bridges.discovery import Collector, FoundDevice
from bridges.discovery.homeassistant import HomeAssistantCollector
from bridges.template import DeviceBody, StateTemplate, Template, meaning
from bridges.templated import create
from bridges.value_template import read
from core.clock import ManualClock
from core.points import Flow, Kind, Phase, Quantity, to_unit
from support.homeassistant_announcements import (
    EMS_ESP,
    EMS_ESP_THERMOSTAT,
    ESPHOME,
    OPENDTU,
    OPENMQTTGATEWAY,
    TASMOTA,
    WALLBOX,
    ZIGBEE2MQTT,
    ZWAVE_JS_UI,
    Announcements,
)

EVERYTHING = (
    EMS_ESP | EMS_ESP_THERMOSTAT | ZIGBEE2MQTT | ZWAVE_JS_UI | ESPHOME | OPENMQTTGATEWAY | OPENDTU | TASMOTA | WALLBOX
)

WORKED_OUT = pytest.mark.skipif(
    "template" not in StateTemplate.model_fields, reason="device templates do not work values out by templates"
)


def collected(*announcements: Announcements) -> HomeAssistantCollector:
    collector = HomeAssistantCollector()
    for announcement in announcements:
        for topic, message in announcement.items():
            collector.take(topic, json.dumps(message).encode())
    return collector


def device(announcements: Announcements, key: str = "") -> FoundDevice:
    devices = [found for found in collected(announcements).devices() if key in found.key]
    assert len(devices) == 1
    return devices[0]


def body(found: FoundDevice, directory: Path) -> DeviceBody:
    """Write a device's template to a file, and read it as any other."""
    path = directory / "announced.yaml"
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(found.template, stream)
    return Template(path).example


def one(component: str, config: dict[str, Any], **identity: Any) -> FoundDevice:
    """Return the device of one entity beside one that says whether it is there."""
    config = {"dev": {"ids": "d1", "name": "Thing"} | identity, "avty_t": "d1/status"} | config
    return device({f"homeassistant/{component}/d1/{config.get('obj_id', component)}/config": config})


def why(found: FoundDevice) -> str:
    assert len(found.skipped) == 1
    return found.skipped[0][1]


def test_the_collector_is_one() -> None:
    collector: Collector = HomeAssistantCollector()
    assert collector.topics == ("homeassistant/+/+/config", "homeassistant/+/+/+/config")


@WORKED_OUT
def test_every_template_can_be_used_as_it_is(tmp_path: Path) -> None:
    devices = collected(EVERYTHING).devices()
    assert [found.key for found in devices] == sorted(found.key for found in devices)
    assert len(devices) == 10
    templates = [found for found in devices if found.template is not None]
    assert len(templates) == 9
    for found in templates:
        assert found.source == "homeassistant"
        assert found.driver is None
        assert body(found, tmp_path)


def test_ems_esp(tmp_path: Path) -> None:
    found = device(EMS_ESP, "boiler")
    assert (found.name, found.maker, found.model) == ("ems-esp Boiler", "Bosch", "Compress 6000AW")
    assert found.role == "heat_pump"
    template = body(found, tmp_path)
    assert template.points["power"].path == "hppower"  # what stands in for a missing value is no reading
    assert (template.points["energy"].path, template.points["energy"].unit) == ("nrgconstotal", "kWh")
    assert meaning("x", template.points["outdoortemp"])[:2] == (Quantity.TEMPERATURE, Kind.INSTANT)
    limit = template.capabilities[CapabilityKind.IMPORT_LIMIT]
    assert (limit.low, limit.high, limit.normal, limit.set.topic) == (0, 6000, 6000, "ems-esp/boiler/hppowerlimit")
    assert template.capabilities[CapabilityKind.SETPOINT].state.path == "dhw.seltemp"
    switch = template.capabilities[CapabilityKind.SWITCH]
    assert switch.set.words == {"on": "true", "off": "false"}
    assert switch.state.words == {"true": "on", "false": "off"}
    assert template.presence is not None
    assert (template.presence.topic, template.presence.online) == ("ems-esp/status", ("online",))
    skipped = dict(found.skipped)
    assert skipped["sensor Total energy supplied"] == "Its name says that it is heat."
    assert skipped["text Holiday"] == "Entities of the kind text are not used here."
    assert "already" in skipped["number Selected flow temperature"]
    assert set(skipped) >= {"select Boiler pump mode", "sensor Burner current power"}


def test_the_presence_of_a_bridge_counts_for_what_is_behind_it() -> None:
    collector = collected(EMS_ESP)
    assert "capabilities" in str(collector.devices()[1].template)
    collector.take("homeassistant/binary_sensor/ems-esp/system_status/config", b"")
    boiler = collector.devices()[0]
    assert boiler.template is not None
    assert "capabilities" not in boiler.template
    assert "when it starts" in dict(boiler.skipped)["switch Heizen aktiviert"]


def test_what_tells_a_presence_with_every_value_tells_no_start() -> None:
    owner = {"ids": "d1", "name": "Thing"}
    switch = SWITCH | {"dev": owner, "val_tpl": "{{ value_json.relay }}"}
    link = {"stat_t": "d1/link", "dev_cla": "connectivity", "pl_on": "up", "pl_off": "down", "dev": owner}
    topics = ("homeassistant/switch/d1/relay/config", "homeassistant/binary_sensor/d1/link/config")
    found = device(dict(zip(topics, (switch, link), strict=True)))
    assert found.template is not None
    assert found.template["presence"] == {"topic": "d1/link", "online": "up", "offline": "down"}
    beside = link | {"stat_t": "d1/state", "val_tpl": "{{ value_json.link }}"}
    for entities in ((switch, beside), (switch | {"avty_t": "d1/state"}, beside)):
        assert device(dict(zip(topics, entities, strict=True))).template is None


@WORKED_OUT
def test_a_thermostat_has_a_setpoint_and_a_mode(tmp_path: Path) -> None:
    found = device(EMS_ESP_THERMOSTAT | EMS_ESP, "thermostat")
    assert found.template is not None
    setpoint = found.template["capabilities"]["setpoint"]
    assert (setpoint["low"], setpoint["high"], setpoint["normal"]) == (5, 29, 20)
    assert setpoint["set"] == {"topic": "ems-esp/thermostat/hc1/seltemp"}
    mode = found.template["capabilities"]["mode"]
    assert (mode["values"], mode["normal"]) == (["auto", "heat", "off"], "auto")
    template = read(mode["state"]["template"])
    assert template.value('{"hc1":{"mode":"manual"}}') == "heat"
    assert body(found, tmp_path).points["hc_1"].path == "hc1.currtemp"


def test_zigbee2mqtt(tmp_path: Path) -> None:
    found = device(ZIGBEE2MQTT)
    assert (found.name, found.role, found.maker) == ("Laundry", "plug", "TuYa")
    template = body(found, tmp_path)
    assert set(template.points) == {"power", "energy", "voltage_l1", "current_l1"}
    assert template.presence is not None
    assert (template.presence.topic, template.presence.path) == ("zigbee2mqtt/Laundry/availability", "state")
    # After its own start zigbee2mqtt sends old states from its cache.
    assert [(start.topic, start.path, start.equals) for start in template.starts] == [
        ("zigbee2mqtt/bridge/state", "state", "online")
    ]
    switch = template.capabilities[CapabilityKind.SWITCH]
    assert (switch.normal, switch.state.path, switch.set.words) == ("on", "state", {"on": "ON", "off": "OFF"})
    assert {what for what, _ in found.skipped} == {
        "select Power outage memory",
        "sensor Linkquality",
        "switch Child lock",
        "update update",
    }


class Wire(NoConnection):
    """A connection to nothing that keeps what is sent, and who listens."""

    connected = True  # type: ignore[assignment]

    def __init__(self) -> None:
        self.sent: list[tuple[object, ...]] = []
        self.handlers: dict[str, tuple[Handler, int]] = {}

    async def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        self.sent.append((topic, payload, qos, retain))

    async def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        self.handlers[topic_filter] = handler, qos


async def test_an_announced_device_is_read_and_switched(tmp_path: Path) -> None:
    found = device(ZIGBEE2MQTT)
    body(found, tmp_path)
    wire, readings, states = Wire(), [], []
    spec = DeviceSpec("laundry", "announced", found.role, None, {})
    driver = create(Template(tmp_path / "announced.yaml"), spec, wire, ManualClock(datetime(2026, 3, 2, tzinfo=UTC)))
    await driver.start(readings.append, lambda kind, value, _: states.append((kind, value)))
    message = {"state": "ON", "power": 812.4, "energy": 3.5, "voltage": 231, "current": 3.6, "linkquality": 120}
    wire.handlers["zigbee2mqtt/Laundry"][0](Message("zigbee2mqtt/Laundry", json.dumps(message).encode()))
    assert {reading.point: reading.value for reading in readings} == {
        "laundry.power": 812.4,
        "laundry.energy": 3500,
        "laundry.voltage_l1": 231,
        "laundry.current_l1": 3.6,
    }
    assert states == [("switch", "on")]
    await driver.apply(CapabilityKind.SWITCH, "off", None)
    assert wire.sent == [("zigbee2mqtt/Laundry/set", "OFF", 1, False)]


@WORKED_OUT
def test_zwave_js_ui(tmp_path: Path) -> None:
    found = device(ZWAVE_JS_UI)
    assert found.template is not None
    assert found.template["presence"]["topic"] == "zwave/Cellar/Heater/status"
    assert found.template["capabilities"]["switch"]["state"] == {
        "topic": "zwave/Cellar/Heater/37/0/currentValue",
        "path": "value",
        "words": {"true": "on", "false": "off"},
    }
    template = body(found, tmp_path)
    assert set(template.points) == {"energy", "power"}
    assert len(template.starts) == 2
    assert found.skipped == (("light dimmer", "It is a light that is not switched by words."),)


def test_esphome(tmp_path: Path) -> None:
    found = device(ESPHOME)
    assert (found.key, found.role) == ("homeassistant:a4cf12000001", "grid_meter")
    template = body(found, tmp_path)
    assert {name: meaning(name, source) for name, source in template.points.items()} == {
        "power": (Quantity.POWER_REAL, Kind.INSTANT, Flow.IMPORT, Phase.TOTAL),
        "export_power": (Quantity.POWER_REAL, Kind.INSTANT, Flow.EXPORT, Phase.TOTAL),
        "export_energy": (Quantity.ENERGY_REAL, Kind.REGISTER, Flow.EXPORT, Phase.TOTAL),
        "energy_consumed_tariff_1": (Quantity.ENERGY_REAL, Kind.REGISTER, Flow.IMPORT, Phase.TOTAL),
        "energy_consumed_tariff_2": (Quantity.ENERGY_REAL, Kind.REGISTER, Flow.IMPORT, Phase.TOTAL),
        "voltage_l1": (Quantity.VOLTAGE, Kind.INSTANT, Flow.IMPORT, Phase.L1),
        "voltage_l2": (Quantity.VOLTAGE, Kind.INSTANT, Flow.IMPORT, Phase.L2),
    }
    assert template.capabilities[CapabilityKind.SWITCH].set.topic == "utility-meter/switch/relay/command"
    assert dict(found.skipped)["button Restart"] == "A button has no state that could be given back."


@WORKED_OUT
def test_openmqttgateway(tmp_path: Path) -> None:
    found = device(OPENMQTTGATEWAY)
    assert list(body(found, tmp_path).points) == ["energy"]
    assert "wildcards" in dict(found.skipped)["sensor NRG power"]
    assert "does not say that it switches" in dict(found.skipped)["switch SYS: Auto discovery"]


def test_opendtu(tmp_path: Path) -> None:
    found = device(OPENDTU)
    assert (found.name, found.role) == ("Roof", "pv")
    template = body(found, tmp_path)
    assert {name: source.topic for name, source in template.points.items()} == {
        "export_power": "solar/114100000001/0/power",
        "export_energy": "solar/114100000001/0/yieldtotal",
    }
    # What limits an inverter limits what it feeds in; what is written into its flash memory is left alone.
    limit = template.capabilities[CapabilityKind.EXPORT_LIMIT]
    assert (limit.high, limit.set.topic) == (2250, "solar/114100000001/cmd/limit_nonpersistent_absolute")
    skipped = dict(found.skipped)
    assert "wears out" in skipped["number Limit Persistent Absolute"]
    assert "a day" in skipped["sensor YieldDay"]


def test_tasmota(tmp_path: Path) -> None:
    found = device(TASMOTA)
    assert (found.key, found.name, found.role) == ("homeassistant:302F1B", "Boiler plug", "water_heater")
    template = body(found, tmp_path)
    assert {name: source.path for name, source in template.points.items()} == {
        "energy": "ENERGY.Total",
        "power": "ENERGY.Power",
        "voltage_l1": "ENERGY.Voltage",
        "current_l1": "ENERGY.Current",
        "energy_apparent_power": "ENERGY.ApparentPower",
        "energy_reactive_power": "ENERGY.ReactivePower",
    }
    assert template.presence is not None
    assert (template.presence.online, template.presence.offline) == (("Online",), ("Offline",))
    assert template.capabilities[CapabilityKind.SWITCH].set.words == {"on": "ON", "off": "OFF"}
    assert len(found.skipped) == 5


@WORKED_OUT
def test_a_device_in_one_message(tmp_path: Path) -> None:
    found = device(WALLBOX)
    assert (found.key, found.name, found.role) == ("homeassistant:wb0001", "Garage", "ev_charger")
    template = body(found, tmp_path)
    assert template.presence is not None
    assert template.presence.topic == "wallbox/wb0001/status"
    assert template.points["power"].topic == "wallbox/wb0001/state"
    current = template.capabilities[CapabilityKind.CURRENT_LIMIT]
    assert (current.set.payload, current.low, current.high) == ('{"amps": {value}}', 6, 16)
    switch = template.capabilities[CapabilityKind.SWITCH]
    assert switch.set.words == {"on": '{"charge": 1}', "off": '{"charge": 0}'}
    assert template.capabilities[CapabilityKind.MODE].set.topic == "wallbox/wb0001/mode/set"
    assert found.template is not None
    plugged = read(found.template["points"]["plugged"]["template"])
    assert [plugged.value(payload) for payload in ('{"plugged":true}', '{"plugged":false}', "{}")] == [1, 0, None]
    assert found.skipped == (
        ("sensor energy_session", "It counts a day, a month or the like, so it is not the meter's register."),
    )


# -- taking messages


def test_an_empty_message_takes_back_what_was_announced() -> None:
    collector = collected(ZIGBEE2MQTT)
    topics = list(ZIGBEE2MQTT)
    collector.take(topics[0], b"")
    found = collector.devices()[0]
    assert found.template is not None
    assert "capabilities" not in found.template
    for topic in topics:
        collector.take(topic, b"")
    assert collector.devices() == []
    collector.take(topics[0], b"")
    assert collector.devices() == []
    assert collector.refused == {}


@WORKED_OUT
def test_a_component_without_anything_but_its_platform_is_taken_back() -> None:
    collector = collected(WALLBOX)
    message = json.loads(json.dumps(WALLBOX["homeassistant/device/wb0001/config"]))
    message["cmps"]["power"] = {"p": "sensor"}
    collector.take("homeassistant/device/wb0001/config", json.dumps(message).encode())
    template = collector.devices()[0].template
    assert template is not None
    assert "power" not in template["points"]


def test_a_new_announcement_replaces_the_old_one_also_with_another_device() -> None:
    topic = "homeassistant/sensor/a/config"
    config = {"stat_t": "a/p", "dev_cla": "power", "unit_of_meas": "W", "dev": {"ids": ["one"]}}
    collector = collected({topic: config}, {topic: config | {"dev": {"ids": ["two"], "name": "Second"}}})
    assert [found.key for found in collector.devices()] == ["homeassistant:two"]
    assert collector.devices()[0].name == "Second"


def test_keys_are_unique_whatever_devices_call_themselves() -> None:
    config = {"stat_t": "a/p", "unit_of_meas": "W"}
    names = ["a/1", "a%2F1", "a", "a%1"]
    collector = collected(
        *(
            {f"homeassistant/sensor/e{index}/config": config | {"dev": {"ids": name}}}
            for index, name in enumerate(names)
        )
    )
    assert len({found.key for found in collector.devices()}) == 4
    assert collector.devices()[0].key == "homeassistant:a"


def test_an_entity_without_a_device_is_one() -> None:
    found = device({"homeassistant/sensor/attic/config": {"name": "Attic", "stat_t": "a/p", "unit_of_meas": "W"}})
    assert (found.key, found.name) == ("homeassistant:attic", "Attic")


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("homeassistant/sensor/a/config", b"{", "The message is not JSON."),
        ("homeassistant/sensor/a/config", b"\xff\xfe\x00", "The message is not JSON."),
        ("homeassistant/sensor/a/config", b'{"a":' * 3000, "The message is not JSON."),
        ("homeassistant/sensor/a/config", b"[1]", "The message is no JSON object."),
        ("homeassistant/sensor/a/config", b" " * 300_000, "The message is too long."),
        ("homeassistant/sensor/config", b"{}", "The topic is none of discovery."),
        ("homeassistant/sensor/a/b/c/config", b"{}", "The topic is none of discovery."),
        ("homeassistant/sensor/a b/config", b"{}", "The topic is none of discovery."),
        ("homeassistant/Sensor/a/config", b"{}", "The topic is none of discovery."),
        ("other/sensor/a/config", b"{}", "The topic is none of discovery."),
        ("homeassistant/sensor/a/state", b"{}", "The topic is none of discovery."),
        (
            "homeassistant/sensor/a/config",
            json.dumps({"dev": {"ids": "x" * 129}}).encode(),
            "The device's identifier is no short printable text.",
        ),
        (
            "homeassistant/sensor/a/config",
            json.dumps({"dev": {"ids": ["a\nb"]}}).encode(),
            "The device's identifier is no short printable text.",
        ),
        ("homeassistant/device/a/config", b'{"dev":{"ids":"a"}}', "The message about a device has no components."),
        ("homeassistant/device/a/config", b'{"cmps":{}}', "The message about a device does not identify it."),
        ("homeassistant/device/a/config", b'{"dev":{"ids":"a"},"cmps":{"b":1}}', "A component is no JSON object."),
        (
            "homeassistant/device/a/config",
            b'{"dev":{"ids":"a"},"cmps":{"b":{"name":"c"}}}',
            "A component has no platform, or no name.",
        ),
        (
            "homeassistant/device/a/config",
            json.dumps({"dev": {"ids": "a"}, "cmps": {str(index): {"p": "sensor"} for index in range(401)}}).encode(),
            "The device has too many entities.",
        ),
    ],
)
def test_what_is_no_message_of_discovery_is_counted(topic: str, payload: bytes, reason: str) -> None:
    collector = HomeAssistantCollector()
    collector.take(topic, payload)
    collector.take(topic, payload)
    assert collector.refused == {reason: 2}
    assert collector.devices() == []


def test_what_is_kept_is_bounded() -> None:
    collector = HomeAssistantCollector()
    for index in range(251):
        collector.take(f"homeassistant/sensor/d{index}/config", b'{"stat_t":"a"}')
    assert len(collector.devices()) == 250
    assert collector.refused == {"There are too many devices.": 1}
    for index in range(401):
        collector.take(f"homeassistant/sensor/e{index}/config", b'{"stat_t":"a","dev":{"ids":"d0"}}')
    assert collector.refused["The device has too many entities."] == 2
    large = HomeAssistantCollector()
    for index in range(100):
        large.take(f"homeassistant/sensor/d{index}/config", json.dumps({"stat_t": "a", "x": "y" * 200_000}).encode())
    assert large.refused["The announcements are too long taken together."] == 61


def test_a_device_has_at_most_a_hundred_values(tmp_path: Path) -> None:
    sensors = {
        f"homeassistant/sensor/d1/t{index}/config": {
            "stat_t": f"d1/{index}",
            "dev_cla": "temperature",
            "unit_of_meas": "°C",
            "dev": {"ids": "d1"},
        }
        for index in range(105)
    } | {"homeassistant/sensor/d1/power/config": {"stat_t": "d1/p", "unit_of_meas": "W", "dev": {"ids": "d1"}}}
    found = device(sensors)
    template = body(found, tmp_path)
    assert len(template.points) == 100
    assert "power" in template.points
    assert len(found.skipped) == 6


# -- what is read


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"stat_t": "a", "dev_cla": "humidity", "unit_of_meas": "%"}, "humidity is no quantity"),
        ({"stat_t": "a", "dev_cla": ["power"], "unit_of_meas": "W"}, "no quantity"),
        ({"stat_t": "a", "dev_cla": "energy", "unit_of_meas": "W"}, "does not fit"),
        ({"stat_t": "a", "dev_cla": "power"}, "no unit"),
        ({"stat_t": "a", "unit_of_meas": "lx"}, "unit lx"),
        ({"stat_t": "a", "dev_cla": "energy", "unit_of_meas": "kWh", "stat_cla": "measurement"}, "no counter"),
        ({"stat_t": "a", "unit_of_meas": "kWh", "name": "Energy today"}, "a day"),
        ({"stat_t": "a", "unit_of_meas": "W", "name": "Power limit"}, "no measurement"),
        ({"stat_t": "a", "unit_of_meas": "°C", "ent_cat": "diagnostic"}, "device itself"),
        ({"unit_of_meas": "W"}, "no state topic"),
        ({"stat_t": 5, "unit_of_meas": "W"}, "no state topic"),
        ({"stat_t": "a/+/b", "unit_of_meas": "W"}, "wildcards"),
        ({"stat_t": "a/#", "unit_of_meas": "W"}, "wildcards"),
        ({"stat_t": "a\n", "unit_of_meas": "W"}, "signs"),
        ({"stat_t": "a/{id}", "unit_of_meas": "W"}, "signs"),
        ({"stat_t": "x" * 513, "unit_of_meas": "W"}, "too long"),
        ({"stat_t": "$SYS/a", "unit_of_meas": "W"}, "none of a device"),
        ({"stat_t": "homeassistant/sensor/d2/config", "unit_of_meas": "W"}, "none of a device"),
        ({"stat_t": "evenload/a", "unit_of_meas": "W"}, "one of ours"),
        ({"stat_t": "a", "unit_of_meas": "W", "val_tpl": "{{ states('sensor.x') }}"}, r"states\(\)"),
        ({"stat_t": "a", "unit_of_meas": "W", "val_tpl": "{{ value ~ '{abc}' }}"}, "braces"),
        ({"stat_t": "a", "unit_of_meas": "W", "val_tpl": "{{ value\x00 }}"}, "control"),
        ({"stat_t": "a", "unit_of_meas": "W", "val_tpl": 3}, "no text"),
    ],
)
def test_sensors_that_cannot_be_used_say_why(config: dict[str, Any], reason: str) -> None:
    found = one("sensor", config)
    assert found.template is None
    assert re.search(reason, why(found))


@pytest.mark.parametrize(
    ("unit", "raw", "ours"),
    [("MJ", 36, 10_000), ("GWh", 1, 1e9), ("kWh", 2, 2000), ("Wh", 2, 2), ("mWh", 5, 0.005)],
)
def test_units_become_ours(unit: str, raw: float, ours: float, tmp_path: Path) -> None:
    found = one("sensor", {"stat_t": "a", "unit_of_meas": unit, "stat_cla": "total"})
    source = body(found, tmp_path).points["energy"]
    assert to_unit(source.ours(raw), source.unit or "", "Wh") == pytest.approx(ours)


def test_fahrenheit_becomes_celsius(tmp_path: Path) -> None:
    found = one("sensor", {"stat_t": "a", "unit_of_meas": "°F", "dev_cla": "temperature", "name": "Tank"})
    source = body(found, tmp_path).points["sensor"]
    assert (source.ours(212), source.unit) == (pytest.approx(100), "Cel")


@pytest.mark.parametrize(
    ("name", "device_name", "meant"),
    [
        ("Power", "Thing", "power"),
        ("Thing power", "Thing", "power"),
        ("Grid export power", "Thing", "export_power"),
        ("Power returned", "Thing", "export_power"),
        ("Output power", "Hoymiles inverter", "export_power"),
        ("Power consumption", "Solar inverter", "power"),
    ],
)
def test_names_tell_which_way_power_goes(name: str, device_name: str, meant: str) -> None:
    found = one("sensor", {"stat_t": "a", "unit_of_meas": "W", "name": name, "obj_id": "x"}, name=device_name)
    assert found.template is not None
    assert list(found.template["points"]) == [meant]


def test_net_power_and_phases_are_described(tmp_path: Path) -> None:
    named = {"net_power": "W", "power_l2": "W", "current_phase_b": "A", "current_phase_a": "A", "current": "A"}
    found = device(
        {
            f"homeassistant/sensor/d1/{name}/config": {
                "stat_t": f"a/{name}",
                "unit_of_meas": unit,
                "dev": {"ids": "d1"},
            }
            for name, unit in named.items()
        }
    )
    points = body(found, tmp_path).points
    assert {name: meaning(name, source)[2:] for name, source in points.items()} == {
        "current_l1": (Flow.IMPORT, Phase.L1),
        "current_l2": (Flow.IMPORT, Phase.L2),
        "current": (Flow.IMPORT, Phase.TOTAL),
        "net_power": (Flow.NET, Phase.TOTAL),
        "power_l_2": (Flow.IMPORT, Phase.L2),
    }


def test_of_rivals_only_the_plain_one_gets_the_usual_name() -> None:
    found = device(
        {
            f"homeassistant/sensor/d1/{name}/config": {"stat_t": f"a/{name}", "unit_of_meas": "W", "dev": {"ids": "d1"}}
            for name in ("fridge_power", "power", "washer_power")
        }
    )
    assert found.template is not None
    assert set(found.template["points"]) == {"power", "fridge_power", "washer_power"}
    assert found.template["points"]["power"]["topic"] == "a/power"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"stat_t": "a", "dev_cla": "door"}, "no state"),
        ({"stat_t": "a"}, "no state"),
        ({"stat_t": "a", "dev_cla": "running", "pl_on": "it's on"}, "plain word"),
        ({"stat_t": "a", "dev_cla": "running", "pl_on": "x", "pl_off": "x"}, "same word"),
        ({"stat_t": "a", "dev_cla": "running", "pl_on": "x", "pl_off": "X"}, "same"),
        ({"stat_t": "a", "dev_cla": "running", "val_tpl": "{{ value_json['é'] }}"}, "not plain"),
    ],
)
def test_binary_sensors_that_cannot_be_used_say_why(config: dict[str, Any], reason: str) -> None:
    assert reason in why(one("binary_sensor", config))


# -- what is set


SWITCH = {"stat_t": "d1/state", "cmd_t": "d1/set", "name": "Relay"}


@pytest.mark.parametrize(
    ("component", "config", "reason"),
    [
        ("switch", {"stat_t": None}, "does not tell its state"),
        ("switch", {"cmd_t": None}, "no command topic"),
        ("switch", {"cmd_t": "d1/+"}, "wildcards"),
        ("switch", {"cmd_t": "evenload/x"}, "one of ours"),
        ("switch", {"cmd_t": "homeassistant/switch/d2/config"}, "none of a device"),
        ("switch", {"name": "Child lock", "obj_id": "child_lock"}, "does not say"),
        ("switch", {"pl_on": "x", "pl_off": "x"}, "same word"),
        ("switch", {"pl_on": "x" * 65}, "not short words"),
        ("switch", {"pl_on": "{on}"}, "signs"),
        ("switch", {"pl_on": {"a": 1}}, "not short words"),
        ("switch", {"cmd_tpl": "{{ now() }}"}, "now"),
        ("switch", {"cmd_tpl": "same"}, "not different"),
        ("switch", {"ent_cat": "diagnostic"}, "setting"),
        ("select", {"name": "Mode", "ops": ["auto", "x"], "ent_cat": "config"}, "setting"),
        ("light", {"on_command_type": "brightness"}, "not switched by words"),
        ("light", {"schema": "template"}, "not switched by words"),
        ("number", {"unit_of_meas": "W"}, "limit or a setpoint"),
        ("number", {"unit_of_meas": "%"}, "unit %"),
        ("number", {"unit_of_meas": "W", "name": "Power limit", "max": "x"}, "max is no number"),
        ("number", {"unit_of_meas": "W", "name": "Power limit", "max": True}, "max is no number"),
        ("number", {"unit_of_meas": "W", "name": "Power limit", "min": 1e300}, "low"),
        ("number", {"unit_of_meas": "W", "name": "Power limit", "cmd_tpl": "{{ value * 2 }}"}, "more than put text"),
        ("number", {"unit_of_meas": "W", "name": "Power limit", "cmd_tpl": "{{ value }}{abc}"}, "braces"),
        ("select", {"name": "Mode", "ops": ["a", "b"]}, "normal one"),
        ("select", {"name": "Mode", "ops": ["auto"]}, "between 2 and 50"),
        ("select", {"name": "Mode", "ops": "auto"}, "between 2 and 50"),
        ("select", {"name": "Mode", "ops": ["auto", "{x}"]}, "signs"),
        ("select", {"name": "Mode", "ops": ["auto", ["x"]]}, "too long"),
        ("select", {"name": "Language", "ops": ["auto", "en"]}, "mode"),
        ("climate", {}, "does not tell its state"),
    ],
)
def test_what_cannot_be_set_says_why(component: str, config: dict[str, Any], reason: str) -> None:
    found = one(component, SWITCH | config)
    assert found.template is None
    assert reason in why(found)


def test_without_a_name_of_its_own_a_switch_is_the_device() -> None:
    found = one("switch", SWITCH | {"name": None, "obj_id": "0x01"})
    assert found.template is not None
    assert "switch" in found.template["capabilities"]


def test_lights_are_switched_and_stay_off_where_nothing_is_known() -> None:
    config = {"schema": "json", "stat_t": "d1/state", "cmd_t": "d1/set"}
    found = one("light", config)
    assert found.template is not None
    assert found.template["capabilities"]["switch"] == {
        "values": ["on", "off"],
        "normal": "off",
        "state": {"topic": "d1/state", "path": "state", "words": {"ON": "on", "OFF": "off"}},
        "set": {"topic": "d1/set", "payload": '{"state":"{value}"}', "words": {"on": "ON", "off": "OFF"}},
    }


@pytest.mark.parametrize(
    ("config", "kind", "expected"),
    [
        ({"name": "Power limit", "unit_of_meas": "kW", "min": 0, "max": 11}, "import_limit", (0, 11_000, 11_000)),
        ({"name": "Export limit", "unit_of_meas": "W", "min": 0, "max": 800}, "export_limit", (0, 800, 800)),
        ({"name": "Max charging current", "unit_of_meas": "A", "min": 6, "max": 32}, "current_limit", (6, 32, 32)),
        (
            {"name": "Charge power setpoint", "unit_of_meas": "W", "min": -3000, "max": 3000},
            "storage_power",
            (-3000, 3000, 0),
        ),
        ({"name": "Target temperature", "unit_of_meas": "°C", "min": 30, "max": 65}, "setpoint", (30, 65, 50)),
        ({"name": "Setpoint", "unit_of_meas": "°F", "min": 50, "max": 86}, "setpoint", (10, 30, 20)),
    ],
)
def test_numbers_are_limits_and_setpoints(
    config: dict[str, Any], kind: str, expected: tuple[float, float, float], tmp_path: Path
) -> None:
    found = one("number", {"stat_t": "d1/state", "cmd_t": "d1/set", "obj_id": "x"} | config)
    capability = body(found, tmp_path).capabilities[CapabilityKind(kind)]
    assert (capability.low, capability.high) == (pytest.approx(expected[0]), pytest.approx(expected[1]))
    if "F" not in config["unit_of_meas"]:
        assert capability.normal == pytest.approx(expected[2])
    assert isinstance(capability.normal, float)
    assert capability.state.ours(capability.set.theirs(capability.normal)) == pytest.approx(capability.normal)


def test_of_several_switches_none_is_taken_unless_one_is_plainly_the_devices() -> None:
    switches = {
        f"homeassistant/switch/d1/{name}/config": SWITCH
        | {"name": name, "cmd_t": f"d1/{name}", "avty_t": "d1/status", "dev": {"ids": "d1"}}
        for name in ("heater", "pump")
    }
    found = device(switches)
    assert found.template is None
    assert {reason for _, reason in found.skipped} == {"None of 2 is plainly the switch of the device."}


def strip(switches: list[str], sensors: list[str]) -> list[FoundDevice]:
    common = {"dev": {"ids": "302F1B", "name": "Strip"}, "avty_t": "s/alive"}
    announced = {
        f"homeassistant/switch/{name}/config": common | {"stat_t": f"s/{name}", "cmd_t": f"s/{name}/set", "name": name}
        for name in switches
    } | {
        f"homeassistant/sensor/{name}/config": common | {"stat_t": f"s/{name}", "unit_of_meas": "W", "name": name}
        for name in sensors
    }
    return collected(announced).devices()


@pytest.mark.parametrize(
    ("switches", "sensors", "channels"),
    [
        (["302F1B_RL_1", "302F1B_RL_2"], ["302F1B_power_1", "302F1B_power_2"], ["1", "2"]),  # Tasmota
        (["switch_l1", "switch_l2", "child_lock"], ["power_l1", "power_l2"], ["1", "2"]),  # zigbee2mqtt
        (["switch_left", "switch_right"], ["left_power", "right_power"], ["left", "right"]),
    ],
)
def test_channels_are_devices_of_their_own(switches: list[str], sensors: list[str], channels: list[str]) -> None:
    devices = {found.key: found for found in strip(switches, [*sensors, "power"])}
    assert set(devices) == {"homeassistant:302F1B", *(f"homeassistant:302F1B/{channel}" for channel in channels)}
    rest = devices["homeassistant:302F1B"].template
    assert rest is not None
    assert rest["points"] == {"power": {"topic": "s/power", "unit": "W"}}
    assert "capabilities" not in rest
    for channel, switch, power in zip(channels, switches, sensors, strict=False):
        found = devices[f"homeassistant:302F1B/{channel}"]
        assert (found.name, found.role) == (f"Strip {channel}", "plug")
        assert found.template is not None
        assert found.template["points"] == {"power": {"topic": f"s/{power}", "unit": "W"}}
        assert found.template["capabilities"]["switch"]["set"]["topic"] == f"s/{switch}/set"


@pytest.mark.parametrize(
    "switches", [["relay", "relay_2"], ["1", "2"], ["heater_1", "pump_2"], ["relay_12_3_4", "relay_1"]]
)
def test_what_differs_by_more_than_a_channel_stays_one_device(switches: list[str]) -> None:
    assert [found.key for found in strip(switches, [])] == ["homeassistant:302F1B"]


def test_a_water_heater(tmp_path: Path) -> None:
    found = one(
        "water_heater",
        {
            "temp_stat_t": "d1/t",
            "temp_cmd_t": "d1/t/set",
            "temp_unit": "F",
            "curr_temp_t": "d1/now",
            "mode_stat_t": "d1/m",
            "mode_cmd_t": "d1/m/set",
            "modes": ["off", "eco", "electric"],
            "ret": True,
        },
    )
    assert found.role == "water_heater"
    template = body(found, tmp_path)
    assert template.points["water_heater"].ours(212) == pytest.approx(100)
    setpoint = template.capabilities[CapabilityKind.SETPOINT]
    assert (setpoint.low, setpoint.high, setpoint.normal) == (pytest.approx(43.3), pytest.approx(60), 50)
    assert setpoint.set.theirs(50) == pytest.approx(122)
    assert setpoint.set.retain
    assert template.capabilities[CapabilityKind.MODE].normal == "eco"


def test_a_device_that_speaks_often_enough_needs_no_word_of_its_presence(tmp_path: Path) -> None:
    found = one("switch", SWITCH | {"avty_t": None, "exp_aft": 120})
    assert body(found, tmp_path).silence_s == 120
    assert "when it starts" in why(one("switch", SWITCH | {"avty_t": None}))
    assert "when it starts" in why(one("switch", SWITCH | {"avty_t": "d1/+"}))
    assert "when it starts" in why(one("switch", SWITCH | {"pl_avail": "x", "pl_not_avail": "x"}))


def test_presence_out_of_json_is_spelled_as_json_does(tmp_path: Path) -> None:
    available = [{"t": "d1/alive", "val_tpl": "{{ value_json.up }}", "pl_avail": "True", "pl_not_avail": "False"}]
    presence = body(one("switch", SWITCH | {"avty_t": None, "avty": available}), tmp_path).presence
    assert presence is not None
    assert (presence.path, presence.online, presence.offline) == ("up", ("true",), ("false",))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Wallbox Pulsar", "ev_charger"),
        ("go-eCharger", "ev_charger"),
        ("Heat pump", "heat_pump"),
        ("PV inverter", "pv"),
        ("Water heater", "water_heater"),
        ("Smart Meter", "grid_meter"),
        ("Home Battery", "battery"),
        ("Wall plug", "plug"),
        ("Thing", ""),
    ],
)
def test_names_tell_roles(name: str, role: str) -> None:
    assert one("sensor", {"stat_t": "a", "unit_of_meas": "A"}, name=name).role == role


def test_names_are_cleaned_and_bounded() -> None:
    found = one("sensor", {"stat_t": "a", "unit_of_meas": "W"}, name="A\x1b[31m\n" + "b" * 500, mf=["x"], mdl=7)
    assert found.name == "A [31m " + "b" * 73
    assert (found.maker, found.model) == ("", "7")


# -- whatever comes

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.sampled_from(
        ["W", "kWh", "on", "~/a", "a/b", "a/#", "{{ value }}", "{{ value_json.a }}", "{x}", "power", "switch"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_KEYS = st.sampled_from(
    [
        *(
            "~",
            "name",
            "stat_t",
            "cmd_t",
            "val_tpl",
            "cmd_tpl",
            "dev_cla",
            "unit_of_meas",
            "stat_cla",
            "avty",
            "avty_t",
        ),
        *(
            "pl_on",
            "pl_off",
            "stat_on",
            "ops",
            "modes",
            "min",
            "max",
            "dev",
            "schema",
            "ent_cat",
            "exp_aft",
            "qos",
            "ret",
        ),
        *(
            "temp_stat_t",
            "temp_cmd_t",
            "mode_stat_t",
            "mode_cmd_t",
            "curr_temp_t",
            "min_temp",
            "temp_unit",
            "cmps",
            "p",
        ),
        *("pl_avail", "pl_not_avail", "device", "availability"),
    ]
)
_CONFIGS = st.dictionaries(_KEYS, _JSON, max_size=10)
_COMPONENTS = st.sampled_from(
    ["sensor", "binary_sensor", "switch", "number", "select", "climate", "water_heater", "light", "button", "x"]
)


@given(
    st.lists(
        st.tuples(_COMPONENTS, _CONFIGS, st.sampled_from([{"ids": "a"}, {"ids": ["b"], "name": "B"}, None])), max_size=4
    )
)
def test_whatever_is_announced_every_template_that_comes_out_is_good(
    tmp_path_factory: pytest.TempPathFactory, announced: list[tuple[str, dict[str, Any], Any]]
) -> None:
    collector = HomeAssistantCollector()
    for index, (component, config, owner) in enumerate(announced):
        values = config if owner is None else config | {"dev": owner}
        collector.take(f"homeassistant/{component}/n/relay_{index}/config", json.dumps(values).encode())
        message = {"dev": owner, "cmps": {"c": config | {"p": component}}, "avty_t": "a/s"}
        collector.take(f"homeassistant/device/d{index}/config", json.dumps(message).encode())
    directory = tmp_path_factory.getbasetemp()
    for found in collector.devices():
        assert found.name
        assert found.name.isprintable()
        assert len(found.skipped) <= len(announced) * 2
        if found.template is not None:
            body(found, directory)


@given(st.text(max_size=40), st.binary(max_size=80))
def test_no_message_raises(topic: str, payload: bytes) -> None:
    collector = HomeAssistantCollector()
    collector.take(topic, payload)
    collector.take("homeassistant/sensor/a/config", payload)
    collector.take("homeassistant/device/a/config", payload)
    collector.devices()
