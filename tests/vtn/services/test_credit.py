"""What a home delivers to several dispatches at once is credited once (vtn.services.credit)."""

from datetime import timedelta

import pytest

from core.spans import Duration
from openadr.model.event import ResponseRequired
from openadr.model.opt import OptType
from openadr.model.signal import Signal
from openadr.model.units import currency_per_kwh
from support.metered import HALF, metered_ven, send
from support.vtn_world import NOON, intervals, power, simple
from vtn.services import dispatch, evaluation

START = NOON + timedelta(hours=1)
HOUR = timedelta(hours=1)
RULES = {"baseline": "10of10-unadjusted", "settlement_interval": HALF}


async def home(world):
    return await metered_ven(world, 1)


async def order(world, ven, *, starts=START, opt=OptType.IN, rules=RULES, **more):
    dispatch_id = await world.dispatch(ven, starts_in=starts - world.now, rules=rules, **more)
    (mine,) = [one for one in await ven.events() if one.event.event_id in await ids(world, dispatch_id)]
    await ven.opt(mine, opt)
    world.later(seconds=1)
    return dispatch_id


async def ids(world, dispatch_id):
    return {row.id for row in await world.rows("event", dispatch_id=dispatch_id)}


async def results(world, ven, wish, *dispatch_ids):
    """Let three hours pass with 100 Wh a half hour, and return the result of each dispatch."""
    world.clock.advance(to=NOON + 3 * HOUR)
    await send(ven, wish, NOON, *[100.0] * 6)
    return [await evaluation.evaluate(world.db, one, world.now) for one in dispatch_ids]


async def test_two_dispatches_at_the_same_time_share_one_delivery(any_world):
    world = any_world
    ven, wish, _ = await home(world)
    early, late = await order(world, ven), await order(world, ven)
    first, second = await results(world, ven, wish, early, late)
    assert first.delivered_wh > 0
    assert [one.credited_to for one in first.vens[0].intervals] == [None, None]
    assert second.delivered_wh == 0
    assert [(one.credited_to, one.delivered_w) for one in second.vens[0].intervals] == [(early, 0), (early, 0)]
    assert second.vens[0].intervals[0].baseline_w == first.vens[0].intervals[0].baseline_w
    assert (second.ordered_wh, second.unknown) == (1000, 0)


async def test_what_overlaps_in_part_is_shared_by_intervals(world):
    ven, wish, _ = await home(world)
    early = await order(world, ven)
    late = await order(world, ven, starts=START + HOUR / 2)
    first, second = await results(world, ven, wish, early, late)
    (mine,) = second.vens
    assert [one.credited_to for one in mine.intervals] == [early, None]
    assert second.delivered_wh == pytest.approx(sum(one.delivered_w / 2 for one in mine.intervals[1:]))
    assert first.delivered_wh == pytest.approx(sum(one.delivered_w / 2 for one in first.intervals))


async def test_an_interval_in_which_one_ends_and_the_next_begins_counts_once(world):
    ven, wish, _ = await home(world)
    quarter = Duration.of(minutes=15)
    early = await order(world, ven, signals=(power(-500.0, each=quarter),))
    late = await order(world, ven, starts=START + HOUR / 4, signals=(power(-500.0, each=quarter),))
    first, second = await results(world, ven, wish, early, late)
    assert first.delivered_wh > 0
    assert [one.credited_to for one in second.vens[0].intervals] == [early]


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ({"rules": RULES | {"priority": 2}}, {"rules": RULES | {"priority": 1}}),
        ({}, {"rules": RULES | {"priority": 9}}),
        ({"rules": RULES | {"priority": 0}}, {"rules": RULES | {"priority": 9}}),
        ({"signals": (simple(2),), "direction": None}, {}),
    ],
    ids=["priority", "none before some", "zero is none", "a mere signal"],
)
async def test_the_order_of_precedence(world, early, late):
    ven, wish, _ = await home(world)
    lower, higher = await order(world, ven, **early), await order(world, ven, **late)
    second, first = await results(world, ven, wish, lower, higher)
    assert first.delivered_wh > 0
    assert {one.credited_to for one in second.vens[0].intervals} == {higher}


async def test_who_opted_out_of_the_first_delivers_to_the_second(world):
    ven, wish, _ = await home(world)
    early, late = await order(world, ven, opt=OptType.OUT), await order(world, ven)
    _, second = await results(world, ven, wish, early, late)
    assert second.delivered_wh > 0


async def test_who_left_the_first_delivers_to_the_second_from_then_on(any_world):
    world = any_world
    ven, wish, _ = await home(world)
    early = await world.dispatch(ven, rules=RULES)
    (mine,) = await ven.events()
    await ven.opt(mine)
    world.later(seconds=1)
    late = await order(world, ven)
    world.clock.advance(to=START + timedelta(minutes=40))
    await ven.opt(mine, OptType.OUT)
    first, second = await results(world, ven, wish, early, late)
    (once,), (rest,) = first.vens, second.vens
    assert [one.coverage for one in once.intervals] == [1, None]
    assert [(one.credited_to, one.coverage) for one in rest.intervals] == [(early, None), (None, 1)]
    assert first.delivered_wh == pytest.approx(once.intervals[0].delivered_w / 2)
    assert second.delivered_wh == pytest.approx(rest.intervals[1].delivered_w / 2)
    assert 0 not in (first.delivered_wh, second.delivered_wh)


async def test_who_need_not_answer_the_first_delivers_to_it(world):
    ven, wish, _ = await home(world)
    early = await world.dispatch(ven, rules=RULES | {"response_required": ResponseRequired.NEVER})
    world.later(seconds=1)
    late = await order(world, ven)
    first, second = await results(world, ven, wish, early, late)
    assert first.delivered_wh > 0
    assert (second.delivered_wh, second.coverage) == (0, None), "what goes to another dispatch is no gap"
    assert {one.credited_to for one in second.vens[0].intervals} == {early}


async def test_what_was_cancelled_before_takes_nothing(world):
    ven, wish, _ = await home(world)
    early, late = await order(world, ven), await order(world, ven)
    async with world.tx() as tx:
        await dispatch.cancel(tx, early, world.now, who="test")
    (second,) = await results(world, ven, wish, late)
    assert [one.credited_to for one in second.vens[0].intervals] == [None, None]


async def test_a_mere_price_takes_nothing(world):
    ven, wish, _ = await home(world)
    prices = Signal("ELECTRICITY_PRICE", "price", "price", intervals(0.3), currency_per_kwh("EUR"))
    await order(world, ven, signals=(prices,), direction=None, rules=RULES | {"priority": 1})
    late = await order(world, ven)
    (second,) = await results(world, ven, wish, late)
    assert [one.credited_to for one in second.vens[0].intervals] == [None, None]


async def test_a_call_that_was_taken_back_at_once_takes_nothing(world):
    """One that ran for less than a second did not run."""
    ven, wish, _ = await metered_ven(world, 20)
    rules = {"baseline": "10of10-unadjusted", "settlement_interval": HALF}
    first, second = [await world.dispatch(ven, rules=rules) for _ in range(2)]
    for one in await ven.events():
        await ven.opt(one)
    world.clock.advance(to=NOON + timedelta(hours=1, milliseconds=500))
    async with world.tx() as tx:
        await dispatch.cancel(tx, first, world.now, who="test")
    world.clock.advance(to=NOON + timedelta(hours=3))
    await send(ven, wish, NOON, *[100.0] * 4)
    (row,) = (await evaluation.evaluate(world.db, second, world.now)).vens
    assert [one.credited_to for one in row.intervals] == [None, None]
    assert row.delivered_wh > 0
