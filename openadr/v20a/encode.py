"""Encode: a message to the bytes that go to a 2.0a VEN."""

from dataclasses import replace
from typing import Final

from core.errors import InvalidError
from openadr.model.event import DeliveredEvent
from openadr.model.target import Target
from openadr.v20a.names import NAMESPACES
from openadr.v20b.encode_event import distribute_event
from openadr.v20b.encode_parts import response
from openadr.v20b.messages import DistributeEvent, Message, OadrResponse

_SIMPLE: Final = "SIMPLE"
_DECLARED: Final = "".join(f' xmlns:{prefix}="{namespace}"' for prefix, namespace in NAMESPACES.items())


def encode(message: Message) -> bytes:
    """Return an oadrDistributeEvent or oadrResponse as UTF-8 bytes, without payload and schemaVersion (PA-01).

    Events that 2.0a cannot carry are left out; an oadrResponse names no VEN (PA-02). Raises InvalidError for any other
    message.
    """
    match message:
        case DistributeEvent():
            events = tuple(filter(None, map(simplified, message.events)))
            name, content = "oadrDistributeEvent", distribute_event(replace(message, events=events))
        case OadrResponse():
            name, content = "oadrResponse", response(message.response)
        case _:
            raise InvalidError(f"OpenADR 2.0a has no {type(message).__name__}.")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<oadr:{name}{_DECLARED}>{content}</oadr:{name}>'.encode()


def simplified(delivered: DeliveredEvent) -> DeliveredEvent | None:
    """Return an event as 2.0a can carry it; None if it has no SIMPLE signal, or means nothing that 2.0a can name.

    One signal, with its currentValue (PA-03); no baseline, unit, signal target, modificationDateTime or
    modificationReason, and of targets only ids (PA-04): where nothing else is named, none would mean everything.
    """
    event = delivered.event
    signal = next((signal for signal in event.signals if signal.name.upper() == _SIMPLE), None)
    if signal is None:
        return None
    target = event.target
    ids = Target(
        group_ids=target.group_ids,
        resource_ids=target.resource_ids,
        ven_ids=target.ven_ids,
        party_ids=target.party_ids,
    )
    if target and not ids:
        return None
    plain = replace(signal, current_value=signal.current_value or 0.0, target=Target(), item_base=None)
    kept = replace(event, signals=(plain,), baseline=None, modified_at=None, modification_reason=None, target=ids)
    return replace(delivered, event=kept)
