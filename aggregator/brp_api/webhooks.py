"""Webhook subscriptions and deliveries, in the BRP API."""

from typing import Annotated, Any, Literal

from pydantic import Field

from aggregator.brp_api.desk import BRP, party_of, writing
from aggregator.brp_api.values import ULID, Id
from aggregator.topics import Topic
from core.clock import machine_now
from vtn.services import webhooks
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID = Keyset("webhook-subscriptions", str)


_NEWEST = Keyset("webhook-deliveries", str)
_MANAGE = ("webhook:manage",)


class NewSubscription(Model):
    """Where messages shall go."""

    url: Annotated[str, Field(min_length=1, max_length=2000, examples=["https://brp.example/hooks/evenload"])]
    """An https address that the internet can reach, unless the operator allowed another one."""
    events: Annotated[tuple[Annotated[str, Field(max_length=60)], ...], Field(max_length=40)] = ()
    """Types such as `offer.created`, or families such as `offer.*`; empty: all."""


class Subscription(Model):
    """Where messages go."""

    id: str
    url: str
    events: list[str]
    created_at: UtcTime
    """Real time, not the world's."""


class CreatedSubscription(Model):
    """A new subscription."""

    subscription: Subscription
    secret: str
    """The key of the signatures; it is shown here only."""


class Delivery(Model):
    """One message to one subscription, and how far it has come. Times are real, not the world's."""

    id: str
    """The message's `webhook-id`: the same at every try."""
    subscription_id: str
    event: str
    payload: dict[str, Any]
    """The body that is sent."""
    state: Literal["pending", "done", "dead"]
    tries: int
    due_at: UtcTime
    """When it is tried next, where it is pending."""
    last_status: int | None
    """What the receiver answered last."""
    last_error: str | None
    """Why there was no answer."""
    created_at: UtcTime
    done_at: UtcTime | None

    @classmethod
    def of(cls, delivery: webhooks.Delivery) -> "Delivery":
        """Return a delivery as the API shows it."""
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})


_URL = "https://brp.example/hooks/evenload"
_SUBSCRIPTION = {
    "id": f"whs_{ULID}",
    "url": _URL,
    "events": ["offer.*", "report.published"],
    "created_at": "2026-01-31T12:00:00Z",
}
DELIVERY_EXAMPLE = {
    "id": f"whd_{ULID}",
    "subscription_id": f"whs_{ULID}",
    "event": "offer.created",
    "payload": {
        "type": "offer.created",
        "timestamp": "2026-01-31T12:00:00Z",
        "data": {"offer_id": f"fof_{ULID}"},
    },
    "state": "done",
    "tries": 1,
    "due_at": "2026-01-31T12:00:00Z",
    "last_status": 204,
    "last_error": None,
    "created_at": "2026-01-31T12:00:00Z",
    "done_at": "2026-01-31T12:00:01Z",
}


def _shown(subscription: webhooks.Subscription) -> Subscription:
    return Subscription(
        id=subscription.id, url=subscription.url, events=list(subscription.events), created_at=subscription.created_at
    )


@operation(
    "GET",
    "/brp/v1/webhook-subscriptions",
    summary="List webhook subscriptions",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    answer_example={"items": [_SUBSCRIPTION], "next": None},
)
async def list_subscriptions(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Subscription]:
    """List them oldest first: there are 20 at most."""
    async with context.service(BRP).db.read() as conn:
        rows = [_shown(subscription) for subscription in await webhooks.listed(conn, party_of(context))]
    return _BY_ID.part(rows, limit, cursor, key=lambda row: (row.id,))


@operation(
    "POST",
    "/brp/v1/webhook-subscriptions",
    summary="Subscribe to messages",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    status=201,
    errors=[409],
    headers={"Location": "Address of the new subscription."},
    example={"url": _URL, "events": ["offer.*", "report.published"]},
    answer_example={"subscription": _SUBSCRIPTION, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
)
async def create_subscription(context: Context, body: NewSubscription) -> CreatedSubscription:
    """Subscribe, and get the secret that signs the messages."""
    who, guard = context.principal.name, context.service(BRP).guard
    async with writing(context) as tx:
        made, secret = await webhooks.subscribe(
            tx, party_of(context), body.url, body.events, machine_now(), who=who, guard=guard, topics=list(Topic)
        )
    context.headers["Location"] = f"/brp/v1/webhook-subscriptions/{made.id}"
    return CreatedSubscription(subscription=_shown(made), secret=secret)


@operation(
    "GET",
    "/brp/v1/webhook-subscriptions/{subscription_id}",
    summary="Read a webhook subscription",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    errors=[404],
    answer_example=_SUBSCRIPTION,
)
async def read_subscription(context: Context, subscription_id: Id) -> Subscription:
    """Return one subscription, without its secret."""
    async with context.service(BRP).db.read() as conn:
        return _shown(await webhooks.get(conn, subscription_id, party_of(context)))


@operation(
    "PUT",
    "/brp/v1/webhook-subscriptions/{subscription_id}",
    summary="Change a webhook subscription",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    errors=[404, 412],
    example={"url": _URL, "events": []},
    answer_example=_SUBSCRIPTION,
)
async def change_subscription(context: Context, subscription_id: Id, body: NewSubscription) -> Subscription:
    """Change address and events; the secret stays, and what still waits goes to the new address."""
    context.require_match(await read_subscription(context, subscription_id))
    async with writing(context) as tx:
        changed = await webhooks.change(
            tx,
            subscription_id,
            body.url,
            body.events,
            machine_now(),
            who=context.principal.name,
            guard=context.service(BRP).guard,
            topics=list(Topic),
            party_id=party_of(context),
        )
    return _shown(changed)


@operation(
    "DELETE",
    "/brp/v1/webhook-subscriptions/{subscription_id}",
    summary="End a webhook subscription",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    errors=[404],
)
async def end_subscription(context: Context, subscription_id: Id) -> None:
    """End it; what still waits is not sent any more."""
    async with writing(context) as tx:
        await webhooks.end(tx, subscription_id, machine_now(), who=context.principal.name, party_id=party_of(context))


@operation(
    "POST",
    "/brp/v1/webhook-subscriptions/{subscription_id}/test",
    summary="Send a test message",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    status=202,
    errors=[404],
    headers={"Location": "Address of the delivery."},
    answer_example=DELIVERY_EXAMPLE | {"event": "webhook.test", "state": "pending", "tries": 0, "done_at": None},
)
async def test_subscription(context: Context, subscription_id: Id) -> Delivery:
    """Queue a message of type `webhook.test`; read the delivery to see what came of it."""
    async with writing(context) as tx:
        delivery_id = await webhooks.send_test(
            tx, subscription_id, machine_now(), who=context.principal.name, party_id=party_of(context)
        )
        queued = await webhooks.delivery(tx.conn, delivery_id)
    context.headers["Location"] = f"/brp/v1/webhook-deliveries/{delivery_id}"
    return Delivery.of(queued)


@operation(
    "GET",
    "/brp/v1/webhook-deliveries",
    summary="List messages, newest first",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    answer_example={"items": [DELIVERY_EXAMPLE], "next": None},
)
async def list_deliveries(
    context: Context,
    subscription_id: Id | None = None,
    state: Literal["pending", "done", "dead"] | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[Delivery]:
    """List what was sent, waits or was given up. Receipts are kept for 30 days."""
    after = _NEWEST.decode(cursor)
    async with context.service(BRP).db.read() as conn:
        rows = await webhooks.deliveries(
            conn,
            party_id=party_of(context),
            subscription_id=subscription_id,
            state=state,
            before=after[0] if after else None,
            limit=limit + 1,
        )
    return _NEWEST.page([Delivery.of(one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    "/brp/v1/webhook-deliveries/{delivery_id}",
    summary="Read a message's delivery",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    errors=[404],
    answer_example=DELIVERY_EXAMPLE,
)
async def read_delivery(context: Context, delivery_id: Id) -> Delivery:
    """Return one delivery."""
    async with context.service(BRP).db.read() as conn:
        return Delivery.of(await webhooks.delivery(conn, delivery_id, party_of(context)))


@operation(
    "POST",
    "/brp/v1/webhook-deliveries/{delivery_id}/replay",
    summary="Send a message again",
    role="brp",
    scopes=_MANAGE,
    tags=["webhooks"],
    status=202,
    errors=[404, 409],
    answer_example=DELIVERY_EXAMPLE | {"state": "pending", "tries": 0, "done_at": None},
)
async def replay_delivery(context: Context, delivery_id: Id) -> Delivery:
    """Send a message that is done or dead again, under the same `webhook-id`."""
    party_id = party_of(context)
    async with writing(context) as tx:
        await webhooks.replay(tx, delivery_id, machine_now(), who=context.principal.name, party_id=party_id)
        return Delivery.of(await webhooks.delivery(tx.conn, delivery_id, party_id))


OPERATIONS = (
    list_subscriptions,
    create_subscription,
    read_subscription,
    change_subscription,
    end_subscription,
    test_subscription,
    list_deliveries,
    read_delivery,
    replay_delivery,
)
