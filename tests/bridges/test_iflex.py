"""iFLEX HEMS messages: the shapes of the wire, both ways."""

import json
from datetime import UTC, datetime

import pytest

from bridges.iflex import (
    ACTUATOR_SENSORS,
    SOLAR_SENSORS,
    ActuatorState,
    Config,
    Control,
    Element,
    Measurement,
    Order,
    Sensor,
    read_config,
    read_control,
    read_measurements,
    read_state,
    write_config,
    write_control,
    write_measurements,
    write_state,
)
from core.errors import InvalidError

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)

CONFIG = {
    "elements": [
        {
            "device_id": 2,
            "device_name": "kitchen",
            "device_type": "Actuator",
            "control": [
                {
                    "control_type": "on/off",
                    "actuator_id": 284,
                    "control_name": "Defines on/off control capabilities of a device",
                }
            ],
            "sensors": [{"sensor_id": 289, "sensor_name": "Voltage L1", "sensor_unit": "V"}],
        },
        {"device_id": 14, "device_name": "roof", "device_type": "Solar", "sensors": []},
    ],
    "hems_id": "HEMS-1",
    "ts": "2022-11-28T19:18:43.523000",
}


def test_config() -> None:
    config = read_config(json.dumps(CONFIG))
    assert config == Config(
        "HEMS-1",
        datetime(2022, 11, 28, 19, 18, 43, 523000, UTC),
        (
            Element("2", "kitchen", "Actuator", (Control("284"),), (Sensor("289", "Voltage L1", "V"),)),
            Element("14", "roof", "Solar"),
        ),
    )
    assert json.loads(write_config(config)) == CONFIG


def test_state() -> None:
    wire = {
        "devices_state": [
            {"device": 2, "state": [{"bt": "2022-11-28T19:17:41.765000", "actuator_id": 284, "vs": "off"}]}
        ]
    }
    states = read_state(json.dumps(wire))
    assert states == (ActuatorState("2", "284", "off", datetime(2022, 11, 28, 19, 17, 41, 765000, UTC)),)
    assert json.loads(write_state(states)) == wire


def test_control_has_its_ids_as_strings() -> None:
    wire = {"devices_control": [{"device": "2", "control_device": {"actuator_id": "284", "command": "on"}}]}
    assert json.loads(write_control([Order("2", "284", "on")])) == wire
    assert read_control(json.dumps(wire)) == (Order("2", "284", "on"),)


def test_measurements() -> None:
    wire = {"bn": "urn:dev:3:160", "t": 1666775763785, "n": "Import active energy", "u": "Wh", "v": 1.25}
    at = datetime(2022, 10, 26, 9, 16, 3, 785000, UTC)
    one = Measurement("3", "160", "Import active energy", at, 1.25, "Wh")
    assert read_measurements(json.dumps(wire), NOW) == (one,)
    assert json.loads(write_measurements([one])) == wire
    assert read_measurements(write_measurements([one, one]), NOW) == (one, one)


def test_measurements_of_others_are_left_out() -> None:
    pack = [{"bn": "urn:other:3:160", "n": "temp", "v": 1}, {"bn": "urn:dev:3:160", "n": "x", "s": 1}]
    assert read_measurements(json.dumps(pack), NOW) == ()


def test_opaque_ids_stay_text() -> None:
    state = ActuatorState("plug-A", "007", "on", NOW)
    assert json.loads(write_state([state]))["devices_state"][0]["device"] == "plug-A"
    assert read_state(write_state([state]))[0].device == "plug-A"


def test_names_and_units_of_the_field() -> None:
    assert len(ACTUATOR_SENSORS) == 12
    assert len(SOLAR_SENSORS) == 11
    assert ACTUATOR_SENSORS["Import - active energy"] == SOLAR_SENSORS["Export active energy"] == "Wh"
    assert ACTUATOR_SENSORS["State code"] == ""


@pytest.mark.parametrize(
    "whole",
    [
        [],
        {},
        {"devices_state": 1},
        {"devices_state": [1]},
        {"devices_state": [{"device": True, "state": []}] * 2001},
        {"devices_state": [{"device": 2, "state": [{"bt": "x", "actuator_id": 1, "vs": "on"}]}]},
        {"devices_state": [{"device": None, "state": [{"bt": "2022-11-28", "actuator_id": 1, "vs": "on"}]}]},
        {"devices_state": [{"device": "", "state": [{"bt": "2022-11-28", "actuator_id": 1, "vs": "on"}]}]},
        {"devices_state": [{"device": 2, "state": [{"bt": "2022-11-28", "actuator_id": 1, "vs": 1}]}]},
    ],
)
def test_broken_states(whole: object) -> None:
    with pytest.raises(InvalidError):
        read_state(json.dumps(whole))


@pytest.mark.parametrize("payload", ["", "[]", "{}", '{"devices_control":[{"device":"2"}]}', b"\xff"])
def test_broken_messages(payload: str | bytes) -> None:
    for reader in (read_config, read_control, read_state):
        with pytest.raises(InvalidError):
            reader(payload)
