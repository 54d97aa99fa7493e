"""A season: what a programme's events of some months brought, event by event and VEN by VEN."""

from typing import Final

from aiohttp import web

from aggregator.console.shared import PER_PAGE, listing, with_defaults, zone_of
from aggregator.trade import season
from aggregator.trade.season import Season, SeasonVen
from vtn.console import ConsoleRequest, Form, page
from vtn.services import programme as programmes
from vtn.store.database import Connection
from web.auth import Role
from web.pages.charts import Chart, Line, time_chart
from web.pages.translations import gettext as _

_VENS: Final = listing("season-vens")
_PATH: Final = "/programmes/{programme_id}/season"


@page("GET", _PATH, role=Role.VIEWER)
async def show_season(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Show the season of a span of local days, by default the 90 up to today."""
    form = request.filters()
    found: Season | None = None
    shown: list[SeasonVen] = []
    charts: list[Chart] = []
    following = None
    async with request.desk.db.read() as conn:
        rules = await programmes.get(conn, programme_id)
        with form.catching():
            found = await _read(request, conn, programme_id, form)
            rows = await season.vens(conn, found, after=_VENS.before(request), limit=PER_PAGE + 1)
            shown, following = _VENS.page(rows, lambda row: row.ven_id)
            charts = _charts(found, rules) if found.events else []
            form = with_defaults(form, first=found.span.first, until=found.span.until)
    return request.render(
        "market/season.html",
        zone=zone_of(rules),
        form=form,
        programme=rules,
        season=found,
        charts=charts,
        vens=shown,
        following=following,
    )


async def _read(request: ConsoleRequest, conn: Connection, programme_id: str, form: Form) -> Season:
    first, until = (season.read_day(form.value(name), name) for name in ("first", "until"))
    return await season.of_programme(conn, programme_id, request.now, first, until)


def _charts(read: Season, rules: programmes.Programme) -> list[Chart]:
    times, zone = [one.starts_at for one in read.events], zone_of(rules)

    def line(name: str, field: str, factor: float, *, dashed: bool = False) -> Line:
        values = [getattr(one, field) for one in read.events]
        return Line(name, times, [None if one is None else one * factor for one in values], dashed=dashed)

    energies = [line(_("ordered"), "ordered_wh", 1e-3, dashed=True), line(_("delivered"), "delivered_wh", 1e-3)]
    shares = [
        line(_("delivered of all that was ordered"), "ratio", 100),
        line(_("participation"), "participation_rate", 100),
    ]
    return [
        time_chart("season-energy", _("Energy of each event"), "kWh", energies, zone=zone),
        time_chart("season-shares", _("Performance and participation of each event"), "%", shares, zone=zone),
    ]


@page("GET", f"{_PATH}.csv", role=Role.VIEWER)
async def export_events(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Give the events of a season as CSV."""
    async with request.desk.db.read() as conn:
        found = await _read(request, conn, programme_id, request.filters())
    return request.file(season.to_csv(found), "text/csv; charset=utf-8", f"season-{programme_id}.csv")


@page("GET", f"{_PATH}/vens.csv", role=Role.VIEWER)
async def export_vens(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Give what each VEN did in a season as CSV."""
    async with request.desk.db.read() as conn:
        found = await _read(request, conn, programme_id, request.filters())
        rows = await season.vens(conn, found, limit=None)
    return request.file(season.vens_to_csv(found, rows), "text/csv; charset=utf-8", f"season-{programme_id}-vens.csv")


PAGES = (show_season, export_events, export_vens)
