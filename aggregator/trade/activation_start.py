"""The call: from what was bought to one event a VEN (docs/explanation/walks.md).

Read a snapshot, select in a thread outside any transaction (seconds of CPU), then commit dispatch, events, selection
and reasons together, after looking again whether what the selection relied on still holds.
"""

import asyncio
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, floor
from typing import Any, Final

import numpy as np
from sqlalchemy import insert, select

from aggregator.flexibility import inputs
from aggregator.flexibility.fleet import Fleet, Floats, Reason
from aggregator.grid import Grid
from aggregator.selection import Ask, Choice
from aggregator.selection import select as choose
from aggregator.tables import selection, selection_reason
from aggregator.topics import Topic
from aggregator.trade import activations, available_flexibility, contracts, members
from aggregator.trade.activations import Activation, ActivationEvent, Outlook
from aggregator.trade.available_flexibility import Scope
from core.ids import new_id
from core.spans import Duration
from vtn.services import dispatch, programme
from vtn.services.dispatch import Order
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import to_json

WORKER: Final = "market"
"""Who did it, in the audit, where nobody asked for just that."""
AGAIN: Final = timedelta(minutes=1)
"""World time after which a running activation is looked at again."""
_WORTH_SAYING: Final = 0.01
"""Part of the ordered power from which a shortfall is worth a message."""


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What a call is about to order: the grid from its first step that has not begun, and who was chosen."""

    activation: Activation
    grid: Grid
    scope: Scope
    fleet: Fleet
    ask: Ask
    choice: Choice
    seed: int
    calls: tuple[int, int]

    @property
    def called(self) -> dict[str, Floats]:
        """VenID -> power ordered (T)."""
        rows = np.flatnonzero(self.choice.power_w.any(axis=1))
        return {self.fleet.ven_ids[row]: self.choice.power_w[row] for row in rows.tolist()}


async def scope_of(conn: Connection, activation: Activation, grid: Grid) -> Scope:
    """Return whose flexibility an activation may call, over a grid."""
    contract = await contracts.get(conn, activation.contract_id)
    rules = await programme.get(conn, contract.programme_id)
    return Scope(rules, activation.direction, grid, activation.terms.area, activation.terms.group_ids)


async def call(db: Database, activation_id: str, now: datetime, *, stale_after_s: float) -> bool:
    """Choose and call VENs for an activation; nothing happens where it has been done, cancelled or changed meanwhile.

    Returns whether anybody was called. Where nobody can be, the reasons are stored and it is tried again each minute.
    """
    async with db.read() as conn:
        one = await activations.get(conn, activation_id)
        if not _waits(one, now):
            return False
        grid = one.grid.since(one.grid.ahead(now))
        scope = await scope_of(conn, one, grid)
        fleet = await available_flexibility.load(conn, scope, now, stale_after_s) if grid.count else None
        calls = await available_flexibility.calls(conn)
    if fleet is None:
        async with db.write() as tx:
            locked = await activations.get(tx.conn, activation_id, lock=True)
            await activations.advance(tx, locked, now, locked.ends_at)
        return False
    seed = zlib.crc32(one.id.encode())
    ask = Ask(grid.power_w(one.intervals))
    choice = await asyncio.to_thread(choose, fleet, ask, seed=seed)
    prepared = _Call(one, grid, scope, fleet, ask, choice, seed, calls)
    async with db.write() as tx:
        return await _commit(tx, prepared, now)


def _waits(activation: Activation, now: datetime) -> bool:
    """Tell whether somebody is still to be called for it."""
    return activation.dispatch_id is None and ActivationEvent.CALL in activations.TRANSITIONS[activation.status(now)]


async def _commit(tx: Transaction, call: _Call, now: datetime) -> bool:
    """Order what was chosen, unless what it relied on has changed; then the next turn chooses again."""
    await available_flexibility.lock(tx, call.scope.programme.id, now)
    one = await activations.get(tx.conn, call.activation.id, lock=True)
    if not _waits(one, now) or one.modification_number != call.activation.modification_number:
        return False
    called = call.called
    if await available_flexibility.calls(tx.conn) != call.calls:
        return False
    outlook = _outlook(call)
    if not called:
        if one.selection_id is None:
            selection_id = await _store(tx, call, None, now)
            await activations.advance(tx, one, now, now + AGAIN, selection_id=selection_id, outlook=to_json(outlook))
            await _warn(tx, one, outlook, now)
        else:
            await activations.advance(tx, one, now, now + AGAIN)
        return False
    dispatch_id = await dispatch.create(tx, _order(call, called), now, who=WORKER)
    selection_id = await _store(tx, call, dispatch_id, now)
    # The events may begin later than the activation: who is called late is called from the next step on.
    due_at = next_due(one, now)
    changes = {"dispatch_id": dispatch_id, "selection_id": selection_id, "outlook": to_json(outlook)}
    await activations.advance(tx, one, now, due_at, **changes)
    told = {"activation_id": one.id, "called": len(called), "dispatch_id": dispatch_id}
    await publish(tx, one.party_id, Topic.ACTIVATION_NOTIFIED, told, now)
    if outlook.short_w > _WORTH_SAYING * call.ask.target_w.max(initial=0.0):
        await _warn(tx, one, outlook, now)
    return True


def _outlook(call: _Call) -> Outlook:
    """Return what a choice promises, in the worst of the steps that ask for something."""
    asks = call.ask.target_w > 0
    expected, short = call.choice.expected_w[asks], call.choice.short_w[asks]
    return Outlook(
        len(call.called), floor(expected.min(initial=np.inf)) if asks.any() else 0, ceil(short.max(initial=0))
    )


async def _warn(tx: Transaction, activation: Activation, outlook: Outlook, now: datetime) -> None:
    """Tell the BRP that less is to be expected than it bought, or nothing, while it can still buy elsewhere."""
    told = {"activation_id": activation.id, "starts_at": activation.starts_at, **to_json(outlook)}
    await publish(tx, activation.party_id, Topic.ACTIVATION_SHORT, told, now)


def next_due(activation: Activation, now: datetime) -> datetime:
    """Return when a called activation is looked at next: each minute, and at its start and end."""
    return min(edge for edge in (now + AGAIN, activation.starts_at, activation.ends_at) if edge > now)


def _order(call: _Call, called: dict[str, Floats]) -> Order:
    one = call.activation
    return Order(
        programme_id=call.scope.programme.id,
        start=call.grid.start,
        duration=Duration.of(seconds=call.grid.count * call.grid.step_s),
        signals=(members.signal(call.grid),),
        ven_ids=tuple(called),
        own_values={ven_id: members.values(power_w, one.direction) for ven_id, power_w in called.items()},
        direction=one.direction,
    )


async def _store(tx: Transaction, call: _Call, dispatch_id: str | None, now: datetime) -> str:
    """Store the selection with its inputs, its figures and one reason for every VEN; return its id."""
    fleet, choice = call.fleet, call.choice
    selection_id = new_id("sel")
    content: dict[str, Any] = {
        "activation_id": call.activation.id,
        "seed": call.seed,
        "target_w": inputs.runs(call.ask.target_w),
        "fleet": await asyncio.to_thread(inputs.to_json, fleet),
        "reserve": [fleet.ven_ids[row] for row in choice.reserve],
        "result": {
            "method": choice.method,
            "expected_w": inputs.runs(choice.expected_w),
            "short_w": inputs.runs(choice.short_w),
            "cost": finite(choice.cost),
            "bound": finite(choice.bound),
            "gap": finite(choice.gap),
            "elapsed_s": finite(choice.elapsed_s),
        },
    }
    await tx.conn.execute(
        insert(selection).values(id=selection_id, dispatch_id=dispatch_id, inputs=content, created_at=now)
    )
    await store_reasons(tx, selection_id, fleet, choice)
    await tx.audit(WORKER, "selection", selection_id, after=to_json(content["result"]), at=now)
    return selection_id


async def store_reasons(tx: Transaction, selection_id: str, fleet: Fleet, choice: Choice) -> None:
    """Store one reason for every VEN, with what it is ordered."""
    powers = zip(fleet.ven_ids, choice.reasons, ordered_w(choice), _whole_w(fleet, choice), strict=True)
    rows = [
        {
            "selection_id": selection_id,
            "ven_id": ven_id,
            "reason": Reason(why).value,
            "power_w": power_w,
            "whole_w": whole_w if whole_w > power_w else None,
        }
        for ven_id, why, power_w, whole_w in powers
    ]
    if rows:
        await tx.conn.execute(insert(selection_reason), rows)


def _whole_w(fleet: Fleet, choice: Choice) -> list[int]:
    """Return what each VEN would be ordered as a whole in the intervals it is called for, as `ordered_w`; else 0."""
    if not choice.power_w.shape[1]:
        return [0] * len(choice.reasons)
    whole_w = np.where(choice.power_w > 0, fleet.p50_w, 0.0).mean(axis=1)
    return [round(power_w) for power_w in whole_w.tolist()]


def ordered_w(choice: Choice) -> list[int]:
    """Return what each VEN is ordered, mean over the window, in whole W: what a page shows, so that it adds up."""
    if not choice.power_w.shape[1]:
        return [0] * len(choice.reasons)
    return [round(power_w) for power_w in choice.power_w.mean(axis=1).tolist()]


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None for what is not finite."""
    return float(value) if np.isfinite(value) else None


# -- read


async def reserve(conn: Connection, selection_id: str) -> list[str]:
    """Return the venIDs that are called next if others fail, first to last."""
    query = select(selection.c.inputs["reserve"]).where(selection.c.id == selection_id)
    return list((await conn.execute(query)).scalar_one_or_none() or ())
