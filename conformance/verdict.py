"""What a check may come to."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conformance.exchange import Exchange

_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r -~\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What is no character, and what turns the direction of those after it."""


def printable(text: str) -> str:
    """Return a text without control characters and half characters: what a VTN sends must not steer a terminal."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


class Verdict(StrEnum):
    """How a rule stands."""

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    """The profile says that the optional feature is not there."""
    NOT_OBSERVABLE = "not observable"
    """Nothing was seen from which it could be judged; the reason says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """A rule's verdict, the reason in words or a note, and for a failure the exchanges that show it."""

    rule: str
    verdict: Verdict
    reason: str = ""
    exchanges: tuple[Exchange, ...] = ()


class Failed(Exception):  # noqa: N818  a verdict, not an error
    """A rule is broken, and these exchanges show it."""

    def __init__(self, reason: str, *exchanges: Exchange) -> None:
        super().__init__(reason)
        self.exchanges = exchanges


class NotObservable(Exception):  # noqa: N818  a verdict, not an error
    """What the rule is about did not occur in the dialogue, or cannot be seen from outside."""


class NotApplicable(Exception):  # noqa: N818  a verdict, not an error
    """The rule is about something optional that this VTN does not do."""
