"""Results come by themselves, and anew for late readings, until they are final (vtn.services.result_due)."""

from datetime import timedelta

from core.spans import Duration
from openadr.model.opt import OptType
from support.metered import HALF, metered_ven, send
from support.vtn_world import NOON, power
from vtn.services import dispatch, evaluation, holidays, outages, result_due
from vtn.services.result_due import Waits

WAITS = Waits(timedelta(minutes=10), timedelta(days=7))
START, END = NOON + timedelta(hours=1), NOON + timedelta(hours=2)


async def turn(world):
    async with world.db.read() as conn:
        due = await result_due.due(conn, world.now, 50)
    for dispatch_id in due:
        await result_due.tick(world.db, dispatch_id, world.now, WAITS, who="worker")
    return due


async def versions(world):
    return [row.version for row in await world.rows("evaluation")]


async def next_look(world, dispatch_id):
    async with world.db.read() as conn:
        return await result_due.due_at(conn, dispatch_id)


async def test_a_result_comes_by_itself_and_again_when_readings_come(any_world):
    world = any_world
    ven, wish, _ = await metered_ven(world, 1)
    dispatch_id = await world.dispatch(ven, signals=(power(-200.0, -400.0, each=HALF),))
    await ven.opt((await ven.events())[0], OptType.IN)
    assert await turn(world) == []
    world.clock.advance(to=END)
    await turn(world)
    assert await versions(world) == []
    assert await next_look(world, dispatch_id) == END + WAITS.first
    world.clock.advance(to=END + WAITS.first)
    await turn(world)
    assert await versions(world) == [1]
    assert await turn(world) == [], "it is not looked at all the time"
    world.clock.advance(to=END + timedelta(hours=1))
    await turn(world)
    assert await versions(world) == [1], "the same readings are no new version"
    await send(ven, wish, NOON, 50.0, 50.0, 50.0, 50.0)
    world.clock.advance(to=END + timedelta(hours=2))
    await turn(world)
    assert await versions(world) == [1, 2]
    async with world.db.read() as conn:
        assert (await evaluation.stored(conn, dispatch_id)).delivered_wh is not None
    audit = [(row.who, row.action) for row in await world.rows("audit") if row.action == "evaluate dispatch"]
    assert audit == [("worker", "evaluate dispatch")] * 2
    world.clock.advance(to=END + WAITS.final)
    await turn(world)
    assert await next_look(world, dispatch_id) is None, "it is final"


async def test_what_is_cancelled_while_it_runs_has_its_result_soon(world):
    ven, _, _ = await metered_ven(world, 2)
    endless = power(-200.0, each=Duration())
    dispatch_id = await world.dispatch(ven, signals=(endless,), duration=Duration())
    world.clock.advance(to=START + timedelta(minutes=30))
    await turn(world)
    assert await next_look(world, dispatch_id) is None
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="test")
    world.later(minutes=11)
    await turn(world)
    await turn(world)
    assert await versions(world) == [1]


async def test_what_never_ran_has_no_result(world):
    ven, _, _ = await metered_ven(world, 3)
    dispatch_id = await world.dispatch(ven)
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="test")
    await turn(world)
    assert await next_look(world, dispatch_id) is None
    assert await versions(world) == []


async def test_what_a_result_rests_on_makes_it_due_again_until_it_is_final(any_world):
    """Outages concern everybody's results, holidays those of their programme."""
    world = any_world
    ven, _, _ = await metered_ven(world, 2)
    dispatch_id = await world.dispatch(ven)
    planned = await world.dispatch(ven, starts_in=timedelta(days=30))
    (programme_id,) = (row.programme_id for row in await world.rows("dispatch") if row.id == dispatch_id)
    day = (NOON - timedelta(days=3)).date()

    async def change(what):
        async with world.tx() as tx:
            await what(tx)
        return await next_look(world, dispatch_id) == world.now

    def entered(tx):
        return outages.add(tx, START - timedelta(days=3), None, "a cable", world.now, who="ada")

    world.clock.advance(to=END + timedelta(hours=1))
    await turn(world)
    later = await next_look(world, planned)
    assert await change(entered)
    (outage,) = await world.rows("outage")
    for what in (
        lambda tx: outages.end(tx, outage.id, START - timedelta(days=2), world.now, who="ada"),
        lambda tx: outages.remove(tx, outage.id, world.now, who="ada"),
        lambda tx: holidays.add(tx, programme_id, day, "Fair", world.now, who="ada"),
        lambda tx: holidays.remove(tx, programme_id, day, world.now, who="ada"),
    ):
        await turn(world)
        world.later(minutes=1)
        assert await change(what)
    assert await next_look(world, planned) == later
    world.clock.advance(to=END + WAITS.final)
    await turn(world)
    assert not await change(entered)
    assert await next_look(world, dispatch_id) is None, "it is final"


async def test_a_baseline_that_does_not_exist_is_not_tried_all_the_time(world):
    ven, _, _ = await metered_ven(world, 4)
    dispatch_id = await world.dispatch(ven, rules={"baseline": "nothing"})
    world.clock.advance(to=END + WAITS.first)
    await turn(world)
    assert await next_look(world, dispatch_id) == world.now + result_due.LEAST_WAIT


async def test_a_changed_end_moves_the_result(world):
    ven, _, _ = await metered_ven(world, 5)
    dispatch_id = await world.dispatch(ven)
    async with world.tx() as tx:
        await dispatch.change(tx, dispatch_id, world.now, who="test", start=START + timedelta(hours=5))
    await turn(world)
    assert await next_look(world, dispatch_id) == END + timedelta(hours=5) + WAITS.first
