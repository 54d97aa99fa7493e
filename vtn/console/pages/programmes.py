"""Programmes: their versioned rules, who takes part, and how much of the limits is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from aiohttp import web
from pydantic import Field

from core.errors import ConflictError, InvalidError
from core.spans import Duration
from metrics.days import DayType
from metrics.presets import PRESETS
from openadr.model.event import ResponseRequired
from vtn.api.fields import Printable
from vtn.api.programme_parameters import ProgrammeParameters, WallClock, period_of
from vtn.api.programme_templates import template, templates
from vtn.api.programmes import NewControlGroup, NewProgramme, ProgrammeChange
from vtn.console.request import ConsoleRequest
from vtn.console.words import WORDS
from vtn.services import baseline_comparison, control_group, dispatch_list, fleet, holidays, learning, programme_members
from vtn.services import programme as programmes
from vtn.services.dispatch_list import DispatchFilter
from vtn.services.programme import Parameters, Programme
from vtn.transport.v20b.check import check_programme
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.templating import show_duration
from web.pages.translations import N_, ngettext
from web.pages.translations import gettext as _
from web.pagination import Keyset

_PER_PAGE: Final = 100
_BY_NAME: Final = Keyset("members", str)
_BLANK_WINDOWS: Final = 3
_USUAL: Final = ("17:00", "19:00")
_DAY_MIN: Final = 24 * 60
_DAYS: Final = (N_("Mon"), N_("Tue"), N_("Wed"), N_("Thu"), N_("Fri"), N_("Sat"), N_("Sun"))


class _Change(ProgrammeChange):
    version: Annotated[int, Field(ge=1)]
    """The version that was changed: somebody else's newer one is not overwritten."""


class _Members(Model):
    ven_ids: Annotated[list[str], Field(max_length=fleet.MOST_NAMED)] = Field(default_factory=list)
    group: Annotated[str, Field(max_length=80)] | None = None
    consent_version: Annotated[Printable, Field(min_length=1, max_length=40)] | None = None


class _Hours(Model):
    since: WallClock
    until: WallClock
    days: Literal["weekday", "weekend"] = "weekday"

    def value(self) -> baseline_comparison.Hours:
        """Return the hours; an end before the start lies on the next day. Raises InvalidError for none at all."""
        since, until = time.fromisoformat(self.since), time.fromisoformat(self.until)
        minutes = ((until.hour - since.hour) * 60 + until.minute - since.minute) % _DAY_MIN
        if not minutes:
            raise InvalidError(_("Enter another time than the start."), field="until")
        return baseline_comparison.Hours(since, Duration.of(minutes=minutes), DayType(self.days))


@page("GET", "/programmes", role=Role.VIEWER)
async def list_programmes(request: ConsoleRequest) -> web.StreamResponse:
    """Show all programmes."""
    async with request.desk.db.read() as conn:
        known = await programmes.newest(conn)
        counts = await programme_members.counts(conn, request.now)
    return request.render("programmes/list.html", programmes=known, counts=counts, presets=PRESETS)


@page("GET", "/programmes/new", role=Role.ADMIN)
async def new_programme(request: ConsoleRequest) -> web.StreamResponse:
    """Show the form for a new programme, filled in from a template if one is named."""
    form, name = Form(), request.query.get("template")
    given = Parameters()
    with form.catching():
        given = template(name).parameters.value() if name else given
    return await _edit(request, form, None, given)


@page("POST", "/programmes", role=Role.ADMIN)
async def create_programme(request: ConsoleRequest) -> web.StreamResponse:
    """Create a programme."""
    form = await request.form()
    with form.catching():
        wish = form.read(NewProgramme)
        parameters = _value(wish)
        await check_programme(wish.market_context, period_of(parameters))
        with _in_parameters():
            async with request.desk.db.write() as tx:
                made = await programmes.create(
                    tx, wish.name, wish.market_context, parameters, request.now, who=request.who
                )
        return request.redirect(
            f"/programmes/{made.id}", notice=_("Programme %(programme)s created. Enrol VENs next.", programme=made.name)
        )
    return await _edit(request, form, None)


@page("GET", "/programmes/{programme_id}", role=Role.VIEWER)
async def show_programme(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Show a programme at its newest version, with its members."""
    return await _page(request, programme_id, Form())


async def _page(request: ConsoleRequest, programme_id: str, form: Form) -> web.Response:
    after = _BY_NAME.decode(request.query.get("cursor"))
    async with request.desk.db.read() as conn:
        one = await programmes.get(conn, programme_id)
        name = after[0] if after else None
        rows = await programme_members.members(conn, one, request.now, after=name, limit=_PER_PAGE + 1)
        count = (await programme_members.counts(conn, request.now)).get(programme_id, 0)
        versions = await programme_members.versions(conn, programme_id)
        groups = await fleet.groups(conn)
        dispatches = await dispatch_list.listing(conn, DispatchFilter(programme_id=programme_id), request.now, limit=5)
        everybody = await fleet.listing(conn, fleet.Filter(), request.now, request.desk.stale_after_s, limit=1000)
        enrolled = set(await programmes.enrolled(conn, programme_id, request.now))
        learnt = await learning.of_programme(conn, one, request.now)
    return request.render(
        "programmes/one.html",
        zone=ZoneInfo(one.parameters.time_zone),
        programme=one,
        learnt=learnt,
        page=_BY_NAME.page(rows, _PER_PAGE, key=lambda member: (member.name,)),
        count=count,
        versions=versions,
        groups=groups,
        dispatches=dispatches,
        others=[row for row in everybody if row.ven_id not in enrolled],
        form=form,
        preset=PRESETS.get(one.parameters.baseline),
        days=_DAYS,
    )


@page("GET", "/programmes/{programme_id}/versions/{version:[0-9]{1,9}}", role=Role.VIEWER)
async def show_version(request: ConsoleRequest, programme_id: str, version: str) -> web.StreamResponse:
    """Show an old version, and what the next one changed."""
    async with request.desk.db.read() as conn:
        one = await programmes.get(conn, programme_id, int(version))
        newest = await programmes.get(conn, programme_id)
        groups = await fleet.groups(conn)
    return request.render(
        "programmes/version.html",
        groups=groups,
        zone=ZoneInfo(one.parameters.time_zone),
        programme=one,
        newest=newest,
        preset=PRESETS.get(one.parameters.baseline),
        days=_DAYS,
    )


@page("GET", "/programmes/{programme_id}/baselines", role=Role.VIEWER)
async def compare_baselines(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Show how far each baseline preset is off on the programme's own homes, at hours of one's choice."""
    async with request.desk.db.read() as conn:
        one = await programmes.get(conn, programme_id)
    form, found = request.filters(), None
    with form.catching():
        if request.query:
            hours = form.read(_Hours).value()
            async with request.desk.comparing:
                found = await baseline_comparison.compare(request.desk.db, programme_id, hours, request.now)
    windows = one.parameters.limits.windows
    return request.render(
        "programmes/baselines.html",
        zone=ZoneInfo(one.parameters.time_zone),
        programme=one,
        form=form,
        found=found,
        presets=PRESETS,
        usual=(windows[0].start, windows[0].end) if windows else _USUAL,
        kinds=[(DayType.WEEKDAY.value, _("weekdays")), (DayType.WEEKEND.value, _("weekends"))],
    )


@page("GET", "/programmes/{programme_id}/edit", role=Role.ADMIN)
async def edit_programme(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Show the form that makes the next version."""
    async with request.desk.db.read() as conn:
        one = await programmes.get(conn, programme_id)
    return await _edit(request, Form(), one)


@page("POST", "/programmes/{programme_id}", role=Role.ADMIN)
async def change_programme(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Make the next version."""
    form = await request.form()
    async with request.desk.db.read() as conn:
        old = await programmes.get(conn, programme_id)
    with form.catching():
        wish = form.read(_Change)
        parameters = _value(wish)
        await check_programme(old.market_context, period_of(parameters))
        async with request.desk.db.write() as tx:
            newest = await programmes.get(tx.conn, programme_id)
            if newest.version != wish.version:
                raise ConflictError(
                    _("Somebody else created version %(version)s. Check it before you go on.", version=newest.version)
                )
            with _in_parameters():
                made = await programmes.change(tx, programme_id, wish.name, parameters, request.now, who=request.who)
        return request.redirect(
            f"/programmes/{programme_id}",
            notice=_("Version %(version)s is in force from now on.", version=made.version),
        )
    return await _edit(request, form, old)


def _value(fields: NewProgramme | ProgrammeChange) -> Parameters:
    """Return the parameters. Raises InvalidError, naming the field as the form has it."""
    with _in_parameters():
        return fields.parameters.value()


@contextmanager
def _in_parameters() -> Iterator[None]:
    """Let errors name a field of the parameters as the form has it."""
    try:
        yield
    except InvalidError as error:
        if (error.field or "").partition(".")[0] not in ProgrammeParameters.model_fields:
            raise
        raise InvalidError(str(error), field=f"parameters.{error.field}") from error


async def _edit(
    request: ConsoleRequest, form: Form, old: Programme | None, given: Parameters | None = None
) -> web.Response:
    async with request.desk.db.read() as conn:
        groups = await fleet.groups(conn)
    one = old.parameters if old is not None else given or Parameters()
    sent = {name.split(".")[3] for name in form.names() if name.startswith("parameters.limits.windows.")}
    rows = max([int(number) + 1 for number in sent if number.isdecimal() and len(number) < 3], default=0)  # noqa: PLR2004
    return request.render(
        "programmes/edit.html",
        zone=None if old is None else ZoneInfo(old.parameters.time_zone),
        form=form,
        old=old,
        one=one,
        windows=max(rows, len(one.limits.windows) + _BLANK_WINDOWS),
        templates=None if old is not None else list(templates().values()),
        presets=PRESETS,
        groups=groups,
        spreads=[
            (programmes.Spread.EVENLY.value, _("spread evenly")),
            (programmes.Spread.BY_ORDER.value, _("by what was ordered")),
        ],
        intervals=[(str(length), show_duration(length)) for length in programmes.SETTLEMENT_INTERVALS],
        zones=sorted(available_timezones()),
        countries=list(holidays.countries()),
        responses=[(each.value, _(WORDS[each.value])) for each in ResponseRequired],
        days=[(number, _(name)) for number, name in enumerate(_DAYS, 1)],
    )


@page("POST", "/programmes/{programme_id}/members", role=Role.ADMIN)
async def enrol(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Let VENs take part: the chosen ones, and those of a group."""
    form = await request.form()
    with form.catching():
        wish = form.read(_Members)
        async with request.desk.db.write() as tx:
            chosen = list(wish.ven_ids)
            if wish.group is not None:
                await fleet.get_group(tx.conn, wish.group)
                chosen += await fleet.members_of(tx.conn, wish.group)
            if not chosen:
                raise InvalidError(_("Select VENs, or a group that has some."))
            before = set(await programmes.enrolled(tx.conn, programme_id, request.now))
            await programmes.enrol(
                tx, programme_id, chosen, request.now, who=request.who, consent_version=wish.consent_version
            )
        new = len(set(chosen) - before)
        return request.redirect(
            f"/programmes/{programme_id}", notice=ngettext("%(num)s VEN enrolled.", "%(num)s VENs enrolled.", new)
        )
    return await _page(request, programme_id, form)


@page("POST", "/programmes/{programme_id}/control-group", role=Role.ADMIN)
async def draw_control_group(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    """Draw a control group by chance out of the VENs that take part."""
    form = await request.form()
    with form.catching():
        wish = form.read(NewControlGroup)
        async with request.desk.db.write() as tx:
            drawn = await control_group.draw(
                tx, programme_id, wish.share, request.now, who=request.who, seed=wish.seed, name=wish.name
            )
        return request.redirect(
            f"/programmes/{programme_id}",
            notice=ngettext(
                "Control group %(group)s drawn: %(num)s VEN.",
                "Control group %(group)s drawn: %(num)s VENs.",
                drawn.group.members,
                group=drawn.group.name,
            ),
        )
    return await _page(request, programme_id, form)


@page("POST", "/programmes/{programme_id}/members/{ven_id}/end", role=Role.ADMIN)
async def end_enrolment(request: ConsoleRequest, programme_id: str, ven_id: str) -> web.StreamResponse:
    """Let a VEN take part no longer."""
    async with request.desk.db.write() as tx:
        await programmes.end_enrolment(tx, programme_id, ven_id, request.now, who=request.who)
    return request.redirect(
        f"/programmes/{programme_id}", notice=_("The VEN no longer takes part. Its running events continue.")
    )


PAGES = (
    list_programmes,
    new_programme,
    create_programme,
    show_programme,
    show_version,
    compare_baselines,
    edit_programme,
    change_programme,
    enrol,
    draw_control_group,
    end_enrolment,
)
