"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): a POST with a key is done once, however often sent.

The same key with the same request gets the same answer for 24 hours, with another request a 422, and a 409 while the
first is still at work. What the request changed and the answer that is remembered are committed together, so a request
that a crash cut off has left nothing, and its key may be used again once its lease has run out. Machine time.
"""

import contextlib
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import ColumnElement, delete, insert, select, update

from aggregator.brp_api.desk import TRANSACTION, OneTransaction
from aggregator.tables import idempotency
from core.errors import ConflictError, EvenloadError
from vtn.store.database import Database, Transaction
from web.api import Context, Proceed
from web.problem import ProblemError, response_for

KEEP: Final = timedelta(hours=24)
_LEASE: Final = timedelta(seconds=60)
_KEY: Final = re.compile(r'"?([!#-~]{1,255})"?', re.ASCII)
"""As the draft wants it, in quotes, or bare."""
_KEPT_HEADERS: Final = ("Content-Type", "Location", "Link", "ETag")
_PASSING: Final = {408, 429}


@dataclass(frozen=True, slots=True)
class _Mark:
    """One request under a key, and since when it is at work."""

    caller: str
    key: str
    digest: str
    since: datetime


class Idempotent:
    """Goes around every change of the BRP API."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def around(self, context: Context, raw: bytes, proceed: Proceed) -> web.StreamResponse:
        """Do the request, or answer as before. Raises ProblemError 400 for an odd key, 409 and 422 as said above."""
        key = _key(context.request)
        if key is None:
            return await proceed()
        mark = _Mark(context.principal.id, key, _digest(context.request, raw), datetime.now(UTC))
        known = await self._begin(mark)
        return known if known is not None else await self._first(context, mark, proceed)

    async def _begin(self, mark: _Mark) -> web.Response | None:
        """Take the key, or return the answer that it got."""
        async with self._db.write() as tx:
            query = select(idempotency).where(_is(mark)).with_for_update()
            row = (await tx.conn.execute(query)).one_or_none()
            if row is not None and row.created_at < mark.since - KEEP:
                await tx.conn.execute(delete(idempotency).where(_is(mark)))
                row = None
            if row is None:
                values = {"caller": mark.caller, "key": mark.key, "request_hash": mark.digest}
                await tx.conn.execute(insert(idempotency).values(**values, created_at=mark.since))
                return None
            if row.request_hash != mark.digest:
                raise ProblemError(422, "This Idempotency-Key was used for another request; use a fresh one.")
            if row.status is not None:
                body = None if row.body is None else row.body.encode()
                return web.Response(status=row.status, body=body, headers={**row.headers, "Idempotency-Replayed": "?1"})
            if row.created_at > mark.since - _LEASE:
                raise ProblemError(409, "The request with this Idempotency-Key is still at work.", {"Retry-After": "1"})
            await tx.conn.execute(update(idempotency).where(_is(mark)).values(created_at=mark.since))
            return None

    async def _first(self, context: Context, mark: _Mark, proceed: Proceed) -> web.StreamResponse:
        try:
            async with contextlib.AsyncExitStack() as stack:
                one = OneTransaction(self._db, stack)
                context.request[TRANSACTION] = one
                response = await proceed()
                await _remember(await one.begun(), mark, response)
                return response
        except (EvenloadError, ProblemError) as error:
            await self._keep_refusal(mark, response_for(error, context.request_id))
            raise
        except BaseException:
            await self._forget(mark)
            raise
        finally:
            context.request.pop(TRANSACTION, None)

    async def _keep_refusal(self, mark: _Mark, answer: web.Response) -> None:
        """Remember a refusal, which changed nothing, unless it may be another one in a moment."""
        if answer.status >= 500 or answer.status in _PASSING:  # noqa: PLR2004
            await self._forget(mark)
            return
        async with self._db.write() as tx:
            await _remember(tx, mark, answer)

    async def _forget(self, mark: _Mark) -> None:
        async with self._db.write() as tx:
            own = _is(mark) & idempotency.c.status.is_(None) & (idempotency.c.created_at == mark.since)
            await tx.conn.execute(delete(idempotency).where(own))


async def forget_old(tx: Transaction, now: datetime) -> None:
    """Delete the keys of yesterday and before."""
    await tx.conn.execute(delete(idempotency).where(idempotency.c.created_at < now - KEEP))


async def _remember(tx: Transaction, mark: _Mark, answer: web.StreamResponse) -> None:
    """Store the answer. Raises ConflictError if another process took the key over meanwhile."""
    body = answer.body if isinstance(answer, web.Response) else None
    values = {
        "status": answer.status,
        "headers": {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers},
        "body": bytes(body).decode() if isinstance(body, bytes | bytearray) else None,
    }
    own = _is(mark) & idempotency.c.status.is_(None) & (idempotency.c.created_at == mark.since)
    if not (await tx.conn.execute(update(idempotency).where(own).values(**values))).rowcount:
        raise ConflictError("The same request was sent again and is at work; ask for its answer in a moment.")


def _is(mark: _Mark) -> ColumnElement[bool]:
    return (idempotency.c.caller == mark.caller) & (idempotency.c.key == mark.key)


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
