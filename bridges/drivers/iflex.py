"""One device of an iFLEX HEMS: a switch, sensors, or both."""

import math
import time
from datetime import datetime, timedelta
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, field_validator

from bridges import iflex
from bridges.connected_device import POINTS, ConnectedDevice, options_of, point
from bridges.connections import Connection, ConnectionKind, Handler, Message
from bridges.device import Capability, CapabilityKind, Contact, Device, DeviceSpec, Driver, Value
from bridges.device_clock import DeviceClock
from core.clock import Clock
from core.errors import InvalidError
from core.points import UNITS, to_unit
from core.spans import shifted

_log = structlog.get_logger(__name__)

CONNECTION = ConnectionKind.MQTT

_SILENT_S = 180.0
"""A HEMS speaks every minute; one that was silent for longer was away."""


class Topics(BaseModel):
    """Where a HEMS publishes and listens; `{hems_id}` stands for its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: str = Field("iflex/{hems_id}/config", title="Configuration", description="Published by the HEMS.")
    state: str = Field("iflex/{hems_id}/state", title="State", description="Published by the HEMS.")
    measurement: str = Field("iflex/{hems_id}/measurement", title="Measurement", description="Published by the HEMS.")
    control: str = Field("iflex/{hems_id}/control", title="Control", description="Read by the HEMS.")


class Options(BaseModel):
    """A device that an iFLEX HEMS looks after."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    hems_id: str = Field(
        min_length=1, max_length=64, pattern=r"^[^/+#\s]+$", title="HEMS id", description="For example 4JDB-OR78."
    )
    device_id: str = Field(min_length=1, max_length=64, title="Device id", description="As in the HEMS configuration.")
    actuator_id: str | None = Field(
        None, min_length=1, max_length=64, title="Actuator id", description="Give it to switch the device on and off."
    )
    points: dict[str, str] = Field(
        default_factory=lambda: {"energy": "Import active energy", "power": "Active power"},
        title="Points",
        description="Which sensor (by name, or by its number) gives which point: energy, power, voltage_l1 ...",
    )
    normal: Literal["on", "off"] = Field(
        "on", title="Normal state", description="Restored when it is not known what the device did before."
    )
    min_interval_s: float = Field(
        0, ge=0, le=86400, title="Least time between switchings", description="Seconds; spares compressors and relays."
    )
    topics: Topics = Field(default_factory=Topics, title="Topics", description="Where the HEMS publishes and listens.")

    @field_validator("points")
    @classmethod
    def _check_points(cls, points: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(points) - set(POINTS)):
            raise ValueError(f"unknown points {', '.join(unknown)}; known are {', '.join(POINTS)}")
        return points


def create(device: DeviceSpec, connection: Connection, clock: Clock) -> Driver:
    """Make the driver of one device of a HEMS."""
    return HemsDevice(device, options_of(Options, device), connection, clock)


class HemsDevice(ConnectedDevice):
    """One device of a HEMS. It can be asked for its history."""

    def __init__(self, spec: DeviceSpec, options: Options, connection: Connection, clock: Clock) -> None:
        switch = Capability(
            name=CapabilityKind.SWITCH,
            normal=options.normal,
            values=("on", "off"),
            min_interval=timedelta(seconds=options.min_interval_s),
        )
        points = tuple(point(spec.id, name) for name in options.points)
        capabilities = (switch,) if options.actuator_id is not None else ()
        super().__init__(Device(spec.id, spec.role, points, capabilities, spec.nominal_w), connection, clock)
        self._options = options
        self._by_sensor = {_plain(sensor): name for name, sensor in options.points.items()}
        self._clock = DeviceClock()
        self._config_at: datetime | None = None
        self._heard_s = -math.inf
        self._owes_word = False

    def subscriptions(self) -> tuple[tuple[str, Handler, int], ...]:
        """Return topic filters, handlers and QoS."""
        measurement = (self._topic(self._options.topics.measurement), self._take_measurements, 1)
        if self._options.actuator_id is None:
            return (measurement, (self._topic(self._options.topics.config), self._take_config, 1))
        return (
            measurement,
            (self._topic(self._options.topics.config), self._take_config, 1),
            (self._topic(self._options.topics.state), self._take_state, 1),
        )

    async def history(self, since: datetime, until: datetime) -> None:
        """Ask for the readings in [since, until]."""
        await self.ask_history(self._topic(self._options.topics.measurement), since, until, self._options.device_id)

    async def apply(self, capability: CapabilityKind, value: Value, until: object = None) -> None:  # noqa: ARG002  no lease here
        """Send a control message."""
        actuator = self._options.actuator_id
        if capability != CapabilityKind.SWITCH or actuator is None or value not in ("on", "off"):
            raise InvalidError(f"{self.device.id} cannot do {capability} {value!r:.40}.")
        self.speak()
        self._owes_word = True
        order = iflex.Order(self._options.device_id, actuator, str(value))
        await self.connection.publish(self._topic(self._options.topics.control), iflex.write_control([order]))

    def _topic(self, template: str) -> str:
        return template.replace("{hems_id}", self._options.hems_id)

    def hush(self) -> None:
        """Wait for the first sign of life, too: these messages know no last will."""
        super().hush()
        self._heard_s = -math.inf

    def _note_life(self) -> bool:
        """Take any live message; tell whether the HEMS was silent for long, or not heard since our link came."""
        silent = time.monotonic() - self._heard_s > _SILENT_S
        self._heard_s = time.monotonic()
        if silent and not self._owes_word:
            super().hush()
        return silent

    def _take_measurements(self, message: Message) -> None:
        if not message.retained and self._note_life() and self._owes_word:
            self.announce(Contact.RESTARTED)  # it may have missed our order
        now = None if message.retained else self.clock.now()
        read = iflex.read_measurements(message.payload, now)
        mine = [one for one in read if one.device == self._options.device_id]
        off = self.correction((one.at for one in mine), retained=message.retained)
        for one in mine:
            if isinstance(one.value, bool | str):
                continue
            name = self._by_sensor.get(one.sensor) or self._by_sensor.get(_plain(one.name))
            if name is None:
                continue
            unit = UNITS[POINTS[name][0]]
            self.reading(name, shifted(one.at, off.total_seconds()), to_unit(one.value, one.unit or unit, unit))

    def _take_state(self, message: Message) -> None:
        for state in iflex.read_state(message.payload):
            if (state.device, state.actuator) != (self._options.device_id, self._options.actuator_id):
                continue
            word = state.value.strip().lower()
            if word not in ("on", "off"):
                raise InvalidError(f"{state.value!r:.40} is not the state of a switch.")
            if message.retained:
                self.note_stored(CapabilityKind.SWITCH, word)
                continue
            self._note_life()
            self._owes_word = False
            self.report(CapabilityKind.SWITCH, word, self._clock.said(state.at, self.clock.now(), self.clock.elapsed()))

    def _take_config(self, message: Message) -> None:
        """Check our options against what the HEMS says it has. It says so when it starts."""
        config = iflex.read_config(message.payload)
        before, self._config_at = self._config_at, config.at
        if config.at != before and (before is not None or not message.retained):
            self._heard_s = time.monotonic()
            super().hush()
            self.announce(Contact.RESTARTED)
        element = next((one for one in config.elements if one.device == self._options.device_id), None)
        if element is None:
            _log.warning("the HEMS has no such device", device=self.device.id, device_id=self._options.device_id)
            return
        known = {_plain(sensor.name) for sensor in element.sensors} | {sensor.id for sensor in element.sensors}
        if missing := sorted(set(self._by_sensor) - known):
            _log.warning("the HEMS has no such sensors", device=self.device.id, sensors=missing)
        actuator = self._options.actuator_id
        if actuator is not None and actuator not in {control.actuator for control in element.controls}:
            _log.warning("the HEMS has no such actuator", device=self.device.id, actuator_id=actuator)


def _plain(sensor: str) -> str:
    """Return a sensor's name without what differs between HEMS: `Import - active energy` is `Import active energy`."""
    return " ".join(sensor.replace("-", " ").split()).lower()
