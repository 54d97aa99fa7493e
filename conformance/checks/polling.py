"""PL: oadrPoll."""

from typing import Final

from conformance import judge
from conformance.check import Check, check, needed
from conformance.exchange import Transcript
from conformance.verdict import Failed


@check("PL-01", "queue")
def polling_is_served(transcript: Transcript) -> None:
    """A poll with nothing to bring is answered."""
    for exchange in needed(transcript, "empty"):
        judge.accepted(exchange, "oadrResponse")


@check("PL-02", "queue")
def the_queue_comes_one_by_one_in_order(transcript: Transcript) -> None:
    """One message a poll, oldest first, then oadrResponse with 200."""
    exchanges = [each for each in needed(transcript, "queue") if each.step.count(":") == 1]
    names = [judge.answer(exchange).name for exchange in exchanges]
    if names != [*transcript.facts.get("queued", ()), "oadrResponse"]:
        raise Failed(f"the polls brought {', '.join(names)}", *exchanges)
    judge.accepted(exchanges[-1], "oadrResponse")
    for exchange in needed(transcript, "emptied"):
        judge.accepted(exchange, "oadrResponse")


@check("PL-03", "queue")
def a_poll_of_nobody_is_refused(transcript: Transcript) -> None:
    """A wrong venID gets oadrResponse with exactly 452."""
    for exchange in needed(transcript, "wrong ven"):
        judge.refused(exchange, "oadrResponse", code=452)


@check("PL-04", "unanswered")
def polling_goes_on_without_an_answer(transcript: Transcript) -> None:
    """While an answer is awaited a poll brings the next message, or nothing: it is no error."""
    for exchange in needed(transcript, "withheld"):
        document = judge.answer(exchange)
        if document.name == "oadrResponse":
            judge.accepted(exchange)


@check("PL-07", "delivery")
def a_poll_brings_events_that_are_new_or_changed(transcript: Transcript) -> None:
    """New, changed and cancelled events come out of polls together with all others; unchanged ones rest."""
    for step, count in (("new", 2), ("changed", 2), ("cancelled", 2)):
        for exchange in transcript.steps(step):
            if exchange.step != step:
                continue
            document = judge.accepted(exchange, "oadrDistributeEvent")
            if len(document.events) != count:
                raise Failed(f"{step}: {len(document.events)} events in place of {count}", exchange)
    for exchange in (*needed(transcript, "unchanged"), *needed(transcript, "at rest")):
        judge.accepted(exchange, "oadrResponse")


CHECKS: Final[tuple[Check, ...]] = (
    polling_is_served,
    the_queue_comes_one_by_one_in_order,
    a_poll_of_nobody_is_refused,
    polling_goes_on_without_an_answer,
    a_poll_brings_events_that_are_new_or_changed,
)
