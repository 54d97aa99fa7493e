"""Monthly statements of contracts, in the operator API: as JSON, CSV or PDF, every version; and answers to disputes."""

from typing import Annotated, Any, Self

from aiohttp import web
from pydantic import Field

from aggregator.brp_api.settlements import EXAMPLE as SETTLEMENT_EXAMPLE
from aggregator.brp_api.settlements import Settlement
from aggregator.brp_api.statements import (
    CSV_EXAMPLE,
    HEAD_EXAMPLE,
    PDF,
    Month,
    Statement,
    StatementHead,
    StatementWish,
    statement_csv,
    statement_pdf,
)
from aggregator.brp_api.statements import EXAMPLE as BRP_EXAMPLE
from aggregator.brp_api.values import ULID, Id, shown
from aggregator.trade import settlements, statements
from vtn.api.desk import DESK
from web.api import Context
from web.csv_answer import CSV, wants_csv
from web.model import Model
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_PATH = "/v1/statements"
_NEWEST = Keyset("operator-statements", str)
_BRP: dict[str, Any] = {"brp_id": f"pty_{ULID}"}
_EXAMPLE = BRP_EXAMPLE | _BRP


class MarketStatementHead(StatementHead):
    """A statement in short, with whose it is."""

    brp_id: str

    @classmethod
    def of(cls, head: statements.StatementHead) -> Self:
        """Return a statement in short as operators see it."""
        return cls(**dict(shown(StatementHead, head)), brp_id=head.party_id)


class MarketStatement(Statement):
    """What a month of a contract costs, at one version, with whose it is."""

    brp_id: str

    @classmethod
    def of(cls, stated: statements.Statement) -> Self:
        """Return a statement as operators see it."""
        return cls(**dict(shown(Statement, stated)), brp_id=stated.party_id)


class DisputeAnswer(Model):
    """What the operator says to a dispute."""

    answer: Annotated[str, Field(min_length=1, max_length=2000)]


@operation(
    "GET",
    _PATH,
    summary="List statements, newest first",
    role="viewer",
    tags=["market"],
    answer_example={"items": [HEAD_EXAMPLE | _BRP], "next": None},
)
async def list_statements(
    context: Context,
    brp_id: Id | None = None,
    contract_id: Id | None = None,
    month: Month | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[MarketStatementHead]:
    """Return every version without its activations; the newest of a month counts."""
    after = _NEWEST.decode(cursor)
    before = after[0] if after else None
    async with context.service(DESK).db.read() as conn:
        rows = await statements.listed(
            conn, party_id=brp_id, contract_id=contract_id, month=month, before=before, limit=limit + 1
        )
    return _NEWEST.page([MarketStatementHead.of(one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "POST",
    _PATH,
    summary="Make the statement of a month",
    role="dispatcher",
    tags=["market"],
    errors=[404],
    example={"contract_id": f"ctr_{ULID}", "month": "2026-01"},
    answer_example=_EXAMPLE,
)
async def make_statement(context: Context, body: StatementWish) -> MarketStatement:
    """Return the statement as of now: the newest version, or a new one, of which the BRP hears, if it has changed."""
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        made = await statements.make(tx, body.contract_id, body.month, desk.clock.now(), who=context.principal.name)
    return MarketStatement.of(made)


@operation(
    "GET",
    f"{_PATH}/{{statement_id}}",
    summary="Read a statement",
    role="viewer",
    tags=["market"],
    errors=[404],
    media_type=CSV,
    media_example=CSV_EXAMPLE,
    answer_example=_EXAMPLE,
)
async def read_statement(context: Context, statement_id: Id) -> MarketStatement | web.Response:
    """Return one version as the BRP sees it; `Accept: text/csv` gets its activations as CSV."""
    async with context.service(DESK).db.read() as conn:
        found = await statements.get(conn, statement_id)
    return statement_csv(context, found) if wants_csv(context) else MarketStatement.of(found)


@operation(
    "GET",
    f"{_PATH}/{{statement_id}}/pdf",
    summary="Read a statement as PDF",
    role="viewer",
    tags=["market"],
    errors=[404, 503],
    media_type=PDF,
)
async def print_statement(context: Context, statement_id: Id) -> web.Response:
    """Return one version as PDF, as the BRP sees it; 503 where the server has no extra `[pdf]`."""
    return await statement_pdf(context.service(DESK).db, statement_id)


@operation(
    "POST",
    "/v1/settlements/{settlement_id}/answer",
    summary="Answer the dispute of a settlement",
    role="dispatcher",
    tags=["market"],
    errors=[404, 409],
    example={"answer": "The meters agree."},
    answer_example=SETTLEMENT_EXAMPLE
    | {"disputed_at": "2026-02-01T09:00:00Z", "dispute": "Our meters show less."}
    | {"answered_at": "2026-02-02T09:00:00Z", "answer": "The meters agree."},
)
async def answer_dispute(context: Context, settlement_id: Id, body: DisputeAnswer) -> Settlement:
    """Answer it, once; the BRP reads it in the settlement and in the statement. What changes figures is new data."""
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await settlements.answer(tx, settlement_id, body.answer, desk.clock.now(), who=context.principal.name)
        return shown(Settlement, await settlements.get(tx.conn, settlement_id))


OPERATIONS = (list_statements, make_statement, read_statement, print_statement, answer_dispute)
