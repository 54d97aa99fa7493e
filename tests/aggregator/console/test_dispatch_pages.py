"""A dispatch as it runs and when it is over: figures, interventions, messages, results."""

import asyncio
import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from core.spans import Duration
from openadr.model.opt import OptType
from support import market_homes
from vtn.api.signals import BaselineIn, IntervalIn, SignalIn
from vtn.api.targets import EventTarget
from vtn.services import dispatch, partial_power, programme, provisioning, weather
from vtn.services.dispatch import Order
from vtn.services.partial_power import PartialPower
from vtn.services.weather import TemperatureRow
from vtn.store.tables import opt


async def ordered_and_answered(market, **more):
    dispatch_id = await market.ordered(**more)
    called = sorted(row.ven_id for row in await market.world.rows("event"))
    await market_homes.answer(
        market.world.db, dispatch_id, market.now + timedelta(seconds=30), out=called[:1], silent=called[1:2]
    )
    return dispatch_id, called


async def metered(market, called: list[str], minutes: int) -> None:
    """Let an hour before the start and some minutes after it be measured."""
    start = market.now + timedelta(hours=1)
    rows = {row.ven_id: -row.own_values["power"][0] for row in await market.world.rows("event")}
    for ven_id in market.homes.ven_ids:
        await market_homes.meter(market.world.db, ven_id, market.now, start, market.now, step_s=60)
        less = rows[ven_id] if ven_id in called[1:] else 0.0
        end = start + timedelta(minutes=minutes)
        await market_homes.meter(market.world.db, ven_id, start, end, market.now, less_w=less, step_s=60)
    await market.at(start + timedelta(minutes=minutes, seconds=5), turns=0)


async def test_live_figures_count_answers_and_delivery(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    await metered(market, called, 20)
    page = await market.viewer.get(f"/dispatches/{dispatch_id}")
    assert page.stat("Target") == "4 kW"
    assert page.stat("Opted out") == page.stat("No answer") == "1"
    assert page.stat("Opted in") == str(len(called) - 2)
    assert float(page.stat("Delivered").split()[0]) > 3
    assert "30 s" in page.main
    assert "opt-out of 1 VEN" in page.main
    chart = json.loads(page.root.xpath("//script[@data-spec='live']")[0].text)
    assert {row["s"] for row in chart["datasets"]["lines"]} == {"target", "baseline (estimate)", "actual"}
    assert not page.root.xpath("//form[contains(@action, 'cancellation')]"), "a viewer is offered nothing to do"
    only = await market.viewer.get(f"/dispatches/{dispatch_id}?state=opted+out")
    assert only.texts("//div[@id='live-rows']//tbody/tr/td[1]") == ["opted out"]


async def test_the_stream_sends_figures_rows_and_chart(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    await metered(market, called, 5)
    headers = market.viewer._cookies() | {"Accept": "text/event-stream"}
    async with asyncio.timeout(20), market.client.get(f"/dispatches/{dispatch_id}/stream", headers=headers) as answer:
        assert answer.status == 200
        text = ""
        while "data: " not in text or not text.endswith("\n\n"):
            text += (await answer.content.readany()).decode()
    news = json.loads(next(line for line in text.splitlines() if line.startswith("data: "))[6:])
    assert {"live-figures", "live-rows", "live-timeline"} == set(news["html"])
    assert news["charts"]["live"]["lines"]
    assert "<script>" not in news["html"]["live-rows"]


async def test_a_finished_stream_says_so(market) -> None:
    dispatch_id = await market.ordered()
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/cancellation")
    headers = market.viewer._cookies() | {"Last-Event-ID": "before"}
    async with asyncio.timeout(20), market.client.get(f"/dispatches/{dispatch_id}/stream", headers=headers) as answer:
        text = ""
        while "event: end" not in text:
            text += (await answer.content.readany()).decode()


async def test_whom_an_order_names_and_its_baseline_are_shown(market) -> None:
    """What only the API orders is on the page, too."""
    interval = {"duration": "PT1H", "value": 1}
    signal = SignalIn(name="SIMPLE", type="level", intervals=[IntervalIn(**interval)]).value()
    corners = [{"latitude": latitude, "longitude": longitude} for latitude, longitude in ((1, 1), (2, 2), (3, 1))]
    transports = [{"receipt": "A", "delivery": "B"}]
    target = EventTarget(group_ids=["<north>"], transports=transports, service_areas=[corners]).value(["heater"])
    start = market.now + timedelta(hours=1)
    baseline = BaselineIn(name="Usual <day>", intervals=[IntervalIn(**interval)]).value(start)
    order = Order(market.homes.programme.id, start, Duration.of(hours=1), (signal,), target=target, baseline=baseline)
    async with market.world.tx() as tx:
        dispatch_id = await dispatch.create(tx, order, market.now, who="test")
    page = await market.viewer.get(f"/dispatches/{dispatch_id}")
    words = " ".join(page.main.split())
    assert "resourceID heater, groupID <north>, serviceArea 3 corners, transportInterface A > B" in words
    assert "Usual <day>" in words


async def test_another_power_and_another_end(market) -> None:
    dispatch_id = await market.ordered("4")
    since = await market.last()
    before = {row.id: row.own_values["power"] for row in await market.world.rows("event")}
    page = await market.dispatcher.follow(await market.dispatcher.post(f"/dispatches/{dispatch_id}/change", power="2"))
    assert page.stat("Target") == "2 kW"
    after = {row.id: row.own_values["power"] for row in await market.world.rows("event")}
    assert all(abs(after[one][0] - before[one][0] / 2) <= 1 for one in before)
    assert ("dispatcher", "reorder dispatch") in await market.actions(since)
    end = market.now + timedelta(minutes=90)
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/change", end=market.local(end))
    (row,) = await market.world.rows("dispatch")
    assert row.ends_at == end
    page = await market.dispatcher.post(f"/dispatches/{dispatch_id}/change", 422, end="2020-01-01T10:00", power="3")
    assert page.fault("end")
    assert page.value("power") == "3"


async def test_another_value_of_a_plain_signal_keeps_what_has_elapsed(market) -> None:
    fields = {"programme_id": market.homes.programme.id, "kind": "signal", "signal": "SIMPLE/level", "values": "1"}
    start = market.now + timedelta(hours=1)
    answer = await market.dispatcher.post(
        "/dispatches/new", **fields, start=market.local(start), minutes=60, vens="home 01"
    )
    dispatch_id = answer.headers["Location"].rpartition("/")[2]
    await market.at(start + timedelta(minutes=10, seconds=20), turns=0)
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/change", value="3")
    (row,) = await market.world.rows("dispatch")
    parts = row.event["signals"][0]["intervals"]
    assert [(one["duration"]["seconds"], one["value"]) for one in parts] == [(660, 1.0), (2940, 3.0)]
    page = await market.dispatcher.post(f"/dispatches/{dispatch_id}/change", 422, value="9")
    assert "0, 1, 2 or 3" in page.main


async def test_a_home_is_replaced_from_the_reserve(market) -> None:
    dispatch_id, called = await ordered_and_answered(market, power="3")
    since = await market.last()
    answer = await market.dispatcher.post(f"/dispatches/{dispatch_id}/replacement", ven_id=called[0])
    page = await market.dispatcher.follow(answer)
    assert "Replaced" in page.main
    rows = await market.world.rows("event")
    assert {row.ven_id for row in rows if row.cancelled_at} == {called[0]}
    (fresh,) = {row.ven_id for row in rows} - set(called)
    reasons = {row.ven_id: row.reason for row in await market.world.rows("selection_reason")}
    assert reasons[fresh] == "reserve"
    assert ("dispatcher", "replace ven") in await market.actions(since)
    page = await market.dispatcher.post(f"/dispatches/{dispatch_id}/replacement", 422, ven_id=called[0])
    assert "not called" in page.main


async def test_a_cancelled_dispatch(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    since = await market.last()
    answer = await market.dispatcher.post(f"/dispatches/{dispatch_id}/cancellation", reason="a mistake")
    page = await market.dispatcher.follow(answer)
    assert "cancelled" in page.texts("//div[@id='live-figures']")[0]
    assert page.stat("Opted in") == str(len(called) - 2), "they were not released one by one"
    assert not page.hrefs(f"/dispatches/{dispatch_id}/result#")
    assert ("dispatcher", "cancel dispatch") in await market.actions(since)
    page = await market.dispatcher.post(f"/dispatches/{dispatch_id}/cancellation", 422)
    assert "cancelled already" in page.main
    page = await market.dispatcher.post(f"/dispatches/{dispatch_id}/result", 422)
    assert "before it began" in page.main


async def test_who_and_why_and_messages_of_a_dispatch(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/selection?reason=called")
    assert len(page.texts("//section[@id='reasons']//tbody/tr")) == len(called)
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/messages?ven_id={called[0]}")
    assert "oadrDistributeEvent" in page.root.xpath("//pre")[0].text
    await market.viewer.get(f"/dispatches/{dispatch_id}/messages?ven_id=nobody", 404)


async def test_results_have_versions_exports_and_workings(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    async with market.world.tx() as tx:
        await tx.conn.execute(update(opt).where(opt.c.opt_type == OptType.OUT).values(reason="notParticipating"))
    start = market.now + timedelta(hours=1)
    half = start + timedelta(minutes=30)
    for ven_id in market.homes.ven_ids:
        await market_homes.meter(market.world.db, ven_id, market.now, half, market.now, less_w=0.0)
    await market.at(start + timedelta(hours=3), turns=0)
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/result")
    for ven_id in market.homes.ven_ids:
        end = start + timedelta(hours=1)
        await market_homes.meter(market.world.db, ven_id, half, end, market.now, less_w=500.0)
    page = await market.dispatcher.follow(await market.dispatcher.post(f"/dispatches/{dispatch_id}/result"))
    assert "Differences from version 1" in page.main
    assert "Delivered energy" in page.main
    first = await market.viewer.get(f"/dispatches/{dispatch_id}/result?version=1")
    assert first.hrefs(f"/dispatches/{dispatch_id}/result.csv?version=1")
    await market.viewer.get(f"/dispatches/{dispatch_id}/result?version=9", 404)
    await market.viewer.get(f"/dispatches/{dispatch_id}/result?version=x", 422)
    found = json.loads((await market.viewer.get(f"/dispatches/{dispatch_id}/result.json")).text)
    assert found["version"] == 2
    assert len(found["vens"]) == len(called)
    text = await market.viewer.get(f"/dispatches/{dispatch_id}/result.csv")
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert {row["ven_name"] for row in rows} > {"pool"}
    assert text.headers["Content-Disposition"].startswith("attachment")
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result")
    (out,) = [text for text in page.texts("//section[@aria-labelledby='vens-heading']//tr") if "opted out" in text]
    assert "not participating" in out, "in words, not as the wire has it"
    assert "%" not in out, "who is credited nothing has no performance"
    assert f"{len(called) - 2} of all {len(called)} called opted in" in page.main
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result/vens/{called[2]}")
    assert "used" in page.texts("//section[@aria-labelledby='days-heading']//tbody/tr/td[1]")
    assert re.search(r"series \d+, \S+ \(", page.main), "the series that its readings are in"
    assert "on the days used" in page.main
    await market.viewer.get("/dispatches/dsp_none/result", 404)
    await market.viewer.get("/dispatches/dsp_none", 404)


async def test_the_workings_of_a_baseline_by_temperature_say_how_warm_it_was(market) -> None:
    game, ven_id = market.homes.programme, market.homes.ven_ids[0]
    async with market.world.tx() as tx:
        rules = replace(game.parameters, baseline="weather-5")
        await programme.change(tx, game.id, game.name, rules, market.now, who="test")
    dispatch_id = await constant(market, 60, ven_id)
    start = market.now + timedelta(minutes=30)
    await market_homes.answer(market.world.db, dispatch_id, market.now)
    await market_homes.meter(market.world.db, ven_id, market.now, start + timedelta(hours=1), market.now, less_w=500.0)
    await market.at(start + timedelta(hours=2), turns=0)
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/result")
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result/vens/{ven_id}")
    assert "that of the event is not known" in page.main
    assert "no temperature" in page.texts("//section[@aria-labelledby='days-heading']//tbody/tr/td[1]")
    assert not page.texts("//td[@data-label='Outdoors']")
    hours = [market.now - timedelta(hours=number) for number in range(24 * 40)]
    rows = [
        TemperatureRow(1, "", at.replace(minute=0, second=0, microsecond=0).isoformat(), str(-(market.now - at).days))
        for at in hours
    ]
    async with market.world.tx() as tx:
        assert (await weather.take(tx, rows, (), market.now, who="test")).refused == ()
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result/vens/{ven_id}")
    assert "0 \N{DEGREE SIGN}C in the event" in page.main
    warm = page.texts("//td[@data-label='Outdoors']")
    assert warm[0] == "\N{MINUS SIGN}3 \N{DEGREE SIGN}C", "of Friday, the latest like day"


async def test_what_vens_say_of_their_own_delivery_stands_beside_it_and_disputes_are_flagged(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    start = market.now + timedelta(hours=1)
    for ven_id in market.homes.ven_ids:
        await market_homes.meter(market.world.db, ven_id, market.now, start + timedelta(hours=1), market.now)
    await market.at(start + timedelta(hours=3), turns=0)
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/result")
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result")
    assert "By the VEN" not in page.main, "nobody says anything"
    found = json.loads((await market.viewer.get(f"/dispatches/{dispatch_id}/result.json")).text)
    vens = {one["ven_id"]: one for one in found["vens"] if one["counts"]}
    honest, boastful, *_ = vens
    for ven_id, more_w in ((honest, 0.0), (boastful, 3000.0)):
        powers = [-(one["delivered_w"] + more_w) for one in vens[ven_id]["intervals"]]
        await market_homes.word(market.world.db, ven_id, start, powers, market.now, found["interval_s"])
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result")
    assert "1 VEN has computed a delivery of its own that differs" in page.main
    assert "1 agrees" in page.main
    rows = page.texts("//section[@aria-labelledby='vens-heading']//tbody/tr")
    assert sum("disputed" in row for row in rows) == 1
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result/vens/{boastful}")
    assert "disputed" in page.main
    assert "up to" in page.main
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result/vens/{honest}")
    assert "agrees" in page.main
    assert called


async def test_who_used_more_than_usual_just_before_is_marked_and_can_be_listed_alone(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    start = market.now + timedelta(hours=1)
    window = start - timedelta(hours=3), start - timedelta(hours=1)
    for ven_id in called[:3]:  # of these the first opts out, and the second says nothing
        await market_homes.meter(market.world.db, ven_id, *window, market.now, less_w=-1500.0)
    for ven_id in market.homes.ven_ids:
        await market_homes.meter(market.world.db, ven_id, market.now, start + timedelta(hours=1), market.now)
    await market.at(start + timedelta(hours=3), turns=0)
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/result")
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result")
    assert "1 VEN used more than usual just before the event." in page.main
    assert f"{len(called) - 2} VENs could be compared." in page.main
    rows = "//section[@aria-labelledby='vens-heading']//tbody/tr"
    (odd,) = [row for row in page.texts(rows) if "odd" in row]
    assert "It used more than usual just before the event." in odd
    assert len(page.texts(rows)) == len(called)
    (address,) = page.hrefs("?only=odd")
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result{address.partition('#')[0]}")
    assert page.texts(rows) == [odd]
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result/vens/{called[2]}")
    assert "It used more than usual just before the event." in page.main
    assert "on similar days" in page.main
    text = await market.viewer.get(f"/dispatches/{dispatch_id}/result.csv")
    flags = {row["ven_id"]: row["flags"] for row in csv.DictReader(io.StringIO(text.text))}
    assert {ven_id for ven_id, words in flags.items() if words} == {called[2]}
    assert flags[called[2]] == "raised_before"


async def test_where_nothing_looks_odd_nothing_is_said_of_it(market) -> None:
    dispatch_id, _called = await ordered_and_answered(market)
    start = market.now + timedelta(hours=1)
    for ven_id in market.homes.ven_ids:
        await market_homes.meter(market.world.db, ven_id, market.now, start + timedelta(hours=1), market.now)
    await market.at(start + timedelta(hours=3), turns=0)
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/result")
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result")
    assert "odd" not in page.main
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result?only=odd")
    assert "None looks odd." in page.main


async def constant(market, minutes: int, *ven_ids: str) -> str:
    """Order one constant step, of everybody unless somebody is named; 0 minutes: until it is cancelled."""
    length = Duration.of(minutes=minutes)
    interval = IntervalIn(duration=length, value=-500)
    signal = SignalIn(name="LOAD_DISPATCH", type="delta", unit="W", intervals=[interval]).value()
    start = market.now + timedelta(minutes=30)
    order = Order(market.homes.programme.id, start, length, (signal,), ven_ids, direction="reduce")
    async with market.world.tx() as tx:
        return await dispatch.create(tx, order, market.now, who="test")


async def test_an_order_of_one_constant_step_has_its_target_line(market) -> None:
    dispatch_id = await constant(market, 60)
    page = await market.viewer.get(f"/dispatches/{dispatch_id}")
    chart = json.loads(page.root.xpath("//script[@data-spec='live']")[0].text)
    rows = [row for row in chart["datasets"]["lines"] if row["s"] == "target"]
    total_kw = 0.5 * len(market.homes.ven_ids)
    assert [row["v"] for row in rows] == [total_kw, total_kw, None]
    assert rows[1]["t"] - rows[0]["t"] == 3600 * 1000
    assert page.stat("Target") == "6 kW"


async def test_an_order_without_end_has_its_target_and_its_ordered_power(market) -> None:
    dispatch_id = await constant(market, 0)
    await market.at(market.now + timedelta(minutes=50), turns=0)
    page = await market.viewer.get(f"/dispatches/{dispatch_id}")
    assert (page.stat("Target"), page.stat("Ordered from VENs")) == ("6 kW", "6 kW")
    chart = json.loads(page.root.xpath("//script[@data-spec='live']")[0].text)
    first, last, end = (row["v"] for row in chart["datasets"]["lines"] if row["s"] == "target")
    baseline = next(row["v"] for row in chart["datasets"]["lines"] if row["s"].startswith("baseline"))
    assert first == last == pytest.approx(baseline - 6)
    assert end is None


async def test_a_result_says_what_is_not_known_yet_and_from_when_it_will_be(market) -> None:
    async with market.world.tx() as tx:
        ven_id = await provisioning.create_ven(tx, "fresh home", market.now, who="test")
        await programme.enrol(tx, market.homes.programme.id, [ven_id], market.now, who="test")
    dispatch_id = await constant(market, 60, ven_id)
    await market_homes.answer(market.world.db, dispatch_id, market.now)
    await market.at(market.now + timedelta(hours=3), turns=0)
    page = await market.dispatcher.follow(await market.dispatcher.post(f"/dispatches/{dispatch_id}/result"))
    assert page.stat("Delivered") == "\N{EN DASH}", "no energy is known, which is not 0"
    assert set(page.texts("//td[@data-label='Delivered'] | //td[@data-label='Actual']")) == {"\N{EN DASH}"}
    assert "1 has too few days for a baseline. Events like this one can be measured from about Tuesday, 20" in page.main
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result/vens/{ven_id}")
    assert page.stat("Delivered") == "\N{EN DASH}"
    assert "not known yet" in page.main
    assert "from about Tuesday, 20 January on" in page.main


async def test_ordered_is_one_number_that_its_column_adds_up_to(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    for moment in (timedelta(), timedelta(minutes=70), timedelta(hours=5)):
        await market.at(market.now + moment, turns=0)
        page = await market.viewer.get(f"/dispatches/{dispatch_id}")
        column = page.texts("//div[@id='live-rows']//td[@data-label='Ordered']")
        watts = [watts_of(text) for text in column if text != "\N{EN DASH}"]
        assert len(watts) == len(called) - 1, "who opted out is asked for nothing"
        assert sum(watts) == pytest.approx(watts_of(page.stat("Ordered from VENs")), abs=5 * len(called))
        assert page.stat("Target") == "4 kW"
    await market.dispatcher.post(f"/dispatches/{dispatch_id}/result")
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result")
    column = page.texts("//section[@aria-labelledby='vens-heading']//td[@data-label='Ordered']")
    energy = sum(watts_of(text.replace("Wh", "W")) for text in column)
    assert energy == pytest.approx(watts_of(page.stat("Ordered").replace("Wh", "W")), abs=5 * len(called))


def watts_of(text: str) -> float:
    number, unit = text.split()
    return float(number.replace("\N{NARROW NO-BREAK SPACE}", "")) * {"W": 1, "kW": 1000}[unit]


async def test_a_result_is_there_without_pressing_anything(market) -> None:
    dispatch_id, called = await ordered_and_answered(market)
    await metered(market, called, 60)
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result")
    assert "computed from meter readings a few minutes after the end" in page.main
    await market.at(market.now + timedelta(minutes=15), turns=3)
    page = await market.viewer.get(f"/dispatches/{dispatch_id}/result")
    assert page.stat("Delivered")
    assert "Until then this result is preliminary" in page.main
    path = f"/dispatches/{dispatch_id}/result"
    page = await market.dispatcher.post(f"{path}/dispute", 422, reason="The meter shows less.")
    assert "not final" in page.main
    await market.at(market.now + timedelta(days=8), turns=2)
    page = await market.viewer.get(path)
    assert "this result is final" in page.main
    assert not page.root.xpath("//form[contains(@action, 'dispute')]"), "a viewer is offered nothing to do"
    page = await market.dispatcher.post(f"{path}/dispute", 422, reason="  ")
    assert page.root.xpath("//details[@open]//textarea[@aria-invalid]"), "it comes back open, with what is wrong"
    await market.viewer.post(f"{path}/dispute", 403, reason="The meter shows less.")
    since = await market.last()
    answer = await market.dispatcher.post(f"{path}/dispute", reason="The meter shows less.")
    page = await market.dispatcher.follow(answer)
    assert "Opened again" in page.main
    assert not page.root.xpath("//form[contains(@action, 'dispute')]")
    assert await market.actions(since) == [("dispatcher", "dispute result")]


async def test_fleet_programme_and_pool_say_who_is_learning_and_until_when(market) -> None:
    async with market.world.tx() as tx:
        fresh = await provisioning.create_ven(tx, "fresh home", market.now, who="test")
        await programme.enrol(tx, market.homes.programme.id, [fresh], market.now, who="test")
    await market_homes.meter(market.world.db, fresh, market.now - timedelta(hours=2), market.now, market.now)
    words = "1 of 13 VENs is still learning: what it delivers can't be measured yet."
    for path in (f"/programmes/{market.homes.programme.id}", "/market/potential"):
        shown = (await market.viewer.get(path)).main
        assert words in shown
        assert "will be ready around Monday, 19 January" in shown
    (row,) = [text for text in (await market.viewer.get("/fleet")).texts("//tbody/tr") if "fresh home" in text]
    assert "0 of 5 days, ready around Monday, 19 January" in row
    assert "0 of 5 days" in (await market.viewer.get(f"/fleet/{fresh}")).main


async def test_the_reasons_say_of_how_much_a_part_is_called(market):
    async with market.world.tx() as tx:
        for ven_id in market.homes.ven_ids:
            await partial_power.set_partial_power(tx, ven_id, PartialPower(50, 10), market.now, who="dan")
    page = await market.dispatcher.get(f"{await market.draft('0.1')}?reason=called")
    (powers,) = page.texts("//section[@id='reasons']//tbody/tr/td[last()]")
    assert re.fullmatch(r"1\d0 W of [\d,.]+ k?W", powers.strip())
