"""EV: how a VEN answers events."""

from collections.abc import Iterator
from typing import Final

from conformance import judge
from conformance.check import EVERY, Check, check
from conformance.exchange import Transcript
from conformance.vens.checks.said import (
    EventResponse,
    all_responses,
    delivery,
    messages,
    of_event,
    played,
    refused,
    responses,
    taken,
)
from conformance.verdict import Failed, NotObservable


@check("EV-40", "answers")
def every_delivery_is_answered(transcript: Transcript) -> None:
    """An event with responseRequired always is answered when it is new, unchanged, changed and old."""
    for step in ("new", "again", "changed", "old"):
        of_event(transcript, step, "first")


@check("EV-41", "answers")
def what_asks_for_no_answer_gets_none(transcript: Transcript) -> None:
    """An event with responseRequired never has no eventResponse."""
    for step in ("new", "again", "changed"):
        for each in responses(transcript, step):
            if each.event_id == "quiet":
                raise Failed(f"{step}: the event that asks for no answer has one", each.exchange)
    for exchange, document in messages(transcript, "oadrCreateOpt"):
        if document.text("ei:qualifiedEventID/ei:eventID") == "quiet":
            raise Failed("the event that asks for no answer has an oadrCreateOpt", exchange)


@check("EV-42", "faults")
def a_delivery_is_answered_by_one_message(transcript: Transcript) -> None:
    """All events of a delivery are answered in one oadrCreatedEvent."""
    step = "faulty:unknown resource"
    wanted = delivery(transcript, step)[1].text("pyld:requestID")
    sent = list(dict.fromkeys(each.exchange for each in responses(transcript, step) if each.request_id == wanted))
    if len(sent) != 1:
        raise Failed(f"{len(sent)} messages for one delivery", *sent)


@check("EV-43", EVERY)
def an_answer_has_event_responses(transcript: Transcript) -> None:
    """OadrCreatedEvent has eventResponses, unless it reports an error."""
    sent = list(messages(transcript, "oadrCreatedEvent"))
    if not sent:
        raise NotObservable("the VEN sent no oadrCreatedEvent")
    for exchange, document in sent:
        if document.code == judge.OK and not document.all(".//ei:eventResponse"):
            raise Failed("oadrCreatedEvent without eventResponses", exchange)


@check("EV-44", "answers")
def a_response_names_its_delivery(transcript: Transcript) -> None:
    """Each eventResponse has the requestID of its oadrDistributeEvent; that of the eiResponse is empty."""
    for step in ("new", "again", "changed", "old"):
        _, document = delivery(transcript, step)
        wanted = document.text("pyld:requestID")
        for each in responses(transcript, step):
            if each.request_id != wanted:
                raise Failed(f"{step}: requestID '{each.request_id}' in place of '{wanted}'", each.exchange)
        for exchange, answer in messages(played(transcript, step), "oadrCreatedEvent"):
            if answer.text("pyld:eiCreatedEvent/ei:eiResponse/pyld:requestID"):
                raise Failed(f"{step}: the eiResponse has a requestID", exchange)


@check("EV-45", "answers")
def request_ids_need_not_be_unique(transcript: Transcript) -> None:
    """Two deliveries with one requestID are both answered."""
    taken(of_event(transcript, "one id", "with one id"))
    taken(of_event(transcript, "one id again", "with one id, too"))


def _bad(transcript: Transcript, kind: str) -> EventResponse:
    step = f"faulty:{kind}"
    _, document = delivery(transcript, step)
    event_id = next(event.event_id for event in document.events if event.event_id.startswith("bad "))
    return of_event(transcript, step, event_id)


@check("EV-49", "faults")
def an_unknown_market_context_is_refused(transcript: Transcript) -> None:
    """462 and optOut, unless the VEN is set to take any market context."""
    response = _bad(transcript, "unknown market")
    if response.code == "200":
        raise NotObservable("the VEN takes any market context")
    refused(response, "462")


@check("EV-50", "faults")
def a_target_that_matches_nothing_is_refused(transcript: Transcript) -> None:
    """An event for a resource that the VEN does not have gets 462 and optOut."""
    refused(_bad(transcript, "unknown resource"), "462")


@check("EV-51", "faults")
def an_unsupported_signal_is_refused(transcript: Transcript) -> None:
    """An unsupported name gets 460 and optOut, a type that its name does not have 460 or 459."""
    refused(_bad(transcript, "unsupported signal"), "460")
    refused(_bad(transcript, "unsupported type"), "460", "459")


@check("EV-52", "faults")
def a_signal_for_no_device_is_refused(transcript: Transcript) -> None:
    """A device class that no resource has gets exactly 469."""
    refused(_bad(transcript, "unknown device class"), "469")


@check("EV-53", "faults")
def one_faulty_event_spoils_no_other(transcript: Transcript) -> None:
    """The good events beside a faulty one are taken, and the message as a whole says 200."""
    steps = dict.fromkeys(":".join(each.step.split(":")[:2]) for each in transcript.steps("faulty"))
    if not steps:
        raise NotObservable("no faulty event was delivered")
    for step in steps:
        _, document = delivery(transcript, step)
        for event in document.events:
            if not event.event_id.startswith("bad "):
                taken(of_event(transcript, step, event.event_id))
        for exchange, answer in messages(played(transcript, step), "oadrCreatedEvent"):
            if answer.code != judge.OK:
                raise Failed(f"{step}: the message says {answer.code}", exchange)


@check("EV-54", "answers")
def a_new_event_is_taken(transcript: Transcript) -> None:
    """An event that it does not know is processed and answered with 200."""
    taken(of_event(transcript, "new", "first"))


@check("EV-55", "answers")
def a_change_is_taken(transcript: Transcript) -> None:
    """A higher modificationNumber is answered with 200 and that number."""
    response = of_event(transcript, "changed", "first")
    taken(response)
    if response.modification != "1":
        raise Failed(f"the answer names modification {response.modification}", response.exchange)


@check("EV-56", "answers")
def an_old_version_is_refused(transcript: Transcript) -> None:
    """A lower modificationNumber than the known one gets 450."""
    response = of_event(transcript, "old", "first")
    if response.code != "450":
        raise Failed(f"an old version got {response.code} in place of 450", response.exchange)


@check("EV-57", "cancellations")
def a_cancellation_is_answered(transcript: Transcript) -> None:
    """A cancelled event, one that runs, too, is answered with 200 and its new number."""
    for step, event_id in (("cancelled", "to be cancelled"), ("stopped", "running")):
        response = of_event(transcript, step, event_id)
        taken(response)
        if response.modification != "1":
            raise Failed(f"{step}: the answer names modification {response.modification}", response.exchange)


@check("EV-58", "cancellations")
def an_unknown_cancellation_is_no_error(transcript: Transcript) -> None:
    """A cancelled event that it never heard of is answered, and without an error."""
    taken(of_event(transcript, "never known", "never heard of"))


@check("EV-59", "cancellations")
def a_cancelled_event_is_not_named_again(transcript: Transcript) -> None:
    """After the cancellation was answered, nothing speaks of the event."""
    delivery(transcript, "left out")
    for step in ("left out", "never known", "after that", "none", "running"):
        for each in _named(transcript, step):
            if each.event_id == "to be cancelled":
                raise Failed(f"{step}: the cancelled event is named", each.exchange)


def _named(transcript: Transcript, step: str) -> Iterator[EventResponse]:
    exchanges = tuple(each for each in transcript.steps(step))
    return (each for each in all_responses(transcript) if each.exchange in exchanges)


@check("EV-60", "cancellations")
def what_is_left_out_is_gone(transcript: Transcript) -> None:
    """An event that a delivery leaves out is not named again, and the VEN goes on."""
    delivery(transcript, "left out")
    for step in ("never known", "after that", "none", "running"):
        for each in _named(transcript, step):
            if each.event_id == "to be left out":
                raise Failed(f"{step}: the event that was left out is named", each.exchange)
    taken(of_event(transcript, "after that", "after that"))


@check("EV-66", "signals")
def an_event_may_have_no_end(transcript: Transcript) -> None:
    """A duration of 0 is taken."""
    taken(of_event(transcript, "endless", "endless"))


@check("EV-67", "signals")
def one_matching_target_is_enough(transcript: Transcript) -> None:
    """The VEN's own venID is a match, another's alone is none, and beside a wrong one its resource counts."""
    taken(of_event(transcript, "target:ours", "for it"))
    refused(of_event(transcript, "target:theirs", "for another"), "462")
    if any(each.step.startswith("target:one of two") for each in transcript):
        taken(of_event(transcript, "target:one of two", "for its resource"))


@check("EV-68", "signals")
def targets_of_event_and_signal_both_have_to_match(transcript: Transcript) -> None:
    """Its venID and one of the signal's device classes match; without either the event is refused."""
    if not transcript.steps("targets"):
        raise NotObservable("no device class of the VEN is known (--device-class)")
    for name in ("ours, own class", "ours, one of two classes"):
        taken(of_event(transcript, f"targets:{name}", f"for {name}"))
    for name, code in (("ours, no class of it", "469"), ("theirs, own class", "462")):
        refused(of_event(transcript, f"targets:{name}", f"for {name}"), code)


@check("EV-70", "signals")
def three_signals_are_the_least(transcript: Transcript) -> None:
    """SIMPLE, ELECTRICITY_PRICE with price and LOAD_DISPATCH with setpoint get 200."""
    for name in ("SIMPLE", "ELECTRICITY_PRICE", "LOAD_DISPATCH"):
        step = f"signal:{name}"
        _, document = delivery(transcript, step)
        taken(of_event(transcript, step, document.events[0].event_id))


@check("EV-61", "signals")
def a_random_start_is_understood(transcript: Transcript) -> None:
    """An event with startafter is taken; how its start spreads shows at the devices only."""
    taken(of_event(transcript, "random start", "random"))


@check("EV-72", EVERY)
def events_are_asked_for_at_event_service(transcript: Transcript) -> None:
    """OadrRequestEvent goes to EiEvent and is answered there."""
    asked = list(messages(transcript, "oadrRequestEvent"))
    if not asked:
        raise NotObservable("the VEN never asked for events")
    for exchange, _ in asked:
        if not exchange.request.target.endswith("/EiEvent"):
            raise Failed(f"it went to {exchange.request.target}", exchange)


CHECKS: Final[tuple[Check, ...]] = (
    every_delivery_is_answered,
    what_asks_for_no_answer_gets_none,
    a_delivery_is_answered_by_one_message,
    an_answer_has_event_responses,
    a_response_names_its_delivery,
    request_ids_need_not_be_unique,
    an_unknown_market_context_is_refused,
    a_target_that_matches_nothing_is_refused,
    an_unsupported_signal_is_refused,
    a_signal_for_no_device_is_refused,
    one_faulty_event_spoils_no_other,
    a_new_event_is_taken,
    a_change_is_taken,
    an_old_version_is_refused,
    a_cancellation_is_answered,
    an_unknown_cancellation_is_no_error,
    a_cancelled_event_is_not_named_again,
    what_is_left_out_is_gone,
    a_random_start_is_understood,
    an_event_may_have_no_end,
    one_matching_target_is_enough,
    targets_of_event_and_signal_both_have_to_match,
    three_signals_are_the_least,
    events_are_asked_for_at_event_service,
)
