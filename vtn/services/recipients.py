"""Whom an order of the operator goes to: VENs by id or name, groups, or everybody in a programme."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select

from core.errors import InvalidError
from vtn.services import fleet, programme
from vtn.store.database import Connection
from vtn.store.rows import in_parts
from vtn.store.tables import group_member, ven


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

    `stale_after_s`: how long (world time) an online VEN may have been silent. Raises InvalidError for a VEN that is
    not there, NotFoundError for such a group.
    """
    ven_ids = await _named(conn, vens) if vens else set()
    for group_id in group_ids:
        await fleet.get_group(conn, group_id)
    if group_ids:
        members = select(group_member.c.ven_id).where(group_member.c.group_id.in_(group_ids))
        ven_ids |= set((await conn.execute(members)).scalars())
    if not vens and not group_ids:
        ven_ids = set(await programme.enrolled(conn, programme_id, now))
    since = now - timedelta(seconds=stale_after_s)
    query = select(ven.c.id, ven.c.name, fleet.heard_at())
    recipients: list[Recipient] = []
    for some in in_parts(sorted(ven_ids)):
        recipients += [
            Recipient(row.id, row.name, bool(row.heard_at and row.heard_at >= since))
            for row in await conn.execute(query.where(ven.c.id.in_(some) & ven.c.removed_at.is_(None)))
        ]
    return tuple(sorted(recipients, key=lambda recipient: recipient.name))


async def _named(conn: Connection, vens: Sequence[str]) -> set[str]:
    named = or_(ven.c.id.in_(vens), ven.c.name.in_(vens)) & ven.c.removed_at.is_(None)
    rows = (await conn.execute(select(ven.c.id, ven.c.name).where(named))).all()
    missing = [word for word in vens if word not in {row.id for row in rows} | {row.name for row in rows}]
    if missing:
        raise InvalidError(f"There is no VEN {', '.join(word[:80] for word in missing[:5])}.", field="vens")
    return {row.id for row in rows}
