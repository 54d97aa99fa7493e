"""Settings: operators with their tokens, passwords and sessions, and what this server runs with."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from core.errors import ConflictError, NotFoundError
from vtn.console.page import Visit, page
from vtn.services import principals, sessions
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.server import AUTHENTICATOR


class _NewOperator(Model):
    name: Annotated[str, Field(min_length=1, max_length=principals.LONGEST_NAME)]
    role: Literal["viewer", "dispatcher", "admin"] = "viewer"
    days: Annotated[int, Field(ge=1, le=principals.LONGEST_DAYS)] | None = None


class _Password(Model):
    password: str


@page("GET", "/settings", role=Role.ADMIN)
async def show_settings(visit: Visit) -> web.StreamResponse:
    """Show operators, sessions, and what the server runs with."""
    return await _page(visit, Form())


async def _page(visit: Visit, form: Form) -> web.Response:
    async with visit.desk.db.read() as conn:
        everyone = await principals.everyone(conn)
        with_password = await sessions.with_password(conn)
        open_sessions = await sessions.working(conn, visit.frame.utcnow())
    return visit.render(
        "settings.html",
        form=form,
        principals=everyone,
        with_password=with_password,
        sessions=open_sessions,
        about=visit.frame.about,
        utcnow=visit.frame.utcnow(),
        console_roles=tuple(role.value for role in sessions.ROLES),
    )


@page("POST", "/settings/operators", role=Role.ADMIN)
async def create_operator(visit: Visit) -> web.StreamResponse:
    """Create an operator and its token."""
    form = await visit.form()
    with form.catching():
        wish = form.read(_NewOperator)
        lifetime = timedelta(days=wish.days) if wish.days else None
        async with visit.desk.db.write() as tx:
            token = await principals.create(
                tx, wish.name, Role(wish.role), datetime.now(UTC), who=visit.who, lifetime=lifetime
            )
        notice = (
            f"{wish.name} is a {wish.role} now. The token is for the REST API; for this console make a sign-in link."
        )
        return visit.redirect("/settings", notice=notice, reveal={"Token": token})
    return await _page(visit, form)


@page("POST", "/settings/operators/{principal_id}/revocation", role=Role.ADMIN)
async def revoke_operator(visit: Visit, principal_id: str) -> web.StreamResponse:
    """Make an operator's token worthless and end its sessions."""
    async with visit.desk.db.write() as tx:
        one = await principals.identified(tx.conn, principal_id)
        if one.id == visit.principal.id:
            raise ConflictError("You cannot revoke yourself; another admin can.")
        await principals.revoke(tx, one.name, datetime.now(UTC), who=visit.who)
    _forget_tokens(visit)
    return visit.redirect("/settings", notice=f"{one.name} is revoked.")


def _forget_tokens(visit: Visit) -> None:
    """Have the REST edge of this process look the token up again."""
    authenticator = visit.request.config_dict.get(AUTHENTICATOR)
    if authenticator is not None:
        authenticator.clear()


@page("POST", "/settings/operators/{principal_id}/link", role=Role.ADMIN)
async def make_link(visit: Visit, principal_id: str) -> web.StreamResponse:
    """Make a link that signs an operator in, once."""
    async with visit.desk.db.write() as tx:
        one = await principals.identified(tx.conn, principal_id)
        token = await sessions.new_link(tx, one.name, visit.frame.utcnow(), visit.now, who=visit.who)
    here = visit.request.headers.get("Origin") or str(visit.request.url.origin())
    link = f"{here}/link/{token}"
    notice = f"This link signs {one.name} in, once, within ten minutes."
    return visit.redirect("/settings", notice=notice, reveal={"Link": link})


@page("POST", "/settings/operators/{principal_id}/password", role=Role.ADMIN)
async def set_password(visit: Visit, principal_id: str) -> web.StreamResponse:
    """Give an operator a password; its sessions end."""
    form = await visit.form()
    with form.catching():
        wish = form.read(_Password)
        stored = await visit.frame.passwords.hash(wish.password)
        async with visit.desk.db.write() as tx:
            one = await principals.identified(tx.conn, principal_id)
            await sessions.set_password(tx, one.name, stored, visit.now, who=visit.who)
            await sessions.end_others(tx, one.id, visit.session if one.id == visit.principal.id else None)
        return visit.redirect("/settings", notice=f"{one.name} has a new password; other sessions have ended.")
    return await _page(visit, form)


@page("POST", "/settings/sessions/{handle:[0-9a-f]{16}}/end", role=Role.ADMIN)
async def end_session(visit: Visit, handle: str) -> web.StreamResponse:
    """End anybody's session."""
    async with visit.desk.db.write() as tx:
        found = await sessions.working(tx.conn, visit.frame.utcnow())
        one = next((each for each in found if each.handle == handle), None)
        if one is None:
            raise NotFoundError("That session is over already.")
        await sessions.end(tx, one, visit.now, who=visit.who)
    return visit.redirect("/settings", notice=f"A session of {one.principal.name} has ended.")


PAGES = (show_settings, create_operator, revoke_operator, make_link, set_password, end_session)
