"""When VENs were called by other dispatches: what they used then was not their own choice.

Mere prices are no calls: a household with a tariff has one every day, and lives by it on the days that a baseline is
made of as well.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, or_, select

from core.spans import Span
from openadr.model.event import Event
from vtn.store.database import Connection
from vtn.store.rows import from_json, in_parts
from vtn.store.tables import dispatch, event

_PRICES: Final = frozenset({"ELECTRICITY_PRICE", "ENERGY_PRICE", "DEMAND_CHARGE"})


async def others(
    conn: Connection, ven_ids: Sequence[str], dispatch_id: str | None, within: Span
) -> dict[str, tuple[Span, ...]]:
    """Return venID -> spans of its events that share time with `within`, oldest first; those of one dispatch left out.

    An event that was cancelled while it ran lasts until then; one that was cancelled before it began is left out, and
    so are VENs without any.
    """
    shares: ColumnElement[bool] = or_(dispatch.c.ends_at.is_(None), dispatch.c.ends_at > within.start)
    if dispatch_id is not None:
        shares &= dispatch.c.id != dispatch_id
    if within.end is not None:
        shares &= dispatch.c.starts_at < within.end
    columns = (event.c.ven_id, event.c.cancelled_at, dispatch.c.id, dispatch.c.starts_at, dispatch.c.ends_at)
    query = select(*columns).join(dispatch, event.c.dispatch_id == dispatch.c.id).where(shares)
    rows: list[Any] = []
    for some in in_parts(ven_ids):
        rows += await conn.execute(query.where(event.c.ven_id.in_(some)))
    calls = await _calls(conn, sorted({row.id for row in rows}))
    found: dict[str, list[Span]] = {}
    for row in rows:
        end = min((one for one in (row.ends_at, row.cancelled_at) if one is not None), default=None)
        if row.id in calls and (end is None or max(row.starts_at, within.start) < end):
            found.setdefault(row.ven_id, []).append(Span(row.starts_at, end))
    return {ven_id: tuple(sorted(spans, key=lambda row: row.start)) for ven_id, spans in found.items()}


async def _calls(conn: Connection, dispatch_ids: Sequence[str]) -> set[str]:
    """Return those dispatches that ask for more than to know a price."""
    found = set()
    for some in in_parts(dispatch_ids):
        for row in await conn.execute(select(dispatch.c.id, dispatch.c.event).where(dispatch.c.id.in_(some))):
            if calls(row):
                found.add(row.id)
    return found


def calls(row: Any) -> bool:
    """Tell whether the dispatch of a row asks for more than to know a price."""
    return any(signal.name not in _PRICES for signal in from_json(Event, row.event).signals)
