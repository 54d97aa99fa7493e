"""Values of data points in time, and the intervals of a report that they make."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from core.points import Quality, Reading
from core.spans import Duration
from openadr.model.report import (
    BAD,
    DOUBTFUL,
    ESTIMATED,
    GOOD,
    NO_NEW_VALUE,
    STALE,
    LoadControlState,
    ReportInterval,
    ReportPayload,
    ResourceStatus,
)
from ven.series import Measured

_QUALITIES: Final = {Quality.GOOD: GOOD, Quality.ESTIMATED: ESTIMATED, Quality.UNCERTAIN: DOUBTFUL}
STATUS_STALE: Final = timedelta(minutes=10)
"""A status that nobody renewed for so long is only the last usable one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One value of one data point; a status is a point in time and has no `end` (RP-43)."""

    start: datetime
    end: datetime | None
    payload: ReportPayload


def value_row(r_id: str, measured: Measured) -> Row:
    """Return a measured value: watts for a power, watt-hours for an energy."""
    value = measured.power_w if r_id.endswith("/power") else measured.energy_wh
    return Row(measured.start, measured.end, ReportPayload(r_id, round(value, 6), _QUALITIES[measured.quality]))


def placeholder(r_id: str, start: datetime, end: datetime) -> Row:
    """Return what stands for an interval without valid data (RP-48)."""
    return Row(start, end, ReportPayload(r_id, 0.0, BAD))


def placeholders(r_id: str, edges: Sequence[datetime], measured: Sequence[Measured]) -> list[Row]:
    """Return a placeholder for each interval between edges that no measured value touches; both ascend."""
    rows: list[Row] = []
    place = 0
    for low, high in pairwise(edges):
        while place < len(measured) and measured[place].end <= low:
            place += 1
        if place == len(measured) or measured[place].start >= high:
            rows.append(placeholder(r_id, low, high))
    return rows


def changes(rows: Sequence[Row]) -> list[Row]:
    """Return the rows whose value differs from the one before; if none does, the last one as "no new value" (RP-47)."""
    by_r_id: dict[str, list[Row]] = {}
    for row in rows:
        by_r_id.setdefault(row.payload.r_id, []).append(row)
    kept: list[Row] = []
    for mine in by_r_id.values():
        changed = [
            row
            for before, row in pairwise(mine)
            if (row.payload.value, row.payload.quality) != (before.payload.value, before.payload.quality)
        ]
        if changed:
            kept += [mine[0], *changed]
        else:
            kept += [replace(row, payload=replace(row.payload, quality=_unchanged(row.payload))) for row in mine[-1:]]
    return kept


def _unchanged(payload: ReportPayload) -> str | None:
    return NO_NEW_VALUE if payload.quality == GOOD else payload.quality


def intervals(rows: Iterable[Row], *, single: bool) -> tuple[ReportInterval, ...]:
    """Return intervals from old to new, values of the same span together unless `single` (RP-41, RP-42)."""
    spans: dict[tuple[datetime, datetime | None, str], list[ReportPayload]] = {}
    for row in rows:
        spans.setdefault((row.start, row.end, row.payload.r_id if single else ""), []).append(row.payload)
    return tuple(
        ReportInterval(tuple(payloads), start, Duration.between(start, end) if end else None)
        for (start, end, _), payloads in sorted(spans.items(), key=lambda item: (item[0][0], item[0][1] or item[0][0]))
    )


def status_row(
    r_id: str, when: datetime, online: Reading | None, override: Reading | None, capacity: Reading | None
) -> Row:
    """Return a resource's status at a time, out of what was last said of it (RP-43, RP-50)."""
    status = ResourceStatus(
        online=bool(online and online.value),
        manual_override=bool(override and override.value),
        capacity=LoadControlState(capacity.value if capacity else 1.0, 0.0, 1.0, 1.0),
    )
    return Row(when, None, ReportPayload(r_id, status, _freshness(online, when)))


def _freshness(online: Reading | None, when: datetime) -> str:
    if online is None:
        return BAD
    return GOOD if when - online.start <= STATUS_STALE else STALE
