"""The form of all messages, whoever sends them (GN-02 to GN-05, SE-09, SE-10): what the checks of both sides share."""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, TypeAlias

from conformance import judge, signatures
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.templates import NAMESPACES
from conformance.verdict import Failed

Messages: TypeAlias = Iterable[tuple[Exchange, Document]]
"""What was said, with the exchange in which it was."""

_NEAR: Final = timedelta(minutes=5)
"""So far the clock of who signs may be from ours."""
_XSI: Final = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_SCHEMA_VERSION: Final = f"{{{NAMESPACES['ei']}}}schemaVersion"
_TIMES: Final = ".//xcal:date-time | .//ei:createdDateTime"
_DURATIONS: Final = (
    ".//xcal:duration[not(*)] | .//xcal:startafter | .//oadr:oadrMinPeriod[not(*)] | .//oadr:oadrMaxPeriod[not(*)]"
)


def has_schema_version(messages: Messages) -> None:
    """Raise Failed unless each message says ei:schemaVersion="2.0b" (GN-02)."""
    for exchange, document in messages:
        if (version := document.message.get(_SCHEMA_VERSION)) != "2.0b":
            raise Failed(f"{exchange.step}: {document.name} has schemaVersion {version}", exchange)


def points_nowhere(messages: Messages) -> None:
    """Raise Failed if a message points to a schema (GN-03)."""
    for exchange, document in messages:
        if any(element.get(_XSI) is not None for element in document.root.iter()):
            raise Failed(f"{exchange.step}: {document.name} has xsi:schemaLocation", exchange)


def has_times_in_utc(messages: Messages) -> None:
    """Raise Failed unless each time ends in Z (GN-04)."""
    for exchange, document in messages:
        for text in document.texts(_TIMES):
            if not judge.is_date_time(text):
                raise Failed(f"{exchange.step}: {document.name} has the time {text}", exchange)


def has_whole_durations(messages: Messages) -> None:
    """Raise Failed if a duration has a fraction, or weeks (GN-05)."""
    for exchange, document in messages:
        for text in document.texts(_DURATIONS):
            if not judge.is_duration(text.strip()):
                raise Failed(f"{exchange.step}: {document.name} has the duration '{text}'", exchange)


def is_signed_well(messages: Messages) -> str | None:
    """Raise Failed unless each message has a good signature, of the profile (SE-09); return a note if it uses SHA-1."""
    note = None
    for exchange, document in messages:
        try:
            if signatures.verified(document):
                note = f"{exchange.step}: {document.name} is signed with SHA-1"
        except ValueError as error:
            raise Failed(f"{exchange.step}: {document.name}: {error}", exchange) from error
    return note


def is_protected(transcript: Transcript, messages: Messages) -> None:
    """Raise Failed unless each signature has the time of sending and a nonce of its own (SE-10)."""
    nonces: Counter[str] = Counter()
    for exchange, document in messages:
        if not signatures.is_signed(document):
            continue
        try:
            protection = signatures.protection(document)
        except ValueError as error:
            raise Failed(f"{exchange.step}: {document.name}: {error}", exchange) from error
        if abs(protection.at - transcript.machine_time(exchange)) > _NEAR:
            raise Failed(f"{exchange.step}: {document.name} says that it was sent at {protection.at}", exchange)
        nonces[protection.nonce] += 1
        if nonces[protection.nonce] > 1:
            raise Failed(f"{exchange.step}: {document.name} has the nonce of another message", exchange)
