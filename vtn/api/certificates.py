"""Certificates that speak for VENs, and how gateways get theirs, in the operator API."""

import asyncio
from datetime import datetime
from typing import Annotated

from aiohttp import web
from pydantic import Field

from certs.files import read_text
from core.errors import ForbiddenError, InvalidError, NotFoundError
from vtn.api.desk import DESK, Desk
from vtn.api.fields import Fingerprint
from vtn.api.vens import VenDetail, detail
from vtn.services import certificates, pending, provisioning
from web.api import Context
from web.attempts import attempting
from web.callers import address_of
from web.downloads import attachment
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ARRIVAL = Keyset("waiting-certificates", datetime, str)


class NewCertificate(Model):
    """A certificate to accept: either the certificate, or the fingerprint of a waiting one."""

    pem: Annotated[str, Field(max_length=20_000)] | None = None
    fingerprint: Fingerprint | None = None


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


@operation(
    "POST",
    "/v1/vens/{ven_id}/certificates",
    summary="Accept a certificate for a VEN",
    role="admin",
    tags=["vens"],
    status=201,
    errors=[404, 409],
)
async def add_certificate(context: Context, ven_id: str, body: NewCertificate) -> VenDetail:
    desk = context.service(DESK)
    now, who, ca = desk.clock.now(), context.principal.name, desk.client_ca
    match body:
        case NewCertificate(pem=str(pem), fingerprint=None):
            authorities = None if ca is None else await asyncio.to_thread(read_text, ca, "Name it as openadr.ca.")
            await certificates.accept(desk.db, ven_id, pem, authorities, now, who=who)
        case NewCertificate(pem=None, fingerprint=str(fingerprint)):
            await certificates.accept_waiting(desk.db, ven_id, fingerprint.upper(), now, who=who)
        case _:
            raise InvalidError("Give either 'pem' or 'fingerprint'.")
    return await detail(context, ven_id)


@operation(
    "POST",
    "/v1/certificates/{fingerprint}/revocation",
    summary="Revoke a certificate at once",
    role="admin",
    tags=["vens"],
    errors=[404, 503],
)
async def revoke_certificate(context: Context, fingerprint: Fingerprint) -> None:
    desk = context.service(DESK)
    now, who = desk.clock.now(), context.principal.name
    await certificates.revoke(desk.db, desk.authority, fingerprint.upper(), now, who=who)


@operation(
    "GET", "/v1/waiting-certificates", summary="List certificates that belong to no VEN", role="viewer", tags=["vens"]
)
async def list_waiting_certificates(
    context: Context, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[WaitingCertificate]:
    async with context.service(DESK).db.read() as conn:
        rows = await pending.certificates(conn)
    waiting = [WaitingCertificate.model_validate(row, from_attributes=True, extra="ignore") for row in rows]
    return _BY_ARRIVAL.part(waiting, limit, cursor, key=lambda row: (row.first_seen_at, row.fingerprint))


@operation(
    "POST",
    "/v1/enrolments",
    summary="Redeem an enrolment code for a certificate (called by gateways)",
    role=None,
    tags=["enrolment"],
    status=201,
    errors=[403, 429, 503],
)
async def redeem_code(context: Context, body: Redemption) -> Bundle:
    desk = context.service(DESK)
    if desk.authority is None:
        raise InvalidError("This VTN issues no certificates; ask your operator how to get one.")
    with attempting([(desk.codes_by_address, address_of(context.request))], wrong=ForbiddenError) as attempt:
        async with desk.db.write() as tx:
            got = await provisioning.redeem(tx, body.code, body.csr, desk.authority, desk.clock.now())
        attempt.is_good = True
    return Bundle(
        ven_id=got.ven_id,
        ven_name=got.ven_name,
        vtn_id=desk.settings.vtn_id,
        vtn_url=desk.openadr_url,
        certificate=got.certificate_pem,
        ca=desk.authority.ca_pem,
        fingerprint=got.fingerprint,
    )


@operation(
    "GET",
    "/v1/ca.pem",
    summary="Get the authority's certificate, which gateways trust",
    role=None,
    tags=["enrolment"],
    errors=[404],
    media_type="application/x-pem-file",
)
async def get_authority(context: Context) -> web.Response:
    """Return the certificate (PEM). It is public; compare its fingerprint with the one that the operator told."""
    return ca_download(context.service(DESK))


def ca_download(desk: Desk) -> web.Response:
    """Return the authority's certificate as a file. Raises NotFoundError where there is no authority."""
    if desk.authority is None:
        raise NotFoundError("This VTN issues no certificates; ask your operator for its authority's.")
    headers = attachment("vtn-ca.pem")
    return web.Response(text=desk.authority.ca_pem, content_type="application/x-pem-file", headers=headers)


OPERATIONS = (add_certificate, revoke_certificate, list_waiting_certificates, redeem_code, get_authority)
