"""Contracts: what a BRP may ask of a programme, at which price. A BRP sees only its own.

Every read takes `party_id`: a BRP's own id, or None for the aggregator, who sees all. What is not the party's is not
there: NotFoundError, as for an id that nobody has.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select, update

from aggregator import money
from aggregator.currencies import check_currency
from aggregator.flexibility.call_limits import allows
from aggregator.tables import contract
from aggregator.trade import brps
from core.direction import Direction
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from core.ids import new_id
from core.spans import Span
from metrics.days import zone_named
from vtn.services import programme
from vtn.services.programme import Limits as CallLimits
from vtn.services.programme import Parameters
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, to_json

HORIZON: Final = timedelta(days=14)
"""How far ahead anything can be asked for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a contract allows; None or empty: no limit.

    `max_power_w` bounds each interval of an order, `max_activations_per_day` those that start on one UTC day.
    `direct_orders`: the BRP may order without an offer. `per_ven_rows`: reports hold a row for each VEN, under a
    pseudonym, where at least five were called.
    """

    max_power_w: int | None = None
    max_activations_per_day: int | None = None
    directions: tuple[str, ...] = tuple(Direction)
    areas: tuple[str, ...] = ()
    direct_orders: bool = False
    per_ven_rows: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """Decimal strings of `currency` per kWh.

    `per_kwh` for what is delivered; `margin_per_kwh` is added in full where an option uses all that can be offered and
    in proportion where it uses less; `penalty_per_kwh` for what was ordered and not delivered.
    """

    currency: str = "EUR"
    per_kwh: str = "0"
    margin_per_kwh: str = "0"
    penalty_per_kwh: str = "0"


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract between a BRP (`party_id`) and the aggregator about one programme."""

    id: str
    party_id: str
    programme_id: str
    limits: Limits
    price: Price
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants under a contract, as far as the contract and the programme bound it."""

    direction: str
    start: datetime
    end: datetime
    power_w: int
    area: str | None = None


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """What a new contract says; `valid_from` None: from now on."""

    party_id: str
    programme_id: str
    limits: Limits = field(default_factory=Limits)
    price: Price = field(default_factory=Price)
    valid_from: datetime | None = None
    valid_to: datetime | None = None


async def by_programme(conn: Connection, party_id: str) -> dict[str, list[str]]:
    """Return the programmes that a BRP has contracts about, ended ones too, and the contracts of each, oldest first."""
    held: dict[str, list[str]] = {}
    query = select(contract.c.id, contract.c.programme_id).where(contract.c.party_id == party_id)
    for row in await conn.execute(query.order_by(contract.c.id)):
        held.setdefault(row.programme_id, []).append(row.id)
    return held


async def create(tx: Transaction, terms: ContractTerms, now: datetime, *, who: str) -> Contract:
    """Create a contract. Raises NotFoundError for an unknown BRP or programme, InvalidError for impossible terms."""
    await brps.check(tx.conn, terms.party_id)
    await programme.get(tx.conn, terms.programme_id)
    _check_terms(terms, now)
    new = Contract(
        new_id("ctr"),
        terms.party_id,
        terms.programme_id,
        terms.limits,
        terms.price,
        terms.valid_from or now,
        terms.valid_to,
    )
    await tx.conn.execute(
        insert(contract).values(
            id=new.id,
            party_id=new.party_id,
            programme_id=new.programme_id,
            limits=to_json(new.limits),
            price=to_json(new.price),
            valid_from=new.valid_from,
            valid_to=new.valid_to,
        )
    )
    await tx.audit(who, "create contract", new.id, after=to_json(new), at=now)
    return new


def _check_terms(terms: ContractTerms, now: datetime) -> None:
    limits, price = terms.limits, terms.price
    if not limits.directions or set(limits.directions) - set(Direction):
        raise InvalidError("directions are reduce, increase or both.")
    if any(bound is not None and bound <= 0 for bound in (limits.max_power_w, limits.max_activations_per_day)):
        raise InvalidError("A limit of a contract is above zero; leave it out for none.")
    check_currency(price.currency)
    for name in ("per_kwh", "margin_per_kwh", "penalty_per_kwh"):
        money.amount(getattr(price, name), name)
    if terms.valid_to is not None and terms.valid_to <= (terms.valid_from or now):
        raise InvalidError("A contract ends after it begins.")


async def end(tx: Transaction, contract_id: str, now: datetime, *, who: str) -> None:
    """Let a contract end now: nothing new is sold under it, what is sold runs on. Raises ConflictError if it ended."""
    old = await get(tx.conn, contract_id, lock=True)
    if old.valid_to is not None and old.valid_to <= now:
        raise ConflictError("This contract has ended already.")
    ends_at = max(now, old.valid_from)
    await tx.conn.execute(update(contract).where(contract.c.id == contract_id).values(valid_to=ends_at))
    await tx.audit(who, "end contract", contract_id, to_json(old.valid_to), to_json(ends_at), at=now)


async def get(conn: Connection, contract_id: str, party_id: str | None = None, *, lock: bool = False) -> Contract:
    """Return a contract (of a party), locked if so wished. Raises NotFoundError."""
    query = select(contract).where(contract.c.id == contract_id)
    if party_id is not None:
        query = query.where(contract.c.party_id == party_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No contract '{contract_id}'.")
    return _contract(row)


async def listed(
    conn: Connection, *, party_id: str | None = None, after: str | None = None, limit: int = 50
) -> list[Contract]:
    """Return contracts (of a party) in the order of their ids, at most `limit` after the id `after`."""
    query = select(contract).order_by(contract.c.id).limit(limit)
    if party_id is not None:
        query = query.where(contract.c.party_id == party_id)
    if after is not None:
        query = query.where(contract.c.id > after)
    return [_contract(row) for row in await conn.execute(query)]


def _contract(row: Any) -> Contract:
    return Contract(
        row.id,
        row.party_id,
        row.programme_id,
        from_json(Limits, row.limits),
        from_json(Price, row.price or {}),
        row.valid_from,
        row.valid_to,
    )


def check(contract: Contract, wanted: Wanted, rules: Parameters, now: datetime) -> None:
    """Raise InvalidError for a time that cannot be asked for, ForbiddenError for what the contract does not cover.

    The programme's notice, windows, shortest and longest call bind every contract.
    """
    if wanted.direction not in set(Direction):
        raise InvalidError("direction is reduce or increase.")
    if wanted.start < now:
        raise InvalidError(f"The start {wanted.start.isoformat()} has passed; it is {now.isoformat()}.")
    if wanted.end > now + HORIZON:
        raise InvalidError(f"Nothing can be asked for more than {HORIZON.days} days ahead.")
    _check_programme(wanted, rules, now)
    limits = contract.limits
    if (
        now < contract.valid_from
        or wanted.start < contract.valid_from
        or (contract.valid_to and wanted.end > contract.valid_to)
    ):
        until = contract.valid_to.isoformat() if contract.valid_to else "open end"
        raise ForbiddenError(f"The contract is valid from {contract.valid_from.isoformat()} to {until}.")
    if wanted.direction not in limits.directions:
        raise ForbiddenError(f"The contract allows {' and '.join(limits.directions)}, not {wanted.direction}.")
    if limits.areas and wanted.area not in limits.areas:
        raise ForbiddenError(f"The contract is for the areas {', '.join(limits.areas)}: name one of them.")
    if limits.max_power_w is not None and wanted.power_w > limits.max_power_w:
        raise ForbiddenError(f"The contract allows {limits.max_power_w} W at most, not {wanted.power_w} W.")


def _check_programme(wanted: Wanted, rules: Parameters, now: datetime) -> None:
    limits, lasts = rules.limits, wanted.end - wanted.start
    notice = rules.notification.timedelta()
    if wanted.start < now + notice:
        raise InvalidError(f"The programme gives households {rules.notification} of notice: begin later.")
    if limits.shortest is not None and lasts < limits.shortest.timedelta():
        raise InvalidError(f"A call of this programme lasts at least {limits.shortest}.")
    if limits.longest is not None and lasts > limits.longest.timedelta():
        raise InvalidError(f"A call of this programme lasts at most {limits.longest}.")
    if not allows(CallLimits(windows=limits.windows), zone_named(rules.time_zone), Span(wanted.start, wanted.end)):
        shown = "; ".join(f"{one.start} to {one.end}" for one in limits.windows)
        raise InvalidError(f"The programme calls only within its windows ({shown}, {rules.time_zone}).")
