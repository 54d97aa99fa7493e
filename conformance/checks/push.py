"""Pushing: TR-01, TR-10, TR-11 and SE-05, as a VEN in push mode sees them."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

from lxml import etree

from conformance import judge
from conformance.check import Check, check, needed
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.push_ven import PREFIX
from conformance.verdict import Failed, NotObservable

_CREATED: Final = "oadrCreatedPartyRegistration"
_EVENTS: Final = "oadrDistributeEvent"
_REPORTS: Final = frozenset({"oadrRegisterReport", "oadrCreateReport", "oadrCancelReport", "oadrUpdateReport"})
_FIRST_PAUSE_S: Final = 0.9
"""A second, less a tenth (TR-11)."""


def _registered(transcript: Transcript) -> tuple[Exchange, ...]:
    """Return the registration in push mode. Raises Failed if it was refused."""
    exchanges = needed(transcript, "register")
    for exchange in exchanges:
        document = judge.answer(exchange, _CREATED)
        if document.code != judge.OK:
            why = document.text("ei:eiResponse/ei:responseDescription") or ""
            raise Failed(f"a VEN in push mode is refused with {document.code} {why}".rstrip(), exchange)
    return exchanges


def _pushed(transcript: Transcript, step: str = "") -> list[tuple[Exchange, dict[str, Any]]]:
    """Return what was pushed in a step, or in all, with its times."""
    pushes = [exchange for exchange in transcript if exchange.is_push]
    timed = zip(pushes, transcript.facts.get("times", ()), strict=False)
    return [(exchange, times) for exchange, times in timed if step in ("", exchange.step)]


def _service(name: str) -> str:
    if name == _EVENTS:
        return "EiEvent"
    return "EiReport" if name in _REPORTS else "EiRegisterParty"


def _is_posted(exchange: Exchange, base: str) -> Document:
    """Return a push. Raises Failed unless it is an oadrPayload that was posted to its service, and not compressed."""
    document = judge.answer(exchange)
    if etree.QName(document.root).localname != "oadrPayload":
        raise Failed(f"{exchange.step}: {document.name} was pushed without oadrPayload", exchange)
    if exchange.request.method != "POST":
        raise Failed(f"{exchange.step}: {document.name} was pushed by {exchange.request.method}", exchange)
    target = f"{base}{PREFIX}/{_service(document.name)}"
    if exchange.request.target != target:
        raise Failed(f"{exchange.step}: {document.name} went to {exchange.request.target}, not {target}", exchange)
    reply = judge.said(exchange)
    if reply is not None and (coding := reply.header("Content-Encoding")) not in (None, "identity"):
        raise Failed(f"{exchange.step}: {document.name} was pushed as {coding}", exchange)
    return document


@check("TR-01", "push", feature="push")
def what_others_poll_is_pushed(transcript: Transcript) -> None:
    """A VEN in push mode gets at its address, without a poll, what others poll: each message by POST at its service."""
    registered = _registered(transcript)
    base = urlsplit(transcript.facts.get("address", "")).path.rstrip("/").removesuffix(PREFIX)
    came = [(exchange, _is_posted(exchange, base)) for exchange in transcript if exchange.is_push]
    for step, name in transcript.facts.get("awaited", ()):
        if not any(exchange.step == step and document.name == name for exchange, document in came):
            raise Failed(f"{step}: no {name} was pushed", *registered)
    _follows_the_event([(exchange, document) for exchange, document in came if document.name == _EVENTS])


def _follows_the_event(deliveries: list[tuple[Exchange, Document]]) -> None:
    """Raise Failed unless an event's change and its cancellation were pushed as such, NotObservable without any."""
    new = [(exchange, event) for exchange, event in _listed(deliveries, "event:new")]
    if not new:
        raise NotObservable("no event was made that could be pushed")
    event_id, number = new[0][1].event_id, new[0][1].modification
    for step in ("event:changed", "event:cancelled"):
        exchanges = [exchange for exchange, _ in deliveries if exchange.step == step]
        if not exchanges:
            continue
        versions = [event for _, event in _listed(deliveries, step) if event.event_id == event_id]
        is_gone = step == "event:cancelled" and not versions
        if not is_gone and not any(event.modification > number for event in versions):
            raise Failed(f"{step}: the event was pushed without a higher modificationNumber", *exchanges)
        statuses = {event.text(".//ei:eventDescriptor/ei:eventStatus") for event in versions}
        if step == "event:cancelled" and not is_gone and "cancelled" not in statuses:
            raise Failed(f"{step}: the event is still {', '.join(sorted(map(str, statuses)))}", *exchanges)
        number = max((event.modification for event in versions), default=number)


def _listed(deliveries: list[tuple[Exchange, Document]], step: str) -> Iterator[tuple[Exchange, Document]]:
    """Yield the events of the deliveries of a step."""
    for exchange, document in deliveries:
        if exchange.step == step:
            for event in document.events:
                yield exchange, event


def _content(exchange: Exchange) -> tuple[object, ...]:
    """Return what makes two pushes the same message: its name, and which versions of which events and requests."""
    document = judge.answer(exchange)
    events = tuple((event.event_id, event.modification) for event in document.events)
    return (document.name, events, *document.texts(".//ei:reportRequestID"))


@check("TR-10", "push trouble", feature="push")
def a_late_answer_is_waited_for(transcript: Transcript) -> str | None:
    """The VTN waits for an answer that comes after 4.5 seconds, and takes it: the message does not come again."""
    slow = _pushed(transcript, "slow")
    if not slow:
        raise NotObservable("nothing was pushed")
    (first, times), *later = slow
    if not times["waited"]:
        raise Failed(f"the VTN hung up within {times['answered'] - times['came']:.1f} s", first)
    if again := [exchange for exchange, _ in later if _content(exchange) == _content(first)]:
        raise Failed("what was answered late was pushed again", first, *again)
    if any(other["came"] < times["answered"] for _, other in later):
        return "A second message was pushed to the VEN while the first one was still on its way."
    return None


@check("TR-11", "push trouble", feature="push")
def what_is_not_taken_comes_again_later(transcript: Transcript) -> str | None:
    """After 503 or a broken connection a push comes again, after a second and then after two; after 404 it does not."""
    refused = _pushed(transcript, "refused")
    if not refused:
        raise NotObservable("nothing was pushed that could be refused")
    failures = 0
    for (before, times), (after, later) in pairwise(refused):
        failures = 0 if _is_taken(before) else failures + 1
        pause_s, least_s = later["came"] - times["answered"], _FIRST_PAUSE_S * 2 ** (failures - 1)
        if failures and pause_s < least_s:
            raise Failed(f"after {pause_s:.1f} s the VTN pushes again, not after {least_s:.1f} s", before, after)
    first = _content(refused[0][0])
    tries = [exchange for exchange, _ in refused if _content(exchange) == first]
    if not any(_is_taken(exchange) for exchange in tries):
        raise Failed(f"what was not taken came {len(tries)} times, and never again", *tries)
    useless = _pushed(transcript, "useless")
    if not useless:
        raise NotObservable("nothing was pushed that could be answered with 404")
    ((senseless, _), *more) = useless
    if again := [exchange for exchange, _ in more if _content(exchange) == _content(senseless)]:
        raise Failed("after HTTP 404 the same message came again", senseless, *again)
    if refused[len(tries) - 1][0] is not tries[-1]:
        return "Another message overtook the one that was to come again."
    return None


def _is_taken(exchange: Exchange) -> bool:
    return exchange.answer is not None and exchange.answer.status == judge.OK


@check("SE-05", "wrong server", feature="push")
def a_server_of_another_authority_gets_nothing(transcript: Transcript) -> None:
    """The VTN calls the VEN's address, sees a certificate of an authority that nobody trusts, and sends nothing."""
    try:
        _registered(transcript)
    except Failed as failed:
        raise NotObservable(str(failed)) from failed
    if pushes := [exchange for exchange in transcript if exchange.is_push]:
        raise Failed("something was pushed to a server with a certificate of another authority", *pushes)
    if not transcript.facts.get("calls"):
        raise NotObservable("the VTN did not call")


CHECKS: Final[tuple[Check, ...]] = (
    what_others_poll_is_pushed,
    a_late_answer_is_waited_for,
    what_is_not_taken_comes_again_later,
    a_server_of_another_authority_gets_nothing,
)
