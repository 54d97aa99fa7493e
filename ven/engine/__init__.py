"""The VEN engine: OpenADR messages in, messages and actions out. It opens no connection and reads no clock."""

from ven.engine.actions import Action, EventsChanged, Noted, Refused, Registered, Unregistered
from ven.engine.machine import Engine, Failure
from ven.engine.party import Settings
from ven.engine.phases import Phase

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
