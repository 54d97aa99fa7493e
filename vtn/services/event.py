"""Events as VENs see them: the list to deliver, and what VENs answer (EiEvent).

A dispatch holds what its events share; an event row holds what is its VEN's own. Status is computed, never stored.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, func, insert, or_, select, update

from core.errors import ConflictError, EvenloadError, NotFoundError, Reason
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
from openadr.model.signal import Interval
from openadr.model.target import Target
from vtn.services import outbox
from vtn.store.database import Connection, Transaction
from vtn.store.rows import as_text, from_text, in_parts, portions
from vtn.store.tables import delivery, dispatch, event, opt

Values = Mapping[str, Sequence[float]]
"""signalID, or baselineID -> one value an interval."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A VEN's answer to one event. `code` is 200, or the error that it met, as its version of OpenADR numbers them.

    `reason` is why it opts out, in its own words.
    """

    event_id: str
    modification_number: int
    opt_type: OptType
    code: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class EventList:
    """What a delivery holds. `awaits_answer` says whether the VEN must answer any of it."""

    events: tuple[DeliveredEvent, ...]
    awaits_answer: bool


def with_values(event: Event, values: Values) -> Event:
    """Return the event with other values in some signals, or its baseline. They must fit the intervals there."""
    baseline = event.baseline
    if baseline is not None and baseline.baseline_id in values:
        baseline = replace(baseline, intervals=_valued(baseline.intervals, values[baseline.baseline_id]))
    signals = tuple(
        replace(signal, intervals=_valued(signal.intervals, values[signal.signal_id]))
        if signal.signal_id in values
        else signal
        for signal in event.signals
    )
    return replace(event, signals=signals, baseline=baseline)


def _valued(intervals: Sequence[Interval], values: Sequence[float]) -> tuple[Interval, ...]:
    pairs = zip(intervals, values, strict=True)
    return tuple(replace(interval, value=float(value)) for interval, value in pairs)


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


COLUMNS: Final = (
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
"""What `assemble` and deliveries read of an event."""


def _listed(now: datetime) -> ColumnElement[bool]:
    """Match the events that a delivery lists: neither closed nor past their time (EV-15..EV-17)."""
    return event.c.closed_at.is_(None) & or_(event.c.listed_until.is_(None), event.c.listed_until > now)


async def of_ven(conn: Connection, ven_id: str, now: datetime) -> list[Event]:
    """Return the events that a delivery to this VEN lists, in no particular order (EV-15..EV-17)."""
    return (await of_vens(conn, (ven_id,), now))[ven_id]


async def of_vens(conn: Connection, ven_ids: Collection[str], now: datetime) -> dict[str, list[Event]]:
    """Return for each VEN what `of_ven` does."""
    listed: dict[str, list[Event]] = {ven_id: [] for ven_id in ven_ids}
    for names in in_parts(ven_ids):
        query = (
            select(*COLUMNS, as_text(dispatch.c.event).label("shared"))
            .join(dispatch, dispatch.c.id == event.c.dispatch_id)
            .where(event.c.ven_id.in_(names) & _listed(now))
        )
        for row in await conn.execute(query):
            listed[row.ven_id].append(assemble(from_text(Event, row.shared), row, ven_id=row.ven_id))
    return listed


async def of_dispatch(conn: Connection, dispatch_id: str) -> list[tuple[str, Event]]:
    """Return (venID, event) for every event of a dispatch, closed ones too."""
    query = (
        select(*COLUMNS, as_text(dispatch.c.event).label("shared"))
        .join(dispatch, dispatch.c.id == event.c.dispatch_id)
        .where(event.c.dispatch_id == dispatch_id)
        .order_by(event.c.ven_id)
    )
    found: list[tuple[str, Event]] = []
    async for rows in portions(conn, query):
        found += await asyncio.to_thread(_assembled, rows)
    return found


def _assembled(rows: Sequence[Any]) -> list[tuple[str, Event]]:
    return [(row.ven_id, assemble(from_text(Event, row.shared), row, ven_id=row.ven_id)) for row in rows]


async def deliver(tx: Transaction, limits: Mapping[str, int | None], now: datetime) -> dict[str, EventList]:
    """Return each VEN's events in delivery order, at most `limits` (EV-18), and record that they were sent."""
    listed = {
        ven_id: in_order(events, now)[: limits[ven_id]]
        for ven_id, events in (await of_vens(tx.conn, limits, now)).items()
    }
    everything = [one for events in listed.values() for one in events]
    await _note_sent(tx, (one.event_id for one in everything), now)
    open_ids = await _open_ids(tx.conn, everything)
    return {ven_id: _delivered(events, open_ids, now) for ven_id, events in listed.items()}


async def to_push(conn: Connection, ven_id: str, now: datetime) -> tuple[DeliveredEvent, ...]:
    """Return a VEN's events in delivery order, for `pushed` to record once they have arrived."""
    return _delivered(in_order(await of_ven(conn, ven_id, now), now), frozenset(), now).events


async def pushed(tx: Transaction, events: Sequence[DeliveredEvent], now: datetime) -> bool:
    """Record that these events have arrived at their VEN; return whether it must answer any of them.

    An event that was changed on the way does not count as sent: its VEN knows an older modification.
    """
    listed = {one.event.event_id: one.event for one in events}
    query = select(event.c.id, event.c.modification_number).where(event.c.id.in_(list(listed)))
    present = {row.id: row.modification_number for row in await tx.conn.execute(query)}
    same = [one for one in listed.values() if present.get(one.event_id) == one.modification_number]
    await _note_sent(tx, (one.event_id for one in same), now)
    return bool(await _open_ids(tx.conn, listed.values()))


async def _note_sent(tx: Transaction, event_ids: Iterable[str], now: datetime) -> None:
    for ids in in_parts(event_ids):
        await tx.conn.execute(
            update(delivery)
            .where(delivery.c.event_id.in_(ids) & _current())
            .values(first_sent_at=func.coalesce(delivery.c.first_sent_at, now), last_sent_at=now)
        )


def _delivered(listed: Sequence[Event], open_ids: AbstractSet[str], now: datetime) -> EventList:
    """Return what a VEN is sent.

    All its events share one createdDateTime, renewed whenever any of them changed (EV-32). currentValue is filled in.
    """
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
    return EventList(sent, awaits_answer=any(one.event_id in open_ids for one in listed))


def _renewed_at(event: Event, now: datetime) -> datetime:
    """Return when the event's payload last changed: by the operator, or in status or currentValue as time went by."""
    if event.cancelled:
        return event.created_at
    edges = [near_from(event.period), event.period.start]
    for signal in event.signals:
        edge = event.period.start
        for interval in signal.intervals:
            edge = interval.duration.after(edge)
            edges.append(edge)
    return max([event.created_at, *(edge for edge in edges if edge <= now)])


def _current() -> ColumnElement[bool]:
    """Match the delivery row of an event's present modification."""
    present = select(event.c.modification_number).where(event.c.id == delivery.c.event_id).scalar_subquery()
    return delivery.c.modification_number == present


async def _open_ids(conn: Connection, listed: Iterable[Event]) -> set[str]:
    """Return those of the events whose present modification was not sent, or still needs an answer."""
    answerable = {one.event_id: one.response_required is ResponseRequired.ALWAYS for one in listed}
    unsent, unanswered = delivery.c.first_sent_at.is_(None), delivery.c.answered_at.is_(None)
    open_ids = set()
    for ids in in_parts(answerable):
        query = select(delivery.c.event_id, unsent.label("unsent")).where(
            delivery.c.event_id.in_(ids) & _current() & or_(unsent, unanswered)
        )
        open_ids |= {row.event_id for row in await conn.execute(query) if row.unsent or answerable[row.event_id]}
    return open_ids


async def record_answers(
    tx: Transaction, answers_of: Mapping[str, Sequence[Answer]], now: datetime
) -> dict[str, EvenloadError | None]:
    """Store VENs' answers and close the outbox mark of each VEN once its every event is answered (EV-46, EV-47).

    A VEN's outcome is the fault of its first answer that does not fit an event, or None: NotFoundError for an unknown
    event, ConflictError for another than the present modification. Good answers beside a bad one are kept (EV-48).
    """
    rows = await _events(tx.conn, {one.event_id for answers in answers_of.values() for one in answers})
    good: list[tuple[str, Answer]] = []
    outcomes: dict[str, EvenloadError | None] = {}
    for ven_id, answers in answers_of.items():
        faults = [(one, _fault(one, rows.get((ven_id, one.event_id)))) for one in answers]
        good += [(ven_id, one) for one, fault in faults if fault is None]
        outcomes[ven_id] = next((fault for _, fault in faults if fault is not None), None)
    if good:
        await _add_opts(tx, good, now)
        await tx.conn.execute(
            _ANSWERED, [{"event": one.event_id, "number": one.modification_number, "now": now} for _, one in good]
        )
    ended = [one.event_id for ven_id, one in good if rows[ven_id, one.event_id].cancelled_at is not None]
    for ids in in_parts(ended):
        await tx.conn.execute(update(event).where(event.c.id.in_(ids)).values(closed_at=now))
    listed = await of_vens(tx.conn, answers_of, now)
    open_ids = await _open_ids(tx.conn, [one for events in listed.values() for one in events])
    told = [ven_id for ven_id, events in listed.items() if not any(one.event_id in open_ids for one in events)]
    await outbox.all_told(tx, told)
    return outcomes


_ANSWERED = (
    update(delivery)
    .where(
        (delivery.c.event_id == bindparam("event"))
        & (delivery.c.modification_number <= bindparam("number"))
        & delivery.c.answered_at.is_(None)
    )
    .values(answered_at=bindparam("now"))
)


async def _events(conn: Connection, event_ids: Collection[str]) -> dict[tuple[str, str], Any]:
    """Return the rows of events by venID and eventID."""
    found = {}
    for ids in in_parts(event_ids):
        columns = event.c.ven_id, event.c.id, event.c.modification_number, event.c.cancelled_at
        rows = await conn.execute(select(*columns).where(event.c.id.in_(ids)))
        found.update({(row.ven_id, row.id): row for row in rows})
    return found


def _fault(answer: Answer, row: Any) -> EvenloadError | None:
    """Return what is wrong with an answer to the event of a row, or to none (EV-48)."""
    if row is None:
        return NotFoundError(f"No event '{answer.event_id}' was sent to this VEN.")
    if row.modification_number != answer.modification_number:
        present, meant = row.modification_number, answer.modification_number
        text = f"Event '{answer.event_id}' is at modification {present}, not {meant}."
        return ConflictError(text, reason=Reason.OUT_OF_SEQUENCE)
    return None


async def arrived(tx: Transaction, ven_id: str, now: datetime) -> None:
    """Note that what was sent to this VEN and needs no answer has arrived: it made another request.

    A cancelled event that takes no answer is acknowledged with that and leaves the list (EV-16).
    """
    await outbox.confirm_by_request(tx, ven_id)
    listed = await of_ven(tx.conn, ven_id, now)
    quiet = [one for one in listed if one.cancelled and one.response_required is ResponseRequired.NEVER]
    still_open = await _open_ids(tx.conn, quiet)
    told = [one.event_id for one in quiet if one.event_id not in still_open]
    await tx.conn.execute(update(event).where(event.c.id.in_(told)).values(closed_at=now))


async def _add_opts(tx: Transaction, answers: Sequence[tuple[str, Answer]], now: datetime) -> None:
    """Append each answer as an opt unless it says what the VEN's last answer said: a resend is no news (TR-12)."""
    last: dict[str, tuple[str, int, int, str | None]] = {}
    for ids in in_parts({one.event_id for _, one in answers}):
        theirs = opt.c.event_id.in_(ids) & (opt.c.source == OptSource.CREATED_EVENT)
        newest = select(func.max(opt.c.sequence)).where(theirs).group_by(opt.c.event_id)
        columns = opt.c.event_id, opt.c.opt_type, opt.c.modification_number, opt.c.response_code, opt.c.reason
        for row in await tx.conn.execute(select(*columns).where(opt.c.sequence.in_(newest))):
            last[row.event_id] = (row.opt_type, row.modification_number, row.response_code, row.reason)
    rows = []
    for ven_id, one in answers:
        said = (one.opt_type, one.modification_number, one.code, one.reason)
        if last.get(one.event_id) == said:
            continue
        last[one.event_id] = said
        rows.append(
            {
                "ven_id": ven_id,
                "event_id": one.event_id,
                "modification_number": one.modification_number,
                "source": OptSource.CREATED_EVENT,
                "opt_type": one.opt_type,
                "response_code": one.code,
                "reason": one.reason,
                "at": now,
            }
        )
    if rows:
        await tx.conn.execute(insert(opt), rows)


def is_over(event: Event, now: datetime) -> bool:
    """Whether the event can no longer change: it is complete or cancelled."""
    return status_at(event, now) in (EventStatus.COMPLETED, EventStatus.CANCELLED)
