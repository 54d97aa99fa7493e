"""Flexibility requests, in the BRP API."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from aggregator.brp_api.desk import BRP, party_of, writing
from aggregator.brp_api.values import (
    MAX_INTERVALS,
    ULID,
    Cancellation,
    DurationS,
    Id,
    PositiveAmount,
    Watts,
    Words,
    shown,
)
from aggregator.trade import offers, requests
from aggregator.trade.requests import Need, NeedInterval, RequestStatus
from core.direction import Direction
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

PATH = "/brp/v1/flexibility-requests"
_NEWEST = Keyset("flexibility-requests", str)


class WishedInterval(Model):
    """Between `min_w` and `max_w` from `start` on; less than `min_w` is of no use."""

    start: UtcTime
    duration_s: DurationS
    min_w: Watts = 0
    max_w: Watts


class NewRequest(Model):
    """What flexibility is wished for."""

    contract_id: Id
    direction: Direction
    intervals: Annotated[tuple[WishedInterval, ...], Field(min_length=1, max_length=MAX_INTERVALS)]
    """One after the other without gaps, whole minutes, two days at most in all."""
    deadline: UtcTime
    """An offer must be out by then; not after the start."""
    area: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    """Only homes in this area."""
    group_ids: Annotated[tuple[Id, ...], Field(max_length=20)] = ()
    """Only homes of these groups."""
    max_price: PositiveAmount | None = None
    """At most so much per kWh, in the contract's currency."""
    product: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """If given, it must be the product of the contract's programme."""
    reason: Words | None = None

    def value(self) -> Need:
        """Return what is needed as the services take it."""
        return Need(
            self.direction,
            tuple(NeedInterval(one.start, one.duration_s, one.min_w, one.max_w) for one in self.intervals),
            self.deadline,
            self.area,
            self.group_ids,
            self.max_price,
            self.product,
            self.reason,
        )


class FlexibilityRequest(Model):
    """A request as it stands."""

    id: str
    contract_id: str
    status: Literal["received", "offered", "declined", "expired", "cancelled"]
    status_reason: str | None
    """Why it was declined, or why you cancelled it."""
    possible_w: list[int] | None
    """Of a declined one: what could have been offered in each interval, W; null: not reckoned."""
    direction: Direction
    intervals: list[WishedInterval]
    deadline: UtcTime
    area: str | None
    group_ids: list[str]
    max_price: str | None
    product: str | None
    reason: str | None
    created_at: UtcTime
    ended_at: UtcTime | None
    offer_ids: list[str]
    """The offers that answer it."""

    @classmethod
    def of(cls, request: requests.Request) -> Self:
        """Return a request as the API shows it."""
        need = request.need
        return cls(
            id=request.id,
            contract_id=request.contract_id,
            status=request.status.value,
            status_reason=request.reason,
            possible_w=None if request.possible_w is None else list(request.possible_w),
            direction=need.direction,
            intervals=[shown(WishedInterval, interval) for interval in need.intervals],
            deadline=need.deadline,
            area=need.area,
            group_ids=list(need.group_ids),
            max_price=need.max_price,
            product=need.product,
            reason=need.reason,
            created_at=request.created_at,
            ended_at=request.ended_at,
            offer_ids=list(request.offer_ids),
        )


_WISH: dict[str, Any] = {
    "contract_id": f"ctr_{ULID}",
    "direction": "reduce",
    "intervals": [{"start": "2026-01-31T17:00:00Z", "duration_s": 3600, "min_w": 50_000, "max_w": 120_000}],
    "deadline": "2026-01-31T16:00:00Z",
}
EXAMPLE: dict[str, Any] = {
    **_WISH,
    "id": f"frq_{ULID}",
    "status": "received",
    "status_reason": None,
    "possible_w": None,
    "area": None,
    "group_ids": [],
    "max_price": None,
    "product": None,
    "reason": "evening peak",
    "created_at": "2026-01-31T12:00:00Z",
    "ended_at": None,
    "offer_ids": [],
}


@operation(
    "POST",
    PATH,
    summary="Request flexibility",
    role="brp",
    scopes=["flex:request"],
    tags=["requests"],
    status=202,
    errors=[404, 409],
    headers={"Location": "Address of the request."},
    example={**_WISH, "max_price": "0.40", "reason": "evening peak"},
    answer_example=EXAMPLE,
)
async def create_request(context: Context, body: NewRequest) -> FlexibilityRequest:
    """Ask; by the deadline an offer follows, or the request is declined with a reason. Poll it, or use a webhook."""
    party_id, who, now = party_of(context), context.principal.name, context.service(BRP).clock.now()
    async with writing(context) as tx:
        request_id = await requests.create(tx, body.contract_id, body.value(), now, who=who, party_id=party_id)
        made = await requests.get(tx.conn, request_id)
    context.headers["Location"] = f"{PATH}/{request_id}"
    return FlexibilityRequest.of(made)


@operation(
    "GET",
    PATH,
    summary="List requests, newest first",
    role="brp",
    scopes=["flex:read"],
    tags=["requests"],
    answer_example={"items": [EXAMPLE], "next": None},
)
async def list_requests(
    context: Context,
    contract_id: Id | None = None,
    status: RequestStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[FlexibilityRequest]:
    """List your requests."""
    after = _NEWEST.decode(cursor)
    async with context.service(BRP).db.read() as conn:
        rows = await requests.listed(
            conn,
            party_id=party_of(context),
            contract_id=contract_id,
            status=status,
            before=after[0] if after else None,
            limit=limit + 1,
        )
    return _NEWEST.page([FlexibilityRequest.of(one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    f"{PATH}/{{request_id}}",
    summary="Read a request",
    role="brp",
    scopes=["flex:read"],
    tags=["requests"],
    errors=[404],
    answer_example=EXAMPLE | {"status": "offered", "offer_ids": [f"fof_{ULID}"]},
)
async def read_request(context: Context, request_id: Id) -> FlexibilityRequest:
    """Return one request."""
    async with context.service(BRP).db.read() as conn:
        return FlexibilityRequest.of(await requests.get(conn, request_id, party_of(context)))


@operation(
    "POST",
    f"{PATH}/{{request_id}}/cancellation",
    summary="Withdraw a request and its open offers",
    role="brp",
    scopes=["flex:request"],
    tags=["requests"],
    errors=[404, 409],
    example={"reason": "no longer needed"},
    answer_example=EXAMPLE | {"status": "cancelled", "status_reason": "no longer needed"},
)
async def cancel_request(context: Context, request_id: Id, body: Cancellation) -> FlexibilityRequest:
    """Withdraw it. After an acceptance, cancel the activation instead."""
    party_id, who, now = party_of(context), context.principal.name, context.service(BRP).clock.now()
    async with writing(context) as tx:
        await offers.cancel_request(tx, request_id, now, who=who, party_id=party_id, reason=body.reason)
        return FlexibilityRequest.of(await requests.get(tx.conn, request_id))


OPERATIONS = (create_request, list_requests, read_request, cancel_request)
