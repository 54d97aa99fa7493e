"""A message of the VTN means the same whether a poll brought it or it came by itself."""

import pytest

from core.errors import ConflictError
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.v20b.messages import (
    CancelPartyRegistration,
    CancelReport,
    CreateReport,
    DistributeEvent,
    OadrResponse,
    Poll,
    RegisterReport,
    RequestReregistration,
    Response,
    UpdateReport,
)
from ven.engine.inbox import Inbox


def messages(event, request_for):
    request = request_for("TELEMETRY_USAGE", "home/energy")
    return [
        DistributeEvent("vtn", "d", (DeliveredEvent(event(), EventStatus.FAR),), Response()),
        CreateReport("c", (request,), "ven-1"),
        CreateReport("c", (request,), "ven-2"),
        CancelReport("x", ("rr-1",), report_to_follow=False, ven_id="ven-1"),
        CancelReport("x", ("rr-1",), report_to_follow=False, ven_id="ven-2"),
        RegisterReport("r", (), "ven-1"),
        RegisterReport("r", (), "ven-2"),
        UpdateReport("u", (), "ven-1"),
        RequestReregistration("ven-1"),
        RequestReregistration("ven-2"),
        CancelPartyRegistration("q", "reg-1", "ven-1"),
        CancelPartyRegistration("q", "reg-9", "ven-1"),
    ]


def inbox_of(bench):
    engine = bench.engine
    return Inbox(bench.store, engine._registrar, engine._events, engine._reports)


def remembered(bench):
    """Return what the gateway remembers and is about to say."""
    store = bench.store
    waiting = [store.waiting(seq).message for seq in store.waiting_seqs()]
    return waiting, store.events(), store.report_tasks(), store.registration(), bench.engine.phase


@pytest.mark.parametrize("number", range(12))
def test_a_message_means_the_same_by_every_channel(household, benches, event, request_for, number):
    message = messages(event, request_for)[number]
    polled, pushed = benches(household).register(), benches(household).register()
    actions = polled.poll(message)
    assert inbox_of(pushed).takes(message)
    assert inbox_of(pushed).take(message, pushed.now) == actions
    assert remembered(pushed) == remembered(polled)
    assert remembered(pushed)[0], "it is answered"


def test_what_is_no_message_of_a_vtn_is_not_taken(bench):
    inbox = inbox_of(bench)
    assert not any(inbox.takes(message) for message in (None, OadrResponse(Response()), Poll("ven-1")))


def test_who_is_not_registered_takes_nothing(bench, event, request_for):
    for message in messages(event, request_for):
        with pytest.raises(ConflictError, match="not registered"):
            inbox_of(bench).take(message, bench.now)
    assert (bench.store.waiting_seqs(), bench.store.events()) == ([], [])
