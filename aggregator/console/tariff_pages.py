"""Tariffs: what they cost over time, new versions, where prices are fetched, and whom they are for."""

from datetime import datetime, timedelta

from aiohttp import web

from aggregator.console.shared import PER_PAGE, listing
from aggregator.console.tariff_forms import PricesForm, SourceForm, TariffForm, read_prices
from aggregator.tariff import household_tariffs, prices, tariff_source, tariffs
from aggregator.tariff.price_series import Series, checked, current
from aggregator.tariff.tariff_source import LONGEST_S, SHORTEST_S
from aggregator.tariff.tariffs import Kind, NewTariff, Source, Tariff
from aggregator.trade import trade_view
from core.errors import InvalidError, NotFoundError
from core.spans import Duration, Span, floor_to
from vtn.console import ConsoleRequest, Form, page
from vtn.services import programme as programmes
from vtn.services import site
from web.auth import Role
from web.pages.charts import Chart, Line, time_chart
from web.pages.translations import gettext as _

_BACK = timedelta(hours=12)
_AHEAD = timedelta(hours=48)
_VERSIONS_SHOWN = 20
_KEYS = "tariffs"


@page("GET", "/tariffs", role=Role.VIEWER)
async def list_tariffs(request: ConsoleRequest) -> web.StreamResponse:
    """Show all tariffs with their present price."""
    keys = listing(_KEYS)
    async with request.desk.db.read() as conn:
        rows = await tariffs.listed(conn, after=keys.before(request), limit=PER_PAGE + 1)
        shown, following = keys.page(rows, lambda row: row.id)
        ids = [one.id for one in shown]
        newest, sources = await tariffs.newest_of(conn, ids), await tariff_source.sources_of(conn, ids)
        hour = Span(request.now, request.now + timedelta(minutes=1))
        now_at = {one: current(await tariffs.series(conn, one, hour), request.now) for one in ids}
        known = await programmes.newest(conn)
        signals = [
            (one, await prices.enabled(conn, one.id), await prices.status(conn, one, request.now)) for one in known
        ]
        names = await trade_view.names(conn)
    return request.render(
        "market/tariffs.html",
        rows=shown,
        following=following,
        newest=newest,
        sources=sources,
        now_at=now_at,
        signals=signals,
        names=names,
        tariff_names={one.id: one.name for one in shown},
    )


@page("GET", "/tariffs/new", role=Role.ADMIN)
async def new_tariff(request: ConsoleRequest) -> web.StreamResponse:
    """Show the form for a new tariff."""
    return await _edit(request, Form())


async def _edit(request: ConsoleRequest, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        known, areas = await programmes.newest(conn), await site.areas(conn)
    return request.render("market/tariff_new.html", form=form, programmes=known, areas=areas)


@page("POST", "/tariffs", role=Role.ADMIN)
async def create_tariff(request: ConsoleRequest) -> web.StreamResponse:
    """Create a tariff, without prices."""
    form = await request.form()
    with form.catching():
        wish = form.read(TariffForm)
        new = NewTariff(Kind(wish.kind), wish.name, wish.currency, wish.vat_included, wish.area, wish.programme_id)
        async with request.desk.db.write() as tx:
            made = await tariffs.create(tx, new, request.now, who=request.who)
        return request.redirect(f"/tariffs/{made.id}", notice=_("Tariff created. Add prices next."))
    return await _edit(request, form)


@page("GET", "/tariffs/{tariff_id}", role=Role.VIEWER)
async def show_tariff(request: ConsoleRequest, tariff_id: str) -> web.StreamResponse:
    """Show a tariff: its prices around now, versions, source, and whom it is for."""
    return await _page(request, tariff_id, Form(), Form())


async def _page(request: ConsoleRequest, tariff_id: str, form: Form, source_form: Form) -> web.Response:
    asked = request.query.get("version", "")
    number = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 9 else None  # noqa: PLR2004
    async with request.desk.db.read() as conn:
        one = await tariffs.get(conn, tariff_id)
        found = await tariffs.content(conn, tariff_id, number)
        if number is not None and found is None:
            raise NotFoundError(_("There is no such version of this tariff."))
        head, put = found if found is not None else (None, ())
        span = _span(request.now, put if number is not None else ())
        series = await tariffs.series(conn, tariff_id, span, version=number)
        newest = await tariffs.newest(conn, tariff_id)
        versions = await tariffs.versions(conn, tariff_id, limit=_VERSIONS_SHOWN)
        source = await tariff_source.source_of(conn, tariff_id)
        vens = await household_tariffs.coverage(conn, one, request.now)
        names = await trade_view.names(conn)
    shown_source = source if request.may(Role.ADMIN) else None
    return request.render(
        "market/tariff.html",
        form=form if form.failed else source_form,
        prices_form=form if form.was_sent else Form(),
        source_form=source_form if source_form.was_sent else _source_form(shown_source),
        one=one,
        head=head,
        newest=newest,
        versions=versions,
        chart=_chart(one, series, request) if series else None,
        series_now=current(series, request.now),
        is_old=number is not None and newest is not None and number != newest.version,
        source=source,
        mapping_shown=request.may(Role.ADMIN),
        vens=vens,
        names=names,
    )


def _span(now: datetime, put: Series) -> Span:
    """Return the days around now; for an old version, what it brought."""
    start = floor_to(now - _BACK, 3600)
    end = start + _BACK + _AHEAD
    if put and (put[-1].end <= start or put[0].start >= end):
        return Span(put[0].start, min(put[-1].end, put[0].start + _AHEAD))
    return Span(start, end)


def _chart(tariff: Tariff, series: Series, request: ConsoleRequest) -> Chart:
    times: list[datetime] = []
    values: list[float | None] = []
    for price in series:
        if times and times[-1] == price.start:
            values[-1] = float(price.amount)
        else:
            times.append(price.start)
            values.append(float(price.amount))
        times.append(price.end)
        values.append(None)
    if values and times:
        values[-1] = float(series[-1].amount)
    unit = f"{tariff.currency}/kWh"
    lines = [Line(_("price"), times, values, step=True)]
    return time_chart("prices", _("Price, %(unit)s", unit=unit), unit, lines, zone=request.zone, now=request.now)


def _source_form(source: tariff_source.TariffSource | None) -> Form:
    if source is None:
        return Form()
    one = source.mapping
    typed = {
        "url": source.url,
        "every": str(Duration.of(seconds=source.every_s)),
        "headers": "\n".join(f"{name}: {variable}" for name, variable in one.headers.items()),
    }
    names = ("layout", "items", "start", "value", "end", "duration", "step", "times", "time_zone", "factor")
    for name in (*names, "lowest", "highest"):
        value = getattr(one, name)
        typed[name] = "" if value is None else str(value)
    return Form({name: [value] for name, value in typed.items()})


@page("POST", "/tariffs/{tariff_id}/prices", role=Role.ADMIN)
async def put_prices(request: ConsoleRequest, tariff_id: str) -> web.StreamResponse:
    """Add a version out of pasted lines."""
    form = await request.form()
    with form.catching():
        wish = form.read(PricesForm)
        series = read_prices(wish.prices, request.zone)
        with form.catching("prices"):
            checked(series)
        if form.failed:
            return await _page(request, tariff_id, form, Form())
        async with request.desk.db.write() as tx:
            made = await tariffs.put_prices(
                tx,
                tariff_id,
                series,
                request.now,
                who=request.who,
                source=Source.CONSOLE,
                whole=not wish.extend,
                read_version=wish.version,
            )
        text = (
            _("Prices saved as version %(version)s.", version=made.version)
            if made.version != wish.version
            else _("These prices are in force already.")
        )
        return request.redirect(f"/tariffs/{tariff_id}", notice=text)
    return await _page(request, tariff_id, form, Form())


@page("POST", "/tariffs/{tariff_id}/source", role=Role.ADMIN)
async def put_source(request: ConsoleRequest, tariff_id: str) -> web.StreamResponse:
    """Say where prices are fetched; it is asked at once."""
    form = await request.form()
    with form.catching():
        wish = form.read(SourceForm)
        if wish.every.months or not SHORTEST_S <= wish.every.exact_s <= LONGEST_S:
            raise InvalidError(
                _("Enter an interval from PT1M (a minute) to P31D (31 days), without months."), field="every"
            )
        mapping = wish.mapping().mapping()
        async with request.desk.db.write() as tx:
            await tariff_source.put_source(
                tx, tariff_id, wish.url, mapping, wish.every.exact_s, request.now, who=request.who
            )
        return request.redirect(
            f"/tariffs/{tariff_id}#source", notice=_("The source will be polled within a few seconds.")
        )
    return await _page(request, tariff_id, Form(), form)


@page("POST", "/tariffs/{tariff_id}/source/removal", role=Role.ADMIN)
async def remove_source(request: ConsoleRequest, tariff_id: str) -> web.StreamResponse:
    """Fetch no more; the prices stay."""
    async with request.desk.db.write() as tx:
        await tariff_source.remove_source(tx, tariff_id, request.now, who=request.who)
    return request.redirect(f"/tariffs/{tariff_id}#source", notice=_("Source removed. Prices already fetched stay."))


@page("POST", "/tariffs/{tariff_id}/source/request", role=Role.DISPATCHER)
async def ask_source(request: ConsoleRequest, tariff_id: str) -> web.StreamResponse:
    """Fetch now."""
    async with request.desk.db.write() as tx:
        await tariff_source.ask_now(tx, tariff_id, request.now, who=request.who)
    return request.redirect(f"/tariffs/{tariff_id}#source", notice=_("The source will be polled within a few seconds."))


@page("POST", "/tariffs/{tariff_id}/retirement", role=Role.ADMIN)
async def retire_tariff(request: ConsoleRequest, tariff_id: str) -> web.StreamResponse:
    """End a tariff."""
    async with request.desk.db.write() as tx:
        await tariffs.retire(tx, tariff_id, request.now, who=request.who)
    return request.redirect(f"/tariffs/{tariff_id}", notice=_("Tariff retired. It applies to nobody from now on."))


@page("POST", "/tariffs/signals/{programme_id}", role=Role.ADMIN)
async def switch_signals(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Send prices to a programme's VENs, or not."""
    on = (await request.form()).value("on") == "true"
    async with request.desk.db.write() as tx:
        await prices.switch(tx, programme_id, request.now, on=on, who=request.who)
    text = (
        _("Prices are now sent to the VENs of this programme.")
        if on
        else _("Prices are no longer sent. Open price events are cancelled.")
    )
    return request.redirect("/tariffs", notice=text)


PAGES = (
    list_tariffs,
    new_tariff,
    create_tariff,
    show_tariff,
    put_prices,
    put_source,
    remove_source,
    ask_source,
    retire_tariff,
    switch_signals,
)
