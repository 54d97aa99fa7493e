"""Principals: who may use the REST APIs, by token. Only the token's hash is stored."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import ConflictError, NotFoundError
from core.ids import new_id
from vtn.store.database import Database, Transaction
from vtn.store.tables import principal
from vtn.web.auth import Principal, Role, hash_token, new_token


@dataclass(frozen=True, slots=True)
class Listed:
    """A principal as an operator sees it."""

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
    tx: Transaction, name: str, role: Role, now: datetime, *, who: str, lifetime: timedelta | None = None
) -> str:
    """Create a principal and return its token, which is shown this once. Raises ConflictError for a taken name."""
    if (await tx.conn.execute(select(principal.c.id).where(principal.c.name == name))).first() is not None:
        raise ConflictError(f"A principal named '{name}' exists already; revoke it or choose another name.")
    token = new_token()
    await tx.conn.execute(
        insert(principal).values(
            id=new_id("prn"),
            name=name,
            role=role,
            token_hash=hash_token(token),
            created_at=now,
            expires_at=None if lifetime is None else datetime.now(UTC) + lifetime,
        )
    )
    await tx.audit(who, "create principal", name, after={"role": role}, at=now)
    return token


async def revoke(tx: Transaction, name: str, now: datetime, *, who: str) -> None:
    """Make a principal's token worthless. Raises NotFoundError."""
    found = await tx.conn.execute(
        update(principal).where((principal.c.name == name) & principal.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    if not found.rowcount:
        raise NotFoundError(f"No principal named '{name}'.")
    await tx.audit(who, "revoke principal", name, at=now)


async def everyone(conn: AsyncConnection) -> list[Listed]:
    """Return all principals, oldest first."""
    rows = await conn.execute(select(principal).order_by(principal.c.id))
    return [Listed(row.name, row.role, row.created_at, row.expires_at, row.revoked_at) for row in rows]
