"""What is done to many VENs at once, from the fleet's list."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from core.errors import ForbiddenError, InvalidError, NotFoundError
from vtn.console.pages.fleet import REPORTS, fleet_page
from vtn.console.request import ConsoleRequest
from vtn.services import fleet, programme, registration, site
from vtn.store.database import Transaction
from web.auth import Role
from web.model import Model
from web.pages.forms import parse_form
from web.pages.page import page
from web.pages.translations import gettext as _
from web.pages.translations import ngettext

_Action = Literal["add", "remove", "area", "enrol", "report", "reregister"]
_NEEDS_ADMIN: Final = frozenset({"add", "remove", "area", "enrol"})


class _Bulk(Model):
    action: _Action
    ven_ids: Annotated[list[str], Field(min_length=1, max_length=fleet.MOST_NAMED)] = Field(default_factory=list)
    group: Annotated[str, Field(max_length=80)] | None = None
    area: Annotated[str, Field(max_length=80)] | None = None
    programme: Annotated[str, Field(max_length=80)] | None = None
    consent_version: Annotated[str, Field(max_length=40)] | None = None
    report: Literal["TELEMETRY_USAGE", "TELEMETRY_STATUS", "HISTORY_USAGE", "x-FLEXIBILITY_POTENTIAL"] = REPORTS[0]
    filter: Annotated[str, Field(max_length=2000)] = ""


@page("POST", "/fleet/bulk", role=Role.DISPATCHER)
async def change_many(request: ConsoleRequest) -> web.StreamResponse:
    """Do one thing with all chosen VENs, or with none."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Bulk)
        if wish.action in _NEEDS_ADMIN and not request.may(Role.ADMIN):
            raise ForbiddenError(_("Groups, areas and enrolments need the role admin."))
        if not wish.ven_ids:
            raise InvalidError(_("Select at least one VEN in the list."))
        async with request.desk.db.write() as tx:
            said = await _DO[wish.action](request, tx, wish)
        where = f"/fleet?{wish.filter}" if wish.filter else "/fleet"
        return request.redirect(where, notice=said)
    return await fleet_page(request, parse_form(form.value("filter")), form)


async def _add(request: ConsoleRequest, tx: Transaction, wanted: _Bulk) -> str:
    count = await fleet.add_to_group(tx, _chosen_group(wanted), wanted.ven_ids, request.now, who=request.who)
    return ngettext("%(num)s VEN added to the group.", "%(num)s VENs added to the group.", count)


async def _remove(request: ConsoleRequest, tx: Transaction, wanted: _Bulk) -> str:
    count = await fleet.remove_from_group(tx, _chosen_group(wanted), wanted.ven_ids, request.now, who=request.who)
    return ngettext("%(num)s VEN removed from the group.", "%(num)s VENs removed from the group.", count)


async def _area(request: ConsoleRequest, tx: Transaction, wanted: _Bulk) -> str:
    zone = str(request.zone) if getattr(request.zone, "key", None) else "UTC"
    count = await site.set_area(tx, wanted.ven_ids, wanted.area, request.now, time_zone=zone, who=request.who)
    if not wanted.area:
        return ngettext("%(num)s VEN is now in no area.", "%(num)s VENs are now in no area.", count)
    return ngettext(
        "%(num)s VEN is now in area %(area)s.", "%(num)s VENs are now in area %(area)s.", count, area=wanted.area
    )


async def _enrol(request: ConsoleRequest, tx: Transaction, wanted: _Bulk) -> str:
    if wanted.programme is None:
        raise InvalidError(_("Select a programme first."), field="programme")
    await programme.enrol(
        tx, wanted.programme, wanted.ven_ids, request.now, who=request.who, consent_version=wanted.consent_version
    )
    return ngettext("%(num)s VEN enrolled.", "%(num)s VENs enrolled.", len(wanted.ven_ids))


async def _report(request: ConsoleRequest, tx: Transaction, wanted: _Bulk) -> str:
    asked = await fleet.request_report(tx, wanted.ven_ids, wanted.report, request.now, who=request.who)
    without = sum(one is None for one in asked.values())
    text = ngettext(
        "%(report)s requested from %(num)s VEN.",
        "%(report)s requested from %(num)s VENs.",
        len(asked) - without,
        report=wanted.report,
    )
    if not without:
        return text
    missing = ngettext("%(num)s VEN doesn't offer it.", "%(num)s VENs don't offer it.", without)
    return f"{text} {missing}"


async def _reregister(request: ConsoleRequest, tx: Transaction, wanted: _Bulk) -> str:
    asked = 0
    for ven_id in await fleet.named(tx.conn, wanted.ven_ids):
        try:
            await registration.ask_to_reregister(tx, ven_id, request.now, who=request.who)
        except NotFoundError:
            continue  # it is not registered: nothing to renew
        asked += 1
    return ngettext(
        "Re-registration requested from %(num)s VEN.", "Re-registration requested from %(num)s VENs.", asked
    )


def _chosen_group(wanted: _Bulk) -> str:
    if wanted.group is None:
        raise InvalidError(_("Select a group first."), field="group")
    return wanted.group


_DO: Final[Mapping[str, Callable[[ConsoleRequest, Transaction, _Bulk], Awaitable[str]]]] = {
    "add": _add,
    "remove": _remove,
    "area": _area,
    "enrol": _enrol,
    "report": _report,
    "reregister": _reregister,
}

PAGES = (change_many,)
