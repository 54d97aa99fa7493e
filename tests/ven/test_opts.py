"""Opts by hand and opt schedules."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.event import ResponseRequired
from openadr.model.opt import Availability, OptType
from openadr.model.target import Target
from openadr.v20b.messages import CancelOpt, CreatedEvent, CreateOpt, OadrResponse, Response
from ven.engine import EventsChanged

QUIET = OadrResponse(Response())


@pytest.fixture
def known(bench, event):
    """Return a bench that has answered one event."""
    bench.register()
    bench.deliver(event(), request_id="rq-1")
    bench.exchange(CreatedEvent, QUIET)
    return bench


def test_a_later_opt_out_repeats_the_deliverys_request_id(known):
    assert known.engine.opt("evt", OptType.OUT, "economic", known.now) == [EventsChanged(("evt",))]
    (answer,) = known.exchange(CreatedEvent, QUIET).event_responses
    assert (answer.opt_type, answer.request_id, answer.description) == (OptType.OUT, "rq-1", "economic")  # EV-44
    assert not known.store.event("evt").runs


def test_the_same_opt_again_is_no_message(known):
    assert known.engine.opt("evt", OptType.IN, "participating", known.now) == []
    assert known.store.waiting_count() == 0


def test_an_opt_by_hand_outlives_a_modification(known, event):
    known.engine.opt("evt", OptType.OUT, "economic", known.now)
    known.exchange(CreatedEvent, QUIET)
    known.deliver(event(modification=1, values=((30, -1.0),)))
    (answer,) = known.exchange(CreatedEvent, QUIET).event_responses
    assert (answer.opt_type, answer.modification_number) == (OptType.OUT, 1)


def test_one_can_opt_in_again(known):
    known.engine.opt("evt", OptType.OUT, "economic", known.now)
    known.exchange(CreatedEvent, QUIET)
    known.engine.opt("evt", OptType.IN, "participating", known.now)
    assert known.exchange(CreatedEvent, QUIET).event_responses[0].opt_type is OptType.IN
    assert known.store.event("evt").runs


def test_an_event_that_wants_no_response_is_opted_out_of_in_silence(bench, event):
    bench.register()
    bench.deliver(event(response_required=ResponseRequired.NEVER))
    bench.engine.opt("evt", OptType.OUT, "economic", bench.now)
    assert not bench.store.event("evt").runs
    assert bench.store.waiting_count() == 0  # EV-41
    with pytest.raises(ConflictError):
        bench.engine.opt("evt", OptType.IN, "participating", bench.now, qualify=True)  # OP-10


@pytest.mark.parametrize("explicit", [True, False])
def test_ev59_a_cancelled_event_that_runs_out_is_not_named_any_more(bench, event, explicit):
    bench.register()
    sent = event(
        period={"start_after": Duration.of(hours=1)}, start=bench.now - timedelta(hours=1), values=((600, -1.0),)
    )
    bench.deliver(sent)
    bench.exchange(CreatedEvent, QUIET)
    bench.after(hours=2)
    bench.deliver(*([replace(sent, modification_number=1, cancelled=True)] if explicit else []))
    if explicit:
        bench.exchange(CreatedEvent, QUIET)
    assert not bench.store.event("evt").over(bench.now), "its stop is random (EV-62)"
    with pytest.raises(ConflictError, match="cancelled"):
        bench.engine.opt("evt", OptType.OUT, "overrideStatus", bench.now, qualify=True)
    assert bench.engine.opt("evt", OptType.OUT, "economic", bench.now) == [EventsChanged(("evt",))]
    assert not bench.store.event("evt").runs, "the devices are free at once"
    assert bench.engine.withdraw("evt", "odd") == [EventsChanged(("evt",))]
    assert bench.store.waiting_count() == 0


def test_an_opt_can_qualify_an_event(known):
    known.engine.opt("evt", OptType.OUT, "overrideStatus", known.now, qualify=True)
    opt = known.exchange(CreateOpt, QUIET).opt
    assert (opt.event_id, opt.modification_number, opt.opt_type) == ("evt", 0, OptType.OUT)  # OP-01
    assert opt.availability == ()  # OP-02
    assert not known.store.event("evt").runs
    with pytest.raises(NotFoundError):
        known.engine.cancel_opt(opt.opt_id)  # OP-13


def test_nobody_opts_for_an_event_that_is_unknown_over_or_refused(known, event):
    with pytest.raises(NotFoundError):
        known.engine.opt("other", OptType.OUT, "economic", known.now)
    known.deliver(event(), event("bad", target=Target(group_ids=("g",))))
    known.exchange(CreatedEvent, QUIET)
    with pytest.raises(ConflictError):
        known.engine.opt("bad", OptType.IN, "participating", known.now)
    known.after(days=1)
    with pytest.raises(ConflictError):
        known.engine.opt("evt", OptType.OUT, "economic", known.now)


def test_a_schedule_opts_out_of_what_lies_in_it(known, event):
    away = Availability(known.now, Duration.of(hours=3))
    opt_id, actions = known.engine.schedule_opt([away], OptType.OUT, "notParticipating", known.now)
    assert actions == [EventsChanged(("evt",))]
    message = known.exchange(CreateOpt, QUIET)
    assert (message.opt.opt_id, message.opt.availability, message.opt.event_id) == (opt_id, (away,), None)
    known.deliver(event("in"), event("after", start=known.now + timedelta(hours=4)))
    found = {one.event_id: one.opt_type for one in known.exchange(CreatedEvent, QUIET).event_responses}
    assert found == {"in": OptType.OUT, "after": OptType.IN}
    known.engine.cancel_opt(opt_id)
    assert known.exchange(CancelOpt, QUIET).opt_id == opt_id
    known.deliver(event("in"), event("new"), event("after", start=known.now + timedelta(hours=4)))
    found = {one.event_id: one.opt_type for one in known.exchange(CreatedEvent, QUIET).event_responses}
    assert found["new"] is OptType.IN


def test_a_schedule_with_a_market_context_counts_there_only(bench, event):
    bench.register()
    span = [Availability(bench.now, Duration())]  # OP-12: open-ended
    bench.engine.schedule_opt(span, OptType.OUT, "economic", bench.now, "http://example.com/dr")
    bench.exchange(CreateOpt, QUIET)
    bench.deliver(event("a"), event("b", market_context="http://example.com/else"))
    found = {one.event_id: one.opt_type for one in bench.exchange(CreatedEvent, QUIET).event_responses}
    assert found == {"a": OptType.OUT, "b": OptType.IN}  # OP-07


def test_a_schedule_needs_a_span_and_a_reason_that_openadr_knows(bench):
    bench.register()
    with pytest.raises(InvalidError):
        bench.engine.schedule_opt([], OptType.OUT, "economic", bench.now)
    span = [Availability(bench.now, Duration.of(hours=1))]
    for reason in ("", "on holiday", "x-", "x- ", "x-line\nbreak"):
        with pytest.raises(InvalidError, match="notParticipating"):
            bench.engine.schedule_opt(span, OptType.OUT, reason, bench.now)
    bench.engine.schedule_opt(span, OptType.OUT, "x-holiday", bench.now)
    assert bench.exchange(CreateOpt, QUIET).opt.reason == "x-holiday"


def test_schedules_that_are_over_are_forgotten_and_the_others_are_bounded(bench):
    bench.register()
    for _ in range(100):
        bench.engine.schedule_opt([Availability(bench.now, Duration.of(hours=1))], OptType.OUT, "economic", bench.now)
    open_ended = [Availability(bench.now, Duration())]
    with pytest.raises(InvalidError, match="at most 100"):
        bench.engine.schedule_opt(open_ended, OptType.OUT, "economic", bench.now)
    bench.after(hours=1)
    last, _ = bench.engine.schedule_opt(open_ended, OptType.OUT, "economic", bench.now)
    assert [opt.opt_id for opt in bench.store.opts()] == [last]


def test_without_a_registration_there_is_nobody_to_tell(bench):
    with pytest.raises(ConflictError):
        bench.engine.opt("evt", OptType.OUT, "economic", bench.now)
