"""Dispatches: one order of the operator, one event per VEN (docs/explanation/walks.md).

Dispatch, events, deliveries and outbox marks are committed together. A change adds exactly one to the
modificationNumber of each event that it touches (EV-07); a cancellation is a change (EV-10).
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, insert, select, update

from core.direction import Direction
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from core.spans import Duration, Span
from openadr.model.event import ActivePeriod, Event, check_event, listed_until
from openadr.model.signal import Baseline, Signal
from openadr.model.target import EVERYTHING, Target
from vtn.services import event as events
from vtn.services import outbox, programme, recipients
from vtn.services.event import Values, with_values
from vtn.services.event_shape import check_past, check_shape
from vtn.services.outbox import Intent
from vtn.services.programme import Programme
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, to_json
from vtn.store.tables import Json, delivery, dispatch, event, ven
from vtn.store.tables import programme as programmes

_BATCH: Final = 10_000
"""As many ids as fit into one statement on both databases."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator orders.

    It calls `ven_ids` and the members of `group_ids` and `areas`, which are this server's own; where none of them is
    named, every VEN enrolled in the programme. Who is in the programme's control group is called only by name.
    `own_values` are the values of single VENs, of signals or the baseline, where they differ from the order's. `target`
    is what the events say and VENs understand (resources, groups, grid criteria ...), never VENs: each event goes to
    one VEN.
    """

    programme_id: str
    start: datetime
    duration: Duration
    signals: tuple[Signal, ...]
    ven_ids: tuple[str, ...] = ()
    own_values: Mapping[str, Values] = field(default_factory=dict)
    direction: str | None = None
    target: Target = EVERYTHING
    priority: int | None = None
    test_event: bool = False
    comment: str | None = None
    baseline: Baseline | None = None
    group_ids: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()

    @property
    def selects(self) -> bool:
        """Whether it says whom it calls, by name, group or area."""
        return bool(self.ven_ids or self.group_ids or self.areas)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A dispatch as it stands."""

    id: str
    programme_id: str
    programme_version: int
    shared: Event
    direction: str | None
    created_at: datetime
    created_by: str
    cancelled_at: datetime | None

    @property
    def span(self) -> Span:
        """From its start to its nominal end, or until it was cancelled."""
        start, end = self.shared.period.start, self.shared.period.end
        ends = [one for one in (end, self.cancelled_at) if one is not None]
        return Span(start, max(min(ends), start) if ends else None)


async def create(tx: Transaction, order: Order, now: datetime, *, who: str) -> str:
    """Create a dispatch with one event per VEN and return its id. Raises InvalidError or NotFoundError."""
    rules, ven_ids, shared = await checked(tx.conn, order, now)
    dispatch_id = new_id("dsp")
    await tx.conn.execute(
        insert(dispatch).values(
            id=dispatch_id,
            programme_id=rules.id,
            programme_version=rules.version,
            event=to_json(shared),
            direction=order.direction,
            starts_at=order.start,
            ends_at=shared.period.end,
            created_at=now,
            created_by=who,
            result_due_at=None if order.direction is None else order.start,
        )
    )
    values = {ven_id: order.own_values.get(ven_id, {}) for ven_id in ven_ids}
    rows = await asyncio.to_thread(_new_events, dispatch_id, shared, values, now)
    await tx.conn.execute(insert(event), rows)
    await _queue(tx, [(row["id"], 0, row["ven_id"]) for row in rows], now)
    await tx.audit(who, "dispatch", dispatch_id, after={"vens": len(ven_ids), "event": to_json(shared)}, at=now)
    return dispatch_id


async def checked(conn: Connection, order: Order, now: datetime) -> tuple[Programme, list[str], Event]:
    """Return the programme of an order, whom it calls, and the event that they share; nothing changes.

    Raises InvalidError or NotFoundError for an order that cannot be.
    """
    rules = await programme.get(conn, order.programme_id)
    ven_ids = await _targets(conn, order, rules, now)
    parameters = rules.parameters
    shared = Event(
        event_id="",
        modification_number=0,
        market_context=rules.market_context,
        created_at=now,
        period=ActivePeriod(
            order.start,
            order.duration,
            parameters.notification,
            parameters.start_after,
            parameters.ramp_up,
            parameters.recovery,
        ),
        signals=order.signals,
        target=order.target,
        response_required=parameters.response_required,
        priority=parameters.priority if order.priority is None else order.priority,
        test_event="true" if order.test_event else None,
        vtn_comment=order.comment,
        baseline=order.baseline,
    )
    check_shape(shared)
    if order.target.ven_ids:
        raise InvalidError("Name VENs in ven_ids; an event's target names parts of its own VEN only (EV-22).")
    if order.start < now:
        raise InvalidError(f"The start {order.start.isoformat()} has passed; it is {now.isoformat()}.")
    if order.direction not in (None, *Direction):
        raise InvalidError("direction is reduce or increase.")
    return rules, ven_ids, shared


async def _targets(conn: Connection, order: Order, rules: Programme, now: datetime) -> list[str]:
    control = set(await programme.control_homes(conn, rules.parameters))
    members = await recipients.members(conn, order.group_ids, order.areas)
    ven_ids = list(dict.fromkeys([*order.ven_ids, *sorted(members - control)]))
    if not order.selects:
        members = set(await programme.enrolled(conn, order.programme_id, now))
        ven_ids = sorted(members - control)
    elif not members and not ven_ids:
        raise InvalidError("There is no VEN in these groups.")
    if not ven_ids and members:
        raise InvalidError("All of these VENs are in the programme's control group, which is not called.")
    if not ven_ids:
        raise InvalidError("No VEN is enrolled in this programme, and none was named.")
    if strangers := set(order.own_values) - set(ven_ids):
        raise NotFoundError(f"Not a VEN of this dispatch: {', '.join(sorted(strangers))}.")
    await _known(conn, ven_ids)
    return ven_ids


async def _known(conn: Connection, ven_ids: Sequence[str]) -> None:
    """Raise NotFoundError if there is no such VEN, or no more."""
    known = set((await conn.execute(select(ven.c.id).where(ven.c.removed_at.is_(None)))).scalars()) if ven_ids else ()
    if strangers := set(ven_ids) - set(known):
        raise NotFoundError(f"Not a VEN of this dispatch: {', '.join(sorted(strangers))}.")


def _new_events(dispatch_id: str, shared: Event, values: Mapping[str, Values], now: datetime) -> list[dict[str, Any]]:
    """Return a row for each VEN. For thousands it takes some tenths of a second: use a thread."""
    until = listed_until(shared)
    return [
        {
            "id": new_id("evt"),
            "dispatch_id": dispatch_id,
            "ven_id": ven_id,
            "modification_number": 0,
            "own_values": _differing(shared, own),
            "changed_at": now,
            "listed_until": until,
        }
        for ven_id, own in values.items()
    ]


def _differing(shared: Event, values: Values) -> dict[str, list[float]] | None:
    """Return only those signal values that differ from the dispatch's. Raises InvalidError if they do not fit."""
    if not values:
        return None
    usual = {signal.signal_id: [interval.value for interval in signal.intervals] for signal in shared.signals}
    if shared.baseline is not None:
        usual[shared.baseline.baseline_id] = [interval.value for interval in shared.baseline.intervals]
    for signal_id, row in values.items():
        if len(row) != len(usual.get(signal_id, ())):
            raise InvalidError(f"Values of '{signal_id}' do not fit the dispatch's intervals.")
    check_event(with_values(shared, values))
    own = {signal_id: [float(value) for value in row] for signal_id, row in values.items()}
    return {signal_id: row for signal_id, row in own.items() if row != usual[signal_id]} or None


async def _queue(tx: Transaction, versions: Sequence[tuple[str, int, str]], now: datetime) -> None:
    """Note (event, modification, VEN) as queued and mark each VEN's list as changed."""
    rows = [
        {"event_id": event_id, "modification_number": number, "ven_id": ven_id, "queued_at": now}
        for event_id, number, ven_id in versions
    ]
    await tx.conn.execute(insert(delivery), rows)
    await outbox.put_many(tx, sorted({ven_id for _, _, ven_id in versions}), Intent.EVENTS_CHANGED, now)


async def get(conn: Connection, dispatch_id: str, *, lock: bool = False) -> Dispatch:
    """Return a dispatch, locked against other changes if so wished. Raises NotFoundError."""
    query = select(dispatch).where(dispatch.c.id == dispatch_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No dispatch '{dispatch_id}'.")
    return _dispatch(row)


async def listed(conn: Connection, *, after: str | None = None, limit: int = 100) -> list[Dispatch]:
    """Return dispatches, oldest first; `after`: the id of the last one of the page before."""
    query = select(dispatch).order_by(dispatch.c.id).limit(limit)
    if after is not None:
        query = query.where(dispatch.c.id > after)
    return [_dispatch(row) for row in await conn.execute(query)]


def _dispatch(row: Any) -> Dispatch:
    return Dispatch(
        row.id,
        row.programme_id,
        row.programme_version,
        from_json(Event, row.event),
        row.direction,
        row.created_at,
        row.created_by,
        row.cancelled_at,
    )


async def change(
    tx: Transaction,
    dispatch_id: str,
    now: datetime,
    *,
    who: str,
    start: datetime | None = None,
    duration: Duration | None = None,
    signals: tuple[Signal, ...] | None = None,
    baseline: Baseline | None = None,
) -> None:
    """Change what the events of a dispatch share; None stays as it is. Only the future can change (EV-34).

    Raises ConflictError for a change of the past, or one that the own values of a VEN do not fit; InvalidError for a
    bad shape. A running interval is changed by splitting it: its elapsed part keeps its value.
    """
    old = await get(tx.conn, dispatch_id, lock=True)
    shared = old.shared
    period = replace(
        shared.period,
        start=start or shared.period.start,
        duration=shared.period.duration if duration is None else duration,
    )
    new = replace(shared, period=period, signals=signals or shared.signals, baseline=baseline or shared.baseline)
    check_shape(new)
    if old.cancelled_at is not None or events.is_over(shared, now):
        raise ConflictError("This dispatch is over.")
    check_past(shared, new, now)
    if new == shared:
        return
    touched = []
    rows = await _locked(tx, _open(dispatch_id))
    for row in rows:
        own = row["own_values"] or {}
        try:
            _differing(new, own)
        except InvalidError as error:
            raise ConflictError(f"VEN '{row['ven_id']}' has values of its own: {error}") from error
        if with_values(new, own) != with_values(shared, own):  # else its own values hide the change (EV-07)
            touched.append(row["id"])
    await tx.conn.execute(
        update(dispatch)
        .where(dispatch.c.id == dispatch_id)
        .values(event=to_json(new), starts_at=period.start, ends_at=period.end, result_due_at=_result_due(old, now))
    )
    await _bump(
        tx, dispatch_id, {"listed_until": listed_until(new)}, now, only=None if len(touched) == len(rows) else touched
    )
    await tx.audit(who, "change dispatch", dispatch_id, to_json(shared), to_json(new), at=now)


def _result_due(dispatch: Dispatch, now: datetime) -> datetime | None:
    """Return when to look for the result of a dispatch whose end has just changed."""
    return None if dispatch.direction is None else now


async def look_again(
    tx: Transaction, now: datetime, *, programme_id: str | None = None, baselines: Collection[str] | None = None
) -> None:
    """Let results that are not final be computed anew soon: what they rest on has changed.

    Of a programme, or of those with some `baselines` (ids of presets), or all.
    """
    which = (dispatch.c.result_due_at > now) & (dispatch.c.starts_at < now)
    if programme_id is not None:
        which &= dispatch.c.programme_id == programme_id
    if baselines is not None:
        rules = programmes.c
        ordered_under = (rules.id == dispatch.c.programme_id) & (rules.version == dispatch.c.programme_version)
        preset = rules.parameters["baseline"].as_string()
        which &= select(rules.id).where(ordered_under & preset.in_(sorted(baselines))).exists()
    await tx.conn.execute(update(dispatch).where(which).values(result_due_at=now))


async def change_values(tx: Transaction, event_id: str, values: Values, now: datetime, *, who: str) -> None:
    """Give one VEN's event values of its own. Raises NotFoundError, ConflictError, InvalidError."""
    row, whole = await _locked_event(tx, event_id)
    if row.cancelled_at is not None or row.closed_at is not None or events.is_over(whole.shared, now):
        raise ConflictError("This event is over.")
    own = _differing(whole.shared, values)
    if own == row.own_values:
        return
    before = with_values(whole.shared, row.own_values or {})
    check_past(before, with_values(whole.shared, own or {}), now)
    await _bump(tx, row.dispatch_id, {"own_values": own}, now, only=[event_id])
    await tx.audit(who, "change event", event_id, row.own_values, own, at=now)


async def reorder(
    tx: Transaction,
    dispatch_id: str,
    values: Mapping[str, Values],
    now: datetime,
    *,
    who: str,
    length: int | None = None,
) -> None:
    """Give VENs of a dispatch values of their own, and call others into it: a VEN without an event gets one.

    With `length` all events end after so many intervals. One modification for each event that changes. Only the future
    can change (EV-34); an event that begins in the past is new to its VEN and says what it says. Raises NotFoundError
    for an unknown VEN, ConflictError for a VEN whose event was cancelled, or a dispatch that is over.
    """
    old = await get(tx.conn, dispatch_id, lock=True)
    if old.cancelled_at is not None or events.is_over(old.shared, now):
        raise ConflictError("This dispatch is over.")
    new = old.shared if length is None else _cut(old.shared, length)
    rows = {row["ven_id"]: row for row in await _locked(tx, event.c.dispatch_id == dispatch_id)}
    ended = {ven_id for ven_id, row in rows.items() if row["cancelled_at"] or row["closed_at"]}
    if taken := ended & set(values):
        raise ConflictError(f"Its event in this dispatch has ended: {', '.join(sorted(taken)[:10])}.")
    changed = _changed(rows, old.shared, new, values, length, now)
    fresh = sorted(set(values) - set(rows))
    await _known(tx.conn, fresh)
    if not changed and not fresh:
        return
    if changed:
        own_values = update(event).where(event.c.id == bindparam("event_id_"))
        await tx.conn.execute(own_values.values(own_values=bindparam("own_values_", type_=Json)), changed)
    if new != old.shared:
        shape = {"event": to_json(new), "ends_at": new.period.end, "result_due_at": _result_due(old, now)}
        await tx.conn.execute(update(dispatch).where(dispatch.c.id == dispatch_id).values(**shape))
        await _bump(tx, dispatch_id, {"listed_until": listed_until(new)}, now)
    else:
        ids = [one["event_id_"] for one in changed]
        for first in range(0, len(ids), _BATCH):
            await _bump(tx, dispatch_id, {}, now, only=ids[first : first + _BATCH])
    if fresh:
        own = {ven_id: values[ven_id] for ven_id in fresh}
        added = await asyncio.to_thread(_new_events, dispatch_id, new, own, now)
        await tx.conn.execute(insert(event), added)
        await _queue(tx, [(row["id"], 0, row["ven_id"]) for row in added], now)
    what = {"changed": len(changed), "called": fresh, "ends_at": to_json(new.period.end)}
    await tx.audit(who, "reorder dispatch", dispatch_id, after=what, at=now)


def _changed(
    rows: Mapping[str, dict[str, Any]],
    old: Event,
    new: Event,
    values: Mapping[str, Values],
    length: int | None,
    now: datetime,
) -> list[dict[str, Any]]:
    """Return the own values of the events that change, as parameters of an update. Raises ConflictError (EV-34)."""
    changed = []
    supposed = old.baseline.baseline_id if old.baseline else None
    for ven_id, row in rows.items():
        had = row["own_values"] or {}
        kept = {name: list(one) if name == supposed else list(one)[:length] for name, one in had.items()}
        own = _differing(new, values.get(ven_id, kept))
        before, after = with_values(old, had), with_values(new, own or {})
        if before != after:
            check_past(before, after, now)
            changed.append({"event_id_": row["id"], "own_values_": own})
    return changed


def _cut(shared: Event, length: int) -> Event:
    """Return the event with only the first intervals of each signal. Raises InvalidError if fewer are there."""
    if not all(0 < length <= len(signal.intervals) for signal in shared.signals):
        raise InvalidError(f"The events do not have {length} intervals.")
    signals = tuple(replace(signal, intervals=signal.intervals[:length]) for signal in shared.signals)
    seconds = sum(interval.duration.exact_s for interval in signals[0].intervals)
    cut = replace(shared, period=replace(shared.period, duration=Duration.of(seconds=seconds)), signals=signals)
    check_shape(cut)
    return cut


async def _locked_event(tx: Transaction, event_id: str) -> tuple[Any, Dispatch]:
    """Return an event's row and its dispatch, locked in the order in which a change of the dispatch locks them."""
    query = select(event).where(event.c.id == event_id)
    row = (await tx.conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No event '{event_id}'.")
    whole = await get(tx.conn, row.dispatch_id, lock=True)
    return (await tx.conn.execute(query.with_for_update())).one(), whole


async def cancel(tx: Transaction, dispatch_id: str, now: datetime, *, who: str) -> None:
    """Cancel a dispatch and all its events. Cancelling twice changes nothing; a completed one cannot be cancelled."""
    old = await get(tx.conn, dispatch_id, lock=True)
    if old.cancelled_at is not None:
        return
    if events.is_over(old.shared, now):
        raise ConflictError("This dispatch is complete.")
    await tx.conn.execute(
        update(dispatch)
        .where(dispatch.c.id == dispatch_id)
        .values(cancelled_at=now, result_due_at=_result_due(old, now))
    )
    await _bump(tx, dispatch_id, {"cancelled_at": now}, now)
    await tx.audit(who, "cancel dispatch", dispatch_id, at=now)


async def cancel_event(tx: Transaction, event_id: str, now: datetime, *, who: str) -> None:
    """Cancel one VEN's event; the rest of the dispatch goes on."""
    row, whole = await _locked_event(tx, event_id)
    if row.cancelled_at is not None:
        return
    if events.is_over(whole.shared, now):
        raise ConflictError("This event is complete.")
    await _bump(tx, row.dispatch_id, {"cancelled_at": now}, now, only=[event_id])
    await tx.audit(who, "cancel event", event_id, at=now)


def _open(dispatch_id: str) -> ColumnElement[bool]:
    """Match those events of a dispatch that VENs may still be told of: also a cancelled one, until it is closed."""
    return (event.c.dispatch_id == dispatch_id) & event.c.closed_at.is_(None)


async def _locked(tx: Transaction, which: ColumnElement[bool]) -> list[dict[str, Any]]:
    query = (
        select(
            event.c.id,
            event.c.ven_id,
            event.c.modification_number,
            event.c.own_values,
            event.c.cancelled_at,
            event.c.closed_at,
        )
        .where(which)
        .order_by(event.c.id)
        .with_for_update()
    )
    return [dict(row) for row in (await tx.conn.execute(query)).mappings()]


async def _bump(
    tx: Transaction, dispatch_id: str, changes: dict[str, Any], now: datetime, *, only: Sequence[str] | None = None
) -> None:
    """Add one to the modificationNumber of the open events of a dispatch (or of some) and queue them."""
    which = _open(dispatch_id)
    if only is not None:
        which &= event.c.id.in_(only)
    if "cancelled_at" in changes:
        which &= event.c.cancelled_at.is_(None)
    rows = await _locked(tx, which)
    await tx.conn.execute(
        update(event)
        .where(which)
        .values(modification_number=event.c.modification_number + 1, changed_at=now, **changes)
    )
    if rows:
        await _queue(tx, [(row["id"], row["modification_number"] + 1, row["ven_id"]) for row in rows], now)
