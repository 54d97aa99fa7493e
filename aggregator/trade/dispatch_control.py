"""The loop: each minute of world time what is delivered is held against what was bought, and VENs come and go.

Before the start those who opted out or stay silent are replaced; during the event the estimate of `telemetry` counts
too. The decision is pure arithmetic (`aggregator.selection.correct`); this module reads for it and carries it out.
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

import numpy as np
from sqlalchemy import insert

from aggregator import selection
from aggregator.flexibility.fleet import Fleet, Floats
from aggregator.grid import Grid
from aggregator.selection import Ask, Moves, stepped
from aggregator.selection.loop import Why
from aggregator.tables import intervention
from aggregator.trade import activation_start, activations, available_flexibility, live_view, members, telemetry
from aggregator.trade.activation_start import WORKER
from aggregator.trade.activations import Activation, ActivationEvent
from aggregator.trade.members import Called, Member
from aggregator.trade.telemetry import Estimate
from core.errors import ConflictError, NotFoundError
from openadr.model.opt import OptType
from vtn.services import dispatch
from vtn.store.database import Connection, Database, Transaction

_SETTLES: Final = timedelta(minutes=3)
"""How long devices take to follow: what is measured before says nothing yet, and a call takes effect after it."""
_MOSTLY: Final = 0.8
"""Part of the ordered power that must be measured in a step for it to count in the energy so far."""
_BY_HAND: Final = "by hand"


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """An activation at a moment, on the steps of its events from the running one on (all of them before the start)."""

    activation: Activation
    called: Called
    estimate: Estimate
    fleet: Fleet
    reserve: tuple[int, ...]
    grid: Grid
    first: int
    calls: tuple[int, int]


async def tick(db: Database, activation_id: str, now: datetime, *, stale_after_s: float) -> None:
    """Look after a called activation once; the next look is due in a minute. Nothing happens if somebody else did."""
    async with db.read() as conn:
        one = await activations.get(conn, activation_id)
        if (
            one.dispatch_id is None
            or one.due_at is None
            or ActivationEvent.REPLACE not in activations.TRANSITIONS[one.status(now)]
        ):
            return
        look = await _look(conn, one, now, stale_after_s)
    moves = Moves() if look is None else await asyncio.to_thread(_decide, look, now, stale_after_s)
    async with db.write() as tx:
        if look is not None and (moves.call or moves.release):
            await available_flexibility.lock(
                tx, (await activation_start.scope_of(tx.conn, one, one.grid)).programme.id, now
            )
        locked = await activations.get(tx.conn, activation_id, lock=True)
        same = (locked.due_at, locked.modification_number, locked.cancelled_at)
        if same != (one.due_at, one.modification_number, one.cancelled_at):
            return
        if look is not None and (moves.call or moves.release):
            if await available_flexibility.calls(tx.conn) != look.calls:
                return
            await _carry_out(tx, look, moves, now)
        await activations.advance(tx, locked, now, activation_start.next_due(locked, now))


async def _look(conn: Connection, activation: Activation, now: datetime, stale_after_s: float) -> _Look | None:
    """Read what the decision rests on; None where there is nothing to decide."""
    called = await members.read(conn, activation.dispatch_id or "")
    grid = called.grid
    if now < grid.start:
        lost = [it for it in called.members if it.opt is OptType.OUT]
        lost += [it for it in called.members if it.stays and it.silent(now, stale_after_s, answers=called.answers)]
        if not lost:
            return None
    ahead = grid.ahead(now)
    if ahead >= grid.count:
        return None
    scope = await activation_start.scope_of(conn, activation, grid.since(ahead))
    fleet = await available_flexibility.load(conn, scope, now, stale_after_s)
    first = max(grid.running(now), 0)
    if first < ahead:
        fleet = _with_running_step(fleet)
    ven_ids = [it.ven_id for it in called.members]
    known = Estimate(grid, {})
    if now >= grid.start:
        known = await telemetry.estimate(conn, ven_ids, grid, called.dispatch_id, called.direction, now)
    reserve = _reserve(fleet, await activation_start.reserve(conn, activation.selection_id or ""), ven_ids)
    calls = await available_flexibility.calls(conn)
    return _Look(activation, called, known, fleet, reserve, grid.since(first), first, calls)


def _with_running_step(fleet: Fleet) -> Fleet:
    """Return the fleet with a step more in front: potentials are about the future, and go on in the running step."""

    def longer(power_w: Floats) -> Floats:
        return np.concatenate((power_w[:, :1], power_w), axis=1)

    return replace(
        fleet,
        start_s=fleet.start_s - fleet.step_s,
        p10_w=longer(fleet.p10_w),
        p50_w=longer(fleet.p50_w),
        p90_w=longer(fleet.p90_w),
    )


def _reserve(fleet: Fleet, order: Sequence[str], members_: Sequence[str]) -> tuple[int, ...]:
    """Return indices of those who may be called: as selection ordered them, then who can be called only by now."""
    index = {ven_id: place for place, ven_id in enumerate(fleet.ven_ids)}
    later = [ven_id for ven_id in fleet.ven_ids if fleet.barred[index[ven_id]] is None]
    wanted = dict.fromkeys([*order, *later])
    taken = set(members_)
    return tuple(index[ven_id] for ven_id in wanted if ven_id in index and ven_id not in taken)


def _decide(look: _Look, now: datetime, stale_after_s: float) -> Moves:
    """Ask the loop for its moves."""
    index = {ven_id: place for place, ven_id in enumerate(look.fleet.ven_ids)}
    into_s = (now - look.grid.start).total_seconds()
    running = into_s >= 0
    return selection.correct(
        look.fleet,
        Ask(look.grid.power_w(look.activation.intervals)),
        [_member(look, it, index[it.ven_id], now, stale_after_s) for it in look.called.members if it.ven_id in index],
        look.reserve,
        0,
        into_s=max(into_s, 0.0),
        ahead_wh=_ahead_wh(look) if running else 0.0,
        lead_s=_SETTLES.total_seconds() if running else 0.0,
        seed=zlib.crc32(look.activation.id.encode()),
    )


def _member(look: _Look, it: Member, place: int, now: datetime, stale_after_s: float) -> selection.Member:
    says: Mapping[OptType | None, Literal["in", "out"]] = {OptType.IN: "in", OptType.OUT: "out"}
    return selection.Member(
        place,
        it.ordered_w[look.first :],
        says.get(it.opt),
        it.silent(now, stale_after_s, answers=look.called.answers),
        _delivers_w(look, it),
        it.cancelled_at is not None,
    )


def _delivers_w(look: _Look, it: Member) -> float:
    """Return what a VEN delivers now: the latest measured share of its order, times the present order; NaN: unknown."""
    steps = np.flatnonzero(it.ordered_w > 0)
    if not steps.size:
        return float("nan")
    grid = look.called.grid
    begins = max(grid.at(int(steps[0])), it.queued_at) + timedelta(seconds=look.called.start_after_s) + _SETTLES
    gain_w, minutes = look.estimate.latest(it.ven_id, begins)
    if not minutes.size:
        return float("nan")
    asked_w = float(it.ordered_w[(minutes * telemetry.MINUTE_S // grid.step_s).astype(np.int64)].mean())
    return gain_w / asked_w * it.power_w(look.first) if asked_w else float("nan")


def _ahead_wh(look: _Look) -> float:
    """Return the energy delivered beyond the target so far, over those steps that are mostly measured."""
    grid, called = look.called.grid, look.called
    asked, measured = np.zeros(grid.count), np.zeros(grid.count)
    for it in called.members:
        if it.opt is not OptType.OUT:
            ordered = np.where(live_view.ordered_steps(it, grid), it.ordered_w, 0.0)
            asked += ordered
            measured += np.where(np.isfinite(look.estimate.by_step(it.ven_id)), ordered, 0.0)
    got = live_view.delivered_w(called, look.estimate)
    counts = np.isfinite(got) & (measured >= _MOSTLY * asked) & (measured > 0) & (np.arange(grid.count) < look.first)
    target = grid.power_w(look.activation.intervals)
    whole = got[counts] * asked[counts] / measured[counts]
    return float((whole - target[counts]).sum()) * grid.step_s / 3600


async def _carry_out(tx: Transaction, look: _Look, moves: Moves, now: datetime) -> None:
    """Call and release, and note each move."""
    values = {}
    rows = []
    for move in moves.call:
        power_w = np.concatenate((np.zeros(look.first), move.power_w))
        ven_id = look.fleet.ven_ids[move.index]
        values[ven_id] = members.values(power_w, look.called.direction)
        action = "replace" if move.reason in (Why.OPT_OUT, Why.SILENT) else "call"
        rows.append(_row(look.activation, now, ven_id, action, move.reason.value, round(float(power_w.max()))))
    if values:
        await dispatch.reorder(tx, look.called.dispatch_id, values, now, who=WORKER)
    events = {it.ven_id: it.event_id for it in look.called.members}
    for off in moves.release:
        ven_id = look.fleet.ven_ids[off.index]
        await dispatch.cancel_event(tx, events[ven_id], now, who=WORKER)
        rows.append(_row(look.activation, now, ven_id, "release", off.reason.value, None))
    await tx.conn.execute(insert(intervention), rows)


def _row(
    activation: Activation, now: datetime, ven_id: str, action: str, reason: str, power_w: int | None
) -> dict[str, object]:
    return {
        "activation_id": activation.id,
        "at": now,
        "ven_id": ven_id,
        "action": action,
        "reason": reason,
        "power_w": power_w,
    }


# -- by hand


async def replace_ven(
    tx: Transaction, activation_id: str, ven_id: str, now: datetime, *, who: str, stale_after_s: float
) -> list[str]:
    """Release a VEN and call others from the reserve for what it was ordered; return their venIDs.

    Raises NotFoundError for a VEN that is not called, ConflictError where nobody else can be called (then nothing
    changes), or the activation is over.
    """
    one = await activations.get(tx.conn, activation_id)
    await available_flexibility.lock(tx, (await activation_start.scope_of(tx.conn, one, one.grid)).programme.id, now)
    one = await activations.get(tx.conn, activation_id, lock=True)
    activations.check_allowed(one, ActivationEvent.REPLACE, now)
    if one.dispatch_id is None:
        raise ConflictError("Nobody has been called yet.")
    called = await members.read(tx.conn, one.dispatch_id)
    gone = next((it for it in called.members if it.ven_id == ven_id), None)
    if gone is None:
        raise NotFoundError(f"VEN '{ven_id}' was not called in this activation.")
    if gone.cancelled_at is not None:
        raise ConflictError(f"VEN '{ven_id}' was released already.")
    first = called.grid.ahead(now)
    if first >= called.grid.count:
        raise ConflictError("The last step of this activation is running.")
    scope = await activation_start.scope_of(tx.conn, one, called.grid.since(first))
    fleet = await available_flexibility.load(tx.conn, scope, now, stale_after_s)
    order = await activation_start.reserve(tx.conn, one.selection_id or "")
    chosen = _stand_ins(fleet, _reserve(fleet, order, [it.ven_id for it in called.members]), gone.ordered_w[first:])
    if not chosen:
        raise ConflictError("Nobody else can be called now; release the VEN alone, or wait.")
    values = {}
    rows = [_row(one, now, ven_id, "release", _BY_HAND, None)]
    for place, power_w in chosen.items():
        whole = np.concatenate((np.zeros(first), power_w))
        values[fleet.ven_ids[place]] = members.values(whole, called.direction)
        rows.append(_row(one, now, fleet.ven_ids[place], "replace", _BY_HAND, round(float(power_w.max()))))
    await dispatch.reorder(tx, called.dispatch_id, values, now, who=who)
    await dispatch.cancel_event(tx, gone.event_id, now, who=who)
    await tx.conn.execute(insert(intervention), rows)
    await tx.audit(who, "replace ven", activation_id, ven_id, sorted(values), at=now)
    return list(values)


def _stand_ins(fleet: Fleet, reserve: Sequence[int], ordered_w: Floats) -> dict[int, Floats]:
    """Return who takes over an order, and its powers: the next in the reserve, as many as it takes.

    Who has a set-point takes over what is left of the order, as near as its step allows, and not less.
    """
    chosen: dict[int, Floats] = {}
    left_w = ordered_w
    minimum_w, step_w = fleet.set_points
    for place in reserve:
        if left_w.sum() <= 0:
            break
        whole_w = np.where(ordered_w > 0, np.maximum(fleet.p50_w[place], 0.0), 0.0)
        if fleet.barred[place] is None and fleet.calls_left[place] > 0 and whole_w.any():
            wanted_w = np.maximum(left_w, 0.0)
            chosen[place] = stepped(wanted_w, whole_w, minimum_w[place], step_w[place])[1]
            left_w = left_w - chosen[place]
    return chosen
