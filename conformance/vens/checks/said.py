"""What checks of VENs read of a transcript: what the VEN said, and what it was told."""

from collections.abc import Iterator
from dataclasses import dataclass

from conformance import judge
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.vens.desk import said_in
from conformance.verdict import Failed, NotApplicable, NotObservable


def played(transcript: Transcript, step: str) -> tuple[Exchange, ...]:
    """Return the exchanges of a step, or of all steps whose name goes on behind a colon.

    Raises NotObservable if it was not played.
    """
    exchanges = tuple(each for each in transcript if each.step == step or each.step.startswith(f"{step}:"))
    if not exchanges:
        raise NotObservable(f"the step '{step}' was not played")
    return exchanges


def messages(exchanges: tuple[Exchange, ...] | Transcript, *names: str) -> Iterator[tuple[Exchange, Document]]:
    """Yield what the VEN said, as far as it can be read: that the rest cannot is for GN-01 to judge."""
    for exchange in exchanges:
        yield from _read(exchange, said_in(exchange), names)


def _read(exchange: Exchange, body: bytes, names: tuple[str, ...]) -> Iterator[tuple[Exchange, Document]]:
    if not body:
        return
    try:
        document = judge.parse(body)
    except ValueError:
        return
    if not names or document.name in names:
        yield exchange, document


def requests(transcript: Transcript) -> list[Exchange]:
    """Return the exchanges that the VEN began."""
    return [exchange for exchange in transcript if exchange.ven == "ven"]


def told(exchanges: tuple[Exchange, ...] | Transcript, *names: str) -> Iterator[tuple[Exchange, Document]]:
    """Yield what the kit answered, or pushed."""
    for exchange in exchanges:
        answered = b"" if exchange.answer is None else exchange.answer.body
        yield from _read(exchange, answered if exchange.ven == "ven" else exchange.request.body, names)


def delivery(transcript: Transcript, step: str) -> tuple[Exchange, Document]:
    """Return the oadrDistributeEvent of a step. Raises NotObservable if the VEN did not fetch it."""
    fetched = next(told(played(transcript, step), "oadrDistributeEvent"), None)
    if fetched is None:
        raise NotObservable(f"{step}: the VEN did not fetch the events")
    return fetched


@dataclass(frozen=True, slots=True)
class EventResponse:
    """An eventResponse of the VEN."""

    exchange: Exchange
    event_id: str
    modification: str
    code: str
    request_id: str
    opt: str


def responses(transcript: Transcript, step: str) -> list[EventResponse]:
    """Return what the VEN said of events in a step. Raises NotObservable if it did not fetch them."""
    delivery(transcript, step)
    return list(_responses(played(transcript, step)))


def all_responses(transcript: Transcript) -> list[EventResponse]:
    """Return what it ever said of events."""
    return list(_responses(tuple(transcript)))


def _responses(exchanges: tuple[Exchange, ...]) -> Iterator[EventResponse]:
    for exchange, document in messages(exchanges, "oadrCreatedEvent"):
        for each in map(Document, document.all(".//ei:eventResponse")):
            yield EventResponse(
                exchange,
                each.text(".//ei:eventID") or "",
                (each.text(".//ei:modificationNumber") or "").strip(),
                (each.text("ei:responseCode") or "").strip(),
                each.text("pyld:requestID") or "",
                (each.text("ei:optType") or "").strip(),
            )


def of_event(transcript: Transcript, step: str, event_id: str) -> EventResponse:
    """Return the last eventResponse for an event in a step. Raises Failed without any."""
    fitting = [each for each in responses(transcript, step) if each.event_id == event_id]
    if not fitting:
        raise Failed(f"{step}: no eventResponse for the event '{event_id}'", *played(transcript, step)[:20])
    return fitting[-1]


def taken(response: EventResponse) -> None:
    """Raise Failed unless an event was taken with 200."""
    if response.code != "200":
        raise Failed(f"'{response.event_id}' got {response.code} in place of 200", response.exchange)


def refused(response: EventResponse, *codes: str) -> None:
    """Raise Failed unless an event was refused with one of these codes, and optOut."""
    if response.code not in codes:
        raise Failed(f"'{response.event_id}' got {response.code} in place of {' or '.join(codes)}", response.exchange)
    if response.opt != "optOut":
        raise Failed(f"'{response.event_id}' is refused and opted into", response.exchange)


def needs_push(transcript: Transcript) -> None:
    """Raise NotApplicable for a VEN that polls."""
    if not transcript.facts.get("address"):
        raise NotApplicable("the VEN polls")


def needs_pull(transcript: Transcript) -> None:
    """Raise NotApplicable for a VEN that is pushed to."""
    if transcript.facts.get("address"):
        raise NotApplicable("the VEN is pushed to")


def goes_on(transcript: Transcript, step: str) -> None:
    """Raise Failed unless the VEN still takes events in a step."""
    _, document = delivery(transcript, step)
    for event in document.events:
        taken(of_event(transcript, step, event.event_id))
