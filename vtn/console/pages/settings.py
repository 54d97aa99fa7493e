"""Settings: operators with their tokens, passwords and sessions, and what this server runs with."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from core.errors import ConflictError, NotFoundError
from vtn.console.request import ConsoleRequest
from vtn.services import principals, sessions
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import gettext as _
from web.server import AUTHENTICATOR


class _NewOperator(Model):
    name: Annotated[str, Field(min_length=1, max_length=principals.LONGEST_NAME)]
    role: Literal["viewer", "dispatcher", "admin"] = "viewer"
    days: Annotated[int, Field(ge=1, le=principals.LONGEST_DAYS)] | None = None


class _Password(Model):
    password: str


@page("GET", "/settings", role=Role.ADMIN)
async def show_settings(request: ConsoleRequest) -> web.StreamResponse:
    """Show operators, sessions, and what the server runs with."""
    return await _page(request, Form())


async def _page(request: ConsoleRequest, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        everyone = await principals.everyone(conn)
        with_password = await sessions.with_password(conn)
        open_sessions = await sessions.working(conn, request.console.utcnow())
    return request.render(
        "settings.html",
        form=form,
        principals=everyone,
        with_password=with_password,
        sessions=open_sessions,
        about=request.console.about,
        utcnow=request.console.utcnow(),
        console_roles=tuple(role.value for role in sessions.ROLES),
    )


@page("POST", "/settings/operators", role=Role.ADMIN)
async def create_operator(request: ConsoleRequest) -> web.StreamResponse:
    """Create an operator and its token."""
    form = await request.form()
    with form.catching():
        wish = form.read(_NewOperator)
        lifetime = timedelta(days=wish.days) if wish.days else None
        async with request.desk.db.write() as tx:
            token = await principals.create(
                tx, wish.name, Role(wish.role), datetime.now(UTC), who=request.who, lifetime=lifetime
            )
        notice = _(
            "Operator %(name)s created. The token is for the REST API; for this console, create a sign-in link.",
            name=wish.name,
        )
        return request.redirect("/settings", notice=notice, reveal={_("Token"): token})
    return await _page(request, form)


@page("POST", "/settings/operators/{principal_id}/revocation", role=Role.ADMIN)
async def revoke_operator(request: ConsoleRequest, principal_id: str) -> web.StreamResponse:
    """Make an operator's token worthless and end its sessions."""
    async with request.desk.db.write() as tx:
        one = await principals.identified(tx.conn, principal_id)
        if one.id == request.principal.id:
            raise ConflictError(_("You can't revoke yourself. Another admin can."))
        await principals.revoke(tx, one.name, datetime.now(UTC), who=request.who)
    _forget_tokens(request)
    return request.redirect("/settings", notice=_("Operator %(name)s revoked.", name=one.name))


def _forget_tokens(request: ConsoleRequest) -> None:
    """Have the REST edge of this process look the token up again."""
    authenticator = request.http.config_dict.get(AUTHENTICATOR)
    if authenticator is not None:
        authenticator.clear()


@page("POST", "/settings/operators/{principal_id}/link", role=Role.ADMIN)
async def make_link(request: ConsoleRequest, principal_id: str) -> web.StreamResponse:
    """Make a link that signs an operator in, once."""
    async with request.desk.db.write() as tx:
        one = await principals.identified(tx.conn, principal_id)
        token = await sessions.new_link(tx, one.name, request.console.utcnow(), request.now, who=request.who)
    here = request.http.headers.get("Origin") or str(request.http.url.origin())
    link = f"{here}/link/{token}"
    notice = _("This link signs %(name)s in, once, within ten minutes.", name=one.name)
    return request.redirect("/settings", notice=notice, reveal={_("Link"): link})


@page("POST", "/settings/operators/{principal_id}/password", role=Role.ADMIN)
async def set_password(request: ConsoleRequest, principal_id: str) -> web.StreamResponse:
    """Give an operator a password; its sessions end."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Password)
        stored = await request.console.passwords.hash(wish.password)
        async with request.desk.db.write() as tx:
            one = await principals.identified(tx.conn, principal_id)
            await sessions.set_password(tx, one.name, stored, request.now, who=request.who)
            await sessions.end_others(tx, one.id, request.session if one.id == request.principal.id else None)
        return request.redirect(
            "/settings", notice=_("Password of %(name)s saved. Other sessions have ended.", name=one.name)
        )
    return await _page(request, form)


@page("POST", "/settings/sessions/{handle:[0-9a-f]{16}}/end", role=Role.ADMIN)
async def end_session(request: ConsoleRequest, handle: str) -> web.StreamResponse:
    """End anybody's session."""
    async with request.desk.db.write() as tx:
        found = await sessions.working(tx.conn, request.console.utcnow())
        one = next((each for each in found if each.handle == handle), None)
        if one is None:
            raise NotFoundError(_("That session has already ended."))
        await sessions.end(tx, one, request.now, who=request.who)
    return request.redirect("/settings", notice=_("Session of %(name)s ended.", name=one.principal.name))


PAGES = (show_settings, create_operator, revoke_operator, make_link, set_password, end_session)
