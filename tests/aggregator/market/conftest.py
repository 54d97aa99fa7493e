"""A market on a VTN in memory: homes with potential, a programme, a BRP with a contract, and the market's worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import insert, update

from aggregator.trade import activations, brps, contracts, offers, requests
from aggregator.trade.contracts import Contract, ContractTerms, Limits, Price
from aggregator.trade.requests import Need, NeedInterval
from aggregator.trade.sales import Sales
from aggregator.trade.worker import MarketSettings, TradeWorker
from core.points import Kind, Quantity
from openadr.model.opt import OptType
from support.databases import DIALECTS
from support.vtn_world import NOON, Ven, World, migrated_sqlite, open_copy, world_on
from vtn.services import potential
from vtn.services.potential import Figures
from vtn.services.programme import Programme
from vtn.store import Database, readings
from vtn.store.readings import SeriesKey, Values
from vtn.store.tables import ven as ven_table
from vtn.store.tables import webhook_subscription

START = NOON + timedelta(hours=1)
STALE_AFTER_S = 300.0
SETTINGS = MarketSettings(STALE_AFTER_S, report_after=timedelta(minutes=10), final_after=timedelta(days=1))
PRICE = Price("EUR", "0.20", "0.10", "0.40")


@dataclass
class Trade:
    """Everything that a test of the market needs; world time moves when the test says so."""

    world: World
    sales: Sales
    market: TradeWorker
    programme: Programme
    party_id: str
    contract: Contract
    homes: list[Ven] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.world.now

    async def join(self, count: int, **power: Any) -> list[Ven]:
        """Let homes take part, each with a potential of 1 kW in both directions unless said otherwise."""
        from vtn.services import programme  # noqa: PLC0415  the name is a field here

        new = await self.world.vens(count)
        async with self.world.tx() as tx:
            await programme.enrol(tx, self.programme.id, [one.ven_id for one in new], self.now, who="test")
        await self.world.metered(*new)
        await self.can(new, **power)
        self.homes += new
        await self.seen()
        return new

    async def can(self, vens: Sequence[Ven], power_w: float = 1000.0, *, increase_w: float | None = None) -> None:
        """Let VENs report a potential from now on for two days: p10 a tenth below, p90 a tenth above."""
        start_s = int(self.now.timestamp()) // 900 * 900
        both = {"reduce": power_w, "increase": power_w if increase_w is None else increase_w}
        async with self.world.tx() as tx:
            for one in vens:
                figures = [
                    Figures("heater", which, start_s, 900, *((most_w * part,) * 192 for part in (0.9, 1.0, 1.1)))
                    for which, most_w in both.items()
                ]
                await potential.derived(tx, one.ven_id, figures, self.now)

    async def seen(self, *vens: Ven) -> None:
        """Note that VENs (all of them by default) were seen just now."""
        ven_ids = [one.ven_id for one in vens or self.homes]
        async with self.world.tx() as tx:
            await tx.conn.execute(update(ven_table).where(ven_table.c.id.in_(ven_ids)).values(last_seen_at=self.now))

    async def at(self, when: datetime, *, seen: bool = True, turns: int = 1) -> None:
        """Let it be that time, with the homes online, and do the market's work."""
        self.world.clock.advance(to=when)
        if seen:
            await self.seen()
        for _ in range(turns):
            await self.market.turn()

    def wish(
        self,
        *power: tuple[int, int],
        start: datetime = START,
        duration_s: int = 900,
        direction: str = "reduce",
        **more: Any,
    ) -> Need:
        """Return a wish for (min, max) watts, one interval each; by default an hour from 1 to 4 kW."""
        wanted = power or ((1000, 4000),) * 4
        steps = [start + n * timedelta(seconds=duration_s) for n in range(len(wanted))]
        intervals = tuple(NeedInterval(at, duration_s, *one) for at, one in zip(steps, wanted, strict=True))
        deadline = more.pop("deadline", min(self.now + timedelta(minutes=30), start))
        return Need(direction, intervals, deadline, **more)

    async def request(self, wish: Need | None = None, **more: Any) -> str:
        async with self.world.tx() as tx:
            return await requests.create(
                tx, self.contract.id, wish or self.wish(**more), self.now, who="brp", party_id=self.party_id
            )

    async def requested(self, request_id: str) -> requests.Request:
        async with self.world.db.read() as conn:
            return await requests.get(conn, request_id)

    async def offer(self, wish: Need | None = None, **more: Any) -> offers.Offer:
        """Request, let the market answer and return the offer."""
        request_id = await self.request(wish, **more)
        await self.market.turn()
        found = await self.requested(request_id)
        assert found.status == "offered", found.reason
        return await self.offered(found.offer_ids[-1])

    async def offered(self, offer_id: str) -> offers.Offer:
        async with self.world.db.read() as conn:
            return await offers.get(conn, offer_id)

    async def accept(self, offer: offers.Offer, option_id: str = "full", **more: Any) -> str:
        async with self.world.tx() as tx:
            return await offers.accept(
                tx, offer.id, option_id, self.now, who="brp", **({"party_id": self.party_id} | more)
            )

    async def activation(self, activation_id: str) -> activations.Activation:
        async with self.world.db.read() as conn:
            return await activations.get(conn, activation_id)

    async def running(self, wish: Need | None = None, **more: Any) -> activations.Activation:
        """Request, accept and call; return the activation."""
        activation_id = await self.accept(await self.offer(wish, **more))
        await self.market.turn()
        one = await self.activation(activation_id)
        assert one.dispatch_id is not None
        return one

    async def consume(self, ven_id: str, first: datetime, power_w: Sequence[float], step_s: int = 60) -> None:
        """Store what a home's meter reads from a time on: one mean power a step."""
        key = SeriesKey(ven_id, "meter", Quantity.ENERGY_REAL, Kind.SUM)
        energy = tuple(float(one) * step_s / 3600 for one in power_w)
        async with self.world.tx() as tx:
            await readings.store(tx, key, "Wh", Values(int(first.timestamp()), step_s, energy), self.now)

    async def answer(self, opt: OptType = OptType.IN, *, only: Sequence[str] | None = None) -> list[str]:
        """Let the called homes (or some) fetch their events and answer those that they did not answer yet."""
        waiting = {row.ven_id for row in await self.world.rows("delivery") if row.answered_at is None}
        homes = [one for one in self.homes if one.ven_id in waiting and (only is None or one.ven_id in only)]

        async def answer(home: Ven) -> None:
            for one in await home.events():
                await home.opt(one, opt)

        await asyncio.gather(*map(answer, homes))
        return [one.ven_id for one in homes]

    async def called(self) -> list[str]:
        """Return the venIDs that have an event that was not cancelled, in the order of the calls."""
        return [row.ven_id for row in await self.world.rows("event") if row.cancelled_at is None]

    async def told(self) -> list[str]:
        """Return the types of the events that were published to the BRP's subscription, in order."""
        return [row.event for row in await self.world.rows("webhook_delivery")]

    async def contract_with(self, party_id: str | None = None, **terms: Any) -> Contract:
        limits, price = terms.pop("limits", Limits()), terms.pop("price", PRICE)
        new = ContractTerms(party_id or self.party_id, self.programme.id, limits, price, **terms)
        async with self.world.tx() as tx:
            return await contracts.create(tx, new, self.now, who="test")


async def trade_on(world: World, **parameters: Any) -> Trade:
    """Open a market in a world: a programme, a BRP that hears of everything, and a contract."""
    made = await world.programme(**parameters)
    async with world.tx() as tx:
        party_id = await brps.create(tx, "Balance & Co", world.now, who="test")
        contract = await contracts.create(tx, ContractTerms(party_id, made.id, Limits(), PRICE), world.now, who="test")
        await tx.conn.execute(
            insert(webhook_subscription).values(
                id="whs_1", party_id=party_id, url="https://brp.example", events=[], secret="x", created_at=world.now
            )
        )
    sales = SETTINGS.sales(world.db, world.clock)
    return Trade(world, sales, TradeWorker(world.db, world.clock, SETTINGS, sales), made, party_id, contract)


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest.fixture
def parameters() -> dict[str, Any]:
    """Return the programme's parameters; a test module may override them."""
    return {}


@pytest_asyncio.fixture
async def trade(empty_sqlite: Path, tmp_path: Path, parameters: dict[str, Any]) -> AsyncIterator[Trade]:
    """Yield a market on SQLite."""
    async with world_on(open_copy(empty_sqlite, tmp_path / "world.db")) as world:
        yield await trade_on(world, **parameters)


@pytest_asyncio.fixture(params=DIALECTS)
async def any_trade(
    request: pytest.FixtureRequest, empty_sqlite: Path, tmp_path: Path, parameters: dict[str, Any]
) -> AsyncIterator[Trade]:
    """Yield a market on each kind of database in turn."""
    if request.param == "sqlite":
        database = open_copy(empty_sqlite, tmp_path / "world.db")
    else:
        database = await Database.open(request.getfixturevalue("postgresql_url"))
    async with world_on(database) as world:
        yield await trade_on(world, **parameters)
