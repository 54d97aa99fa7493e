"""The life of a registration, as a table (catalogue 5)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Phase(StrEnum):
    """What has to be said to the VTN next, before anything else."""

    ASKING = "asking"
    REGISTERING = "registering"
    OFFERING = "offering"
    SYNCING = "syncing"
    SERVING = "serving"
    OVER = "over"


class Turn(StrEnum):
    """What can happen to a registration."""

    TOLD = "told"
    REGISTERED = "registered"
    RENEWED = "renewed"
    OFFERED = "offered"
    SYNCED = "synced"
    IN_DOUBT = "in doubt"
    UNKNOWN = "unknown"
    ASKED_AGAIN = "asked again"
    CANCELLED = "cancelled"
    BACK = "back"


_FROM_EVERYWHERE: Final = {
    Turn.REGISTERED: Phase.OFFERING,  # metadata before anything else (RP-01, RG-07)
    Turn.RENEWED: Phase.SERVING,  # no new metadata, no new request for events (RG-07)
    Turn.UNKNOWN: Phase.REGISTERING,  # 463: register again (RG-14)
    Turn.ASKED_AGAIN: Phase.REGISTERING,  # RG-09
    Turn.CANCELLED: Phase.OVER,  # RG-10
}

_STEPS: Final = {
    (Phase.ASKING, Turn.TOLD): Phase.REGISTERING,
    (Phase.OFFERING, Turn.OFFERED): Phase.SYNCING,
    (Phase.SYNCING, Turn.SYNCED): Phase.SERVING,
    # A poll whose answer was lost may have carried the last delivery of an event: ask for all (PL-09).
    (Phase.SERVING, Turn.IN_DOUBT): Phase.SYNCING,
    (Phase.OVER, Turn.BACK): Phase.ASKING,  # RG-12
}

TRANSITIONS: Final[Mapping[tuple[Phase, Turn], Phase]] = MappingProxyType(
    {(phase, turn): to for phase in Phase if phase is not Phase.OVER for turn, to in _FROM_EVERYWHERE.items()} | _STEPS
)
"""(phase, what happened) -> next phase; a pair that is not here changes nothing."""

REPLYING: Final = frozenset({Phase.SYNCING, Phase.SERVING, Phase.OVER})
"""The phases in which waiting answers go out: after the metadata (RP-01), and the last word after a cancellation."""
