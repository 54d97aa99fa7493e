"""Flexibility requests: a BRP wishes for power, the aggregator offers some or declines.

A request moves by TRANSITIONS and by nothing else. What happens to it by itself (an answer, expiry) is done by
`aggregator.trade.worker` from the row: its status and deadline.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import func, insert, select, update

from aggregator import money
from aggregator.tables import flexibility_offer, flexibility_request
from aggregator.topics import Topic
from aggregator.trade import contracts
from aggregator.trade.contracts import Wanted
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from core.spans import utc
from vtn.services import programme
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, to_json
from vtn.store.tables import group

MAX_INTERVALS: Final = 192
LONGEST: Final = timedelta(hours=48)
MAX_POWER_W: Final = 2 * 10**9
_MINUTE_S: Final = 60
_MAX_GROUPS: Final = 20
_MAX_WORDS: Final = 500
_MAX_OPEN: Final = 200
"""Requests of one contract that may wait for an answer at the same time."""


class RequestStatus(StrEnum):
    """Where a request stands."""

    RECEIVED = "received"
    OFFERED = "offered"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class RequestEvent(StrEnum):
    """What can happen to a request."""

    OFFER = "offer"
    DECLINE = "decline"
    EXPIRE = "expire"
    CANCEL = "cancel"


TRANSITIONS: Final[Mapping[RequestStatus, Mapping[RequestEvent, RequestStatus]]] = {
    RequestStatus.RECEIVED: {
        RequestEvent.OFFER: RequestStatus.OFFERED,
        RequestEvent.DECLINE: RequestStatus.DECLINED,
        RequestEvent.EXPIRE: RequestStatus.EXPIRED,
        RequestEvent.CANCEL: RequestStatus.CANCELLED,
    },
    RequestStatus.OFFERED: {RequestEvent.EXPIRE: RequestStatus.EXPIRED, RequestEvent.CANCEL: RequestStatus.CANCELLED},
    RequestStatus.DECLINED: {},
    RequestStatus.EXPIRED: {},
    RequestStatus.CANCELLED: {},
}
_TOLD: Final = {
    RequestStatus.OFFERED: Topic.REQUEST_OFFERED,
    RequestStatus.DECLINED: Topic.REQUEST_DECLINED,
    RequestStatus.EXPIRED: Topic.REQUEST_EXPIRED,
    RequestStatus.CANCELLED: Topic.REQUEST_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class NeedInterval:
    """Between `min_w` and `max_w` whole watts (never negative) from `start` for `duration_s` seconds."""

    start: datetime
    duration_s: int
    min_w: int
    max_w: int

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.start + timedelta(seconds=self.duration_s)


@dataclass(frozen=True, slots=True)
class Need:
    """What a BRP asks for: contiguous intervals, whole minutes, at most 192 of them and 48 hours in all.

    `deadline`: an offer must be out by then. `area` and `group_ids` narrow down whose flexibility it is. `max_price`
    is a decimal string per kWh in the contract's currency. `product`, if given, must be the programme's.
    """

    direction: str
    intervals: tuple[NeedInterval, ...]
    deadline: datetime
    area: str | None = None
    group_ids: tuple[str, ...] = ()
    max_price: str | None = None
    product: str | None = None
    reason: str | None = None

    @property
    def start(self) -> datetime:
        """The start of its first interval."""
        return self.intervals[0].start

    @property
    def end(self) -> datetime:
        """The end of its last interval."""
        return self.intervals[-1].end


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it stands. `reason`: why it was declined, or the BRP's words at cancellation.

    `possible_w`: of a declined one, what could have been offered in each interval, W; None: not reckoned.
    """

    id: str
    contract_id: str
    party_id: str
    need: Need
    status: RequestStatus
    reason: str | None
    created_at: datetime
    ended_at: datetime | None
    offer_ids: tuple[str, ...]
    possible_w: tuple[int, ...] | None = None


async def create(
    tx: Transaction, contract_id: str, order: Need, now: datetime, *, who: str, party_id: str | None = None
) -> str:
    """Receive a request and return its id; an offer or a refusal follows by its deadline.

    Raises NotFoundError for another's contract or an unknown group, ForbiddenError for what the contract does not
    cover, InvalidError for a wish that cannot be met by anybody, ConflictError if too many wait.
    """
    contract = await contracts.get(tx.conn, contract_id, party_id, lock=True)
    rules = (await programme.get(tx.conn, contract.programme_id)).parameters
    check_shape(order.intervals)
    most_w = max(one.max_w for one in order.intervals)
    contracts.check(contract, Wanted(order.direction, order.start, order.end, most_w, order.area), rules, now)
    await _check_words(tx.conn, order, rules.product)
    if not now < utc(order.deadline) <= order.start:
        raise InvalidError("The deadline lies between now and the start.")
    waiting = select(func.count()).where(
        (flexibility_request.c.contract_id == contract_id) & (flexibility_request.c.status == RequestStatus.RECEIVED)
    )
    if (await tx.conn.execute(waiting)).scalar_one() >= _MAX_OPEN:
        raise ConflictError(f"{_MAX_OPEN} requests of this contract wait for an answer; wait for some, or cancel them.")
    request_id = new_id("frq")
    await tx.conn.execute(
        insert(flexibility_request).values(
            id=request_id,
            contract_id=contract.id,
            party_id=contract.party_id,
            direction=order.direction,
            starts_at=order.start,
            ends_at=order.end,
            deadline=order.deadline,
            wish=to_json(order),
            status=RequestStatus.RECEIVED,
            created_at=now,
        )
    )
    await tx.audit(who, "request", request_id, after=to_json(order), at=now)
    await publish(tx, contract.party_id, Topic.REQUEST_RECEIVED, {"request_id": request_id}, now)
    return request_id


def check_shape(intervals: Sequence[NeedInterval]) -> None:
    """Raise InvalidError for intervals that are too many, not contiguous, off the minute, or of impossible power."""
    if not 1 <= len(intervals) <= MAX_INTERVALS:
        raise InvalidError(f"A request has 1 to {MAX_INTERVALS} intervals.")
    for one in intervals:
        if one.duration_s <= 0 or one.duration_s % _MINUTE_S or utc(one.start).timestamp() % _MINUTE_S:
            raise InvalidError("Intervals begin on a whole minute and last whole minutes.")
        if one.duration_s > LONGEST.total_seconds():
            raise InvalidError(f"A request lasts at most {LONGEST.total_seconds() // 3600:.0f} hours.")
        if not 0 <= one.min_w <= one.max_w <= MAX_POWER_W:
            raise InvalidError("min_w and max_w are whole watts: 0 <= min_w <= max_w, the direction stands beside.")
    for before, after in itertools.pairwise(intervals):
        if before.end != after.start:
            raise InvalidError(f"The interval at {after.start.isoformat()} does not begin where the one before ends.")
    if intervals[-1].end - intervals[0].start > LONGEST:
        raise InvalidError(f"A request lasts at most {LONGEST.total_seconds() // 3600:.0f} hours.")
    if not any(one.max_w for one in intervals):
        raise InvalidError("A request wishes for some power.")


async def _check_words(conn: Connection, order: Need, product: str) -> None:
    if order.product is not None and order.product != product:
        raise InvalidError(f"This contract is about '{product}'; leave the product out or name that.")
    if order.max_price is not None:
        money.amount(order.max_price, "max_price")
    if len(order.reason or "") > _MAX_WORDS or len(order.area or "") > _MAX_WORDS:
        raise InvalidError(f"A reason or an area has at most {_MAX_WORDS} characters.")
    await check_groups(conn, order.group_ids)


async def check_groups(conn: Connection, group_ids: Sequence[str]) -> None:
    """Raise NotFoundError for a group that is not there, InvalidError for too many of them."""
    if len(group_ids) > _MAX_GROUPS:
        raise InvalidError(f"At most {_MAX_GROUPS} groups can be named.")
    known = set((await conn.execute(select(group.c.id).where(group.c.id.in_(group_ids)))).scalars())
    if strangers := set(group_ids) - known:
        raise NotFoundError(f"No group '{min(strangers)[:80]}'.")


async def get(conn: Connection, request_id: str, party_id: str | None = None, *, lock: bool = False) -> Request:
    """Return a request (of a party), locked if so wished. Raises NotFoundError."""
    query = select(flexibility_request).where(flexibility_request.c.id == request_id)
    if party_id is not None:
        query = query.where(flexibility_request.c.party_id == party_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No flexibility request '{request_id}'.")
    return (await _requests(conn, [row]))[0]


async def listed(
    conn: Connection,
    *,
    party_id: str | None = None,
    contract_id: str | None = None,
    status: RequestStatus | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Request]:
    """Return requests (of a party), newest first, at most `limit` before the id `before`."""
    query = select(flexibility_request).order_by(flexibility_request.c.id.desc()).limit(limit)
    for column, value in (("party_id", party_id), ("contract_id", contract_id), ("status", status)):
        if value is not None:
            query = query.where(flexibility_request.c[column] == value)
    if before is not None:
        query = query.where(flexibility_request.c.id < before)
    return await _requests(conn, (await conn.execute(query)).all())


async def waiting(conn: Connection, limit: int) -> list[str]:
    """Return the ids of requests that wait for an answer, the most urgent first."""
    query = select(flexibility_request.c.id).where(flexibility_request.c.status == RequestStatus.RECEIVED)
    return list((await conn.execute(query.order_by(flexibility_request.c.deadline).limit(limit))).scalars())


async def _requests(conn: Connection, rows: Sequence[Any]) -> list[Request]:
    offers: dict[str, list[str]] = {}
    query = (
        select(flexibility_offer.c.id, flexibility_offer.c.request_id)
        .where(flexibility_offer.c.request_id.in_([row.id for row in rows]))
        .order_by(flexibility_offer.c.id)
    )
    for offer in await conn.execute(query):
        offers.setdefault(offer.request_id, []).append(offer.id)
    return [
        Request(
            row.id,
            row.contract_id,
            row.party_id,
            from_json(Need, row.wish),
            RequestStatus(row.status),
            row.reason,
            row.created_at,
            row.ended_at,
            tuple(offers.get(row.id, ())),
            None if row.possible_w is None else tuple(row.possible_w),
        )
        for row in rows
    ]


async def move(
    tx: Transaction,
    request: Request,
    event: RequestEvent,
    now: datetime,
    *,
    who: str,
    reason: str | None = None,
    possible_w: Sequence[int] | None = None,
    **details: object,
) -> RequestStatus:
    """Move a locked request and tell the BRP. Raises ConflictError where the table has no such move."""
    status = TRANSITIONS[request.status].get(event)
    if status is None:
        raise ConflictError(f"This request is {request.status}; it cannot {event} any more.")
    ended_at = None if status is RequestStatus.OFFERED else now
    possible = None if possible_w is None else list(possible_w)
    await tx.conn.execute(
        update(flexibility_request)
        .where(flexibility_request.c.id == request.id)
        .values(status=status, reason=reason, ended_at=ended_at, possible_w=possible)
    )
    await tx.audit(who, f"request {event}", request.id, request.status, {"status": status, "reason": reason}, at=now)
    if possible is not None:
        details["possible_w"] = possible
    await publish(tx, request.party_id, _TOLD[status], {"request_id": request.id, "reason": reason, **details}, now)
    return status
