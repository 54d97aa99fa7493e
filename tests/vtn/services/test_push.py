"""Lines to VENs in push mode: leases, pauses, and who is unreachable, on every kind of database."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from core.clock import machine_now
from openadr.model.registration import VenProfile
from vtn.services import fleet, push, recipients, registration
from vtn.store.tables import ven as ven_table

MACHINE = machine_now()
MINUTE = timedelta(minutes=1)
PUSHED = VenProfile(http_pull=False, transport_address="https://home.example/")


async def registered(world, count=1):
    """Return VENs that are registered in push mode."""
    vens = [await world.ven() for _ in range(count)]
    async with world.tx() as tx:
        for one in vens:
            await registration.register(tx, one.ven_id, PUSHED, one.registration_id, world.now)
    return [one.ven_id for one in vens]


async def claimed(world, ven_ids, at=MACHINE):
    async with world.tx() as tx:
        return [line.ven_id for line in await push.claim(tx, ven_ids, at, at + MINUTE)]


async def failed(world, ven_id, dead_after=3):
    async with world.tx() as tx:
        return await push.failed(
            tx, ven_id, "nobody\nanswers", MACHINE, world.now, dead_after=dead_after, pause=lambda count: count * MINUTE
        )


async def test_a_line_is_leased_once_until_it_is_released_or_runs_out(any_world):
    world = any_world
    ven_ids = await registered(world, 2)
    assert await claimed(world, ven_ids) == sorted(ven_ids)
    assert await claimed(world, ven_ids) == []
    async with world.tx() as tx:
        await push.release(tx, ven_ids[0])
    assert await claimed(world, ven_ids) == [ven_ids[0]]
    assert await claimed(world, ven_ids, MACHINE + MINUTE) == sorted(ven_ids), "who held them is dead"
    async with world.tx() as tx:
        await push.keep(tx, ven_ids[0], MACHINE + 5 * MINUTE)
    assert await claimed(world, ven_ids, MACHINE + 3 * MINUTE) == [ven_ids[1]]


async def test_only_registered_vens_in_push_mode_have_lines(any_world):
    world = any_world
    pull = await world.ven()
    one, two, three = await registered(world, 3)
    async with world.tx() as tx:
        await registration.erase(tx, one, world.now, who="test")
        await tx.conn.execute(update(ven_table).where(ven_table.c.id == two).values(removed_at=world.now))
    assert await claimed(world, [pull.ven_id, one, two, three]) == [three]


async def test_failures_make_it_rest_and_then_unreachable_until_it_is_fresh(any_world):
    world = any_world
    (ven_id,) = await registered(world)
    await claimed(world, [ven_id])
    async with world.tx() as tx:
        await push.release(tx, ven_id)
    assert [await failed(world, ven_id) for _ in range(4)] == [(1, False), (2, False), (3, True), (4, False)]
    assert await claimed(world, [ven_id], MACHINE + 3 * MINUTE) == []
    (row,) = await world.rows("ven")
    assert (row.unreachable_at, row.unreachable_why) == (world.now, "nobody answers")
    async with world.tx() as tx:
        assert await push.fresh(tx, ven_id)
        assert not await push.fresh(tx, ven_id)
    assert await claimed(world, [ven_id]) == [ven_id]
    (row,) = await world.rows("ven")
    assert (row.unreachable_at, row.unreachable_why) == (None, None)


@pytest.mark.parametrize("dead", [False, True])
async def test_silence_says_nothing_of_a_ven_in_push_mode(any_world, dead):
    world = any_world
    (ven_id,) = await registered(world)
    programme = await world.programme()
    world.later(days=30)
    if dead:
        await claimed(world, [ven_id])
        await failed(world, ven_id, dead_after=1)
    async with world.db.read() as conn:
        shown = await fleet.one(conn, ven_id, world.now, 60)
        (chosen,) = await recipients.of(conn, programme.id, [ven_id], [], world.now, stale_after_s=60)
        counted = await fleet.counts(conn, world.now, 60)
    presence = fleet.Presence.UNREACHABLE if dead else fleet.Presence.ONLINE
    assert (shown.presence, chosen.online) == (presence, not dead)
    assert (counted.online, counted.unreachable, counted.total) == (int(not dead), int(dead), 1)
