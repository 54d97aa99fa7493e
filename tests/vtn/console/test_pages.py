"""What the pages show: figures that lead to their lists, hostile names as text, filters, states without data."""

from dataclasses import replace
from datetime import timedelta
from unittest.mock import ANY

import pytest
from aiohttp import FormData
from sqlalchemy import insert, update
from typer.testing import CliRunner

from certs.authority import Authority
from conformance import record
from conformance.cli import app as conform
from core.spans import Duration
from metrics.placebo import Accuracy
from metrics.presets import PRESETS
from openadr.fingerprint import sha256_of_pem
from openadr.model.opt import OptType
from openadr.v20b.encode import encode
from openadr.v20b.messages import CreatedReport, OadrResponse, Response
from support.browser import HOSTILE
from support.messages import logged
from support.metered import metered_ven, send
from support.vtn_world import NOON, data, fake_fingerprint, usage
from vtn.console.pages import messages as messages_page
from vtn.services import baseline_comparison, fleet, provisioning, site
from vtn.services import outbox as services_outbox
from vtn.services.outbox import Intent, State
from vtn.services.programme import Limits, Window
from vtn.services.settings import WantedReport
from vtn.store.readings import numbered
from vtn.store.tables import outbox, potential, ven_certificate
from vtn.store.tables import ven as ven_table
from vtn.transport.message_log import Exchange
from vtn.transport.redaction import BLANK
from web.pages.templating import show_power

PLACES = ("/", "/potential", "/dispatches", "/programmes", "/programmes/new", "/fleet", "/groups", "/messages",
          "/enrolment", "/audit", "/settings", "/account", "/system")  # fmt: skip


@pytest.mark.parametrize("path", PLACES)
async def test_every_page_has_a_state_without_data(console, path):
    page = await console.admin.get(path)
    assert page.title


async def test_hostile_names_are_text_everywhere(console):
    vens = [await console.world.ven(name) for name in HOSTILE]
    for one in vens:
        await one.offer(usage("<b>meter</b>"))
    async with console.world.tx() as tx:
        for number, name in enumerate(HOSTILE[:2]):
            group = await fleet.create_group(tx, name, NOON, who=name)
            await fleet.add_to_group(tx, group.id, [one.ven_id for one in vens], NOON, who=name)
            await provisioning.note_waiting(tx, fake_fingerprint(200 + number), name, NOON)
            await provisioning.new_enrolment_code(tx, vens[number].ven_id, NOON, who="x")
        await site.set_area(tx, [vens[0].ven_id], HOSTILE[0], NOON, time_zone="UTC", who="x")
    programme = await console.world.programme(*vens)
    await console.world.dispatch(*vens, under=programme)
    here = f"/fleet/{vens[0].ven_id}"
    tabs = [f"{here}{tab}" for tab in ("", "/readings", "/reports", "/events", "/messages")]
    for path in (*PLACES, *tabs, f"/programmes/{programme.id}", f"/programmes/{programme.id}/edit"):
        page = await console.admin.get(path)
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "<b>meter" not in page.text
    page = await console.admin.get("/fleet")
    assert set(HOSTILE) <= set(page.texts("//tbody//th"))
    page = await console.admin.get(here)
    assert page.title == HOSTILE[0]


async def test_numbers_of_the_overview_lead_to_their_lists(console):
    world = console.world
    online, stale, gone = [await world.ven(name) for name in ("on", "late", "gone")]
    await world.ven("new", register=False)
    running = await world.dispatch(online, stale, starts_in=timedelta(minutes=5))
    for one in (online, stale):
        for event in await one.events():
            await one.opt(event, OptType.IN if one is online else OptType.OUT)
    await world.dispatch(gone, starts_in=timedelta(hours=5))
    async with world.tx() as tx:
        await provisioning.note_waiting(tx, fake_fingerprint(200), "commonName=x", world.now)
        soon = console.machine.now + timedelta(days=3)
        mine = ven_certificate.c.ven_id == online.ven_id
        await tx.conn.execute(update(ven_certificate).where(mine).values(not_after=soon))
        await tx.conn.execute(update(outbox).where(outbox.c.ven_id == gone.ven_id).values(state=State.DEAD))
    await world.directory.flush_seen()
    world.later(minutes=8)
    await stale.poll()
    await world.directory.flush_seen()
    world.later(minutes=6)
    await online.poll()
    await world.directory.flush_seen()
    page = await console.viewer.get("/")
    told = dict(
        zip(page.texts("//dl[@class='stats'][1]//dt"), page.texts("//dl[@class='stats'][1]//dd[1]"), strict=True)
    )
    assert told == {
        "VENs online": "1",
        "Stale": "2",
        "Offline": "1",
        "Registered": "3",
        "Running": "1",
        "Upcoming": "1",
    }
    alerts = {one.text_content().strip(): one.get("href") for one in page.root.xpath("//ul[@class='alerts']//a")}
    expected = {
        "/fleet?presence=offline": 1,
        "/enrolment#waiting": 1,
        "/fleet?expiring=true": 1,
        "/messages?state=dead": 2,
    }
    assert set(alerts.values()) == set(expected)
    for href, rows in expected.items():
        listed = await console.viewer.get(href)
        assert len(listed.root.xpath("(//table)[1]/tbody/tr")) == rows, href
    assert "1 / 1 / 0" in page.main
    listed = await console.viewer.get("/dispatches?when=running")
    assert listed.texts("//tbody/tr/td[@data-label='Called']") == ["2"]
    assert running


async def test_potential_is_shown_with_source_age_and_staleness(console):
    world = console.world
    vens = [await world.ven(name) for name in ("a", "b", "c")]
    start_s = int(world.now.timestamp())
    common = {"resource_id": "heat pump", "direction": "reduce", "start_s": start_s, "step_s": 1800}
    powers = {"p10_w": [500.0] * 48, "p50_w": [1000.0] * 48, "p90_w": [1500.0] * 48}
    rows = [
        {"ven_id": one.ven_id, **common, **powers, "source": source, "issued_at": issued}
        for one, source, issued in (
            (vens[0], "ven", world.now),
            (vens[1], "history", world.now - timedelta(hours=5)),
            (vens[2], "ven", world.now - timedelta(hours=5)),
        )
    ]
    async with world.tx() as tx:
        await tx.conn.execute(insert(potential), rows)
    page = await console.viewer.get("/")
    assert "2\u00a0kW" in page.text
    assert "1\u00a0kW to 3\u00a0kW" in page.text
    assert "1 of them derived from history" in page.main
    (stale,) = page.root.xpath("//a[@href='/potential?only=stale']")
    assert "1 VEN with stale figures" in stale.text_content()
    listed = await console.viewer.get("/potential")
    assert listed.texts("//td[@data-label='Source']") == ["the VEN", "its history", "the VEN"]
    listed = await console.viewer.get("/potential?only=stale")
    assert listed.texts("//tbody//th") == ["c"]
    page = await console.viewer.get(f"/fleet/{vens[1].ven_id}")
    assert "derived from its history" in page.main
    assert page.root.xpath("//figure//script[@type='application/json']")


async def test_the_fleet_is_filtered_and_paged(console, monkeypatch):
    monkeypatch.setattr("vtn.console.pages.fleet._PER_PAGE", 2)
    names = ["ann", "bea", "cyd", "dan"]
    vens = [await console.world.ven(name, register=name != "dan") for name in names]
    async with console.world.tx() as tx:
        group = await fleet.create_group(tx, "g", NOON, who="x")
        await fleet.add_to_group(tx, group.id, [vens[1].ven_id], NOON, who="x")
        await site.set_area(tx, [vens[2].ven_id], "north", NOON, time_zone="UTC", who="x")
    cases = {"text=cYd": ["cyd"], "registered=false": ["dan"], f"group={group.id}": ["bea"], "area=north": ["cyd"]}
    for query, expected in cases.items():
        page = await console.viewer.get(f"/fleet?{query}")
        assert page.texts("//tbody//th") == expected, query
    page = await console.viewer.get("/fleet?text=&presence=&registered=")
    assert page.texts("//h2")[0] == "4 VENs"
    assert page.texts("//tbody//th") == ["ann", "bea"]
    (following,) = page.root.xpath("//a[@rel='next']/@href")
    page = await console.viewer.get(following)
    assert page.texts("//tbody//th") == ["cyd", "dan"]
    page = await console.viewer.get("/fleet?text=nobody")
    assert "No VEN matches" in page.main


@pytest.mark.parametrize(
    "path",
    ["/fleet?presence=sleeping", "/fleet?cursor=x", "/fleet?bogus=1", "/dispatches?when=never", "/messages?state=x",
     "/audit?since=yesterday", "/audit?until=9999-12-31", "/audit?cursor=%00x", "/potential?cursor=zzz"],
)  # fmt: skip
async def test_bad_filters_say_what_is_wrong(console, path):
    status = 400 if "%00" in path else 422
    page = await console.admin.get(path, status)
    assert page.title


async def test_a_bulk_action_needs_a_choice_and_keeps_what_was_chosen(console):
    ven = await console.world.ven("home")
    page = await console.admin.post("/fleet/bulk", 422, action="add", ven_ids=[ven.ven_id], area="typed area")
    assert "select a group first" in page.main.lower()
    (box,) = page.root.xpath("//input[@name='ven_ids[]']")
    assert box.get("checked") is not None
    (area,) = page.root.xpath("//input[@id='bulk-area']/@value")
    assert area == "typed area"
    page = await console.admin.post("/fleet/bulk", 422, action="reregister")
    assert "Select at least one VEN" in page.main
    await console.dispatcher.post("/fleet/bulk", 403, action="area", area="x", ven_ids=[ven.ven_id])


async def test_removing_a_ven_is_asked_about(console):
    ven = await console.world.ven("home")
    page = await console.admin.get(f"/fleet/{ven.ven_id}")
    (asked,) = page.texts("//details[contains(@class, 'confirm')][.//form[contains(@action, '/removal')]]//p")
    assert "This can't be undone." in asked


async def test_what_is_settled_is_said_and_can_be_chosen(console):
    ven, _, _ = await metered_ven(console.world, 1, days=1)
    page = await console.admin.get(f"/fleet/{ven.ven_id}/readings")
    assert "Gross consumption" in page.text
    assert "by the meaning of their data points" in page.text
    assert show_power(43_470) in page.text
    async with console.world.db.read() as conn:
        (number,) = await numbered(conn, [ven.ven_id])
    wish = {"series[]": number, "connection_w": 24_000}
    await console.admin.post(f"/fleet/{ven.ven_id}/settlement-series", **wish)
    page = await console.admin.get(f"/fleet/{ven.ven_id}/readings")
    assert "chosen by <bdi>admin</bdi>" in page.text
    assert show_power(24_000) in page.text
    await console.viewer.post(f"/fleet/{ven.ven_id}/settlement-series", 403, **{"series[]": number})


async def test_readings_are_drawn_and_told_in_a_table(console):
    ven = await console.world.ven("home")
    (request, *_) = await _telemetry(console, ven)
    await ven.report(data(request, NOON - timedelta(minutes=3), 10.0, 20.0, 30.0))
    page = await console.viewer.get(f"/fleet/{ven.ven_id}/readings?span=PT3H")
    assert page.texts("//figure//tbody/tr/td") == ["1,800.0", "1,200.0", "600.0"]
    assert "3 values from 600.0 to 1,800.0 W" in page.root.xpath("//@aria-label[contains(., 'values')]")[0]
    page = await console.viewer.get(f"/fleet/{ven.ven_id}/readings?span=PT3H&until=2026-01-11T12:00")
    assert "No values in this period" in page.main
    await console.viewer.get(f"/fleet/{ven.ven_id}/readings?until=2026-01-11T12:00Z", 422)


async def _telemetry(console, ven):
    await ven.offer(usage("meter"))
    fields = {"specifier_id": "usage", "r_ids": ["meter"], "report_back": "PT5M", "granularity": "PT1M"}
    await console.dispatcher.post(f"/fleet/{ven.ven_id}/reports", **fields, start="2026-01-12T11:00")
    return [one.request_id for message in await ven.drain() for one in getattr(message, "requests", ())]


async def test_what_cannot_be_had_and_what_never_came_is_shown(console):
    minute = Duration.of(minutes=1)
    wanted = (WantedReport("TELEMETRY_USAGE", minute, minute), WantedReport("TELEMETRY_STATUS", minute, minute))
    object.__setattr__(console.world.settings, "wanted_reports", wanted)
    ven = await console.world.ven("home")
    await ven.offer(usage("meter"))
    page = await console.viewer.get(f"/fleet/{ven.ven_id}/reports")
    assert page.texts("//h3[.='Not available']/following-sibling::ul[1]/li") == [
        "TELEMETRY_STATUS is wanted and not offered."
    ]
    assert "no data" not in page.main
    console.world.later(hours=3)
    page = await console.viewer.get(f"/fleet/{ven.ven_id}/reports")
    assert "no data" in page.main
    assert "due 2 hours ago" in page.main


async def test_a_report_request_keeps_what_was_typed(console):
    ven = await console.world.ven("home")
    await ven.offer(usage("meter", "car"))
    fields = {"specifier_id": "usage", "r_ids": ["car"], "report_back": "often", "granularity": "PT1M"}
    page = await console.dispatcher.post(f"/fleet/{ven.ven_id}/reports", 422, **fields)
    (offer,) = page.root.xpath("//details[@class='offer']")
    assert offer.get("open") is not None
    assert offer.xpath(".//input[@checked]/@value") == ["car"]
    assert offer.xpath(".//input[@name='report_back']/@value") == ["often"]
    assert "Write a duration such as PT15M" in page.main
    page = await console.dispatcher.post(f"/fleet/{ven.ven_id}/reports", 422, specifier_id="usage")
    assert "at least one data point" in page.main
    page = await console.dispatcher.post(f"/fleet/{ven.ven_id}/reports", 422, specifier_id="nothing", r_ids=["x"])
    assert await console.world.rows("report_request") == []


async def test_the_last_messages_are_shown_without_secrets(console):
    ven, other = await console.world.ven("home"), await console.world.ven("other")
    secret = b"<m xmlns='u'><registrationID>reg_secret</registrationID><a>&lt;script&gt;</a></m>"
    who = ven.peer.fingerprint
    await logged(
        console.world,
        Exchange(fingerprint=who, type="oadrCreateReport", request=secret, answer=b"not <xml"),
        Exchange(fingerprint=who, request=b"<i>hello", answer=b"not well-formed", status=406),
        Exchange(fingerprint=other.peer.fingerprint, type="oadrPoll", request=b"<a/>", answer=b"<eventID>e1</eventID>"),
    )
    here = f"/fleet/{ven.ven_id}/messages"
    page = await console.viewer.get(here)
    assert page.texts("//section[@id='log']//tbody/tr/td[2]") == ["unreadable", "oadrCreateReport"]
    assert page.texts("//section[@id='log']//tbody/tr/td[4]") == ["HTTP 406", "HTTP 200"]
    unreadable, report = page.root.xpath("//section[@id='log']//tbody//a/@href")
    page = await console.viewer.get(report)
    assert "reg_secret" not in page.text
    assert BLANK.decode() in page.main
    assert "not <xml" in page.main
    assert "<i>hello" in (await console.viewer.get(unreadable)).main
    (foreign,) = (await console.viewer.get(f"/fleet/{other.ven_id}/messages")).root.xpath(
        "//section[@id='log']//tbody//a/@href"
    )
    await console.viewer.get(foreign.replace(other.ven_id, ven.ven_id), 404)
    await console.viewer.get(f"{here}/msg_none", 404)


async def test_the_message_log_is_filtered_and_paged(console, monkeypatch):
    ven = await console.world.ven("home")
    spoken = Exchange(fingerprint=ven.peer.fingerprint, type="oadrPoll", request=b"<a/>", answer=b"<b/>")
    await logged(
        console.world,
        spoken,
        replace(spoken, type="oadrCreatedEvent", request=b"<eventID>e1</eventID>"),
        replace(spoken, status=503),
    )
    here = f"/fleet/{ven.ven_id}/messages"

    async def types(query):
        page = await console.viewer.get(f"{here}?{query}")
        return page.texts("//section[@id='log']//tbody/tr/td[2]")

    assert await types("") == ["oadrPoll", "oadrCreatedEvent", "oadrPoll"]
    assert await types("event=e1") == ["oadrCreatedEvent"]
    assert await types("type=oadrCreatedEvent") == ["oadrCreatedEvent"]
    assert await types("faults=true") == ["oadrPoll"]
    assert await types("until=2001-01-01") == []
    assert await types("since=2001-01-01&type=oadrPoll") == ["oadrPoll", "oadrPoll"]
    page = await console.viewer.get(f"{here}?type=oadrCreatedEvent&faults=true")
    assert page.value("type") == "oadrCreatedEvent"
    assert "No message matches this filter" in page.main
    await console.viewer.get(f"{here}?since=then", 422)
    monkeypatch.setattr(messages_page, "_EXCHANGES", 2)
    page = await console.viewer.get(here)
    (following,) = page.root.xpath("//a[@rel='next']/@href")
    page = await console.viewer.get(following)
    assert page.texts("//section[@id='log']//tbody/tr/td[2]") == ["oadrPoll"]


async def test_the_messages_that_are_shown_can_be_downloaded_and_judged(console, tmp_path):
    ven, other = await console.world.ven("home"), await console.world.ven("other")
    answer = encode(OadrResponse(Response(request_id="q"), ven.ven_id))
    broken = answer.replace(b'ei:schemaVersion="2.0b"', b"")
    spoken = Exchange(
        fingerprint=ven.peer.fingerprint, type="oadrPoll", request=b"<registrationID>reg_secret", answer=answer
    )
    await logged(
        console.world,
        replace(spoken, answer=broken, type="oadrCreatedEvent"),
        spoken,
        replace(spoken, fingerprint=other.peer.fingerprint),
    )
    here = f"/fleet/{ven.ven_id}/messages"

    async def judged(query):
        page = await console.viewer.get(f"{here}{query}")
        (link,) = page.root.xpath("//section[@id='log']//a[@class='button']/@href")
        saved = await console.viewer.get(link)
        assert "reg_secret" not in saved.text
        assert saved.headers["Content-Disposition"] == f'attachment; filename="messages-{ven.ven_id}.json"'
        (path := tmp_path / "saved.json").write_text(saved.text)
        done = CliRunner().invoke(conform, ["replay", str(path), "--only", "GN-02", "--all"])
        return len(record.load(path)[0].exchanges), done.exit_code, done.output

    assert await judged("?type=oadrPoll") == (1, 0, ANY)
    messages, code, told = await judged("")
    assert (messages, code) == (2, 1)
    assert "Broken: GN-02" in told
    refused = await console.viewer.get(f"/fleet/{ven.ven_id}/message-record?since=then", 303)
    assert refused.headers["Location"] == f"{here}?since=then"
    await console.viewer.get("/fleet/nobody/message-record", 404)
    await console.stranger.get(f"/fleet/{ven.ven_id}/message-record", 303)


async def test_an_operator_says_where_a_ven_of_2_0a_is_pushed_to(console):
    newer, older = await console.world.ven("newer"), await console.world.ven("older", register=False)
    form = "//form[contains(@action, 'push-address')]"
    here = f"/fleet/{older.ven_id}"
    page = await console.admin.get(here)
    assert page.root.xpath(f"{form}/ancestor::details[not(@open)]")
    for who, ven in ((console.admin, newer), (console.dispatcher, older)):
        assert not (await who.get(f"/fleet/{ven.ven_id}")).root.xpath(form)
    for address, why in (
        ("https://192.168.0.1", "not a public address"),
        ("ven", "no URL"),
        ("http://10.0.0.5", "https"),
    ):
        page = await console.admin.post(f"{here}/push-address", 422, address=address)
        assert why in page.fault("address")
        assert page.value("address") == address
        assert page.value("time_zone") == "UTC", "the other forms of the page are as they were"
        assert page.root.xpath(f"{form}/ancestor::details[@open]")
    await console.admin.post(f"/fleet/{newer.ven_id}/push-address", 422, address="https://10.0.0.5")
    await console.dispatcher.post(f"{here}/push-address", 403, address="https://10.0.0.5")
    page = await console.admin.follow(await console.admin.post(f"{here}/push-address", address="https://10.0.0.5/"))
    assert page.texts("//dt[text()='Pushed to']/following-sibling::dd[1]") == ["https://10.0.0.5/"]
    assert "OpenADR 2.0a, simpleHttp, push" in page.main
    page = await console.admin.follow(await console.admin.post(f"{here}/push-address", address=""))
    assert "Pushed to" not in page.main


async def test_an_operator_says_at_which_levels_a_ven_can_be_called(console):
    ven = await console.world.ven("charger")
    here = f"/fleet/{ven.ven_id}"
    page = await console.admin.post(f"{here}/partial-power", 422, minimum_w=1400, step_w=230)
    assert "whole number of steps" in page.fault("minimum_w")
    assert page.value("time_zone") == "UTC", "the other forms of the page are as they were"
    page = await console.admin.post(f"{here}/partial-power", 422, minimum_w=1400, step_w="")
    assert "both minimum and step" in page.fault("step_w")
    await console.dispatcher.post(f"{here}/partial-power", 403, minimum_w=1380, step_w=230)
    page = await console.admin.follow(await console.admin.post(f"{here}/partial-power", minimum_w=1380, step_w=230))
    assert (page.value("minimum_w"), page.value("step_w")) == ("1380", "230")
    assert "in steps of 230 W" in (await console.viewer.get(here)).main
    page = await console.admin.follow(await console.admin.post(f"{here}/partial-power", minimum_w="", step_w=""))
    assert page.value("minimum_w") == ""


async def test_one_ven_cannot_be_reached_by_anothers_address(console):
    ven, other = await console.world.ven("a"), await console.world.ven("b")
    fingerprint = other.peer.fingerprint
    await console.admin.post(f"/fleet/{ven.ven_id}/certificates/{fingerprint}/revocation", 404)
    (request, *_) = await _telemetry(console, other)
    await console.dispatcher.post(f"/fleet/{ven.ven_id}/reports/{request}/cancellation", 404)
    await console.viewer.get(f"/fleet/{ven.ven_id}/test/{request}", 404)


# -- programmes


FULL = {
    "name": "Evening",
    "market_context": "http://grid/evening",
    "parameters__product": "peak",
    "parameters__time_zone": "Europe/Athens",
    "parameters__notification": "PT30M",
    "parameters__start_after": "",
    "parameters__limits__per_day": "1",
    "parameters__limits__rest": "PT8H",
    "parameters__limits__longest": "PT2H",
    "parameters__limits__seasons": ["04-01", "", "10-01", ""],
    "parameters__limits__windows__0__start": "16:00",
    "parameters__limits__windows__0__end": "20:00",
    "parameters__limits__windows__0__days": ["1", "5"],
    "parameters__limits__windows__1__start": "",
    "parameters__limits__windows__1__end": "",
    "parameters__reward__per_kwh": "0.25",
}


async def test_a_programme_is_made_changed_and_its_versions_stay(console):
    answer = await console.admin.post("/programmes", **FULL)
    here = answer.headers["Location"]
    page = await console.viewer.get(here)
    for words in ("peak", "30 min", "16:00 to 20:00, Mon Fri", "Europe/Athens", "0.25 EUR", "8 h"):
        assert words in page.main.replace("\u00a0", " ")
    assert "Europe/Athens" in page.texts("//header")[0]
    edit = await console.admin.get(f"{here}/edit")
    assert edit.value("parameters.limits.windows.0.start") == "16:00"
    assert edit.root.xpath("//input[@name='parameters.limits.windows.0.days[]' and @checked]/@value") == ["1", "5"]
    same = {name: value for name, value in FULL.items() if name != "market_context"}
    await console.admin.post(here, **same | {"version": 1, "parameters__limits__per_day": "2"})
    page = await console.viewer.get(f"{here}/versions/1")
    assert "Version 2 is in force now" in page.main
    page = await console.admin.post(here, 422, **same | {"version": 1, "name": "Mine"})
    assert "Somebody else created version 2" in page.main
    assert page.value("name") == "Mine"


async def test_a_control_group_is_chosen_or_drawn_on_a_programmes_pages(console):
    world = console.world
    vens = [await world.ven(f"one of many {number}", register=False) for number in range(20)]
    programme = await world.programme(*vens)
    here = f"/programmes/{programme.id}"
    assert "Draw a control group" in (await console.admin.get(here)).main
    assert "Draw a control group" not in (await console.viewer.get(here)).main
    page = await console.admin.post(f"{here}/control-group", 422, share="10")
    assert "a control group needs 10 at least" in page.fault("share")
    fields = {"name": "P", "version": 1, "parameters__baseline": "control-group"}
    page = await console.admin.post(here, 422, **fields, parameters__control_group="")
    assert "name a group" in page.fault("parameters.control_group")
    page = await console.admin.post(here, 422, **fields, parameters__control_group="grp_nothing")
    assert "There is no group" in page.fault("parameters.control_group")
    await console.admin.post(f"{here}/control-group", share="50")
    (group,) = await world.rows("ven_group")
    page = await console.admin.get(here)
    assert f"{group.name} (10 VENs)" in page.main.replace("\u00a0", " ")
    assert "Draw a control group" not in page.main
    edit = await console.admin.get(f"{here}/edit")
    assert edit.root.xpath("//select[@name='parameters.control_group']/option[@selected]/@value") == [group.id]
    await console.admin.post(here, **fields | {"version": 2, "parameters__control_group": group.id})
    old = await console.viewer.get(f"{here}/versions/1")
    assert group.name not in old.main


async def test_a_new_programme_can_begin_with_a_template(console):
    page = await console.admin.get("/programmes/new")
    link = "/programmes/new?template=critical-peak-pricing"
    assert link in [one.get("href") for one in page.root.iter("a")]
    page = await console.admin.get(link)
    fields = ("parameters.notification", "parameters.limits.longest", "parameters.limits.windows.0.start")
    assert [page.value(name) for name in fields] == ["P1D", "PT6H", "12:00"]
    page = await console.admin.get("/programmes/new?template=none", 422)
    assert "there are capacity-bidding" in page.main


@pytest.mark.parametrize(
    ("fields", "name", "words"),
    [
        ({"name": ""}, "name", "required"),
        ({"market_context": "no uri"}, "market_context", "absolute URI"),
        ({"parameters__notification": "soon"}, "parameters.notification", "Write a duration"),
        ({"parameters__notification": "-PT1M"}, "parameters.notification", "not between"),
        ({"parameters__limits__per_day": "often"}, "parameters.limits.per_day", "whole number"),
        ({"parameters__limits__longest": "P90D"}, "parameters.limits.longest", "not between"),
        ({"parameters__time_zone": "Mars/Base"}, "parameters.time_zone", "IANA time zone"),
        ({"parameters__limits__windows__0__end": ""}, "parameters.limits.windows.0.end", "required"),
        ({"parameters__reward__per_kwh": "a lot"}, "parameters.reward.per_kwh", "right format"),
    ],
)
async def test_a_fault_stands_at_its_field_and_the_rest_stays_typed(console, fields, name, words):
    page = await console.admin.post("/programmes", 422, **FULL | fields)
    assert words in page.fault(name)
    assert page.value("parameters.product") == "peak"
    assert page.value("parameters.limits.windows.0.start") == "16:00"
    (summary,) = page.root.xpath("//div[@role='alert']")
    target = summary.xpath(".//a/@href")[0]
    assert page.root.xpath(f"//*[@id='{target[1:]}']")
    assert await console.world.rows("programme") == []


async def test_members_show_how_much_of_the_limits_is_used(console):
    world = console.world
    vens = [await world.ven(name) for name in ("a", "b")]
    limits = Limits(per_day=1, per_week=3, windows=(Window("00:00", "00:00"),))
    programme = await world.programme(*vens, limits=limits, notification=Duration())
    await world.dispatch(vens[0], under=programme, starts_in=timedelta(hours=1))
    await world.dispatch(*vens, under=programme, starts_in=timedelta(hours=24))
    page = await console.viewer.get(f"/programmes/{programme.id}")
    assert page.texts("//td[@data-label='Today']") == ["1 of 1 used up", "0 of 1"]
    assert page.texts("//td[@data-label='This week']") == ["2 of 3", "1 of 3"]
    assert page.texts("//td[@data-label='This season']") == ["2", "1"]


# -- enrolment, operators


async def test_the_overview_says_which_of_the_servers_certificates_ends_soon(console, tmp_path):
    authority = Authority.create(tmp_path / "ca", "CA")
    (tmp_path / "server.pem").write_text(authority.issue_server(["x"], days=20).chain_pem)
    files = {"server certificate server.pem": tmp_path / "server.pem", "authority ca.pem": tmp_path / "ca" / "ca.pem"}
    object.__setattr__(console.shell.desk, "watched", files)
    page = await console.viewer.get("/")
    (alert,) = page.texts("//ul[@class='alerts']/li")
    assert "server certificate server.pem ends on" in alert


async def test_the_authority_can_be_had_from_the_console_with_its_fingerprint(console, tmp_path):
    await console.stranger.get("/ca.pem", 404)
    authority = Authority.create(tmp_path / "ca", "CA")
    for name, value in (("authority", authority), ("api_url", "https://vtn.example:8444")):
        object.__setattr__(console.shell.desk, name, value)
    async with console.client.get("/ca.pem") as answer:
        assert await answer.text() == authority.ca_pem
    sha256 = sha256_of_pem(authority.ca_pem.encode())
    page = await console.admin.get("/enrolment")
    assert sha256 in page.main
    assert page.root.xpath("//a[@href='/ca.pem']")
    page = await console.admin.follow(await console.admin.post("/enrolment/vens", name="Home 1"))
    fetch, enrol = page.texts("//dl[@class='reveal']//code")[1].split(" && ")
    assert fetch == f"evenload ven fetch-ca --vtn https://vtn.example:8444 --sha256 {sha256}"
    assert enrol.endswith("--vtn https://vtn.example:8444 --ca vtn-ca.pem --config household.yaml")


async def test_a_new_ven_gets_a_code_that_is_shown_once(console):
    programme = await console.world.programme()
    fields = {"name": "Home 1", "programme": programme.id, "consent_version": "2026-01"}
    answer = await console.admin.post("/enrolment/vens", **fields)
    page = await console.admin.follow(answer)
    code = page.texts("//dl[@class='reveal']//code")[0]
    assert len(code.split("-")) == 4
    assert "2026-01" in (await console.admin.get(f"/programmes/{programme.id}")).main
    page = await console.admin.get("/enrolment")
    assert code not in page.text
    assert page.texts("//h2[contains(., 'codes')]/..//tbody//th") == ["Home 1"]
    page = await console.admin.post("/enrolment/vens", 422, **fields)
    assert "exists already" in page.main
    assert page.value("consent_version") == "2026-01"
    page = await console.admin.post("/enrolment/vens", 422, name="Home 2", consent_version="2026-01")
    assert "Select the programme" in page.main
    assert len(await console.world.rows("ven")) == 1


async def test_accepting_a_certificate_needs_just_one_ven(console):
    ven = await console.world.ven("home")
    async with console.world.tx() as tx:
        await provisioning.note_waiting(tx, fake_fingerprint(200), "commonName=x", NOON)
    path, wish = "/enrolment/certificates/accept", {"fingerprint": fake_fingerprint(200)}
    for fields in ({}, {"ven_id": ven.ven_id, "new_name": "other"}, {"ven_id": "nobody"}):
        await console.admin.post(path, 422, **wish, **fields)
    assert len(await console.world.rows("waiting_certificate")) == 1
    answer = await console.admin.post(path, **wish, ven_id=ven.ven_id)
    assert answer.headers["Location"] == f"/fleet/{ven.ven_id}"


async def test_a_file_of_meter_data_is_taken_and_refused_rows_are_grouped_by_reason(console):
    ven = await console.world.ven("metered home")
    async with console.world.tx() as tx:
        await site.set_site(tx, ven.ven_id, time_zone="UTC", area=None, metering_point="MP1", now=NOON, who="test")
    hours = [(f"2026-01-12T{hour:02}:00:00Z", f"2026-01-12T{hour + 1:02}:00:00Z") for hour in range(3)]
    head, good, bad = "metering_point,series,start,end,energy_wh,quality", "MP1,import,{},{},250.5,validated", "MP2"

    async def send(*lines, status=303):
        data = FormData(default_to_multipart=True)
        data.add_field("csrf", console.admin.csrf)
        data.add_field("csv", "\r\n".join(lines).encode(), filename="meters.csv", content_type="text/csv")
        return await console.admin.send("/meter-data", status, data)

    assert "/meter-data" in [one.get("href") for one in (await console.admin.get("/fleet")).root.iter("a")]
    page = await console.admin.follow(await send(head, *(good.format(*each) for each in hours)))
    assert "3 rows were taken in." in page.texts("//main/div[@role='status']")[0]
    assert len(await console.world.rows("chunk")) > 0
    page = await send(
        head, good.format(*hours[0]), *(good.replace("MP1", bad).format(*each) for each in hours), status=200
    )
    assert "1 row was taken in. 3 were refused." in page.main
    assert page.texts("//tbody/tr/td") == ["3", "3, 4, 5"], "equal reasons are said once, with their lines"
    assert "No VEN has this metering point" in page.texts("//tbody/tr/th")[0]
    for lines, said in (
        ((head,), "no rows below"),
        (("a,b", "1,2"), "names the columns"),
        (("",), "This is required."),
        (("x" * 500_001,), "500000"),
    ):
        assert said in (await send(*lines, status=422)).fault("csv")
    await console.viewer.get("/meter-data", 403)
    page = await console.admin.get("/meter-data")
    assert not page.root.xpath("//nav//a[@aria-current]"), "it is not in the navigation, and not the overview"


async def test_a_file_of_temperatures_is_taken_beside_the_meter_data(console):
    async def send(*lines, status=303):
        data = FormData(default_to_multipart=True)
        data.add_field("csrf", console.admin.csrf)
        data.add_field("temperatures", "\r\n".join(lines).encode(), filename="warm.csv", content_type="text/csv")
        return await console.admin.send("/meter-data/temperatures", status, data)

    head = "area,time,celsius"
    page = await console.admin.follow(await send(head, ",2026-01-12T10:00:00Z,-3.5", ",2026-01-12T11:00:00Z,2"))
    assert "2 rows were taken in." in page.texts("//main/div[@role='status']")[0]
    assert [(row.area, row.celsius) for row in await console.world.rows("temperature")] == [("", -3.5), ("", 2.0)]
    page = await send(head, "nowhere,2026-01-12T10:00:00Z,1", status=200)
    assert "0 rows were taken in. 1 was refused." in page.main
    assert page.texts("//tbody/tr/th") == ["No VEN stands in an area 'nowhere'."]
    for lines, said in (
        ((head,), "no rows below"),
        (("a,b", "1,2"), "names the columns"),
        (("",), "This is required."),
    ):
        assert said in (await send(*lines, status=422)).fault("temperatures")
    await console.dispatcher.get("/meter-data", 403)


async def test_of_several_forms_only_the_one_that_was_sent_says_what_is_wrong(console):
    """`Browser.send` looks that nothing is said in another one, and that each fault leads to its field."""
    for name in ("North", "South"):
        await console.admin.post("/groups", name=name)
    north, south = await console.world.rows("ven_group")
    page = await console.admin.post(f"/groups/{north.id}/name", 422, name="South")
    assert "named 'South' already" in page.texts(f"//form[@action='/groups/{north.id}/name']")[0]
    assert page.texts("//details[@open]/summary") == ["Rename North …"]
    assert page.root.xpath(f"//input[@id='f-{south.id}-name']/@value") == ["South"]
    page = await console.admin.post("/groups/nothing/name", 422, name="East")
    assert "No group" in page.texts("//main/div[@role='alert']")[0], "what has no form any more is said at the top"
    (me,) = [row for row in await console.world.rows("principal") if row.name == "viewer"]
    path = f"/settings/operators/{me.id}/password"
    page = await console.admin.post(path, 422, password="short")
    assert page.texts("//details[@open]/summary") == ["Set password of viewer …"]
    programme = await console.world.programme(time_zone="Europe/Berlin")
    here = f"/programmes/{programme.id}/days"
    for reason in ("Cable", "Meter"):
        await console.admin.post(f"{here}/outages", starts_at="2026-01-05T10:00", reason=reason)
    cable, meter = await console.world.rows("outage")
    page = await console.admin.post(f"{here}/outages/{meter.id}/end", 422, ends_at="2026-01-05T09:00")
    assert "f-outage-ends_at" in page.root.xpath("//@id")
    assert page.root.xpath("//*[@aria-invalid]/@id") == [f"f-{meter.id}-ends_at"]
    await console.admin.post(f"{here}/outages/{cable.id}/end", ends_at="2026-01-05T11:00")
    page = await console.admin.post(f"{here}/outages/{cable.id}/end", 422, ends_at="2026-01-05T11:30")
    assert "ended" in page.texts("//main/div[@role='alert']")[0]


async def test_a_token_is_shown_once_and_nobody_revokes_themselves(console):
    answer = await console.admin.post("/settings/operators", name="Bea", role="viewer")
    page = await console.admin.follow(answer)
    assert page.texts("//dl[@class='reveal']//code")[0].startswith("evl_")
    assert "evl_" not in (await console.admin.get("/settings")).text
    page = await console.admin.post("/settings/operators", 422, name="Bea", role="viewer")
    assert "exists already" in page.main
    (me,) = [row for row in await console.world.rows("principal") if row.name == "admin"]
    await console.admin.post(f"/settings/operators/{me.id}/revocation", 409)
    (brp,) = [row for row in await console.world.rows("principal") if row.name == "brp"]
    await console.admin.post(f"/settings/operators/{brp.id}/link", 403)


async def test_ones_own_password_needs_the_present_one(console):
    new = {"password": "a long enough pass phrase", "again": "a long enough pass phrase"}
    await console.viewer.post("/account/password", **new)
    page = await console.viewer.post("/account/password", 422, **new, present="wrong one")
    assert "not your password" in page.fault("present")
    page = await console.viewer.post("/account/password", 422, password="short", again="short", present=new["password"])
    assert "12 to 200" in page.main
    page = await console.viewer.post("/account/password", 422, **new | {"again": "else"}, present=new["password"])
    assert "The two passwords differ" in page.fault("again")


async def test_a_link_made_in_the_settings_works(console):
    (viewer,) = [row for row in await console.world.rows("principal") if row.name == "viewer"]
    answer = await console.admin.post(f"/settings/operators/{viewer.id}/link")
    link = (await console.admin.follow(answer)).texts("//dl[@class='reveal']//code")[0]
    path = link.removeprefix(f"http://127.0.0.1:{console.client.port}")
    assert "signs you in as viewer" in (await console.stranger.get(path)).main


async def test_the_audit_is_filtered(console):
    await console.admin.post("/groups", name="North")
    await console.world.ven("home", register=False)
    page = await console.admin.get("/audit?action=create+group")
    assert page.texts("//tbody/tr/td[@data-label='Who']") == ["admin"]
    assert '"name": "North"' in page.main
    page = await console.admin.get("/audit?who=nobody")
    assert "No change matches" in page.main
    page = await console.admin.get("/audit?until=2026-01-11")
    assert "No change matches" in page.main
    page = await console.admin.get("/audit?since=2026-01-12&until=2026-01-12&text=ven_")
    assert "create VEN" in page.main


async def test_health_says_when_the_store_does_not_answer(console):
    page = await console.viewer.get("/system")
    assert "answered in" in page.main
    assert "sqlite" in page.main


async def test_presets_are_compared_when_asked(console):
    ven, _, _ = await metered_ven(console.world, 1)
    programme = await console.world.programme(ven)
    here = f"/programmes/{programme.id}/baselines"
    assert here in [one.get("href") for one in (await console.viewer.get(f"/programmes/{programme.id}")).root.iter("a")]
    page = await console.viewer.get(here)
    assert not page.texts("//table")
    page = await console.viewer.get(f"{here}?since=17:00&until=18:00&days=weekday")
    names = [text.split()[0] for text in page.texts("//tbody//th")]
    assert sorted(names) == sorted(PRESETS)
    assert "smallest error" in page.texts("//tbody//th")[0]
    (used,) = [text for text in page.texts("//tbody//th") if "in use" in text]
    assert used.startswith(programme.parameters.baseline)
    assert len(page.texts("//tbody//meter")) == sum(not method.needs for method in PRESETS.values())
    assert any("no control group" in text for text in page.texts("//tbody//tr"))
    assert page.texts("//section//h2") == ["17:00 to 18:00, weekdays"]
    assert not any(mark in text for text in page.texts("//tbody//td") for mark in "-\N{MINUS SIGN}"), "signs and words"


@pytest.mark.parametrize(
    ("bias", "said"), [(-0.064, "6.4 % too low"), (0.064, "6.4 % too high"), (-0.0004, "0 %"), (0.0004, "0 %")]
)
async def test_a_bias_is_said_in_words(console, monkeypatch, bias, said):
    figures = Accuracy(homes=1, days=9, bias=bias, pool_rmse=0.1, home_rmse=0.2)
    found = baseline_comparison.Comparison("10of10", 1, 1, {"10of10": figures})

    async def compare(*_):
        return found

    monkeypatch.setattr(baseline_comparison, "compare", compare)
    programme = await console.world.programme()
    page = await console.viewer.get(f"/programmes/{programme.id}/baselines?since=17:00&until=18:00")
    assert [text.replace("\xa0", " ") for text in page.texts("//td[@data-label='Bias']")] == [said]


async def test_hours_of_a_comparison_that_end_before_they_begin_are_said_to_end_on_the_next_day(console):
    ven, wish, _ = await metered_ven(console.world, 1, days=1)
    await send(ven, wish, NOON - timedelta(days=31), *[300.0] * (30 * 48))
    programme = await console.world.programme(ven, time_zone="Asia/Tokyo")
    here = f"/programmes/{programme.id}/baselines"
    page = await console.viewer.get(f"{here}?since=22:00&until=02:00")
    assert page.texts("//section//h2") == ["22:00 to 02:00 on the next day, weekdays"]
    assert "Asia/Tokyo" in page.texts("//header")[0], "the clock is that of the page"
    page = await console.viewer.get(f"{here}?since=17:00&until=17:00", 422)
    assert "Enter another time" in page.fault("until")
    nobody = await console.world.programme()
    page = await console.viewer.get(f"/programmes/{nobody.id}/baselines?since=17:00&until=18:00")
    assert "No VEN takes part" in page.main


async def test_a_comparison_without_history_says_what_to_do(console):
    programme = await console.world.programme(await console.world.ven())
    here = f"/programmes/{programme.id}/baselines"
    page = await console.viewer.get(f"{here}?since=22:00&until=02:00")
    assert "HISTORY_USAGE" in page.main
    for since in ("25:00", "17:00Z", "17:00+02:00", "17", ""):
        page = await console.viewer.get(f"{here}?since={since.replace('+', '%2B')}&until=18:00", 422)
        assert page.texts("//*[@class='fault']")


async def test_a_comparison_without_any_error_is_one(console):
    ven, wish, _ = await metered_ven(console.world, 1, days=1)
    await send(ven, wish, NOON - timedelta(days=31), *[300.0] * (30 * 48))
    programme = await console.world.programme(ven)
    page = await console.viewer.get(f"/programmes/{programme.id}/baselines?since=23:00&until=01:00")
    assert len(page.texts("//tbody//meter")) == sum(not method.needs for method in PRESETS.values())
    assert any("no control group" in text for text in page.texts("//tbody//tr"))
    assert set(page.texts("//tbody//td[@data-label='Days']")) != {"0"}
    assert {" ".join(text.split()) for text in page.texts("//tbody//td[@data-label='Bias']")} == {"0 %"}


async def test_a_vens_page_shows_what_was_wrong_with_its_messages(console):
    ven = await console.world.ven()
    await ven.say(CreatedReport(Response(452, HOSTILE[0]), (), ven.ven_id))
    await console.world.faults.flush()
    page = await console.viewer.get(f"/fleet/{ven.ven_id}")
    (row,) = page.texts("//section[@id='faults']//tbody/tr")
    assert "oadrCreatedReport 452" in row
    assert HOSTILE[0] in row


async def test_a_ven_that_takes_no_messages_is_shown_as_unreachable(console):
    dead, quiet = await console.world.ven(), await console.world.ven()
    pushed = {"mode": "push", "address": "https://home.example/", "last_seen_at": NOON - timedelta(days=9)}
    async with console.world.tx() as tx:
        await tx.conn.execute(update(ven_table).values(**pushed))
        why = {"unreachable_at": NOON - timedelta(hours=1), "unreachable_why": "<b>nobody</b> answers"}
        await tx.conn.execute(update(ven_table).where(ven_table.c.id == dead.ven_id).values(**why))
    page = await console.viewer.get("/")
    assert "1 VEN takes no messages at its address" in page.text
    page = await console.viewer.get("/fleet?presence=unreachable")
    assert len(page.texts("//tbody/tr")) == 1
    page = await console.viewer.get(f"/fleet/{dead.ven_id}")
    for text in ("unreachable", "https://home.example/", "&lt;b&gt;nobody&lt;/b&gt; answers", "push"):
        assert text in page.text
    page = await console.viewer.get(f"/fleet/{quiet.ven_id}")
    assert "online" in page.text, "silence of a VEN in push mode says nothing"
    assert "nreachable" not in page.text


async def test_a_programmes_holidays_and_outages_are_shown_and_entered(console):
    programme = await console.world.programme(country="DE", time_zone="Europe/Berlin")
    here = f"/programmes/{programme.id}/days"
    assert here in [one.get("href") for one in (await console.viewer.get(f"/programmes/{programme.id}")).root.iter("a")]
    page = await console.viewer.get(here)
    assert "Labor Day" in page.main
    assert "Add a holiday" not in page.main
    assert "Christmas Eve" not in (await console.viewer.get(f"{here}?year=2027")).main
    await console.viewer.get(f"{here}?year=12", 404)
    page = await console.admin.post(here, 422, day="2026-02-30", name="x")
    await console.admin.post(here, day="2026-12-24", name="Christmas Eve")
    assert "Christmas Eve" in (await console.viewer.get(here)).main
    await console.admin.post(here, 422, day="2026-12-24", name="  ")
    # A day can be both; what is taken back is the programme's own.
    await console.admin.post(here, day="2026-05-01", name="Works outing")
    page = await console.viewer.get(here)
    assert "the programme's own, and public: Labor Day" in page.main
    answer = await console.admin.post(f"{here}/2026-05-01/remove")
    assert "2026-05-01 remains a public holiday: Labor Day." in (await console.admin.follow(answer)).main
    # 10:00 in Berlin is 9:00 in UTC; half past two does not exist on 29 March.
    await console.admin.post(f"{here}/outages", starts_at="2026-01-05T10:00", reason="Cable damaged")
    (row,) = await console.world.rows("outage")
    assert row.starts_at.isoformat() == "2026-01-05T09:00:00+00:00"
    page = await console.admin.post(f"{here}/outages", 422, starts_at="2026-03-29T02:30", reason="Clocks")
    assert "clocks are set forward" in page.main
    assert "Cable damaged" in (await console.viewer.get(here)).main
    page = await console.admin.post(f"/programmes/{programme.id}", 422, name="P", version=1, parameters__country="XX")
    assert "is no country" in page.main


async def test_a_message_that_is_planned_says_for_when(console):
    world = console.world
    ven = await world.ven("home")
    async with world.tx() as tx:
        await services_outbox.plan(tx, ven.ven_id, Intent.REPORT_DUE, world.now, {"r": NOON + timedelta(hours=2)})
    page = await console.viewer.get(f"/fleet/{ven.ven_id}/messages")
    assert "Report data r pending due" in " ".join(page.main.split())
    assert "14:00" in page.main
