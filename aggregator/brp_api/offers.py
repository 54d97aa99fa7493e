"""Flexibility offers, in the BRP API."""

from typing import Annotated, Any, Literal

from pydantic import Field

from aggregator.brp_api.activations import EXAMPLE as ACTIVATION_EXAMPLE
from aggregator.brp_api.activations import PATH as ACTIVATIONS
from aggregator.brp_api.activations import Activation
from aggregator.brp_api.desk import BRP, party_of, writing
from aggregator.brp_api.values import ULID, Id, Interval, shown
from aggregator.trade import activations, offers
from aggregator.trade.offers import OfferStatus
from core.direction import Direction
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

PATH = "/brp/v1/flexibility-offers"
_NEWEST = Keyset("flexibility-offers", str)


class Option(Model):
    """One way to accept an offer."""

    id: str
    intervals: list[Interval]
    price_per_kwh: str
    """What a kWh costs that is delivered."""
    price: str
    """What all of it costs at factor 1."""
    currency: str
    min_activation_factor: float
    """An acceptance may scale the power down, to this part of it at least."""
    confidence: float
    """How probable it is, 0 to 1, that at least this power is delivered."""


class FlexibilityOffer(Model):
    """An offer as it stands."""

    id: str
    request_id: str | None
    """null: nobody asked."""
    contract_id: str
    direction: Direction
    options: list[Option]
    """The fullest first."""
    status: Literal["open", "accepted", "revoked", "expired"]
    expires_at: UtcTime
    created_at: UtcTime
    ended_at: UtcTime | None
    area: str | None
    """Only homes there are meant and called; null: everywhere."""
    activation_id: str | None
    """What an acceptance made of it."""


class Acceptance(Model):
    """Which option, and how much of it."""

    option_id: Id
    activation_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Part of the option's power, at least its `min_activation_factor`; cut to four decimals."""


EXAMPLE: dict[str, Any] = {
    "id": f"fof_{ULID}",
    "request_id": f"frq_{ULID}",
    "contract_id": f"ctr_{ULID}",
    "direction": "reduce",
    "options": [
        {
            "id": "full",
            "intervals": [{"start": "2026-01-31T17:00:00Z", "duration_s": 3600, "power_w": 104_000}],
            "price_per_kwh": "0.25",
            "price": "26.00",
            "currency": "EUR",
            "min_activation_factor": 0.49,
            "confidence": 0.9,
        }
    ],
    "status": "open",
    "expires_at": "2026-01-31T13:00:00Z",
    "created_at": "2026-01-31T12:00:02Z",
    "ended_at": None,
    "area": None,
    "activation_id": None,
}


@operation(
    "GET",
    PATH,
    summary="List offers, newest first",
    role="brp",
    scopes=["flex:read"],
    tags=["offers"],
    answer_example={"items": [EXAMPLE], "next": None},
)
async def list_offers(
    context: Context,
    request_id: Id | None = None,
    status: OfferStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[FlexibilityOffer]:
    """List the offers to you, those that answer a request and those that nobody asked for."""
    after = _NEWEST.decode(cursor)
    async with context.service(BRP).db.read() as conn:
        rows = await offers.listed(
            conn,
            party_id=party_of(context),
            request_id=request_id,
            status=status,
            before=after[0] if after else None,
            limit=limit + 1,
        )
    return _NEWEST.page([shown(FlexibilityOffer, one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    f"{PATH}/{{offer_id}}",
    summary="Read an offer",
    role="brp",
    scopes=["flex:read"],
    tags=["offers"],
    errors=[404],
    answer_example=EXAMPLE,
)
async def read_offer(context: Context, offer_id: Id) -> FlexibilityOffer:
    """Return one offer."""
    async with context.service(BRP).db.read() as conn:
        return shown(FlexibilityOffer, await offers.get(conn, offer_id, party_of(context)))


@operation(
    "POST",
    f"{PATH}/{{offer_id}}/acceptance",
    summary="Accept an offer",
    role="brp",
    scopes=["flex:order"],
    tags=["offers"],
    status=201,
    errors=[404, 409],
    headers={"Location": "Address of the activation."},
    example={"option_id": "full", "activation_factor": 0.8},
    answer_example=ACTIVATION_EXAMPLE,
)
async def accept_offer(context: Context, offer_id: Id, body: Acceptance) -> Activation:
    """Buy an option, or the part of it that the factor says. An offer is accepted once."""
    party_id, who, now = party_of(context), context.principal.name, context.service(BRP).clock.now()
    async with writing(context) as tx:
        activation_id = await offers.accept(
            tx, offer_id, body.option_id, now, who=who, factor=body.activation_factor, party_id=party_id
        )
        made = await activations.get(tx.conn, activation_id)
    context.headers["Location"] = f"{ACTIVATIONS}/{activation_id}"
    return Activation.of(made, now)


OPERATIONS = (list_offers, read_offer, accept_offer)
