"""Offers: what stands open, taking one back, and offering something that nobody asked for."""

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from aggregator import money
from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.trade import contracts, offers, supply
from aggregator.trade.contracts import Contract, Wanted
from aggregator.trade.offers import Option
from aggregator.trade.requests import MAX_POWER_W, WishInterval, check_shape
from aggregator.trade.supply import CONFIDENCE, Scope
from aggregator.web.brp.values import PositiveAmount
from aggregator.web.console import board_data
from aggregator.web.console.shared import (
    PER_PAGE,
    Id,
    Kilowatts,
    LocalTime,
    Words,
    in_utc,
    listing,
    watts,
    with_defaults,
    zone_of,
)
from core.errors import ConflictError, InvalidError
from vtn.services import programme as programmes
from vtn.services import site
from vtn.services.programme import Programme
from vtn.web.auth import Role
from vtn.web.console import Form, Visit, page
from vtn.web.model import Model

_OFFERS = listing("offers")


class NewOffer(Model):
    """An offer that nobody asked for; times are local to the contract's programme."""

    contract_id: Id
    direction: Literal["reduce", "increase"]
    start: LocalTime
    minutes: Annotated[int, Field(ge=1, le=48 * 60)]
    power: Kilowatts
    per_kwh: PositiveAmount
    min_factor: Annotated[float, Field(ge=0.01, le=1)] = 1.0
    expires: LocalTime
    area: Words | None = None


@page("GET", "/market/offers", role=Role.VIEWER)
async def list_offers(visit: Visit) -> web.StreamResponse:
    """Show offers, newest first."""
    form = visit.filters()
    status = form.value("status")
    wanted = offers.Status(status) if status in {one.value for one in offers.Status} else None
    async with visit.desk.db.read() as conn:
        rows = await offers.listed(
            conn,
            party_id=form.value("party_id") or None,
            status=wanted,
            before=_OFFERS.before(visit),
            limit=PER_PAGE + 1,
        )
        names = await board_data.names(conn)
    shown, following = _OFFERS.page(rows, lambda one: one.id)
    states = [one.value for one in offers.Status]
    return visit.render("market/offers.html", form=form, rows=shown, following=following, names=names, states=states)


@page("GET", "/market/offers/new", role=Role.DISPATCHER)
async def new_offer(visit: Visit) -> web.StreamResponse:
    """Show the form for an offer that nobody asked for."""
    return await _edit(visit, visit.filters())


async def _edit(visit: Visit, form: Form) -> web.Response:
    async with visit.desk.db.read() as conn:
        names = await board_data.names(conn)
        areas = await site.areas(conn)
    return visit.render("market/offer_new.html", form=with_defaults(form, minutes="60"), names=names, areas=areas)


@page("POST", "/market/offers", role=Role.DISPATCHER)
async def make_offer(visit: Visit) -> web.StreamResponse:
    """Make an offer, if the pool has so much left."""
    form = await visit.form()
    with form.catching():
        wish = form.read(NewOffer)
        offer_id = await _make(visit, wish)
        return visit.redirect(f"/market/offers/{offer_id}", notice="The offer is out.")
    return await _edit(visit, form)


async def _make(visit: Visit, wish: NewOffer) -> str:
    async with visit.desk.db.read() as conn:
        contract = await contracts.get(conn, wish.contract_id)
        rules = await programmes.get(conn, contract.programme_id)
        start, expires_at = _utc("start", wish.start, rules), _utc("expires", wish.expires, rules)
        option = _option(wish, start, contract)
        interval = option.intervals[0]
        contracts.check(
            contract,
            Wanted(wish.direction, start, interval.end, interval.power_w, wish.area),
            rules.parameters,
            visit.now,
        )
        scope = Scope(rules, wish.direction, Grid.over(option.intervals), wish.area)
        basis = await supply.read(conn, scope, visit.now, stale_after_s=visit.desk.stale_after_s)
    possible = int((await asyncio.to_thread(supply.possible_w, basis)).min(initial=MAX_POWER_W))
    if possible < interval.power_w:
        raise InvalidError(f"power: {possible / 1000:g} kW at most can be promised in that time.")
    async with visit.desk.db.write() as tx:
        await supply.lock(tx, rules.id, visit.now)
        if not await supply.holds(tx.conn, basis, visit.now):
            raise ConflictError("Something else was sold in the same time just now; send it again.")
        return await offers.create(tx, contract, wish.direction, [option], expires_at, visit.now, who=visit.who)


def _utc(name: str, when: datetime, rules: Programme) -> datetime:
    try:
        return in_utc(when, zone_of(rules))
    except InvalidError as error:
        raise InvalidError(f"{name}: {error}") from error


def _option(wish: NewOffer, start: datetime, contract: Contract) -> Option:
    """Return the one option; its price is what all of it costs."""
    interval = PowerInterval(start, wish.minutes * 60, watts(wish.power))
    check_shape([WishInterval(interval.start, interval.duration_s, 0, interval.power_w)])
    per_kwh = money.amount(wish.per_kwh, "per_kwh")
    energy_wh = Decimal(interval.power_w * interval.duration_s) / 3600
    price = money.rounded(money.of_energy(energy_wh, per_kwh), contract.price.currency)
    unit = money.unit_price(per_kwh)
    return Option(offers.FULL, (interval,), unit, price, contract.price.currency, wish.min_factor, CONFIDENCE)


@page("GET", "/market/offers/{offer_id}", role=Role.VIEWER)
async def show_offer(visit: Visit, offer_id: str) -> web.StreamResponse:
    """Show an offer with its options."""
    return await _page(visit, offer_id, Form())


async def _page(visit: Visit, offer_id: str, form: Form) -> web.Response:
    async with visit.desk.db.read() as conn:
        one = await offers.get(conn, offer_id)
        contract = await contracts.get(conn, one.contract_id)
        rules = await programmes.get(conn, contract.programme_id)
        names = await board_data.names(conn)
    return visit.render(
        "market/offer.html", zone=zone_of(rules), form=form, one=one, contract=contract, programme=rules, names=names
    )


@page("POST", "/market/offers/{offer_id}/revocation", role=Role.DISPATCHER)
async def revoke_offer(visit: Visit, offer_id: str) -> web.StreamResponse:
    """Take an open offer back."""
    form = await visit.form()
    with form.catching():
        async with visit.desk.db.write() as tx:
            await offers.revoke(tx, offer_id, visit.now, who=visit.who)
        return visit.redirect(f"/market/offers/{offer_id}", notice="The offer is taken back; the BRP is told.")
    return await _page(visit, offer_id, form)


PAGES = (list_offers, new_offer, make_offer, show_offer, revoke_offer)
