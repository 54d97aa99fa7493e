"""SE-08 to SE-10: XML signatures of a VEN that is set up for them."""

from collections.abc import Iterator
from typing import Final

from conformance import form
from conformance.check import EVERY, Check, check
from conformance.exchange import Exchange, Transcript
from conformance.vens.checks.said import delivery, goes_on, messages, of_event, played, taken
from conformance.verdict import Failed, NotApplicable, NotObservable

_FEATURE: Final = "signatures"


def _needs_signatures(transcript: Transcript) -> None:
    """Raise NotApplicable for a VEN that does not sign."""
    if not transcript.facts.get("signs"):
        raise NotApplicable("the VEN neither signs nor registers with oadrXmlSignature")


def _needs_ours(transcript: Transcript) -> None:
    _needs_signatures(transcript)
    if not transcript.facts.get("can_sign"):
        raise NotObservable("the kit has no RSA or EC key to sign with (--cert, --key)")


def _opted(exchanges: tuple[Exchange, ...]) -> Iterator[tuple[Exchange, str]]:
    """Yield the events of which the VEN says something, by their ids."""
    for exchange, document in messages(exchanges, "oadrCreatedEvent", "oadrCreateOpt"):
        for event_id in document.texts(".//ei:qualifiedEventID/ei:eventID"):
            yield exchange, event_id


def _passed_over(transcript: Transcript, group: str) -> None:
    """Raise Failed if the VEN acts on a message of a group, then or ever after, or does not go on."""
    for step in dict.fromkeys(":".join(each.step.split(":")[:2]) for each in played(transcript, group)):
        delivery(transcript, step)
    for exchange, event_id in _opted(tuple(transcript)):
        if event_id.startswith(f"{group}: "):
            raise Failed(f"{exchange.step}: the VEN answers the event '{event_id}'", exchange)
    goes_on(transcript, f"after {group}")


@check("SE-08", "signatures", feature=_FEATURE)
def what_is_not_signed_well_is_passed_over(transcript: Transcript) -> None:
    """Events of messages that are unsigned, changed, moved or signed by others are not answered; the VEN goes on."""
    _needs_ours(transcript)
    _passed_over(transcript, "bad")


@check("SE-09", EVERY, feature=_FEATURE)
def every_message_is_signed_as_the_profile_says(transcript: Transcript) -> str | None:
    """All that the VEN says has a good signature, beside the oadrSignedObject."""
    _needs_signatures(transcript)
    return form.is_signed_well(messages(transcript))


@check("SE-10", EVERY, feature=_FEATURE)
def signatures_are_of_now_and_count_once(transcript: Transcript) -> str | None:
    """A signature without ReplayProtect, or of another time, is passed over; those of the VEN have time and nonce."""
    _needs_signatures(transcript)
    form.is_protected(transcript, messages(transcript))
    _needs_ours(transcript)
    _passed_over(transcript, "unprotected")
    delivery(transcript, "replay:first")
    taken(of_event(transcript, "replay:first", "delivered twice"))
    delivery(transcript, "replay:again")
    if "delivered twice" in [event_id for _, event_id in _opted(played(transcript, "replay:again"))]:
        return "a message that comes twice counts twice: nonces are not remembered, which is left to the receiver"
    return None


CHECKS: Final[tuple[Check, ...]] = (
    what_is_not_signed_well_is_passed_over,
    every_message_is_signed_as_the_profile_says,
    signatures_are_of_now_and_count_once,
)
