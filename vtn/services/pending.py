"""What waits for a person or a VEN: certificates that nobody knows, codes that nobody used, messages under way."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, func, select

from core.errors import ConflictError, NotFoundError
from vtn.services import outbox, report
from vtn.services.outbox import Intent, State
from vtn.store.database import Connection, Transaction
from vtn.store.tables import enrolment_code, ven, ven_certificate, waiting_certificate
from vtn.store.tables import outbox as outbox_table

_MOST: int = 500
_UNKNOWN = waiting_certificate.c.fingerprint.not_in(select(ven_certificate.c.fingerprint))
"""Not one that was revoked: earlier versions noted those, too."""


@dataclass(frozen=True, slots=True)
class WaitingCertificate:
    """A certificate of a trusted CA that tried to speak and belongs to no VEN."""

    fingerprint: str
    subject: str
    first_seen_at: datetime
    last_seen_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class PendingCode:
    """An enrolment code that can still be used (machine time); the code itself is known to nobody here."""

    ven_id: str
    ven_name: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message for a VEN on its way."""

    id: int
    ven_id: str
    ven_name: str
    kind: str
    subject: str
    state: str
    tries: int
    created_at: datetime
    sent_at: datetime | None
    due_at: datetime


async def certificates(conn: Connection) -> list[WaitingCertificate]:
    """Return the waiting certificates, last heard of first."""
    query = select(waiting_certificate).where(_UNKNOWN).order_by(waiting_certificate.c.last_seen_at.desc()).limit(_MOST)
    return [
        WaitingCertificate(row.fingerprint, row.subject, row.first_seen_at, row.last_seen_at, row.attempts)
        for row in await conn.execute(query)
    ]


async def refuse(tx: Transaction, fingerprint: str, now: datetime, *, who: str) -> None:
    """Take a waiting certificate off the list; it comes back if it tries again. Raises NotFoundError."""
    gone = await tx.conn.execute(delete(waiting_certificate).where(waiting_certificate.c.fingerprint == fingerprint))
    if not gone.rowcount:
        raise NotFoundError(f"Certificate {fingerprint} does not wait (any more).")
    await tx.audit(who, "refuse certificate", fingerprint, at=now)


async def codes(conn: Connection) -> list[PendingCode]:
    """Return the codes that nobody has used yet, newest first; expired ones are left out."""
    query = (
        select(enrolment_code.c.ven_id, ven.c.name, enrolment_code.c.created_at, enrolment_code.c.expires_at)
        .join(ven, ven.c.id == enrolment_code.c.ven_id)
        .where(enrolment_code.c.used_at.is_(None) & (enrolment_code.c.expires_at > datetime.now(UTC)))
        .where(ven.c.removed_at.is_(None))
        .order_by(enrolment_code.c.created_at.desc())
        .limit(_MOST)
    )
    return [PendingCode(row.ven_id, row.name, row.created_at, row.expires_at) for row in await conn.execute(query)]


async def withdraw_code(tx: Transaction, ven_id: str, now: datetime, *, who: str) -> None:
    """Make a VEN's unused code worthless. Raises NotFoundError."""
    mine = (enrolment_code.c.ven_id == ven_id) & enrolment_code.c.used_at.is_(None)
    if not (await tx.conn.execute(delete(enrolment_code).where(mine))).rowcount:
        raise NotFoundError(f"VEN '{ven_id}' has no unused code.")
    await tx.audit(who, "withdraw code", ven_id, at=now)


async def messages(
    conn: Connection,
    *,
    ven_id: str | None = None,
    state: State | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[OutboxRow]:
    """Return messages for VENs, newest first; of one VEN, or in one state."""
    query = (
        select(outbox_table, ven.c.name)
        .join(ven, ven.c.id == outbox_table.c.ven_id)
        .order_by(outbox_table.c.id.desc())
        .limit(limit)
    )
    if ven_id is not None:
        query = query.where(outbox_table.c.ven_id == ven_id)
    if state is not None:
        query = query.where(outbox_table.c.state == state)
    if before is not None:
        query = query.where(outbox_table.c.id < before)
    return [
        OutboxRow(
            row.id,
            row.ven_id,
            row.name,
            row.kind,
            row.subject,
            row.state,
            row.tries,
            row.created_at,
            row.sent_at,
            row.due_at,
        )
        for row in await conn.execute(query)
    ]


async def unanswered(conn: Connection, ven_id: str) -> list[OutboxRow]:
    """Return the messages that were sent to a VEN until they were given up, newest first."""
    return [row for row in await messages(conn, ven_id=ven_id, state=State.DEAD) if row.tries]


async def send_again(tx: Transaction, row_id: int, now: datetime, *, who: str) -> str:
    """Queue a message that was given up once more; return its venID. Raises NotFoundError, ConflictError."""
    query = select(outbox_table).where(outbox_table.c.id == row_id).with_for_update()
    row = (await tx.conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No message {row_id}.")
    if row.state != State.DEAD:
        raise ConflictError(f"Message {row_id} is {row.state}; only one that was given up can be sent again.")
    if row.kind == Intent.REPORT_WANTED:
        await report.send_again(tx, row.ven_id, row.subject, now)
    else:
        await outbox.put(tx, row.ven_id, Intent(row.kind), now, row.subject)
    await tx.audit(who, "send again", row.ven_id, after={"kind": row.kind, "subject": row.subject}, at=now)
    return str(row.ven_id)


@dataclass(frozen=True, slots=True)
class Alerts:
    """How many things ask for a person."""

    waiting_certificates: int
    dead_messages: int
    expiring_certificates: int


async def alerts(conn: Connection, *, expiring_before: datetime) -> Alerts:
    """Count what asks for a person; `expiring_before` is machine time, and what has a newer certificate is no alert."""
    waiting = select(func.count()).select_from(waiting_certificate).where(_UNKNOWN).scalar_subquery()
    dead = select(func.count()).select_from(outbox_table).where(outbox_table.c.state == State.DEAD).scalar_subquery()
    last = (
        select(
            ven_certificate.c.ven_id,
            func.max(ven_certificate.c.not_after).label("until"),
            func.count().label("all"),
            func.count(ven_certificate.c.not_after).label("ending"),
        )
        .join(ven, ven.c.id == ven_certificate.c.ven_id)
        .where(ven_certificate.c.revoked_at.is_(None) & ven.c.removed_at.is_(None))
        .group_by(ven_certificate.c.ven_id)
        .subquery()
    )
    soon = (last.c.until < expiring_before) & (last.c.all == last.c.ending)
    expiring = select(func.count()).select_from(last).where(soon).scalar_subquery()
    row = (await conn.execute(select(waiting.label("w"), dead.label("d"), expiring.label("e")))).one()
    return Alerts(int(row.w), int(row.d), int(row.e))
