"""What a household hears of its own events: when it was called, what it answered and what it brought."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.flexibility.reliability import newest_results
from openadr.model.opt import OptType, effective_opt
from vtn.services import opt
from vtn.store.tables import dispatch, evaluation, event

_TRUE: Final = (1, "true")
"""What SQLite and PostgreSQL make of a true value in JSON."""


@dataclass(frozen=True, slots=True)
class HouseholdEvent:
    """One event of one VEN. Energies in Wh, positive = as ordered; None: not evaluated, or not known.

    `cancelled_at` also tells when the VEN was released. `version`: of the evaluation that the figures are from.
    """

    ven_id: str
    event_id: str
    dispatch_id: str
    programme_id: str
    direction: str | None
    starts_at: datetime
    ends_at: datetime | None
    cancelled_at: datetime | None
    opt: OptType | None
    ordered_wh: float | None
    delivered_wh: float | None
    performance_ratio: float | None
    version: int | None


async def household_events(
    conn: AsyncConnection, ven_ids: Sequence[str], *, before: str | None = None, limit: int = 20
) -> list[HouseholdEvent]:
    """Return the events of some VENs with their results, newest first, at most `limit` before the event id `before`."""
    last = select(func.max(evaluation.c.version)).where(evaluation.c.dispatch_id == dispatch.c.id).scalar_subquery()
    query = (
        select(
            event.c.id,
            event.c.ven_id,
            event.c.dispatch_id,
            event.c.cancelled_at,
            dispatch.c.programme_id,
            dispatch.c.direction,
            dispatch.c.starts_at,
            dispatch.c.ends_at,
            last.label("version"),
        )
        .join(dispatch, dispatch.c.id == event.c.dispatch_id)
        .where(event.c.ven_id.in_(ven_ids))
        .order_by(event.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(event.c.id < before)
    rows = (await conn.execute(query)).all()
    results: dict[str, _Brought] = {}
    for ven_id in {row.ven_id for row in rows}:
        results |= await _results(conn, ven_id, [row.dispatch_id for row in rows if row.ven_id == ven_id])
    return [await _event(conn, row, results.get(row.id)) for row in rows]


@dataclass(frozen=True, slots=True)
class _Brought:
    ordered_wh: float
    delivered_wh: float | None
    performance_ratio: float | None


async def _results(conn: AsyncConnection, ven_id: str, dispatch_ids: Sequence[str]) -> dict[str, _Brought]:
    """Return eventID -> what a VEN brought, from the newest evaluations."""
    names = ("event_id", "counts", "ordered_wh", "delivered_wh", "performance_ratio")
    found = await conn.execute(newest_results(conn.dialect.name, dispatch_ids, names, only=ven_id))
    return {
        row.event_id: _Brought(
            float(row.ordered_wh),
            float(row.delivered_wh) if row.counts in _TRUE else None,
            None if row.performance_ratio is None else float(row.performance_ratio),
        )
        for row in found
    }


async def _event(conn: AsyncConnection, row: Any, result: _Brought | None) -> HouseholdEvent:
    whole = [fact for fact in await opt.facts(conn, row.id) if fact.resource is None]
    return HouseholdEvent(
        row.ven_id,
        row.id,
        row.dispatch_id,
        row.programme_id,
        row.direction,
        row.starts_at,
        row.ends_at,
        row.cancelled_at,
        effective_opt(whole),
        result.ordered_wh if result else None,
        result.delivered_wh if result else None,
        result.performance_ratio if result else None,
        row.version if result else None,
    )
