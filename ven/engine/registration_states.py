"""The life of a registration, as a table."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Phase(StrEnum):
    """How far this VEN is with its VTN."""

    ASKING = "asking"
    REGISTERING = "registering"
    SERVING = "serving"
    OVER = "over"


class RegistrationEvent(StrEnum):
    """What can happen to a registration."""

    TOLD = "told"
    REGISTERED = "registered"
    UNKNOWN = "unknown"
    ASKED_AGAIN = "asked again"
    CANCELLED = "cancelled"
    BACK = "back"


_FROM_EVERYWHERE: Final = {
    RegistrationEvent.REGISTERED: Phase.SERVING,
    RegistrationEvent.UNKNOWN: Phase.REGISTERING,  # 463: register again (RG-14)
    RegistrationEvent.ASKED_AGAIN: Phase.REGISTERING,  # RG-09
    RegistrationEvent.CANCELLED: Phase.OVER,  # RG-10
}

_STEPS: Final = {
    (Phase.ASKING, RegistrationEvent.TOLD): Phase.REGISTERING,
    (Phase.OVER, RegistrationEvent.BACK): Phase.ASKING,  # RG-12
}

TRANSITIONS: Final[Mapping[tuple[Phase, RegistrationEvent], Phase]] = MappingProxyType(
    {(phase, event): to for phase in Phase if phase is not Phase.OVER for event, to in _FROM_EVERYWHERE.items()}
    | _STEPS
)
"""(phase, what happened) -> next phase; a pair that is not here changes nothing."""


class Lane(StrEnum):
    """A kind of message that goes its own way: where one lane fails, the others go on."""

    QUERY = "query"
    REGISTER = "register"
    OFFER = "offer"
    ANSWER = "answer"
    SYNC = "sync"
    POLL = "poll"
    REPORT = "report"


RIGHT_OF_WAY: Final = (Lane.OFFER, Lane.ANSWER, Lane.SYNC)
"""Metadata first (RP-01, RG-07), answers before the next poll (PL-08); polls and reports then take turns."""

LANES: Final[Mapping[Phase, tuple[Lane, ...]]] = MappingProxyType(
    {
        Phase.ASKING: (Lane.QUERY,),
        Phase.REGISTERING: (Lane.REGISTER,),
        Phase.SERVING: (*RIGHT_OF_WAY, Lane.POLL, Lane.REPORT),
        Phase.OVER: (Lane.ANSWER,),  # the last word after a cancellation
    }
)
"""What may be said in each phase."""
