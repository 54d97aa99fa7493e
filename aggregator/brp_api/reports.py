"""Activation reports (FN-DR-10), in the BRP API: as JSON or CSV, every version."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from aggregator.brp_api.desk import BRP, party_of
from aggregator.brp_api.values import ULID, Id, shown
from aggregator.trade import reports
from core.direction import Direction
from core.errors import NotFoundError
from web.api import Context
from web.csv_answer import CSV, csv_answer, wants_csv
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_VERSION = Keyset("report-versions", int)


_PATH = "/brp/v1/activations/{activation_id}"
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]


class ReportInterval(Model):
    """One interval of the programme: mean powers in W, positive as ordered; null: not known."""

    start: UtcTime
    duration_s: int
    ordered_w: int
    baseline_w: int | None
    """What the homes would have consumed."""
    actual_w: int | None
    """What they consumed."""
    delivered_w: int | None
    deficiency_w: int | None
    """Ordered and not delivered; null: not known."""
    coverage: float
    """Of the homes that were to deliver then and took part, the part whose delivery is known, 0 to 1."""
    number: int | None
    """Which of the local day's settlement periods it is, from 1; null in reports made before it was said."""
    local_start: str | None
    """Its start by the wall clock of `time_zone`."""


class ReportRow(Model):
    """One home, under a pseudonym that means nothing outside this activation."""

    pseudonym: str
    opt: str | None
    ordered_wh: int
    delivered_wh: int | None


class ActivationReport(Model):
    """What was ordered and what was delivered."""

    activation_id: str
    contract_id: str
    version: int
    final: bool
    """Late readings change it no more."""
    created_at: UtcTime
    direction: Direction
    starts_at: UtcTime
    ends_at: UtcTime
    """When it came to its end: nominal, or by cancellation."""
    method: str
    """The baseline, with its version."""
    citation: str
    """Where that method is laid down."""
    called: int
    opted_out: int
    no_answer: int
    ordered_wh: int
    delivered_wh: int | None
    """null: nothing is known yet of the homes that were called; `why_unknown` says why."""
    deficiency_wh: int | None
    """Ordered and not delivered; null: not known yet."""
    uncertainty_wh: int | None
    """Half the width of the 90 % interval of the delivered energy; null: not known."""
    bias_wh: int | None
    """What the baseline credits in the mean on days without an event; it is not taken off. null: not known."""
    coverage: float
    """That of its intervals, each weighted by what was ordered in it."""
    intervals: list[ReportInterval]
    vens: list[ReportRow] | None
    """null where the contract has no rows of single homes, or fewer than five were called."""
    why_unknown: str | None
    """Of how many homes or intervals the delivery is not known, and why; null: it is known of all."""
    measurable_from: str | None
    """The local date from which, by and large, activations like this one can be measured, where homes still learn."""
    final_at: UtcTime | None
    """When it becomes, or became, final."""
    interval_s: int | None
    """The programme's settlement period."""
    time_zone: str | None
    """The programme's."""
    unadjusted: int
    """Homes that count whose baseline lacks its method's same-day adjustment or temperatures: it is less sure.

    They were told too long ahead (more than a day, or all that the method looks at), were not read before, or it is not
    known how warm it was."""
    spread: int
    """Of how many homes that count the readings are longer than a settlement period, and were spread over several."""


class ReportVersion(Model):
    """One version of a report, without its figures."""

    version: int
    final: bool
    created_at: UtcTime
    delivered_wh: int | None
    """null: not known yet."""


EXAMPLE: dict[str, Any] = {
    "activation_id": f"act_{ULID}",
    "contract_id": f"ctr_{ULID}",
    "version": 1,
    "final": False,
    "created_at": "2026-01-31T18:10:00Z",
    "direction": "reduce",
    "starts_at": "2026-01-31T17:00:00Z",
    "ends_at": "2026-01-31T18:00:00Z",
    "method": "10of10/2",
    "citation": "Mean of the 10 latest like days without events, adjusted by the day's own load.",
    "called": 64,
    "opted_out": 4,
    "no_answer": 2,
    "ordered_wh": 83_200,
    "delivered_wh": 84_000,
    "deficiency_wh": 300,
    "uncertainty_wh": 4_100,
    "bias_wh": -350,
    "coverage": 0.98,
    "intervals": [
        {
            "start": "2026-01-31T17:00:00Z",
            "duration_s": 900,
            "ordered_w": 83_200,
            "baseline_w": 141_000,
            "actual_w": 56_200,
            "delivered_w": 84_800,
            "deficiency_w": 0,
            "coverage": 0.98,
            "number": 73,
            "local_start": "2026-01-31T18:00+01:00",
        }
    ],
    "vens": None,
    "why_unknown": None,
    "measurable_from": None,
    "final_at": "2026-02-07T18:00:00Z",
    "interval_s": 900,
    "time_zone": "Europe/Paris",
    "unadjusted": 0,
    "spread": 0,
}
_CSV_EXAMPLE = (
    "activation_id,version,direction,method,"
    "start,duration_s,ordered_w,baseline_w,actual_w,delivered_w,deficiency_w,coverage,number,local_start\r\n"
    f"act_{ULID},1,reduce,high5of10/2,"
    "2026-01-31T17:00:00Z,900,83200,141000,56200,84800,0,0.98,73,2026-01-31T18:00+01:00\r\n"
)


@operation(
    "GET",
    f"{_PATH}/report",
    summary="Read what an activation delivered",
    role="brp",
    scopes=["report:read"],
    tags=["reports"],
    errors=[404],
    media_type=CSV,
    media_example=_CSV_EXAMPLE,
    answer_example=EXAMPLE,
)
async def read_report(
    context: Context,
    activation_id: Id,
    version: Version | None = None,
    final: bool = False,
    rows: Literal["intervals", "vens"] = "intervals",
) -> ActivationReport | web.Response:
    """Return the newest version, or the one named; with `final` only if it is final.

    `Accept: text/csv` gets the intervals as CSV, or with `rows=vens` the rows of single homes.
    """
    async with context.service(BRP).db.read() as conn:
        found = await reports.get(conn, activation_id, party_of(context), version=version)
    if final and not found.final:
        raise NotFoundError(f"The report of activation '{activation_id}' is not final yet.")
    if not wants_csv(context):
        return shown(ActivationReport, found)
    text = reports.to_csv(found) if rows == "intervals" else reports.to_vens_csv(found)
    return csv_answer(context, text, f"{activation_id}-{found.version}-{rows}.csv")


@operation(
    "GET",
    f"{_PATH}/report/versions",
    summary="List the versions of a report, oldest first",
    role="brp",
    scopes=["report:read"],
    tags=["reports"],
    errors=[404],
    answer_example={
        "items": [
            {"version": 1, "final": False, "created_at": "2026-01-31T18:10:00Z", "delivered_wh": 84_000},
            {"version": 2, "final": True, "created_at": "2026-02-07T18:00:00Z", "delivered_wh": 84_200},
        ],
        "next": None,
    },
)
async def list_report_versions(
    context: Context, activation_id: Id, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[ReportVersion]:
    """Return them without figures: one is added when late readings change the result, the last one is final."""
    async with context.service(BRP).db.read() as conn:
        rows = await reports.versions(conn, activation_id, party_of(context))
    return _BY_VERSION.part([shown(ReportVersion, row) for row in rows], limit, cursor, key=lambda row: (row.version,))


OPERATIONS = (read_report, list_report_versions)
