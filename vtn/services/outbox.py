"""What VENs shall hear: rows that move `pending -> sent -> done | dead`.

A row holds an intent; a transport makes the message at the moment of delivery. `events_changed` is a mark: one row a
VEN, set back to pending by each change. Every other row is one message. A row is done by its logical answer, or, where
nobody answers, by the VEN's next request.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, case, delete, exists, func, or_, select, update

from vtn.services.settings import VtnSettings
from vtn.store.database import Connection, Transaction
from vtn.store.rows import in_parts, upsert
from vtn.store.tables import event, outbox, own_report, report_request


class Intent(StrEnum):
    """What a VEN shall hear. In which message, and how it gets there, its version and mode (`ven`) say."""

    EVENTS_CHANGED = "events_changed"
    REPORTS_OFFERED = "reports_offered"
    """What this VTN can report itself. The subject is the VEN's request for it, if it asked (RP-14)."""
    REPORT_WANTED = "report_wanted"
    REPORT_UNWANTED = "report_unwanted"
    REPORT_DUE = "report_due"
    """Data that the VEN asked this VTN for. The subject is the VEN's request."""
    REREGISTER = "reregister"
    UNREGISTER = "unregister"


class State(StrEnum):
    """Where a row is on its way."""

    PENDING = "pending"
    SENT = "sent"
    DONE = "done"
    DEAD = "dead"


class DoneBy(StrEnum):
    """What tells that a sent row arrived."""

    ANSWER = "answer"
    REQUEST = "request"


OPEN: Final = (State.PENDING, State.SENT)
_GRACE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is to be delivered. `created_at` tells it from one that was queued in its place meanwhile."""

    id: int
    intent: Intent
    subject: str
    tries: int
    created_at: datetime


async def put(tx: Transaction, ven_id: str, intent: Intent, now: datetime, subject: str = "") -> None:
    """Queue an intent; a row of the same intent and subject starts over instead of standing there twice."""
    await _put(tx, [(ven_id, subject, now)], intent, now)


async def put_many(tx: Transaction, ven_ids: Sequence[str], intent: Intent, now: datetime, subject: str = "") -> None:
    """Queue the same intent for several VENs."""
    await _put(tx, [(ven_id, subject, now) for ven_id in ven_ids], intent, now)


async def put_subjects(tx: Transaction, ven_id: str, intent: Intent, now: datetime, subjects: Iterable[str]) -> None:
    """Queue an intent about several subjects for one VEN, in one statement."""
    await _put(tx, [(ven_id, subject, now) for subject in dict.fromkeys(subjects)], intent, now)


async def plan(tx: Transaction, ven_id: str, intent: Intent, now: datetime, due: Mapping[str, datetime]) -> None:
    """Queue an intent about several subjects for one VEN, each to go at a time of its own."""
    await _put(tx, [(ven_id, subject, due_at) for subject, due_at in due.items()], intent, now)


async def _put(tx: Transaction, messages: Sequence[tuple[str, str, datetime]], intent: Intent, now: datetime) -> None:
    """Queue an intent; `messages`: venID, subject, and when it may go."""
    rows = [
        {
            "ven_id": ven_id,
            "kind": intent,
            "subject": subject,
            "state": State.PENDING,
            "tries": 0,
            "done_by": None,
            "created_at": now,
            "sent_at": None,
            "due_at": due_at,
        }
        for ven_id, subject, due_at in messages
    ]
    await upsert(tx.conn, outbox, rows, keys=("ven_id", "kind", "subject"))
    tx.changed(*(ven_id for ven_id, _, _ in messages))


_IN_TURN: Final = (outbox.c.created_at, case((outbox.c.kind == Intent.REPORTS_OFFERED, 0), else_=1), outbox.c.id)
"""Oldest first; of what a new registration queues at once, the metadata goes before the events (RP-01)."""


async def take(tx: Transaction, ven_ids: Sequence[str], now: datetime, settings: VtnSettings) -> dict[str, Row]:
    """Return each VEN's oldest row that is due, marked as sent; rows that were tried too often die on the way.

    VENs for which nothing is due are left out.
    """
    due = outbox.c.ven_id.in_(ven_ids) & outbox.c.state.in_(OPEN) & (outbox.c.due_at <= now)
    query = select(outbox).where(due).order_by(outbox.c.ven_id, *_IN_TURN).with_for_update()
    taken: dict[str, Row] = {}
    for found in (await tx.conn.execute(query)).all():
        if found.ven_id in taken:
            continue
        tx.changed(found.ven_id)
        if found.tries >= settings.max_tries:
            await _give_up(tx, found.ven_id, Intent(found.kind), found.id, now)
        else:
            taken[found.ven_id] = _row(found)
    for ids in in_parts(row.id for row in taken.values()):
        await tx.conn.execute(
            update(outbox)
            .where(outbox.c.id.in_(ids))
            .values(
                state=State.SENT,
                tries=outbox.c.tries + 1,
                sent_at=now,
                due_at=settings.resend_after.after(now),
                done_by=DoneBy.ANSWER,
            )
        )
    return taken


def _row(stored: Any) -> Row:
    return Row(stored.id, Intent(stored.kind), stored.subject, stored.tries + 1, stored.created_at)


async def next_due(tx: Transaction, ven_id: str, now: datetime, settings: VtnSettings) -> Row | None:
    """Return a VEN's oldest row that is due and leave it as it is, for `sent` to mark once it has arrived.

    So a row that could not be delivered stays the first in turn. Rows that were tried too often die on the way.
    """
    due = (outbox.c.ven_id == ven_id) & outbox.c.state.in_(OPEN) & (outbox.c.due_at <= now)
    for found in (await tx.conn.execute(select(outbox).where(due).order_by(*_IN_TURN))).all():
        if found.tries < settings.max_tries:
            return _row(found)
        await give_up(tx, ven_id, _row(found), now)
    return None


async def sent(tx: Transaction, ven_id: str, row: Row, now: datetime, settings: VtnSettings) -> None:
    """Mark a row as sent, unless it was closed or queued anew since it was read."""
    same = (outbox.c.id == row.id) & (outbox.c.created_at == row.created_at) & outbox.c.state.in_(OPEN)
    marks = {"state": State.SENT, "sent_at": now, "due_at": settings.resend_after.after(now), "done_by": DoneBy.ANSWER}
    await tx.conn.execute(update(outbox).where(same).values(tries=outbox.c.tries + 1, **marks))
    tx.changed(ven_id)


async def drop(tx: Transaction, ven_id: str, row: Row) -> None:
    """Close a row that has lost its sense."""
    await _move(tx, outbox.c.id == row.id, State.DONE)
    tx.changed(ven_id)


async def give_up(tx: Transaction, ven_id: str, row: Row, now: datetime) -> None:
    """Bury a row whose message its VEN will never take."""
    await _give_up(tx, ven_id, row.intent, row.id, now)
    tx.changed(ven_id)


async def _give_up(tx: Transaction, ven_id: str, intent: Intent, row_id: int, now: datetime) -> None:
    """Bury a row that was tried too often, and say so where it matters.

    Cancellations that it should have told are not listed any more (EV-16); a report request is unanswered; what the VEN
    asked this VTN to report has ended.
    """
    await _move(tx, outbox.c.id == row_id, State.DEAD)
    subject = select(outbox.c.subject).where(outbox.c.id == row_id).scalar_subquery()
    request = report_request.c.id == subject
    if intent in (Intent.REPORT_DUE, Intent.REPORTS_OFFERED):
        ended = (own_report.c.ven_id == ven_id) & (own_report.c.request_id == subject)
        await tx.conn.execute(delete(own_report).where(ended))
    if intent is Intent.REPORT_WANTED:
        unanswered = {"state": "unanswered", "reason": "The VEN did not answer the request."}
        waited = request & (report_request.c.state == "queued")
        await tx.conn.execute(update(report_request).where(waited).values(**unanswered))
    if intent is Intent.REPORT_UNWANTED:
        told = report_request.c.reason + "; the VEN did not answer"
        await tx.conn.execute(update(report_request).where(request).values(reason=told))
    if intent is Intent.EVENTS_CHANGED:
        untold = (event.c.ven_id == ven_id) & event.c.cancelled_at.is_not(None) & event.c.closed_at.is_(None)
        await tx.conn.execute(update(event).where(untold).values(closed_at=now))


async def done_by_next_request(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Say that nobody will answer these sent rows: the VEN's next request shows that one arrived."""
    if row_ids:
        await tx.conn.execute(update(outbox).where(outbox.c.id.in_(row_ids)).values(done_by=DoneBy.REQUEST))


async def confirm_by_request(tx: Transaction, ven_id: str) -> None:
    """Close what was waiting for any authenticated request of this VEN."""
    where = (outbox.c.ven_id == ven_id) & (outbox.c.state == State.SENT) & (outbox.c.done_by == DoneBy.REQUEST)
    await _move(tx, where, State.DONE)
    tx.changed(ven_id)


async def done(tx: Transaction, ven_id: str, intent: Intent, subject: str | None = None) -> None:
    """Close the sent rows of an intent (and subject): their logical answer came, if only after they were given up."""
    where = (outbox.c.ven_id == ven_id) & (outbox.c.kind == intent) & outbox.c.state.in_((State.SENT, State.DEAD))
    if subject is not None:
        where &= outbox.c.subject == subject
    await _move(tx, where, State.DONE)
    tx.changed(ven_id)


async def done_subjects(tx: Transaction, ven_id: str, intent: Intent, subjects: Iterable[str]) -> None:
    """Close the sent rows of an intent for these subjects, like `done`."""
    sent = (outbox.c.ven_id == ven_id) & (outbox.c.kind == intent) & outbox.c.state.in_((State.SENT, State.DEAD))
    for names in in_parts(subjects):
        await _move(tx, sent & outbox.c.subject.in_(names), State.DONE)
    tx.changed(ven_id)


async def withdraw_all(tx: Transaction, ven_id: str, intent: Intent, subjects: Iterable[str]) -> None:
    """Close the rows of an intent for these subjects, sent or not: nobody means them any more."""
    mine = (outbox.c.ven_id == ven_id) & (outbox.c.kind == intent) & outbox.c.state.in_(OPEN)
    for names in in_parts(subjects):
        await _move(tx, mine & outbox.c.subject.in_(names), State.DONE)
    tx.changed(ven_id)


async def all_told(tx: Transaction, ven_ids: Sequence[str]) -> None:
    """Close the marks of VENs that have answered every event, whether or not the last change was sent."""
    mark = outbox.c.state.in_(OPEN) & (outbox.c.kind == Intent.EVENTS_CHANGED)
    for names in in_parts(ven_ids):
        await _move(tx, outbox.c.ven_id.in_(names) & mark, State.DONE)
    tx.changed(*ven_ids)


async def withdraw(tx: Transaction, ven_id: str, intent: Intent, subject: str) -> bool:
    """Take back a row that was never sent. Returns whether there was one."""
    fresh = (outbox.c.state == State.PENDING) & (outbox.c.tries == 0)
    where = (outbox.c.ven_id == ven_id) & (outbox.c.kind == intent) & (outbox.c.subject == subject) & fresh
    found = await tx.conn.execute(update(outbox).where(where).values(state=State.DONE))
    tx.changed(ven_id)
    return bool(found.rowcount)


async def sent_subjects(tx: Transaction, ven_id: str, intent: Intent, *, given_up: bool = False) -> list[str]:
    """Return the subjects of an intent that were sent and not answered yet; with `given_up` those given up, too."""
    states = (State.SENT, State.DEAD) if given_up else (State.SENT,)
    query = select(outbox.c.subject).where(
        (outbox.c.ven_id == ven_id) & (outbox.c.kind == intent) & outbox.c.state.in_(states)
    )
    return list((await tx.conn.execute(query)).scalars())


async def clear(tx: Transaction, ven_id: str) -> None:
    """Close everything for a VEN, what was given up too: it registered anew or is gone."""
    await _move(tx, (outbox.c.ven_id == ven_id) & (outbox.c.state != State.DONE), State.DONE)
    tx.changed(ven_id)


async def expire(tx: Transaction, now: datetime) -> int:
    """Give up marks of VENs that have had no listed event for a minute; return how many. Run it periodically.

    The minute lets a VEN hear of an event that was cut short: it learns that from a list without the event (EV-60).
    """
    lately = now - _GRACE
    listed = exists().where(
        (event.c.ven_id == outbox.c.ven_id)
        & or_(event.c.closed_at.is_(None), event.c.closed_at > lately)
        & or_(event.c.listed_until.is_(None), event.c.listed_until > lately)
    )
    where = (outbox.c.kind == Intent.EVENTS_CHANGED) & outbox.c.state.in_(OPEN) & ~listed
    gone = (await tx.conn.execute(select(outbox.c.ven_id).where(where))).scalars().all()
    if gone:
        await _move(tx, where, State.DEAD)
        tx.changed(*gone)
    return len(gone)


async def count_open(conn: Connection, now: datetime) -> dict[str, int]:
    """Return how many rows are in each state, for the operator and for /metrics; none that is planned for later."""
    planned = (outbox.c.state == State.PENDING) & (outbox.c.due_at > now)
    counts = select(outbox.c.state, func.count().label("rows")).where(~planned).group_by(outbox.c.state)
    rows = await conn.execute(counts)
    return {row.state: int(row.rows) for row in rows}


async def _move(tx: Transaction, where: ColumnElement[bool], to: State) -> None:
    await tx.conn.execute(update(outbox).where(where).values(state=to))
