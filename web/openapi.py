"""The OpenAPI 3.1 document of a set of operations, made from the same adapters that validate the requests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from web.model import SchemaWriter
from web.operation import Operation, read_by, strip_null
from web.problem import CONTENT_TYPE, KINDS, NOT_SHOWN, Problem

_COMPONENTS = "#/components/schemas/{model}"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Schemas = Mapping[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Webhook:
    """A message that the server sends to its clients: its type, what it is about, its body."""

    name: str
    summary: str
    payload: TypeAdapter[Any]
    example: Any = None


@dataclass(frozen=True, slots=True)
class Conventions:
    """What the operations of an API have in common, for its document.

    `scheme` is its security scheme, called `scheme_name`. `idempotent`: every POST of a caller takes `Idempotency-Key`.
    `limited`: answers to callers carry `RateLimit`. `webhooks` are the messages that clients can subscribe to.
    """

    scheme_name: str
    scheme: Mapping[str, Any]
    idempotent: bool = False
    limited: bool = False
    webhooks: Sequence[Webhook] = ()


PLAIN: Final = Conventions(
    "token", {"type": "http", "scheme": "bearer", "description": "A token that an administrator made for you."}
)
"""Tokens that an administrator makes, and nothing else."""

_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A fresh name for what you do. The same request with the same key is done once, however often sent.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
    "example": "01k8x5m3e5t8n4r9w2z7h6c1qd",
}
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the copy that you have: where it is the present one, the answer is 304 without a body.",
    "schema": {"type": "string"},
}
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of what you read: where it is another one by now, nothing changes, and the answer is 412.",
    "schema": {"type": "string"},
}
_CHANGED: Final = 412
_UNCONDITIONAL: Final = 428
_LIMIT_HEADERS: Final = {
    "RateLimit-Policy": "How many requests (q) in how many seconds (w).",
    "RateLimit": "How many are left (r), and in how many seconds all of them are again (t).",
}


def document(
    title: str, version: str, description: str, operations: Sequence[Operation], conventions: Conventions = PLAIN
) -> dict[str, Any]:
    """Return the document as plain JSON values."""
    schemas, components = _schemas(operations, conventions.webhooks)
    changing = frozenset(read_by(operations))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        told = one.description
        paths.setdefault(told.path, {})[told.method.lower()] = _operation(one, schemas, conventions, changing)
    statuses = sorted({status for one in operations for status in _errors(one, conventions, changing)})
    webhooks = {one.name: {"post": _webhook(one, schemas)} for one in conventions.webhooks}
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": _DIALECT,
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(tag for one in operations for tag in one.description.tags)],
        "paths": paths,
        **({"webhooks": webhooks} if webhooks else {}),
        "components": {
            "schemas": components,
            "responses": {_name(status): _problem(status) for status in statuses},
            "securitySchemes": {conventions.scheme_name: dict(conventions.scheme)},
        },
    }


def _schemas(operations: Sequence[Operation], webhooks: Sequence[Webhook]) -> tuple[_Schemas, dict[str, Any]]:
    """Return the schema of every body, answer and parameter set, and the definitions that they share."""
    wanted: list[tuple[str, Any, TypeAdapter[Any]]] = [("problem", "serialization", TypeAdapter(Problem))]
    wanted += [(f"{one.name} webhook", "serialization", one.payload) for one in webhooks]
    for one in operations:
        if one.body is not None:
            wanted.append((f"{one.id} body", "validation", one.body))
        if one.answer is not None:
            wanted.append((f"{one.id} answer", "serialization", one.answer))
    keyed, shared = TypeAdapter.json_schemas(wanted, ref_template=_COMPONENTS, schema_generator=SchemaWriter)
    components: dict[str, Any] = dict(shared.get("$defs", {}))
    schemas: dict[tuple[str, str], dict[str, Any]] = {}
    for (key, _), schema in keyed.items():
        owner, _, part = str(key).rpartition(" ")
        schemas[owner, part] = schema
    for one in operations:
        own = one.values.model_json_schema(ref_template=_COMPONENTS, schema_generator=SchemaWriter)
        components |= own.get("$defs", {})
        for name, schema in own.get("properties", {}).items():
            schemas[one.id, f"parameter {name}"] = schema
    _entitle(components)
    _close(components, [schema for (_, part), schema in schemas.items() if part == "body"])
    return schemas, components


def _entitle(components: dict[str, Any]) -> None:
    """Give each component a title of its own: generated clients lose all but one of those that share it.

    Raises TypeError where two models have one name. A model that looks different in bodies and answers is two.
    """
    for name, schema in components.items():
        model, _, side = name.partition("-")
        if side in ("Input", "Output") and "title" in schema:
            schema["title"] = f"{model}{side}"
    titles = Counter(schema["title"] for schema in components.values() if "title" in schema)
    if twice := sorted(title for title, count in titles.items() if count > 1):
        raise TypeError(f"Two models of one API are called {', '.join(twice)}; give each a name of its own.")


def _close(components: dict[str, Any], bodies: list[dict[str, Any]]) -> None:
    """Say of every object that a body can hold that it takes no further members: the validation refuses them."""
    waiting: list[Any] = list(bodies)
    seen: set[str] = set()
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, list):
            waiting += schema
        elif isinstance(schema, dict):
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
            name = str(schema.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                waiting.append(components[name])
            waiting += schema.values()


def _operation(
    operation: Operation, schemas: _Schemas, conventions: Conventions, changing: frozenset[str]
) -> dict[str, Any]:
    told = operation.description
    entry: dict[str, Any] = {
        "operationId": operation.id,
        "summary": told.summary,
        "tags": list(told.tags),
        "responses": {str(operation.status): _answer(operation, schemas, conventions)}
        | {
            str(status): {"$ref": f"#/components/responses/{_name(status)}"}
            for status in _errors(operation, conventions, changing)
        },
        "security": [{conventions.scheme_name: list(told.scopes)}] if told.roles else [],
    }
    if told.roles:
        entry["x-roles"] = [role.value for role in told.roles]
    if operation.handler.__doc__:
        entry["description"] = " ".join(operation.handler.__doc__.split())
    parameters = [
        _parameter(operation, schemas, name) for name in (parameter.name for parameter in operation.parameters)
    ]
    if _is_idempotent(operation, conventions):
        parameters.append(_IDEMPOTENCY_KEY)
    if operation.id in changing:
        parameters.append(_IF_MATCH | {"required": _UNCONDITIONAL in told.errors})
    if told.method == "GET" and operation.answer is not None:
        parameters.append(_IF_NONE_MATCH)
    if parameters:
        entry["parameters"] = parameters
    if operation.body is not None:
        entry["requestBody"] = {"required": True, "content": _json(schemas[operation.id, "body"], told.example)}
    if told.method == "GET" and operation.answer is not None:
        entry["responses"]["304"] = {"description": "Your copy (If-None-Match) is the present one."}
    return entry | dict(told.entry or {})


def _webhook(webhook: Webhook, schemas: _Schemas) -> dict[str, Any]:
    return {
        "operationId": webhook.name,
        "summary": webhook.summary,
        "requestBody": {"required": True, "content": _json(schemas[webhook.name, "webhook"], webhook.example)},
        "responses": {"2XX": {"description": "Received; anything else, or nothing in time, is tried again."}},
    }


def _parameter(operation: Operation, schemas: _Schemas, name: str) -> dict[str, Any]:
    parameter = next(each for each in operation.parameters if each.name == name)
    schema = strip_null(schemas[operation.id, f"parameter {name}"])
    hidden = {"title"} | ({"default"} if schema.get("default", ...) is None else set())
    schema = {key: value for key, value in schema.items() if key not in hidden}
    entry = {"name": name, "in": parameter.place, "required": parameter.required, "schema": schema}
    if "description" in schema:
        entry["description"] = schema["description"]
    return entry


def _answer(operation: Operation, schemas: _Schemas, conventions: Conventions) -> dict[str, Any]:
    told = {"X-Request-Id": "The request's id in the log."}
    if conventions.limited and operation.description.roles:
        told |= _LIMIT_HEADERS
    told |= operation.description.headers
    headers: dict[str, Any] = {name: {"description": text, "schema": {"type": "string"}} for name, text in told.items()}
    entry: dict[str, Any] = {"description": operation.description.summary, "headers": headers}
    if operation.answer is not None:
        entry["content"] = _json(schemas[operation.id, "answer"], operation.description.answer_example)
        if operation.description.method != "GET":  # where it is done and cannot be shown
            entry["content"][CONTENT_TYPE] = _problem_content(
                NOT_SHOWN, "It was done, but the result cannot be shown", operation.status
            )
        if operation.description.method in ("GET", "PUT", "PATCH"):
            headers["ETag"] = {"description": "Names this version.", "schema": {"type": "string"}}
        if "cursor" in {parameter.name for parameter in operation.parameters}:
            headers["Link"] = {"description": 'Address of the next page: rel="next".', "schema": {"type": "string"}}
    if operation.streams:
        other: dict[str, Any] = (
            {"schema": {"type": "string"}} if operation.description.media_type.startswith("text/") else {}
        )
        if operation.description.media_example is not None:
            other["example"] = operation.description.media_example
        entry.setdefault("content", {}).setdefault(operation.description.media_type, other)
    return entry


def _json(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema} | ({} if example is None else {"example": example})}


def _is_idempotent(operation: Operation, conventions: Conventions) -> bool:
    told = operation.description
    return conventions.idempotent and told.method == "POST" and bool(told.roles)


def _errors(operation: Operation, conventions: Conventions, changing: frozenset[str]) -> list[int]:
    """Return every error status of an operation: its own, and those that the shell adds."""
    shell = [421, 500]
    if operation.id in changing:
        shell.append(_CHANGED)
    if _is_idempotent(operation, conventions):
        shell += [409, 422]
    if operation.description.roles:
        shell += [401, 403, 429]
    shell += [400, 408, 413, 415, 422] if operation.body is not None else [400]
    if operation.parameters or operation.description.method == "GET":
        shell.append(422)
    return sorted({*operation.description.errors, *shell})


def _name(status: int) -> str:
    return "".join(word.capitalize() for word in KINDS[status][0].split("-"))


def _problem(status: int) -> dict[str, Any]:
    slug, title = KINDS[status]
    content = {CONTENT_TYPE: _problem_content(f"urn:evenload:problem:{slug}", title, status)}
    headers: dict[str, Any] = {}
    for name, statuses in (("WWW-Authenticate", {401}), ("Retry-After", {429, 503})):
        if status in statuses:
            headers[name] = {"schema": {"type": "string"}}
    return {"description": title, "content": content} | ({"headers": headers} if headers else {})


def _problem_content(kind: str, title: str, status: int) -> dict[str, Any]:
    example = {
        "type": kind,
        "title": title,
        "status": status,
        "detail": "What happened, and what to do next.",
        "request_id": "req_01k8x5m3e5t8n4r9w2z7h6c1qd",
    }
    return {"schema": {"$ref": _COMPONENTS.format(model="Problem")}, "example": example}
