"""A programme's holidays, in the operator API."""

from datetime import date
from typing import Annotated

from pydantic import Field

from vtn.api.desk import DESK
from vtn.api.fields import Printable
from vtn.services import holidays
from vtn.services import programme as programmes
from vtn.services.holidays import Holiday as Stored
from web.api import Context
from web.model import Model
from web.operation import operation

_Year = Annotated[int, Field(ge=holidays.FIRST_YEAR, le=holidays.LAST_YEAR)]
_NAME = 80


class NewHoliday(Model):
    """A day on which a programme's homes live as on a Sunday."""

    day: Annotated[date, Field(examples=["2026-12-24"])]
    """Local date of the programme."""
    name: Annotated[Printable, Field(min_length=1, max_length=_NAME, examples=["Christmas Eve"])]


class Holiday(Model):
    """A day that is held against weekends and holidays, and not against weekdays."""

    day: date
    name: str
    """The programme's own name of it, where it has one."""
    own: bool
    """Whether the operator added it."""
    public: str | None
    """The name of the public holiday of the programme's country that it is; null: it is none."""


class Holidays(Model):
    """The holidays of a programme in a year."""

    year: int
    country: str | None
    subdivision: str | None
    days: list[Holiday]


def _shown(holiday: Stored) -> Holiday:
    return Holiday(day=holiday.day, name=holiday.name, own=holiday.own, public=holiday.public)


@operation(
    "GET",
    "/v1/programmes/{programme_id}/holidays",
    summary="Read a programme's holidays in a year: public ones, and its own",
    role="viewer",
    tags=["programmes"],
    errors=[404],
)
async def list_holidays(context: Context, programme_id: str, year: _Year | None = None) -> Holidays:
    desk = context.service(DESK)
    wanted = desk.clock.now().year if year is None else year
    async with desk.db.read() as conn:
        one = await programmes.get(conn, programme_id)
        rules = one.parameters
        days = await holidays.listing(conn, one.id, rules, date(wanted, 1, 1), date(wanted, 12, 31))
    return Holidays(
        year=wanted,
        country=rules.country,
        subdivision=rules.subdivision,
        days=[_shown(each) for each in days],
    )


@operation(
    "POST",
    "/v1/programmes/{programme_id}/holidays",
    summary="Add a holiday of a programme's own",
    role="admin",
    tags=["programmes"],
    status=201,
    errors=[404, 409],
)
async def add_holiday(context: Context, programme_id: str, body: NewHoliday) -> Holiday:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        who = context.principal.name
        made = await holidays.add(tx, programme_id, body.day, body.name, desk.clock.now(), who=who)
    return _shown(made)


@operation(
    "DELETE",
    "/v1/programmes/{programme_id}/holidays/{day}",
    summary="Remove a holiday of a programme's own",
    role="admin",
    tags=["programmes"],
    errors=[404],
)
async def remove_holiday(context: Context, programme_id: str, day: date) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await holidays.remove(tx, programme_id, day, desk.clock.now(), who=context.principal.name)


OPERATIONS = (list_holidays, add_holiday, remove_holiday)
