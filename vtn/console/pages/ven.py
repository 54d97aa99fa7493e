"""One VEN: registration, certificates, resources, potential, site, programmes, readings, events."""

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from zoneinfo import available_timezones

from aiohttp import web
from pydantic import Field, NaiveDatetime

from core.direction import Direction
from core.errors import InvalidError
from core.points import UNITS, Flow, Phase, Quality, Quantity
from metrics.agreed_profile import LENGTHS, AgreedProfile
from metrics.presets import DEFAULT_PRESET
from vtn.api.fields import Printable
from vtn.console.pages.overview import power_now
from vtn.console.request import ConsoleRequest
from vtn.console.words import WORDS
from vtn.services import (
    agreed,
    certificates,
    fleet,
    learning,
    partial_power,
    pending,
    potential,
    programme_members,
    provisioning,
    registration,
    settlement_series,
    site,
    ven_faults,
    ven_view,
)
from vtn.services.load_profile import marked
from vtn.services.partial_power import PartialPower
from vtn.services.site import Site
from vtn.store.data_point import DIRECT_READ, USAGE
from vtn.store.readings import Loaded, SeriesKey, load, numbered
from web.auth import Role
from web.model import Model
from web.pages.charts import Band, Chart, Line, time_chart
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import gettext as _
from web.pages.translations import ngettext

_SPANS: Final = {
    "PT3H": timedelta(hours=3),
    "P1D": timedelta(days=1),
    "P7D": timedelta(days=7),
    "P31D": timedelta(days=31),
}
_MOST_CHARTS: Final = 12
_LONGEST_POWERS: Final = 12 * max(LENGTHS)


class _SiteForm(Model):
    time_zone: Annotated[str, Field(max_length=64)]
    area: Annotated[str, Field(max_length=80)] | None = None
    metering_point: Annotated[str, Field(max_length=80)] | None = None


class _SettledForm(Model):
    series: Annotated[list[int], Field(default_factory=list, max_length=200)]
    connection_w: Annotated[int, Field(ge=site.LEAST_W, le=site.MOST_W)] | None = None


class _LevelsForm(Model):
    minimum_w: Annotated[int, Field(ge=1, le=partial_power.MOST_W)] | None = None
    step_w: Annotated[int, Field(ge=1, le=partial_power.MOST_W)] | None = None


class _AgreedForm(Model):
    method: Annotated[str, Field(max_length=40)]
    valid_from: Annotated[str, Field(max_length=10)]
    weekdays_w: Annotated[str, Field(max_length=_LONGEST_POWERS)]
    weekends_w: Annotated[str, Field(max_length=_LONGEST_POWERS)] | None = None


class _PushForm(Model):
    address: Annotated[Printable, Field(max_length=2000)] | None = None


class _SpanFilter(Model):
    span: Literal["PT3H", "P1D", "P7D", "P31D"] = "P1D"
    until: Annotated[NaiveDatetime, Field(ge=datetime(1970, 2, 1), le=datetime(2199, 12, 1))] | None = None  # noqa: DTZ001  local


@page("GET", "/fleet/{ven_id}", role=Role.VIEWER)
async def show_ven(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Show what is known of a VEN."""
    return await _ven_page(request, ven_id, Form())


async def _ven_page(request: ConsoleRequest, ven_id: str, form: Form) -> web.Response:
    desk = request.desk
    async with desk.db.read() as conn:
        one = await ven_view.read(conn, ven_id)
        row = None if one.removed_at else await fleet.one(conn, ven_id, request.now, desk.stale_after_s)
        known = (await potential.latest(conn, [ven_id], request.now)).get(ven_id, [])
        method, zone = learning.method_of(DEFAULT_PRESET), desk.settings.time_zone
        learnt = (await learning.of_vens(conn, [ven_id], method, zone, request.now))[ven_id]
        place: Site | None = None if one.removed_at else await site.site_of(conn, ven_id)
        levels = None if one.removed_at else await partial_power.partial_power_of(conn, ven_id)
        enrolments = await programme_members.of_ven(conn, ven_id)
        agreements = [] if one.removed_at else await agreed.of_ven(conn, ven_id)
        faults = await ven_faults.of_ven(conn, ven_id)
        unanswered = await pending.unanswered(conn, ven_id)
    return request.render(
        "fleet/ven.html",
        ven=one,
        row=row,
        tab="about",
        form=form,
        levels=levels,
        site=place,
        learnt=None if one.removed_at else learnt,
        enrolments=enrolments,
        agreements=agreements,
        agreed_methods=agreed.METHODS,
        faults=faults,
        unanswered=unanswered,
        potential=[(each, power_now(each, request)) for each in known],
        charts=_potential_charts(request, known),
        utcnow=request.console.utcnow(),
        zones=sorted(available_timezones()),
        may_revoke_in_authority=desk.authority is not None,
    )


def _potential_charts(request: ConsoleRequest, potentials: list[potential.Potential]) -> list[Chart]:
    """Return one chart a direction: the VEN's resources, each with its range."""
    charts = []
    for name in Direction:
        ones = [one for one in potentials if one.figures.direction == name]
        lines, bands = [], []
        for one in ones:
            figures = one.figures
            *times, end = (
                datetime.fromtimestamp(figures.start_s + figures.step_s * n, UTC) for n in range(len(figures.p50_w) + 1)
            )
            label = figures.resource_id or _("whole VEN")
            lines.append(Line(label, times, figures.p50_w, step=True, end=end))
            bands.append(Band(label, times, figures.p10_w, figures.p90_w, end=end))
        if lines:
            if name is Direction.REDUCE:
                title = _("Consumption that it can reduce (p10 to p90)")
            else:
                title = _("Consumption that it can increase (p10 to p90)")
            charts.append(
                time_chart(f"potential-{name}", title, "W", lines, bands=bands, zone=request.zone, now=request.now)
            )
    return charts


@page("POST", "/fleet/{ven_id}/site", role=Role.ADMIN)
async def set_site(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Say where a VEN stands."""
    form = await request.form()
    with form.catching():
        wish = form.read(_SiteForm)
        if wish.time_zone not in available_timezones():
            raise InvalidError(_("Enter an IANA time zone such as Europe/London."), field="time_zone")
        async with request.desk.db.write() as tx:
            await site.set_site(tx, ven_id, **wish.model_dump(), now=request.now, who=request.who)
        return request.redirect(f"/fleet/{ven_id}", notice=_("Site saved."))
    return await _ven_page(request, ven_id, form)


@page("POST", "/fleet/{ven_id}/partial-power", role=Role.ADMIN)
async def set_partial_power(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Say at which levels a VEN can be called."""
    form = await request.form()
    with form.catching():
        wish = form.read(_LevelsForm)
        levels = None
        if wish.minimum_w is not None or wish.step_w is not None:
            if wish.minimum_w is None or wish.step_w is None:
                raise InvalidError(
                    _("Enter both minimum and step, or neither."), field="minimum_w" if wish.step_w else "step_w"
                )
            levels = PartialPower(wish.minimum_w, wish.step_w)
        async with request.desk.db.write() as tx:
            await partial_power.set_partial_power(tx, ven_id, levels, request.now, who=request.who)
        notice = _("The VEN is called as a whole.") if levels is None else _("Partial power saved.")
        return request.redirect(f"/fleet/{ven_id}", notice=notice)
    return await _ven_page(request, ven_id, form)


@page("POST", "/fleet/{ven_id}/agreed-baseline", role=Role.ADMIN)
async def agree_baseline(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Enter what was agreed with a VEN as its baseline."""
    form = await request.form()
    with form.catching():
        wish = form.read(_AgreedForm)
        powers = _powers(wish.weekdays_w, "weekdays_w"), _powers(wish.weekends_w or "", "weekends_w")
        profile = AgreedProfile(agreed.first_day(wish.valid_from), *powers)
        async with request.desk.db.write() as tx:
            await agreed.agree(tx, [ven_id], wish.method, profile, request.now, who=request.who)
        return request.redirect(f"/fleet/{ven_id}#agreed", notice=_("Agreed baseline saved."))
    return await _ven_page(request, ven_id, form)


def _powers(text: str, name: str) -> tuple[int, ...]:
    """Return the watts of a field: whole numbers by comma, space or line."""
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise InvalidError(_("Enter whole watts, such as 300, 280, 310."), field=name) from error


@page("POST", "/fleet/{ven_id}/push-address", role=Role.ADMIN)
async def set_push_address(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Say where the events for a VEN of 2.0a are pushed to."""
    form = await request.form()
    with form.catching():
        address = form.read(_PushForm).address
        if address is not None:
            request.desk.check_push_address(address)
        async with request.desk.db.write() as tx:
            await registration.set_push_address(tx, ven_id, address, request.now, who=request.who)
        notice = _("The VEN asks for its events.") if address is None else _("Events will be pushed to this address.")
        return request.redirect(f"/fleet/{ven_id}", notice=notice)
    return await _ven_page(request, ven_id, form)


@page("POST", "/fleet/{ven_id}/code", role=Role.ADMIN)
async def new_code(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Make a new enrolment code; older ones stop working."""
    async with request.desk.db.write() as tx:
        await provisioning.check_present(tx.conn, ven_id)
        code = await provisioning.new_enrolment_code(tx, ven_id, request.now, who=request.who)
    return request.redirect(
        f"/fleet/{ven_id}", notice=_("New enrolment code, valid for 14 days."), reveal={_("Code"): code}
    )


@page("POST", "/fleet/{ven_id}/certificates/{fingerprint}/revocation", role=Role.ADMIN)
async def revoke_certificate(request: ConsoleRequest, ven_id: str, fingerprint: str) -> web.StreamResponse:
    """Revoke a certificate at once."""
    desk = request.desk
    await certificates.revoke(desk.db, desk.authority, fingerprint, request.now, who=request.who, ven_id=ven_id)
    return request.redirect(
        f"/fleet/{ven_id}", notice=_("Certificate %(fingerprint)s revoked.", fingerprint=fingerprint)
    )


@page("POST", "/fleet/{ven_id}/reregistration", role=Role.DISPATCHER)
async def ask_to_reregister(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Ask a VEN to register again."""
    async with request.desk.db.write() as tx:
        await registration.ask_to_reregister(tx, ven_id, request.now, who=request.who)
    return request.redirect(
        f"/fleet/{ven_id}/messages", notice=_("The VEN will be asked to register again at its next poll, or by push.")
    )


@page("POST", "/fleet/{ven_id}/cancellation", role=Role.ADMIN)
async def cancel_registration(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Cancel a VEN's registration."""
    async with request.desk.db.write() as tx:
        has_ended = await registration.ask_to_cancel(tx, ven_id, request.now, who=request.who)
    notice = _("The registration has ended.") if has_ended else _("The registration will end when the VEN answers.")
    return request.redirect(f"/fleet/{ven_id}/messages", notice=notice)


@page("POST", "/fleet/{ven_id}/removal", role=Role.ADMIN)
async def remove_ven(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Retire a VEN: certificates and enrolments end, its data stays."""
    async with request.desk.db.read() as conn:
        one = await ven_view.read(conn, ven_id)
    await certificates.retire_ven(request.desk.db, request.desk.authority, ven_id, request.now, who=request.who)
    return request.redirect(f"/fleet/{ven_id}", notice=_("%(ven)s removed. Its data stays.", ven=one.name))


@page("GET", "/fleet/{ven_id}/readings", role=Role.VIEWER)
async def show_readings(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Show the VEN's series as charts, and which of them are settled."""
    return await _readings_page(request, ven_id, Form())


@page("POST", "/fleet/{ven_id}/settlement-series", role=Role.ADMIN)
async def choose_settled(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Choose what is settled of the VEN; nothing chosen: by meaning."""
    sent = await request.form()
    with sent.catching():
        wish = sent.read(_SettledForm)
        async with request.desk.db.write() as tx:
            zone = request.desk.settings.time_zone
            await site.set_connection(tx, ven_id, wish.connection_w, request.now, time_zone=zone, who=request.who)
            await settlement_series.choose(tx, ven_id, wish.series, request.now, who=request.who)
        return request.redirect(f"/fleet/{ven_id}/readings", notice=_("Settlement series saved."))
    return await _readings_page(request, ven_id, sent)


async def _readings_page(request: ConsoleRequest, ven_id: str, sent: Form) -> web.Response:
    form = request.filters()
    wish = _SpanFilter()
    with form.catching():
        wish = form.read(_SpanFilter)
    until = request.now if wish.until is None else wish.until.replace(tzinfo=request.zone).astimezone(UTC)
    since = until - _SPANS[wish.span]
    async with request.desk.db.read() as conn:
        one = await ven_view.read(conn, ven_id)
        keys = await numbered(conn, [ven_id])
        basis = (await settlement_series.of(conn, [ven_id]))[ven_id]
        charts = []
        for number, key in list(keys.items())[:_MOST_CHARTS]:
            read = await load(conn, key, int(since.timestamp()), int(until.timestamp()) + 1)
            charts.append(_chart(request, number, key, marked(read, key, basis.connection_w)))
    settled = {number for part in basis.parts for number in part.numbers}
    return request.render(
        "fleet/readings.html",
        ven=one,
        tab="readings",
        form=form,
        sent=sent,
        charts=charts,
        left_out=max(len(keys) - _MOST_CHARTS, 0),
        since=since,
        until=until,
        basis=basis,
        settled=[_named(keys[number]) for number in sorted(settled)],
        choice=[(number, _named(key)) for number, key in keys.items() if settlement_series.can_settle(key)],
        chosen=tuple(str(number) for number in settled) if basis.chosen_by != settlement_series.BY_MEANING else (),
    )


def _named(key: SeriesKey) -> str:
    """Return what a series is, in a line."""
    point = key.point
    parts = [f"{_word(key.quantity)} ({_word(key.kind)})", point.report_type, point.reading_type]
    parts += [_word(point.flow)] if point.flow in (Flow.EXPORT, Flow.NET) else []
    parts += [] if point.phase is Phase.TOTAL else [point.phase.upper()]
    parts += [] if key.source == "ven" else [key.source]
    return f"{key.resource_id}: {', '.join(parts)}, rID {point.r_id}"


def _word(value: str) -> str:
    return _(WORDS[value]) if value in WORDS else value


def _chart(request: ConsoleRequest, number: int, key: SeriesKey, loaded: Loaded) -> Chart:
    """Return a chart of a series: energies as mean powers, which is how people compare them; without doubtful ones."""
    times = [datetime.fromtimestamp(int(start), UTC) for start in loaded.starts_s]
    doubtful = loaded.are(Quality.UNCERTAIN)
    values = [math.nan if left else float(value) for value, left in zip(loaded.values, doubtful, strict=True)]
    unit = UNITS.get(Quantity(key.quantity), "") if key.quantity in set(Quantity) else ""
    what = _word(key.quantity)
    if key.kind == "sum" and unit == "Wh":
        values = [v * 3600 / int(d) if d else v for v, d in zip(values, loaded.durations_s, strict=True)]
        unit, what = "W", _("power (mean of each interval's energy)")
    point = key.point
    said = [] if (point.report_type, point.reading_type) == (USAGE, DIRECT_READ) else [point.report_type]
    said += [] if point.r_id == key.resource_id else [f"rID {point.r_id}"]
    said += [] if key.source == "ven" else [key.source]
    said += [_omitted(int(doubtful.sum()))] if doubtful.any() else []
    title = ", ".join((f"{key.resource_id}: {what}", *said))
    end = times[-1] + timedelta(seconds=int(loaded.durations_s[-1])) if times else None
    line = Line(key.resource_id, times, values, step=key.kind in ("sum", "mean"), end=end)
    return time_chart(f"series-{number}", title, unit or _word(key.kind), [line], zone=request.zone)


def _omitted(number: int) -> str:
    return ngettext("%(num)s doubtful value omitted", "%(num)s doubtful values omitted", number)


@page("GET", "/fleet/{ven_id}/events", role=Role.VIEWER)
async def show_events(request: ConsoleRequest, ven_id: str) -> web.StreamResponse:
    """Show the VEN's events and what it said about them."""
    async with request.desk.db.read() as conn:
        one = await ven_view.read(conn, ven_id)
        called = await ven_view.events(conn, ven_id)
        said = await ven_view.opts(conn, ven_id)
    return request.render("fleet/events.html", ven=one, tab="events", called=called, said=said)


PAGES = (
    show_ven,
    set_site,
    set_partial_power,
    agree_baseline,
    set_push_address,
    new_code,
    revoke_certificate,
    ask_to_reregister,
    cancel_registration,
    remove_ven,
    show_readings,
    choose_settled,
    show_events,
)
