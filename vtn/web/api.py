"""An API: operations collected into aiohttp routes and one OpenAPI document."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from multidict import CIMultiDict
from pydantic import TypeAdapter, ValidationError

from vtn.web.auth import Authenticator, Principal
from vtn.web.body import read_body
from vtn.web.etag import check_if_match, etag_of, is_unchanged
from vtn.web.openapi import document
from vtn.web.operation import Description, Handler, Operation, inspect_handler
from vtn.web.pagination import Page
from vtn.web.problem import ProblemError

Service = TypeVar("Service")

OPERATION = web.RequestKey("operation", str)
"""Which operation a request reached: the label of logs and metrics."""

PRINCIPAL = web.RequestKey("principal", Principal)
"""Who is calling, once that is known."""

REQUEST_ID = web.RequestKey("request_id", str)
"""The request's id in answers and logs."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an operation knows of its request besides its arguments. `headers` go out with the answer."""

    request: web.Request
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)

    @property
    def principal(self) -> Principal:
        """Who is calling. Raises KeyError in an operation that is open to everybody."""
        return self.request[PRINCIPAL]

    @property
    def request_id(self) -> str:
        """The request's id."""
        return self.request[REQUEST_ID]

    def service(self, key: web.AppKey[Service]) -> Service:
        """Return what the application holds under the key."""
        return self.request.config_dict[key]

    def require_match(self, current: Any, *, required: bool = False) -> None:
        """Raise ProblemError 412 if the caller's If-Match names another version than `current`.

        `current` is what the GET of the same address returns now (a model or dataclass). With `required`, a request
        without If-Match is a 428. This catches the usual lost update early; a race between this check and the write
        is for the service to refuse.
        """
        raw = TypeAdapter(type(current)).dump_json(current, by_alias=True)
        check_if_match(self.request.headers.get("If-Match"), etag_of(raw), required=required)


class Api:
    """Operations under one title. Raises TypeError at once for what could not be served or contradicts itself.

    `operations` are functions or bound methods that carry `@operation`.
    """

    def __init__(self, title: str, version: str, operations: Iterable[Handler], *, description: str = "") -> None:
        self._about = (title, version, description)
        self.operations = tuple(inspect_handler(handler) for handler in operations)
        _refuse_twins(self.operations)
        for one in self.operations:
            _check_examples(one)

    def including(self, *handlers: Handler) -> "Api":
        """Return the same API with further operations."""
        title, version, description = self._about
        return Api(title, version, [*(one.handler for one in self.operations), *handlers], description=description)

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document as plain JSON values."""
        return document(*self._about, self.operations)

    def routes(self, authenticator: Authenticator) -> list[web.RouteDef]:
        """Return the routes, for `web.Application.add_routes`. GET answers HEAD too."""
        return [_route(one.description, _Endpoint(one, authenticator)) for one in self.operations]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Carries one request through one operation."""

    operation: Operation
    authenticator: Authenticator

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Authenticate, read, call, answer: in this order, so that a stranger's body is never parsed."""
        one = self.operation
        request[OPERATION] = one.id
        if one.description.roles:
            request[PRINCIPAL] = await self.authenticator.require(request, *one.description.roles)
        arguments = one.read_parameters(request.match_info, request.query)
        if one.body is not None:
            arguments["body"] = one.read_body(await read_body(request))
        elif request.can_read_body:
            raise ProblemError(400, "This operation takes no body.")
        context = Context(request)
        result = await one.handler(context, **arguments)
        return self._answer(context, result)

    def _answer(self, context: Context, result: Any) -> web.StreamResponse:
        if isinstance(result, web.StreamResponse):
            if not result.prepared:
                result.headers.extend(context.headers)
            return result
        if result is None and self.operation.answer is None:
            return web.Response(status=self.operation.status, headers=context.headers)
        raw = self.operation.write_answer(result)
        headers, request = context.headers, context.request
        if isinstance(result, Page) and result.next is not None:
            following = request.rel_url.update_query(cursor=result.next)
            headers["Link"] = f'<{following}>; rel="next"'
        if self.operation.description.method == "GET":
            headers["ETag"] = etag_of(raw)
            headers.setdefault("Cache-Control", "private, no-cache")
            if is_unchanged(request.headers.get("If-None-Match"), headers["ETag"]):
                return web.Response(status=304, headers=headers)
        status = self.operation.status
        return web.Response(status=status, body=raw, content_type="application/json", headers=headers)


def _route(told: Description, endpoint: _Endpoint) -> web.RouteDef:
    if told.method == "GET":
        return web.get(told.path, endpoint.handle)
    return web.route(told.method, told.path, endpoint.handle)


def _refuse_twins(operations: tuple[Operation, ...]) -> None:
    seen: set[object] = set()
    for one in operations:
        for name in (one.id, (one.description.method, one.description.path)):
            if name in seen:
                raise TypeError(f"Two operations share {name}.")
            seen.add(name)


def _check_examples(one: Operation) -> None:
    """Raise TypeError for an example that its own schema refuses."""
    told = one.description
    try:
        if told.example is not None and one.body is not None:
            one.body.validate_python(told.example, extra="forbid")
        if told.answer_example is not None and one.answer is not None:
            one.answer.validate_python(told.answer_example, extra="forbid")
    except ValidationError as error:
        raise TypeError(f"{one.id}: its example is not valid: {error}") from error
