"""Selling: what is offered unasked is what is called for, and no more (aggregator.trade.sales)."""

from datetime import timedelta

import pytest

from aggregator.intervals import PowerInterval
from aggregator.trade import offers
from aggregator.trade.contracts import Limits
from aggregator.trade.sales import DirectOrder, OverPotentialError, UnaskedOffer
from core.errors import ConflictError, InvalidError
from vtn.services import site

from .conftest import START


def unasked(contract, power_w, **more):
    interval = PowerInterval(START, 900, power_w)
    return UnaskedOffer(contract.id, "reduce", (interval,), START - timedelta(minutes=30), **more)


async def test_only_the_homes_of_an_offers_area_are_called(trade):
    north = [home.ven_id for home in (await trade.join(6))[:3]]
    async with trade.world.tx() as tx:
        await site.set_area(tx, north, "North", trade.now, time_zone="UTC", who="test")
    contract = await trade.contract_with(limits=Limits(areas=("North",)))
    made = await trade.sales.offer(unasked(contract, 1000, area="North"), who="test")
    assert made.area == "North"
    bought = await trade.activation(await trade.accept(made))
    assert bought.terms.area == "North"
    await trade.market.turn()
    assert set(await trade.called()) <= set(north)


async def test_more_than_the_pool_can_do_says_what_it_can(trade):
    await trade.join(4)
    with pytest.raises(OverPotentialError) as refused:
        await trade.sales.offer(unasked(trade.contract, 90_000), who="test")
    assert 0 < min(refused.value.possible_w) < 4000
    assert refused.value.field == "intervals"


async def test_what_is_sold_is_called_and_less_than_homes_can_give_is_not_sold(trade):
    await trade.join(10, power_w=100_000.0)
    request_id = await trade.request(trade.wish((1000, 5000)))
    await trade.market.turn()
    declined = await trade.requested(request_id)
    assert declined.status == "declined"
    assert "50000 W are sold at least" in declined.reason
    assert declined.possible_w[0] > 100_000
    with pytest.raises(OverPotentialError, match="50000 W are sold at least"):
        await trade.sales.offer(unasked(trade.contract, 5000), who="test")
    direct = await trade.contract_with(limits=Limits(direct_orders=True))
    with pytest.raises(ConflictError, match="50000 W are sold at least"):
        await trade.sales.order(direct.id, DirectOrder("reduce", (PowerInterval(START, 900, 5000),)), who="test")
    offer = await trade.offer(trade.wish((0, 50_000)))
    assert [(one.id, one.min_activation_factor) for one in offer.options] == [("full", 1.0)]
    await trade.accept(offer)
    await trade.market.turn()
    assert len(await trade.called()) == 1


async def test_no_factor_leaves_less_than_homes_can_give(trade):
    await trade.join(10)
    offer = await trade.offer(trade.wish((0, 2000)))
    assert {one.id: one.min_activation_factor for one in offer.options} == {"full": 0.25, "reduced": 0.5}
    made = await trade.sales.offer(unasked(trade.contract, 2000, min_activation_factor=0.1), who="test")
    assert made.options[0].min_activation_factor == 0.25


async def test_less_than_a_watt_cannot_be_accepted(trade):
    await trade.join(100, power_w=1.0)
    made = await trade.sales.offer(unasked(trade.contract, 50, min_activation_factor=0.01), who="test")
    async with trade.world.tx() as tx:
        with pytest.raises(InvalidError, match="less than a watt"):
            await offers.accept(tx, made.id, offers.FULL, trade.now, who="brp", factor=0.01)
    assert await trade.world.rows("activation") == []
