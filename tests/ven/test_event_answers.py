"""What the gateway answers to events (catalogue 2b)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.spans import Duration
from openadr.model.event import DeliveredEvent, EventStatus, ResponseRequired
from openadr.model.opt import OptType
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.model.units import ItemBase, PowerAttributes, currency_per_kwh
from openadr.v20b.messages import CreatedEvent, DistributeEvent, OadrResponse, Response, UnreadableEvent
from ven.engine import EventsChanged

QUIET = OadrResponse(Response())


def answers(bench):
    """Return the answers to the last delivery by eventID; the message must be the next one."""
    message = bench.exchange(CreatedEvent, QUIET)
    assert message.response.code == 200
    assert message.response.request_id == ""  # EV-44
    return {one.event_id: one for one in message.event_responses}


def signal(name, kind, *, value=1.0, unit=None, classes=(), minutes=60):
    return Signal(
        name,
        kind,
        f"{name}-{kind}",
        (Interval(Duration.of(minutes=minutes), value),),
        unit,
        Target(device_classes=classes),
    )


def test_a_new_event_is_taken_remembered_and_answered(bench, event):
    bench.register()
    assert bench.deliver(event(), request_id="rq-77") == [EventsChanged(("evt",))]
    answer = answers(bench)["evt"]
    assert (answer.opt_type, answer.code, answer.request_id, answer.modification_number) == (
        OptType.IN,
        200,
        "rq-77",
        0,
    )
    assert bench.store.event("evt").event == event()  # EV-54


def test_every_delivery_is_answered_even_if_nothing_changed(bench, event):
    bench.register()
    bench.deliver(event(), request_id="one")
    answers(bench)
    assert bench.deliver(event(), request_id="two") == []
    assert answers(bench)["evt"].request_id == "two"  # EV-40


def test_never_is_not_answered(bench, event):
    bench.register()
    bench.deliver(event("a"), event("b", response_required=ResponseRequired.NEVER))
    assert set(answers(bench)) == {"a"}  # EV-41
    assert bench.store.event("b").runs
    bench.deliver(event("b", response_required=ResponseRequired.NEVER))
    assert not isinstance(bench.next(), CreatedEvent)


def test_all_answers_go_in_one_message(bench, event):
    bench.register()
    bench.deliver(event("a"), event("b"), event("c"))
    assert set(answers(bench)) == {"a", "b", "c"}  # EV-42


def test_a_faulty_event_does_not_spoil_the_others(bench, event):
    bench.register()
    bad = event("bad", signals=(signal("LOAD_DISPATCH", "delta", unit=ItemBase("powerReactive", "x", "var")),))
    bench.deliver(event("a"), bad, event("b"))
    found = answers(bench)
    assert {name: one.code for name, one in found.items()} == {"a": 200, "bad": 460, "b": 200}  # EV-53
    assert found["bad"].opt_type is OptType.OUT


def test_events_of_another_vtn_are_refused_as_a_whole(bench, event):
    bench.register()
    bench.poll(DistributeEvent("VTN", "r", (), Response()))
    message = bench.exchange(CreatedEvent, QUIET)
    assert message.response.code == 452  # GN-08, GN-09
    assert message.event_responses == ()  # EV-43


def test_a_foreign_market_context_is_462(benches, variant, event):
    bench = benches(variant(market_contexts=["http://Example.com/a/../dr"])).register()
    bench.deliver(event("ours", market_context="HTTP://example.com/%64r"), event("theirs", market_context="http://x/y"))
    found = answers(bench)
    assert (found["ours"].code, found["theirs"].code) == (200, 462)  # EV-49, GN-10
    assert found["theirs"].opt_type is OptType.OUT


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (Target(), 200),
        (Target(ven_ids=("ven-1",)), 200),
        (Target(ven_ids=("ven-2",)), 462),
        (Target(resource_ids=("home",)), 200),
        (Target(resource_ids=("elsewhere",)), 462),
        (Target(ven_ids=("ven-2",), resource_ids=("home",)), 200),  # EV-67: ORed
        (Target(device_classes=("Water_Heater",)), 200),
        (Target(device_classes=("Pool_Pump",)), 462),
        (Target(group_ids=("g",)), 462),
    ],
)
def test_targets(bench, event, target, code):
    bench.register()
    bench.deliver(event(target=target))
    assert answers(bench)["evt"].code == code  # EV-50


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (signal("SIMPLE", "level"), 200),
        (signal("ELECTRICITY_PRICE", "price", unit=currency_per_kwh("EUR")), 200),
        (
            signal("LOAD_DISPATCH", "setpoint", unit=ItemBase("powerReal", "RealPower", "W", power=PowerAttributes())),
            200,
        ),
        (signal("LOAD_DISPATCH", "setpoint"), 460),
        (signal("ELECTRICITY_PRICE", "priceMultiplier"), 460),
        (signal("CHARGE_STATE", "setpoint", unit=ItemBase("energyReal", "RealEnergy", "Wh")), 460),
        (signal("x-own", "level"), 460),  # GN-14
        (signal("SIMPLE", "level", value=7.0), 459),
        (signal("SIMPLE", "level", minutes=30), 459),
        (signal("SIMPLE", "level", value=2.0, classes=("Water_Heater",)), 200),
        (signal("SIMPLE", "level", classes=("Pool_Pump",)), 469),  # EV-52: exactly
    ],
)
def test_signals(bench, event, one, code):
    bench.register()
    bench.deliver(event(signals=(one,)))
    answer = answers(bench)["evt"]
    assert answer.code == code  # EV-51, EV-70
    assert (answer.opt_type is OptType.IN) == (code == 200)


def test_simple_may_accompany_other_signals(bench, event):
    bench.register()
    both = (*event().signals, signal("SIMPLE", "level"))
    bench.deliver(event(signals=both))
    assert answers(bench)["evt"].code == 200  # EV-36


def test_classes_are_anded_with_the_events_target(bench, event):
    bench.register()
    one = signal("SIMPLE", "level", classes=("Water_Heater", "Pool_Pump"))
    bench.deliver(event(signals=(one,), target=Target(device_classes=("Smart_Appliance",))))
    assert answers(bench)["evt"].code == 469  # EV-68


def test_a_higher_modification_replaces(bench, event):
    bench.register()
    bench.deliver(event())
    answers(bench)
    assert bench.deliver(event(modification=1, values=((30, -500.0),))) == [EventsChanged(("evt",))]
    assert answers(bench)["evt"].modification_number == 1
    assert bench.store.event("evt").event.period.duration == Duration.of(minutes=30)  # EV-55


def test_a_lower_modification_is_450_whatever_the_status(bench, event):
    bench.register()
    bench.deliver(event(modification=3))
    answers(bench)
    bench.deliver(event(modification=2))
    assert answers(bench)["evt"].code == 450  # EV-56
    bench.deliver(event(modification=4, cancelled=True))
    answers(bench)
    bench.deliver(event(modification=3))
    assert answers(bench)["evt"].code == 450
    assert bench.store.event("evt").event.cancelled


def test_the_same_request_id_with_other_content_is_new(bench, event):
    bench.register()
    bench.deliver(event("a"), request_id="same")
    answers(bench)
    bench.deliver(event("a"), event("b"), request_id="same")
    assert set(answers(bench)) == {"a", "b"}  # EV-45


def test_a_cancelled_known_event_is_acknowledged_and_stopped(bench, event):
    bench.register()
    bench.deliver(event())
    answers(bench)
    assert bench.deliver(event(modification=1, cancelled=True)) == [EventsChanged(("evt",))]
    answer = answers(bench)["evt"]
    assert (answer.opt_type, answer.code) == (OptType.IN, 200)  # EV-57
    assert bench.store.event("evt").over(bench.now)
    bench.deliver()
    assert bench.silent() or not isinstance(bench.said[-1], CreatedEvent)  # EV-59


def test_a_repeated_cancellation_is_answered_again_and_changes_nothing(bench, event):
    bench.register()
    bench.deliver(event())
    answers(bench)
    bench.deliver(event(modification=1, cancelled=True))
    answers(bench)
    assert bench.deliver(event(modification=1, cancelled=True)) == []
    assert answers(bench)["evt"].code == 200


def test_a_cancelled_unknown_event_is_only_answered(bench, event):
    bench.register()
    assert bench.deliver(event(cancelled=True)) == []
    assert answers(bench)["evt"].code == 200  # EV-58
    assert bench.store.event("evt") is None


def test_a_missing_event_is_cancelled(bench, event):
    bench.register()
    bench.deliver(event("a"), event("b"))
    answers(bench)
    assert bench.deliver(event("b")) == [EventsChanged(("a",))]  # EV-60
    assert set(answers(bench)) == {"b"}
    assert bench.store.event("a").over(bench.now)
    assert bench.deliver() == [EventsChanged(("b",))]


def test_an_event_that_is_listed_again_lives_again(bench, event):
    bench.register()
    bench.deliver(event())
    answers(bench)
    bench.deliver()
    assert bench.deliver(event()) == [EventsChanged(("evt",))]
    answers(bench)
    assert bench.store.event("evt").stop_at is None


def test_a_refused_event_that_goes_missing_stays_quiet(bench, event):
    bench.register()
    bench.deliver(event(target=Target(resource_ids=("nowhere",))))
    answers(bench)
    assert bench.deliver() == []


def test_a_time_outside_the_calendar_is_refused(bench, event):
    bench.register()
    far = event(start=bench.now.replace(year=9999, month=12, day=31, hour=23))
    far = replace(far, period=replace(far.period, duration=Duration.of(days=2)))
    intervals = (Interval(Duration.of(days=2), -1.0),)
    bench.deliver(replace(far, signals=(replace(far.signals[0], intervals=intervals),)), event("good"))
    found = answers(bench)
    assert (found["evt"].code, found["good"].code) == (459, 200)
    bench.deliver(event("good"))
    answers(bench)


def test_an_old_event_is_forgotten_in_the_end(bench, event):
    bench.register()
    bench.deliver(event())
    answers(bench)
    bench.after(days=40)
    bench.deliver()
    bench.deliver()
    assert bench.store.event("evt") is None


# -- what the household wants


def test_opt_rules_decide_by_market_context(benches, variant, event):
    rule = {"market_context": "http://example.com/dr", "opt": "out", "reason": "mustRun"}
    bench = benches(variant(opt=[rule])).register()
    bench.deliver(event("a"), event("b", market_context="http://example.com/other"))
    found = answers(bench)
    assert (found["a"].opt_type, found["a"].code, found["a"].description) == (OptType.OUT, 200, "mustRun")
    assert found["b"].opt_type is OptType.IN


def test_a_rule_without_context_counts_for_all(benches, variant, event):
    bench = benches(variant(opt=[{"opt": "out"}])).register()
    bench.deliver(event())
    assert answers(bench)["evt"].opt_type is OptType.OUT


# -- startafter


def randomised(event, minutes=10, **more):
    return event(period={"start_after": Duration.of(minutes=minutes)}, **more)


def test_the_start_is_random_within_the_window(benches, household, event):
    offsets = set()
    for seed in range(40):
        bench = benches(household, seed=seed).register()
        bench.deliver(randomised(event))
        known = bench.store.event("evt")
        assert 0 <= known.offset_s <= 600  # EV-61
        assert known.span.end - known.span.start == timedelta(hours=1)
        offsets.add(known.offset_s)
    assert len(offsets) > 20


def test_a_modification_keeps_the_offset_unless_the_window_changes(bench, event):
    bench.register()
    bench.deliver(randomised(event))
    first = bench.store.event("evt").offset_s
    for modification in range(1, 6):
        answers(bench)
        bench.deliver(randomised(event, modification=modification, values=((60, -100.0 * modification),)))
        assert bench.store.event("evt").offset_s == first
    answers(bench)
    later = set()
    for modification in range(6, 12):
        bench.deliver(randomised(event, minutes=10 + modification, modification=modification))
        answers(bench)
        later.add(bench.store.event("evt").offset_s)
    assert later != {first}


def test_a_restart_keeps_the_offset(bench, benches, household, event):
    bench.register()
    bench.deliver(randomised(event))
    first = bench.store.event("evt").offset_s
    again = benches(household, store=bench.store, seed=99)
    again.next()
    again.hear(DistributeEvent("vtn", "r", (), Response()))
    assert again.store.event("evt").offset_s == first


@pytest.mark.parametrize("explicit", [True, False])
def test_the_stop_of_a_running_randomised_event_is_randomised(benches, household, event, explicit):
    stops = set()
    for seed in range(30):
        bench = benches(household, seed=seed).register()
        bench.deliver(randomised(event))
        answers(bench)
        bench.after(hours=1, minutes=20)
        bench.deliver(*([randomised(event, modification=1, cancelled=True)] if explicit else []))
        stop = bench.store.event("evt").stop_at - bench.now
        assert timedelta() <= stop <= timedelta(minutes=10)  # EV-62
        stops.add(stop)
    assert len(stops) > 10


def test_a_cancelled_event_that_has_not_begun_never_begins(bench, event):
    bench.register()
    bench.deliver(randomised(event))
    answers(bench)
    bench.deliver(randomised(event, modification=1, cancelled=True))
    known = bench.store.event("evt")
    assert known.stop_at == bench.now
    assert known.span.end == known.span.start


def test_completed_does_not_end_a_randomised_event(bench, event):
    bench.register()
    one = randomised(event)
    bench.deliver(one)
    answers(bench)
    before = bench.store.event("evt")
    bench.after(hours=2)
    bench.deliver(one)  # whatever status the VTN computed (EV-63, EV-69)
    assert replace(bench.store.event("evt"), request_id="") == replace(before, request_id="")


def test_an_open_ended_event_never_completes(bench, event):
    bench.register()
    bench.deliver(event(values=((0, -100.0),)))
    known = bench.store.event("evt")
    assert known.span.end is None  # EV-66
    assert not known.over(bench.now + timedelta(days=1000))


def test_one_unreadable_event_does_not_spoil_the_others(bench, event):
    bench.register()
    bench.deliver(event())
    answers(bench)
    broken = UnreadableEvent("bad", 3, ResponseRequired.ALWAYS, "interval 0 has no payloadFloat")
    quiet = replace(broken, event_id="quiet", response_required=ResponseRequired.NEVER)
    bench.poll(
        DistributeEvent("vtn", "d", (DeliveredEvent(event(), EventStatus.FAR),), Response(), unreadable=(broken, quiet))
    )
    said = answers(bench)
    assert (said["bad"].code, said["bad"].opt_type, said["bad"].modification_number) == (454, OptType.OUT, 3)  # EV-53
    assert (said["evt"].code, said["evt"].opt_type) == (200, OptType.IN)
    assert "quiet" not in said


def test_a_known_event_that_cannot_be_read_any_more_goes_on(bench, event):
    bench.register()
    bench.deliver(event())
    answers(bench)
    broken = UnreadableEvent("evt", 1, ResponseRequired.ALWAYS, "a year before Christ")
    bench.poll(DistributeEvent("vtn", "d", (), Response(), unreadable=(broken,)))
    assert answers(bench)["evt"].code == 454
    assert bench.store.event("evt").stop_at is None  # listed, so not cancelled (EV-60)
