"""Every route of a whole server, as every kind of caller: nobody gets further than the document says."""

import re
import ssl
from datetime import UTC, datetime

import aiohttp
import pytest

from evenload.server import running
from evenload.settings import load_settings
from evenload.setup import Shape, prepare
from vtn.services import principals
from web.auth import Role

_LADDER = ("viewer", "dispatcher", "admin")
_METHODS = ("get", "post", "put", "patch", "delete")
_LET_IN = {200, 201, 202, 204, 400, 404, 409, 412, 415, 422, 428}
"""Answers to a request without body that names what is not there, of those who may ask."""


@pytest.fixture
async def server(tmp_path):
    """Return (ask, tokens): a function that sends a request, and a token for each kind of principal."""
    made = await prepare(tmp_path / "vtn", ("127.0.0.1",), "roles", Shape("127.0.0.1", 0, 0))
    context = ssl.create_default_context(cafile=tmp_path / "vtn" / "ca" / "ca.pem")
    async with running(load_settings(made.settings)) as vtn:
        tokens = {None: None}
        async with vtn.db.write() as tx:
            for role in Role:
                tokens[role.value] = await principals.create(tx, f"a {role}", role, datetime.now(UTC), who="test")
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(vtn.api_url, connector=connector) as session:

            async def ask(method, path, token=None, **more):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                async with session.request(method, path, headers=headers, **more) as answer:
                    return answer.status, await answer.json() if "json" in answer.content_type else None

            _, brp = await ask("POST", "/v1/brps", tokens["admin"], json={"name": "Balance & Co"})
            form = {"grant_type": "client_credentials"} | {
                "client_id": brp["client"]["id"],
                "client_secret": brp["secret"],
            }
            _, got = await ask("POST", "/brp/v1/token", data=form)
            tokens["a BRP's program"] = got["access_token"]
            yield ask, tokens


def _routes(document):
    """Yield (method, path, roles, scopes) of every operation of a document."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                told = item[method]
                scopes = [scope for one in told.get("security", ()) for names in one.values() for scope in names]
                yield method.upper(), re.sub(r"\{[a-z_]+\}", "nothing", path), told.get("x-roles", []), scopes


def _may(who, roles):
    if who in _LADDER:
        return any(role in _LADDER and _LADDER.index(who) >= _LADDER.index(role) for role in roles)
    return who in roles


async def test_every_route_as_every_principal(server):
    ask, tokens = server
    walked = 0
    for document_path, is_brp in (("/openapi.json", False), ("/brp/openapi.json", True)):
        _, document = await ask("GET", document_path)
        for method, path, roles, _ in _routes(document):
            for who, token in tokens.items():
                status, _ = await ask(method, path, token)
                said = f"{who}: {method} {path} -> {status}"
                is_program = who == "a BRP's program"
                if not roles:
                    assert status not in {401, 403, 500}, said
                elif who is None or is_program != is_brp:
                    assert status in {401, 429}, said  # 429: so many wrong tokens look like guessing
                elif is_program:
                    assert status in _LET_IN | {403}, said  # 403: a scope that has to be asked for
                elif _may(who, roles):
                    assert status in _LET_IN | {503}, said
                else:
                    assert status == 403, said
                walked += 1
    assert walked > 800


async def test_reading_needs_a_viewer_and_changing_needs_more(server):
    ask, _ = server
    _, document = await ask("GET", "/openapi.json")
    open_to_all = {path for _, path, roles, _ in _routes(document) if not roles}
    assert open_to_all == {"/v1/enrolments", "/v1/ca.pem", "/health", "/health/live"}
    for method, path, roles, _ in _routes(document):
        if method != "GET" and roles:
            assert "viewer" not in roles, path
    _, document = await ask("GET", "/brp/openapi.json")
    for method, path, roles, scopes in _routes(document):
        assert not roles or scopes or path == "/brp/v1/me", path
        if method != "GET":
            assert not any(scope.endswith(":read") for scope in scopes), path
