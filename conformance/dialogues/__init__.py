"""The dialogues that the kit plays, by name, in the order in which they are played.

A dialogue only speaks and keeps; what it means is judged by the checks. Rules that share a dialogue share its run.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from conformance.dialogues import (
    events,
    messages,
    opts,
    polling,
    profile_a,
    push,
    registration,
    reports,
    restart,
    security,
    signatures,
    transport,
    vtn_reports,
)
from conformance.stage import Stage

Dialogue = Callable[[Stage], None]

_MODULES: Final = (
    transport,
    messages,
    registration,
    polling,
    events,
    reports,
    vtn_reports,
    opts,
    profile_a,
    push,
    security,
    signatures,
    restart,
)
DIALOGUES: Final[Mapping[str, Dialogue]] = MappingProxyType(
    {name: dialogue for module in _MODULES for name, dialogue in module.DIALOGUES.items()}
)

FEATURES: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(push.DIALOGUES, "push") | dict.fromkeys(profile_a.DIALOGUES, "profile_2_0_a")
)
"""Of dialogues that are about an optional feature alone: that one. Without it there is no use in playing them."""

HOSTILE: Final = "hostile"
"""What has the form of an attack: for the VTN of whoever runs the kit, not for one that the kit starts by itself."""
