"""XML signatures of VENs: who must sign, and which nonces were used, shared by all processes (SE-08, SE-10)."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, select, update

from core.errors import NotFoundError
from openadr.model.registration import SignaturePolicy
from openadr.signature.values import Fault, SignatureError
from vtn.store.database import Transaction
from vtn.store.rows import insert_new
from vtn.store.tables import used_nonce, ven


async def set_policy(tx: Transaction, ven_id: str, policy: SignaturePolicy, now: datetime, *, who: str) -> None:
    """Say what a VEN's signatures mean, from its next message on. Raises NotFoundError for one that is not there."""
    query = select(ven.c.signatures).where((ven.c.id == ven_id) & ven.c.removed_at.is_(None))
    before = (await tx.conn.execute(query.with_for_update())).scalar_one_or_none()
    if before is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    if before == policy:
        return
    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(signatures=policy))
    await tx.audit(who, "set signatures", ven_id, before, policy, at=now)
    tx.changed(ven_id)


async def use_nonces(tx: Transaction, nonces: Mapping[str, datetime]) -> Mapping[str, SignatureError | None]:
    """Note nonces as used until they expire (machine time); those that were used before get an error.

    Each process asks with keys of its own choice that say VEN and nonce. Work for `GroupWriter.submit_to`.
    """
    rows = [{"key": key, "expires_at": at} for key, at in sorted(nonces.items())]
    new = await insert_new(tx.conn, used_nonce, rows, key="key")
    return {
        key: None if key in new else SignatureError(Fault.REPLAYED, "this message was sent before.") for key in nonces
    }


async def forget_nonces(tx: Transaction, now: datetime) -> None:
    """Delete the nonces of messages that are refused for their time anyway (machine time)."""
    await tx.conn.execute(delete(used_nonce).where(used_nonce.c.expires_at < now))
