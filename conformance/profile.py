"""What a VTN declares: the optional features, as in the form of certification. What is absent is not tested."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from core.errors import InvalidError

FEATURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "response_never": "events with responseRequired=never",
        "ramp_up": "a ramp-up period of events",
        "several_intervals": "events of several intervals",
        "priority": "priorities of events",
        "targets": "targets of events within a VEN",
        "start_after": "a random start (startafter)",
        "push": "push mode over HTTP",
        "xmpp": "XMPP",
        "profile_2_0_a": "the profile 2.0a",
        "signatures": "XML signatures",
    }
)
"""Feature -> what it is. Everything but XMPP is there unless a profile says otherwise."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The features that are absent."""

    absent: frozenset[str] = field(default_factory=lambda: frozenset({"xmpp"}))

    def has(self, feature: str) -> bool:
        """Whether a feature is declared."""
        return feature not in self.absent


def load(path: Path) -> Profile:
    """Read a profile: a TOML file with a table `features` of true and false. Raises InvalidError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("features", {})
    except (OSError, ValueError) as error:
        raise InvalidError(f"{path} is no profile: {error}.") from error
    if not isinstance(table, dict) or any(not isinstance(value, bool) for value in table.values()):
        raise InvalidError(f"{path}: [features] says true or false for each feature.")
    if strange := sorted(set(table) - set(FEATURES)):
        raise InvalidError(f"{path}: no feature is called {', '.join(strange)}; there are {', '.join(FEATURES)}.")
    return Profile(frozenset(name for name, value in ({"xmpp": False} | table).items() if not value))
