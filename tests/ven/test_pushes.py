"""Push mode of the engine: answers in the same exchange, no polls, and a registration that says the address."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.errors import ConflictError, UnavailableError
from core.spans import Duration
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.model.registration import VtnProfile
from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CanceledReport,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedPartyRegistration,
    CreatedReport,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    OadrResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.engine import VenSettings

ADDRESS = "https://home.example.com:8446"
PUSHED = VenSettings("home", Duration.of(minutes=1), jitter=0.0, push_address=ADDRESS)


@pytest.fixture
def pushed(household, benches):
    return benches(household, settings=PUSHED).register()


def listed(event, **more):
    return DistributeEvent("vtn", "d", (DeliveredEvent(event(**more), EventStatus.FAR),))


def said(bench, count=8):
    """Return what it says now, each answered well, until it is quiet."""
    messages = []
    while len(messages) < count and (message := bench.next()) is not None:
        messages.append(message)
        bench.hear(OadrResponse(Response(), "ven-1"))
    return messages


def test_rg04_the_registration_says_the_address(household, benches):
    bench = benches(household, settings=PUSHED)
    first = bench.next()
    while not isinstance(first, CreatePartyRegistration):
        bench.hear(None)
        first = bench.next()
    assert (first.profile.http_pull, first.profile.transport_address) == (False, ADDRESS)


def test_pl01_it_never_polls(pushed):
    for _ in range(5):
        assert not any(isinstance(message, Poll) for message in said(pushed))
        pushed.now += timedelta(hours=1)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (RegisterReport("r", (), "ven-1"), RegisteredReport),
        (RegisterReport("r", (), "ven-2"), RegisteredReport),
        (CancelReport("x", ("rr-1",), report_to_follow=False, ven_id="ven-1"), CanceledReport),
        (CancelReport("x", ("rr-1",), report_to_follow=False, ven_id="ven-2"), CanceledReport),
        (UpdateReport("u", (), "ven-1"), UpdatedReport),
        (RequestReregistration("ven-1"), OadrResponse),
        (RequestReregistration("ven-2"), OadrResponse),
        (CancelPartyRegistration("q", "reg-1", "ven-1"), CanceledPartyRegistration),
        (CancelPartyRegistration("q", "reg-9", "ven-1"), CanceledPartyRegistration),
        (Poll("ven-1"), OadrResponse),
        (OadrResponse(Response(), "ven-1"), OadrResponse),
    ],
)
def test_what_is_pushed_is_answered_at_once_and_only_once(pushed, message, answer):
    said(pushed)
    got, _ = pushed.engine.pushed(message, pushed.now)
    assert type(got) is answer
    assert not any(type(one) is answer for one in said(pushed))


def test_report_requests_are_answered_at_once(pushed, request_for):
    request = request_for("TELEMETRY_USAGE", "home/energy")
    got, _ = pushed.engine.pushed(CreateReport("c", (request,), "ven-1"), pushed.now)
    assert isinstance(got, CreatedReport)
    assert got.response.request_id == "c"
    assert [task.id for task in pushed.store.report_tasks()] == [request.request_id]


def test_tr13_events_are_answered_by_a_request_of_their_own(pushed, event):
    said(pushed)
    got, actions = pushed.engine.pushed(listed(event), pushed.now)
    assert got is None
    assert actions
    (created,) = [message for message in said(pushed) if isinstance(message, CreatedEvent)]
    assert created.event_responses[0].event_id == "evt"


def test_rg09_it_registers_again_after_its_answer(pushed):
    said(pushed)
    pushed.engine.pushed(RequestReregistration("ven-1"), pushed.now)
    again = pushed.next()
    assert isinstance(again, CreatePartyRegistration)
    assert again.registration_id == "reg-1"


def test_rg10_a_cancelled_registration_is_forgotten_and_asked_for_later(pushed):
    said(pushed)
    pushed.engine.pushed(CancelPartyRegistration("q", "reg-1", "ven-1"), pushed.now)
    assert pushed.store.registration() is None
    assert said(pushed) == []
    pushed.now += timedelta(hours=2)
    assert pushed.next() is not None, "it comes back (RG-12)"


def test_rg13_who_is_not_registered_takes_nothing(household, benches, event):
    bench = benches(household, settings=PUSHED)
    with pytest.raises(ConflictError):
        bench.engine.pushed(listed(event), bench.now)
    with pytest.raises(ConflictError):
        bench.engine.pushed_unreadable("oadrCreateReport", "c", OpenADRError(Code.INVALID_DATA, "no"), bench.now)
    assert bench.store.events() == []


def test_gn11_what_cannot_be_read_is_refused_in_its_own_terms(pushed):
    fault = OpenADRError(Code.INVALID_DATA, "a month of 13")
    got, _ = pushed.engine.pushed_unreadable("oadrCreateReport", "c", fault, pushed.now)
    assert isinstance(got, CreatedReport)
    assert (got.response.code, got.response.request_id) == (Code.INVALID_DATA, "c")


def test_what_raises_stays_with_its_message(pushed, event, monkeypatch):
    monkeypatch.setattr(pushed.engine._pushes._inbox, "take", lambda *_: 1 / 0)
    got, actions = pushed.engine.pushed(
        CancelReport("x", ("rr-1",), report_to_follow=False, ven_id="ven-1"), pushed.now
    )
    assert isinstance(got, CanceledReport)
    assert got.response.code == Code.COMPLIANCE
    assert actions


def test_a_disk_that_takes_nothing_is_said(pushed, monkeypatch):
    def full(*_):
        raise UnavailableError("full")

    monkeypatch.setattr(pushed.store, "push", full)
    with pytest.raises(UnavailableError):
        pushed.engine.pushed(RequestReregistration("ven-1"), pushed.now)


@pytest.mark.parametrize(
    "change",
    [{"push_address": None}, {"push_address": "https://elsewhere.example.com"}, {"xml_signature": True}],
)
def test_another_address_mode_or_use_of_signatures_is_told_to_the_vtn(household, benches, pushed, change):
    same = benches(household, store=pushed.store, settings=PUSHED)
    assert not isinstance(same.next(), CreatePartyRegistration)
    settings = replace(PUSHED, **change)
    moved = benches(household, store=pushed.store, settings=settings)
    again = moved.next()
    assert isinstance(again, CreatePartyRegistration)
    assert (again.registration_id, again.profile.transport_address) == ("reg-1", settings.push_address)
    assert again.profile.http_pull is (settings.push_address is None)
    assert again.profile.xml_signature is settings.xml_signature
    known = CreatedPartyRegistration(Response(request_id=again.request_id), VtnProfile("vtn"), "reg-1", "ven-1")
    moved.hear(known)
    settled = benches(household, store=pushed.store, settings=settings)
    assert not isinstance(settled.next(), CreatePartyRegistration)
