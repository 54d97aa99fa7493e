"""Whom an order of the operator goes to: VENs by id or name, groups, or everybody in a programme."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select

from core.errors import InvalidError, NotFoundError
from vtn.services import fleet, programme
from vtn.store.database import Connection
from vtn.store.rows import in_parts
from vtn.store.tables import site, ven


@dataclass(frozen=True, slots=True)
class Recipient:
    """A VEN that an order goes to."""

    ven_id: str
    name: str
    online: bool


async def of(
    conn: Connection,
    programme_id: str,
    vens: Sequence[str],
    group_ids: Sequence[str],
    now: datetime,
    *,
    stale_after_s: float,
) -> tuple[Recipient, ...]:
    """Return the VENs (ids or names) and those in the groups, or everybody enrolled if neither is named; by name.

    Who is in the programme's control group is among them only where it is named itself.
    `stale_after_s`: how long (world time) an online VEN may have been silent. Raises InvalidError for a VEN that is
    not there, NotFoundError for such a group or programme.
    """
    rules = await programme.get(conn, programme_id)
    control = set(await programme.control_homes(conn, rules.parameters))
    ven_ids = await _named(conn, vens) if vens else set()
    ven_ids |= await members(conn, group_ids) - control
    if not vens and not group_ids:
        ven_ids = set(await programme.enrolled(conn, programme_id, now)) - control
    since = now - timedelta(seconds=stale_after_s)
    query = select(ven.c.id, ven.c.name, fleet.heard_at())
    recipients: list[Recipient] = []
    for some in in_parts(sorted(ven_ids)):
        recipients += [
            Recipient(row.id, row.name, bool(row.heard_at and row.heard_at >= since))
            for row in await conn.execute(query.where(ven.c.id.in_(some) & ven.c.removed_at.is_(None)))
        ]
    return tuple(sorted(recipients, key=lambda recipient: recipient.name))


async def members(conn: Connection, group_ids: Sequence[str], areas: Sequence[str] = ()) -> set[str]:
    """Return the venIDs in any of the groups and areas. Raises NotFoundError for a group or area that is not there."""
    ven_ids: set[str] = set()
    for group_id in group_ids:
        await fleet.get_group(conn, group_id)
        ven_ids |= {*await fleet.members_of(conn, group_id)}
    for area in areas:
        there = select(ven.c.id).join(site, site.c.id == ven.c.site_id)
        present = (site.c.area == area) & ven.c.removed_at.is_(None)
        if not (inside := set((await conn.execute(there.where(present))).scalars())):
            raise NotFoundError(f"No VEN stands in an area '{area[:80]}'.")
        ven_ids |= inside
    return ven_ids


async def _named(conn: Connection, vens: Sequence[str]) -> set[str]:
    named = or_(ven.c.id.in_(vens), ven.c.name.in_(vens)) & ven.c.removed_at.is_(None)
    rows = (await conn.execute(select(ven.c.id, ven.c.name).where(named))).all()
    missing = [word for word in vens if word not in {row.id for row in rows} | {row.name for row in rows}]
    if missing:
        raise InvalidError(f"There is no VEN {', '.join(word[:80] for word in missing[:5])}.", field="vens")
    return {row.id for row in rows}
