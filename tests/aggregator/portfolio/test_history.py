"""Potential out of history, for VENs that report none."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import insert

from aggregator.flexibility.history import HORIZON, derive, figures, waiting
from core.points import Quantity
from openadr.model.opt import OptType
from support.vtn_world import NOON
from vtn.services import potential
from vtn.services.potential import Brought, Figures
from vtn.store.readings import SeriesKey, Values, store
from vtn.store.tables import evaluation, resource

NOON_S = int(NOON.timestamp())
DAY_S = 86_400


async def metered(world, one, days=10, *, watt=lambda _: 1000.0):
    """Store half hours of the last days; `watt` gives the mean power by the second since 1970."""
    starts = range(NOON_S - days * DAY_S, NOON_S, 1800)
    values = Values(starts[0], 1800, tuple(watt(start) / 2 for start in starts))
    async with world.tx() as tx:
        await store(tx, SeriesKey(one.ven_id, "meter", Quantity.ENERGY_REAL, "sum"), "Wh", values, NOON)


async def of(world, one, direction="reduce"):
    async with world.db.read() as conn:
        found = {row.direction: row for row in (await figures(conn, [one.ven_id], world.now))[one.ven_id]}
    return found[direction]


async def test_a_home_that_was_never_called_offers_a_tenth(world):
    one = await world.ven()
    await metered(world, one, watt=lambda start: 2000.0 if start % DAY_S // 3600 == 18 else 400.0)
    found = await of(world, one)
    assert (found.resource_id, found.start_s, found.step_s) == ("", NOON_S, 1800)
    assert found.end_s - found.start_s == HORIZON.total_seconds()
    assert set(found.p10_w) == {0}
    assert (found.p50_w[0], found.p50_w[12], found.p50_w[12 + 48]) == (40, 200, 200)
    assert found.p90_w[12] == 500
    assert set((await of(world, one, "increase")).p90_w) == {0}


async def test_a_fresh_home_offers_from_its_first_hour_with_a_wide_range(world):
    nothing, fresh = await world.ven(), await world.ven()
    first = Values(NOON_S - 3600, 1800, (500.0, 500.0))
    async with world.tx() as tx:
        await store(tx, SeriesKey(fresh.ven_id, "meter", Quantity.ENERGY_REAL, "sum"), "Wh", first, world.now)
    found = await of(world, fresh)
    assert (set(found.p10_w), set(found.p50_w), set(found.p90_w)) == ({0}, {100}, {500})
    assert set((await of(world, nothing)).p90_w) == {0}, "of which nothing is known"


async def test_a_home_without_any_reading_offers_its_nameplate_widely(world):
    home = await world.ven()
    async with world.tx() as tx:
        await tx.conn.execute(insert(resource).values(ven_id=home.ven_id, resource_id="boiler", nominal_w=2000))
    found = await of(world, home)
    assert (set(found.p10_w), set(found.p50_w), set(found.p90_w)) == ({0}, {200}, {2000})


async def test_what_the_meter_did_before_and_in_an_event_counts_before_there_is_a_baseline(world):
    home = await world.ven()
    await world.dispatch(home, starts_in=timedelta(hours=1))  # 13:00 to 14:00
    await home.opt((await home.events())[0], OptType.IN)
    watts = (1000.0, 1000.0, 400.0, 400.0, 1000.0, 1000.0)  # from 12:00 on
    values = Values(NOON_S, 1800, tuple(one / 2 for one in watts))
    async with world.tx() as tx:
        await store(tx, SeriesKey(home.ven_id, "meter", Quantity.ENERGY_REAL, "sum"), "Wh", values, world.now)
    world.later(hours=3)
    found = await of(world, home)
    assert found.p50_w[0] == 600
    assert found.p10_w[0] < 300
    assert found.p90_w[0] > 800


async def test_a_learning_home_is_looked_at_each_half_hour(world):
    home = await world.ven()
    await world.programme(home)
    assert await derive(world.db, world.now) == 1
    world.later(minutes=29)
    assert await derive(world.db, world.now) == 0
    world.later(minutes=1)
    assert await derive(world.db, world.now) == 1
    world.later(days=5)
    assert await derive(world.db, world.now) == 1
    world.later(hours=5)
    assert await derive(world.db, world.now) == 0


async def test_the_times_of_events_and_the_hour_after_are_left_out(world):
    one = await world.ven()
    await world.dispatch(one, starts_in=timedelta(hours=1))  # 13:00 to 14:00
    world.clock.advance(timedelta(days=4))
    now_s = int(world.now.timestamp())

    def watt(start):
        hour = (start - NOON_S) / 3600
        return 0.0 if 1 <= hour < 2 else 5000.0 if 2 <= hour < 3 else 1000.0

    starts = range(NOON_S - 2 * DAY_S, now_s, 1800)
    values = Values(starts[0], 1800, tuple(watt(start) / 2 for start in starts))
    async with world.tx() as tx:
        await store(tx, SeriesKey(one.ven_id, "meter", Quantity.ENERGY_REAL, "sum"), "Wh", values, world.now)
    assert set((await of(world, one)).p50_w) == {100}


async def test_past_events_say_which_share_moves(world):
    one = await world.ven()
    await metered(world, one)
    made = await world.dispatch(one)
    (event,) = await one.events()
    await one.opt(event, OptType.IN)
    world.clock.advance(timedelta(hours=3))
    interval = {"start": NOON.isoformat(), "duration_s": 1800, "target_w": 1.0, "actual_w": 1.0}
    shares = (0.2, 0.3, 0.4, 0.5, 0.6)

    async def evaluated(version, **row):
        rows = [interval | {"baseline_w": 1000.0, "delivered_w": 1000.0 * share} for share in shares]
        rows.append(interval | {"baseline_w": None, "delivered_w": None})
        vens = [{"ven_id": one.ven_id, "counts": True, "intervals": rows} | row]
        async with world.tx() as tx:
            await tx.conn.execute(
                insert(evaluation).values(
                    dispatch_id=made, version=version, method={}, result={"vens": vens}, input_hash="x",
                    created_at=world.now,
                )
            )  # fmt: skip

    await evaluated(1)
    found = await of(world, one)
    p10, p50, p90 = (1000 * np.quantile(shares, q) for q in (0.1, 0.5, 0.9))
    slot = 12  # far from the event
    assert (found.p10_w[slot], found.p50_w[slot], found.p90_w[slot]) == pytest.approx((p10, p50, p90), abs=1)
    await evaluated(2, counts=False)
    assert (await of(world, one)).p50_w[slot] == 100


async def test_it_is_derived_in_turn_for_who_reports_nothing(world):
    mute, loud, outsider, empty = [await world.ven() for _ in range(4)]
    await world.programme(mute, loud, empty)
    await metered(world, mute)
    await metered(world, outsider)
    told = Figures("home", "reduce", NOON_S, 1800, (1.0,), (1.0,), (1.0,))
    async with world.tx() as tx:
        await potential.store(tx, loud.ven_id, Brought((told,), {}, NOON), NOON)
    assert await derive(world.db, world.now, limit=1) == 1
    assert await derive(world.db, world.now) == 1
    assert await derive(world.db, world.now) == 0
    async with world.db.read() as conn:
        ids = [one.ven_id for one in (mute, loud, outsider, empty)]
        found = await potential.latest(conn, ids, world.now)
    assert {ven_id: ones[0].source for ven_id, ones in found.items()} == {
        mute.ven_id: "history", loud.ven_id: "ven", empty.ven_id: "history"
    }  # fmt: skip
    assert max(found[empty.ven_id][0].figures.p90_w) == 0
    world.later(hours=6)
    async with world.db.read() as conn:
        assert set(await waiting(conn, world.now, 10)) == {mute.ven_id, empty.ven_id}
