"""Live figures of an activation: for people and BRPs who watch it. Estimates by telemetry, never for money."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import select

from aggregator.flexibility.fleet import Floats
from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.tables import intervention
from aggregator.trade import activations, members, telemetry
from aggregator.trade.activations import Activation, ActivationStatus
from aggregator.trade.members import Called, Member
from aggregator.trade.telemetry import Estimate
from openadr.model.opt import OptType
from vtn.store.database import Connection
from vtn.store.tables import ven


@dataclass(frozen=True, slots=True)
class LiveInterval:
    """One ordered interval; `delivered_w` is the mean so far over the VENs that are known, None: nothing known."""

    start: datetime
    duration_s: int
    ordered_w: int
    delivered_w: int | None


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """An activation at a moment.

    `ordered_w` is what the BRP has ordered for now, `called_w` what the VENs that take part are ordered together;
    `delivered_w` an estimate (`aggregator.trade.telemetry`) from the newest five measured minutes, None: nothing known.
    `coverage`: part of those VENs whose delivery is known, 0 to 1. The counts are of VENs; `called` includes those
    released, `silent` those that stay away.
    """

    activation_id: str
    at: datetime
    status: ActivationStatus
    ordered_w: int
    called_w: int
    delivered_w: int | None
    coverage: float
    called: int
    opted_in: int
    opted_out: int
    no_answer: int
    silent: int
    released: int
    intervals: tuple[LiveInterval, ...]


@dataclass(frozen=True, slots=True)
class LiveVen:
    """One called VEN; `latency_s` from the order to its first answer, world time. None: not known."""

    ven_id: str
    event_id: str
    opt: OptType | None
    silent: bool
    released_at: datetime | None
    latency_s: float | None
    ordered_w: int
    delivered_w: int | None


@dataclass(frozen=True, slots=True)
class Intervention:
    """What the loop, or a person, did to one VEN of a running activation."""

    at: datetime
    ven_id: str
    ven_name: str
    action: str
    reason: str
    power_w: int | None


async def live(
    conn: Connection,
    activation_id: str,
    now: datetime,
    *,
    stale_after_s: float,
    party_id: str | None = None,
) -> LiveFigures:
    """Return the figures of an activation (of a party) now. Raises NotFoundError."""
    one = await activations.get(conn, activation_id, party_id)
    called, known = await _read(conn, one, now)
    return _figures(one, called, known, now, stale_after_s)


async def vens(conn: Connection, activation_id: str, now: datetime, *, stale_after_s: float) -> list[LiveVen]:
    """Return every VEN that was called, in the order of the calls: for the console, never for BRPs."""
    one = await activations.get(conn, activation_id)
    called, known = await _read(conn, one, now)
    if called is None:
        return []
    step = called.grid.running(now)
    return [
        LiveVen(
            it.ven_id,
            it.event_id,
            it.opt,
            it.stays and it.silent(now, stale_after_s, answers=called.answers),
            it.cancelled_at,
            (it.answered_at - it.queued_at).total_seconds() if it.answered_at else None,
            round(it.power_w(step)) if it.cancelled_at is None else 0,
            _whole(known.latest(it.ven_id, called.grid.start)[0]),
        )
        for it in called.members
    ]


async def interventions(conn: Connection, activation_id: str, *, limit: int = 200) -> list[Intervention]:
    """Return what was done to single VENs, newest first."""
    query = select(intervention, ven.c.name).join(ven, ven.c.id == intervention.c.ven_id)
    query = query.where(intervention.c.activation_id == activation_id)
    rows = await conn.execute(query.order_by(intervention.c.id.desc()).limit(limit))
    return [Intervention(row.at, row.ven_id, row.name, row.action, row.reason, row.power_w) for row in rows]


async def _read(conn: Connection, activation: Activation, now: datetime) -> tuple[Called | None, Estimate]:
    if activation.dispatch_id is None:
        return None, Estimate(activation.grid, {})
    called = await members.read(conn, activation.dispatch_id)
    if now < called.grid.start:
        return called, Estimate(called.grid, {})
    ven_ids = [it.ven_id for it in called.members]
    return called, await telemetry.estimate(conn, ven_ids, called.grid, called.dispatch_id, called.direction, now)


def _figures(
    activation: Activation, called: Called | None, estimate: Estimate, now: datetime, stale_after_s: float
) -> LiveFigures:
    everybody = called.members if called else ()
    staying = [it for it in everybody if it.stays]
    step = called.grid.running(now) if called else -1
    latest = [estimate.latest(it.ven_id, estimate.grid.start)[0] for it in staying]
    heard = [one_w for one_w in latest if np.isfinite(one_w)]
    answers = called.answers if called else True
    ordered = next((it.power_w for it in activation.intervals if it.start <= now < it.end), 0)
    status = activation.status(now)
    return LiveFigures(
        activation_id=activation.id,
        at=now,
        status=status,
        ordered_w=ordered if status is ActivationStatus.ACTIVE else 0,
        called_w=round(sum(it.power_w(step) for it in staying)),
        delivered_w=round(sum(heard)) if heard else None,
        coverage=round(len(heard) / len(staying), 4) if staying else 0.0,
        called=len(everybody),
        opted_in=sum(it.opt is OptType.IN for it in everybody),
        opted_out=sum(it.opt is OptType.OUT for it in everybody),
        no_answer=sum(it.opt is None for it in everybody) if answers else 0,
        silent=sum(it.silent(now, stale_after_s, answers=answers) for it in staying),
        released=sum(it.cancelled_at is not None for it in everybody),
        intervals=_intervals(activation.intervals, called, estimate),
    )


def delivered_w(called: Called, estimate: Estimate) -> Floats:
    """Return what is known of the VENs' delivery in each step (T): summed over those that had an order; NaN: none."""
    total = np.full(called.grid.count, np.nan)
    for it in called.members:
        if it.opt is OptType.OUT or it.ven_id not in estimate.minutes:
            continue
        gain = estimate.by_step(it.ven_id)
        counts = ordered_steps(it, called.grid) & np.isfinite(gain)
        total[counts] = np.nan_to_num(total[counts]) + gain[counts]
    return total


def ordered_steps(it: Member, grid: Grid) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return in which steps (T) a VEN had an order: until it was released."""
    until = grid.count if it.cancelled_at is None else max(grid.running(it.cancelled_at), 0)
    steps: np.ndarray[tuple[int], np.dtype[np.bool_]] = (it.ordered_w > 0) & (np.arange(grid.count) < until)
    return steps


def _intervals(ordered: Sequence[PowerInterval], called: Called | None, estimate: Estimate) -> tuple[LiveInterval, ...]:
    if called is None:
        return tuple(LiveInterval(it.start, it.duration_s, it.power_w, None) for it in ordered)
    grid, power_w = called.grid, delivered_w(called, estimate)
    step = timedelta(seconds=grid.step_s)
    rows = []
    for it in ordered:
        part = power_w[max((it.start - grid.start) // step, 0) : max((it.end - grid.start) // step, 0)]
        part = part[np.isfinite(part)]
        rows.append(LiveInterval(it.start, it.duration_s, it.power_w, round(float(part.mean())) if part.size else None))
    return tuple(rows)


def _whole(value: float) -> int | None:
    return round(float(value)) if np.isfinite(value) else None
