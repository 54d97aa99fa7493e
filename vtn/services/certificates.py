"""What is done with the certificates of VENs, in the VTN's rows and in our own authority.

The rows are what counts at the door: they come first. The authority's revocation list follows; where it cannot be
written the error says so, and the same request completes it.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from certs.authority import Authority
from core.clock import machine_now
from core.errors import ConflictError, EvenloadError, NotFoundError, UnfinishedError
from vtn.services import provisioning
from vtn.store.database import Database
from vtn.store.tables import ven, ven_certificate


async def accept(db: Database, ven_id: str, pem: str, authorities: str | None, now: datetime, *, who: str) -> None:
    """Let a certificate (PEM) speak for a VEN, beside those that do already.

    `authorities` are those whose clients TLS lets in. Raises InvalidError with the reason if TLS would never let this
    one in, NotFoundError for an unknown or removed VEN, ConflictError for another VEN's or a revoked certificate.
    """
    await asyncio.to_thread(_check, pem, authorities)
    async with db.write() as tx:
        await provisioning.check_present(tx.conn, ven_id)
        added = await provisioning.add_certificate(tx, ven_id, pem, now, who=who)
        revoked = select(ven_certificate.c.revoked_at).where(ven_certificate.c.fingerprint == added)
        if (await tx.conn.execute(revoked)).scalar_one() is not None:
            raise ConflictError(f"Certificate {added} was revoked; a new one is needed.")


def _check(pem: str, authorities: str | None) -> None:
    from certs.acceptance import check_client  # noqa: PLC0415  10 MB that a server needs only here

    check_client(pem, authorities, machine_now())


async def accept_waiting(db: Database, ven_id: str, fingerprint: str, now: datetime, *, who: str) -> None:
    """Let a certificate that tried to speak do so for a VEN. Raises NotFoundError, ConflictError for one in use."""
    async with db.write() as tx:
        await provisioning.check_present(tx.conn, ven_id)
        await provisioning.add_fingerprint(tx, ven_id, fingerprint, now, who=who)


async def revoke(
    db: Database, authority: Authority | None, fingerprint: str, now: datetime, *, who: str, ven_id: str | None = None
) -> None:
    """Revoke a certificate (of a VEN): it opens nothing any more, from the next message on.

    Raises NotFoundError for one that nobody has, UnfinishedError where our authority's list cannot be written.
    """
    async with db.write() as tx:
        if ven_id is not None:
            mine = (ven_certificate.c.ven_id == ven_id) & (ven_certificate.c.fingerprint == fingerprint)
            if (await tx.conn.execute(select(ven_certificate.c.ven_id).where(mine))).first() is None:
                raise NotFoundError(f"VEN '{ven_id}' has no certificate {fingerprint}.")
        await provisioning.revoke_certificate(tx, fingerprint, now, who=who)
    await _revoke_in(authority, (fingerprint,), "unspecified")


async def retire_ven(db: Database, authority: Authority | None, ven_id: str, now: datetime, *, who: str) -> None:
    """Remove a VEN (`provisioning.remove_ven`) and revoke its certificates.

    Raises NotFoundError for one that is not there any more, unless its certificates are still to be revoked in our
    authority; UnfinishedError where the authority's list cannot be written.
    """
    async with db.read() as conn:
        removed = select(ven.c.id).where((ven.c.id == ven_id) & ven.c.removed_at.is_not(None))
        is_removed = (await conn.execute(removed)).first() is not None
    if not is_removed:
        async with db.write() as tx:
            await provisioning.remove_ven(tx, ven_id, now, who=who)
    left = await _unrevoked(db, authority, ven_id)
    if is_removed and not left:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    await _revoke_in(authority, left, "cessationOfOperation")


async def _unrevoked(db: Database, authority: Authority | None, ven_id: str) -> list[str]:
    """Return the fingerprints of a VEN's certificates that our authority issued and has not revoked."""
    if authority is None:
        return []
    async with db.read() as conn:
        mine = select(ven_certificate.c.fingerprint).where(ven_certificate.c.ven_id == ven_id)
        fingerprints = set((await conn.execute(mine)).scalars())
    try:
        issued = await asyncio.to_thread(authority.issued)
    except EvenloadError as error:
        raise UnfinishedError(f"It is done here, but the authority cannot be asked: {error} Send it again.") from error
    return [record.fingerprint for record in issued if record.fingerprint in fingerprints and not record.revoked_at]


async def _revoke_in(authority: Authority | None, fingerprints: Iterable[str], reason: str) -> None:
    """Revoke certificates in our authority and its list, as far as they come from there."""
    if authority is None:
        return
    for fingerprint in fingerprints:
        try:
            await asyncio.to_thread(authority.revoke, fingerprint, reason)
        except NotFoundError:
            continue  # another authority's
        except EvenloadError as error:
            text = f"It is done here, but the authority's revocation list is not written: {error} Send it again."
            raise UnfinishedError(text) from error
