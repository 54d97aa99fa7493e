"""Readings: series whose values lie in chunks, never overwritten.

A chunk holds what one report brought of one series, of one UTC day at most. Of two values with the same start the one
with the higher revision counts. Old chunks are merged by day; every value keeps its revision and the time at which it
was received, so that `as_of` gives the same answer before and after.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, bindparam, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import InvalidError
from core.points import Flow, Phase, Quality
from openadr.model.target import Target
from vtn.store import chunks
from vtn.store.chunks import DAY_S, MAX_VALUES, Content, Point
from vtn.store.data_point import DataPoint, usage_of
from vtn.store.database import Database, Transaction
from vtn.store.rows import as_text, from_text, in_parts, portions, to_json, upsert
from vtn.store.tables import chunk, series

_KEY = ("ven_id", "point", "quantity", "kind", "source")
_NAMES = ("ven_id", "resource_id", "quantity", "kind", "source")
_DESCRIPTION = ("r_id", "report_type", "reading_type", "sources", "subject", "flow", "phase", "ambiguous")
_SAME_KEY = and_(*(series.c[name] == bindparam(name) for name in _KEY))
# Written once: this is the hot path. The lock keeps others from adding to the series meanwhile; no chunk that can hold
# a value of a day starts on an earlier day.
_FIND = select(series.c.id, series.c.unit).where(_SAME_KEY).with_for_update(key_share=True)
_FIND_NUMBERED = (
    select(series.c.id, series.c.unit, series.c.ven_id, series.c.point)
    .where(series.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(series.c.id)
    .with_for_update(key_share=True)
)


def _touching(day_s: Any, first_s: Any, last_s: Any) -> ColumnElement[bool]:
    return and_(chunk.c.start_s.between(day_s, last_s), chunk.c.end_s >= first_s)


_TOUCHING = _touching(*map(bindparam, ("day_s", "first_s", "last_s")))
_SPANS = select(chunk.c.id, chunk.c.series_id, chunk.c.start_s, chunk.c.end_s).where(
    chunk.c.series_id.in_(bindparam("ids", expanding=True)), _TOUCHING
)
_CHUNKS = select(chunk).where(chunk.c.id.in_(bindparam("ids", expanding=True)))
_OF_KEY = select(chunk).join(series).where(_SAME_KEY, _TOUCHING)
_NEWEST = ("series_id", "start_s", "step_s", "offsets", "durations", "values", "qualities", "revision")
_OF_VENS = select(*(chunk.c[name] for name in _NEWEST)).join(series).order_by(series.c.ven_id, chunk.c.series_id)
DESCRIBED: Final = (
    *(one for one in series.c if one.name not in ("sources", "subject")),
    as_text(series.c.sources).label("sources"),
    as_text(series.c.subject).label("subject"),
)
"""The columns that `key_of` reads, and the series' number."""
_ADD = insert(chunk)
_MOST_HINTS: Final = 50_000
_MOST_SERIES: Final = 5000
_MOST_CHUNKS: Final = 100
"""So many series are read with one statement, and so many of their chunks are taken from the database at a time."""


_PLAIN: Final = DataPoint("", "")


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Which series: what (`quantity`, `kind`) of which data point of which VEN, and who says so (`source`).

    `resource_id` names the data point's resources for people. Without a `point` it is the plain usage of that resource.
    """

    ven_id: str
    resource_id: str
    quantity: str
    kind: str
    source: str = "ven"
    point: DataPoint = _PLAIN

    def __post_init__(self) -> None:
        if self.point is _PLAIN:
            object.__setattr__(self, "point", usage_of(self.resource_id))


@dataclass(frozen=True, slots=True)
class Values:
    """Values of one series in its unit; None is a missing one.

    They start at `start_s` (seconds since 1970) and then every `step_s`, or at `offsets_s` after it. Without
    `durations_s`, means and sums last `step_s`; anything else is an instant. Without `qualities` all are good.
    """

    start_s: int
    step_s: int | None
    values: tuple[float | None, ...]
    offsets_s: tuple[int, ...] | None = None
    durations_s: tuple[int, ...] | None = None
    qualities: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Values of a series by start, as arrays of one length.

    `starts_s` are seconds since 1970, `durations_s` 0 for instants, `values` NaN where a value is missing, `qualities`
    words of core.points.Quality; None: all are good.
    """

    starts_s: NDArray[np.int64]
    durations_s: NDArray[np.int64]
    values: NDArray[np.float64]
    qualities: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.starts_s)

    def take(self, which: NDArray[Any]) -> Self:
        """Return a choice of the values: by mask or by indices."""
        qualities = None if self.qualities is None else self.qualities[which]
        return type(self)(self.starts_s[which], self.durations_s[which], self.values[which], qualities)

    def are(self, quality: Quality) -> NDArray[np.bool_]:
        """Tell which values are of that quality."""
        if self.qualities is None:
            return np.full(len(self), quality is Quality.GOOD)
        same: NDArray[np.bool_] = self.qualities == quality
        return same

    @property
    def words(self) -> NDArray[np.str_]:
        """The quality of each value."""
        return np.full(len(self), Quality.GOOD.value) if self.qualities is None else self.qualities


_NOTHING: Final = Loaded(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


class Stretch(NamedTuple):
    """A stretch of a series of that kind: its values that start in [start_s, end_s), seconds since 1970."""

    kind: str
    start_s: int
    end_s: int


class Arrival(NamedTuple):
    """Values of a series in its unit, as they came in."""

    key: SeriesKey
    unit: str
    values: Values


@dataclass(frozen=True, slots=True)
class SeriesHints:
    """The numbers of series as last seen, so that many are found with one statement; the rows are asked each time."""

    numbers: dict[SeriesKey, int] = field(default_factory=dict)

    def remember(self, key: SeriesKey, number: int) -> None:
        """Note the number of a series."""
        if len(self.numbers) >= _MOST_HINTS:
            self.numbers.clear()
        self.numbers[key] = number


async def store(tx: Transaction, key: SeriesKey, unit: str, values: Values, received_at: datetime) -> bool:
    """Add values to a series, and make the series if it is new. Returns False if all of it was known already.

    Only what is new or different is written. A different value for a known start and duration is a correction: it gets
    a higher revision and the old value stays; a value of another duration stands beside it (a minute and a half hour
    may begin together). Of two values with the same start and duration in `values` the later one counts. Raises
    InvalidError where parts of `values` do not fit or the series is kept in another unit.
    """
    return (await store_all(tx, (Arrival(key, unit, values),), received_at))[0]


async def store_all(
    tx: Transaction, arrivals: Sequence[Arrival], received_at: datetime, hints: SeriesHints | None = None
) -> list[bool]:
    """Do for each arrival, in their order, what `store` does for one, with a few statements for all of them."""
    for one in arrivals:
        _check_shape(one)
    numbers = await _numbers(tx.conn, {one.key: one.unit for one in arrivals}, hints or SeriesHints())
    known = await _known_of(tx.conn, [(numbers[one.key], one) for one in arrivals])
    times = Counter(one.key for one in arrivals)
    added, outcomes = [], []
    for one in arrivals:
        number, kind = numbers[one.key], one.key.kind
        alone = number not in known and times[one.key] == 1
        whole = _whole(one.values, kind) if alone else None
        taken = [(0, whole)] if whole else known.setdefault(number, _Known(kind)).take(_points(one.values, kind))
        added += [_row(number, revision, received_at, content) for revision, content in taken]
        outcomes.append(bool(taken))
    if added:
        await tx.conn.execute(_ADD, added)
    return outcomes


async def load(
    conn: AsyncConnection, key: SeriesKey, start_s: int, end_s: int, *, as_of: datetime | None = None
) -> Loaded:
    """Return the values that start in [start_s, end_s): of each start and duration the newest revision.

    With `as_of`, what was known at that time. An unknown series has no values. Values of different durations may
    overlap, even begin together: only the same start and duration replace each other.
    """
    query = _OF_KEY if as_of is None else _OF_KEY.where(chunk.c.received_at <= as_of)
    rows = await conn.execute(query, {**_columns_of(key), **_span(start_s, end_s - 1)})
    return _newest(rows.all(), key.kind, start_s, end_s, as_of)


async def load_many(
    conn: AsyncConnection, wanted: Mapping[str, Mapping[int, Stretch]]
) -> AsyncIterator[tuple[str, dict[int, Loaded]]]:
    """Yield each VEN once, with what `load` returns of its series; `wanted`: venID -> number of a series -> stretch.

    The VENs come in no particular order, those without any values too. One statement reads up to 5000 series: of each
    kind the chunks between the first start and the last end of its stretches, so these had better be alike. However
    many VENs there are, what is held is the values of one of them, and up to a thousand chunks as they come from the
    database, each a day of one series at most. The connection is busy until the last VEN has come.
    """
    owners = {number: ven_id for ven_id, stretches in wanted.items() for number in stretches}
    left = dict(wanted)
    rows: dict[int, list[Any]] = {}
    ven_id = None
    for numbers in _together(wanted):
        touching = _touching_any({number: wanted[owners[number]][number] for number in numbers})
        async for some in portions(conn, _OF_VENS.where(touching), _MOST_CHUNKS):
            for row in some:
                if owners[row.series_id] != ven_id:
                    if ven_id is not None:
                        yield ven_id, _newest_of(rows, left.pop(ven_id))
                        await asyncio.sleep(0)  # each takes some milliseconds: others have their turn in between
                    ven_id, rows = owners[row.series_id], {}
                rows.setdefault(row.series_id, []).append(row)
    if ven_id is not None:
        yield ven_id, _newest_of(rows, left.pop(ven_id))
    for silent, stretches in left.items():
        yield silent, _newest_of({}, stretches)


def _together(wanted: Mapping[str, Mapping[int, Stretch]]) -> Iterator[list[int]]:
    """Yield the numbers of the series to read with each statement: of whole VENs, or of one that has too many."""
    numbers: list[int] = []
    for stretches in wanted.values():
        if len(numbers) + len(stretches) > _MOST_SERIES:
            yield from in_parts(numbers, _MOST_SERIES)
            numbers = []
        numbers += stretches
    yield from in_parts(numbers, _MOST_SERIES)


def _touching_any(stretches: Mapping[int, Stretch]) -> ColumnElement[bool]:
    """Match the chunks that can hold a value of any of these, and some that lie beside."""
    by_kind: dict[str, list[int]] = {}
    for number, stretch in stretches.items():
        by_kind.setdefault(stretch.kind, []).append(number)
    matches = []
    for numbers in by_kind.values():
        first_s = min(stretches[number].start_s for number in numbers)
        last_s = max(stretches[number].end_s for number in numbers) - 1
        matches.append(chunk.c.series_id.in_(numbers) & _touching(**_span(first_s, last_s)))
    return or_(*matches)


def _newest_of(rows: Mapping[int, Sequence[Any]], stretches: Mapping[int, Stretch]) -> dict[int, Loaded]:
    return {number: _newest(rows.get(number, ()), *stretch, None) for number, stretch in stretches.items()}


def _newest(rows: Sequence[Any], kind: str, start_s: int, end_s: int, as_of: datetime | None) -> Loaded:
    """Return the newest revision of each start and duration among the chunks of one series."""
    if not rows:
        return _NOTHING
    whole = Loaded(*(chunks.even_arrays(rows, kind) or _one_by_one(rows, kind)))
    counts = [len(row.values) for row in rows]
    here = (whole.starts_s >= start_s) & (whole.starts_s < end_s)
    if as_of is not None:
        here &= np.concatenate([_received_by(row, count, as_of) for row, count in zip(rows, counts, strict=True)])
    wanted = np.flatnonzero(here)
    starts_s, durations_s = whole.starts_s[wanted], whole.durations_s
    if (starts_s[1:] > starts_s[:-1]).all():  # nothing was corrected, all came in its order: most of what is read
        return whole if here.all() else whole.take(wanted)
    revisions = np.repeat([row.revision for row in rows], counts)
    order = wanted[np.lexsort((revisions[wanted], durations_s[wanted], starts_s))]
    newest = np.ones(len(order), dtype=bool)
    newest[:-1] = (np.diff(whole.starts_s[order]) > 0) | (np.diff(whole.durations_s[order]) > 0)
    return whole.take(order[newest])


def _one_by_one(rows: Sequence[Any], kind: str) -> tuple[Any, ...]:
    parts = [chunks.arrays(row, kind) for row in rows]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def _received_by(row: Any, count: int, as_of: datetime) -> NDArray[np.bool_]:
    """Tell which values of a chunk had been received at a time."""
    after_us = np.zeros(count) if row.received is None else np.array(row.received, np.float64)
    known: NDArray[np.bool_] = after_us <= (as_of - row.received_at) / timedelta(microseconds=1)
    return known


async def series_of(conn: AsyncConnection, ven_id: str) -> list[SeriesKey]:
    """Return the series of a VEN, in a fixed order."""
    return list((await numbered(conn, [ven_id])).values())


async def numbered(conn: AsyncConnection, ven_ids: Sequence[str], *where: ColumnElement[bool]) -> dict[int, SeriesKey]:
    """Return number -> series of VENs, in a fixed order; `where` says which of them."""
    keys: dict[int, SeriesKey] = {}
    for ids in in_parts(ven_ids):
        for row in await conn.execute(select(*DESCRIBED).where(series.c.ven_id.in_(ids), *where)):
            keys[row.id] = key_of(row)
    return in_order(keys)


def in_order(keys: Mapping[int, SeriesKey]) -> dict[int, SeriesKey]:
    """Return number -> series in the order that is always the same."""
    return dict(sorted(keys.items(), key=lambda item: (*(getattr(item[1], name) for name in _NAMES), item[0])))


def key_of(row: Any) -> SeriesKey:
    """Return the series that a row with the columns DESCRIBED is of."""
    point = DataPoint(
        row.point,
        row.r_id,
        row.report_type,
        row.reading_type,
        from_text(Target, row.sources),
        from_text(Target, row.subject),
        Flow(row.flow),
        Phase(row.phase),
        row.ambiguous,
    )
    return SeriesKey(row.ven_id, row.resource_id, row.quantity, row.kind, row.source, point)


async def merge_days(db: Database, before: datetime) -> int:
    """Merge the chunks of each series, UTC day and revision into one, for days that ended by `before`.

    Returns how many chunks that saved. Each series is one transaction: being killed in between loses nothing, and a
    later call goes on. Values, revisions and `as_of` stay what they are.
    """
    end_s = int(before.astimezone(UTC).timestamp()) // DAY_S * DAY_S
    day = chunk.c.start_s // DAY_S
    scattered = (
        select(chunk.c.series_id, day)
        .where(chunk.c.start_s < end_s)
        .group_by(chunk.c.series_id, day, chunk.c.revision)
        .having(func.count() > 1)
    )
    async with db.read() as conn:
        found = {(row[0], row[1]) for row in await conn.execute(scattered)}
    days: dict[int, list[int]] = {}
    for series_id, number in sorted(found):
        days.setdefault(series_id, []).append(number)
    saved = 0
    for series_id, numbers in days.items():
        async with db.write() as tx:
            saved += await _merge_series(tx.conn, series_id, numbers)
    return saved


def _check_shape(arrival: Arrival) -> None:
    """Raise InvalidError for names that are too long, and values whose parts do not fit each other."""
    key, values = arrival.key, arrival.values
    for name in _NAMES:
        limit = getattr(series.c[name].type, "length", None)
        if limit is not None and len(getattr(key, name)) > limit:
            raise InvalidError(f"The {name} of a series has at most {limit} characters.")
    count = len(values.values)
    if not 1 <= count <= MAX_VALUES:
        raise InvalidError(f"{count} values; a report of a series holds 1 to {MAX_VALUES}.")
    for part in (values.offsets_s, values.durations_s, values.qualities):
        if part is not None and len(part) != count:
            raise InvalidError(f"{count} values, but {len(part)} offsets, durations or qualities.")
    if values.offsets_s is None and count > 1 and (values.step_s is None or values.step_s <= 0):
        raise InvalidError("Several values need a positive step or offsets.")
    for edge_s in _reach(values):
        chunks.check(Point(edge_s, 0, None, ""))


def _reach(values: Values) -> tuple[int, int]:
    """Return the first and the last start."""
    if values.offsets_s is not None:
        return values.start_s + min(values.offsets_s), values.start_s + max(values.offsets_s)
    return values.start_s, values.start_s + (len(values.values) - 1) * (values.step_s or 0)


def _whole(values: Values, kind: str) -> Content | None:
    """Return the chunk that evenly spaced values make as they are; None where they need a closer look."""
    if values.offsets_s is not None or values.durations_s is not None:
        return None
    return chunks.evenly(values.start_s, values.step_s, values.values, values.qualities, kind)


def _points(values: Values, kind: str) -> list[Point]:
    """Return the values one by one, in order of start. Raises InvalidError where they make no sense."""
    layout = Content(
        values.start_s, 0, values.step_s, values.offsets_s, values.durations_s, values.values, values.qualities, None
    )
    by_place: dict[tuple[int, int], Point] = {}
    for point in chunks.expand(layout, kind):
        chunks.check(point)
        by_place[_place(point)] = point
    return [by_place[place] for place in sorted(by_place)]


def _place(point: Point) -> tuple[int, int]:
    """Return what a later value must share with this one to replace it."""
    return point.start_s, point.duration_s


async def _numbers(conn: AsyncConnection, units: Mapping[SeriesKey, str], hints: SeriesHints) -> dict[SeriesKey, int]:
    """Return the numbers of series, made where new, locked so that nobody else adds to them at the same time."""
    found: dict[SeriesKey, Any] = {}
    hinted = {hints.numbers[key]: key for key in units if key in hints.numbers}
    for ids in in_parts(hinted):
        for row in await conn.execute(_FIND_NUMBERED, {"ids": ids}):
            key = hinted[row.id]
            if (row.ven_id, row.point) == (key.ven_id, key.point.digest):
                found[key] = row
    for key, unit in units.items():
        if key not in found:
            found[key] = await _found_or_made(conn, key, unit)
            hints.remember(key, found[key].id)
        kept = found[key].unit
        if kept != unit:
            raise InvalidError(f"Series {key.resource_id} {key.quantity} {key.kind} is kept in {kept}, not in {unit}.")
    return {key: int(found[key].id) for key in units}


async def _found_or_made(conn: AsyncConnection, key: SeriesKey, unit: str) -> Any:
    values = _columns_of(key)
    found = (await conn.execute(_FIND, values)).one_or_none()
    if found is None:
        said = {name: to_json(getattr(key.point, name)) for name in _DESCRIPTION}
        row = {**values, **said, "resource_id": key.resource_id, "unit": unit}
        await upsert(conn, series, row, keys=_KEY, update=())
        found = (await conn.execute(_FIND, values)).one()
    return found


def _span(first_s: int, last_s: int) -> dict[str, int]:
    """Return the parameters of _TOUCHING: the chunks that can hold a value with a start in [first_s, last_s]."""
    return {"day_s": first_s // DAY_S * DAY_S, "first_s": first_s, "last_s": last_s}


@dataclass(slots=True)
class _Known:
    """What a series holds where new values touch it: the newest point of each place, the highest revision of a day."""

    kind: str
    newest: dict[tuple[int, int], Point] = field(default_factory=dict)
    revisions: dict[int, int] = field(default_factory=dict)

    def add(self, row: Any) -> None:
        """Add a chunk of the same or a higher revision than those before."""
        self.newest.update((_place(point), point._replace(received_us=0)) for point in chunks.expand(row, self.kind))
        self.revisions[row.start_s // DAY_S] = row.revision

    def take(self, points: Sequence[Point]) -> list[tuple[int, Content]]:
        """Return (revision, chunk) for what is new or different among points, and know it from now on."""
        fresh = [point for point in points if self.newest.get(_place(point)) != point]
        taken = []
        for day in chunks.by_day(fresh):
            number = day[0].start_s // DAY_S
            correction = any(_place(point) in self.newest for point in day)
            revision = 1 + self.revisions[number] if correction else 0
            self.revisions[number] = max(revision, self.revisions.get(number, 0))
            taken.append((revision, chunks.pack(day, self.kind)))
        self.newest.update((_place(point), point) for point in fresh)
        return taken


async def _known_of(conn: AsyncConnection, arrivals: Iterable[tuple[int, Arrival]]) -> dict[int, _Known]:
    """Return what series hold where arrivals touch them; series without a chunk there are left out."""
    kinds: dict[int, str] = {}
    reaches: dict[int, tuple[int, int]] = {}
    for number, one in arrivals:
        first_s, last_s = _reach(one.values)
        before = reaches.get(number, (first_s, last_s))
        kinds[number], reaches[number] = one.key.kind, (min(first_s, before[0]), max(last_s, before[1]))
    touched = []
    by_day = sorted(reaches, key=lambda number: reaches[number][0] // DAY_S)
    for _, numbers in itertools.groupby(by_day, key=lambda number: reaches[number][0] // DAY_S):
        for ids in in_parts(numbers):
            widest = _span(min(reaches[number][0] for number in ids), max(reaches[number][1] for number in ids))
            for row in await conn.execute(_SPANS, {"ids": ids, **widest}):
                first_s, last_s = reaches[row.series_id]
                if row.start_s <= last_s and row.end_s >= first_s:
                    touched.append(row.id)
    rows: list[Any] = []
    for ids in in_parts(touched):
        rows += await conn.execute(_CHUNKS, {"ids": ids})
    known: dict[int, _Known] = {}
    for row in sorted(rows, key=lambda row: row.revision):
        known.setdefault(row.series_id, _Known(kinds[row.series_id])).add(row)
    return known


def _row(series_id: int, revision: int, received_at: datetime, content: Content) -> dict[str, Any]:
    columns = {name: getattr(content, name) for name in Content.__slots__}
    return {"series_id": series_id, "revision": revision, "received_at": received_at, **columns}


def _columns_of(key: SeriesKey) -> dict[str, str]:
    return {
        "ven_id": key.ven_id,
        "point": key.point.digest,
        "quantity": key.quantity,
        "kind": key.kind,
        "source": key.source,
    }


async def _merge_series(conn: AsyncConnection, series_id: int, days: list[int]) -> int:
    """Merge days of one series; returns how many chunks that saved."""
    lock = select(series.c.kind).where(series.c.id == series_id).with_for_update(key_share=True)
    kind = (await conn.execute(lock)).scalar_one_or_none()
    if kind is None:  # deleted since
        return 0
    saved = 0
    for day in days:
        start_s = day * DAY_S
        where = (chunk.c.series_id == series_id) & chunk.c.start_s.between(start_s, start_s + DAY_S - 1)
        rows = (await conn.execute(select(chunk).where(where).order_by(chunk.c.revision))).all()
        for revision, group in itertools.groupby(rows, key=lambda row: row.revision):
            merged = list(group)
            if len(merged) > 1:
                since = min(row.received_at for row in merged)
                points = [p for row in merged for p in chunks.shifted(chunks.expand(row, kind), row.received_at, since)]
                content = chunks.pack(sorted(points), kind)
                await conn.execute(delete(chunk).where(chunk.c.id.in_([row.id for row in merged])))
                await conn.execute(insert(chunk).values(_row(series_id, revision, since, content)))
                saved += len(merged) - 1
    return saved
