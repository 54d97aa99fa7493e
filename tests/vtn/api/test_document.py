"""The OpenAPI document of the operator API is valid, and the server does what it says."""

import asyncio

import jsonschema
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

from evenload.server import operator_api
from support.generated_times import draw_times_that_apis_take
from support.messages import logged
from support.vtn_world import data, usage
from vtn.transport.message_log import Exchange

_CONFORMS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


def test_it_is_valid_openapi():
    document = operator_api().document()
    OpenAPIV31SpecValidator(document).validate()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_operation_has_summary_tag_and_role():
    operations = [one for path in operator_api().document()["paths"].values() for one in path.values()]
    assert len(operations) >= 35
    for one in operations:
        assert one["summary"]
        assert one["tags"]
        assert one["security"] == ([{"token": []}] if "x-roles" in one else [])


async def _furnished(office):
    """Fill the office with something of every kind; return the ids by parameter name."""
    world = office.world
    ven = await world.ven()
    await ven.offer(usage("meter"))
    programme = await office.programme(ven)
    request = await office.post(f"/v1/vens/{ven.ven_id}/report-requests", {"specifier_id": "usage", "r_ids": ["meter"]})
    await ven.drain()
    await ven.report(data(request["id"], world.now, *[1.0] * 90))
    past = await office.post("/v1/dispatches", office.order(programme))
    world.later(hours=3)
    await office.post(f"/v1/dispatches/{past['dispatch']['id']}/evaluation", status=200)
    whole = await office.post("/v1/dispatches", office.order(programme))
    principal = await office.post("/v1/principals", {"name": "somebody"})
    group = await office.post("/v1/groups", {"name": "north"})
    await logged(world, Exchange(fingerprint=ven.peer.fingerprint, request=b"<eventID>e</eventID>", answer=b""))
    await office.post(f"/v1/programmes/{programme}/holidays", {"day": "2026-12-24", "name": "Christmas Eve"})
    outage = await office.post("/v1/outages", {"starts_at": "2025-12-01T00:00:00Z", "reason": "Cable"})
    (message,) = (await office.get("/v1/messages"))["items"]
    return {
        "ven_id": [ven.ven_id],
        "programme_id": [programme],
        "dispatch_id": [past["dispatch"]["id"], whole["dispatch"]["id"]],
        "event_id": [whole["events"][0]["id"]],
        "request_id": [request["id"]],
        "principal_id": [principal["principal"]["id"]],
        "group_id": [group["id"]],
        "fingerprint": [ven.peer.fingerprint],
        "message_id": [message["id"]],
        "day": ["2026-12-24", "2026-12-25"],
        "outage_id": [outage["id"]],
    }


async def test_schemathesis_finds_no_difference(office):
    """Every operation as an administrator: with ids that nobody has, good and bad, then with ids that exist."""
    known = await _furnished(office)
    base, headers = str(office.client.make_url("")), office.headers("admin")
    schema = schemathesis.openapi.from_dict(office.document)
    draw_times_that_apis_take()
    schema.config.generation.update(modes=list(schemathesis.GenerationMode), allow_x00=False)
    seen: set[int] = set()

    def call(case, checks):
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
            for name in case.path_parameters:
                case.path_parameters[name] = known[name][seen_of(name) % len(known[name])]
            call(case, _CONFORMS)

        anything()
        if "{" in operation.path:
            on_what_is_there()

    turns: dict[str, int] = {}

    def seen_of(name):
        turns[name] = turns.get(name, 0) + 1
        return turns[name]

    def drive_all():
        operations = [result.ok() for result in schema.get_all_operations()]
        for one in sorted(operations, key=lambda one: one.method.upper() == "DELETE"):
            drive(one)

    await asyncio.to_thread(drive_all)
    assert seen >= {200, 201, 204, 404, 422}
