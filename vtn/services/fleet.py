"""The fleet as people look at it: a filtered listing, groups, and what is done to many VENs at once.

Every change is one audit row. Presence is world time; the validity of certificates is machine time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    type_coerce,
    update,
)

from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from openadr.model.registration import Mode
from vtn.services import programme, report
from vtn.store.database import Connection, Transaction
from vtn.store.rows import upsert
from vtn.store.tables import UtcDateTime, group, group_member, site, ven, ven_certificate, waiting_certificate

MOST_NAMED: Final = 1000
"""VENs that one bulk action may name."""
OFFLINE_AFTER: Final = 10
"""A VEN that was silent for so many times the span after which it is stale counts as offline."""
_LONGEST_NAME: Final = 80


class Presence(StrEnum):
    """Whether a VEN is heard of. STALE: it was silent for several polls; OFFLINE: for long, or it never spoke.

    A VEN in push mode may be silent: while it is registered it is online, or UNREACHABLE if it takes no messages.
    """

    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Group:
    """A group of VENs and how many it has; removed VENs are in none."""

    id: str
    name: str
    members: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which VENs to list; None: whichever. `text` is in the name or venID.

    `certificate_before` (machine time): whose last valid certificate ends before then.
    """

    text: str | None = None
    group_id: str | None = None
    area: str | None = None
    presence: Presence | None = None
    registered: bool | None = None
    certificate_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class FleetRow:
    """A VEN in the listing. `certificate_until` (machine time): the end of its last certificate that is not revoked."""

    ven_id: str
    name: str
    area: str | None
    groups: tuple[str, ...]
    presence: Presence
    last_seen_at: datetime | None
    registered: bool
    registered_at: datetime | None
    certificate_until: datetime | None

    @property
    def online(self) -> bool:
        """Whether it polls, or takes what is pushed to it."""
        return self.presence is Presence.ONLINE

    @property
    def stale(self) -> bool:
        """Whether it was silent for several polls."""
        return self.presence is Presence.STALE


@dataclass(frozen=True, slots=True)
class Counts:
    """How many VENs there are of each kind; `waiting` certificates belong to none of them."""

    online: int
    offline: int
    stale: int
    registered: int
    waiting: int
    unreachable: int = 0

    @property
    def total(self) -> int:
        """All VENs."""
        return self.online + self.offline + self.stale + self.unreachable


# -- the listing


_PUSHED: Final = (ven.c.mode == Mode.PUSH) & ven.c.registration_id.is_not(None) & ven.c.last_seen_at.is_not(None)
"""In push mode, and heard of since: one of 2.0a is registered by the operator, and may never have been there."""
_ALWAYS: Final = datetime(9999, 1, 1, tzinfo=UTC)


def heard_at() -> ColumnElement[Any]:
    """Return the expression of when a VEN was heard of, for whoever asks whether it was silent for too long.

    Silence of a VEN in push mode says nothing: it is heard of for ever, or, if it is unreachable, never was.
    """
    at = case(
        (ven.c.unreachable_at.is_not(None), null()),
        (_PUSHED, literal(_ALWAYS, UtcDateTime())),
        else_=ven.c.last_seen_at,
    )
    return type_coerce(at, UtcDateTime()).label("heard_at")


def _presence(now: datetime, stale_after_s: float) -> ColumnElement[Any]:
    online_since = now - timedelta(seconds=stale_after_s)
    stale_since = now - timedelta(seconds=stale_after_s * OFFLINE_AFTER)
    return case(
        (ven.c.unreachable_at.is_not(None), literal(Presence.UNREACHABLE.value)),
        (_PUSHED, literal(Presence.ONLINE.value)),
        (ven.c.last_seen_at.is_(None), literal(Presence.OFFLINE.value)),
        (ven.c.last_seen_at >= online_since, literal(Presence.ONLINE.value)),
        (ven.c.last_seen_at >= stale_since, literal(Presence.STALE.value)),
        else_=literal(Presence.OFFLINE.value),
    )


_UNTIL: Final = (
    select(func.max(ven_certificate.c.not_after))
    .where((ven_certificate.c.ven_id == ven.c.id) & ven_certificate.c.revoked_at.is_(None))
    .correlate(ven)
    .scalar_subquery()
)
_WITHOUT_END: Final = (
    select(ven_certificate.c.fingerprint)
    .where(
        (ven_certificate.c.ven_id == ven.c.id)
        & ven_certificate.c.revoked_at.is_(None)
        & ven_certificate.c.not_after.is_(None)
    )
    .correlate(ven)
    .exists()
)
"""Of a certificate that was accepted by its fingerprint alone nobody knows the end."""


def _matching(wanted: Filter, now: datetime, stale_after_s: float) -> ColumnElement[bool]:
    parts: list[ColumnElement[bool]] = [ven.c.removed_at.is_(None)]
    if wanted.text:
        parts.append(or_(*(column.icontains(wanted.text, autoescape=True) for column in (ven.c.name, ven.c.id))))
    if wanted.group_id is not None:
        mine = select(group_member.c.ven_id).where(group_member.c.group_id == wanted.group_id)
        parts.append(ven.c.id.in_(mine))
    if wanted.area is not None:
        parts.append(site.c.area == wanted.area)
    if wanted.presence is not None:
        parts.append(_presence(now, stale_after_s) == wanted.presence.value)
    if wanted.registered is not None:
        parts.append(ven.c.registered_at.is_not(None) if wanted.registered else ven.c.registered_at.is_(None))
    if wanted.certificate_before is not None:
        parts += [wanted.certificate_before > _UNTIL, ~_WITHOUT_END]
    return and_(*parts)


def _listing(wanted: Filter, now: datetime, stale_after_s: float) -> Select[Any]:
    presence = _presence(now, stale_after_s).label("presence")
    columns = (ven.c.id, ven.c.name, ven.c.last_seen_at, ven.c.registered_at, site.c.area)
    return (
        select(*columns, presence, _UNTIL.label("until"))
        .select_from(ven.outerjoin(site, site.c.id == ven.c.site_id))
        .where(_matching(wanted, now, stale_after_s))
    )


async def listing(
    conn: Connection,
    wanted: Filter,
    now: datetime,
    stale_after_s: float,
    *,
    after: str | None = None,
    limit: int = 100,
) -> list[FleetRow]:
    """Return VENs by name, up to `limit`; `after` is the name of the last one of the page before."""
    query = _listing(wanted, now, stale_after_s).order_by(ven.c.name).limit(limit)
    if after is not None:
        query = query.where(ven.c.name > after)
    rows = (await conn.execute(query)).all()
    groups = await _groups_of(conn, [row.id for row in rows])
    return [_row(row, groups) for row in rows]


async def one(conn: Connection, ven_id: str, now: datetime, stale_after_s: float) -> FleetRow:
    """Return one VEN as the listing shows it. Raises NotFoundError, also for a removed one."""
    query = _listing(Filter(), now, stale_after_s).where(ven.c.id == ven_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    return _row(row, await _groups_of(conn, [ven_id]))


async def count(conn: Connection, wanted: Filter, now: datetime, stale_after_s: float) -> int:
    """Return how many VENs a filter lets through."""
    rows = _listing(wanted, now, stale_after_s).subquery()
    return int((await conn.execute(select(func.count()).select_from(rows))).scalar_one())


async def counts(conn: Connection, now: datetime, stale_after_s: float) -> Counts:
    """Return the overview of the fleet."""
    presence = _presence(now, stale_after_s).label("presence")
    query = (
        select(presence, func.count().label("vens"), func.count(ven.c.registered_at).label("registered"))
        .where(ven.c.removed_at.is_(None))
        .group_by(presence)
    )
    rows = {Presence(row.presence): row for row in await conn.execute(query)}
    waiting = (await conn.execute(select(func.count()).select_from(waiting_certificate))).scalar_one()
    number = {which: int(rows[which].vens) if which in rows else 0 for which in Presence}
    registered = sum(int(row.registered) for row in rows.values())
    return Counts(
        number[Presence.ONLINE],
        number[Presence.OFFLINE],
        number[Presence.STALE],
        registered,
        int(waiting),
        number[Presence.UNREACHABLE],
    )


async def _groups_of(conn: Connection, ven_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    query = (
        select(group_member.c.ven_id, group.c.name)
        .join(group, group.c.id == group_member.c.group_id)
        .where(group_member.c.ven_id.in_(ven_ids))
        .order_by(group.c.name)
    )
    found: dict[str, tuple[str, ...]] = {}
    for row in await conn.execute(query):
        found[row.ven_id] = (*found.get(row.ven_id, ()), row.name)
    return found


def _row(row: Any, groups: dict[str, tuple[str, ...]]) -> FleetRow:
    return FleetRow(
        ven_id=row.id,
        name=row.name,
        area=row.area,
        groups=groups.get(row.id, ()),
        presence=Presence(row.presence),
        last_seen_at=row.last_seen_at,
        registered=row.registered_at is not None,
        registered_at=row.registered_at,
        certificate_until=row.until,
    )


# -- groups


async def groups(conn: Connection) -> list[Group]:
    """Return all groups by name."""
    members = func.count(ven.c.id).label("members")
    query = (
        select(group.c.id, group.c.name, members)
        .select_from(
            group.outerjoin(group_member, group_member.c.group_id == group.c.id).outerjoin(
                ven, (ven.c.id == group_member.c.ven_id) & ven.c.removed_at.is_(None)
            )
        )
        .group_by(group.c.id, group.c.name)
        .order_by(group.c.name)
    )
    return [Group(row.id, row.name, int(row.members)) for row in await conn.execute(query)]


async def get_group(conn: Connection, group_id: str) -> Group:
    """Return a group. Raises NotFoundError."""
    found = next((one for one in await groups(conn) if one.id == group_id), None)
    if found is None:
        raise NotFoundError(f"No group '{group_id}'.")
    return found


async def create_group(tx: Transaction, name: str, now: datetime, *, who: str) -> Group:
    """Create a group. Raises InvalidError for a bad name, ConflictError for one that is taken."""
    made = Group(new_id("grp"), await _free_name(tx.conn, name), 0)
    await tx.conn.execute(insert(group).values(id=made.id, name=made.name))
    await tx.audit(who, "create group", made.id, after={"name": made.name}, at=now)
    return made


async def rename_group(tx: Transaction, group_id: str, name: str, now: datetime, *, who: str) -> Group:
    """Give a group another name. Raises NotFoundError, InvalidError, ConflictError."""
    old = await get_group(tx.conn, group_id)
    new = await _free_name(tx.conn, name, but=group_id)
    if new != old.name:
        await tx.conn.execute(update(group).where(group.c.id == group_id).values(name=new))
        await tx.audit(who, "rename group", group_id, {"name": old.name}, {"name": new}, at=now)
    return Group(group_id, new, old.members)


async def delete_group(tx: Transaction, group_id: str, now: datetime, *, who: str) -> None:
    """Delete a group; its VENs stay. Raises NotFoundError, ConflictError for the control group of a programme."""
    old = await get_group(tx.conn, group_id)
    if names := await programme.controlled_by(tx.conn, group_id):
        text = f"This is, or was, the control group of {', '.join(names[:5])}, and results rest on it; it stays."
        raise ConflictError(text)
    members = await members_of(tx.conn, group_id)
    await tx.conn.execute(delete(group_member).where(group_member.c.group_id == group_id))
    await tx.conn.execute(delete(group).where(group.c.id == group_id))
    await tx.audit(who, "delete group", group_id, {"name": old.name, "ven_ids": members}, at=now)


async def members_of(conn: Connection, group_id: str) -> list[str]:
    """Return the venIDs of a group."""
    query = (
        select(group_member.c.ven_id)
        .join(ven, ven.c.id == group_member.c.ven_id)
        .where((group_member.c.group_id == group_id) & ven.c.removed_at.is_(None))
        .order_by(group_member.c.ven_id)
    )
    return list((await conn.execute(query)).scalars())


async def _free_name(conn: Connection, name: str, *, but: str = "") -> str:
    name = name.strip()
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise InvalidError(f"A group's name has 1 to {_LONGEST_NAME} printable characters.")
    taken = select(group.c.id).where((group.c.name == name) & (group.c.id != but))
    if (await conn.execute(taken)).first() is not None:
        raise ConflictError(f"There is a group named '{name}' already.")
    return name


# -- what is done to many VENs at once


async def add_to_group(tx: Transaction, group_id: str, ven_ids: Iterable[str], now: datetime, *, who: str) -> int:
    """Put VENs into a group; return how many were not in it yet. Raises NotFoundError, InvalidError."""
    await get_group(tx.conn, group_id)
    ids = await named(tx.conn, ven_ids)
    there = await _members_among(tx.conn, group_id, ids)
    new = [ven_id for ven_id in ids if ven_id not in there]
    if new:
        rows = [{"group_id": group_id, "ven_id": ven_id} for ven_id in new]
        await upsert(tx.conn, group_member, rows, keys=("group_id", "ven_id"), update=())
        await tx.audit(who, "add to group", group_id, after={"ven_ids": new}, at=now)
    return len(new)


async def remove_from_group(tx: Transaction, group_id: str, ven_ids: Iterable[str], now: datetime, *, who: str) -> int:
    """Take VENs out of a group; return how many were in it. Raises NotFoundError, InvalidError."""
    await get_group(tx.conn, group_id)
    gone = sorted(await _members_among(tx.conn, group_id, await named(tx.conn, ven_ids)))
    if gone:
        mine = (group_member.c.group_id == group_id) & group_member.c.ven_id.in_(gone)
        await tx.conn.execute(delete(group_member).where(mine))
        await tx.audit(who, "remove from group", group_id, {"ven_ids": gone}, at=now)
    return len(gone)


async def request_report(
    tx: Transaction, ven_ids: Iterable[str], name: str, now: datetime, *, who: str
) -> dict[str, str | None]:
    """Ask VENs for one report of that name; return venID -> reportRequestID, None where it is not on offer.

    Each request is an audit row of its own. Raises NotFoundError, InvalidError.
    """
    ids = await named(tx.conn, ven_ids)
    return {ven_id: await report.request_now(tx, ven_id, name, now, who=who) for ven_id in ids}


async def named(conn: Connection, ven_ids: Iterable[str]) -> list[str]:
    """Return the VENs without repetition. Raises InvalidError for too many, NotFoundError for one that is not there."""
    ids = list(dict.fromkeys(ven_ids))
    if len(ids) > MOST_NAMED:
        raise InvalidError(f"{len(ids)} VENs are named; {MOST_NAMED} can be at once.")
    rows = await conn.execute(select(ven.c.id).where(ven.c.id.in_(ids) & ven.c.removed_at.is_(None)))
    missing = set(ids) - set(rows.scalars())
    if missing:
        raise NotFoundError(f"No such VEN: {', '.join(sorted(missing)[:5])}.")
    return ids


async def _members_among(conn: Connection, group_id: str, ven_ids: Sequence[str]) -> set[str]:
    mine = (group_member.c.group_id == group_id) & group_member.c.ven_id.in_(ven_ids)
    return set((await conn.execute(select(group_member.c.ven_id).where(mine))).scalars())
