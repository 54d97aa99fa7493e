"""Balance responsible parties, and the programs that act for them (`vtn.services.api_clients`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import insert, select

from aggregator.scopes import SCOPES
from core.errors import InvalidError, NotFoundError
from core.ids import new_id
from vtn.services import api_clients
from vtn.services.api_clients import Client
from vtn.store.database import Connection, Transaction
from vtn.store.tables import party, party_personal

_KIND: Final = "brp"


@dataclass(frozen=True, slots=True)
class Brp:
    """A balance responsible party."""

    id: str
    name: str
    email: str | None
    created_at: datetime


async def create(tx: Transaction, name: str, now: datetime, *, who: str, email: str | None = None) -> str:
    """Create a party of kind `brp` and return its id."""
    if not name.strip():
        raise InvalidError("A BRP needs a name.")
    party_id = new_id("pty")
    await tx.conn.execute(insert(party).values(id=party_id, kind=_KIND, created_at=now))
    await tx.conn.execute(insert(party_personal).values(party_id=party_id, name=name.strip(), email=email))
    await tx.audit(who, "create brp", party_id, at=now)
    return party_id


async def create_client(
    tx: Transaction,
    brp_id: str,
    name: str,
    scopes: Sequence[str],
    now: datetime,
    *,
    who: str,
    certificate: str | None = None,
) -> tuple[Client, str]:
    """Create a program of a BRP; return it and its secret, which is shown this once. `now` is machine time.

    Raises NotFoundError for an unknown BRP, and as `api_clients.create`.
    """
    await check(tx.conn, brp_id)
    return await api_clients.create(tx, brp_id, name, scopes, now, who=who, offered=SCOPES, certificate=certificate)


async def check(conn: Connection, brp_id: str) -> None:
    """Raise NotFoundError unless there is such a BRP."""
    query = select(party.c.kind).where(party.c.id == brp_id)
    if (await conn.execute(query)).scalar_one_or_none() != _KIND:
        raise NotFoundError(f"No BRP '{brp_id}'.")


async def listed(conn: Connection) -> list[Brp]:
    """Return all BRPs, oldest first."""
    query = (
        select(party.c.id, party_personal.c.name, party_personal.c.email, party.c.created_at)
        .join(party_personal, party_personal.c.party_id == party.c.id, isouter=True)
        .where(party.c.kind == _KIND)
        .order_by(party.c.id)
    )
    return [Brp(row.id, row.name or "(erased)", row.email, row.created_at) for row in await conn.execute(query)]


async def name_of(conn: Connection, brp_id: str) -> str:
    """Return what a BRP is called; nothing if it was erased."""
    query = select(party_personal.c.name).where(party_personal.c.party_id == brp_id)
    return (await conn.execute(query)).scalar_one_or_none() or ""
