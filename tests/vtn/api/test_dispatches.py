"""Programmes, dispatches and reports: what is taken, and what is refused before it can harm a VEN."""

import contextlib
import json
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.opt import Availability, Opt, OptType
from openadr.model.report import Report, ReportInterval, ReportPayload
from openadr.model.signal import SIGNAL_TABLE
from openadr.model.target import Target
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import CreateOpt, DistributeEvent
from support.vtn_world import MINUTE, NOON, data, simple, usage
from vtn.api.fields import _URI
from vtn.api.targets import EventTarget
from vtn.services import fleet, opt, site
from vtn.store.database import Transaction
from vtn.transport.v20b.check import check_programme
from web.operation import Operation


def _signal(**changes):
    usual = {"name": "LOAD_DISPATCH", "type": "delta", "unit": "W", "intervals": [{"duration": "PT1H", "value": -1}]}
    return usual | changes


def _intervals(*values, each="PT1H"):
    return [{"duration": each, "value": value} for value in values]


_ODD_ORDERS = [
    ({"start": "2020-01-01T00:00:00Z"}, "has passed"),
    ({"start": "2026-01-13T00:00:00"}, "/start"),
    ({"start": "2199-12-31T23:30:00Z"}, "2199"),
    ({"signals": []}, "/signals"),
    ({"signals": [_signal(unit="horsepower")]}, "Unknown unit"),
    ({"signals": [_signal(unit=None)]}, "takes"),
    ({"signals": [_signal(name="LOAD")]}, "table of signals"),
    ({"signals": [_signal(type="price")]}, "table of signals"),
    ({"signals": [_signal(intervals=_intervals(1e13))]}, "/signals/0/intervals/0/value"),
    ({"signals": [_signal(intervals=_intervals(1, each="PT0.5S"))]}, "duration"),
    ({"signals": [_signal(intervals=_intervals(1, each="-PT1H"))]}, "negative"),
    ({"signals": [_signal(intervals=_intervals(1, 2, each="PT0S"))]}, "open-ended"),
    ({"signals": [_signal(intervals=_intervals(1) + _intervals(2, each="PT0S"))]}, "PT0S"),
    ({"signals": [_signal(intervals=_intervals(1, each="P99999Y"))]}, "calendar"),
    ({"signals": [_signal(), _signal()]}, "signalID"),
    ({"signals": [_signal(), _signal(id="b", intervals=_intervals(1, 2))]}, "last"),
    ({"signals": [_signal(device_classes=["Toaster"])]}, "end-device class"),
    ({"signals": [_signal(name="x-mine\u0007")]}, "control characters"),
    ({"signals": [_signal(name="x-mine", type="nonsense", unit=None)]}, "cannot carry"),
    ({"signals": [{"name": "SIMPLE", "type": "level", "intervals": _intervals(4)}]}, "0, 1, 2 or 3"),
    ({"comment": "a\u001bb"}, "/comment"),
    ({"priority": 1001}, "/priority"),
    ({"direction": "up"}, "/direction"),
    ({"own_values": {"VEN": {"nothing": [1]}}}, "do not fit"),
    ({"own_values": {"VEN": {"load_dispatch": [1, 2]}}}, "do not fit"),
    ({"own_values": {"VEN": {"load_dispatch": [1e300]}}}, "/own_values"),
    ({"surprise": 1}, "/surprise"),
    ({"baseline": {"intervals": []}}, "/baseline/intervals"),
    ({"baseline": {"intervals": _intervals(1), "unit": "horsepower"}}, "Unknown unit"),
    ({"baseline": {"intervals": _intervals(1), "id": "load_dispatch"}}, "another id"),
    ({"baseline": {"intervals": _intervals(1, each="PT0S")}}, "baseline has a length"),
    ({"baseline": {"intervals": _intervals(1, each="-PT1H")}}, "negative"),
    ({"baseline": {"intervals": _intervals(1, each="P300Y")}}, "2199"),
    ({"baseline": {"intervals": _intervals(1, each="P99999Y")}}, "calendar"),
    ({"baseline": {"intervals": _intervals(1e13)}}, "/baseline/intervals/0/value"),
    ({"baseline": {"intervals": _intervals(1), "name": "a\u0007"}}, "/baseline/name"),
    ({"baseline": {"intervals": _intervals(1), "start": "2026-01-12T13:00:00"}}, "/baseline/start"),
    ({"baseline": {"intervals": _intervals(1)}, "own_values": {"VEN": {"baseline": [1, 2]}}}, "do not fit"),
    ({"target": {"ven_ids": ["ven_x"]}}, "/target/ven_ids"),  # EV-22
    ({"target": {"group_ids": [""]}}, "/target/group_ids/0"),
    ({"target": {"group_ids": ["a\u0007"]}}, "control characters"),
    ({"target": {"group_ids": ["g"] * 101}}, "/target/group_ids"),
    ({"target": {"party_ids": ["p" * 201]}}, "/target/party_ids/0"),
    ({"target": {"device_classes": ["Toaster"]}}, "end-device class"),
    ({"target": {"transports": [{"receipt": "A\nB", "delivery": "C"}]}}, "control characters"),
    ({"target": {"service_areas": [[{"latitude": 1, "longitude": 1}]]}}, "/target/service_areas/0"),
    ({"target": {"service_areas": [[{"latitude": 1, "longitude": 1}] * 3]}}, "corners"),
    ({"target": {"service_areas": [[{"latitude": 91, "longitude": 1}] * 3]}}, "/latitude"),
    ({"areas": ["a\u0007b"]}, "/areas/0"),
]


async def test_an_odd_order_is_refused_and_changes_nothing(office):
    ven = await office.world.ven()
    programme = await office.programme(ven)
    before = await office.world.dump()
    for changes, text in _ODD_ORDERS:
        body = office.order(programme) | changes
        if "own_values" in changes:
            body["own_values"] = {ven.ven_id: changes["own_values"]["VEN"]}
        await office.refused("/v1/dispatches", body, text)
    assert await office.world.dump() == before


async def test_an_order_names_what_exists(office):
    programme = await office.programme()
    await office.refused("/v1/dispatches", office.order("prg_nothing"), "No programme", 404)
    await office.refused("/v1/dispatches", office.order(programme), "No VEN is enrolled")
    await office.refused("/v1/dispatches", office.order(programme, ven_ids=["ven_x"]), "ven_x", 404)


async def test_what_is_taken_reaches_the_ven(office):
    """The longest texts and the largest numbers that are taken can be sent, and are read in strict mode."""
    ven = await office.world.ven()
    programme = await office.programme(ven, start_after="PT10M", ramp_up="-PT5M", recovery="PT5M", priority=1000)
    signals = [
        _signal(intervals=_intervals(*[-1e12, 1e12, 0.1] * 1000, each="PT1M"), unit="MW"),
        _signal(id="ä" * 80, device_classes=["Water_Heater", "x-" + "k" * 78], intervals=_intervals(1, each="PT3000M")),
        {"name": "x-" + "n" * 78, "type": "level", "intervals": _intervals(1.5, each="PT3000M")},
        {"name": "ELECTRICITY_PRICE", "type": "price", "unit": "EUR/kWh", "intervals": _intervals(0.3, each="PT3000M")},
    ]
    body = office.order(programme, signals=signals, comment="<&>]]> ñ 家 " * 150, priority=0, test_event=True)
    made = await office.post("/v1/dispatches", body)
    assert made["dispatch"]["duration"] == "P2DT2H"
    assert {one["id"] for one in made["dispatch"]["signals"]} >= {"load_dispatch", "ä" * 80}
    (listed,) = await ven.events()
    assert listed.event.vtn_comment == body["comment"]
    assert len(listed.event.signals[0].intervals) == 3000


async def test_a_ven_gets_its_resources_as_target(office):
    ven = await office.world.ven()
    order = office.order(await office.programme(ven), resource_ids=["heater", "kotel ä"])
    made = await office.post("/v1/dispatches", order)
    assert made["dispatch"]["resource_ids"] == ["heater", "kotel ä"]
    (listed,) = await ven.events()
    assert listed.event.target == Target(resource_ids=("heater", "kotel ä"))


_AREA = [{"latitude": 59.0, "longitude": 18.0}, {"latitude": 60, "longitude": 18}, {"latitude": 60, "longitude": 19}]
_TARGET = {
    "group_ids": ["north", "grupp ä <&>"],
    "group_names": ["Zone 3"],
    "party_ids": ["dso-7"],
    "device_classes": ["Water_Heater", "x-own"],
    "aggregated_pnodes": ["LZ_NORTH"],
    "pnodes": ["bus-12", "bus-13"],
    "delivery_points": ["0735999"],
    "meters": ["urn:uuid:9"],
    "transports": [{"receipt": "A", "delivery": "B"}],
    "service_areas": [_AREA, [*_AREA, {"latitude": 1e-5, "longitude": -180}]],
    "service_locations": [_AREA],
}


async def test_an_event_says_whom_it_is_for(office):
    """Each criterion alone and all together: sent in the schema's order, read in strict mode, and shown again."""
    ven = await office.world.ven()
    programme = await office.programme(ven)
    nothing = {name: [] for name in _TARGET}
    chosen = [{name: value} for name, value in _TARGET.items()] + [_TARGET]
    expected = {}
    for target in chosen:
        made = await office.post("/v1/dispatches", office.order(programme, target=target, resource_ids=["heater"]))
        assert made["dispatch"]["target"] == nothing | target
        assert made["dispatch"]["resource_ids"] == ["heater"]
        (event,) = made["events"]
        expected[event["id"]] = EventTarget.model_validate(target).value(["heater"])
    sent = {one.event.event_id: one.event.target for one in await ven.events()}
    area = {
        ("serviceArea", text) for target in expected.values() for name, text in target.other if name == "serviceArea"
    }
    assert len(area) == 2
    assert sent.keys() == expected.keys()
    for name, target in expected.items():
        assert replace(sent[name], other=()) == replace(target, other=())
        assert EventTarget.shown(sent[name]) == EventTarget.shown(target)
        assert not sent[name].ven_ids  # EV-22, and EV-67: else it would be for all of the VEN


async def test_an_event_carries_a_baseline(office):
    ven = await office.world.ven()
    programme = await office.programme(ven)
    body = {"unit": "kW", "resource_ids": ["heater", "kotel ä"], "intervals": _intervals(1.5, 2, each="PT30M")}
    own = {ven.ven_id: {"baseline": [7, 8]}}
    made = (await office.post("/v1/dispatches", office.order(programme, baseline=body, own_values=own)))["dispatch"]
    assert made["baseline"] == body | {"id": "baseline", "name": "baseline", "start": made["start"]}
    (listed,) = await ven.events()
    assert [one.value for one in listed.event.baseline.intervals] == [7, 8]
    assert listed.event.baseline.start == listed.event.period.start
    path = f"/v1/dispatches/{made['id']}"
    yesterday = {"start": "2026-01-11T13:00:00Z", "id": "baseline", "name": "Yesterday ä"}
    changed = await office.call("PATCH", path, 200, {"baseline": body | yesterday})
    assert changed["dispatch"]["baseline"] == body | yesterday
    (listed,) = await ven.events()
    assert (listed.event.modification_number, listed.event.baseline.name) == (1, "Yesterday ä")
    await office.call("PATCH", path, 409, {"baseline": body | {"id": "other"}})
    await office.call("PATCH", path, 422, {"baseline": body | {"unit": "horsepower"}})
    plain = await office.post("/v1/dispatches", office.order(programme))
    assert plain["dispatch"]["baseline"] is None


async def test_a_changed_event_is_for_the_same(office):
    ven = await office.world.ven()
    order = office.order(await office.programme(ven), target={"group_ids": ["north"]})
    made = await office.post("/v1/dispatches", order)
    path = f"/v1/dispatches/{made['dispatch']['id']}"
    await office.call("PATCH", path, 200, {"signals": [_signal(intervals=_intervals(-2))]})
    (listed,) = await ven.events()
    assert listed.event.target == Target(group_ids=("north",))


async def test_groups_and_areas_of_the_fleet_are_called(office):
    ven, other = await office.world.ven(), await office.world.ven()
    programme = await office.programme(ven, other)
    group = (await office.post("/v1/groups", {"name": "north"}))["id"]
    for order in ({"group_ids": [group]}, {"areas": ["F1"]}):
        await office.refused(
            "/v1/dispatches", office.order(programme, **order), "", 422 if "group_ids" in order else 404
        )
    async with office.world.tx() as tx:
        await fleet.add_to_group(tx, group, [ven.ven_id], office.world.now, who="ann")
        await site.set_area(tx, [other.ven_id], "F1", office.world.now, time_zone="UTC", who="ann")
    for order, called in (({"group_ids": [group]}, ven), ({"areas": ["F1"]}, other)):
        made = await office.post("/v1/dispatches", office.order(programme, **order))
        assert [one["ven_id"] for one in made["events"]] == [called.ven_id]


async def test_every_signal_of_the_table_can_be_ordered(office):
    """And its unit comes back as it was written (EV-29)."""
    units = {
        "powerReal": "kW", "powerApparent": "kVA", "powerReactive": "kvar",
        "energyReal": "MWh", "energyApparent": "kVAh", "energyReactive": "kvarh",
        "currencyPerKWh": "EUR/kWh", "currencyPerKW": "GBP/kW", "currency": "USD",
    }  # fmt: skip
    ven = await office.world.ven()
    programme = await office.programme(ven)
    wanted = [
        (name, kind, unit)
        for (name, kind), (bases, _, _) in SIGNAL_TABLE.items()
        for unit in ([units[base] for base in sorted(bases)] or [None])
    ]
    for first in range(0, len(wanted), 10):
        signals = [
            {"name": name, "type": kind, "unit": unit, "id": f"s{number}", "intervals": _intervals(1)}
            for number, (name, kind, unit) in enumerate(wanted[first : first + 10])
        ]
        made = await office.post("/v1/dispatches", office.order(programme, signals=signals))
        assert [one["unit"] for one in made["dispatch"]["signals"]] == [one["unit"] for one in signals]
    assert sum(len(one.event.signals) for one in await ven.events()) == len(wanted)


async def test_an_open_ended_dispatch_runs_until_it_is_cancelled(office):
    ven = await office.world.ven()
    order = office.order(await office.programme(ven), signals=[_signal(intervals=_intervals(-5, each="PT0S"))])
    made = await office.post("/v1/dispatches", order)
    assert made["dispatch"]["end"] is None
    path = f"/v1/dispatches/{made['dispatch']['id']}"
    office.world.later(days=30)
    assert (await office.get(path))["dispatch"]["status"] == "active"
    await office.refused(f"{path}/evaluation", None, "open-ended")
    assert (await office.post(f"{path}/cancellation", status=200))["dispatch"]["status"] == "cancelled"


async def test_a_change_is_held_to_the_same_rules(office):
    ven = await office.world.ven()
    made = await office.post("/v1/dispatches", office.order(await office.programme(ven)))
    path = f"/v1/dispatches/{made['dispatch']['id']}"
    bad = [_signal(name="x-mine", type="nonsense", unit=None)]
    problem = await office.call("PATCH", path, 422, {"signals": bad})
    assert "cannot carry" in problem["detail"]
    later = (office.world.now + timedelta(hours=3)).isoformat()
    changed = await office.call("PATCH", path, 200, {"start": later, "signals": [_signal(unit="kW")]})
    assert [one["modification_number"] for one in changed["events"]] == [1]
    assert changed["dispatch"]["signals"][0]["unit"] == "kW"
    await office.call("PATCH", "/v1/dispatches/x", 404, {"start": later})
    event = f"/v1/events/{made['events'][0]['id']}"
    own = await office.call("PUT", f"{event}/values", 200, {"load_dispatch": [-7]})
    assert own["events"][0]["modification_number"] == 2
    cancelled = await office.post(f"{event}/cancellation", status=200)
    assert cancelled["events"][0]["status"] == "cancelled"
    assert cancelled["dispatch"]["status"] == "far"


_ODD_PROGRAMMES = [
    ({"market_context": "not a uri"}, "absolute URI"),
    ({"market_context": "evening"}, "absolute URI"),
    ({"market_context": "http://x/%zz"}, "absolute URI"),
    ({"market_context": "http://x/" + "a" * 500}, "/market_context"),
    ({"market_context": "http://grid:port/"}, "cannot carry"),
    ({"name": ""}, "/name"),
    ({"name": "a\u2028b"}, "/name"),
    ({"parameters": {"notification": "1 hour"}}, "/parameters/notification"),
    ({"parameters": {"notification": "-PT1H"}}, "notification"),
    ({"parameters": {"notification": "P1M"}}, "notification"),
    ({"parameters": {"start_after": "P32D"}}, "start_after"),
    ({"parameters": {"ramp_up": "-P32D"}}, "ramp_up"),
    ({"parameters": {"time_zone": "Mars/Base"}}, "IANA"),
    ({"parameters": {"time_zone": "../../etc/passwd"}}, "IANA"),
    ({"parameters": {"baseline": "guess"}}, "high5of10"),
    ({"parameters": {"response_required": "maybe"}}, "/parameters/response_required"),
]


async def test_an_odd_programme_is_refused(office):
    usual = {"name": "P", "market_context": "http://grid/p"}
    for body, text in _ODD_PROGRAMMES:
        await office.refused("/v1/programmes", usual | body, text)
    assert (await office.get("/v1/programmes"))["items"] == []


@settings(max_examples=30, database=None, suppress_health_check=list(HealthCheck))
@given(context=st.from_regex(_URI, fullmatch=True).filter(lambda text: len(text) <= 500))
async def test_a_market_context_is_sent_or_refused_but_never_breaks(context):
    period = ActivePeriod(NOON, Duration.of(hours=1))
    with contextlib.suppress(InvalidError):
        await check_programme(context, period)
        one = Event("e", 0, context, NOON, period, (simple(1),))
        sent = encode(DistributeEvent("v", "r", (DeliveredEvent(one, EventStatus.FAR),)))
        assert decode(sent, strict=True).events[0].event.market_context == context


async def test_a_programme_changes_by_versions(office):
    programme = await office.programme(notification="PT1M")
    path = f"/v1/programmes/{programme}"
    async with office.client.get(path, headers=office.headers("admin")) as answer:
        tag = answer.headers["ETag"]
    body = {"name": "Q", "parameters": {"notification": "PT2M"}}
    headers = office.headers("admin") | {"If-Match": tag}
    async with office.client.put(path, json=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["version"]) == (200, 2)
    async with office.client.put(path, json=body, headers=headers) as answer:
        assert answer.status == 412
    assert (await office.get(path))["parameters"]["notification"] == "PT2M"
    again = {"name": "R", "market_context": (await office.get(path))["market_context"].replace("grid", "GRID")}
    await office.refused("/v1/programmes", again, "exists already", 409)


async def test_reports_are_asked_for_and_readings_read(office):
    ven = await office.world.ven()
    await ven.offer(usage("meter"))
    path = f"/v1/vens/{ven.ven_id}"
    offered = await office.get(f"{path}/reports")
    assert [(one["specifier_id"], one["points"][0]["unit"]) for one in offered["offers"]] == [("usage", "Wh")]
    wish = {"specifier_id": "usage", "r_ids": ["meter"]}
    made = await office.post(f"{path}/report-requests", wish)
    assert made["state"] == "queued"
    await ven.drain()
    await ven.report(data(made["id"], office.world.now, 1.0, 2.0, 3.0))
    (request,) = (await office.get(f"{path}/reports"))["requests"]
    assert request["state"] == "done"
    span = "since=2026-01-12T00:00:00Z&until=2026-01-13T00:00:00Z"
    (series,) = (await office.get(f"{path}/readings?{span}"))["items"]
    assert series["value"] == [1.0, 2.0, 3.0]
    assert series["series"] == {"resource_id": "meter", "quantity": "energy_real", "kind": "sum", "source": "ven"}
    assert (await office.get(f"{path}/readings?{span}&resource_id=other"))["items"] == []
    await office.get(f"{path}/readings?since=2026-01-13T00:00:00Z&until=2026-01-12T00:00:00Z", 422)
    await office.get(f"{path}/readings?since=2020-01-13T00:00:00Z&until=2026-01-12T00:00:00Z", 422)


async def test_what_is_settled_is_shown_and_chosen(office):
    ven = await office.world.ven()
    export = replace(usage("x-exp").descriptions[0], r_id="exp", report_type="x-export")
    await ven.offer(replace(usage("meter"), descriptions=(*usage("meter").descriptions, export)))
    path = f"/v1/vens/{ven.ven_id}"
    made = await office.post(f"{path}/report-requests", {"specifier_id": "usage", "r_ids": ["meter", "exp"]})
    await ven.drain()
    payloads = (ReportPayload("meter", 1.0), ReportPayload("exp", 9e9))
    sent = Report(made["id"], "usage", "TELEMETRY_USAGE", NOON, (ReportInterval(payloads, NOON, MINUTE),), NOON)
    await ven.report(sent)
    found = await office.get(f"{path}/settlement-series", who="viewer")
    assert (found["flow"], found["chosen_by"], found["connection_is_known"]) == ("gross", "meaning", False)
    settled = {one["point"]["r_id"]: one for one in found["series"]}
    assert {name: one["settled"] for name, one in settled.items()} == {"meter": True, "exp": False}
    both = {"series": [one["point"]["series_id"] for one in found["series"]]}
    await office.call("PUT", f"{path}/settlement-series", 403, both, who="viewer")
    await office.call("PUT", f"{path}/settlement-series", 422, {"series": [10**6]})
    net = await office.call("PUT", f"{path}/settlement-series", 200, both)
    assert (net["flow"], [one["sign"] for one in net["series"] if one["point"]["r_id"] == "exp"]) == ("net", [-1])
    assert (await office.audit())[0]["action"] == "choose settlement series"
    span = "since=2026-01-12T00:00:00Z&until=2026-01-13T00:00:00Z"
    qualities = {one["point"]["flow"]: one["quality"] for one in (await office.get(f"{path}/readings?{span}"))["items"]}
    assert qualities == {"import": ["good"], "export": ["uncertain"]}
    again = {"series": [], "connection_w": 400_000}
    again = await office.call("PUT", f"{path}/settlement-series", 200, again)
    assert (again["chosen_by"], again["connection_w"]) == ("meaning", 400_000)
    await office.call("PUT", f"{path}/site", 200, {"time_zone": "UTC", "metering_point": "meter"})
    found = await office.get(f"{path}/settlement-series")
    assert (found["connection_w"], found["notes"]) == (400_000, ["The metering point meter."])


async def test_too_many_readings_are_not_gathered(office, monkeypatch):
    monkeypatch.setattr("vtn.api.reports._MOST_VALUES", 2)
    ven = await office.world.ven()
    await ven.offer(usage("meter"))
    path = f"/v1/vens/{ven.ven_id}"
    made = await office.post(f"{path}/report-requests", {"specifier_id": "usage", "r_ids": ["meter"]})
    await ven.drain()
    await ven.report(data(made["id"], office.world.now, 1.0, 2.0, 3.0))
    problem = await office.get(f"{path}/readings?since=2026-01-12T00:00:00Z&until=2026-01-13T00:00:00Z", 422)
    assert "less time" in problem["detail"]
    await office.get(f"{path}/readings?since=2026-01-12T12:00:00Z&until=2026-01-12T12:02:00Z")


_ODD_REQUESTS = [
    ({"specifier_id": "other"}, "is offered"),
    ({"r_ids": ["other"]}, "no rID"),
    ({"r_ids": []}, "/r_ids"),
    ({"granularity": "-PT1M"}, "negative"),
    ({"granularity": "P999999999Y"}, "400 years"),
    ({"report_back": "PT1M", "granularity": "PT1S"}, "outside"),
    ({"report_back": "PT5M"}, "reportInterval"),
]


async def test_an_odd_report_request_is_refused(office):
    ven = await office.world.ven()
    await ven.offer(usage("meter"))
    for changes, text in _ODD_REQUESTS:
        body = {"specifier_id": "usage", "r_ids": ["meter"]} | changes
        await office.refused(f"/v1/vens/{ven.ven_id}/report-requests", body, text)


async def test_status_shows_time_outbox_and_what_was_given_up(office):
    ven = await office.world.ven()
    await office.post("/v1/dispatches", office.order(await office.programme(ven)))
    status = await office.get("/v1/status")
    assert status["vtn_id"] == office.world.settings.vtn_id
    assert status["now"] == "2026-01-12T12:00:00Z"
    assert status["outbox"]["pending"] == 1
    for _ in range(office.world.settings.max_tries + 1):
        await ven.poll()
        office.world.later(minutes=2)
    status = await office.get("/v1/status")
    assert status["outbox"]["dead"] == 1
    assert [(one["ven_id"], one["kind"]) for one in status["dead"]] == [(ven.ven_id, "events_changed")]


async def test_what_speaks_against_an_order_is_said_before_it_goes_out_and_with_it(office):
    ven = await office.world.ven()
    programme = await office.programme(ven)
    more = office.order(programme, signals=[_signal(intervals=_intervals(1500))], direction=None)
    made = await office.post("/v1/dispatches", more)
    assert (made["warnings"], made["dispatch"]["direction"]) == ([], "increase")
    less = office.order(programme, signals=[_signal(intervals=_intervals(-1.5e9))])
    before = await office.world.dump()
    said = (await office.post("/v1/dispatches/check", less, status=200))["warnings"]
    assert await office.world.dump() == before
    assert [("contradicts" in text, "1,500,000,000 W" in text) for text in said] == [(True, False), (False, True)]
    assert (await office.post("/v1/dispatches", less))["warnings"] == said
    short = office.order(await office.programme(ven, limits={"shortest": "PT3H"}))
    (length,) = (await office.post("/v1/dispatches/check", short, status=200))["warnings"][:1]
    assert length.startswith("A call of this programme lasts at least PT3H")


# -- an answer tells what happened


async def _opted_out_for_ever(office):
    """Return a programme with a VEN that has opted out from 2026 on for 9999 years."""
    ven = await office.world.ven()
    said = Opt("o", OptType.OUT, "economic", NOON, availability=(Availability(NOON, Duration.parse("P9999Y")),))
    assert (await ven.say(CreateOpt(ven.ven_id, "q", said))).response.code == 200
    return await office.programme(ven)


async def test_a_ven_that_opted_out_for_ever_spoils_no_dispatch(office):
    made = await office.post("/v1/dispatches", office.order(await _opted_out_for_ever(office)))
    path = f"/v1/dispatches/{made['dispatch']['id']}"
    assert [one["opt"] for one in made["events"]] == ["optOut"]
    assert (await office.get(path))["events"] == made["events"]
    change = {"signals": [_signal(intervals=_intervals(-500))]}
    assert (await office.call("PATCH", path, 200, change))["events"][0]["modification_number"] == 1
    assert (await office.post(f"{path}/cancellation", status=200))["dispatch"]["status"] == "cancelled"


async def test_a_dispatch_is_evaluated_though_a_ven_opted_out_for_ever(office):
    made = await office.post("/v1/dispatches", office.order(await _opted_out_for_ever(office)))
    office.world.later(days=2)
    found = await office.post(f"/v1/dispatches/{made['dispatch']['id']}/evaluation", status=200)
    assert found["opted_out"] == 1


async def test_what_vens_say_of_a_result_is_told_beside_it(office):
    """That they say what, and what agrees, is tested with the service."""
    ven = await office.world.ven()
    made = await office.post("/v1/dispatches", office.order(await office.programme(ven)))
    path = f"/v1/dispatches/{made['dispatch']['id']}"
    assert (await ven.opt((await ven.events())[0])).response.code == 200
    await office.get(f"{path}/self-assessments", 404)
    office.world.later(days=2)
    await office.post(f"{path}/evaluation", status=200)
    found = await office.get(f"{path}/self-assessments")
    assert found == {
        "dispatch_id": made["dispatch"]["id"], "version": 1, "agreeing": 0, "disputed": 0, "silent": 1, "vens": [],
    }  # fmt: skip
    await office.get(f"{path}/self-assessments?version=2", 404)


_WRITES = [
    ("POST", "/v1/dispatches/{dispatch}/cancellation", None, 200, "cancel dispatch"),
    ("PATCH", "/v1/dispatches/{dispatch}", {"start": "2026-01-12T15:00:00Z"}, 200, "change dispatch"),
    ("PUT", "/v1/events/{event}/values", {"load_dispatch": [-5]}, 200, "change event"),
    ("POST", "/v1/events/{event}/cancellation", None, 200, "cancel event"),
    ("POST", "/v1/programmes/{programme}/enrolments", {"ven_ids": ["{ven}"]}, 200, "enrol"),
    ("POST", "/v1/vens", {"name": "another"}, 201, "create VEN"),
    ("POST", "/v1/groups", {"name": "north"}, 201, "create group"),
    ("POST", "/v1/programmes", {"name": "P2", "market_context": "http://grid/p2"}, 201, "programme"),
]


async def test_what_was_committed_is_never_answered_as_an_error(office, monkeypatch):
    """Whatever fails between the commit and the answer, a read or the answer's form: it says what was done."""
    programme = await office.programme(await office.world.ven())
    outsider = await office.world.ven()

    def broken(*_args, **_kwargs):
        raise InvalidError("It cannot be shown.")

    for method, template, body, status, done in _WRITES:
        made = await office.post("/v1/dispatches", office.order(programme))
        names = {
            "dispatch": made["dispatch"]["id"],
            "event": made["events"][0]["id"],
            "programme": programme,
        }
        sent = None if body is None else json.loads(json.dumps(body).replace("{ven}", outsider.ven_id))
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(Operation, "write_answer", broken)
            told = await office.call(method, template.format(**names), status, sent)
        assert told["type"] == "urn:evenload:problem:not-shown", template
        assert done in told["detail"], told
        assert [one["event"] for one in logs if one["log_level"] == "error"] == ["committed, but not shown"]
        assert done in [one["action"] for one in (await office.audit())[:2]]
    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(opt, "effective", broken)
        told = await office.post("/v1/dispatches", office.order(programme))
    assert told["detail"].split("dispatch ")[1].split(".")[0] in [
        one["id"] for one in (await office.get("/v1/dispatches"))["items"]
    ]


async def test_what_fails_before_the_commit_is_an_error(office, monkeypatch):
    programme = await office.programme(await office.world.ven())
    before = await office.world.dump()

    def broken(*_args, **_kwargs):
        raise InvalidError("No.")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "check", broken)
        await office.post("/v1/dispatches", office.order(programme), 422)
    assert await office.world.dump() == before


async def test_a_dispatch_is_changed_on_condition_that_nobody_else_changed_it(office):
    """A condition that is sent is kept: also where answers of VENs change what is read."""
    ven = await office.world.ven()
    made = await office.post("/v1/dispatches", office.order(await office.programme(ven)))
    path, admin = f"/v1/dispatches/{made['dispatch']['id']}", office.headers("admin")

    async def change(watts, tag):
        body = {"signals": [_signal(intervals=_intervals(watts))]}
        async with office.client.patch(path, json=body, headers=admin | {"If-Match": tag}) as answer:
            return answer.status, answer.headers.get("ETag")

    async def tag():
        async with office.client.get(path, headers=admin) as answer:
            return answer.headers["ETag"]

    old = await tag()
    assert await tag() == old
    status, new = await change(-2, old)
    assert (status, await tag()) == (200, new)
    assert (await change(-3, old))[0] == 412
    signal = (await office.get(path))["dispatch"]["signals"][0]
    assert [one["value"] for one in signal["intervals"]] == [-2]
    await ven.opt((await ven.events())[0])
    assert (await change(-3, new))[0] == 412, "the VEN answered: what was read is old"
    assert (await change(-3, await tag()))[0] == 200
