"""Opts through EiOpt: for one event, or as a schedule (OP-01..OP-17). All are rows; what counts is computed.

Where precedence is a deployment's choice (OP-17), ours is: what a VEN says of an event itself comes before its
schedules, and schedules speak for events of which it said nothing.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, insert, or_, select, update

from core.errors import ConflictError, InvalidError, NotFoundError, Reason
from core.spans import Span
from openadr.model.contexts import normal_context
from openadr.model.event import Event, ResponseRequired
from openadr.model.opt import Opt, OptFact, OptSource, OptType, effective_opt
from openadr.model.target import EVERYTHING
from vtn.services import event as events
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, in_parts, portions, to_json
from vtn.store.tables import dispatch, event, opt, programme, resource

_WHOLE_VEN = (None,)
_LONGEST_ID = 200
_LONGEST_CONTEXT = 2000
_MOST_AVAILABLE = 1000
_NAMED = 5
"""Of so many foreign resources an answer speaks by name."""


async def create(tx: Transaction, ven_id: str, stated: Opt, now: datetime) -> None:
    """Record an opt (OP-02, OP-09, OP-10, OP-15).

    Raises NotFoundError for an event that is not open for this VEN, ConflictError for another than its present
    modification, InvalidError with the reason for all else.

    What is stored grows with the message, not with its square: texts that stand in the row of each resource are
    short, resources are the VEN's own, and a schedule stands in one row.
    """
    if any(len(text) > _LONGEST_ID for text in (stated.opt_id, stated.reason, *stated.target.resource_ids)):
        text = f"An optID, optReason or resourceID is longer than {_LONGEST_ID} characters."
        raise InvalidError(text, reason=Reason.TOO_LONG)
    if len(stated.market_context or "") > _LONGEST_CONTEXT:
        text = f"The marketContext is longer than {_LONGEST_CONTEXT} characters."
        raise InvalidError(text, reason=Reason.TOO_LONG)
    if len(stated.availability) > _MOST_AVAILABLE:
        raise InvalidError(f"A schedule holds at most {_MOST_AVAILABLE} availabilities.", reason=Reason.TOO_LONG)
    if any(each.duration.months + each.duration.seconds < 0 for each in stated.availability):
        raise InvalidError("The duration of an availability cannot be negative.")
    if stated.event_id is not None:
        await _for_event(tx, ven_id, stated, now)
    elif stated.availability:
        await _schedule(tx, ven_id, stated, now)
    else:
        text = "An opt needs either a qualifiedEventID or a vavailability."
        raise InvalidError(text, reason=Reason.BREAKS_A_RULE)


# -- opts for one event


async def _for_event(tx: Transaction, ven_id: str, stated: Opt, now: datetime) -> None:
    if stated.availability or stated.market_context:
        text = "An opt for an event takes no vavailability and no marketContext."
        raise InvalidError(text, reason=Reason.BREAKS_A_RULE)
    listed = {each.event_id: each for each in await events.of_ven(tx.conn, ven_id, now)}
    target = listed.get(stated.event_id or "")
    if target is None:
        raise NotFoundError(f"No event '{stated.event_id}' is open for this VEN.")
    if stated.modification_number != target.modification_number:
        text = f"The event is at modification {target.modification_number}."
        raise ConflictError(text, reason=Reason.OUT_OF_SEQUENCE)
    if target.response_required is ResponseRequired.NEVER:
        raise InvalidError("This event takes no response.", reason=Reason.BREAKS_A_RULE)
    resources = await _resources(tx.conn, ven_id, stated, target)
    if target.target.resource_ids == resources:
        resources = _WHOLE_VEN  # the event concerns nothing else of this VEN
    content = {
        "event_id": stated.event_id,
        "modification_number": stated.modification_number,
        "source": OptSource.CREATE_OPT,
        "opt_type": stated.opt_type,
        "reason": stated.reason,
        "opt_id": stated.opt_id,
    }
    last = await _last_words(tx.conn, stated.event_id or "")
    whole = last.get(None)
    news = []
    for resource_id in resources:
        row = {**content, "resource_id": resource_id}
        newest = max(filter(None, (whole, last.get(resource_id))), key=lambda each: each.sequence, default=None)
        if newest is None or tuple(getattr(newest, name) for name in row) != tuple(row.values()):
            news.append({"ven_id": ven_id, "at": now, **row})
    if news:  # else oadrCreateOpt already said just this, and nothing else since: a resend is no news (TR-12)
        await tx.conn.execute(insert(opt), news)


async def _last_words(conn: Connection, event_id: str) -> dict[str | None, Any]:
    """Return the newest oadrCreateOpt of an event for each resource, None for the whole VEN."""
    ours = (opt.c.event_id == event_id) & (opt.c.source == OptSource.CREATE_OPT)
    newest = select(func.max(opt.c.sequence)).where(ours).group_by(opt.c.resource_id)
    rows = await conn.execute(select(opt).where(opt.c.sequence.in_(newest)))
    return {row.resource_id: row for row in rows}


async def _resources(conn: Connection, ven_id: str, opt: Opt, target_of: Event | None = None) -> tuple[str | None, ...]:
    """Return the resources that an opt is about, (None,) for the whole VEN (OP-05, OP-11).

    Criteria of the target are ORed, the device class is ANDed. Raises InvalidError (target mismatch) if nothing of this
    VEN matches, and for resources that neither the VEN's metadata nor the event named (OP-09).
    """
    target = opt.target
    if set(target.ven_ids) - {ven_id}:
        raise InvalidError("The opt targets another VEN.", reason=Reason.TARGET_MISMATCH)
    parts = replace(target, ven_ids=())
    if replace(parts, resource_ids=(), device_classes=()):
        text = "An opt's target names resources and device classes only."
        raise InvalidError(text, reason=Reason.TARGET_MISMATCH)
    if not parts and not opt.device_class:
        return _WHOLE_VEN
    columns = resource.c.resource_id, resource.c.device_class
    rows = await conn.execute(select(*columns).where(resource.c.ven_id == ven_id))
    classes: dict[str, str | None] = {row.resource_id: row.device_class for row in rows}
    named = target_of.target.resource_ids if target_of is not None else ()
    _refuse_foreign(parts.resource_ids, named or classes, "the event's targets" if named else "the VEN's resources")
    wanted = dict.fromkeys(parts.resource_ids if parts else classes)
    wanted |= dict.fromkeys(name for name, kind in classes.items() if kind in parts.device_classes)
    if opt.device_class:
        wanted = {name: None for name in wanted if classes.get(name) in opt.device_class.device_classes}
    if not wanted:
        raise InvalidError("No resource of this VEN is of that device class.", reason=Reason.TARGET_MISMATCH)
    if named:
        _refuse_foreign(wanted, named, "the event's targets")
    return tuple(wanted)


def _refuse_foreign(names: Collection[str], among: Collection[str], whose: str) -> None:
    """Raise InvalidError (target mismatch) for names that are not `among` (OP-09)."""
    own = frozenset(among)
    foreign = [name for name in names if name not in own]
    if foreign:
        more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
        text = f"Not among {whose}: {', '.join(foreign[:_NAMED])}{more}."
        raise InvalidError(text, reason=Reason.TARGET_MISMATCH)


# -- schedules


async def _schedule(tx: Transaction, ven_id: str, stated: Opt, now: datetime) -> None:
    """Add a schedule; earlier ones of the same type that it covers end (OP-06).

    A resent one is no news, unless it was cancelled in the meantime: then it is in force again (TR-12).
    """
    resources = await _resources(tx.conn, ven_id, stated)
    digest = hashlib.sha256(json.dumps(to_json(stated), sort_keys=True).encode()).hexdigest()
    context = normal_context(stated.market_context) if stated.market_context else None
    same = (
        (opt.c.ven_id == ven_id)
        & opt.c.event_id.is_(None)
        & (opt.c.opt_type == stated.opt_type)
        & opt.c.market_context.is_not_distinct_from(context)
    )
    alike = same & (opt.c.opt_id == stated.opt_id) & (opt.c.schedule_digest == digest) & opt.c.cancelled_at.is_(None)
    if (await tx.conn.execute(select(opt.c.sequence).where(alike).limit(1))).first() is not None:
        return
    in_force = same & opt.c.ended_at.is_(None)
    if resources == _WHOLE_VEN:
        await tx.conn.execute(update(opt).where(in_force).values(ended_at=now))
    else:
        for names in in_parts(resources):
            await tx.conn.execute(update(opt).where(in_force & opt.c.resource_id.in_(names)).values(ended_at=now))
    row = {
        "ven_id": ven_id,
        "source": OptSource.CREATE_OPT,
        "opt_type": stated.opt_type,
        "reason": stated.reason,
        "opt_id": stated.opt_id,
        "market_context": context,
        "schedule_digest": digest,
        "at": now,
    }
    first, *others = resources
    times = replace(stated, target=EVERYTHING, device_class=EVERYTHING)  # whom it is about, the rows say
    await tx.conn.execute(insert(opt).values(**row, resource_id=first, schedule=to_json(times)))
    if others:
        await tx.conn.execute(insert(opt), [{**row, "resource_id": resource_id} for resource_id in others])


async def cancel(tx: Transaction, ven_id: str, opt_id: str, now: datetime) -> None:
    """End all schedules made with an optID; superseded ones are no error. Raises NotFoundError (OP-14, OP-15)."""
    made = (opt.c.ven_id == ven_id) & (opt.c.opt_id == opt_id) & opt.c.event_id.is_(None)
    if (await tx.conn.execute(select(opt.c.sequence).where(made).limit(1))).first() is None:
        raise NotFoundError(f"No opt schedule '{opt_id}'.")
    await tx.conn.execute(update(opt).where(made & opt.c.ended_at.is_(None)).values(ended_at=now))
    await tx.conn.execute(update(opt).where(made & opt.c.cancelled_at.is_(None)).values(cancelled_at=now))


# -- what counts


def _speaks_for_ven() -> ColumnElement[bool]:
    """Match the opts that speak for the whole VEN: they name no resource, or the only one that the VEN has (OP-05)."""
    its_own = resource.c.ven_id == opt.c.ven_id
    named = select(resource.c.resource_id).where(its_own & (resource.c.resource_id == opt.c.resource_id))
    others = select(resource.c.resource_id).where(its_own & (resource.c.resource_id != opt.c.resource_id))
    return or_(opt.c.resource_id.is_(None), and_(named.correlate(opt).exists(), ~others.correlate(opt).exists()))


SPEAKS_FOR_VEN: Final = _speaks_for_ven()
_SAID: Final = (
    opt.c.sequence,
    opt.c.source,
    opt.c.opt_type,
    case((SPEAKS_FOR_VEN, None), else_=opt.c.resource_id).label("resource_id"),
    opt.c.reason,
)


async def facts(conn: Connection, event_id: str) -> list[OptFact]:
    """Return every statement about an event, oldest first."""
    rows = await conn.execute(select(*_SAID).where(opt.c.event_id == event_id).order_by(opt.c.sequence))
    return [_fact(row) for row in rows]


async def effective(conn: Connection, dispatch_id: str) -> dict[str, tuple[OptType | None, str | None]]:
    """Return venID -> (the opt that counts for the whole VEN, its reason) for every event of a dispatch.

    None: the VEN said nothing, neither of the event nor by a schedule for its time (OP-07, OP-12).
    """
    query = (
        select(event.c.ven_id, dispatch.c.starts_at, dispatch.c.ends_at, programme.c.market_context, *_SAID)
        .select_from(event.join(dispatch).join(programme).outerjoin(opt, opt.c.event_id == event.c.id))
        .where(event.c.dispatch_id == dispatch_id)
        .order_by(event.c.ven_id, opt.c.sequence)
    )
    said: dict[str, list[Any]] = {}
    row: Any = None
    async for rows in portions(conn, query):
        for row in rows:
            own = said.setdefault(row.ven_id, [])
            if row.sequence is not None and row.resource_id is None:
                own.append(row)
    if row is None:
        return {}
    result = {ven_id: _counts(rows) for ven_id, rows in said.items()}
    called = select(event.c.ven_id).where(event.c.dispatch_id == dispatch_id)
    period, context = Span(row.starts_at, row.ends_at), normal_context(row.market_context)
    for one in await schedules(conn, opt.c.ven_id.in_(called), period, context):
        if not said[one.ven_id]:
            result[one.ven_id] = OptType(one.opt_type), one.reason
    return result


async def left(conn: Connection, dispatch_id: str, shared: Event) -> dict[str, datetime]:
    """Return venID -> when it opted out, of those that took part in a dispatch until then.

    That is who had opted in before, or was not to answer, and whose opt-out counts and came after the start.
    """
    start = shared.period.start
    silence = OptType.IN if shared.response_required is ResponseRequired.NEVER else None
    own = event.join(opt, opt.c.event_id == event.c.id)
    late = (event.c.dispatch_id == dispatch_id) & (opt.c.opt_type == OptType.OUT) & (opt.c.at > start)
    ven_ids = sorted(set((await conn.execute(select(event.c.ven_id).select_from(own).where(late))).scalars()))
    query = select(event.c.ven_id, opt.c.at, *_SAID).select_from(own).where(event.c.dispatch_id == dispatch_id)
    said: dict[str, list[Any]] = {}
    for some in in_parts(ven_ids):
        for row in await conn.execute(query.where(event.c.ven_id.in_(some)).order_by(opt.c.sequence)):
            if row.resource_id is None:
                said.setdefault(row.ven_id, []).append(row)
    found: dict[str, datetime] = {}
    for ven_id, rows in said.items():
        before, left_at = silence, start
        for count, row in enumerate(rows, start=1):
            counts = effective_opt(map(_fact, rows[:count]))
            if counts is OptType.OUT and before is not OptType.OUT:
                left_at = start if before is None else row.at
            before = counts
        if before is OptType.OUT and left_at > start:
            found[ven_id] = left_at
    return found


def _counts(rows: Sequence[Any]) -> tuple[OptType | None, str | None]:
    """Return the opt that counts among statements for the whole VEN, oldest first, and its reason."""
    counts = effective_opt(map(_fact, rows))
    reasons = [row.reason for row in rows if row.reason and row.opt_type == counts]
    return counts, reasons[-1] if reasons else None


def _fact(row: Any) -> OptFact:
    return OptFact(row.sequence, OptSource(row.source), OptType(row.opt_type), row.resource_id)


async def schedules(conn: Connection, where: ColumnElement[bool], period: Span, context: str) -> Sequence[Any]:
    """Return whole VENs' schedules that cover some of a period in a market context, oldest first (OP-07, OP-12)."""
    said = (
        opt.c.event_id.is_(None)
        & SPEAKS_FOR_VEN
        & opt.c.schedule.is_not(None)
        & or_(opt.c.ended_at.is_(None), opt.c.ended_at > period.start)
        & or_(opt.c.market_context.is_(None), opt.c.market_context == context)
    )
    query = select(opt.c.ven_id, opt.c.opt_type, opt.c.reason, opt.c.schedule).where(said & where)
    rows = await conn.execute(query.order_by(opt.c.sequence))
    return [
        row
        for row in rows
        if any(available.span.overlaps(period) for available in from_json(Opt, row.schedule).availability)
    ]
