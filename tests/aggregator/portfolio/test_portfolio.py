"""The fleet of a programme: powers on the asked grid, and one reason for each VEN that cannot be called."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import update

from aggregator.flexibility.fleet import Reason
from aggregator.flexibility.pool import pool
from aggregator.flexibility.portfolio import NO_LIMIT, load
from core.errors import InvalidError
from core.spans import Duration, Span
from openadr.model.opt import Availability, Opt, OptType
from openadr.v20b.messages import CreateOpt
from support.vtn_world import NOON, counted_statements, power
from vtn.services import dispatch, fleet, potential, programme, provisioning, site
from vtn.services.potential import Brought, Figures
from vtn.services.programme import Limits, Parameters, Reward, Window
from vtn.store.tables import resource, ven

NOON_S = int(NOON.timestamp())
HOUR = timedelta(hours=1)
EVENING = Span(NOON + 2 * HOUR, NOON + 4 * HOUR)


async def give(world, one, *p50, start_s=NOON_S, step_s=1800, name="home", direction="reduce", factors=(0.5, 1, 2)):
    """Let a VEN have reported a potential just now."""
    powers = [tuple(factor * value for value in p50) for factor in factors]
    figures = Figures(name, direction, start_s, step_s, *powers)
    async with world.tx() as tx:
        await potential.store(tx, one.ven_id, Brought((figures,), {}, world.now), world.now)


async def homes(world, number, *p50, **parameters):
    """Return VENs with the same potential for a day, and the programme that they are enrolled in."""
    vens = [await world.ven() for _ in range(number)]
    await world.metered(*vens)
    game = await world.programme(*vens, **parameters)
    for one in vens:
        await give(world, one, *(p50 or (1000.0,) * 48))
    await world.directory.flush_seen()
    return vens, game


async def seen(world, game, span=EVENING, step_s=1800, direction="reduce", **more):
    async with world.db.read() as conn:
        rules = await programme.get(conn, game.id)
        return await load(conn, rules, span, step_s, direction, world.now, **({"stale_after_s": 1e6} | more))


def reason(found, one):
    return found.barred[found.ven_ids.index(one.ven_id)]


async def limited(world, number=2, **limits):
    return await homes(world, number, limits=Limits(**limits))


# -- powers


async def test_powers_lie_on_the_grid_that_is_asked_for(world):
    (one,), game = await homes(world, 1, *map(float, range(48)))
    found = await seen(world, game)
    assert found.size == (1, 4)
    assert found.ven_ids == (one.ven_id,)
    assert (found.start_s, found.step_s) == (NOON_S + 7200, 1800)
    assert found.p50_w.tolist() == [[4, 5, 6, 7]]
    assert found.p10_w.tolist() == [[2, 2.5, 3, 3.5]]
    assert found.p90_w.tolist() == [[8, 10, 12, 14]]
    assert found.barred == (None,)
    quarters = await seen(world, game, step_s=900)
    assert quarters.p50_w.tolist() == [[4, 4, 5, 5, 6, 6, 7, 7]]
    hours = await seen(world, game, step_s=3600)
    assert hours.p50_w.tolist() == [[4.5, 6.5]]
    between = Span(NOON + timedelta(minutes=45), NOON + timedelta(minutes=105))
    assert (await seen(world, game, between)).p50_w.tolist() == [[1.5, 2.5]]


async def test_resources_add_up_and_directions_do_not(quick_world):
    world = quick_world
    (one,), game = await homes(world, 1)
    await give(world, one, *[200.0] * 48, name="garage")
    await give(world, one, *[70.0] * 48, direction="increase")
    assert (await seen(world, game)).p50_w.tolist() == [[1200] * 4]
    assert (await seen(world, game, direction="increase")).p50_w.tolist() == [[70] * 4]


async def test_the_newest_word_counts(quick_world):
    (one,), game = await homes(quick_world, 1)
    quick_world.later(minutes=1)
    await give(quick_world, one, *[5.0] * 48)
    assert (await seen(quick_world, game)).p50_w.tolist() == [[5] * 4]


async def test_nameplate_area_and_price(world):
    (a, _), game = await homes(world, 2, reward=Reward("EUR", "0.25", "0.50"))
    async with world.tx() as tx:
        await site.set_area(tx, [a.ven_id], "F7", NOON, time_zone="UTC", who="test")
        await tx.conn.execute(resource.insert().values(ven_id=a.ven_id, resource_id="home", nominal_w=2500))
    found = await seen(world, game)
    first = found.ven_ids.index(a.ven_id)
    assert found.nameplate_w[first] == 2500
    assert np.isnan(found.nameplate_w[1 - first])
    assert found.areas == ("F7",)
    assert found.area[first] == 0
    assert found.area[1 - first] == -1
    assert found.price.tolist() == pytest.approx([0.5, 0.5])  # 0.25 a kWh and 0.50 for 2 kWh
    assert found.reliability.tolist() == pytest.approx([0.8, 0.8])


# -- who is looked at


async def test_area_groups_and_exclusion_narrow_the_fleet(world):
    (a, b, c), game = await homes(world, 3)
    async with world.tx() as tx:
        await site.set_area(tx, [a.ven_id, b.ven_id], "F7", NOON, time_zone="UTC", who="test")
        group = await fleet.create_group(tx, "g", NOON, who="test")
        await fleet.add_to_group(tx, group.id, [b.ven_id, c.ven_id], NOON, who="test")
    assert set((await seen(world, game, area="F7")).ven_ids) == {a.ven_id, b.ven_id}
    assert set((await seen(world, game, group_ids=[group.id])).ven_ids) == {b.ven_id, c.ven_id}
    assert (await seen(world, game, area="F7", group_ids=[group.id])).ven_ids == (b.ven_id,)
    assert set((await seen(world, game, exclude=[b.ven_id])).ven_ids) == {a.ven_id, c.ven_id}
    nobody = await seen(world, game, area="nowhere")
    assert nobody.size == (0, 4)
    assert nobody.barred == ()


async def test_only_who_is_enrolled_all_the_time(quick_world):
    world = quick_world
    (a, b, c), game = await homes(world, 3)
    async with world.tx() as tx:
        await programme.end_enrolment(tx, game.id, a.ven_id, EVENING.end - HOUR, who="test")
        await programme.end_enrolment(tx, game.id, b.ven_id, EVENING.end, who="test")
        await provisioning.remove_ven(tx, c.ven_id, NOON, who="test")
    assert (await seen(world, game)).ven_ids == (b.ven_id,)


async def test_odd_questions_are_refused(quick_world):
    _, game = await homes(quick_world, 1)
    for span, step_s, direction in (
        (Span(NOON, None), 1800, "reduce"),
        (Span(NOON, NOON), 1800, "reduce"),
        (EVENING, 0, "reduce"),
        (EVENING, 7000, "reduce"),
        (Span(NOON, NOON + 30 * 24 * HOUR), 60, "reduce"),
        (EVENING, 1800, "up"),
    ):
        with pytest.raises(InvalidError):
            await seen(quick_world, game, span, step_s, direction)


# -- who cannot be called


async def test_silent_and_unregistered_vens_are_offline(world):
    (a, b, c), game = await homes(world, 3)
    async with world.tx() as tx:
        old = NOON - timedelta(seconds=31)
        await tx.conn.execute(update(ven).where(ven.c.id == a.ven_id).values(last_seen_at=old))
        await tx.conn.execute(update(ven).where(ven.c.id == b.ven_id).values(registered_at=None))
    found = await seen(world, game, stale_after_s=30.0)
    assert [reason(found, one) for one in (a, b, c)] == [Reason.OFFLINE, Reason.OFFLINE, None]


async def test_potential_is_there_fresh_and_long_enough(world):
    (a, b, c), game = await homes(world, 3)
    mute = await world.ven()
    await world.metered(mute)
    async with world.tx() as tx:
        await programme.enrol(tx, game.id, [mute.ven_id], NOON, who="test")
        derived = Figures("", "reduce", NOON_S, 1800, (0.0,) * 96, (9.0,) * 96, (9.0,) * 96)
        await potential.derived(tx, mute.ven_id, [derived], NOON)
    await world.directory.flush_seen()
    world.later(hours=1.9)
    await give(world, b, *[0.0] * 48)
    await give(world, c, *[1000.0] * 8)
    found = await seen(world, game)
    assert [reason(found, one) for one in (a, b, c, mute)] == [None, Reason.NO_POTENTIAL, None, None]
    longer = await seen(world, game, Span(NOON + 2 * HOUR, NOON + 4.5 * HOUR))
    assert reason(longer, c) is Reason.STALE
    assert longer.p50_w[longer.ven_ids.index(c.ven_id)].tolist() == [0] * 5
    world.later(hours=0.2)
    found = await seen(world, game)
    assert [reason(found, one) for one in (a, c, mute)] == [Reason.STALE, None, None]
    assert [reason(await seen(world, game, direction="increase"), one) for one in (a, mute)] == [
        Reason.NO_POTENTIAL, Reason.NO_POTENTIAL
    ]  # fmt: skip
    world.later(hours=35)
    tomorrow = Span(NOON + 40 * HOUR, NOON + 41 * HOUR)
    assert reason(await seen(world, game, tomorrow), mute) is Reason.STALE


async def test_who_has_no_meter_is_neither_called_nor_sold(world):
    (metered,), game = await homes(world, 1)
    blind = await world.ven()
    async with world.tx() as tx:
        await programme.enrol(tx, game.id, [blind.ven_id], NOON, who="test")
    await give(world, blind, *[1000.0] * 48)
    await world.directory.flush_seen()
    found = await seen(world, game)
    assert [reason(found, one) for one in (metered, blind)] == [None, Reason.UNMEASURED]
    sold = pool(found)
    assert sold.waterfall[-1].vens == 1
    assert sold.expected_w.max() < 1000.0
    await world.metered(blind)
    assert reason(await seen(world, game), blind) is None


async def test_the_control_group_is_neither_called_nor_sold(world):
    (called, alone), game = await homes(world, 2)
    async with world.tx() as tx:
        group = await fleet.create_group(tx, "left alone", NOON, who="test")
        await fleet.add_to_group(tx, group.id, [alone.ven_id], NOON, who="test")
        apart = replace(game.parameters, control_group=group.id)
        game = await programme.change(tx, game.id, game.name, apart, NOON, who="test")
    found = await seen(world, game)
    assert [reason(found, one) for one in (called, alone)] == [None, Reason.CONTROL]
    assert pool(found).waterfall[-1].vens == 1


async def test_outside_the_window_nobody_is_called(quick_world):
    _, game = await limited(quick_world, windows=(Window("16:00", "18:00"),))
    async with quick_world.tx() as tx:
        zoned = Parameters(time_zone="Europe/Athens", limits=Limits(windows=(Window("16:00", "18:00"),)))
        await programme.change(tx, game.id, "P", zoned, NOON, who="test")
    assert set((await seen(quick_world, game)).barred) == {None}
    assert set((await seen(quick_world, game, Span(NOON + HOUR, NOON + 3 * HOUR))).barred) == {Reason.OUTSIDE_WINDOW}


async def test_calls_are_counted_by_day_week_and_season(world):
    (a, _), game = await limited(world, per_day=1, per_week=2, per_season=3)
    for days in (0, 1, 7):  # Monday, Tuesday, Monday
        await world.dispatch(a, under=game, starts_in=timedelta(days=days, hours=6))
    await world.dispatch(a, starts_in=timedelta(hours=8))  # another programme's
    gone = await world.dispatch(a, under=game, starts_in=timedelta(days=8))
    async with world.tx() as tx:
        await dispatch.cancel(tx, gone, world.now, who="test")
    found = await seen(world, game)
    mine = found.ven_ids.index(a.ven_id)
    assert (found.barred[mine], found.calls_left[mine], found.calls[mine]) == (Reason.LIMIT, 0, 3)
    assert found.last_call_s[mine] == NOON_S + 7 * 86400 + 6 * 3600
    other = 1 - mine
    assert (found.barred[other], found.calls_left[other], found.calls[other], found.last_call_s[other]) == (
        None, 1, 0, 0
    )  # fmt: skip

    async def left(days, limits):
        async with world.tx() as tx:
            await programme.change(tx, game.id, "P", Parameters(limits=limits), NOON, who="test")
        begin = NOON + timedelta(days=days)
        return (await seen(world, game, Span(begin, begin + HOUR))).calls_left[mine]

    assert await left(0, Limits(per_day=2)) == 1
    assert await left(2, Limits(per_day=2)) == 2
    assert await left(2, Limits(per_week=2)) == 0
    assert await left(9, Limits(per_week=2)) == 1
    assert await left(9, Limits(per_season=4)) == 1
    assert await left(90, Limits(per_season=4)) == 4
    assert await left(0, Limits()) == NO_LIMIT


async def test_a_local_day_decides(quick_world):
    world = quick_world
    vens, game = await homes(world, 1, limits=Limits(per_day=1), time_zone="Europe/Athens")
    await world.dispatch(*vens, under=game, starts_in=timedelta(hours=9, minutes=30))  # 23:30 in Athens
    evening = await seen(world, game, Span(NOON + 6 * HOUR, NOON + 7 * HOUR))
    assert evening.barred == (Reason.LIMIT,)
    next_day = await seen(world, game, Span(NOON + 10.5 * HOUR, NOON + 11 * HOUR))
    assert next_day.barred == (None,)


async def test_a_call_that_was_cancelled_while_it_ran_counts(quick_world):
    world = quick_world
    (a, _), game = await limited(world, per_day=1)
    gone = await world.dispatch(a, under=game)
    world.later(hours=1.25)
    async with world.tx() as tx:
        await dispatch.cancel(tx, gone, world.now, who="test")
    await give(world, a, *[1.0] * 48)
    assert reason(await seen(world, game), a) is Reason.LIMIT


async def test_rest_lies_before_and_after_a_call(world):
    (a, b), game = await limited(world, rest=Duration.of(hours=3))
    await world.dispatch(a, under=game, starts_in=timedelta(hours=6))  # 18:00 to 19:00
    for start, bars in ((2, None), (3, Reason.RESTING), (8, Reason.RESTING), (9.5, Reason.RESTING), (10, None)):
        begin = NOON + start * HOUR
        found = await seen(world, game, Span(begin, begin + HOUR))
        assert (reason(found, a), reason(found, b)) == (bars, None), start


async def test_who_is_in_another_event_is_busy_unless_it_refused(world):
    (a, b, c), game = await homes(world, 3)
    await world.dispatch(a, b, starts_in=timedelta(hours=3))
    await world.dispatch(c, under=game, starts_in=timedelta(hours=3))
    for one in (b, c):
        (event,) = await one.events()
        await one.opt(event, OptType.OUT)
    await world.directory.flush_seen()
    found = await seen(world, game)
    assert [reason(found, one) for one in (a, b, c)] == [Reason.BUSY, None, Reason.OPTED_OUT]
    before = await seen(world, game, Span(NOON + HOUR, NOON + 3 * HOUR))
    assert before.barred == (None, None, None)


async def test_mere_signals_call_nobody(quick_world):
    world = quick_world
    (a, _), game = await limited(world, per_day=1)
    await world.dispatch(a, under=game, starts_in=timedelta(hours=3), direction=None)
    found = await seen(world, game)
    assert found.barred == (None, None)
    assert found.calls.tolist() == [0, 0]


async def test_opt_schedules_bar(world):
    (a, b, c, d), game = await homes(world, 4)

    async def says(one, kind, start, context=None, opt_id="o"):
        when = (Availability(NOON + start * HOUR, Duration.of(hours=1)),)
        opt = Opt(opt_id, kind, "x-holiday", NOON, availability=when, market_context=context)
        answer = await one.say(CreateOpt(one.ven_id, "q", opt))
        assert answer.response.ok

    await says(a, OptType.OUT, 3)
    await says(b, OptType.OUT, 4)
    await says(c, OptType.OUT, 3, "http://elsewhere")
    await says(d, OptType.OUT, 3, game.market_context)
    await says(d, OptType.IN, 3, opt_id="p")
    await world.directory.flush_seen()
    found = await seen(world, game)
    assert [reason(found, one) for one in (a, b, c, d)] == [Reason.OPTED_OUT, None, None, None]


async def test_the_first_reason_counts(quick_world):
    world = quick_world
    _, game = await homes(world, 1, limits=Limits(per_day=0, windows=(Window("01:00", "02:00"),)))
    assert (await seen(world, game)).barred == (Reason.OUTSIDE_WINDOW,)
    assert (await seen(world, game, stale_after_s=-1)).barred == (Reason.OFFLINE,)


async def test_the_number_of_queries_does_not_grow(quick_world):
    world = quick_world
    vens, game = await homes(world, 3, limits=Limits(per_day=5))
    await world.dispatch(*vens, under=game, signals=(power(-1000.0),))
    numbers = []
    for more in (0, 12):
        for _ in range(more):
            one = await world.ven()
            async with world.tx() as tx:
                await programme.enrol(tx, game.id, [one.ven_id], NOON, who="test")
            await give(world, one, *[1.0] * 48)
        async with world.db.read() as conn:
            rules = await programme.get(conn, game.id)
            with counted_statements() as statements:
                await load(conn, rules, EVENING, 1800, "reduce", world.now, stale_after_s=30.0)
        numbers.append(len(statements))
    assert numbers[0] == numbers[1] <= 12
