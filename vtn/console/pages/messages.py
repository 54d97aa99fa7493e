"""Messages for VENs on their way, and the log of those that came and went."""

from datetime import date, datetime, time, timedelta, tzinfo
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from core.errors import NotFoundError
from vtn.console.request import ConsoleRequest
from vtn.services import message_log, message_record, pending, ven_view
from vtn.services.message_log import LogFilter, LogLine, MessageSender, SubjectKind
from vtn.services.outbox import State
from vtn.transport.redaction import readable
from web.auth import Role
from web.model import Model
from web.pages.page import page
from web.pages.translations import gettext as _
from web.pagination import Keyset

_PER_PAGE: Final = 100
_BY_NUMBER: Final = Keyset("outbox", int)
_NEWEST_FIRST: Final = Keyset("messages", datetime, str)
_EXCHANGES: Final = 50
_QUEUED: Final = 50


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


_Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]


class _Shown(Model):
    type: Annotated[str, Field(max_length=60)] | None = None
    event: Annotated[str, Field(max_length=120)] | None = None
    since: _Day | None = None
    until: _Day | None = None
    faults: bool = False
    cursor: str | None = None

    def value(self, ven_id: str, zone: tzinfo) -> LogFilter:
        """Return the filter; days are local ones, the last one included."""
        since = None if self.since is None else datetime.combine(self.since, time(), zone)
        until = None if self.until is None else datetime.combine(self.until + timedelta(days=1), time(), zone)
        return LogFilter(ven_id, self.event, self.type, since, until, self.faults)


@page("GET", "/fleet/{ven_id}/messages", role=Role.VIEWER)
async def show_messages(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Show what waits for a VEN, and the log of what it said and heard."""
    form = request.filters()
    wish = _Shown()
    with form.catching():
        wish = form.read(_Shown)
    before = _NEWEST_FIRST.decode(wish.cursor)
    async with request.desk.db.read() as conn:
        ven = await ven_view.read(conn, ven_id)
        rows = await pending.messages(conn, ven_id=ven_id, limit=_QUEUED)
        lines = await message_log.listing(
            conn,
            wish.value(ven_id, request.zone),
            before=(before[0], before[1]) if before else None,
            limit=_EXCHANGES + 1,
        )
        types = await message_log.types(conn, ven_id)
    return request.render(
        "fleet/messages.html",
        ven=ven,
        tab="messages",
        rows=rows,
        form=form,
        log=_NEWEST_FIRST.page(lines, _EXCHANGES, key=lambda line: (line.at, line.id)),
        types=types,
        outcome=_outcome,
    )


@page("GET", "/fleet/{ven_id}/message-record", role=Role.VIEWER)
async def download_record(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Answer with a file of the messages that the log shows by the same filter, for `evenload conform replay`."""
    form = request.filters()
    async with request.desk.db.read() as conn:
        await ven_view.get(conn, ven_id)
    with form.catching():
        wanted = form.read(_Shown).value(ven_id, request.zone)
        body = message_record.record(request.desk.db, ven_id, wanted)
        return request.file(body, "application/json", f"messages-{ven_id}.json")
    return request.redirect(f"/fleet/{ven_id}/messages?{request.query_text}")


@page("GET", "/fleet/{ven_id}/messages/{message_id}", role=Role.VIEWER)
async def show_message(request: ConsoleRequest, ven_id: str, message_id: str) -> web.StreamResponse:
    """Show one exchange of a VEN, without its secrets."""
    async with request.desk.db.read() as conn:
        ven = await ven_view.read(conn, ven_id)
        line = await message_log.get(conn, message_id)
    if line.who not in {ven_id, *(each.fingerprint for each in ven.certificates)}:
        raise NotFoundError(f"There is no message {message_id} of this VEN in the log.")
    message, answer = line.texts() or ("", "")
    return request.render(
        "fleet/message.html",
        ven=ven,
        tab="messages",
        line=line,
        pushed=line.sender == MessageSender.VTN,
        events=line.named(SubjectKind.EVENT),
        reports=line.named(SubjectKind.REPORT_REQUEST),
        requests=line.named(SubjectKind.REQUEST),
        message=readable(message),
        answer=readable(answer),
        outcome=_outcome,
    )


def _outcome(line: LogLine) -> str:
    """Return in a word or two what came of a message."""
    if line.status is None:
        return _("no answer")
    if line.code is None or line.status != 200:  # noqa: PLR2004
        return _("HTTP %(status)s", status=line.status)
    return str(line.code)


PAGES = (list_messages, send_again, show_messages, download_record, show_message)
