"""VENs and their registration, in the operator API."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from openadr.model.registration import Mode, SignaturePolicy
from vtn.api.desk import DESK, Desk
from vtn.api.fields import LAST_YEAR, Printable
from vtn.services import certificates, pending, provisioning, registration, signatures, ven_faults, ven_view
from vtn.services.ven_faults import Kind as FaultKind
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID = Keyset("vens", str)


class VenPresence(StrEnum):
    """Whether a VEN is heard of."""

    NEVER = "never"
    """It never sent a message."""
    ONLINE = "online"
    """It polls, or is in push mode, where it may be silent."""
    STALE = "stale"
    """It was silent for several polls."""
    UNREACHABLE = "unreachable"
    """It takes no messages at the address to which they are pushed."""


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
    signatures: SignaturePolicy
    """What the XML signatures of its messages mean."""
    xml_signature: bool
    """Whether it asked for signed messages when it registered."""
    presence: VenPresence
    created_at: UtcTime
    registered_at: UtcTime | None
    """When it registered; null if it is not registered."""
    metadata_at: UtcTime | None
    """When it last said what it can report."""
    last_seen_at: UtcTime | None
    """When it last sent a message, or took one that was pushed to it (written every few seconds)."""
    mode: Mode
    """How messages reach it: it asks for them, or they are pushed to its address."""
    address: str | None
    """The address to which they are pushed."""
    unreachable_at: UtcTime | None
    """Since when that address takes no messages; null: it does."""
    unreachable_why: str | None
    """What happened at the last try."""
    removed_at: UtcTime | None


class SignatureRule(Model):
    """What the XML signatures of a VEN's messages mean."""

    policy: SignaturePolicy
    """Which messages are ignored: required, those without a good one; when_present, those with a bad one; off, none."""


class PushAddress(Model):
    """Where the messages for a VEN of OpenADR 2.0a are pushed to."""

    address: Annotated[Printable, Field(min_length=1, max_length=2000)] | None
    """By https, with or without `/OpenADR2/Simple/EiEvent` at its end; null: the VEN asks for them."""


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
    """events_changed, reports_offered, report_wanted, report_unwanted, report_due, reregister or unregister."""
    subject: str
    tries: int
    sent_at: UtcTime | None


class VenDetail(Model):
    """A VEN with its resources, certificates and faults."""

    ven: Ven
    resources: list[str]
    certificates: list[Certificate]
    faults: list[VenFault]
    """What was wrong with its messages: mended, doubted, unreadable, refused, or errors that it answered with."""
    unanswered: list[Unanswered]
    """What it never answered, such as the cancellation of its registration."""


def _shown(ven: ven_view.Ven, desk: Desk) -> Ven:
    return Ven(
        presence=_presence(ven, desk), **{name: getattr(ven, name) for name in Ven.model_fields if name != "presence"}
    )


def _presence(ven: ven_view.Ven, desk: Desk) -> VenPresence:
    since = desk.clock.now() - timedelta(seconds=desk.stale_after_s)
    if ven.unreachable_at is not None:
        return VenPresence.UNREACHABLE
    if ven.last_seen_at is None:
        return VenPresence.NEVER
    silent = ven.last_seen_at < since and not (ven.mode == Mode.PUSH and ven.registration_id is not None)
    return VenPresence.STALE if silent else VenPresence.ONLINE


async def detail(context: Context, ven_id: str) -> VenDetail:
    """Return a VEN with its resources, certificates and faults. Raises NotFoundError."""
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        ven = await ven_view.read(conn, ven_id)
        return VenDetail(
            ven=_shown(ven, desk),
            resources=[resource.id for resource in ven.resources],
            certificates=[
                Certificate(
                    fingerprint=certificate.fingerprint,
                    not_before=_writable(certificate.not_before),
                    not_after=_writable(certificate.not_after),
                    revoked_at=certificate.revoked_at,
                )
                for certificate in reversed(ven.certificates)
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
    async with desk.db.read() as conn:
        vens = await ven_view.listed(conn, after=after[0] if after else None, limit=limit + 1)
    return _BY_ID.page([_shown(ven, desk) for ven in vens], limit, key=lambda ven: (ven.id,))


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
        ven = await ven_view.get(tx.conn, ven_id)
    return CreatedVen(ven=_shown(ven, desk), code=code)


@operation("GET", "/v1/vens/{ven_id}", summary="Read a VEN", role="viewer", tags=["vens"], errors=[404])
async def read_ven(context: Context, ven_id: str) -> VenDetail:
    return await detail(context, ven_id)


@operation(
    "PUT",
    "/v1/vens/{ven_id}/signatures",
    summary="Say whether a VEN must sign its messages",
    role="admin",
    tags=["vens"],
    errors=[404],
)
async def set_signatures(context: Context, ven_id: str, body: SignatureRule) -> SignatureRule:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await signatures.set_policy(tx, ven_id, body.policy, desk.clock.now(), who=context.principal.name)
    return body


@operation(
    "PUT",
    "/v1/vens/{ven_id}/push-address",
    summary="Say where messages for a VEN of OpenADR 2.0a are pushed to",
    role="admin",
    tags=["vens"],
    errors=[404, 409],
)
async def set_push_address(context: Context, ven_id: str, body: PushAddress) -> PushAddress:
    """Register a VEN of 2.0a with the address of its EiEvent service; 2.0a has no message by which it could do so.

    A VEN of 2.0b says its address itself, when it registers.
    """
    desk = context.service(DESK)
    if body.address is not None:
        desk.check_push_address(body.address)
    async with desk.db.write() as tx:
        now, who = desk.clock.now(), context.principal.name
        await registration.set_push_address(tx, ven_id, body.address, now, who=who)
    return body


@operation(
    "DELETE",
    "/v1/vens/{ven_id}",
    summary="Retire a VEN: its certificates and enrolments end, its data stays",
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
    summary="Create a new enrolment code; older ones stop working",
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
    summary="Request re-registration of a VEN",
    role="dispatcher",
    tags=["vens"],
    status=202,
    errors=[404, 409],
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
    set_signatures,
    set_push_address,
    remove_ven,
    create_enrolment_code,
    request_reregistration,
    cancel_registration,
)
