"""A baseline that comes with an event is kept and shown, and nothing is done by it."""

import json
from dataclasses import replace
from datetime import timedelta

from core.spans import LATEST, Duration
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.model.signal import Baseline, Interval
from openadr.model.units import POWER_REAL_W
from openadr.v20b.encode import encode
from openadr.v20b.messages import CreatedEvent, DistributeEvent, OadrResponse, Response
from ven.explain import as_json, as_text, explain
from ven.status import as_lines, read_status
from ven.store import Store

HOUR = Duration.of(hours=1)
DAY = timedelta(days=1)


def supposed(event, *values, **changes):
    start = event().period.start
    parts = tuple(Interval(HOUR, value) for value in values)
    kilowatts = replace(POWER_REAL_W, scale="k")
    lasts = Duration.of(hours=len(values))
    return replace(Baseline(start, lasts, parts, "b1", "A usual\n day", ("home", "garage"), kilowatts), **changes)


def wire(*events):
    delivered = tuple(DeliveredEvent(one, EventStatus.FAR) for one in events)
    return encode(DistributeEvent("vtn", "r", delivered, Response()))


def test_ev37_it_is_kept_with_the_event_and_shown(benches, household, event, tmp_path):
    home = household.model_copy(update={"state": tmp_path})
    store = Store(tmp_path / "gateway.db")
    bench = benches(home, store).register()
    sent = event(baseline=supposed(event, 1.25, 3.5))
    bench.deliver(sent)
    (answer,) = bench.exchange(CreatedEvent, OadrResponse(Response())).event_responses
    assert answer.code == 200
    assert bench.deliver(sent) == [], "known, and the same"
    store.close()
    reopened = Store(tmp_path / "gateway.db")
    assert reopened.event("evt").event.baseline == sent.baseline
    reopened.close()
    status = read_status(home)
    (shown,) = status["events"]
    start = sent.period.start
    assert shown["baseline"] == {
        "id": "b1",
        "name": "A usual\n day",
        "start": start.isoformat(),
        "end": (start + timedelta(hours=2)).isoformat(),
        "unit": "kW",
        "resources": ["home", "garage"],
        "lowest": 1.25,
        "highest": 3.5,
        "length": 2,
        "intervals": [
            {"start": start.isoformat(), "value": 1.25},
            {"start": (start + timedelta(hours=1)).isoformat(), "value": 3.5},
        ],
    }
    assert "    the VTN's baseline A usual day: 1.25 to 3.5 kW\n" in as_lines(status)


def test_a_changed_baseline_changes_the_event(bench, event):
    bench.register()
    bench.deliver(event(baseline=supposed(event, 1.0)))
    bench.exchange(CreatedEvent, OadrResponse(Response()))
    assert bench.deliver(event(baseline=supposed(event, 2.0), modification=1))
    assert bench.store.event("evt").event.baseline == supposed(event, 2.0)


def test_explain_shows_it_and_plans_the_same(household, event):
    plain, with_one = explain(
        household, wire(event("a"), event("b", baseline=supposed(event, 2.0))), event().created_at
    )
    assert [order.value for order in plain.orders] == [order.value for order in with_one.orders]
    assert "  the VTN's baseline A usual day: 2 kW" in as_text([with_one]).splitlines()
    first, second = as_json([plain, with_one])
    assert first["baseline"] is None
    assert second["baseline"]["unit"] == "kW"
    json.dumps(second, allow_nan=False)


def test_what_is_no_baseline_is_refused_and_not_shown(household, event):
    strange = supposed(event, float("nan"))
    (found,) = explain(household, wire(event(baseline=strange)), event().created_at)
    assert (found.code, found.baseline) == (459, None)
    json.dumps(as_json([found]), allow_nan=False)


def test_a_long_or_endless_one_is_cut(household, event):
    long = supposed(event, *range(5000), resource_ids=tuple(map(str, range(5000))), name="\x1b[2J" + "n" * 900)
    edge = supposed(event, 1.0, start=LATEST - DAY, duration=Duration(12), intervals=(Interval(Duration(12), 1.0),))
    found = explain(household, wire(event("a", baseline=long), event("b", baseline=edge)), event().created_at)
    first, second = as_json(found)
    assert [len(first["baseline"][name]) for name in ("intervals", "resources")] == [100, 100]
    assert first["baseline"]["length"] == 5000
    assert second["baseline"]["end"] is None
    text = as_text(found)
    assert max(map(len, text.splitlines())) < 200
    assert "\x1b" not in text
