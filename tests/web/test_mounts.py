"""A further API on the same listener: its own callers, scopes, limits, document and page."""

import re
from html.parser import HTMLParser

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter

from core.errors import ConflictError
from web.api import Access, Api, Context
from web.api_docs import page
from web.auth import Principal, Role
from web.limits import RateLimit
from web.model import Model
from web.openapi import Conventions, Webhook
from web.operation import inspect_handler, operation
from web.server import HttpMetrics, Mount, make_app

SEEN = web.AppKey("seen", list)
REGISTRY = web.AppKey("registry", CollectorRegistry)


class Cup(Model):
    """A cup <of> tea."""

    size: int
    """How large & full."""
    saucer: "Cup | None" = None


class Doorman:
    """Lets everybody in who names scopes."""

    async def require(self, request: web.Request, *_roles: Role) -> Principal:
        scopes = frozenset(request.headers.get("X-Scopes", "").split())
        return Principal(request.headers.get("X-Caller", "somebody"), "Somebody", Role.BRP, scopes=scopes)


@operation(
    "GET",
    "/tea/cups",
    summary="List <cups>",
    role="brp",
    scopes=["tea:drink"],
    tags=["cups"],
    answer_example=[{"size": 1}],
)
async def list_cups(context: Context, tiny: bool = False) -> list[Cup]:
    """Return cups & saucers."""
    return [Cup(size=1)]


@operation(
    "POST", "/tea/cups", summary="Fill a cup", role="brp", tags=["cups"], status=201, headers={"Location": "Where."}
)
async def fill_cup(context: Context, body: Cup) -> Cup | web.Response:
    context.headers["Location"] = "/tea/cups/1"
    if body.size > 10:
        return web.Response(text="big", content_type="application/json")
    if body.size < 0:
        raise ConflictError("No such size.")
    return body


@operation("POST", "/tea/pour", summary="Pour", role=None, tags=["cups"], entry={"description": "By hand <b>."})
async def pour(context: Context) -> web.Response:
    return web.Response(text=await context.request.text())


SCHEME = {
    "type": "oauth2",
    "flows": {"clientCredentials": {"tokenUrl": "/tea/token", "scopes": {"tea:drink": "Drink <tea>."}}},
}
CONVENTIONS = Conventions(
    "oauth2",
    SCHEME,
    idempotent=True,
    limited=True,
    webhooks=(Webhook("cup.full", "A cup is full", TypeAdapter(Cup), {"size": 2}),),
)


def tea():
    return Api("Tea", "1", [list_cups, fill_cup, pour], description="First & last.\n\nSecond.", conventions=CONVENTIONS)


@pytest.fixture
async def shop(aiohttp_client, toy):
    seen = []

    async def around(context, raw, proceed):
        seen.append((context.request.method, raw))
        return await proceed()

    access = Access(Doorman(), RateLimit(3), around)
    registry = CollectorRegistry()
    app = make_app(
        toy.api,
        toy.tokens,
        hosts={"127.0.0.1"},
        metrics=HttpMetrics(registry),
        mounts=[Mount("/tea", tea(), access)],
    )
    app[SEEN], app[REGISTRY] = seen, registry
    return await aiohttp_client(app)


@pytest.fixture
def seen(shop):
    return shop.app[SEEN]


async def test_scopes_stand_beside_roles(shop):
    async with shop.get("/tea/cups") as answer:
        assert answer.status == 403
        assert 'scope="tea:drink"' in answer.headers["WWW-Authenticate"]
        assert answer.headers["RateLimit"].startswith('"default";r=2')
    async with shop.get("/tea/cups", headers={"X-Scopes": "tea:make tea:drink"}) as answer:
        assert await answer.json() == [{"size": 1, "saucer": None}]


async def test_every_answer_says_how_many_are_left_and_the_last_says_wait(shop):
    for left, (body, status) in enumerate([({"size": 1}, 201), ({"size": -1}, 409), ({"size": "x"}, 422)][::-1]):
        async with shop.post("/tea/cups", json=body) as answer:
            assert answer.status == status
            assert answer.headers["RateLimit"].startswith(f'"default";r={2 - left}')
    async with shop.post("/tea/cups", json={"size": 1}) as answer:
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert "RateLimit-Policy" in answer.headers
    async with shop.post("/tea/cups", json={"size": 1}, headers={"X-Caller": "another"}) as answer:
        assert answer.status == 201
        assert answer.headers["Location"] == "/tea/cups/1"


async def test_changes_go_through_what_is_around_them(shop, seen):
    await shop.get("/tea/cups", headers={"X-Scopes": "tea:drink"})
    await shop.post("/tea/cups", data=b'{"size":  11}', headers={"Content-Type": "application/json"})
    assert seen == [("POST", b'{"size":  11}')]


async def test_an_operation_may_read_its_body_itself(shop, seen):
    async with shop.post("/tea/pour", data="milk") as answer:
        assert await answer.text() == "milk"
    assert seen == []


async def test_the_other_api_is_as_before(shop):
    async with shop.get("/double?number=2") as answer:
        assert await answer.json() == 4.0
        assert "RateLimit" not in answer.headers
    labels = {"operation": "double", "status": "200"}
    assert shop.app[REGISTRY].get_sample_value("evenload_http_requests_total", labels) == 1


async def test_operations_are_counted_under_their_prefix(shop):
    await shop.get("/tea/cups")
    labels = {"operation": "tea.list_cups", "status": "403"}
    assert shop.app[REGISTRY].get_sample_value("evenload_http_requests_total", labels) == 1


async def test_each_has_a_document_of_its_own(shop):
    whole = await (await shop.get("/tea/openapi.json")).json()
    OpenAPIV31SpecValidator(whole).validate()
    assert set(whole["paths"]) == {"/tea/cups", "/tea/pour"}
    cups = whole["paths"]["/tea/cups"]
    assert cups["get"]["security"] == [{"oauth2": ["tea:drink"]}]
    assert cups["post"]["security"] == [{"oauth2": []}]
    assert [one["name"] for one in cups["post"]["parameters"]] == ["Idempotency-Key"]
    assert [one["name"] for one in cups["get"]["parameters"]] == ["tiny", "If-None-Match"]
    assert {"Location", "RateLimit", "RateLimit-Policy"} <= cups["post"]["responses"]["201"]["headers"].keys()
    assert "409" in cups["post"]["responses"]
    assert "409" not in cups["get"]["responses"]
    assert whole["paths"]["/tea/pour"]["post"]["description"] == "By hand <b>."
    assert whole["webhooks"]["cup.full"]["post"]["requestBody"]["content"]["application/json"]["example"] == {"size": 2}
    assert whole["components"]["securitySchemes"] == {"oauth2": SCHEME}
    other = await (await shop.get("/openapi.json")).json()
    assert "/tea/cups" not in other["paths"]
    assert "webhooks" not in other


class Reader(HTMLParser):
    """Collects what a page holds, and fails where it is not well nested."""

    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        told = dict(attrs)
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if "href" in told else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


async def test_each_has_a_page_for_people(shop):
    for prefix in ("", "/tea"):
        async with shop.get(f"{prefix}/docs") as answer:
            assert answer.content_type == "text/html"
            text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        reader = Reader()
        reader.feed(text)
        assert reader.open == []
        assert not {"script", "img", "iframe", "link"} & set(reader.tags)
        assert len(reader.ids) == len(set(reader.ids))
        assert {one[1:] for one in reader.links if one.startswith("#")} <= set(reader.ids)
        assert [one for one in reader.links if not one.startswith("#")] == [f"{prefix}/openapi.json"]
    assert "List &lt;cups&gt;" in text
    assert "A cup &lt;of&gt; tea." in text
    assert "By hand &lt;b&gt;." in text
    assert "Drink &lt;tea&gt;." in text
    assert "cup.full" in text


def test_the_pages_style_is_the_one_that_its_policy_allows():
    text, policy = page(tea().document(), "/x")
    assert len(re.findall("<style>", text)) == 1
    assert "'unsafe" not in policy


def test_an_answer_may_have_two_forms():
    told = inspect_handler(fill_cup)
    assert told.streams
    assert told.answer is not None
    assert told.status == 201
