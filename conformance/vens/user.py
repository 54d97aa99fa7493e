"""Who uses a VEN: opting is theirs to do. A command does it, or a person at the terminal, or nobody."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from conformance.operator import UnableError
from conformance.operators import restarting

_PLACE: Final = "{do}"
_ASKED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "opt-out": "opt out of the event {} by EiOpt",
        "opt-in": "opt in to the event {} by EiOpt",
        "away": "opt out of all events from {} until {}",
        "back": "end the opt schedule with the optID {}",
    }
)
"""What each thing that is done means to a person."""


@dataclass(frozen=True, slots=True)
class User:
    """Does `opt-out EVENT`, `opt-in EVENT`, `away START END` and `back OPT_ID`, which the command gets for `{do}`.

    Without `{do}` they go behind it; times are ISO 8601 in UTC, of the VEN's world. `ask` shows a text to a person and
    returns what they type; "no" says that it cannot be done.
    """

    command: str | None = None
    ask: Callable[[str], str] | None = None

    @property
    def is_there(self) -> bool:
        """Whether anybody is."""
        return self.command is not None or self.ask is not None

    def does(self, deed: str, *about: str) -> None:
        """Have it done. Raises UnableError if nobody is there, or it could not be done."""
        if self.command is not None:
            before, _, after = self.command.partition(_PLACE)
            restarting.run(f"{before} {shlex.join((deed, *about))} {after}")
        elif self.ask is None:
            raise UnableError("nobody is there to opt at the VEN (--user, --ask)")
        elif self.ask(f"At the VEN: {_ASKED[deed].format(*about)}.").strip().lower() == "no":
            raise UnableError("the VEN's user could not do it")
