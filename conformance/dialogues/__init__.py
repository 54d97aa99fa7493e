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
    registration,
    reports,
    security,
    transport,
)
from conformance.stage import Stage

Dialogue = Callable[[Stage], None]

DIALOGUES: Final[Mapping[str, Dialogue]] = MappingProxyType(
    {
        name: dialogue
        for module in (transport, messages, registration, polling, events, reports, opts, profile_a, security)
        for name, dialogue in module.DIALOGUES.items()
    }
)

HOSTILE: Final = "hostile"
"""What has the form of an attack: for the VTN of whoever runs the kit, not for one that the kit starts by itself."""
