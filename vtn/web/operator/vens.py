"""VENs, their enrolment and certificates, in the operator API."""

from typing import Annotated

from pydantic import Field
from sqlalchemy import select

from core.errors import InvalidError, NotFoundError
from vtn.services import enrolment, registration
from vtn.store.tables import resource, ven, ven_certificate, waiting_certificate
from vtn.web.api import Context
from vtn.web.model import Model, UtcTime
from vtn.web.operation import operation
from vtn.web.operator.desk import DESK
from vtn.web.pagination import Cursor, Keyset, Limit, Page

_BY_ID = Keyset("vens", str)


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
    """A certificate that speaks for a VEN."""

    fingerprint: str
    not_before: UtcTime | None
    not_after: UtcTime | None
    revoked_at: UtcTime | None


class VenDetail(Model):
    """A VEN with its resources and certificates."""

    ven: Ven
    resources: list[str]
    certificates: list[Certificate]


class NewCertificate(Model):
    """A certificate to accept: either the certificate, or the fingerprint of a waiting one."""

    pem: Annotated[str, Field(max_length=20_000)] | None = None
    fingerprint: Annotated[str, Field(pattern=r"^([0-9A-F]{2}:){9}[0-9A-F]{2}$")] | None = None


class WaitingCertificate(Model):
    """A certificate of a trusted CA that tried to speak and belongs to no VEN."""

    fingerprint: str
    subject: str
    first_seen_at: UtcTime
    last_seen_at: UtcTime
    attempts: int


class Redemption(Model):
    """What a gateway sends to enrol."""

    code: Annotated[str, Field(min_length=4, max_length=40)]
    csr: Annotated[str, Field(min_length=50, max_length=20_000)]
    """A certificate signing request, PEM."""


class Bundle(Model):
    """What a gateway gets."""

    ven_id: str
    ven_name: str
    vtn_id: str
    vtn_url: str
    certificate: str
    """Its certificate, PEM."""
    ca: str
    """The CA's certificate, PEM."""
    fingerprint: str


async def _one(context: Context, ven_id: str) -> Ven:
    async with context.service(DESK).db.read() as conn:
        row = (await conn.execute(select(ven).where(ven.c.id == ven_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    return Ven.model_validate(row, from_attributes=True, extra="ignore")


@operation("GET", "/v1/vens", summary="List VENs", role="viewer", tags=["vens"])
async def list_vens(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Ven]:
    after = _BY_ID.decode(cursor)
    query = select(ven).where(ven.c.removed_at.is_(None)).order_by(ven.c.id).limit(limit + 1)
    if after is not None:
        query = query.where(ven.c.id > after[0])
    async with context.service(DESK).db.read() as conn:
        rows = (await conn.execute(query)).all()
    found = [Ven.model_validate(row, from_attributes=True, extra="ignore") for row in rows]
    return _BY_ID.page(found, limit, key=lambda one: (one.id,))


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
        ven_id = await enrolment.create_ven(tx, body.name, now, who=who, strict=body.strict)
        code = await enrolment.new_enrolment_code(tx, ven_id, now, who=who)
    return CreatedVen(ven=await _one(context, ven_id), code=code)


@operation("GET", "/v1/vens/{ven_id}", summary="Read a VEN", role="viewer", tags=["vens"], errors=[404])
async def read_ven(context: Context, ven_id: str) -> VenDetail:
    one = await _one(context, ven_id)
    async with context.service(DESK).db.read() as conn:
        resources = await conn.execute(
            select(resource.c.resource_id).where(resource.c.ven_id == ven_id).order_by(resource.c.resource_id)
        )
        certificates = await conn.execute(
            select(ven_certificate).where(ven_certificate.c.ven_id == ven_id).order_by(ven_certificate.c.created_at)
        )
        return VenDetail(
            ven=one,
            resources=list(resources.scalars()),
            certificates=[
                Certificate.model_validate(row, from_attributes=True, extra="ignore") for row in certificates
            ],
        )


@operation(
    "DELETE", "/v1/vens/{ven_id}", summary="Retire a VEN; its data stays", role="admin", tags=["vens"], errors=[404]
)
async def remove_ven(context: Context, ven_id: str) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await enrolment.remove_ven(tx, ven_id, desk.clock.now(), who=context.principal.name)


@operation(
    "POST",
    "/v1/vens/{ven_id}/enrolment-codes",
    summary="Make a new enrolment code; older ones stop working",
    role="admin",
    tags=["vens"],
    status=201,
    errors=[404],
)
async def create_enrolment_code(context: Context, ven_id: str) -> Code:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        code = await enrolment.new_enrolment_code(tx, ven_id, desk.clock.now(), who=context.principal.name)
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


@operation(
    "POST",
    "/v1/vens/{ven_id}/certificates",
    summary="Let a certificate speak for a VEN",
    role="admin",
    tags=["vens"],
    status=201,
    errors=[404, 409],
)
async def add_certificate(context: Context, ven_id: str, body: NewCertificate) -> VenDetail:
    desk = context.service(DESK)
    now, who = desk.clock.now(), context.principal.name
    if (body.pem is None) == (body.fingerprint is None):
        raise InvalidError("Give either 'pem' or 'fingerprint'.")
    async with desk.db.write() as tx:
        if body.pem is not None:
            await enrolment.add_certificate(tx, ven_id, body.pem, now, who=who)
        elif body.fingerprint is not None:
            await enrolment.add_fingerprint(tx, ven_id, body.fingerprint, now, who=who)
    return await read_ven(context, ven_id)


@operation(
    "POST",
    "/v1/certificates/{fingerprint}/revocation",
    summary="Revoke a certificate at once",
    role="admin",
    tags=["vens"],
    errors=[404],
)
async def revoke_certificate(context: Context, fingerprint: str) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await enrolment.revoke_certificate(tx, fingerprint, desk.clock.now(), who=context.principal.name)


@operation(
    "GET", "/v1/waiting-certificates", summary="List certificates that belong to no VEN", role="viewer", tags=["vens"]
)
async def list_waiting_certificates(context: Context) -> list[WaitingCertificate]:
    query = select(waiting_certificate).order_by(waiting_certificate.c.last_seen_at.desc()).limit(500)
    async with context.service(DESK).db.read() as conn:
        rows = (await conn.execute(query)).all()
    return [WaitingCertificate.model_validate(row, from_attributes=True, extra="ignore") for row in rows]


@operation(
    "POST",
    "/v1/enrolments",
    summary="Redeem an enrolment code for a certificate (called by gateways)",
    role=None,
    tags=["enrolment"],
    status=201,
    errors=[403, 503],
)
async def redeem_code(context: Context, body: Redemption) -> Bundle:
    desk = context.service(DESK)
    if desk.authority is None:
        raise InvalidError("This VTN issues no certificates; ask your operator how to get one.")
    async with desk.db.write() as tx:
        got = await enrolment.redeem(tx, body.code, body.csr, desk.authority, desk.clock.now())
    return Bundle(
        ven_id=got.ven_id,
        ven_name=got.ven_name,
        vtn_id=desk.settings.vtn_id,
        vtn_url=desk.openadr_url,
        certificate=got.certificate_pem,
        ca=desk.authority.ca_pem,
        fingerprint=got.fingerprint,
    )


OPERATIONS = (
    list_vens,
    create_ven,
    read_ven,
    remove_ven,
    create_enrolment_code,
    request_reregistration,
    cancel_registration,
    add_certificate,
    revoke_certificate,
    list_waiting_certificates,
    redeem_code,
)
