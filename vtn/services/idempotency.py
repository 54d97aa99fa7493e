"""Repeated requests, by the principal that makes them (`web.idempotency`): their keys and the answers that they got."""

import contextlib
from datetime import datetime

from sqlalchemy import ColumnElement, delete, insert, select, update

from core.errors import ConflictError
from vtn.store.database import Database, Transaction
from vtn.store.tables import idempotency
from web.idempotency import KEEP, LEASE, KeptAnswer, Mark, Taken


class RequestKeys:
    """The keys of one database. All in machine time."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def write(self) -> contextlib.AbstractAsyncContextManager[Transaction]:
        """Return a transaction."""
        return self._db.write()

    async def take(self, tx: Transaction, mark: Mark) -> KeptAnswer | Taken:
        """Take the key, or return the answer that it got."""
        row = (await tx.conn.execute(select(idempotency).where(_is(mark)).with_for_update())).one_or_none()
        if row is not None and row.created_at < mark.since - KEEP:
            await tx.conn.execute(delete(idempotency).where(_is(mark)))
            row = None
        if row is None:
            values = {"caller": mark.caller, "key": mark.key, "request_hash": mark.digest}
            await tx.conn.execute(insert(idempotency).values(**values, created_at=mark.since))
            return Taken.FIRST
        if row.request_hash != mark.digest:
            return Taken.OTHER
        if row.status is not None:
            return KeptAnswer(row.status, row.headers, row.body)
        if row.created_at > mark.since - LEASE:
            return Taken.AT_WORK
        await tx.conn.execute(update(idempotency).where(_is(mark)).values(created_at=mark.since))
        return Taken.FIRST

    async def remember(self, tx: Transaction, mark: Mark, answer: KeptAnswer) -> None:
        """Keep the answer. Raises ConflictError if another process took the key over meanwhile."""
        values = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
        if not (await tx.conn.execute(update(idempotency).where(_open(mark)).values(**values))).rowcount:
            raise ConflictError("The same request was sent again and is at work; ask for its answer in a moment.")

    async def forget(self, tx: Transaction, mark: Mark) -> None:
        """Free the key, unless it is another request's or has got its answer."""
        await tx.conn.execute(delete(idempotency).where(_open(mark)))


async def forget_old(tx: Transaction, now: datetime) -> None:
    """Delete the keys of yesterday and before."""
    await tx.conn.execute(delete(idempotency).where(idempotency.c.created_at < now - KEEP))


def _is(mark: Mark) -> ColumnElement[bool]:
    return (idempotency.c.caller == mark.caller) & (idempotency.c.key == mark.key)


def _open(mark: Mark) -> ColumnElement[bool]:
    return _is(mark) & idempotency.c.status.is_(None) & (idempotency.c.created_at == mark.since)
