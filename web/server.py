"""The HTTP server around an API: request ids, problem documents, metrics, access log, Host check, security headers."""

import asyncio
import functools
import ipaddress
import json
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from core.errors import EvenloadError, InvalidError
from core.ids import new_id
from web.api import ADVICE, OPERATION, PRINCIPAL, REQUEST_ID, Access, Api
from web.api_docs import page
from web.auth import Authenticator, PrincipalLookup, Role
from web.callers import address_of
from web.connections import Connections
from web.health import Check, Health
from web.listening import Site
from web.problem import ProblemError, response_for

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
"""The application's authenticator: for `clear()` after a revocation, and for routes of their own."""

_STARTED = web.RequestKey("started", web.StreamResponse)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_one_at_a_time = Lock()
_QUIET = {"health", "alive", "metrics"}
_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = structlog.get_logger("evenload.web")


class HttpMetrics:
    """Counts requests by operation, in the registry passed in. One instance serves all listeners of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "evenload_http_requests", "Requests answered.", ["operation", "status"], registry=registry
        )
        self._latency = Histogram(
            "evenload_http_request_duration_seconds", "From request to answer.", ["operation"], registry=registry
        )

    def record(self, operation: str, status: int, duration_s: float) -> None:
        """Count one answered request."""
        self._requests.labels(operation, str(status)).inc()
        self._latency.labels(operation).observe(duration_s)


@dataclass(frozen=True, slots=True)
class Mount:
    """A further API on the same listener: under a prefix such as `/brp`, with callers and a document of its own."""

    prefix: str
    api: Api
    access: Access


def make_app(
    api: Api,
    lookup: PrincipalLookup,
    *,
    hosts: Collection[str],
    metrics: HttpMetrics,
    ready: Mapping[str, Check] | None = None,
    extra: Iterable[web.AbstractRouteDef] = (),
    max_body_bytes: int = 1 << 20,
    metrics_role: Role | None = Role.VIEWER,
    mounts: Sequence[Mount] = (),
) -> web.Application:
    """Return the application that serves `api`, its `/openapi.json`, `/health`, `/metrics` and the `extra` routes.

    `/docs` is the document for people. `mounts` are further APIs, each with `<prefix>/openapi.json` and
    `<prefix>/docs`; the names of their operations follow their prefix in logs and metrics.

    `hosts` are the names (without port) that clients may call this server by; any other Host is refused, which is what
    stops DNS rebinding. `ready` holds the checks behind `/health`. `metrics_role` None opens `/metrics` to everybody.
    """
    authenticator = Authenticator(lookup)
    app = web.Application(
        middlewares=[_observe(metrics), guard(hosts)],
        client_max_size=max_body_bytes,
        handler_args={"auto_decompress": False},  # compressed bodies are refused, so nothing is unpacked for a stranger
    )
    app[AUTHENTICATOR] = authenticator
    app.on_response_prepare.append(_dress)
    health = Health(ready or {})
    whole = api.including(health.health, health.alive)
    for mount in (Mount("", whole, Access(authenticator)), *mounts):
        label = f"{mount.prefix.strip('/')}." if mount.prefix else ""
        app.add_routes([*mount.api.routes(mount.access, label), *_described(mount, label)])
    app.add_routes([web.get("/metrics", _exposition(metrics, authenticator, metrics_role)), *extra])
    return app


async def start(
    app: web.Application, host: str, port: int, *, tls: ssl.SSLContext | None, shutdown_s: float = 10.0
) -> web.AppRunner:
    """Listen, and return the runner: `runner.addresses` tells the port, `await runner.cleanup()` ends it.

    Port 0 takes a free one. Raises InvalidError for plain HTTP on anything but loopback.
    """
    if tls is None and not _is_loopback(host):
        raise InvalidError(f"Plain HTTP is served on loopback only, not on {host}: configure a certificate.")
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_s)
    await runner.setup()
    try:
        await Site(runner, host, port, Connections(), tls=tls).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _observe(metrics: HttpMetrics) -> Middleware:
    """Give the request its id, turn errors into answers, count and log each request once."""

    @web.middleware
    async def observe(request: web.Request, handler: _Handler) -> web.StreamResponse:
        since = time.monotonic()
        request[REQUEST_ID] = _request_id(request)
        status = 499  # the client went away: nobody sees it but the log
        try:
            response = await _answer(request, handler)
            status = response.status
        except web.HTTPException as redirect:
            status = redirect.status
            raise
        finally:
            duration_s = time.monotonic() - since
            operation = request.get(OPERATION, "unmatched")
            metrics.record(operation, status, duration_s)
            _log_access(request, operation, status, duration_s)
        return response

    return observe


async def _answer(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004
            raise
        return response_for(error, request[REQUEST_ID])
    except Exception as error:
        if not isinstance(error, EvenloadError | ProblemError):
            log.exception("request failed", request_id=request[REQUEST_ID], operation=request.get(OPERATION))
        started: web.StreamResponse | None = request.get(_STARTED)
        if started is None:
            return response_for(error, request[REQUEST_ID])
        # Half an answer is out: the only honest end is to cut the connection.
        if request.transport is not None:
            request.transport.abort()
        return started


def _request_id(request: web.Request) -> str:
    """Take over the caller's id where it is harmless, so that a proxy's and our log can be joined."""
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_id("req")


def _log_access(request: web.Request, operation: str, status: int, duration_s: float) -> None:
    write = log.debug if operation in _QUIET else log.info
    principal = request.get(PRINCIPAL)
    write(
        "request",
        method=request.method,
        path=request.path[:200],
        operation=operation,
        status=status,
        duration_s=round(duration_s, 4),
        principal=principal.id if principal else None,
        address=address_of(request),
        request_id=request[REQUEST_ID],
    )


def guard(hosts: Collection[str]) -> Middleware:
    """Refuse requests for a Host that is not ours: a rebound DNS name brings a browser here under a foreign origin."""
    allowed = frozenset(name for host in hosts if (name := _host_name(host)))

    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.getall("Host", [])
        if len(given) != 1 or _host_name(given[0]) not in allowed:
            raise ProblemError(421, "Call this server by one of its configured names.")
        return await handler(request)

    return check


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    """Put the id and the security headers on every answer; a page may have set its own before."""
    request[_STARTED] = response
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or new_id("req")
    response.headers.update(request.get(ADVICE, {}))
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.popall(hdrs.SERVER, None)  # aiohttp's name and version are nobody's business
    if request.secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _described(mount: Mount, label: str) -> list[web.RouteDef]:
    """Return the routes of the document, for programs and for people."""

    @functools.cache
    def written() -> tuple[str, str, str]:
        document = mount.api.document()
        return json.dumps(document, indent=1, ensure_ascii=False), *page(document, f"{mount.prefix}/openapi.json")

    def texts() -> tuple[str, str, str]:  # called in a thread: writing it takes long enough to hold up every VEN
        with _one_at_a_time:  # the types that documents are made of cannot be built by two threads at once
            return written()

    async def openapi(request: web.Request) -> web.Response:
        request[OPERATION] = f"{label}openapi"
        text, *_ = await asyncio.to_thread(texts)
        return web.json_response(text=text)

    async def docs(request: web.Request) -> web.Response:
        request[OPERATION] = f"{label}docs"
        _, shown, policy = await asyncio.to_thread(texts)
        return web.Response(text=shown, content_type="text/html", headers={"Content-Security-Policy": policy})

    return [web.get(f"{mount.prefix}/openapi.json", openapi), web.get(f"{mount.prefix}/docs", docs)]


def _exposition(metrics: HttpMetrics, authenticator: Authenticator, role: Role | None) -> _Handler:
    async def exposition(request: web.Request) -> web.Response:
        request[OPERATION] = "metrics"
        if role is not None:
            request[PRINCIPAL] = await authenticator.require(request, role)
        body = await asyncio.to_thread(generate_latest, metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return exposition
