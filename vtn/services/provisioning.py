"""How a gateway gets its identity: a VEN is created with a one-time code, the code buys a certificate.

The key is made on the gateway and never leaves it. Codes and certificates live in machine time.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from certs.authority import Authority
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from core.ids import new_code, new_id
from vtn.services import outbox
from vtn.store.database import Connection, Transaction
from vtn.store.rows import upsert
from vtn.store.tables import enrolment, enrolment_code, ven, ven_certificate, waiting_certificate

if TYPE_CHECKING:
    from certs.keys import Facts

CODE_LIFETIME = timedelta(days=14)
_LONGEST_NAME = 120
_MOST_SUCCESSORS = 5
"""An answer may be lost now and then; more would only fill the register."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a redeemed code buys."""

    ven_id: str
    ven_name: str
    certificate_pem: str
    fingerprint: str


async def create_ven(tx: Transaction, name: str, now: datetime, *, who: str, strict: bool = False) -> str:
    """Create a VEN that may enrol, and return its venID. Raises ConflictError if the name is taken."""
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidError(f"A VEN's name has 1 to {_LONGEST_NAME} printable characters.")
    if (await tx.conn.execute(select(ven.c.id).where(ven.c.name == name))).first() is not None:
        raise ConflictError(f"A VEN named '{name}' exists already.")
    ven_id = new_id("ven")
    await tx.conn.execute(insert(ven).values(id=ven_id, name=name, strict=strict, created_at=now))
    await tx.audit(who, "create VEN", ven_id, after={"name": name}, at=now)
    tx.changed(ven_id)
    return ven_id


async def new_enrolment_code(tx: Transaction, ven_id: str, now: datetime, *, who: str) -> str:
    """Return a fresh one-time code for a VEN; codes given out before stop working."""
    if (await tx.conn.execute(select(ven.c.id).where(ven.c.id == ven_id))).first() is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    code = new_code()
    utc_now = datetime.now(UTC)
    await tx.conn.execute(delete(enrolment_code).where(enrolment_code.c.ven_id == ven_id))
    await tx.conn.execute(
        insert(enrolment_code).values(
            code_hash=_hash(code), ven_id=ven_id, created_at=utc_now, expires_at=utc_now + CODE_LIFETIME
        )
    )
    await tx.audit(who, "enrolment code", ven_id, at=now)
    return code


async def redeem(tx: Transaction, code: str, csr_pem: str, authority: Authority, now: datetime) -> Enrolled:
    """Turn a code and a signing request into a certificate.

    The same request may be repeated, in case the answer was lost. Raises ForbiddenError for a code that is unknown,
    expired or used by another request; InvalidError for a bad signing request.
    """
    query = (
        select(enrolment_code, ven.c.name)
        .join(ven, ven.c.id == enrolment_code.c.ven_id)
        .where(enrolment_code.c.code_hash == _hash(code.strip().upper()))
        .with_for_update()
    )
    row = (await tx.conn.execute(query)).one_or_none()
    request_hash = hashlib.sha256(csr_pem.strip().encode()).hexdigest()
    utc_now = datetime.now(UTC)
    if row is None or row.expires_at <= utc_now or row.request_hash not in (None, request_hash):
        raise ForbiddenError("This enrolment code is unknown, expired or used; ask your operator for a new one.")
    pem = (await asyncio.to_thread(authority.sign_request, csr_pem, row.ven_id)).chain_pem
    await tx.conn.execute(
        update(enrolment_code)
        .where(enrolment_code.c.code_hash == row.code_hash)
        .values(used_at=utc_now, request_hash=request_hash)
    )
    added = await add_certificate(tx, row.ven_id, pem, now, who=row.ven_id)
    return Enrolled(row.ven_id, row.name, pem, added)


async def renew(tx: Transaction, presented: str, csr_pem: str, authority: Authority, now: datetime) -> Enrolled:
    """Issue the successor of a certificate that its owner has just proven to have; both are valid meanwhile.

    Raises ForbiddenError for a certificate that speaks for no VEN (any more), ConflictError if it comes before half of
    its life or too often, InvalidError for a bad signing request.
    """
    mine = (ven_certificate.c.fingerprint == presented) & ven_certificate.c.revoked_at.is_(None)
    query = select(ven_certificate, ven.c.name).join(ven, ven.c.id == ven_certificate.c.ven_id)
    row = (await tx.conn.execute(query.where(mine & ven.c.removed_at.is_(None)).with_for_update())).one_or_none()
    utc_now = datetime.now(UTC)
    if row is None or (row.not_after is not None and row.not_after <= utc_now):
        raise ForbiddenError("This certificate speaks for no VEN, or has ended; ask your operator for a code.")
    if row.not_after is not None and row.not_before is not None:
        half = row.not_before + (row.not_after - row.not_before) / 2
        if utc_now < half:
            raise ConflictError(f"This certificate can be renewed from {half:%Y-%m-%d %H:%M} UTC on.")
    later = (ven_certificate.c.ven_id == row.ven_id) & ven_certificate.c.revoked_at.is_(None)
    later &= ven_certificate.c.not_after > (row.not_after or utc_now)
    count = select(func.count()).select_from(ven_certificate).where(later)
    if (await tx.conn.execute(count)).scalar_one() >= _MOST_SUCCESSORS:
        raise ConflictError("This certificate has been renewed several times; use the new one, or ask for a code.")
    pem = (await asyncio.to_thread(authority.sign_request, csr_pem, row.ven_id)).chain_pem
    added = await add_certificate(tx, row.ven_id, pem, now, who=row.ven_id)
    return Enrolled(row.ven_id, row.name, pem, added)


async def check_present(conn: Connection, ven_id: str) -> None:
    """Raise NotFoundError for an unknown VEN, ConflictError for a removed one."""
    row = (await conn.execute(select(ven.c.removed_at).where(ven.c.id == ven_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    if row.removed_at is not None:
        raise ConflictError(f"VEN '{ven_id}' was removed; create a new one.")


async def add_certificate(tx: Transaction, ven_id: str, pem: str, now: datetime, *, who: str) -> str:
    """Let a certificate speak for a VEN, beside those that already do; return its fingerprint (SE-06, SE-07)."""
    if (await tx.conn.execute(select(ven.c.id).where(ven.c.id == ven_id))).first() is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    certificate = await asyncio.to_thread(_read_certificate, pem)
    name = certificate.fingerprint
    owner = (
        await tx.conn.execute(select(ven_certificate.c.ven_id).where(ven_certificate.c.fingerprint == name))
    ).scalar_one_or_none()
    if owner is not None:
        if owner != ven_id:
            raise ConflictError("This certificate belongs to another VEN.")
        return name
    await tx.conn.execute(
        insert(ven_certificate).values(
            fingerprint=name,
            ven_id=ven_id,
            serial=certificate.serial,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            created_at=now,
        )
    )
    await tx.conn.execute(delete(waiting_certificate).where(waiting_certificate.c.fingerprint == name))
    await tx.audit(who, "add certificate", ven_id, after=name, at=now)
    tx.changed(ven_id)
    return name


async def add_fingerprint(tx: Transaction, ven_id: str, name: str, now: datetime, *, who: str) -> None:
    """Let a waiting certificate speak for a VEN, by its fingerprint alone."""
    if (await tx.conn.execute(select(ven.c.id).where(ven.c.id == ven_id))).first() is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    known = select(ven_certificate.c.ven_id).where(ven_certificate.c.fingerprint == name)
    if (await tx.conn.execute(known)).first() is not None:
        raise ConflictError("This certificate is in use.")
    await tx.conn.execute(insert(ven_certificate).values(fingerprint=name, ven_id=ven_id, created_at=now))
    await tx.conn.execute(delete(waiting_certificate).where(waiting_certificate.c.fingerprint == name))
    await tx.audit(who, "add certificate", ven_id, after=name, at=now)
    tx.changed(ven_id)


async def valid_certificates(conn: Connection) -> set[str]:
    """Return the fingerprints of the certificates that speak for a VEN and were not revoked."""
    query = select(ven_certificate.c.fingerprint).where(ven_certificate.c.revoked_at.is_(None))
    return set((await conn.execute(query)).scalars())


async def revoke_certificate(tx: Transaction, name: str, now: datetime, *, who: str) -> None:
    """Stop a certificate at once, for every message that comes after. Raises NotFoundError."""
    query = select(ven_certificate.c.ven_id).where(ven_certificate.c.fingerprint == name)
    ven_id = (await tx.conn.execute(query)).scalar_one_or_none()
    if ven_id is None:
        raise NotFoundError(f"No certificate {name}.")
    await tx.conn.execute(
        update(ven_certificate)
        .where((ven_certificate.c.fingerprint == name) & ven_certificate.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    await tx.audit(who, "revoke certificate", ven_id, before=name, at=now)
    tx.changed(ven_id)


async def remove_ven(tx: Transaction, ven_id: str, now: datetime, *, who: str) -> None:
    """Retire a VEN: its certificates, codes and enrolments end, what waits for it is dropped, its data stays.

    Its name is free for another one; what tells of the past calls it by its name and venID. Raises NotFoundError.
    """
    found = await tx.conn.execute(
        update(ven)
        .where((ven.c.id == ven_id) & ven.c.removed_at.is_(None))
        .values(
            removed_at=now,
            registration_id=None,
            registered_at=None,
            name=ven.c.name + f" (removed, {ven_id})",
        )
    )
    if not found.rowcount:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    await outbox.clear(tx, ven_id)
    valid = (ven_certificate.c.ven_id == ven_id) & ven_certificate.c.revoked_at.is_(None)
    await tx.conn.execute(update(ven_certificate).where(valid).values(revoked_at=now))
    await tx.conn.execute(delete(enrolment_code).where(enrolment_code.c.ven_id == ven_id))
    running = (enrolment.c.ven_id == ven_id) & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now))
    await tx.conn.execute(update(enrolment).where(running).values(valid_to=now))
    await tx.audit(who, "remove VEN", ven_id, at=now)
    tx.changed(ven_id)


async def note_waiting(tx: Transaction, name: str, subject: str, now: datetime) -> None:
    """Remember a trusted certificate that belongs to no VEN, for the operator to see.

    One that was revoked, or belonged to a VEN that was removed, waits for nothing: only a new one can be accepted.
    """
    if (await tx.conn.execute(select(ven_certificate.c.ven_id).where(ven_certificate.c.fingerprint == name))).first():
        return
    seen = await tx.conn.execute(
        update(waiting_certificate)
        .where(waiting_certificate.c.fingerprint == name)
        .values(last_seen_at=now, attempts=waiting_certificate.c.attempts + 1)
    )
    if not seen.rowcount:
        row = {"fingerprint": name, "subject": subject[:500], "first_seen_at": now, "last_seen_at": now, "attempts": 1}
        await upsert(tx.conn, waiting_certificate, row, keys=("fingerprint",), update=("last_seen_at",))


def _read_certificate(pem: str) -> "Facts":
    from certs.keys import read_certificate  # noqa: PLC0415  10 MB that a server needs only when somebody enrols

    return read_certificate(pem)


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
