"""Programs of other parties: OAuth2 clients with a secret, scopes, and perhaps a certificate that tokens are bound to.

A secret is 256 random bits, shown once; only its SHA-256 is stored (a slow hash protects what can be guessed). All
times are machine time.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update

from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from vtn.store.database import Connection, Transaction
from vtn.store.tables import api_client

LONGEST_NAME: Final = 80
_LONGEST_PEM: Final = 20_000


@dataclass(frozen=True, slots=True)
class Client:
    """One program of a party. `certificate` is the x5t#S256 (RFC 8705) of the certificate that it has to show."""

    id: str
    party_id: str
    name: str
    scopes: tuple[str, ...]
    certificate: str | None
    created_at: datetime
    revoked_at: datetime | None


def new_secret() -> str:
    """Return a fresh secret: `evs_` (so that secret scanners know it) and 256 random bits as text."""
    return f"evs_{secrets.token_urlsafe(32)}"


def hash_secret(secret: str) -> str:
    """Return what is stored of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def thumbprint(der: bytes) -> str:
    """Return the x5t#S256 of a certificate in DER (RFC 8705, 3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def thumbprint_of_pem(pem: str) -> str:
    """Return the x5t#S256 of a certificate in PEM. Raises InvalidError for any other text."""
    from certs.keys import read_certificate  # noqa: PLC0415  10 MB that a server needs only when a certificate is named

    if len(pem) > _LONGEST_PEM:
        raise InvalidError("The certificate is too long.")
    return thumbprint(read_certificate(pem).der)


async def create(
    tx: Transaction,
    party_id: str,
    name: str,
    scopes: Sequence[str],
    now: datetime,
    *,
    who: str,
    offered: Collection[str],
    certificate: str | None = None,
) -> tuple[Client, str]:
    """Create a client of a party that is there; return it and its secret, which is shown this once.

    `offered`: the scopes that there are. Raises InvalidError for unknown scopes or a name that cannot be printed.
    """
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and name.strip() == name):
        raise InvalidError(f"A client's name has 1 to {LONGEST_NAME} printable characters, no blanks at its ends.")
    if not scopes or (unknown := set(scopes).difference(offered)):
        raise InvalidError(f"No scope {', '.join(sorted(unknown))}." if scopes else "A client needs a scope.")
    chosen = tuple(scope for scope in offered if scope in scopes)
    new = Client(new_id("cli"), party_id, name, chosen, certificate, now, None)
    secret = new_secret()
    await tx.conn.execute(
        insert(api_client).values(
            id=new.id,
            party_id=party_id,
            name=name,
            secret_hash=hash_secret(secret),
            scopes=list(chosen),
            certificate=certificate,
            created_at=now,
        )
    )
    after = {"party_id": party_id, "name": name, "scopes": list(chosen), "certificate": certificate}
    await tx.audit(who, "create brp client", new.id, after=after, at=now)
    return new, secret


async def rotate(tx: Transaction, client_id: str, now: datetime, *, who: str) -> str:
    """Give a client a new secret and return it, this once; the old one is worthless at once.

    Tokens made with the old one live on until they expire. Raises NotFoundError, ConflictError for a revoked client.
    """
    old = await get(tx.conn, client_id, lock=True)
    if old.revoked_at is not None:
        raise ConflictError("This client is revoked; create another one.")
    secret = new_secret()
    await tx.conn.execute(
        update(api_client).where(api_client.c.id == client_id).values(secret_hash=hash_secret(secret))
    )
    await tx.audit(who, "rotate brp secret", client_id, at=now)
    return secret


async def revoke(tx: Transaction, client_id: str, now: datetime, *, who: str) -> None:
    """Make a client's secret and tokens worthless; a second time changes nothing. Raises NotFoundError."""
    old = await get(tx.conn, client_id, lock=True)
    if old.revoked_at is not None:
        return
    await tx.conn.execute(update(api_client).where(api_client.c.id == client_id).values(revoked_at=now))
    await tx.audit(who, "revoke brp client", client_id, at=now)


async def get(conn: Connection, client_id: str, *, lock: bool = False) -> Client:
    """Return a client, locked if so wished. Raises NotFoundError."""
    query = select(api_client).where(api_client.c.id == client_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No client '{client_id}'.")
    return _client(row)


async def listed(conn: Connection, party_id: str) -> list[Client]:
    """Return the clients of a party, oldest first, revoked ones too."""
    query = select(api_client).where(api_client.c.party_id == party_id).order_by(api_client.c.id)
    return [_client(row) for row in await conn.execute(query)]


async def authenticate(conn: Connection, client_id: str, secret: str) -> Client | None:
    """Return the working client that has this id and secret, or None: the caller never hears which of them is wrong."""
    row = (await conn.execute(select(api_client).where(api_client.c.id == client_id))).one_or_none()
    stored = hash_secret("") if row is None else row.secret_hash
    matches = hmac.compare_digest(hash_secret(secret), stored)
    return _client(row) if matches and row is not None and row.revoked_at is None else None


def _client(row: Any) -> Client:
    return Client(row.id, row.party_id, row.name, tuple(row.scopes), row.certificate, row.created_at, row.revoked_at)
