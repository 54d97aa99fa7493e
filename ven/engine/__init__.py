"""The VEN engine: OpenADR messages in, messages and actions out. It opens no connection and reads no clock.

It is storage-bound: what it answers was kept before, by whatever `ven.memory.Memory` it stands on.
"""

from ven.engine.actions import Action, EventsChanged, Noted, Refused, Registered, Unregistered
from ven.engine.engine import Engine
from ven.engine.registration import VenSettings
from ven.engine.registration_states import Phase
from ven.engine.replies import Failure

__all__ = [
    "Action",
    "Engine",
    "EventsChanged",
    "Failure",
    "Noted",
    "Phase",
    "Refused",
    "Registered",
    "Unregistered",
    "VenSettings",
]
