"""Activations: what a BRP bought and households are called for.

The status is computed from facts in the row and the time, never stored; TRANSITIONS says what may happen in which.
What happens by itself (the call, the minutes of the event, the report) is done by `aggregator.trade.worker` when
`due_at` has come. A change adds one to `modification_number`; whoever changes names the number that they read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import numpy as np
from sqlalchemy import func, insert, select, update

from aggregator import money
from aggregator.flexibility.fleet import Floats
from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.tables import activation
from aggregator.topics import Topic
from aggregator.trade import contracts
from aggregator.trade.contracts import Contract, Price
from core.errors import ConflictError, ForbiddenError, NotFoundError
from core.ids import new_id
from core.spans import Duration
from vtn.services import programme
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, to_json

LEAST_NOTICE: Final = timedelta(hours=1)
"""Households are called so long before the start at least, however short the programme's notice: who refuses or stays
silent can then be replaced before it."""
POLLED_WITHIN: Final = timedelta(minutes=5)
"""So much earlier than the programme's notice, because VENs fetch their events by and by."""


class ActivationStatus(StrEnum):
    """Where an activation stands."""

    SCHEDULED = "scheduled"
    NOTIFIED = "notified"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class ActivationEvent(StrEnum):
    """What can happen to an activation."""

    CALL = "call"
    START = "start"
    MODIFY = "modify"
    REPLACE = "replace"
    CANCEL = "cancel"
    COMPLETE = "complete"


TRANSITIONS: Final[Mapping[ActivationStatus, Mapping[ActivationEvent, ActivationStatus]]] = {
    ActivationStatus.SCHEDULED: {
        ActivationEvent.CALL: ActivationStatus.NOTIFIED,
        ActivationEvent.START: ActivationStatus.ACTIVE,
        ActivationEvent.MODIFY: ActivationStatus.SCHEDULED,
        ActivationEvent.CANCEL: ActivationStatus.CANCELLED,
    },
    ActivationStatus.NOTIFIED: {
        ActivationEvent.START: ActivationStatus.ACTIVE,
        ActivationEvent.MODIFY: ActivationStatus.NOTIFIED,
        ActivationEvent.REPLACE: ActivationStatus.NOTIFIED,
        ActivationEvent.CANCEL: ActivationStatus.CANCELLED,
    },
    ActivationStatus.ACTIVE: {
        ActivationEvent.CALL: ActivationStatus.ACTIVE,
        ActivationEvent.MODIFY: ActivationStatus.ACTIVE,
        ActivationEvent.REPLACE: ActivationStatus.ACTIVE,
        ActivationEvent.CANCEL: ActivationStatus.CANCELLED,
        ActivationEvent.COMPLETE: ActivationStatus.COMPLETED,
    },
    ActivationStatus.COMPLETED: {},
    ActivationStatus.CANCELLED: {},
}


class ModifiedError(ConflictError):
    """Somebody changed the activation since it was read (HTTP: 412)."""


@dataclass(frozen=True, slots=True)
class ActivationTerms:
    """What was agreed. `accepted` is the power that was bought; later changes stay within it.

    `option_id` None: a direct order. Prices are decimal strings of `currency` per kWh.
    """

    option_id: str | None
    factor: float
    accepted: tuple[PowerInterval, ...]
    price_per_kwh: str
    penalty_per_kwh: str
    currency: str
    confidence: float
    area: str | None = None
    group_ids: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the choice of VENs promised when it was made: powers in whole W, the least of all steps.

    `called`: how many VENs are called, 0: nobody could be. `expected_w`: what they deliver on average; `short_w`: by
    how much that is less than what was ordered, in the worst step.
    """

    called: int
    expected_w: int
    short_w: int


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation as it stands; `intervals` is what is ordered now. `due_at`: when the worker looks at it next.

    `outlook` is from the call (or the first try at it); None: nobody was looked for yet.
    """

    id: str
    contract_id: str
    party_id: str
    offer_id: str | None
    direction: str
    starts_at: datetime
    ends_at: datetime
    intervals: tuple[PowerInterval, ...]
    terms: ActivationTerms
    modification_number: int
    created_at: datetime
    created_by: str
    due_at: datetime | None
    dispatch_id: str | None
    selection_id: str | None
    cancelled_at: datetime | None
    cancel_reason: str | None
    completed_at: datetime | None
    outlook: Outlook | None = None

    def status(self, now: datetime) -> ActivationStatus:
        """Return its status at a time."""
        if self.cancelled_at is not None:
            return ActivationStatus.CANCELLED
        if self.completed_at is not None or now >= self.ends_at:
            return ActivationStatus.COMPLETED
        if now >= self.starts_at:
            return ActivationStatus.ACTIVE
        return ActivationStatus.SCHEDULED if self.dispatch_id is None else ActivationStatus.NOTIFIED

    @property
    def grid(self) -> Grid:
        """The grid on which it is called: it stays the same through all changes, but for its end."""
        grid = Grid.over(self.terms.accepted)
        return Grid(grid.start, grid.step_s, round((self.ends_at - grid.start).total_seconds() / grid.step_s))

    def ended_at(self, now: datetime) -> datetime | None:
        """Return when it came to its end: nominal, or by cancellation; None while it has not."""
        end = self.ends_at if self.cancelled_at is None else min(self.cancelled_at, self.ends_at)
        return end if end <= now else None


def check_allowed(activation: Activation, what: ActivationEvent, now: datetime) -> None:
    """Raise ConflictError where the table of transitions does not have that event."""
    status = activation.status(now)
    if what not in TRANSITIONS[status]:
        raise ConflictError(f"This activation is {status}; it is too late, or too early, to {what}.")


# -- made


def notice(notification: Duration) -> timedelta:
    """Return how long before its start the VENs of an activation are called, by their programme's notice.

    Not when it is sold: a baseline is adjusted by what homes did before they were told, and the longer ago that is, the
    less it says about the day.
    """
    return max(notification.timedelta() + POLLED_WITHIN, LEAST_NOTICE)


def price_per_kwh(price: Price, power_w: Floats, possible: Floats) -> str:
    """Return the contract's price plus its margin, the latter in proportion to the pool's use where that is highest."""
    used = np.divide(power_w, possible, out=np.zeros_like(power_w), where=possible > 0)
    share = Decimal(str(round(float(min(used.max(initial=0.0), 1.0)), 4)))
    return money.unit_price(Decimal(price.per_kwh) + Decimal(price.margin_per_kwh) * share)


def shown_w(power_w: Sequence[int]) -> str:
    """Return powers as people read them, at most 24 of them."""
    text = ", ".join(f"{one}" for one in power_w[:24])
    return text if len(power_w) <= 24 else f"{text} ..."  # noqa: PLR2004  a message, not a data set


async def add(
    tx: Transaction,
    contract: Contract,
    direction: str,
    terms: ActivationTerms,
    now: datetime,
    *,
    who: str,
    offer_id: str | None = None,
) -> str:
    """Make an activation; the caller has checked everything but the contract's activations of a day."""
    start, end = terms.accepted[0].start, terms.accepted[-1].end
    await _check_day(tx, contract, start)
    rules = (await programme.get(tx.conn, contract.programme_id)).parameters
    activation_id = new_id("act")
    await tx.conn.execute(
        insert(activation).values(
            id=activation_id,
            contract_id=contract.id,
            party_id=contract.party_id,
            offer_id=offer_id,
            direction=direction,
            starts_at=start,
            ends_at=end,
            intervals=to_json(terms.accepted),
            terms=to_json(terms),
            modification_number=0,
            created_at=now,
            created_by=who,
            due_at=max(now, start - notice(rules.notification)),
        )
    )
    await tx.audit(who, "activation", activation_id, after=to_json(terms), at=now)
    told = {"activation_id": activation_id, "offer_id": offer_id, "starts_at": start, "ends_at": end}
    await publish(tx, contract.party_id, Topic.ACTIVATION_SCHEDULED, told, now)
    return activation_id


async def _check_day(tx: Transaction, contract: Contract, start: datetime) -> None:
    most = contract.limits.max_activations_per_day
    if most is None:
        return
    await contracts.get(tx.conn, contract.id, lock=True)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    same_day = activation.c.starts_at.between(midnight, midnight + timedelta(days=1) - timedelta(microseconds=1))
    counted = select(func.count()).where(
        (activation.c.contract_id == contract.id) & same_day & activation.c.cancelled_at.is_(None)
    )
    if (await tx.conn.execute(counted)).scalar_one() >= most:
        raise ForbiddenError(f"The contract allows {most} activations a day.")


# -- read


async def get(conn: Connection, activation_id: str, party_id: str | None = None, *, lock: bool = False) -> Activation:
    """Return an activation (of a party), locked if so wished. Raises NotFoundError."""
    query = select(activation).where(activation.c.id == activation_id)
    if party_id is not None:
        query = query.where(activation.c.party_id == party_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No activation '{activation_id}'.")
    return _activation(row)


async def listed(
    conn: Connection,
    *,
    party_id: str | None = None,
    contract_id: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Activation]:
    """Return activations (of a party), newest first, at most `limit` before the id `before`."""
    query = select(activation).order_by(activation.c.id.desc()).limit(limit)
    for column, value in (("party_id", party_id), ("contract_id", contract_id)):
        if value is not None:
            query = query.where(activation.c[column] == value)
    if before is not None:
        query = query.where(activation.c.id < before)
    return [_activation(row) for row in await conn.execute(query)]


async def of_dispatch(conn: Connection, dispatch_id: str) -> str | None:
    """Return the id of the activation behind a dispatch, or None."""
    query = select(activation.c.id).where(activation.c.dispatch_id == dispatch_id)
    return (await conn.execute(query)).scalar_one_or_none()


async def due(conn: Connection, now: datetime, limit: int) -> list[str]:
    """Return the ids of activations that wait to be looked at, the longest waiting first."""
    query = select(activation.c.id).where(activation.c.due_at <= now)
    return list((await conn.execute(query.order_by(activation.c.due_at).limit(limit))).scalars())


def _activation(row: Any) -> Activation:
    values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name for a row as a mapping
    values["intervals"] = from_json(tuple[PowerInterval, ...], row.intervals)
    values["terms"] = from_json(ActivationTerms, row.terms)
    values["outlook"] = None if row.outlook is None else from_json(Outlook, row.outlook)
    return Activation(**values)


# -- moved on


async def advance(tx: Transaction, old: Activation, now: datetime, due_at: datetime | None, **columns: object) -> None:
    """Note what the worker did and when it is due again; tell the BRP of the start in the turn that crosses it."""
    await tx.conn.execute(update(activation).where(activation.c.id == old.id).values(due_at=due_at, **columns))
    crossed = old.due_at is not None and old.due_at <= old.starts_at <= now
    if crossed and old.status(now) is ActivationStatus.ACTIVE:
        await publish(tx, old.party_id, Topic.ACTIVATION_STARTED, {"activation_id": old.id}, now)


async def look_again(tx: Transaction, activation_id: str, now: datetime) -> None:
    """Have the worker look at an activation that was over and done with: its result is disputed."""
    await tx.conn.execute(update(activation).where(activation.c.id == activation_id).values(due_at=now))


def check_number(activation: Activation, expected: int | None) -> None:
    """Raise ModifiedError unless the expected modification is the present one (None: whatever it is)."""
    if expected is not None and expected != activation.modification_number:
        raise ModifiedError(
            f"The activation is at modification {activation.modification_number}, not {expected}; read it again."
        )
