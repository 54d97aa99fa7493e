"""Dispatches as listed: where they lie in time, whose answer counts, pages that neither skip nor repeat."""

from datetime import timedelta

from openadr.model.opt import Opt, OptType
from openadr.v20b.messages import CreateOpt
from support.vtn_world import power
from vtn.services import dispatch as dispatches
from vtn.services import dispatch_list
from vtn.services.dispatch_list import DispatchFilter, When


async def _listed(world, when=None, **more):
    async with world.db.read() as conn:
        return await dispatch_list.listing(conn, DispatchFilter(when, **more), world.now)


async def test_a_dispatch_is_to_come_then_runs_then_is_over(world):
    ven = await world.ven()
    first = await world.dispatch(ven, starts_in=timedelta(hours=1))
    later = await world.dispatch(ven, starts_in=timedelta(hours=5))
    off = await world.dispatch(ven, starts_in=timedelta(hours=2))
    async with world.tx() as tx:
        await dispatches.cancel(tx, off, world.now, who="test")
    assert [row.id for row in await _listed(world, When.NEXT)] == [first, later]
    world.later(hours=1)
    assert [(row.id, row.when) for row in await _listed(world, When.RUNNING)] == [(first, When.RUNNING)]
    world.later(hours=1)
    assert [row.id for row in await _listed(world, When.OVER)] == [first]
    assert [row.id for row in await _listed(world, When.CANCELLED)] == [off]
    assert [row.id for row in await _listed(world)] == [later, off, first]
    async with world.db.read() as conn:
        assert {when: await dispatch_list.count(conn, when, world.now) for when in When} == dict.fromkeys(
            (When.NEXT, When.OVER, When.CANCELLED), 1
        ) | {When.RUNNING: 0}


async def test_the_answer_that_counts_is_counted(any_world):
    world = any_world
    vens = [await world.ven() for _ in range(4)]
    await world.dispatch(*vens, signals=(power(-500.0),))
    said = (OptType.IN, OptType.OUT, OptType.IN)
    events = {}
    for ven, opt_type in zip(vens, said, strict=False):
        (events[ven.ven_id],) = await ven.events()
        await ven.opt(events[ven.ven_id], opt_type)
    # What a VEN says by oadrCreateOpt stays, whatever it answers to the event afterwards (OP-08).
    one = events[vens[0].ven_id]
    out = Opt("opt1", OptType.OUT, "notParticipating", world.now, one.event.event_id, one.event.modification_number)
    await vens[0].say(CreateOpt(vens[0].ven_id, "r", out))
    await vens[0].opt(one, OptType.IN)
    (row,) = await _listed(world)
    assert (row.called, row.opted_in, row.opted_out, row.silent) == (4, 1, 2, 1)


async def test_lists_are_of_one_ven_or_programme_and_paged(any_world):
    world = any_world
    ven, other = await world.ven(), await world.ven()
    game = await world.programme(ven, other)
    ids = [await world.dispatch(ven, under=game, starts_in=timedelta(hours=n % 3 + 1)) for n in range(7)]
    stray = await world.dispatch(other, starts_in=timedelta(hours=1))
    assert {row.id for row in await _listed(world, ven_id=ven.ven_id)} == set(ids)
    assert {row.id for row in await _listed(world, programme_id=game.id)} == set(ids)
    assert stray not in {row.id for row in await _listed(world, programme_id=game.id)}
    for when in (None, When.NEXT):
        seen, after = [], None
        async with world.db.read() as conn:
            while rows := await dispatch_list.listing(conn, DispatchFilter(when), world.now, after=after, limit=3):
                seen += [row.id for row in rows]
                after = rows[-1].starts_at, rows[-1].id
        assert sorted(seen) == sorted([*ids, stray])
        assert len(seen) == len(set(seen))
