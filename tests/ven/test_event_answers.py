"""What the gateway answers to events."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.clock import system_clock
from core.spans import EARLIEST, LATEST, Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, EventStatus, ResponseRequired
from openadr.model.opt import OptType
from openadr.model.signal import Baseline, Interval, Signal
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W, ItemBase, PowerAttributes, currency_per_kwh
from openadr.v20b.messages import CreatedEvent, DistributeEvent, OadrResponse, RequestEvent, Response, UnreadableEvent
from ven.devices import describe
from ven.engine import EventsChanged
from ven.planning import plan

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUIET = OadrResponse(Response())


def delivered(event, status=EventStatus.FAR):
    return DeliveredEvent(event, status)


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


def test_ev61_an_event_that_was_refused_has_its_delay_still_to_come(benches, household, event):
    found = set()
    for seed in range(8):
        bench = benches(household, seed=seed).register()
        refused = randomised(event, target=Target(resource_ids=("nowhere",)))
        bench.deliver(refused)
        assert answers(bench)["evt"].code == 462
        bench.deliver(replace(refused, modification_number=1, target=Target()))
        assert answers(bench)["evt"].code == 200
        found.add(bench.store.event("evt").offset_s)
    assert len(found) > 4


def test_a_refused_event_is_looked_at_anew_when_the_household_is_another_one(bench, benches, variant, event):
    """Else a group that was missing in the file would help for new events only."""
    bench.register()
    one = event(target=Target(group_ids=("north",)))
    bench.deliver(one)
    assert answers(bench)["evt"].code == 462
    assert bench.deliver(one) == [], "nothing has changed"
    assert answers(bench)["evt"].code == 462
    member = benches(variant(targets={"groups": ["north"]}), store=bench.store)
    member.exchange(RequestEvent, DistributeEvent("vtn", "again", (delivered(one),), Response()))
    answer = answers(member)["evt"]
    assert (answer.code, answer.opt_type, answer.request_id) == (200, OptType.IN, "again")
    assert member.store.event("evt").runs


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


# -- what no household can do, and what nobody needs any more


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["interval", "baseline"])
def test_what_no_number_is_is_refused_and_known_as_refused(bench, benches, household, event, value, place):
    bench.register()
    hour = (Interval(Duration.of(hours=1), value),)
    good = event().signals[0]
    changes = {
        "interval": {"signals": (replace(good, intervals=hour, current_value=value),)},
        "baseline": {"baseline": Baseline(bench.now, Duration.of(hours=1), hour, "b", "b")},
    }[place]
    bench.deliver(event("bad", **changes), event("good"))
    said = answers(bench)
    assert {name: (one.code, one.opt_type) for name, one in said.items()} == {
        "bad": (459, OptType.OUT),
        "good": (200, OptType.IN),
    }
    again = benches(household, store=bench.store)
    again.exchange(RequestEvent, DistributeEvent("vtn", "r", (), Response()))
    again.deliver(event("good"))
    answers(again)
    assert again.deliver(event("bad", **changes), event("good")) == []  # known, and the same: nothing changes
    assert answers(again)["bad"].code == 459


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_odd_figures_beside_the_values_do_no_harm(bench, event, value):
    bench.register()
    unit = replace(POWER_REAL_W, power=PowerAttributes(value, value))
    odd = replace(event().signals[0], item_base=unit, current_value=value)
    bench.deliver(event(signals=(odd,)))
    assert answers(bench)["evt"].code == 200
    assert bench.deliver(event(signals=(odd,))) == []
    assert answers(bench)["evt"].code == 200


def test_a_new_event_that_is_over_is_refused(bench, event):
    bench.register()
    for age in (timedelta(hours=1), timedelta(days=20), timedelta(days=700_000)):
        bench.deliver(event(str(age), start=bench.now - age))
        answer = answers(bench)[str(age)]
        assert (answer.code, answer.opt_type) == (454, OptType.OUT)  # GN-11
        assert "over" in answer.description


def test_a_new_event_that_still_runs_is_taken(bench, event):
    bench.register()
    bench.deliver(event(start=bench.now - timedelta(minutes=59)))
    assert answers(bench)["evt"].opt_type is OptType.IN
    bench.deliver(event("open", start=EARLIEST, values=((0, -100.0),)))
    assert answers(bench)["open"].opt_type is OptType.IN


def test_a_modification_may_end_a_running_event(bench, event):
    bench.register()
    start = bench.now + timedelta(minutes=1)
    bench.deliver(event(start=start))
    answers(bench)
    bench.after(minutes=40)
    bench.deliver(event(start=start, modification=1, values=((30, -2000.0),)))
    answer = answers(bench)["evt"]
    assert (answer.code, answer.opt_type) == (200, OptType.IN)
    assert bench.store.event("evt").over(bench.now)


@pytest.mark.parametrize("status", [EventStatus.COMPLETED, EventStatus.ACTIVE])
def test_a_completed_event_is_not_answered_anew(bench, event, status):
    bench.register()
    bench.deliver(event("a"), event("b", start=bench.now + timedelta(days=1)))
    answers(bench)
    bench.after(hours=3)
    listed = (DeliveredEvent(event("a"), status), delivered(event("b", start=NOON + timedelta(days=1))))
    bench.poll(DistributeEvent("vtn", "again", listed, Response()))
    assert set(answers(bench)) == {"b"}
    bench.deliver(event("a", modification=1, cancelled=True))
    assert set(answers(bench)) == {"a"}  # EV-57: a cancellation is always acknowledged


def test_an_event_that_cannot_be_handled_is_refused_alone(bench, event):
    bench.register()
    judge = bench.engine._events._policy
    sound = judge.judge

    def choke(one, ven_id):
        if one.event_id == "bad":
            raise ZeroDivisionError("nobody thought of this")
        return sound(one, ven_id)

    judge.judge = choke
    changed, noted = bench.deliver(event("a"), event("bad"), event("b"))
    assert changed == EventsChanged(("a", "b"))
    assert noted.problem
    said = answers(bench)
    assert {name: one.code for name, one in said.items()} == {"a": 200, "bad": 459, "b": 200}  # EV-53


@pytest.mark.parametrize(
    "event_id", ["", " ", "x" * 10_000, "a/b?c=%00&d", "\t\n", "ключ 家 \U0001f525", "'; DROP TABLE events"]
)
def test_any_text_is_an_event_id(bench, event, event_id):
    bench.register()
    bench.deliver(event(event_id), event("plain"))
    assert {name: one.code for name, one in answers(bench).items()} == {event_id: 200, "plain": 200}
    assert bench.store.event(event_id).runs
    bench.deliver(event("plain"))
    answers(bench)
    assert bench.store.event(event_id).over(bench.now)


def test_a_refusal_s_reason_is_short_whatever_the_event_holds(bench, event):
    bench.register()
    long = signal("x-" + "n" * 10_000, "level")
    bench.deliver(event(signals=(long,)))
    assert len(answers(bench)["evt"].description) <= 200
    assert len(bench.store.event("evt").reason) <= 200


# -- floods


def test_of_many_modifications_only_the_newest_is_kept(bench, event):
    bench.register()
    for number in range(100):
        bench.deliver(event(modification=number, values=((60, -20.0 * number - 1.0),)))
        answers(bench)
    (known,) = bench.store.events()
    assert (known.event.modification_number, known.event.signals[0].intervals[0].value) == (99, -1981.0)
    assert bench.store.waiting_count() == 0


def test_events_that_are_over_are_remembered_within_bounds(bench, event, monkeypatch):
    monkeypatch.setattr("ven.engine.events._MOST_KEPT", 20_000)
    bench.register()
    for number in range(40):
        bench.deliver(event(f"{number:03}", signals=(signal("SIMPLE", "level"),)))
        answers(bench)
    kept = [known.event.event_id for known in bench.store.events()]
    assert len(kept) < 40
    assert kept[-1] == "039"


# -- the ends of the calendar

AGES = Duration(12 * 9999)


@pytest.mark.parametrize("start", [EARLIEST, NOON, NOON + timedelta(days=2_900_000), LATEST])
@pytest.mark.parametrize("lasts", [Duration(), Duration.of(hours=1), Duration(1), AGES, Duration(0, 10**17)])
@pytest.mark.parametrize("edge", [None, AGES, -AGES, Duration(0, 10**17), Duration(1)])
def test_any_time_is_answered_and_survives_a_restart(bench, benches, household, event, start, lasts, edge):
    bench.register()
    one = replace(event().signals[0], intervals=(Interval(lasts, -100.0),))
    period = ActivePeriod(start, lasts, start_after=edge, ramp_up=edge, recovery=edge)
    odd = replace(event("odd"), period=period, signals=(one,))
    bench.deliver(odd, event("good"))
    said = answers(bench)
    assert said["good"].code == 200
    if start == LATEST:
        assert (said["odd"].code, said["odd"].opt_type) == (459, OptType.OUT)
    again = benches(household, store=bench.store, now=bench.now)
    again.exchange(RequestEvent, DistributeEvent("vtn", "r", (delivered(event("good")),), Response()))
    answers(again)
    known = again.store.event("odd")
    made = plan(known, household, describe(household, system_clock()), "ven-1", again.now + timedelta(hours=24))
    assert all(order.at < order.until for order in made.orders)
    assert again.deliver(event("good")) == []
    answers(again)
    assert known.code == said["odd"].code


def test_a_start_window_in_months_counts_from_the_start(benches, household, event):
    offsets = []
    for seed in range(20):
        bench = benches(household, seed=seed).register()
        bench.deliver(event(period={"start_after": Duration(1)}))
        assert answers(bench)["evt"].code == 200
        offsets.append(bench.store.event("evt").offset_s)
    assert 0 <= min(offsets) < 86_400 * 20 < max(offsets) <= 86_400 * 31  # GN-05
