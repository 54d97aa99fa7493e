"""Refusals: the normal answer to a message, carrying the fault (GN-11)."""

from collections.abc import Callable
from typing import Any, Final

from core.ids import new_id
from openadr.v20b.codes import OpenADRError
from openadr.v20b.decode import UnreadableError
from openadr.v20b.encode import message_name
from openadr.v20b.messages import (
    CanceledOpt,
    CanceledPartyRegistration,
    CanceledReport,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedOpt,
    CreatedPartyRegistration,
    CreatedReport,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    Message,
    OadrResponse,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    Response,
    UpdatedReport,
    UpdateReport,
)
from vtn.services.settings import VtnSettings
from vtn.transport.v20b.profile import vtn_profile

_ANSWERS: Final[dict[type[Message], Callable[[Any, Response, VtnSettings], Message]]] = {
    RequestEvent: lambda _, fault, vtn: DistributeEvent(vtn.vtn_id, fault.request_id or new_id("req"), (), fault),
    CreateOpt: lambda message, fault, _: CreatedOpt(fault, message.opt.opt_id if message else ""),
    CancelOpt: lambda message, fault, _: CanceledOpt(fault, message.opt_id if message else ""),
    RegisterReport: lambda _, fault, __: RegisteredReport(fault),
    CreateReport: lambda _, fault, __: CreatedReport(fault),
    UpdateReport: lambda _, fault, __: UpdatedReport(fault),
    CancelReport: lambda _, fault, __: CanceledReport(fault),
    QueryRegistration: lambda _, fault, vtn: CreatedPartyRegistration(fault, vtn_profile(vtn)),
    CreatePartyRegistration: lambda _, fault, vtn: CreatedPartyRegistration(fault, vtn_profile(vtn)),
    CancelPartyRegistration: lambda message, fault, _: CanceledPartyRegistration(
        fault, message.registration_id if message else None
    ),
}
"""How each request is answered when it is refused, given the message if it could be read; all else: oadrResponse."""

_LONGEST_TEXT: Final = 500
_KINDS: Final = {message_name(kind): kind for kind in _ANSWERS}


def refuse(message: Message, fault: OpenADRError, settings: VtnSettings) -> Message:
    """Return the answer that refuses a message with a code; the requestID is echoed (GN-06)."""
    text = fault.description[:_LONGEST_TEXT]  # it may quote the message
    response = getattr(message, "response", None)
    request_id = getattr(message, "request_id", None) or (response.request_id if response is not None else "")
    return _refusal(type(message), message, Response(fault.code, text, request_id), settings)


def refuse_unreadable(fault: UnreadableError, settings: VtnSettings) -> Message:
    """Return the answer to a valid message that holds a value nobody can read (GN-11)."""
    response = Response(fault.code, fault.description[:_LONGEST_TEXT], fault.request_id)
    return _refusal(_KINDS.get(fault.element), None, response, settings)


def _refusal(kind: type[Message] | None, message: Message | None, response: Response, settings: VtnSettings) -> Message:
    answer = _ANSWERS.get(kind) if kind is not None else None
    return OadrResponse(response) if answer is None else answer(message, response, settings)
