"""From the values of a report to series of our own: what was measured, of what, in which unit.

A series is what its report description says (`vtn.store.data_point`); two data points are never taken for one.
"""

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Final

from core.errors import InvalidError, Reason
from core.points import UNITS, Quantity
from core.spans import Duration
from openadr.model import report as quality_words
from openadr.model.report import Report, ReportDescription, ReportOffer, ResourceStatus, with_starts
from openadr.model.units import ItemBase
from vtn.services.flows import flow_of, phase_of
from vtn.store.data_point import DataPoint, digest
from vtn.store.readings import SeriesKey, Values
from vtn.store.rows import from_json

_QUANTITIES: Final = {
    "powerReal": Quantity.POWER_REAL,
    "powerReactive": Quantity.POWER_REACTIVE,
    "powerApparent": Quantity.POWER_APPARENT,
    "energyReal": Quantity.ENERGY_REAL,
    "energyReactive": Quantity.ENERGY_REACTIVE,
    "energyApparent": Quantity.ENERGY_APPARENT,
    "voltage": Quantity.VOLTAGE,
    "current": Quantity.CURRENT,
    "frequency": Quantity.FREQUENCY,
    "temperature": Quantity.TEMPERATURE,
    "pulseCount": Quantity.PULSES,
}
_ENERGIES: Final = (Quantity.ENERGY_REAL, Quantity.ENERGY_REACTIVE, Quantity.ENERGY_APPARENT, Quantity.PULSES)
_FAHRENHEIT: Final = (5 / 9, -32 * 5 / 9)
AHEAD_S: Final = 300
"""So far a VEN's clock may run ahead."""
_LONGEST_AHEAD_S: Final = 3600
"""Some VENs stamp an interval with its end, so that it seems to last until later; longer ones are not believed."""
_LONGEST_NAME: Final = 200
_LONGEST_UNIT: Final = 16


@dataclass(frozen=True, slots=True)
class Line:
    """A data point of an offer, ready to be stored: `value * factor + offset` is in `unit`."""

    point: DataPoint
    resource_id: str
    quantity: Quantity | None
    unit: str
    factor: float = 1.0
    offset: float = 0.0


@lru_cache(maxsize=2048)
def lines_of(offer: str) -> Mapping[str, Line]:
    """Return rID -> data point of an offer, from the text of its JSON. What was read before is kept.

    Every report reads its offer again, and offers change seldom. Raises InvalidError.
    """
    lines = {one.r_id: _line(one) for one in from_json(ReportOffer, json.loads(offer)).descriptions}
    alike = Counter(map(_meaning, lines.values()))
    return {
        r_id: replace(one, point=replace(one.point, ambiguous=True)) if alike[_meaning(one)] > 1 else one
        for r_id, one in lines.items()
    }


def _line(description: ReportDescription) -> Line:
    base = description.item_base
    quantity = _QUANTITIES.get(base.name) if base else None
    point = DataPoint(
        digest(
            description.r_id,
            description.report_type,
            description.reading_type,
            description.source,
            description.subject,
            _odd_unit(base, quantity),
        ),
        description.r_id,
        description.report_type,
        description.reading_type,
        description.source,
        description.subject,
        flow_of(description),
        phase_of(description.r_id),
    )
    resource_id = "+".join(description.source.resource_ids)[:_LONGEST_NAME] or description.r_id
    factor, offset = base.factor if base else 1.0, 0.0
    if quantity is Quantity.TEMPERATURE and base and base.units == "fahrenheit":
        factor, offset = factor * _FAHRENHEIT[0], _FAHRENHEIT[1]
    own_unit = base.units if base and len(base.units) <= _LONGEST_UNIT else ""
    return Line(point, resource_id, quantity, own_unit if quantity is None else UNITS[quantity], factor, offset)


def _odd_unit(base: ItemBase | None, quantity: Quantity | None) -> list[object] | None:
    """Return what a unit says that the quantity does not."""
    if base is None or (quantity is not None and base.pulse_factor is None):
        return None
    return [base.name, base.description, base.units, base.pulse_factor]


def _meaning(line: Line) -> tuple[object, ...]:
    point = line.point
    return (
        line.quantity,
        line.unit,
        point.report_type,
        point.reading_type,
        point.sources,
        point.subject,
        point.flow,
        point.phase,
    )


@dataclass(slots=True)
class _Column:
    """The values of one rID while a report is read."""

    starts: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    qualities: list[str] = field(default_factory=list)

    def add(self, start_s: int, duration_s: int, value: float | None, quality: str) -> None:
        self.starts.append(start_s)
        self.durations.append(duration_s)
        self.values.append(value)
        self.qualities.append(quality)


def to_values(
    ven_id: str, report: Report, lines: Mapping[str, Line], now: datetime
) -> Iterator[tuple[SeriesKey, str, Values]]:
    """Yield (series, unit, values) for every data point of a report. NaN, INF and bad quality mean "no value" (RP-48).

    What nobody can have measured yet at `now` is uncertain: it begins later, or lasts until much later. Raises
    InvalidError: not offered for an rID that the offer lacks (RP-55), breaks a rule for intervals without time,
    invalid data for those that last less than nothing or reach beyond the calendar.
    """
    columns: dict[tuple[str, str], _Column] = {}
    numbers: dict[str, _Column] = {}  # the same columns, of those rIDs that are numbers
    latest_s = now.timestamp() + AHEAD_S
    for start, duration, interval in with_starts(report):
        start_s, duration_s = int(start.timestamp()), lasting_s(start, duration)
        is_ahead = start_s > latest_s or start_s + duration_s > latest_s + _LONGEST_AHEAD_S
        for payload in interval.payloads:
            r_id, value = payload.r_id, payload.value
            quality = "good" if payload.quality is None else _quality(payload.quality)
            if isinstance(value, ResourceStatus):
                for status, state in (("online", value.online), ("override", value.manual_override)):
                    columns.setdefault((r_id, status), _Column()).add(start_s, 0, float(state), quality)
                continue
            column = numbers.get(r_id)
            if column is None:
                column = numbers[r_id] = columns[r_id, ""] = _Column()
            known = quality != "bad" and math.isfinite(value)
            word = "bad" if not known else "uncertain" if is_ahead else quality
            column.add(start_s, duration_s, value if known else None, word)
    for (r_id, status), column in columns.items():
        line = lines.get(r_id)
        if line is None:
            raise InvalidError(f"rID '{r_id[:_LONGEST_NAME]}' was not offered.", reason=Reason.NOT_OFFERED)
        yield _series(ven_id, line, status, column)


def lasting_s(start: datetime, duration: Duration | None) -> int:
    """Return the length of an interval in seconds; months count from its start (GN-05). None: it is a moment.

    Raises InvalidError where that is negative, or ends beyond the calendar.
    """
    if duration is None:
        return 0
    length_s = duration.seconds if not duration.months else Duration.between(start, duration.after(start)).seconds
    if length_s < 0:
        raise InvalidError(f"An interval cannot last {duration}.")
    return length_s


def _quality(word: str) -> str:
    """Turn OpenADR's data quality into ours (core.points.Quality)."""
    if word == quality_words.GOOD or word.startswith("Quality Good"):
        return "good"
    if word == quality_words.ESTIMATED:
        return "estimated"
    if word in (quality_words.NO_NEW_VALUE, quality_words.STALE):
        return "stale"
    return "bad" if word.startswith(("Quality Bad", "No Quality")) else "uncertain"


def _series(ven_id: str, line: Line, status: str, column: _Column) -> tuple[SeriesKey, str, Values]:
    if status:
        return SeriesKey(ven_id, line.resource_id, status, "instant", point=line.point), "", _pack(column, 1.0, 0.0)
    instant, counts = line.quantity is None or not any(column.durations), line.quantity in _ENERGIES
    kind = ("register" if counts else "instant") if instant else "sum" if counts else "mean"
    key = SeriesKey(ven_id, line.resource_id, line.quantity or line.point.r_id, kind, point=line.point)
    return key, line.unit, _pack(column, line.factor, line.offset)


def _pack(column: _Column, factor: float, offset: float) -> Values:
    """Write a column as a chunk: with a step where the values are evenly spaced, with offsets elsewhere."""
    starts, durations = column.starts, column.durations
    steps = {later - earlier for earlier, later in itertools.pairwise(starts)}
    step = steps.pop() if len(steps) == 1 else durations[0] if len(starts) == 1 and durations[0] else None
    even = step is not None and step > 0 and set(durations) <= {step}
    if not even and len(set(starts)) < len(starts):
        _doubt_contradictions(column)
    values = column.values
    if (factor, offset) != (1.0, 0.0):
        values = [None if value is None else value * factor + offset for value in values]
    return Values(
        start_s=starts[0],
        step_s=step if even else None,
        values=tuple(values),
        offsets_s=None if even else tuple(start - starts[0] for start in starts),
        durations_s=None if even else tuple(durations),
        qualities=None if set(column.qualities) == {"good"} else tuple(column.qualities),
    )


def _doubt_contradictions(column: _Column) -> None:
    """Mark values of one time that differ: nobody knows which of them is right. Those called bad say nothing."""
    said: dict[int, set[tuple[int, float | None]]] = {}
    for start_s, duration_s, value in zip(column.starts, column.durations, column.values, strict=True):
        if value is not None:
            said.setdefault(start_s, set()).add((duration_s, value))
    for place, start_s in enumerate(column.starts):
        if column.values[place] is not None and len(said[start_s]) > 1:
            column.qualities[place] = "uncertain"


def newest_start_s(values: Values) -> int:
    """Return the start of the newest of some values, seconds since 1970."""
    if values.offsets_s is not None:
        return values.start_s + max(values.offsets_s)
    return values.start_s + (len(values.values) - 1) * (values.step_s or 0)
