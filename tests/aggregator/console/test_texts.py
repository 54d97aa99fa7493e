"""Every text of the market's pages goes through gettext: in a language of marks, nothing of ours is without them."""

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from aggregator.console import SECTION
from aggregator.console.words import WORDS as MARKET_WORDS
from aggregator.flexibility.fleet import Reason
from aggregator.flexibility.pool import STEPS
from aggregator.scopes import SCOPES
from aggregator.tariff.tariffs import Kind, Source
from aggregator.trade import activations, offers, requests, settlements
from core.direction import Direction
from core.points import Quantity
from metrics.gaming import Flag
from metrics.method import AdjustmentStatus, Verdict
from openadr.model.event import EventStatus, ResponseRequired
from openadr.model.opt import REASONS, OptType
from openadr.model.target import DEVICE_CLASSES
from support import market_homes
from support.texts import ROOT, TAG, data_of, pseudo_catalogue, unmarked, unmarked_in
from vtn.console import Section, all_pages
from vtn.console.words import WORDS as VTN_WORDS
from vtn.services import outbox
from vtn.services.fleet import Presence
from web.auth import Role
from web.pages.page import described

SPEAKS = {"Accept-Language": TAG}
WORDS = VTN_WORDS | MARKET_WORDS
FILES = {
    "/dispatches/{dispatch_id}/stream",
    "/dispatches/{dispatch_id}/result.json",
    "/dispatches/{dispatch_id}/result.csv",
    "/dispatches/{dispatch_id}/result/vens/{ven_id}/report.pdf",
    "/programmes/{programme_id}/season.csv",
    "/programmes/{programme_id}/season/vens.csv",
    "/market/activations/{activation_id}/report.csv",
    "/market/statements/{statement_id}/statement.csv",
    "/market/statements/{statement_id}/statement.pdf",
}
TEMPLATES = sorted((ROOT / "aggregator/console/templates").rglob("*.html"))


@pytest.fixture(scope="session")
def catalogues(tmp_path_factory):
    return pseudo_catalogue(tmp_path_factory.mktemp("catalogues"))


@pytest.fixture
def sections(catalogues):
    return (SECTION, Section("marks", pages=(), translations=catalogues))


def _wizard(market):
    programme, start = market.homes.programme.id, market.local(market.now + timedelta(hours=2))
    first = {"programme_id": programme, "kind": "target"}
    target = first | {"start": start, "minutes": "60"}
    signal = target | {"kind": "signal"}
    shown = signal | {"signal": "SIMPLE/level", "values": "2", "vens": "home 01"}
    advanced = shown | {"target.pnodes": "home 01", "target.service_areas": "1,1 2,2 3,1", "baseline.values": "2"}
    return [
        "/dispatches/new",
        f"/dispatches/new/window?{urlencode(first)}",
        f"/dispatches/new/order?{urlencode(target)}",
        f"/dispatches/new/order?{urlencode(signal)}",
        f"/dispatches/new/order?{urlencode(target | {'start': '2026-13-01T10:00', 'minutes': 'x'})}",
        f"/dispatches/new/preview?{urlencode(shown)}",
        f"/dispatches/new/preview?{urlencode(shown | {'values': 'much'})}",
        f"/dispatches/new/order?{urlencode(advanced)}",
        f"/dispatches/new/preview?{urlencode(advanced)}",
    ]


def _places(market, one, draft, ven_id, request_id):
    dispatch, contract = f"/dispatches/{one.dispatch_id}", f"/market/contracts/{market.homes.contract.id}"
    return [
        *_wizard(market), draft, f"{draft}/messages", dispatch, f"{dispatch}/selection", f"{dispatch}/messages",
        f"{dispatch}/result", f"/programmes/{market.homes.programme.id}/season",
        "/", "/dispatches", "/market", "/market/potential", "/market/requests",
        f"/market/requests/{request_id}", "/market/offers", "/market/offers/new", f"/market/offers/{one.offer_id}",
        "/market/activations", f"/market/activations/{one.id}", "/market/settlements",
        "/market/settlements?only=disputed", "/market/contracts", "/market/contracts/new", contract,
        f"{contract}/nominations", "/market/brps", "/market/brps/new", f"/market/brps/{market.homes.party_id}",
        "/market/webhooks", "/tariffs", "/tariffs/new", f"/tariffs/{market.homes.tariff_id}",
    ]  # fmt: skip


async def _walk(market, places):
    """Return what pages say outside the marks, to somebody who may do everything and to a viewer."""
    data = await data_of(market.world) | {"vtn"} | DEVICE_CLASSES
    found = set()
    for path in places:
        page = await market.admin.get(path, 422 if "values=much" in path or "2026-13-01" in path else 200, **SPEAKS)
        assert page.root.get("lang") == page.headers["Content-Language"] == TAG
        found |= {f"{path} {one}" for one in unmarked(page.text, data, WORDS)}
    return sorted(found)


async def test_every_page_speaks_the_language_that_is_asked_for(market):
    one = await market.bought()
    await market_homes.answer(market.world.db, one.dispatch_id, market.now)
    request_id = (await market.world.rows("flexibility_request"))[0].id
    ven_id = min(row.ven_id for row in await market.world.rows("event"))
    places = _places(market, one, await market.draft("2", starts_in=timedelta(hours=3)), ven_id, request_id)
    assert await _walk(market, places) == []
    await market.dispatcher.post("/tariffs/signals/" + market.homes.programme.id, 403)
    await market.admin.post("/tariffs/signals/" + market.homes.programme.id, on="true")
    market.admin.notice = None  # said in English: the form was sent so
    await market.at(one.starts_at + timedelta(minutes=20))
    assert await _walk(market, places[11:]) == []

    await market.at(one.ends_at + timedelta(hours=1), turns=2)
    await market.dispatcher.post(f"/dispatches/{one.dispatch_id}/result")
    for home in market.homes.ven_ids:
        await market_homes.meter(market.world.db, home, one.starts_at, one.ends_at, market.now, less_w=500.0)
    await market.dispatcher.post(f"/dispatches/{one.dispatch_id}/result")
    await market.at(one.ends_at + timedelta(days=7, seconds=1), turns=2)
    settled = max((row for row in await market.world.rows("settlement")), key=lambda row: row.version).id
    async with market.world.tx() as tx:
        await settlements.dispute(tx, settled, "We saw less.", market.now, who="brp")
    stated = f"/market/contracts/{one.contract_id}/statements"
    page = await market.dispatcher.post(stated, month=f"{one.starts_at:%Y-%m}")
    market.dispatcher.notice = None
    result = f"/dispatches/{one.dispatch_id}/result"
    places = [
        *places[11:],
        stated,
        page.headers["Location"],
        f"{result}/vens/{ven_id}",
        f"{result}?version=1",
        f"/market/settlements/{settled}",
    ]
    assert await _walk(market, places) == []
    visited = [path.partition("?")[0] for path in (*_wizard(market), *places, "/dispatches/drafts/x/messages")]
    visited += ["/dispatches/drafts/x", *(f"/dispatches/{one.dispatch_id}/{tab}" for tab in ("selection", "messages"))]
    missed = {
        told.path
        for told in all_pages((SECTION,))
        if told.method == "GET"
        and told.path in {described(handler).path for handler in SECTION.pages}
        and not any(re.fullmatch(re.sub(r"\{[^/]+\}", "[^/]+", told.path), path) for path in visited)
    }
    assert missed == FILES


async def test_what_is_wrong_and_what_was_done_is_said_in_the_language(market):
    sent = {"programme_id": market.homes.programme.id, "kind": "target", "start": "soon", "minutes": "0"}
    page = await market.dispatcher.get(f"/dispatches/new/order?{urlencode(sent)}", 422, **SPEAKS)
    assert "⟦Enter a local time such as 2026-01-31 17:30.⟧" in page.main
    assert "⟦Enter 1 or more.⟧" in page.main


@pytest.mark.parametrize(
    "values",
    [Direction, Presence, EventStatus, ResponseRequired, OptType, Role.__members__.values(), outbox.State,
     outbox.Intent, Quantity, requests.RequestStatus, offers.OfferStatus, activations.ActivationStatus, Reason, STEPS,
     Verdict, AdjustmentStatus, Flag, Kind, Source, REASONS],
)  # fmt: skip
def test_every_value_that_a_page_shows_has_a_word(values):
    assert {str(value) for value in values} - set(WORDS) == set()


def test_every_scope_is_explained():
    assert all(text.endswith(".") for text in SCOPES.values())


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_text_outside_of_gettext(template):
    assert unmarked_in(template) == []
