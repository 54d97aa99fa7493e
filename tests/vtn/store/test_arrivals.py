"""Values of many series in one call: as if they had come one by one, with few statements (vtn.store.readings)."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sql_events
from sqlalchemy import select, text
from sqlalchemy.engine import Engine

from core.errors import InvalidError
from support.databases import NOON, add_vens
from vtn.store import Database, version
from vtn.store.engines import parse
from vtn.store.readings import Arrival, SeriesHints, SeriesKey, Values, load, store, store_all
from vtn.store.tables import chunk, series

DAY_S = 86_400
FIRST_S = 20_000 * DAY_S
WHOLE = range(40_000 * DAY_S)
numbers = itertools.count()


def key_of(ven_id, kind="sum"):
    return SeriesKey(ven_id, "meter", "energy_real", kind)


@st.composite
def some_arrivals(draw):
    count = draw(st.integers(1, 4))
    values = tuple(draw(st.lists(st.none() | st.sampled_from([0.0, 1.5, 7.0]), min_size=count, max_size=count)))
    start_s = FIRST_S + draw(st.integers(-4, 4)) * 900
    if draw(st.booleans()):
        return Values(start_s, 900, values)
    offsets = tuple(draw(st.lists(st.integers(0, 6).map(lambda n: n * 900), min_size=count, max_size=count)))
    return Values(start_s, None, values, offsets, (900,) * count)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), some_arrivals()), min_size=1, max_size=6), max_size=4))
async def test_many_at_once_are_stored_as_if_one_by_one(database, batches):
    run = next(numbers)
    names = [f"v{run}-{number}" for number in range(6)]
    await add_vens(database, *names)
    hints = SeriesHints()
    for batch in batches:
        together = [Arrival(key_of(names[number]), "Wh", values) for number, values in batch]
        async with database.write() as tx:
            fresh = await store_all(tx, together, NOON, hints)
            alone = [await store(tx, key_of(names[3 + number]), "Wh", values, NOON) for number, values in batch]
        assert fresh == alone
    async with database.read() as conn:
        for number in range(3):
            one, other = [
                await load(conn, key_of(names[place]), WHOLE.start, WHOLE.stop) for place in (number, 3 + number)
            ]
            for name in ("starts_s", "durations_s", "qualities"):
                assert np.array_equal(getattr(one, name), getattr(other, name))
            assert np.array_equal(one.values, other.values, equal_nan=True)
        query = select(chunk.c.start_s, chunk.c["values"], series.c.ven_id).join(series)
        rows = (await conn.execute(query.where(series.c.ven_id.in_(names)).order_by(chunk.c.id))).all()
    kept = [[row[:2] for row in rows if row.ven_id == name] for name in names]
    assert kept[:3] == kept[3:]


async def test_the_number_of_statements_does_not_grow_with_the_vens(database):
    await add_vens(database, *(f"v{number}" for number in range(60)))
    hints = SeriesHints()

    async def statements(day, count):
        arrivals = [
            Arrival(key_of(f"v{number}"), "Wh", Values(FIRST_S + day * DAY_S, 900, (1.0,) * 96))
            for number in range(count)
        ]
        seen = []
        note = lambda _conn, _cursor, statement, *_: seen.append(statement)  # noqa: E731
        sql_events.listen(Engine, "before_cursor_execute", note)
        try:
            async with database.write() as tx:
                assert all(await store_all(tx, arrivals, NOON, hints))
        finally:
            sql_events.remove(Engine, "before_cursor_execute", note)
        return len(seen)

    await statements(0, 60)
    assert await statements(1, 60) == await statements(2, 2)


async def test_a_hint_that_is_no_longer_true_is_not_believed(database):
    await add_vens(database, "v1", "v2")
    hints = SeriesHints()
    async with database.write() as tx:
        await store_all(tx, [Arrival(key_of("v1"), "Wh", Values(FIRST_S, 900, (1.0,)))], NOON, hints)
        await tx.conn.execute(text("UPDATE series SET ven_id = 'v2'"))
        await store_all(tx, [Arrival(key_of("v1"), "Wh", Values(FIRST_S, 900, (2.0,)))], NOON, hints)
    async with database.read() as conn:
        assert [(await load(conn, key_of(name), 0, WHOLE.stop)).values.tolist() for name in ("v1", "v2")] == [[2], [1]]


@pytest.mark.parametrize("kind", ["sum", "instant"])
@pytest.mark.parametrize(
    ("start_s", "step_s", "values"),
    [(-1, 900, (1.0,)), (253_402_300_799, 900, (1.0, 2.0)), (0, 900, (float("nan"),)), (0, 2**70, (1.0, 1.0))],
)
async def test_what_is_evenly_spaced_is_checked_too(database, kind, start_s, step_s, values):
    await add_vens(database, "v1")
    with pytest.raises(InvalidError):
        async with database.write() as tx:
            await store(tx, key_of("v1", kind), "Wh", Values(start_s, step_s, values), NOON)


async def test_the_newest_schema_is_recognised_without_alembic(database_url, empty_database_url):
    await (await Database.open(database_url)).close()
    assert await version.is_newest(parse(database_url))
    if empty_database_url.startswith("postgresql"):
        assert not await version.is_newest(parse(empty_database_url))
