"""SE-08 to SE-10: XML signatures, of a VEN from which the VTN requires them."""

from collections.abc import Iterator
from typing import Final

from conformance import form, judge
from conformance.check import Check, check, needed
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.templates import ANSWERS
from conformance.verdict import Failed, NotObservable

_FEATURE: Final = "signatures"
_INNER_FAULT: Final = 500
_NAMES_NOTHING: Final = frozenset(
    {
        "oadrQueryRegistration",
        "oadrCreatePartyRegistration",
        "oadrPoll",
        "oadrRequestEvent",
        "oadrRegisterReport",
        "oadrCreateOpt",
        "oadrCancelPartyRegistration",
    }
)
"""What names no event, report or opt that the VTN would have to know: it gets 200."""


def _was_taken(exchange: Exchange) -> bool:
    """Tell whether a message was acted on: it was answered in OpenADR, by no error and not by asking to register."""
    if exchange.answer is None or exchange.answer.status != judge.OK or not exchange.answer.body:
        return False
    document = judge.answer(exchange)
    return document.name != "oadrRequestReregistration" and not judge.is_error(document.code)


def _passed_over(transcript: Transcript, *groups: str) -> None:
    """Raise Failed if a message of some groups was acted on, by its answer and by what it left behind, or did harm."""
    taken, broken = [], []
    for exchange in (exchange for group in groups for exchange in needed(transcript, group)):
        if _was_taken(exchange):
            taken.append(exchange)
        elif exchange.answer is not None and exchange.answer.status == _INNER_FAULT:
            broken.append(exchange)
    faults = [
        f"{what}: {', '.join(dict.fromkeys(each.step for each in exchanges))}"
        for what, exchanges in (("taken", taken), (f"an inner fault, HTTP {_INNER_FAULT}", broken))
        if exchanges
    ]
    if faults:
        raise Failed("; ".join(faults), *taken, *broken)
    for group in groups:
        _left_nothing(transcript, group)


def _left_nothing(transcript: Transcript, group: str) -> None:
    for exchange in needed(transcript, f"after {group}"):
        document = judge.answer(exchange)
        if judge.is_error(document.code):
            raise Failed(f"{exchange.step}: the registration was ended, a poll gets {document.code}", exchange)
    if (opt := transcript.facts[f"opt after {group}"]) is not None:
        raise Failed(f"the operator sees {opt}, which nobody signed well", *needed(transcript, group))


@check("SE-08", "signatures", feature=_FEATURE)
def what_is_not_signed_well_is_passed_over(transcript: Transcript) -> None:
    """Unsigned of every kind, changed, moved, signed by others: nothing is done, and a refusal is no inner fault."""
    _passed_over(transcript, "unsigned", "bad")


def _answers(transcript: Transcript) -> Iterator[tuple[Exchange, Document]]:
    """Yield the answers to what was signed well."""
    exchanges = (*transcript.steps("setup"), *needed(transcript, "signed"))
    return judge.readable(Transcript(transcript.dialogue, exchanges))


@check("SE-09", "signatures", feature=_FEATURE)
def messages_are_signed_as_the_profile_says(transcript: Transcript) -> str | None:
    """Messages of all kinds with RSA and with ECDSA signatures are taken, and the answers have good ones."""
    for exchange in needed(transcript, "signed"):
        name = judge.request(exchange).name
        document = judge.answer(exchange, *([] if name == "oadrPoll" else [ANSWERS[name]]))
        if name in _NAMES_NOTHING and judge.is_error(document.code):
            raise Failed(f"{exchange.step}: responseCode {document.code}", exchange)
    note = form.is_signed_well(_answers(transcript))
    if "no RSA" in transcript.facts:
        raise NotObservable(f"no VEN with an RSA certificate: {transcript.facts['no RSA']}")
    return note


@check("SE-10", "signatures", feature=_FEATURE)
def signatures_are_of_now_and_count_once(transcript: Transcript) -> str | None:
    """A signature without ReplayProtect, or of another time, is passed over; those of the VTN have time and nonce."""
    _passed_over(transcript, "unprotected")
    form.is_protected(transcript, _answers(transcript))
    for exchange in (*needed(transcript, "replay:first"), *needed(transcript, "replay:then")):
        judge.accepted(exchange, "oadrResponse")
    (again,) = needed(transcript, "replay:again")
    if _was_taken(again):
        return "a message that is sent twice counts twice: nonces are not remembered, which is left to the receiver"
    if (opt := transcript.facts["opt after replay"]) != "optOut":
        raise Failed(f"a replayed message was refused, and yet the operator sees {opt}", again)
    return None


CHECKS: Final[tuple[Check, ...]] = (
    what_is_not_signed_well_is_passed_over,
    messages_are_signed_as_the_profile_says,
    signatures_are_of_now_and_count_once,
)
