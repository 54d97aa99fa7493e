"""The pool's potential: what could be sold, per programme, group and area, in both directions."""

from datetime import timedelta
from typing import Final

from aiohttp import web

from aggregator.console.shared import with_defaults, zone_of
from aggregator.flexibility.pool_forecast import MOST_STALE, STEP_S, Curve, PoolForecasts
from core.direction import Direction
from vtn.console import ConsoleRequest, page
from vtn.services import fleet as fleets
from vtn.services import programme as programmes
from vtn.services import site
from vtn.services.programme import Programme
from web.auth import Role
from web.pages.charts import Band, Chart, Line, time_chart
from web.pages.translations import gettext as _

POOLS: Final = web.AppKey("pool_forecasts", PoolForecasts)


@page("GET", "/market/potential", role=Role.VIEWER)
async def show_potential(request: ConsoleRequest) -> web.StreamResponse:
    """Show a programme's pool, or that of an area or group."""
    form = request.filters()
    async with request.desk.db.read() as conn:
        known = await programmes.newest(conn)
        groups = await fleets.groups(conn)
        areas = await site.areas(conn)
    programme_id = form.value("programme_id") or (known[0].id if known else "")
    area, group = form.value("area") or None, form.value("group") or None
    found = None
    if programme_id:
        pools = request.http.config_dict.get(POOLS) or PoolForecasts()
        found = await pools.today(request.desk.db, programme_id, request.now, request.desk.stale_after_s, area, group)
    return request.render(
        "market/potential.html",
        zone=zone_of(found.programme) if found else request.zone,
        form=with_defaults(form, programme_id=programme_id),
        programmes=known,
        groups=groups,
        areas=areas,
        found=found,
        charts=[_chart(one, found.programme) for one in found.curves] if found else [],
        most_stale=MOST_STALE,
    )


def _chart(curve: Curve, rules: Programme) -> Chart:
    edges = [*curve.times, curve.times[-1] + timedelta(seconds=STEP_S)]
    low, middle, high = ([value / 1000 for value in (*row, row[-1])] for row in (curve.p10_w, curve.p50_w, curve.p90_w))
    lines = [Line(_("p50"), edges, middle, step=True), Line(_("p10: can be sold"), edges, low, step=True, dashed=True)]
    if curve.direction == Direction.REDUCE:
        title = _("Consumption that the pool can reduce")
    else:
        title = _("Consumption that the pool can increase")
    bands = [Band(_("p50"), edges, low, high)]
    return time_chart(f"pool-{curve.direction}", title, "kW", lines, bands=bands, zone=zone_of(rules))


PAGES = (show_potential,)
