"""Requests and offers, in the operator API: all of them, offers that nobody asked for, and taking offers back."""

from typing import Annotated, Any

from pydantic import Field

from aggregator import money
from aggregator.brp_api.offers import EXAMPLE as OFFER_EXAMPLE
from aggregator.brp_api.offers import FlexibilityOffer
from aggregator.brp_api.requests import EXAMPLE as REQUEST_EXAMPLE
from aggregator.brp_api.requests import FlexibilityRequest
from aggregator.brp_api.values import ULID, Id, Intervals, PositiveAmount, shown
from aggregator.keys import SALES
from aggregator.trade import offers, requests
from aggregator.trade.sales import UnaskedOffer
from core.direction import Direction
from vtn.api.desk import DESK
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_REQUESTS = Keyset("operator-requests", str)
_OFFERS = Keyset("operator-offers", str)


class NewOffer(Model):
    """An offer that nobody asked for."""

    contract_id: Id
    direction: Direction
    intervals: Intervals
    """The power to offer; what the pool cannot do with a confidence of 0.9 is refused."""
    expires_at: UtcTime
    area: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    price_per_kwh: PositiveAmount | None = None
    """In the contract's currency; left out: the contract's own price for so much of the pool."""
    min_activation_factor: Annotated[float, Field(ge=0.01, le=1)] = 1.0
    """An acceptance may scale the power down, to this part of it at least."""


_NEW: dict[str, Any] = {
    "contract_id": f"ctr_{ULID}",
    "direction": "increase",
    "intervals": [{"start": "2026-01-31T12:00:00Z", "duration_s": 3600, "power_w": 40_000}],
    "expires_at": "2026-01-31T11:00:00Z",
}


@operation(
    "GET",
    "/v1/flexibility-requests",
    summary="List the requests of BRPs, newest first",
    role="viewer",
    tags=["market"],
    answer_example={"items": [REQUEST_EXAMPLE], "next": None},
)
async def list_flexibility_requests(
    context: Context,
    brp_id: Id | None = None,
    contract_id: Id | None = None,
    status: requests.RequestStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[FlexibilityRequest]:
    """Return what BRPs asked for, and what became of it."""
    after = _REQUESTS.decode(cursor)
    async with context.service(DESK).db.read() as conn:
        rows = await requests.listed(
            conn,
            party_id=brp_id,
            contract_id=contract_id,
            status=status,
            before=after[0] if after else None,
            limit=limit + 1,
        )
    return _REQUESTS.page([FlexibilityRequest.of(one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    "/v1/flexibility-offers",
    summary="List the offers to BRPs, newest first",
    role="viewer",
    tags=["market"],
    answer_example={"items": [OFFER_EXAMPLE], "next": None},
)
async def list_flexibility_offers(
    context: Context,
    brp_id: Id | None = None,
    status: offers.OfferStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[FlexibilityOffer]:
    """Return what was offered, and what became of it."""
    after = _OFFERS.decode(cursor)
    before = after[0] if after else None
    async with context.service(DESK).db.read() as conn:
        rows = await offers.listed(conn, party_id=brp_id, status=status, before=before, limit=limit + 1)
    return _OFFERS.page([shown(FlexibilityOffer, one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    "/v1/flexibility-offers/{offer_id}",
    summary="Read an offer",
    role="viewer",
    tags=["market"],
    errors=[404],
    answer_example=OFFER_EXAMPLE,
)
async def read_flexibility_offer(context: Context, offer_id: str) -> FlexibilityOffer:
    """Return one offer."""
    async with context.service(DESK).db.read() as conn:
        return shown(FlexibilityOffer, await offers.get(conn, offer_id))


@operation(
    "POST",
    "/v1/flexibility-offers",
    summary="Send an unsolicited offer",
    role="dispatcher",
    tags=["market"],
    status=201,
    errors=[404, 409],
    example=_NEW,
    answer_example=OFFER_EXAMPLE | {"request_id": None},
)
async def create_flexibility_offer(context: Context, body: NewOffer) -> FlexibilityOffer:
    """Offer what the pool can do, all of it or nothing; the BRP hears of it by webhook."""
    unasked = UnaskedOffer(
        body.contract_id,
        body.direction,
        tuple(one.value() for one in body.intervals),
        body.expires_at,
        body.area,
        None if body.price_per_kwh is None else money.amount(body.price_per_kwh, "price_per_kwh"),
        body.min_activation_factor,
    )
    return shown(FlexibilityOffer, await context.service(SALES).offer(unasked, who=context.principal.name))


@operation(
    "POST",
    "/v1/flexibility-offers/{offer_id}/revocation",
    summary="Revoke an open offer",
    role="dispatcher",
    tags=["market"],
    errors=[404, 409],
    answer_example=OFFER_EXAMPLE | {"status": "revoked", "ended_at": "2026-01-31T12:30:00Z"},
)
async def revoke_flexibility_offer(context: Context, offer_id: str) -> FlexibilityOffer:
    """Take it back before it is accepted; its request expires with its last offer."""
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await offers.revoke(tx, offer_id, desk.clock.now(), who=context.principal.name)
        return shown(FlexibilityOffer, await offers.get(tx.conn, offer_id))


OPERATIONS = (
    list_flexibility_requests,
    list_flexibility_offers,
    read_flexibility_offer,
    create_flexibility_offer,
    revoke_flexibility_offer,
)
