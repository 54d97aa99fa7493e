"""Whose delivery it is where a home was called by several dispatches at once: it is credited once.

A settlement interval goes to the first of the dispatches that the home took part in and whose event touches it, whole:

1. those that order a power go before those that do not (a mere signal),
2. then by priority: 1 before 2 and so on, those without (or with 0) last,
3. then the one that was ordered earlier, and of two at the same time the one with the lower id.

Mere prices take nothing. An event that was cancelled while it ran takes what lies before; one that the home left takes
the intervals that were over by then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select

from core.spans import Span, floor_to
from openadr.model.event import Event, ResponseRequired
from openadr.model.opt import OptType
from vtn.services import event_days, opt
from vtn.services.ordered_energy import LEAST_RUN
from vtn.store.database import Connection
from vtn.store.rows import from_json, in_parts
from vtn.store.tables import dispatch, event

_Rank = tuple[bool, bool, int, datetime, str]
_COLUMNS = (dispatch.c.id, dispatch.c.event, dispatch.c.direction, dispatch.c.created_at)


@dataclass(frozen=True, slots=True)
class Claim:
    """Another dispatch goes before the one looked at, in all intervals that its `span` touches."""

    dispatch_id: str
    span: Span


async def of_each(
    conn: Connection, dispatch_id: str, ven_ids: Sequence[str], within: Span, step_s: int
) -> dict[str, tuple[Claim, ...]]:
    """Return venID -> what goes before its event of a dispatch, the first first; VENs without any are left out."""
    events = await _events(conn, ven_ids, within)
    others = {row.dispatch_id for row in events} - {dispatch_id}
    orders = {row.id: row for row in await _orders(conn, [dispatch_id, *sorted(others)]) if event_days.calls(row)}
    ranks = {one: _rank(row) for one, row in orders.items()}
    own = ranks.get(dispatch_id)
    before = {one for one in others if own is not None and one in ranks and ranks[one] < own}
    took_part = {one: await _took_part(conn, orders[one]) for one in sorted(before)}
    claims: dict[str, list[Claim]] = {}
    for row in sorted((row for row in events if row.dispatch_id in before), key=lambda row: ranks[row.dispatch_id]):
        if row.ven_id not in took_part[row.dispatch_id]:
            continue
        left_at = took_part[row.dispatch_id][row.ven_id]
        until = None if left_at is None else floor_to(left_at, step_s)
        end = min((one for one in (row.ends_at, row.cancelled_at, until) if one is not None), default=None)
        ran = end is None or end - row.starts_at >= LEAST_RUN
        if ran and (end is None or max(row.starts_at, within.start) < end):
            claims.setdefault(row.ven_id, []).append(Claim(row.dispatch_id, Span(row.starts_at, end)))
    return {ven_id: tuple(some) for ven_id, some in claims.items()}


async def _took_part(conn: Connection, order: Any) -> dict[str, datetime | None]:
    """Return venID -> when it left a dispatch (None: it stayed), of those that took part in it."""
    shared = from_json(Event, order.event)
    silence = OptType.IN if shared.response_required is ResponseRequired.NEVER else None
    opts = await opt.effective(conn, order.id)
    stayed: dict[str, datetime | None] = dict.fromkeys(
        ven_id for ven_id, (said, _) in opts.items() if (said or silence) is OptType.IN
    )
    return stayed | await opt.left(conn, order.id, shared)


async def _events(conn: Connection, ven_ids: Sequence[str], within: Span) -> list[Any]:
    shares = or_(dispatch.c.ends_at.is_(None), dispatch.c.ends_at > within.start)
    if within.end is not None:
        shares &= dispatch.c.starts_at < within.end
    columns = (event.c.ven_id, event.c.dispatch_id, event.c.cancelled_at, dispatch.c.starts_at, dispatch.c.ends_at)
    query = select(*columns).join(dispatch, event.c.dispatch_id == dispatch.c.id).where(shares)
    rows: list[Any] = []
    for some in in_parts(ven_ids):
        rows += await conn.execute(query.where(event.c.ven_id.in_(some)))
    return rows


async def _orders(conn: Connection, dispatch_ids: Sequence[str]) -> list[Any]:
    rows: list[Any] = []
    for some in in_parts(dispatch_ids):
        rows += await conn.execute(select(*_COLUMNS).where(dispatch.c.id.in_(some)))
    return rows


def _rank(row: Any) -> _Rank:
    """Return where a dispatch stands in the order of precedence, the first lowest."""
    priority = from_json(Event, row.event).priority or 0
    return row.direction is None, priority == 0, priority, row.created_at, row.id
