"""What BRPs are told of: one webhook delivery a subscription, written in the transaction that made it happen."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import insert, select

from aggregator.tables import webhook_delivery, webhook_subscription
from core.ids import new_id
from vtn.store.database import Transaction
from vtn.store.rows import to_json


class EventType(StrEnum):
    """What a subscription can name; an empty list of types means all, `request.*` all of a family."""

    REQUEST_RECEIVED = "request.received"
    REQUEST_OFFERED = "request.offered"
    REQUEST_DECLINED = "request.declined"
    REQUEST_EXPIRED = "request.expired"
    REQUEST_CANCELLED = "request.cancelled"
    OFFER_CREATED = "offer.created"
    OFFER_ACCEPTED = "offer.accepted"
    OFFER_EXPIRED = "offer.expired"
    OFFER_REVOKED = "offer.revoked"
    ACTIVATION_SCHEDULED = "activation.scheduled"
    ACTIVATION_NOTIFIED = "activation.notified"
    ACTIVATION_STARTED = "activation.started"
    ACTIVATION_MODIFIED = "activation.modified"
    ACTIVATION_COMPLETED = "activation.completed"
    ACTIVATION_CANCELLED = "activation.cancelled"
    REPORT_PUBLISHED = "report.published"
    SETTLEMENT_PUBLISHED = "settlement.published"
    POTENTIAL_CHANGED = "potential.changed"


async def publish(
    tx: Transaction, party_id: str, kind: EventType, data: Mapping[str, object], now: datetime
) -> list[str]:
    """Queue an event for every subscription of a party that wants it; return the ids of the deliveries.

    The payload is `{"type", "timestamp", "data"}`: `timestamp` is world time, `data` names ids, never personal data.
    """
    query = select(webhook_subscription.c.id, webhook_subscription.c.events).where(
        (webhook_subscription.c.party_id == party_id) & webhook_subscription.c.ended_at.is_(None)
    )
    wanted = [row.id for row in await tx.conn.execute(query) if wants(row.events, kind)]
    if not wanted:
        return []
    payload = {"type": kind.value, "timestamp": to_json(now), "data": to_json(dict(data))}
    machine_now = datetime.now(UTC)
    rows: list[dict[str, Any]] = [
        {
            "id": new_id("whd"),
            "subscription_id": subscription_id,
            "event": kind.value,
            "payload": payload,
            "state": "pending",
            "tries": 0,
            "due_at": machine_now,
            "created_at": machine_now,
        }
        for subscription_id in wanted
    ]
    await tx.conn.execute(insert(webhook_delivery), rows)
    return [row["id"] for row in rows]


def wants(types: object, kind: EventType) -> bool:
    """Tell whether a subscription's list of types covers this one."""
    if not isinstance(types, list | tuple) or not types:
        return True
    family = f"{kind.value.partition('.')[0]}.*"
    return kind.value in types or family in types
