"""What the houses say, held against the documented messages; nothing of the gateway's own readers is used."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import InvalidError
from evenload.demo.device_messages import (
    MAX_RECORDS,
    HistoryOrder,
    NoOrder,
    RefreshOrder,
    Snapshot,
    SwitchOrder,
    dialect_of,
    hems_id,
    shelly_id,
)
from evenload.demo.model import make_home

AT = datetime(2013, 11, 20, 18, 30, tzinfo=UTC)
NOW = Snapshot(AT, 12_345_678.9012, 2345.67, 1500.0, 98765.4, heater_on=True)
IFLEX_HOME, SHELLY_HOME = make_home(1, 1), make_home(1, 2)
SENML_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")


@pytest.fixture
def iflex():
    return dialect_of(IFLEX_HOME)


@pytest.fixture
def shelly():
    return dialect_of(SHELLY_HOME)


def test_an_iflex_home_introduces_its_devices_sensors_and_actuator(iflex):
    config, state = iflex.hello(AT, on=True)
    assert config.topic == f"iflex/{hems_id(IFLEX_HOME)}/config"
    assert config.retain
    body = json.loads(config.payload)
    assert body["hems_id"] == hems_id(IFLEX_HOME)
    assert datetime.fromisoformat(body["ts"]).tzinfo is None
    meter, heater = body["elements"]
    assert "control" not in meter
    assert {one["sensor_name"]: one["sensor_unit"] for one in meter["sensors"]} == {
        "Import - active energy": "Wh",
        "Active power": "W",
    }
    assert heater["device_type"] == "Actuator"
    assert heater["control"][0] | {"control_name": ""} == {
        "control_type": "on/off",
        "actuator_id": 284,
        "control_name": "",
    }
    assert {one["sensor_name"] for one in heater["sensors"]} == {"Active power", "State name"}
    assert (state.topic, state.retain) == (f"iflex/{hems_id(IFLEX_HOME)}/state", True)


def test_iflex_state_is_devices_state_with_numbers_for_ids_and_a_time_without_zone(iflex):
    (state,) = iflex.state(AT, on=False)
    assert json.loads(state.payload) == {
        "devices_state": [
            {"device": 2, "state": [{"bt": "2013-11-20T18:30:00.000000", "actuator_id": 284, "vs": "off"}]}
        ]
    }


def test_iflex_measurements_are_single_objects_in_milliseconds_under_the_ids_of_the_configuration(iflex):
    config = json.loads(iflex.hello(AT, on=True)[0].payload)
    known = {
        f"urn:dev:{element['device_id']}:{sensor['sensor_id']}": (sensor["sensor_name"], sensor["sensor_unit"])
        for element in config["elements"]
        for sensor in element["sensors"]
    }
    measured = [json.loads(one.payload) for one in iflex.minute(NOW)]
    assert {one["bn"]: (one["n"], one["u"]) for one in measured} == known
    assert {one["t"] for one in measured} == {int(AT.timestamp() * 1000)}
    assert {one["bn"]: one.get("v", one.get("vs")) for one in measured} == {
        "urn:dev:1:160": 12345678.901,
        "urn:dev:1:161": 2345.7,
        "urn:dev:2:283": 1500.0,
        "urn:dev:2:285": "on",
    }
    assert not any(one.retain for one in iflex.minute(NOW))


def test_the_shelly_home_speaks_gen1_topics(shelly):
    name = shelly_id(SHELLY_HOME)
    hello = {one.topic: one for one in shelly.hello(AT, on=True)}
    assert hello[f"shellies/{name}/online"].payload == "true"
    assert hello[f"shellies/{name}/relay/0"].payload == "on"
    assert hello[f"shellies/{name}/relay/0"].retain
    announced = json.loads(hello["shellies/announce"].payload)
    assert announced["id"] == name
    assert re.fullmatch(r"[0-9A-F]{12}", announced["mac"])
    assert name.endswith(announced["mac"][-6:])
    assert (shelly.will.topic, shelly.will.payload, shelly.will.retain) == (f"shellies/{name}/online", "false", True)
    plug = {one.topic: one.payload for one in shelly.minute(NOW)}
    assert plug[f"shellies/{name}/relay/0/power"] == "1500.00"
    assert plug[f"shellies/{name}/relay/0/energy"] == "98765"  # watt-minutes, whole


def test_the_shelly_home_s_meter_is_strict_senml(shelly):
    pack = json.loads(next(one.payload for one in shelly.minute(NOW) if one.topic == "meter/home-02/measurement"))
    first, second = pack
    assert first["bt"] == AT.timestamp()
    assert SENML_NAME.fullmatch(first["bn"] + first["n"])
    assert SENML_NAME.fullmatch(first["bn"] + second["n"])
    assert (first["n"], first["u"], second["n"], second["u"], second["v"]) == ("energy", "J", "power", "W", 2345.7)
    assert first["v"] / 3600 == pytest.approx(NOW.register_wh, abs=1e-3)


@pytest.mark.parametrize("home", [IFLEX_HOME, SHELLY_HOME], ids=["iflex", "shelly"])
def test_history_comes_oldest_first_in_packs_of_bounded_length(home):
    readings = [(AT + n * timedelta(minutes=30), 1000.0 + n) for n in range(2 * MAX_RECORDS + 7)]
    packs = [json.loads(one.payload) for one in dialect_of(home).history(iter(readings))]
    assert [len(pack) for pack in packs] == [MAX_RECORDS, MAX_RECORDS, 7]
    records = [record for pack in packs for record in pack]
    seconds, wh = (1000, 1) if home is IFLEX_HOME else (1, 3600)
    assert [record["t"] / seconds for record in records] == [at.timestamp() for at, _ in readings]
    assert [record["v"] / wh for record in records] == [value for _, value in readings]
    assert all("bn" in pack[0] for pack in packs)
    assert list(dialect_of(home).history([])) == []


def control(device: object = "2", actuator: object = "284", command: object = "off") -> bytes:
    order = {"device": device, "control_device": {"actuator_id": actuator, "command": command}}
    return json.dumps({"devices_control": [order]}).encode()


def test_iflex_orders_name_device_and_actuator_as_text_or_number(iflex):
    control_topic, get_topic = iflex.subscriptions
    assert iflex.order(control_topic, control()) == SwitchOrder(on=False)
    assert iflex.order(control_topic, control(2, 284, "on")) == SwitchOrder(on=True)
    asked = {"from": "2013-11-01T00:00:00Z", "to": "2013-11-20T18:30:00+00:00"}
    whole = HistoryOrder(datetime(2013, 11, 1, tzinfo=UTC), AT)
    assert iflex.order(get_topic, json.dumps(asked).encode()) == whole
    assert iflex.order(get_topic, json.dumps(asked | {"device": "1"}).encode()) == whole
    assert iflex.order(get_topic, json.dumps(asked | {"device": "2"}).encode()) == NoOrder()


def test_shelly_orders_are_words(shelly):
    relay, plug, everyone, _ = shelly.subscriptions
    assert [shelly.order(relay, word) for word in (b"on", b"off", b"toggle")] == [
        SwitchOrder(on=True),
        SwitchOrder(on=False),
        SwitchOrder(on=None),
    ]
    assert shelly.order(plug, b"update") == RefreshOrder(introduce=False)
    assert shelly.order(everyone, b"announce") == RefreshOrder(introduce=True)


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"{}",
    b"null",
    b"[" * 5000,
    b'{"devices_control": {}}',
    b'{"devices_control": [1]}',
    b'{"devices_control": [{"device": "2"}]}',
    control("9"),
    control(actuator=[]),
    control(command=["off"]),
    control(command="explode"),
    b'{"from": 5, "to": []}',
    b'{"from": "2013-11-02", "to": "2013-11-01"}',
    b'{"from": "0001-01-01T00:00:00+14:00", "to": "2013-11-01"}',
    b'{"from": "yesterday", "to": "today"}',
]


@pytest.mark.parametrize("payload", HOSTILE)
def test_what_is_no_order_is_refused_and_never_crashes(iflex, shelly, payload):
    for dialect in (iflex, shelly):
        for topic in dialect.subscriptions:
            with pytest.raises(InvalidError):
                dialect.order(topic, payload)
