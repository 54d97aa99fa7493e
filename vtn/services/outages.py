"""Times without power, or without a meter that can be believed: of a VEN, of an area, or of everybody.

What a home used then says nothing of what it uses: the days that they touch make no baseline, and an event that they
touch has no result. Results that are not final follow what is entered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, delete, insert, or_, select, update

from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from core.spans import Span
from vtn.services import dispatch
from vtn.services.fleet import named
from vtn.services.site import areas_of
from vtn.store.database import Connection, Transaction
from vtn.store.tables import outage, site

_LONGEST: Final = timedelta(days=366)
_LONGEST_TEXT: Final = 200
_COLUMNS: Final = (
    outage.c.id,
    outage.c.starts_at,
    outage.c.ends_at,
    outage.c.reason,
    outage.c.ven_id,
    outage.c.area,
    outage.c.created_at,
    outage.c.created_by,
)


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage; `ends_at` None: it lasts. Neither `ven_id` nor `area`: everybody's."""

    id: str
    starts_at: datetime
    ends_at: datetime | None
    reason: str
    ven_id: str | None
    area: str | None
    created_at: datetime
    created_by: str


async def listing(conn: Connection, *, before: str | None = None, limit: int = 100) -> list[Outage]:
    """Return outages, the one that was entered last first; `before`: those entered before that one."""
    query = select(*_COLUMNS).order_by(outage.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(outage.c.id < before)
    return [Outage(*row) for row in await conn.execute(query)]


async def get(conn: Connection, outage_id: str) -> Outage:
    """Return an outage. Raises NotFoundError."""
    row = (await conn.execute(select(*_COLUMNS).where(outage.c.id == outage_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"No outage '{outage_id}'.")
    return Outage(*row)


async def add(
    tx: Transaction,
    starts_at: datetime,
    ends_at: datetime | None,
    reason: str,
    now: datetime,
    *,
    who: str,
    ven_id: str | None = None,
    area: str | None = None,
) -> Outage:
    """Enter an outage, past, present or planned. Raises NotFoundError, InvalidError."""
    if ven_id is not None and area is not None:
        raise InvalidError("An outage is of a VEN, of an area, or of everybody.", field="area")
    if ven_id is not None:
        await named(tx.conn, [ven_id])
    if area is not None:
        there = select(site.c.id).where(site.c.area == area).limit(1)
        if (await tx.conn.execute(there)).first() is None:
            raise NotFoundError(f"No VEN stands in an area '{area}'.")
    if not 1 <= len(reason.strip()) <= _LONGEST_TEXT:
        raise InvalidError(f"An outage has a reason of 1 to {_LONGEST_TEXT} characters.", field="reason")
    _check(starts_at, ends_at)
    made = Outage(new_id("out"), starts_at, ends_at, reason.strip(), ven_id, area, now, who)
    await tx.conn.execute(insert(outage).values(**{name: getattr(made, name) for name in made.__slots__}))
    await tx.audit(who, "add outage", made.id, after=made, at=now)
    await dispatch.look_again(tx, now)
    return made


def _check(starts_at: datetime, ends_at: datetime | None) -> None:
    if ends_at is not None and not timedelta() < ends_at - starts_at <= _LONGEST:
        raise InvalidError("An outage ends after its start, and within a year of it.", field="ends_at")


async def end(tx: Transaction, outage_id: str, ends_at: datetime, now: datetime, *, who: str) -> Outage:
    """Say when an outage that lasts came to its end. Raises NotFoundError, ConflictError, InvalidError."""
    old = await get(tx.conn, outage_id)
    if old.ends_at is not None:
        raise ConflictError(f"This outage ended at {old.ends_at.isoformat()}; remove it and enter it anew.")
    _check(old.starts_at, ends_at)
    await tx.conn.execute(update(outage).where(outage.c.id == outage_id).values(ends_at=ends_at))
    await tx.audit(who, "end outage", outage_id, after={"ends_at": ends_at.isoformat()}, at=now)
    await dispatch.look_again(tx, now)
    return await get(tx.conn, outage_id)


async def remove(tx: Transaction, outage_id: str, now: datetime, *, who: str) -> None:
    """Take back an outage that was none. Raises NotFoundError."""
    old = await get(tx.conn, outage_id)
    await tx.conn.execute(delete(outage).where(outage.c.id == outage_id))
    await tx.audit(who, "remove outage", outage_id, old, at=now)
    await dispatch.look_again(tx, now)


async def of_each(conn: Connection, ven_ids: Sequence[str], within: Span) -> dict[str, tuple[Span, ...]]:
    """Return venID -> its outages that share time with `within`, oldest first; VENs without any are left out."""
    shares = [or_(outage.c.ends_at.is_(None), outage.c.ends_at > within.start)]
    if within.end is not None:
        shares.append(outage.c.starts_at < within.end)
    query = select(outage.c.ven_id, outage.c.area, outage.c.starts_at, outage.c.ends_at).where(and_(*shares))
    rows = (await conn.execute(query.order_by(outage.c.starts_at, outage.c.id))).all()
    areas = await areas_of(conn, ven_ids) if any(row.area is not None for row in rows) else {}
    spans = {ven_id: tuple(_spans(rows, ven_id, areas.get(ven_id))) for ven_id in ven_ids}
    return {ven_id: some for ven_id, some in spans.items() if some}


def _spans(rows: Sequence[Any], ven_id: str, area: str | None) -> list[Span]:
    everybody = (None, None)
    mine = {everybody, (ven_id, None), (None, area)}
    return [Span(row.starts_at, row.ends_at) for row in rows if (row.ven_id, row.area) in mine]
