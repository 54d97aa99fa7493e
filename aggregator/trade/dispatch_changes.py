"""What an operator does to a running dispatch: another power, another end, another VEN, or its end now.

For a dispatch of an activation the BRP's order changes with it (`changes`); one without is changed itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import insert, select

from aggregator.flexibility import inputs
from aggregator.flexibility.fleet import Floats
from aggregator.intervals import PowerInterval
from aggregator.selection import stepped
from aggregator.tables import dispatch_draft, intervention, selection
from aggregator.trade import activation_changes, activation_start, activations, members
from aggregator.trade.activation_changes import passed_on
from aggregator.trade.members import Called
from core.errors import ConflictError, InvalidError
from core.spans import Duration
from openadr.model.signal import Interval
from vtn.services import dispatch, programme
from vtn.services.event import Values
from vtn.store.database import Connection, Transaction
from vtn.store.rows import to_json

_MOST_STEPS = 3000


@dataclass(frozen=True, slots=True)
class DispatchChange:
    """What becomes of a dispatch from now on. `value`: power (W) of a called pool, or the value of a signal."""

    value: float | None = None
    end: datetime | None = None


async def selection_of(conn: Connection, dispatch_id: str) -> str | None:
    """Return the id of the selection that a dispatch was made from, or None."""
    query = select(selection.c.id).where(selection.c.dispatch_id == dispatch_id).order_by(selection.c.created_at.desc())
    return (await conn.execute(query.limit(1))).scalar_one_or_none()


def is_pool(ordered: dispatch.Dispatch) -> bool:
    """Tell whether a dispatch was made by a selection: each VEN has powers of its own."""
    return ordered.direction is not None and any(one.signal_id == members.SIGNAL_ID for one in ordered.shared.signals)


async def modify(tx: Transaction, dispatch_id: str, change: DispatchChange, now: datetime, *, who: str) -> None:
    """Change power or end of a dispatch, from the next step that has not begun; its VENs are told at once.

    Raises ConflictError for one that is over, InvalidError for what cannot be.
    """
    whole = await dispatch.get(tx.conn, dispatch_id, lock=True)
    if change.value is None and change.end is None:
        raise InvalidError("Say another power or another end.")
    if not is_pool(whole):
        await _modify_signal(tx, whole, change, now, who)
        return
    activation_id = await activations.of_dispatch(tx.conn, dispatch_id)
    if activation_id is not None:
        await _modify_activation(tx, activation_id, change, now, who)
        return
    await _modify_pool(tx, dispatch_id, change, now, who)


async def _modify_activation(
    tx: Transaction, activation_id: str, change: DispatchChange, now: datetime, who: str
) -> None:
    one = await activations.get(tx.conn, activation_id, lock=True)
    grid = one.grid
    free, end = grid.at(grid.ahead(now)), change.end or one.ends_at
    if (end - grid.start) % timedelta(seconds=grid.step_s):
        raise InvalidError(f"The end must lie on the dispatch's steps of {grid.step_s // 60} minutes.", field="end")
    if end <= free:
        raise ConflictError(f"Before {free.isoformat()} nothing can change any more. To end it now, cancel it.")
    new: list[PowerInterval] = []
    for part in one.intervals:
        if part.start >= end:
            continue
        stop = min(part.end, end)
        if change.value is None or stop <= free:
            new.append(_between(part.start, stop, part.power_w))
            continue
        if part.start < free:
            new.append(_between(part.start, free, part.power_w))
        new.append(_between(max(part.start, free), stop, round(change.value)))
    await activation_changes.modify(tx, activation_id, new, now, who=who)


def _between(start: datetime, end: datetime, power_w: int) -> PowerInterval:
    return PowerInterval(start, round((end - start).total_seconds()), power_w)


async def _modify_pool(tx: Transaction, dispatch_id: str, change: DispatchChange, now: datetime, who: str) -> None:
    called = await members.read(tx.conn, dispatch_id)
    grid = called.grid
    keep, length = grid.ahead(now), grid.count
    if change.end is not None:
        length, rest = divmod(round((change.end - grid.start).total_seconds()), grid.step_s)
        if rest:
            raise InvalidError(f"The end must lie on the dispatch's steps of {grid.step_s // 60} minutes.", field="end")
        if not keep < length <= grid.count:
            raise InvalidError(
                "The end must lie between the next step and the present end; for more, order another dispatch.",
                field="end",
            )
    if keep >= grid.count:
        raise ConflictError("The last step has begun; nothing can change any more.")
    ordered = _sum(called)
    after = ordered.copy()
    if change.value is not None:
        if change.value <= 0:
            raise InvalidError("The value must be above zero; to end the dispatch, cancel it.", field="value")
        after[keep:] = change.value * await _surplus(tx, dispatch_id)
    powers = await passed_on(tx.conn, called, ordered, after, keep)
    values = {ven_id: members.values(power_w[:length], called.direction) for ven_id, power_w in powers.items()}
    await dispatch.reorder(tx, dispatch_id, values, now, who=who, length=length if length < grid.count else None)


async def _surplus(tx: Transaction, dispatch_id: str) -> float:
    """Return how much more the selection ordered than was wanted, because not everybody responds; 1: nothing known."""
    selection_id = await selection_of(tx.conn, dispatch_id)
    return 1.0 if selection_id is None else await surplus(tx.conn, selection_id)


async def surplus(conn: Connection, selection_id: str) -> float:
    """Return the ratio of what a draft's VENs were ordered to what was wanted of them; 1: nothing known."""
    query = select(dispatch_draft.c.figures["ordered_w"], dispatch_draft.c.pool_order["power_w"])
    row = (await conn.execute(query.where(dispatch_draft.c.selection_id == selection_id))).one_or_none()
    if row is None:
        return 1.0
    ordered_w, wanted_w = row
    return float(ordered_w) / float(wanted_w) if ordered_w and wanted_w else 1.0


def _sum(called: Called) -> Floats:
    """Return what everybody who is not released is ordered together (T), W."""
    total = np.zeros(called.grid.count)
    for one in called.members:
        if one.cancelled_at is None:
            total += one.ordered_w
    return total


async def _modify_signal(
    tx: Transaction, ordered: dispatch.Dispatch, change: DispatchChange, now: datetime, who: str
) -> None:
    """Give a plain signal another value from the next minute on, or another end."""
    shared = ordered.shared
    end = change.end or shared.period.end
    if end is None:
        raise InvalidError("This dispatch lasts until it is cancelled; say when it ends.", field="end")
    minute = timedelta(minutes=1)
    cut = max(shared.period.start, now.replace(second=0, microsecond=0) + minute)
    if end <= cut or (end - shared.period.start) % minute:
        raise InvalidError(
            "The end must be on a whole minute, after the next one; to end the dispatch now, cancel it.", field="end"
        )
    signals = []
    for signal in shared.signals:
        steps: list[tuple[datetime, datetime, float]] = []
        edge = shared.period.start
        for interval in signal.intervals:
            after = interval.duration.after(edge) if interval.duration else end
            steps.append((edge, min(after, end), interval.value))
            edge = after
        if edge < end:
            steps.append((edge, end, signal.intervals[-1].value))
        intervals = tuple(
            Interval(Duration.between(start, stop), value)
            for first, last, usual in steps
            for start, stop, value in _split(first, last, usual, cut, change.value)
            if start < stop
        )
        if len(intervals) > _MOST_STEPS:
            raise InvalidError(f"A signal has at most {_MOST_STEPS} intervals.")
        signals.append(replace(signal, intervals=intervals))
    length = Duration.between(shared.period.start, end)
    await dispatch.change(tx, ordered.id, now, who=who, duration=length, signals=tuple(signals))


def _split(
    start: datetime, end: datetime, usual: float, cut: datetime, value: float | None
) -> tuple[tuple[datetime, datetime, float], ...]:
    """Return an interval with its value until `cut` and another one from there on."""
    if value is None or end <= cut:
        return ((start, end, usual),)
    if start >= cut:
        return ((start, end, value),)
    return ((start, cut, usual), (cut, end, value))


async def replace_ven(tx: Transaction, dispatch_id: str, ven_id: str, now: datetime, *, who: str) -> str | None:
    """Release a VEN and call the next one of the reserve for what is left; return its venID, None: none is left.

    Raises ConflictError for a dispatch or an event that is over, or a VEN that was not called.
    """
    whole = await dispatch.get(tx.conn, dispatch_id, lock=True)
    if not is_pool(whole):
        raise ConflictError("This dispatch was not made by a selection; there is no reserve.")
    called = await members.read(tx.conn, dispatch_id)
    leaving = next((one for one in called.members if one.ven_id == ven_id), None)
    if leaving is None or leaving.cancelled_at is not None:
        raise ConflictError("This VEN is not called (any more).")
    keep = called.grid.ahead(now)
    if whole.cancelled_at is not None or keep >= called.grid.count:
        raise ConflictError("The last step has begun; nobody can be replaced any more.")
    await dispatch.cancel_event(tx, leaving.event_id, now, who=who)
    rules = await programme.get(tx.conn, whole.programme_id)
    taken = {one.ven_id for one in called.members} | set(await programme.control_homes(tx.conn, rules.parameters))
    offered = await _reserve(tx, dispatch_id, leaving.ordered_w)
    successor = next((one for one in offered if one not in taken), None)
    if successor is not None:
        power_w = offered[successor].copy()
        power_w[:keep] = 0.0
        values: Mapping[str, Values] = {successor: members.values(power_w, called.direction)}
        await dispatch.reorder(tx, dispatch_id, values, now, who=who)
        await _note(tx, dispatch_id, successor, "call", round(float(power_w.max(initial=0.0))), now)
    await _note(tx, dispatch_id, ven_id, "replace" if successor else "release", None, now)
    after = {"successor": successor}
    await tx.audit(who, "replace ven", dispatch_id, {"ven_id": ven_id}, after, at=now)
    return successor


async def _reserve(tx: Transaction, dispatch_id: str, wanted_w: Floats) -> dict[str, Floats]:
    """Return venID -> what it is called for (T), W, of those in reserve, in their order; the grid is the dispatch's.

    It is what they can give; of those with a set-point as much of it as is wanted (T).
    """
    selection_id = await selection_of(tx.conn, dispatch_id)
    if selection_id is None:
        return {}
    names = await activation_start.reserve(tx.conn, selection_id)
    fleet = inputs.from_json(
        (await tx.conn.execute(select(selection.c.inputs["fleet"]).where(selection.c.id == selection_id))).scalar_one()
    )
    place = {ven_id: row for row, ven_id in enumerate(fleet.ven_ids)}
    minimum_w, step_w = fleet.set_points
    count = (await members.read(tx.conn, dispatch_id)).grid.count
    found = {}
    for ven_id in names:
        if ven_id in place:
            row = place[ven_id]
            whole_w = np.maximum(np.nan_to_num(fleet.p50_w[row])[:count], 0.0)
            if whole_w.size == count:
                found[ven_id] = stepped(wanted_w, whole_w, minimum_w[row], step_w[row])[1]
    return found


async def _note(
    tx: Transaction, dispatch_id: str, ven_id: str, action: str, power_w: int | None, now: datetime
) -> None:
    """Add an intervention where there is an activation: the BRP's order is behind it."""
    activation_id = await activations.of_dispatch(tx.conn, dispatch_id)
    if activation_id is None:
        return
    row = {"activation_id": activation_id, "at": now, "ven_id": ven_id, "action": action, "power_w": power_w}
    await tx.conn.execute(insert(intervention).values(**row, reason="by an operator"))


async def cancel(tx: Transaction, dispatch_id: str, now: datetime, *, who: str, reason: str | None = None) -> None:
    """End a dispatch now, and the activation behind it. Raises ConflictError for one that is over."""
    whole = await dispatch.get(tx.conn, dispatch_id, lock=True)
    if whole.cancelled_at is not None:
        raise ConflictError("This dispatch is cancelled already.")
    activation_id = await activations.of_dispatch(tx.conn, dispatch_id)
    if activation_id is not None:
        await activation_changes.cancel(tx, activation_id, now, who=who, reason=reason)
        return
    await dispatch.cancel(tx, dispatch_id, now, who=who)
    if reason:
        await tx.audit(who, "cancel dispatch reason", dispatch_id, after=to_json({"reason": reason[:500]}), at=now)
