"""The audit: who changed what."""

from datetime import date, datetime, time, timedelta, tzinfo
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from vtn.console.request import ConsoleRequest
from vtn.services import audit_log
from vtn.services.audit_log import AuditFilter
from web.auth import Role
from web.model import Model
from web.pages.page import page
from web.pagination import Keyset

_PER_PAGE: Final = 100
_BY_NUMBER: Final = Keyset("journal", int)


_Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]


class _Filter(Model):
    who: Annotated[str, Field(max_length=200)] | None = None
    action: Annotated[str, Field(max_length=40)] | None = None
    text: Annotated[str, Field(max_length=200)] | None = None
    since: _Day | None = None
    until: _Day | None = None
    cursor: str | None = None

    def value(self, zone: tzinfo) -> AuditFilter:
        """Return the filter; days are local ones, the last one included."""
        since = None if self.since is None else datetime.combine(self.since, time(), zone)
        until = None if self.until is None else datetime.combine(self.until + timedelta(days=1), time(), zone)
        return AuditFilter(self.who, self.action, self.text, since, until)


@page("GET", "/audit", role=Role.ADMIN)
async def list_audit(request: ConsoleRequest) -> web.StreamResponse:
    """Show changes, newest first."""
    form = request.filters()
    wish = _Filter()
    with form.catching():
        wish = form.read(_Filter)
    before = _BY_NUMBER.decode(wish.cursor)
    async with request.desk.db.read() as conn:
        wanted = wish.value(request.zone)
        rows = await audit_log.listing(conn, wanted, before=before[0] if before else None, limit=_PER_PAGE + 1)
        actions = await audit_log.actions(conn)
    listed = _BY_NUMBER.page(rows, _PER_PAGE, key=lambda row: (row.id,))
    return request.render("audit.html", form=form, page=listed, actions=actions)


PAGES = (list_audit,)
