"""Readings against a naive model: a list of what came in, when."""

import asyncio
import itertools
import math
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text

from core.errors import InvalidError
from support.databases import NOON, add_vens
from support.vtn_world import counted_statements
from vtn.store import Database, readings
from vtn.store.readings import (
    MAX_VALUES,
    Arrival,
    SeriesKey,
    Stretch,
    Values,
    load,
    load_many,
    merge_days,
    numbered,
    series_of,
    store,
    store_all,
)
from vtn.store.tables import chunk, series, ven

CHILD = Path(__file__).with_name("merge_child.py")
DAY_S = 86_400
MIDNIGHT_S = 20_000 * DAY_S
UNIT = "Wh"


@dataclass
class Naive:
    """What came in, in order: (received_at, {(start, duration): (value, quality)})."""

    spanning: bool
    history: list = field(default_factory=list)

    def points(self, values):
        offsets = values.offsets_s or [number * (values.step_s or 0) for number in range(len(values.values))]
        implied = (values.step_s or 0) if self.spanning else 0
        durations = values.durations_s or [implied] * len(offsets)
        qualities = values.qualities or ["good"] * len(offsets)
        rows = zip(offsets, durations, values.values, qualities, strict=True)
        return {(values.start_s + offset, duration): rest for offset, duration, *rest in rows}

    def known(self, as_of=None):
        known = {}
        for received_at, points in self.history:
            if as_of is None or received_at <= as_of:
                known |= {place: (*point, received_at) for place, point in points.items()}
        return known

    def store(self, values, received_at):
        known = {place: point[:2] for place, point in self.known().items()}
        points = {place: tuple(point) for place, point in self.points(values).items()}
        fresh = {place: point for place, point in points.items() if known.get(place) != point}
        if fresh:
            self.history.append((received_at, fresh))
        return bool(fresh)

    def load(self, start_s, end_s, as_of):
        rows = sorted(self.known(as_of).items())
        return [(*place, *point[:2]) for place, point in rows if start_s <= place[0] < end_s]


@st.composite
def some_values(draw):
    count = draw(st.integers(1, 6))
    start_s = MIDNIGHT_S + draw(st.integers(-6, 6)) * 1800
    number = st.none() | st.sampled_from([0.0, 1.0, -2.5, 1e300, 0.1])
    values = tuple(draw(st.lists(number, min_size=count, max_size=count)))
    offsets = durations = qualities = step = None
    if draw(st.booleans()):
        step = draw(st.sampled_from([900, 1800, DAY_S // 2]))
    else:
        offsets = tuple(draw(st.lists(st.integers(0, 8).map(lambda n: n * 900), min_size=count, max_size=count)))
    if draw(st.booleans()):
        durations = tuple(draw(st.lists(st.sampled_from([0, 900, 1800]), min_size=count, max_size=count)))
    if draw(st.booleans()):
        words = st.sampled_from(["good", "estimated", "bad"])
        qualities = tuple(draw(st.lists(words, min_size=count, max_size=count)))
    return Values(start_s, step, values, offsets, durations, qualities)


receipts = st.integers(0, 5).map(lambda number: NOON + timedelta(seconds=number, microseconds=number))
steps = st.lists(st.one_of(st.tuples(some_values(), receipts), st.integers(-1, 2)), min_size=1, max_size=8)
numbers = itertools.count()


def as_rows(loaded):
    columns = (loaded.starts_s, loaded.durations_s, loaded.values, loaded.words)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(start, duration, None if math.isnan(value) else value, word) for start, duration, value, word in rows]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.sampled_from(["mean", "sum", "instant", "register"]), st.none() | receipts)
async def test_any_sequence_reads_back_like_the_naive_model(database, actions, kind, as_of):
    naive = Naive(kind in ("mean", "sum"))
    ven_id = f"v{next(numbers)}"
    await add_vens(database, ven_id)
    key = SeriesKey(ven_id, "r", "energy_real", kind)
    for action in actions:
        if isinstance(action, int):
            await merge_days(database, datetime.fromtimestamp(MIDNIGHT_S + action * DAY_S + 7, UTC))
        else:
            values, received_at = action
            async with database.write() as tx:
                assert await store(tx, key, UNIT, values, received_at) == naive.store(values, received_at)
    async with database.read() as conn:
        for start_s, end_s in ((0, 2**40), (MIDNIGHT_S, MIDNIGHT_S + 1801), (MIDNIGHT_S - 900, MIDNIGHT_S)):
            assert as_rows(await load(conn, key, start_s, end_s, as_of=as_of)) == naive.load(start_s, end_s, as_of)
        await check_view(conn, ven_id, naive)
    async with database.write() as tx:
        await tx.conn.execute(delete(ven).where(ven.c.id == ven_id))


KINDS = ("mean", "sum", "instant", "register")
homes = st.dictionaries(
    st.tuples(st.sampled_from("cab"), st.sampled_from(KINDS), st.sampled_from("xy")),
    st.lists(some_values(), min_size=1, max_size=3),
    max_size=8,
)
edges_s = st.integers(-6, 10).map(lambda number: MIDNIGHT_S + number * 1800)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(homes, st.data(), st.sampled_from([1, 2, 5000]), st.sampled_from([1, 3, 100]))
async def test_many_read_together_are_what_each_is_alone(database, said, data, most_series, most_chunks):
    names = {home: f"{home}{next(numbers)}" for home in "cab"}
    await add_vens(database, *names.values())
    keys = [SeriesKey(names[home], resource, "energy_real", kind) for home, kind, resource in said]
    for turn in range(3):  # one home after the other, so that their series and chunks lie mixed
        for key, values in zip(keys, said.values(), strict=True):
            async with database.write() as tx:
                await store_all(tx, [Arrival(key, UNIT, one) for one in values[turn : turn + 1]], NOON)
    async with database.read() as conn:
        wanted = {ven_id: {} for ven_id in names.values()}
        alone = {}
        for number, key in (await numbered(conn, list(wanted))).items():
            if data.draw(st.integers(0, 4)):
                span = data.draw(edges_s), data.draw(edges_s)
                wanted[key.ven_id][number] = Stretch(key.kind, *span)
                alone[number] = as_rows(await load(conn, key, *span))
        with mock.patch.multiple(readings, _MOST_SERIES=most_series, _MOST_CHUNKS=most_chunks):
            together = [one async for one in load_many(conn, wanted)]
    assert sorted(ven_id for ven_id, _ in together) == sorted(wanted)
    assert {number: as_rows(loaded) for _, home in together for number, loaded in home.items()} == alone
    assert all(set(home) == set(wanted[ven_id]) for ven_id, home in together)
    async with database.write() as tx:
        await tx.conn.execute(delete(ven))


async def test_many_are_read_with_few_statements_and_a_few_chunks_at_a_time(database):
    names = [f"v{number}" for number in range(60)]
    await add_vens(database, *names)
    async with database.write() as tx:
        for kind in ("register", "sum"):
            reported = [Values(MIDNIGHT_S + day * DAY_S, 900, (1.0, 2.0)) for day in range(5)]
            keys = [SeriesKey(name, "meter", "energy_real", kind) for name in names]
            await store_all(tx, [Arrival(key, UNIT, values) for key in keys for values in reported], NOON)
    async with database.read() as conn:
        wanted = {name: {} for name in names}
        for number, key in (await numbered(conn, names)).items():
            wanted[key.ven_id][number] = Stretch(key.kind, MIDNIGHT_S, MIDNIGHT_S + 5 * DAY_S)
        for most_series, statements in ((5000, 1), (80, 2), (1, 120)):
            with counted_statements() as seen, mock.patch.object(readings, "_MOST_SERIES", most_series):
                counts = [[len(one) for one in home.values()] async for _, home in load_many(conn, wanted)]
            assert len(seen) == statements
            assert counts == [[10, 10]] * 60


async def check_view(conn, ven_id, naive):
    """Compare the view with the model: values, durations, qualities, and when each came in (to the millisecond)."""
    query = text("SELECT * FROM reading WHERE ven_id = :ven_id ORDER BY start_s, duration_s")
    rows = (await conn.execute(query, {"ven_id": ven_id})).all()
    found = [(row.start_s, row.duration_s, row.value, row.quality, moment(row.received_at)) for row in rows]
    wanted = [(*place, *point[:2], moment(point[2])) for place, point in sorted(naive.known().items())]
    assert found == wanted
    for row in rows:
        assert moment(row.start_utc) == row.start_s * 1000
        assert str(row.day) == datetime.fromtimestamp(row.start_s, UTC).date().isoformat()


def moment(value):
    """Return milliseconds since 1970 of a time from the view, which is text on SQLite."""
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (when.replace(tzinfo=when.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


async def chunks_of(database):
    async with database.read() as conn:
        return (await conn.execute(select(chunk).order_by(chunk.c.id))).all()


async def put(database, key, values, received_at=NOON, unit=UNIT):
    async with database.write() as tx:
        return await store(tx, key, unit, values, received_at)


KEY = SeriesKey("v1", "meter", "energy_real", "sum")


async def test_a_correction_gets_a_revision_and_writes_only_what_differs(database):
    await add_vens(database, "v1")
    assert await put(database, KEY, Values(MIDNIGHT_S, 900, (1.0, 2.0, 3.0, 4.0)))
    assert not await put(database, KEY, Values(MIDNIGHT_S + 900, 900, (2.0, 3.0)))
    assert await put(database, KEY, Values(MIDNIGHT_S, 900, (1.0, 2.5, 3.0, 4.0, 5.0)))
    first, second = await chunks_of(database)
    assert (first.revision, first.values) == (0, [1, 2, 3, 4])
    assert (second.revision, second.values, second.start_s) == (1, [2.5, 5], MIDNIGHT_S + 900)
    assert (second.step_s, second.durations) == (2700, [900, 900])


async def test_a_report_over_midnight_lies_in_a_chunk_a_day(database):
    await add_vens(database, "v1")
    await put(database, KEY, Values(MIDNIGHT_S - 1800, 900, (1.0, 2.0, 3.0)))
    spans = [(row.start_s - MIDNIGHT_S, row.end_s - MIDNIGHT_S) for row in await chunks_of(database)]
    assert spans == [(-1800, 0), (0, 900)]


async def test_the_same_report_from_many_at_once_is_stored_once(database):
    await add_vens(database, "v1")
    values = Values(MIDNIGHT_S, 900, (1.0, 2.0))
    assert sum(await asyncio.gather(*(put(database, KEY, values) for _ in range(8)))) == 1
    changed = [Values(MIDNIGHT_S, 900, (float(number), 2.0)) for number in range(2, 8)]
    await asyncio.gather(*(put(database, KEY, each) for each in changed))
    assert sorted(row.revision for row in await chunks_of(database)) == list(range(7))


async def test_merging_saves_chunks_and_changes_nothing_else(database):
    await add_vens(database, "v1")
    for number in range(20):
        received_at = NOON + timedelta(minutes=number)
        await put(database, KEY, Values(MIDNIGHT_S + number * 60, 60, (float(number),)), received_at)
    await put(database, KEY, Values(MIDNIGHT_S + DAY_S, 60, (7.0,)))
    await put(database, KEY, Values(MIDNIGHT_S + DAY_S + 60, 60, (8.0,)))
    saved = await merge_days(database, datetime.fromtimestamp(MIDNIGHT_S + 2 * DAY_S - 1, UTC))
    assert saved == 19
    assert await merge_days(database, datetime.fromtimestamp(MIDNIGHT_S + DAY_S, UTC)) == 0
    merged = next(row for row in await chunks_of(database) if row.start_s == MIDNIGHT_S)
    assert (merged.step_s, merged.offsets, merged.durations, merged.received_at) == (60, None, None, NOON)
    async with database.read() as conn:
        half = await load(conn, KEY, 0, 2**40, as_of=NOON + timedelta(minutes=9, microseconds=-1))
        whole = await load(conn, KEY, 0, 2**40)
    assert half.values.tolist() == [*range(9), 7.0, 8.0]
    assert whole.values.tolist() == [*range(20), 7.0, 8.0]


def merge_until_killed(database_url, series):
    """Let a process merge some series, and kill it."""
    command = [sys.executable, CHILD, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for _ in range(series):
            assert child.stdout.readline() == "merged a series\n"
        child.kill()
        child.stdout.read()


async def test_merging_that_is_killed_loses_nothing(database_url):
    database = await Database.open(database_url)
    await add_vens(database, "v1")
    keys = [SeriesKey("v1", f"r{number}", "energy_real", "sum") for number in range(12)]
    for key in keys:
        for number in range(5):
            await put(database, key, Values(MIDNIGHT_S + number * 60, 60, (float(number),)))
    merge_until_killed(database_url, series=3)
    left = len(await chunks_of(database))
    assert 12 <= left <= 60 - 3 * 4
    async with database.read() as conn:
        for key in keys:
            assert (await load(conn, key, 0, 2**40)).values.tolist() == [0, 1, 2, 3, 4]
    await merge_days(database, NOON)
    assert len(await chunks_of(database)) == 12
    await database.close()


async def test_unknown_series_and_empty_spans_have_no_values(database):
    await add_vens(database, "v1")
    async with database.read() as conn:
        loaded = await load(conn, KEY, 0, 2**40)
    assert len(loaded) == 0
    assert (loaded.starts_s.dtype, loaded.values.dtype) == (np.int64, np.float64)
    await put(database, KEY, Values(MIDNIGHT_S, 900, (1.0, 2.0)))
    async with database.read() as conn:
        assert len(await load(conn, KEY, MIDNIGHT_S + 1, MIDNIGHT_S + 900)) == 0
        assert len(await load(conn, KEY, MIDNIGHT_S, MIDNIGHT_S)) == 0


async def test_series_of_a_ven(database):
    await add_vens(database, "v1", "v2")
    others = SeriesKey("v1", "meter", "energy_real", "sum", "manual"), SeriesKey("v2", "meter", "online", "instant")
    for key in (KEY, *others):
        await put(database, key, Values(MIDNIGHT_S, None, (1.0,)))
    async with database.read() as conn:
        assert await series_of(conn, "v1") == [others[0], KEY]
        assert await series_of(conn, "nobody") == []


@pytest.mark.parametrize(
    "values",
    [
        Values(MIDNIGHT_S, 900, ()),
        Values(MIDNIGHT_S, None, (1.0, 2.0)),
        Values(MIDNIGHT_S, 0, (1.0, 2.0)),
        Values(MIDNIGHT_S, -900, (1.0, 2.0)),
        Values(MIDNIGHT_S, 900, (1.0,), offsets_s=(0, 900)),
        Values(MIDNIGHT_S, 900, (1.0,), durations_s=()),
        Values(MIDNIGHT_S, 900, (1.0,), qualities=("good", "bad")),
        Values(MIDNIGHT_S, 900, (math.nan,)),
        Values(MIDNIGHT_S, 900, (math.inf,)),
        Values(-1, 900, (1.0,)),
        Values(10**12, 900, (1.0,)),
        Values(MIDNIGHT_S, 900, (1.0,), durations_s=(-1,)),
        Values(MIDNIGHT_S, 900, (1.0,), durations_s=(2**40,)),
        Values(MIDNIGHT_S, 900, (1.0,), qualities=("x" * 100,)),
        Values(MIDNIGHT_S, 900, (1.0,) * (MAX_VALUES + 1)),
    ],
)
async def test_values_that_make_no_sense_are_refused(database, values):
    await add_vens(database, "v1")
    with pytest.raises(InvalidError):
        await put(database, KEY, values)
    assert await chunks_of(database) == []


async def test_a_series_keeps_its_unit_and_names_have_limits(database):
    await add_vens(database, "v1")
    await put(database, KEY, Values(MIDNIGHT_S, 900, (1.0,)))
    with pytest.raises(InvalidError, match="kept in Wh, not in kWh"):
        await put(database, KEY, Values(MIDNIGHT_S, 900, (1.0,)), unit="kWh")
    with pytest.raises(InvalidError, match="resource_id"):
        await put(database, SeriesKey("v1", "r" * 201, "energy_real", "sum"), Values(MIDNIGHT_S, 900, (1.0,)))
    async with database.read() as conn:
        assert await conn.scalar(select(func.count()).select_from(series)) == 1
