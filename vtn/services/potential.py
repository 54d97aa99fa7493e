"""Flexibility potential as VENs report it: what is in force, and what was (FN-DR-01, FN-DR-02).

Each report is a row a resource and direction; the newest issue is in force, older rows stay. Where a VEN reports
nothing, `derived` takes what others made out of its history; its own word supersedes that.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from core.direction import Direction
from core.errors import InvalidError, Reason
from core.spans import floor_to
from openadr.model.potential import DIRECTIONS, NOMINAL_TYPE, Quantile, quantile_of
from openadr.model.report import Report, ReportDescription, ReportOffer, ReportPayload, with_starts
from vtn.services.report_mapping import lasting_s
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import in_parts, upsert
from vtn.store.tables import potential, resource

Source = Literal["ven", "history"]
Powers = tuple[float, ...]

WHOLE_VEN: Final = ""
"""The resource of what is known of a VEN as a whole only."""
STALE_AFTER_S: Final[Mapping[str, float]] = MappingProxyType({"ven": 2 * 3600.0, "history": 36 * 3600.0})
"""World time after which a potential is stale, by its source: four missed half-hourly reports, or a day and a half."""
_MOST_STEPS: Final = 2000
_MOST_W: Final = 1e9
_MOST_NAMED: Final = 500
_DAY_S: Final = 86_400
_SHORTEST_MONTH_S: Final = 28 * _DAY_S


@dataclass(frozen=True, slots=True)
class Figures:
    """Powers (W) of a resource in one direction, in steps of `step_s` from `start_s` (seconds since 1970).

    p10 is reached nine times out of ten; in every step p10 <= p50 <= p90.
    """

    resource_id: str
    direction: str
    start_s: int
    step_s: int
    p10_w: Powers
    p50_w: Powers
    p90_w: Powers

    @property
    def end_s(self) -> int:
        """The first second after the last step."""
        return self.start_s + self.step_s * len(self.p50_w)

    def covers(self, start_s: int, end_s: int) -> bool:
        """Tell whether [start_s, end_s) is covered."""
        return self.start_s <= start_s and end_s <= self.end_s


@dataclass(frozen=True, slots=True)
class Potential:
    """A potential with its origin. `superseded_at` None: in force."""

    id: int
    ven_id: str
    figures: Figures
    source: Source
    issued_at: datetime
    superseded_at: datetime | None = None

    def age_s(self, now: datetime) -> float:
        """Return how long ago it was issued, world time."""
        return (now - self.issued_at).total_seconds()

    def is_stale(self, now: datetime) -> bool:
        """Tell whether it is too old for its source, or says nothing of this moment any more."""
        now_s = int(now.timestamp())
        return self.age_s(now) > STALE_AFTER_S[self.source] or self.figures.end_s <= now_s


# -- what comes in


@dataclass(slots=True)
class _Column:
    """A resource and direction while a report is read: start -> quantile -> W, and start -> seconds."""

    steps: dict[int, dict[Quantile, float]] = field(default_factory=dict)
    durations: dict[int, set[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Brought:
    """What a report of potential brings; `nominal_w` is by resource."""

    figures: tuple[Figures, ...]
    nominal_w: Mapping[str, int]
    issued_at: datetime


def read(report: Report, offer: ReportOffer) -> Brought:
    """Understand a report of potential.

    Raises InvalidError: not offered for an rID that was not, breaks a rule for intervals that do not follow each other
    in even steps, invalid data for values that no potential has.
    """
    columns, nominal = _read(report, offer)
    figures = tuple(_figures(*key, column) for key, column in columns.items())
    return Brought(figures, nominal, report.created_at)


async def store(tx: Transaction, ven_id: str, brought: Brought, now: datetime) -> None:
    """Put a report's figures in force; the same report again changes nothing (RP-53)."""
    await _put(tx, ven_id, brought.figures, "ven", min(brought.issued_at, now), now)
    nominal = sorted(brought.nominal_w.items())
    rows = [{"ven_id": ven_id, "resource_id": name, "nominal_w": value} for name, value in nominal]
    await upsert(tx.conn, resource, rows, keys=("ven_id", "resource_id"), update=("nominal_w",))


async def record(tx: Transaction, ven_id: str, report: Report, offer: ReportOffer, now: datetime) -> None:
    """Read and store a report of potential, all or nothing. Raises like `read`."""
    await store(tx, ven_id, read(report, offer), now)


def _read(report: Report, offer: ReportOffer) -> tuple[dict[tuple[str, Direction], _Column], dict[str, int]]:
    columns: dict[tuple[str, Direction], _Column] = {}
    nominal: dict[str, int] = {}
    lines = {line.r_id: line for line in offer.descriptions}
    for start, duration, interval in with_starts(report):
        start_s, duration_s = int(start.timestamp()), lasting_s(start, duration)
        for payload in interval.payloads:
            line = lines.get(payload.r_id)
            if line is None:
                raise InvalidError(f"rID '{payload.r_id[:200]}' was not offered.", reason=Reason.NOT_OFFERED)
            name = line.source.resource_ids[0] if line.source.resource_ids else WHOLE_VEN
            value = _power_w(payload, line)
            if line.report_type == NOMINAL_TYPE:
                nominal.update({name: round(value)} if value is not None else {})
                continue
            direction = DIRECTIONS.get(line.report_type)
            if direction is None:
                raise InvalidError(f"A potential has no reportType '{line.report_type[:80]}'.")
            column = columns.setdefault((name, direction), _Column())
            column.durations.setdefault(start_s, set()).add(duration_s)
            values = column.steps.setdefault(start_s, {})
            if value is not None:
                values[quantile_of(payload.r_id)] = value
    return columns, nominal


def _power_w(payload: ReportPayload, line: ReportDescription) -> float | None:
    """Return a value in W, None where the VEN has none to tell (RP-48)."""
    if (payload.quality or "").startswith(("Quality Bad", "No Quality")):
        return None
    if not isinstance(payload.value, float | int) or (line.item_base and line.item_base.name != "powerReal"):
        raise InvalidError(f"rID '{payload.r_id[:200]}' is a potential: a real power.")
    if not math.isfinite(payload.value):
        return None
    value = float(payload.value) * (line.item_base.factor if line.item_base else 1.0)
    if not 0 <= value <= _MOST_W:
        raise InvalidError(f"A potential of {value:g} W is not between 0 and {_MOST_W:g} W.")
    return value


def _figures(resource_id: str, direction: Direction, column: _Column) -> Figures:
    """Lay a column on its grid; a step without a value offers nothing."""
    first, last = min(column.steps), max(column.steps)
    step_s = _step_s(column)
    if step_s is None:
        text = "The intervals of a potential have one duration and follow each other."
        raise InvalidError(text, reason=Reason.BREAKS_A_RULE)
    count = (last - first + max(column.durations[last])) // step_s
    if count > _MOST_STEPS:
        raise InvalidError(f"A potential has {_MOST_STEPS} intervals at most.")
    rows = [(0.0, 0.0, 0.0)] * count
    for start, values in column.steps.items():
        place, steps = (start - first) // step_s, max(column.durations[start]) // step_s
        rows[place : place + steps] = [_in_order(values)] * steps
    p10, p50, p90 = zip(*rows, strict=True)
    return Figures(resource_id, direction.value, first, step_s, p10, p50, p90)


def _step_s(column: _Column) -> int | None:
    """Return the step of the grid: the duration, or what divides those of months that follow each other."""
    first = min(column.steps)
    durations = set[int]().union(*column.durations.values())
    if min(durations) <= 0:
        return None
    if len(durations) == 1:
        step_s = next(iter(durations))
        return step_s if not any((start - first) % step_s for start in column.steps) else None
    ends = [start + max(column.durations[start]) for start in sorted(column.steps)]
    follow = all(len(some) == 1 for some in column.durations.values()) and ends[:-1] == sorted(column.steps)[1:]
    monthly = min(durations) >= _SHORTEST_MONTH_S
    return math.gcd(*durations) if follow and monthly else None


def _in_order(values: Mapping[Quantile, float]) -> tuple[float, float, float]:
    """Return p10, p50 and p90, ascending; where only some are told, the nearest one stands in."""
    if not values:
        return 0.0, 0.0, 0.0
    mid = values.get(Quantile.P50, next(iter(values.values())))
    low, middle, high = sorted((values.get(Quantile.P10, mid), mid, values.get(Quantile.P90, mid)))
    return low, middle, high


async def derived(tx: Transaction, ven_id: str, figures: Sequence[Figures], now: datetime) -> None:
    """Store what was derived from a VEN's history, in place of what was derived before."""
    await _put(tx, ven_id, figures, "history", now, now)


async def _put(
    tx: Transaction, ven_id: str, figures: Sequence[Figures], source: Source, issued_at: datetime, now: datetime
) -> None:
    """Put figures in force, unless newer ones are; what they replace stays as history."""
    if not figures:
        return
    mine = (potential.c.ven_id == ven_id) & potential.c.superseded_at.is_(None)
    known = [_potential(row) for row in await tx.conn.execute(select(potential).where(mine).with_for_update())]
    replaced = {one.id for one in known if one.source == "history"}
    added: list[dict[str, Any]] = []
    alike: dict[tuple[str, str], list[Potential]] = {}
    for old in known:
        if old.source == source:
            alike.setdefault(_key(old.figures), []).append(old)
    for one in figures:
        same = alike.get(_key(one), [])
        if repeated := [old.id for old in same if old.issued_at == issued_at and old.figures == one]:
            replaced -= set(repeated)
            continue
        late = any(old.issued_at > issued_at for old in same)
        replaced |= {old.id for old in same if old.issued_at <= issued_at}
        added.append(_row(ven_id, one, source, issued_at, now if late else None))
    for ids in in_parts(replaced):
        await tx.conn.execute(update(potential).where(potential.c.id.in_(ids)).values(superseded_at=now))
    if added:
        await tx.conn.execute(insert(potential), added)


def _key(figures: Figures) -> tuple[str, str]:
    return figures.resource_id, figures.direction


def _row(
    ven_id: str, figures: Figures, source: str, issued_at: datetime, superseded_at: datetime | None
) -> dict[str, Any]:
    powers = {name: [_short(value) for value in getattr(figures, name)] for name in ("p10_w", "p50_w", "p90_w")}
    return {
        "ven_id": ven_id,
        "resource_id": figures.resource_id,
        "direction": figures.direction,
        "start_s": figures.start_s,
        "step_s": figures.step_s,
        "source": source,
        "issued_at": issued_at,
        "superseded_at": superseded_at,
        **powers,
    }


def _short(value: float) -> float:
    """Write whole watts without `.0`: nearly all are."""
    return int(value) if value == int(value) else value


class Thinning:
    """Thins what is history: of potentials superseded longer than `keep` ago, those in force at a midnight (UTC) stay.

    A VEN that reports every half hour writes some hundred rows a day; later, one a day is enough.
    """

    def __init__(self, db: Database, keep: timedelta) -> None:
        self._db = db
        self._keep = keep
        self._done: datetime | None = None

    async def turn(self, now: datetime) -> int:
        """Delete what is due and return how many rows that were. Each transaction is short; a later turn goes on."""
        before = now - self._keep
        since = self._done or await self._first()
        deleted = 0
        while since is not None and since < before:
            day_end = floor_to(since, _DAY_S) + timedelta(days=1)
            deleted += await self._thin(since, min(day_end, before))
            since = self._done = min(day_end, before)
        return deleted

    async def _first(self) -> datetime | None:
        async with self._db.read() as conn:
            first: datetime | None = await conn.scalar(select(func.min(potential.c.superseded_at)))
        return first

    async def _thin(self, since: datetime, until: datetime) -> int:
        """Delete what was superseded in a part of one day, and issued on that day."""
        query = select(potential.c.id).where(
            (potential.c.superseded_at >= since)
            & (potential.c.superseded_at < until)
            & (potential.c.issued_at >= floor_to(since, _DAY_S))
        )
        async with self._db.read() as conn:
            ids = list((await conn.execute(query)).scalars())
        for some in in_parts(ids):
            async with self._db.write() as tx:
                await tx.conn.execute(delete(potential).where(potential.c.id.in_(some)))
        return len(ids)


# -- what is known


async def latest(conn: Connection, ven_ids: Iterable[str], now: datetime) -> dict[str, list[Potential]]:
    """Return venID -> what is in force, by resource and direction. VENs of which nothing is known are left out.

    A resource that its VEN no longer speaks of is left out once it is stale.
    """
    found: dict[str, list[Potential]] = {}
    names = sorted(set(ven_ids))
    for first in range(0, len(names), _MOST_NAMED):
        some = potential.c.ven_id.in_(names[first : first + _MOST_NAMED]) & potential.c.superseded_at.is_(None)
        order = (potential.c.ven_id, potential.c.resource_id, potential.c.direction, potential.c.id)
        for row in await conn.execute(select(potential).where(some).order_by(*order)):
            found.setdefault(row.ven_id, []).append(_potential(row))
    return {ven_id: list(_still_told(ones, now)) for ven_id, ones in found.items()}


def _still_told(potentials: Sequence[Potential], now: datetime) -> Iterator[Potential]:
    ones = {_key(one.figures): one for one in sorted(potentials, key=lambda row: (row.issued_at, row.id))}.values()
    newest = max(one.issued_at for one in ones)
    for one in sorted(ones, key=lambda row: _key(row.figures)):
        if not one.is_stale(now) or one.issued_at + timedelta(seconds=STALE_AFTER_S[one.source]) >= newest:
            yield one


async def history(
    conn: Connection,
    ven_id: str,
    since: datetime,
    until: datetime,
    *,
    before: int | None = None,
    limit: int = 100,
) -> list[Potential]:
    """Return what was issued in [since, until), newest first; `before` is the id after which the page starts."""
    where: ColumnElement[bool] = (
        (potential.c.ven_id == ven_id) & (potential.c.issued_at >= since) & (potential.c.issued_at < until)
    )
    if before is not None:
        where &= potential.c.id < before
    rows = await conn.execute(select(potential).where(where).order_by(potential.c.id.desc()).limit(limit))
    return [_potential(row) for row in rows]


def _potential(row: Any) -> Potential:
    powers = [tuple(float(value) for value in values) for values in (row.p10_w, row.p50_w, row.p90_w)]
    figures = Figures(row.resource_id, row.direction, row.start_s, row.step_s, *powers)
    return Potential(row.id, row.ven_id, figures, row.source, row.issued_at, row.superseded_at)


def at_s(seconds: int) -> datetime:
    """Return the aware UTC time of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
