"""Where VENs stand: sites with their time zone, and the grid area or feeder that they belong to."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update

from core.errors import InvalidError, NotFoundError
from core.ids import new_id
from metrics.days import zone_named
from vtn.services.fleet import named
from vtn.store.database import Connection, Transaction
from vtn.store.rows import in_parts
from vtn.store.tables import party, site, ven

LEAST_W = 1_000
MOST_W = 2_000_000_000
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Site:
    """Where a VEN stands. `area` is the grid area or feeder, as the operator names it.

    `connection_w` is what fuses or contract let through; None: not known.
    """

    id: str
    time_zone: str
    area: str | None
    metering_point: str | None
    connection_w: int | None = None


async def areas(conn: Connection) -> dict[str, int]:
    """Return area -> how many VENs stand in it."""
    query = (
        select(site.c.area, func.count().label("vens"))
        .join(ven, ven.c.site_id == site.c.id)
        .where(ven.c.removed_at.is_(None) & site.c.area.is_not(None))
        .group_by(site.c.area)
        .order_by(site.c.area)
    )
    return {row.area: int(row.vens) for row in await conn.execute(query)}


async def areas_of(conn: Connection, ven_ids: Iterable[str]) -> dict[str, str | None]:
    """Return venID -> the area in which it stands, of those that have a site; one statement for 1,000 VENs."""
    where: dict[str, str | None] = {}
    query = select(ven.c.id, site.c.area).join(site, site.c.id == ven.c.site_id)
    for some in in_parts(ven_ids):
        where |= {row.id: row.area for row in await conn.execute(query.where(ven.c.id.in_(some)))}
    return where


async def site_of(conn: Connection, ven_id: str) -> Site | None:
    """Return the site of a VEN, or None if nobody has said where it stands. Raises NotFoundError."""
    query = (
        select(ven.c.site_id, site.c.time_zone, site.c.area, site.c.metering_point, site.c.connection_w)
        .select_from(ven.outerjoin(site, site.c.id == ven.c.site_id))
        .where((ven.c.id == ven_id) & ven.c.removed_at.is_(None))
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    return Site(*row) if row.site_id is not None else None


async def set_site(
    tx: Transaction,
    ven_id: str,
    *,
    time_zone: str,
    area: str | None,
    metering_point: str | None,
    now: datetime,
    who: str,
) -> Site:
    """Say where a VEN stands. Raises NotFoundError, InvalidError."""
    zone_named(time_zone)
    old = await site_of(tx.conn, ven_id)
    area = _area(area)
    if old is None:
        site_id = await _settle(tx, ven_id, time_zone, area, metering_point)
    else:
        site_id = old.id
        values = {"time_zone": time_zone, "area": area, "metering_point": metering_point}
        await tx.conn.execute(update(site).where(site.c.id == site_id).values(**values))
    made = Site(site_id, time_zone, area, metering_point, None if old is None else old.connection_w)
    if made != old:
        await tx.audit(who, "set site", ven_id, old, made, at=now)
    return made


async def set_connection(
    tx: Transaction, ven_id: str, connection_w: int | None, now: datetime, *, time_zone: str, who: str
) -> None:
    """Say what a VEN's connection can carry, W (None: not known). A VEN without a site gets one in `time_zone`.

    Raises NotFoundError, InvalidError.
    """
    if connection_w is not None and not LEAST_W <= connection_w <= MOST_W:
        raise InvalidError(f"A connection carries {LEAST_W} to {MOST_W} W.")
    old = await site_of(tx.conn, ven_id)
    before = None if old is None else old.connection_w
    if connection_w == before:
        return
    site_id = await _settle(tx, ven_id, time_zone, None, None) if old is None else old.id
    await tx.conn.execute(update(site).where(site.c.id == site_id).values(connection_w=connection_w))
    await tx.audit(who, "set connection", ven_id, before, connection_w, at=now)


async def set_area(
    tx: Transaction, ven_ids: Iterable[str], area: str | None, now: datetime, *, time_zone: str, who: str
) -> int:
    """Say in which area VENs stand (None: not known); return how many changed.

    A VEN without a site gets one in `time_zone`. Raises NotFoundError, InvalidError.
    """
    ids = await named(tx.conn, ven_ids)
    area = _area(area)
    query = (
        select(ven.c.id, ven.c.site_id, site.c.area)
        .select_from(ven.outerjoin(site, site.c.id == ven.c.site_id))
        .where(ven.c.id.in_(ids))
    )
    before = {row.id: row for row in await tx.conn.execute(query)}
    changed = [ven_id for ven_id in ids if before[ven_id].area != area]
    placed = [before[ven_id].site_id for ven_id in changed if before[ven_id].site_id is not None]
    await tx.conn.execute(update(site).where(site.c.id.in_(placed)).values(area=area))
    for ven_id in changed:
        if before[ven_id].site_id is None:
            await _settle(tx, ven_id, time_zone, area, None)
    if changed:
        old = {ven_id: before[ven_id].area for ven_id in changed}
        await tx.audit(who, "set area", area or "none", old, {"ven_ids": changed, "area": area}, at=now)
    return len(changed)


async def _settle(tx: Transaction, ven_id: str, time_zone: str, area: str | None, metering_point: str | None) -> str:
    site_id = new_id("sit")
    row = {"id": site_id, "time_zone": time_zone, "area": area, "metering_point": metering_point}
    await tx.conn.execute(insert(site).values(**row))
    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(site_id=site_id))
    return site_id


async def household_of(tx: Transaction, ven_id: str, *, time_zone: str, now: datetime, who: str) -> str:
    """Return the party that lives at a VEN's site: all VENs of a site belong to the same household.

    Who has none yet gets one, and a site in `time_zone` where that is missing, too. Raises NotFoundError.
    """
    place = await site_of(tx.conn, ven_id)
    site_id = place.id if place is not None else await _settle(tx, ven_id, time_zone, None, None)
    query = select(site.c.party_id).where(site.c.id == site_id).with_for_update()
    party_id = (await tx.conn.execute(query)).scalar_one()
    if party_id is None:
        party_id = new_id("pty")
        await tx.conn.execute(insert(party).values(id=party_id, kind="person", created_at=now))
        await tx.conn.execute(update(site).where(site.c.id == site_id).values(party_id=party_id))
        await tx.audit(who, "create household", party_id, after={"ven_id": ven_id, "site_id": site_id}, at=now)
    return str(party_id)


def _area(text: str | None) -> str | None:
    area = text.strip() if text else None
    if area and (len(area) > _LONGEST_NAME or not area.isprintable()):
        raise InvalidError(f"An area's name has 1 to {_LONGEST_NAME} printable characters.")
    return area or None
