"""Outdoor temperatures of grid areas, or of everybody: measured, or forecast for some days, one a moment.

They come row by row, and each row is taken or refused by itself, with a reason. A later value of the same area and time
replaces the older one, so that what was measured follows what was forecast. Only baselines that compare temperatures
read them; results of theirs that are not final follow what comes in.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy import select, tuple_

from core.errors import InvalidError
from core.spans import Span
from metrics.days import Floats, Ints
from metrics.needs import Need
from metrics.presets import PRESETS
from metrics.weather import Weather
from vtn.services import csv_rows, dispatch, site
from vtn.services.csv_rows import LONGEST_FIELD, Refused, check_lengths, moment
from vtn.store.database import Connection, Transaction
from vtn.store.rows import in_parts, portions, upsert
from vtn.store.tables import site as site_table
from vtn.store.tables import temperature, ven

COLUMNS: Final = ("area", "time", "celsius")
AHEAD: Final = timedelta(days=16)
"""So far go the longest forecasts that are of use."""
_ENOUGH: Final = 0.9
_EVERYBODY: Final = ""
_EARLIEST: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
_MOST_CELSIUS: Final = 100.0
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,3}(\.[0-9]{1,9})?")
_AROUND_S: Final = 6 * 3600
"""How far around a span the moments are sought that tell of its edges."""
_AT_ONCE: Final = 2_000
_STORED: Final = select(temperature.c.area, temperature.c.time_s, temperature.c.celsius, temperature.c.received_at)


@dataclass(frozen=True, slots=True)
class TemperatureRow:
    """A row as it came, nothing checked. `line`: its number where it came from; `area` empty: everybody's."""

    line: int
    area: str
    time: str
    celsius: str


@dataclass(frozen=True, slots=True)
class TakenTemperatures:
    """What became of rows: `accepted` in all, `areas` that they are of (everybody is one), and those refused."""

    accepted: int
    areas: int
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class Temperature:
    """A stored temperature of an area, None: everybody's."""

    area: str | None
    time: datetime
    celsius: float
    received_at: datetime


def read_csv(text: str) -> tuple[list[TemperatureRow], list[Refused]]:
    """Return the rows of a CSV text with the header COLUMNS, and those that are none. Raises as `csv_rows.read`."""
    rows, refused = csv_rows.read(text, COLUMNS)
    return [TemperatureRow(line, **fields) for line, fields in rows], refused


async def take(
    tx: Transaction, rows: Sequence[TemperatureRow], refused: Sequence[Refused], now: datetime, *, who: str
) -> TakenTemperatures:
    """Store what is good of rows, and say of the others why not; `refused`: those that are none already."""
    areas = await _areas(tx.conn, {row.area for row in rows})
    bad = list(refused)
    taken: dict[tuple[str, int], tuple[float, int]] = {}
    accepted = 0
    for row in rows:
        try:
            area, time_s, celsius = _read(row, areas, now)
            before, line = taken.setdefault((area, time_s), (celsius, row.line))
            if before != celsius:
                raise InvalidError(f"Line {line} says something else of this moment.")  # noqa: TRY301  as of the others
        except InvalidError as error:
            bad.append(Refused(row.line, str(error)))
        else:
            accepted += 1
    values = [
        {"area": area, "time_s": time_s, "celsius": celsius, "received_at": now}
        for (area, time_s), (celsius, _) in sorted(taken.items())  # whoever stores at the same time waits in this order
    ]
    await upsert(tx.conn, temperature, values, keys=("area", "time_s"))
    names = [area or "everybody" for area in sorted({area for area, _ in taken})]
    after = {"areas": names[:20], "accepted": accepted, "refused": len(bad)}
    subject = names[0] if len(names) == 1 else f"{len(names)} areas"
    await tx.audit(who, "take in temperatures", subject, None, after, at=now)
    if any(time_s <= now.timestamp() + _AROUND_S for _, time_s in taken):
        asking = {name for name, method in PRESETS.items() if Need.TEMPERATURE in method.needs}
        await dispatch.look_again(tx, now, baselines=asking)
    return TakenTemperatures(accepted, len(names), tuple(sorted(bad, key=lambda row: row.line)))


def _read(row: TemperatureRow, areas: Collection[str], now: datetime) -> tuple[str, int, float]:
    """Return area, seconds since 1970 and temperature of a row. Raises InvalidError, in words for whoever sent it."""
    check_lengths(row, COLUMNS)
    if row.area not in areas:
        raise InvalidError(f"No VEN stands in an area '{row.area}'.")
    when = moment(row.time, "time")
    if when.second:
        raise InvalidError("Its time is no whole minute.")
    if not _EARLIEST <= when <= now + AHEAD:
        raise InvalidError(f"It lies before 2000 or more than {AHEAD.days} days ahead.")
    if _NUMBER.fullmatch(row.celsius) is None or abs(float(row.celsius)) > _MOST_CELSIUS:
        raise InvalidError("Its celsius is no plain number from -100 to 100, such as -3 or 21.5.")
    return row.area, int(when.timestamp()), float(row.celsius) + 0.0  # -0 is 0


async def _areas(conn: Connection, names: Collection[str]) -> set[str]:
    """Return those of some names that are areas in which a VEN stands; everybody is always there."""
    there = {_EVERYBODY}
    query = select(site_table.c.area).join(ven, ven.c.site_id == site_table.c.id).where(ven.c.removed_at.is_(None))
    for some in in_parts(sorted(name for name in names if 0 < len(name) <= LONGEST_FIELD)):
        there |= set((await conn.execute(query.where(site_table.c.area.in_(some)).distinct())).scalars())
    return there


async def listing(
    conn: Connection,
    *,
    area: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[str, int] | None = None,
    limit: int = 100,
) -> list[Temperature]:
    """Return temperatures by area and time, everybody's first.

    `area`: only its own, empty: only everybody's. `start`, `end`: only of these and the moments between. `after`: those
    that follow an area (empty: everybody) and a time in seconds since 1970.
    """
    query = _STORED.order_by(temperature.c.area, temperature.c.time_s).limit(limit)
    if area is not None:
        query = query.where(temperature.c.area == area)
    if start is not None:
        query = query.where(temperature.c.time_s >= int(start.timestamp()))
    if end is not None:
        query = query.where(temperature.c.time_s <= int(end.timestamp()))
    if after is not None:
        query = query.where(tuple_(temperature.c.area, temperature.c.time_s) > after)
    rows = (await conn.execute(query)).all()
    return [
        Temperature(row.area or None, datetime.fromtimestamp(row.time_s, UTC), row.celsius, row.received_at)
        for row in rows
    ]


async def of_each(conn: Connection, ven_ids: Sequence[str], within: Span) -> dict[str, Weather]:
    """Return venID -> the temperatures where it stands within a span; VENs without any are left out.

    They are those of its area, if these are known for nine tenths of the hours of which everybody's are, the last one
    included; else everybody's: a feed that has just begun takes nothing away. VENs of one area share one Weather, which
    holds what decides the temperatures of the span and nothing else. A statement for 1,000 VENs, and one for 1,000
    areas.
    """
    where = await site.areas_of(conn, ven_ids)
    moments = await _moments(conn, {_EVERYBODY, *(area for area in where.values() if area)}, within)
    everybody = moments.get(_EVERYBODY)
    if everybody is not None:
        hours_s = _hours_s(within, everybody)
        known = np.isfinite(everybody.at(hours_s))
        moments = {area: one for area, one in moments.items() if _reaches(one, hours_s[known])}
    found = {ven_id: moments.get(where.get(ven_id) or _EVERYBODY, everybody) for ven_id in ven_ids}
    return {ven_id: one for ven_id, one in found.items() if one is not None}


def _hours_s(within: Span, everybody: Weather) -> Ints:
    """Return the middles of the hours of a span, seconds since 1970; of one without end as far as anything is known."""
    first_s = int(within.start.timestamp())
    last_s = int(everybody.times_s[-1]) if within.end is None else int(within.end.timestamp())
    hours = np.arange(first_s, max(last_s, first_s + 1), 3600, dtype=np.int64)
    return np.minimum(hours + 1800, max(last_s - 1, first_s))


def _reaches(outdoors: Weather, hours_s: Ints) -> bool:
    """Tell whether temperatures are known for nine tenths of some hours and for the last of them."""
    known = np.isfinite(outdoors.at(hours_s))
    return not known.size or bool(known[-1] and known.mean() >= _ENOUGH)


async def _moments(conn: Connection, areas: Collection[str], within: Span) -> Mapping[str, Weather]:
    first_s = int(within.start.timestamp())
    last_s = None if within.end is None else int(within.end.timestamp())
    query = _STORED.where(temperature.c.time_s >= first_s - _AROUND_S)
    if last_s is not None:
        query = query.where(temperature.c.time_s <= last_s + _AROUND_S)
    times: dict[str, list[int]] = defaultdict(list)
    celsius: dict[str, list[float]] = defaultdict(list)
    for some in in_parts(sorted(areas)):
        chosen = query.where(temperature.c.area.in_(some)).order_by(temperature.c.area, temperature.c.time_s)
        async for rows in portions(conn, chosen, _AT_ONCE):
            for row in rows:
                times[row.area].append(row.time_s)
                celsius[row.area].append(row.celsius)
    return {area: _cut(np.array(times[area], np.int64), np.array(celsius[area]), first_s, last_s) for area in times}


def _cut(times_s: Ints, celsius: Floats, first_s: int, last_s: int | None) -> Weather:
    """Return moments without those that say nothing of a span: of the ones around it, the next on each side does."""
    begin = max(int(np.searchsorted(times_s, first_s, "right")) - 1, 0)
    end = times_s.size if last_s is None else int(np.searchsorted(times_s, last_s)) + 1
    return Weather(times_s[begin:end], celsius[begin:end])
