"""When the engine speaks: polls, draining, failures, strays."""

from datetime import timedelta
from itertools import pairwise

import pytest

from core.spans import Duration
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.model.opt import OptType
from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.messages import (
    CreatedEvent,
    CreatedOpt,
    CreatedReport,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    OadrResponse,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.engine import Failure, Noted, Phase, Refused, VenSettings

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
    bench = benches(household, settings=VenSettings("home", Duration.of(minutes=1), jitter=0.5)).register()
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


def lose(bench, failure=Failure.UNREACHABLE):
    """Let the next poll get no answer."""
    bench.poll_under_way()
    bench.engine.failed(failure, bench.now)


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.BROKEN, Failure.BUSY])
def test_after_any_poll_without_an_answer_all_events_are_asked_for(bench, event, failure):
    bench.register()
    lose(bench, failure)
    listed = DistributeEvent("vtn", "d", (DeliveredEvent(event(), EventStatus.FAR),), Response())
    bench.after(seconds=2).exchange(RequestEvent, listed)
    assert bench.store.event("evt") is not None
    bench.exchange(CreatedEvent, QUIET)
    assert bench.silent()


def test_an_empty_answer_to_a_poll_is_a_lost_one(bench):
    bench.register()
    bench.poll(None)
    assert isinstance(bench.next(), RequestEvent)


def test_a_re_registration_does_not_forget_that_events_have_to_be_asked_for(bench):
    bench.register()
    lose(bench)
    bench.exchange(RequestEvent, OadrResponse(Response(463)))
    bench.exchange(CreatePartyRegistration, bench.registered())
    assert bench.silent()
    assert isinstance(bench.after(seconds=2).next(), RequestEvent)


def test_a_request_for_all_events_that_fails_is_repeated_and_holds_up_no_poll(bench):
    bench.register()
    lose(bench)
    polls, asked, start = [], [], bench.now
    while bench.now < start + timedelta(minutes=30):
        message = bench.next()
        if message is None:
            bench.now = bench.engine.wake_at(bench.now)
        elif isinstance(message, Poll):
            polls.append(bench.now)
            bench.hear(QUIET)
        else:
            asked.append(bench.now)
            bench.engine.failed(Failure.BROKEN, bench.now)
    assert len(asked) > 20
    gaps = [(late - early).total_seconds() for early, late in pairwise(asked)]
    for gap, wanted in zip(gaps[:8], (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
        assert 0.9 * wanted <= gap <= 1.1 * wanted + 0.1  # TR-11
    assert max(late - early for early, late in pairwise(polls)) <= timedelta(minutes=1, seconds=1)


def test_an_event_that_is_over_and_answered_is_not_answered_anew(bench, event):
    bench.register()
    bench.deliver(event())
    bench.exchange(CreatedEvent, QUIET)
    bench.after(hours=3)
    lose(bench)
    over = DistributeEvent("vtn", "d", (DeliveredEvent(event(), EventStatus.COMPLETED),), Response())
    bench.exchange(RequestEvent, over)
    assert bench.silent()


# -- failures of one message


@pytest.mark.parametrize("failure", list(Failure))
@pytest.mark.parametrize("broken", [CreatedEvent, RegisterReport, UpdateReport, RequestEvent])
def test_a_message_that_fails_holds_back_neither_polls_nor_the_others(bench, event, request_for, failure, broken):
    bench.meter(bench.now, bench.now + timedelta(minutes=20))
    request = request_for("TELEMETRY_USAGE", "home/energy")
    kinds, start, sent_events = [], bench.now, 0
    while bench.now < start + timedelta(minutes=20):
        message = bench.next()
        if message is None:
            bench.now = bench.engine.wake_at(bench.now)
            continue
        kinds.append((type(message), bench.now))
        if isinstance(message, broken):
            bench.engine.failed(failure, bench.now)
        elif isinstance(message, Poll) and sent_events < 10:
            sent_events += 1
            listed = tuple(DeliveredEvent(event(f"e{n}"), EventStatus.FAR) for n in range(sent_events))
            bench.hear(DistributeEvent("vtn", f"d{sent_events}", listed, Response()))
        elif isinstance(message, Poll) and len(bench.store.report_tasks()) == 0:
            bench.hear(CreateReport("cr", (request,), "ven-1"))
        else:
            bench.hear(answer_to(bench, message))
    polls = [at for kind, at in kinds if kind is Poll]
    assert max(late - early for early, late in pairwise(polls)) <= timedelta(minutes=2)  # PT1M beyond the period
    assert len(bench.store.events()) == 10
    for kind in {CreatedEvent, UpdateReport} - {broken}:
        assert [one for one, _ in kinds].count(kind) >= 10
    assert len(kinds) <= 20 * 60


def answer_to(bench, message):
    answers = {
        QueryRegistration: bench.registered(with_ids=False),
        CreatePartyRegistration: bench.registered(),
        RegisterReport: RegisteredReport(Response()),
        RequestEvent: DistributeEvent("vtn", "r", (), Response()),
        UpdateReport: UpdatedReport(Response()),
    }
    if isinstance(message, RequestEvent):
        listed = tuple(DeliveredEvent(known.event, EventStatus.FAR) for known in bench.store.events())
        return DistributeEvent("vtn", "r", listed, Response())
    return answers.get(type(message), QUIET)


@pytest.mark.parametrize("failure", list(Failure))
@pytest.mark.parametrize("minutes", [1, 60])
def test_polls_that_fail_stay_at_what_the_vtn_asked_for(benches, household, failure, minutes):
    bench = benches(household).register(poll_freq=Duration.of(minutes=minutes))
    sent, start = [], bench.now
    while bench.now < start + timedelta(hours=6):
        message = bench.next()
        if message is None:
            bench.now = bench.engine.wake_at(bench.now)
            continue
        sent.append((type(message), bench.now))
        if isinstance(message, Poll):
            bench.engine.failed(failure, bench.now)
        else:
            bench.hear(DistributeEvent("vtn", "r", (), Response()))
    polls = [at for kind, at in sent if kind is Poll]
    gaps = [late - early for early, late in pairwise(polls)]
    assert min(gaps) >= timedelta(minutes=minutes)  # PL-06
    assert max(gaps) <= timedelta(minutes=minutes + 1, seconds=6)  # within PT1M, and 10 % of it
    assert len(sent) <= 2 * len(polls)  # at most one request for all events a poll


def test_a_server_that_is_busy_for_reports_gets_few_of_them(bench, request_for):
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/energy", step_s=60, back_s=60)])
    start = bench.now
    bench.meter(start, start + timedelta(minutes=10), every_s=60)
    tries = polls = 0
    while bench.now < start + timedelta(minutes=10):
        message = bench.next()
        if message is None:
            bench.now = bench.engine.wake_at(bench.now)
        elif isinstance(message, UpdateReport):
            tries += 1
            bench.engine.failed(Failure.BUSY, bench.now)
        else:
            polls += isinstance(message, Poll)
            bench.hear(QUIET)
    assert 8 <= tries <= 20  # once a minute in the end
    assert polls >= 9


def test_an_opt_does_not_overtake_an_earlier_one_for_the_same_event(bench, event):
    bench.register()
    bench.deliver(event("a"), event("b"))
    bench.exchange(CreatedEvent, QUIET)
    bench.engine.opt("a", OptType.OUT, "economic", bench.now)
    bench.next()
    bench.engine.failed(Failure.BUSY, bench.now)
    bench.engine.opt("a", OptType.IN, "participating", bench.now)
    bench.engine.opt("b", OptType.OUT, "economic", bench.now)
    assert isinstance(bench.exchange(Poll, QUIET), Poll)
    (other,) = bench.exchange(CreatedEvent, QUIET).event_responses  # this one need not wait
    assert (other.event_id, other.opt_type) == ("b", OptType.OUT)
    assert bench.silent()
    bench.after(seconds=2)
    opts = [bench.exchange(CreatedEvent, QUIET).event_responses[0].opt_type for _ in range(2)]
    assert opts == [OptType.OUT, OptType.IN]


# -- pace


@pytest.fixture
def limited(benches):
    """Return the maker of benches that are limited as gateways are."""

    class Limited(benches):
        burst = VenSettings("home", Duration.of(minutes=1)).burst

    return Limited


def test_at_most_one_message_a_second_whatever_the_vtn_answers(limited, household):
    for answer in (RequestReregistration("ven-1"), DistributeEvent("vtn", "d", (), Response()), QUIET, None):
        bench = limited(household)
        sent, start = 0, bench.now
        while bench.now < start + timedelta(minutes=10):
            message = bench.next()
            if message is None:
                bench.now = bench.engine.wake_at(bench.now)
                continue
            sent += 1
            bench.now += timedelta(milliseconds=5)
            registering = isinstance(message, QueryRegistration | CreatePartyRegistration)
            bench.hear(answer_to(bench, message) if registering else answer)
        assert sent <= 10 * 60 + bench.burst


def test_fifty_modifications_a_second_are_taken_in_at_a_bounded_pace_and_the_newest_counts(limited, household, event):
    bench = limited(household)
    bench.register()
    start, taken = bench.now, []
    while bench.now < start + timedelta(minutes=5):
        number = int((bench.now - start) / timedelta(milliseconds=20))
        message = bench.next()
        if message is None:
            bench.now = bench.engine.wake_at(bench.now)
        elif isinstance(message, Poll | RequestEvent):
            newest = DeliveredEvent(event(modification=number), EventStatus.FAR)
            bench.hear(DistributeEvent("vtn", f"d{number}", (newest,), Response()))
            taken.append(number)
            assert bench.store.event("evt").event.modification_number == number
        else:
            bench.hear(QUIET)
    assert 4 <= len(taken) <= 150 + bench.burst


@pytest.mark.parametrize(("asked", "period_s"), [("P10000Y", 3600), ("P100Y", 3600), ("PT0S", 60), ("P1M", 3600)])
def test_a_poll_frequency_without_sense_is_bounded_said_and_survived(benches, household, asked, period_s):
    bench = benches(household)
    bench.exchange(QueryRegistration, bench.registered(with_ids=False))
    bench.next()
    actions = bench.hear(bench.registered(poll_freq=Duration.parse(asked)))
    said = [action.text for action in actions if isinstance(action, Noted)]
    assert [str(Duration.parse(asked)) in text for text in said] == ([True] if period_s == 3600 else [])
    for again in (bench, benches(household, store=bench.store)):
        for _ in range(4):
            message = again.next()
            if message is not None:
                again.hear(answer_to(again, message))
        assert again.engine.wake_at(again.now) == again.now + timedelta(seconds=period_s)


# -- what the VTN answers


def test_every_error_code_of_the_vtn_is_counted_with_its_text(bench, event, request_for):
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/energy")])
    bench.meter(bench.now, bench.now + timedelta(minutes=5))
    bench.deliver(event())
    wrong = Response(452, "vtnID 'th_vtn' is not ours")
    actions = bench.hear_next(CreatedEvent, OadrResponse(wrong))
    actions += bench.poll(OadrResponse(Response(454, "no poll")))
    bench.after(minutes=2)
    while not isinstance(bench.next(), UpdateReport):
        bench.hear(QUIET)
    actions += bench.hear(UpdatedReport(Response(461, "no such report")))
    bench.poll_under_way()
    bench.engine.failed(Failure.BUSY, bench.now, code="HTTP 503", text="come back later")
    counted = {(one.message, one.code): (one.count, one.reason) for one in bench.store.refusals()}
    assert counted == {
        ("CreatedEvent", "452"): (1, "vtnID 'th_vtn' is not ours"),
        ("Poll", "454"): (1, "no poll"),
        ("UpdateReport", "461"): (1, "no such report"),
        ("Poll", "HTTP 503"): (1, "come back later"),
    }
    assert sum(isinstance(one, Refused) or (isinstance(one, Noted) and one.problem) for one in actions) == 3


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
