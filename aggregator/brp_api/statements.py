"""Monthly statements of a contract, in the BRP API: as JSON, CSV or PDF, every version."""

import asyncio
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field

from aggregator.brp_api.desk import BRP, party_of, writing
from aggregator.brp_api.settlements import EXAMPLE as SETTLEMENT_EXAMPLE
from aggregator.brp_api.settlements import Figures
from aggregator.brp_api.values import ULID, Id, shown
from aggregator.trade import brps, statements
from aggregator.trade.statement_pdf import to_pdf
from core.direction import Direction
from vtn.store.database import Database
from web.api import Context
from web.csv_answer import CSV, csv_answer, wants_csv
from web.downloads import attachment
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

PDF: Final = "application/pdf"
_PATH = "/brp/v1/statements"
_NEWEST = Keyset("statements", str)
Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", max_length=7, examples=["2026-01"])]
"""A month of the programme's time zone."""


class StatedDispute(Model):
    """A dispute of one version of a settlement."""

    settlement_id: str
    settlement_version: int
    disputed_at: UtcTime
    words: str
    state: Literal["open", "answered", "corrected"]
    """corrected: a newer version of the settlement has followed."""
    answered_at: UtcTime | None
    answer: str | None
    """The operator's words."""
    effect: str | None
    """By how much the net of the version that followed differs; null: still open."""


class StatedActivation(Model):
    """One activation of the month, with its newest settlement; null: nothing is settled yet."""

    activation_id: str
    direction: Direction
    starts_at: UtcTime
    ends_at: UtcTime
    local_start: str
    """Its start by the wall clock of `time_zone`."""
    cancelled: bool
    settlement_id: str | None
    settlement_version: int | None
    report_version: int | None
    """Of the activation's report that was settled."""
    final: bool
    final_at: UtcTime | None
    """When it becomes, or became, final."""
    figures: Figures | None
    disputes: list[StatedDispute]


class StatementSum(Model):
    """Sums over what is settled, of one currency."""

    currency: str
    activations: int
    ordered_kwh: str
    delivered_kwh: str
    deficiency_kwh: str
    uncertainty_kwh: str | None
    """The sum of the half widths, as if all erred alike: at most that. null: one of them is not known."""
    price: str
    penalty: str
    net: str


class StatementChange(Model):
    """One value that differs from the version before; null: was not, or is no more, there."""

    activation_id: str | None
    """null: it is one of the sums, in `currency`, or without that of the statement itself."""
    currency: str | None
    what: str
    before: str | None
    after: str | None


class StatementContent(Model):
    """What a statement says."""

    programme_id: str
    time_zone: str
    starts_at: UtcTime
    ends_at: UtcTime
    final: bool
    """The month is over, all of it is settled and final, and no dispute is open."""
    final_at: UtcTime | None
    """From when that is so; null: it cannot be said yet."""
    activations: list[StatedActivation]
    sums: list[StatementSum]


class StatementSummary(Model):
    """Which statement it is."""

    id: str
    contract_id: str
    month: str
    version: int
    created_at: UtcTime


class StatementHead(StatementSummary):
    """A statement without its activations."""

    final: bool
    final_at: UtcTime | None
    """From when it is; null: it cannot be said yet."""
    activations: int
    """How many there are."""
    sums: list[StatementSum]


class Statement(StatementSummary):
    """What a month of a contract costs, at one version."""

    content: StatementContent
    changes: list[StatementChange]
    """What differs from the version before."""


class StatementWish(Model):
    """The month to make a statement of."""

    contract_id: Id
    month: Month


_SUMMARY: dict[str, Any] = {
    "id": f"stm_{ULID}",
    "contract_id": f"ctr_{ULID}",
    "month": "2026-01",
    "version": 1,
    "created_at": "2026-02-01T08:00:00Z",
}
EXAMPLE: dict[str, Any] = _SUMMARY | {
    "content": {
        "programme_id": f"prg_{ULID}",
        "time_zone": "Europe/Paris",
        "starts_at": "2025-12-31T23:00:00Z",
        "ends_at": "2026-01-31T23:00:00Z",
        "final": False,
        "final_at": "2026-02-07T18:00:00Z",
        "activations": [
            {
                "activation_id": f"act_{ULID}",
                "direction": "reduce",
                "starts_at": "2026-01-31T17:00:00Z",
                "ends_at": "2026-01-31T18:00:00Z",
                "local_start": "2026-01-31T18:00+01:00",
                "cancelled": False,
                "settlement_id": f"stl_{ULID}",
                "settlement_version": 1,
                "report_version": 1,
                "final": False,
                "final_at": "2026-02-07T18:00:00Z",
                "figures": SETTLEMENT_EXAMPLE["figures"],
                "disputes": [],
            }
        ],
        "sums": [
            {
                "currency": "EUR",
                "activations": 1,
                "ordered_kwh": "83.2",
                "delivered_kwh": "82.9",
                "deficiency_kwh": "0.3",
                "uncertainty_kwh": "4.1",
                "price": "20.72",
                "penalty": "0.12",
                "net": "20.60",
            }
        ],
    },
    "changes": [],
}
HEAD_EXAMPLE: dict[str, Any] = _SUMMARY | {
    "final": False,
    "final_at": EXAMPLE["content"]["final_at"],
    "activations": 1,
    "sums": EXAMPLE["content"]["sums"],
}
CSV_EXAMPLE = (
    "statement_id,month,version,activation_id,direction,starts_at,ends_at,local_start,cancelled,settlement_id,"
    "settlement_version,report_version,final,final_at,ordered_kwh,delivered_kwh,deficiency_kwh,uncertainty_kwh,"
    "bias_kwh,currency,price_per_kwh,penalty_per_kwh,price,penalty,net,disputes,dispute_effect\r\n"
)


@operation(
    "POST",
    _PATH,
    summary="Make the statement of a month",
    role="brp",
    scopes=["flex:order"],
    tags=["statements"],
    errors=[404],
    example={"contract_id": f"ctr_{ULID}", "month": "2026-01"},
    answer_example=EXAMPLE,
)
async def make_statement(context: Context, body: StatementWish) -> Statement:
    """Return the statement as of now: the newest version, or a new one if something of it has changed."""
    now, party_id = context.service(BRP).clock.now(), party_of(context)
    async with writing(context) as tx:
        made = await statements.make(
            tx, body.contract_id, body.month, now, who=context.principal.name, party_id=party_id
        )
        return shown(Statement, made)


@operation(
    "GET",
    _PATH,
    summary="List statements, newest first",
    role="brp",
    scopes=["report:read"],
    tags=["statements"],
    answer_example={"items": [HEAD_EXAMPLE], "next": None},
)
async def list_statements(
    context: Context,
    contract_id: Id | None = None,
    month: Month | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[StatementHead]:
    """List every version without its activations; the newest of a month counts."""
    after = _NEWEST.decode(cursor)
    async with context.service(BRP).db.read() as conn:
        rows = await statements.listed(
            conn,
            party_id=party_of(context),
            contract_id=contract_id,
            month=month,
            before=after[0] if after else None,
            limit=limit + 1,
        )
    return _NEWEST.page([shown(StatementHead, one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    f"{_PATH}/{{statement_id}}",
    summary="Read a statement",
    role="brp",
    scopes=["report:read"],
    tags=["statements"],
    errors=[404],
    media_type=CSV,
    media_example=CSV_EXAMPLE,
    answer_example=EXAMPLE,
)
async def read_statement(context: Context, statement_id: Id) -> Statement | web.Response:
    """Return one version, the same to the byte each time; `Accept: text/csv` gets its activations as CSV."""
    async with context.service(BRP).db.read() as conn:
        found = await statements.get(conn, statement_id, party_of(context))
    return statement_csv(context, found) if wants_csv(context) else shown(Statement, found)


@operation(
    "GET",
    f"{_PATH}/{{statement_id}}/pdf",
    summary="Read a statement as PDF",
    role="brp",
    scopes=["report:read"],
    tags=["statements"],
    errors=[404, 503],
    media_type=PDF,
)
async def print_statement(context: Context, statement_id: Id) -> web.Response:
    """Return one version as PDF, the same to the byte each time; 503 where the server has no extra `[pdf]`."""
    return await statement_pdf(context.service(BRP).db, statement_id, party_of(context))


# -- files, of either API


def statement_csv(context: Context, stated: statements.Statement) -> web.Response:
    """Return a statement's activations as CSV."""
    return csv_answer(context, statements.to_csv(stated), _file_name(stated, "csv"))


async def statement_pdf(db: Database, statement_id: str, party_id: str | None = None) -> web.Response:
    """Return a statement (of a party) as PDF. Raises NotFoundError, UnavailableError without the extra `[pdf]`."""
    async with db.read() as conn:
        stated = await statements.get(conn, statement_id, party_id)
        name = await brps.name_of(conn, stated.party_id)
    raw = await asyncio.to_thread(to_pdf, stated, name)
    headers = attachment(_file_name(stated, "pdf")) | {"Cache-Control": "private, no-cache"}
    return web.Response(body=raw, content_type=PDF, headers=headers)


def _file_name(stated: statements.Statement, kind: str) -> str:
    return f"{stated.contract_id}-{stated.month}-{stated.version}.{kind}"


OPERATIONS = (make_statement, list_statements, read_statement, print_statement)
