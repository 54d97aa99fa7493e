"""When the engine speaks: polls, draining, failures, strays (catalogue 6)."""

from datetime import timedelta

import pytest

from core.spans import Duration
from openadr.model.codes import Code, OpenADRError
from openadr.v20b.messages import (
    CreatedEvent,
    CreatedOpt,
    CreatedReport,
    DistributeEvent,
    OadrResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.engine import Failure, Noted, Phase, Refused, Settings

QUIET = OadrResponse(Response())


def test_an_empty_queue_is_polled_at_the_vtns_frequency(benches, household):
    bench = benches(household).register(poll_freq=Duration.of(seconds=90))
    bench.exchange(Poll, QUIET)
    assert bench.silent()
    assert bench.engine.wake_at(bench.now) == bench.now + timedelta(seconds=90)
    bench.after(seconds=89)
    assert bench.silent()  # PL-06
    bench.after(seconds=1)
    assert isinstance(bench.next(), Poll)


def test_the_households_own_frequency_counts_where_the_vtn_names_none(bench):
    bench.register()
    bench.exchange(Poll, QUIET)
    assert bench.engine.wake_at(bench.now) == bench.now + timedelta(minutes=1)


def test_jitter_only_makes_polls_rarer(benches, household):
    bench = benches(household, settings=Settings("home", Duration.of(minutes=1), jitter=0.5)).register()
    waits = set()
    for _ in range(20):
        bench.poll(QUIET)
        wait = bench.engine.wake_at(bench.now) - bench.now
        assert timedelta(seconds=60) <= wait <= timedelta(seconds=90)
        waits.add(wait)
    assert len(waits) > 10  # PL-10


def test_a_queue_is_drained_without_waiting(bench, event):
    bench.register()
    bench.exchange(Poll, DistributeEvent("vtn", "d1", (), Response()))
    bench.exchange(Poll, RegisterReport("vtn-reports"))
    answer = bench.exchange(RegisteredReport, QUIET)  # PL-08: the answer before the next poll
    assert answer.response.request_id == "vtn-reports"
    bench.exchange(Poll, QUIET)  # PL-05
    assert bench.silent()


def test_a_vtn_that_always_has_something_is_not_polled_for_ever(bench):
    bench.register()
    polls = 0
    while not bench.silent():
        assert isinstance(bench.said[-1], Poll)
        bench.hear(DistributeEvent("vtn", "d", (), Response()))
        polls += 1
        assert polls < 100
    assert polls >= 10


def test_a_lost_poll_is_followed_by_a_request_for_all_events(bench):
    bench.register()
    bench.next()
    bench.engine.failed(Failure.UNREACHABLE, bench.now)
    assert isinstance(bench.exchange(RequestEvent, DistributeEvent("vtn", "d", (), Response())), RequestEvent)
    assert bench.silent()  # PL-06
    assert isinstance(bench.after(minutes=1).next(), Poll)


def test_a_busy_vtn_is_asked_a_little_later(bench):
    bench.register()
    bench.next()
    bench.engine.failed(Failure.BUSY, bench.now, after_s=20)
    assert bench.after(seconds=19).silent()  # Retry-After, TR-11
    bench.after(seconds=2).exchange(RequestEvent, DistributeEvent("vtn", "d", (), Response()))
    assert bench.silent()
    assert isinstance(bench.after(seconds=39).next(), Poll)


def test_an_oadr_response_to_a_request_for_events_cancels_nothing(bench, event):
    bench.register()
    bench.deliver(event())
    bench.exchange(CreatedEvent, QUIET)
    bench.engine.start(bench.now)
    bench.exchange(RequestEvent, QUIET)
    assert bench.store.event("evt").stop_at is None
    assert bench.engine.phase is Phase.SERVING


def test_an_error_instead_of_events_cancels_nothing(bench, event):
    bench.register()
    bench.deliver(event())
    bench.exchange(CreatedEvent, QUIET)
    bench.poll(DistributeEvent("vtn", "d", (), Response(454, "oops")))
    assert bench.store.event("evt").stop_at is None


def test_a_poll_that_is_refused_waits_a_period(bench):
    bench.register()
    bench.next()
    assert bench.hear(OadrResponse(Response(459, "no"))) == [Refused("Poll", 459, "no")]
    assert bench.silent()


def test_what_does_not_belong_into_a_poll_is_refused_politely(bench):
    bench.register()
    bench.next()
    (noted,) = bench.hear(CreatedOpt(Response(), "opt"))
    assert noted.problem
    assert bench.exchange(OadrResponse, None).response.code == 459  # GN-15
    assert bench.silent()


def test_data_that_nobody_asked_for_is_refused(bench):
    bench.register()
    bench.poll(UpdateReport("u1", ()))
    answer = bench.exchange(UpdatedReport, QUIET)
    assert (answer.response.code, answer.response.request_id) == (452, "u1")


def test_a_vtn_report_offer_for_another_ven_is_refused(bench):
    bench.register()
    bench.poll(RegisterReport("r1", ven_id="someone"))
    assert bench.exchange(RegisteredReport, QUIET).response.code == 452


@pytest.mark.parametrize(
    ("element", "kind"),
    [("oadrDistributeEvent", CreatedEvent), ("oadrCreateReport", CreatedReport), ("oadrWhatever", OadrResponse)],
)
def test_an_unreadable_value_is_answered_in_its_own_terms(bench, element, kind):
    bench.register()
    bench.next()
    bench.engine.unreadable(element, "r", OpenADRError(Code.INVALID_DATA, "year 0"), bench.now)
    assert bench.exchange(kind, QUIET).response.code == 454
    assert bench.silent()


def test_an_unreadable_answer_to_anything_else_is_a_failure(bench):
    bench.next()
    assert bench.engine.unreadable("oadrResponse", "", OpenADRError(Code.INVALID_DATA, "x"), bench.now) == []
    assert bench.next() is not None


def test_an_answer_that_the_server_never_takes_is_set_aside(bench, event):
    bench.register()
    bench.deliver(event())
    actions = []
    for _ in range(10):
        message = bench.after(seconds=70).next()
        while not isinstance(message, CreatedEvent):
            bench.hear(QUIET)
            message = bench.next()
        actions = bench.engine.failed(Failure.BROKEN, bench.now)
    assert [type(action) for action in actions] == [Noted]
    assert [kind for kind, _ in bench.store.dead()] == ["CreatedEvent"]
    assert isinstance(bench.after(minutes=1).next(), Poll)


def test_an_answer_that_is_rejected_is_not_sent_again(bench, event):
    bench.register()
    bench.deliver(event())
    bench.next()
    bench.engine.failed(Failure.REJECTED, bench.now)  # TR-11
    assert isinstance(bench.next(), Poll)


def test_an_unreachable_vtn_never_costs_an_answer(bench, event):
    bench.register()
    bench.deliver(event())
    tries = 0
    while tries < 50:
        message = bench.next()
        if message is None:
            bench.now = bench.engine.wake_at(bench.now)
        else:
            tries += isinstance(message, CreatedEvent)
            bench.engine.failed(Failure.UNREACHABLE, bench.now)
    assert bench.store.waiting_count() == 1


def test_an_answer_that_the_vtn_dislikes_is_not_repeated(bench, event):
    bench.register()
    bench.deliver(event())
    bench.next()
    (noted,) = bench.hear(OadrResponse(Response(450, "stale")))
    assert noted.problem
    assert isinstance(bench.next(), Poll)


def test_only_one_message_is_under_way(bench):
    assert bench.next() is not None
    assert bench.engine.next_request(bench.now) is None
