"""The BRP API's document is valid, has an example for everything, and the server does what it says."""

import asyncio
from collections import defaultdict

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from aggregator.api import OPERATIONS
from aggregator.brp_api import brp_api
from aggregator.scopes import SCOPES
from aggregator.topics import Topic
from support.generated_times import draw_times_that_apis_take
from web.api import Api

_CONFORMS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture(scope="module")
def document():
    return brp_api().document()


def _operations(document):
    return [one for path in document["paths"].values() for one in path.values()]


def test_both_are_valid_openapi(document):
    for one in (document, Api("operator", "1", OPERATIONS).document()):
        OpenAPIV31SpecValidator(one).validate()
        for schema in one["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)


def test_days_are_dates_and_directions_one_enum(document):
    for one in (document, Api("operator", "1", OPERATIONS).document()):
        schemas = one["components"]["schemas"]
        assert schemas["Direction"]["enum"] == ["reduce", "increase"]
        fields = [(name, field) for schema in schemas.values() for name, field in schema.get("properties", {}).items()]
        days = [field for name, field in fields if name == "day"]
        directions = [field for name, field in fields if name == "direction"]
        assert {field["format"] for field in days} == {"date"}
        assert all("#/components/schemas/Direction" in str(field) for field in directions)
        assert days
        assert directions


def test_what_is_changed_can_be_changed_on_a_condition(document):
    """And the answer names the new version, so that the next change needs no reading between."""
    paths = document["paths"]
    changes = [(path, method) for path in paths for method in paths[path] if method in ("put", "patch")]
    assert len(changes) == 4
    for path, method in changes:
        one = paths[path][method]
        assert "ETag" in one["responses"]["200"]["headers"]
        condition = [given["required"] for given in one.get("parameters", ()) if given["name"] == "If-Match"]
        listing = path == "/brp/v1/portfolio/baseline"  # what is put is one revision of those that are read there
        assert condition == ([] if listing else ["428" in one["responses"]])


def test_every_operation_has_examples_that_fit(document):
    components = document["components"]
    assert len(_operations(document)) >= 38
    for one in _operations(document):
        assert one["summary"]
        assert one["tags"]
        assert one["description"]
        contents = [one["requestBody"]["content"]] if "requestBody" in one else []
        contents += [one["responses"][status].get("content", {}) for status in one["responses"] if status[0] == "2"]
        for content in contents:
            for media_type, part in content.items():
                if media_type == "application/pdf":
                    continue  # no text
                assert "example" in part, f"{one['operationId']}: {media_type}"
                jsonschema.validate(
                    part["example"],
                    {**part["schema"], "components": components},
                    cls=jsonschema.Draft202012Validator,
                    format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
                )


def test_the_document_tells_of_tokens_scopes_keys_limits_and_webhooks(document):
    scheme = document["components"]["securitySchemes"]["oauth2"]
    flow = scheme["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "/brp/v1/token"
    assert flow["scopes"] == dict(SCOPES)
    for path, item in document["paths"].items():
        for method, one in item.items():
            names = {parameter["name"] for parameter in one.get("parameters", ())}
            keyed = method == "post" and path != "/brp/v1/token"
            assert ("Idempotency-Key" in names) == keyed
            if path != "/brp/v1/token":
                status = next(status for status in one["responses"] if status[0] == "2")
                assert "RateLimit" in one["responses"][status]["headers"]
    assert set(document["webhooks"]) == {one.value for one in Topic} | {"webhook.test"}
    for one in document["webhooks"].values():
        content = one["post"]["requestBody"]["content"]["application/json"]
        jsonschema.validate(
            content["example"],
            {**content["schema"], "components": document["components"]},
            cls=jsonschema.Draft202012Validator,
        )


async def test_the_page_for_people_has_no_script_and_nothing_from_elsewhere(market):
    async with market.http.get("/brp/docs") as answer:
        assert answer.status == 200
        text = await answer.text()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for word in ("<script", "<img", "<link", "src=", "onclick", "http://", "@import"):
        assert word not in text
    for path in ("/brp/v1/flexibility-requests", "/brp/v1/activations/{activation_id}"):
        assert path in text


async def _furnished(market):
    """Have something of every kind; return a buyer and ids by parameter name."""
    programme = await market.programme(8)
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme)
    done = await market.reported(buyer, contract)
    coming = await market.activation(buyer, contract, hours_ahead=3)
    open_ = await market.offer(buyer, contract, hours_ahead=5)
    (settlement, *_) = (await market.get("/brp/v1/settlements", buyer))["items"]
    month = {"contract_id": contract.id, "month": done["starts_at"][:7]}
    statement = await market.post("/brp/v1/statements", buyer, month, 200)
    subscription = await market.post("/brp/v1/webhook-subscriptions", buyer, {"url": "https://brp.example/h"})
    own = f"/brp/v1/webhook-subscriptions/{subscription['subscription']['id']}"
    delivery = await market.post(f"{own}/test", buyer, None, 202)
    tariff = {"kind": "electricity", "name": "T", "currency": "EUR", "vat_included": True}
    made = await market.post("/v1/tariffs", "admin", tariff | {"programme_id": programme.id})
    client = (await market.get(f"/v1/brps/{buyer.party_id}/clients", "viewer"))["items"][0]
    second = await market.post(f"/v1/brps/{buyer.party_id}/clients", "admin", {"name": "second"})
    assert client["id"] == buyer.client_id
    return buyer, {
        "activation_id": [done["id"], coming["id"]],
        "offer_id": [open_["id"], done["offer_id"]],
        "request_id": [open_["request_id"]],
        "settlement_id": [settlement["id"]],
        "statement_id": [statement["id"]],
        "subscription_id": [own.rpartition("/")[2]],
        "delivery_id": [delivery["id"]],
        "contract_id": [contract.id],
        "programme_id": [programme.id],
        "tariff_id": [made["id"]],
        "brp_id": [buyer.party_id],
        "client_id": [second["client"]["id"]],
        "ven_id": [(await market.world.rows("ven"))[0].id],
    }


@pytest.mark.parametrize("prefix", ["/brp", ""])
async def test_schemathesis_finds_no_difference(market, prefix):
    """Every operation: with ids that nobody has, good and bad, then with ids that exist."""
    buyer, known = await _furnished(market)
    headers = buyer.headers if prefix else {"Authorization": f"Bearer {market.operators['admin']}"}
    base = str(market.http.make_url(""))
    schema = schemathesis.openapi.from_dict(market.documents[prefix])
    draw_times_that_apis_take()
    schema.config.generation.update(modes=list(schemathesis.GenerationMode), allow_x00=False)
    seen: set[int] = set()
    turns: dict[str, int] = defaultdict(int)

    def call(case, checks):
        market.desk.failures._failures.clear()
        response = case.call(base_url=base, headers=headers)
        seen.add(response.status_code)
        case.validate_response(response, checks=checks)

    def drive(operation):
        quickly = settings(
            max_examples=2,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )

        @given(case=operation.as_strategy())
        @quickly
        def anything(case):
            call(case, [*_CONFORMS, negative_data_rejection])

        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE))
        @quickly
        def on_what_is_there(case):
            for place in (case.path_parameters, case.query or {}, case.body if isinstance(case.body, dict) else {}):
                for name in place:
                    if name in known:
                        place[name] = known[name][turns[name] % len(known[name])]
                        turns[name] += 1
            call(case, _CONFORMS)

        anything()
        on_what_is_there()

    def drive_all():
        operations = [result.ok() for result in schema.get_all_operations()]
        ending = ("DELETE",)
        for one in sorted(operations, key=lambda one: (one.method.upper() in ending, "revocation" in one.path)):
            drive(one)

    await asyncio.to_thread(drive_all)
    assert seen >= {200, 404, 422}
