"""Problem documents (RFC 9457): the one place where an error becomes an HTTP answer.

Handlers raise the errors of `core.errors`; the shell itself raises `ProblemError` for what only HTTP knows (406, 412,
415 ...). `type` is stable and made to be compared by programs; `detail` is written for people and may change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from core.errors import ConflictError, EvenloadError, ForbiddenError, InvalidError, NotFoundError, UnavailableError
from web.model import Model
from web.pages.translations import N_

CONTENT_TYPE = "application/problem+json"
_MAX_ERRORS = 20
_MAX_DETAIL = 500

KINDS: Mapping[int, tuple[str, str]] = {
    400: ("malformed", N_("Malformed request")),
    401: ("unauthenticated", N_("Authentication required")),
    403: ("forbidden", N_("Forbidden")),
    404: ("not-found", N_("Not found")),
    405: ("method-not-allowed", N_("Method not allowed")),
    408: ("too-slow", N_("Request timeout")),
    409: ("conflict", N_("Conflict with the current state")),
    412: ("precondition-failed", N_("Changed in the meantime")),
    413: ("too-large", N_("Request too large")),
    415: ("unsupported-media-type", N_("Unsupported content type")),
    421: ("misdirected", N_("Wrong host")),
    422: ("invalid", N_("Invalid request")),
    428: ("precondition-required", N_("Precondition required")),
    429: ("too-many-requests", N_("Too many requests")),
    500: ("internal", N_("Internal error")),
    503: ("unavailable", N_("Service unavailable")),
}
"""Status to the last part of `type`, and `title`."""

_STATUS: Mapping[type[EvenloadError], int] = {
    NotFoundError: 404,
    ConflictError: 409,
    ForbiddenError: 403,
    UnavailableError: 503,
    InvalidError: 422,
    EvenloadError: 422,
}
_RETRY_AFTER_S = 5
_HTTP_DETAILS: Mapping[int, str] = {
    404: "There is no such address. All addresses are listed in /openapi.json.",
    405: "Use one of the methods that the Allow header lists.",
    413: "Send less in one request.",
}


class Fault(Model):
    """One thing that is wrong with a request."""

    detail: str
    """What is wrong."""
    pointer: str | None = None
    """Where in the body: a JSON pointer (RFC 6901)."""
    parameter: str | None = None
    """Which path or query parameter."""
    field: str | None = None
    """Which field, where a rule says more about it than its shape."""


class Problem(Model):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:evenload:problem:not-found"])
    """Stable name of the kind of error, to be compared by programs."""
    title: str
    """The kind of error in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened, and what to do next."""
    request_id: str
    """Name this when asking for help; the server's log has it."""
    errors: list[Fault] | None = None
    """Each single fault of an invalid request, at most 20."""


@dataclass(eq=False)
class ProblemError(Exception):
    """An error that only HTTP knows. Raise it to answer with that status, detail and headers."""

    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[Fault] = ()


NOT_SHOWN = "urn:evenload:problem:not-shown"


def not_shown(status: int, done: Sequence[str], request_id: str) -> web.Response:
    """Return the answer for a request whose change is committed and whose result cannot be shown.

    It has the status of success: an error would say that nothing happened, and be answered with a second attempt.
    """
    told = "; ".join(done[:_MAX_ERRORS])
    problem = Problem(
        type=NOT_SHOWN,
        title="Done, but the result can't be shown",
        status=status,
        detail=f"Don't send it again. Done: {told}. The log says under the request's id why the result can't be shown."[
            :_MAX_DETAIL
        ],
        request_id=request_id,
    )
    return web.Response(status=status, text=problem.model_dump_json(exclude_none=True), content_type=CONTENT_TYPE)


def response_for(error: Exception, request_id: str) -> web.Response:
    """Return the answer for an error; one that nobody foresaw becomes a 500 that tells nothing of itself."""
    match error:
        case ProblemError():
            return _response(error.status, error.detail, request_id, error.headers, error.errors)
        case UnavailableError():
            return _response(503, str(error), request_id, {"Retry-After": str(_RETRY_AFTER_S)})
        case EvenloadError():
            status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
            errors = () if error.field is None else (Fault(detail=str(error), field=error.field),)
            return _response(status, str(error), request_id, errors=errors)
        case web.HTTPException():
            detail = _HTTP_DETAILS.get(error.status, error.reason)
            headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
            return _response(error.status, detail, request_id, headers)
        case _:
            detail = f"Try again. If it keeps happening, ask the operator to look for request {request_id} in the log."
            return _response(500, detail, request_id)


def _response(
    status: int, detail: str, request_id: str, headers: Mapping[str, str] | None = None, errors: Sequence[Fault] = ()
) -> web.Response:
    slug, title = KINDS.get(status, (f"http-{status}", N_("The request can't be served")))
    problem = Problem(
        type=f"urn:evenload:problem:{slug}",
        title=title,
        status=status,
        detail=detail[:_MAX_DETAIL],
        request_id=request_id,
        errors=list(errors[:_MAX_ERRORS]) or None,
    )
    text = problem.model_dump_json(exclude_none=True)
    return web.Response(status=status, text=text, content_type=CONTENT_TYPE, headers=headers)


def invalid_body(error: ValidationError, body: object) -> ProblemError:
    """Turn pydantic's findings about a body into a 422 with one JSON pointer each."""
    faults = [Fault(pointer=_pointer(one["loc"], body), detail=_detail(one)) for one in _findings(error)]
    return ProblemError(422, "The body is invalid. See 'errors'.", errors=faults)


def invalid_parameters(error: ValidationError) -> ProblemError:
    """Turn pydantic's findings about path and query parameters into a 422."""
    faults = [Fault(parameter=str(one["loc"][0]), detail=_detail(one)) for one in _findings(error)]
    return ProblemError(422, "A parameter is invalid. See 'errors'.", errors=faults)


_PLAIN_WORDS: Mapping[str, str] = {
    "extra_forbidden": "There is no field of this name. Remove it or check its spelling.",
    "unexpected_keyword_argument": "There is no field of this name. Remove it or check its spelling.",
    "missing": "This is required.",
    "missing_argument": "This is required.",
    "model_type": "A JSON object is needed.",
    "dataclass_type": "A JSON object is needed.",
}


def _findings(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)[:_MAX_ERRORS]


def _detail(finding: ErrorDetails) -> str:
    text = _PLAIN_WORDS.get(finding["type"]) or finding["msg"].removeprefix("Value error, ")
    return text[:_MAX_DETAIL]


def _pointer(loc: Sequence[str | int], body: object) -> str:
    """Return the JSON pointer of a finding: pydantic's path without the names of union members in it."""
    steps: list[str | int] = []
    here = body
    for place, step in enumerate(loc):
        known = step in here if isinstance(here, dict) else isinstance(here, list) and step in range(len(here))
        if known:
            here = here[step]  # type: ignore[index]
        if known or (isinstance(here, dict) and place == len(loc) - 1):
            steps.append(step)
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
