"""Monthly statements of a contract: each version, what differs, to take away; and the answer to a dispute."""

import asyncio
from typing import Annotated

from aiohttp import web
from pydantic import Field

from aggregator.console.activation_pages import settlement_page
from aggregator.console.shared import PER_PAGE, listing, zone_of
from aggregator.trade import brps, contracts, settlements, statements, trade_view
from aggregator.trade.statement_pdf import to_pdf
from aggregator.trade.statements import Statement
from metrics.days import zone_named
from vtn.console import ConsoleRequest, Form, page
from vtn.services import programme as programmes
from web.auth import Role
from web.model import Model
from web.pages.charts import Chart, Line, time_chart
from web.pages.translations import gettext as _

_STATEMENTS = listing("statements")


class _Wish(Model):
    month: Annotated[str, Field(max_length=7)]


class _Answer(Model):
    answer: Annotated[str, Field(min_length=1, max_length=2000)]


@page("GET", "/market/contracts/{contract_id}/statements", role=Role.VIEWER)
async def list_statements(request: ConsoleRequest, contract_id: str) -> web.StreamResponse:
    """Show the statements of a contract, newest first."""
    return await _listing(request, contract_id, Form())


async def _listing(request: ConsoleRequest, contract_id: str, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        contract = await contracts.get(conn, contract_id)
        rules = await programmes.get(conn, contract.programme_id)
        rows = await statements.listed(
            conn, contract_id=contract_id, before=_STATEMENTS.before(request), limit=PER_PAGE + 1
        )
        names = await trade_view.names(conn)
    zone = zone_of(rules)
    shown, following = _STATEMENTS.page(rows, lambda row: row.id)
    if "month" not in form.names():
        errors = form.errors
        form = Form({"month": [request.now.astimezone(zone).strftime("%Y-%m")]})
        form.errors = errors
    return request.render(
        "market/statements.html",
        zone=zone,
        form=form,
        contract=contract,
        rows=shown,
        following=following,
        names=names,
    )


@page("POST", "/market/contracts/{contract_id}/statements", role=Role.DISPATCHER)
async def make_statement(request: ConsoleRequest, contract_id: str) -> web.StreamResponse:
    """Make the statement of a month; a new version only if something has changed."""
    form = await request.form()
    with form.catching("month"):
        wish = form.read(_Wish)
        async with request.desk.db.write() as tx:
            made = await statements.make(tx, contract_id, wish.month, request.now, who=request.who)
        is_new = made.created_at == request.now
        text = _("Made.") if is_new else _("Nothing has changed since this version.")
        return request.redirect(f"/market/statements/{made.id}", notice=text)
    return await _listing(request, contract_id, form)


@page("GET", "/market/statements/{statement_id}", role=Role.VIEWER)
async def show_statement(request: ConsoleRequest, statement_id: str) -> web.StreamResponse:
    """Show a statement: its sums, each activation, disputes, and what differs from the version before."""
    async with request.desk.db.read() as conn:
        one = await statements.get(conn, statement_id)
        every = await statements.listed(conn, contract_id=one.contract_id, month=one.month)
        names = await trade_view.names(conn)
    return request.render(
        "market/statement.html",
        zone=zone_named(one.content.time_zone),
        one=one,
        every=every,
        names=names,
        chart=_chart(one) if any(it.figures for it in one.content.activations) else None,
    )


def _chart(stated: Statement) -> Chart:
    """Draw what was ordered and paid for, summed over the month."""
    times, ordered, paid = [stated.content.starts_at], [0.0], [0.0]
    for row in stated.content.activations:
        if row.figures is not None:
            times.append(row.ends_at)
            ordered.append(ordered[-1] + float(row.figures.ordered_kwh))
            paid.append(paid[-1] + float(row.figures.delivered_kwh))
    times.append(max(stated.content.ends_at, times[-1]))
    lines = [
        Line(_("ordered"), times, [*ordered, ordered[-1]], step=True, dashed=True),
        Line(_("delivered and paid"), times, [*paid, paid[-1]], step=True),
    ]
    return time_chart(
        "statement", _("Energy since the month began"), "kWh", lines, zone=zone_named(stated.content.time_zone)
    )


@page("GET", "/market/statements/{statement_id}/statement.csv", role=Role.VIEWER)
async def export_statement(request: ConsoleRequest, statement_id: str) -> web.StreamResponse:
    """Give a statement's activations as CSV."""
    async with request.desk.db.read() as conn:
        one = await statements.get(conn, statement_id)
    name = f"{one.contract_id}-{one.month}-{one.version}.csv"
    return request.file(statements.to_csv(one), "text/csv; charset=utf-8", name)


@page("GET", "/market/statements/{statement_id}/statement.pdf", role=Role.VIEWER)
async def print_statement(request: ConsoleRequest, statement_id: str) -> web.StreamResponse:
    """Give a statement as PDF."""
    async with request.desk.db.read() as conn:
        one = await statements.get(conn, statement_id)
        name = await brps.name_of(conn, one.party_id)
    raw = await asyncio.to_thread(to_pdf, one, name)
    return request.file(raw, "application/pdf", f"{one.contract_id}-{one.month}-{one.version}.pdf")


@page("POST", "/market/settlements/{settlement_id}/answer", role=Role.DISPATCHER)
async def answer_dispute(request: ConsoleRequest, settlement_id: str) -> web.StreamResponse:
    """Answer a dispute; the BRP reads it in the settlement and in the statement."""
    form = await request.form()
    with form.catching("answer"):
        wish = form.read(_Answer)
        async with request.desk.db.write() as tx:
            await settlements.answer(tx, settlement_id, wish.answer, request.now, who=request.who)
        return request.redirect(f"/market/settlements/{settlement_id}", notice=_("Answered. The BRP can read it."))
    return await settlement_page(request, settlement_id, form)


PAGES = (list_statements, make_statement, show_statement, export_statement, print_statement, answer_dispute)
