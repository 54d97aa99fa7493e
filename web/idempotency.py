"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): a POST with a key is done once, however often sent.

The same key with the same request gets the same answer for 24 hours, with another request a 422, and a 409 while the
first is still at work. What the request changed and the answer that is remembered are committed together, so a request
that a crash cut off has left nothing, and its key may be used again once its lease has run out. Machine time.
"""

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar

from aiohttp import web

from core.errors import EvenloadError
from web.api import Context, Proceed
from web.problem import ProblemError, response_for

Tx = TypeVar("Tx")

KEEP: Final = timedelta(hours=24)
LEASE: Final = timedelta(seconds=60)
"""For how long nobody else takes over a key whose request is at work."""
_KEY: Final = re.compile(r'"?([!#-~]{1,255})"?', re.ASCII)
"""As the draft wants it, in quotes, or bare."""
_KEPT_HEADERS: Final = ("Content-Type", "Location", "Link", "ETag")
_PASSING: Final = {408, 429}


@dataclass(frozen=True, slots=True)
class Mark:
    """One request under a key of its caller (a principal's id), and since when it is at work."""

    caller: str
    key: str
    digest: str
    since: datetime


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What is remembered of a response."""

    status: int
    headers: Mapping[str, str]
    body: str | None


class Taken(Enum):
    """What becomes of a key that a request comes with, unless an answer is kept for it."""

    FIRST = "first"
    """It is this request's."""
    OTHER = "other"
    """Another request was made with it."""
    AT_WORK = "at work"
    """The same request is being done."""


class Store(Protocol[Tx]):
    """Where keys and answers are kept, in the transactions that the requests write in."""

    def write(self) -> contextlib.AbstractAsyncContextManager[Tx]:
        """Return a transaction that is committed at its end, and undone if it raises."""

    async def take(self, tx: Tx, mark: Mark) -> KeptAnswer | Taken:
        """Take the key, or return the answer that it got."""

    async def remember(self, tx: Tx, mark: Mark, answer: KeptAnswer) -> None:
        """Keep the answer. Raises ConflictError if another process took the key over meanwhile."""

    async def forget(self, tx: Tx, mark: Mark) -> None:
        """Free the key, unless it is another request's or has got its answer."""


class _Unit(Generic[Tx]):
    """The transaction of a request with a key: begun when something is written, and ended with the answer.

    So nobody waits for it while the request still reads and reckons.
    """

    def __init__(self, store: Store[Tx], stack: contextlib.AsyncExitStack) -> None:
        self._store = store
        self._stack = stack
        self._tx: Tx | None = None

    async def begun(self) -> Tx:
        """Return it, beginning it if need be."""
        if self._tx is None:
            self._tx = await self._stack.enter_async_context(self._store.write())
        return self._tx


_UNIT: Final = web.RequestKey("unit", _Unit[Any])
"""Present in requests with an Idempotency-Key."""


class Idempotency(Generic[Tx]):
    """Goes around every change of an API."""

    def __init__(self, store: Store[Tx]) -> None:
        self._store = store

    @contextlib.asynccontextmanager
    async def writing(self, request: web.Request) -> AsyncIterator[Tx]:
        """Write in the request's transaction: the only way in which the operations of such an API write.

        With an Idempotency-Key that is the one which also remembers the answer, so that either both are committed or
        neither; otherwise one of its own.
        """
        unit = request.get(_UNIT)
        if unit is not None:
            yield await unit.begun()
            return
        async with self._store.write() as tx:
            yield tx

    async def around(self, context: Context, raw: bytes, proceed: Proceed) -> web.StreamResponse:
        """Do the request, or answer as before. Raises ProblemError 400 for an odd key, 409 and 422 as said above."""
        key = _key(context.request)
        if key is None:
            return await proceed()
        mark = Mark(context.principal.id, key, _digest(context.request, raw), datetime.now(UTC))
        async with self._store.write() as tx:
            taken = await self._store.take(tx, mark)
        match taken:
            case KeptAnswer(status, headers, body):
                replayed = {**headers, "Idempotency-Replayed": "?1"}
                return web.Response(status=status, body=None if body is None else body.encode(), headers=replayed)
            case Taken.OTHER:
                raise ProblemError(422, "This Idempotency-Key was used for another request; use a fresh one.")
            case Taken.AT_WORK:
                raise ProblemError(409, "The request with this Idempotency-Key is still at work.", {"Retry-After": "1"})
            case Taken.FIRST:
                return await self._first(context, mark, proceed)

    async def _first(self, context: Context, mark: Mark, proceed: Proceed) -> web.StreamResponse:
        try:
            async with contextlib.AsyncExitStack() as stack:
                unit = _Unit(self._store, stack)
                context.request[_UNIT] = unit
                response = await proceed()
                await self._store.remember(await unit.begun(), mark, _kept(response))
                return response
        except (EvenloadError, ProblemError) as error:
            await self._keep_refusal(mark, response_for(error, context.request_id))
            raise
        except BaseException:
            await self._forget(mark)
            raise
        finally:
            context.request.pop(_UNIT, None)

    async def _keep_refusal(self, mark: Mark, response: web.Response) -> None:
        """Remember a refusal, which changed nothing, unless it may be another one in a moment."""
        if response.status >= 500 or response.status in _PASSING:  # noqa: PLR2004
            await self._forget(mark)
            return
        async with self._store.write() as tx:
            await self._store.remember(tx, mark, _kept(response))

    async def _forget(self, mark: Mark) -> None:
        async with self._store.write() as tx:
            await self._store.forget(tx, mark)


def _kept(response: web.StreamResponse) -> KeptAnswer:
    body = response.body if isinstance(response, web.Response) else None
    return KeptAnswer(
        response.status,
        {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers},
        bytes(body).decode() if isinstance(body, bytes | bytearray) else None,
    )


def _key(request: web.Request) -> str | None:
    given = request.headers.getall("Idempotency-Key", [])
    if request.method != "POST" or not given:
        return None
    match = _KEY.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        raise ProblemError(400, "An Idempotency-Key has 1 to 255 printable ASCII characters, and there is one of it.")
    return match[1]


def _digest(request: web.Request, raw: bytes) -> str:
    """Return what makes requests the same: method, address and body."""
    line = f"{request.method} {request.rel_url}\n".encode()
    return hashlib.sha256(line + raw).hexdigest()
