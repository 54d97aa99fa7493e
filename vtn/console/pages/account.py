"""One's own account: password and sessions."""

from aiohttp import web

from core.errors import InvalidError, NotFoundError
from vtn.console.request import ConsoleRequest
from vtn.services import sessions
from web.attempts import attempting
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import gettext as _


class _Change(Model):
    present: str | None = None
    password: str
    again: str


@page("GET", "/account", role=Role.VIEWER)
async def show_account(request: ConsoleRequest) -> web.StreamResponse:
    """Show one's own account."""
    return await _page(request, Form())


async def _page(request: ConsoleRequest, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        mine = await sessions.working(conn, request.console.utcnow(), principal_id=request.principal.id)
        stored = (await sessions.by_name(conn, request.who, request.console.utcnow()))[1]
    return request.render("account.html", form=form, sessions=mine, has_password=stored is not None)


@page("POST", "/account/password", role=Role.VIEWER)
async def change_password(request: ConsoleRequest) -> web.StreamResponse:
    """Change one's own password; who has one must know it."""
    form = await request.form()
    frame = request.console
    with form.catching():
        wish = form.read(_Change)
        async with request.desk.db.read() as conn:
            stored = (await sessions.by_name(conn, request.who, frame.utcnow()))[1]
        if stored is not None:
            with attempting(frame.limits.of_known(request.principal.id), wrong=InvalidError) as attempt:
                caller = request.principal.id
                if not await frame.passwords.matches(wish.present or "", stored, caller, is_known=True):
                    raise InvalidError(_("This is not your password."), field="present")
                attempt.is_good = True
        if wish.password != wish.again:
            raise InvalidError(_("The two passwords differ."), field="again")
        new = await frame.passwords.hash(wish.password)
        async with request.desk.db.write() as tx:
            await sessions.set_password(tx, request.who, new, request.now, who=request.who)
            await sessions.end_others(tx, request.principal.id, request.session)
        return request.redirect("/account", notice=_("Password saved. Your other sessions have ended."))
    return await _page(request, form)


@page("POST", "/account/sessions/{handle:[0-9a-f]{16}}/end", role=Role.VIEWER)
async def end_own_session(request: ConsoleRequest, handle: str) -> web.StreamResponse:
    """End one of one's own sessions."""
    async with request.desk.db.write() as tx:
        mine = await sessions.working(tx.conn, request.console.utcnow(), principal_id=request.principal.id)
        one = next((each for each in mine if each.handle == handle), None)
        if one is None:
            raise NotFoundError(_("That session has already ended."))
        await sessions.end(tx, one, request.now, who=request.who)
    return request.redirect("/account", notice=_("Session ended."))


PAGES = (show_account, change_password, end_own_session)
