"""Events as VENs see them: the list to deliver, and what VENs answer (EiEvent).

A dispatch holds what its events share; an event row holds what is its VEN's own. Status is computed, never stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.model.codes import Code, OpenADRError
from openadr.model.event import (
    DeliveredEvent,
    Event,
    EventStatus,
    ResponseRequired,
    current_value,
    in_order,
    near_from,
    status_at,
)
from openadr.model.opt import OptSource, OptType
from openadr.model.target import Target
from vtn.services import outbox
from vtn.services.outbox import Kind
from vtn.store.database import Transaction
from vtn.store.rows import from_json
from vtn.store.tables import delivery, dispatch, event, opt

Values = Mapping[str, Sequence[float]]
"""signalID -> one value an interval."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A VEN's answer to one event, protocol-neutral."""

    event_id: str
    modification_number: int
    opt_type: OptType
    code: int


@dataclass(frozen=True, slots=True)
class EventList:
    """What a delivery holds. `awaits_answer` says whether the VEN must answer any of it."""

    events: tuple[DeliveredEvent, ...]
    awaits_answer: bool


def with_values(one: Event, values: Values) -> Event:
    """Return the event with other values in some signals. The values must fit the signals' intervals."""
    return replace(
        one,
        signals=tuple(
            replace(
                signal,
                intervals=tuple(
                    replace(interval, value=float(value))
                    for interval, value in zip(signal.intervals, values[signal.signal_id], strict=True)
                ),
            )
            if signal.signal_id in values
            else signal
            for signal in one.signals
        ),
    )


def assemble(shared: Event, row: Any, *, ven_id: str) -> Event:
    """Return one VEN's event: the dispatch's, with this VEN's ids, values, modification and cancellation."""
    return replace(
        with_values(shared, row.own_values or {}),
        event_id=row.id,
        modification_number=row.modification_number,
        created_at=row.changed_at,
        target=shared.target or Target(ven_ids=(ven_id,)),
        cancelled=row.cancelled_at is not None,
    )


_COLUMNS = (
    event.c.id,
    event.c.ven_id,
    event.c.dispatch_id,
    event.c.modification_number,
    event.c.own_values,
    event.c.changed_at,
    event.c.cancelled_at,
    event.c.closed_at,
    event.c.listed_until,
)


def _listed(now: datetime) -> ColumnElement[bool]:
    """Match the events that a delivery lists: neither closed nor past their time (EV-15..EV-17)."""
    return event.c.closed_at.is_(None) & or_(event.c.listed_until.is_(None), event.c.listed_until > now)


async def of_ven(conn: AsyncConnection, ven_id: str, now: datetime) -> list[Event]:
    """Return the events that a delivery to this VEN lists, in no particular order (EV-15..EV-17)."""
    query = (
        select(*_COLUMNS, dispatch.c.event.label("shared"))
        .join(dispatch, dispatch.c.id == event.c.dispatch_id)
        .where((event.c.ven_id == ven_id) & _listed(now))
    )
    rows = (await conn.execute(query)).all()
    return [assemble(from_json(Event, row.shared), row, ven_id=ven_id) for row in rows]


async def of_dispatch(conn: AsyncConnection, dispatch_id: str) -> list[tuple[str, Event]]:
    """Return (venID, event) for every event of a dispatch, closed ones too."""
    query = (
        select(*_COLUMNS, dispatch.c.event.label("shared"))
        .join(dispatch, dispatch.c.id == event.c.dispatch_id)
        .where(event.c.dispatch_id == dispatch_id)
        .order_by(event.c.ven_id)
    )
    rows = (await conn.execute(query)).all()
    shared = from_json(Event, rows[0].shared) if rows else None
    return [(row.ven_id, assemble(shared, row, ven_id=row.ven_id)) for row in rows if shared is not None]


async def deliver(tx: Transaction, ven_id: str, now: datetime, *, limit: int | None = None) -> EventList:
    """Return the VEN's events in delivery order, at most `limit` (EV-18), and record that they were sent.

    All share one createdDateTime, renewed whenever any of them changed (EV-32). currentValue is filled in.
    """
    listed = in_order(await of_ven(tx.conn, ven_id, now), now)[:limit]
    if not listed:
        return EventList((), awaits_answer=False)
    created_at = max(_renewed_at(one, now) for one in listed)
    sent = tuple(
        DeliveredEvent(
            replace(
                one,
                created_at=created_at,
                signals=tuple(replace(signal, current_value=current_value(signal, one, now)) for signal in one.signals),
            ),
            status_at(one, now),
        )
        for one in listed
    )
    ids = [one.event_id for one in listed]
    await tx.conn.execute(
        update(delivery)
        .where(delivery.c.event_id.in_(ids) & _current())
        .values(first_sent_at=func.coalesce(delivery.c.first_sent_at, now), last_sent_at=now)
    )
    open_ids = set(await _open_ids(tx.conn, listed))
    return EventList(sent, awaits_answer=not open_ids.isdisjoint(ids))


def _renewed_at(one: Event, now: datetime) -> datetime:
    """Return when the event's payload last changed: by the operator, or in status or currentValue as time went by."""
    if one.cancelled:
        return one.created_at
    edges = [near_from(one.period), one.period.start]
    for signal in one.signals:
        edge = one.period.start
        for interval in signal.intervals:
            edge = interval.duration.after(edge)
            edges.append(edge)
    return max([one.created_at, *(edge for edge in edges if edge <= now)])


def _current() -> ColumnElement[bool]:
    """Match the delivery row of an event's present modification."""
    present = select(event.c.modification_number).where(event.c.id == delivery.c.event_id).scalar_subquery()
    return delivery.c.modification_number == present


async def _open_ids(conn: AsyncConnection, listed: Sequence[Event]) -> list[str]:
    """Return those of the events whose present modification was not sent, or still needs an answer."""
    answerable = [one.event_id for one in listed if one.response_required is ResponseRequired.ALWAYS]
    unsent = delivery.c.first_sent_at.is_(None)
    unanswered = delivery.c.answered_at.is_(None) & delivery.c.event_id.in_(answerable)
    query = select(delivery.c.event_id).where(
        delivery.c.event_id.in_([one.event_id for one in listed]) & _current() & or_(unsent, unanswered)
    )
    return list((await conn.execute(query)).scalars())


async def record_answers(tx: Transaction, ven_id: str, answers: Sequence[Answer], now: datetime) -> None:
    """Store a VEN's answers and close the outbox mark once every event is answered (EV-46, EV-47).

    Good answers beside a bad one are kept; then OpenADRError 452 (unknown event) or 450 (not the present modification)
    is raised by `refused_answers`, which the caller asks first (EV-48).
    """
    for answer in answers:
        row = await _event_of(tx.conn, ven_id, answer.event_id)
        if row is None or row.modification_number != answer.modification_number:
            continue
        await _add_opt(tx, ven_id, answer, now)
        await tx.conn.execute(
            update(delivery)
            .where(
                (delivery.c.event_id == answer.event_id)
                & (delivery.c.modification_number <= answer.modification_number)
                & delivery.c.answered_at.is_(None)
            )
            .values(answered_at=now)
        )
        if row.cancelled_at is not None:
            await tx.conn.execute(update(event).where(event.c.id == answer.event_id).values(closed_at=now))
    if not await _open_ids(tx.conn, await of_ven(tx.conn, ven_id, now)):
        await outbox.done(tx, ven_id, Kind.EVENTS, unsent=True)


async def arrived(tx: Transaction, ven_id: str, now: datetime) -> None:
    """Note that what was sent to this VEN and needs no answer has arrived: it made another request.

    A cancelled event that takes no answer is acknowledged with that and leaves the list (EV-16).
    """
    await outbox.confirm_by_request(tx, ven_id)
    listed = await of_ven(tx.conn, ven_id, now)
    quiet = [one for one in listed if one.cancelled and one.response_required is ResponseRequired.NEVER]
    still_open = set(await _open_ids(tx.conn, quiet))
    told = [one.event_id for one in quiet if one.event_id not in still_open]
    await tx.conn.execute(update(event).where(event.c.id.in_(told)).values(closed_at=now))


async def refused_answers(conn: AsyncConnection, ven_id: str, answers: Sequence[Answer]) -> OpenADRError | None:
    """Return the fault of the first answer that does not fit an event, or None (EV-48)."""
    for answer in answers:
        row = await _event_of(conn, ven_id, answer.event_id)
        if row is None:
            return OpenADRError(Code.INVALID_ID, f"No event '{answer.event_id}' was sent to this VEN.")
        if row.modification_number != answer.modification_number:
            return OpenADRError(
                Code.OUT_OF_SEQUENCE,
                f"Event '{answer.event_id}' is at modification {row.modification_number}, "
                f"not {answer.modification_number}.",
            )
    return None


async def _event_of(conn: AsyncConnection, ven_id: str, event_id: str) -> Any:
    query = select(event.c.id, event.c.modification_number, event.c.cancelled_at).where(
        (event.c.id == event_id) & (event.c.ven_id == ven_id)
    )
    return (await conn.execute(query)).one_or_none()


async def _add_opt(tx: Transaction, ven_id: str, answer: Answer, now: datetime) -> None:
    """Append the opt unless it says what the VEN's last answer said: a resend is no news (TR-12)."""
    last = (
        await tx.conn.execute(
            select(opt.c.opt_type, opt.c.modification_number, opt.c.response_code)
            .where((opt.c.event_id == answer.event_id) & (opt.c.source == OptSource.CREATED_EVENT))
            .order_by(opt.c.sequence.desc())
            .limit(1)
        )
    ).one_or_none()
    if last is not None and tuple(last) == (answer.opt_type, answer.modification_number, answer.code):
        return
    await tx.conn.execute(
        insert(opt).values(
            ven_id=ven_id,
            event_id=answer.event_id,
            modification_number=answer.modification_number,
            source=OptSource.CREATED_EVENT,
            opt_type=answer.opt_type,
            response_code=answer.code,
            at=now,
        )
    )


def is_over(one: Event, now: datetime) -> bool:
    """Whether the event can no longer change: it is complete or cancelled."""
    return status_at(one, now) in (EventStatus.COMPLETED, EventStatus.CANCELLED)
