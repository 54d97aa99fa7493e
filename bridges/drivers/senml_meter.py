"""A grid meter that publishes SenML (RFC 8428) packs: a register in Wh and the mean power since the last pack."""

import re
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from bridges import senml
from bridges.connections import Connection, ConnectionKind, Handler, Message
from bridges.device import CapabilityKind, Device, DeviceSpec, Driver, Value
from bridges.drivers.base import MqttDriver, options_of, point
from core.clock import Clock
from core.errors import InvalidError
from core.points import Kind, to_unit

CONNECTION = ConnectionKind.MQTT

_SEGMENT = re.compile(r"[:/]")


class Options(BaseModel):
    """A meter that speaks SenML."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(
        min_length=1, max_length=64, pattern=r"^[^/+#\s]+$", title="Meter id", description="As in its topic."
    )
    topic: str = Field(
        "meter/{id}/measurement", min_length=1, max_length=256, title="Topic", description="{id} is the meter's id."
    )
    energy: str = Field("energy", min_length=1, title="Energy record", description="Name of the import register, Wh.")
    power: str = Field("power", min_length=1, title="Power record", description="Name of the mean import power, W.")
    period_s: float = Field(
        60, gt=0, le=86400, title="Averaging period", description="Seconds that a mean power covers, up to its time."
    )


def create(device: DeviceSpec, connection: Connection, clock: Clock) -> Driver:
    """Make the driver of one meter."""
    return SenmlMeter(device, options_of(Options, device), connection, clock)


class SenmlMeter(MqttDriver):
    """One meter. It can be asked for its history."""

    def __init__(self, spec: DeviceSpec, options: Options, connection: Connection, clock: Clock) -> None:
        points = (point(spec.id, "energy"), point(spec.id, "power", Kind.MEAN))
        super().__init__(Device(spec.id, spec.role, points, (), spec.nominal_w), connection, clock)
        self._topic = options.topic.replace("{id}", options.id)
        self._names = {options.energy: "energy", options.power: "power"}
        self._period = timedelta(seconds=options.period_s)

    def subscriptions(self) -> tuple[tuple[str, Handler, int], ...]:
        """Return topic filters, handlers and QoS."""
        return ((self._topic, self._take, 1),)

    async def history(self, since: datetime, until: datetime) -> None:
        """Ask for the readings in [since, until]."""
        await self.ask_history(self._topic, since, until, None)

    async def apply(self, capability: CapabilityKind, value: Value, until: object = None) -> None:  # noqa: ARG002  it only measures
        """Raise InvalidError: a meter takes no orders."""
        raise InvalidError(f"{self.device.id} is a meter; it has no {capability}.")

    def _take(self, message: Message) -> None:
        records = senml.read(message.payload, None if message.retained else self.clock.now())
        off = self.correction((record.at for record in records), retained=message.retained)
        for record in records:
            name = self._names.get(record.label) or self._names.get(_SEGMENT.split(record.name)[-1])
            if name is None or isinstance(record.value, bool | str | None):
                continue
            if name == "energy":
                self.reading(name, record.at + off, to_unit(record.value, record.unit or "Wh", "Wh"))
            else:
                watts = to_unit(record.value, record.unit or "W", "W")
                self.reading(name, record.at + off - self._period, watts, self._period)
