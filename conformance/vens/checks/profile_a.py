"""PA: a VEN of the profile 2.0a, judged by paths and names: its schema is not at hand."""

from typing import Final

from lxml import etree

from conformance.check import Check, check
from conformance.dialogues.profile_a import VEN_OF_2_0_A
from conformance.exchange import Transcript
from conformance.judge import Document
from conformance.templates import OF_2_0_A
from conformance.vens.checks.said import messages, told
from conformance.verdict import Failed, NotApplicable, NotObservable

_SAYS: Final = frozenset({"oadrRequestEvent", "oadrCreatedEvent", "oadrResponse"})
_PATH: Final = "/OpenADR2/Simple/EiEvent"


def _needs_2_0_a(transcript: Transcript) -> None:
    if not transcript.exchanges:
        raise NotApplicable("the VEN does not speak 2.0a")


@check("PA-02", VEN_OF_2_0_A)
def it_has_ei_event_alone(transcript: Transcript) -> None:
    """It asks by oadrRequestEvent again and again, and says nothing but what EiEvent of 2.0a has, and there."""
    _needs_2_0_a(transcript)
    asked = 0
    for exchange, document in messages(transcript):
        if etree.QName(document.root).namespace != OF_2_0_A or document.name not in _SAYS:
            raise Failed(f"{document.name} is no message of a VEN of 2.0a", exchange)
        if not exchange.request.target.partition("?")[0].endswith(_PATH):
            raise Failed(f"{document.name} went to {exchange.request.target}", exchange)
        if document.name == "oadrResponse" and document.all("*[local-name() = 'venID']"):
            raise Failed("oadrResponse has a venID", exchange)
        asked += document.name == "oadrRequestEvent"
    if asked <= 1:
        raise NotObservable("the VEN asked for events only once")


def _to_answer(listed: Document) -> set[str]:
    """Return the events of an oadrDistributeEvent that have to be answered."""
    wanted = "normalize-space(*[local-name() = 'oadrResponseRequired']) = 'always'"
    return {event.event_id for event in listed.events if event.root.xpath(wanted)}


@check("PA-05", VEN_OF_2_0_A)
def it_answers_before_it_asks_again(transcript: Transcript) -> None:
    """Each event that wants an answer has one before the next oadrRequestEvent."""
    _needs_2_0_a(transcript)
    left: set[str] = set()
    seen = False
    for exchange, document in messages(transcript, "oadrRequestEvent", "oadrCreatedEvent"):
        if document.name == "oadrCreatedEvent":
            left -= set(document.texts(".//ei:eventResponse/ei:qualifiedEventID/ei:eventID"))
            continue
        if left:
            raise Failed(f"it asks again, and the event '{min(left)}' has no answer", exchange)
        for _, listed in told((exchange,), "oadrDistributeEvent"):
            left = _to_answer(listed)
            seen = seen or bool(left)
    if not seen:
        raise NotObservable("the VEN fetched no event")


CHECKS: Final[tuple[Check, ...]] = (it_has_ei_event_alone, it_answers_before_it_asks_again)
