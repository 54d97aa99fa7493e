"""`POST /brp/v1/token`: OAuth2 client credentials (RFC 6749, 4.4). Errors are those of RFC 6749, 5.2, not problems."""

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

from aiohttp import web

from aggregator.brp_api.desk import BRP
from aggregator.brp_api.gate import peer_thumbprint
from aggregator.scopes import SCOPES
from vtn.services import api_clients
from vtn.services.api_clients import Client
from web.api import Context
from web.callers import address_of
from web.operation import operation
from web.problem import ProblemError

_FORM: Final = "application/x-www-form-urlencoded"
_LONGEST_FORM: Final = 8192
_READ_S: Final = 10.0
_KNOWN: Final = {"grant_type", "scope", "client_id", "client_secret"}
_UNCACHED: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_ENTRY: Final[Mapping[str, Any]] = {
    "security": [],
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"const": "client_credentials"},
                        "scope": {
                            "type": "string",
                            "description": "What the token is for, separated by blanks; all that you may if left out.",
                        },
                        "client_id": {"type": "string", "description": "Here, or in 'Authorization: Basic'."},
                        "client_secret": {"type": "string", "description": "Here, or in 'Authorization: Basic'."},
                    },
                },
                "example": {
                    "grant_type": "client_credentials",
                    "client_id": "cli_01k8x5m3e5t8n4r9w2z7h6c1qd",
                    "client_secret": "evs_...",
                    "scope": "flex:read flex:request",
                },
            }
        },
    },
}
_TOKEN: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["access_token", "token_type", "expires_in", "scope"],
    "properties": {
        "access_token": {"type": "string"},
        "token_type": {"const": "Bearer"},
        "expires_in": {"type": "integer", "description": "Seconds."},
        "scope": {"type": "string"},
    },
}
_ERROR: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {
        "error": {
            "enum": ["invalid_request", "invalid_client", "invalid_scope", "unsupported_grant_type", "slow_down"]
        },
        "error_description": {"type": "string"},
    },
}


def _answer(title: str, schema: Mapping[str, Any], example: Any) -> dict[str, Any]:
    return {"description": title, "content": {"application/json": {"schema": schema, "example": example}}}


_RESPONSES: Final[Mapping[str, Any]] = {
    "200": _answer(
        "A token",
        _TOKEN,
        {"access_token": "eyJ0eXAiOi...", "token_type": "Bearer", "expires_in": 900, "scope": "flex:read flex:request"},
    ),
    "400": _answer(
        "The request is not one for a token",
        _ERROR,
        {"error": "invalid_scope", "error_description": "You may not have tariff:write."},
    ),
    "401": _answer(
        "The client is unknown, revoked, or has another secret or certificate",
        _ERROR,
        {"error": "invalid_client", "error_description": "Client id, secret or certificate is not right."},
    ),
    "429": _answer(
        "Too many failed attempts, or too many tokens",
        _ERROR,
        {"error": "slow_down", "error_description": "Too many failed attempts. Wait 61 seconds, then try again."},
    ),
    "421": {"$ref": "#/components/responses/Misdirected"},
    "500": {"$ref": "#/components/responses/Internal"},
}


@dataclass(eq=False)
class _OAuthError(Exception):
    error: str
    text: str
    status: int = 400
    wait_s: str = "60"


@operation(
    "POST",
    "/brp/v1/token",
    summary="Get an access token",
    role=None,
    tags=["access"],
    entry={**_ENTRY, "responses": _RESPONSES},
)
async def create_token(context: Context) -> web.Response:
    """Make a token from client id and secret (in `Authorization: Basic` or in the form). It works for 15 minutes.

    A client with a registered certificate has to show it in TLS, here and wherever it uses the token (RFC 8705).
    """
    try:
        return web.json_response(await _token(context), headers=_UNCACHED)
    except _OAuthError as error:
        headers = dict(_UNCACHED)
        if error.status == 401:  # noqa: PLR2004
            headers["WWW-Authenticate"] = 'Basic realm="evenload"'
        if error.status == 429:  # noqa: PLR2004
            headers["Retry-After"] = error.wait_s
        body = {"error": error.error, "error_description": error.text}
        return web.json_response(body, status=error.status, headers=headers)


async def _token(context: Context) -> dict[str, Any]:
    desk, request = context.service(BRP), context.request
    form = await _form(request)
    client_id, secret = _credentials(request, form)
    if form.get("grant_type") != "client_credentials":
        raise _OAuthError("unsupported_grant_type", "The grant_type is client_credentials.")
    client = await _client(context, client_id, secret)
    scopes = _scopes(form.get("scope"), client)
    token = await desk.tokens.sign(client.id, scopes, client.certificate)
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": desk.tokens.lifetime_s,
        "scope": " ".join(scopes),
    }


async def _client(context: Context, client_id: str, secret: str) -> Client:
    """Return the client, if secret and certificate are its own; that is no guess, whoever else fails at its address."""
    desk = context.service(BRP)
    async with desk.db.read() as conn:
        client = await api_clients.authenticate(conn, client_id, secret)
    shown = peer_thumbprint(context.request)
    if client is None or (client.certificate is not None and client.certificate != shown):
        try:
            desk.failures.refuse(address_of(context.request))
        except ProblemError as error:
            raise _OAuthError("slow_down", error.detail, 429, error.headers["Retry-After"]) from error
        raise _OAuthError("invalid_client", "Client id, secret or certificate is not right.", 401)
    try:
        desk.token_limit.take(client.id)
    except ProblemError as error:
        wait_s = error.headers["Retry-After"]
        raise _OAuthError("slow_down", "A token works for 15 minutes: use it until then.", 429, wait_s) from error
    return client


async def _form(request: web.Request) -> dict[str, str]:
    """Read the form, bounded in size and time."""
    if request.query_string:
        raise _OAuthError("invalid_request", "Everything goes into the body, nothing into the address.")
    if request.content_type != _FORM or request.headers.get("Content-Encoding", "identity") != "identity":
        raise _OAuthError("invalid_request", f"Send 'Content-Type: {_FORM}', not compressed.")
    if (request.content_length or 0) > _LONGEST_FORM:
        raise _OAuthError("invalid_request", "The form is too long.")
    try:
        async with asyncio.timeout(_READ_S):
            raw = await request.content.read(_LONGEST_FORM + 1)
            while len(raw) <= _LONGEST_FORM and (more := await request.content.read(_LONGEST_FORM + 1 - len(raw))):
                raw += more
        if len(raw) > _LONGEST_FORM:
            raise _OAuthError("invalid_request", "The form is too long.")
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except (ValueError, TimeoutError, web.RequestPayloadError) as error:
        raise _OAuthError("invalid_request", "The body is not a form.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _OAuthError("invalid_request", "A parameter is given twice.")
    if unknown := form.keys() - _KNOWN:
        raise _OAuthError("invalid_request", f"Parameters are {', '.join(sorted(_KNOWN))}, not {min(unknown)[:40]!a}.")
    return {name: value for name, value in form.items() if value}


def _credentials(request: web.Request, form: Mapping[str, str]) -> tuple[str, str]:
    """Return client id and secret: from Basic authentication or from the form, never both (RFC 6749, 2.3)."""
    headers = request.headers.getall("Authorization", [])
    in_form = "client_secret" in form
    if not headers:
        if not in_form or "client_id" not in form:
            raise _OAuthError(
                "invalid_client", "Send client id and secret, in 'Authorization: Basic' or the form.", 401
            )
        return form["client_id"], form["client_secret"]
    scheme, _, given = headers[0].partition(" ")
    if len(headers) > 1 or in_form:
        raise _OAuthError("invalid_request", "Send client id and secret in one way only.")
    try:
        if scheme.lower() != "basic":
            raise _OAuthError("invalid_client", "Use 'Authorization: Basic' here.", 401)
        name, colon, secret = base64.b64decode(given.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeError) as error:
        raise _OAuthError("invalid_client", "'Authorization: Basic' is malformed.", 401) from error
    name, secret = unquote_plus(name), unquote_plus(secret)
    if not colon or form.get("client_id", name) != name:
        raise _OAuthError("invalid_client", "'Authorization: Basic' is malformed, or names another client.", 401)
    return name, secret


def _scopes(wanted: str | None, client: Client) -> list[str]:
    """Return the scopes of the token: those asked for, or all that the client may have."""
    if wanted is None:
        return list(client.scopes)
    names = wanted.split(" ")
    if missing := [name for name in names if name not in client.scopes]:
        known = missing[0] if missing[0] in SCOPES else ascii(missing[0][:40])
        raise _OAuthError("invalid_scope", f"You may not have {known}.")
    return [name for name in client.scopes if name in names]


OPERATIONS = (create_token,)
