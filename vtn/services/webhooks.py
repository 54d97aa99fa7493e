"""Webhooks: who wants to hear of what, and the work of telling them (Standard Webhooks 1.0). All in machine time.

A delivery is a row (`publish` writes it together with what it tells of) and is sent at least once:
`pending -> done | dead`. The body is `{"type", "timestamp", "data"}`; its signature is an HMAC-SHA-256 over
`{webhook-id}.{webhook-timestamp}.{body}` by the subscription's secret. Any 2xx within 10 s is a receipt. Otherwise it
is sent again 1, 2, 4 ... minutes later, at most every 4 hours, ten times; then it is dead until somebody replays it.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, delete, func, insert, select, update

from core.errors import ConflictError, EvenloadError, InvalidError, NotFoundError
from core.ids import new_id
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import to_json
from vtn.store.tables import webhook_delivery, webhook_subscription
from web import http_client
from web.http_client import Guard

TEST_EVENT: Final = "webhook.test"
MOST_SUBSCRIPTIONS: Final = 20
RETRY_AFTER_S: Final = tuple(min(60 * 2**number, 4 * 3600) for number in range(10))
"""Pauses after the first attempt, the second ...; after the last one a delivery is dead."""

_ANSWER_S: Final = 10.0
_LEASE: Final = timedelta(seconds=120)
_AT_ONCE: Final = 50
_IN_A_ROW: Final = 8
_KEEP: Final = timedelta(days=30)
_PREFIX: Final = "whsec_"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where a party wants to hear of which topics; no topics mean all of them."""

    id: str
    party_id: str
    url: str
    events: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one subscription, and how far it has come."""

    id: str
    subscription_id: str
    party_id: str
    event: str
    payload: Mapping[str, Any]
    state: str
    tries: int
    due_at: datetime
    last_status: int | None
    last_error: str | None
    created_at: datetime
    done_at: datetime | None


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` of a message: `v1,` and the HMAC in base64."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    mac = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


async def subscribe(
    tx: Transaction,
    party_id: str,
    url: str,
    events: Sequence[str],
    now: datetime,
    *,
    who: str,
    guard: Guard,
    topics: Collection[str],
) -> tuple[Subscription, str]:
    """Add a subscription; return it and the secret of its signatures, which is shown this once.

    `topics`: what this party can hear of. `events`: those of them that it wants, or families such as `request.*`.
    Raises InvalidError for an address that is never called or an unknown event, ConflictError beyond
    MOST_SUBSCRIPTIONS.
    """
    _check(url, events, guard, topics)
    if len(await listed(tx.conn, party_id)) >= MOST_SUBSCRIPTIONS:
        raise ConflictError(f"There are {MOST_SUBSCRIPTIONS} subscriptions already; remove one that is not needed.")
    new = Subscription(new_id("whs"), party_id, url, tuple(events), now)
    secret = _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    values = {"id": new.id, "party_id": party_id, "url": url, "events": list(events), "secret": secret}
    await tx.conn.execute(insert(webhook_subscription).values(**values, created_at=now))
    await tx.audit(who, "create webhook", new.id, after={"url": http_client.shown(url), "events": list(events)}, at=now)
    return new, secret


async def change(
    tx: Transaction,
    subscription_id: str,
    url: str,
    events: Sequence[str],
    now: datetime,
    *,
    who: str,
    guard: Guard,
    topics: Collection[str],
    party_id: str | None = None,
) -> Subscription:
    """Send elsewhere, or other events, from now on; what waits goes to the new address. Raises as `subscribe`."""
    old = await get(tx.conn, subscription_id, party_id, lock=True)
    _check(url, events, guard, topics)
    values = {"url": url, "events": list(events)}
    await tx.conn.execute(
        update(webhook_subscription).where(webhook_subscription.c.id == subscription_id).values(**values)
    )
    before = {"url": http_client.shown(old.url), "events": list(old.events)}
    await tx.audit(who, "change webhook", old.id, before, values | {"url": http_client.shown(url)}, at=now)
    return Subscription(old.id, old.party_id, url, tuple(events), old.created_at)


async def end(tx: Transaction, subscription_id: str, now: datetime, *, who: str, party_id: str | None = None) -> None:
    """End a subscription; what waits for it is not sent any more. Raises NotFoundError."""
    old = await get(tx.conn, subscription_id, party_id, lock=True)
    await tx.conn.execute(update(webhook_subscription).where(webhook_subscription.c.id == old.id).values(ended_at=now))
    waiting = (webhook_delivery.c.subscription_id == old.id) & (webhook_delivery.c.state == "pending")
    await tx.conn.execute(update(webhook_delivery).where(waiting).values(state="dead", last_error="subscription ended"))
    before = {"url": http_client.shown(old.url), "events": list(old.events)}
    await tx.audit(who, "end webhook", old.id, before, at=now)


async def get(
    conn: Connection, subscription_id: str, party_id: str | None = None, *, lock: bool = False
) -> Subscription:
    """Return a subscription (of a party) that has not ended. Raises NotFoundError."""
    query = select(webhook_subscription).where(_live() & (webhook_subscription.c.id == subscription_id))
    if party_id is not None:
        query = query.where(webhook_subscription.c.party_id == party_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No webhook subscription '{subscription_id}'.")
    return _subscription(row)


async def listed(conn: Connection, party_id: str) -> list[Subscription]:
    """Return the subscriptions of a party, oldest first: at most MOST_SUBSCRIPTIONS."""
    query = select(webhook_subscription).where(_live() & (webhook_subscription.c.party_id == party_id))
    return [_subscription(row) for row in await conn.execute(query.order_by(webhook_subscription.c.id))]


async def send_test(
    tx: Transaction, subscription_id: str, now: datetime, *, who: str, party_id: str | None = None
) -> str:
    """Queue a message of type `webhook.test` and return the delivery's id. Raises NotFoundError."""
    one = await get(tx.conn, subscription_id, party_id)
    payload = {"type": TEST_EVENT, "timestamp": now.isoformat(), "data": {"subscription_id": one.id}}
    (delivery_id,) = await _queue(tx, [one.id], TEST_EVENT, payload, now)
    await tx.audit(who, "test webhook", one.id, at=now)
    return delivery_id


async def deliveries(
    conn: Connection,
    *,
    party_id: str | None = None,
    subscription_id: str | None = None,
    state: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Delivery]:
    """Return deliveries, newest first, at most `limit` that are older than the one with the id `before`."""
    query = _with_party().order_by(webhook_delivery.c.id.desc()).limit(limit)
    for column, value in (
        (webhook_subscription.c.party_id, party_id),
        (webhook_delivery.c.subscription_id, subscription_id),
        (webhook_delivery.c.state, state),
    ):
        query = query if value is None else query.where(column == value)
    if before is not None:
        query = query.where(webhook_delivery.c.id < before)
    return [_delivery(row) for row in await conn.execute(query)]


async def delivery(conn: Connection, delivery_id: str, party_id: str | None = None) -> Delivery:
    """Return one delivery (to a party). Raises NotFoundError."""
    query = _with_party().where(webhook_delivery.c.id == delivery_id)
    if party_id is not None:
        query = query.where(webhook_subscription.c.party_id == party_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No webhook delivery '{delivery_id}'.")
    return _delivery(row)


async def replay(tx: Transaction, delivery_id: str, now: datetime, *, who: str, party_id: str | None = None) -> None:
    """Send a delivery that is done or dead again, with all its tries. Raises NotFoundError, ConflictError."""
    one = await delivery(tx.conn, delivery_id, party_id)
    await get(tx.conn, one.subscription_id, party_id)
    settled = (webhook_delivery.c.id == delivery_id) & (webhook_delivery.c.state != "pending")
    values = {"state": "pending", "tries": 0, "due_at": now, "done_at": None}
    if not (await tx.conn.execute(update(webhook_delivery).where(settled).values(**values))).rowcount:
        raise ConflictError("This delivery is on its way already.")
    await tx.audit(who, "replay webhook", delivery_id, {"state": one.state}, at=now)


async def publish(tx: Transaction, party_id: str, topic: str, data: Mapping[str, object], now: datetime) -> list[str]:
    """Queue an event for every subscription of a party that wants it; return the ids of the deliveries.

    Written in the transaction that made it happen. The payload is `{"type", "timestamp", "data"}`: `timestamp` is
    world time, `data` names ids, never personal data.
    """
    query = select(webhook_subscription.c.id, webhook_subscription.c.events).where(
        _live() & (webhook_subscription.c.party_id == party_id)
    )
    wanted = [row.id for row in await tx.conn.execute(query) if wants(row.events, topic)]
    payload = {"type": topic, "timestamp": to_json(now), "data": to_json(dict(data))}
    return await _queue(tx, wanted, topic, payload, datetime.now(UTC))


def wants(events: object, topic: str) -> bool:
    """Tell whether a subscription's list of events covers a topic."""
    if not isinstance(events, list | tuple) or not events:
        return True
    return topic in events or _family(topic) in events


async def _queue(
    tx: Transaction, subscription_ids: Sequence[str], topic: str, payload: Mapping[str, Any], now: datetime
) -> list[str]:
    rows: list[dict[str, Any]] = [
        {
            "id": new_id("whd"),
            "subscription_id": subscription_id,
            "event": topic,
            "payload": payload,
            "state": "pending",
            "tries": 0,
            "due_at": now,
            "created_at": now,
        }
        for subscription_id in subscription_ids
    ]
    if rows:
        await tx.conn.execute(insert(webhook_delivery), rows)
    return [row["id"] for row in rows]


async def forget_old(tx: Transaction, now: datetime) -> None:
    """Delete receipts older than 30 days; what is dead stays until somebody looks."""
    old = (webhook_delivery.c.state == "done") & (webhook_delivery.c.done_at < now - _KEEP)
    await tx.conn.execute(delete(webhook_delivery).where(old))


@dataclass(frozen=True, slots=True)
class _Job:
    id: str
    url: str
    secret: str
    payload: Mapping[str, Any]
    tries: int


class Sender:
    """Sends what is due. Call `turn` every second, `close` at the end; several processes may do so side by side.

    Each subscription has a task of its own, so that a receiver that hangs delays nobody else. A row is leased before it
    is sent: if the process dies in between, another turn sends it again.
    """

    def __init__(
        self, db: Database, guard: Guard, *, utcnow: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._db = db
        self._guard = guard
        self._utcnow = utcnow
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def turn(self) -> list[asyncio.Task[None]]:
        """Take what is due and start to send it; return everything that is being sent."""
        self._tasks = {key: task for key, task in self._tasks.items() if not task.done()}
        if len(self._tasks) < _AT_ONCE and await self._is_any_due():
            for subscription_id, jobs in (await self._claim()).items():
                self._tasks[subscription_id] = asyncio.create_task(self._send_all(jobs))
        return list(self._tasks.values())

    async def close(self) -> None:
        """Stop; what was not finished is sent by a later turn."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _due(self) -> ColumnElement[bool]:
        due = (webhook_delivery.c.state == "pending") & (webhook_delivery.c.due_at <= self._utcnow())
        return due & webhook_delivery.c.subscription_id.not_in(list(self._tasks))

    async def _is_any_due(self) -> bool:
        async with self._db.read() as conn:
            return (await conn.execute(select(webhook_delivery.c.id).where(self._due()).limit(1))).first() is not None

    async def _claim(self) -> dict[str, list[_Job]]:
        """Lease the oldest due rows of subscriptions that have none on their way."""
        place = func.row_number().over(
            partition_by=webhook_delivery.c.subscription_id, order_by=(webhook_delivery.c.due_at, webhook_delivery.c.id)
        )
        ranked = select(webhook_delivery.c.id, place.label("place")).where(self._due()).subquery()
        first = select(ranked.c.id).where(ranked.c.place <= _IN_A_ROW).limit(_IN_A_ROW * (_AT_ONCE - len(self._tasks)))
        query = (
            select(webhook_delivery, webhook_subscription.c.url, webhook_subscription.c.secret)
            .join(webhook_subscription, webhook_subscription.c.id == webhook_delivery.c.subscription_id)
            .where(webhook_delivery.c.id.in_(first) & self._due())
            .order_by(webhook_delivery.c.due_at, webhook_delivery.c.id)
            .with_for_update(of=webhook_delivery, skip_locked=True)
        )
        jobs: dict[str, list[_Job]] = {}
        async with self._db.write() as tx:
            for row in (await tx.conn.execute(query)).all():
                jobs.setdefault(row.subscription_id, []).append(
                    _Job(row.id, row.url, row.secret, row.payload, row.tries)
                )
            ids = [job.id for batch in jobs.values() for job in batch]
            if ids:
                leased = update(webhook_delivery).where(webhook_delivery.c.id.in_(ids))
                await tx.conn.execute(leased.values(due_at=self._utcnow() + _LEASE))
        return jobs

    async def _send_all(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                status, why = await self._send(job)
                await self._record(job, status, why)
            except EvenloadError as error:
                _log.warning("webhook delivery not recorded", delivery=job.id, why=str(error))
            except Exception:  # noqa: BLE001  one message must not stop those behind it; its lease runs out
                _log.exception("webhook delivery failed", delivery=job.id)

    async def _send(self, job: _Job) -> tuple[int | None, str | None]:
        """Return the status that came back, or why there is none."""
        body = json.dumps(job.payload, separators=(",", ":"), ensure_ascii=False).encode()
        timestamp = int(self._utcnow().timestamp())
        headers = {
            "webhook-id": job.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(job.secret, job.id, timestamp, body),
        }
        try:
            answer = await http_client.post(job.url, body, guard=self._guard, headers=headers, timeout_s=_ANSWER_S)
        except InvalidError:
            return None, "The address is not public and not allowed by the operator."
        except EvenloadError as error:
            return None, str(error)[:500]
        return answer.status, None

    async def _record(self, job: _Job, status: int | None, why: str | None) -> None:
        now, tries = self._utcnow(), job.tries + 1
        values: dict[str, Any] = {"tries": tries, "last_status": status, "last_error": why}
        if status is not None and 200 <= status < 300:  # noqa: PLR2004
            values |= {"state": "done", "done_at": now}
        elif tries > len(RETRY_AFTER_S):
            values |= {"state": "dead"}
        else:
            values |= {"due_at": now + timedelta(seconds=RETRY_AFTER_S[tries - 1])}
        open_ = (webhook_delivery.c.id == job.id) & (webhook_delivery.c.state == "pending")
        async with self._db.write() as tx:
            await tx.conn.execute(update(webhook_delivery).where(open_).values(**values))
        if values.get("state") == "dead":
            _log.warning("webhook given up", delivery=job.id, status=status, why=why)


def _check(url: str, events: Sequence[str], guard: Guard, topics: Collection[str]) -> None:
    guard.check_url(url)
    if unknown := sorted(set(events) - {_family(topic) for topic in topics} - set(topics)):
        raise InvalidError(f"There is no event {', '.join(unknown)[:200]}.")


def _family(topic: str) -> str:
    return f"{topic.partition('.')[0]}.*"


def _live() -> ColumnElement[bool]:
    return webhook_subscription.c.ended_at.is_(None)


def _with_party() -> Any:
    joined = webhook_subscription.c.id == webhook_delivery.c.subscription_id
    return select(webhook_delivery, webhook_subscription.c.party_id).join(webhook_subscription, joined)


def _subscription(row: Any) -> Subscription:
    return Subscription(row.id, row.party_id, row.url, tuple(row.events), row.created_at)


def _delivery(row: Any) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__dataclass_fields__})
