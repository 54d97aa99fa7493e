"""Principals: who may use the REST APIs, by token. Only the token's hash is stored. All times are machine time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, insert, select, update

from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from vtn.store.database import Connection, Database, Transaction
from vtn.store.tables import console_session, login_link, principal
from web.auth import Principal, Role, hash_token, new_token

LONGEST_NAME: Final = 80
LONGEST_DAYS: Final = 36_500


@dataclass(frozen=True, slots=True)
class Listed:
    """A principal as an operator sees it."""

    id: str
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class StoredPrincipals:
    """Tokens as the store keeps them, for the REST shell."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def by_token_hash(self, token_hash: str) -> Principal | None:
        """Return whose token has that hash, or None if it is unknown, revoked or expired (machine time)."""
        query = select(principal).where((principal.c.token_hash == token_hash) & principal.c.revoked_at.is_(None))
        async with self._db.read() as conn:
            row = (await conn.execute(query)).one_or_none()
        if row is None or (row.expires_at is not None and row.expires_at <= datetime.now(UTC)):
            return None
        return Principal(row.id, row.name, Role(row.role), row.party_id, row.expires_at)


async def create(
    tx: Transaction,
    name: str,
    role: Role,
    now: datetime,
    *,
    who: str,
    lifetime: timedelta | None = None,
    party_id: str | None = None,
) -> str:
    """Create a principal and return its token, which is shown this once; `party_id` bounds what a household sees.

    The name of a revoked or expired principal may be used again: it gets the new role and token. Raises ConflictError
    for the name of a working one, InvalidError for a name that cannot be printed.
    """
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and name.strip() == name):
        raise InvalidError(f"A principal's name has 1 to {LONGEST_NAME} printable characters, no blanks at its ends.")
    if lifetime is not None and not timedelta() < lifetime <= timedelta(days=LONGEST_DAYS):
        raise InvalidError(f"A token works for 1 to {LONGEST_DAYS} days, or until it is revoked.")
    token = new_token()
    values: dict[str, Any] = {
        "name": name,
        "role": role,
        "token_hash": hash_token(token),
        "password": None,
        "created_at": now,
        "expires_at": None if lifetime is None else datetime.now(UTC) + lifetime,
        "revoked_at": None,
        "party_id": party_id,
    }
    old = (await tx.conn.execute(select(principal).where(principal.c.name == name).with_for_update())).one_or_none()
    if old is None:
        await tx.conn.execute(insert(principal).values(id=new_id("prn"), **values))
    elif old.revoked_at is None and (old.expires_at is None or old.expires_at > datetime.now(UTC)):
        raise ConflictError(f"A principal named '{name}' exists already; revoke it or choose another name.")
    else:
        await _sign_out(tx, old.id)
        await tx.conn.execute(update(principal).where(principal.c.id == old.id).values(**values))
    before = None if old is None else {"role": old.role}
    await tx.audit(who, "create principal", name, before, {"role": role}, at=now)
    return token


async def revoke(tx: Transaction, name: str, now: datetime, *, who: str) -> None:
    """Make a principal's token worthless; a second time changes nothing. Raises NotFoundError."""
    one = await named(tx.conn, name)
    if one.revoked_at is not None:
        return
    await _sign_out(tx, one.id)
    await tx.conn.execute(update(principal).where(principal.c.id == one.id).values(revoked_at=now))
    await tx.audit(who, "revoke principal", name, at=now)


async def _sign_out(tx: Transaction, principal_id: str) -> None:
    """End what lets a principal into the console, so that nobody who gets the name later inherits it."""
    for table in (console_session, login_link):
        await tx.conn.execute(delete(table).where(table.c.principal_id == principal_id))


async def everyone(conn: Connection) -> list[Listed]:
    """Return all principals, oldest first."""
    return [_listed(row) for row in await conn.execute(select(principal).order_by(principal.c.id))]


async def named(conn: Connection, name: str) -> Listed:
    """Return a principal by its name. Raises NotFoundError."""
    return await _one(conn, principal.c.name == name, name)


async def identified(conn: Connection, principal_id: str) -> Listed:
    """Return a principal by its id. Raises NotFoundError."""
    return await _one(conn, principal.c.id == principal_id, principal_id)


async def _one(conn: Connection, where: ColumnElement[bool], what: str) -> Listed:
    row = (await conn.execute(select(principal).where(where))).one_or_none()
    if row is None:
        raise NotFoundError(f"No principal '{what}'.")
    return _listed(row)


def _listed(row: Any) -> Listed:
    return Listed(row.id, row.name, row.role, row.created_at, row.expires_at, row.revoked_at)
