"""What people choose, and by which message the VTN hears of it."""

from types import SimpleNamespace

import pytest

from openadr.model.event import ResponseRequired
from openadr.model.opt import OptType
from openadr.v20b.messages import CreatedEvent, CreateOpt, OadrResponse, Response
from ven.people import People

_OK = OadrResponse(Response())


@pytest.fixture
def people(bench):
    def make(**how):
        return People(bench.engine, bench.store, SimpleNamespace(now=lambda: bench.now), lambda _actions: None, **how)

    return make


def _wish(bench, opt=OptType.OUT, reason="notParticipating"):
    bench.store.wish("evt", opt, reason)


def test_a_choice_is_said_by_created_event(bench, event, people):
    bench.register()
    bench.deliver(event())
    bench.exchange(CreatedEvent, _OK)
    _wish(bench)
    people().serve()
    (answer,) = bench.exchange(CreatedEvent, _OK).event_responses
    assert (answer.event_id, answer.opt_type) == ("evt", OptType.OUT)
    assert bench.store.wishes() == []


def test_a_choice_is_said_by_create_opt_where_the_vtn_serves_it(bench, event, people):
    bench.register()
    bench.deliver(event())
    bench.exchange(CreatedEvent, _OK)
    for opt in (OptType.OUT, OptType.IN):
        _wish(bench, opt)
        people(by_create_opt=True).serve()
        said = bench.exchange(CreateOpt, _OK).opt
        assert (said.event_id, said.opt_type) == ("evt", opt)  # OP-01, and back by OP-08


def test_of_an_event_that_wants_no_answer_the_choice_counts_and_is_not_said(bench, event, people):
    bench.register()
    bench.deliver(event(response_required=ResponseRequired.NEVER))
    _wish(bench)
    people(by_create_opt=True).serve()
    assert not bench.store.event("evt").runs
    assert bench.store.waiting_count() == 0  # OP-10, EV-41


def test_a_reason_that_the_vtn_could_not_read_is_not_said(bench, event, people):
    bench.register()
    bench.deliver(event())
    bench.exchange(CreatedEvent, _OK)
    _wish(bench, reason="we have guests")
    people(by_create_opt=True).serve()
    assert bench.store.waiting_count() == 0
    assert bench.store.wishes() == [], "it is not tried again and again"
