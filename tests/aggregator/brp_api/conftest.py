"""The BRP API and what the aggregator adds to the operator API, with every answer held against its document."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry
from sqlalchemy import update

from aggregator.api import OPERATIONS
from aggregator.brp_api import BRP, GATE, BrpDesk, TokenGate, mount
from aggregator.brp_api.webhook_messages import BODIES
from aggregator.keys import SALES
from aggregator.scopes import SCOPES
from aggregator.trade import brps, contracts
from aggregator.trade.contracts import Contract, ContractTerms, Limits, Price
from aggregator.trade.sales import Sales
from aggregator.trade.worker import MarketSettings, TradeWorker
from core.points import Kind, Quantity
from support.vtn_world import Ven, World, migrated_sqlite, open_copy, world_on
from vtn.api import DESK, Desk
from vtn.api import OPERATIONS as OF_VTN
from vtn.services import api_clients, potential, principals
from vtn.services.access_tokens import Tokens
from vtn.services.idempotency import RequestKeys
from vtn.services.potential import Figures
from vtn.services.principals import StoredPrincipals
from vtn.services.programme import Programme
from vtn.store import Database, readings
from vtn.store.readings import SeriesKey, Values
from vtn.store.tables import ven as ven_table
from web.api import Api
from web.auth import FailureLimit, Role
from web.http_client import Guard
from web.idempotency import Idempotency
from web.server import HttpMetrics, make_app

STALE_AFTER_S = 100.0
_DOCUMENTS: dict[str, dict[str, Any]] = {}
"""What is served at either address with so many operations, read once: it never changes."""


@dataclass
class Buyer:
    """A BRP with a program, and a token for everything that it may do."""

    party_id: str
    client_id: str
    secret: str
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class Market:
    """The market's API on a VTN in memory, an operator's tokens, and the document of either side."""

    http: TestClient
    world: World
    desk: BrpDesk
    gate: TokenGate
    worker: TradeWorker
    operators: dict[str, str]
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def buyer(self, name: str = "Balance & Co", scopes: tuple[str, ...] = tuple(SCOPES), **more: Any) -> Buyer:
        """Create a BRP with a program, and get its token."""
        async with self.world.tx() as tx:
            party_id = await brps.create(tx, name, self.world.now, who="test")
            client, secret = await api_clients.create(
                tx, party_id, "main", scopes, datetime.now(UTC), who="test", offered=SCOPES, **more
            )
        buyer = Buyer(party_id, client.id, secret)
        if not more:
            buyer.token = await self.token(buyer)
        return buyer

    async def token(self, buyer: Buyer, scope: str | None = None) -> str:
        """Get a token from the API."""
        form = {"grant_type": "client_credentials", "client_id": buyer.client_id, "client_secret": buyer.secret}
        async with self.http.post("/brp/v1/token", data=form | ({"scope": scope} if scope else {})) as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["access_token"]

    async def contract(self, buyer: Buyer, programme: Programme, price: Price | None = None, **limits: Any) -> Contract:
        """Make a contract about a programme; direct orders are allowed unless said otherwise."""
        terms = ContractTerms(
            buyer.party_id,
            programme.id,
            Limits(**({"direct_orders": True} | limits)),
            price or Price("EUR", "0.20", "0.05", "0.40"),
        )
        async with self.world.tx() as tx:
            return await contracts.create(tx, terms, self.world.now, who="test")

    async def programme(self, homes: int = 0, power_w: float = 1000.0, **parameters: Any) -> Programme:
        """Create a programme with homes that are online and can do so much in either direction, for two days."""
        vens = [await self.world.ven(register=False) for _ in range(homes)]
        await asyncio.gather(*(one.register() for one in vens))
        await self.world.metered(*vens)
        made = await self.world.programme(*vens, **parameters)
        await self.can(vens, power_w)
        return made

    async def can(self, vens: Sequence[Ven], power_w: float = 1000.0) -> None:
        """Let VENs be online and able to do so much in either direction, for two days."""
        start_s = int(self.world.now.timestamp()) // 900 * 900
        rows = [(power_w * part,) * 192 for part in (0.9, 1.0, 1.1)]
        async with self.world.tx() as tx:
            for one in vens:
                figures = [Figures("heater", which, start_s, 900, *rows) for which in ("reduce", "increase")]
                await potential.derived(tx, one.ven_id, figures, self.world.now)
        await self.seen()

    async def seen(self) -> None:
        """Note that every VEN was seen just now."""
        async with self.world.tx() as tx:
            await tx.conn.execute(update(ven_table).values(last_seen_at=self.world.now))

    async def turn(self, *, later: timedelta = timedelta()) -> None:
        """Let world time pass with the homes online, and do the market's work once."""
        self.world.clock.advance(later)
        await self.seen()
        await self.worker.turn()

    def hour(self, hours_ahead: float = 1.0, **power: int) -> dict[str, Any]:
        """Return an interval of an hour that begins so many hours from now."""
        start = self.world.now + timedelta(hours=hours_ahead)
        return {"start": start.isoformat(), "duration_s": 3600, **power}

    def wish(self, contract: Contract, hours_ahead: float = 1.0, **more: Any) -> dict[str, Any]:
        """Return the body of a request for 1 to 4 kW less for an hour, to be answered within half an hour."""
        deadline = self.world.now + timedelta(hours=min(hours_ahead, 0.5))
        interval = self.hour(hours_ahead, min_w=1000, max_w=4000)
        body = {"contract_id": contract.id, "direction": "reduce", "intervals": [interval]}
        return body | {"deadline": deadline.isoformat()} | more

    async def offer(self, buyer: Buyer, contract: Contract, **wish: Any) -> dict[str, Any]:
        """Request over the API, let the market answer, and return the offer."""
        made = await self.post("/brp/v1/flexibility-requests", buyer, self.wish(contract, **wish), 202)
        await self.turn()
        found = await self.get(f"/brp/v1/flexibility-requests/{made['id']}", buyer)
        assert found["status"] == "offered", found
        return await self.get(f"/brp/v1/flexibility-offers/{found['offer_ids'][0]}", buyer)

    async def activation(self, buyer: Buyer, contract: Contract, **wish: Any) -> dict[str, Any]:
        """Request, accept, call; return the activation."""
        offer = await self.offer(buyer, contract, **wish)
        made = await self.post(f"/brp/v1/flexibility-offers/{offer['id']}/acceptance", buyer, {"option_id": "full"})
        await self.turn()
        return await self.get(f"/brp/v1/activations/{made['id']}", buyer)

    async def reported(self, buyer: Buyer, contract: Contract) -> dict[str, Any]:
        """Let an activation run to its end and be reported; return it."""
        one = await self.activation(buyer, contract)
        for later in (timedelta(hours=1), timedelta(hours=1), timedelta(minutes=10)):
            await self.turn(later=later)
            await self.meter()
        return await self.get(f"/brp/v1/activations/{one['id']}", buyer)

    async def meter(self) -> None:
        """Let the meters of the called homes have read 2 kW for a month, and until now."""
        last_s = int(self.world.now.timestamp()) // 1800 * 1800
        first_s = last_s - 30 * 86400
        for ven_id in {row.ven_id for row in await self.world.rows("event")}:
            key = SeriesKey(ven_id, "meter", Quantity.ENERGY_REAL, Kind.SUM)
            values = Values(first_s, 1800, (1000.0,) * ((last_s - first_s) // 1800))
            async with self.world.tx() as tx:
                await readings.store(tx, key, "Wh", values, self.world.now)

    async def call(
        self,
        method: str,
        path: str,
        status: int,
        body: Any = None,
        *,
        who: Buyer | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send a request and return what the answer says; its status and form must be as the document has them."""
        value, _ = await self.exchange(method, path, status, body, who=who, headers=headers)
        return value

    async def exchange(
        self,
        method: str,
        path: str,
        status: int,
        body: Any = None,
        *,
        who: Buyer | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[Any, Any]:
        """Do the same, and return the answer's headers too."""
        sent: dict[str, Any] = {} if body is None else {"json": body}
        own = who.headers if isinstance(who, Buyer) else {}
        if isinstance(who, str):
            own = {"Authorization": f"Bearer {self.operators[who]}"}
        async with self.http.request(method, path, headers=own | (headers or {}), **sent) as answer:
            text = await answer.text()
            assert answer.status == status, text
            value = json.loads(text) if text and answer.content_type.endswith("json") else text or None
            self._check(method, path.partition("?")[0], answer, value)
            return value, answer.headers

    async def get(self, path: str, who: Buyer | str | None, status: int = 200, **more: Any) -> Any:
        return await self.call("GET", path, status, who=who, **more)

    async def post(self, path: str, who: Buyer | str | None, body: Any = None, status: int = 201, **more: Any) -> Any:
        return await self.call("POST", path, status, body, who=who, **more)

    async def refused(self, path: str, who: Buyer | str, body: Any, text: str, status: int = 422) -> None:
        """Expect a refusal that says `text` somewhere."""
        problem = await self.post(path, who, body, status)
        told = [problem["detail"], *(f"{one.get('pointer')} {one['detail']}" for one in problem.get("errors", ()))]
        assert any(text in one for one in told), told

    async def audited(self) -> list[tuple[str, str, str]]:
        """Return (who, action, subject) of every change so far."""
        return [(row.who, row.action, row.subject) for row in await self.world.rows("audit")]

    def _check(self, method: str, path: str, answer: Any, value: Any) -> None:
        document = self.documents["/brp" if path.startswith("/brp/") else ""]
        described = _responses(document, method, path)[str(answer.status)]
        components = document["components"]
        if "$ref" in described:
            described = components["responses"][described["$ref"].rpartition("/")[2]]
        if "content" not in described:
            assert value is None
            return
        content = described["content"][answer.content_type]
        if "schema" in content:
            draft = jsonschema.Draft202012Validator
            schema = {**content["schema"], "components": components}
            draft(schema, format_checker=draft.FORMAT_CHECKER).validate(value)


def _responses(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    for template, operations in document["paths"].items():
        if re.fullmatch(re.sub(r"\{[a-z_]+\}", "[^/]+", template), path) and method.lower() in operations:
            return operations[method.lower()]["responses"]
    raise AssertionError(f"{method} {path} is not in the document")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema and nothing in it: making one takes longer than copying it."""
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest.fixture
async def market(tmp_path: Path, aiohttp_client: Any, migrated: Path) -> AsyncIterator[Market]:
    """Yield a market on SQLite."""
    async with world_on(open_copy(migrated, tmp_path / "vtn.db")) as world:
        yield await _market_on(world, aiohttp_client)
        for row in await world.rows("webhook_delivery"):  # whatever a test had sent has the body of its topic
            if row.event in BODIES and not re.search(r"'fof_\d+'", str(row.payload)):  # those that a test made up
                BODIES[row.event].validate_json(json.dumps(row.payload), strict=True)


@pytest.fixture
async def busy_market(aiohttp_client: Any, postgresql_url: str) -> AsyncIterator[Market]:
    """Yield a market on PostgreSQL, where transactions run side by side."""
    async with world_on(await Database.open(postgresql_url)) as world:
        yield await _market_on(world, aiohttp_client)


async def _market_on(world: World, aiohttp_client: Any) -> Market:
    operators = {}
    async with world.tx() as tx:
        for role in Role:
            operators[role.value] = await principals.create(tx, role.value, role, datetime.now(UTC), who="test")
    failures = FailureLimit()
    tokens = Tokens(world.db, "urn:evenload:vtn", "brp")
    sales = Sales(world.db, world.clock, stale_after_s=STALE_AFTER_S)
    desk = BrpDesk(
        world.db,
        world.clock,
        sales,
        tokens,
        Guard.allowing(["127.0.0.1"]),
        failures,
        Idempotency(RequestKeys(world.db)),
        STALE_AFTER_S,
    )
    gate = TokenGate(world.db, tokens, failures)
    app = make_app(
        Api("evenload operator API", "1", (*OF_VTN, *OPERATIONS)),
        StoredPrincipals(world.db),
        hosts={"127.0.0.1", "localhost"},
        metrics=HttpMetrics(CollectorRegistry()),
        mounts=[mount(desk, gate, requests_per_minute=100_000)],
    )
    app[BRP], app[GATE], app[SALES] = desk, gate, sales
    app[DESK] = Desk(world.db, world.clock, world.settings, "https://vtn.example/OpenADR2", None, STALE_AFTER_S)
    worker = TradeWorker(world.db, world.clock, MarketSettings(STALE_AFTER_S), sales)
    made = Market(await aiohttp_client(app), world, desk, gate, worker, operators)
    for prefix in ("", "/brp"):
        if prefix not in _DOCUMENTS:
            _DOCUMENTS[prefix] = await (await made.http.get(f"{prefix}/openapi.json")).json()
        made.documents[prefix] = _DOCUMENTS[prefix]
    return made
