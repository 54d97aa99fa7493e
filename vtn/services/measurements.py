"""From the values of a report to series of our own: what was measured, of what, in which unit."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from core.points import UNITS, Quantity
from openadr.model import report as quality_words
from openadr.model.codes import Code, OpenADRError
from openadr.model.report import Report, ReportDescription, ReportOffer, ResourceStatus, with_starts
from vtn.store.readings import SeriesKey, Values

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


def to_values(ven_id: str, report: Report, offer: ReportOffer) -> Iterator[tuple[SeriesKey, str, Values]]:
    """Yield (series, unit, values) for every data point of a report. NaN, INF and bad quality mean "no value" (RP-48).

    Raises OpenADRError 452 for an rID that the offer lacks (RP-55), 459 for intervals without time.
    """
    columns: dict[tuple[str, str], _Column] = {}
    numbers: dict[str, _Column] = {}  # the same columns, of those rIDs that are numbers
    for start, duration, interval in with_starts(report):
        start_s, duration_s = int(start.timestamp()), duration.exact_s if duration else 0
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
            column.add(start_s, duration_s, value if known else None, quality if known else "bad")
    for (r_id, status), column in columns.items():
        line = offer.description(r_id)
        if line is None:
            raise OpenADRError(Code.INVALID_ID, f"rID '{r_id}' was not offered.")
        yield _series(ven_id, line, status, column)


def _quality(word: str) -> str:
    """Turn OpenADR's data quality into ours (core.points.Quality)."""
    if word == quality_words.GOOD or word.startswith("Quality Good"):
        return "good"
    if word == quality_words.ESTIMATED:
        return "estimated"
    if word in (quality_words.NO_NEW_VALUE, quality_words.STALE):
        return "stale"
    return "bad" if word.startswith(("Quality Bad", "No Quality")) else "uncertain"


def _series(ven_id: str, line: ReportDescription, status: str, column: _Column) -> tuple[SeriesKey, str, Values]:
    resource_id = line.source.resource_ids[0] if line.source.resource_ids else line.r_id
    if status:
        return SeriesKey(ven_id, resource_id, status, "instant"), "", _pack(column, 1.0)
    quantity = _QUANTITIES.get(line.item_base.name) if line.item_base else None
    if quantity is None:
        return SeriesKey(ven_id, resource_id, line.r_id, "instant"), "", _pack(column, 1.0)
    instant = not any(column.durations)
    kind = "instant" if instant else "sum" if quantity in _ENERGIES else "mean"
    if instant and quantity in _ENERGIES:
        kind = "register"
    factor = line.item_base.factor if line.item_base else 1.0
    return SeriesKey(ven_id, resource_id, quantity, kind), UNITS[quantity], _pack(column, factor)


def _pack(column: _Column, factor: float) -> Values:
    """Write a column as a chunk: with a step where the values are evenly spaced, with offsets elsewhere."""
    starts, durations = column.starts, column.durations
    steps = {later - earlier for earlier, later in itertools.pairwise(starts)}
    step = steps.pop() if len(steps) == 1 else durations[0] if len(starts) == 1 and durations[0] else None
    even = step is not None and step > 0 and set(durations) <= {step}
    return Values(
        start_s=starts[0],
        step_s=step if even else None,
        values=tuple(None if value is None else value * factor for value in column.values),
        offsets_s=None if even else tuple(start - starts[0] for start in starts),
        durations_s=None if even else tuple(durations),
        qualities=None if set(column.qualities) == {"good"} else tuple(column.qualities),
    )


def newest_start_s(values: Values) -> int:
    """Return the start of the newest of some values, seconds since 1970."""
    if values.offsets_s is not None:
        return values.start_s + max(values.offsets_s)
    return values.start_s + (len(values.values) - 1) * (values.step_s or 0)
