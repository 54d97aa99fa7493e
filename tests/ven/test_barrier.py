"""Whatever a stored or received item raises stays with it: the others, and the other households, go on."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from bridges.backoff import Backoff
from bridges.connections import NoConnection
from core.clock import ManualClock
from core.errors import UnavailableError
from openadr.model.opt import OptType
from openadr.v20b.messages import (
    CreatedEvent,
    CreatedReport,
    CreateReport,
    DistributeEvent,
    OadrResponse,
    Poll,
    Response,
    UpdateReport,
)
from support.waiting import until
from ven import executor, explain, gateway, supervision
from ven.engine import EventsChanged
from ven.engine.engine import Engine
from ven.gateway import Gateway
from ven.quarantine import MOST_ENDS, Quarantine
from ven.status import as_lines, read_status
from ven.store import Store
from ven.supervision import run_gateways
from ven.vtn_state import KnownEvent, version_key

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUIET = OadrResponse(Response())

ANYTHING = [OverflowError("date value out of range"), RecursionError("too deep"), KeyError("x"), ZeroDivisionError()]


def raising(error, culprit, work):
    """Return a stand-in for a function of events that breaks on one of them."""

    def stand_in(*args, **names):
        known = next(one for one in args if hasattr(one, "event") or hasattr(one, "event_id"))
        if getattr(known, "event", known).event_id == culprit:
            raise error
        return work(*args, **names)

    return stand_in


# -- events


@pytest.mark.parametrize("error", ANYTHING, ids=repr)
def test_a_received_event_that_raises_is_refused_and_the_others_are_taken(bench, event, monkeypatch, error):
    judge = bench.engine._events._policy
    monkeypatch.setattr(judge, "judge", raising(error, "bad", judge.judge))
    bench.register()
    assert bench.deliver(event("bad"), event("good"))[0] == EventsChanged(("good",))
    answers = {one.event_id: one for one in bench.exchange(CreatedEvent, QUIET).event_responses}
    assert (answers["bad"].code, answers["bad"].opt_type) == (459, OptType.OUT)  # GN-11
    assert (answers["good"].code, answers["good"].opt_type) == (200, OptType.IN)  # EV-53
    (fault,) = bench.store.faults()
    assert (fault.kind, fault.key, fault.count) == ("event", "bad.0", 1)


def test_an_event_that_cannot_be_stored_so_that_it_reads_back_is_refused(bench, event):
    bench.register()
    bench.deliver(event("bad", values=((60, float("nan")),)), event("good"))
    answers = {one.event_id: one.opt_type for one in bench.exchange(CreatedEvent, QUIET).event_responses}
    assert answers["good"] is OptType.IN
    assert {known.event.event_id for known in bench.store.events() if known.runs} <= {"good"}
    bench.engine.start(bench.now)
    assert bench.next() is not None


class Keeper:
    def __init__(self):
        self.taken = []

    async def command(self, command):
        self.taken.append(command.by)
        raise UnavailableError("enough for this test")

    def held(self):
        return []


@pytest.mark.parametrize("error", ANYTHING, ids=repr)
async def test_a_stored_event_that_cannot_be_planned_is_withdrawn_and_the_others_go_on(
    bench, household, event, monkeypatch, error
):
    monkeypatch.setattr(executor, "plan", raising(error, "bad", executor.plan))
    bench.register()
    bench.deliver(event("bad", start=NOON), event("good", start=NOON))
    bench.exchange(CreatedEvent, QUIET)
    keeper = Keeper()

    def withdraw(event_id, reason):
        bench.engine.withdraw(event_id, reason)

    devices = gateway.make_drivers(household, {"mqtt": NoConnection()}, ManualClock(NOON))
    described = {name: driver.describe() for name, driver in devices.items()}
    quarantine = Quarantine(bench.store)
    carried = executor.Executor(
        bench.store,
        household,
        described,
        keeper,
        ManualClock(NOON),
        print,
        quarantine=quarantine,
        on_unplannable=withdraw,
    )
    with pytest.raises(UnavailableError):
        await carried.follow()
    assert keeper.taken == ["good"]
    (answer,) = bench.exchange(CreatedEvent, QUIET).event_responses  # the VTN hears of it
    assert (answer.event_id, answer.opt_type, answer.code) == ("bad", OptType.OUT, 459)
    assert not bench.store.event("bad").runs
    assert len(carried.plans(NOON)) == 1
    assert [fault.count for fault in bench.store.faults()] == [1]  # it is not met again


@pytest.mark.parametrize("error", ANYTHING, ids=repr)
def test_a_stored_event_whose_end_cannot_be_worked_out_does_not_spoil_a_delivery(bench, event, monkeypatch, error):
    bench.register()
    bench.deliver(event("bad"))
    bench.exchange(CreatedEvent, QUIET)
    monkeypatch.setattr(KnownEvent, "over", raising(error, "bad", KnownEvent.over))
    bench.deliver(event("good"))
    assert bench.exchange(CreatedEvent, QUIET).event_responses[0].event_id == "good"
    assert not bench.store.event("bad").runs


def test_an_event_that_cannot_be_explained_is_shown_as_refused(household, event, monkeypatch):
    monkeypatch.setattr(explain, "plan", raising(OverflowError("far away"), "bad", explain.plan))
    message = DistributeEvent("vtn", "r", (), Response())
    monkeypatch.setattr(
        explain, "decode", lambda _: replace(message, events=tuple(map(delivered, (event("bad"), event("good")))))
    )
    bad, good = explain.explain(household, b"", NOON)
    assert (bad.opt, bad.code, bad.orders) == (OptType.OUT, 459, ())
    assert "far away" in explain.as_text([bad])
    assert good.orders


def delivered(one):
    return explain.DeliveredEvent(one, explain.EventStatus.FAR)


# -- reports


@pytest.mark.parametrize("error", ANYTHING, ids=repr)
@pytest.mark.parametrize("step", ["due_at", "sample"])
def test_a_report_that_raises_is_dropped_and_the_others_go_on(bench, request_for, monkeypatch, error, step):
    work = getattr(bench.reporter, step)
    armed = []

    def stand_in(task, now):
        if armed and task.id == "bad":
            raise error
        return work(task, now)

    monkeypatch.setattr(bench.reporter, step, stand_in)
    bad, good = (request_for("TELEMETRY_USAGE", "home/energy", request_id=name) for name in ("bad", "good"))
    bench.register(requests=[bad, good])
    armed.append(True)
    bench.meter(NOON, NOON + timedelta(minutes=2))
    bench.after(minutes=1)
    kinds = []
    while (message := bench.next()) is not None:
        kinds.append(type(message))
        bench.hear(QUIET)
    assert Poll in kinds
    assert UpdateReport in kinds
    assert [task.id for task in bench.store.report_tasks()] == ["good"]
    assert [(fault.kind, fault.key) for fault in bench.store.faults()] == [("report", "bad")]


@pytest.mark.parametrize("error", ANYTHING, ids=repr)
def test_a_report_request_that_raises_is_refused_and_the_others_are_taken(bench, request_for, monkeypatch, error):
    begin = bench.reporter.begin

    def stand_in(request, name, now):
        if request.request_id == "bad":
            raise error
        return begin(request, name, now)

    monkeypatch.setattr(bench.reporter, "begin", stand_in)
    bench.register()
    asked = tuple(request_for("TELEMETRY_USAGE", "home/energy", request_id=name) for name in ("bad", "good"))
    bench.poll(CreateReport("cr", asked, "ven-1"))
    answer = bench.exchange(CreatedReport, QUIET)
    assert (answer.response.code, answer.pending) == (454, ("good",))


# -- answers


@pytest.mark.parametrize("error", ANYTHING, ids=repr)
def test_an_answer_that_raises_is_refused_in_its_own_terms_and_takes_nothing_with_it(
    bench, request_for, monkeypatch, error
):
    def stand_in(requests, *_):
        bench.store.set_fact("half", True)
        raise error

    monkeypatch.setattr(bench.engine._reports, "requested", stand_in)
    bench.register()
    (noted,) = bench.poll(CreateReport("cr", (request_for("TELEMETRY_USAGE", "home/energy"),), "ven-1"))
    assert noted.problem
    answer = bench.exchange(CreatedReport, QUIET)
    assert (answer.response.code, answer.response.request_id) == (459, "cr")
    assert bench.store.fact("half") is None
    assert isinstance(bench.after(minutes=1).next(), Poll)


def test_a_full_disk_is_no_fault_of_the_message(bench, monkeypatch):
    def stand_in(*_):
        raise UnavailableError("full")

    monkeypatch.setattr(bench.engine._events, "receive", stand_in)
    bench.register_until_sync()
    with pytest.raises(UnavailableError):
        bench.hear(DistributeEvent("vtn", "d", (), Response()))
    assert bench.store.faults() == []


# -- what ends the process


def die_while(path, kind, key, times):
    """Let processes end while they handle an item."""
    store, never_left = Store(path / "gateway.db"), []
    for _ in range(times):
        quarantine = Quarantine(store, path / "handling")
        quarantine.recall(NOON)
        never_left.append(quarantine.handling(kind, key))
        never_left[-1].__enter__()
        quarantine.close()
    store.close()


def test_what_ended_three_starts_is_set_aside_and_what_ended_two_is_not(tmp_path):
    die_while(tmp_path, "event", "two.0", 2)
    die_while(tmp_path, "event", "three.0", MOST_ENDS)
    store = Store(tmp_path / "gateway.db")
    quarantine = Quarantine(store, tmp_path / "handling")
    quarantine.recall(NOON)
    assert quarantine.barred("event", "three.0")
    assert not quarantine.barred("event", "two.0")
    assert not quarantine.barred("event", "three.1")  # a modification is tried anew
    with quarantine.handling("event", "good.0"):
        pass
    quarantine.close()
    again = Quarantine(store, tmp_path / "handling")
    again.recall(NOON)  # a clean end counts nothing
    assert {fault.key: fault.ends for fault in store.faults()} == {"two.0": 2, "three.0": 3}
    again.close()
    store.close()


def test_a_message_that_ended_three_starts_is_refused_unhandled(benches, household, event, tmp_path):
    die_while(tmp_path, "answer", "DistributeEvent bad.0", MOST_ENDS)
    store = Store(tmp_path / "gateway.db")
    quarantine = Quarantine(store, tmp_path / "handling")
    quarantine.recall(NOON)
    bench = benches(household, store=store, quarantine=quarantine).register()
    bench.deliver(event("bad"))
    (answer,) = bench.exchange(CreatedEvent, QUIET).event_responses
    assert (answer.event_id, answer.opt_type, answer.code) == ("bad", OptType.OUT, 459)
    assert store.events() == []
    quarantine.close()
    store.close()


def test_a_report_that_ended_three_starts_is_dropped_unhandled(benches, household, request_for, tmp_path):
    die_while(tmp_path, "report", "rr-1", MOST_ENDS)
    store = Store(tmp_path / "gateway.db")
    quarantine = Quarantine(store, tmp_path / "handling")
    quarantine.recall(NOON)
    bench = benches(household, store=store, quarantine=quarantine)
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/energy")])
    bench.poll(QUIET)
    assert bench.silent()
    assert store.report_tasks() == []
    quarantine.close()
    store.close()


def test_a_waiting_message_that_cannot_be_read_is_set_aside(bench):
    bench.register()
    bench.store.db.execute("INSERT INTO outbox (kind, body) VALUES ('CreatedEvent', '{}'), ('Nonsense', '{}')")
    assert isinstance(bench.next(), Poll)
    assert [kind for kind, _ in bench.store.dead()] == ["CreatedEvent", "Nonsense"]


# -- households


@pytest.fixture
def homes(household, tmp_path):
    def make(name):
        vtn = household.vtn.model_copy(update={"url": "http://127.0.0.1:9/none"})
        update = {"name": name, "state": tmp_path / name, "vtn": vtn}
        return Gateway(
            household.model_copy(update=update), connections={"mqtt": NoConnection()}, clock=ManualClock(NOON)
        )

    return make


async def test_a_household_that_breaks_ends_neither_the_process_nor_the_others(homes, monkeypatch):
    monkeypatch.setattr(supervision, "_RESTART", Backoff(0.01, 0.01))
    bad, good, starts, tries = homes("bad"), homes("good"), [], []
    recover, next_request = gateway.LeaseManager.recover, Engine.next_request

    async def broken(self):
        if self is bad._leases or (starts and len(starts) < 3 and self is not good._leases):
            starts.append(self)
            raise KeyError("a lease that nobody expects")
        await recover(self)

    def counting(self, now):
        tries.append(self)
        return next_request(self, now)

    monkeypatch.setattr(gateway.LeaseManager, "recover", broken)
    monkeypatch.setattr(Engine, "next_request", counting)
    running = asyncio.create_task(run_gateways([bad, good]))
    await until(lambda: len(starts) == 3 and len(set(tries)) == 2, "both households to speak")
    assert good.engine in tries
    assert not running.done()
    bad.stop()
    good.stop()
    await running


async def test_a_part_that_breaks_begins_again_and_the_other_parts_go_on(homes, monkeypatch):
    monkeypatch.setattr(supervision, "_RESTART", Backoff(0.01, 0.01))
    home, tries = homes("home"), []

    async def broken():
        raise RecursionError("too deep")

    def counting(now):
        tries.append(now)

    monkeypatch.setattr(home._executor, "run", broken)
    monkeypatch.setattr(home.engine, "next_request", counting)
    running = asyncio.create_task(home.run())
    await until(lambda: tries and home.store.faults() and home.store.faults()[0].count > 3, "several failures")
    found = read_status(home.household)
    assert [(fault["what"], fault["which"]) for fault in found["faults"]] == [("part of the gateway", "executor")]
    assert "set aside: part of the gateway executor, failed" in as_lines(found)
    home.stop()
    await running


def test_faults_are_counted_logged_once_a_process_and_bounded():
    store = Store(None)
    for _ in range(2):
        quarantine = Quarantine(store)
        with capture_logs() as lines:
            for _ in range(5):
                quarantine.caught("part of the gateway", "executor", KeyError("x"), NOON)
        assert len(lines) == 1
    for number in range(300):
        quarantine.caught("event", f"e{number}", KeyError("x"), NOON + timedelta(seconds=number))
    for _ in range(5):
        reason = quarantine.caught("event", "again", KeyError("x" * 5000), NOON + timedelta(hours=1))
    assert len(reason) <= 200
    assert len(store.faults()) <= 201
    assert store.faults()[-1].count == 5
    assert len(json.dumps([fault.reason for fault in store.faults()])) < 201 * 300


def test_foreign_text_cannot_steer_a_terminal(household, tmp_path):
    home = household.model_copy(update={"state": tmp_path})
    store = Store(tmp_path / "gateway.db")
    store.note_refusal("Poll", "452", "\x1b[2Jgone", NOON)
    store.close()
    assert "\x1b" not in as_lines(read_status(home))
    assert "the VTN answered Poll with 452 once" in as_lines(read_status(home))


def test_a_modification_has_a_name_of_its_own(event):
    assert version_key(event("e", modification=3)) == "e.3"


def test_times_are_local(household, tmp_path, monkeypatch, event):
    home = household.model_copy(update={"state": tmp_path})
    store = Store(tmp_path / "gateway.db")
    store.put_event(KnownEvent(event(start=NOON), "", OptType.IN))
    store.close()
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            assert "2026-03-02 21:00:00 .. 2026-03-02 22:00:00" in as_lines(read_status(home))
        finally:
            patched.undo()
            time.tzset()
