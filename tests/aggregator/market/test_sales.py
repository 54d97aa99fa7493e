"""Selling: what is offered unasked is what is called for, and no more (aggregator.trade.sales)."""

from datetime import timedelta

import pytest

from aggregator.intervals import PowerInterval
from aggregator.trade import offers
from aggregator.trade.contracts import Limits
from aggregator.trade.sales import OverPotentialError, UnaskedOffer
from core.errors import InvalidError
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


async def test_less_than_a_watt_cannot_be_accepted(trade):
    await trade.join(4)
    made = await trade.sales.offer(unasked(trade.contract, 50, min_activation_factor=0.01), who="test")
    async with trade.world.tx() as tx:
        with pytest.raises(InvalidError, match="less than a watt"):
            await offers.accept(tx, made.id, offers.FULL, trade.now, who="brp", factor=0.01)
    assert await trade.world.rows("activation") == []
