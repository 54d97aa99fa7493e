"""Validated values of metering points, as their operators send them: energy by intervals, with a quality.

They come row by row, and each row is taken or refused by itself, with a reason. What was taken goes before everything
that VENs report (`vtn.services.precedence`). A row that says something else of an interval corrects it; the old value
is kept (`vtn.store.readings`). Of intervals of other lengths, that came earlier, the shortest count.
"""

import math
import re
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from core.errors import InvalidError
from core.plausible import HOME_W
from core.points import Flow, Kind, Phase, Quality, Quantity
from openadr.model.target import EVERYTHING, Target
from vtn.services import csv_rows
from vtn.services.csv_rows import LONGEST_FIELD, Refused, check_lengths, moment
from vtn.services.precedence import METER
from vtn.store.chunks import DAY_S
from vtn.store.data_point import DIRECT_READ, USAGE, DataPoint, digest
from vtn.store.database import Connection, Transaction
from vtn.store.readings import Arrival, SeriesKey, Values, store_all
from vtn.store.rows import in_parts
from vtn.store.tables import site, ven

COLUMNS: Final = ("metering_point", "series", "start", "end", "energy_wh", "quality")
QUALITIES: Final[Mapping[str, Quality]] = {
    "validated": Quality.GOOD,
    "substituted": Quality.ESTIMATED,
    "estimated": Quality.ESTIMATED,
}
"""How a value came about; substitutes are estimates, and go after what was measured."""
FLOWS: Final[Mapping[str, Flow]] = {"import": Flow.IMPORT, "export": Flow.EXPORT}
_EARLIEST: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class MeterRow:
    """A row as it came, nothing checked. `line`: its number where it came from, the first is 1."""

    line: int
    metering_point: str
    series: str
    start: str
    end: str
    energy_wh: str
    quality: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of rows: `accepted` in all, `vens` that they are of, and those that were refused."""

    accepted: int
    vens: int
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class _Value:
    line: int
    key: SeriesKey
    start_s: int
    duration_s: int
    energy_wh: float
    quality: Quality


def read_csv(text: str) -> tuple[list[MeterRow], list[Refused]]:
    """Return the rows of a CSV text with the header COLUMNS, and those that are none. Raises as `csv_rows.read`."""
    rows, refused = csv_rows.read(text, COLUMNS)
    return [MeterRow(line, **fields) for line, fields in rows], refused


async def take(
    tx: Transaction, rows: Sequence[MeterRow], refused: Sequence[Refused], now: datetime, *, who: str
) -> Taken:
    """Store what is good of rows, and say of the others why not; `refused`: those that are none already."""
    owners = await _owners(tx.conn, {row.metering_point for row in rows})
    bad, values = list(refused), []
    taken: dict[SeriesKey, list[_Value]] = defaultdict(list)
    for row in rows:
        try:
            value = _read(row, owners, now)
            _lay(value, taken[value.key])
        except InvalidError as error:
            bad.append(Refused(row.line, str(error)))
            continue
        values.append(value)
    arrivals = list(_arrivals(one for some in taken.values() for one in some))
    if arrivals:
        await store_all(tx, arrivals, now)
    points = sorted({one.key.resource_id for one in values})
    after = {"metering_points": points[:20], "accepted": len(values), "refused": len(bad)}
    await tx.audit(
        who, "take in meter data", points[0] if len(points) == 1 else f"{len(points)} points", None, after, at=now
    )
    return Taken(len(values), len({one.key.ven_id for one in values}), tuple(sorted(bad, key=lambda row: row.line)))


def _read(row: MeterRow, owners: Mapping[str, Sequence[Any]], now: datetime) -> _Value:
    """Return the value of a row. Raises InvalidError, in words for whoever sent it."""
    check_lengths(row, COLUMNS)
    owner = _owner(owners.get(row.metering_point, ()))
    if row.series not in FLOWS:
        raise InvalidError(f"Its series is none of {', '.join(FLOWS)}.")
    if row.quality not in QUALITIES:
        raise InvalidError(f"Its quality is none of {', '.join(QUALITIES)}.")
    start, end = moment(row.start, "start"), moment(row.end, "end")
    if not timedelta() < end - start <= timedelta(days=1):
        raise InvalidError("It does not end after its start, within a day.")
    if start < _EARLIEST or end > now:
        raise InvalidError("It lies before 2000 or in the future.")
    if _NUMBER.fullmatch(row.energy_wh) is None:
        raise InvalidError("Its energy_wh is no plain number from 0 on, such as 250 or 250.5.")
    energy_wh, duration_s = float(row.energy_wh), int((end - start).total_seconds())
    limit_w = float(owner.connection_w) if owner.connection_w is not None else HOME_W
    if not math.isfinite(energy_wh) or energy_wh * 3600 / duration_s > limit_w * (1 + 1e-9):
        raise InvalidError(f"It is more than the connection carries, {limit_w:g} W.")
    key = key_of_meter(owner.id, row.metering_point, FLOWS[row.series])
    return _Value(row.line, key, int(start.timestamp()), duration_s, energy_wh, QUALITIES[row.quality])


def _lay(value: _Value, taken: list[_Value]) -> None:
    """Put a value among those of its series, which share no time and are in order. Raises InvalidError for a clash."""
    place = bisect(taken, value.start_s, key=lambda other: other.start_s)
    for other in taken[max(place - 1, 0) : place + 1]:
        if (other.start_s, other.duration_s) == (value.start_s, value.duration_s):
            if (other.energy_wh, other.quality) != (value.energy_wh, value.quality):
                raise InvalidError(f"Line {other.line} says something else of this interval.")
            return
        if other.start_s < value.start_s + value.duration_s and value.start_s < other.start_s + other.duration_s:
            raise InvalidError(f"It shares time with line {other.line}, whose interval is another.")
    taken.insert(place, value)


def _owner(owners: Sequence[Any]) -> Any:
    if not owners:
        raise InvalidError("No VEN has this metering point.")
    if len(owners) > 1:
        raise InvalidError(f"{len(owners)} VENs have this metering point; one may.")
    return owners[0]


def key_of_meter(ven_id: str, metering_point: str, flow: Flow) -> SeriesKey:
    """Return the series in which the values of a metering point lie."""
    sources = Target(resource_ids=(metering_point,))
    r_id = metering_point if flow is Flow.IMPORT else f"{metering_point} {flow.value}"
    said = (r_id, USAGE, DIRECT_READ)
    point = DataPoint(digest(*said, sources, EVERYTHING), *said, sources, EVERYTHING, flow, Phase.TOTAL)
    return SeriesKey(ven_id, metering_point, Quantity.ENERGY_REAL, Kind.SUM, METER, point)


async def _owners(conn: Connection, points: set[str]) -> dict[str, list[Any]]:
    query = (
        select(ven.c.id, site.c.metering_point, site.c.connection_w)
        .join(site, site.c.id == ven.c.site_id)
        .where(ven.c.removed_at.is_(None))
    )
    owners: dict[str, list[Any]] = defaultdict(list)
    for some in in_parts(sorted(one for one in points if len(one) <= LONGEST_FIELD)):
        for row in await conn.execute(query.where(site.c.metering_point.in_(some))):
            owners[row.metering_point].append(row)
    return owners


def _arrivals(values: Any) -> Iterator[Arrival]:
    """Yield the values of each series and UTC day together."""
    together: dict[tuple[SeriesKey, int], list[_Value]] = defaultdict(list)
    for value in values:
        together[value.key, value.start_s // DAY_S].append(value)
    for (key, _), some in together.items():
        some.sort(key=lambda value: (value.start_s, value.duration_s))
        first_s = some[0].start_s
        yield Arrival(
            key,
            "Wh",
            Values(
                first_s,
                None,
                tuple(one.energy_wh for one in some),
                tuple(one.start_s - first_s for one in some),
                tuple(one.duration_s for one in some),
                tuple(one.quality.value for one in some),
            ),
        )
