"""A VEN's report registry, report requests, and the communication test."""

from datetime import UTC, datetime
from typing import Annotated

from aiohttp import web
from pydantic import Field, NaiveDatetime

from core.errors import ConflictError, InvalidError
from core.ids import new_id
from core.spans import ZERO
from openadr.model.report import ReportRequest
from vtn.api.fields import Printable
from vtn.console.request import ConsoleRequest
from vtn.services import report as reports
from vtn.services import ven_view
from vtn.services.wanted import shortfalls
from vtn.transport.v20b.check import check_request
from web.auth import Role
from web.model import IsoDuration, Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import gettext as _

_LOCAL_LEAST = datetime(1970, 2, 1)  # noqa: DTZ001  as a browser sends it: local, the page says in which zone
_LOCAL_MOST = datetime(2199, 12, 1)  # noqa: DTZ001


class _NewRequest(Model):
    r_ids: Annotated[list[Annotated[Printable, Field(max_length=200)]], Field(min_length=1, max_length=500)] = Field(
        default_factory=list
    )
    specifier_id: Annotated[Printable, Field(min_length=1, max_length=200)]
    granularity: IsoDuration = ZERO
    report_back: IsoDuration = ZERO
    start: Annotated[NaiveDatetime, Field(ge=_LOCAL_LEAST, le=_LOCAL_MOST)] | None = None
    duration: IsoDuration | None = None


@page("GET", "/fleet/{ven_id}/reports", role=Role.VIEWER)
async def show_reports(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Show what a VEN offers and what was asked of it."""
    return await _page(request, ven_id, Form())


async def _page(request: ConsoleRequest, ven_id: str, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        one = await ven_view.read(conn, ven_id)
        offers = await reports.offered(conn, ven_id)
        requests = await reports.requests_of(conn, ven_id)
    return request.render(
        "fleet/reports.html",
        ven=one,
        tab="reports",
        form=form,
        offers=offers,
        requests=list(reversed(requests)),
        shortfalls=shortfalls(request.desk.settings.wanted_reports, offers, request.now),
        chosen=form.value("specifier_id", request.query.get("offer", "")),
    )


@page("POST", "/fleet/{ven_id}/reports", role=Role.DISPATCHER)
async def request_report(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Ask a VEN for a report: once, or from now on."""
    form = await request.form()
    with form.catching():
        wish = form.read(_NewRequest)
        if not wish.r_ids:
            raise InvalidError(_("Select at least one data point."))
        asked = _request(request, wish)
        await check_request(asked)
        async with request.desk.db.write() as tx:
            one = await ven_view.read(tx.conn, ven_id)
            if one.removed_at is not None:
                raise ConflictError(_("%(ven)s has been removed.", ven=one.name))
            await reports.request(tx, ven_id, asked, request.now, who=request.who)
        return request.redirect(
            f"/fleet/{ven_id}/reports", notice=_("The report will be requested at the VEN's next poll, or by push.")
        )
    return await _page(request, ven_id, form)


def _request(request: ConsoleRequest, fields: _NewRequest) -> ReportRequest:
    """Return the request; one for regular reports begins now and goes on, unless the form says otherwise."""
    again = bool(fields.report_back)
    start = None if fields.start is None else fields.start.replace(tzinfo=request.zone).astimezone(UTC)
    if start is None and (again or fields.duration is not None):
        start = request.now.replace(microsecond=0)
    duration = ZERO if again and fields.duration is None else fields.duration
    parts = (tuple(fields.r_ids), fields.granularity, fields.report_back, start, duration)
    return ReportRequest(new_id("rrq"), fields.specifier_id, *parts)


@page("POST", "/fleet/{ven_id}/reports/{request_id}/cancellation", role=Role.DISPATCHER)
async def cancel_report(request: ConsoleRequest, ven_id: str, request_id: str) -> web.StreamResponse:
    """Stop a report."""
    async with request.desk.db.write() as tx:
        await ven_view.round_trip(tx.conn, ven_id, request_id)
        await reports.cancel(tx, request_id, request.now, who=request.who)
    return request.redirect(f"/fleet/{ven_id}/reports", notice=_("The VEN will be told to stop this report."))


@page("POST", "/fleet/{ven_id}/test", role=Role.DISPATCHER)
async def begin_test(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Try the way to a VEN and back: ask for one report and watch when what comes."""
    async with request.desk.db.write() as tx:
        name = await ven_view.testable_report(tx.conn, ven_id)
        if name is None:
            raise ConflictError(_("This VEN offers no report to request. It must register its reports first."))
        request_id = await reports.request_now(tx, ven_id, name, request.now, who=request.who)
    return request.redirect(f"/fleet/{ven_id}/test/{request_id}")


@page("GET", "/fleet/{ven_id}/test/{request_id}", role=Role.VIEWER)
async def show_test(request: ConsoleRequest, ven_id: str, request_id: str) -> web.StreamResponse:
    """Show how far the test has come; the page keeps itself fresh."""
    async with request.desk.db.read() as conn:
        one = await ven_view.read(conn, ven_id)
        trip = await ven_view.round_trip(conn, ven_id, request_id)
    return request.render(
        "fleet/test.html", ven=one, tab="test", trip=trip, poll_period=request.desk.settings.poll_period
    )


PAGES = (show_reports, request_report, cancel_report, begin_test, show_test)
