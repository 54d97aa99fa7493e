"""What the engine asks its gateway to do, or tells it."""

from dataclasses import dataclass
from typing import TypeAlias

from ven.vtn_state import Registration


@dataclass(frozen=True, slots=True)
class Registered:
    """The VTN has confirmed a registration; `renewed` if it is the one that we had."""

    registration: Registration
    renewed: bool


@dataclass(frozen=True, slots=True)
class Unregistered:
    """The registration is over; every device goes back to normal."""

    reason: str
    comes_back: bool = False
    """Whether it will be asked for again by itself."""


@dataclass(frozen=True, slots=True)
class EventsChanged:
    """Something about these events changed: plan again."""

    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The VTN answered, but not as it should: wait a little longer before the next message."""

    message: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line in the log; `problem` if a person may have to look."""

    text: str
    problem: bool = False


Action: TypeAlias = Registered | Unregistered | EventsChanged | Refused | Noted
