"""Contracts with BRPs, in the operator API."""

from typing import Annotated

from pydantic import Field

from aggregator.brp_api.values import CONTRACT_EXAMPLE, Contract, ContractLimits, ContractPrice
from aggregator.trade import contracts
from vtn.api.desk import DESK
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID = Keyset("contracts", str)
_Id = Annotated[str, Field(min_length=1, max_length=80)]


class NewContract(Model):
    """A contract to make. It ends when it is ended, or at `valid_to`."""

    brp_id: _Id
    programme_id: _Id
    limits: ContractLimits = ContractLimits()
    price: ContractPrice = ContractPrice()
    valid_from: UtcTime | None = None
    """From now on if left out."""
    valid_to: UtcTime | None = None


_EXAMPLE = {
    "brp_id": CONTRACT_EXAMPLE["party_id"],
    "programme_id": CONTRACT_EXAMPLE["programme_id"],
    "limits": {"max_power_w": 500_000, "direct_orders": True},
    "price": {"currency": "EUR", "per_kwh": "0.2", "penalty_per_kwh": "0.4"},
}


@operation(
    "GET",
    "/v1/contracts",
    summary="List contracts",
    role="viewer",
    tags=["contracts"],
    answer_example={"items": [CONTRACT_EXAMPLE], "next": None},
)
async def list_contracts(
    context: Context, brp_id: _Id | None = None, limit: Limit = 50, cursor: Cursor | None = None
) -> Page[Contract]:
    """Return contracts in the order in which they were made."""
    after = _BY_ID.decode(cursor)
    async with context.service(DESK).db.read() as conn:
        rows = await contracts.listed(conn, party_id=brp_id, after=after[0] if after else None, limit=limit + 1)
    return _BY_ID.page([Contract.of(one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "POST",
    "/v1/contracts",
    summary="Create a contract with a BRP",
    role="admin",
    tags=["contracts"],
    status=201,
    errors=[404],
    example=_EXAMPLE,
    answer_example=CONTRACT_EXAMPLE,
)
async def create_contract(context: Context, body: NewContract) -> Contract:
    """Say what a BRP may ask of a programme, and at which price."""
    desk = context.service(DESK)
    terms = contracts.ContractTerms(
        body.brp_id,
        body.programme_id,
        contracts.Limits(**dict(body.limits)),
        contracts.Price(**dict(body.price)),
        body.valid_from,
        body.valid_to,
    )
    async with desk.db.write() as tx:
        return Contract.of(await contracts.create(tx, terms, desk.clock.now(), who=context.principal.name))


@operation(
    "GET",
    "/v1/contracts/{contract_id}",
    summary="Read a contract",
    role="viewer",
    tags=["contracts"],
    errors=[404],
    answer_example=CONTRACT_EXAMPLE,
)
async def read_contract(context: Context, contract_id: str) -> Contract:
    """Return one contract."""
    async with context.service(DESK).db.read() as conn:
        return Contract.of(await contracts.get(conn, contract_id))


@operation(
    "POST",
    "/v1/contracts/{contract_id}/end",
    summary="End a contract now; what has been sold continues",
    role="admin",
    tags=["contracts"],
    errors=[404, 409],
    answer_example=CONTRACT_EXAMPLE | {"valid_to": "2026-01-31T12:00:00Z"},
)
async def end_contract(context: Context, contract_id: str) -> Contract:
    """End it: nothing new is sold under it."""
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await contracts.end(tx, contract_id, desk.clock.now(), who=context.principal.name)
        return Contract.of(await contracts.get(tx.conn, contract_id))


OPERATIONS = (list_contracts, create_contract, read_contract, end_contract)
