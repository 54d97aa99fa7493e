"""A VTN with tariffs: on SQLite for most tests, on both databases for what SQL decides."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry
from sqlalchemy import insert, update

from aggregator.api.tariffs import OPERATIONS
from core.ids import new_id
from support.databases import DIALECTS
from support.vtn_world import Ven, World, migrated_sqlite, open_copy, world_on
from vtn.api import DESK, Desk
from vtn.api.principals import create_household_token
from vtn.api.system import list_audit
from vtn.services import principals
from vtn.services.principals import StoredPrincipals
from vtn.store import Database
from vtn.store.tables import party, principal, site, ven
from web.api import Api
from web.auth import Role
from web.server import HttpMetrics, make_app


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest_asyncio.fixture
async def world(empty_sqlite: Path, tmp_path: Path) -> AsyncIterator[World]:
    async with world_on(open_copy(empty_sqlite, tmp_path / "world.db")) as made:
        yield made


@pytest_asyncio.fixture(params=DIALECTS)
async def any_world(request: pytest.FixtureRequest, empty_sqlite: Path, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "sqlite":
        database = open_copy(empty_sqlite, tmp_path / "world.db")
    else:
        database = await Database.open(request.getfixturevalue("postgresql_url"))
    async with world_on(database) as made:
        yield made


@dataclass
class Counter:
    """The REST API of tariffs on a world, with a token for every role."""

    client: TestClient
    world: World
    tokens: dict[str, str]

    async def call(
        self, method: str, path: str, status: int, body: Any = None, *, who: str | None = "admin", **headers: str
    ) -> Any:
        """Send a request, expect a status, return the answer; with its ETag as `etag`, where it has one."""
        sent = {} if body is None else {"json": body}
        bearer = {} if who is None else {"Authorization": f"Bearer {self.tokens[who]}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, path, headers={**bearer, **named}, **sent) as answer:
            text = await answer.text()
            assert answer.status == status, text
            self.etag = answer.headers.get("ETag")
            return json.loads(text) if text else None

    async def get(self, path: str, status: int = 200, **options: Any) -> Any:
        return await self.call("GET", path, status, **options)

    async def post(self, path: str, body: Any = None, status: int = 201, **options: Any) -> Any:
        return await self.call("POST", path, status, body, **options)

    async def put(self, path: str, body: Any, status: int = 200, **options: Any) -> Any:
        return await self.call("PUT", path, status, body, **options)

    async def audit(self) -> list[dict[str, Any]]:
        return (await self.get("/v1/audit?limit=500"))["items"]


@pytest_asyncio.fixture
async def counter(world: World, aiohttp_client: Any) -> Counter:
    tokens = {}
    async with world.tx() as tx:
        for role in Role:
            tokens[role.value] = await principals.create(tx, role.value, role, datetime.now(UTC), who="test")
    api = Api("tariffs", "1", (*OPERATIONS, list_audit, create_household_token))
    metrics = HttpMetrics(CollectorRegistry())
    app = make_app(api, StoredPrincipals(world.db), hosts={"127.0.0.1", "localhost"}, metrics=metrics)
    app[DESK] = Desk(world.db, world.clock, world.settings, "https://vtn.example/OpenADR2", None)
    return Counter(await aiohttp_client(app), world, tokens)


@dataclass
class Street:
    """Sites in a world."""

    world: World

    async def home(self, *vens: Ven, area: str | None, household: str | None = None) -> str:
        """Give VENs a site in an area; a household's principal of that name lives there. Return the party's id."""
        party_id, site_id = new_id("pty"), new_id("sit")
        async with self.world.tx() as tx:
            await tx.conn.execute(insert(party).values(id=party_id, kind="person", created_at=self.world.now))
            await tx.conn.execute(insert(site).values(id=site_id, party_id=party_id, time_zone="UTC", area=area))
            for one in vens:
                await tx.conn.execute(update(ven).where(ven.c.id == one.ven_id).values(site_id=site_id))
            if household is not None:
                lives = update(principal).where(principal.c.name == household).values(party_id=party_id)
                await tx.conn.execute(lives)
        return party_id


@pytest.fixture
def street(world: World) -> Street:
    return Street(world)


@pytest.fixture
def hours() -> Any:
    """Return hourly prices from a time on, as the API writes them."""

    def make(start: datetime, *amounts: str) -> list[dict[str, str]]:
        return [
            {"start": (start + timedelta(hours=place)).isoformat(), "duration": "PT1H", "per_kwh": amount}
            for place, amount in enumerate(amounts)
        ]

    return make
