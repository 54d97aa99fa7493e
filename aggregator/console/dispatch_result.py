"""What a dispatch brought: chart, metrics, each VEN with its baseline, versions, exports, report and settlement."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from aggregator.console.shared import zone_of
from aggregator.csv_text import csv_text
from aggregator.trade import activations, dispatch_changes, home_report, reports, settlements
from core.direction import Direction
from core.errors import InvalidError
from metrics.gaming import Flag
from metrics.presets import PRESETS
from vtn.api.dispatches import Dispute
from vtn.console import ConsoleRequest, Form, page
from vtn.services import dispatch, evaluation, evaluation_view, result_due, self_assessment
from vtn.services import programme as programmes
from vtn.services.dispatch import Dispatch
from vtn.services.evaluation_result import IntervalResult, Result, VenResult
from vtn.store.database import Connection
from vtn.store.rows import to_json
from web.auth import Role
from web.model import Model
from web.pages.charts import Chart, Line, time_chart
from web.pages.translations import gettext as _

_MOST_ROWS: Final = 500
_POWERS: Final = ("ordered_w", "baseline_w", "actual_w", "delivered_w")


class _Which(Model):
    version: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


def _version(request: ConsoleRequest) -> int | None:
    form = Form({"version": [request.query["version"]]}) if request.query.get("version") else Form()
    with form.catching():
        return form.read(_Which).version
    raise InvalidError(_("A version is a whole number."))


@page("GET", "/dispatches/{dispatch_id}/result", role=Role.VIEWER)
async def show_result(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Show the newest evaluation, or the one that was asked for."""
    return await _page(request, dispatch_id, Form())


async def _page(request: ConsoleRequest, dispatch_id: str, form: Form) -> web.Response:
    wanted, only_odd = _version(request), request.query.get("only") == "odd"
    async with request.desk.db.read() as conn:
        whole = await dispatch.get(conn, dispatch_id)
        rules = await programmes.get(conn, whole.programme_id, whole.programme_version)
        versions = await evaluation_view.versions(conn, dispatch_id)
        found = await evaluation.stored(conn, dispatch_id, wanted) if versions or wanted else None
        due_at = await result_due.due_at(conn, dispatch_id)
        reopened_at = await result_due.reopened_at(conn, dispatch_id)
        before = await evaluation.stored(conn, dispatch_id, found.version - 1) if found and found.version > 1 else None
        chosen = [one for one in found.vens if one.flags or not only_odd] if found else []
        shown = {one.ven_id: one for one in (*found.vens[:_MOST_ROWS], *chosen[:_MOST_ROWS])} if found else {}
        own = await _own(conn, whole, found, list(shown.values())) if found else None
        activation_id = await activations.of_dispatch(conn, dispatch_id)
        selection_id = await dispatch_changes.selection_of(conn, dispatch_id)
        made = await reports.versions(conn, activation_id) if activation_id else []
        settled = await settlements.listed(conn, activation_id=activation_id) if activation_id else []
    zone = zone_of(rules)
    sums, vens = evaluation_view.differences(before, found) if before and found else ([], [])
    return request.render(
        "market/result.html",
        zone=zone,
        form=form,
        whole=whole,
        programme=rules,
        preset=PRESETS.get(rules.parameters.baseline),
        result=found,
        due_at=due_at,
        reopened_at=reopened_at,
        versions=versions,
        sums=sums,
        vens=vens[:_MOST_ROWS],
        own=own,
        own_of={row.ven_id: row for row in own.vens} if own else {},
        chosen=chosen[:_MOST_ROWS],
        left_off=len(chosen) > _MOST_ROWS,
        only_odd=only_odd,
        odd=_odd(found) if found else {},
        compared=sum(one.before is not None for one in found.vens) if found else 0,
        chart=_chart(found, rules) if found else None,
        activation_id=activation_id,
        has_selection=selection_id is not None,
        reports=list(reversed(made)),
        settlements=settled,
        most_rows=_MOST_ROWS,
    )


async def _own(
    conn: Connection, ordered: Dispatch, result: Result, vens: Sequence[VenResult]
) -> self_assessment.SelfAssessments:
    """Return what VENs themselves say of a result."""
    return await self_assessment.of_result(conn, result, Direction(ordered.direction or Direction.REDUCE), vens)


def _odd(result: Result) -> Mapping[Flag, int]:
    """Return of how many VENs each thing looks odd."""
    return Counter(flag for one in result.vens for flag in one.flags)


def _chart(result: Result, rules: programmes.Programme) -> Chart:
    times = [one.start for one in result.intervals]
    edges = [*times, *([result.intervals[-1].start + _length(result)] if result.intervals else [])]

    def line(name: str, field: str, *, dashed: bool = False) -> Line:
        values = [getattr(one, field) for one in result.intervals]
        shown = [None if value is None else value / 1000 for value in (*values, *values[-1:])]
        return Line(name, edges, shown, step=True, dashed=dashed)

    lines = [
        line(_("baseline"), "baseline_w", dashed=True),
        line(_("actual"), "actual_w"),
        line(_("ordered"), "target_w"),
        line(_("delivered"), "delivered_w"),
    ]
    title = _("Ordered from all VENs, the rest of those that count")
    return time_chart("result", title, "kW", lines, zone=zone_of(rules))


def _length(result: Result) -> timedelta:
    return timedelta(seconds=result.intervals[-1].duration_s)


@page("GET", "/dispatches/{dispatch_id}/result/vens/{ven_id}", role=Role.VIEWER)
async def show_ven_result(request: ConsoleRequest, dispatch_id: str, ven_id: str) -> web.StreamResponse:
    """Show what one VEN did, and which days its baseline was made of."""
    wanted = _version(request)
    async with request.desk.db.read() as conn:
        whole = await dispatch.get(conn, dispatch_id)
        rules = await programmes.get(conn, whole.programme_id, whole.programme_version)
        found = await evaluation.stored(conn, dispatch_id, wanted)
        how = await evaluation_view.workings(conn, dispatch_id, ven_id)
        one = next((row for row in found.vens if row.ven_id == ven_id), None)
        own = (await _own(conn, whole, found, [one])).vens if one else ()
    return request.render(
        "market/result_ven.html",
        zone=zone_of(rules),
        whole=whole,
        programme=rules,
        result=found,
        one=one,
        own=own[0] if own else None,
        ven_id=ven_id,
        how=how,
        is_newest=wanted is None,
    )


@page("GET", "/dispatches/{dispatch_id}/result/vens/{ven_id}/report.pdf", role=Role.VIEWER)
async def export_pdf(request: ConsoleRequest, dispatch_id: str, ven_id: str) -> web.StreamResponse:
    """Give what one VEN did as a PDF for its household."""
    told = await home_report.read(request.desk.db, dispatch_id, ven_id, _version(request))
    raw = await asyncio.to_thread(home_report.to_pdf, told)
    return request.file(raw, "application/pdf", f"{dispatch_id}-{ven_id}-v{told.version}.pdf")


@page("POST", "/dispatches/{dispatch_id}/result", role=Role.DISPATCHER)
async def recompute(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Evaluate with the readings of now; new readings make a new version."""
    form = await request.form()
    with form.catching():
        computed = await evaluation.compute(request.desk.db, dispatch_id, request.now)
        async with request.desk.db.write() as tx:
            is_new = await result_due.keep(tx, computed, request.now, who=request.who)
            is_final = await evaluation.final_at(tx.conn, dispatch_id) is not None
        text = _("Computed.") if is_new else _("Nothing has changed: no new readings have come in.")
        if is_final:
            text = _("Nothing has changed: the result is final until it is disputed.")
        return request.redirect(f"/dispatches/{dispatch_id}/result", notice=text)
    return await _page(request, dispatch_id, form)


@page("POST", "/dispatches/{dispatch_id}/result/dispute", role=Role.DISPATCHER)
async def dispute(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Open a final result again, since it is disputed."""
    form = await request.form()
    with form.catching("reason"):
        wish = form.read(Dispute)
        async with request.desk.db.write() as tx:
            await result_due.reopen(tx, dispatch_id, wish.reason, request.now, who=request.who)
        return request.redirect(
            f"/dispatches/{dispatch_id}/result",
            notice=_("The result is open again: it is computed with the data of now, and again for what comes in."),
        )
    return await _page(request, dispatch_id, form)


# -- to take away


@page("GET", "/dispatches/{dispatch_id}/result.json", role=Role.VIEWER)
async def export_json(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Give the evaluation as JSON."""
    found = await _stored(request, dispatch_id)
    text = json.dumps(to_json(found), indent=1, ensure_ascii=False)
    return request.file(text, "application/json", f"{dispatch_id}-v{found.version}.json")


@page("GET", "/dispatches/{dispatch_id}/result.csv", role=Role.VIEWER)
async def export_csv(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Give the intervals of the pool and of each VEN as CSV (RFC 4180)."""
    found = await _stored(request, dispatch_id)
    names = ("ven_id", "ven_name", "opt", "start", "duration_s", *_POWERS, "source", "credited_to", "flags")
    parts = [("", "pool", "", found.intervals, "")]
    parts += [(one.ven_id, one.ven_name, one.opt or "", one.intervals, " ".join(one.flags)) for one in found.vens]
    rows = (
        (ven_id, name, said, each.start, each.duration_s, *_powers(each), each.source, each.credited_to, flags)
        for ven_id, name, said, intervals, flags in parts
        for each in intervals
    )
    return request.file(csv_text(names, rows), "text/csv; charset=utf-8", f"{dispatch_id}-v{found.version}.csv")


def _powers(each: IntervalResult) -> list[str | None]:
    """Return the powers of an interval as _POWERS names them, W to the milliwatt."""
    powers = (each.target_w, each.baseline_w, each.actual_w, each.delivered_w)
    return [None if value is None else f"{value:.3f}" for value in powers]


async def _stored(request: ConsoleRequest, dispatch_id: str) -> Result:
    async with request.desk.db.read() as conn:
        return await evaluation.stored(conn, dispatch_id, _version(request))


PAGES = (show_result, show_ven_result, export_pdf, recompute, dispute, export_json, export_csv)
