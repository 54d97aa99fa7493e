"""Who may do what, and who sees what: every operation, with every scope missing, and as another BRP."""

import re

import pytest
from prometheus_client import CollectorRegistry

from aggregator.api import OPERATIONS as OPERATOR_OPERATIONS
from aggregator.brp_api import BRP, GATE, OPERATIONS, mount
from aggregator.scopes import SCOPES
from vtn.services.principals import StoredPrincipals
from web.api import Api
from web.auth import Role
from web.operation import inspect_handler
from web.server import HttpMetrics, make_app

_ALL = [inspect_handler(one) for one in OPERATIONS]
_OWN = [one for one in _ALL if one.description.roles]
_MARKET = [inspect_handler(one) for one in OPERATOR_OPERATIONS]


def _path(one):
    return re.sub(r"\{[a-z_]+\}", "nothing", one.description.path)


def test_every_operation_but_the_token_asks_for_a_brp_and_a_scope():
    assert [one.id for one in _ALL if not one.description.roles] == ["create_token"]
    assert [one.id for one in _OWN if not one.description.scopes] == ["read_me"]
    assert {role for one in _OWN for role in one.description.roles} == {Role.BRP}
    assert {scope for one in _OWN for scope in one.description.scopes} == set(SCOPES)


def test_what_changes_something_asks_for_more_than_reading():
    reading = {scope for scope in SCOPES if scope.endswith(":read")}
    for one in _OWN:
        needed = set(one.description.scopes)
        if one.description.method == "GET":
            assert needed <= reading | {"webhook:manage"}
        else:
            assert not needed & reading, one.id


@pytest.mark.parametrize("missing", SCOPES)
async def test_without_its_scope_an_operation_is_closed(market, missing):
    buyer = await market.buyer(scopes=tuple(scope for scope in SCOPES if scope != missing))
    for one in _OWN:
        async with market.http.request(one.description.method, _path(one), headers=buyer.headers) as answer:
            text = await answer.text()
            if missing in one.description.scopes:
                assert answer.status == 403, one.id
                assert "insufficient_scope" in answer.headers["WWW-Authenticate"]
            else:
                assert answer.status in {200, 404, 415, 422, 202}, f"{one.id}: {text}"


async def test_nobody_else_comes_in(market):
    """An operator's token, of whatever role, is none of ours; nor is no token."""
    for who in (None, *market.operators):
        headers = {} if who is None else {"Authorization": f"Bearer {market.operators[who]}"}
        for one in _OWN:
            market.desk.failures._failures.clear()
            async with market.http.request(one.description.method, _path(one), headers=headers) as answer:
                assert answer.status == 401, f"{who} may call {one.id}"


async def test_a_brp_is_no_operator(market):
    buyer = await market.buyer()
    for one in _MARKET:
        async with market.http.request(one.description.method, _path(one), headers=buyer.headers) as answer:
            assert answer.status in {401, 429}, one.id
    async with market.http.get("/metrics", headers=buyer.headers) as answer:
        assert answer.status in {401, 429}


async def test_operators_need_their_role(market):
    for one in _MARKET:
        for role in Role:
            headers = {"Authorization": f"Bearer {market.operators[role.value]}"}
            async with market.http.request(one.description.method, _path(one), headers=headers) as answer:
                allowed = any(role.includes(needed) for needed in one.description.roles)
                assert (answer.status != 403) == allowed, f"{role} and {one.id}: {answer.status}"
                assert answer.status != 401


async def _everything(market, buyer, contract):
    """Let a BRP have one of everything; return the ids by the name of the path parameter."""
    done = await market.reported(buyer, contract)
    (settlement,) = (await market.get("/brp/v1/settlements", buyer))["items"]
    wish = {"contract_id": contract.id, "month": done["starts_at"][:7]}
    statement = await market.post("/brp/v1/statements", buyer, wish, 200)
    subscription = await market.post("/brp/v1/webhook-subscriptions", buyer, {"url": "https://brp.example/h"})
    test = f"/brp/v1/webhook-subscriptions/{subscription['subscription']['id']}/test"
    delivery = await market.post(test, buyer, None, 202)
    offer = await market.get(f"/brp/v1/flexibility-offers/{done['offer_id']}", buyer)
    return {
        "activation_id": done["id"],
        "offer_id": offer["id"],
        "request_id": offer["request_id"],
        "settlement_id": settlement["id"],
        "statement_id": statement["id"],
        "subscription_id": subscription["subscription"]["id"],
        "delivery_id": delivery["id"],
        "contract_id": contract.id,
        "programme_id": contract.programme_id,
    }


_BODIES = {
    "cancel_request": {},
    "accept_offer": {"option_id": "full"},
    "modify_activation": {"intervals": [{"start": "2026-01-31T12:00:00Z", "duration_s": 3600, "power_w": 1}]},
    "cancel_activation": {},
    "dispute_settlement": {"reason": "x"},
    "change_subscription": {"url": "https://evil.example/"},
    "put_prices": {"prices": [{"start": "2026-01-31T12:00:00Z", "end": "2026-01-31T13:00:00Z", "per_kwh": "1"}]},
}


async def test_what_is_another_brps_is_not_there(market):
    programme = await market.programme(10)
    mine, other = await market.buyer("A"), await market.buyer("B")
    contract = await market.contract(mine, programme)
    ids = await _everything(market, mine, contract)
    ids["tariff_id"] = (
        await market.post(
            "/v1/tariffs",
            "admin",
            {
                "kind": "electricity",
                "name": "Day ahead",
                "currency": "EUR",
                "vat_included": True,
                "programme_id": programme.id,
            },
        )
    )["id"]
    before = await market.world.dump()
    for one in _OWN:
        path = one.description.path
        if "{" in path:
            body = _BODIES.get(one.id)
            await market.call(
                one.description.method,
                path.format(**ids),
                404,
                body,
                who=other,
                headers={"If-Match": "*"} if one.description.method in {"PATCH", "PUT"} else None,
            )
    for listing in (
        "flexibility-requests", "flexibility-offers", "activations", "settlements", "statements", "tariffs",
        "webhook-deliveries", "programmes", "webhook-subscriptions",
    ):  # fmt: skip
        assert (await market.get(f"/brp/v1/{listing}", other))["items"] == []
    for query in (f"contract_id={ids['contract_id']}", f"activation_id={ids['activation_id']}"):
        assert (await market.get(f"/brp/v1/settlements?{query}", other))["items"] == []
    span = "from=2026-01-12T13:00:00Z&until=2026-01-12T14:00:00Z"
    await market.get(f"/brp/v1/portfolio/potential?contract_id={contract.id}&{span}", other, 404)
    await market.get(f"/brp/v1/portfolio/baseline?contract_id={contract.id}&day=2026-02-01", other, 404)
    nomination = {"contract_id": contract.id, "day": "2026-01-13", "step_s": 3600, "power_w": [1] * 24}
    await market.call("PUT", "/brp/v1/portfolio/baseline", 404, nomination, who=other)
    await market.post("/brp/v1/flexibility-requests", other, market.wish(contract), 404)
    order = {"contract_id": contract.id, "direction": "reduce", "intervals": [market.hour(1, power_w=100)]}
    await market.post("/brp/v1/activations", other, order, 404)
    assert (await market.get("/brp/v1/me", other))["contracts"] == []
    assert await market.world.dump() == before


async def test_a_flood_of_one_client_leaves_the_others_alone(market, aiohttp_client):
    app = make_app(
        Api("operator", "1", []),
        StoredPrincipals(market.world.db),
        hosts={"127.0.0.1"},
        metrics=HttpMetrics(CollectorRegistry()),
        mounts=[mount(market.desk, market.gate, requests_per_minute=5)],
    )
    app[BRP], app[GATE] = market.desk, market.gate
    client = await aiohttp_client(app)
    greedy, modest = await market.buyer("A"), await market.buyer("B")
    statuses = []
    for _ in range(8):
        async with client.get("/brp/v1/me", headers=greedy.headers) as answer:
            statuses.append(answer.status)
            assert answer.headers["RateLimit-Policy"] == '"default";q=5;w=60'
            assert ("Retry-After" in answer.headers) == (answer.status == 429)
    assert statuses == [200] * 5 + [429] * 3
    async with client.get("/brp/v1/me", headers=modest.headers) as answer:
        assert answer.status == 200
