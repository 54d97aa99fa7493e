"""Whose errors the uncertainty of a report is made of (aggregator.trade.uncertainty)."""

from datetime import timedelta

import numpy as np

from aggregator.trade import reports, uncertainty
from openadr.model.opt import OptType
from support.vtn_world import power
from vtn.services import dispatch, evaluation, fleet

from .conftest import SETTINGS, START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = START + HOUR


async def known(trade, one):
    computed = await reports.evaluated(trade.world.db, one, trade.now)
    async with trade.world.db.read() as conn:
        return await uncertainty.inputs(conn, computed, await reports.rules_of(conn, one))


async def test_it_is_of_the_homes_in_the_sum_at_their_own_hours(trade, monkeypatch):
    await trade.join(12)
    one = await trade.running(trade.wish(*((4000, 4000),) * 4))
    await trade.at(trade.now + timedelta(minutes=1))
    called = await trade.called()
    released, leaves, never_in, *_ = called
    await trade.answer(only=[ven_id for ven_id in called if ven_id != never_in])
    rng = np.random.default_rng(5)
    for place, ven_id in enumerate(called):
        noise = rng.normal(2000.0 + 100 * place, 300.0, 4 * 24 * 30 + 4)
        noise[-4:] = 1000.0
        await trade.consume(ven_id, START - 30 * DAY, noise, step_s=900)
    (theirs,) = await trade.world.rows("event", ven_id=released)
    await trade.at(START + timedelta(minutes=30), turns=0)
    async with trade.world.tx() as tx:
        await dispatch.cancel_event(tx, theirs.id, trade.now, who="test")
    (left,) = [home for home in trade.homes if home.ven_id == leaves]
    (event,) = await trade.world.rows("event", ven_id=leaves)
    await left.created((event.id, event.modification_number, OptType.OUT, 200))
    await trade.at(END + SETTINGS.report_after, turns=0)
    found = await known(trade, one)
    assert found.count == len(called) - 1 == len(found.homes)
    halves = sorted(home.span.end for home in found.homes)[:2]
    assert halves == [START + timedelta(minutes=30)] * 2, "who was released or left counts until then"
    assert {home.span.start for home in found.homes} == {START}
    assert all(home.notified_at is not None for home in found.homes)
    whole = uncertainty.estimated(found, "reduce")
    assert whole.half_width_wh > 0
    assert whole.days >= 8
    monkeypatch.setattr(uncertainty, "MOST_VENS", 3)
    sample = await known(trade, one)
    assert (len(sample.homes), sample.count) == (3, found.count)
    assert uncertainty.estimated(sample, "reduce").half_width_wh > 0


async def test_days_of_other_events_are_left_out(trade):
    await trade.join(5)
    await trade.world.dispatch(*trade.homes, signals=(power(-100.0),))
    trade.world.later(days=1)
    await trade.can(trade.homes)
    await trade.seen()
    start = START + DAY
    one = await trade.running(trade.wish(*((1000, 4000),) * 4, start=start))
    await trade.at(trade.now + timedelta(minutes=1))
    await trade.answer()
    for ven_id in await trade.called():
        await trade.consume(ven_id, start - 30 * DAY, [2000.0] * (4 * 24 * 30) + [1000.0] * 4, step_s=900)
    await trade.at(start + HOUR + SETTINGS.report_after, turns=0)
    found = await known(trade, one)
    events = {(span.start, span.end) for each in found.homes for span in each.calendar.events}
    assert events == {(START, START + HOUR)}
    assert len(found.homes) == len(await trade.called()) - 5, "the others are those of the day before"


async def test_a_control_group_is_held_against_on_the_same_days(trade):
    """What all homes have in common is no error, since the control group has it as well: nothing else moves them."""
    world = trade.world
    called, alone = await world.vens(3), await world.vens(10)
    async with world.tx() as tx:
        group = await fleet.create_group(tx, "left alone", world.now, who="test")
        await fleet.add_to_group(tx, group.id, [ven.ven_id for ven in alone], world.now, who="test")
    game = await world.programme(*called, *alone, baseline="control-group", control_group=group.id)
    dispatch_id = await world.dispatch(under=game, signals=(power(-100.0),))
    for ven in called:
        await ven.opt((await ven.events())[0])
    start = world.now + HOUR
    shared_w = np.random.default_rng(5).uniform(500.0, 1500.0, 4 * 24 * 30 + 4)
    for place, ven in enumerate([*called, *alone]):
        await trade.consume(ven.ven_id, start - 30 * DAY, shared_w + 100.0 * place, step_s=900)
    await trade.at(start + HOUR, turns=0)
    computed = await evaluation.compute(world.db, dispatch_id, trade.now)
    async with world.db.read() as conn:
        found = await uncertainty.inputs(conn, computed, game)
    assert len(found.homes) == 3
    figures = uncertainty.estimated(found, "reduce")
    assert figures.days >= 8
    assert abs(figures.half_width_wh) + abs(figures.bias_wh) < 1e-6
