"""The document is valid OpenAPI 3.1, says what the server does, and the server does what it says."""

import asyncio
import subprocess
import sys
from typing import Literal

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import create_model
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from web.api import Api, Context
from web.auth import Role
from web.model import Model
from web.operation import operation

KETTLE = {"name": "whistler", "intervals": [{"value": 1500, "duration": "PT15M"}]}


@pytest.fixture
async def document(toy):
    response = await toy.client.get("/openapi.json")
    assert response.status == 200
    return await response.json()


def test_it_is_valid_openapi(document):
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_operation_is_described(document):
    assert document["info"] == {"title": "Kettles", "version": "1.2.3", "description": "A toy."}
    operations = {one["operationId"]: one for path in document["paths"].values() for one in path.values()}
    assert operations.keys() == {
        "add_kettle", "list_kettles", "read_kettle", "rename_kettle", "replace_kettle",
        "close_lid", "read_lid", "drop_kettle", "me", "double", "fail", "stream",
        "health", "alive",
    }  # fmt: skip
    add = operations["add_kettle"]
    assert add["tags"] == ["kettles"]
    assert add["x-roles"] == ["dispatcher"]
    assert add["security"] == [{"token": []}]
    assert operations["double"]["security"] == []
    assert add["requestBody"]["required"]
    assert add["requestBody"]["content"]["application/json"]["example"] == KETTLE
    shell = {400, 401, 403, 408, 413, 415, 421, 422, 429, 500}
    assert {int(status) for status in add["responses"]} == {201, 409, *shell}
    assert set(operations["drop_kettle"]["responses"]) >= {"204", "404"}
    assert "content" not in operations["drop_kettle"]["responses"]["204"]
    assert set(operations["read_kettle"]["responses"]) >= {"200", "304"}
    assert list(operations["stream"]["responses"]["200"]["content"]) == ["text/csv"]
    assert "Link" in operations["list_kettles"]["responses"]["200"]["headers"]


def test_parameters_are_described(document):
    listed = {one["name"]: one for one in document["paths"]["/kettles"]["get"]["parameters"]}
    assert listed.keys() == {"limit", "cursor", "colour", "from", "cold", "order", "If-None-Match"}
    assert not any(one["required"] for one in listed.values())
    assert listed["limit"]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 500, "default": 50, "description": "At most so many items.",
    }  # fmt: skip
    assert listed["colour"]["schema"] == {"type": "array", "items": {"$ref": "#/components/schemas/Colour"}}
    assert listed["cold"]["schema"] == {"type": "boolean"}
    assert listed["from"]["schema"]["format"] == "date-time"
    (kettle_id,) = document["paths"]["/kettles/{kettle_id}"]["delete"]["parameters"]
    assert (kettle_id["in"], kettle_id["required"]) == ("path", True)


def test_conditions_stand_where_they_are_looked_at(document):
    kettle = document["paths"]["/kettles/{kettle_id}"]
    conditions = {
        method: {one["name"]: one["required"] for one in kettle[method]["parameters"] if one["in"] == "header"}
        for method in ("get", "patch", "put", "delete")
    }
    assert conditions == {
        "get": {"If-None-Match": False},
        "patch": {"If-Match": True},
        "put": {"If-Match": False},
        "delete": {},
    }
    for method in ("patch", "put"):
        assert "ETag" in kettle[method]["responses"]["200"]["headers"]
        assert "412" in kettle[method]["responses"]
    assert "428" not in kettle["put"]["responses"]
    assert "304" in kettle["get"]["responses"]


def test_bodies_are_closed_and_pages_have_plain_names(document):
    schemas = document["components"]["schemas"]
    for name in ("NewKettle", "Boil", "Change"):
        assert schemas[name]["additionalProperties"] is False
    assert "KettlePage" in schemas


async def test_answers_fit_their_schemas(toy, document):
    admin = toy.bearer(Role.ADMIN)

    async def check(method, path, status, template=None, **request):
        response = await toy.client.request(method, path, headers=admin, **request)
        assert response.status == status
        described = document["paths"][template or path][method.lower()]["responses"][str(status)]
        if "$ref" in described:
            described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
        schema = described["content"][response.content_type]["schema"]
        jsonschema.validate(
            await response.json(content_type=None),
            {**schema, "components": document["components"]},
            cls=jsonschema.Draft202012Validator,
            format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
        )

    await check("POST", "/kettles", 201, json={**KETTLE, "bought": "2026-01-31T12:00:00.5-02:00"})
    await check("POST", "/kettles", 409, json=KETTLE)
    await check("POST", "/kettles", 422, json={"name": 1})
    await check("POST", "/kettles", 415, data=b"{}")
    await check("GET", "/kettles", 200)
    await check("GET", "/kettles/k0", 200, "/kettles/{kettle_id}")
    await check("GET", "/kettles/k1", 404, "/kettles/{kettle_id}")
    await check("PATCH", "/kettles/k0", 428, "/kettles/{kettle_id}", json={"name": "x"})
    await check("GET", "/me", 200)
    await check("GET", "/health", 200)
    await check("GET", "/fail/internal", 500, "/fail/{how}")


async def test_schemathesis_finds_no_difference(toy, document):
    checks = [
        not_a_server_error,
        content_type_conformance,
        negative_data_rejection,
        response_schema_conformance,
        status_code_conformance,
    ]
    base, headers = str(toy.client.make_url("")), toy.bearer(Role.ADMIN)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(modes=list(schemathesis.GenerationMode), allow_x00=False)
    seen: set[int] = set()

    def drive(operation):
        @given(case=operation.as_strategy())
        @settings(
            max_examples=12,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def run(case):
            response = case.call(base_url=base, headers=headers)
            seen.add(response.status_code)
            case.validate_response(response, checks=checks)

        run()

    def drive_all():
        for result in schema.get_all_operations():
            if result.ok().path not in {"/fail/{how}", "/stream"}:
                drive(result.ok())

    await asyncio.to_thread(drive_all)
    assert seen >= {200, 201, 404, 422}


async def test_the_first_document_may_be_asked_for_by_many_at_once():
    """In a process that has built nothing yet, and while requests build what they need."""
    code = (
        "import threading\n"
        "from evenload.server import operator_api\n"
        "from web.server import Mount, _described\n"
        "from web.auth import Authenticator\n"
        "from web.api import Access\n"
        "import asyncio\n"
        "from aiohttp import web\n"
        "from aiohttp.test_utils import TestClient, TestServer\n"
        "async def main():\n"
        "    api, app = operator_api(), web.Application()\n"
        "    app.add_routes(_described(Mount('', api, Access(None)), ''))\n"
        "    async with TestClient(TestServer(app)) as client:\n"
        "        answers = await asyncio.gather(*(client.get('/openapi.json') for _ in range(12)),\n"
        "            *(asyncio.to_thread(lambda one=one: one.parameters) for one in api.operations))\n"
        "        print([one.status for one in answers[:12]])\n"
        "asyncio.run(main())\n"
    )
    out = await asyncio.to_thread(subprocess.check_output, [sys.executable, "-c", code])
    assert out.decode().strip() == str([200] * 12)


def test_two_models_of_one_title_are_refused():
    class Inside(Model):
        reason: Literal["late", "early"]

    second = create_model("Inside", __base__=Model, reason=(int, ...))

    class First(Model):
        inside: Inside

    class Second(Model):
        inside: second

    @operation("GET", "/v1/first", summary="First", role=None)
    async def first(context: Context) -> First: ...

    @operation("GET", "/v1/second", summary="Second", role=None)
    async def other(context: Context) -> Second: ...

    with pytest.raises(TypeError, match="Inside"):
        Api("twins", "1", (first, other)).document()


def test_a_model_that_differs_in_bodies_and_answers_is_two():
    class Cup(Model):
        size: int = 1
        saucer: "Cup | None" = None

    @operation("POST", "/v1/cups", summary="Fill a cup", role=None)
    async def fill(context: Context, body: Cup) -> Cup: ...

    components = Api("tea", "1", (fill,)).document()["components"]["schemas"]
    titles = [schema.get("title") for schema in components.values()]
    assert sorted(titles) == sorted(set(titles))
