"""Messages to BRPs, in the operator API: what was given up, and sending it again."""

from typing import Annotated, Literal

from pydantic import Field

from aggregator.brp_api.webhooks import DELIVERY_EXAMPLE, Delivery
from core.clock import machine_now
from vtn.api.desk import DESK
from vtn.services import webhooks
from web.api import Context
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_NEWEST = Keyset("operator-webhook-deliveries", str)
_Id = Annotated[str, Field(min_length=1, max_length=80)]


@operation(
    "GET",
    "/v1/webhook-deliveries",
    summary="List messages to BRPs, newest first",
    role="viewer",
    tags=["webhooks"],
    answer_example={"items": [DELIVERY_EXAMPLE], "next": None},
)
async def list_webhook_deliveries(
    context: Context,
    brp_id: _Id | None = None,
    state: Literal["pending", "done", "dead"] | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[Delivery]:
    """Return what was sent, waits, or was given up (`state=dead`)."""
    after = _NEWEST.decode(cursor)
    before = after[0] if after else None
    async with context.service(DESK).db.read() as conn:
        rows = await webhooks.deliveries(conn, party_id=brp_id, state=state, before=before, limit=limit + 1)
    return _NEWEST.page([Delivery.of(one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "POST",
    "/v1/webhook-deliveries/{delivery_id}/replay",
    summary="Send a message to a BRP again",
    role="dispatcher",
    tags=["webhooks"],
    status=202,
    errors=[404, 409],
    answer_example=DELIVERY_EXAMPLE | {"state": "pending", "tries": 0, "done_at": None},
)
async def replay_webhook_delivery(context: Context, delivery_id: str) -> Delivery:
    """Queue a message that is done or dead again, under the same `webhook-id`."""
    async with context.service(DESK).db.write() as tx:
        await webhooks.replay(tx, delivery_id, machine_now(), who=context.principal.name)
        return Delivery.of(await webhooks.delivery(tx.conn, delivery_id))


OPERATIONS = (list_webhook_deliveries, replay_webhook_delivery)
