"""Activations and settlements: what was bought, how it runs, what it cost, and what is disputed."""

from datetime import datetime, timedelta
from typing import Annotated

from aiohttp import web
from pydantic import Field

from aggregator.console.shared import (
    PER_PAGE,
    Kilowatts,
    LocalTime,
    Words,
    in_utc,
    kilowatt_text,
    listing,
    local_text,
    watts,
    zone_of,
)
from aggregator.intervals import PowerInterval
from aggregator.trade import (
    activation_changes,
    activations,
    contracts,
    live_view,
    nominations,
    reports,
    settlements,
    trade_view,
)
from aggregator.trade.activation_report import ActivationReport
from aggregator.trade.activations import Activation, ActivationEvent, ActivationStatus
from core.errors import InvalidError, NotFoundError
from vtn.console import ConsoleRequest, Form, page
from vtn.services import programme as programmes
from web.auth import Role
from web.model import Model
from web.pages.charts import Chart, Line, time_chart
from web.pages.translations import gettext as _

_ACTIVATIONS = listing("activations")
_SETTLEMENTS = listing("settlements")


class _Modified(Model):
    number: Annotated[int, Field(ge=0)]
    power: Kilowatts | None = None
    end: LocalTime | None = None


class _Cancelled(Model):
    reason: Words | None = None


@page("GET", "/market/activations", role=Role.VIEWER)
async def list_activations(request: ConsoleRequest) -> web.StreamResponse:
    """Show activations, newest first."""
    form = request.filters()
    status = form.value("status")
    wanted = ActivationStatus(status) if status in {one.value for one in ActivationStatus} else None
    async with request.desk.db.read() as conn:
        rows = await trade_view.listed_activations(
            conn,
            request.now,
            status=wanted,
            party_id=form.value("party_id") or None,
            before=_ACTIVATIONS.before(request),
            limit=PER_PAGE + 1,
        )
        names = await trade_view.names(conn)
    shown, following = _ACTIVATIONS.page(rows, lambda row: row.id)
    states = [one.value for one in ActivationStatus]
    return request.render(
        "market/activations.html", form=form, rows=shown, following=following, names=names, states=states
    )


@page("GET", "/market/activations/{activation_id}", role=Role.VIEWER)
async def show_activation(request: ConsoleRequest, activation_id: str) -> web.StreamResponse:
    """Show an activation: what was agreed, what is ordered, its report and settlements."""
    return await _page(request, activation_id, Form())


async def _page(request: ConsoleRequest, activation_id: str, form: Form) -> web.Response:
    asked = request.query.get("report", "")
    async with request.desk.db.read() as conn:
        one = await activations.get(conn, activation_id)
        contract = await contracts.get(conn, one.contract_id)
        rules = await programmes.get(conn, contract.programme_id)
        live = await live_view.live(conn, activation_id, request.now, stale_after_s=request.desk.stale_after_s)
        done = await live_view.interventions(conn, activation_id)
        made = await reports.versions(conn, activation_id)
        settled = await settlements.listed(conn, activation_id=activation_id)
        names = await trade_view.names(conn)
    status = one.status(request.now)
    report = next((it for it in made if str(it.version) == asked), made[-1] if made else None)
    if asked and (report is None or str(report.version) != asked):
        raise NotFoundError(_("There is no such version of the report."))
    zone = zone_of(rules)
    return request.render(
        "market/activation.html",
        zone=zone,
        form=form,
        one=one,
        state=status.value,
        can_modify=ActivationEvent.MODIFY in activations.TRANSITIONS[status],
        can_cancel=ActivationEvent.CANCEL in activations.TRANSITIONS[status],
        contract=contract,
        programme=rules,
        live=live,
        interventions=done,
        reports=made,
        report=report,
        chart=_chart(report, rules) if report else None,
        settlements=settled,
        names=names,
        end_text=local_text(one.ends_at, zone),
        power_text=kilowatt_text(max(it.power_w for it in one.intervals)),
    )


def _chart(report: ActivationReport, rules: programmes.Programme) -> Chart:
    ones = report.intervals
    edges = [*(it.start for it in ones), *([ones[-1].start + timedelta(seconds=ones[-1].duration_s)] if ones else [])]

    def line(name: str, field: str, *, dashed: bool = False) -> Line:
        values = [getattr(it, field) for it in ones]
        shown = [None if value is None else value / 1000 for value in (*values, *values[-1:])]
        return Line(name, edges, shown, step=True, dashed=dashed)

    lines = [
        line(_("baseline"), "baseline_w", dashed=True),
        line(_("actual"), "actual_w"),
        line(_("ordered"), "ordered_w"),
        line(_("delivered"), "delivered_w"),
    ]
    return time_chart("report-chart", _("Report to the BRP"), "kW", lines, zone=zone_of(rules))


@page("GET", "/market/activations/{activation_id}/report.csv", role=Role.VIEWER)
async def export_report(request: ConsoleRequest, activation_id: str) -> web.StreamResponse:
    """Give a report's intervals as CSV."""
    asked = request.query.get("version", "")
    async with request.desk.db.read() as conn:
        version = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 8 else None  # noqa: PLR2004
        found = await reports.get(conn, activation_id, version=version)
    name = f"{activation_id}-report-{found.version}.csv"
    return request.file(reports.to_csv(found), "text/csv; charset=utf-8", name)


@page("POST", "/market/activations/{activation_id}/change", role=Role.DISPATCHER)
async def change_activation(request: ConsoleRequest, activation_id: str) -> web.StreamResponse:
    """Order less of it, or its end earlier; the BRP and the VENs are told."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Modified)
        async with request.desk.db.write() as tx:
            one = await activations.get(tx.conn, activation_id)
            contract = await contracts.get(tx.conn, one.contract_id)
            rules = await programmes.get(tx.conn, contract.programme_id)
            new = _changed(one, wish, rules, request.now)
            await activation_changes.modify(
                tx, activation_id, new, request.now, who=request.who, expected_number=wish.number
            )
        return request.redirect(
            f"/market/activations/{activation_id}", notice=_("Changed. The BRP and the VENs are notified.")
        )
    return await _page(request, activation_id, form)


def _changed(
    activation: Activation, fields: _Modified, rules: programmes.Programme, now: datetime
) -> list[PowerInterval]:
    """Return the intervals with another power from the next step on, and cut at another end."""
    grid = activation.grid
    free, end = grid.at(grid.ahead(now)), activation.ends_at
    if fields.end is not None:
        try:
            end = in_utc(fields.end, zone_of(rules))
        except InvalidError as error:
            raise InvalidError(str(error), field="end") from error
    if end <= activation.starts_at:
        raise InvalidError(_("The end must be after the start."), field="end")
    new = []
    for part in activation.intervals:
        stop = min(part.end, end)
        for start, until, power_w in (
            (part.start, min(stop, free), part.power_w),
            (max(part.start, free), stop, part.power_w if fields.power is None else watts(fields.power)),
        ):
            if start < until:
                new.append(PowerInterval(start, round((until - start).total_seconds()), power_w))
    return new


@page("POST", "/market/activations/{activation_id}/cancellation", role=Role.DISPATCHER)
async def cancel_activation(request: ConsoleRequest, activation_id: str) -> web.StreamResponse:
    """End an activation now, for the BRP and all its VENs."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Cancelled)
        async with request.desk.db.write() as tx:
            await activation_changes.cancel(tx, activation_id, request.now, who=request.who, reason=wish.reason)
        return request.redirect(
            f"/market/activations/{activation_id}", notice=_("Cancelled. The BRP and the VENs are notified.")
        )
    return await _page(request, activation_id, form)


# -- settlements


@page("GET", "/market/settlements", role=Role.VIEWER)
async def list_settlements(request: ConsoleRequest) -> web.StreamResponse:
    """Show settlements, newest first; `?only=disputed` those that are disputed."""
    form = request.filters()
    before = _SETTLEMENTS.before(request)
    async with request.desk.db.read() as conn:
        if form.value("only") == trade_view.DISPUTED:
            rows = await trade_view.disputed(conn, before=before, limit=PER_PAGE + 1)
        else:
            rows = await settlements.listed(
                conn, party_id=form.value("party_id") or None, before=before, limit=PER_PAGE + 1
            )
        names = await trade_view.names(conn)
    shown, following = _SETTLEMENTS.page(rows, lambda row: row.id)
    return request.render("market/settlements.html", form=form, rows=shown, following=following, names=names)


@page("GET", "/market/settlements/{settlement_id}", role=Role.VIEWER)
async def show_settlement(request: ConsoleRequest, settlement_id: str) -> web.StreamResponse:
    """Show a settlement with its versions, and what it is disputed for."""
    return await settlement_page(request, settlement_id, Form())


async def settlement_page(request: ConsoleRequest, settlement_id: str, form: Form) -> web.Response:
    """Return the page of a settlement, with a form that answers its dispute."""
    async with request.desk.db.read() as conn:
        one = await settlements.get(conn, settlement_id)
        every = await settlements.listed(conn, activation_id=one.activation_id)
        contract = await contracts.get(conn, one.contract_id)
        rules = await programmes.get(conn, contract.programme_id)
        names = await trade_view.names(conn)
    return request.render("market/settlement.html", zone=zone_of(rules), one=one, every=every, names=names, form=form)


# -- nominations


@page("GET", "/market/contracts/{contract_id}/nominations", role=Role.VIEWER)
async def show_nominations(request: ConsoleRequest, contract_id: str) -> web.StreamResponse:
    """Show what both sides nominated for a day (UTC)."""
    day = request.query.get("day") or request.now.date().isoformat()
    form = Form({"day": [day]})
    found: list[nominations.Nomination] = []
    async with request.desk.db.read() as conn:
        contract = await contracts.get(conn, contract_id)
        with form.catching("day"):
            found = await nominations.revisions(conn, contract_id, day)
        names = await trade_view.names(conn)
    newest = {one.declared_by: one for one in found}
    return request.render(
        "market/nominations.html",
        form=form,
        contract=contract,
        names=names,
        day=day,
        revisions=list(reversed(found)),
        chart=_nominated(newest, day, request) if newest else None,
    )


def _nominated(newest: dict[str, nominations.Nomination], day: str, request: ConsoleRequest) -> Chart:
    midnight = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    lines = []
    for side, one in newest.items():
        times = [midnight + timedelta(seconds=one.step_s * number) for number in range(len(one.power_w) + 1)]
        values: list[float | None] = [value / 1000 for value in (*one.power_w, one.power_w[-1])]
        name = _("by the BRP") if side == "brp" else _("by the aggregator")
        lines.append(Line(name, times, values, step=True))
    return time_chart("nominated", _("Nominated consumption, latest revisions"), "kW", lines, zone=request.zone)


PAGES = (
    list_activations,
    show_activation,
    export_report,
    change_activation,
    cancel_activation,
    list_settlements,
    show_settlement,
    show_nominations,
)
