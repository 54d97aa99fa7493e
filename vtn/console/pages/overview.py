"""The overview: how things stand, each number a way to its list."""

import asyncio
from datetime import timedelta
from typing import Final

from aiohttp import web
from markupsafe import Markup

from core.direction import Direction
from vtn.console.request import ConsoleRequest
from vtn.services import dispatch_list, expiry, fleet, pending
from vtn.services.dispatch_list import DispatchFilter, When
from vtn.services.fleet import Filter, FleetRow
from vtn.services.potential import Potential, latest
from vtn.services.potential_forecast import STEP_S, DirectionForecast, Outlook
from web.auth import Role
from web.pages.charts import Band, Chart, Line, time_chart
from web.pages.page import page
from web.pages.translations import gettext as _
from web.pagination import Keyset

EXPIRES_WITHIN: Final = timedelta(days=30)
"""Machine time: certificates that end within this ask for a new one."""
_SHOWN: Final = 5
_PER_PAGE: Final = 100
_BY_NAME: Final = Keyset("potential", str)
Powers = tuple[float, float, float]


@page("GET", "/", role=Role.VIEWER)
async def overview(request: ConsoleRequest) -> web.StreamResponse:
    """Show how things stand."""
    now, desk = request.now, request.desk
    async with desk.db.read() as conn:
        counts = await fleet.counts(conn, now, desk.stale_after_s)
        running = await dispatch_list.listing(conn, DispatchFilter(When.RUNNING), now, limit=_SHOWN)
        upcoming = await dispatch_list.listing(conn, DispatchFilter(When.NEXT), now, limit=_SHOWN)
        totals = {when: await dispatch_list.count(conn, when, now) for when in (When.RUNNING, When.NEXT)}
        alerts = await pending.alerts(conn, expiring_before=request.console.utcnow() + EXPIRES_WITHIN)
        endings = await asyncio.to_thread(expiry.soon, desk.watched, request.console.utcnow() + desk.expires_within)
        outlook = await request.console.outlooks.today(conn, now)
    panels = [Markup(text) for panel in request.console.panels if (text := await panel(request))]  # noqa: S704  own templates
    return request.render(
        "overview.html",
        counts=counts,
        running=running,
        upcoming=upcoming,
        totals=totals,
        alerts=alerts,
        endings=[one.text(request.console.utcnow()) for one in endings],
        outlook=outlook,
        charts=[outlook_chart(request, outlook, name) for name in Direction] if outlook.vens else [],
        panels=panels,
    )


def outlook_chart(request: ConsoleRequest, outlook: Outlook, name: str) -> Chart:
    """Return the chart of a direction, in kW."""
    one: DirectionForecast = getattr(outlook, name)
    low, middle, high = ([value / 1000 for value in row] for row in (one.p10_w, one.p50_w, one.p90_w))
    if name == Direction.REDUCE:
        title = _("Consumption that VENs can reduce in the next 24 hours")
    else:
        title = _("Consumption that VENs can increase in the next 24 hours")
    median = _("median (p50)")
    end = outlook.times[-1] + timedelta(seconds=STEP_S) if outlook.times else None
    lines = [Line(median, outlook.times, middle, step=True, end=end)]
    bands = [Band(median, outlook.times, low, high, end=end)]
    return time_chart(f"outlook-{name}", title, "kW", lines, bands=bands, zone=request.zone)


@page("GET", "/potential", role=Role.VIEWER)
async def potential_list(request: ConsoleRequest) -> web.StreamResponse:
    """Show each VEN's own figures with their age and source; `?only=stale` those that are too old."""
    now, desk = request.now, request.desk
    only_stale = request.query.get("only") == "stale"
    after = _BY_NAME.decode(request.query.get("cursor"))
    async with desk.db.read() as conn:
        name, more = (after[0] if after else None), True
        rows: list[tuple[FleetRow, list[tuple[Potential, Powers | None]]]] = []
        while more and len(rows) <= _PER_PAGE:
            found = await fleet.listing(conn, Filter(), now, desk.stale_after_s, after=name, limit=500)
            more = len(found) == 500  # noqa: PLR2004  a full page: there may be another
            known = await latest(conn, [one.ven_id for one in found], now)
            for one in found:
                figures = known.get(one.ven_id, [])
                if not only_stale or (figures and all(each.is_stale(now) for each in figures)):
                    rows.append((one, [(each, power_now(each, request)) for each in figures]))
            name = found[-1].name if found else None
        outlook = await request.console.outlooks.today(conn, now)
    listed = _BY_NAME.page(rows, _PER_PAGE, key=lambda row: (row[0].name,))
    return request.render("potential.html", page=listed, outlook=outlook, only_stale=only_stale)


def power_now(potential: Potential, request: ConsoleRequest) -> Powers | None:
    """Return p10, p50 and p90 (W) of this moment, or None if the figures say nothing of it."""
    figures = potential.figures
    place = (int(request.now.timestamp()) - figures.start_s) // figures.step_s
    if not 0 <= place < len(figures.p50_w):
        return None
    return figures.p10_w[place], figures.p50_w[place], figures.p90_w[place]


PAGES = (overview, potential_list)
