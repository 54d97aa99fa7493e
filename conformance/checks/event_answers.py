"""EV: what becomes of a VEN's answers to events."""

from typing import Final

from conformance import judge
from conformance.check import Check, check, needed
from conformance.exchange import Transcript
from conformance.verdict import Failed, NotObservable


@check("EV-46", "answers")
def each_answer_is_read(transcript: Transcript) -> None:
    """Answers to several events count one by one; a failure as such is taken."""
    for exchange in needed(transcript, "mixed"):
        judge.accepted(exchange, "oadrResponse")
    for exchange in needed(transcript, "failure"):
        judge.answer(exchange, "oadrResponse")
    opts = transcript.facts.get("opts")
    if opts is None:
        raise NotObservable("the operator did not say what was answered")
    if list(opts[:2]) != ["optIn", "optOut"]:
        raise Failed(f"the operator sees {opts} after optIn and optOut", *needed(transcript, "mixed"))


@check("EV-42", "answers")
def separate_answers_are_taken(transcript: Transcript) -> None:
    """Events of one delivery may be answered one by one."""
    for exchange in needed(transcript, "separate"):
        judge.accepted(exchange, "oadrResponse")


@check("EV-47", "answers")
def a_later_answer_counts(transcript: Transcript) -> None:
    """OptOut after optIn is recorded."""
    for exchange in needed(transcript, "later"):
        judge.accepted(exchange, "oadrResponse")
    opts = transcript.facts.get("opts later")
    if opts is None:
        raise NotObservable("the operator did not say what was answered")
    if opts[0] != "optOut":
        raise Failed(f"the operator sees {opts[0]} after optOut", *needed(transcript, "later"))


@check("EV-48", "answers")
def wrong_answers_are_refused(transcript: Transcript) -> None:
    """452 for an unknown event, 450 for a wrong modificationNumber, any 4xx for several faults."""
    for step, code in (("faulty:unknown event", 452), ("faulty:stale", 450), ("faulty:both", None)):
        for exchange in needed(transcript, step):
            judge.refused(exchange, "oadrResponse", code=code)


CHECKS: Final[tuple[Check, ...]] = (
    separate_answers_are_taken,
    each_answer_is_read,
    a_later_answer_counts,
    wrong_answers_are_refused,
)
