"""The fleet: VENs filtered by group, area, presence, registration and certificate."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from metrics.presets import DEFAULT_PRESET
from vtn.console.pages.overview import EXPIRES_WITHIN
from vtn.console.request import ConsoleRequest
from vtn.services import fleet, learning, programme, site
from vtn.services.fleet import Filter, Presence
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pagination import Keyset

_PER_PAGE: Final = 100
_BY_NAME: Final = Keyset("fleet", str)
REPORTS: Final = ("TELEMETRY_USAGE", "TELEMETRY_STATUS", "HISTORY_USAGE", "x-FLEXIBILITY_POTENTIAL")
"""Reports that can be asked of many VENs at once, where they offer them."""


class _Filter(Model):
    text: Annotated[str, Field(max_length=120)] | None = None
    group: Annotated[str, Field(max_length=80)] | None = None
    area: Annotated[str, Field(max_length=80)] | None = None
    presence: Presence | None = None
    registered: bool | None = None
    expiring: bool = False
    cursor: str | None = None

    def value(self, request: ConsoleRequest) -> Filter:
        """Return the filter as the service has it."""
        before = request.console.utcnow() + EXPIRES_WITHIN if self.expiring else None
        return Filter(self.text, self.group, self.area, self.presence, self.registered, before)


@page("GET", "/fleet", role=Role.VIEWER)
async def list_fleet(request: ConsoleRequest) -> web.StreamResponse:
    """Show VENs by name."""
    return await fleet_page(request, request.filters(), Form())


async def fleet_page(request: ConsoleRequest, form: Form, bulk: Form) -> web.Response:
    """Return the list; `form` is its filter, `bulk` what was to be done with the chosen VENs."""
    wish = _Filter()
    with form.catching():
        wish = form.read(_Filter)
    wanted, desk = wish.value(request), request.desk
    after = _BY_NAME.decode(wish.cursor)
    async with desk.db.read() as conn:
        name = after[0] if after else None
        rows = await fleet.listing(conn, wanted, request.now, desk.stale_after_s, after=name, limit=_PER_PAGE + 1)
        total = await fleet.count(conn, wanted, request.now, desk.stale_after_s)
        groups, areas = await fleet.groups(conn), list(await site.areas(conn))
        programmes = await programme.newest(conn)
        method, zone = learning.method_of(DEFAULT_PRESET), desk.settings.time_zone
        learnt = await learning.of_vens(conn, [row.ven_id for row in rows], method, zone, request.now)
    return request.render(
        "fleet/list.html",
        form=form,
        bulk=bulk,
        page=_BY_NAME.page(rows, _PER_PAGE, key=lambda row: (row.name,)),
        total=total,
        learnt=learnt,
        chosen=bulk.values("ven_ids[]"),
        status=422 if bulk.failed or form.failed else 200,
        reports=REPORTS,
        groups=groups,
        areas=areas,
        programmes=programmes,
    )


PAGES = (list_fleet,)
