"""What speaks against an order is said before it goes out (vtn.services.order_check)."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from core.errors import InvalidError, NotFoundError
from core.spans import Duration
from metrics import AgreedProfile
from openadr.model.signal import Baseline, Interval
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W
from support.vtn_world import power, simple
from vtn.services import agreed, dispatch, fleet, order_check
from vtn.services.dispatch import Order
from vtn.services.order_check import direction_of
from vtn.services.potential import Figures, derived
from vtn.services.programme import Limits
from vtn.store.tables import ven as ven_table

HOUR = timedelta(hours=1)


async def check(world, programme, *signals, starts_in=HOUR, **more):
    length = signals[0].intervals[0].duration
    order = Order(programme.id, world.now + starts_in, length, signals, **more)
    async with world.db.read() as conn:
        return await order_check.warnings(conn, order, world.now)


def watts(value, minutes=60):
    return power(value, each=Duration.of(minutes=minutes))


async def test_less_and_more_at_once_is_a_contradiction(any_world):
    world = any_world
    ven = await world.ven()
    programme = await world.programme(ven)
    assert await check(world, programme, watts(-1500.0)) == []
    dispatch_id = await world.dispatch(ven, signals=(watts(1500.0),), under=programme, direction="increase")
    (text,) = await check(world, programme, watts(-1500.0), direction="reduce")
    assert text.endswith(f"is called to increase in that time, by {dispatch_id}: this order to reduce contradicts it.")
    (text,) = await check(world, programme, watts(500.0))
    assert "called to increase in that time already" in text
    assert await check(world, programme, watts(-1500.0), starts_in=2 * HOUR) == []


async def test_a_cancelled_event_contradicts_nothing(world):
    ven = await world.ven()
    programme = await world.programme(ven)
    dispatch_id = await world.dispatch(ven, signals=(watts(1500.0),), under=programme, direction="increase")
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="test")
    assert await check(world, programme, watts(-1500.0)) == []


async def test_an_order_without_end_contradicts_all_that_follows(world):
    ven = await world.ven()
    programme = await world.programme(ven)
    endless = watts(1500.0, 0)
    await world.dispatch(ven, signals=(endless,), duration=Duration(), under=programme, direction="increase")
    assert await check(world, programme, watts(-1500.0), starts_in=999 * HOUR)


async def test_a_power_station_is_no_home(world):
    ven, other = await world.ven(), await world.ven()
    programme = await world.programme(ven, other)
    (text,) = await check(world, programme, watts(-1.5e9), ven_ids=(ven.ven_id,))
    assert "is ordered 1,500,000,000 W, more than the 100 kW that a home can have" in text
    (text,) = await check(world, programme, watts(-1000.0), own_values={other.ven_id: {"ld": [-2e6]}})
    assert "2,000,000 W" in text


async def test_more_than_a_ven_says_it_can_is_named(world):
    ven = await world.ven()
    programme = await world.programme(ven)
    start_s = int(world.now.timestamp())
    async with world.tx() as tx:
        figures = Figures("heater", "reduce", start_s, 1800, (900.0,), (1800.0,), (2000.0,))
        await derived(tx, ven.ven_id, [figures], world.now)
    assert await check(world, programme, watts(-2000.0)) == []
    (text,) = await check(world, programme, watts(-20_000.0))
    assert "is ordered 20,000 W, more than 2,000 W" in text


async def test_a_ven_that_never_registered_is_named(world):
    ven, stranger = await world.ven(), await world.ven(register=False)
    programme = await world.programme(ven, stranger)
    (text,) = await check(world, programme, watts(-1000.0))
    assert "is not registered: it gets the event only after registering" in text


async def test_a_ven_that_takes_no_part_is_named(world):
    member, stranger = await world.ven(), await world.ven()
    programme = await world.programme(member)
    assert await check(world, programme, watts(-1000.0), ven_ids=(member.ven_id,)) == []
    (text,) = await check(world, programme, watts(-1000.0), ven_ids=(member.ven_id, stranger.ven_id))
    assert text.endswith("does not take part in this programme.")


async def test_who_has_no_agreed_baseline_is_named(world):
    vens = [await world.ven() for _ in range(2)]
    programme = await world.programme(*vens, baseline="firm-level")
    (text,) = await check(world, programme, watts(-1500.0), direction="reduce")
    assert text.endswith("have no agreed baseline for that day: what is delivered cannot be measured.")
    later = world.now.date() + timedelta(days=1)
    for ven, first in zip(vens, (world.now.date(), later), strict=True):
        async with world.tx() as tx:
            profile = AgreedProfile(first, (3000,))
            await agreed.agree(tx, [ven.ven_id], "firm-level", profile, world.now, who="test")
    (text,) = await check(world, programme, watts(-1500.0), direction="reduce")
    assert text.startswith("home 2 has no agreed baseline")
    assert await check(world, programme, watts(-1500.0), direction="reduce", starts_in=24 * HOUR) == []
    assert await check(world, programme, simple(1.0), direction=None) == []


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (30, None),
        (60, None),
        (29, "A call of this programme lasts at least PT30M, not PT29M."),
        (61, "A call of this programme lasts at most PT1H, not PT1H1M."),
        (0, "A call of this programme lasts at most PT1H; this one has no end."),
    ],
)
async def test_a_length_against_the_programme(world, minutes, text):
    limits = Limits(shortest=Duration.of(minutes=30), longest=Duration.of(hours=1))
    programme = await world.programme(await world.ven(), limits=limits)
    order = Order(programme.id, world.now + HOUR, Duration.of(minutes=minutes), (watts(-1000.0, minutes),))
    async with world.db.read() as conn:
        assert await order_check.against_length(conn, order) == ([] if text is None else [text])


async def test_values_against_the_direction(world):
    programme = await world.programme(await world.ven())
    (text,) = await check(world, programme, watts(1500.0), direction="reduce")
    assert text == "The order is said to reduce consumption, and its values increase it."


@pytest.mark.parametrize(
    ("begins", "minutes", "known"), [(0, 60, True), (-60, 180, True), (1, 60, False), (0, 59, False)]
)
async def test_a_baseline_that_leaves_some_of_the_event_out_is_named(world, begins, minutes, known):
    programme = await world.programme(await world.ven())
    begin, lasts = world.now + HOUR + timedelta(minutes=begins), Duration.of(minutes=minutes)
    usual = Baseline(begin, lasts, (Interval(lasts, 2000.0),), "base", "A usual day", (), POWER_REAL_W)
    found = await check(world, programme, watts(-1000.0), baseline=usual)
    until = begin + timedelta(minutes=minutes)
    said = f"The baseline reaches from {begin.isoformat()} to {until.isoformat()} only."
    assert found == ([] if known else [said])


async def test_what_cannot_be_ordered_cannot_be_checked(world):
    programme = await world.programme(await world.ven())
    with pytest.raises(NotFoundError):
        await check(world, programme, watts(-1.0), ven_ids=("ven_nothing",))
    with pytest.raises(InvalidError, match="has passed"):
        await check(world, programme, watts(-1.0), starts_in=-HOUR)


def test_the_direction_follows_from_the_signals():
    assert direction_of([watts(-1.0)]) == "reduce"
    assert direction_of([watts(1.0)]) == "increase"
    assert direction_of([simple(1.0)]) == "reduce"
    assert direction_of([power(1.0, -1.0)]) is None
    assert direction_of([simple(0.0)]) is None


async def test_a_2_0a_ven_does_not_get_what_has_no_simple_signal(world):
    old, new = await world.ven("old"), await world.ven("new")
    async with world.tx() as tx:
        await tx.conn.execute(update(ven_table).where(ven_table.c.id == old.ven_id).values(protocol_version="2.0a"))
    programme = await world.programme(old, new)
    (text,) = await check(world, programme, watts(-1500.0))
    assert text == "old speaks OpenADR 2.0a: it does not get the event, since it has no SIMPLE signal."
    assert await check(world, programme, watts(-1500.0), simple(1.0)) == []
    pnode, ids = Target(other=(("pnode", "bus-1"),)), Target(other=(("pnode", "bus-1"),), group_ids=("north",))
    (text,) = await check(world, programme, simple(1.0), target=pnode)
    assert text == "old speaks OpenADR 2.0a: it does not get the event, since 2.0a has no names for whom it is."
    assert await check(world, programme, simple(1.0), target=ids) == []
    assert await check(world, programme, simple(1.0), target=pnode, ven_ids=(new.ven_id,)) == []


async def test_a_member_of_a_group_that_takes_no_part_is_named(world):
    ven, stranger = await world.ven("ours"), await world.ven("stranger")
    programme = await world.programme(ven)
    async with world.tx() as tx:
        group = await fleet.create_group(tx, "north", world.now, who="ann")
        await fleet.add_to_group(tx, group.id, [ven.ven_id, stranger.ven_id], world.now, who="ann")
    (text,) = await check(world, programme, watts(-1500.0), group_ids=(group.id,))
    assert text == "stranger does not take part in this programme."
