"""A client of the BRP API, for the command line and for scripts.

    async with BrpClient("https://vtn.example:8444", client_id, secret, ca=Path("ca.pem")) as brp:
        request = await brp.post("/flexibility-requests", {...})
        offer = await brp.until(f"/flexibility-requests/{request['id']}", lambda one: one["status"] != "received")

It gets its tokens by itself, and sends every POST with an Idempotency-Key, so that repeating one does no harm.
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from core.errors import InvalidError, UnavailableError
from evenload.client import OperatorClient, Query, RequestError

_EARLY_S = 60.0
"""A token is renewed so long before it ends."""
_TRIES = 4
_PAUSE_S = 1.0
_TOKEN_S = 15.0

Work = Callable[[OperatorClient], Awaitable[Any]]


class BrpClient:
    """Talks to one BRP API. Use it as an async context manager.

    `certificate` is (certificate, key), PEM files, for a client whose tokens are bound to one. Raises what
    `OperatorClient` raises.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        secret: str,
        *,
        ca: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not client_id or not secret:
            raise InvalidError(
                "No client: set EVENLOAD_BRP_CLIENT_ID and EVENLOAD_BRP_SECRET, as the aggregator told you."
            )
        self._base = url.rstrip("/").removesuffix("/v1").removesuffix("/brp")
        self._own = {"client_id": client_id, "client_secret": secret}
        self._tls = _tls(ca, certificate)
        self._sleep = sleep
        self._monotonic = monotonic
        self._api: OperatorClient | None = None
        self._until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._api is not None:
            await self._api.__aexit__(kind, error, trace)

    async def get(self, path: str, query: Query | None = None) -> Any:
        """Return what is at a path such as `/me`."""
        return await self._do(lambda api: api.get(path, query))

    async def file(self, path: str, media_type: str) -> bytes:
        """Return what is at a path as a file of that type, such as `text/csv`."""
        raw: bytes = await self._do(lambda api: api.file(path, media_type))
        return raw

    async def all(self, path: str, query: Query | None = None) -> list[Any]:
        """Return every item of a listing."""
        found: list[Any] = await self._do(lambda api: api.all(path, query))
        return found

    async def post(self, path: str, body: Any = None) -> Any:
        """Send a body and return the answer. It is done once, even where a broken connection has it sent again."""
        headers = {"Idempotency-Key": secrets.token_urlsafe(16)}
        for attempt in range(_TRIES):
            try:
                return await self._do(lambda api: api.post(path, body, headers=headers))
            except (UnavailableError, RequestError) as error:
                passing = not isinstance(error, RequestError) or error.status == 503  # noqa: PLR2004
                if not passing or attempt == _TRIES - 1:
                    raise
            await self._sleep(_PAUSE_S * 2**attempt)
        raise AssertionError  # the last attempt returns or raises

    async def patch(self, path: str, body: Any, *, if_match: str) -> Any:
        """Change what is at a path, if it is the version that was read."""
        return await self._do(lambda api: api.patch(path, body, if_match=if_match))

    async def put(self, path: str, body: Any, *, if_match: str | None = None) -> Any:
        """Replace what is at a path."""
        return await self._do(lambda api: api.put(path, body, if_match=if_match))

    async def delete(self, path: str) -> None:
        """Delete what is at a path."""
        await self._do(lambda api: api.delete(path))

    async def watch(self, path: str, every_s: float) -> AsyncIterator[Any]:
        """Yield what is at a path, again and again; the caller ends it."""
        while True:
            yield await self.get(path)
            await self._sleep(every_s)

    async def until(self, path: str, condition: Callable[[Any], object], every_s: float = 1.0) -> Any:
        """Return what is at a path as soon as it fulfils a condition."""
        async for value in self.watch(path, every_s):
            if condition(value):
                return value
        raise AssertionError  # it goes on until the condition holds

    async def _do(self, work: Work) -> Any:
        try:
            return await work(await self._open())
        except RequestError as error:
            if error.status != 401:  # noqa: PLR2004
                raise
        self._until = 0.0  # the token was revoked, or its key: a new one may do
        return await work(await self._open())

    async def _open(self) -> OperatorClient:
        """Return a client with a token that is good for a while."""
        if self._api is None or self._monotonic() >= self._until:
            if self._api is not None:
                await self._api.__aexit__(None, None, None)
                self._api = None
            # OperatorClient refuses an address that would show secrets to others: ask it first.
            OperatorClient(f"{self._base}/brp/v1", "none", ca=self._tls)
            token, lifetime_s = await self._token()
            self._api = await OperatorClient(f"{self._base}/brp/v1", token, ca=self._tls).__aenter__()
            self._until = self._monotonic() + lifetime_s - _EARLY_S
        return self._api

    async def _token(self) -> tuple[str, float]:
        url, form = f"{self._base}/brp/v1/token", {"grant_type": "client_credentials", **self._own}
        timeout = aiohttp.ClientTimeout(total=_TOKEN_S)
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls), timeout=timeout) as session,
                session.post(url, data=form, allow_redirects=False) as answer,
            ):
                told = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise UnavailableError(
                f"{self._base} gives no token ({type(error).__name__}). Is the address right?"
            ) from error
        if not isinstance(told, dict) or answer.status != 200:  # noqa: PLR2004
            why = told.get("error_description", "") if isinstance(told, dict) else ""
            raise RequestError(f"No token: {why or answer.status}", answer.status, "invalid_client", "")
        return str(told["access_token"]), float(told["expires_in"])


def _tls(ca: Path | None, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(*certificate)
    except (OSError, ssl.SSLError) as error:
        raise InvalidError(f"The CA, the certificate or its key is no readable PEM file: {error}.") from error
    return context
