"""TR: transport."""

from typing import Final

from conformance import judge
from conformance.check import EVERY, Check, check, needed, served
from conformance.exchange import Transcript
from conformance.verdict import Failed, NotObservable

_OK: Final = 200


@check("TR-03", "transport")
def equal_addresses_are_one_address(transcript: Transcript) -> None:
    """RFC 3986's equal forms of an address reach the same service."""
    for exchange in needed(transcript, "address"):
        judge.accepted(exchange)


@check("TR-04", "transport")
def other_methods_are_not_implemented(transcript: Transcript) -> None:
    """Only POST is served."""
    for exchange in needed(transcript, "method"):
        judge.status(exchange, 501)


@check("TR-05", "transport")
def http_status_tells_transport_from_application(transcript: Transcript) -> None:
    """404 for an unknown service, 406 for a wrong type or schema, 200 for whatever OpenADR answers."""
    for step, status in (("service:unknown", 404), ("type:json", 406), ("broken", 406), ("valid", 200)):
        for exchange in needed(transcript, step):
            judge.status(exchange, status)
    for exchange in needed(transcript, "refused in OpenADR"):
        judge.refused(exchange)


@check("TR-06", EVERY)
def messages_have_a_length_and_a_type(transcript: Transcript) -> None:
    """Every OpenADR answer and push is application/xml with a Content-Length, not chunked; a push has a Host."""
    if transcript.facts.get("headers") == "not recorded":
        raise NotObservable("the record has no headers")
    replies = [(exchange, judge.said(exchange)) for exchange in transcript]
    answers = [(exchange, answer) for exchange, answer in replies if answer is not None]
    if not answers:
        raise NotObservable("there was no answer")
    for exchange, answer in answers:
        if "chunked" in (answer.header("Transfer-Encoding") or "").lower():
            raise Failed(f"{exchange.step}: the {'push' if exchange.is_push else 'answer'} is chunked", exchange)
        if exchange.is_push and not answer.header("Host"):
            raise Failed(f"{exchange.step}: a push without Host", exchange)
        if answer.status != _OK or not answer.body:
            continue
        kind, _, rest = (answer.header("Content-Type") or "none").partition(";")
        if kind.strip().lower() != "application/xml" or rest.replace('"', "").strip().lower() not in (
            "",
            "charset=utf-8",
        ):
            raise Failed(f"{exchange.step}: Content-Type is {answer.header('Content-Type')}", exchange)
        if answer.header("Content-Length") != str(len(answer.body)):
            raise Failed(f"{exchange.step}: Content-Length is {answer.header('Content-Length')}", exchange)


@check("TR-07", "transport")
def text_beyond_ascii_is_taken(transcript: Transcript) -> None:
    """UTF-8 is what is spoken: a name beyond ASCII is taken, and answers are UTF-8."""
    for exchange in needed(transcript, "name beyond ASCII"):
        judge.accepted(exchange, "oadrCreatedPartyRegistration")
    for exchange in needed(transcript, "type:charset"):
        judge.accepted(exchange)
    for exchange in transcript:
        if exchange.answer is not None and exchange.answer.status == _OK:
            try:
                exchange.answer.content.decode("utf-8")
            except ValueError as error:
                raise Failed(f"{exchange.step}: the answer is not UTF-8: {error}", exchange) from error


@check("TR-08", "transport")
def an_answer_is_compressed_for_who_asks(transcript: Transcript) -> None:
    """With Accept-Encoding the answer has a content coding of the list, and without it has none."""
    for exchange in needed(transcript, "accepts gzip"):
        judge.answer(exchange)
        coding = exchange.answer.header("Content-Encoding") if exchange.answer else None
        if (coding or "").lower() != "gzip":
            raise Failed(f"Content-Encoding is {coding} for a VEN that accepts gzip", exchange)
    for exchange in (*needed(transcript, "valid"), *needed(transcript, "accepts xml")):
        judge.answer(exchange)
        if exchange.answer is not None and exchange.answer.header("Content-Encoding") not in (None, "identity"):
            raise Failed("an answer is compressed that nobody asked to be", exchange)


@check("TR-09", "transport")
def the_user_agent_does_not_matter(transcript: Transcript) -> None:
    """Any User-Agent, and none, gets the same answer."""
    for exchange in needed(transcript, "agent"):
        judge.accepted(exchange)


@check("TR-12", "repeated")
def a_message_may_come_twice(transcript: Transcript) -> None:
    """The same message again gets a good answer again, with the same ids."""
    seen: dict[str, judge.Document] = {}
    for exchange in served(transcript, "twice"):
        document = judge.accepted(exchange)
        first = seen.setdefault(exchange.step, document)
        for path in ("ei:registrationID", "ei:venID", "ei:optID"):
            if document.text(path) != first.text(path):
                raise Failed(f"{exchange.step}: {path} is {document.text(path)}, and was {first.text(path)}", exchange)


@check("TR-14", "never called")
def a_pull_ven_is_not_called(transcript: Transcript) -> None:
    """The VTN opens no connection to a VEN in pull mode, even if it knows an address."""
    for exchange in needed(transcript, "with an address"):
        judge.accepted(exchange)
    if "called" not in transcript.facts:
        raise NotObservable("nobody listened")
    if transcript.facts["called"]:
        raise Failed("the VTN called a VEN that polls", *needed(transcript, "with an address"))


CHECKS: Final[tuple[Check, ...]] = (
    equal_addresses_are_one_address,
    other_methods_are_not_implemented,
    http_status_tells_transport_from_application,
    messages_have_a_length_and_a_type,
    text_beyond_ascii_is_taken,
    an_answer_is_compressed_for_who_asks,
    the_user_agent_does_not_matter,
    a_message_may_come_twice,
    a_pull_ven_is_not_called,
)
