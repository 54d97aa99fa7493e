"""A new dispatch, step by step: nothing typed is lost, nothing is ordered before it is confirmed."""

from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from lxml import etree
from pydantic import ValidationError

from aggregator.console.event_fields import TargetFields
from openadr.v20b.names import NAMESPACES
from support import market_homes


def first_steps(market, **more):
    start = market.local(market.now + timedelta(hours=1))
    return {"programme_id": market.homes.programme.id, "kind": "target", "start": start, "minutes": "60"} | more


async def test_from_the_programme_to_the_result(market) -> None:
    person = market.dispatcher
    page = await person.get("/dispatches/new")
    assert "Evening peak" in page.main
    page = await person.get(
        "/dispatches/new/window?" + urlencode({"programme_id": market.homes.programme.id, "kind": "target"})
    )
    assert page.value("start") == market.local(market.now + timedelta(minutes=15))
    page = await person.get("/dispatches/new/order?" + urlencode(first_steps(market)))
    assert page.hidden("start") == [first_steps(market)["start"]]
    since = await market.last()
    address = await market.draft("4")
    assert await market.actions(since) == [("dispatcher", "draft dispatch")]
    assert not await market.world.rows("event")
    page = await person.get(address)
    assert page.stat("Target") == "4 kW"
    assert "From nameplate to offer" in page.main
    ordered = page.texts("//section[@id='reasons']//td[@data-label='Power ordered']")
    in_w = {"W": 1, "kW": 1000}
    total_w = sum(float(text.split()[0]) * in_w[text.split()[1]] for text in ordered if text != "\N{EN DASH}")
    (said,) = page.texts("//div[dt='Called']/dd[2]")
    assert total_w == pytest.approx(float(said.split()[0]) * in_w[said.split()[1]], abs=60), "the column adds up"
    reasons = page.texts("//section[@id='reasons']//tbody/tr/td[2]")
    assert len(reasons) == len(market.homes.ven_ids)
    only = await person.get(address + "?reason=called")
    assert set(only.texts("//section[@id='reasons']//tbody/tr/td[2]")) == {"called"}
    page = await person.get(address + "/messages")
    message = etree.fromstring(page.root.xpath("//pre")[0].text)
    values = message.xpath("//ei:signalPayload//ei:value/text()", namespaces=NAMESPACES)
    assert values
    assert all(float(one) < 0 for one in values)
    assert not await market.world.rows("dispatch"), "showing a message orders nothing"
    answer = await person.post(address + "/confirmation")
    page = await person.follow(answer)
    assert "Ordered" in page.texts("//div[contains(@class, 'notice')]")[0]
    dispatch_id = answer.headers["Location"].rpartition("/")[2]
    called = [row.ven_id for row in await market.world.rows("event")]
    assert page.stat("Called") == str(len(called)) == only.stat("Called")
    await _run(market, dispatch_id, called)
    page = await person.get(f"/dispatches/{dispatch_id}")
    assert page.hrefs(f"/dispatches/{dispatch_id}/result")
    assert "There is no result yet" in (await person.get(f"/dispatches/{dispatch_id}/result")).main
    since = await market.last()
    page = await person.follow(await person.post(f"/dispatches/{dispatch_id}/result"))
    assert await market.actions(since) == [("dispatcher", "evaluate dispatch")]
    assert page.stat("Opt-out") == "0 %"
    assert float(page.stat("Performance").split()[0]) > 90
    page = await person.follow(await person.post(f"/dispatches/{dispatch_id}/result"))
    assert "Nothing has changed" in page.main


async def _run(market, dispatch_id: str, called: list[str]) -> None:
    """Let the homes answer, save what they were asked to, and the time pass."""
    start = market.now + timedelta(hours=1)
    rows = {row.ven_id: row.own_values["power"] for row in await market.world.rows("event")}
    await market_homes.answer(market.world.db, dispatch_id, market.now + timedelta(seconds=20))
    for ven_id in market.homes.ven_ids:
        less = -rows[ven_id][0] if ven_id in rows else 0.0
        await market_homes.meter(market.world.db, ven_id, market.now, start, market.now)
        end = start + timedelta(hours=1)
        await market_homes.meter(market.world.db, ven_id, start, end, market.now, less_w=less)
    await market.at(start + timedelta(hours=2), turns=0)


async def test_a_fault_stands_beside_its_field_and_nothing_typed_is_lost(market) -> None:
    person = market.dispatcher
    page = await person.get("/dispatches/new/order?" + urlencode(first_steps(market, start="2020-01-01T10:00")), 422)
    assert "passed" in page.fault("start")
    assert page.value("minutes") == "60"
    assert page.hidden("programme_id") == [market.homes.programme.id]
    page = await person.get("/dispatches/new/order?" + urlencode(first_steps(market, minutes="soon")), 422)
    assert page.fault("minutes")
    fields = first_steps(market) | {"direction": "increase", "power": "a lot", "comment": "Thank you", "area": "North"}
    answer = await person.post("/dispatches/new/selection", **fields, group_ids=[market.homes.group_id])
    kept = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert kept["power"] == ["a lot"]
    page = await person.follow(answer, 422)
    assert "number" in page.fault("power")
    assert page.value("power") == "a lot"
    assert page.value("direction") == "increase"
    assert page.value("area") == "North"
    assert page.value("comment") == "Thank you"
    assert page.root.xpath("//input[@name='group_ids[]']/@checked")
    assert page.hidden("minutes") == ["60"]
    assert not await market.world.rows("selection")


async def test_an_unknown_programme_leads_to_the_first_step(market) -> None:
    fields = first_steps(market, programme_id="prg_none")
    page = await market.dispatcher.get("/dispatches/new/window?" + urlencode(fields), 422)
    assert "No programme" in page.main


async def test_a_draft_is_confirmed_once_and_only_while_it_is_fresh(market) -> None:
    address = await market.draft()
    await market.dispatcher.post(address + "/confirmation")
    page = await market.dispatcher.follow(await market.dispatcher.post(address + "/confirmation"))
    assert "confirmed already" in page.texts("//div[contains(@class, 'notice bad')]")[0]
    assert len(await market.world.rows("dispatch")) == 1
    old = await market.draft("1", starts_in=timedelta(hours=4))
    await market.at(market.now + timedelta(minutes=31), turns=0)
    page = await market.dispatcher.follow(await market.dispatcher.post(old + "/confirmation"))
    assert "too old" in page.main
    assert len(await market.world.rows("dispatch")) == 1


async def test_who_cannot_be_called_any_more_stops_a_confirmation(market) -> None:
    address, other = await market.draft("6"), await market.draft("6")
    await market.dispatcher.post(address + "/confirmation")
    page = await market.dispatcher.follow(await market.dispatcher.post(other + "/confirmation"))
    assert "cannot be called any more" in page.texts("//div[contains(@class, 'notice bad')]")[0]
    assert len(await market.world.rows("dispatch")) == 1


async def test_more_than_the_pool_has_is_said(market) -> None:
    page = await market.dispatcher.get(await market.draft("500"))
    assert "fall short" in page.main


async def test_a_plain_signal_to_named_homes(market) -> None:
    person = market.dispatcher
    fields = first_steps(market, kind="signal", signal="SIMPLE/level", values="1 2", vens="home 01\nno such home")
    page = await person.get("/dispatches/new/preview?" + urlencode(fields), 422)
    assert "no such home" in page.fault("vens")
    assert page.value("values") == "1 2"
    fields["vens"] = "home 01\nhome 02"
    page = await person.get("/dispatches/new/preview?" + urlencode(fields | {"values": "7"}), 422)
    assert "0, 1, 2 or 3" in page.main
    page = await person.get("/dispatches/new/preview?" + urlencode(fields))
    assert page.stat("Recipients") == "2"
    assert "<ei:signalName>SIMPLE</ei:signalName>" in page.root.xpath("//pre")[0].text
    since = await market.last()
    page = await person.follow(await person.post("/dispatches/new", **fields))
    assert await market.actions(since) == [("dispatcher", "dispatch")]
    assert page.stat("Called") == "2"
    assert len(await market.world.rows("event")) == 2


async def test_a_price_goes_to_a_group_or_to_everybody(market) -> None:
    fields = first_steps(market, kind="signal", signal="ELECTRICITY_PRICE/price", values="0,31", currency="EUR")
    grouped = [*fields.items(), ("group_ids[]", market.homes.group_id)]
    page = await market.dispatcher.get("/dispatches/new/preview?" + urlencode(grouped))
    assert page.stat("Recipients") == "6"
    assert "EUR/kWh" in page.main
    page = await market.dispatcher.get("/dispatches/new/preview?" + urlencode(fields))
    assert page.stat("Recipients") == str(len(market.homes.ven_ids))


async def test_the_programmes_rules_bind_a_target(market) -> None:
    fields = first_steps(market, minutes="4000")
    page = await market.dispatcher.get("/dispatches/new/order?" + urlencode(fields), 422)
    assert page.fault("minutes")


async def test_viewers_order_nothing(market) -> None:
    for path in ("/dispatches/new", "/dispatches/new/window", "/dispatches/drafts/drf_x"):
        await market.viewer.get(path, 403)
    await market.viewer.post("/dispatches/new/selection", 403, **first_steps(market))


async def test_what_contradicts_or_is_absurd_is_said_before_it_is_confirmed(market) -> None:
    fields = first_steps(market, kind="signal", signal="LOAD_DISPATCH/delta", vens="home 01")
    page = await market.dispatcher.get("/dispatches/new/preview?" + urlencode(fields | {"values": "0.2"}))
    assert "Order now" in page.main
    await market.dispatcher.post("/dispatches/new", **fields, values="0.2")
    page = await market.dispatcher.get("/dispatches/new/preview?" + urlencode(fields | {"values": "-1500000"}))
    (text,) = page.texts("//div[@role='alert']")
    assert "called to increase in that time" in text
    assert "contradicts it" in text
    assert "is ordered 1,500,000,000 W" in text
    assert "Order anyway" in page.main


def advanced(market, **more):
    """Return the fields of a plain signal to two homes; `a__b` stands for `a.b`."""
    fields = first_steps(market, kind="signal", signal="SIMPLE/level", values="1 2", vens="home 01\nhome 02")
    return fields | {name.replace("__", "."): value for name, value in more.items()}


async def _preview(market, fields, status=200):
    return await market.dispatcher.get("/dispatches/new/preview?" + urlencode(fields, doseq=True), status)


async def test_whom_a_signal_is_for_and_its_baseline_are_in_the_message(market) -> None:
    fields = advanced(
        market,
        target__resource_ids="heater\n\n car ",
        target__group_ids="north",
        target__transports="A>B\nC > D",
        target__service_areas="1,1 2,2 3,1",
        baseline__values="1,5 2",
        baseline__unit="kW",
        baseline__name="Usual",
        baseline__resource_ids="heater",
    ) | {"target.device_classes[]": ["Water_Heater", "EVSE"]}
    page = await _preview(market, fields)
    words = " ".join(page.main.split())
    assert "resourceID heater, resourceID car, groupID north" in words
    assert "endDeviceAsset Water_Heater, endDeviceAsset EVSE" in words
    assert "serviceArea 3 corners, transportInterface A > B, transportInterface C > D" in words
    assert "Usual: 1.5 kW for 30 min, 2 kW for 30 min" in words
    message = etree.fromstring(page.root.xpath("//pre")[0].text)

    def said(path):
        return message.xpath(path, namespaces=NAMESPACES)

    assert said("//ei:eiTarget/ei:resourceID/text()") == ["heater", "car"]
    assert said("//ei:eiTarget/power:endDeviceAsset/power:mrid/text()") == ["Water_Heater", "EVSE"]
    assert said("//ei:eiEventBaseline//ei:value/text()") == ["1.5", "2.0"]
    assert said("//ei:eiEventBaseline/ei:resourceID/text()") == ["heater"]
    await market.dispatcher.post(
        "/dispatches/new", **{name: value for name, value in fields.items() if "[]" not in name}
    )
    (row,) = await market.world.rows("dispatch")
    assert row.event["target"]["resource_ids"] == ["heater", "car"]
    assert row.event["baseline"]["name"] == "Usual"


async def test_a_baseline_may_begin_before_the_event(market) -> None:
    start = market.local(market.now + timedelta(minutes=30))
    fields = advanced(market, baseline__values="1 2 3", baseline__start=start, baseline__minutes="90")
    page = await _preview(market, fields)
    message = etree.fromstring(page.root.xpath("//pre")[0].text)
    begins = message.xpath("//ei:eiEventBaseline/xcal:dtstart//text()", namespaces=NAMESPACES)
    assert "".join(begins).strip() == f"{market.now + timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize(
    ("field", "typed", "why"),
    [
        ("target.resource_ids", "a" * 201, "at most 200"),
        ("target.pnodes", "\n".join("abc"[:1] + str(number) for number in range(101)), "at most 100"),
        ("target.transports", "A>B\nC", "RECEIPT > DELIVERY"),
        ("target.transports", "A>B>C", "RECEIPT > DELIVERY"),
        ("target.service_areas", "1,1 2,2 here", "corners of an area"),
        ("target.service_areas", "1,1 2,2", "at least 3 different corners"),
        ("target.service_locations", "1,1 2,2 nan,3", "latitude from -90 to 90"),
        ("target.service_locations", "1,1 2,2 91,3", "latitude from -90 to 90"),
        ("baseline.values", "a lot", "values such as"),
        ("baseline.values", "1 2 3 4 5 6 7", "can't be divided"),
        ("baseline.minutes", "0", "1 or more"),
        ("baseline.start", "soon", "local time"),
        ("baseline.name", "x" * 81, "at most 80"),
    ],
)
async def test_a_fault_of_what_is_advanced_stands_beside_its_field(market, field, typed, why) -> None:
    fields = advanced(market) | {"baseline.values": "1", field: typed}
    page = await _preview(market, fields, 422)
    assert why in page.fault(field)
    assert page.value(field) == typed
    assert not _is_hidden(page, field)
    assert page.value("values") == "1 2"
    assert not await market.world.rows("dispatch")


async def test_a_baseline_without_values_is_no_baseline(market) -> None:
    page = await _preview(market, advanced(market, baseline__values="", baseline__name="Usual"), 422)
    assert "Enter the baseline's values" in page.fault("baseline.values")
    page = await _preview(market, advanced(market, baseline__values="", baseline__unit="W"))
    assert "eiEventBaseline" not in page.main


def _is_hidden(page, field):
    return bool(page.root.xpath(f"//*[@name='{field}']/ancestor::details[not(@open)]"))


async def test_what_is_advanced_is_out_of_the_way_until_it_is_used(market) -> None:
    async def hidden(**more):
        page = await market.dispatcher.get("/dispatches/new/order?" + urlencode(advanced(market, **more)))
        return [_is_hidden(page, field) for field in ("baseline.values", "target.group_ids", "target.pnodes")]

    assert await hidden(baseline__unit="kW", target__pnodes="") == [True, True, True]
    assert await hidden(baseline__values="1") == [False, False, True]
    assert await hidden(target__pnodes="N1") == [False, False, False]


@pytest.mark.parametrize("field", ["meters", "transports", "service_areas"])
def test_a_field_takes_no_more_than_an_address_can(field) -> None:
    with pytest.raises(ValidationError, match="at most 10000 characters"):
        TargetFields.model_validate({field: "1,1 2,2 3,1\n" * 1000})
