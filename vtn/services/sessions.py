"""Sessions of the console, and one-time links that start one. Everything here is machine time.

A session is a random token in a cookie; the store keeps its hash, who it belongs to, and a secret for forms. It ends
after two hours without a request, after twelve hours in any case, at sign-out, and with its principal.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, insert, select, update

from core.errors import ForbiddenError
from vtn.services.principals import named
from vtn.store.database import Connection, Transaction
from vtn.store.tables import console_device, console_session, login_link, principal
from web.auth import Principal, Role, hash_token

ROLES: Final = (Role.VIEWER, Role.DISPATCHER, Role.ADMIN)
"""Who has a console; BRPs and households use their APIs."""
IDLE: Final = timedelta(hours=2)
LONGEST: Final = timedelta(hours=12)
LINK_LIFETIME: Final = timedelta(minutes=10)
DEVICE_LIFETIME: Final = timedelta(days=180)
_MOST_DEVICES: Final = 20
_TOUCH_AFTER: Final = timedelta(minutes=1)
_HANDLE_CHARS: Final = 16


@dataclass(frozen=True, slots=True)
class Session:
    """A session that works. `csrf` is in every form; `handle` names the session without being a key to it."""

    token_hash: str
    principal: Principal
    csrf: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime

    @property
    def handle(self) -> str:
        """Return the name by which people see it."""
        return self.token_hash[:_HANDLE_CHARS]

    def is_stale(self, now: datetime) -> bool:
        """Tell whether the time of the last request should be written again."""
        return now - self.seen_at >= _TOUCH_AFTER


async def begin(tx: Transaction, who: Principal, now: datetime, world_now: datetime, *, how: str) -> str:
    """Start a session and return its token; sessions that have ended are cleared away on the way."""
    token = secrets.token_urlsafe(32)
    over = (console_session.c.expires_at <= now) | (console_session.c.seen_at <= now - IDLE)
    await tx.conn.execute(delete(console_session).where(over))
    await tx.conn.execute(delete(login_link).where(login_link.c.expires_at <= now - LINK_LIFETIME))
    await tx.conn.execute(
        insert(console_session).values(
            token_hash=hash_token(token),
            principal_id=who.id,
            csrf=secrets.token_urlsafe(32),
            created_at=now,
            seen_at=now,
            expires_at=now + LONGEST,
        )
    )
    await tx.audit(who.name, "sign in", who.name, after={"how": how}, at=world_now)
    return token


async def find(conn: Connection, token: str, now: datetime) -> Session | None:
    """Return the session of a cookie, or None if it is unknown or over, or its principal may not sign in any more."""
    found = await _working(conn, now, token_hash=hash_token(token))
    return found[0] if found else None


async def working(conn: Connection, now: datetime, *, principal_id: str | None = None) -> list[Session]:
    """Return the sessions that work, the latest first; of one principal, or all."""
    return await _working(conn, now, principal_id=principal_id)


async def _working(conn: Connection, now: datetime, **where: str | None) -> list[Session]:
    query = (
        select(console_session, principal.c.name, principal.c.role, principal.c.party_id)
        .join(principal, principal.c.id == console_session.c.principal_id)
        .where((console_session.c.expires_at > now) & (console_session.c.seen_at > now - IDLE))
        .where(principal.c.revoked_at.is_(None) & principal.c.role.in_(ROLES))
        .where(principal.c.expires_at.is_(None) | (principal.c.expires_at > now))
        .order_by(console_session.c.seen_at.desc())
    )
    for name, value in where.items():
        if value is not None:
            query = query.where(console_session.c[name] == value)
    return [
        Session(
            row.token_hash,
            Principal(row.principal_id, row.name, Role(row.role), row.party_id),
            row.csrf,
            row.created_at,
            row.seen_at,
            row.expires_at,
        )
        for row in await conn.execute(query)
    ]


async def touch(tx: Transaction, session: Session, now: datetime) -> None:
    """Note that a session is in use."""
    mine = console_session.c.token_hash == session.token_hash
    await tx.conn.execute(update(console_session).where(mine).values(seen_at=now))


async def end(tx: Transaction, session: Session, world_now: datetime, *, who: str) -> None:
    """End a session; a second time changes nothing."""
    gone = await tx.conn.execute(delete(console_session).where(console_session.c.token_hash == session.token_hash))
    if gone.rowcount:
        await tx.audit(who, "sign out", session.principal.name, at=world_now)


async def end_others(tx: Transaction, principal_id: str, keep: Session | None) -> None:
    """End the sessions of a principal, but for one: its password or role has changed."""
    where = console_session.c.principal_id == principal_id
    if keep is not None:
        where &= console_session.c.token_hash != keep.token_hash
    await tx.conn.execute(delete(console_session).where(where))


# -- browsers that signed in before


async def remember_device(tx: Transaction, who: Principal, now: datetime, old: str | None) -> str:
    """Return a fresh token by which a browser is known again when its owner signs in; the old one ends."""
    token = secrets.token_urlsafe(32)
    mine = console_device.c.principal_id == who.id
    if old:
        await tx.conn.execute(delete(console_device).where(mine & (console_device.c.token_hash == hash_token(old))))
    newest = select(console_device.c.token_hash).where(mine).order_by(console_device.c.seen_at.desc())
    kept = newest.limit(_MOST_DEVICES - 1).scalar_subquery()
    await tx.conn.execute(delete(console_device).where(mine & console_device.c.token_hash.not_in(kept)))
    row = {"token_hash": hash_token(token), "principal_id": who.id, "seen_at": now}
    await tx.conn.execute(insert(console_device).values(row))
    return token


async def is_known_device(conn: Connection, token: str, name: str, now: datetime) -> bool:
    """Tell whether somebody of this name signed in with that browser before. It opens nothing by itself."""
    query = (
        select(console_device.c.token_hash)
        .join(principal, principal.c.id == console_device.c.principal_id)
        .where((console_device.c.token_hash == hash_token(token)) & (principal.c.name == name))
        .where(console_device.c.seen_at > now - DEVICE_LIFETIME)
    )
    return (await conn.execute(query)).first() is not None


# -- signing in


async def by_name(conn: Connection, name: str, now: datetime) -> tuple[Principal | None, str | None]:
    """Return who may sign in under a name, and the stored password."""
    row = (await conn.execute(select(principal).where(principal.c.name == name))).one_or_none()
    if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None, None
    if row.role not in ROLES:
        return None, None
    return Principal(row.id, row.name, Role(row.role), row.party_id), row.password


async def with_password(conn: Connection) -> set[str]:
    """Return the ids of the principals that have a password."""
    return set((await conn.execute(select(principal.c.id).where(principal.c.password.is_not(None)))).scalars())


async def set_password(tx: Transaction, name: str, stored: str | None, world_now: datetime, *, who: str) -> None:
    """Give an operator a password (as `passwords.hash_password` returns it), or take it away. Raises NotFoundError."""
    one = await named(tx.conn, name)
    _check_role(one.role, name)
    before = (await tx.conn.execute(select(principal.c.password).where(principal.c.id == one.id))).scalar_one()
    await tx.conn.execute(update(principal).where(principal.c.id == one.id).values(password=stored))
    states = [{"password": value is not None} for value in (before, stored)]
    await tx.audit(who, "set password", name, *states, at=world_now)


async def new_link(tx: Transaction, name: str, now: datetime, world_now: datetime, *, who: str) -> str:
    """Return the token of a link that signs an operator in, once, within ten minutes.

    Raises NotFoundError for an unknown name, ForbiddenError for one that cannot sign in.
    """
    one = await named(tx.conn, name)
    _check_role(one.role, name)
    if one.revoked_at is not None or (one.expires_at is not None and one.expires_at <= now):
        raise ForbiddenError(f"'{name}' was revoked or has expired.")
    token = secrets.token_urlsafe(32)
    row = {"token_hash": hash_token(token), "principal_id": one.id}
    await tx.conn.execute(insert(login_link).values(**row, created_at=now, expires_at=now + LINK_LIFETIME))
    await tx.audit(who, "sign-in link", name, at=world_now)
    return token


async def link_owner(conn: Connection, token: str, now: datetime) -> Principal | None:
    """Return whom a link would sign in, or None if it is unknown, used or over. Looking does not use it up."""
    query = (
        select(principal)
        .join(login_link, login_link.c.principal_id == principal.c.id)
        .where((login_link.c.token_hash == hash_token(token)) & login_link.c.used_at.is_(None))
        .where((login_link.c.expires_at > now) & principal.c.revoked_at.is_(None) & principal.c.role.in_(ROLES))
        .where(principal.c.expires_at.is_(None) | (principal.c.expires_at > now))
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else Principal(row.id, row.name, Role(row.role), row.party_id)


async def use_link(tx: Transaction, token: str, now: datetime) -> Principal:
    """Use a link up and return whom it signs in. Raises ForbiddenError if it does not work (any more)."""
    owner = await link_owner(tx.conn, token, now)
    unused = (login_link.c.token_hash == hash_token(token)) & login_link.c.used_at.is_(None)
    used = await tx.conn.execute(update(login_link).where(unused).values(used_at=now))
    if owner is None or not used.rowcount:
        raise ForbiddenError("This sign-in link is unknown, used or older than ten minutes; ask for a new one.")
    return owner


def _check_role(role: str, name: str) -> None:
    if role not in ROLES:
        raise ForbiddenError(f"'{name}' is a {role}; only operators sign in to the console.")
