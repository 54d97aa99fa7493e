"""How readings are written for others: SiteWhere's JSON, SenML, what iFLEX expects, and plain JSON."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final

from bridges.senml import Dialect, Record, write
from core.errors import InvalidError
from core.points import Quality, Reading

_WILD: Final = re.compile(r"[+#\x00]")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9\-:./_]")
"""What no SenML name may hold (RFC 8428, 4.5.1)."""


class CopyFormat(StrEnum):
    """The formats there are."""

    JSON = "json"
    SENML = "senml"
    IFLEX = "iflex"
    SITEWHERE = "sitewhere"


@dataclass(frozen=True, slots=True)
class Labels:
    """What readings are called on the other side: `home` and `hardware_id` as they are, `names` by point id.

    `units` has the unit of each point.
    """

    home: str
    hardware_id: str
    names: Mapping[str, str]
    units: Mapping[str, str]

    def name(self, reading: Reading) -> str:
        """Return what a reading's point is called there."""
        return self.names.get(reading.point, reading.point.partition(".")[2])

    def fill(self, topic: str, reading: Reading) -> str:
        """Fill in a topic."""
        device, _, _ = reading.point.partition(".")
        values = {"home": self.home, "device": device, "point": self.name(reading), "hardware_id": self.hardware_id}
        for name, value in values.items():
            topic = topic.replace(f"{{{name}}}", _WILD.sub("_", value))
        return topic


TOPICS: Final[Mapping[CopyFormat, str]] = MappingProxyType(
    {
        CopyFormat.JSON: "evenload/{home}/{device}/{point}",
        CopyFormat.SENML: "evenload/{home}/senml",
        CopyFormat.IFLEX: "iflex/{hardware_id}/measurement",
        CopyFormat.SITEWHERE: "SiteWhere/input/json",
    }
)
"""Where each format goes unless told otherwise."""
SITEWHERE_BATCH: Final = "SiteWhere/input/jsonbatch"

Written = Iterator[tuple[str, str]]
"""Topics and payloads."""


def written(form: CopyFormat, topic: str, readings: Sequence[Reading], labels: Labels) -> Written:
    """Yield the messages that carry these readings, in their order. Raises InvalidError for what cannot be written."""
    return _WRITERS[form](topic, readings, labels)


def _json(topic: str, readings: Sequence[Reading], labels: Labels) -> Written:
    for reading in readings:
        fields: dict[str, Any] = {"v": reading.value, "u": labels.units.get(reading.point, "")}
        fields["t"] = reading.start.isoformat()
        if reading.duration is not None:
            fields["duration_s"] = reading.duration.total_seconds()
        if reading.quality is not Quality.GOOD:
            fields["quality"] = reading.quality.value
        yield labels.fill(topic, reading), _dump(fields)


def _senml(topic: str, readings: Sequence[Reading], labels: Labels) -> Written:
    for place, those in groupby(readings, lambda reading: labels.fill(topic, reading)):
        records = [_record(reading, labels) for reading in those]
        plain = (replace(one, base=_UNFIT.sub("_", one.base), label=_UNFIT.sub("_", one.label)) for one in records)
        yield place, write(plain, Dialect.STRICT)


def _iflex(topic: str, readings: Sequence[Reading], labels: Labels) -> Written:
    for reading in readings:
        yield labels.fill(topic, reading), write([_record(reading, labels)], Dialect.IFLEX)


def _record(reading: Reading, labels: Labels) -> Record:
    """Return a SenML record; a mean or a sum is of the time at its end, as meters write it."""
    device, _, _ = reading.point.partition(".")
    at = reading.start if reading.duration is None else reading.start + reading.duration
    unit = labels.units.get(reading.point, "")
    return Record(f"urn:dev:ven:{labels.hardware_id}:{device}:", labels.name(reading), at, reading.value, unit)


def _sitewhere(topic: str, readings: Sequence[Reading], labels: Labels) -> Written:
    """Write as SiteWhere 1.x reads it: a request for each time, or a batch of them (DeviceEventBatch)."""
    requests = [
        {"measurements": measurements, "eventDate": when.isoformat()} for when, measurements in _named(readings, labels)
    ]
    if not topic.endswith("batch"):
        for request in requests:
            fields = {"hardwareId": labels.hardware_id, "type": "DeviceMeasurements"}
            yield labels.fill(topic, readings[0]), _dump(fields | {"request": request | {"updateState": True}})
    elif requests:
        yield labels.fill(topic, readings[0]), _dump({"hardwareId": labels.hardware_id, "measurements": requests})


def _named(readings: Sequence[Reading], labels: Labels) -> Iterator[tuple[datetime, dict[str, float]]]:
    """Yield values by name, of one time each; where two readings of one time have one name, neither hides the other."""
    for when, those in groupby(readings, lambda reading: reading.start):
        values: dict[str, float] = {}
        for reading in those:
            name = labels.name(reading)
            if name in values:
                yield when, values
                values = {}
            values[name] = reading.value
        yield when, values


def _dump(fields: Mapping[str, Any]) -> str:
    try:
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InvalidError(f"JSON has no such number: {error}") from error


_WRITERS: Final[Mapping[CopyFormat, Callable[[str, Sequence[Reading], Labels], Written]]] = MappingProxyType(
    {
        CopyFormat.JSON: _json,
        CopyFormat.SENML: _senml,
        CopyFormat.IFLEX: _iflex,
        CopyFormat.SITEWHERE: _sitewhere,
    }
)
