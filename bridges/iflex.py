"""The messages of an iFLEX HEMS: configuration, state and measurements from it, control to it.

Ids are opaque text here. On the wire they are numbers, except in control messages, where they are strings. Times
without zone are UTC.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bridges import senml
from core.errors import InvalidError
from core.spans import utc

_MAX_ITEMS = 2000
_MAX_ID = 64
_SOURCE = re.compile(r"urn:dev:(?P<device>[^:]{1,64}):(?P<sensor>[^:]{1,64}):?")

ACTUATOR_SENSORS: Final = {
    "Voltage L1": "V",
    "Voltage L2": "V",
    "Voltage L3": "V",
    "Current L1": "A",
    "Current L2": "A",
    "Current L3": "A",
    "Active power": "W",
    "Import - active energy": "Wh",
    "State code": "",
    "State name": "",
    "Import - active power": "W",
    "Communication error": "",
}
"""The sensors of a HEMS actuator (a plug) and their units, as HEMS name them."""

SOLAR_SENSORS: Final = {
    "Current L1": "A",
    "Current L2": "A",
    "Current L3": "A",
    "Voltage L1": "V",
    "Voltage L2": "V",
    "Voltage L3": "V",
    "Active power": "W",
    "Export active energy": "Wh",
    "Import active power": "W",
    "Export active power": "W",
    "Communication error": "",
}
"""The sensors of a solar inverter and their units."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor of an element."""

    id: str
    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """An actuator of an element; `type` is `on/off`."""

    actuator: str
    type: str = "on/off"
    name: str = "Defines on/off control capabilities of a device"


@dataclass(frozen=True, slots=True)
class Element:
    """A device that a HEMS has; `type` is Actuator, Solar or another word of the HEMS."""

    device: str
    name: str
    type: str
    controls: tuple[Control, ...] = ()
    sensors: tuple[Sensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """What a HEMS says of its devices."""

    hems_id: str
    at: datetime
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class ActuatorState:
    """What an actuator does now, in its own words (`on`, `off`)."""

    device: str
    actuator: str
    value: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """What an actuator shall do."""

    device: str
    actuator: str
    command: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value of one sensor; `unit` is the sensor's own."""

    device: str
    sensor: str
    name: str
    at: datetime
    value: senml.SenmlValue
    unit: str = ""


def read_config(payload: bytes | str) -> Config:
    """Read a configuration message. Raises InvalidError."""
    whole = _object(senml.parse_json(payload), "A configuration")
    return Config(
        hems_id=_label(whole, "hems_id"),
        at=senml.read_time(_label(whole, "ts")),
        elements=tuple(_element(item) for item in _list(whole, "elements")),
    )


def _element(item: dict[str, Any]) -> Element:
    return Element(
        device=_id(item, "device_id"),
        name=_label(item, "device_name"),
        type=_label(item, "device_type"),
        controls=tuple(
            Control(_id(one, "actuator_id"), _label(one, "control_type"), _label(one, "control_name"))
            for one in _list(item, "control", optional=True)
        ),
        sensors=tuple(
            Sensor(_id(one, "sensor_id"), _label(one, "sensor_name"), _label(one, "sensor_unit"))
            for one in _list(item, "sensors", optional=True)
        ),
    )


def write_config(config: Config) -> str:
    """Write a configuration message."""
    return _dump(
        {
            "elements": [
                {"device_id": _wire(element.device), "device_name": element.name, "device_type": element.type}
                | ({"control": [_wire_control(one) for one in element.controls]} if element.controls else {})
                | {
                    "sensors": [
                        {"sensor_id": _wire(one.id), "sensor_name": one.name, "sensor_unit": one.unit}
                        for one in element.sensors
                    ]
                }
                for element in config.elements
            ],
            "hems_id": config.hems_id,
            "ts": _naive(config.at),
        }
    )


def _wire_control(control: Control) -> dict[str, Any]:
    return {
        "control_type": control.type,
        "actuator_id": _wire(control.actuator),
        "control_name": control.name,
    }


def read_state(payload: bytes | str) -> tuple[ActuatorState, ...]:
    """Read a state message. Raises InvalidError."""
    whole = _object(senml.parse_json(payload), "A state message")
    return tuple(
        ActuatorState(
            device=_id(item, "device"),
            actuator=_id(state, "actuator_id"),
            value=_label(state, "vs"),
            at=senml.read_time(_label(state, "bt")),
        )
        for item in _list(whole, "devices_state")
        for state in _list(item, "state")
    )


def write_state(states: Iterable[ActuatorState]) -> str:
    """Write a state message."""
    by_device: dict[str, list[dict[str, Any]]] = {}
    for state in states:
        by_device.setdefault(state.device, []).append(
            {"bt": _naive(state.at), "actuator_id": _wire(state.actuator), "vs": state.value}
        )
    return _dump({"devices_state": [{"device": _wire(device), "state": each} for device, each in by_device.items()]})


def read_control(payload: bytes | str) -> tuple[Order, ...]:
    """Read a control message. Raises InvalidError."""
    whole = _object(senml.parse_json(payload), "A control message")
    orders = []
    for item in _list(whole, "devices_control"):
        control = _object(item.get("control_device"), "'control_device'")
        orders.append(Order(_id(item, "device"), _id(control, "actuator_id"), _label(control, "command")))
    return tuple(orders)


def write_control(orders: Iterable[Order]) -> str:
    """Write a control message (ids as strings)."""
    return _dump(
        {
            "devices_control": [
                {"device": order.device, "control_device": {"actuator_id": order.actuator, "command": order.command}}
                for order in orders
            ]
        }
    )


def read_measurements(payload: bytes | str, now: datetime | None) -> tuple[Measurement, ...]:
    """Read a measurement message: one SenML record, or an array of them; `now` as in `senml.read`. Raises InvalidError.

    Records that name no device and sensor (`urn:dev:{device}:{sensor}`) or carry no value are left out.
    """
    found = []
    for record in senml.read(payload, now):
        source = _SOURCE.fullmatch(record.base)
        if source is None or record.value is None:
            continue
        found.append(
            Measurement(source["device"], source["sensor"], record.label, record.at, record.value, record.unit)
        )
    return tuple(found)


def write_measurements(measurements: Iterable[Measurement]) -> str:
    """Write a measurement message: an object for one, an array for several."""
    return senml.write(
        (
            senml.Record(f"urn:dev:{one.device}:{one.sensor}", one.name, one.at, one.value, one.unit)
            for one in measurements
        ),
        senml.Dialect.IFLEX,
    )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidError(f"{what} must be an object.")
    return value


def _list(item: dict[str, Any], field: str, *, optional: bool = False) -> list[dict[str, Any]]:
    value = item.get(field)
    if value is None and optional:
        return []
    if not isinstance(value, list) or len(value) > _MAX_ITEMS or not all(isinstance(one, dict) for one in value):
        raise InvalidError(f"'{field}' must be an array of at most {_MAX_ITEMS} objects.")
    return value


def _id(item: dict[str, Any], field: str) -> str:
    value = item.get(field)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidError(f"'{field}' must be a number or text.")
    text = str(value)
    if not 0 < len(text) <= _MAX_ID:
        raise InvalidError(f"'{field}' must have 1 to {_MAX_ID} characters.")
    return text


def _label(item: dict[str, Any], field: str) -> str:
    value = item.get(field)
    if not isinstance(value, str) or len(value) > 1000:  # noqa: PLR2004  any sane bound will do
        raise InvalidError(f"'{field}' must be text.")
    return value


def _wire(ident: str) -> int | str:
    return int(ident) if ident.isascii() and ident.isdecimal() else ident


def _naive(at: datetime) -> str:
    return utc(at).replace(tzinfo=None).isoformat(timespec="microseconds")


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
