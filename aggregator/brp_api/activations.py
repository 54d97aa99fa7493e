"""Activations (orders), in the BRP API."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from aggregator.brp_api.desk import BRP, party_of, writing
from aggregator.brp_api.values import ULID, Cancellation, Id, Interval, Intervals, Words, shown
from aggregator.trade import activation_changes, activations, live_view
from aggregator.trade.activations import ModifiedError
from aggregator.trade.sales import DirectOrder
from core.direction import Direction
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page
from web.problem import ProblemError

PATH = "/brp/v1/activations"
_NEWEST = Keyset("activations", str)
Status = Literal["scheduled", "notified", "active", "completed", "cancelled"]


class NewActivation(Model):
    """A direct order, under a contract that allows them."""

    contract_id: Id
    direction: Direction
    intervals: Intervals
    area: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    """Only homes in this area."""
    group_ids: Annotated[tuple[Id, ...], Field(max_length=20)] = ()
    """Only homes of these groups."""
    reason: Words | None = None


class Change(Model):
    """What is ordered from now on, never more than was accepted; intervals that have passed stay as they were."""

    intervals: Intervals
    modification_number: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """The one that you read, beside `If-Match`; a 412 if it is another by now."""


class Outlook(Model):
    """What the choice of homes promised when it was made, before the start; powers are those of the worst step."""

    called: int
    """Homes that were called; 0: nobody could be, and it is tried again each minute."""
    expected_w: int
    """What they deliver on average."""
    short_w: int
    """By how much that is less than what was ordered."""


class Activation(Model):
    """An activation as it stands."""

    id: str
    contract_id: str
    offer_id: str | None
    """null: a direct order."""
    option_id: str | None
    status: Status
    direction: Direction
    starts_at: UtcTime
    ends_at: UtcTime
    intervals: list[Interval]
    """What is ordered now."""
    accepted: list[Interval]
    """What was bought; changes stay within it."""
    modification_number: int
    activation_factor: float
    price_per_kwh: str
    penalty_per_kwh: str
    currency: str
    confidence: float
    """How probable it was, 0 to 1, that at least this power is delivered."""
    area: str | None
    group_ids: list[str]
    reason: str | None
    created_at: UtcTime
    cancelled_at: UtcTime | None
    cancel_reason: str | None
    completed_at: UtcTime | None
    outlook: Outlook | None
    """null: homes were not chosen yet; they are called by the notice of the programme."""

    @classmethod
    def of(cls, activation: activations.Activation, now: datetime) -> Self:
        """Return an activation as the API shows it at a time."""
        terms = activation.terms
        return cls(
            id=activation.id,
            contract_id=activation.contract_id,
            offer_id=activation.offer_id,
            option_id=terms.option_id,
            status=activation.status(now).value,
            direction=activation.direction,
            starts_at=activation.starts_at,
            ends_at=activation.ends_at,
            intervals=[shown(Interval, interval) for interval in activation.intervals],
            accepted=[shown(Interval, interval) for interval in terms.accepted],
            modification_number=activation.modification_number,
            activation_factor=terms.factor,
            price_per_kwh=terms.price_per_kwh,
            penalty_per_kwh=terms.penalty_per_kwh,
            currency=terms.currency,
            confidence=terms.confidence,
            area=terms.area,
            group_ids=list(terms.group_ids),
            reason=terms.reason,
            created_at=activation.created_at,
            cancelled_at=activation.cancelled_at,
            cancel_reason=activation.cancel_reason,
            completed_at=activation.completed_at,
            outlook=None if activation.outlook is None else shown(Outlook, activation.outlook),
        )


class LiveInterval(Model):
    """One ordered interval so far."""

    start: UtcTime
    duration_s: int
    ordered_w: int
    delivered_w: int | None
    """Mean over the homes that are known; null: none is."""


class Live(Model):
    """How an activation does at the moment: estimates by telemetry, never for money."""

    activation_id: str
    at: UtcTime
    status: Status
    ordered_w: int
    """Ordered for now."""
    called_w: int
    """What the homes that take part are ordered together; more than `ordered_w`, because not everybody responds."""
    delivered_w: int | None
    """From the newest five measured minutes; null: nothing is known yet."""
    coverage: float
    """Part of the homes that take part whose delivery is known, 0 to 1."""
    called: int
    opted_in: int
    opted_out: int
    no_answer: int
    silent: int
    released: int
    intervals: list[LiveInterval]


_INTERVAL = {"start": "2026-01-31T17:00:00Z", "duration_s": 3600, "power_w": 83_200}
EXAMPLE: dict[str, Any] = {
    "id": f"act_{ULID}",
    "contract_id": f"ctr_{ULID}",
    "offer_id": f"fof_{ULID}",
    "option_id": "full",
    "status": "scheduled",
    "direction": "reduce",
    "starts_at": "2026-01-31T17:00:00Z",
    "ends_at": "2026-01-31T18:00:00Z",
    "intervals": [_INTERVAL],
    "accepted": [_INTERVAL],
    "modification_number": 0,
    "activation_factor": 0.8,
    "price_per_kwh": "0.25",
    "penalty_per_kwh": "0.4",
    "currency": "EUR",
    "confidence": 0.9,
    "area": None,
    "group_ids": [],
    "reason": "evening peak",
    "created_at": "2026-01-31T12:05:00Z",
    "cancelled_at": None,
    "cancel_reason": None,
    "completed_at": None,
    "outlook": {"called": 64, "expected_w": 85_300, "short_w": 0},
}
_ORDER = {"contract_id": f"ctr_{ULID}", "direction": "reduce", "intervals": [_INTERVAL], "reason": "outage"}
LIVE_EXAMPLE: dict[str, Any] = {
    "activation_id": f"act_{ULID}",
    "at": "2026-01-31T17:20:00Z",
    "status": "active",
    "ordered_w": 83_200,
    "called_w": 96_000,
    "delivered_w": 84_900,
    "coverage": 0.97,
    "called": 64,
    "opted_in": 58,
    "opted_out": 4,
    "no_answer": 2,
    "silent": 1,
    "released": 0,
    "intervals": [{"start": "2026-01-31T17:00:00Z", "duration_s": 3600, "ordered_w": 83_200, "delivered_w": 84_100}],
}


@operation(
    "POST",
    PATH,
    summary="Order directly",
    role="brp",
    scopes=["flex:order"],
    tags=["activations"],
    status=201,
    errors=[404, 409],
    headers={"Location": "Address of the activation."},
    example=_ORDER,
    answer_example=EXAMPLE | {"offer_id": None, "option_id": None, "activation_factor": 1.0},
)
async def create_activation(context: Context, body: NewActivation) -> Activation:
    """Order without an offer, where the contract allows it; the answer to an order over the potential says what is."""
    desk, party_id = context.service(BRP), party_of(context)
    intervals = tuple(one.value() for one in body.intervals)
    wanted = DirectOrder(body.direction, intervals, body.area, body.group_ids, body.reason)
    made = await desk.sales.order(
        body.contract_id, wanted, who=context.principal.name, party_id=party_id, writing=partial(writing, context)
    )
    context.headers["Location"] = f"{PATH}/{made.id}"
    return Activation.of(made, desk.clock.now())


@operation(
    "GET",
    PATH,
    summary="List activations, newest first",
    role="brp",
    scopes=["flex:read"],
    tags=["activations"],
    answer_example={"items": [EXAMPLE], "next": None},
)
async def list_activations(
    context: Context, contract_id: Id | None = None, limit: Limit = 50, cursor: Cursor | None = None
) -> Page[Activation]:
    """List your activations."""
    desk, after = context.service(BRP), _NEWEST.decode(cursor)
    before = after[0] if after else None
    async with desk.db.read() as conn:
        rows = await activations.listed(
            conn, party_id=party_of(context), contract_id=contract_id, before=before, limit=limit + 1
        )
    now = desk.clock.now()
    return _NEWEST.page([Activation.of(one, now) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    f"{PATH}/{{activation_id}}",
    summary="Read an activation",
    role="brp",
    scopes=["flex:read"],
    tags=["activations"],
    errors=[404],
    answer_example=EXAMPLE,
)
async def read_activation(context: Context, activation_id: Id) -> Activation:
    """Return one activation; its ETag is what a change names in `If-Match`."""
    desk = context.service(BRP)
    async with desk.db.read() as conn:
        return Activation.of(await activations.get(conn, activation_id, party_of(context)), desk.clock.now())


@operation(
    "GET",
    f"{PATH}/{{activation_id}}/live",
    summary="Read the progress of an activation",
    role="brp",
    scopes=["flex:read"],
    tags=["activations"],
    errors=[404],
    answer_example=LIVE_EXAMPLE,
)
async def read_live(context: Context, activation_id: Id) -> Live:
    """Return the figures of this moment."""
    desk = context.service(BRP)
    async with desk.db.read() as conn:
        found = await live_view.live(
            conn, activation_id, desk.clock.now(), stale_after_s=desk.stale_after_s, party_id=party_of(context)
        )
    return shown(Live, found)


@operation(
    "PATCH",
    f"{PATH}/{{activation_id}}",
    summary="Reduce an activation from now on",
    role="brp",
    scopes=["flex:order"],
    tags=["activations"],
    errors=[404, 409, 412, 428],
    example={"intervals": [_INTERVAL | {"power_w": 60_000}], "modification_number": 0},
    answer_example=EXAMPLE | {"intervals": [_INTERVAL | {"power_w": 60_000}], "modification_number": 1},
)
async def modify_activation(context: Context, activation_id: Id, body: Change) -> Activation:
    """Change what is ordered. Every home is told; each change adds one to `modification_number`."""
    old = await read_activation(context, activation_id)
    context.require_match(old, required=True)
    now = context.service(BRP).clock.now()
    expected = old.modification_number if body.modification_number is None else body.modification_number
    try:
        async with writing(context) as tx:
            await activation_changes.modify(
                tx,
                activation_id,
                [one.value() for one in body.intervals],
                now,
                who=context.principal.name,
                expected_number=expected,
                party_id=party_of(context),
            )
            return Activation.of(await activations.get(tx.conn, activation_id), now)
    except ModifiedError as error:
        raise ProblemError(412, str(error)) from error


@operation(
    "POST",
    f"{PATH}/{{activation_id}}/cancellation",
    summary="End an activation now",
    role="brp",
    scopes=["flex:order"],
    tags=["activations"],
    errors=[404, 409],
    example={"reason": "grid is fine again"},
    answer_example=EXAMPLE | {"status": "cancelled", "cancelled_at": "2026-01-31T17:20:00Z"},
)
async def cancel_activation(context: Context, activation_id: Id, body: Cancellation) -> Activation:
    """End it for all homes. What ran until now is reported and settled."""
    now, party_id = context.service(BRP).clock.now(), party_of(context)
    async with writing(context) as tx:
        await activation_changes.cancel(
            tx, activation_id, now, who=context.principal.name, reason=body.reason, party_id=party_id
        )
        return Activation.of(await activations.get(tx.conn, activation_id), now)


OPERATIONS = (
    create_activation,
    list_activations,
    read_activation,
    read_live,
    modify_activation,
    cancel_activation,
)
