"""Nominations: revisions of what each side says of a day, until the day begins (aggregator.trade.nominations)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aggregator.trade import nominations, offers
from core.errors import ConflictError, InvalidError, NotFoundError
from vtn.services import programme

from .conftest import START

DAY = "2026-01-13"
FLAT = [1000] * 24


async def declare(trade, day=DAY, side="brp", step_s=3600, power_w=FLAT, **more):
    async with trade.world.tx() as tx:
        return await nominations.declare(tx, trade.contract.id, day, side, step_s, power_w, trade.now, who=side, **more)


async def test_what_the_brp_nominates_is_a_baseline_of_the_programme(any_trade):
    trade = any_trade
    await declare(trade, side="aggregator")
    assert await trade.world.rows("nominated_power") == []
    for powers in ([500] * 24, [-5] * 96):
        await declare(trade, power_w=powers, step_s=86400 // len(powers))
    first, row = await trade.world.rows("nominated_power")
    assert (row.programme_id, row.source, row.day) == (trade.contract.programme_id, trade.contract.id, DAY)
    assert (first.revision, row.revision, row.step_s, row.power_w) == (1, 2, 900, [-5] * 96)


async def test_what_is_offered_or_sold_is_measured_by_what_was_nominated_before(any_trade):
    """Who has bought could make its own bill, for homes are told of their calls much later than that."""
    trade = any_trade
    async with trade.world.tx() as tx:
        rules = await programme.get(tx.conn, trade.contract.programme_id)
        parameters = replace(rules.parameters, baseline="nominated")
        await programme.change(tx, rules.id, rules.name, parameters, trade.now, who="ann")
    first = await declare(trade, power_w=[9000] * 24)
    await trade.join(10)
    wish = trade.wish(*((0, 10**6),) * 4, start=START + timedelta(days=1))

    async def stays():
        with pytest.raises(ConflictError, match=f"offered or sold of {DAY}"):
            await declare(trade, power_w=[0] * 24)

    offer = await trade.offer(wish)
    await stays()
    assert await declare(trade, power_w=[9000] * 24) == first, "the same again is no revision"
    await declare(trade, side="aggregator", power_w=[9000] * 24)
    await declare(trade, day="2026-01-15", power_w=[5] * 24)
    async with trade.world.tx() as tx:
        await offers.revoke(tx, offer.id, trade.now, who="test")
    assert (await declare(trade, power_w=[8000] * 24)).revision == 2, "what is offered no more relies on nothing"
    await trade.accept(await trade.offer(wish))
    await stays()
    assert [row.revision for row in await trade.world.rows("nominated_power", day=DAY)] == [1, 2]


async def test_each_side_has_its_own_revisions(any_trade):
    trade = any_trade
    first = await declare(trade, party_id=trade.party_id)
    again = await declare(trade)
    second = await declare(trade, power_w=[-5] * 96, step_s=900)
    theirs = await declare(trade, side="aggregator")
    assert (first.revision, again, second.revision, theirs.revision) == (1, first, 2, 1)
    async with trade.world.db.read() as conn:
        assert await nominations.get(conn, trade.contract.id, DAY, "brp", trade.party_id) == second
        found = await nominations.revisions(conn, trade.contract.id, DAY)
        assert sorted((it.declared_by, it.revision) for it in found) == [("aggregator", 1), ("brp", 1), ("brp", 2)]
        for contract_id, day, party_id in (
            (trade.contract.id, DAY, "pty_other"),
            (trade.contract.id, "2026-01-14", None),
            ("ctr_none", DAY, None),
        ):
            with pytest.raises(NotFoundError):
                await nominations.get(conn, contract_id, day, "brp", party_id)


async def test_a_wrong_nomination_changes_nothing(trade):
    before = await trade.world.dump()
    for expected, more in (
        (NotFoundError, {"party_id": "pty_other"}),
        (ConflictError, {"day": "2026-01-12"}),
        (InvalidError, {"day": "2026-02-12"}),
        (InvalidError, {"day": "20260113"}),
        (InvalidError, {"day": "tomorrow"}),
        (InvalidError, {"step_s": 7}),
        (InvalidError, {"power_w": [1] * 23}),
        (InvalidError, {"power_w": [10**13] * 24}),
    ):
        with pytest.raises(expected):
            await declare(trade, **more)
        assert await trade.world.dump() == before, more


async def test_a_nomination_bounds_what_is_offered_as_a_reduction(trade):
    """A portfolio cannot consume less by more than it is to consume; the aggregator's own word counts first."""
    await trade.join(10)
    tomorrow = START + timedelta(days=1)

    async def offered(direction="reduce"):
        made = await trade.offer(trade.wish(*((0, 10**6),) * 4, start=tomorrow, direction=direction))
        async with trade.world.tx() as tx:
            await offers.revoke(tx, made.id, trade.now, who="test")
        return [one.power_w for one in made.options[0].intervals]

    whole, up = await offered(), await offered("increase")
    await declare(trade, power_w=[3000] * 24)
    assert await offered() == [3000] * 4
    assert await offered("increase") == up
    await declare(trade, side="aggregator", step_s=900, power_w=[10**6] * 53 + [2000] * 43)
    assert await offered() == [whole[0], 2000, 2000, 2000]
