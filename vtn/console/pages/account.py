"""One's own account: password and sessions."""

from aiohttp import web

from core.errors import InvalidError, NotFoundError
from vtn.console.page import Visit, page
from vtn.services import sessions
from web.attempts import attempting
from web.auth import Role
from web.model import Model
from web.pages.forms import Form


class _Change(Model):
    present: str | None = None
    password: str
    again: str


@page("GET", "/account", role=Role.VIEWER)
async def show_account(visit: Visit) -> web.StreamResponse:
    """Show one's own account."""
    return await _page(visit, Form())


async def _page(visit: Visit, form: Form) -> web.Response:
    async with visit.desk.db.read() as conn:
        mine = await sessions.working(conn, visit.frame.utcnow(), principal_id=visit.principal.id)
        _, stored = await sessions.by_name(conn, visit.who, visit.frame.utcnow())
    return visit.render("account.html", form=form, sessions=mine, has_password=stored is not None)


@page("POST", "/account/password", role=Role.VIEWER)
async def change_password(visit: Visit) -> web.StreamResponse:
    """Change one's own password; who has one must know it."""
    form = await visit.form()
    frame = visit.frame
    with form.catching():
        wish = form.read(_Change)
        async with visit.desk.db.read() as conn:
            _, stored = await sessions.by_name(conn, visit.who, frame.utcnow())
        if stored is not None:
            with attempting(frame.limits.of_known(visit.principal.id), wrong=InvalidError) as attempt:
                caller = visit.principal.id
                if not await frame.passwords.matches(wish.present or "", stored, caller, is_known=True):
                    raise InvalidError("This is not your password.", field="present")
                attempt.is_good = True
        if wish.password != wish.again:
            raise InvalidError("This is not what you wrote above.", field="again")
        new = await frame.passwords.hash(wish.password)
        async with visit.desk.db.write() as tx:
            await sessions.set_password(tx, visit.who, new, visit.now, who=visit.who)
            await sessions.end_others(tx, visit.principal.id, visit.session)
        return visit.redirect("/account", notice="The new password counts; your other sessions have ended.")
    return await _page(visit, form)


@page("POST", "/account/sessions/{handle:[0-9a-f]{16}}/end", role=Role.VIEWER)
async def end_own_session(visit: Visit, handle: str) -> web.StreamResponse:
    """End one of one's own sessions."""
    async with visit.desk.db.write() as tx:
        mine = await sessions.working(tx.conn, visit.frame.utcnow(), principal_id=visit.principal.id)
        one = next((each for each in mine if each.handle == handle), None)
        if one is None:
            raise NotFoundError("That session is over already.")
        await sessions.end(tx, one, visit.now, who=visit.who)
    return visit.redirect("/account", notice="That session has ended.")


PAGES = (show_account, change_password, end_own_session)
