"""How a message of the VTN that cannot be handled is refused: in its own terms (GN-11)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from openadr.model.event import ResponseRequired
from openadr.model.opt import OptType
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CanceledReport,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedReport,
    CreateReport,
    DistributeEvent,
    EventResponse,
    Message,
    OadrResponse,
    RegisteredReport,
    Response,
    UpdatedReport,
)

_LONGEST_NAME: Final = 150


def refusal(kind: str, response: Response, ven_id: str, message: Message | None = None) -> Message:
    """Return the answer that refuses a message; of one that could not be read, only its kind is known."""
    make = _REFUSALS.get(kind)
    return make(response, ven_id, message) if make else OadrResponse(response, ven_id)


def _events(response: Response, ven_id: str, message: Message | None) -> Message:
    if not isinstance(message, DistributeEvent):
        return CreatedEvent(ven_id, replace(response, request_id=""))
    responses = tuple(
        EventResponse(
            delivered.event.event_id,
            delivered.event.modification_number,
            OptType.OUT,
            message.request_id,
            response.code,
            response.description,
        )
        for delivered in message.events
        if delivered.event.response_required is ResponseRequired.ALWAYS
    )
    return CreatedEvent(ven_id, replace(response, request_id=""), responses)


def _registration(response: Response, ven_id: str, message: Message | None) -> Message:
    registration_id = message.registration_id if isinstance(message, CancelPartyRegistration) else None
    return CanceledPartyRegistration(response, registration_id, ven_id)


_REFUSALS: Final[Mapping[str, Callable[[Response, str, Message | None], Message]]] = {
    "DistributeEvent": _events,
    "CreateReport": lambda response, ven_id, _: CreatedReport(response, ven_id=ven_id),
    "RegisterReport": lambda response, ven_id, _: RegisteredReport(response, ven_id=ven_id),
    "CancelReport": lambda response, ven_id, _: CanceledReport(response, ven_id=ven_id),
    "UpdateReport": lambda response, ven_id, _: UpdatedReport(response, ven_id=ven_id),
    "CancelPartyRegistration": _registration,
}


def name_with_ids(message: Message | None) -> str:
    """Return a short name of a message that is the same when the VTN repeats it."""
    match message:
        case DistributeEvent():
            events = (delivered.event for delivered in message.events)
            ids = [f"{event.event_id}.{event.modification_number}" for event in events]
        case CreateReport() | RegisteredReport():
            ids = [request.request_id for request in message.requests]
        case CancelReport():
            ids = list(message.report_request_ids)
        case _:
            ids = []
    name = " ".join([type(message).__name__, *ids])
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]} {hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"
    return name
