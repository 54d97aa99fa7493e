"""Selling flexibility, in the three ways there are: answering a request, offering unasked, and taking a direct order.

Each act reads what the pool can do in one snapshot, reckons in a thread, locks the programme's sales, looks whether
something was sold meanwhile, and only then writes: what is sold stands on what was reckoned, and nothing is sold twice.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Final, TypeVar, TypeVarTuple

from aggregator import money
from aggregator.flexibility.fleet import Floats
from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.trade import activations, available_flexibility, contracts, nominations, offers, requests
from aggregator.trade.activations import Activation, ActivationTerms, price_per_kwh, shown_w
from aggregator.trade.available_flexibility import Basis, Scope
from aggregator.trade.contracts import Contract, Wanted
from aggregator.trade.offers import Offer, Option, Refusal
from aggregator.trade.requests import Need, NeedInterval, Request, check_groups, check_shape
from core.clock import Clock
from core.errors import ConflictError, ForbiddenError, InvalidError
from vtn.services import programme
from vtn.services.potential_arrays import Batch
from vtn.store.database import Connection, Database, Transaction

_MAX_REASON: Final = 500
_AT_ONCE: Final = 2
"""Pools reckoned at once: each takes a core for up to seconds."""

_T = TypeVar("_T")
_Read = TypeVar("_Read", Basis, list[Basis])
_Args = TypeVarTuple("_Args")

Writing = Callable[[], AbstractAsyncContextManager[Transaction]]
"""Begins the transaction that a sale is written in."""


@dataclass(frozen=True, slots=True)
class DirectOrder:
    """An order without an offer, under a contract that allows it."""

    direction: str
    intervals: tuple[PowerInterval, ...]
    area: str | None = None
    group_ids: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class UnaskedOffer:
    """An offer that nobody asked for: all of its power, or nothing.

    `price_per_kwh` is a decimal in the contract's currency, None: the contract's own price for so much of the pool. An
    acceptance may scale the power down to `min_activation_factor`.
    """

    contract_id: str
    direction: str
    intervals: tuple[PowerInterval, ...]
    expires_at: datetime
    area: str | None = None
    price_per_kwh: Decimal | None = None
    min_activation_factor: float = 1.0

    @property
    def need(self) -> Need:
        """What a request for just this would ask."""
        wanted = tuple(NeedInterval(it.start, it.duration_s, it.power_w, it.power_w) for it in self.intervals)
        return Need(self.direction, wanted, self.expires_at, self.area)


class OverPotentialError(InvalidError):
    """More is offered than the pool can do; `possible_w` is what it can, one an interval."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason, field="intervals")
        self.possible_w = refusal.possible_w


class Sales:
    """Sells what the pools of one VTN can do. `offer_valid`: how long the answer to a request stands (world time)."""

    def __init__(
        self, db: Database, clock: Clock, *, stale_after_s: float, offer_valid: timedelta = timedelta(hours=1)
    ) -> None:
        self._db = db
        self._clock = clock
        self._stale_after_s = stale_after_s
        self._offer_valid = offer_valid
        self._reckoning = asyncio.Semaphore(_AT_ONCE)
        self.reading = asyncio.Semaphore(1)
        """Who reads in parts: one caller after another, before it takes a connection."""

    async def read(
        self, conn: Connection, scope: Scope, contract: Contract, now: datetime, batches: Sequence[Batch] | None = None
    ) -> Basis:
        """Read what a pool can do, what of it is sold, and what the contract's portfolio is to consume."""
        stale_after_s = self._stale_after_s
        basis = await available_flexibility.read(conn, scope, now, stale_after_s=stale_after_s, batches=batches)
        return replace(basis, nominated_w=await nominations.consumption_w(conn, contract.id, scope.grid))

    async def read_parts(
        self, conn: Connection, scope: Scope, contract: Contract, now: datetime, most: int
    ) -> list[Basis]:
        """Read what a pool can do in each step for itself, or in `most` parts if there are more steps.

        That is many statements: hold `reading` meanwhile.
        """
        batches = await available_flexibility.potentials(conn, scope)
        return [await self.read(conn, one, contract, now, batches) for one in scope.parts(most)]

    async def reckon(self, work: Callable[[_Read, *_Args], _T], basis: _Read, *args: *_Args) -> _T:
        """Compute something from a pool in a thread, a few at once."""
        async with self._reckoning:
            return await asyncio.to_thread(work, basis, *args)

    # -- a request is answered

    async def answer(self, request_id: str, *, who: str) -> None:
        """Offer something for a request, decline it, or let it expire.

        A request that is answered already is left alone; one whose pool was sold from meanwhile waits for the next try.
        """
        now = self._clock.now()
        async with self._db.read() as conn:
            request = await requests.get(conn, request_id)
            if request.status is not requests.RequestStatus.RECEIVED:
                return
            contract = await contracts.get(conn, request.contract_id)
            rules = await programme.get(conn, contract.programme_id)
            basis = None
            if now < request.need.deadline:
                basis = await self.read(conn, _scope(rules, request.need), contract, now)
        if basis is None:
            async with self._db.write() as tx:
                await self._conclude(tx, request.id, None, now, now, who)
            return
        outcome = await self.reckon(_compose, basis, request.need, contract)
        latest = request.need.start - rules.parameters.notification.timedelta()
        now = self._clock.now()
        async with self._db.write() as tx:
            await available_flexibility.lock(tx, contract.programme_id, now)
            if await available_flexibility.holds(tx.conn, basis, now):
                await self._conclude(tx, request.id, outcome, latest, now, who)

    async def _conclude(
        self,
        tx: Transaction,
        request_id: str,
        outcome: tuple[Option, ...] | Refusal | None,
        latest: datetime,
        now: datetime,
        who: str,
    ) -> None:
        """Answer a request that still waits: None, or past its deadline, is expiry."""
        request = await requests.get(tx.conn, request_id, lock=True)
        if request.status is not requests.RequestStatus.RECEIVED:
            return
        if outcome is None or request.need.deadline <= now:
            why = "No answer could be given by the deadline."
            await requests.move(tx, request, requests.RequestEvent.EXPIRE, now, who=who, reason=why)
            return
        expires_at = min(latest, now + self._offer_valid)
        if not isinstance(outcome, Refusal) and expires_at <= now:
            outcome = Refusal("It is too late to give households their notice.", ())
        if isinstance(outcome, Refusal):
            event, possible_w = requests.RequestEvent.DECLINE, outcome.possible_w
            await requests.move(tx, request, event, now, who=who, reason=outcome.reason, possible_w=possible_w)
            return
        offer_id = await _offered(tx, request, outcome, expires_at, now, who)
        await requests.move(tx, request, requests.RequestEvent.OFFER, now, who=who, offer_id=offer_id)

    # -- something is offered unasked

    async def offer(self, unasked: UnaskedOffer, *, who: str) -> Offer:
        """Offer what nobody asked for; the BRP hears of it by webhook.

        Raises OverPotentialError for what the pool cannot do, InvalidError for what nobody can, ForbiddenError for what
        the contract does not allow, NotFoundError for an unknown one, ConflictError if something was sold meanwhile.
        """
        now, wish = self._clock.now(), unasked.need
        check_shape(wish.intervals)
        async with self._db.read() as conn:
            contract = await contracts.get(conn, unasked.contract_id)
            rules = await programme.get(conn, contract.programme_id)
            contracts.check(contract, _wanted(unasked), rules.parameters, now)
            basis = await self.read(conn, _scope(rules, wish), contract, now)
        outcome = await self.reckon(_compose, basis, wish, contract)
        if isinstance(outcome, Refusal):
            raise OverPotentialError(outcome)
        options = tuple(_on_terms(option, unasked, _least_w(basis, wish.intervals)) for option in outcome)
        async with self._db.write() as tx:
            await _hold(tx, basis, now)
            offer_id = await offers.create(
                tx, contract, wish.direction, options, unasked.expires_at, now, who=who, area=unasked.area
            )
            return await offers.get(tx.conn, offer_id)

    # -- an order is taken directly

    async def order(
        self,
        contract_id: str,
        wanted: DirectOrder,
        *,
        who: str,
        party_id: str | None = None,
        writing: Writing | None = None,
    ) -> Activation:
        """Take an order without an offer.

        `party_id` bounds whose contract it may be; `writing` begins the transaction, by default one of its own. Raises
        ForbiddenError where the contract has no direct orders, NotFoundError for another's contract, InvalidError for
        what no pool could make good, ConflictError for more than can be had (the message says what can), or if
        something was sold meanwhile.
        """
        now = self._clock.now()
        async with self._db.read() as conn:
            contract = await _checked(conn, contract_id, wanted, now, party_id)
            rules = await programme.get(conn, contract.programme_id)
            scope = Scope(rules, wanted.direction, Grid.over(wanted.intervals), wanted.area, wanted.group_ids)
            basis = await self.read(conn, scope, contract, now)
        possible = await self.reckon(available_flexibility.possible_w, basis)
        async with (writing or self._db.write)() as tx:
            contract = await _checked(tx.conn, contract_id, wanted, now, party_id)
            await _hold(tx, basis, now)
            terms = _ordered(wanted, contract, basis, possible)
            activation_id = await activations.add(tx, contract, wanted.direction, terms, now, who=who)
            return await activations.get(tx.conn, activation_id)


def _scope(rules: programme.Programme, order: Need) -> Scope:
    grid = Grid.over([PowerInterval(it.start, it.duration_s, it.max_w) for it in order.intervals])
    return Scope(rules, order.direction, grid, order.area, order.group_ids)


def _compose(basis: Basis, order: Need, contract: Contract) -> tuple[Option, ...] | Refusal:
    """Return what can be offered for a wish. Takes CPU: use a thread."""
    bounds = [(it.start, it.end) for it in order.intervals]
    possible = available_flexibility.per_interval(basis.scope.grid, available_flexibility.possible_w(basis), bounds)
    least = _least_w(basis, order.intervals)
    return offers.compose(order, possible, contract.price, least, available_flexibility.step_w(basis))


def _least_w(basis: Basis, intervals: Sequence[NeedInterval | PowerInterval]) -> list[int]:
    """Return the least power (W) that can be sold in each interval."""
    bounds = [(it.start, it.end) for it in intervals]
    return available_flexibility.per_interval(basis.scope.grid, available_flexibility.least_w(basis), bounds)


async def _hold(tx: Transaction, basis: Basis, now: datetime) -> None:
    """Keep others from selling of the same pool. Raises ConflictError if something was sold since `basis` was read."""
    await available_flexibility.lock(tx, basis.scope.programme.id, now)
    if not await available_flexibility.holds(tx.conn, basis, now):
        raise ConflictError("Something else was sold in the same time just now; try again.")


async def _offered(
    tx: Transaction, request: Request, options: tuple[Option, ...], expires_at: datetime, now: datetime, who: str
) -> str:
    contract = await contracts.get(tx.conn, request.contract_id)
    direction = request.need.direction
    return await offers.create(
        tx, contract, direction, options, expires_at, now, who=who, request_id=request.id, area=request.need.area
    )


def _wanted(sale: UnaskedOffer | DirectOrder) -> Wanted:
    first, last = sale.intervals[0], sale.intervals[-1]
    return Wanted(sale.direction, first.start, last.end, max(it.power_w for it in sale.intervals), sale.area)


def _on_terms(option: Option, unasked: UnaskedOffer, least_w: Sequence[int]) -> Option:
    """Return an option as its operator wants it: the factor, and the price if one is named.

    No factor leaves less than `least_w` (W, one an interval): no home could be called for that.
    """
    parts = [least / it.power_w for it, least in zip(option.intervals, least_w, strict=True) if it.power_w]
    factor = min(max(unasked.min_activation_factor, *parts), 1.0)
    option = replace(option, min_activation_factor=ceil(factor * 10_000 - 1e-6) / 10_000)
    if unasked.price_per_kwh is None:
        return option
    unit = money.unit_price(unasked.price_per_kwh)
    return replace(option, price_per_kwh=unit, price=offers.cost(option.intervals, unit, option.currency))


async def _checked(
    conn: Connection, contract_id: str, wanted: DirectOrder, now: datetime, party_id: str | None
) -> Contract:
    contract = await contracts.get(conn, contract_id, party_id)
    if not contract.limits.direct_orders:
        raise ForbiddenError("This contract has no direct orders; post a flexibility request.")
    check_shape([NeedInterval(it.start, it.duration_s, 0, it.power_w) for it in wanted.intervals])
    await check_groups(conn, wanted.group_ids)
    if len(wanted.reason or "") > _MAX_REASON:
        raise InvalidError(f"A reason has at most {_MAX_REASON} characters.")
    rules = (await programme.get(conn, contract.programme_id)).parameters
    contracts.check(contract, _wanted(wanted), rules, now)
    return contract


def _ordered(wanted: DirectOrder, contract: Contract, basis: Basis, possible: Floats) -> ActivationTerms:
    grid, bounds = basis.scope.grid, [(it.start, it.end) for it in wanted.intervals]
    ordered = grid.power_w(wanted.intervals)
    if (ordered > possible).any():
        most = available_flexibility.per_interval(grid, possible, bounds)
        raise ConflictError(f"More than can be had now. Possible in each interval: {shown_w(most)} W.")
    least = _least_w(basis, wanted.intervals)
    offers.check_least([it.power_w for it in wanted.intervals], least, available_flexibility.step_w(basis))
    return ActivationTerms(
        option_id=None,
        factor=1.0,
        accepted=wanted.intervals,
        price_per_kwh=price_per_kwh(contract.price, ordered, possible),
        penalty_per_kwh=contract.price.penalty_per_kwh,
        currency=contract.price.currency,
        confidence=available_flexibility.CONFIDENCE,
        area=wanted.area,
        group_ids=wanted.group_ids,
        reason=wanted.reason,
    )
