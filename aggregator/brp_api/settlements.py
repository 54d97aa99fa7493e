"""Settlements, in the BRP API."""

from typing import Annotated, Any

from pydantic import Field

from aggregator.brp_api.desk import BRP, party_of, writing
from aggregator.brp_api.values import ULID, Id, shown
from aggregator.trade import settlements
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_PATH = "/brp/v1/settlements"
_NEWEST = Keyset("settlements", str)


class Figures(Model):
    """Energies in kWh and money, as exact decimal strings."""

    ordered_kwh: str
    delivered_kwh: str
    """What is paid for: in each interval at most what was ordered."""
    deficiency_kwh: str
    currency: str
    price_per_kwh: str
    penalty_per_kwh: str
    price: str
    """delivered x price per kWh"""
    penalty: str
    """deficiency x penalty per kWh"""
    net: str
    """price - penalty: what you owe; negative: what you get."""
    uncertainty_kwh: str | None
    """Half the width of the 90 % interval of the delivered energy; null: not known. It changes no money."""
    bias_kwh: str | None
    """What the baseline credits in the mean on days without an event; it is not taken off."""


class Settlement(Model):
    """What an activation costs, at one version."""

    id: str
    activation_id: str
    contract_id: str
    version: int
    supersedes: str | None
    """The settlement before, if there was one."""
    starts_at: UtcTime
    ends_at: UtcTime
    figures: Figures
    created_at: UtcTime
    disputed_at: UtcTime | None
    dispute: str | None
    answered_at: UtcTime | None
    answer: str | None
    """What the operator answered to the dispute."""
    report_version: int | None
    """Of the activation's report that it follows; null where it was made before that was said."""
    final: bool
    """false: provisional, late readings may still supersede it."""
    final_at: UtcTime | None
    """When it becomes, or became, final."""


class Dispute(Model):
    """Why a settlement is not right."""

    reason: Annotated[str, Field(min_length=1, max_length=2000)]


EXAMPLE: dict[str, Any] = {
    "id": f"stl_{ULID}",
    "activation_id": f"act_{ULID}",
    "contract_id": f"ctr_{ULID}",
    "version": 1,
    "supersedes": None,
    "starts_at": "2026-01-31T17:00:00Z",
    "ends_at": "2026-01-31T18:00:00Z",
    "figures": {
        "ordered_kwh": "83.2",
        "delivered_kwh": "82.9",
        "deficiency_kwh": "0.3",
        "currency": "EUR",
        "price_per_kwh": "0.25",
        "penalty_per_kwh": "0.4",
        "price": "20.72",
        "penalty": "0.12",
        "net": "20.60",
        "uncertainty_kwh": "4.1",
        "bias_kwh": "-0.35",
    },
    "created_at": "2026-01-31T18:10:00Z",
    "disputed_at": None,
    "dispute": None,
    "answered_at": None,
    "answer": None,
    "report_version": 1,
    "final": False,
    "final_at": "2026-02-07T18:00:00Z",
}


@operation(
    "GET",
    _PATH,
    summary="List settlements, newest first",
    role="brp",
    scopes=["report:read"],
    tags=["settlements"],
    answer_example={"items": [EXAMPLE], "next": None},
)
async def list_settlements(
    context: Context,
    contract_id: Id | None = None,
    activation_id: Id | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[Settlement]:
    """List every version; the newest of an activation counts."""
    after = _NEWEST.decode(cursor)
    async with context.service(BRP).db.read() as conn:
        rows = await settlements.listed(
            conn,
            party_id=party_of(context),
            contract_id=contract_id,
            activation_id=activation_id,
            before=after[0] if after else None,
            limit=limit + 1,
        )
    return _NEWEST.page([shown(Settlement, one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    f"{_PATH}/{{settlement_id}}",
    summary="Read a settlement",
    role="brp",
    scopes=["report:read"],
    tags=["settlements"],
    errors=[404],
    answer_example=EXAMPLE,
)
async def read_settlement(context: Context, settlement_id: Id) -> Settlement:
    """Return one settlement."""
    async with context.service(BRP).db.read() as conn:
        return shown(Settlement, await settlements.get(conn, settlement_id, party_of(context)))


@operation(
    "POST",
    f"{_PATH}/{{settlement_id}}/dispute",
    summary="Dispute a settlement",
    role="brp",
    scopes=["flex:order"],
    tags=["settlements"],
    errors=[404, 409],
    example={"reason": "Our meters show less."},
    answer_example=EXAMPLE | {"disputed_at": "2026-02-01T09:00:00Z", "dispute": "Our meters show less."},
)
async def dispute_settlement(context: Context, settlement_id: Id, body: Dispute) -> Settlement:
    """Say, once, why the newest version is not right; the operator sees it."""
    now, party_id = context.service(BRP).clock.now(), party_of(context)
    async with writing(context) as tx:
        await settlements.dispute(tx, settlement_id, body.reason, now, who=context.principal.name, party_id=party_id)
        return shown(Settlement, await settlements.get(tx.conn, settlement_id))


OPERATIONS = (list_settlements, read_settlement, dispute_settlement)
