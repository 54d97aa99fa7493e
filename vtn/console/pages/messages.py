"""Messages for VENs on their way, and the last ones that came and went."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from vtn.console.request import ConsoleRequest
from vtn.services import pending, ven_view
from vtn.services.outbox import State
from web.auth import Role
from web.model import Model
from web.pages.page import page
from web.pages.translations import gettext as _
from web.pagination import Keyset

_PER_PAGE: Final = 100
_BY_NUMBER: Final = Keyset("outbox", int)


class _Filter(Model):
    state: State | None = None
    ven_id: Annotated[str, Field(max_length=80)] | None = None
    cursor: str | None = None


@page("GET", "/messages", role=Role.VIEWER)
async def list_messages(request: ConsoleRequest) -> web.StreamResponse:
    """Show messages for all VENs, newest first."""
    form = request.filters()
    wish = _Filter()
    with form.catching():
        wish = form.read(_Filter)
    before = _BY_NUMBER.decode(wish.cursor)
    async with request.desk.db.read() as conn:
        rows = await pending.messages(
            conn, ven_id=wish.ven_id, state=wish.state, before=before[0] if before else None, limit=_PER_PAGE + 1
        )
    listed = _BY_NUMBER.page(rows, _PER_PAGE, key=lambda row: (row.id,))
    return request.render("messages.html", form=form, page=listed, states=list(State))


@page("POST", "/messages/{row_id:[0-9]{1,18}}/again", role=Role.DISPATCHER)
async def send_again(request: ConsoleRequest, row_id: str) -> web.StreamResponse:
    """Queue a message that was given up once more."""
    async with request.desk.db.write() as tx:
        ven_id = await pending.send_again(tx, int(row_id), request.now, who=request.who)
    return request.redirect(
        f"/fleet/{ven_id}/messages", notice=_("The message will be sent at the VEN's next poll, or pushed to it.")
    )


@page("GET", "/fleet/{ven_id}/messages", role=Role.VIEWER)
async def show_messages(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Show what waits for a VEN, and what it said last."""
    async with request.desk.db.read() as conn:
        one = await ven_view.read(conn, ven_id)
        rows = await pending.messages(conn, ven_id=ven_id, limit=50)
    recent = request.console.recent
    names = [ven_id, *(each.fingerprint for each in one.certificates)]
    return request.render(
        "fleet/messages.html",
        ven=one,
        tab="messages",
        rows=rows,
        exchanges=recent.of(names) if recent is not None else None,
        kept_since=recent.since if recent is not None else None,
    )


PAGES = (list_messages, send_again, show_messages)
