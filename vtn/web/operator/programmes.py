"""Programmes and who takes part, in the operator API."""

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import Field

from core.errors import InvalidError
from core.spans import Duration
from metrics.rules import PRESETS
from openadr.model.event import ActivePeriod, ResponseRequired
from vtn.services import programme as programmes
from vtn.services.programme import Parameters
from vtn.services.programme import Programme as Stored
from vtn.web.api import Context
from vtn.web.model import IsoDuration, Model, UtcTime
from vtn.web.operation import operation
from vtn.web.operator.desk import DESK
from vtn.web.operator.vens import find
from vtn.web.operator.wire import Printable, Uri, check_programme

_LONGEST_S = 31 * 86400


class ProgrammeParameters(Model):
    """What a programme fixes for its events."""

    notification: IsoDuration = Parameters().notification
    """Notice before the start (x-eiNotification)."""
    start_after: IsoDuration | None = None
    """Width of the random start window."""
    ramp_up: IsoDuration | None = None
    recovery: IsoDuration | None = None
    response_required: ResponseRequired = ResponseRequired.ALWAYS
    priority: Annotated[int, Field(ge=0, le=1000)] | None = None
    baseline: str = Parameters().baseline
    """Preset by which delivery is computed."""
    time_zone: str = "UTC"
    """IANA time zone that decides which days are alike."""

    def value(self) -> Parameters:
        """Return the parameters. Raises InvalidError for what no event can keep, or nobody can compute."""
        for name, least in (
            ("notification", 0),
            ("start_after", 0),
            ("ramp_up", -_LONGEST_S),
            ("recovery", -_LONGEST_S),
        ):
            length: Duration | None = getattr(self, name)
            if length is not None and (length.months or not least <= length.seconds <= _LONGEST_S):
                raise InvalidError(
                    f"{name}: {length} is not between {Duration(0, least)} and {Duration(0, _LONGEST_S)}."
                )
        if self.baseline not in PRESETS:
            raise InvalidError(f"baseline: there is no preset '{self.baseline}'; use {' or '.join(PRESETS)}.")
        if self.time_zone not in available_timezones():
            raise InvalidError(f"time_zone: '{self.time_zone}' is no IANA time zone such as Europe/London.")
        return Parameters(**{name: getattr(self, name) for name in type(self).model_fields})


class NewProgramme(Model):
    """A programme to create."""

    name: Annotated[Printable, Field(min_length=1, max_length=200)]
    market_context: Annotated[Uri, Field(max_length=500, examples=["http://example.com/evening-peak"])]
    """The URI by which VENs know the programme."""
    parameters: ProgrammeParameters = ProgrammeParameters()


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


class NewEnrolment(Model):
    """Who takes part."""

    ven_ids: Annotated[list[str], Field(min_length=1, max_length=1_000)]


class Enrolled(Model):
    """Who takes part now."""

    ven_ids: list[str]


def _shown(one: Stored) -> Programme:
    parameters = {name: getattr(one.parameters, name) for name in ProgrammeParameters.model_fields}
    return Programme(
        id=one.id,
        version=one.version,
        name=one.name,
        market_context=one.market_context,
        parameters=ProgrammeParameters(**parameters),
        created_at=one.created_at,
    )


def _period(parameters: Parameters) -> ActivePeriod:
    """Return an hour under these parameters."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rules = (parameters.notification, parameters.start_after, parameters.ramp_up, parameters.recovery)
    return ActivePeriod(start, Duration.of(hours=1), *rules)


@operation("GET", "/v1/programmes", summary="List programmes", role="viewer", tags=["programmes"])
async def list_programmes(context: Context) -> list[Programme]:
    async with context.service(DESK).db.read() as conn:
        return [_shown(one) for one in await programmes.newest(conn)]


@operation(
    "POST", "/v1/programmes", summary="Create a programme", role="admin", tags=["programmes"], status=201, errors=[409]
)
async def create_programme(context: Context, body: NewProgramme) -> Programme:
    desk = context.service(DESK)
    parameters = body.parameters.value()
    await check_programme(body.market_context, _period(parameters))
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
    await check_programme(old.market_context, _period(parameters))
    async with desk.db.write() as tx:
        made = await programmes.change(
            tx, programme_id, body.name, parameters, desk.clock.now(), who=context.principal.name
        )
    return _shown(made)


@operation(
    "POST",
    "/v1/programmes/{programme_id}/enrolments",
    summary="Let VENs take part",
    role="admin",
    tags=["programmes"],
    errors=[404, 409],
)
async def enrol_vens(context: Context, programme_id: str, body: NewEnrolment) -> Enrolled:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        for ven_id in dict.fromkeys(body.ven_ids):
            await find(tx.conn, ven_id, removed=False)
            await programmes.enrol(tx, programme_id, ven_id, desk.clock.now(), who=context.principal.name)
    return await list_enrolled(context, programme_id)


@operation(
    "GET",
    "/v1/programmes/{programme_id}/enrolments",
    summary="List who takes part",
    role="viewer",
    tags=["programmes"],
    errors=[404],
)
async def list_enrolled(context: Context, programme_id: str) -> Enrolled:
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        await programmes.get(conn, programme_id)
        return Enrolled(ven_ids=await programmes.enrolled(conn, programme_id, desk.clock.now()))


OPERATIONS = (list_programmes, create_programme, read_programme, change_programme, enrol_vens, list_enrolled)
