"""Offers: what stands open, taking one back, and offering something that nobody asked for."""

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from aiohttp import web
from pydantic import Field

from aggregator import money
from aggregator.brp_api.values import PositiveAmount
from aggregator.console.shared import (
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
from aggregator.intervals import PowerInterval
from aggregator.keys import SALES
from aggregator.trade import contracts, offers, trade_view
from aggregator.trade.sales import OverPotentialError, UnaskedOffer
from core.errors import ForbiddenError, InvalidError
from vtn.console import ConsoleRequest, Form, page
from vtn.services import programme as programmes
from vtn.services import site
from web.auth import Role
from web.model import Model
from web.pages.translations import gettext as _

_OFFERS = listing("offers")


class NewOffer(Model):
    """An offer that nobody asked for; times are local to the contract's programme."""

    contract_id: Id
    direction: Literal["reduce", "increase"]
    start: LocalTime
    minutes: Annotated[int, Field(ge=1, le=48 * 60)]
    power: Kilowatts
    per_kwh: PositiveAmount | None = None
    min_factor: Annotated[float, Field(ge=0.01, le=1)] = 1.0
    expires: LocalTime
    area: Words | None = None


@page("GET", "/market/offers", role=Role.VIEWER)
async def list_offers(request: ConsoleRequest) -> web.StreamResponse:
    """Show offers, newest first."""
    form = request.filters()
    status = form.value("status")
    wanted = offers.OfferStatus(status) if status in {one.value for one in offers.OfferStatus} else None
    async with request.desk.db.read() as conn:
        rows = await offers.listed(
            conn,
            party_id=form.value("party_id") or None,
            status=wanted,
            before=_OFFERS.before(request),
            limit=PER_PAGE + 1,
        )
        names = await trade_view.names(conn)
    shown, following = _OFFERS.page(rows, lambda row: row.id)
    states = [one.value for one in offers.OfferStatus]
    return request.render("market/offers.html", form=form, rows=shown, following=following, names=names, states=states)


@page("GET", "/market/offers/new", role=Role.DISPATCHER)
async def new_offer(request: ConsoleRequest) -> web.StreamResponse:
    """Show the form for an offer that nobody asked for."""
    return await _edit(request, request.filters())


async def _edit(request: ConsoleRequest, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        names = await trade_view.names(conn)
        areas = await site.areas(conn)
    return request.render("market/offer_new.html", form=with_defaults(form, minutes="60"), names=names, areas=areas)


@page("POST", "/market/offers", role=Role.DISPATCHER)
async def make_offer(request: ConsoleRequest) -> web.StreamResponse:
    """Make an offer, if the pool has so much left."""
    form = await request.form()
    with form.catching():
        unasked = await _read(request, form.read(NewOffer))
        try:
            made = await request.service(SALES).offer(unasked, who=request.who)
        except OverPotentialError as error:
            possible = f"{min(error.possible_w) / 1000:g}"
            form.fail(_("At most %(power)s kW can be promised in that time.", power=possible), "power")
        except ForbiddenError as error:  # the contract forbids it, not the person's role: the form can be mended
            form.fail(error)
        else:
            return request.redirect(f"/market/offers/{made.id}", notice=_("Offer sent."))
    return await _edit(request, form)


async def _read(request: ConsoleRequest, new: NewOffer) -> UnaskedOffer:
    async with request.desk.db.read() as conn:
        contract = await contracts.get(conn, new.contract_id)
        zone = zone_of(await programmes.get(conn, contract.programme_id))
    return UnaskedOffer(
        contract.id,
        new.direction,
        (PowerInterval(_utc("start", new.start, zone), new.minutes * 60, watts(new.power)),),
        _utc("expires", new.expires, zone),
        new.area,
        None if new.per_kwh is None else money.amount(new.per_kwh, "per_kwh"),
        new.min_factor,
    )


def _utc(name: str, when: datetime, zone: ZoneInfo) -> datetime:
    try:
        return in_utc(when, zone)
    except InvalidError as error:
        raise InvalidError(str(error), field=name) from error


@page("GET", "/market/offers/{offer_id}", role=Role.VIEWER)
async def show_offer(request: ConsoleRequest, offer_id: str) -> web.StreamResponse:
    """Show an offer with its options."""
    return await _page(request, offer_id, Form())


async def _page(request: ConsoleRequest, offer_id: str, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        one = await offers.get(conn, offer_id)
        contract = await contracts.get(conn, one.contract_id)
        rules = await programmes.get(conn, contract.programme_id)
        names = await trade_view.names(conn)
    return request.render(
        "market/offer.html", zone=zone_of(rules), form=form, one=one, contract=contract, programme=rules, names=names
    )


@page("POST", "/market/offers/{offer_id}/revocation", role=Role.DISPATCHER)
async def revoke_offer(request: ConsoleRequest, offer_id: str) -> web.StreamResponse:
    """Take an open offer back."""
    form = await request.form()
    with form.catching():
        async with request.desk.db.write() as tx:
            await offers.revoke(tx, offer_id, request.now, who=request.who)
        return request.redirect(f"/market/offers/{offer_id}", notice=_("Offer revoked. The BRP is notified."))
    return await _page(request, offer_id, form)


PAGES = (list_offers, new_offer, make_offer, show_offer, revoke_offer)
