"""An application of pages: who may open which, what every answer carries, and what goes wrong in words."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from jinja2 import Environment

from core.errors import EvenloadError, ForbiddenError
from core.ids import new_id
from web.api import OPERATION, REQUEST_ID
from web.callers import address_of
from web.pages.assets import Assets
from web.pages.csrf import check_origin, check_token
from web.pages.forms import CSRF_FIELD, Form, read_form
from web.pages.page import REFRESH_HEADER, Description, Handler, PageRequest, Section, described
from web.pages.shell import Session, Shell
from web.pages.templating import make_environment
from web.pages.translations import N_, speaking
from web.pages.translations import gettext as _
from web.problem import Problem, ProblemError, response_for
from web.server import HttpMetrics, guard

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RequestMaker = Callable[[web.Request, Shell, Session | None, Form | None], PageRequest]
"""Makes what the pages of an application are called with."""

SHELL: Final = web.AppKey("shell", Shell)
_SESSION: Final = web.RequestKey("session", Session)
_STATIC: Final = "/static/"
_READ_S: Final = 30.0
_MAX_BODY: Final = 1 << 20
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = structlog.get_logger("evenload.pages")


def environment(sections: Sequence[Section], assets: Assets) -> Environment:
    """Return the templates of all sections, with the names that these give them."""
    names: dict[str, Any] = {
        "static": assets.url,
        "chart_library": assets.library.url if assets.library.is_installed else None,
    }
    words: dict[str, str] = {}
    for section in sections:
        names |= section.globals
        words |= section.words
    return make_environment([one.templates for one in sections if one.templates is not None], names, words)


def all_pages(sections: Iterable[Section]) -> list[Description]:
    """Return where every page of some sections is, and who may see it."""
    return [described(handler) for section in sections for handler in section.pages]


def make_app(
    shell: Shell,
    sections: Sequence[Section],
    request_of: RequestMaker,
    *,
    hosts: Collection[str],
    metrics: HttpMetrics | None = None,
) -> web.Application:
    """Return the application of some sections' pages, which are called with what `request_of` makes.

    `hosts` are the names by which browsers may call it. Services go into the application under their keys
    (`app[KEY] = ...`), for `request.service(KEY)`. Raises TypeError for two pages with one address.
    """
    app = web.Application(
        middlewares=[_observe(shell, request_of, metrics), guard(hosts), _identify(shell)],
        client_max_size=_MAX_BODY,
        handler_args={"auto_decompress": False},
    )
    app[SHELL] = shell
    app.on_response_prepare.append(_dress)
    app.add_routes(shell.assets.routes())
    app.add_routes(_routes(shell, request_of, sections))
    app.on_shutdown.append(_stop_streams)
    return app


def _routes(shell: Shell, request_of: RequestMaker, sections: Sequence[Section]) -> list[web.RouteDef]:
    seen: set[tuple[str, str]] = set()
    routes = []
    for handler in (handler for section in sections for handler in section.pages):
        told = described(handler)
        if (told.method, told.path) in seen:
            raise TypeError(f"Two pages share {told.method} {told.path}.")
        seen.add((told.method, told.path))
        make = web.get if told.method == "GET" else web.post
        routes.append(make(told.path, _Endpoint(shell, request_of, told, handler).handle))
    return routes


async def _stop_streams(app: web.Application) -> None:
    app[SHELL].streams.stop()


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Carries one request to one page: sign-in, role, origin and secret of forms come first."""

    shell: Shell
    request_of: RequestMaker
    description: Description
    handler: Handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        request[OPERATION] = f"{self.shell.metrics} {self.description.path}"
        session = request.get(_SESSION)
        if self.description.role is not None and session is None:
            return _to_sign_in(request)
        form = await self._form(request, session) if self.description.method == "POST" else None
        if self.description.role is not None and session is not None:
            self._check_role(session)
        return await self.handler(self.request_of(request, self.shell, session, form), **request.match_info)

    async def _form(self, request: web.Request, session: Session | None) -> Form:
        check_origin(request)
        try:
            async with asyncio.timeout(_READ_S):
                form = await read_form(request)
        except web.RequestPayloadError as error:
            raise ProblemError(400, _("The form was cut off on its way. Send it again.")) from error
        except TimeoutError as error:
            raise ProblemError(
                408, _("The form took longer than %(seconds)s seconds to arrive.", seconds=int(_READ_S))
            ) from error
        if self.description.role is not None and session is not None:
            check_token(form.value(CSRF_FIELD), session.csrf)
        return form

    def _check_role(self, session: Session) -> None:
        needed, has = self.description.role, session.principal.role
        if needed is not None and not has.includes(needed):
            raise ForbiddenError(_("This needs the role %(needed)s. Your role is %(own)s.", needed=needed, own=has))


def _to_sign_in(request: web.Request) -> web.Response:
    """Send a person to the sign-in page and back; a form or a script is told that nobody is signed in."""
    by_script = REFRESH_HEADER in request.headers or "text/event-stream" in request.headers.get("Accept", "")
    if request.method != "GET" or by_script:
        raise ProblemError(401, _("You aren't signed in. Sign in, then open the page again."))
    parameters = {} if request.path_qs == "/" else {"next": request.path_qs}
    where = f"/login?{urlencode(parameters)}" if parameters else "/login"
    return web.Response(status=303, headers={"Location": where})


def _identify(shell: Shell) -> Middleware:
    """Find out whose session the cookie is, for every page, so that also a page that is not there has its shell."""

    @web.middleware
    async def identify(request: web.Request, handler: _Handler) -> web.StreamResponse:
        token = request.cookies.get(shell.cookies.session)
        if token and not request.path.startswith(_STATIC):
            session = await shell.sessions.find(token, at_work=REFRESH_HEADER not in request.headers)
            if session is not None:
                request[_SESSION] = session
        return await handler(request)

    return identify


def _observe(shell: Shell, request_of: RequestMaker, metrics: HttpMetrics | None) -> Middleware:
    """Give the request its id, turn errors into pages, count and log each request once.

    The log has the route, not the address: that of a sign-in link is a secret.
    """

    @web.middleware
    async def observe(request: web.Request, handler: _Handler) -> web.StreamResponse:
        since = time.monotonic()
        request[REQUEST_ID] = new_id("req")
        status = 499
        try:
            with speaking(shell.languages.preferred(request.headers.get("Accept-Language", ""))):
                response = await _answer(shell, request_of, request, handler)
            status = response.status
        finally:
            duration_s = time.monotonic() - since
            operation = request.get(OPERATION, f"{shell.metrics} unmatched")
            if metrics is not None:
                metrics.record(operation, status, duration_s)
            session = request.get(_SESSION)
            log.debug(
                "request",
                method=request.method,
                operation=operation,
                status=status,
                duration_s=round(duration_s, 4),
                principal=session.principal.id if session else None,
                address=address_of(request),
                request_id=request[REQUEST_ID],
            )
        return response

    return observe


async def _answer(
    shell: Shell, request_of: RequestMaker, request: web.Request, handler: _Handler
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _problem_page(shell, request_of, request, error)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        if not isinstance(error, EvenloadError | ProblemError):
            log.exception("page failed", request_id=request[REQUEST_ID], operation=request.get(OPERATION))
        if _STARTED in request:
            if request.transport is not None:
                request.transport.abort()
            return request[_STARTED]
        return _problem_page(shell, request_of, request, error)


_DETAILS: Final[Mapping[int, str]] = {
    404: N_("This page doesn't exist. Use the navigation to find what you are looking for."),
    405: N_("This address doesn't accept what your browser sent. Go back and try again."),
    413: N_("That was too much for one request. Send less."),
    500: N_("Try again. If it keeps happening, give the request's number below to whoever runs this server."),
}
"""What to do about errors that are nobody's word: those of HTTP, and those that nobody foresaw."""

_STARTED: Final = web.RequestKey("page_started", web.StreamResponse)


def _problem_page(shell: Shell, request_of: RequestMaker, request: web.Request, error: Exception) -> web.Response:
    """Return an error as a page. The REST edge says the same; what only a browser's user can do is said here."""
    told = response_for(error, request[REQUEST_ID])
    problem = Problem.model_validate_json(told.text or "{}")
    if not isinstance(error, EvenloadError | ProblemError) and problem.status in _DETAILS:
        problem = problem.model_copy(update={"detail": _(_DETAILS[problem.status])})
    answer = request_of(request, shell, request.get(_SESSION), None).render(
        "problem.html", status=problem.status, problem=problem
    )
    for name in ("Allow", "Retry-After"):
        if name in told.headers:
            answer.headers[name] = told.headers[name]
    return answer


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    """Put the id and the security headers on every answer; static files have set how long they keep."""
    request[_STARTED] = response
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or new_id("req")
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.popall(hdrs.SERVER, None)
    if request.secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
