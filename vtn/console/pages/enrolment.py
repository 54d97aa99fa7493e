"""How gateways get in: new VENs with a one-time code, codes not used yet, certificates that wait."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from core.errors import InvalidError
from openadr.fingerprint import sha256_of_pem
from vtn.api.certificates import ca_download
from vtn.api.fields import Fingerprint, Printable
from vtn.console.request import ConsoleRequest
from vtn.services import fleet, pending, programme, provisioning
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import gettext as _


class _NewVen(Model):
    name: Annotated[Printable, Field(min_length=1, max_length=120)]
    strict: bool = False
    programme: Annotated[str, Field(max_length=80)] | None = None
    consent_version: Annotated[Printable, Field(min_length=1, max_length=40)] | None = None


class _Accept(Model):
    ven_id: Annotated[str, Field(max_length=80)] | None = None
    new_name: Annotated[Printable, Field(max_length=120)] | None = None
    fingerprint: Fingerprint


class _Refuse(Model):
    fingerprint: Fingerprint


@page("GET", "/enrolment", role=Role.VIEWER)
async def show_enrolment(request: ConsoleRequest) -> web.StreamResponse:
    """Show what waits, and the form for a new VEN."""
    return await _page(request, Form(), Form())


async def _page(request: ConsoleRequest, form: Form, accept: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        certificates = await pending.certificates(conn)
        codes = await pending.codes(conn)
        programmes = await programme.newest(conn)
        vens = await fleet.listing(conn, fleet.Filter(), request.now, request.desk.stale_after_s, limit=1000)
    return request.render(
        "enrolment.html",
        form=form,
        accept=accept,
        certificates=certificates,
        codes=codes,
        programmes=programmes,
        vens=vens if certificates else [],
        issues=request.desk.authority is not None,
        ca_sha256=_ca_sha256(request),
        status=422 if form.failed or accept.failed else 200,
    )


def _ca_sha256(request: ConsoleRequest) -> str | None:
    authority = request.desk.authority
    return None if authority is None else sha256_of_pem(authority.ca_pem.encode())


def _commands(request: ConsoleRequest, code: str) -> str:
    """Return what to type on the gateway: to get the authority's certificate, and to enrol."""
    url, sha256 = request.desk.api_url or "URL", _ca_sha256(request)
    fetch = "" if sha256 is None else f"evenload ven fetch-ca --vtn {url} --sha256 {sha256} && "
    return f"{fetch}evenload ven enrol {code} --vtn {url} --ca vtn-ca.pem --config household.yaml"


@page("GET", "/ca.pem", role=None)
async def download_ca(request: ConsoleRequest) -> web.StreamResponse:
    """Give out the authority's certificate, which is public."""
    return ca_download(request.desk)


@page("POST", "/enrolment/vens", role=Role.ADMIN)
async def create_ven(request: ConsoleRequest) -> web.StreamResponse:
    """Create a VEN with its one-time code; with a programme, it takes part from now on."""
    form = await request.form()
    with form.catching():
        wish = form.read(_NewVen)
        if wish.consent_version is not None and wish.programme is None:
            raise InvalidError(_("Select the programme that the household agreed to take part in."), field="programme")
        async with request.desk.db.write() as tx:
            ven_id = await provisioning.create_ven(tx, wish.name, request.now, who=request.who, strict=wish.strict)
            code = await provisioning.new_enrolment_code(tx, ven_id, request.now, who=request.who)
            if wish.programme is not None:
                consent = wish.consent_version
                await programme.enrol(
                    tx, wish.programme, [ven_id], request.now, who=request.who, consent_version=consent
                )
        reveal = {_("Code"): code, _("On the gateway"): _commands(request, code), "venID": ven_id}
        return request.redirect(
            "/enrolment", notice=_("%(ven)s can enrol with this code.", ven=wish.name), reveal=reveal
        )
    return await _page(request, form, Form())


@page("POST", "/enrolment/codes/{ven_id}", role=Role.ADMIN)
async def renew_code(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Make a new code for a VEN; the one before stops working."""
    async with request.desk.db.write() as tx:
        one = await fleet.one(tx.conn, ven_id, request.now, request.desk.stale_after_s)
        code = await provisioning.new_enrolment_code(tx, ven_id, request.now, who=request.who)
    return request.redirect("/enrolment", notice=_("New code for %(ven)s.", ven=one.name), reveal={_("Code"): code})


@page("POST", "/enrolment/codes/{ven_id}/withdrawal", role=Role.ADMIN)
async def withdraw_code(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Make an unused code worthless."""
    async with request.desk.db.write() as tx:
        await pending.withdraw_code(tx, ven_id, request.now, who=request.who)
    return request.redirect("/enrolment", notice=_("Code withdrawn."))


@page("POST", "/enrolment/certificates/accept", role=Role.ADMIN)
async def accept_certificate(request: ConsoleRequest) -> web.StreamResponse:
    """Let a waiting certificate speak for a VEN: one that is there, or a new one."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Accept)
        if (wish.ven_id is None) == (wish.new_name is None):
            raise InvalidError(_("Either select a VEN or enter the name of a new one."))
        name = wish.fingerprint.upper()
        async with request.desk.db.write() as tx:
            ven_id = wish.ven_id
            if ven_id is None:
                ven_id = await provisioning.create_ven(tx, wish.new_name or "", request.now, who=request.who)
            else:
                await fleet.one(tx.conn, ven_id, request.now, request.desk.stale_after_s)
            await provisioning.add_fingerprint(tx, ven_id, name, request.now, who=request.who)
        return request.redirect(
            f"/fleet/{ven_id}", notice=_("Certificate %(fingerprint)s now belongs to this VEN.", fingerprint=name)
        )
    return await _page(request, Form(), form)


@page("POST", "/enrolment/certificates/refuse", role=Role.ADMIN)
async def refuse_certificate(request: ConsoleRequest) -> web.StreamResponse:
    """Take a waiting certificate off the list."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Refuse)
        async with request.desk.db.write() as tx:
            await pending.refuse(tx, wish.fingerprint.upper(), request.now, who=request.who)
        return request.redirect(
            "/enrolment", notice=_("Certificate refused. If it tries to connect again, it will reappear here.")
        )
    return await _page(request, Form(), form)


PAGES = (show_enrolment, download_ca, create_ven, renew_code, withdraw_code, accept_certificate, refuse_certificate)
