"""Offers: what the aggregator would deliver, at which price, until when. An offer is accepted once, or never.

An offer moves by TRANSITIONS. It promises no more than the pool's p10 less what is sold already (`supply`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

import numpy as np
from sqlalchemy import insert, select, update

from aggregator import money
from aggregator.intervals import PowerInterval, check_contiguous
from aggregator.tables import activation, flexibility_offer
from aggregator.topics import Topic
from aggregator.trade import activations, contracts, requests
from aggregator.trade.activations import ActivationTerms, price_per_kwh, shown_w
from aggregator.trade.available_flexibility import CONFIDENCE
from aggregator.trade.contracts import Contract, Price
from aggregator.trade.requests import Need
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, to_json

FULL: Final = "full"
REDUCED: Final = "reduced"
_LEAST_FACTOR: Final = 0.1
_WORTH_OFFERING: Final = 0.9
"""A reduced option is offered where it has less energy than this part of the full one."""


class OfferStatus(StrEnum):
    """Where an offer stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


class OfferEvent(StrEnum):
    """What can happen to an offer."""

    ACCEPT = "accept"
    REVOKE = "revoke"
    EXPIRE = "expire"


TRANSITIONS: Final[Mapping[OfferStatus, Mapping[OfferEvent, OfferStatus]]] = {
    OfferStatus.OPEN: {
        OfferEvent.ACCEPT: OfferStatus.ACCEPTED,
        OfferEvent.REVOKE: OfferStatus.REVOKED,
        OfferEvent.EXPIRE: OfferStatus.EXPIRED,
    },
    OfferStatus.ACCEPTED: {},
    OfferStatus.REVOKED: {},
    OfferStatus.EXPIRED: {},
}
_TOLD: Final = {
    OfferStatus.ACCEPTED: Topic.OFFER_ACCEPTED,
    OfferStatus.REVOKED: Topic.OFFER_REVOKED,
    OfferStatus.EXPIRED: Topic.OFFER_EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Option:
    """One way to accept an offer.

    `price` is what all of it costs at factor 1, `price_per_kwh` what a kWh does: decimal strings of `currency`. The
    factor of an acceptance lies between `min_activation_factor` and 1. `confidence`: how probable it is, 0 to 1, that
    at least this power is delivered.
    """

    id: str
    intervals: tuple[PowerInterval, ...]
    price_per_kwh: str
    price: str
    currency: str
    min_activation_factor: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer as it stands. `request_id` None: nobody asked. `activation_id`: what an acceptance made of it.

    `area`: only homes there are meant and called; None: everywhere.
    """

    id: str
    request_id: str | None
    contract_id: str
    party_id: str
    direction: str
    options: tuple[Option, ...]
    status: OfferStatus
    expires_at: datetime
    created_at: datetime
    ended_at: datetime | None
    area: str | None = None
    activation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is offered, and the power that would be possible in each interval of the wish."""

    reason: str
    possible_w: tuple[int, ...]


# -- made


def compose(
    order: Need,
    possible_w: Sequence[int],
    price: Price,
    least_w: Sequence[int] = (),
    step_w: int | None = None,
) -> tuple[Option, ...] | Refusal:
    """Return the options for a wish, the fullest first, or why there is none.

    `possible_w` and `least_w`: one an interval, W; an interval has nothing, or at least `least_w`. `step_w`: the
    smallest step of partial power, None: nobody can be called at partial power.

    The full option goes as far as wish and pool allow; the reduced one is half of that (never below the wish's
    minimum) and cheaper, because it uses less of the pool. Options above the wish's price are left out.
    """
    most = tuple(possible_w)
    short = [one for one, can in zip(order.intervals, most, strict=True) if can < one.min_w]
    if short:
        first = short[0]
        return Refusal(
            f"Over the potential: {first.min_w} W are wanted at {first.start.isoformat()}. "
            f"Possible in each interval: {shown_w(most)} W.",
            most,
        )
    full = [min(one.max_w, can) for one, can in zip(order.intervals, most, strict=True)]
    if not any(full):
        return Refusal("No flexibility is left in that time.", most)
    least = tuple(least_w) or (0,) * len(full)
    if any(0 < power < one for power, one in zip(full, least, strict=True)):
        return Refusal(f"{_too_little(least, step_w)} Possible in each interval: {shown_w(most)} W.", most)
    half = [max(one.min_w, power // 2) for one, power in zip(order.intervals, full, strict=True)]
    half = [min(max(power, one), most) for power, one, most in zip(half, least, full, strict=True)]
    powers = {FULL: full}
    if 0 < sum(half) < _WORTH_OFFERING * sum(full):
        powers[REDUCED] = half
    options = tuple(_option(name, order, power, most, price, least) for name, power in powers.items())
    if order.max_price is None:
        return options
    affordable = tuple(one for one in options if Decimal(one.price_per_kwh) <= Decimal(order.max_price))
    if affordable:
        return affordable
    cheapest = min(options, key=lambda row: Decimal(row.price_per_kwh))
    return Refusal(f"The price is at least {cheapest.price_per_kwh} {cheapest.currency} per kWh.", most)


def _too_little(least_w: Sequence[int], step_w: int | None) -> str:
    levels = "" if step_w is None else f", or from their minimum on in steps of {step_w} W and more"
    return f"Too little: homes are called at their whole power{levels}, so that {shown_w(least_w)} W are sold at least."


def check_least(power_w: Sequence[int], least_w: Sequence[int], step_w: int | None) -> None:
    """Raise ConflictError for an order of less than homes can give, of one power an interval."""
    if any(0 < power < least for power, least in zip(power_w, least_w, strict=True)):
        raise ConflictError(_too_little(least_w, step_w))


def _option(
    name: str, order: Need, power: Sequence[int], most: Sequence[int], price: Price, least: Sequence[int]
) -> Option:
    intervals = tuple(
        PowerInterval(one.start, one.duration_s, watts) for one, watts in zip(order.intervals, power, strict=True)
    )
    per_kwh = price_per_kwh(price, np.asarray(power, np.float64), np.asarray(most, np.float64))
    bounds = zip(order.intervals, least, power, strict=True)
    needed = [max(one.min_w, smallest) / watts for one, smallest, watts in bounds if watts]
    factor = min(1.0, math.ceil(max(_LEAST_FACTOR, *needed) * 100 - 1e-9) / 100)
    return Option(
        name, intervals, per_kwh, cost(intervals, per_kwh, price.currency), price.currency, factor, CONFIDENCE
    )


def cost(intervals: Sequence[PowerInterval], per_kwh: str, currency: str) -> str:
    """Return what all of it costs, in the currency's smallest unit."""
    energy_wh = sum((Decimal(one.power_w * one.duration_s) for one in intervals), Decimal(0)) / 3600
    return money.rounded(money.of_energy(energy_wh, Decimal(per_kwh)), currency)


async def create(
    tx: Transaction,
    contract: Contract,
    direction: str,
    options: Sequence[Option],
    expires_at: datetime,
    now: datetime,
    *,
    who: str,
    request_id: str | None = None,
    area: str | None = None,
) -> str:
    """Make an offer, asked for or not, and return its id; the caller has made sure of the supply."""
    if not options or len({one.id for one in options}) < len(options):
        raise InvalidError("An offer has options with distinct ids.")
    for one in options:
        check_contiguous(one.intervals)
    start = min(one.intervals[0].start for one in options)
    if not now < expires_at <= start:
        raise InvalidError("An offer expires between now and its start.")
    offer_id = new_id("fof")
    await tx.conn.execute(
        insert(flexibility_offer).values(
            id=offer_id,
            request_id=request_id,
            contract_id=contract.id,
            party_id=contract.party_id,
            direction=direction,
            starts_at=start,
            ends_at=max(one.intervals[-1].end for one in options),
            options=to_json(tuple(options)),
            status=OfferStatus.OPEN,
            expires_at=expires_at,
            created_at=now,
            area=area,
        )
    )
    await tx.audit(who, "offer", offer_id, after=to_json(tuple(options)), at=now)
    told = {"offer_id": offer_id, "request_id": request_id, "expires_at": expires_at}
    await publish(tx, contract.party_id, Topic.OFFER_CREATED, told, now)
    return offer_id


# -- read


async def get(conn: Connection, offer_id: str, party_id: str | None = None, *, lock: bool = False) -> Offer:
    """Return an offer (to a party), locked if so wished. Raises NotFoundError."""
    query = select(flexibility_offer).where(flexibility_offer.c.id == offer_id)
    if party_id is not None:
        query = query.where(flexibility_offer.c.party_id == party_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No flexibility offer '{offer_id}'.")
    return (await _offers(conn, [row]))[0]


async def listed(
    conn: Connection,
    *,
    party_id: str | None = None,
    request_id: str | None = None,
    status: OfferStatus | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Offer]:
    """Return offers (to a party), newest first, at most `limit` before the id `before`."""
    query = select(flexibility_offer).order_by(flexibility_offer.c.id.desc()).limit(limit)
    for column, value in (("party_id", party_id), ("request_id", request_id), ("status", status)):
        if value is not None:
            query = query.where(flexibility_offer.c[column] == value)
    if before is not None:
        query = query.where(flexibility_offer.c.id < before)
    return await _offers(conn, (await conn.execute(query)).all())


async def _offers(conn: Connection, rows: Sequence[Any]) -> list[Offer]:
    query = select(activation.c.offer_id, activation.c.id).where(activation.c.offer_id.in_([row.id for row in rows]))
    bought = {row.offer_id: row.id for row in await conn.execute(query)}
    return [
        Offer(
            row.id,
            row.request_id,
            row.contract_id,
            row.party_id,
            row.direction,
            from_json(tuple[Option, ...], row.options),
            OfferStatus(row.status),
            row.expires_at,
            row.created_at,
            row.ended_at,
            row.area,
            bought.get(row.id),
        )
        for row in rows
    ]


# -- moved


async def accept(
    tx: Transaction,
    offer_id: str,
    option_id: str,
    now: datetime,
    *,
    who: str,
    factor: Decimal | float = 1.0,
    party_id: str | None = None,
) -> str:
    """Accept an option at a factor of its power and return the id of the activation.

    Raises ConflictError for an offer that is accepted already, revoked or expired (by the time, whatever the row says),
    NotFoundError for another's offer or an unknown option, InvalidError for a factor out of its bounds.
    """
    one = await get(tx.conn, offer_id, party_id, lock=True)
    if one.status is OfferStatus.ACCEPTED:
        raise ConflictError(f"This offer was accepted already, as activation '{one.activation_id}'.")
    if one.status is OfferStatus.OPEN and one.expires_at <= now:
        raise ConflictError(f"This offer expired at {one.expires_at.isoformat()}.")
    chosen = next((option for option in one.options if option.id == option_id), None)
    if chosen is None:
        raise NotFoundError(f"No option '{option_id[:80]}'; there are {', '.join(it.id for it in one.options)}.")
    share = _factor(factor, chosen.min_activation_factor)
    accepted = tuple(replace(it, power_w=int(Decimal(it.power_w) * share)) for it in chosen.intervals)
    if not any(it.power_w for it in accepted):
        raise InvalidError("That is less than a watt; accept more of it.", field="activation_factor")
    await _move(tx, one, OfferEvent.ACCEPT, now, who=who, option_id=option_id)
    contract = await contracts.get(tx.conn, one.contract_id)
    wish = None if one.request_id is None else (await requests.get(tx.conn, one.request_id)).need
    terms = ActivationTerms(
        option_id,
        float(share),
        accepted,
        chosen.price_per_kwh,
        contract.price.penalty_per_kwh,
        chosen.currency,
        chosen.confidence,
        wish.area if wish else one.area,
        wish.group_ids if wish else (),
        wish.reason if wish else None,
    )
    return await activations.add(tx, contract, one.direction, terms, now, who=who, offer_id=one.id)


def _factor(factor: Decimal | float, least: float) -> Decimal:
    try:
        share = Decimal(str(factor)).quantize(Decimal("0.0001"), ROUND_DOWN)
    except InvalidOperation:
        share = Decimal("NaN")
    if share.is_nan() or not Decimal(str(least)) <= share <= 1:
        raise InvalidError(f"The activation factor of this option lies between {least} and 1.")
    return share


async def revoke(tx: Transaction, offer_id: str, now: datetime, *, who: str) -> None:
    """Take an open offer back (the aggregator's right). Raises ConflictError if it is not open."""
    one = await get(tx.conn, offer_id, lock=True)
    await _move(tx, one, OfferEvent.REVOKE, now, who=who)
    await _expire_request(tx, one, now, who)


async def expire(tx: Transaction, offer_id: str, now: datetime, *, who: str) -> None:
    """Let an offer expire whose time has come, and its request with its last offer; others are left alone."""
    one = await get(tx.conn, offer_id, lock=True)
    if one.status is OfferStatus.OPEN and one.expires_at <= now:
        await _move(tx, one, OfferEvent.EXPIRE, now, who=who)
        await _expire_request(tx, one, now, who)


async def cancel_request(
    tx: Transaction,
    request_id: str,
    now: datetime,
    *,
    who: str,
    party_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Withdraw a request and its open offers. Raises ConflictError if it is over or one of its offers was accepted."""
    found = await requests.get(tx.conn, request_id, party_id)
    offers = [await get(tx.conn, offer_id, lock=True) for offer_id in found.offer_ids]
    locked = await requests.get(tx.conn, request_id, party_id, lock=True)
    if len(locked.offer_ids) != len(offers):
        raise ConflictError("An offer came in just now; look at it, then cancel again.")
    bought = [one for one in offers if one.status is OfferStatus.ACCEPTED]
    if bought:
        raise ConflictError(f"An offer was accepted; cancel activation '{bought[0].activation_id}' instead.")
    await requests.move(tx, locked, requests.RequestEvent.CANCEL, now, who=who, reason=(reason or "")[:500] or None)
    for one in offers:
        if one.status is OfferStatus.OPEN:
            await _move(tx, one, OfferEvent.REVOKE, now, who=who)


async def overdue(conn: Connection, now: datetime, limit: int) -> list[str]:
    """Return the ids of open offers whose time has come."""
    open_ = (flexibility_offer.c.status == OfferStatus.OPEN) & (flexibility_offer.c.expires_at <= now)
    query = select(flexibility_offer.c.id).where(open_).order_by(flexibility_offer.c.expires_at).limit(limit)
    return list((await conn.execute(query)).scalars())


async def _move(tx: Transaction, offer: Offer, what: OfferEvent, now: datetime, *, who: str, **details: object) -> None:
    status = TRANSITIONS[offer.status].get(what)
    if status is None:
        raise ConflictError(f"This offer is {offer.status}; it is too late to {what} it.")
    where = flexibility_offer.c.id == offer.id
    await tx.conn.execute(update(flexibility_offer).where(where).values(status=status, ended_at=now))
    await tx.audit(who, f"offer {what}", offer.id, offer.status, status, at=now)
    await publish(
        tx, offer.party_id, _TOLD[status], {"offer_id": offer.id, "request_id": offer.request_id, **details}, now
    )


async def _expire_request(tx: Transaction, offer: Offer, now: datetime, who: str) -> None:
    """Let the request of an offer expire if no other offer to it is open or accepted."""
    if offer.request_id is None:
        return
    others = await listed(tx.conn, request_id=offer.request_id)
    if any(other.status in (OfferStatus.OPEN, OfferStatus.ACCEPTED) for other in others):
        return
    found = await requests.get(tx.conn, offer.request_id, lock=True)
    if requests.RequestEvent.EXPIRE in requests.TRANSITIONS[found.status]:
        await requests.move(
            tx, found, requests.RequestEvent.EXPIRE, now, who=who, reason="No offer was accepted in time."
        )
