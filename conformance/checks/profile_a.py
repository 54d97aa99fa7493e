"""PA: the profile 2.0a, judged by paths and names: its schema is not at hand."""

from collections.abc import Iterator
from typing import Any, Final

from lxml import etree

from conformance import judge
from conformance.check import Check, check, needed
from conformance.dialogues.profile_a import PROFILE_A
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.templates import NAMESPACES, OF_2_0_A
from conformance.verdict import Failed, NotApplicable, NotObservable

_FEATURE: Final = "profile_2_0_a"
_IDS: Final = frozenset({"groupID", "resourceID", "venID", "partyID"})
_LATER: Final = (
    ("modificationDateTime", "ei:eventDescriptor/ei:modificationDateTime"),
    ("modificationReason", "ei:eventDescriptor/ei:modificationReason"),
    ("a baseline", "ei:eiEventSignals/ei:eiEventBaseline"),
    ("a signal's target", "ei:eiEventSignals/ei:eiEventSignal/ei:eiTarget"),
    ("an itemBase", "ei:eiEventSignals/ei:eiEventSignal/*[not(self::strm:*) and not(self::ei:*)]"),
)
"""What only 2.0b has: its name, and where it stands in an eiEvent."""


def _spoken(transcript: Transcript) -> tuple[Exchange, ...]:
    """Return what was said in 2.0a. Raises NotApplicable if it is not served."""
    first, *others = needed(transcript, "asked")
    if first.answer is None or first.answer.status != judge.OK:
        seen = first.trouble if first.answer is None else f"HTTP {first.answer.status}"
        raise NotApplicable(f"the VTN does not serve 2.0a: {seen}")
    return (first, *others, *transcript.steps("opted"))


def _events(transcript: Transcript) -> Iterator[tuple[Exchange, Document]]:
    """Yield the eiEvents that came. Raises NotObservable without any."""
    found = [
        (exchange, Document(each))
        for exchange in _spoken(transcript)
        for event in judge.answer(exchange).events
        for each in event.all("ei:eiEvent")
    ]
    if not found:
        raise NotObservable("no event came")
    yield from found


@check("PA-01", PROFILE_A, feature=_FEATURE)
def messages_are_those_of_2_0_a(transcript: Transcript) -> None:
    """At .../OpenADR2/Simple/EiEvent, in the namespace of 2.0a, without oadrPayload and schemaVersion."""
    for exchange in _spoken(transcript):
        root = judge.answer(exchange).root
        if etree.QName(root).namespace != OF_2_0_A:
            raise Failed(f"{exchange.step}: {root.tag} is not in the namespace {OF_2_0_A}", exchange)
        if _versions(root):
            raise Failed(f"{exchange.step}: it has a schemaVersion", exchange)


def _versions(root: Any) -> list[Any]:
    return list(root.xpath("//@ei:schemaVersion", namespaces=NAMESPACES))


@check("PA-02", PROFILE_A, feature=_FEATURE)
def ei_event_is_all_there_is(transcript: Transcript) -> None:
    """The events come by oadrRequestEvent; oadrCreatedEvent is answered by oadrResponse, without a venID."""
    _spoken(transcript)
    for exchange in needed(transcript, "asked"):
        judge.accepted(exchange, "oadrDistributeEvent")
    for exchange in needed(transcript, "opted"):
        if judge.accepted(exchange, "oadrResponse").all("descendant::ei:venID"):
            raise Failed(f"{exchange.step}: the oadrResponse has a venID", exchange)


@check("PA-03", PROFILE_A, feature=_FEATURE)
def events_have_the_one_signal_simple(transcript: Transcript) -> None:
    """One signal, SIMPLE in either case, with its currentValue; events without it do not come."""
    for exchange, event in _events(transcript):
        names = event.texts("ei:eiEventSignals/ei:eiEventSignal/ei:signalName")
        if [name.upper() for name in names] != ["SIMPLE"]:
            raise Failed(f"{exchange.step}: an event's signals are {', '.join(names) or 'none'}", exchange)
        if not event.all("ei:eiEventSignals/ei:eiEventSignal/ei:currentValue/ei:payloadFloat/ei:value"):
            raise Failed(f"{exchange.step}: SIMPLE has no currentValue", exchange)


@check("PA-04", PROFILE_A, feature=_FEATURE)
def what_only_2_0b_has_is_left_out(transcript: Transcript) -> None:
    """No modificationDateTime, modificationReason, extended target, signal's target, baseline or itemBase."""
    for exchange, event in _events(transcript):
        for name, path in _LATER:
            if event.all(path):
                raise Failed(f"{exchange.step}: an event has {name}", exchange)
        others = {str(etree.QName(each).localname) for each in event.all("ei:eiTarget/*")} - _IDS
        if others:
            raise Failed(f"{exchange.step}: an event's target has {', '.join(sorted(others))}", exchange)


CHECKS: Final[tuple[Check, ...]] = (
    messages_are_those_of_2_0_a,
    ei_event_is_all_there_is,
    events_have_the_one_signal_simple,
    what_only_2_0b_has_is_left_out,
)
