"""Contracts and their small helpers: money, grids, what a subscription hears."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import money
from aggregator.flexibility import inputs
from aggregator.flexibility.fleet import Fleet, Reason
from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.topics import Topic
from aggregator.trade import brps, contracts
from aggregator.trade.contracts import ContractTerms, Limits, Price
from core.errors import InvalidError, NotFoundError
from vtn.services.webhooks import wants

from .conftest import START


async def test_brps_and_their_contracts_are_listed(any_trade):
    trade = any_trade
    second = await trade.contract_with()
    async with trade.world.db.read() as conn:
        (brp,) = await brps.listed(conn)
        assert (brp.id, brp.name) == (trade.party_id, "Balance & Co")
        mine = await contracts.listed(conn, party_id=trade.party_id)
        assert [one.id for one in mine] == sorted([trade.contract.id, second.id])
        assert await contracts.listed(conn, after=mine[0].id) == mine[1:]
        assert await contracts.listed(conn, party_id="pty_other") == []
        assert await contracts.get(conn, second.id) == second


async def test_impossible_terms_change_nothing(trade):
    good = ContractTerms(trade.party_id, trade.programme.id)
    before = await trade.world.dump()
    for expected, terms in (
        (NotFoundError, replace(good, party_id="pty_other")),
        (NotFoundError, replace(good, programme_id="prg_other")),
        (InvalidError, replace(good, limits=Limits(max_power_w=0))),
        (InvalidError, replace(good, limits=Limits(directions=()))),
        (InvalidError, replace(good, limits=Limits(directions=("up",)))),
        (InvalidError, replace(good, price=Price(currency="EURO"))),
        (InvalidError, replace(good, price=Price(per_kwh="-1"))),
        (InvalidError, replace(good, price=Price(penalty_per_kwh="1e3"))),
        (InvalidError, replace(good, valid_to=trade.now)),
    ):
        with pytest.raises(expected):
            async with trade.world.tx() as tx:
                await contracts.create(tx, terms, trade.now, who="test")
        assert await trade.world.dump() == before, terms
    with pytest.raises(InvalidError):
        async with trade.world.tx() as tx:
            await brps.create(tx, " ", trade.now, who="test")


async def test_every_change_leaves_an_audit_row(trade):
    actions = {(row.who, row.action) for row in await trade.world.rows("audit")}
    assert {("test", "create brp"), ("test", "create contract")} <= actions


@pytest.mark.parametrize("text", ["", "1,5", "1.", ".5", "1e3", "NaN", "0.123456789", "9" * 13, "\u0661"])
def test_what_is_no_amount(text):
    with pytest.raises(InvalidError):
        money.amount(text, "price")


@given(st.decimals(0, 10**9, places=8))
def test_amounts_are_exact(value):
    text = format(value, "f")
    assert money.amount(text, "price") == value
    assert Decimal(money.unit_price(value)) == round(value, 6)


def test_a_grid_divides_every_interval_in_steps_of_five_minutes_at_most():
    def grid(*durations_s):
        starts = [START + timedelta(seconds=sum(durations_s[:n])) for n in range(len(durations_s))]
        return Grid.over([PowerInterval(at, it, 1) for at, it in zip(starts, durations_s, strict=True)])

    assert (grid(900).step_s, grid(3600).step_s, grid(7200).step_s, grid(86400).step_s) == (60, 60, 120, 300)
    assert grid(420, 840, 86400).step_s == 60
    assert grid(*(900,) * 192).count == 576
    whole = grid(1800, 1800)
    assert (whole.ahead(START), whole.ahead(START + timedelta(seconds=1)), whole.ahead(whole.end)) == (0, 1, 60)
    assert whole.ahead(START - timedelta(days=1)) == 0
    assert whole.running(START + timedelta(seconds=61)) == 1


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 10**6)), min_size=1, max_size=8))
def test_a_grid_keeps_the_energy(parts):
    edge, intervals = START, []
    for minutes, power_w in parts:
        intervals.append(PowerInterval(edge, minutes * 60, power_w))
        edge = intervals[-1].end
    grid = Grid.over(intervals)
    energy = sum(one.power_w * one.duration_s for one in intervals)
    assert float(grid.power_w(intervals).sum()) * grid.step_s == pytest.approx(energy)


def test_a_fleet_comes_back_as_it_was():
    rng = np.random.default_rng(1)
    fleet = Fleet(
        ("a", "b"),
        1000,
        60,
        np.array([np.nan, 3.5]),
        *(np.repeat(rng.uniform(0, 9, (2, 3)), 5, axis=1) for _ in range(3)),
        np.array([0.8, 0.123456789]),
        np.array([0.1, 0.2]),
        np.array([3, 2**31]),
        np.array([0, 4]),
        np.array([0, 99]),
        (None, Reason.RESTING),
        np.array([-1, 0]),
        ("north",),
    )
    again = inputs.from_json(inputs.to_json(fleet))
    for name in Fleet.__slots__:
        mine, theirs = getattr(fleet, name), getattr(again, name)
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
        else:
            assert mine == theirs


def test_a_subscription_hears_its_types_its_families_or_all():
    kind = Topic.OFFER_CREATED
    assert wants([], kind)
    assert wants(["offer.created"], kind)
    assert wants(["request.declined", "offer.*"], kind)
    assert not wants(["offer.expired", "request.*"], kind)
