"""Days that are like no others: a programme's holidays, and outages."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web
from pydantic import Field, NaiveDatetime

from core.errors import InvalidError, NotFoundError
from vtn.api.fields import Printable
from vtn.api.holidays import NewHoliday
from vtn.console.request import ConsoleRequest
from vtn.services import fleet, holidays, outages, site
from vtn.services import programme as programmes
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import gettext as _

_SHOWN: Final = 50
_PATH: Final = "/programmes/{programme_id}/days"


_Local = Annotated[NaiveDatetime, Field(ge=datetime(2000, 1, 1), le=datetime(2199, 12, 1))]  # noqa: DTZ001  local


class _NewOutage(Model):
    starts_at: _Local
    ends_at: _Local | None = None
    reason: Annotated[Printable, Field(min_length=1, max_length=200)]
    ven_id: Annotated[str, Field(max_length=80)] | None = None
    area: Annotated[str, Field(max_length=80)] | None = None


class _OutageEnd(Model):
    ends_at: _Local


@page("GET", _PATH, role=Role.VIEWER)
async def show_days(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Show the holidays of a programme in a year, and the outages that were entered last."""
    return await _page(request, programme_id, Form())


async def _page(request: ConsoleRequest, programme_id: str, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        one = await programmes.get(conn, programme_id)
        year = _year(request, one.parameters.time_zone)
        days = await holidays.listing(conn, one.id, one.parameters, date(year, 1, 1), date(year, 12, 31))
        known = await outages.listing(conn, limit=_SHOWN)
        areas = await site.areas(conn)
        everybody = await fleet.listing(conn, fleet.Filter(), request.now, request.desk.stale_after_s, limit=1000)
    return request.render(
        "programmes/days.html",
        zone=ZoneInfo(one.parameters.time_zone),
        programme=one,
        year=year,
        days=days,
        outages=known,
        areas=sorted(areas),
        vens=[(row.ven_id, row.name) for row in everybody],
        names={row.ven_id: row.name for row in everybody},
        first_year=holidays.FIRST_YEAR,
        last_year=holidays.LAST_YEAR,
        form=form,
    )


def _year(request: ConsoleRequest, zone: str) -> int:
    text = request.query.get("year")
    if text is None:
        return request.now.astimezone(ZoneInfo(zone)).year
    if not (text.isascii() and text.isdecimal()) or not holidays.FIRST_YEAR <= int(text[:9]) <= holidays.LAST_YEAR:
        raise NotFoundError(_("There is no such year."))
    return int(text[:9])


@page("POST", _PATH, role=Role.ADMIN)
async def add_holiday(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Add a holiday of the programme's own."""
    form = await request.form()
    with form.catching():
        wish = form.read(NewHoliday)
        async with request.desk.db.write() as tx:
            await holidays.add(tx, programme_id, wish.day, wish.name, request.now, who=request.who)
        return request.redirect(f"/programmes/{programme_id}/days?year={wish.day.year}", notice=_("Holiday added."))
    return await _page(request, programme_id, form)


@page("POST", f"{_PATH}/{{day}}/remove", role=Role.ADMIN)
async def remove_holiday(request: ConsoleRequest, programme_id: str, day: str) -> web.StreamResponse:
    """Take back a holiday of the programme's own."""
    try:
        when = date.fromisoformat(day)
    except ValueError as error:
        raise NotFoundError(_("There is no such day.")) from error
    async with request.desk.db.write() as tx:
        public = await holidays.remove(tx, programme_id, when, request.now, who=request.who)
    said = {"day": when.isoformat(), "name": public or ""}
    notice = _("%(day)s remains a public holiday: %(name)s.", **said) if public else _("Holiday removed.")
    return request.redirect(f"/programmes/{programme_id}/days?year={when.year}", notice=notice)


@page("POST", f"{_PATH}/outages", role=Role.ADMIN)
async def add_outage(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Enter an outage; times are those of the programme's zone."""
    form = await request.form()
    zone = await _zone(request, programme_id)
    with form.catching():
        wish = form.read(_NewOutage)
        whose: dict[str, Any] = {"ven_id": wish.ven_id, "area": wish.area}
        async with request.desk.db.write() as tx:
            ends_at = None if wish.ends_at is None else _utc(wish.ends_at, zone, "ends_at")
            starts_at = _utc(wish.starts_at, zone, "starts_at")
            await outages.add(tx, starts_at, ends_at, wish.reason, request.now, who=request.who, **whose)
        return request.redirect(f"/programmes/{programme_id}/days", notice=_("Outage entered."))
    return await _page(request, programme_id, form)


@page("POST", f"{_PATH}/outages/{{outage_id}}/end", role=Role.ADMIN)
async def end_outage(request: ConsoleRequest, programme_id: str, outage_id: str) -> web.StreamResponse:
    """Say when an outage ended."""
    form = await request.form()
    zone = await _zone(request, programme_id)
    with form.catching():
        wish = form.read(_OutageEnd)
        async with request.desk.db.write() as tx:
            await outages.end(tx, outage_id, _utc(wish.ends_at, zone, "ends_at"), request.now, who=request.who)
        return request.redirect(f"/programmes/{programme_id}/days", notice=_("The outage has an end."))
    return await _page(request, programme_id, form)


@page("POST", f"{_PATH}/outages/{{outage_id}}/remove", role=Role.ADMIN)
async def remove_outage(request: ConsoleRequest, programme_id: str, outage_id: str) -> web.StreamResponse:
    """Take back an outage that was none."""
    async with request.desk.db.write() as tx:
        await outages.remove(tx, outage_id, request.now, who=request.who)
    return request.redirect(f"/programmes/{programme_id}/days", notice=_("Outage removed."))


async def _zone(request: ConsoleRequest, programme_id: str) -> ZoneInfo:
    async with request.desk.db.read() as conn:
        return ZoneInfo((await programmes.get(conn, programme_id)).parameters.time_zone)


def _utc(when: datetime, zone: ZoneInfo, field: str) -> datetime:
    """Return a time of the programme's zone as UTC. Raises InvalidError for one that the clocks leave out."""
    found = when.replace(tzinfo=zone).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) != when:
        raise InvalidError(_("This time doesn't exist: clocks are set forward over it."), field=field)
    return found


PAGES = (show_days, add_holiday, remove_holiday, add_outage, end_outage, remove_outage)
