"""RG: how a VEN registers, and leaves."""

from collections.abc import Sequence
from typing import Final

from conformance import judge
from conformance.check import Check, check
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.vens.checks.said import messages, needs_push, played, told
from conformance.verdict import Failed, NotObservable

_CREATE: Final = "oadrCreatePartyRegistration"
_REGISTRATION: Final = frozenset({"oadrQueryRegistration", _CREATE, "oadrCancelPartyRegistration"})


def _first(transcript: Transcript) -> tuple[Exchange, Document]:
    first = next(messages(transcript, _CREATE), None)
    if first is None:
        raise NotObservable("the VEN did not register")
    return first


@check("RG-03", "joining")
def the_first_registration_has_no_ids(transcript: Transcript) -> None:
    """No registrationID, and a venID only where one was agreed on."""
    exchange, document = _first(transcript)
    if document.text("ei:registrationID"):
        raise NotObservable("the VEN has a registrationID, of a registration from before: let it come without one")
    ven_id = document.text("ei:venID")
    given = [text for _, answer in told((exchange,)) for text in answer.texts("ei:venID")]
    if ven_id and ven_id not in given:
        raise Failed(f"the first registration has the venID {ven_id}, which nobody gave out", exchange)


@check("RG-04", "joining")
def a_registration_says_how_it_is_reached(transcript: Transcript) -> None:
    """OadrHttpPullModel is there; who is pushed to gives an address."""
    exchange, document = _first(transcript)
    if document.text("oadr:oadrTransportName") != "simpleHttp":
        raise NotObservable("the VEN registers for another transport")
    pull = (document.text("oadr:oadrHttpPullModel") or "").strip()
    if pull not in ("true", "false", "1", "0"):
        raise Failed("the registration does not say oadrHttpPullModel", exchange)
    address = document.text("oadr:oadrTransportAddress") or ""
    if pull in ("false", "0") and not address.strip().startswith(("http://", "https://")):
        raise Failed("a VEN that is pushed to gives no oadrTransportAddress that can be called", exchange)


@check("RG-01", "renewing")
def only_registrations_of_a_ven(transcript: Transcript) -> None:
    """It sends no request to register again: that is a VTN's."""
    played(transcript, "asked again")
    for exchange, _ in messages(transcript, "oadrRequestReregistration"):
        raise Failed("a VEN asks nobody to register again", exchange)


@check("RG-06", "renewing")
def registering_again_repeats_the_ids(transcript: Transcript) -> None:
    """A renewed registration has venID and registrationID."""
    for exchange, document in messages(played(transcript, "asked again"), _CREATE):
        wanted = {name: document.text(name) for name in ("ei:venID", "ei:registrationID")}
        if wanted["ei:registrationID"] != transcript.facts.get("registration") or not wanted["ei:venID"]:
            raise Failed(f"it registers again with {wanted}", exchange)
        return
    raise NotObservable("the VEN did not register again")


@check("RG-07", "joining", also="outages")
def a_new_registration_brings_metadata_and_asks_for_events(transcript: Transcript) -> None:
    """Metadata, and an oadrRequestEvent, follow a first registration, and one with a VTN that forgot the VEN."""
    _first(transcript)
    again = transcript.steps("back") + transcript.steps("forgetting")
    _brings_what_belongs_to_it([each for each in transcript if each not in again])
    forgotten = [each for each in again if each.step.startswith("back:away:forgotten:")]
    for number, exchange in enumerate(forgotten):
        if list(messages((exchange,), _CREATE)):
            _brings_what_belongs_to_it(forgotten[number:])
            return


def _brings_what_belongs_to_it(exchanges: Sequence[Exchange]) -> None:
    names = {document.name for _, document in messages(tuple(exchanges))}
    if missing := {"oadrRegisterReport", "oadrRequestEvent"} - names:
        raise Failed(f"after its registration the VEN sent no {' and no '.join(sorted(missing))}", *exchanges)


@check("RG-09", "renewing")
def it_registers_again_when_asked(transcript: Transcript) -> None:
    """OadrRequestReregistration is answered by oadrResponse with 200, and then by a registration."""
    said = list(messages(played(transcript, "asked again"), "oadrResponse", _CREATE))
    said.sort(key=lambda pair: pair[0].ven != "vtn")  # what answers a push may be noted after the request that follows
    names = [document.name for _, document in said]
    if names[:2] != ["oadrResponse", _CREATE]:
        raise Failed(f"it sent {', '.join(names) or 'nothing'}", *played(transcript, "asked again")[:20])
    for exchange, document in messages(played(transcript, "asked again"), "oadrResponse"):
        if document.code != judge.OK:
            raise Failed(f"the answer says {document.code}", exchange)


@check("RG-10", "leaving")
def after_a_cancellation_nothing_is_left(transcript: Transcript) -> None:
    """It sends nothing under the old registration any more."""
    _cancelled(transcript)
    gone = [each for each in transcript if each.step.partition(":")[0] == "gone"]
    for exchange, document in messages(tuple(gone)):
        if document.name not in _REGISTRATION and document.name != "oadrCanceledPartyRegistration":
            raise Failed(f"{document.name} of a registration that is over", exchange)
        if document.name == _CREATE and document.text("ei:registrationID"):
            raise Failed("it registers with the registrationID of what is over", exchange)


def _cancelled(transcript: Transcript) -> tuple[Exchange, Document]:
    answered = next(messages(played(transcript, "cancelled"), "oadrCanceledPartyRegistration"), None)
    if answered is None:
        raise Failed("the VEN does not answer the cancellation", *played(transcript, "cancelled")[:20])
    return answered


@check("RG-11", "renewing")
def a_wrong_cancellation_changes_nothing(transcript: Transcript) -> None:
    """With a wrong registrationID or venID it gets 452, and the VEN polls on."""
    for name in ("wrong registration", "wrong ven"):
        exchanges = played(transcript, f"cancel:{name}")
        answered = list(messages(exchanges, "oadrCanceledPartyRegistration"))
        if not answered:
            raise Failed(f"{name}: no answer", *exchanges[:20])
        for exchange, document in answered:
            if document.code != judge.INVALID_ID:
                raise Failed(f"{name}: {document.name} says {document.code} in place of 452", exchange)


@check("RG-12", "outages")
def it_registers_when_it_is_not_registered(transcript: Transcript) -> None:
    """It comes back to a VTN that was away, and registers with one that does not know it any more."""
    if not transcript.facts.get("shown", {}).get("away:remembered"):
        raise NotObservable("the VEN did not call while its VTN was away")
    if not list(messages(played(transcript, "back:away:remembered"))):
        raise Failed("the VEN does not come back to a VTN that was away", *transcript.exchanges[-5:])
    exchanges = played(transcript, "back:away:forgotten")
    if not list(messages(exchanges, _CREATE)):
        raise Failed("the VEN does not register with a VTN that has forgotten it", *exchanges[:20])


@check("RG-13", "leaving")
def who_is_not_registered_takes_nothing(transcript: Transcript) -> None:
    """What is pushed to a VEN that is not registered gets no answer, or 463."""
    needs_push(transcript)
    for exchange in played(transcript, "unregistered"):
        for _, document in messages((exchange,)):
            if exchange.ven == "vtn" and document.code != judge.NOT_REGISTERED:
                raise Failed(f"{document.name} with {document.code} of a VEN that is not registered", exchange)


@check("RG-16", "leaving")
def a_cancellation_is_answered_at_the_registration_service(transcript: Transcript) -> None:
    """OadrCanceledPartyRegistration with 200 goes to EiRegisterParty."""
    exchange, document = _cancelled(transcript)
    if document.code != judge.OK:
        raise Failed(f"the answer says {document.code}", exchange)
    if exchange.ven == "ven" and not exchange.request.target.endswith("/EiRegisterParty"):
        raise Failed(f"it went to {exchange.request.target}", exchange)


CHECKS: Final[tuple[Check, ...]] = (
    only_registrations_of_a_ven,
    the_first_registration_has_no_ids,
    a_registration_says_how_it_is_reached,
    registering_again_repeats_the_ids,
    a_new_registration_brings_metadata_and_asks_for_events,
    it_registers_again_when_asked,
    after_a_cancellation_nothing_is_left,
    a_wrong_cancellation_changes_nothing,
    it_registers_when_it_is_not_registered,
    who_is_not_registered_takes_nothing,
    a_cancellation_is_answered_at_the_registration_service,
)
