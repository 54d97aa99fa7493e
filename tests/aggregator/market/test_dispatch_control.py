"""The loop: opt-outs and silent homes are replaced, over-delivery released, figures estimated (trade.live)."""

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from aggregator.trade import activation_start, dispatch_control, live_view
from aggregator.trade.live_view import LiveFigures
from core.errors import ConflictError, NotFoundError
from openadr.model.opt import Opt, OptType
from vtn.services import opt

from .conftest import STALE_AFTER_S, START

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
END = START + HOUR


async def figures_of(trade, one, **more) -> LiveFigures:
    async with trade.world.db.read() as conn:
        return await live_view.live(conn, one.id, trade.now, stale_after_s=STALE_AFTER_S, **more)


async def interventions(trade, one):
    async with trade.world.db.read() as conn:
        return await live_view.interventions(conn, one.id)


async def story(trade, power_w=4000, homes=12):
    """Sell power for an hour, let everybody called opt in, and go to the start; each home used 2 kW before."""
    await trade.join(homes)
    one = await trade.running(trade.wish(*((power_w, power_w),) * 4))
    await trade.at(trade.now + MINUTE)
    await trade.answer()
    for home in trade.homes:
        await trade.consume(home.ven_id, START - HOUR, [2000.0] * 60)
    return one


async def test_who_opts_out_before_the_start_is_replaced_once(any_trade):
    trade = any_trade
    one = await story(trade)
    before = await trade.called()
    async with trade.world.db.read() as conn:
        reserve = await activation_start.reserve(conn, one.selection_id)
    async with trade.world.tx() as tx:
        for leaver in before[:2]:
            said = Opt(f"opt-{leaver}", OptType.OUT, "economic", trade.now, await event_of(trade, leaver), 0)
            await opt.create(tx, leaver, said, trade.now)
    for minute in range(2, 6):
        await trade.at(START - HOUR + minute * MINUTE)
    new = [ven_id for ven_id in await trade.called() if ven_id not in before]
    assert 1 <= len(new) <= 2
    assert new[0] == reserve[0]
    assert {(it.action, it.reason) for it in await interventions(trade, one)} == {("replace", "replaces opt-out")}
    assert len(await interventions(trade, one)) == len(new)
    ordered = (await figures_of(trade, one)).called_w
    assert ordered == 0, "nothing is ordered before the start"


async def event_of(trade, ven_id):
    return next(row.id for row in await trade.world.rows("event") if row.ven_id == ven_id)


async def test_who_stays_silent_is_replaced(trade):
    await trade.join(12)
    one = await trade.running(trade.wish(*((4000, 4000),) * 4))
    before = await trade.called()
    silent = before[:2]
    await trade.at(trade.now + MINUTE)
    await trade.answer(only=before[2:])
    await trade.at(trade.now + timedelta(seconds=STALE_AFTER_S + 1))
    new = [ven_id for ven_id in await trade.called() if ven_id not in before]
    assert new
    assert {it.reason for it in await interventions(trade, one)} == {"replaces silent"}
    shown = await figures_of(trade, one)
    assert (shown.silent, shown.no_answer) == (2, 2 + len(new))
    async with trade.world.db.read() as conn:
        vens = await live_view.vens(conn, one.id, trade.now, stale_after_s=STALE_AFTER_S)
    assert [it.ven_id for it in vens if it.silent] == silent
    assert {it.latency_s for it in vens if it.opt is OptType.IN} == {60.0}


async def test_a_home_called_into_a_running_event_begins_with_what_is_left(trade):
    one = await story(trade)
    before = await trade.called()
    await trade.at(START + 20 * MINUTE)
    for ven_id in before:
        await trade.consume(ven_id, START, [2000.0 - 200.0] * 20)
    await trade.at(trade.now + MINUTE)
    new = [ven_id for ven_id in await trade.called() if ven_id not in before]
    assert new
    assert {(it.action, it.reason) for it in await interventions(trade, one)} == {("call", "under target")}
    home = next(it for it in trade.homes if it.ven_id == new[0])
    (delivered,) = await home.events()
    values = [it.value for it in delivered.event.signals[0].intervals]
    step_s = delivered.event.signals[0].intervals[0].duration.exact_s
    elapsed = int((trade.now - START).total_seconds()) // step_s
    assert delivered.event.period.start == START
    assert set(values[:elapsed]) == {0.0}
    assert min(values[elapsed + 5 :]) < 0
    assert await home.opt(delivered)


async def test_what_delivers_too_much_is_released(trade):
    one = await story(trade, power_w=3000)
    before = await trade.called()
    await trade.at(START + 20 * MINUTE)
    for ven_id in before:
        await trade.consume(ven_id, START, [0.0] * 20)
    await trade.at(trade.now + MINUTE)
    after = await trade.called()
    assert 0 < len(after) < len(before)
    assert {(it.action, it.reason) for it in await interventions(trade, one)} == {("release", "over target")}
    shown = await figures_of(trade, one)
    assert shown.released == len(before) - len(after)
    await trade.at(trade.now + MINUTE)
    assert len(await trade.called()) == len(after), "and no more than that"


async def test_without_telemetry_nobody_is_moved(trade):
    one = await story(trade)
    before = await trade.called()
    for minute in range(0, 60, 5):
        await trade.at(START + minute * MINUTE)
    assert await trade.called() == before
    assert await interventions(trade, one) == []
    shown = await figures_of(trade, one)
    assert (shown.delivered_w, shown.coverage) == (None, 0.0)


async def test_live_figures_estimate_what_is_delivered(trade):
    one = await story(trade)
    called = await trade.called()
    await trade.at(START + 30 * MINUTE)
    for ven_id in called:
        await trade.consume(ven_id, START, [2000.0 - 500.0] * 15 + [2000.0 - 900.0] * 15)
    shown = await figures_of(trade, one, party_id=trade.party_id)
    assert shown.delivered_w == 900 * len(called)
    assert [it.delivered_w for it in shown.intervals] == [500 * len(called), 900 * len(called), None, None]
    assert (shown.ordered_w, shown.called, shown.opted_in, shown.coverage) == (4000, len(called), len(called), 1.0)
    assert shown.called_w == 1000 * len(called)
    async with trade.world.db.read() as conn:
        vens = await live_view.vens(conn, one.id, trade.now, stale_after_s=STALE_AFTER_S)
        with pytest.raises(NotFoundError):
            await live_view.live(conn, one.id, trade.now, stale_after_s=STALE_AFTER_S, party_id="pty_other")
    assert [(it.ordered_w, it.delivered_w) for it in vens] == [(1000, 900)] * len(called)


async def test_an_increase_counts_what_is_consumed_more(trade):
    await trade.join(12)
    one = await trade.running(trade.wish(*((4000, 4000),) * 4, direction="increase"))
    called = await trade.called()
    for ven_id in called:
        await trade.consume(ven_id, START - HOUR, [500.0] * 60 + [1500.0] * 10)
    await trade.at(START + 10 * MINUTE)
    shown = await figures_of(trade, one)
    assert shown.delivered_w == 1000 * len(await trade.called())
    rows = await trade.world.rows("event")
    assert all(min(row.own_values["power"]) >= 0 < max(row.own_values["power"]) for row in rows)


async def test_a_ven_is_replaced_by_hand(any_trade):
    trade = any_trade
    one = await story(trade, homes=14)
    before = await trade.called()
    gone = before[0]

    async def replace(ven_id):
        async with trade.world.tx() as tx:
            return await dispatch_control.replace_ven(
                tx, one.id, ven_id, trade.now, who="operator", stale_after_s=STALE_AFTER_S
            )

    new = await replace(gone)
    after = await trade.called()
    assert gone not in after
    assert set(after) == (set(before) - {gone}) | set(new)
    assert {(it.ven_id, it.action, it.reason) for it in await interventions(trade, one)} == {
        (gone, "release", "by hand"),
        *((ven_id, "replace", "by hand") for ven_id in new),
    }
    state = await trade.world.dump()
    with pytest.raises(NotFoundError):
        await replace("nobody")
    with pytest.raises(ConflictError):
        await replace(gone)
    assert await trade.world.dump() == state
    await trade.at(START + 59 * MINUTE + timedelta(seconds=30))
    with pytest.raises(ConflictError):
        await replace(after[0])


async def test_where_nobody_is_left_a_replacement_by_hand_changes_nothing(trade):
    one = await story(trade, power_w=1500, homes=4)
    called = await trade.called()
    trade.world.later(minutes=6)
    await trade.seen(*(it for it in trade.homes if it.ven_id in called))
    before = await trade.world.dump()
    with pytest.raises(ConflictError):
        async with trade.world.tx() as tx:
            await dispatch_control.replace_ven(
                tx, one.id, called[0], trade.now, who="operator", stale_after_s=STALE_AFTER_S
            )
    assert await trade.world.dump() == before


def test_stand_ins_take_over_as_much_as_was_ordered():
    fleet = SimpleNamespace(
        p50_w=np.array([[500.0, 500.0], [0.0, 0.0], [400.0, 400.0], [900.0, 900.0]]),
        barred=(None, None, None, None),
        calls_left=np.array([1, 1, 1, 1]),
        set_points=(np.full(4, np.nan), np.full(4, np.nan)),
    )
    chosen = dispatch_control._stand_ins(fleet, (0, 1, 2, 3), np.array([0.0, 800.0]))
    assert {place: power.tolist() for place, power in chosen.items()} == {0: [0, 500], 2: [0, 400]}
    fleet.set_points = (np.full(4, 100.0), np.full(4, 50.0))
    chosen = dispatch_control._stand_ins(fleet, (0, 1, 2, 3), np.array([0.0, 780.0]))
    assert {place: power.tolist() for place, power in chosen.items()} == {0: [0, 500], 2: [0, 300]}
