"""Registering, re-registering, being thrown out."""

from datetime import timedelta

import pytest

from core.spans import Duration
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedEvent,
    CreatePartyRegistration,
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
from ven.engine import Failure, Phase, Refused, Registered, Unregistered, VenSettings


def test_a_first_registration_says_everything_in_its_order(bench):
    bench.register()
    bench.next()
    kinds = [type(message) for message in bench.said]
    assert kinds == [QueryRegistration, CreatePartyRegistration, RegisterReport, RequestEvent, Poll]
    create = bench.said[1]
    assert create.registration_id is None  # RG-03
    assert create.ven_id is None
    assert create.profile.http_pull is True  # RG-04
    assert {offer.name for offer in bench.said[2].offers} == {"TELEMETRY_USAGE", "TELEMETRY_STATUS", "HISTORY_USAGE"}
    assert bench.said[2].report_request_id is None  # RP-06


def test_a_preconfigured_ven_id_is_sent_with_the_first_registration(benches, household):
    settings = VenSettings("home", Duration.of(minutes=1), query=False, ven_id="ven-1", vtn_id="vtn")
    bench = benches(household, settings=settings)
    assert bench.next().ven_id == "ven-1"


def test_a_vtn_that_does_not_answer_is_asked_again(bench):
    for _ in range(3):
        assert isinstance(bench.next(), QueryRegistration)  # RG-12
        assert bench.engine.failed(Failure.UNREACHABLE, bench.now) == []
        assert bench.silent()
        bench.now = bench.engine.wake_at(bench.now)  # TR-11


def test_a_vtn_that_knows_no_query_is_registered_with_all_the_same(bench):
    bench.next()
    bench.engine.failed(Failure.REJECTED, bench.now)
    assert isinstance(bench.next(), CreatePartyRegistration)


def test_a_refused_registration_is_tried_again_after_a_pause(bench):
    bench.exchange(QueryRegistration, bench.registered(with_ids=False))
    bench.next()
    actions = bench.hear(OadrResponse(Response(463, "who are you?")))
    assert actions == [Refused("CreatePartyRegistration", 463, "who are you?")]
    assert bench.silent()
    assert isinstance(bench.after(seconds=2).next(), CreatePartyRegistration)


def test_an_answer_without_a_registration_id_is_a_refusal(bench):
    bench.exchange(QueryRegistration, bench.registered(with_ids=False))
    bench.next()
    assert isinstance(bench.hear(bench.registered(with_ids=False))[0], Refused)
    assert bench.engine.registration is None


def test_another_vtn_than_the_enrolled_one_is_refused(benches, household):
    settings = VenSettings("home", Duration.of(minutes=1), query=False, vtn_id="other")
    bench = benches(household, settings=settings)
    bench.next()
    (refused,) = bench.hear(bench.registered())
    assert refused.code == 452  # GN-08
    assert bench.engine.registration is None


def test_463_makes_it_register_again_with_its_ids_and_nothing_more(bench):
    bench.register()
    bench.poll(OadrResponse(Response(463)))
    create = bench.next()
    assert (create.registration_id, create.ven_id) == ("reg-1", "ven-1")  # RG-06
    actions = bench.hear(bench.registered())
    assert actions == [Registered(bench.engine.registration, renewed=True)]
    assert bench.silent()  # PL-06
    assert isinstance(bench.after(minutes=1).next(), Poll)  # RG-07: no metadata, no request for events


def test_a_vtn_that_forgot_the_ids_gets_a_new_registration(bench, request_for):
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/energy")])
    bench.poll(OadrResponse(Response(463)))
    bench.exchange(CreatePartyRegistration, OadrResponse(Response(452)))
    create = bench.next()
    assert create.registration_id is None
    bench.hear(bench.registered(registration_id="reg-2"))
    assert isinstance(bench.next(), RegisterReport)  # RP-01
    assert bench.store.report_tasks() == []  # RG-08


def test_other_ids_in_the_answer_are_a_new_registration(bench):
    bench.register()
    bench.poll(OadrResponse(Response(463)))
    bench.exchange(CreatePartyRegistration, bench.registered(registration_id="reg-9"))
    assert isinstance(bench.next(), RegisterReport)


def test_with_a_new_registration_no_failure_of_before_counts(bench):
    bench.register_until_sync()
    bench.hear(OadrResponse(Response(463)))  # to the request for events
    bench.exchange(CreatePartyRegistration, bench.registered(registration_id="reg-9"))
    bench.exchange(RegisterReport, RegisteredReport(Response(), ()))
    assert isinstance(bench.next(), RequestEvent)  # RG-07: before other traffic, and without a back-off


def test_a_gateway_that_was_forgotten_in_an_outage_polls_soon_after_it(bench):
    bench.register()
    outage_ends = bench.now + timedelta(minutes=15)
    while bench.now < outage_ends:
        if bench.next() is None:
            bench.now = bench.engine.wake_at(bench.now)
        else:
            bench.engine.failed(Failure.UNREACHABLE, bench.now)
    while not isinstance(message := bench.next(), Poll | RequestEvent):
        bench.now = bench.engine.wake_at(bench.now)
    bench.hear(OadrResponse(Response(463)))
    bench.exchange(CreatePartyRegistration, bench.registered(registration_id="reg-9"))
    bench.exchange(RegisterReport, RegisteredReport(Response(), ()))
    bench.exchange(RequestEvent, DistributeEvent("vtn", "d", (), Response()))
    registered_at = bench.now
    bench.poll(OadrResponse(Response()))
    assert bench.now - registered_at <= timedelta(minutes=1), message  # its period, and no back-off of before


@pytest.mark.parametrize("forgets_at", [Poll, RequestEvent])
def test_a_vtn_that_forgets_every_registration_gets_one_a_minute(bench, forgets_at):
    registrations, ends = [], bench.now + timedelta(minutes=30)
    while bench.now < ends:
        message = bench.next()
        if message is None:
            bench.now = bench.engine.wake_at(bench.now)
        elif isinstance(message, CreatePartyRegistration):
            registrations.append(bench.now)
            bench.hear(bench.registered(registration_id=f"reg-{len(registrations)}"))
        elif isinstance(message, forgets_at):
            bench.hear(OadrResponse(Response(463)))
        elif isinstance(message, RegisterReport):
            bench.hear(RegisteredReport(Response(), ()))
        elif isinstance(message, RequestEvent):
            bench.hear(DistributeEvent("vtn", "d", (), Response()))
        else:
            bench.hear(bench.registered(with_ids=False))
    assert 25 <= len(registrations) <= 40
    assert registrations[1] - registrations[0] <= timedelta(minutes=1)  # RG-14: the first time it is not put off


def test_a_request_to_register_again_is_answered_first(bench):
    bench.register()
    bench.poll(RequestReregistration("ven-1"))
    assert isinstance(bench.exchange(OadrResponse, None), OadrResponse)  # RG-09; an empty 200 is fine
    create = bench.next()
    assert (create.registration_id, create.ven_id) == ("reg-1", "ven-1")


def test_a_request_to_register_again_for_another_ven_is_refused(bench):
    bench.register()
    bench.poll(RequestReregistration("VEN-1"))  # GN-09: case counts
    assert bench.exchange(OadrResponse, None).response.code == 452
    assert isinstance(bench.next(), Poll)


def test_a_vtn_that_answers_anything_with_reregistration_gets_it(bench):
    bench.register()
    bench.deliver()
    bench.after(minutes=2)
    bench.poll(OadrResponse(Response()))
    bench.engine.start(bench.now)
    bench.exchange(RequestEvent, RequestReregistration("ven-1"))
    assert isinstance(bench.next(), CreatePartyRegistration)


def test_the_vtn_cancels_and_everything_about_it_is_erased(bench, event, request_for):
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/energy")])
    bench.meter(bench.now, bench.now)
    bench.deliver(event())
    actions = bench.poll(CancelPartyRegistration("rq", "reg-1", "ven-1"))
    assert Unregistered("the VTN cancelled the registration", comes_back=True) in actions
    said = bench.exchange(CanceledPartyRegistration, ok_response())
    assert (said.response.code, said.registration_id, said.response.request_id) == (200, "reg-1", "rq")  # RG-16
    assert bench.store.events() == []
    assert bench.store.report_tasks() == []
    assert bench.engine.registration is None
    assert len(bench.ring) == 1  # the readings are the household's own
    assert bench.silent()


def test_a_ven_that_the_vtn_cancelled_asks_again_in_an_hour(bench):
    bench.register()
    bench.poll(CancelPartyRegistration("rq", "reg-1", "ven-1"))
    bench.exchange(CanceledPartyRegistration, ok_response())
    again = bench.engine.wake_at(bench.now)
    assert timedelta(hours=1) <= again - bench.now <= timedelta(hours=1, minutes=6)
    bench.after(minutes=59)
    assert bench.silent()
    bench.after(minutes=7)
    bench.exchange(QueryRegistration, bench.registered(with_ids=False))
    bench.exchange(CreatePartyRegistration, bench.registered())  # RG-12
    assert isinstance(bench.next(), RegisterReport)


def test_after_a_restart_a_cancelled_ven_registers_anew(bench):
    bench.register()
    bench.poll(CancelPartyRegistration("rq", "reg-1"))
    bench.exchange(CanceledPartyRegistration, ok_response())
    bench.engine.start(bench.now)
    assert isinstance(bench.next(), QueryRegistration)  # RG-12


def test_a_cancellation_with_wrong_ids_changes_nothing(bench):
    bench.register()
    bench.poll(CancelPartyRegistration("rq", "reg-7", "ven-1"))
    assert bench.exchange(CanceledPartyRegistration, ok_response()).response.code == 452  # RG-11
    assert bench.engine.registration is not None
    assert bench.engine.phase is Phase.SERVING


def test_the_ven_can_cancel_by_itself(bench):
    bench.register()
    bench.engine.unregister()
    message = bench.exchange(CancelPartyRegistration, CanceledPartyRegistration(Response(), "reg-1", "ven-1"))
    assert message.registration_id == "reg-1"
    assert bench.engine.phase is Phase.OVER
    assert bench.engine.wake_at(bench.now) is None
    bench.after(hours=5)
    assert bench.silent()


def test_a_restart_goes_on_with_the_same_registration_and_asks_for_all_events(bench):
    bench.register()
    bench.engine.start(bench.now)
    assert isinstance(bench.exchange(RequestEvent, DistributeEvent("vtn", "r", (), Response())), RequestEvent)
    assert isinstance(bench.next(), Poll)


def test_a_restart_with_other_offers_sends_them(bench, benches, variant):
    bench.register()
    again = benches(variant(), store=bench.store)
    again.reporter._resources = {}
    again.engine.start(again.now)
    assert isinstance(again.next(), RegisterReport)


def test_a_restart_between_registration_and_metadata_sends_the_metadata(bench):
    bench.exchange(QueryRegistration, bench.registered(with_ids=False))
    bench.exchange(CreatePartyRegistration, bench.registered())
    bench.engine.start(bench.now)
    assert isinstance(bench.next(), RegisterReport)


def test_metadata_that_is_refused_is_sent_again(bench):
    bench.exchange(QueryRegistration, bench.registered(with_ids=False))
    bench.exchange(CreatePartyRegistration, bench.registered())
    bench.next()
    assert isinstance(bench.hear(RegisteredReport(Response(459, "bad")))[0], Refused)
    bench.exchange(RequestEvent, DistributeEvent("vtn", "r", (), Response()))  # nothing else waits for it
    bench.exchange(Poll, ok_response())
    assert isinstance(bench.after(seconds=2).next(), RegisterReport)


def test_answers_wait_for_the_registration(bench, event):
    bench.register()
    bench.deliver(event())
    bench.exchange(CreatedEvent, OadrResponse(Response(463)))
    bench.exchange(CreatePartyRegistration, bench.registered())
    bench.exchange(Poll, ok_response())
    assert bench.silent()
    assert isinstance(bench.after(seconds=2).next(), CreatedEvent)  # still owed


def test_reports_go_on_after_a_renewed_registration(bench, request_for):
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/energy")])
    bench.meter(bench.now, bench.now.replace(minute=2))
    bench.poll(OadrResponse(Response(463)))
    bench.exchange(CreatePartyRegistration, bench.registered())
    bench.poll(ok_response())
    bench.after(minutes=2)
    kinds = []
    while (message := bench.next()) is not None:
        kinds.append(type(message))
        bench.hear(UpdatedReport(Response()) if isinstance(message, UpdateReport) else ok_response())
    assert UpdateReport in kinds


def ok_response():
    return OadrResponse(Response())
