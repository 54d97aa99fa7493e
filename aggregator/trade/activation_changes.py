"""Changes of an activation: less of it, or its end. The VENs are told in the same transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy import update

from aggregator.flexibility.fleet import Floats
from aggregator.intervals import PowerInterval, check_contiguous
from aggregator.selection import stepped
from aggregator.tables import activation
from aggregator.topics import Topic
from aggregator.trade import activations, members
from aggregator.trade.activations import Activation, ActivationEvent
from aggregator.trade.members import Called
from aggregator.trade.requests import MAX_INTERVALS
from core.errors import ConflictError, InvalidError
from vtn.services import dispatch, event, partial_power
from vtn.services.partial_power import PartialPower
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Transaction
from vtn.store.rows import to_json

_MAX_WORDS: Final = 500


async def modify(
    tx: Transaction,
    activation_id: str,
    intervals: Sequence[PowerInterval],
    now: datetime,
    *,
    who: str,
    expected_number: int | None = None,
    party_id: str | None = None,
) -> int:
    """Change what is ordered from now on, each VEN in proportion (or at the next level that it can be called at).

    Returns the new modification number.

    The new intervals lie on the activation's grid, within the time that is ordered, and never exceed what was accepted.
    What has elapsed, the running step of the grid included (5 minutes at most), stays. Raises ModifiedError if
    `expected_number` is not the present one, ConflictError for the past or an activation that is over, InvalidError for
    more than was accepted.
    """
    one = await activations.get(tx.conn, activation_id, party_id, lock=True)
    activations.check_number(one, expected_number)
    activations.check_allowed(one, ActivationEvent.MODIFY, now)
    new = tuple(intervals)
    check_contiguous(new)
    _check(one, new, now)
    if new == one.intervals:
        return one.modification_number
    number, end = one.modification_number + 1, new[-1].end
    if one.dispatch_id is not None:
        await _pass_on(tx, one, new, now, who)
    due_at = None if one.due_at is None else min(one.due_at, end)
    await tx.conn.execute(
        update(activation)
        .where(activation.c.id == one.id)
        .values(intervals=to_json(new), starts_at=new[0].start, ends_at=end, modification_number=number, due_at=due_at)
    )
    await tx.audit(who, "modify activation", one.id, to_json(one.intervals), to_json(new), at=now)
    told = {"activation_id": one.id, "modification_number": number}
    await publish(tx, one.party_id, Topic.ACTIVATION_MODIFIED, told, now)
    return number


def _check(activation: Activation, new: Sequence[PowerInterval], now: datetime) -> None:
    """Raise InvalidError or ConflictError for a change that leaves what was accepted, or touches what has elapsed."""
    grid = activation.grid
    if len(new) > MAX_INTERVALS:
        raise InvalidError(f"An activation has at most {MAX_INTERVALS} intervals.")
    edges = [*(it.start for it in new), new[-1].end]
    if any((edge - grid.start) % timedelta(seconds=grid.step_s) for edge in edges):
        raise InvalidError(f"Intervals begin and end at multiples of {grid.step_s} s after {grid.start.isoformat()}.")
    if edges[0] < grid.start or edges[-1] > activation.ends_at:
        raise InvalidError("A change stays within the time that is ordered; for more, make another request.")
    after = grid.power_w(new)
    if (after > grid.power_w(activation.terms.accepted) + 1e-6).any():
        raise InvalidError("A change never asks for more than was accepted; for more, make another request.")
    begun = grid.ahead(now)
    before = grid.power_w(activation.intervals)
    moved = activation.starts_at < now and edges[0] != activation.starts_at
    if moved or edges[-1] < grid.at(begun) or (after[:begun] != before[:begun]).any():
        free = grid.at(begun).isoformat()
        raise ConflictError(f"Before {free} nothing can change any more. To end it now, cancel it.")
    if not after[begun:].any():
        raise InvalidError("Nothing is left of it; cancel it instead.")


async def _pass_on(
    tx: Transaction, activation: Activation, new: Sequence[PowerInterval], now: datetime, who: str
) -> None:
    """Give each VEN that is called its part of the new power."""
    called = await members.read(tx.conn, activation.dispatch_id or "")
    grid = called.grid
    before, after = grid.power_w(activation.intervals), grid.power_w(new)
    length = round((new[-1].end - grid.start) / timedelta(seconds=grid.step_s))
    keep = grid.ahead(now)
    powers = await passed_on(tx.conn, called, before, after, keep)
    values = {ven_id: members.values(power_w[:length], called.direction) for ven_id, power_w in powers.items()}
    await dispatch.reorder(tx, called.dispatch_id, values, now, who=who, length=length if length < grid.count else None)


async def passed_on(conn: Connection, called: Called, before: Floats, after: Floats, keep: int) -> dict[str, Floats]:
    """Return venID -> powers (T) of those called, where the whole goes from `before` to `after` (T).

    Each in proportion, but those that have levels at the next one: what one of them is above or below, the next makes
    up for. The first `keep` steps stay.
    """
    levels = await partial_power.of_vens(conn, [member.ven_id for member in called.members])
    rest_w = np.zeros(before.size)
    powers = {}
    for member in called.members:
        if member.cancelled_at is None:
            power_w = scaled(member.ordered_w, before, after, keep)
            if member.ven_id in levels:
                wanted_w = power_w + rest_w
                power_w = _at_levels(member.ordered_w, power_w, wanted_w, levels[member.ven_id], keep)
                rest_w = wanted_w - power_w
            powers[member.ven_id] = power_w
    return powers


def _at_levels(ordered_w: Floats, scaled_w: Floats, wanted_w: Floats, levels: PartialPower, keep: int) -> Floats:
    """Return the orders (T) next to what is wanted of a VEN that has levels; the first `keep` steps stay.

    What it is ordered now it can do, whatever level that is; above, it gets no more than its part of the whole.
    """
    raised = scaled_w > ordered_w
    wanted_w = np.where(raised, np.minimum(wanted_w, scaled_w), wanted_w)
    whole_w = np.where(raised, np.inf, ordered_w)
    lower, upper = stepped(wanted_w, whole_w, np.float64(levels.minimum_w), np.float64(levels.step_w))
    lower = np.where(raised & (lower > scaled_w), ordered_w, lower)
    result = np.where(raised | (wanted_w - lower <= upper - wanted_w), lower, upper)
    result[:keep] = ordered_w[:keep]
    return np.where(scaled_w > 0, result, 0.0)


def scaled(ordered_w: Floats, before: Floats, after: Floats, keep: int) -> Floats:
    """Return a VEN's powers (T) where the whole goes from `before` to `after`; the first `keep` steps stay.

    Where nothing was ordered before, the VEN's part is that of the nearest step that had an order.
    """
    steps = np.flatnonzero(before > 0)
    if not steps.size:
        return ordered_w
    places = np.arange(before.size)
    near = steps[np.abs(places[:, None] - steps[None, :]).argmin(axis=1)]
    result = ordered_w[near] * (after / before[near])
    result[:keep] = ordered_w[:keep]
    return np.asarray(result, np.float64)


async def cancel(
    tx: Transaction,
    activation_id: str,
    now: datetime,
    *,
    who: str,
    reason: str | None = None,
    expected_number: int | None = None,
    party_id: str | None = None,
) -> None:
    """End an activation now, for all its VENs; what ran until then is reported and settled.

    Raises ConflictError for one that is over, ModifiedError if `expected_number` is not the present modification.
    """
    one = await activations.get(tx.conn, activation_id, party_id, lock=True)
    activations.check_number(one, expected_number)
    activations.check_allowed(one, ActivationEvent.CANCEL, now)
    if len(reason or "") > _MAX_WORDS:
        raise InvalidError(f"A reason has at most {_MAX_WORDS} characters.")
    ran = one.dispatch_id is not None and one.starts_at < now
    if one.dispatch_id is not None:
        whole = await dispatch.get(tx.conn, one.dispatch_id)
        if not event.is_over(whole.shared, now):
            await dispatch.cancel(tx, one.dispatch_id, now, who=who)
    await tx.conn.execute(
        update(activation)
        .where(activation.c.id == one.id)
        .values(cancelled_at=now, cancel_reason=reason, due_at=now if ran else None)
    )
    await tx.audit(who, "cancel activation", one.id, after={"reason": reason}, at=now)
    told = {"activation_id": one.id, "reason": reason}
    await publish(tx, one.party_id, Topic.ACTIVATION_CANCELLED, told, now)
