"""Signing in by password or one-time link, and out."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from core.errors import ForbiddenError
from vtn.console.request import ConsoleRequest
from vtn.services import sessions
from web.attempts import attempting, network_of
from web.auth import Principal
from web.callers import address_of
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import N_
from web.pages.translations import gettext as _

_WRONG: Final = N_("Wrong name or password, or the operator has been revoked.")


class _Login(Model):
    name: Annotated[str, Field(max_length=200)]
    password: Annotated[str, Field(max_length=1000)]
    next: Annotated[str, Field(max_length=2000)] = "/"


@page("GET", "/login", role=None)
async def show_login(request: ConsoleRequest) -> web.StreamResponse:
    """Show the sign-in form; who is signed in already goes on."""
    where = local_path(request.query.get("next", "/"))
    if request.session is not None:
        return request.redirect(where)
    return _form(request, Form(), where)


@page("POST", "/login", role=None)
async def login(request: ConsoleRequest) -> web.StreamResponse:
    """Sign in by name and password; every refusal takes as long and says the same.

    An attempt counts before its password is looked at, or many at once would all be tried.
    """
    form = await request.form()
    with form.catching():
        wish = form.read(_Login)
        frame, address = request.console, address_of(request.http)
        device = request.http.cookies.get(frame.cookies.device, "")
        is_known = bool(device) and await _is_known(request, device, wish.name)
        limits = frame.limits.of_known(device) if is_known else frame.limits.of_stranger(wish.name, address)
        with attempting(limits) as attempt:
            async with request.desk.db.read() as conn:
                who, stored = await sessions.by_name(conn, wish.name, frame.utcnow())
            caller = f"device {device}" if is_known else network_of(address)
            fits = await frame.passwords.matches(wish.password, stored, caller, is_known=is_known)
            attempt.is_good = who is not None and fits
        if who is not None and fits:
            return await _begin(request, who, local_path(wish.next), "password")
        form.fail(_(_WRONG))
    return _form(request, form, local_path(form.value("next", "/")))


async def _is_known(request: ConsoleRequest, device: str, name: str) -> bool:
    async with request.desk.db.read() as conn:
        return await sessions.is_known_device(conn, device, name, request.console.utcnow())


def _form(request: ConsoleRequest, form: Form, where: str) -> web.Response:
    return request.render("session/login.html", form=form, next=where)


def local_path(text: str) -> str:
    """Return where to go after signing in: a path of ours, whatever the address said."""
    inside = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if inside and not text.startswith(("/login", "/link/", "/logout")) else "/"


async def _begin(request: ConsoleRequest, who: Principal, where: str, how: str, link: str = "") -> web.Response:
    """Start a fresh session, whatever the browser had before; from now on the browser is known."""
    now, frame = request.console.utcnow(), request.console
    async with request.desk.db.write() as tx:
        if link:
            who = await sessions.use_link(tx, link, now)
        if request.session is not None:
            await sessions.end(tx, request.session, request.now, who=request.who)
        token = await sessions.begin(tx, who, now, request.now, how=how)
        device = await sessions.remember_device(tx, who, now, request.http.cookies.get(frame.cookies.device))
    answer = request.redirect(where)
    frame.cookies.set_session(answer, token)
    frame.cookies.set_device(answer, device)
    return answer


async def _owner(request: ConsoleRequest, token: str) -> Principal | None:
    """Return whom a link signs in, or None. A good one is no guess; others count against their address."""
    async with request.desk.db.read() as conn:
        owner = await sessions.link_owner(conn, token, request.console.utcnow())
    if owner is None:
        request.console.limits.by_address.refuse(address_of(request.http))
    return owner


@page("GET", "/link/{token}", role=None)
async def show_link(request: ConsoleRequest, token: str) -> web.StreamResponse:
    """Ask before a link is used up: mail programs and chats open links to preview them."""
    owner = await _owner(request, token)
    return request.render("session/link.html", owner=owner, status=200 if owner else 404)


@page("POST", "/link/{token}", role=None)
async def use_link(request: ConsoleRequest, token: str) -> web.StreamResponse:
    """Sign in by a link."""
    owner = await _owner(request, token)
    if owner is None:
        raise ForbiddenError(
            _("This sign-in link is unknown, has been used, or is older than ten minutes. Ask for a new one.")
        )
    return await _begin(request, owner, "/", "link", token)


@page("POST", "/logout", role=None)
async def logout(request: ConsoleRequest) -> web.StreamResponse:
    """Sign out; without a session that is no fault."""
    answer = request.redirect("/login", notice=_("You have signed out."))
    if request.session is not None:
        async with request.desk.db.write() as tx:
            await sessions.end(tx, request.session, request.now, who=request.who)
    request.console.cookies.drop_session(answer)
    return answer


PAGES = (show_login, login, show_link, use_link, logout)
