"""A small client of the operator API, for the command line and for scripts.

    async with OperatorClient("https://vtn.example:8444/v1", token, ca=Path("ca.pem")) as client:
        for ven in await client.all("/vens"):
            print(ven["name"])

Only GET is repeated by itself. Time-outs and pauses are machine time.
"""

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from core.errors import EvenloadError, InvalidError, UnavailableError
from evenload.printable import printable

_TRIES = 4
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_MAX_ANSWER_BYTES = 64 << 20
_JSON = "application/json"
_PASSING = {429, 502, 503, 504}
_EMPTY = {202, 204}
"""Done, or taken on, and nothing more to say."""
_MAX_TEXT = 2000

_NEXT_STEP: Mapping[int, str] = {
    401: "Pass a valid token with --token or EVENLOAD_TOKEN.",
    403: "Use the token of somebody who may.",
    412: "Read it again and repeat the change.",
}

Query = Mapping[str, object]


class RequestError(EvenloadError):
    """The VTN refused a request. Its text says why, and what to do next.

    `status` is the HTTP status, `kind` the stable `type` of the problem document, `request_id` what the log has.
    """

    def __init__(self, text: str, status: int, kind: str, request_id: str) -> None:
        super().__init__(text)
        self.status = status
        self.kind = kind
        self.request_id = request_id


class OperatorClient:
    """Talks JSON to one operator API. Use it as an async context manager.

    Raises InvalidError for an address that cannot be right (plain HTTP to another machine among them: the token would
    be readable on the way), RequestError for what the VTN refuses, UnavailableError if it does not answer.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        ca: Path | ssl.SSLContext | None = None,
        *,
        timeout_s: float = 30.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._base = _checked(base_url)
        if not token.isascii() or not token.isprintable() or not token.strip():
            raise InvalidError("That is not a token; copy it again, without quotes and line breaks.")
        self._headers = {"Authorization": f"Bearer {token.strip()}", "Accept": _JSON}
        self._tls = ca if isinstance(ca, ssl.SSLContext) else _trust(ca)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, 10.0))
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            headers=self._headers,
            timeout=self._timeout,
            middlewares=[_never_twice],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, query: Query | None = None) -> Any:
        """Return what is at the path. Tries again while the VTN is away for a moment."""
        return await self._again(path, query, _JSON)

    async def file(self, path: str, media_type: str) -> bytes:
        """Return what is at the path as a file of that type, such as `text/csv`. Tries again as `get`."""
        raw: bytes = await self._again(path, None, media_type)
        return raw

    async def _again(self, path: str, query: Query | None, media_type: str) -> Any:
        for attempt in range(_TRIES):
            pause_s = _FIRST_PAUSE_S * 2**attempt
            try:
                return await self._request("GET", path, query, headers={"Accept": media_type}, media_type=media_type)
            except _PassingError as passing:
                pause_s = passing.retry_after_s or pause_s
                if attempt == _TRIES - 1 or pause_s > _LONGEST_PAUSE_S:
                    raise passing.error from passing
            await self._sleep(pause_s)
        raise AssertionError  # the last attempt returns or raises

    async def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """Send a body (or none) and return the answer. Never sent twice."""
        return await self._once("POST", path, body, headers)

    async def put(self, path: str, body: Any, *, if_match: str | None = None) -> Any:
        """Replace what is at the path."""
        return await self._once("PUT", path, body, _if_match(if_match))

    async def patch(self, path: str, body: Any, *, if_match: str | None = None) -> Any:
        """Change what is at the path."""
        return await self._once("PATCH", path, body, _if_match(if_match))

    async def delete(self, path: str, *, if_match: str | None = None) -> Any:
        """Delete what is at the path."""
        return await self._once("DELETE", path, None, _if_match(if_match))

    async def each(self, path: str, query: Query | None = None) -> AsyncIterator[Any]:
        """Yield every item of a listing, page by page."""
        cursor: object = None
        while True:
            page = await self.get(path, {**(query or {}), "cursor": cursor})
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                raise UnavailableError(f"{self._base}{path} is not a listing; is the server newer than this client?")
            for item in page["items"]:
                yield item
            following = page.get("next")
            if following is None:
                return
            if following == cursor:
                raise UnavailableError(f"{self._base}{path} gives the same page again and again; tell its operator.")
            cursor = following

    async def all(self, path: str, query: Query | None = None) -> list[Any]:
        """Return every item of a listing."""
        return [item async for item in self.each(path, query)]

    async def _once(self, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        try:
            return await self._request(method, path, None, body, headers)
        except _PassingError as passing:
            raise passing.error from passing

    async def _request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        media_type: str = _JSON,
    ) -> Any:
        if self._session is None:
            raise TypeError("Use the client in 'async with'.")
        url = _url(self._base, path).with_query(_query(query or {}))
        try:
            # No redirects: the token is for this server only.
            async with self._session.request(
                method, url, json=body, headers=dict(headers or {}), allow_redirects=False
            ) as answer:
                return _read(answer.status, answer.headers, await _bounded(answer), self._base, media_type)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            why = printable(str(error.certificate_error if hasattr(error, "certificate_error") else error))
            raise InvalidError(
                f"{self._base} has no certificate that we trust ({why}). Pass its CA with --ca."
            ) from error
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or "no such host"
            text = f"{self._base} does not answer ({why}). Is the VTN running, and is the address right?"
            raise _PassingError(UnavailableError(text)) from error
        except (_BrokenOffError, aiohttp.ClientError, TimeoutError) as error:
            text = f"The connection to {self._base} broke off or timed out."
            if self._base.startswith("http:") and not isinstance(error, TimeoutError):
                text += " If TLS is spoken there, write https://."
            if method != "GET":
                text += " It may have been done or not: look before you repeat it."
            raise _PassingError(UnavailableError(text)) from error


class _PassingError(Exception):
    """An error that may be gone in a moment; `error` is what to raise if it is not."""

    def __init__(self, error: EvenloadError, retry_after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after_s = retry_after_s


class _BrokenOffError(Exception):
    """The connection broke off between request and answer."""


async def _never_twice(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from silently repeating a PUT or DELETE whose connection broke off: it may have been done."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenOffError from error


def _if_match(tag: str | None) -> dict[str, str]:
    return {} if tag is None else {"If-Match": tag}


def _checked(base_url: str) -> str:
    shown = printable(base_url[:200])
    try:
        url = URL(base_url)
    except ValueError as error:
        raise InvalidError(f"'{shown}' is not an address such as https://localhost:8444.") from error
    extra = url.query_string or url.fragment or url.user or " " in base_url
    if url.scheme not in {"http", "https"} or not url.host or extra:
        raise InvalidError(f"'{shown}' is not an address such as https://localhost:8444.")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise InvalidError(f"Plain HTTP would show the token to everybody on the way to {url.host}; use https.")
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise InvalidError(f"{ca} is not a readable file of CA certificates (PEM): {error}.") from error


def _url(base: str, path: str) -> URL:
    """Join, escaping what people type as an id, so that no id leads to another address."""
    if not path.startswith("/") or {".", ".."} & set(path.split("/")):
        raise InvalidError(f"'{printable(path[:200])}' is no path of the API; check the id in it.")
    return URL(base + quote(path, safe="/:@"), encoded=True)


def _query(query: Query) -> list[tuple[str, str]]:
    """Return the pairs of a query: a list is repeated, None is left out."""
    return [
        (name, _text(one))
        for name, value in query.items()
        for one in (value if isinstance(value, list | tuple) else [value])
        if one is not None
    ]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        raw += chunk
        if len(raw) > _MAX_ANSWER_BYTES:
            raise InvalidError(f"The answer is larger than {_MAX_ANSWER_BYTES >> 20} MiB; ask for less.")
    return bytes(raw)


def _read(status: int, headers: Mapping[str, str], raw: bytes, base: str, media_type: str) -> Any:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if status in _EMPTY and not raw and media_type == _JSON:
        return None
    try:
        value = json.loads(raw) if kind in {_JSON, "application/problem+json"} else None
    except (ValueError, RecursionError):
        value = None
    ok = 200 <= status < 300  # noqa: PLR2004
    if ok and kind == media_type != _JSON:
        return raw
    if ok and kind == media_type and (value is not None or raw.strip() == b"null"):
        return value
    if isinstance(value, dict) and (not ok or kind == "application/problem+json"):
        # With a status of success it says what was done, and that the result cannot be shown.
        error: EvenloadError = _refusal(status, value)
    else:
        form = "JSON" if media_type == _JSON else media_type
        error = UnavailableError(f"{base} answered {status} without {form}; is it really the VTN's operator API?")
    if status in _PASSING:
        raise _PassingError(error, _seconds(headers.get("Retry-After")))
    raise error


def _refusal(status: int, problem: Mapping[str, Any]) -> RequestError:
    """Turn a problem document (RFC 9457) into an error with text for people."""
    lines = [str(problem.get("detail") or problem.get("title") or f"The VTN answered {status}.")]
    faults = problem.get("errors")
    for fault in faults if isinstance(faults, list) else []:
        if isinstance(fault, dict):
            place = fault.get("pointer") or fault.get("parameter") or "body"
            lines.append(f"{place}: {fault.get('detail')}")
    if status in _NEXT_STEP:
        lines.append(_NEXT_STEP[status])
    request_id = printable(str(problem.get("request_id", "")))[:100]
    text = "\n  ".join(printable(line) for line in lines)[:_MAX_TEXT]
    return RequestError(text, status, str(problem.get("type", "about:blank")), request_id)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
