"""Shelly plugs and relays of the first generation, over MQTT.

They have no lease of their own over MQTT: a switch stays where it was put until we restore it.
"""

import math
import time
from datetime import timedelta
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field

from bridges.connections import Connection, ConnectionKind, Handler, Message
from bridges.device import Capability, CapabilityKind, Contact, Device, DeviceSpec, Driver, Value
from bridges.drivers.base import MqttDriver, options_of, point
from bridges.senml import parse_json
from core.clock import Clock
from core.errors import InvalidError
from core.points import to_unit

_log = structlog.get_logger(__name__)

CONNECTION = ConnectionKind.MQTT

_LONGEST = 64
_ONE_START_S = 5.0
"""A plug that connects says so twice: online, then its announcement."""


class Options(BaseModel):
    """A Shelly of the first generation, with MQTT switched on in its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[^/+#\s]+$",
        title="Shelly id",
        description="As in its topics, for example shellyplug-s-376D1F.",
    )
    relay: int = Field(0, ge=0, le=3, title="Relay", description="Which relay of a device with several.")
    normal: Literal["on", "off"] = Field(
        "on", title="Normal state", description="Restored when it is not known what the plug did before."
    )
    min_interval_s: float = Field(
        0, ge=0, le=86400, title="Least time between switchings", description="Seconds; spares compressors and relays."
    )
    prefix: str = Field("shellies", min_length=1, max_length=64, title="Topic prefix", description="Of gen1 devices.")


def create(device: DeviceSpec, connection: Connection, clock: Clock) -> Driver:
    """Make the driver of one relay."""
    return Shelly(device, options_of(Options, device), connection, clock)


class Shelly(MqttDriver):
    """One relay of a Shelly, with its power meter."""

    def __init__(self, spec: DeviceSpec, options: Options, connection: Connection, clock: Clock) -> None:
        switch = Capability(
            name=CapabilityKind.SWITCH,
            normal=options.normal,
            values=("on", "off"),
            readable=True,
            min_interval=timedelta(seconds=options.min_interval_s),
        )
        points = (point(spec.id, "power"), point(spec.id, "energy"))
        super().__init__(Device(spec.id, spec.role, points, (switch,), spec.nominal_w), connection, clock)
        self._options = options
        self._root = f"{options.prefix}/{options.id}"
        self._relay = f"{self._root}/relay/{options.relay}"
        self._present: bool | None = None
        self._back_s = -math.inf

    @property
    def online(self) -> bool:
        """Whether the device is believed to be reachable: our link is up and its last will has not spoken."""
        return self.connection.connected and self._present is not False

    def subscriptions(self) -> tuple[tuple[str, Handler, int], ...]:
        """Return topic filters, handlers and QoS.

        Values and states carry no time of their own, so a broker must not store them while we are away: QoS 0.
        """
        return (
            (self._relay, self._take_state, 0),
            (f"{self._relay}/power", self._take_power, 0),
            (f"{self._relay}/energy", self._take_energy, 0),
            (f"{self._root}/online", self._take_online, 1),
            (f"{self._options.prefix}/announce", self._take_announce, 0),
        )

    async def greet(self) -> None:
        """Ask for everything the device has to say; by itself it speaks every 30 seconds."""
        await self.connection.publish(f"{self._root}/command", "update")

    async def apply(self, capability: CapabilityKind, value: Value, until: object = None) -> None:  # noqa: ARG002  no lease here
        """Switch, then ask for the state, so that a relay that was there already confirms, too."""
        if capability != CapabilityKind.SWITCH or value not in ("on", "off"):
            raise InvalidError(f"{self.device.id} can be switched on and off, not {capability} {value!r:.40}.")
        self.speak()
        await self.connection.publish(f"{self._relay}/command", str(value))
        await self.greet()

    def _take_state(self, message: Message) -> None:
        word = _text(message)
        if word == "overpower":
            _log.warning("a Shelly switched itself off for too high a load", device=self.device.id)
            word = "off"
        if word not in ("on", "off"):
            raise InvalidError(f"{word!r} is not the state of a relay.")
        if message.retained:
            self.note_stored(CapabilityKind.SWITCH, word)
            return
        self._note_life()
        self.report(CapabilityKind.SWITCH, word)

    def _take_power(self, message: Message) -> None:
        if not message.retained:  # an old value without a time says nothing
            number = _number(message)
            self._note_life()
            self.reading("power", self.clock.now(), number)

    def _take_energy(self, message: Message) -> None:
        if not message.retained:
            number = _number(message)
            self._note_life()
            self.reading("energy", self.clock.now(), to_unit(number, "Wmin", "Wh"))

    def _take_online(self, message: Message) -> None:
        match _text(message), message.retained:
            case "true", False:
                self._note_return()
            case "true", True:
                self._note_life()
            case "false", _:
                self._note_absence()
            case word, _:
                _log.warning("a Shelly's presence is neither true nor false", device=self.device.id, word=word)

    def _take_announce(self, message: Message) -> None:
        whole = parse_json(message.payload)
        announced = isinstance(whole, dict) and whole.get("id") == self._options.id and not message.retained
        if announced and time.monotonic() - self._back_s > _ONE_START_S:
            self._note_return()

    def _note_life(self) -> None:
        """Take any sign of life: a plug that was away is back."""
        if self._present is False:
            self._note_return()
        self._present = True

    def _note_return(self) -> None:
        """Take notice that the plug connected anew: what it does now it started with, or did without us."""
        self._present, self._back_s = True, time.monotonic()
        self.hush()
        self.in_background(self._greet_quietly())
        self.told(Contact.RESTARTED)

    def _note_absence(self) -> None:
        before, self._present = self._present, False
        if before is not False:
            self.told(Contact.LOST)


def _text(message: Message) -> str:
    if len(message.payload) > _LONGEST:
        raise InvalidError(f"{len(message.payload)} bytes are too long for a Shelly's value.")
    return message.payload.decode("utf-8", "replace").strip()


def _number(message: Message) -> float:
    text = _text(message)
    try:
        number = float(text)
    except ValueError as error:
        raise InvalidError(f"{text!r} is not a number.") from error
    if not math.isfinite(number):
        raise InvalidError(f"{text!r} is not a finite number.")
    return number
