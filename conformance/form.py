"""The form of all messages, whoever sends them (GN-02 to GN-05): what the checks of VTNs and of VENs share."""

from collections.abc import Iterable
from typing import Final, TypeAlias

from conformance import judge
from conformance.exchange import Exchange
from conformance.judge import Document
from conformance.templates import NAMESPACES
from conformance.verdict import Failed

Messages: TypeAlias = Iterable[tuple[Exchange, Document]]
"""What was said, with the exchange in which it was."""

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
