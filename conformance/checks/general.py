"""GN: what holds for all messages."""

from typing import Final

from conformance import form, judge
from conformance.check import EVERY, Check, check, needed, served
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.templates import ANSWERS
from conformance.verdict import Failed, NotObservable

_OK: Final = 200


def _messages(transcript: Transcript) -> list[tuple[Exchange, Document]]:
    """Return what the VTN said. Raises NotObservable if it said nothing that can be read."""
    messages = list(judge.readable(transcript))
    if not messages:
        raise NotObservable("there was no answer")
    return messages


@check("GN-01", EVERY)
def every_message_fits_the_schema(transcript: Transcript) -> None:
    """The official schema finds nothing wrong, and there is one message in the envelope."""
    for exchange in transcript:
        reply = judge.said(exchange)
        if reply is not None and reply.status == _OK and reply.body:
            judge.answer(exchange)
    for exchange, document in _messages(transcript):
        if fault := judge.schema_fault(document.root):
            raise Failed(f"{exchange.step}: {document.name}: {fault}", exchange)


@check("GN-02", EVERY)
def every_message_says_its_schema_version(transcript: Transcript) -> None:
    """ei:schemaVersion="2.0b" on the message's element."""
    form.has_schema_version(_messages(transcript))


@check("GN-03", EVERY)
def no_message_points_to_a_schema(transcript: Transcript) -> None:
    """No xsi:schemaLocation anywhere."""
    form.points_nowhere(_messages(transcript))


@check("GN-04", EVERY)
def every_time_is_utc_with_a_z(transcript: Transcript) -> None:
    """Times end in Z; an offset is another way to say it that is not allowed."""
    form.has_times_in_utc(_messages(transcript))


@check("GN-05", EVERY)
def every_duration_is_whole(transcript: Transcript) -> None:
    """Durations have no fractions and no weeks."""
    form.has_whole_durations(_messages(transcript))


@check("GN-06", "request ids")
def the_request_id_comes_back(transcript: Transcript) -> None:
    """eiResponse/requestID is that of the request: any text, an empty one, the same again; empty for a poll."""
    for exchange in served(transcript, "echo"):
        document, sent = judge.answer(exchange), judge.request(exchange)
        wanted = sent.text("pyld:requestID | pyld:eiRequestEvent/pyld:requestID") or ""
        got = document.text("ei:eiResponse/ei:requestID | ei:eiResponse/pyld:requestID")
        if document.name in ("oadrResponse", ANSWERS[sent.name]) and (got or "") != wanted:
            raise Failed(f"{exchange.step}: requestID '{got}' in place of '{wanted}'", exchange)


@check("GN-08", "wrong ids")
def a_wrong_ven_id_is_noticed_everywhere(transcript: Transcript) -> None:
    """Each kind of message with a venID that nobody has gets 452 in its own kind of answer; nothing changes."""
    for exchange in needed(transcript, "wrong ven"):
        judge.refused(exchange, ANSWERS[exchange.step.partition(":")[2]], code=452)
    for exchange in needed(transcript, "unharmed"):
        judge.accepted(exchange, "oadrCreatedPartyRegistration")


@check("GN-09", "wrong ids")
def ids_compare_case_sensitively(transcript: Transcript) -> None:
    """The right venID in the other case is a wrong one."""
    for exchange in needed(transcript, "other case"):
        judge.refused(exchange, code=452)


@check("GN-10", "spelling")
def market_contexts_compare_after_normalisation(transcript: Transcript) -> None:
    """A market context in another spelling is the same one: scheme and host in capitals, dot segments, escapes."""
    if transcript.facts.get("opt with the same spelling") != "optOut":
        raise NotObservable("the operator does not see what schedules say of events")
    if transcript.facts.get("opt with the other spelling") != "optOut":
        exchanges = needed(transcript, "spelling:other")
        raise Failed("a schedule for the market context in another spelling does not count", *exchanges)


@check("GN-11", "logical faults")
def a_logical_fault_is_an_application_error(transcript: Transcript) -> None:
    """A valid message that makes no sense gets HTTP 200 and a 4xx inside."""
    for exchange in needed(transcript, "fault"):
        judge.refused(exchange, ANSWERS[judge.request(exchange).name])


@check("GN-12", "invalid")
def what_is_no_message_is_not_acceptable(transcript: Transcript) -> None:
    """What the schema refuses gets HTTP 406."""
    for exchange in needed(transcript, "invalid"):
        judge.status(exchange, 406)
    for exchange in needed(transcript, "valid after all"):
        judge.accepted(exchange)


@check("GN-13", "empty elements")
def an_empty_element_is_as_good_as_none(transcript: Transcript) -> None:
    """Empty targets, request ids and names are taken."""
    for exchange in served(transcript, "empty"):
        judge.accepted(exchange)


@check("GN-14", "extensions")
def extensions_are_read(transcript: Transcript) -> None:
    """What begins with x- is never a fault of the schema: it is taken, or refused in the answer."""
    for exchange in served(transcript, "extension"):
        document = judge.answer(exchange, ANSWERS[judge.request(exchange).name])
        if document.code != _OK:
            judge.refused(exchange)


@check("GN-15", "misplaced")
def what_is_misplaced_is_refused(transcript: Transcript) -> None:
    """A message for the other side, or at another service's address, gets 4xx inside or HTTP 404."""
    for exchange in needed(transcript, "misplaced"):
        if exchange.answer is None or exchange.answer.status != 404:  # noqa: PLR2004
            judge.refused(exchange)


CHECKS: Final[tuple[Check, ...]] = (
    every_message_fits_the_schema,
    every_message_says_its_schema_version,
    no_message_points_to_a_schema,
    every_time_is_utc_with_a_z,
    every_duration_is_whole,
    the_request_id_comes_back,
    a_wrong_ven_id_is_noticed_everywhere,
    ids_compare_case_sensitively,
    market_contexts_compare_after_normalisation,
    a_logical_fault_is_an_application_error,
    what_is_no_message_is_not_acceptable,
    an_empty_element_is_as_good_as_none,
    extensions_are_read,
    what_is_misplaced_is_refused,
)
