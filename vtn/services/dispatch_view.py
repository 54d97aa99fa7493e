"""The VENs of one dispatch: what each was sent, when, and what it answered."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select

from core.errors import NotFoundError
from openadr.model.event import Event
from openadr.model.opt import OptType
from vtn.services import event as events
from vtn.services import opt
from vtn.store.database import Connection
from vtn.store.rows import portions
from vtn.store.tables import delivery, ven
from vtn.store.tables import event as event_table


@dataclass(frozen=True, slots=True)
class CalledVen:
    """A VEN's event, the opt that counts (None: no answer), and its times; None: it has not come to that.

    `queued_at`, `sent_at`, `answered_at`: of the present modification. `first_queued_at`, `first_answered_at`: of any.
    `cancelled_at`: when this event was cancelled, alone or with its dispatch.
    """

    ven_id: str
    name: str
    event: Event
    opt: OptType | None
    reason: str | None
    queued_at: datetime | None
    sent_at: datetime | None
    answered_at: datetime | None
    first_queued_at: datetime | None
    first_answered_at: datetime | None
    last_seen_at: datetime | None
    cancelled_at: datetime | None


async def vens(conn: Connection, dispatch_id: str) -> list[CalledVen]:
    """Return every VEN that a dispatch called, by venID, whatever became of its event."""
    own = await events.of_dispatch(conn, dispatch_id)
    opts = await opt.effective(conn, dispatch_id)
    about = {row.id: row async for rows in portions(conn, _about(dispatch_id)) for row in rows}
    first = {row.event_id: row async for rows in portions(conn, _first(dispatch_id)) for row in rows}
    present = {row.event_id: row async for rows in portions(conn, _present(dispatch_id)) for row in rows}
    return await asyncio.to_thread(_assembled, own, opts, about, first, present)


def _assembled(
    own: Sequence[tuple[str, Event]],
    opts: Mapping[str, tuple[OptType | None, str | None]],
    about: Mapping[str, Any],
    first: Mapping[str, Any],
    present: Mapping[str, Any],
) -> list[CalledVen]:
    rows = []
    for ven_id, event in own:
        answer, reason = opts.get(ven_id, (None, None))
        row, earliest, newest = about[ven_id], first.get(event.event_id), present.get(event.event_id)
        rows.append(
            CalledVen(
                ven_id=ven_id,
                name=row.name,
                event=event,
                opt=answer,
                reason=reason,
                queued_at=newest.queued_at if newest else None,
                sent_at=newest.first_sent_at if newest else None,
                answered_at=newest.answered_at if newest else None,
                first_queued_at=earliest.queued_at if earliest else None,
                first_answered_at=earliest.answered_at if earliest else None,
                last_seen_at=row.last_seen_at,
                cancelled_at=row.cancelled_at,
            )
        )
    return rows


def _about(dispatch_id: str) -> Select[Any]:
    return (
        select(ven.c.id, ven.c.name, ven.c.last_seen_at, event_table.c.cancelled_at)
        .join(event_table, event_table.c.ven_id == ven.c.id)
        .where(event_table.c.dispatch_id == dispatch_id)
    )


def _first(dispatch_id: str) -> Select[Any]:
    """Return the query of when each event was first queued and answered."""
    return (
        select(
            delivery.c.event_id,
            func.min(delivery.c.queued_at).label("queued_at"),
            func.min(delivery.c.answered_at).label("answered_at"),
        )
        .join(event_table, event_table.c.id == delivery.c.event_id)
        .where(event_table.c.dispatch_id == dispatch_id)
        .group_by(delivery.c.event_id)
    )


def _present(dispatch_id: str) -> Select[Any]:
    """Return the query of when the present modification of each event was queued, sent and answered."""
    here = (event_table.c.dispatch_id == dispatch_id) & (
        delivery.c.modification_number == event_table.c.modification_number
    )
    return select(delivery).join(event_table, event_table.c.id == delivery.c.event_id).where(here)


async def dispatch_of(conn: Connection, event_id: str) -> str:
    """Return the dispatch of an event. Raises NotFoundError."""
    query = select(event_table.c.dispatch_id).where(event_table.c.id == event_id)
    dispatch_id: str | None = (await conn.execute(query)).scalar_one_or_none()
    if dispatch_id is None:
        raise NotFoundError(f"No event '{event_id}'.")
    return dispatch_id
