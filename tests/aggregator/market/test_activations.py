"""Activations: called, modified, cancelled, and what that does to the VENs' events."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from aggregator.flexibility import inputs
from aggregator.flexibility.fleet import Reason
from aggregator.intervals import PowerInterval
from aggregator.selection import Ask
from aggregator.selection import select as choose
from aggregator.tables import selection
from aggregator.trade import activation_changes, activation_start, activations, brps, selection_view
from aggregator.trade.activation_changes import scaled
from aggregator.trade.activations import TRANSITIONS, ActivationEvent, ActivationStatus, ModifiedError
from aggregator.trade.contracts import Limits
from aggregator.trade.sales import DirectOrder
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.event import EventStatus
from openadr.v20b.messages import OadrResponse
from vtn.services import dispatch, event
from vtn.services.partial_power import PartialPower

from .conftest import START

QUARTER = timedelta(minutes=15)
END = START + 4 * QUARTER


async def modify(trade, one, *power_w, start=START, duration_s=900, **more):
    steps = [start + n * timedelta(seconds=duration_s) for n in range(len(power_w))]
    new = [PowerInterval(at, duration_s, watts) for at, watts in zip(steps, power_w, strict=True)]
    async with trade.world.tx() as tx:
        return await activation_changes.modify(tx, one.id, new, trade.now, who="brp", **more)


async def cancel(trade, one, **more):
    async with trade.world.tx() as tx:
        await activation_changes.cancel(tx, one.id, trade.now, who="brp", **more)


async def ordered_w(trade, one):
    """Return what all events of an activation order together in each interval, as positive power."""
    async with trade.world.db.read() as conn:
        events = await event.of_dispatch(conn, one.dispatch_id)
    rows = [[it.value for it in whole.signals[0].intervals] for _, whole in events if not whole.cancelled]
    return -np.sum(rows, axis=0)


async def test_an_acceptance_becomes_one_event_a_ven_with_values_of_its_own(any_trade):
    trade = any_trade
    await trade.join(8)
    one = await trade.running(trade.wish((3000, 3000), (0, 0), (2000, 2000)))
    (row,) = await trade.world.rows("dispatch")
    async with trade.world.db.read() as conn:
        whole = await dispatch.get(conn, row.id)
        events = await event.of_dispatch(conn, row.id)
    (signal,) = whole.shared.signals
    assert (signal.name, signal.type, signal.item_base.units) == ("LOAD_DISPATCH", "delta", "W")
    assert all(interval.duration.exact_s <= 300 for interval in signal.intervals)
    assert whole.direction == "reduce"
    assert 0 < len(events) < 8
    values = np.array([[it.value for it in own.signals[0].intervals] for _, own in events])
    step = signal.intervals[0].duration.exact_s
    assert (values <= 0).all()
    assert (values[:, 900 // step : 1800 // step] == 0).all(), "nothing is asked in the middle"
    together = -values.sum(axis=0)
    assert 3000 <= together[0] <= 3000 * 1.6, "unreliable homes are outnumbered, not more"
    assert one.status(trade.now) is ActivationStatus.NOTIFIED
    assert (await trade.told())[-2:] == ["activation.scheduled", "activation.notified"]


async def test_every_ven_has_one_reason_and_the_inputs_give_the_same_choice_again(trade):
    await trade.join(8)
    (quiet,) = await trade.join(1)
    await trade.at(trade.now + timedelta(minutes=6), seen=False)
    await trade.seen(*trade.homes[:8])
    one = await trade.running(trade.wish((2000, 2000)))
    async with trade.world.db.read() as conn:
        reasons = await selection_view.by_id(conn, one.selection_id)
        stored = (await conn.execute(select(selection.c.inputs))).scalar_one()
        reserve = await activation_start.reserve(conn, one.selection_id)
    assert sorted(it.ven_id for it in reasons) == sorted(it.ven_id for it in trade.homes)
    by_ven = {it.ven_id: it for it in reasons}
    assert by_ven[quiet.ven_id].reason is Reason.OFFLINE
    called = {it.ven_id for it in reasons if it.reason is Reason.CALLED}
    assert called == {row.ven_id for row in await trade.world.rows("event")}
    assert all((it.power_w > 0) == (it.ven_id in called) for it in reasons)
    assert set(reserve) <= set(by_ven) - called
    fleet = inputs.from_json(stored["fleet"])
    again = choose(fleet, Ask(np.array(inputs.unrolled(stored["target_w"]))), seed=stored["seed"])
    assert {fleet.ven_ids[place] for place in again.called} == called


async def test_where_nobody_can_be_called_it_is_said_and_tried_again(trade):
    homes = await trade.join(6)
    offer = await trade.offer()
    activation_id = await trade.accept(offer)
    await trade.at(trade.now + timedelta(minutes=6), seen=False, turns=2)
    one = await trade.activation(activation_id)
    assert (one.dispatch_id, one.status(trade.now)) == (None, ActivationStatus.SCHEDULED)
    rows = await trade.world.rows("selection_reason")
    assert {row.reason for row in rows} == {"offline"}
    await trade.at(trade.now + timedelta(minutes=1), seen=False)
    assert len(await trade.world.rows("selection_reason")) == len(homes), "said once"
    await trade.at(trade.now + timedelta(minutes=1))
    assert (await trade.activation(activation_id)).dispatch_id is not None


async def test_what_a_call_promises_is_known_before_the_start(trade):
    await trade.join(8)
    one = await trade.running(trade.wish((3000, 3000)))
    assert trade.now < one.starts_at
    assert one.outlook.called == len(await trade.called())
    assert 3000 <= one.outlook.expected_w <= 4000
    assert one.outlook.short_w == 0
    assert "activation.short" not in await trade.told()


async def test_who_bought_hears_before_the_start_that_it_will_be_short_or_nobody_can_be_called(any_trade):
    trade = any_trade
    homes = await trade.join(8)
    activation_id = await trade.accept(await trade.offer(trade.wish((3000, 3000), start=START + timedelta(hours=2))))
    await trade.at(START + timedelta(hours=1), seen=False, turns=2)
    nobody = await trade.activation(activation_id)
    assert nobody.outlook == activations.Outlook(called=0, expected_w=0, short_w=3000)
    await trade.seen(*homes[:2])
    await trade.at(trade.now + timedelta(minutes=1), seen=False)
    few = await trade.activation(activation_id)
    assert few.status(trade.now) is ActivationStatus.NOTIFIED
    assert few.outlook == activations.Outlook(called=2, expected_w=1600, short_w=1400)
    said = [
        row.payload["data"] for row in await trade.world.rows("webhook_delivery") if row.event == "activation.short"
    ]
    assert [(one["called"], one["expected_w"], one["short_w"]) for one in said] == [(0, 0, 3000), (2, 1600, 1400)]


async def test_a_late_call_begins_with_the_next_step(trade):
    await trade.join(6)
    activation_id = await trade.accept(await trade.offer())
    late = START + timedelta(minutes=7, seconds=30)
    await trade.can(trade.homes)
    await trade.at(late)
    one = await trade.activation(activation_id)
    (row,) = await trade.world.rows("dispatch")
    assert late <= row.starts_at <= late + timedelta(minutes=5)
    assert row.ends_at == END
    assert one.status(trade.now) is ActivationStatus.ACTIVE
    assert "activation.started" in await trade.told()


@pytest.mark.parametrize(
    ("parameters", "ahead"),
    [
        ({}, timedelta(hours=1)),
        ({"notification": Duration.of(minutes=30)}, timedelta(hours=1)),
        ({"notification": Duration.of(hours=4)}, timedelta(hours=4, minutes=5)),
    ],
)
async def test_homes_are_called_at_the_programmes_notice_and_not_at_the_sale(trade, ahead):
    await trade.join(6)
    start = trade.now + timedelta(hours=30)
    one = await trade.activation(await trade.accept(await trade.offer(start=start)))
    await trade.market.turn()
    await trade.can(trade.homes)
    await trade.at(start - ahead - timedelta(seconds=1))
    assert await trade.world.rows("dispatch") == []
    await trade.at(start - ahead)
    assert (await trade.activation(one.id)).dispatch_id is not None


async def test_a_change_reaches_every_ven_in_proportion(any_trade):
    trade = any_trade
    await trade.join(8)
    one = await trade.running(trade.wish(*((4000, 4000),) * 4))
    before = await ordered_w(trade, one)
    assert await modify(trade, one, 4000, 2000, 1000, 4000, expected_number=0) == 1
    after = await ordered_w(trade, one)
    parts = np.repeat([1, 0.5, 0.25, 1], before.size // 4)
    np.testing.assert_allclose(after, before * parts, atol=8)
    changed = await trade.activation(one.id)
    assert (changed.modification_number, [it.power_w for it in changed.intervals]) == (1, [4000, 2000, 1000, 4000])
    assert {row.modification_number for row in await trade.world.rows("event")} == {1}
    assert (await trade.told())[-1] == "activation.modified"
    await modify(trade, changed, 4000, 0, 4000, 4000)
    await modify(trade, changed, 4000, 4000, 4000, 4000)
    np.testing.assert_allclose(await ordered_w(trade, one), before, atol=16)


async def test_a_shorter_activation_ends_the_events_earlier(trade):
    await trade.join(8)
    one = await trade.running(trade.wish(*((3000, 3000),) * 4))
    await trade.at(START + QUARTER)
    await modify(trade, one, 3000, 3000)
    (row,) = await trade.world.rows("dispatch")
    assert row.ends_at == START + 2 * QUARTER
    assert {it.listed_until for it in await trade.world.rows("event")} == {START + 2 * QUARTER}
    await trade.at(START + 2 * QUARTER)
    assert (await trade.activation(one.id)).completed_at == START + 2 * QUARTER
    with pytest.raises(ConflictError):
        await modify(trade, one, 3000, 3000)


async def test_a_wrong_change_changes_nothing(trade):
    await trade.join(8)
    one = await trade.running(trade.wish(*((2000, 3000),) * 4))
    most = one.intervals[0].power_w
    await trade.at(START + QUARTER + timedelta(minutes=1))
    before = await trade.world.dump()
    for expected, power, more in (
        (ModifiedError, (most, most, most, 0), {"expected_number": 7}),
        (NotFoundError, (most, most, most, 0), {"party_id": "pty_other"}),
        (InvalidError, (most, most, most + 1, most), {}),
        (InvalidError, (most,) * 5, {}),
        (InvalidError, (most,), {"start": START - QUARTER}),
        (InvalidError, (most,) * 3, {"duration_s": 1000}),
        (InvalidError, (), {}),
        (ConflictError, (most - 1, most, most, most), {}),
        (ConflictError, (most,), {}),
        (ConflictError, (most, most), {"start": START + 2 * QUARTER}),
    ):
        with pytest.raises(expected):
            await modify(trade, one, *power, **more)
        assert await trade.world.dump() == before, (power, more)


async def test_the_same_again_is_no_change(trade):
    await trade.join(8)
    one = await trade.running()
    before = await trade.world.dump()
    assert await modify(trade, one, *(it.power_w for it in one.intervals)) == 0
    assert await trade.world.dump() == before


async def test_a_cancellation_reaches_the_vens(any_trade):
    trade = any_trade
    await trade.join(6)
    one = await trade.running()
    called = [home for home in trade.homes if any(row.ven_id == home.ven_id for row in await trade.world.rows("event"))]
    assert [it.status for it in await called[0].events()] == [EventStatus.FAR]
    with pytest.raises(NotFoundError):
        await cancel(trade, one, party_id="pty_other")
    with pytest.raises(ModifiedError):
        await cancel(trade, one, expected_number=1)
    await cancel(trade, one, reason="market closed", party_id=trade.party_id, expected_number=0)
    assert [it.status for it in await called[0].events()] == [EventStatus.CANCELLED]
    gone = await trade.activation(one.id)
    assert (gone.status(trade.now), gone.cancel_reason, gone.due_at) == (
        ActivationStatus.CANCELLED,
        "market closed",
        None,
    )
    with pytest.raises(ConflictError):
        await cancel(trade, one)
    await trade.at(END + timedelta(days=2))
    assert await trade.world.rows("activation_report") == []


async def test_what_is_cancelled_before_the_call_is_not_called(trade):
    await trade.join(6)
    one = await trade.activation(await trade.accept(await trade.offer()))
    await cancel(trade, one)
    await trade.market.turn()
    assert await trade.world.rows("dispatch") == []
    assert isinstance(await trade.homes[0].poll(), OadrResponse)


async def test_the_start_and_the_end_are_told_once(trade):
    await trade.join(6)
    one = await trade.running()
    await trade.at(START - timedelta(seconds=10))
    await trade.at(START + timedelta(seconds=5), turns=3)
    await trade.at(END - timedelta(seconds=1))
    assert (await trade.activation(one.id)).status(trade.now) is ActivationStatus.ACTIVE
    await trade.at(END, turns=3)
    told = await trade.told()
    assert [told.count(f"activation.{it}") for it in ("notified", "started", "completed")] == [1, 1, 1]


async def direct(trade, contract, *power_w, **more):
    intervals = tuple(PowerInterval(START + n * QUARTER, 900, it) for n, it in enumerate(power_w))
    made = await trade.sales.order(contract.id, DirectOrder("reduce", intervals), who="brp", **more)
    return made.id


async def test_a_direct_order_needs_a_contract_that_allows_it_and_power_that_is_free(trade):
    await trade.join(10)
    contract = await trade.contract_with(limits=Limits(direct_orders=True, max_activations_per_day=1))
    before = await trade.world.dump()
    for expected, wanted, power in (
        (ForbiddenError, trade.contract, (1000,)),
        (ConflictError, contract, (100_000,)),
        (InvalidError, contract, (0,)),
        (InvalidError, contract, ()),
    ):
        with pytest.raises(expected):
            await direct(trade, wanted, *power)
    with pytest.raises(NotFoundError):
        await direct(trade, contract, 1000, party_id="pty_other")
    assert await trade.world.dump() == before
    one = await trade.activation(await direct(trade, contract, 1000, 2000, party_id=trade.party_id))
    assert (one.offer_id, one.terms.option_id) == (None, None)
    await trade.market.turn()
    assert (await trade.activation(one.id)).dispatch_id is not None
    with pytest.raises(ForbiddenError):
        await direct(trade, contract, 1000)


async def test_two_activations_at_once_call_different_homes_and_keep_the_limit_of_a_day(trade):
    await trade.join(20)
    first, second = [await trade.accept(await trade.offer(trade.wish((4000, 4000)))) for _ in range(2)]
    await trade.market.turn()
    await trade.market.turn()
    found = [await trade.activation(one) for one in (first, second)]
    by_dispatch = {}
    for row in await trade.world.rows("event"):
        by_dispatch.setdefault(row.dispatch_id, set()).add(row.ven_id)
    assert set(by_dispatch) == {one.dispatch_id for one in found}
    assert by_dispatch[found[0].dispatch_id].isdisjoint(by_dispatch[found[1].dispatch_id])


@pytest.mark.parametrize("status", list(ActivationStatus))
async def test_only_what_the_table_has_may_happen(trade, status):
    await trade.join(6)
    one = await trade.running()
    states = {
        ActivationStatus.SCHEDULED: (replace(one, dispatch_id=None), trade.now),
        ActivationStatus.NOTIFIED: (one, trade.now),
        ActivationStatus.ACTIVE: (one, START),
        ActivationStatus.COMPLETED: (one, END),
        ActivationStatus.CANCELLED: (replace(one, cancelled_at=trade.now), START),
    }
    activation, when = states[status]
    assert activation.status(when) is status
    for what in ActivationEvent:
        if what in TRANSITIONS[status]:
            activations.check_allowed(activation, what, when)
        else:
            with pytest.raises(ConflictError):
                activations.check_allowed(activation, what, when)


async def test_a_brp_sees_only_its_own_activations(trade):
    await trade.join(6)
    one = await trade.running()
    async with trade.world.tx() as tx:
        rival = await brps.create(tx, "Rival", trade.now, who="test")
    async with trade.world.db.read() as conn:
        assert await activations.listed(conn, party_id=rival) == []
        assert [it.id for it in await activations.listed(conn, party_id=trade.party_id)] == [one.id]
        assert await activations.of_dispatch(conn, one.dispatch_id) == one.id
        with pytest.raises(NotFoundError):
            await activations.get(conn, one.id, rival)


def test_a_ven_keeps_its_part_where_nothing_was_ordered():
    before, after = np.array([100.0, 0, 0, 200]), np.array([50.0, 100, 200, 0])
    np.testing.assert_allclose(scaled(np.array([10.0, 0, 0, 40]), before, after, 0), [5, 10, 40, 0])
    np.testing.assert_allclose(scaled(np.array([10.0, 0, 0, 40]), before, after, 2), [10, 0, 40, 0])


def test_a_home_that_can_do_less_than_its_minimum_is_not_raised_to_it():
    levels, ordered = PartialPower(1000, 500), np.array([600.0])
    assert activation_changes._at_levels(ordered, 1.1 * ordered, 1.1 * ordered, levels, 0) == 600


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.lists(st.integers(1, 2000), min_size=1, max_size=12),
    st.floats(0.05, 3.0),
)
def test_a_changed_order_keeps_to_levels(step: int, steps: int, orders: list[int], factor: float):
    """Each gets what it had, or a multiple of its step from its minimum on; together they get what is wanted."""
    levels = PartialPower(step * steps, step)
    rest, total, wanted = np.zeros(1), 0.0, sum(orders) * factor
    for order in orders:
        ordered, part = np.array([float(order)]), np.array([order * factor])
        power = activation_changes._at_levels(ordered, part, part + rest, levels, 0)
        rest = part + rest - power
        total += float(power[0])
        assert power[0] == order or (power[0] % step == 0 and power[0] >= levels.minimum_w)
    if factor <= 1 and all(order * factor >= 2 * levels.minimum_w for order in orders):
        assert abs(total - wanted) <= step
