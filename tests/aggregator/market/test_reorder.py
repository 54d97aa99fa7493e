"""A running dispatch takes in more VENs and gives others new values (vtn.services.dispatch.reorder)."""

from datetime import timedelta

import pytest

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.event import EventStatus
from openadr.v20b.messages import OadrResponse
from support.vtn_world import power
from vtn.services import dispatch

QUARTER = Duration.of(minutes=15)


async def reorder(trade, dispatch_id, values, **more):
    async with trade.world.tx() as tx:
        await dispatch.reorder(tx, dispatch_id, values, trade.now, who="test", **more)


async def story(trade):
    first, second = [await trade.world.ven() for _ in range(2)]
    dispatch_id = await trade.world.dispatch(first, signals=(power(0.0, 0.0, 0.0, 0.0, each=QUARTER),))
    await first.opt((await first.events())[0])
    return first, second, dispatch_id


def values_of(delivered):
    return [it.value for it in delivered.event.signals[0].intervals]


async def test_a_ven_is_called_into_a_running_dispatch_and_the_others_hear_nothing(any_trade):
    trade = any_trade
    first, second, dispatch_id = await story(trade)
    trade.world.later(minutes=80)
    await reorder(trade, dispatch_id, {second.ven_id: {"ld": [0, 0, -500, -500]}})
    (new,) = await second.events()
    assert (new.status, new.event.modification_number, values_of(new)) == (EventStatus.ACTIVE, 0, [0, 0, -500, -500])
    assert isinstance(await first.poll(), OadrResponse)
    await second.opt(new)
    await reorder(trade, dispatch_id, {second.ven_id: {"ld": [0, 0, -700, -500]}})
    (again,) = await second.events()
    assert (again.event.modification_number, values_of(again)) == (1, [0, 0, -700, -500])


async def test_all_events_end_after_fewer_intervals(any_trade):
    trade = any_trade
    first, second, dispatch_id = await story(trade)
    await reorder(trade, dispatch_id, {second.ven_id: {"ld": [-1, -2, -3]}}, length=3)
    for ven, number in ((first, 1), (second, 0)):
        (one,) = await ven.events()
        assert (one.event.modification_number, one.event.period.duration) == (number, Duration.of(minutes=45))
    (row,) = await trade.world.rows("dispatch")
    assert row.ends_at == row.starts_at + timedelta(minutes=45)
    assert {it.listed_until for it in await trade.world.rows("event")} == {row.ends_at}


async def test_the_same_again_changes_nothing(trade):
    first, _second, dispatch_id = await story(trade)
    before = await trade.world.dump()
    await reorder(trade, dispatch_id, {})
    await reorder(trade, dispatch_id, {first.ven_id: {"ld": [0, 0, 0, 0]}})
    assert await trade.world.dump() == before


async def test_a_wrong_order_changes_nothing(trade):
    first, second, dispatch_id = await story(trade)
    await reorder(trade, dispatch_id, {second.ven_id: {"ld": [-1, -1, -1, -1]}})
    (event_id,) = [row.id for row in await trade.world.rows("event") if row.ven_id == second.ven_id]
    async with trade.world.tx() as tx:
        await dispatch.cancel_event(tx, event_id, trade.now, who="test")
    trade.world.later(minutes=80)
    before = await trade.world.dump()
    for expected, values, length in (
        (NotFoundError, {"nobody": {"ld": [0, 0, 0, 0]}}, None),
        (ConflictError, {second.ven_id: {"ld": [0, 0, -1, -1]}}, None),
        (ConflictError, {first.ven_id: {"ld": [-1, 0, 0, 0]}}, None),
        (ConflictError, {}, 1),
        (InvalidError, {first.ven_id: {"ld": [0, 0, 0]}}, None),
        (InvalidError, {first.ven_id: {"other": [0, 0, 0, 0]}}, None),
        (InvalidError, {}, 5),
        (InvalidError, {}, 0),
    ):
        with pytest.raises(expected):
            await reorder(trade, dispatch_id, values, length=length)
        assert await trade.world.dump() == before, (values, length)
    trade.world.later(hours=2)
    with pytest.raises(ConflictError):
        await reorder(trade, dispatch_id, {first.ven_id: {"ld": [0, 0, 0, -1]}})
