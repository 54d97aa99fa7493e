"""Offers: never more than the pool's p10, nothing sold twice, accepted once or never (trade.offers, .supply)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from aggregator.flexibility.pool import pool
from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.trade import available_flexibility, brps, offers
from aggregator.trade.available_flexibility import Scope
from aggregator.trade.offers import TRANSITIONS, OfferEvent, OfferStatus, Refusal, compose
from aggregator.trade.requests import Need
from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration
from vtn.services.programme import Limits

from .conftest import PRICE, SETTINGS, STALE_AFTER_S, START

QUARTER = timedelta(minutes=15)


async def pooled(trade, start=START, minutes=60, direction="reduce"):
    """Return the whole pool in a time."""
    scope = Scope(trade.programme, direction, Grid(start, 300, minutes // 5))
    async with trade.world.db.read() as conn:
        return pool(await available_flexibility.load(conn, scope, trade.now, STALE_AFTER_S))


async def for_sale_w(trade, **where):
    """Return the least power that the whole pool can sell in a time."""
    return (await pooled(trade, **where)).offer_w.min()


def most_w(offer):
    return max(one.power_w for option in offer.options for one in option.intervals)


async def test_an_offer_promises_no_more_than_the_p10_of_the_pool(trade):
    await trade.join(20)
    offer = await trade.offer(trade.wish((0, 10**6)))
    found = await pooled(trade)
    assert 0 < most_w(offer) <= found.p10_w.min() < 20_000
    assert most_w(offer) == pytest.approx(found.offer_w.min(), abs=100)


async def test_what_is_offered_or_sold_is_not_offered_again(any_trade):
    trade = any_trade
    await trade.join(20)
    found = await pooled(trade)
    whole = found.offer_w.min()
    first = await trade.offer(trade.wish((0, 4000)))
    second = await trade.offer(trade.wish((0, 4000)))
    await trade.accept(first)
    third = await trade.offer(trade.wish((0, 10**6)))
    assert sum(most_w(one) for one in (first, second, third)) <= found.p10_w.min()
    assert most_w(third) > whole - 8000 - 100
    request_id = await trade.request(trade.wish((1, 1000)))
    await trade.market.turn()
    assert (await trade.requested(request_id)).status == "declined"
    elsewhen = await trade.offer(trade.wish((0, 10**6), start=START + timedelta(hours=2)))
    assert most_w(elsewhen) >= whole * 0.9, "another time is free"


LATER, TOMORROW = START + timedelta(hours=3), START + timedelta(days=1)


async def asked(trade, start, most=10**6):
    """Ask for all that there is in an hour; return the offered power, 0 where it was declined, and the offer."""
    request_id = await trade.request(trade.wish(*((0, most),) * 4, start=start))
    await trade.market.turn()
    found = await trade.requested(request_id)
    if found.status == "declined":
        return 0, None
    offer = await trade.offered(found.offer_ids[0])
    return most_w(offer), offer


@pytest.mark.parametrize("parameters", [{"limits": Limits(per_day=1)}])
@pytest.mark.parametrize("sold", [False, True])
async def test_two_sales_of_a_day_share_the_calls_of_that_day(any_trade, sold):
    trade = any_trade
    await trade.join(10)
    whole, first = await asked(trade, LATER)
    if sold:
        await trade.accept(first)
    assert (await asked(trade, START))[0] == 0, "every home has its call of the day already"
    assert (await asked(trade, TOMORROW))[0] == whole


@pytest.mark.parametrize("parameters", [{"limits": Limits(per_day=1)}])
async def test_both_sales_of_a_day_can_be_called(trade):
    await trade.join(16)
    whole = await for_sale_w(trade)
    sales = []
    for start in (LATER, START):
        power_w, offer = await asked(trade, start, int(whole * 0.45))
        sales.append((start, power_w, await trade.accept(offer)))
    assert 0 < sales[1][1] < whole * 0.55
    for start, power_w, activation_id in reversed(sales):
        await trade.at(start - timedelta(hours=1), turns=2)
        one = await trade.activation(activation_id)
        called = await trade.world.rows("event", dispatch_id=one.dispatch_id)
        assert 1000 * len(called) * 0.8 >= power_w
    events = await trade.world.rows("event")
    assert len({row.ven_id for row in events}) == len(events)


@pytest.mark.parametrize("parameters", [{"limits": Limits(per_day=2)}])
async def test_who_has_calls_left_is_sold_again(trade):
    await trade.join(10)
    whole, first = await asked(trade, LATER)
    await trade.accept(first)
    assert (await asked(trade, START))[0] == whole
    assert (await asked(trade, START + timedelta(hours=6)))[0] == 0


@pytest.mark.parametrize("parameters", [{"limits": Limits(rest=Duration.of(hours=4))}])
async def test_who_rests_after_a_sale_is_not_sold(trade):
    await trade.join(10)
    whole, first = await asked(trade, LATER)
    await trade.accept(first)
    assert (await asked(trade, START))[0] == 0
    assert (await asked(trade, LATER + timedelta(hours=6)))[0] == whole


async def test_a_sale_of_a_part_of_the_time_is_missing_from_all_of_it(trade):
    await trade.join(20)
    whole = await for_sale_w(trade)
    half = int(whole / 2)
    await trade.offer(trade.wish((half, half), start=START + QUARTER))
    offer = await trade.offer(trade.wish(*((0, 10**6),) * 4))
    full = next(one for one in offer.options if one.id == "full")
    assert max(one.power_w for one in full.intervals) <= whole - half


async def test_an_offer_that_is_gone_is_for_sale_again(trade):
    await trade.join(20)
    first = await trade.offer(trade.wish((0, 10**6)))
    async with trade.world.tx() as tx:
        await offers.revoke(tx, first.id, trade.now, who="test")
    again = await trade.offer(trade.wish((0, 10**6)))
    assert most_w(again) == most_w(first)
    assert (await trade.requested(first.request_id)).status == "expired"


async def test_the_other_direction_shares_the_same_homes(trade):
    await trade.join(20)
    await trade.can(trade.homes, increase_w=3000.0)
    reduce_w = await for_sale_w(trade)
    increase_w = await for_sale_w(trade, direction="increase")
    half = int(increase_w / 2)
    await trade.offer(trade.wish((half, half), direction="increase"))
    left = await trade.offer(trade.wish((0, 10**6)))
    assert most_w(left) == pytest.approx(reduce_w / 2, rel=0.1)


async def test_two_requests_answered_at_once_do_not_sell_the_same_twice(any_trade):
    trade = any_trade
    await trade.join(20)
    whole = await for_sale_w(trade)
    made = [await trade.request(trade.wish((0, 10**6))) for _ in range(2)]
    other = type(trade.market)(trade.world.db, trade.world.clock, SETTINGS)
    await asyncio.gather(trade.market.turn(), other.turn())
    for _ in range(2):
        await trade.market.turn()
    found = [await trade.requested(one) for one in made]
    sold = [await trade.offered(offer_id) for one in found for offer_id in one.offer_ids]
    assert sum(most_w(one) for one in sold) <= whole
    assert sorted(one.status for one in found) == ["declined", "offered"]


async def test_an_offer_is_accepted_once(any_trade):
    trade = any_trade
    await trade.join(6)
    offer = await trade.offer()
    results = await asyncio.gather(*(trade.accept(offer) for _ in range(3)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["ConflictError", "ConflictError", "str"]
    assert len(await trade.world.rows("activation")) == 1
    before = await trade.world.dump()
    with pytest.raises(ConflictError):
        await trade.accept(offer)
    assert await trade.world.dump() == before
    assert (await trade.offered(offer.id)).activation_id in results


async def test_an_expired_offer_cannot_be_accepted_even_before_the_worker_noticed(trade):
    await trade.join(6)
    offer = await trade.offer()
    assert offer.expires_at == min(trade.now + SETTINGS.offer_valid, START)
    trade.world.clock.advance(to=offer.expires_at)
    before = await trade.world.dump()
    with pytest.raises(ConflictError):
        await trade.accept(offer)
    assert await trade.world.dump() == before
    await trade.market.turn()
    assert (await trade.offered(offer.id)).status is OfferStatus.EXPIRED
    assert (await trade.requested(offer.request_id)).status == "expired"
    assert (await trade.told())[-2:] == ["offer.expired", "request.expired"]
    await trade.market.turn()
    assert (await trade.told())[-2:] == ["offer.expired", "request.expired"]


async def test_a_wrong_acceptance_changes_nothing(trade):
    await trade.join(6)
    offer = await trade.offer(trade.wish((2000, 4000)))
    full = offer.options[0]
    async with trade.world.tx() as tx:
        rival = await brps.create(tx, "Rival", trade.now, who="test")
    before = await trade.world.dump()
    for expected, more in (
        (NotFoundError, {"party_id": rival}),
        (NotFoundError, {"option_id": "none"}),
        (InvalidError, {"factor": full.min_activation_factor - 0.01}),
        (InvalidError, {"factor": 1.01}),
        (InvalidError, {"factor": float("nan")}),
        (InvalidError, {"factor": Decimal("Infinity")}),
    ):
        with pytest.raises(expected):
            await trade.accept(offer, **more)
        assert await trade.world.dump() == before, more


async def test_a_factor_takes_a_part_of_the_option(trade):
    await trade.join(6)
    offer = await trade.offer(trade.wish((0, 4000)))
    option = offer.options[0]
    one = await trade.activation(await trade.accept(offer, factor=Decimal("0.5")))
    assert [it.power_w for it in one.intervals] == [it.power_w // 2 for it in option.intervals]
    assert (one.terms.option_id, one.terms.factor, one.terms.price_per_kwh) == ("full", 0.5, option.price_per_kwh)
    assert one.terms.penalty_per_kwh == "0.40"


def wish_of(*power, **more):
    intervals = tuple(
        offers.requests.NeedInterval(START + n * QUARTER, 900, low, high) for n, (low, high) in enumerate(power)
    )
    return Need("reduce", intervals, START, **more)


def test_the_smaller_option_is_cheaper_and_keeps_the_minimum():
    full, reduced = compose(wish_of((100, 1000), (600, 1000)), [2000, 1000], PRICE)
    assert [one.power_w for one in full.intervals] == [1000, 1000]
    assert [one.power_w for one in reduced.intervals] == [500, 600]
    assert (full.price_per_kwh, reduced.price_per_kwh) == ("0.3", "0.26")
    assert (full.price, reduced.price) == ("0.15", "0.07")
    assert (full.min_activation_factor, reduced.min_activation_factor) == (0.6, 1.0)
    assert full.confidence == 0.9


def test_a_highest_price_leaves_out_what_costs_more():
    (only,) = compose(wish_of((0, 1000), max_price="0.28"), [1000], PRICE)
    assert (only.id, only.price_per_kwh) == ("reduced", "0.25")
    refused = compose(wish_of((0, 1000), max_price="0.21"), [1000], PRICE)
    assert isinstance(refused, Refusal)
    assert "0.25" in refused.reason


def test_too_little_is_refused_and_what_would_be_possible_is_said():
    refused = compose(wish_of((100, 200), (300, 400)), [500, 299], PRICE)
    assert isinstance(refused, Refusal)
    assert refused.possible_w == (500, 299)
    assert "299" in refused.reason
    assert isinstance(compose(wish_of((0, 200)), [0], PRICE), Refusal)


async def test_an_unsolicited_offer_has_no_request(trade):
    await trade.join(6)
    interval = PowerInterval(START, 900, 1000)
    option = offers.Option("full", (interval,), "0.2", "0.05", "EUR", 1.0, 0.9)
    async with trade.world.tx() as tx:
        offer_id = await offers.create(tx, trade.contract, "reduce", [option], START, trade.now, who="test")
    offer = await trade.offered(offer_id)
    assert (offer.request_id, offer.status) == (None, OfferStatus.OPEN)
    one = await trade.activation(await trade.accept(offer))
    assert (one.offer_id, one.intervals) == (offer_id, (interval,))
    async with trade.world.db.read() as conn:
        assert [it.id for it in await offers.listed(conn, party_id=trade.party_id)] == [offer_id]
        assert await offers.listed(conn, party_id="pty_other") == []
    for wrong in ([], [option, option], [replace(option, intervals=())]):
        with pytest.raises(InvalidError):
            async with trade.world.tx() as tx:
                await offers.create(tx, trade.contract, "reduce", wrong, START, trade.now, who="test")


@pytest.mark.parametrize("status", list(OfferStatus))
async def test_an_offer_moves_by_the_table_only(trade, status):
    option = offers.Option("full", (PowerInterval(START, 900, 1000),), "0.2", "0.05", "EUR", 1.0, 0.9)
    async with trade.world.tx() as tx:
        offer_id = await offers.create(tx, trade.contract, "reduce", [option], START, trade.now, who="test")
    one = replace(await trade.offered(offer_id), status=status)
    for what in OfferEvent:
        if what in TRANSITIONS[status]:
            async with trade.world.tx() as tx:
                await offers._move(tx, one, what, trade.now, who="test")
            assert (await trade.offered(offer_id)).status is TRANSITIONS[status][what]
        else:
            with pytest.raises(ConflictError):
                async with trade.world.tx() as tx:
                    await offers._move(tx, one, what, trade.now, who="test")
