"""Requests, offers, activations, settlements as pages; who may do what; and that every change is in the audit."""

import io
from datetime import timedelta

import pypdf
import pytest

from aggregator.console import SECTION
from aggregator.trade import settlements
from web.pages.page import described

LISTS = (
    "/market",
    "/market/requests",
    "/market/offers",
    "/market/activations",
    "/market/settlements",
    "/market/contracts",
    "/market/brps",
    "/market/webhooks",
    "/market/potential",
    "/tariffs",
)


@pytest.mark.parametrize("path", LISTS)
async def test_every_list_opens_with_and_without_filters(market, path: str) -> None:
    await market.viewer.get(path)
    await market.viewer.get(f"{path}?status=nonsense&state=dead&party_id=nobody&only=disputed")
    whole = ("/market", "/market/potential", "/market/brps")
    await market.viewer.get(f"{path}?cursor=nonsense", 200 if path in whole else 422)


async def test_every_page_is_refused_to_whom_it_is_not_for(market) -> None:
    for handler in SECTION.pages:
        told = described(handler)
        path = told.path
        for name in ("draft_id", "dispatch_id", "ven_id", "request_id", "offer_id", "activation_id", "settlement_id"):
            path = path.replace(f"{{{name}}}", "x_none")
        path = path.replace("{statement_id}", "x_none")
        for name in ("party_id", "client_id", "contract_id", "delivery_id", "tariff_id", "programme_id"):
            path = path.replace(f"{{{name}}}", "x_none")
        assert "{" not in path, path
        before = await market.last()
        for name, person in market.people.items():
            if told.role.value == "viewer" or name in ("admin", told.role.value):
                continue
            if told.method == "GET":
                await person.get(path, 403)
            else:
                await person.post(path, 403)
        if told.method == "POST":
            await market.admin.post(path, 403, csrf="nothing like it")
        assert await market.last() == before


async def test_what_is_not_there_is_404(market) -> None:
    for handler in SECTION.pages:
        told = described(handler)
        if told.method == "GET" and "{" in told.path:
            path = told.path
            for part in [one.partition("}")[0] for one in told.path.split("{")[1:]]:
                path = path.replace(f"{{{part}}}", "x_none")
            await market.admin.get(path, 404)


async def test_a_request_becomes_an_offer_an_activation_a_report_and_a_settlement(market) -> None:
    request_id = await market.request(reason="<script>alert(1)</script>")
    assert (await market.viewer.get("/market")).stat("Open requests") == "1"
    await market.worker.turn()
    page = await market.viewer.get(f"/market/requests/{request_id}")
    assert page.texts("//dl/dd[1]")[0] == "offered"
    (offer,) = page.hrefs("/market/offers/fof_")
    assert "Option full" in (await market.viewer.get(offer)).main
    one = await market.bought()
    page = await market.viewer.get(f"/market/activations/{one.id}")
    assert page.stat("Status") == "notified"
    assert page.hrefs("/dispatches/") == [f"/dispatches/{one.dispatch_id}"] * 2
    page = await market.viewer.get(f"/dispatches/{one.dispatch_id}")
    assert page.hrefs(f"/market/activations/{one.id}")
    await market.viewer.get(f"/dispatches/{one.dispatch_id}/selection")
    await market.at(one.starts_at + timedelta(minutes=5), turns=1)
    assert (await market.viewer.get("/market")).stat("Running") == "1"
    await market.at(one.ends_at + timedelta(seconds=1), turns=1)
    await market.at(one.ends_at + timedelta(hours=1), turns=2)
    page = await market.viewer.get(f"/market/activations/{one.id}")
    assert "There is no report yet" not in page.main
    assert page.texts("//dl[@id='figures']//dt")[:3] == ["Status", "Ordered", "Delivered"]
    assert "by the report below" in page.texts("//dl[@id='figures']")[0], "one figure, not an estimate beside it"
    text = await market.viewer.get(f"/market/activations/{one.id}/report.csv")
    assert text.text.startswith("activation_id,version,direction,method,start,duration_s,ordered_w")
    await market.viewer.get(f"/market/activations/{one.id}?report=99", 404)
    assert not page.hrefs("/market/settlements/stl_"), "no meter said what was delivered: that costs nothing yet"
    await market.at(one.ends_at + timedelta(days=7, seconds=1), turns=1)
    page = await market.viewer.get(f"/market/activations/{one.id}")
    (settled,) = set(page.hrefs("/market/settlements/stl_"))
    assert "Net" in (await market.viewer.get(settled)).main
    async with market.world.tx() as tx:
        words = "We saw <b>less</b>."
        await settlements.dispute(tx, settled.rpartition("/")[2], words, market.now, who="brp")
    assert words in (await market.viewer.get(settled)).main
    assert (await market.viewer.get("/market")).stat("Disputed settlements") == "1"
    assert (await market.viewer.get("/market/settlements?only=disputed")).hrefs(settled)
    page = await market.viewer.get(f"/dispatches/{one.dispatch_id}/result")
    assert page.hrefs(settled)
    await market.viewer.post(f"{settled}/answer", 403, answer="No.")
    await market.dispatcher.post(f"{settled}/answer", 422, answer="")
    await _stated(market, one, words)
    await market.dispatcher.post(f"{settled}/answer", answer="The <i>meters</i> agree.")
    page = await market.viewer.get(settled)
    assert "The <i>meters</i> agree." in page.main
    assert "Answer the dispute" not in page.main
    page = await _stated(market, one, "The <i>meters</i> agree.")
    assert "What differs from version 1" in page.main
    assert "Effect on the net: 0.00" in page.main


async def _stated(market, one, words):
    """Make the statement of an activation's month twice; return its page, which says so."""
    path = f"/market/contracts/{one.contract_id}/statements"
    await market.viewer.post(path, 403, month="2026-01")
    for wrong in ("2026-13", "soon", "2099-01"):
        assert (await market.dispatcher.post(path, 422, month=wrong)).fault("month")
    places = {
        (await market.dispatcher.post(path, month=f"{one.starts_at:%Y-%m}")).headers["Location"] for _ in range(2)
    }
    (place,) = places
    page = await market.viewer.get(place)
    assert words in page.main
    assert (await market.viewer.get(path)).hrefs(place)
    text = (await market.viewer.get(f"{place}/statement.csv")).text
    assert text.count("\r\n") == 1 + 1
    cookie = {"Cookie": f"evenload-session={market.viewer.token}"}
    async with market.viewer.client.get(f"{place}/statement.pdf", headers=cookie) as answer:
        assert (answer.status, answer.content_type) == (200, "application/pdf")
        (first, *_) = pypdf.PdfReader(io.BytesIO(await answer.read())).pages
        assert f"Statement {one.starts_at:%Y-%m}" in first.extract_text()
    return page


async def test_an_activation_is_changed_and_cancelled(market) -> None:
    one = await market.bought()
    since = await market.last()
    path = f"/market/activations/{one.id}"
    page = await market.dispatcher.post(f"{path}/change", 422, number=0, power="999")
    assert "never asks for more" in page.main
    assert page.value("power") == "999"
    await market.dispatcher.post(f"{path}/change", number=0, power="1")
    page = await market.dispatcher.post(f"{path}/change", 422, number=0, power="0.5")
    assert "modification 1" in page.main
    answer = await market.dispatcher.post(f"/dispatches/{one.dispatch_id}/change", power="0.8")
    assert (await market.dispatcher.follow(answer)).stat("Target") == "800 W"
    answer = await market.dispatcher.post(f"{path}/cancellation", reason="by phone")
    page = await market.dispatcher.follow(answer)
    assert page.stat("Status") == "cancelled"
    assert "by phone" in page.main
    done = [action for who, action in await market.actions(since) if who == "dispatcher"]
    assert done.count("modify activation") == 2
    assert "cancel activation" in done
    page = await market.dispatcher.post(f"/dispatches/{one.dispatch_id}/cancellation", 422)
    assert "already" in page.main


async def test_a_home_of_an_activation_is_replaced_by_hand(market) -> None:
    one = await market.bought()
    called = sorted(row.ven_id for row in await market.world.rows("event"))
    await market.dispatcher.post(f"/dispatches/{one.dispatch_id}/replacement", ven_id=called[0])
    assert {row.reason for row in await market.world.rows("intervention")} == {"by an operator"}
    page = await market.viewer.get(f"/market/activations/{one.id}")
    touched = {row.ven_id for row in await market.world.rows("intervention")}
    names = {row.name for row in await market.world.rows("ven") if row.id in touched}
    assert set(page.texts("//ol[@class='timeline']/li//a")) == names
    assert "by an operator" in page.main
    page = await market.viewer.get(f"/dispatches/{one.dispatch_id}")
    assert "1 released since" in page.main


async def test_an_unsolicited_offer_is_made_and_revoked(market) -> None:
    start = market.now + timedelta(hours=2)
    fields = {
        "contract_id": market.homes.contract.id,
        "direction": "reduce",
        "start": market.local(start),
        "minutes": 60,
        "power": "2",
        "per_kwh": "0.30",
        "expires": market.local(market.now + timedelta(hours=1)),
    }
    page = await market.dispatcher.post("/market/offers", 422, **fields | {"power": "900"})
    assert "can be promised" in page.fault("power")
    assert page.value("per_kwh") == "0.30"
    page = await market.dispatcher.post("/market/offers", 422, **fields | {"power": "90000"})
    assert "The contract allows" in page.main
    assert page.value("power") == "90000"
    since = await market.last()
    answer = await market.dispatcher.post("/market/offers", **fields)
    page = await market.dispatcher.follow(answer)
    assert "0.60 EUR" in page.main
    assert await market.actions(since) == [("dispatcher", "offer")]
    path = answer.headers["Location"]
    page = await market.dispatcher.follow(await market.dispatcher.post(f"{path}/revocation"))
    assert page.texts("//dl/dd[1]")[0] == "revoked"
    page = await market.dispatcher.post(f"{path}/revocation", 422)
    assert "too late" in page.main


async def test_the_pool_shows_quantiles_waterfall_and_what_is_stale(market) -> None:
    page = await market.viewer.get("/market/potential?area=North")
    assert page.stat("Stale") == "0"
    assert "From nameplate to offer" in page.main
    assert len(page.root.xpath("//figure[@class='chart']")) == 2
    await market.viewer.get(f"/market/potential?group={market.homes.group_id}")
    await market.viewer.get("/market/potential?programme_id=prg_none", 404)
    await market.at(market.now + timedelta(hours=40), turns=0)
    page = await market.viewer.get("/market/potential")
    assert page.stat("Stale") == str(len(market.homes.ven_ids))
    assert len(page.texts("//section[@id='stale']//tbody/tr")) == len(market.homes.ven_ids)


async def test_the_overview_has_the_market_on_it(market) -> None:
    page = await market.viewer.get("/")
    assert page.stat("Open requests") == "0"
