"""Opts through EiOpt: for one event, or as a schedule (OP-01..OP-17)."""

from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.model.codes import Code, OpenADRError
from openadr.model.event import Event, ResponseRequired
from openadr.model.opt import Opt, OptFact, OptSource, OptType, effective_opt
from vtn.services import event as events
from vtn.store.database import Transaction
from vtn.store.rows import to_json
from vtn.store.tables import event, opt


async def create(tx: Transaction, ven_id: str, said: Opt, now: datetime) -> None:
    """Record an opt. Raises OpenADRError 459, 452, 450 or 462 (OP-02, OP-09, OP-10, OP-15)."""
    if said.event_id is not None:
        await _for_event(tx, ven_id, said, now)
    elif said.availability:
        await _schedule(tx, ven_id, said, now)
    else:
        raise OpenADRError(Code.COMPLIANCE, "An opt needs either a qualifiedEventID or a vavailability.")


async def _for_event(tx: Transaction, ven_id: str, said: Opt, now: datetime) -> None:
    if said.availability or said.market_context:
        raise OpenADRError(Code.COMPLIANCE, "An opt for an event takes no vavailability and no marketContext.")
    listed = {one.event_id: one for one in await events.of_ven(tx.conn, ven_id, now)}
    known = listed.get(said.event_id or "")
    if known is None:
        raise OpenADRError(Code.INVALID_ID, f"No event '{said.event_id}' is open for this VEN.")
    if said.modification_number != known.modification_number:
        raise OpenADRError(Code.OUT_OF_SEQUENCE, f"The event is at modification {known.modification_number}.")
    if known.response_required is ResponseRequired.NEVER:
        raise OpenADRError(Code.COMPLIANCE, "This event takes no response.")
    _check_subset(said, known, ven_id)
    for resource_id in said.target.resource_ids or (None,):
        last = (
            select(opt.c.opt_type)
            .where(
                (opt.c.event_id == said.event_id)
                & (opt.c.source == OptSource.CREATE_OPT)
                & opt.c.resource_id.is_not_distinct_from(resource_id)
                & (opt.c.opt_id == said.opt_id)
            )
            .order_by(opt.c.sequence.desc())
            .limit(1)
        )
        if (await tx.conn.execute(last)).scalar_one_or_none() == said.opt_type:
            continue
        await tx.conn.execute(
            insert(opt).values(
                ven_id=ven_id,
                event_id=said.event_id,
                modification_number=said.modification_number,
                source=OptSource.CREATE_OPT,
                opt_type=said.opt_type,
                resource_id=resource_id,
                reason=said.reason,
                opt_id=said.opt_id,
                at=now,
            )
        )


def _check_subset(said: Opt, known: Event, ven_id: str) -> None:
    """Raise OpenADRError 462 unless the opt's target lies within the event's (OP-09)."""
    foreign_ven = [one for one in said.target.ven_ids if one != ven_id]
    named = known.target.resource_ids
    foreign_resource = [one for one in said.target.resource_ids if named and one not in named]
    if foreign_ven or foreign_resource:
        outside = ", ".join(foreign_ven + foreign_resource)
        raise OpenADRError(Code.TARGET_MISMATCH, f"Not among the event's targets: {outside}.")


async def _schedule(tx: Transaction, ven_id: str, said: Opt, now: datetime) -> None:
    """Add a schedule; earlier ones of the same type that it covers end, unless they are resent (OP-06, OP-14)."""
    same_type = (
        (opt.c.ven_id == ven_id)
        & opt.c.event_id.is_(None)
        & opt.c.ended_at.is_(None)
        & (opt.c.opt_type == said.opt_type)
        & opt.c.market_context.is_not_distinct_from(said.market_context)
    )
    content = to_json(said)
    for row in (await tx.conn.execute(select(opt).where(same_type))).all():
        if row.schedule == content:
            return
    resources = said.target.resource_ids or (None,)
    covered = same_type if resources == (None,) else same_type & opt.c.resource_id.in_(resources)
    await tx.conn.execute(update(opt).where(covered & (opt.c.opt_id != said.opt_id)).values(ended_at=now))
    await tx.conn.execute(
        insert(opt),
        [
            {
                "ven_id": ven_id,
                "source": OptSource.CREATE_OPT,
                "opt_type": said.opt_type,
                "resource_id": resource_id,
                "reason": said.reason,
                "opt_id": said.opt_id,
                "market_context": said.market_context,
                "schedule": content,
                "at": now,
            }
            for resource_id in resources
        ],
    )


async def cancel(tx: Transaction, ven_id: str, opt_id: str, now: datetime) -> None:
    """End all schedules made with an optID; superseded ones are no error. Raises OpenADRError 452 (OP-14, OP-15)."""
    made = (opt.c.ven_id == ven_id) & (opt.c.opt_id == opt_id) & opt.c.event_id.is_(None)
    if (await tx.conn.execute(select(opt.c.sequence).where(made).limit(1))).first() is None:
        raise OpenADRError(Code.INVALID_ID, f"No opt schedule '{opt_id}'.")
    await tx.conn.execute(update(opt).where(made & opt.c.ended_at.is_(None)).values(ended_at=now))


async def facts(conn: AsyncConnection, event_id: str) -> list[OptFact]:
    """Return every statement about an event, oldest first."""
    query = select(opt).where(opt.c.event_id == event_id).order_by(opt.c.sequence)
    return [
        OptFact(row.sequence, OptSource(row.source), OptType(row.opt_type), row.resource_id)
        for row in await conn.execute(query)
    ]


async def effective(conn: AsyncConnection, dispatch_id: str) -> dict[str, tuple[OptType | None, str | None]]:
    """Return venID -> (the opt that counts, its reason) for every event of a dispatch; None: no answer."""
    query = (
        select(event.c.ven_id, opt)
        .select_from(event.outerjoin(opt, opt.c.event_id == event.c.id))
        .where(event.c.dispatch_id == dispatch_id)
        .order_by(event.c.ven_id, opt.c.sequence)
    )
    said: dict[str, list[tuple[OptFact, str | None]]] = {}
    for row in (await conn.execute(query)).mappings():
        rows = said.setdefault(row[event.c.ven_id], [])
        if row[opt.c.sequence] is not None:
            fact = OptFact(
                row[opt.c.sequence], OptSource(row[opt.c.source]), OptType(row[opt.c.opt_type]), row[opt.c.resource_id]
            )
            rows.append((fact, row[opt.c.reason]))
    result = {}
    for ven_id, rows in said.items():
        counts = effective_opt(fact for fact, _ in rows)
        reasons = [reason for fact, reason in rows if fact.opt_type == counts and reason]
        result[ven_id] = (counts, reasons[-1] if reasons else None)
    return result
