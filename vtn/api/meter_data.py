"""Validated meter data, in the operator API."""

from typing import Annotated

from pydantic import Field

from core.errors import InvalidError
from vtn.api.desk import DESK
from vtn.services import csv_rows, meter_data
from vtn.services.meter_data import MeterRow as Row
from web.api import Context
from web.model import Model
from web.operation import operation

_Text = Annotated[str, Field(max_length=200)]
_START, _END = "2026-01-31T17:00:00Z", "2026-01-31T17:15:00Z"


class MeterRow(Model):
    """Energy of a metering point in an interval. What is wrong with it is said in the answer, row by row."""

    metering_point: Annotated[_Text, Field(examples=["DE0001"])]
    series: Annotated[_Text, Field(examples=["import"])]
    """import or export."""
    start: Annotated[_Text, Field(examples=[_START])]
    end: Annotated[_Text, Field(examples=[_END])]
    energy_wh: Annotated[_Text, Field(examples=["250.5"])]
    """A plain decimal from 0 on."""
    quality: Annotated[_Text, Field(examples=["validated"])]
    """validated, substituted or estimated."""


class MeterData(Model):
    """Rows, or a CSV text with a line of column names and a row a line; one of both."""

    rows: Annotated[list[MeterRow], Field(max_length=csv_rows.MOST_ROWS)] | None = None
    csv: Annotated[str, Field(max_length=csv_rows.MOST_CHARS)] | None = None


class RefusedRow(Model):
    """A row that was not taken."""

    line: int
    """Of `rows` the number of the row, from 1 on; of a CSV text its line."""
    reason: str


class TakenMeterData(Model):
    """What became of the rows: good ones are stored even where others were refused."""

    accepted: int
    vens: int
    """VENs that the rows are of."""
    refused: list[RefusedRow]


@operation(
    "POST",
    "/v1/meter-data",
    summary="Take in validated meter data; it goes before what VENs report",
    role="admin",
    tags=["readings"],
)
async def take_meter_data(context: Context, body: MeterData) -> TakenMeterData:
    if (body.rows is None) == (body.csv is None):
        raise InvalidError("Send rows, or csv.", field="rows")
    rows, refused = meter_data.read_csv(body.csv) if body.csv is not None else ([], [])
    if body.rows is not None:
        rows = [Row(line, **one.model_dump()) for line, one in enumerate(body.rows, 1)]
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        taken = await meter_data.take(tx, rows, refused, desk.clock.now(), who=context.principal.name)
    return TakenMeterData(
        accepted=taken.accepted,
        vens=taken.vens,
        refused=[RefusedRow(line=one.line, reason=one.reason) for one in taken.refused],
    )


OPERATIONS = (take_meter_data,)
