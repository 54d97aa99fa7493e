"""A toy API that uses every feature of the shell: kettles."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry
from pydantic import Field

from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError
from core.spans import Duration
from web.api import Api, Context
from web.auth import Principal, Role, hash_token, new_token
from web.model import IsoDuration, Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page
from web.server import HttpMetrics, make_app

QUARTER = Duration(0, 900)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Boil:
    value: Annotated[float, Field(ge=0, le=3000)]
    duration: IsoDuration = QUARTER


class NewKettle(Model):
    name: Annotated[str, Field(min_length=1, max_length=40)]
    colour: Colour = Colour.RED
    intervals: Annotated[tuple[Boil, ...], Field(max_length=10)] = ()
    bought: UtcTime | None = None
    age: Annotated[int, Field(ge=0, le=1000)] | Literal["unknown"] = 0


class Change(Model):
    name: Annotated[str, Field(min_length=1, max_length=40)]


class Kettle(NewKettle):
    id: str


@dataclass(frozen=True, slots=True)
class Measured:
    watts: float


class Shelf:
    """Holds kettles; its methods are the operations."""

    ORDER = Keyset("kettles", datetime, str)

    def __init__(self) -> None:
        self.kettles: dict[str, Kettle] = {}

    @operation(
        "POST",
        "/kettles",
        summary="Add a kettle",
        role="dispatcher",
        tags=["kettles"],
        status=201,
        errors=[409],
        example={"name": "whistler", "intervals": [{"value": 1500, "duration": "PT15M"}]},
    )
    async def add_kettle(self, context: Context, body: NewKettle) -> Kettle:
        if body.name in {kettle.name for kettle in self.kettles.values()}:
            raise ConflictError("A kettle of that name exists.")
        kettle = Kettle(id=f"k{len(self.kettles)}", **dict(body))
        self.kettles[kettle.id] = kettle
        context.headers["Location"] = f"/kettles/{kettle.id}"
        return kettle

    @operation("GET", "/kettles", summary="List kettles", role="viewer", tags=["kettles"])
    async def list_kettles(
        self,
        _context: Context,
        limit: Limit = 50,
        cursor: Cursor | None = None,
        colour: list[Colour] | None = None,
        from_: UtcTime | None = None,
        cold: bool | None = None,
        order: Literal["name", "id"] = "id",
    ) -> Page[Kettle]:
        after = self.ORDER.decode(cursor)
        rows = [one for one in self.kettles.values() if colour is None or one.colour in colour]
        rows = [one for one in rows if after is None or one.id > after[1]]
        rows = [one for one in rows if from_ is None or (one.bought is not None and one.bought >= from_)]
        rows = sorted(rows if not cold else [], key=lambda one: getattr(one, order))
        return self.ORDER.page(rows, limit, key=lambda one: (datetime(2026, 1, 1, tzinfo=UTC), one.id))

    @operation("GET", "/kettles/{kettle_id}", summary="Read a kettle", role="viewer", tags=["kettles"], errors=[404])
    async def read_kettle(self, _context: Context, kettle_id: str) -> Kettle:
        if kettle_id not in self.kettles:
            raise NotFoundError(f"No kettle {kettle_id}.")
        return self.kettles[kettle_id]

    @operation(
        "PATCH",
        "/kettles/{kettle_id}",
        summary="Rename a kettle",
        role="dispatcher",
        tags=["kettles"],
        errors=[404, 412, 428],
    )
    async def rename_kettle(self, context: Context, kettle_id: str, body: Change) -> Kettle:
        kettle = await self.read_kettle(context, kettle_id)
        context.require_match(kettle, required=True)
        self.kettles[kettle_id] = kettle.model_copy(update={"name": body.name})
        return self.kettles[kettle_id]

    @operation("PUT", "/kettles/{kettle_id}", summary="Replace a kettle", role="dispatcher", errors=[404])
    async def replace_kettle(self, context: Context, kettle_id: str, body: NewKettle) -> Kettle:
        await self.read_kettle(context, kettle_id)
        self.kettles[kettle_id] = Kettle(id=kettle_id, **dict(body))
        return self.kettles[kettle_id]

    @operation("PUT", "/kettles/{kettle_id}/lid", summary="Put the lid on", role="dispatcher", errors=[404])
    async def close_lid(self, context: Context, kettle_id: str) -> str:
        await self.read_kettle(context, kettle_id)
        self.kettles[kettle_id] = self.kettles[kettle_id].model_copy(update={"name": "lidded"})
        return "click"

    @operation("GET", "/kettles/{kettle_id}/lid", summary="Look at the lid", role="viewer", errors=[404])
    async def read_lid(self, context: Context, kettle_id: str) -> Kettle:
        return await self.read_kettle(context, kettle_id)

    @operation("DELETE", "/kettles/{kettle_id}", summary="Drop a kettle", role="admin", tags=["kettles"], errors=[404])
    async def drop_kettle(self, context: Context, kettle_id: str) -> None:
        await self.read_kettle(context, kettle_id)
        del self.kettles[kettle_id]

    @operation("GET", "/me", summary="Who am I?", role=["viewer", "brp"])
    async def me(self, context: Context) -> dict[str, str]:
        return {"id": context.principal.id, "request": context.request_id}

    @operation("GET", "/double", summary="Double a number", role=None)
    async def double(self, _context: Context, number: int, factor: Annotated[float, Field(le=1e9)] = 2.0) -> float:
        if factor < -1e9:
            raise InvalidError("So much less than nothing cannot be said.")
        return number * factor


@operation("GET", "/fail/{how}", summary="Fail", role=None, errors=[403, 404, 409, 503])
async def fail(context: Context, how: str) -> Measured:
    errors: dict[str, Exception] = {
        "invalid": InvalidError("Bad value."),
        "not-found": NotFoundError("No such thing."),
        "conflict": ConflictError("Too late."),
        "forbidden": ForbiddenError("Not yours."),
        "unavailable": UnavailableError("The database does not answer."),
        "internal": RuntimeError("password=hunter2"),
        "moved": web.HTTPSeeOther("/double"),
    }
    if how in errors:
        raise errors[how]
    return Measured(float("nan") if how == "nan" else "many" if how == "text" else 1.0)  # type: ignore[arg-type]


@operation("GET", "/stream", summary="Half a stream", role=None, media_type="text/csv")
async def stream(context: Context, whole: bool = True) -> web.StreamResponse:
    context.headers["Content-Type"] = "text/csv"
    if whole:
        return web.Response(body=b"a,b\n", headers=context.headers)
    response = web.StreamResponse(headers=context.headers)
    await response.prepare(context.request)
    await response.write(b"a,b\n")
    raise RuntimeError("broken off")


@dataclass
class Tokens:
    """A lookup in memory that counts its questions."""

    by_hash: dict[str, Principal] = field(default_factory=dict)
    asked: int = 0

    def issue(self, role: Role, **more: Any) -> str:
        token = new_token()
        self.by_hash[hash_token(token)] = Principal(f"p_{role}", role.title(), role, **more)
        return token

    async def by_token_hash(self, token_hash: str) -> Principal | None:
        self.asked += 1
        await asyncio.sleep(0)
        return self.by_hash.get(token_hash)


class Toy(NamedTuple):
    client: TestClient
    api: Api
    tokens: Tokens
    shelf: Shelf
    registry: CollectorRegistry
    ready: dict[str, bool]

    def bearer(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.issue(role)}"}


@pytest.fixture
async def toy(aiohttp_client):
    shelf, tokens, registry, ready = Shelf(), Tokens(), CollectorRegistry(), {"database": True}
    operations = [
        shelf.add_kettle,
        shelf.list_kettles,
        shelf.read_kettle,
        shelf.rename_kettle,
        shelf.replace_kettle,
        shelf.close_lid,
        shelf.read_lid,
        shelf.drop_kettle,
        shelf.me,
        shelf.double,
        fail,
        stream,
    ]
    api = Api("Kettles", "1.2.3", operations, description="A toy.")

    async def database() -> bool:
        if ready["database"] is None:
            raise OSError("secret path")
        return ready["database"]

    app = make_app(
        api,
        tokens,
        hosts={"127.0.0.1", "localhost", "[::1]"},
        metrics=HttpMetrics(registry),
        ready={"database": database},
        max_body_bytes=20_000,
    )
    return Toy(await aiohttp_client(app), api, tokens, shelf, registry, ready)
