"""BRPs, programs, contracts, messages; tariffs and their sources: what is typed, what is refused, what is kept."""

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from aggregator.console.tariff_forms import read_prices
from core.errors import InvalidError
from vtn.store.tables import webhook_delivery, webhook_subscription


async def test_a_brp_is_created_and_its_secret_is_shown_once(market) -> None:
    fields = {"name": "Umlaut & Söhne", "email": "desk@brp.example", "client": "main"}
    page = await market.admin.post("/market/brps", 422, **(fields | {"email": "by phone"}), scopes=["flex:read"])
    assert "an e-mail address such as" in page.main
    page = await market.admin.post("/market/brps", 422, **fields, scopes=["everything"])
    assert "everything" in page.main
    assert page.value("name") == "Umlaut & Söhne"
    since = await market.last()
    answer = await market.admin.post("/market/brps", **fields, scopes=["flex:read"])
    page = await market.admin.follow(answer)
    secret = page.texts("//dl[@class='reveal']//code")[1]
    assert secret.startswith("evs_")
    assert secret not in (await market.admin.get(answer.headers["Location"])).text
    assert await market.actions(since) == [("admin", "create brp"), ("admin", "create brp client")]


async def test_programs_get_new_secrets_and_are_shut_out(market) -> None:
    path = f"/market/brps/{market.homes.party_id}"
    (client,) = await market.world.rows("api_client")
    page = await market.admin.post(f"{path}/clients", 422, client="night", certificate="no PEM", scopes=["flex:read"])
    assert "PEM" in page.fault("certificate")
    await market.admin.post(f"{path}/clients", client="night", scopes=["flex:read"])
    page = await market.admin.follow(await market.admin.post(f"/market/clients/{client.id}/secret"))
    assert page.texts("//dl[@class='reveal']//code")[1].startswith("evs_")
    page = await market.admin.follow(await market.admin.post(f"/market/clients/{client.id}/revocation"))
    assert "revoked" in page.main
    await market.admin.post(f"/market/clients/{client.id}/secret", 409)
    assert not (await market.viewer.get(path)).root.xpath("//main//form[@method='post']")


async def test_a_contract_is_made_and_ended(market) -> None:
    fields = {"party_id": market.homes.party_id, "programme_id": market.homes.programme.id, "per_kwh": "0.2"}
    page = await market.admin.get(f"/market/contracts/new?party_id={market.homes.party_id}")
    assert page.value("party_id") == market.homes.party_id
    page = await market.admin.post("/market/contracts", 422, **fields | {"per_kwh": "cheap"}, directions=["reduce"])
    assert page.fault("per_kwh")
    page = await market.admin.post("/market/contracts", 422, **fields)
    assert "directions" in page.main
    since = await market.last()
    answer = await market.admin.post(
        "/market/contracts", **fields, max_power="1.5", directions=["reduce"], areas=["North"], direct_orders="true"
    )
    page = await market.admin.follow(answer)
    assert "Maximum power1.5 kW" in page.main
    path = answer.headers["Location"]
    page = await market.admin.follow(await market.admin.post(f"{path}/end"))
    assert "ended" in page.main
    page = await market.admin.post(f"{path}/end", 422)
    assert "ended already" in page.main
    assert await market.actions(since) == [("admin", "create contract"), ("admin", "end contract")]
    await market.viewer.get(f"{path}/nominations?day=2026-01-31")
    page = await market.viewer.get(f"{path}/nominations?day=never", 422)
    assert "no day" in page.main


async def test_a_message_that_was_given_up_is_sent_again(market) -> None:
    now = market.now
    async with market.world.tx() as tx:
        row = {"id": "whs_1", "party_id": market.homes.party_id, "url": "https://brp.example", "events": []}
        await tx.conn.execute(insert(webhook_subscription).values(**row, secret="x", created_at=now))
        sent = {"id": "whd_1", "subscription_id": "whs_1", "event": "offer.created", "payload": {}, "state": "dead"}
        await tx.conn.execute(
            insert(webhook_delivery).values(**sent, tries=11, due_at=now, last_error="<i>no</i>", created_at=now)
        )
    assert (await market.viewer.get("/market")).stat("Undelivered messages") == "1"
    page = await market.dispatcher.get("/market/webhooks?state=dead")
    assert "<i>no</i>" in page.main
    page = await market.dispatcher.follow(await market.dispatcher.post("/market/webhooks/whd_1/replay"))
    assert "pending" in page.main
    await market.dispatcher.post("/market/webhooks/whd_1/replay", 409)
    assert ("dispatcher", "replay webhook") in await market.actions(0)


# -- tariffs


async def test_a_tariff_gets_versions_out_of_pasted_lines(market) -> None:
    page = await market.admin.post("/tariffs", 422, kind="network", name="Grid", currency="EURO")
    assert page.fault("currency")
    answer = await market.admin.post("/tariffs", kind="network", name="Grid", currency="EUR", vat_included="true")
    path = answer.headers["Location"]
    since = await market.last()
    day = market.now.replace(hour=0)
    lines = "\n".join(f"{(day + timedelta(hours=n)).isoformat()};PT1H;0,{20 + n}" for n in range(24))
    page = await market.admin.post(f"{path}/prices", 422, version=0, prices=f"{lines}\n{day.isoformat()};PT1H;dear")
    assert "dear" in page.fault("prices")
    assert page.value("prices").endswith("dear")
    page = await market.admin.follow(
        await market.admin.post(f"{path}/prices", version=0, prices=f"start;end;price\n{lines}")
    )
    assert page.stat("Price now") == "0.32 EUR"
    assert page.stat("Version") == "1"
    assert await market.actions(since) == [("admin", "put prices")]
    page = await market.admin.post(f"{path}/prices", 422, version=0, prices=lines.replace("0,2", "0,3"))
    assert "read it again" in page.main
    patch = f"{(day + timedelta(hours=12)).isoformat()},PT1H,-0.05"
    page = await market.admin.follow(await market.admin.post(f"{path}/prices", version=1, prices=patch, extend="true"))
    assert page.stat("Price now") == "-0.05 EUR"
    page = await market.viewer.get(f"{path}?version=1")
    assert page.stat("Price now") == "0.32 EUR"
    assert "old version" in page.main
    await market.viewer.get(f"{path}?version=7", 404)
    page = await market.admin.follow(await market.admin.post(f"{path}/retirement"))
    assert "Retired" in page.main
    assert not page.root.xpath("//textarea[@name='prices']")


async def test_a_source_is_set_asked_and_removed(market) -> None:
    path = f"/tariffs/{market.homes.tariff_id}"
    good = {"url": "https://prices.example/{today}?key=hidden", "every": "PT15M", "start": "/at", "value": "/price"}
    page = await market.admin.post(f"{path}/source", 422, **good | {"headers": "no colon"})
    assert "one header per line" in page.fault("headers")
    page = await market.admin.post(f"{path}/source", 422, **good | {"every": "PT1S"})
    assert "31 days" in page.fault("every")
    since = await market.last()
    page = await market.admin.follow(
        await market.admin.post(f"{path}/source", **good, headers="X-Key: EVENLOAD_TARIFF_KEY")
    )
    assert page.value("url") == good["url"]
    seen = await market.viewer.get(path)
    assert "prices.example" in seen.main
    assert "key=hidden" not in seen.text, "an address may hold a key"
    await market.dispatcher.post(f"{path}/source/request")
    await market.dispatcher.post(f"{path}/source/removal", 403)
    await market.admin.post(f"{path}/source/removal")
    assert [action for _, action in await market.actions(since)] == [
        "tariff source",
        "ask tariff source",
        "remove tariff source",
    ]
    await market.admin.post(f"{path}/source/removal", 404)


async def test_prices_to_vens_are_switched(market) -> None:
    since = await market.last()
    page = await market.admin.follow(
        await market.admin.post(f"/tariffs/signals/{market.homes.programme.id}", on="false")
    )
    assert "off" in page.texts("//section[@aria-labelledby='signals-heading']//tbody/tr/td[1]")
    await market.admin.post(f"/tariffs/signals/{market.homes.programme.id}", on="true")
    assert await market.actions(since) == [("admin", "price signals")] * 2


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00Z,2026-01-31T13:00Z,0.25\n2026-01-31T13:00Z,2026-01-31T14:00Z,0.3",
        "2026-01-31T12:00Z;PT1H;0,25\n\n2026-01-31T13:00Z;PT1H;0,3\n",
        "von\tbis\tPreis\n2026-01-31 13:00\t2026-01-31 14:00\t0,25\n2026-01-31 14:00\t2026-01-31 15:00\t0,3",
        "2026-01-31T12:00Z,0.25\n2026-01-31T13:00Z,0.3",
    ],
)
def test_pasted_lines_are_understood(text: str) -> None:
    first, second = read_prices(text, BERLIN)
    assert first.start.astimezone(UTC).isoformat() == "2026-01-31T12:00:00+00:00"
    assert (first.end, second.end) == (second.start, first.end + timedelta(hours=1))
    assert (first.per_kwh, second.per_kwh) == ("0.25", "0.3")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "No line"),
        ("prices please", "No line"),
        ("2026-01-31T12:00Z,0.25", "needs an end"),
        ("2026-01-31T12:00Z,PT1H,0.2,9", "enter start"),
        ("2026-13-31T12:00Z,PT1H,0.2", "is not a time"),
        ("2026-01-31T12:00Z,P1X,0.2", "not a duration"),
        ("2026-03-29T02:30,PT1H,0.2", "doesn't exist"),
    ],
)
def test_other_lines_are_refused_with_their_number(text: str, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        read_prices(text, BERLIN)
