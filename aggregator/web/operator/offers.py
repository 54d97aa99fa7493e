"""Requests and offers, in the operator API: all of them, offers that nobody asked for, and taking offers back."""

import asyncio
from typing import Annotated, Any

from pydantic import Field

from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.trade import contracts, offers, requests, supply
from aggregator.trade.contracts import Wanted
from aggregator.trade.offers import Refusal
from aggregator.trade.requests import Wish, WishInterval
from aggregator.trade.supply import Scope
from aggregator.web.brp.offers import EXAMPLE as OFFER_EXAMPLE
from aggregator.web.brp.offers import FlexibilityOffer
from aggregator.web.brp.requests import EXAMPLE as REQUEST_EXAMPLE
from aggregator.web.brp.requests import FlexibilityRequest
from aggregator.web.brp.values import ULID, Direction, Id, Intervals, shown
from core.errors import ConflictError, InvalidError
from vtn.services import programme
from vtn.web.api import Context
from vtn.web.model import Model, UtcTime
from vtn.web.operation import operation
from vtn.web.operator.desk import DESK
from vtn.web.pagination import Cursor, Keyset, Limit, Page

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
    status: requests.Status | None = None,
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
    return _REQUESTS.page([FlexibilityRequest.of(one) for one in rows], limit, key=lambda one: (one.id,))


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
    status: offers.Status | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[FlexibilityOffer]:
    """Return what was offered, and what became of it."""
    after = _OFFERS.decode(cursor)
    before = after[0] if after else None
    async with context.service(DESK).db.read() as conn:
        rows = await offers.listed(conn, party_id=brp_id, status=status, before=before, limit=limit + 1)
    return _OFFERS.page([shown(FlexibilityOffer, one) for one in rows], limit, key=lambda one: (one.id,))


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
    summary="Offer flexibility that nobody asked for",
    role="dispatcher",
    tags=["market"],
    status=201,
    errors=[404, 409],
    example=_NEW,
    answer_example=OFFER_EXAMPLE | {"request_id": None},
)
async def create_flexibility_offer(context: Context, body: NewOffer) -> FlexibilityOffer:
    """Offer what the pool can do, at the contract's price; the BRP hears of it by webhook."""
    desk, who = context.service(DESK), context.principal.name
    now = desk.clock.now()
    intervals = [one.value() for one in body.intervals]
    wish = _wish(body, intervals)
    requests.check_shape(wish.intervals)
    async with desk.db.read() as conn:
        contract = await contracts.get(conn, body.contract_id)
        rules = await programme.get(conn, contract.programme_id)
        most_w = max(one.power_w for one in intervals)
        wanted = Wanted(wish.direction, wish.start, wish.end, most_w, wish.area)
        contracts.check(contract, wanted, rules.parameters, now)
        scope = Scope(rules, wish.direction, Grid.over(intervals), wish.area)
        basis = await supply.read(conn, scope, now, stale_after_s=desk.stale_after_s)
    possible = await asyncio.to_thread(supply.possible_w, basis)
    each = supply.per_interval(scope.grid, possible, [(one.start, one.end) for one in intervals])
    outcome = offers.compose(wish, each, contract.price)
    if isinstance(outcome, Refusal):
        raise InvalidError(outcome.reason)
    async with desk.db.write() as tx:
        await supply.lock(tx, contract.programme_id, now)
        if not await supply.holds(tx.conn, basis, now):
            raise ConflictError("Something else was sold in the same time just now; try again.")
        offer_id = await offers.create(tx, contract, wish.direction, outcome, body.expires_at, now, who=who)
        return shown(FlexibilityOffer, await offers.get(tx.conn, offer_id))


def _wish(body: NewOffer, intervals: list[PowerInterval]) -> Wish:
    """Return the wish that the offer answers: all of its power or nothing."""
    wanted = tuple(WishInterval(one.start, one.duration_s, one.power_w, one.power_w) for one in intervals)
    return Wish(body.direction, wanted, body.expires_at, body.area)


@operation(
    "POST",
    "/v1/flexibility-offers/{offer_id}/revocation",
    summary="Take an open offer back",
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
