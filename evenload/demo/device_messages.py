"""What the houses say and understand: iFLEX HEMS messages, and Shelly gen1 topics beside a SenML grid meter.

Written from the message descriptions alone and independent of the gateway's bridges: this is the other side.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Protocol

from core.errors import InvalidError
from evenload.demo.model import Home

MAX_RECORDS: Final = 500
"""Records in one message of back-dated readings."""

MAX_PAYLOAD: Final = 10_000
"""Longest message that a house reads, in bytes; no order is nearly as long."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to the broker."""

    topic: str
    payload: str
    retain: bool = False
    qos: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the devices show at `at`, the end of a minute: register, and mean powers over that minute.

    `heater_wmin` counts watt-minutes since the plug got power, as Shelly's gen1 plugs do.
    """

    at: datetime
    register_wh: float
    meter_w: float
    heater_w: float
    heater_wmin: float
    heater_on: bool


@dataclass(frozen=True, slots=True)
class SwitchOrder:
    """Switch the heater; `on` None means the other way round."""

    on: bool | None


@dataclass(frozen=True, slots=True)
class HistoryOrder:
    """Send the register readings of [start, end] again."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class RefreshOrder:
    """Say the state again, and with `introduce` also who you are."""

    introduce: bool


@dataclass(frozen=True, slots=True)
class NoOrder:
    """The message is for another device of the home."""


Order = SwitchOrder | HistoryOrder | RefreshOrder | NoOrder


class Dialect(Protocol):
    """How one home speaks. Builds messages and reads orders; sends nothing itself."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topics on which orders arrive."""

    @property
    def will(self) -> Publication | None:
        """What the broker says for the home once it is gone."""

    def hello(self, at: datetime, *, on: bool) -> list[Publication]:
        """Return what a home says when it connects: who it is, and the state of its heater."""

    def state(self, at: datetime, *, on: bool) -> list[Publication]:
        """Return the state of the heater."""

    def minute(self, now: Snapshot) -> list[Publication]:
        """Return the measurements of a minute."""

    def history(self, readings: Iterable[tuple[datetime, float]]) -> Iterator[Publication]:
        """Yield back-dated register readings (Wh), at most MAX_RECORDS in a message."""

    def order(self, topic: str, payload: bytes) -> Order:
        """Read an order. Raises InvalidError."""


def dialect_of(home: Home) -> Dialect:
    """Return how that home speaks."""
    return Iflex(home) if home.dialect == "iflex" else Shelly(home)


def hems_id(home: Home) -> str:
    """Return the id of an iFLEX home's HEMS, which stands in its topics."""
    return f"EVLD-DEMO-HOME-{home.index:04d}"


def shelly_id(home: Home) -> str:
    """Return the id of a Shelly home's plug, which stands in its topics (Shelly Plug, 16 A: model SHPLG-1)."""
    return f"shellyplug-{_mac(home)[6:]}"


def meter_topic(home: Home) -> str:
    """Return the topic of a Shelly home's grid meter."""
    return f"meter/{home.id}/measurement"


class Iflex:
    """The messages of an iFLEX HEMS: configuration, devices state, measurements, control.

    Ids are numbers in what the HEMS sends and text in what it is sent; times have no zone (UTC) or count milliseconds;
    a measurement is one object a message.
    """

    METER, HEATER = 1, 2
    METER_ENERGY, METER_POWER = 160, 161
    HEATER_POWER, HEATER_STATE, HEATER_ACTUATOR = 283, 285, 284

    def __init__(self, home: Home) -> None:
        self._hems = hems_id(home)
        self._topic = f"iflex/{self._hems}"
        self._names = {
            (self.METER, self.METER_ENERGY): ("Import - active energy", "Wh"),
            (self.METER, self.METER_POWER): ("Active power", "W"),
            (self.HEATER, self.HEATER_POWER): ("Active power", "W"),
            (self.HEATER, self.HEATER_STATE): ("State name", ""),
        }

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topics on which orders arrive."""
        return f"{self._topic}/control", f"{self._topic}/measurement/get"

    @property
    def will(self) -> Publication | None:
        """What the broker says for the home once it is gone."""
        return None  # these messages know no sign of life: a reader notices the silence

    def hello(self, at: datetime, *, on: bool) -> list[Publication]:
        """Return what the home says when it connects."""
        control = {
            "control_type": "on/off",
            "actuator_id": self.HEATER_ACTUATOR,
            "control_name": "Defines on/off control capabilities of a device",
        }
        elements = [
            {"device_id": self.METER, "device_name": "Grid meter", "device_type": "Meter"},
            {"device_id": self.HEATER, "device_name": "Water heater", "device_type": "Actuator", "control": [control]},
        ]
        for element in elements:
            element["sensors"] = [
                {"sensor_id": sensor, "sensor_name": name, "sensor_unit": unit}
                for (device, sensor), (name, unit) in self._names.items()
                if device == element["device_id"]
            ]
        config = {"elements": elements, "hems_id": self._hems, "ts": _without_zone(at)}
        return [Publication(f"{self._topic}/config", json.dumps(config), retain=True, qos=1), *self.state(at, on=on)]

    def state(self, at: datetime, *, on: bool) -> list[Publication]:
        """Return the state of the heater."""
        state = {"bt": _without_zone(at), "actuator_id": self.HEATER_ACTUATOR, "vs": "on" if on else "off"}
        body = {"devices_state": [{"device": self.HEATER, "state": [state]}]}
        return [Publication(f"{self._topic}/state", json.dumps(body), retain=True, qos=1)]

    def minute(self, now: Snapshot) -> list[Publication]:
        """Return the measurements of a minute."""
        values = (
            self._measured(now.at, self.METER, self.METER_ENERGY, v=round(now.register_wh, 3)),
            self._measured(now.at, self.METER, self.METER_POWER, v=round(now.meter_w, 1)),
            self._measured(now.at, self.HEATER, self.HEATER_POWER, v=round(now.heater_w, 1)),
            self._measured(now.at, self.HEATER, self.HEATER_STATE, vs="on" if now.heater_on else "off"),
        )
        return [Publication(f"{self._topic}/measurement", json.dumps(value)) for value in values]

    def history(self, readings: Iterable[tuple[datetime, float]]) -> Iterator[Publication]:
        """Yield back-dated register readings (Wh)."""
        for some in _batches(readings):
            pack = [self._measured(at, self.METER, self.METER_ENERGY, v=round(wh, 3)) for at, wh in some]
            yield Publication(f"{self._topic}/measurement", json.dumps(pack), qos=1)

    def order(self, topic: str, payload: bytes) -> Order:
        """Read an order. Raises InvalidError."""
        if topic.endswith("/measurement/get"):
            return _history_order(payload, str(self.METER))
        try:
            (entry,) = _json_object(payload)["devices_control"]
            device, control = entry["device"], entry["control_device"]
            actuator, command = control["actuator_id"], control["command"]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidError("A control message names one device, its actuator and a command.") from error
        if (str(device), str(actuator)) != (str(self.HEATER), str(self.HEATER_ACTUATOR)):
            raise InvalidError(f"No actuator {actuator!r:.20} at device {device!r:.20}.")
        return SwitchOrder(_on_off(command))

    def _measured(self, at: datetime, device: int, sensor: int, **value: float | str) -> dict[str, float | str]:
        name, unit = self._names[device, sensor]
        return {"bn": f"urn:dev:{device}:{sensor}", "t": round(at.timestamp() * 1000), "n": name, "u": unit, **value}


class Shelly:
    """A Shelly gen1 plug at the heater, and a grid meter that speaks strict RFC 8428 (SenML)."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._id = shelly_id(home)
        self._plug = f"shellies/{self._id}"
        self._meter = meter_topic(home)
        self._base = f"urn:dev:mac:{_mac(home)[:6]}FFFE{_mac(home)[6:]}:"

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topics on which orders arrive."""
        return f"{self._plug}/relay/0/command", f"{self._plug}/command", "shellies/command", f"{self._meter}/get"

    @property
    def will(self) -> Publication | None:
        """What the broker says for the home once it is gone."""
        return Publication(f"{self._plug}/online", "false", retain=True, qos=1)

    def hello(self, at: datetime, *, on: bool) -> list[Publication]:
        """Return what the home says when it connects."""
        announcement = {
            "id": self._id,
            "model": "SHPLG-1",
            "mac": _mac(self._home),
            "ip": "127.0.0.1",
            "new_fw": False,
            "fw_ver": "demo",
        }
        return [
            Publication(f"{self._plug}/online", "true", retain=True, qos=1),
            Publication("shellies/announce", json.dumps(announcement), qos=1),
            *self.state(at, on=on),
        ]

    def state(self, at: datetime, *, on: bool) -> list[Publication]:  # noqa: ARG002  the plug says no time
        """Return the state of the heater."""
        return [Publication(f"{self._plug}/relay/0", "on" if on else "off", retain=True, qos=1)]

    def minute(self, now: Snapshot) -> list[Publication]:
        """Return the measurements of a minute."""
        register, power = self._register(now.register_wh), {"n": "power", "u": "W", "v": round(now.meter_w, 1)}
        return [
            Publication(f"{self._plug}/relay/0/power", f"{now.heater_w:.2f}"),
            Publication(f"{self._plug}/relay/0/energy", str(int(now.heater_wmin))),
            Publication(self._meter, json.dumps([{"bn": self._base, "bt": now.at.timestamp(), **register}, power])),
        ]

    def history(self, readings: Iterable[tuple[datetime, float]]) -> Iterator[Publication]:
        """Yield back-dated register readings (Wh)."""
        for some in _batches(readings):
            pack = [self._register(wh) | {"t": at.timestamp()} for at, wh in some]
            pack[0] = {"bn": self._base, **pack[0]}
            yield Publication(self._meter, json.dumps(pack), qos=1)

    def order(self, topic: str, payload: bytes) -> Order:
        """Read an order. Raises InvalidError."""
        if topic == f"{self._meter}/get":
            return _history_order(payload, self._home.id)
        if topic == f"{self._plug}/relay/0/command":
            return SwitchOrder(None if payload == b"toggle" else _on_off(_text(payload)))
        if payload in {b"announce", b"update"}:
            return RefreshOrder(introduce=payload == b"announce")
        raise InvalidError(f"The plug does not know the command {payload!r:.40}.")

    @staticmethod
    def _register(register_wh: float) -> dict[str, Any]:
        # Joule is RFC 8428's own unit of energy; Wh came later (RFC 8798).
        return {"n": "energy", "u": "J", "v": round(register_wh * 3600)}


def _mac(home: Home) -> str:
    """Return a locally administered address, which no device on sale has."""
    return f"02E7E{home.index:07X}"


def _batches(readings: Iterable[tuple[datetime, float]]) -> Iterator[list[tuple[datetime, float]]]:
    rest = iter(readings)
    while some := list(islice(rest, MAX_RECORDS)):
        yield some


def _on_off(command: object) -> bool:
    if command not in ("on", "off"):
        raise InvalidError(f"The command {command!r:.40} is neither 'on' nor 'off'.")
    return command == "on"


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise InvalidError("The order is not text.") from error


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"The order is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidError("The order is not a JSON object.")
    return body


def _history_order(payload: bytes, meter: str) -> HistoryOrder | NoOrder:
    body = _json_object(payload)
    if str(body.get("device", meter)) != meter:
        return NoOrder()
    try:
        start, end = (datetime.fromisoformat(body[key]) for key in ("from", "to"))
        order = HistoryOrder(_aware(start), _aware(end))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidError('A history request is {"from": ISO time, "to": ISO time}.') from error
    if order.end < order.start:
        raise InvalidError("A history request ends before it begins.")
    return order


def _aware(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _without_zone(when: datetime) -> str:
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
