"""A new dispatch, step by step: programme, window, what is ordered, who and why, the exact messages, confirmation.

Each step is an address that holds all that was typed, so back and forward lose nothing. A dispatch with a target is
selected and kept as a draft on the server; a plain signal lives in its address until it is confirmed.
"""

from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from aggregator.console import dispatch_draft
from aggregator.console.dispatch_draft import SIGNALS, Broadcast, Plan, suggested_start
from aggregator.console.event_fields import BASELINE_UNITS, GRID_FIELDS, PREFIXES, is_typed, named
from aggregator.console.shared import PER_PAGE, TONES, local_text, part, pretty, with_defaults, zone_of
from aggregator.flexibility.fleet import Reason
from aggregator.trade import dispatch_drafts, selection_view
from core.errors import InvalidError, NotFoundError
from core.ids import new_id
from openadr.model.target import DEVICE_CLASSES
from openadr.v20b.codes import Code
from openadr.v20b.messages import DistributeEvent, Response
from vtn.api.signals import unit_of
from vtn.console import ConsoleRequest, Form, page
from vtn.services import dispatch, fleet, order_check, site, ven_view
from vtn.services import programme as programmes
from vtn.services.dispatch import Order
from vtn.transport.v20b.check import check_event
from web.auth import Role
from web.pages.forms import CSRF_FIELD, FormError
from web.pages.translations import gettext as _
from web.pagination import Keyset

_BY_NAME: Final = Keyset("draft-vens", str)
_ROLE: Final = Role.DISPATCHER


def typed(form: Form, *but: str) -> list[tuple[str, str]]:
    """Return everything that was typed, for hidden fields and addresses; `but` are the fields that a page shows."""
    left_out = {*but, CSRF_FIELD}
    return [(name, value) for name in form.names() if name not in left_out for value in form.values(name) if value]


def _address(path: str, form: Form) -> str:
    return f"{path}?{urlencode(typed(form))}" if typed(form) else path


def _links(form: Form) -> dict[str, str]:
    """Return where the steps are, with all that was typed."""
    return {
        "programme": _address("/dispatches/new", form),
        "window": _address("/dispatches/new/window", form),
        "order": _address("/dispatches/new/order", form),
    }


# -- the steps


@page("GET", "/dispatches/new", role=_ROLE)
async def choose_programme(request: ConsoleRequest) -> web.StreamResponse:
    """First step: the programme and the kind of order."""
    return await _programme_step(request, request.filters())


@page("GET", "/dispatches/new/window", role=_ROLE)
async def choose_window(request: ConsoleRequest) -> web.StreamResponse:
    """Second step: when."""
    form = request.filters()
    with form.catching():
        return await _window_step(request, form)
    return await _programme_step(request, form)


@page("GET", "/dispatches/new/order", role=_ROLE)
async def choose_order(request: ConsoleRequest) -> web.StreamResponse:
    """Third step: a power of the pool, or a signal."""
    form = request.filters()
    with form.catching():
        async with request.desk.db.read() as conn:
            when = await dispatch_draft.plan(conn, form, request.now)
        with form.catching():
            if when.kind == "target" and form.value("direction"):  # it was sent before: say again what is wrong
                dispatch_draft.target(form, when)
        return await _order_step(request, form, when)
    return await _earlier_step(request, form)


async def _programme_step(request: ConsoleRequest, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        known = await programmes.newest(conn)
    shown = ("programme_id", "kind")
    return request.render(
        "market/new_programme.html",
        form=with_defaults(form, kind="target"),
        known=known,
        hidden=typed(form, *shown),
        links=_links(form),
    )


async def _window_step(request: ConsoleRequest, form: Form) -> web.Response:
    """Show the window; a form without a programme raises FormError or NotFoundError."""
    first = part(form, dispatch_draft.ProgrammeStep)
    async with request.desk.db.read() as conn:
        one = await programmes.get(conn, first.programme_id)
    zone = zone_of(one)
    filled = with_defaults(form, start=local_text(suggested_start(one, request.now), zone), minutes="60")
    return request.render(
        "market/new_window.html",
        form=filled,
        zone=zone,
        programme=one,
        kind=first.kind,
        hidden=typed(form, "start", "minutes"),
        links=_links(form),
    )


async def _order_step(request: ConsoleRequest, form: Form, when: Plan) -> web.Response:
    async with request.desk.db.read() as conn:
        groups = await fleet.groups(conn)
        areas = await site.areas(conn)
    shown = {"signal", "values", "currency", "vens"} if when.kind == "signal" else {"direction", "power", "area"}
    if when.kind == "signal":
        shown |= {name for name in form.names() if name.startswith(PREFIXES)}
    details = {name for name in form.names() if is_typed(name, form.values(name))} | set(form.errors)
    currency = when.programme.parameters.reward.currency
    return request.render(
        f"market/new_{when.kind}.html",
        form=with_defaults(form, currency=currency, direction="reduce", signal="SIMPLE/level"),
        zone=when.zone,
        when=when,
        groups=groups,
        areas=areas,
        signals=[(key, _(label)) for key, (label, unit) in SIGNALS.items()],
        device_classes=sorted(DEVICE_CLASSES),
        baseline_units=BASELINE_UNITS,
        has_details=any(name.startswith(PREFIXES) for name in details),
        has_grid=not details.isdisjoint(GRID_FIELDS),
        hidden=typed(form, *shown, "group_ids[]", "comment", "test_event"),
        links=_links(form),
    )


async def _earlier_step(request: ConsoleRequest, form: Form) -> web.Response:
    """Show the step in which something is wrong, with everything that was typed."""
    wrong = set(form.errors)
    try:
        if wrong & {"start", "minutes"} and not wrong & {"programme_id", "kind"}:
            return await _window_step(request, form)
        if not wrong & {"programme_id", "kind"}:
            earlier = with_defaults(form)
            earlier.errors = {}
            async with request.desk.db.read() as conn:
                when = await dispatch_draft.plan(conn, earlier, request.now)
            return await _order_step(request, form, when)
    except (FormError, NotFoundError, InvalidError):
        pass
    return await _programme_step(request, form)


# -- a target: chosen, looked at, confirmed


@page("POST", "/dispatches/new/selection", role=_ROLE)
async def choose_vens(request: ConsoleRequest) -> web.StreamResponse:
    """Select VENs for a target and keep that as a draft."""
    form = await request.form()
    with form.catching():
        async with request.desk.db.read() as conn:
            when = await dispatch_draft.plan(conn, form, request.now)
        wish = dispatch_draft.target(form, when)
        stale_after_s = request.desk.stale_after_s
        await check_event(order_check.trial(dispatch_drafts.order(wish, {}), request.now))
        draft_id = await dispatch_drafts.draft(
            request.desk.db, wish, request.now, stale_after_s=stale_after_s, who=request.who
        )
        return request.redirect(f"/dispatches/drafts/{draft_id}")
    return _again(request, "/dispatches/new/order", form)


def _again(request: ConsoleRequest, path: str, form: Form) -> web.Response:
    """Go back to a step, which says what is wrong; so no page of the history is the answer to a form."""
    whole = form.error("")
    return request.redirect(_address(path, form), notice=whole, tone="bad")


@page("GET", "/dispatches/drafts/{draft_id}", role=_ROLE)
async def show_draft(request: ConsoleRequest, draft_id: str) -> web.StreamResponse:
    """Show who would be called and why, and what it would bring."""
    wanted = request.filters()
    reason = wanted.value("reason") if wanted.value("reason") in {one.value for one in Reason} else None
    after = _BY_NAME.decode(request.query.get("cursor"))
    async with request.desk.db.read() as conn:
        one = await dispatch_drafts.get(conn, draft_id)
        rules = await programmes.get(conn, one.order.programme_id)
        rows = await selection_view.reasons(
            conn,
            one.selection_id,
            reason=reason,
            text=wanted.value("text"),
            after=str(after[0]) if after else None,
            limit=PER_PAGE + 1,
        )
        counts = await selection_view.counts(conn, one.selection_id)
        about = await selection_view.about(conn, one.selection_id)
    return request.render(
        "market/draft.html",
        wanted=wanted,
        zone=zone_of(rules),
        draft=one,
        programme=rules,
        page=_BY_NAME.page(rows, PER_PAGE, key=lambda row: (row.name,)),
        counts=counts,
        about=about,
        tones=TONES,
        links=_draft_links(one, rules),
    )


def _draft_links(draft: dispatch_drafts.Draft, rules: programmes.Programme) -> dict[str, str]:
    """Return where the earlier steps are, filled with what the draft says."""
    wish = draft.order
    fields: list[tuple[str, str]] = [
        ("programme_id", wish.programme_id),
        ("kind", "target"),
        ("start", local_text(wish.start, zone_of(rules))),
        ("minutes", str(wish.duration_s // 60)),
        ("direction", wish.direction),
        ("power", f"{wish.power_w / 1000:g}"),
        *([("area", wish.area)] if wish.area else []),
        *(("group_ids[]", group_id) for group_id in wish.group_ids),
        *([("comment", wish.comment)] if wish.comment else []),
        *([("test_event", "true")] if wish.test_event else []),
    ]
    text = urlencode(fields)
    return {
        "programme": f"/dispatches/new?{text}",
        "window": f"/dispatches/new/window?{text}",
        "order": f"/dispatches/new/order?{text}",
        "preview": f"/dispatches/drafts/{draft.id}",
        "messages": f"/dispatches/drafts/{draft.id}/messages",
    }


@page("GET", "/dispatches/drafts/{draft_id}/messages", role=_ROLE)
async def show_draft_messages(request: ConsoleRequest, draft_id: str) -> web.StreamResponse:
    """Show the exact event of one of the VENs."""
    async with request.desk.db.read() as conn:
        one = await dispatch_drafts.get(conn, draft_id)
        rules = await programmes.get(conn, one.order.programme_id)
        powers = await dispatch_drafts.orders(conn, one)
        names = await ven_view.names(conn, powers)
    ven_id = request.query.get("ven_id") or next(iter(names), "")
    if powers and ven_id not in powers:
        raise NotFoundError(_("The draft doesn't call this VEN."))
    wish = dispatch_drafts.order(one.order, {ven_id: powers[ven_id]}) if powers else None
    return request.render(
        "market/draft_messages.html",
        zone=zone_of(rules),
        draft=one,
        programme=rules,
        names=names,
        ven_id=ven_id,
        xml=await message_of(request, wish) if wish and one.is_fresh(request.now) else "",
        links=_draft_links(one, rules),
    )


@page("POST", "/dispatches/drafts/{draft_id}/confirmation", role=_ROLE)
async def confirm_draft(request: ConsoleRequest, draft_id: str) -> web.StreamResponse:
    """Order what the draft shows."""
    form = await request.form()
    with form.catching():
        dispatch_id = await dispatch_drafts.confirm(
            request.desk.db, draft_id, request.now, stale_after_s=request.desk.stale_after_s, who=request.who
        )
        return request.redirect(
            f"/dispatches/{dispatch_id}", notice=_("Ordered. The VENs receive it at their next poll, or by push.")
        )
    return request.redirect(f"/dispatches/drafts/{draft_id}", notice=form.error(""), tone="bad")


# -- a plain signal: looked at, confirmed


@page("GET", "/dispatches/new/preview", role=_ROLE)
async def preview_signal(request: ConsoleRequest) -> web.StreamResponse:
    """Show whom a plain signal goes to, and the exact event of one of them."""
    form = request.filters()
    with form.catching():
        when, said = await _signal(request, form)
        return await _preview(request, form, when, said)
    return await _earlier_step(request, form)


async def _signal(request: ConsoleRequest, form: Form) -> tuple[Plan, Broadcast]:
    async with request.desk.db.read() as conn:
        when = await dispatch_draft.plan(conn, form, request.now)
        said = await dispatch_draft.signal(conn, form, when, request.now, stale_after_s=request.desk.stale_after_s)
    await check_event(order_check.trial(said.order, request.now))
    return when, said


async def _preview(request: ConsoleRequest, form: Form, when: Plan, broadcast: Broadcast) -> web.Response:
    names = {one.ven_id: one.name for one in broadcast.vens}
    ven_id = request.query.get("ven_id") or next(iter(names))
    if ven_id not in names:
        raise NotFoundError(_("This VEN doesn't receive the signal."))
    wish, baseline = replace(broadcast.order, ven_ids=(ven_id,)), broadcast.order.baseline
    async with request.desk.db.read() as conn:
        warnings = await order_check.warnings(conn, broadcast.order, request.now)
    return request.render(
        "market/preview_signal.html",
        warnings=warnings,
        zone=when.zone,
        form=form,
        when=when,
        said=broadcast,
        names=names,
        ven_id=ven_id,
        named=named(broadcast.order.target),
        baseline=baseline,
        baseline_unit=unit_of(baseline) if baseline else None,
        xml=await message_of(request, wish),
        hidden=typed(form, "ven_id"),
        links=_links(form) | {"preview": _address("/dispatches/new/preview", form)},
    )


@page("POST", "/dispatches/new", role=_ROLE)
async def order_signal(request: ConsoleRequest) -> web.StreamResponse:
    """Order a plain signal."""
    form = await request.form()
    with form.catching():
        said = (await _signal(request, form))[1]
        async with request.desk.db.write() as tx:
            dispatch_id = await dispatch.create(tx, said.order, request.now, who=request.who)
        return request.redirect(
            f"/dispatches/{dispatch_id}", notice=_("Ordered. The VENs receive it at their next poll, or by push.")
        )
    return _again(request, "/dispatches/new/preview", form)


# -- messages


async def message_of(request: ConsoleRequest, order: Order) -> str:
    """Return the oadrDistributeEvent of an order as its VEN would get it.

    Only the new event is shown; a VEN's other events would stand beside it. Ids are others when it is ordered.
    """
    events = await dispatch_drafts.rehearse(request.desk.db, order, request.now, who=request.who)
    request_id = new_id("req")
    return pretty(
        DistributeEvent(request.desk.settings.vtn_id, request_id, events, Response(Code.OK, "OK", request_id))
    )


PAGES = (
    choose_programme,
    choose_window,
    choose_order,
    choose_vens,
    show_draft,
    show_draft_messages,
    confirm_draft,
    preview_signal,
    order_signal,
)
