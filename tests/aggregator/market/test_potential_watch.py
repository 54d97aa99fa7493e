"""BRPs hear of a changed potential: once, when it matters, if they listen (aggregator.trade.potential_watch)."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from aggregator.flexibility.pool import pool
from aggregator.topics import Topic
from aggregator.trade import available_flexibility, contracts
from aggregator.trade.contracts import ContractTerms, Limits
from aggregator.trade.potential_watch import PotentialWatch
from core.errors import UnavailableError
from vtn.store.tables import webhook_delivery, webhook_subscription

from .conftest import STALE_AFTER_S, Trade

CHANGED = Topic.POTENTIAL_CHANGED.value


def watch_of(trade: Trade) -> PotentialWatch:
    return PotentialWatch(trade.world.db, trade.world.clock, STALE_AFTER_S)


async def listen(trade: Trade, *types: str) -> None:
    async with trade.world.tx() as tx:
        await tx.conn.execute(update(webhook_subscription).values(events=list(types)))


async def told(trade: Trade) -> list[tuple[str, int]]:
    query = (
        select(webhook_delivery.c.payload).where(webhook_delivery.c.event == CHANGED).order_by(webhook_delivery.c.id)
    )
    async with trade.world.db.read() as conn:
        found = [row["data"] for row in (await conn.execute(query)).scalars()]
    return [(one["direction"], one["p10_w"]) for one in found]


async def test_a_change_by_a_tenth_is_told_once(any_trade):
    trade = any_trade
    homes = await trade.join(40)
    await asyncio.gather(watch_of(trade).turn(), watch_of(trade).turn())
    await watch_of(trade).turn()
    first = await told(trade)
    assert sorted(name for name, _ in first) == ["increase", "reduce"]
    assert all(20_000 < power < 40_000 for _, power in first)

    await trade.can(homes[:2], 800.0)  # a hundredth less
    await watch_of(trade).turn()
    assert await told(trade) == first

    await trade.can(homes[:20], 100.0)
    await watch_of(trade).turn()
    again = (await told(trade))[2:]
    assert sorted(name for name, _ in again) == ["increase", "reduce"]
    assert all(power < 25_000 for _, power in again)


async def test_after_a_day_it_is_told_anew(trade):
    await trade.join(20)
    await watch_of(trade).turn()
    async with trade.world.tx() as tx:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        await tx.conn.execute(update(webhook_delivery).values(created_at=yesterday))
    await watch_of(trade).turn()
    assert len(await told(trade)) == 4


async def test_contracts_that_draw_on_one_pool_share_its_reckoning(trade, monkeypatch):
    await trade.join(20)
    await trade.contract_with()
    reckoned = []
    monkeypatch.setattr(
        "aggregator.trade.potential_watch.pool", lambda fleet, **more: reckoned.append(fleet) or pool(fleet, **more)
    )
    await watch_of(trade).turn()
    assert (len(await told(trade)), len(reckoned)) == (4, 2)


async def test_who_does_not_listen_costs_nothing(trade, monkeypatch):
    await trade.join(3)
    await listen(trade, "offer.*")
    monkeypatch.setattr("aggregator.trade.potential_watch.pool", lambda *_, **__: pytest.fail("reckoned for nobody"))
    await watch_of(trade).turn()
    assert await told(trade) == []


async def test_only_what_a_valid_contract_allows_is_told(trade):
    await trade.join(20)
    await listen(trade, CHANGED)
    async with trade.world.tx() as tx:
        await contracts.end(tx, trade.contract.id, trade.now, who="test")
        terms = ContractTerms(
            trade.party_id, trade.programme.id, Limits(directions=("reduce",), areas=("north", "south"))
        )
        await contracts.create(tx, terms, trade.now, who="test")
        later = ContractTerms(trade.party_id, trade.programme.id, valid_from=trade.now + timedelta(days=1))
        await contracts.create(tx, later, trade.now, who="test")
    await watch_of(trade).turn()
    assert await told(trade) == [("reduce", 0), ("reduce", 0)]  # nobody lives there


async def test_a_pool_that_cannot_be_reckoned_does_not_hold_up_the_others(trade, monkeypatch):
    load = available_flexibility.load

    async def fail_once(conn, scope, *rest, **more):
        if scope.direction == "reduce":
            raise UnavailableError("not now")
        return await load(conn, scope, *rest, **more)

    await trade.join(20)
    monkeypatch.setattr(available_flexibility, "load", fail_once)
    await watch_of(trade).turn()
    assert [name for name, _ in await told(trade)] == ["increase"]
