"""Outdoor temperatures, in the operator API."""

from typing import Annotated

from pydantic import Field

from core.errors import InvalidError
from vtn.api.desk import DESK
from vtn.api.fields import Printable
from vtn.api.meter_data import RefusedRow
from vtn.services import csv_rows, weather
from vtn.services.weather import Temperature as Stored
from vtn.services.weather import TemperatureRow as Row
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_Text = Annotated[str, Field(max_length=200)]
_BY_AREA = Keyset("temperatures", str, int)


class TemperatureRow(Model):
    """An outdoor temperature. What is wrong with it is said in the answer, row by row."""

    area: Annotated[_Text, Field(examples=["north"])] | None = None
    """Grid area or feeder, as VENs' sites name it; null or empty: everybody's."""
    time: Annotated[_Text, Field(examples=["2026-01-31T17:00:00Z"])]
    """A whole minute with zone, up to 16 days ahead."""
    celsius: Annotated[_Text, Field(examples=["-3.5"])]
    """A plain decimal from -100 to 100."""


class NewTemperatures(Model):
    """Rows, or a CSV text with a line of column names and a row a line; one of both."""

    rows: Annotated[list[TemperatureRow], Field(max_length=csv_rows.MOST_ROWS)] | None = None
    csv: Annotated[str, Field(max_length=csv_rows.MOST_CHARS)] | None = None


class TakenTemperatures(Model):
    """What became of the rows: good ones are stored even where others were refused."""

    accepted: int
    areas: int
    """Areas that the rows are of; everybody is one."""
    refused: list[RefusedRow]


class Temperature(Model):
    """An outdoor temperature of a moment; between two it changes evenly."""

    area: str | None
    """null: everybody's; it counts for VENs whose area has none."""
    time: UtcTime
    celsius: float
    received_at: UtcTime

    @classmethod
    def of(cls, stored: Stored) -> "Temperature":
        """Return a temperature as the API shows it."""
        return cls(**{name: getattr(stored, name) for name in cls.model_fields})


@operation(
    "POST",
    "/v1/temperatures",
    summary="Take in outdoor temperatures, measured or forecast, for baselines that compare them",
    role="admin",
    tags=["readings"],
)
async def take_temperatures(context: Context, body: NewTemperatures) -> TakenTemperatures:
    if (body.rows is None) == (body.csv is None):
        raise InvalidError("Send rows, or csv.", field="rows")
    rows, refused = weather.read_csv(body.csv) if body.csv is not None else ([], [])
    if body.rows is not None:
        rows = [Row(line, each.area or "", each.time, each.celsius) for line, each in enumerate(body.rows, 1)]
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        taken = await weather.take(tx, rows, refused, desk.clock.now(), who=context.principal.name)
    return TakenTemperatures(
        accepted=taken.accepted,
        areas=taken.areas,
        refused=[RefusedRow(line=each.line, reason=each.reason) for each in taken.refused],
    )


@operation(
    "GET",
    "/v1/temperatures",
    summary="List outdoor temperatures by area and time, everybody's first",
    role="viewer",
    tags=["readings"],
)
async def list_temperatures(
    context: Context,
    area: Annotated[Printable, Field(max_length=80, description="Of this area alone; empty: everybody's.")]
    | None = None,
    start: Annotated[UtcTime, Field(description="From then on.")] | None = None,
    end: Annotated[UtcTime, Field(description="Until then, which is among them.")] | None = None,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[Temperature]:
    after = _BY_AREA.decode(cursor)
    async with context.service(DESK).db.read() as conn:
        rows = await weather.listing(conn, area=area, start=start, end=end, after=after, limit=limit + 1)
    shown = [Temperature.of(row) for row in rows]
    return _BY_AREA.page(shown, limit, key=lambda row: (row.area or "", int(row.time.timestamp())))


OPERATIONS = (take_temperatures, list_temperatures)
