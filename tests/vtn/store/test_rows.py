"""Insert-or-update, and model values as JSON."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.event import ActivePeriod, Event
from openadr.model.opt import Availability, Opt, OptType
from openadr.model.registration import VenProfile
from openadr.model.report import (
    LoadControlState,
    ReportDescription,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    ResourceStatus,
    SamplingRate,
)
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W
from support.databases import NOON, add_vens
from vtn.store.database import Database
from vtn.store.rows import evenly, from_json, insert_new, to_json, upsert
from vtn.store.tables import outbox, resource, used_nonce

times = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  bounds
durations = st.builds(Duration, st.integers(0, 40), st.integers(0, 10**6))
numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=8)
targets = st.builds(Target, st.tuples(words), st.tuples(words, words), other=st.tuples(st.tuples(words, words)))
signals = st.builds(
    Signal,
    words,
    words,
    words,
    st.lists(st.builds(Interval, durations, numbers), max_size=3).map(tuple),
    st.sampled_from([None, POWER_REAL_W]),
    targets,
    st.none() | numbers,
)
states = st.builds(LoadControlState, numbers, st.none() | numbers)
VALUES = st.one_of(
    st.builds(
        Event,
        event_id=words,
        modification_number=st.integers(0, 2**31),
        market_context=words,
        created_at=times,
        period=st.builds(ActivePeriod, times, durations, durations, st.none() | durations),
        signals=st.lists(signals, max_size=2).map(tuple),
        target=targets,
        modified_at=st.none() | times,
    ),
    st.builds(
        ReportOffer,
        specifier_id=words,
        name=words,
        duration=durations,
        created_at=times,
        descriptions=st.tuples(
            st.builds(
                ReportDescription,
                words,
                words,
                words,
                targets,
                item_base=st.just(POWER_REAL_W),
                sampling=st.none() | st.builds(SamplingRate, durations, durations, st.booleans()),
            )
        ),
    ),
    st.builds(ReportRequest, words, words, st.tuples(words), durations, durations, st.none() | times),
    st.builds(ReportPayload, words, numbers | st.builds(ResourceStatus, st.booleans(), st.booleans(), states)),
    st.builds(
        Opt,
        words,
        st.sampled_from(OptType),
        words,
        times,
        availability=st.tuples(st.builds(Availability, times, durations)),
    ),
    st.builds(VenProfile, transport_address=st.none() | words),
)


@given(VALUES)
def test_model_values_survive_json(value):
    text = json.dumps(to_json(value), allow_nan=False)
    again = from_json(type(value), json.loads(text))
    assert again == value
    assert type(again) is type(value)


def test_times_keep_their_zone():
    value = from_json(Availability, to_json(Availability(NOON, Duration.of(hours=1))))
    assert value.start.utcoffset() == timedelta(0)
    assert to_json(NOON) == "2025-03-04T12:00:00Z"


def test_stored_data_of_another_shape_are_named():
    with pytest.raises(InvalidError, match=r"no Opt: opt_type: .*optIn"):
        from_json(Opt, {**to_json(Opt("o", OptType.IN, "", NOON)), "opt_type": "maybe"})


async def test_upsert_inserts_then_updates(database):
    await add_vens(database, "v1")

    async def put(values, **options):
        async with database.write() as tx:
            await upsert(tx.conn, resource, values, keys=("ven_id", "resource_id"), **options)

    async def rows():
        async with database.read() as conn:
            columns = (resource.c.resource_id, resource.c.device_class, resource.c.nominal_w)
            return [tuple(row) for row in await conn.execute(select(*columns).order_by(resource.c.resource_id))]

    one = {"ven_id": "v1", "resource_id": "r1", "device_class": "Water_Heater", "nominal_w": 2000}
    await put(one)
    await put([{**one, "nominal_w": 3000}, {**one, "resource_id": "r2", "nominal_w": None}])
    assert await rows() == [("r1", "Water_Heater", 3000), ("r2", "Water_Heater", None)]
    await put({**one, "device_class": "EVSE", "nominal_w": 1}, update=["nominal_w"])
    assert await rows() == [("r1", "Water_Heater", 1), ("r2", "Water_Heater", None)]
    await put({**one, "nominal_w": 5}, update=())
    await put([])
    assert await rows() == [("r1", "Water_Heater", 1), ("r2", "Water_Heater", None)]


async def test_upsert_takes_thousands_of_rows_and_the_same_twice(database):
    names = [f"v{number}" for number in range(2_000)]
    await add_vens(database, *names)
    rows = [
        {"ven_id": name, "kind": "events_changed", "subject": "", "state": state, "created_at": NOON, "due_at": NOON}
        for state in ("pending", "sent")
        for name in names
    ]
    async with database.write() as tx:
        await upsert(tx.conn, outbox, rows, keys=("ven_id", "kind", "subject"))
    async with database.read() as conn:
        assert sorted(await conn.scalars(select(outbox.c.ven_id))) == sorted(names)
        assert set(await conn.scalars(select(outbox.c.state))) == {"sent"}


async def test_of_rows_with_a_key_that_is_there_none_is_inserted(database):
    rows = [{"key": name * 32, "expires_at": NOON} for name in "ab"]
    async with database.write() as tx:
        assert await insert_new(tx.conn, used_nonce, rows, key="key") == {"a" * 32, "b" * 32}
        assert await insert_new(tx.conn, used_nonce, [], key="key") == set()
        third = {"key": "c" * 32, "expires_at": NOON}
        assert await insert_new(tx.conn, used_nonce, [*rows, third], key="key") == {"c" * 32}


async def test_of_two_processes_one_inserts_a_key(database_url):
    """A message that is replayed to two workers at once counts at one of them."""
    row = {"key": "k" * 32, "expires_at": NOON}
    processes = [await Database.open(database_url) for _ in range(2)]

    async def insert(database):
        async with database.write() as tx:
            return await insert_new(tx.conn, used_nonce, [row], key="key")

    try:
        for _ in range(3):
            inserted = await asyncio.gather(*map(insert, processes))
            assert sorted(map(len, inserted)) == [0, 1]
            async with processes[0].write() as tx:
                await tx.conn.execute(used_nonce.delete())
    finally:
        for database in processes:
            await database.close()


def test_some_of_many_names_are_spread_over_them():
    assert evenly(list("abcdefgh"), 3) == ["a", "c", "f"]
    assert evenly(list("ab"), 3) == ["a", "b"]
    assert evenly([], 3) == []
