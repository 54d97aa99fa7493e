"""The operator API on a VTN in memory, every answer held against its OpenAPI document."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry

from certs.authority import Authority
from certs.keys import new_key, new_request
from evenload.server import operator_api
from support.vtn_world import Ven, World, migrated_sqlite, open_copy, world_on
from vtn.api import DESK, Desk
from vtn.services import principals
from vtn.services.principals import StoredPrincipals
from vtn.transport.v20b.push_address import Addresses
from web.auth import Role
from web.http_client import Guard
from web.server import HttpMetrics, make_app

STALE_AFTER_S = 100.0
PUSHES_TO = Addresses(Guard.allowing(["10.0.0.0/8"]))
_DOCUMENT: dict[str, Any] = {}
"""What is served at `/openapi.json`, read once: it never changes."""


@dataclass
class Office:
    """An operator's office: the API of a VTN, a token for each role, and the VTN's world."""

    client: TestClient
    world: World
    authority: Authority
    tokens: dict[str, str]
    document: dict[str, Any]

    def headers(self, who: str | None) -> dict[str, str]:
        return {} if who is None else {"Authorization": f"Bearer {self.tokens[who]}"}

    async def call(self, method: str, path: str, status: int, body: Any = None, *, who: str | None = "admin") -> Any:
        """Send a request and return what the answer says; its status and form must be as the document has them."""
        sent = {} if body is None else {"json": body}
        async with self.client.request(method, path, headers=self.headers(who), **sent) as answer:
            text = await answer.text()
            assert answer.status == status, text
            value = json.loads(text) if text else None
            self._check(method, path.partition("?")[0], answer, value)
            return value

    async def get(self, path: str, status: int = 200, **options: Any) -> Any:
        return await self.call("GET", path, status, **options)

    async def post(self, path: str, body: Any = None, status: int = 201, **options: Any) -> Any:
        return await self.call("POST", path, status, body, **options)

    async def put(self, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        return await self.call("PUT", path, status, body, **options)

    async def refused(self, path: str, body: Any, text: str, status: int = 422) -> None:
        """Expect a refusal that says `text` somewhere."""
        problem = await self.post(path, body, status)
        faults = problem.get("errors", ())
        told = [problem["detail"], *(f"{it.get('pointer') or it.get('field')} {it['detail']}" for it in faults)]
        assert any(text in one for one in told), told

    @staticmethod
    def signing_request() -> str:
        """Return a signing request for a new key, as a gateway makes it."""
        return new_request(new_key("ec"), "gateway")

    async def audit(self) -> list[dict[str, Any]]:
        return (await self.get("/v1/audit?limit=500"))["items"]

    async def programme(self, *vens: Ven, **parameters: Any) -> str:
        number = next(self.world.numbers)
        body = {"name": "P", "market_context": f"http://grid/{number}", "parameters": parameters}
        made = await self.post("/v1/programmes", body)
        if vens:
            ids = {"ven_ids": [one.ven_id for one in vens]}
            await self.post(f"/v1/programmes/{made['id']}/enrolments", ids, 200)
        return made["id"]

    def order(self, programme_id: str, **more: Any) -> dict[str, Any]:
        """Return the body of a dispatch: 1 kW less for an hour, in an hour."""
        signal = {
            "name": "LOAD_DISPATCH",
            "type": "delta",
            "unit": "W",
            "intervals": [{"duration": "PT1H", "value": -1000}],
        }
        start = self.world.now.replace(hour=self.world.now.hour + 1).isoformat()
        return {"programme_id": programme_id, "start": start, "signals": [signal], "direction": "reduce", **more}

    def _check(self, method: str, path: str, answer: Any, value: Any) -> None:
        described = self._responses(method, path)[str(answer.status)]
        components = self.document["components"]
        if "$ref" in described:
            described = components["responses"][described["$ref"].rpartition("/")[2]]
        if "content" not in described:
            assert value is None
            return
        draft = jsonschema.Draft202012Validator
        schema = {**described["content"][answer.content_type].get("schema", {}), "components": components}
        draft(schema, format_checker=draft.FORMAT_CHECKER).validate(value)

    def _responses(self, method: str, path: str) -> dict[str, Any]:
        steps = path.split("/")
        for template, operations in self.document["paths"].items():
            names = template.split("/")
            if len(names) == len(steps) and all(
                name.startswith("{") or name == step for name, step in zip(names, steps, strict=True)
            ):
                return operations[method.lower()]["responses"]
        raise AssertionError(f"{path} is not in the document")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema and nothing in it: making one takes longer than copying it."""
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest.fixture
async def office(tmp_path: Path, aiohttp_client: Any, migrated: Path) -> AsyncIterator[Office]:
    async with world_on(open_copy(migrated, tmp_path / "vtn.db")) as world:
        authority = Authority.create(tmp_path / "ca", "test CA")
        tokens = {}
        async with world.tx() as tx:
            for role in Role:
                tokens[role.value] = await principals.create(tx, role.value, role, datetime.now(UTC), who="test")
        hosts = {"127.0.0.1", "localhost"}
        app = make_app(
            operator_api(), StoredPrincipals(world.db), hosts=hosts, metrics=HttpMetrics(CollectorRegistry())
        )
        app[DESK] = Desk(
            world.db,
            world.clock,
            world.settings,
            "https://vtn.example/OpenADR2",
            authority,
            STALE_AFTER_S,
            pushes_to=PUSHES_TO,
        )
        client = await aiohttp_client(app)
        if not _DOCUMENT:
            _DOCUMENT.update(await (await client.get("/openapi.json")).json())
        yield Office(client, world, authority, tokens, _DOCUMENT)
