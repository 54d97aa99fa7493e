"""Homes that were called, held against those that were not (vtn.services.control_group)."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import insert, update

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration, Span
from metrics.days import DayType
from metrics.needs import Need
from support.vtn_world import NOON, Ven, power
from vtn.services import (
    baseline_comparison,
    control_group,
    dispatch,
    evaluation,
    evaluation_view,
    fleet,
    order_check,
    outages,
    programme,
    provisioning,
    recipients,
)
from vtn.services.baseline_comparison import Hours
from vtn.services.dispatch import Order
from vtn.services.programme import Parameters, Spread
from vtn.store.readings import Arrival, SeriesKey, Values, store_all
from vtn.store.tables import dispatch as dispatch_table
from vtn.store.tables import opt

HALF = Duration.of(minutes=30)
HALF_S, DAY_S = 1800, 86_400
START, END = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
PERIOD = Span(START, END)
TREATED, CONTROL = 30, 30
DAYS = 20
FIRST_S = int(NOON.timestamp()) // DAY_S * DAY_S - (DAYS - 1) * DAY_S
"""The last of the days is that of the event."""
SHOCK_W, SHED_W = 400.0, 500.0


async def homes(world, count):
    """Return VENs that nobody has to speak for."""
    async with world.tx() as tx:
        names = [f"home {next(world.numbers)}" for _ in range(count)]
        return [Ven(world, await provisioning.create_ven(tx, name, world.now, who="test"), None) for name in names]


async def report(world, loads_w):
    """Let VENs tell of all days at once; `loads_w`: venID -> powers of each half hour (days x 48,)."""
    async with world.tx() as tx:
        arrivals = [
            Arrival(
                SeriesKey(ven_id, "meter", "energy_real", "sum"),
                "Wh",
                Values(FIRST_S + day * DAY_S, HALF_S, tuple((row / 2).tolist())),
            )
            for ven_id, load_w in loads_w.items()
            for day, row in enumerate(load_w.reshape(-1, 48))
        ]
        await store_all(tx, arrivals, world.now)


def usual_w(number, days=DAYS):
    """Return the load of a home (days x 48,): a level of its own, and more in the evening, the same every day."""
    day = 600.0 + 20.0 * number + 300.0 * (np.arange(48) >= 34)
    return np.tile(day, days)


def at(when):
    """Return the place of a time among the half hours."""
    return (int(when.timestamp()) - FIRST_S) // HALF_S


async def grouped(world, vens, name="left alone"):
    async with world.tx() as tx:
        group = await fleet.create_group(tx, name, world.now, who="test")
        if vens:
            await fleet.add_to_group(tx, group.id, [ven.ven_id for ven in vens], world.now, who="test")
    return group.id


async def take_part(world, dispatch_id):
    rows = await world.rows("event", dispatch_id=dispatch_id)
    said = {"source": "createdEvent", "opt_type": "optIn", "modification_number": 0, "at": world.now}
    async with world.tx() as tx:
        await tx.conn.execute(insert(opt), [{"event_id": row.id, "ven_id": row.ven_id, **said} for row in rows])


async def story(world, baseline="control-group", **rules):
    """Run an event on a warm day: all homes use more, and those that are called shed. Return what there is."""
    treated, control = await homes(world, TREATED), await homes(world, CONTROL)
    group_id = await grouped(world, control)
    rules = {"baseline": baseline, "control_group": group_id, "settlement_interval": HALF} | rules
    game = await world.programme(*treated, *control, **rules)
    loads_w = {ven.ven_id: usual_w(number) for number, ven in enumerate([*treated, *control])}
    for load_w in loads_w.values():
        load_w[at(START) : at(END)] += SHOCK_W
    for ven in treated:
        loads_w[ven.ven_id][at(START) : at(END)] -= SHED_W
    await report(world, loads_w)
    dispatch_id = await world.dispatch(under=game, signals=(power(-SHED_W),))
    await take_part(world, dispatch_id)
    return treated, control, loads_w, game, dispatch_id


async def evaluate(world, dispatch_id):
    world.clock.advance(to=max(world.now, END))
    return await evaluation.evaluate(world.db, dispatch_id, world.now)


# -- what it measures


@pytest.mark.parametrize(
    ("baseline", "delivered_w"),
    [
        pytest.param("control-group", SHED_W, id="the control has the warm day as well: exactly what was shed"),
        pytest.param("10of10-unadjusted", SHED_W - SHOCK_W, id="earlier days were not as warm: 400 W are missing"),
    ],
)
async def test_a_warm_day_is_no_fault_of_those_that_shed(any_world, baseline, delivered_w):
    world = any_world
    treated, _, _, _, dispatch_id = await story(world, baseline)
    result = await evaluate(world, dispatch_id)
    assert result.called == TREATED
    assert {one.ven_id for one in result.vens} == {ven.ven_id for ven in treated}
    assert result.coverage == 1
    assert result.delivered_wh == pytest.approx(TREATED * delivered_w)
    for one in result.intervals:
        assert one.delivered_w == pytest.approx(TREATED * delivered_w)


async def test_a_control_home_that_was_called_counts_no_longer(world):
    _, control, loads_w, game, dispatch_id = await story(world)
    before = await evaluate(world, dispatch_id)
    called, dark = control[:2]
    for ven in (called, dark):
        loads_w[ven.ven_id][at(START) : at(END)] -= 3_000.0
    await report(world, {ven.ven_id: loads_w[ven.ven_id] for ven in (called, dark)})
    moved = await evaluate(world, dispatch_id)
    # 2 of 30 homes use 3,000 W less: the mean is 200 W lower, and so is the baseline of every home.
    assert moved.delivered_wh == pytest.approx(before.delivered_wh - TREATED * 200)
    async with world.tx() as tx:
        await outages.add(tx, START, END, "Cable", world.now, who="test", ven_id=dark.ven_id)
    await _earlier_call(world, called)
    result = await evaluate(world, dispatch_id)
    assert (before.version, moved.version, result.version) == (1, 2, 3)
    assert result.delivered_wh == pytest.approx(TREATED * SHED_W)
    async with world.db.read() as conn:
        assert (await control_group.of_event(conn, game, PERIOD)).homes.tolist() == [CONTROL - 2] * 50


async def test_a_control_home_that_lacks_hours_is_left_out(world):
    """It reports since midnight, 14 of the 25 hours that are looked at."""
    _, _, _, game, dispatch_id = await story(world)
    (late,) = await homes(world, 1)
    async with world.tx() as tx:
        group_id = game.parameters.control_group
        await fleet.add_to_group(tx, group_id, [late.ven_id], world.now, who="test")
        key, values = SeriesKey(late.ven_id, "meter", "energy_real", "sum"), tuple([5_000.0] * 48)
        midnight_s = FIRST_S + (DAYS - 1) * DAY_S
        await store_all(tx, [Arrival(key, "Wh", Values(midnight_s, HALF_S, values))], world.now)
    result = await evaluate(world, dispatch_id)
    assert result.delivered_wh == pytest.approx(TREATED * SHED_W)


async def _earlier_call(world, ven):
    """Let a VEN have been called by another programme for the same hour."""
    game = await world.programme(ven)
    order = Order(game.id, world.now + timedelta(hours=5), Duration.of(hours=1), (power(-100.0),), direction="reduce")
    async with world.tx() as tx:
        dispatch_id = await dispatch.create(tx, order, world.now, who="test")
        table = dispatch_table
        await tx.conn.execute(update(table).where(table.c.id == dispatch_id).values(starts_at=START, ends_at=END))
    return dispatch_id


async def test_the_same_readings_make_no_new_version_and_a_control_homes_do(world):
    _, control, loads_w, _, dispatch_id = await story(world)
    first = await evaluate(world, dispatch_id)
    (row,) = await world.rows("evaluation", dispatch_id=dispatch_id)
    computed = await evaluation.compute(world.db, dispatch_id, world.now)
    assert computed.input_hash == row.input_hash
    assert replace(computed.result, version=1) == first
    late = control[7].ven_id
    loads_w[late][at(START)] += 30.0
    await report(world, {late: loads_w[late]})
    second = await evaluate(world, dispatch_id)
    assert (first.version, second.version) == (1, 2)
    assert second.delivered_wh == pytest.approx(TREATED * SHED_W + TREATED * 0.5 * 30 / CONTROL)


async def test_without_enough_of_a_control_group_nothing_is_known_and_it_says_why(world):
    _, control, _, game, dispatch_id = await story(world)
    async with world.tx() as tx:
        ids = [ven.ven_id for ven in control[9:]]
        await fleet.remove_from_group(tx, game.parameters.control_group, ids, world.now, who="test")
    result = await evaluate(world, dispatch_id)
    assert result.delivered_wh is None
    assert result.why_unknown == "Not known of 30 of 30 VENs called: 30 lack a control group to be held against."
    one = result.vens[0]
    assert one.baseline_note == "Lacks a control group to be held against."
    assert "needs 10 homes of the control group in the hours of the event, and 9 are known at most" in one.why_unknown
    assert one.measurable_from is None


async def test_a_programme_without_a_control_group_says_so(world):
    """The service takes such parameters, as they may be older than the rule."""
    ven = (await homes(world, 1))[0]
    game = await world.programme(ven, baseline="control-group")
    dispatch_id = await world.dispatch(ven, under=game)
    await take_part(world, dispatch_id)
    result = await evaluate(world, dispatch_id)
    assert result.vens[0].why_unknown == "control-group needs a control group, and there is none."


async def test_its_workings_name_both_means(world):
    treated, _, _, _, dispatch_id = await story(world)
    await evaluate(world, dispatch_id)
    async with world.db.read() as conn:
        found = await evaluation_view.workings(conn, dispatch_id, treated[3].ven_id)
    assert found.rule == "control-group/1"
    assert found.today_w == pytest.approx(600 + 20 * 3)
    assert found.usual_w == pytest.approx(600 + 20 * (TREATED + (CONTROL - 1) / 2))
    assert found.shift_w == pytest.approx(found.today_w - found.usual_w)


async def test_of_a_large_group_some_speak_for_all(world, monkeypatch):
    _, _, _, game, _ = await story(world)
    monkeypatch.setattr(control_group, "MOST_HOMES", 12)
    monkeypatch.setattr(control_group, "_SOME", 5)
    world.clock.advance(to=END)
    async with world.db.read() as conn:
        found = await control_group.of_event(conn, game, PERIOD)
    assert found.homes.max() == 12


# -- who is called


async def test_members_are_called_only_by_name_and_with_a_warning(any_world):
    world = any_world
    alone, *others = await world.vens(4)
    group_id = await grouped(world, [alone])
    everybody = await grouped(world, [alone, *others], "everybody")
    game = await world.programme(alone, *others, control_group="left alone")
    assert game.parameters.control_group == group_id

    async def warned(**more):
        order = Order(game.id, START, Duration.of(hours=1), (power(-100.0),), direction="reduce", **more)
        async with world.db.read() as conn:
            _, called, _ = await dispatch.checked(conn, order, world.now)
            return set(called), await order_check.warnings(conn, order, world.now)

    rest = {ven.ven_id for ven in others}
    assert await warned() == (rest, [])
    assert await warned(group_ids=(everybody,)) == (rest, ["1 VEN of the control group is left out."])
    called, (text,) = await warned(ven_ids=(alone.ven_id,))
    assert called == {alone.ven_id}
    assert text == "home 1 is in the control group: once called, it is not counted there."
    with pytest.raises(InvalidError, match="in the programme's control group"):
        await warned(group_ids=(group_id,))
    async with world.db.read() as conn:

        async def chosen(vens=(), groups=()):
            told = await recipients.of(conn, game.id, vens, groups, world.now, stale_after_s=60)
            return {one.ven_id for one in told}

        assert await chosen() == await chosen(groups=[everybody]) == rest
        assert await chosen(vens=["home 1"]) == {alone.ven_id}


async def test_a_group_in_use_stays_and_an_unknown_one_is_refused(world):
    group_id = await grouped(world, await homes(world, 1))
    game = await world.programme(control_group=group_id)
    async with world.tx() as tx:
        with pytest.raises(ConflictError, match=f"control group of {game.name}"):
            await fleet.delete_group(tx, group_id, world.now, who="test")
        with pytest.raises(InvalidError, match="no group 'nothing'") as caught:
            await programme.change(tx, game.id, "P", Parameters(control_group="nothing"), world.now, who="test")
        assert caught.value.field == "control_group"
        await programme.change(tx, game.id, "P", Parameters(), world.now, who="test")
        await fleet.delete_group(tx, group_id, world.now, who="test")


async def test_a_group_that_results_rest_on_stays_when_the_programme_has_another(world):
    """Deleted, it would take away what a dispatch under the older version delivered, as soon as that is looked at."""
    group_id = await grouped(world, await homes(world, 1))
    (called,) = await homes(world, 1)
    game = await world.programme(called, control_group=group_id)
    await world.dispatch(called, under=game)
    async with world.tx() as tx:
        await programme.change(tx, game.id, "P", Parameters(), world.now, who="test")
        with pytest.raises(ConflictError, match="results rest on it"):
            await fleet.delete_group(tx, group_id, world.now, who="test")


# -- drawing one


async def test_a_control_group_is_drawn_by_chance_and_can_be_drawn_again(any_world):
    world = any_world
    vens = await homes(world, 100)
    ids = {ven.ven_id for ven in vens}
    drawn = []
    for seed in (7, 7, 8, None):
        game = await world.programme(*vens, product="evening")
        async with world.tx() as tx:
            found = await control_group.draw(tx, game.id, 20, world.now, who="ann", seed=seed)
        assert (found.group.members, found.enrolled, found.programme.version) == (20, 100, 2)
        assert found.programme.parameters == replace(game.parameters, control_group=found.group.id)
        async with world.db.read() as conn:
            drawn.append(await programme.control_homes(conn, found.programme.parameters))
        assert len(drawn[-1]) == 20
        assert set(drawn[-1]) < ids
        (note,) = [
            row for row in await world.rows("audit", action="draw control group") if row.subject == f"{game.id}/2"
        ]
        assert note.who == "ann"
        assert note.after == {
            "group": found.group.id, "share": 20, "seed": found.seed, "drawn": 20, "enrolled": 100
        }  # fmt: skip
    assert drawn[0] == drawn[1] != drawn[2]


async def test_what_is_too_small_or_there_already_is_not_drawn(world):
    vens = await homes(world, 40)
    game = await world.programme(*vens)
    async with world.tx() as tx:
        for share, text in ((10, "10 % of 40 VENs are 4"), (0, "up to 50 %"), (51, "up to 50 %")):
            with pytest.raises(InvalidError, match=text) as caught:
                await control_group.draw(tx, game.id, share, world.now, who="ann")
            assert caught.value.field == "share"
        await control_group.draw(tx, game.id, 25, world.now, who="ann", name="ten")
        with pytest.raises(ConflictError, match="has a control group already"):
            await control_group.draw(tx, game.id, 25, world.now, who="ann")
        with pytest.raises(NotFoundError):
            await control_group.draw(tx, "prg_nothing", 25, world.now, who="ann")


# -- on days without events


EVENING = Hours(START.time().replace(hour=17), Duration.of(hours=1), DayType.WEEKDAY)


async def test_presets_are_compared_with_a_control_group_too(world):
    """Each day has a load of its own, the same for all homes: a control group knows it, and no earlier day does."""
    treated, control = await homes(world, 3), await homes(world, 12)
    game = await world.programme(*treated, *control, control_group=await grouped(world, control))
    days_w = np.random.default_rng(3).uniform(0, 2000, DAYS)
    evening = (np.arange(48) >= 34) & (np.arange(48) < 36)
    loads_w = {
        ven.ven_id: usual_w(number) + (days_w[:, None] * evening[None, :]).ravel()
        for number, ven in enumerate([*treated, *control])
    }
    await report(world, loads_w)
    world.later(days=1)
    found = await baseline_comparison.compare(world.db, game.id, EVENING, world.now)
    assert (found.enrolled, found.vens, found.there) == (15, 3, {Need.CONTROL})
    best, errors = found.ranked()[0]
    assert best == "control-group"
    assert errors.pool_rmse == pytest.approx(0, abs=1e-9)
    assert {one.days for one in found.presets.values() if one.is_known} == {errors.days}
    assert found.presets["10of10-unadjusted"].pool_rmse > 0.1
    assert found.why_unknown(best) is None


async def test_days_on_which_a_control_home_was_called_are_none_of_its(world):
    treated, control = await homes(world, 2), await homes(world, 11)
    game = await world.programme(*treated, *control, control_group=await grouped(world, control))
    loads_w = {ven.ven_id: usual_w(number) for number, ven in enumerate([*treated, *control])}
    called, dark = control[:2]
    for ven in (called, dark):
        loads_w[ven.ven_id][at(NOON) : at(NOON) + 24] -= 3_000.0
    await report(world, loads_w)
    async with world.tx() as tx:
        await outages.add(tx, NOON, NOON + timedelta(hours=1), "Cable", world.now, who="test", ven_id=dark.ven_id)
    await world.dispatch(called, starts_in=timedelta(hours=1))
    period = Span(NOON - timedelta(days=3), NOON + timedelta(hours=12))
    bare = await world.programme()
    async with world.db.read() as conn:
        found = await control_group.on_days(conn, game, period)
        assert await control_group.on_days(conn, bare, period) is None
    today = found.series.starts_s >= int(NOON.timestamp()) - DAY_S // 2
    assert set(found.homes[today].tolist()) == {9}
    assert set(found.homes[~today].tolist()) == {11}


async def test_without_a_control_group_the_others_are_compared_all_the_same(world):
    vens = await homes(world, 2)
    game = await world.programme(*vens)
    await report(world, {ven.ven_id: usual_w(number) for number, ven in enumerate(vens)})
    found = await baseline_comparison.compare(world.db, game.id, EVENING, world.now)
    assert found.why_unknown("control-group") == "no control group"
    assert found.presets["10of10"].days > 5
    assert not found.presets["control-group"].is_known


async def test_a_control_group_without_history_takes_no_days_from_the_others(world):
    vens, control = await homes(world, 2), await homes(world, 10)
    game = await world.programme(*vens, control_group=await grouped(world, control))
    await report(world, {ven.ven_id: usual_w(number) for number, ven in enumerate(vens)})
    found = await baseline_comparison.compare(world.db, game.id, EVENING, world.now)
    assert found.why_unknown("control-group") == "too little history"
    assert found.presets["10of10"].days > 5


async def test_where_longer_readings_are_spread_by_the_order_the_control_goes_on_for_a_day(world):
    group_id = await grouped(world, await homes(world, 1))
    plain = await world.programme(control_group=group_id, settlement_interval=HALF)
    longer = await world.programme(control_group=group_id, settlement_interval=HALF, spread=Spread.BY_ORDER)
    async with world.db.read() as conn:
        found = [await control_group.of_event(conn, one, PERIOD) for one in (plain, longer)]
    # A day before the event and its hour; and a day after it.
    assert [one.series.starts_s.size for one in found] == [50, 98]
    assert [int(one.series.starts_s[0]) for one in found] == [int(START.timestamp()) - DAY_S] * 2
