"""A dispatch as it runs: figures and chart at 1 Hz, each VEN, what happened, and what can be done about it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web

from aggregator.console.event_fields import named
from aggregator.console.live_boards import LIVE, LiveBoards
from aggregator.console.shared import (
    PER_PAGE,
    TONES,
    Kilowatts,
    LocalTime,
    Words,
    in_utc,
    kilowatt_text,
    local_text,
    pretty,
    watts,
    zone_of,
)
from aggregator.trade import dispatch_changes, dispatch_progress, reports, selection_view
from aggregator.trade.dispatch_changes import DispatchChange
from aggregator.trade.dispatch_progress import Progress, Row
from core.errors import InvalidError, NotFoundError
from core.ids import new_id
from openadr.model.event import DeliveredEvent, status_at
from openadr.v20b.codes import Code
from openadr.v20b.messages import DistributeEvent, Response
from vtn.api.fields import Number
from vtn.api.signals import unit_of
from vtn.console import ConsoleRequest, Form, page
from vtn.services import dispatch
from vtn.services import event as events
from vtn.services import programme as programmes
from vtn.store.database import Connection
from web.auth import Role
from web.model import Model
from web.pages import streams
from web.pages.charts import Chart, Line, line_rows, now_rows, time_chart
from web.pages.translations import gettext as _
from web.pagination import Keyset

_BY_NAME: Final = Keyset("live-vens", str)
_STATES: Final = ("opted in", "opted out", "no answer", "no answer wanted", "not sent yet", "released")


class _Modified(Model):
    power: Kilowatts | None = None
    value: Number | None = None
    end: LocalTime | None = None


class _Cancelled(Model):
    reason: Words | None = None


# -- the page


@page("GET", "/dispatches/{dispatch_id}", role=Role.VIEWER)
async def show_dispatch(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Show a dispatch as it stands."""
    return await _page(request, dispatch_id, Form())


async def _page(request: ConsoleRequest, dispatch_id: str, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        one = await dispatch_progress.read(conn, dispatch_id, request.now)
        versions = await reports.versions(conn, one.activation.id) if one.activation else []
    zone = zone_of(one.programme)
    return request.render(
        "market/live.html",
        zone=zone,
        form=form,
        chart=_chart(one, request),
        report=versions[-1] if versions else None,
        **_table(request, one),
        **_facts(one),
        end_text=local_text(one.end, zone),
        power_text=kilowatt_text(one.target_w) if one.target_w is not None and one.is_pool else "",
    )


def _facts(progress: Progress) -> dict[str, Any]:
    """Return what head, figures and timeline of the page show."""
    values = [(each.duration, each.value) for each in progress.signal.intervals]
    return {
        "one": progress,
        "unit": unit_of(progress.signal) or "",
        "values": values,
        "states": _STATES,
        "named": named(progress.dispatch.shared.target),
    }


def _table(request: ConsoleRequest, progress: Progress) -> dict[str, Any]:
    """Return the page of VENs that was asked for: by state, part of a name, and place."""
    wanted = request.filters()
    state, text = wanted.value("state"), wanted.value("text").strip().lower()
    after = _BY_NAME.decode(request.query.get("cursor"))
    last = str(after[0]) if after else ""
    chosen = [
        row
        for row in sorted(progress.rows, key=lambda row: (row.name, row.ven_id))
        if (not state or row.state == state) and (not text or text in row.name.lower() or text == row.ven_id)
    ]
    shown = [row for row in chosen if row.name > last]
    return {"wanted": wanted, "page": _BY_NAME.page(shown[: PER_PAGE + 1], PER_PAGE, key=lambda row: (row.name,))}


def _chart(progress: Progress, request: ConsoleRequest) -> Chart:
    """Return target, baseline and actual consumption, in kW."""
    zone = zone_of(progress.programme)
    title = _("Consumption of the VENs that take part") if progress.trace.usual_w else _("Power ordered from the VENs")
    begun = progress.at >= progress.start and not progress.is_over
    return time_chart("live", title, "kW", _lines(progress), zone=zone, now=request.now if begun else None)


def _lines(progress: Progress) -> list[Line]:
    trace = progress.trace
    lines = []
    if trace.target_times:
        lines.append(Line(_("target"), trace.target_times, _kilo(trace.target_w), step=True))
    if trace.usual_w:
        lines.append(Line(_("baseline (estimate)"), trace.times, _kilo(trace.usual_w), dashed=True))
    if trace.actual_w:
        lines.append(Line(_("actual"), trace.times, _kilo(trace.actual_w)))
    return lines


def _kilo(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else value / 1000 for value in values]


# -- live


@page("GET", "/dispatches/{dispatch_id}/stream", role=Role.VIEWER)
async def follow_dispatch(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Send the figures each second, until the dispatch is over."""
    boards = request.http.config_dict.get(LIVE) or LiveBoards()
    last: dict[str, Any] = {}

    async def source(after: str | None) -> Sequence[streams.Message]:
        async with request.desk.db.read() as conn:
            one = await boards.read(conn, dispatch_id, request.now)
        news = _news(request, one)
        changed = {name: _differing(part, last.get(name, {})) for name, part in news.items()}
        last.update(news)
        stamp = request.now.isoformat()
        found = [streams.Message(stamp, changed)] if any(changed.values()) else []
        if one.is_over and after is not None:
            found.append(streams.Message(stamp, {}, event="end"))
        return found

    return await streams.stream(request, source, every_s=1.0)


def _differing(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in new.items() if old.get(name) != value}


def _news(request: ConsoleRequest, progress: Progress) -> dict[str, Any]:
    zone = zone_of(progress.programme)
    facts, table = _facts(progress), _table(request, progress)
    chart = _chart(progress, request)
    return {
        "html": {
            "live-figures": request.fragment("market/live_figures.html", zone=zone, **facts),
            "live-rows": request.fragment("market/live_rows.html", zone=zone, **facts, **table),
            "live-timeline": request.fragment("market/live_timeline.html", zone=zone, **facts),
        },
        "charts": {"live": {"lines": line_rows(chart, _lines(progress)), "now": now_rows(chart, request.now)}},
    }


# -- done about it


@page("POST", "/dispatches/{dispatch_id}/change", role=Role.DISPATCHER)
async def change_dispatch(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Order another power or value, or another end."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Modified)
        async with request.desk.db.write() as tx:
            zone = zone_of(await _programme(tx.conn, dispatch_id))
            end = _end(wish.end, zone)
            value = float(watts(wish.power)) if wish.power is not None else wish.value
            await dispatch_changes.modify(tx, dispatch_id, DispatchChange(value, end), request.now, who=request.who)
        return _done(request, dispatch_id, _("Changed. The VENs receive the change at their next poll, or by push."))
    return await _page(request, dispatch_id, form)


def _end(end: datetime | None, zone: ZoneInfo) -> datetime | None:
    if end is None:
        return None
    try:
        return in_utc(end, zone)
    except InvalidError as error:
        raise InvalidError(str(error), field="end") from error


@page("POST", "/dispatches/{dispatch_id}/replacement", role=Role.DISPATCHER)
async def replace_ven(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Release a VEN and call the next one of the reserve."""
    form = await request.form()
    with form.catching():
        ven_id = form.value("ven_id")
        async with request.desk.db.write() as tx:
            successor = await dispatch_changes.replace_ven(tx, dispatch_id, ven_id, request.now, who=request.who)
        if successor is None:
            return _done(request, dispatch_id, _("Released. No VEN is left in reserve to replace it."), tone="warn")
        return _done(request, dispatch_id, _("Replaced. The next VEN in reserve is called."))
    return await _page(request, dispatch_id, form)


@page("POST", "/dispatches/{dispatch_id}/cancellation", role=Role.DISPATCHER)
async def cancel_dispatch(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """End a dispatch now."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Cancelled)
        async with request.desk.db.write() as tx:
            await dispatch_changes.cancel(tx, dispatch_id, request.now, who=request.who, reason=wish.reason)
        return _done(request, dispatch_id, _("Cancelled. The VENs learn of it at their next poll, or by push."))
    return await _page(request, dispatch_id, form)


def _done(request: ConsoleRequest, dispatch_id: str, text: str, *, tone: Any = "good") -> web.Response:
    boards = request.http.config_dict.get(LIVE)
    if boards is not None:
        boards.forget(dispatch_id)
    return request.redirect(f"/dispatches/{dispatch_id}", notice=text, tone=tone)


async def _programme(conn: Connection, dispatch_id: str) -> programmes.Programme:
    whole = await dispatch.get(conn, dispatch_id)
    return await programmes.get(conn, whole.programme_id, whole.programme_version)


# -- who and why, and the messages


@page("GET", "/dispatches/{dispatch_id}/selection", role=Role.VIEWER)
async def show_selection(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Show who was chosen and why."""
    wanted = request.filters()
    after = _BY_NAME.decode(request.query.get("cursor"))
    async with request.desk.db.read() as conn:
        rules = await _programme(conn, dispatch_id)
        selection_id = await dispatch_changes.selection_of(conn, dispatch_id)
        if selection_id is None:
            raise NotFoundError(_("This dispatch has no selection: its VENs were named."))
        rows = await selection_view.reasons(
            conn,
            selection_id,
            reason=wanted.value("reason") or None,
            text=wanted.value("text"),
            after=str(after[0]) if after else None,
            limit=PER_PAGE + 1,
        )
        counts = await selection_view.counts(conn, selection_id)
        about = await selection_view.about(conn, selection_id)
    return request.render(
        "market/selection.html",
        zone=zone_of(rules),
        dispatch_id=dispatch_id,
        programme=rules,
        wanted=wanted,
        counts=counts,
        about=about,
        page=_BY_NAME.page(rows, PER_PAGE, key=lambda row: (row.name,)),
        tones=TONES,
    )


@page("GET", "/dispatches/{dispatch_id}/messages", role=Role.VIEWER)
async def show_messages(request: ConsoleRequest, dispatch_id: str) -> web.StreamResponse:
    """Show the event of one VEN as it would be sent now."""
    async with request.desk.db.read() as conn:
        one = await dispatch_progress.read(conn, dispatch_id, request.now)
        found = dict(await events.of_dispatch(conn, dispatch_id))
    names = {row.ven_id: row.name for row in sorted(one.rows, key=lambda row: row.name)}
    ven_id = request.query.get("ven_id") or next(iter(names), "")
    if ven_id not in found:
        raise NotFoundError(_("This VEN has no event of this dispatch."))
    own = found[ven_id]
    request_id = new_id("req")
    shown = DeliveredEvent(own, status_at(own, request.now))
    message = DistributeEvent(request.desk.settings.vtn_id, request_id, (shown,), Response(Code.OK, "OK", request_id))
    rows: list[Row] = [row for row in one.rows if row.ven_id == ven_id]
    return request.render(
        "market/messages.html",
        zone=zone_of(one.programme),
        one=one,
        names=names,
        ven_id=ven_id,
        row=rows[0],
        xml=pretty(message),
    )


PAGES = (
    show_dispatch,
    follow_dispatch,
    change_dispatch,
    replace_ven,
    cancel_dispatch,
    show_selection,
    show_messages,
)
