"""Outages: whose they are, and what they change (vtn.services.outages)."""

from datetime import timedelta

import pytest

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Span
from support.metered import metered_ven, send
from support.vtn_world import NOON
from vtn.services import evaluation, learning, outages, site

START = NOON + timedelta(hours=1)
END = START + timedelta(hours=1)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
RULES = {"baseline": "10of10-unadjusted"}


async def entered(world, starts_at, ends_at, **whose):
    async with world.tx() as tx:
        return await outages.add(tx, starts_at, ends_at, "a cable", world.now, who="ada", **whose)


async def story(world, *seeds):
    """Run an event with a metered VEN for each seed; return the VENs and the dispatch, over and not evaluated."""
    vens = [await metered_ven(world, seed) for seed in seeds]
    dispatch_id = await world.dispatch(*(ven for ven, _, _ in vens), rules=RULES)
    for ven, _, _ in vens:
        await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    for ven, wish, _ in vens:
        await send(ven, wish, NOON, *[100.0] * 4)
    return [ven for ven, _, _ in vens], dispatch_id


async def evaluate(world, dispatch_id):
    result = await evaluation.evaluate(world.db, dispatch_id, world.now)
    return result, {one.ven_id: one for one in result.vens}


async def test_days_of_an_outage_make_no_baseline_of_those_who_had_it(any_world):
    world = any_world
    (dark, lit), dispatch_id = await story(world, 1, 2)
    first, before = await evaluate(world, dispatch_id)
    friday = (NOON - 3 * DAY).date().isoformat()
    assert friday in before[dark.ven_id].days_used
    await entered(world, NOON - 3 * DAY, NOON - 3 * DAY + HOUR, ven_id=dark.ven_id)
    second, after = await evaluate(world, dispatch_id)
    assert second.version == first.version + 1
    assert friday not in after[dark.ven_id].days_used
    assert len(after[dark.ven_id].days_used) == 10
    assert after[lit.ven_id].days_used == before[lit.ven_id].days_used


async def test_an_outage_of_an_area_is_that_of_its_homes_and_one_of_nobody_that_of_all(world):
    (east, west), dispatch_id = await story(world, 1, 2)
    async with world.tx() as tx:
        await site.set_area(tx, [east.ven_id], "east", world.now, time_zone="UTC", who="ada")
    await entered(world, NOON - 3 * DAY, NOON - 3 * DAY + HOUR, area="east")
    await entered(world, NOON - 4 * DAY, NOON - 4 * DAY + HOUR)
    _, by_ven = await evaluate(world, dispatch_id)
    friday, thursday = ((NOON - days * DAY).date().isoformat() for days in (3, 4))
    assert friday not in by_ven[east.ven_id].days_used
    assert friday in by_ven[west.ven_id].days_used
    assert all(thursday not in one.days_used for one in by_ven.values())


async def test_what_was_not_used_in_an_outage_was_not_saved(world):
    (dark, lit), dispatch_id = await story(world, 1, 2)
    await entered(world, END - timedelta(minutes=1), END + HOUR, ven_id=dark.ven_id)
    await entered(world, END, END + HOUR, ven_id=lit.ven_id)
    result, by_ven = await evaluate(world, dispatch_id)
    assert (by_ven[dark.ven_id].counts, by_ven[dark.ven_id].delivered_wh) == (False, None)
    assert (by_ven[dark.ven_id].coverage, result.coverage) == (0, 0.5)
    assert {one.delivered_w for one in by_ven[dark.ven_id].intervals} == {None}
    assert by_ven[dark.ven_id].why_unknown.startswith("An outage touched the event.")
    assert result.delivered_wh == by_ven[lit.ven_id].delivered_wh
    assert result.why_unknown == "Not known of 1 of 2 VENs called: 1 had an outage."


async def test_an_outage_that_lasts_takes_all_days_from_its_start_until_it_is_ended(world):
    (dark,), dispatch_id = await story(world, 1)
    made = await entered(world, NOON - 20 * DAY, None, ven_id=dark.ven_id)
    result, _ = await evaluate(world, dispatch_id)
    assert result.delivered_wh is None
    async with world.tx() as tx:
        ended = await outages.end(tx, made.id, NOON - 19 * DAY, world.now, who="bob")
        with pytest.raises(ConflictError):
            await outages.end(tx, made.id, NOON, world.now, who="bob")
    assert ended.ends_at == NOON - 19 * DAY
    result, _ = await evaluate(world, dispatch_id)
    assert result.delivered_wh is not None
    assert [row.action for row in await world.rows("audit", subject=made.id)] == ["add outage", "end outage"]


async def test_the_outlook_leaves_out_days_of_outages(world):
    ven, _, _ = await metered_ven(world, 1, days=8)

    async def days():
        async with world.db.read() as conn:
            method = learning.method_of("10of10")
            return (await learning.of_vens(conn, [ven.ven_id], method, "UTC", world.now))[ven.ven_id].days

    before = await days()
    await entered(world, NOON - 3 * DAY - HOUR, NOON - 3 * DAY)
    await entered(world, NOON - 4 * DAY - HOUR, NOON - 4 * DAY)
    assert (before, await days()) == (5, 3)


@pytest.mark.parametrize(
    ("ends_in", "whose", "error"),
    [
        (timedelta(), {}, InvalidError),
        (-HOUR, {}, InvalidError),
        (400 * DAY, {}, InvalidError),
        (HOUR, {"ven_id": "nobody"}, NotFoundError),
        (HOUR, {"area": "nowhere"}, NotFoundError),
        (HOUR, {"area": "a", "ven_id": "b"}, InvalidError),
    ],
)
async def test_odd_outages_are_refused(world, ends_in, whose, error):
    with pytest.raises(error):
        await entered(world, NOON, NOON + ends_in, **whose)
    assert await world.rows("outage") == []


async def test_outages_are_listed_by_the_page_and_taken_back(any_world):
    world = any_world
    made = [await entered(world, NOON + n * HOUR, NOON + (n + 1) * HOUR) for n in range(3)]
    async with world.db.read() as conn:
        assert await outages.listing(conn, limit=2) == made[:0:-1]
        assert await outages.listing(conn, before=made[1].id) == made[:1]
        assert await outages.of_each(conn, ["v"], Span(NOON + HOUR, NOON + 2 * HOUR)) == {
            "v": (Span(NOON + HOUR, NOON + 2 * HOUR),)
        }
    async with world.tx() as tx:
        await outages.remove(tx, made[0].id, world.now, who="bob")
        with pytest.raises(NotFoundError):
            await outages.remove(tx, made[0].id, world.now, who="bob")
    assert len(await world.rows("outage")) == 2
