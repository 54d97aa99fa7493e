"""Registration of VENs (EiRegisterParty). What is registered is a row of `ven`; the certificate says which."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from core.errors import ConflictError, NotFoundError
from core.ids import new_id
from openadr.model.registration import Profile, SignaturePolicy, VenProfile
from vtn.services import outbox, push
from vtn.services.outbox import Intent
from vtn.store.database import Connection, Transaction
from vtn.store.rows import to_json
from vtn.store.tables import event, own_report, report_offer, report_request, ven


@dataclass(frozen=True, slots=True)
class Registration:
    """The ids that a registration gives out."""

    ven_id: str
    registration_id: str


async def register(
    tx: Transaction,
    ven_id: str,
    profile: VenProfile,
    registration_id: str | None,
    now: datetime,
    *,
    who: str | None = None,
) -> Registration:
    """Register a VEN, or re-register it if it names its registrationID. `who` does so; None: the VEN itself.

    Without registrationID everything about the VEN's reports starts afresh (RG-08); the registrationID stays the same
    until it is cancelled (RG-06), so that a message sent twice does no harm (TR-12). Raises NotFoundError for a
    wrong registrationID (RG-11).
    """
    known = (await tx.conn.execute(select(ven).where(ven.c.id == ven_id).with_for_update())).one()
    if registration_id and registration_id != known.registration_id:
        raise NotFoundError("The registrationID is not that of this VEN.")
    await push.fresh(tx, ven_id)
    if registration_id:
        await outbox.done(tx, ven_id, Intent.REREGISTER)
        await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(**_reached(profile), last_seen_at=now))
        tx.changed(ven_id)
        return Registration(ven_id, registration_id)
    await _forget(tx, ven_id, now)
    given = known.registration_id or new_id("reg")
    await tx.conn.execute(
        update(ven)
        .where(ven.c.id == ven_id)
        .values(registration_id=given, registered_at=now, **_reached(profile), metadata_at=None, last_seen_at=now)
    )
    tx.changed(ven_id)
    if profile.profile is not Profile.A:  # which has no reports
        await outbox.put(tx, ven_id, Intent.REPORTS_OFFERED, now)
    still_open = event.c.closed_at.is_(None) & (event.c.listed_until.is_(None) | (event.c.listed_until > now))
    if (await tx.conn.execute(select(event.c.id).where((event.c.ven_id == ven_id) & still_open).limit(1))).first():
        await outbox.put(tx, ven_id, Intent.EVENTS_CHANGED, now)
    await tx.audit(who or ven_id, "register", ven_id, known.registration_id, given, at=now)
    return Registration(ven_id, given)


async def set_push_address(tx: Transaction, ven_id: str, address: str | None, now: datetime, *, who: str) -> None:
    """Say where the messages for a VEN of 2.0a are pushed to; None: it asks for them.

    2.0a has no registration by which a VEN could say so, and one that is pushed to need never speak first: so this
    registers it. Raises NotFoundError for a VEN that is not there, ConflictError for one of 2.0b, which says its own
    address, and for one that must sign its messages.
    """
    query = select(ven).where((ven.c.id == ven_id) & ven.c.removed_at.is_(None)).with_for_update()
    known = (await tx.conn.execute(query)).one_or_none()
    if known is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    is_registered = known.registration_id is not None
    if is_registered and known.protocol_version != Profile.A:
        raise ConflictError("This VEN registered by OpenADR 2.0b: it says itself where its messages are pushed to.")
    if address is not None and known.signatures == SignaturePolicy.REQUIRED:
        raise ConflictError("This VEN must sign its messages, and OpenADR 2.0a has no signatures.")
    profile = VenProfile(profile=Profile.A, transport_address=address, http_pull=address is None)
    changed = {"mode": profile.mode, "address": address}
    if is_registered:
        changed = _reached(profile)
        await push.fresh(tx, ven_id)
    elif address is not None:
        await register(tx, ven_id, profile, None, now, who=who)
        changed = {"last_seen_at": known.last_seen_at}  # it has not spoken
    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(**changed))
    tx.changed(ven_id)
    await tx.audit(who, "set push address", ven_id, known.address, address, at=now)


def _reached(profile: VenProfile) -> dict[str, Any]:
    """Return the columns that say how a VEN speaks and is reached."""
    return {
        "profile": to_json(profile),
        "protocol_version": profile.profile,
        "mode": profile.mode,
        "address": profile.push_address,
        "xml_signature": profile.xml_signature,
    }


async def current(conn: Connection, ven_id: str) -> str | None:
    """Return the VEN's registrationID, or None if it is not registered."""
    return (await conn.execute(select(ven.c.registration_id).where(ven.c.id == ven_id))).scalar_one_or_none()


async def cancel(tx: Transaction, ven_id: str, registration_id: str, now: datetime) -> None:
    """Erase a registration at the VEN's wish. Raises NotFoundError for a wrong registrationID (RG-11)."""
    query = select(ven.c.registration_id).where(ven.c.id == ven_id).with_for_update()
    known = (await tx.conn.execute(query)).scalar_one()
    if known is None or known != registration_id:
        raise NotFoundError("The registrationID is not that of this VEN.")
    await erase(tx, ven_id, now, who=ven_id)


async def erase(tx: Transaction, ven_id: str, now: datetime, *, who: str) -> None:
    """Forget a VEN's registration, metadata and report requests (RG-10). Its readings and events stay."""
    await _forget(tx, ven_id, now)
    await push.fresh(tx, ven_id)
    cleared = {"registration_id": None, "registered_at": None, "metadata_at": None}
    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(**cleared))
    await tx.audit(who, "cancel registration", ven_id, at=now)
    tx.changed(ven_id)


async def _forget(tx: Transaction, ven_id: str, now: datetime) -> None:
    await outbox.clear(tx, ven_id)
    for table in (report_offer, own_report):
        await tx.conn.execute(delete(table).where(table.c.ven_id == ven_id))
    gone = delete(report_request).where(report_request.c.ven_id == ven_id).returning(report_request.c.id)
    ids = sorted((await tx.conn.execute(gone)).scalars())
    if ids:
        await tx.audit(ven_id, "erase report requests", ven_id, ids, at=now)


async def ask_to_reregister(tx: Transaction, ven_id: str, now: datetime, *, who: str) -> None:
    """Queue an oadrRequestReregistration (RG-09). Raises ConflictError for a VEN of 2.0a, which has none."""
    if await _registered(tx, ven_id) == Profile.A:
        raise ConflictError("OpenADR 2.0a has no registration that a VEN could be asked to repeat.")
    await outbox.put(tx, ven_id, Intent.REREGISTER, now)
    await tx.audit(who, "request re-registration", ven_id, at=now)


async def ask_to_cancel(tx: Transaction, ven_id: str, now: datetime, *, who: str) -> bool:
    """Queue an oadrCancelPartyRegistration; the VEN's answer ends the registration (RG-16).

    A VEN of 2.0a cannot be told so: its registration ends at once. Returns whether it has ended.
    """
    if await _registered(tx, ven_id) == Profile.A:
        await erase(tx, ven_id, now, who=who)
        return True
    await outbox.put(tx, ven_id, Intent.UNREGISTER, now)
    await tx.audit(who, "cancel registration", ven_id, at=now)
    return False


async def _registered(tx: Transaction, ven_id: str) -> str:
    """Return the version by which a VEN is registered. Raises NotFoundError for one that is not."""
    query = select(ven.c.protocol_version).where((ven.c.id == ven_id) & ven.c.registration_id.is_not(None))
    version = (await tx.conn.execute(query)).scalar_one_or_none()
    if version is None:
        raise NotFoundError(f"No VEN '{ven_id}' is registered.")
    return str(version)
