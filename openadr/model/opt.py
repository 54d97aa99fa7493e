"""Opts: whether a VEN takes part. They are facts in a row; the effective opt is computed (OP-06, OP-08)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from core.errors import InvalidError
from core.spans import Duration, Span
from openadr.model.target import EVERYTHING, Target

REASONS: Final = (
    "economic",
    "emergency",
    "mustRun",
    "notParticipating",
    "outageRunStatus",
    "overrideStatus",
    "participating",
    "x-schedule",
)
"""Why somebody opts (2.0b, optReason); others begin with `x-` (GN-14)."""


class OptType(StrEnum):
    """Taking part or not."""

    IN = "optIn"
    OUT = "optOut"


class OptSource(StrEnum):
    """Where an opt came from."""

    CREATED_EVENT = "createdEvent"
    CREATE_OPT = "createOpt"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Availability:
    """One `available` of an opt schedule; a zero duration, or one without end, is open-ended (OP-12)."""

    start: datetime
    duration: Duration

    @property
    def span(self) -> Span:
        """The span of time that it covers."""
        return Span.lasting(self.start, self.duration)


@dataclass(frozen=True, slots=True)
class Opt:
    """The content of an oadrCreateOpt: either qualifies one event or is a schedule (OP-02)."""

    opt_id: str
    opt_type: OptType
    reason: str
    created_at: datetime
    event_id: str | None = None
    modification_number: int | None = None
    availability: tuple[Availability, ...] = ()
    market_context: str | None = None
    target: Target = EVERYTHING
    device_class: Target = EVERYTHING


def check_reason(reason: str) -> None:
    """Raise InvalidError for what is no optReason (GN-14)."""
    if reason not in REASONS and not (reason.startswith("x-") and reason[2:].strip() and reason.isprintable()):
        raise InvalidError(f"'{reason[:80]}' is no reason to opt. Say one of {', '.join(REASONS)}, or x-...")


@dataclass(frozen=True, slots=True)
class OptFact:
    """One stored statement about one event. `resource` None means the whole VEN. Later `sequence` is newer."""

    sequence: int
    source: OptSource
    opt_type: OptType
    resource: str | None = None


def effective_opt(facts: Iterable[OptFact], resource: str | None = None) -> OptType | None:
    """Return the opt that counts for a resource (or for the whole VEN), or None if nothing was said.

    Once oadrCreateOpt has spoken for a resource, only another oadrCreateOpt changes it; oadrCreatedEvent rules the
    rest (OP-08, EV-47). A statement for the whole VEN speaks for each of its resources. The operator's word is final.
    """
    rank = {OptSource.CREATED_EVENT: 0, OptSource.CREATE_OPT: 1, OptSource.OPERATOR: 2}
    said = [fact for fact in facts if fact.resource is None or fact.resource == resource]
    if not said:
        return None
    return max(said, key=lambda fact: (rank[fact.source], fact.sequence)).opt_type
