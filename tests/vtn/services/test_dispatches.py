"""Dispatches: created, changed and cancelled, and what that does to the VENs' events (EV-04..EV-10, EV-34)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.event import EventStatus
from openadr.model.signal import Interval
from openadr.model.target import Target
from openadr.v20b.messages import DistributeEvent, OadrResponse
from support.vtn_world import HOUR, power, simple
from vtn.services import dispatch, fleet, programme, site
from vtn.services.programme import Parameters
from vtn.store.tables import ven as ven_table

HALF = Duration.of(minutes=30)


async def change(world, dispatch_id, **what):
    async with world.tx() as tx:
        await dispatch.change(tx, dispatch_id, world.now, who="test", **what)


async def versions(world):
    return [(row.modification_number, row.cancelled_at is not None) for row in await world.rows("event")]


async def test_ev07_each_change_adds_exactly_one(any_world):
    world = any_world
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (one,) = await ven.events()
    changes = [
        {"start": world.now + timedelta(hours=2)},
        {"duration": HALF, "signals": (power(-9, each=HALF),)},
        {"signals": (power(-8, each=HALF), simple(1, each=HALF))},
    ]
    for number, what in enumerate(changes, start=1):
        await change(world, dispatch_id, **what)
        (new,) = await ven.events()
        assert (new.event.event_id, new.event.modification_number) == (one.event.event_id, number)
    assert new.event.period.duration == HALF
    assert [signal.intervals[0].value for signal in new.event.signals] == [-8, 1]


async def test_ev07_a_change_that_changes_nothing_changes_nothing(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven, signals=(power(-5),))
    await ven.drain()
    before = await world.dump()
    await change(world, dispatch_id, signals=(power(-5),), duration=Duration.of(minutes=60))
    assert await world.dump() == before


async def test_ev07_ev10_a_cancellation_adds_one_and_a_second_one_none(any_world):
    world = any_world
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    for _ in range(2):
        async with world.tx() as tx:
            await dispatch.cancel(tx, dispatch_id, world.now, who="test")
    (one,) = await ven.events()
    assert (one.status, one.event.modification_number) == (EventStatus.CANCELLED, 1)
    with pytest.raises(ConflictError):
        await change(world, dispatch_id, start=world.now + timedelta(hours=5))


async def test_one_vens_event_is_cancelled_and_the_rest_goes_on(world):
    one, other = await world.ven(), await world.ven()
    dispatch_id = await world.dispatch(one, other)
    (mine,), _ = await one.events(), await other.events()
    async with world.tx() as tx:
        await dispatch.cancel_event(tx, mine.event.event_id, world.now, who="test")
        await dispatch.cancel_event(tx, mine.event.event_id, world.now, who="test")
    assert isinstance(await other.poll(), OadrResponse)
    (gone,) = await one.events()
    assert (gone.status, gone.event.modification_number) == (EventStatus.CANCELLED, 1)
    await one.opt(gone)
    await change(world, dispatch_id, start=world.now + timedelta(hours=2))
    assert isinstance(await one.poll(), OadrResponse), "an acknowledged cancellation is the end"
    assert [it.event.modification_number for it in await other.events()] == [1]
    assert sorted(await versions(world)) == [(1, False), (1, True)]


async def test_ev07_a_change_of_the_rest_also_counts_for_a_cancelled_event_that_is_still_listed(world):
    one, other = await world.ven(), await world.ven()
    dispatch_id = await world.dispatch(one, other)
    (mine,) = await one.events()
    async with world.tx() as tx:
        await dispatch.cancel_event(tx, mine.event.event_id, world.now, who="test")
    await one.events()
    await change(world, dispatch_id, start=world.now + timedelta(hours=2))
    (gone,) = await one.events()
    assert (gone.status, gone.event.modification_number) == (EventStatus.CANCELLED, 2)


async def test_a_complete_dispatch_can_be_neither_changed_nor_cancelled(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (one,) = await ven.events()
    world.later(hours=2)
    before = await world.dump()
    with pytest.raises(ConflictError):
        await change(world, dispatch_id, start=world.now + timedelta(hours=1))
    with pytest.raises(ConflictError):
        async with world.tx() as tx:
            await dispatch.cancel(tx, dispatch_id, world.now, who="test")
    with pytest.raises(ConflictError):
        async with world.tx() as tx:
            await dispatch.cancel_event(tx, one.event.event_id, world.now, who="test")
    with pytest.raises(ConflictError):
        async with world.tx() as tx:
            await dispatch.change_values(tx, one.event.event_id, {"ld": [1]}, world.now, who="test")
    assert await world.dump() == before


SPLIT = (Interval(Duration.of(minutes=40), -1.0), Interval(Duration.of(minutes=20), -9.0), Interval(HOUR, -2.0))
SPLIT_TOO_EARLY = (Interval(Duration.of(minutes=29), -1.0), Interval(Duration.of(minutes=91), -2.0))
FORBIDDEN = {
    "start": {"start": timedelta(hours=3)},
    "elapsed value": {"signals": (power(-7, -2),)},
    "elapsed value of a split interval": {
        "signals": (
            replace(power(0), intervals=SPLIT_TOO_EARLY),
        )
    },
    "unit of what has elapsed": {"signals": (simple(1, 2, signal_id="ld"),)},
    "dropped signal": {"signals": (power(-1, -2, signal_id="other"),)},
    "end in the past": {"duration": Duration.of(minutes=20), "signals": (power(-1, each=Duration.of(minutes=20)),)},
    "end now": {"duration": HALF, "signals": (power(-1, each=HALF),)},
}  # fmt: skip
ALLOWED = {
    "future value": {"signals": (power(-1, -7),)},
    "split of the running interval": {"signals": (replace(power(0), intervals=SPLIT),)},
    "another signal": {"signals": (power(-1, -2), simple(1, 1))},
    "sooner end": {"duration": HOUR, "signals": (power(-1),)},
    "later end": {"duration": Duration.of(hours=3), "signals": (power(-1, -2, -3),)},
}


async def running(world):
    """Return a dispatch that runs for half an hour of two hours."""
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven, signals=(power(-1, -2),))
    (one,) = await ven.events()
    await ven.opt(one)
    world.later(hours=1, minutes=30)
    return ven, dispatch_id


def moved(world, what):
    return {**what, "start": world.now + what["start"]} if "start" in what else what


@pytest.mark.parametrize("what", FORBIDDEN.values(), ids=FORBIDDEN)
async def test_ev34_what_has_elapsed_cannot_change(world, what):
    _, dispatch_id = await running(world)
    before = await world.dump()
    with pytest.raises(ConflictError):
        await change(world, dispatch_id, **moved(world, what))
    assert await world.dump() == before


@pytest.mark.parametrize("what", ALLOWED.values(), ids=ALLOWED)
async def test_ev34_the_future_of_a_running_event_can_change(world, what):
    ven, dispatch_id = await running(world)
    await change(world, dispatch_id, **what)
    (one,) = await ven.events()
    assert one.event.modification_number == 1
    assert one.event.signals[0].current_value == -1


async def test_ev34_a_start_is_not_moved_into_the_past(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    with pytest.raises(ConflictError):
        await change(world, dispatch_id, start=world.now - timedelta(seconds=1))
    with pytest.raises(InvalidError):
        await world.dispatch(ven, starts_in=timedelta(seconds=-1))


async def test_ev34_own_values_of_a_running_event_change_for_the_future_only(world):
    _, dispatch_id = await running(world)
    (row,) = await world.rows("event", dispatch_id=dispatch_id)
    with pytest.raises(ConflictError):
        async with world.tx() as tx:
            await dispatch.change_values(tx, row.id, {"ld": [-9, -2]}, world.now, who="test")
    async with world.tx() as tx:
        await dispatch.change_values(tx, row.id, {"ld": [-1, -9]}, world.now, who="test")
    assert await versions(world) == [(1, False)]


async def test_own_values_go_to_their_ven_and_only_differences_are_kept(any_world):
    world = any_world
    one, other, third = await world.ven(), await world.ven(), await world.ven()
    await world.dispatch(
        one,
        other,
        third,
        signals=(power(-1, -2), simple(1, 1)),
        own_values={one.ven_id: {"ld": [-5, -6]}, third.ven_id: {"ld": [-1, -2], "simple": [1, 1]}},
    )

    async def values(ven):
        (got,) = await ven.events()
        return [[interval.value for interval in signal.intervals] for signal in got.event.signals]

    assert await values(one) == [[-5, -6], [1, 1]]
    assert await values(other) == [[-1, -2], [1, 1]]
    assert await values(third) == [[-1, -2], [1, 1]]
    kept = {row.ven_id: row.own_values for row in await world.rows("event")}
    assert kept == {one.ven_id: {"ld": [-5, -6]}, other.ven_id: None, third.ven_id: None}


@pytest.mark.parametrize("values", [{"ld": [1]}, {"ld": [1, 2, 3]}, {"none": [1, 2]}, {"simple": [1, 7]}])
async def test_own_values_must_fit(world, values):
    ven = await world.ven()
    signals = (power(-1, -2), simple(1, 1))
    with pytest.raises(InvalidError):
        await world.dispatch(ven, signals=signals, own_values={ven.ven_id: values})
    await world.dispatch(ven, signals=signals)
    (row,) = await world.rows("event")
    with pytest.raises(InvalidError):
        async with world.tx() as tx:
            await dispatch.change_values(tx, row.id, values, world.now, who="test")


async def test_own_values_can_be_given_and_taken_back(world):
    one, other = await world.ven(), await world.ven()
    await world.dispatch(one, other, signals=(power(-1),))
    (mine,), _ = await one.events(), await other.events()
    for number, values in enumerate(({"ld": [-4.5]}, {}), start=1):
        for _ in range(2):  # the second time changes nothing
            async with world.tx() as tx:
                await dispatch.change_values(tx, mine.event.event_id, values, world.now, who="test")
        (new,) = await one.events()
        assert new.event.modification_number == number
        assert new.event.signals[0].intervals[0].value == (-4.5 if values else -1)
    assert isinstance(await other.poll(), OadrResponse)


async def test_a_change_that_own_values_do_not_fit_is_refused(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven, own_values={ven.ven_id: {"ld": [-5]}})
    for signals in ((power(-1, -2, each=HALF),), (power(-1, signal_id="new"),)):
        with pytest.raises(ConflictError, match="values of its own"):
            await change(world, dispatch_id, signals=signals)
    await change(world, dispatch_id, signals=(power(-2),))
    (one,) = await ven.events()
    assert one.event.signals[0].intervals[0].value == -5


async def test_ev22_every_ven_of_the_programme_is_called_if_none_is_named(world):
    one, other = await world.ven(), await world.ven()
    await world.ven()
    game = await world.programme(one, other)
    await world.dispatch(under=game)
    assert {row.ven_id for row in await world.rows("event")} == {one.ven_id, other.ven_id}


async def test_groups_and_areas_are_called_by_their_members(any_world):
    world = any_world
    named, north, both, removed, other = [await world.ven() for _ in range(5)]
    programme = await world.programme(named, north, both, removed, other)
    async with world.tx() as tx:
        group = await fleet.create_group(tx, "north", world.now, who="ann")
        empty = await fleet.create_group(tx, "empty", world.now, who="ann")
        members = [north.ven_id, both.ven_id, removed.ven_id]
        await fleet.add_to_group(tx, group.id, members, world.now, who="ann")
        there = [both.ven_id, removed.ven_id]
        await site.set_area(tx, there, "F1", world.now, time_zone="UTC", who="ann")
        await tx.conn.execute(update(ven_table).where(ven_table.c.id == removed.ven_id).values(removed_at=world.now))

    async def called(*vens, **order):
        dispatch_id = await world.dispatch(*vens, under=programme, **order)
        return {row.ven_id for row in await world.rows("event", dispatch_id=dispatch_id)}

    assert await called(group_ids=(group.id,)) == {north.ven_id, both.ven_id}
    assert await called(areas=("F1",)) == {both.ven_id}
    assert await called(named, both, group_ids=(group.id,), areas=("F1",)) == {named.ven_id, north.ven_id, both.ven_id}
    (listed, *_) = await both.events()
    assert listed.event.target == Target(ven_ids=(both.ven_id,)), "a group of this server is no groupID of the VEN's"
    for order, error in (
        ({"group_ids": ("grp_none",)}, NotFoundError),
        ({"areas": ("F2",)}, NotFoundError),
        ({"group_ids": (empty.id,)}, InvalidError),
    ):
        with pytest.raises(error):
            await called(**order)


async def test_a_dispatch_needs_somebody_to_call_and_a_programme(world):
    ven = await world.ven()
    with pytest.raises(InvalidError):
        await world.dispatch(under=await world.programme())
    with pytest.raises(NotFoundError):
        await world.dispatch(replace(ven, ven_id="none such"), under=await world.programme())
    with pytest.raises(NotFoundError):
        await world.dispatch(ven, own_values={"none such": {"ld": [1]}})
    with pytest.raises(InvalidError, match="direction"):
        await world.dispatch(ven, direction="up")
    assert await world.rows("dispatch") == []


@pytest.mark.parametrize(
    "rules",
    [
        {"start_after": Duration.of(seconds=-1)},
        {"notification": Duration.of(seconds=-1)},
        {"priority": -1},
        {"priority": 2**32},
    ],
)
async def test_what_no_message_can_carry_is_refused(world, rules):
    ven = await world.ven()
    with pytest.raises(InvalidError):
        await world.dispatch(ven, rules=rules)
    assert await world.rows("dispatch") == []


async def test_a_dispatch_keeps_the_version_of_the_programme_it_was_made_with(world):
    ven = await world.ven()
    game = await world.programme(ven, start_after=HALF)
    dispatch_id = await world.dispatch(ven, under=game)
    async with world.tx() as tx:
        newer = await programme.change(tx, game.id, "renamed", Parameters(), world.now, who="test")
    assert newer.version == 2
    await change(world, dispatch_id, start=world.now + timedelta(hours=2))
    (one,) = await ven.events()
    assert one.event.period.start_after == HALF
    await world.dispatch(ven, under=newer)
    assert {one.event.period.start_after for one in await ven.events()} == {HALF, None}


async def test_gn10_two_programmes_cannot_share_a_market_context_in_another_spelling(world):
    await world.programme(context="http://host/b")
    for same in ("http://host/b", "HTTP://Host/a/../b", "http://host:80/%62"):
        with pytest.raises(ConflictError):
            await world.programme(context=same)
    await world.programme(context="http://host/B")


async def test_every_change_is_audited(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    await change(world, dispatch_id, start=world.now + timedelta(hours=2))
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="olga")
    rows = [row for row in await world.rows("audit") if row.subject == dispatch_id]
    assert [(row.action, row.who) for row in rows] == [
        ("dispatch", "test"),
        ("change dispatch", "test"),
        ("cancel dispatch", "olga"),
    ]
    assert rows[1].before["period"]["start"] != rows[1].after["period"]["start"]


async def test_many_vens_are_called_in_one_transaction(world):
    vens = [await world.ven(register=False) for _ in range(30)]
    await world.dispatch(*vens)
    assert len(await world.rows("event")) == len(await world.rows("delivery")) == 30
    await vens[7].register()
    assert [type(one) for one in await vens[7].drain()][-1] is DistributeEvent
