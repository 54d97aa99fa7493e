"""An API: operations collected into aiohttp routes and one OpenAPI document."""

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog
from aiohttp import web
from multidict import CIMultiDict
from pydantic import TypeAdapter

from core.commits import noting_commits
from core.errors import UnfinishedError
from web.auth import Gate, Principal
from web.body import read_body
from web.etag import check_if_match, etag_of, is_unchanged
from web.limits import RateLimit
from web.openapi import PLAIN, Conventions, document
from web.operation import Description, Handler, Operation, answers_alike, inspect_handler, read_by
from web.pagination import Page
from web.problem import ProblemError, not_shown

Service = TypeVar("Service")

_log = structlog.get_logger("evenload.web")

_CHANGED: Final = 412

OPERATION = web.RequestKey("operation", str)
"""Which operation a request reached: the label of logs and metrics."""

PRINCIPAL = web.RequestKey("principal", Principal)
"""Who is calling, once that is known."""

REQUEST_ID = web.RequestKey("request_id", str)
"""The request's id in answers and logs."""

ADVICE = web.RequestKey("advice", Mapping[str, str])
"""Headers for whatever the answer will be, an error too."""


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


Proceed = Callable[[], Awaitable[web.StreamResponse]]
Around = Callable[[Context, bytes, Proceed], Awaitable[web.StreamResponse]]
"""Runs an authenticated operation that changes something: gets the context and the body's bytes, and calls the third
to go on, or answers in its place."""


@dataclass(frozen=True, slots=True)
class Access:
    """How callers come in: who they are, how often they may ask, and what is done around each change."""

    gate: Gate
    limit: RateLimit | None = None
    around: Around | None = None


class Api:
    """Operations under one title. Raises TypeError for a signature that could not be served and for twins.

    `operations` are functions or bound methods that carry `@operation`.
    """

    def __init__(
        self,
        title: str,
        version: str,
        operations: Iterable[Handler],
        *,
        description: str = "",
        conventions: Conventions = PLAIN,
    ) -> None:
        self._about = (title, version, description)
        self._conventions = conventions
        self.operations = tuple(inspect_handler(handler) for handler in operations)
        _refuse_twins(self.operations)

    def including(self, *handlers: Handler) -> "Api":
        """Return the same API with further operations."""
        title, version, description = self._about
        everything = [*(one.handler for one in self.operations), *handlers]
        return Api(title, version, everything, description=description, conventions=self._conventions)

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document as plain JSON values. Takes a second: it builds what validates everything.

        Raises TypeError for types that cannot be read or written, and for an example that its own schema refuses.
        """
        for one in self.operations:
            one.check()
        return document(*self._about, self.operations, self._conventions)

    def routes(self, access: Access, label: str = "") -> list[web.RouteDef]:
        """Return the routes, for `web.Application.add_routes`. GET answers HEAD too.

        `label` stands before the operations' names in logs and metrics.
        """
        reads = read_by(self.operations)
        return [
            _route(one.description, _Endpoint(one, access, label + one.id, reads.get(one.id)))
            for one in self.operations
        ]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Carries one request through one operation."""

    operation: Operation
    access: Access
    name: str
    read: Operation | None = None
    """What reads that which this one changes."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Authenticate, read, call, answer: in this order, so that a stranger's body is never parsed."""
        one = self.operation
        request[OPERATION] = self.name
        if one.description.roles:
            await self._let_in(request)
        arguments = one.read_parameters(request.match_info, request.query)
        raw = b""
        if one.takes_body:
            raw = await read_body(request)
            arguments["body"] = one.read_body(raw)
        elif request.can_read_body and one.description.entry is None:
            raise ProblemError(400, "This operation takes no body.")
        context = Context(request)

        proceed = functools.partial(self._proceed, context, arguments)
        if self.access.around is None or not one.description.roles or one.description.method == "GET":
            return await proceed()
        return await self.access.around(context, raw, proceed)

    async def _proceed(self, context: Context, arguments: Mapping[str, Any]) -> web.StreamResponse:
        """Call the operation and write its answer; what was committed is not answered as an error."""
        one = self.operation
        with noting_commits() as committed:
            try:
                await self._check_version(context, arguments)
                result = await one.handler(context, **arguments)
                if self.read is not None and not answers_alike(one, self.read):
                    context.headers["ETag"] = etag_of(await self._current(context, arguments))
                return self._answer(context, result)
            except (ProblemError, UnfinishedError):
                raise  # the operation's own answer
            except Exception:
                if not committed:
                    raise
                _log.exception("committed, but not shown", request_id=context.request_id, done=committed)
                if not one.returns:
                    return web.Response(status=one.status, headers=context.headers)
                return not_shown(one.status, committed, context.request_id)

    async def _check_version(self, context: Context, arguments: Mapping[str, Any]) -> None:
        """Raise ProblemError 412 where If-Match names another version; an operation with that error looks itself."""
        given = context.request.headers.get("If-Match")
        if self.read is not None and given is not None and _CHANGED not in self.operation.description.errors:
            check_if_match(given, etag_of(await self._current(context, arguments)))

    async def _current(self, context: Context, arguments: Mapping[str, Any]) -> bytes:
        """Return what reading this address gives now."""
        if self.read is None:
            raise TypeError(f"{self.name}: nothing reads what it changes.")
        named = {one.argument: arguments[one.argument] for one in self.read.parameters if one.place == "path"}
        return self.read.write_answer(await self.read.handler(Context(context.request), **named))

    async def _let_in(self, request: web.Request) -> None:
        told = self.operation.description
        principal = await self.access.gate.require(request, *told.roles)
        request[PRINCIPAL] = principal
        if self.access.limit is not None:
            request[ADVICE] = self.access.limit.take(principal.id)
        if missing := [scope for scope in told.scopes if scope not in principal.scopes]:
            needed = " ".join(told.scopes)
            headers = {"WWW-Authenticate": f'Bearer realm="evenload", error="insufficient_scope", scope="{needed}"'}
            raise ProblemError(403, f"Your token was not made for the scope {' '.join(missing)}.", headers)

    def _answer(self, context: Context, result: Any) -> web.StreamResponse:
        if isinstance(result, web.StreamResponse):
            if not result.prepared:
                result.headers.extend(context.headers)
            return result
        if result is None and not self.operation.returns:
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
        elif self.operation.description.method in ("PUT", "PATCH"):
            headers.setdefault("ETag", etag_of(raw))
        status = self.operation.status
        return web.Response(status=status, body=raw, content_type="application/json", headers=headers)


def _route(description: Description, endpoint: _Endpoint) -> web.RouteDef:
    if description.method == "GET":
        return web.get(description.path, endpoint.handle)
    return web.route(description.method, description.path, endpoint.handle)


def _refuse_twins(operations: tuple[Operation, ...]) -> None:
    seen: set[object] = set()
    for one in operations:
        for name in (one.id, (one.description.method, one.description.path)):
            if name in seen:
                raise TypeError(f"Two operations share {name}.")
            seen.add(name)
