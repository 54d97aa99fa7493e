"""GN: what holds for all messages of a VEN."""

from typing import Final

from conformance import form, judge
from conformance.check import EVERY, Check, check
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.vens.checks.said import (
    delivery,
    goes_on,
    messages,
    needs_push,
    of_event,
    played,
    refused,
    responses,
    taken,
    told,
)
from conformance.vens.desk import said_in
from conformance.verdict import Failed, NotObservable

_ANSWERS: Final = {
    "oadrRegisterReport": "oadrRegisteredReport",
    "oadrCreateReport": "oadrCreatedReport",
    "oadrCancelReport": "oadrCanceledReport",
    "oadrCancelPartyRegistration": "oadrCanceledPartyRegistration",
}
_OK: Final = 200
_WITHOUT_VEN_ID: Final = frozenset({"oadrQueryRegistration", "oadrCreatePartyRegistration"})
_ONLY_A_VTNS: Final = frozenset({"oadrDistributeEvent", "oadrRequestReregistration", "oadrCreatedPartyRegistration"})


def _all(transcript: Transcript) -> list[tuple[Exchange, Document]]:
    documents = list(messages(transcript))
    if not documents:
        raise NotObservable("the VEN said nothing")
    return documents


@check("GN-01", EVERY)
def every_message_fits_the_schema(transcript: Transcript) -> None:
    """The official schema finds nothing wrong, and there is one message in the envelope."""
    for exchange in transcript:
        body = said_in(exchange)
        refused_push = exchange.ven == "vtn" and exchange.answer is not None and exchange.answer.status != _OK
        if not body or refused_push:
            continue
        try:
            document = judge.parse(body)
        except ValueError as error:
            raise Failed(f"{exchange.step}: {error}", exchange) from error
        if fault := judge.schema_fault(document.root):
            raise Failed(f"{exchange.step}: {fault}", exchange)
    _all(transcript)


@check("GN-02", EVERY)
def every_message_says_its_schema_version(transcript: Transcript) -> None:
    """ei:schemaVersion="2.0b" on the message's element."""
    form.has_schema_version(_all(transcript))


@check("GN-03", EVERY)
def no_message_points_to_a_schema(transcript: Transcript) -> None:
    """No xsi:schemaLocation anywhere."""
    form.points_nowhere(_all(transcript))


@check("GN-04", EVERY)
def every_time_is_utc_with_a_z(transcript: Transcript) -> None:
    """Its times end in Z; ours with a fraction of a second are taken."""
    form.has_times_in_utc(_all(transcript))
    if transcript.steps("fractions"):
        taken(of_event(transcript, "fractions", "of fractions"))


@check("GN-05", EVERY)
def every_duration_is_whole(transcript: Transcript) -> None:
    """Its durations have no fractions and no weeks; ours of months and below zero are taken."""
    form.has_whole_durations(_all(transcript))
    if transcript.steps("lengths"):
        for event_id in ("ramped", "of a month"):
            taken(of_event(transcript, "lengths", event_id))


@check("GN-06", EVERY)
def the_request_id_comes_back(transcript: Transcript) -> None:
    """eiResponse/requestID of an answer is that of a request of ours of its kind."""
    asked: dict[str, set[str]] = {name: set() for name in _ANSWERS.values()}
    seen = False
    for exchange in transcript:
        if exchange.ven == "vtn":
            _note_request(exchange, asked)
        for _, document in messages((exchange,), *_ANSWERS.values()):
            request_id = document.text("ei:eiResponse/pyld:requestID") or ""
            if request_id not in asked[document.name]:
                raise Failed(f"{document.name} has the requestID '{request_id}', and no request had", exchange)
            seen = True
        if exchange.ven == "ven":
            _note_request(exchange, asked)
    if not seen:
        raise NotObservable("the VEN answered nothing")


def _note_request(exchange: Exchange, asked: dict[str, set[str]]) -> None:
    for _, document in told((exchange,)):
        if document.name in _ANSWERS:
            asked[_ANSWERS[document.name]].add(document.text("pyld:requestID") or "")
        elif document.all(".//oadr:oadrReportRequest"):  # along with an answer: it has no requestID of its own
            asked["oadrCreatedReport"] |= {"", document.text("ei:eiResponse/pyld:requestID") or ""}


@check("GN-07", EVERY)
def a_ven_says_who_it_is(transcript: Transcript) -> None:
    """All but the query and the first registration has the venID that the VTN gave."""
    given = transcript.facts.get("ven_ids", ())
    for exchange, document in _all(transcript):
        ven_id = document.text("ei:venID | pyld:eiRequestEvent/ei:venID | pyld:eiCreatedEvent/ei:venID")
        if ven_id is None and document.name in _WITHOUT_VEN_ID:
            continue
        if ven_id not in given and document.name != "oadrCreatePartyRegistration":
            raise Failed(f"{document.name} has the venID {ven_id}", exchange)


def _not_taken(transcript: Transcript, step: str, event_id: str) -> None:
    """Raise Failed unless a delivery of somebody else is refused with 452, or passed over."""
    for each in responses(transcript, step):
        if each.event_id == event_id and each.code != "452":
            raise Failed(f"the event of another vtnID got {each.code}", each.exchange)
    for exchange, document in messages(played(transcript, step), "oadrCreatedEvent", "oadrResponse"):
        if document.code not in (judge.OK, judge.INVALID_ID):
            raise Failed(f"{document.name} says {document.code} in place of 452", exchange)
    answered = [document.code for _, document in messages(played(transcript, step), "oadrCreatedEvent", "oadrResponse")]
    if judge.INVALID_ID not in answered and not [each for each in responses(transcript, step) if each.code == "452"]:
        raise Failed("it says nothing of the wrong id", *played(transcript, step)[:20])


@check("GN-08", "wrong messages")
def ids_are_compared(transcript: Transcript) -> None:
    """Another vtnID, and another venID in a report request, get 452."""
    _not_taken(transcript, "foreign vtn", "of another VTN")
    codes = [
        (exchange, document.code)
        for exchange, document in messages(played(transcript, "foreign ven"), "oadrCreatedReport")
    ]
    if judge.INVALID_ID not in [code for _, code in codes]:
        exchanges = [exchange for exchange, _ in codes] or played(transcript, "foreign ven")[:20]
        raise Failed("a report request for another VEN did not get 452", *exchanges)


@check("GN-09", "wrong messages")
def ids_compare_case_sensitively(transcript: Transcript) -> None:
    """The right vtnID in the other case is a wrong one."""
    _not_taken(transcript, "other case", "of a VTN in capitals")


@check("GN-10", "signals")
def market_contexts_compare_after_normalisation(transcript: Transcript) -> None:
    """The VEN's market context with its host in capitals and dot segments is the same one."""
    played(transcript, "spelling")
    taken(of_event(transcript, "spelling", "spelled otherwise"))


@check("GN-11", "faults")
def a_logical_fault_is_an_application_error(transcript: Transcript) -> None:
    """An event that is over before it is heard of gets a 4xx."""
    for each in responses(transcript, "faulty:over"):
        if each.event_id.startswith("bad ") and not each.code.startswith("4"):
            raise Failed(f"an event of yesterday got {each.code}", each.exchange)


@check("GN-12", "pushes")
def what_is_no_message_is_not_acceptable(transcript: Transcript) -> None:
    """What the schema refuses gets HTTP 406 from a VEN that is pushed to."""
    needs_push(transcript)
    for exchange in played(transcript, "invalid"):
        judge.status(exchange, 406)


@check("GN-13", "wrong messages")
def an_empty_element_is_as_good_as_none(transcript: Transcript) -> None:
    """Empty targets and comments are taken."""
    goes_on(transcript, "empty")


@check("GN-14", "faults")
def extensions_are_read(transcript: Transcript) -> None:
    """A signal whose name begins with x- is refused in the answer, and spoils nothing."""
    _, document = delivery(transcript, "faulty:unsupported signal")
    bad = next(event.event_id for event in document.events if event.event_id.startswith("bad "))
    refused(of_event(transcript, "faulty:unsupported signal", bad), "460")


@check("GN-15", EVERY)
def only_what_a_ven_may_say(transcript: Transcript) -> None:
    """It sends nothing that only a VTN may send, and what only a VEN may send does it no harm."""
    for exchange, document in _all(transcript):
        if document.name in _ONLY_A_VTNS:
            raise Failed(f"a VEN sends no {document.name}", exchange)
    if transcript.steps("unharmed"):
        goes_on(transcript, "unharmed")


CHECKS: Final[tuple[Check, ...]] = (
    every_message_fits_the_schema,
    every_message_says_its_schema_version,
    no_message_points_to_a_schema,
    every_time_is_utc_with_a_z,
    every_duration_is_whole,
    the_request_id_comes_back,
    a_ven_says_who_it_is,
    ids_are_compared,
    ids_compare_case_sensitively,
    market_contexts_compare_after_normalisation,
    a_logical_fault_is_an_application_error,
    what_is_no_message_is_not_acceptable,
    an_empty_element_is_as_good_as_none,
    extensions_are_read,
    only_what_a_ven_may_say,
)
