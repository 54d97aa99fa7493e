"""The VEN engine: OpenADR messages in, messages and actions out. It opens no connection and reads no clock."""

from ven.engine.actions import Action, EventsChanged, Noted, Refused, Registered, Unregistered
from ven.engine.engine import Engine, Failure
from ven.engine.registration import Settings
from ven.engine.registration_states import Phase

__all__ = [
    "Action",
    "Engine",
    "EventsChanged",
    "Failure",
    "Noted",
    "Phase",
    "Refused",
    "Registered",
    "Settings",
    "Unregistered",
]
