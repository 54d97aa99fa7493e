"""When a dispatch's result is computed next, by itself: after its end, and again for late readings until it is final.

The final one is frozen: what comes in later, better meter data too, changes nothing, until a dispute opens it again for
as long as it was open after the end.

The time lies in the dispatch's row, so that a restart forgets nothing. Whoever computes calls `tick` for what is `due`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import select, update

from core.errors import ConflictError, EvenloadError, InvalidError
from vtn.services import dispatch as dispatches
from vtn.services import evaluation
from vtn.services.dispatch import Dispatch
from vtn.services.evaluation import Computed
from vtn.store.database import Connection, Database, Transaction
from vtn.store.tables import dispatch
from vtn.store.tables import evaluation as evaluation_table

_LONGEST_REASON: Final = 2_000
_log = structlog.get_logger(__name__)

LEAST_WAIT: Final = timedelta(minutes=10)
"""Between two computations; later ones are as far apart as half the time since the end."""


@dataclass(frozen=True, slots=True)
class Waits:
    """World time from the end of a dispatch to its first result, and to its final one."""

    first: timedelta
    final: timedelta


async def due(conn: Connection, now: datetime, limit: int) -> list[str]:
    """Return the ids of the dispatches whose turn it is, the longest due first."""
    column = dispatch.c.result_due_at
    query = select(dispatch.c.id).where(column <= now).order_by(column, dispatch.c.id).limit(limit)
    return list((await conn.execute(query)).scalars())


async def due_at(conn: Connection, dispatch_id: str) -> datetime | None:
    """Return when a dispatch is looked at next; None: nothing is due any more, or not before it is cancelled."""
    query = select(dispatch.c.result_due_at).where(dispatch.c.id == dispatch_id)
    return (await conn.execute(query)).scalar_one_or_none()


async def settle(tx: Transaction, dispatch_id: str, at: datetime | None) -> None:
    """Say when a dispatch is looked at next; None: no more."""
    await tx.conn.execute(update(dispatch).where(dispatch.c.id == dispatch_id).values(result_due_at=at))


async def tick(db: Database, dispatch_id: str, now: datetime, waits: Waits, *, who: str) -> None:
    """Compute a dispatch's result if it is time, and say when next. One of the same readings is no new version."""
    async with db.read() as conn:
        one = await dispatches.get(conn, dispatch_id)
        before = await due_at(conn, dispatch_id)
        opened = await reopened_at(conn, dispatch_id)
    if before is None or before > now:
        return
    end = min(filter(None, (one.shared.period.end, one.cancelled_at)), default=None)
    computed, wait, is_final = None, None, False
    if end is not None and end > one.shared.period.start:
        if now < end + waits.first:
            wait = end + waits.first
        else:
            computed = await _computed(db, one, now)
            final = max(end, opened or end) + waits.final
            is_final = computed is not None and now >= final
            wait = None if now >= final else min(final, now + max(LEAST_WAIT, (now - end) / 2))
    async with db.write() as tx:
        await dispatches.get(tx.conn, dispatch_id, lock=True)
        if await due_at(tx.conn, dispatch_id) != before:  # somebody else was here
            return
        if computed is not None:
            await keep(tx, computed, now, who=who)
        if is_final:
            await freeze(tx, dispatch_id, now)
        await settle(tx, dispatch_id, wait)


async def reopened_at(conn: Connection, dispatch_id: str) -> datetime | None:
    """Return when a final result was opened again by a dispute, the last time; None: never."""
    query = select(dispatch.c.result_reopened_at).where(dispatch.c.id == dispatch_id)
    return (await conn.execute(query)).scalar_one_or_none()


async def freeze(tx: Transaction, dispatch_id: str, now: datetime) -> None:
    """Let the newest result of a dispatch be its final one."""
    await tx.conn.execute(update(dispatch).where(dispatch.c.id == dispatch_id).values(result_final_at=now))


async def reopen(tx: Transaction, dispatch_id: str, reason: str, now: datetime, *, who: str) -> None:
    """Open a final result again, since it is disputed: it is computed at once with the data of now.

    Raises NotFoundError, InvalidError without a reason, ConflictError for a result that is not final.
    """
    await dispatches.get(tx.conn, dispatch_id, lock=True)
    if not 1 <= len(reason.strip()) <= _LONGEST_REASON:
        raise InvalidError(f"A dispute says why, in 1 to {_LONGEST_REASON} characters.", field="reason")
    if await evaluation.final_at(tx.conn, dispatch_id) is None:
        raise ConflictError("This result is not final: new data still changes it by itself.")
    values = {"result_final_at": None, "result_reopened_at": now, "result_due_at": now}
    await tx.conn.execute(update(dispatch).where(dispatch.c.id == dispatch_id).values(**values))
    await tx.audit(who, "dispute result", dispatch_id, after={"reason": reason.strip()}, at=now)


async def _computed(db: Database, dispatch: Dispatch, now: datetime) -> Computed | None:
    try:
        return await evaluation.compute(db, dispatch.id, now)
    except EvenloadError as error:
        _log.warning("no result", dispatch=dispatch.id, why=str(error))
        return None


async def keep(tx: Transaction, computed: Computed, now: datetime, *, who: str) -> bool:
    """Store a result, with a line in the audit if it is a new version; tell whether it is."""
    dispatch_id = computed.result.dispatch_id
    newest = select(evaluation_table.c.version).where(evaluation_table.c.dispatch_id == dispatch_id)
    versions = set((await tx.conn.execute(newest)).scalars())
    result = await evaluation.keep(tx, computed, now)
    if result.version in versions:
        return False
    after = {"version": result.version, "method": result.method}
    await tx.audit(who, "evaluate dispatch", dispatch_id, after=after, at=now)
    return True
