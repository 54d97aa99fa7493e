"""Programmes and who takes part, in the operator API."""

import math
from datetime import time
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from metrics.days import DayType
from metrics.placebo import Accuracy
from metrics.presets import PRESETS
from vtn.api.desk import DESK
from vtn.api.fields import Printable, Uri
from vtn.api.programme_parameters import ProgrammeParameters, WallClock, period_of
from vtn.api.programme_templates import filled
from vtn.services import control_group, learning
from vtn.services import programme as programmes
from vtn.services.baseline_comparison import Hours, WhyUnknown, compare
from vtn.services.programme import Parameters
from vtn.services.programme import Programme as Stored
from vtn.transport.v20b.check import check_programme
from web.api import Context
from web.model import IsoDuration, Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID = Keyset("programmes", str)


class NewProgramme(Model):
    """A programme to create."""

    name: Annotated[Printable, Field(min_length=1, max_length=200)]
    market_context: Annotated[Uri, Field(max_length=500, examples=["http://example.com/evening-peak"])]
    """The URI by which VENs know the programme."""
    template: Annotated[str, Field(max_length=40)] | None = None
    """Id of a template (`GET /v1/programme-templates`) from which parameters come that are not given."""
    parameters: ProgrammeParameters = ProgrammeParameters()

    def value(self) -> Parameters:
        """Return the parameters. Raises InvalidError as they do, and for an unknown template."""
        return filled(self.template, self.parameters).value()


class ProgrammeChange(Model):
    """The next version of a programme."""

    name: Annotated[Printable, Field(min_length=1, max_length=200)]
    parameters: ProgrammeParameters


class Programme(Model):
    """A programme at one version."""

    id: str
    version: int
    name: str
    market_context: str
    parameters: ProgrammeParameters
    created_at: UtcTime


class PresetAccuracy(Model):
    """How far a baseline preset is off on days without events; shares of what the homes used, null: not known."""

    preset: str
    version: int
    citation: str
    homes: int
    days: int
    """Days without an event on which all these homes could be asked about."""
    bias: float | None
    """Mean error of the homes together, positive if the baseline is too high."""
    pool_rmse: float | None
    """Root mean square error of the homes together, per event."""
    home_rmse: float | None
    """Mean of the homes' own root mean square errors."""
    why_unknown: WhyUnknown | None
    """Why its errors are not known."""


class BaselineComparison(Model):
    """Every preset asked about the same hours, the one with the smallest error of the pool first."""

    start: WallClock
    """Local time of the programme."""
    duration: IsoDuration
    days: Literal["weekday", "weekend"]
    enrolled: int
    vens: int
    """Of those, looked at."""
    in_use: str
    """The programme's preset."""
    presets: list[PresetAccuracy]


class NewEnrolment(Model):
    """Who takes part."""

    ven_ids: Annotated[list[str], Field(min_length=1, max_length=1_000)]
    consent_version: Annotated[Printable, Field(min_length=1, max_length=40)] | None = None
    """Version of the text that the households agreed to."""


class NewControlGroup(Model):
    """How a control group is drawn by chance."""

    share: Annotated[float, Field(gt=0, le=control_group.MOST_PERCENT, examples=[10])]
    """Per cent of the VENs that take part."""
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """The same seed draws the same of the same VENs; null: any."""
    name: Annotated[Printable, Field(min_length=1, max_length=80)] | None = None
    """Of the new group; null: that of the programme."""


class ControlGroup(Model):
    """A control group that was drawn, and the version of the programme that names it."""

    group_id: str
    group: str
    members: int
    enrolled: int
    """VENs that take part, of which it was drawn."""
    seed: int
    programme_version: int


class ProgrammeLearning(Model):
    """How many of a programme's VENs have days enough for its baseline, and from when the others will."""

    vens: int
    ready: int
    learning: int
    unheard: int
    """Their meters were never heard of."""
    needed: int
    """Days like the event's that the baseline needs."""
    ready_on: str | None
    """The local date from which, by and large, the last of those that learn is ready; null: none of them learns."""


class Enrolled(Model):
    """Who takes part now."""

    ven_ids: list[str]


_PARAMETERS = TypeAdapter(ProgrammeParameters)


def _shown(programme: Stored) -> Programme:
    return Programme(
        id=programme.id,
        version=programme.version,
        name=programme.name,
        market_context=programme.market_context,
        parameters=_PARAMETERS.validate_python(programme.parameters, from_attributes=True),
        created_at=programme.created_at,
    )


@operation("GET", "/v1/programmes", summary="List programmes", role="viewer", tags=["programmes"])
async def list_programmes(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Programme]:
    async with context.service(DESK).db.read() as conn:
        rows = await programmes.newest(conn)
    return _BY_ID.part([_shown(row) for row in rows], limit, cursor, key=lambda row: (row.id,))


@operation(
    "POST", "/v1/programmes", summary="Create a programme", role="admin", tags=["programmes"], status=201, errors=[409]
)
async def create_programme(context: Context, body: NewProgramme) -> Programme:
    desk = context.service(DESK)
    parameters = body.value()
    await check_programme(body.market_context, period_of(parameters))
    async with desk.db.write() as tx:
        made = await programmes.create(
            tx, body.name, body.market_context, parameters, desk.clock.now(), who=context.principal.name
        )
    return _shown(made)


@operation(
    "GET", "/v1/programmes/{programme_id}", summary="Read a programme", role="viewer", tags=["programmes"], errors=[404]
)
async def read_programme(context: Context, programme_id: str) -> Programme:
    async with context.service(DESK).db.read() as conn:
        return _shown(await programmes.get(conn, programme_id))


@operation(
    "PUT",
    "/v1/programmes/{programme_id}",
    summary="Change a programme: adds a version",
    role="admin",
    tags=["programmes"],
    errors=[404, 412],
)
async def change_programme(context: Context, programme_id: str, body: ProgrammeChange) -> Programme:
    desk = context.service(DESK)
    old = await read_programme(context, programme_id)
    context.require_match(old)
    parameters = body.parameters.value()
    await check_programme(old.market_context, period_of(parameters))
    async with desk.db.write() as tx:
        made = await programmes.change(
            tx, programme_id, body.name, parameters, desk.clock.now(), who=context.principal.name
        )
    return _shown(made)


@operation(
    "POST",
    "/v1/programmes/{programme_id}/enrolments",
    summary="Enrol VENs in a programme",
    role="admin",
    tags=["programmes"],
    errors=[404, 409],
)
async def enrol_vens(context: Context, programme_id: str, body: NewEnrolment) -> Enrolled:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await programmes.enrol(
            tx,
            programme_id,
            body.ven_ids,
            desk.clock.now(),
            who=context.principal.name,
            consent_version=body.consent_version,
        )
    return await list_enrolled(context, programme_id)


@operation(
    "DELETE",
    "/v1/programmes/{programme_id}/enrolments/{ven_id}",
    summary="End a VEN's enrolment",
    role="admin",
    tags=["programmes"],
    errors=[404],
)
async def end_enrolment(context: Context, programme_id: str, ven_id: str) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await programmes.end_enrolment(tx, programme_id, ven_id, desk.clock.now(), who=context.principal.name)


@operation(
    "GET",
    "/v1/programmes/{programme_id}/enrolments",
    summary="List the VENs that take part",
    role="viewer",
    tags=["programmes"],
    errors=[404],
)
async def list_enrolled(context: Context, programme_id: str) -> Enrolled:
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        await programmes.get(conn, programme_id)
        return Enrolled(ven_ids=await programmes.enrolled(conn, programme_id, desk.clock.now()))


@operation(
    "POST",
    "/v1/programmes/{programme_id}/control-group",
    summary="Draw a control group by chance out of the VENs that take part",
    role="admin",
    tags=["programmes"],
    status=201,
    errors=[404, 409],
)
async def draw_control_group(context: Context, programme_id: str, body: NewControlGroup) -> ControlGroup:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        drawn = await control_group.draw(
            tx,
            programme_id,
            body.share,
            desk.clock.now(),
            who=context.principal.name,
            seed=body.seed,
            name=body.name,
        )
    return ControlGroup(
        group_id=drawn.group.id,
        group=drawn.group.name,
        members=drawn.group.members,
        enrolled=drawn.enrolled,
        seed=drawn.seed,
        programme_version=drawn.programme.version,
    )


@operation(
    "GET",
    "/v1/programmes/{programme_id}/learning",
    summary="Read how many VENs have enough days for the baseline, and when the others will",
    role="viewer",
    tags=["programmes"],
    errors=[404],
)
async def read_learning(context: Context, programme_id: str) -> ProgrammeLearning:
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        found = await learning.of_programme(conn, await programmes.get(conn, programme_id), desk.clock.now())
    return ProgrammeLearning(**learning.shown(found))


@operation(
    "GET",
    "/v1/programmes/{programme_id}/baselines",
    summary="Compare the baseline presets on the programme's own homes; takes seconds",
    role="viewer",
    tags=["programmes"],
    errors=[404],
)
async def compare_baselines(
    context: Context,
    programme_id: str,
    start: WallClock,
    duration: IsoDuration,
    days: Literal["weekday", "weekend"] = "weekday",
) -> BaselineComparison:
    desk = context.service(DESK)
    hours = Hours(time.fromisoformat(start), duration, DayType(days))
    async with desk.comparing:
        found = await compare(desk.db, programme_id, hours, desk.clock.now())
    return BaselineComparison(
        start=start,
        duration=duration,
        days=days,
        enrolled=found.enrolled,
        vens=found.vens,
        in_use=found.in_use,
        presets=[_accuracy(name, one, found.why_unknown(name)) for name, one in found.ranked()],
    )


def _accuracy(name: str, accuracy: Accuracy, why_unknown: WhyUnknown | None) -> PresetAccuracy:
    rule = PRESETS[name]
    shares = {field: _known(getattr(accuracy, field)) for field in ("bias", "pool_rmse", "home_rmse")}
    return PresetAccuracy(
        preset=name,
        version=rule.version,
        citation=rule.citation,
        homes=accuracy.homes,
        days=accuracy.days,
        why_unknown=why_unknown,
        **shares,
    )


def _known(share: float) -> float | None:
    return share if math.isfinite(share) else None


OPERATIONS = (
    list_programmes,
    create_programme,
    read_programme,
    change_programme,
    enrol_vens,
    list_enrolled,
    end_enrolment,
    draw_control_group,
    read_learning,
    compare_baselines,
)
