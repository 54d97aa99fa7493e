"""VENs and their registration, in the operator API."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import NotFoundError
from vtn.api.desk import DESK, Desk
from vtn.api.wire import LAST_YEAR
from vtn.services import certificates, pending, provisioning, registration, ven_faults
from vtn.services.ven_faults import Kind as FaultKind
from vtn.store.tables import resource, ven, ven_certificate
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID = Keyset("vens", str)


class Presence(StrEnum):
    """Whether a VEN is heard of."""

    NEVER = "never"
    """It never sent a message."""
    ONLINE = "online"
    """It polls."""
    STALE = "stale"
    """It was silent for several polls."""


class NewVen(Model):
    """A VEN to create."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    """Its name, unique in this VTN."""
    strict: bool = False
    """Whether its messages must keep to the schema to the letter."""


class Ven(Model):
    """A VEN."""

    id: str
    """The venID."""
    name: str
    strict: bool
    presence: Presence
    created_at: UtcTime
    registered_at: UtcTime | None
    """When it registered; null if it is not registered."""
    metadata_at: UtcTime | None
    """When it last said what it can report."""
    last_seen_at: UtcTime | None
    """When it last sent a message (written every few seconds)."""
    removed_at: UtcTime | None


class CreatedVen(Model):
    """A fresh VEN with the code that its gateway needs once."""

    ven: Ven
    code: str
    """The one-time enrolment code; it is shown here only."""


class Code(Model):
    """A one-time enrolment code."""

    code: str


class Certificate(Model):
    """A certificate that speaks for a VEN, unless it was revoked."""

    fingerprint: str
    not_before: UtcTime | None
    not_after: UtcTime | None
    """null: only the fingerprint is known, or the certificate has no end that matters."""
    revoked_at: UtcTime | None


class VenFault(Model):
    """Something that was wrong with a VEN's messages, counted; the last seconds may be missing."""

    kind: FaultKind
    subject: str
    count: int
    text: str
    """What was said of it the last time."""
    first_at: UtcTime
    last_at: UtcTime


class Unanswered(Model):
    """A message that the VEN never answered, and that was given up."""

    kind: str
    """events, register_report, create_report, cancel_report, reregister or cancel_registration."""
    subject: str
    tries: int
    sent_at: UtcTime | None


class VenDetail(Model):
    """A VEN with its resources, certificates and faults."""

    ven: Ven
    resources: list[str]
    certificates: list[Certificate]
    faults: list[VenFault]
    """What was wrong with its messages: mended, unreadable, refused, or errors that it answered with."""
    unanswered: list[Unanswered]
    """What it never answered, such as the cancellation of its registration."""


def heard_of_since(now: datetime, stale_after_s: float) -> datetime:
    """Return since when an online VEN must have been heard of."""
    return now - timedelta(seconds=stale_after_s)


def _shown(row: Any, desk: Desk) -> Ven:
    since = heard_of_since(desk.clock.now(), desk.stale_after_s)
    presence = Presence.NEVER if row.last_seen_at is None else Presence.ONLINE
    if row.last_seen_at is not None and row.last_seen_at < since:
        presence = Presence.STALE
    known = {name: getattr(row, name) for name in Ven.model_fields if name != "presence"}
    return Ven(presence=presence, **known)


async def find(conn: AsyncConnection, ven_id: str) -> Any:
    """Return a VEN's row, also a removed one's. Raises NotFoundError."""
    row = (await conn.execute(select(ven).where(ven.c.id == ven_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    return row


async def detail(context: Context, ven_id: str) -> VenDetail:
    """Return a VEN with its resources, certificates and faults. Raises NotFoundError."""
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        one = await find(conn, ven_id)
        resources = await conn.execute(
            select(resource.c.resource_id).where(resource.c.ven_id == ven_id).order_by(resource.c.resource_id)
        )
        certificates = await conn.execute(
            select(ven_certificate).where(ven_certificate.c.ven_id == ven_id).order_by(ven_certificate.c.created_at)
        )
        return VenDetail(
            ven=_shown(one, desk),
            resources=list(resources.scalars()),
            certificates=[
                Certificate(
                    fingerprint=row.fingerprint,
                    not_before=_writable(row.not_before),
                    not_after=_writable(row.not_after),
                    revoked_at=row.revoked_at,
                )
                for row in certificates
            ],
            faults=[
                VenFault(
                    kind=fault.kind,
                    subject=fault.subject,
                    count=fault.count,
                    text=fault.text,
                    first_at=fault.first_at,
                    last_at=fault.last_at,
                )
                for fault in await ven_faults.of_ven(conn, ven_id)
            ],
            unanswered=[
                Unanswered(kind=row.kind, subject=row.subject, tries=row.tries, sent_at=row.sent_at)
                for row in await pending.unanswered(conn, ven_id)
            ],
        )


def _writable(when: datetime | None) -> datetime | None:
    """Return the time unless the API cannot write it: certificates may say 1950, or 9999 for "never"."""
    return when if when is not None and 1970 <= when.year <= LAST_YEAR else None  # noqa: PLR2004  see web.model


@operation("GET", "/v1/vens", summary="List VENs", role="viewer", tags=["vens"])
async def list_vens(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Ven]:
    desk = context.service(DESK)
    after = _BY_ID.decode(cursor)
    query = select(ven).where(ven.c.removed_at.is_(None)).order_by(ven.c.id).limit(limit + 1)
    if after is not None:
        query = query.where(ven.c.id > after[0])
    async with desk.db.read() as conn:
        rows = (await conn.execute(query)).all()
    return _BY_ID.page([_shown(row, desk) for row in rows], limit, key=lambda one: (one.id,))


@operation(
    "POST",
    "/v1/vens",
    summary="Create a VEN and its enrolment code",
    role="admin",
    tags=["vens"],
    status=201,
    errors=[409],
)
async def create_ven(context: Context, body: NewVen) -> CreatedVen:
    desk = context.service(DESK)
    now, who = desk.clock.now(), context.principal.name
    async with desk.db.write() as tx:
        ven_id = await provisioning.create_ven(tx, body.name, now, who=who, strict=body.strict)
        code = await provisioning.new_enrolment_code(tx, ven_id, now, who=who)
        made = await find(tx.conn, ven_id)
    return CreatedVen(ven=_shown(made, desk), code=code)


@operation("GET", "/v1/vens/{ven_id}", summary="Read a VEN", role="viewer", tags=["vens"], errors=[404])
async def read_ven(context: Context, ven_id: str) -> VenDetail:
    return await detail(context, ven_id)


@operation(
    "DELETE",
    "/v1/vens/{ven_id}",
    summary="Retire a VEN: certificates stop, enrolments end, its data stays",
    role="admin",
    tags=["vens"],
    errors=[404, 503],
)
async def remove_ven(context: Context, ven_id: str) -> None:
    desk = context.service(DESK)
    now, who = desk.clock.now(), context.principal.name
    await certificates.retire_ven(desk.db, desk.authority, ven_id, now, who=who)


@operation(
    "POST",
    "/v1/vens/{ven_id}/enrolment-codes",
    summary="Make a new enrolment code; older ones stop working",
    role="admin",
    tags=["vens"],
    status=201,
    errors=[404, 409],
)
async def create_enrolment_code(context: Context, ven_id: str) -> Code:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await provisioning.check_present(tx.conn, ven_id)
        code = await provisioning.new_enrolment_code(tx, ven_id, desk.clock.now(), who=context.principal.name)
    return Code(code=code)


@operation(
    "POST",
    "/v1/vens/{ven_id}/reregistration",
    summary="Ask a VEN to register again",
    role="dispatcher",
    tags=["vens"],
    status=202,
    errors=[404],
)
async def request_reregistration(context: Context, ven_id: str) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await registration.ask_to_reregister(tx, ven_id, desk.clock.now(), who=context.principal.name)


@operation(
    "POST",
    "/v1/vens/{ven_id}/cancellation",
    summary="Cancel a VEN's registration",
    role="admin",
    tags=["vens"],
    status=202,
    errors=[404],
)
async def cancel_registration(context: Context, ven_id: str) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await registration.ask_to_cancel(tx, ven_id, desk.clock.now(), who=context.principal.name)


OPERATIONS = (
    list_vens,
    create_ven,
    read_ven,
    remove_ven,
    create_enrolment_code,
    request_reregistration,
    cancel_registration,
)
