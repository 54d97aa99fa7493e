"""Refusals: the normal answer to a message, carrying the fault (GN-11)."""

from collections.abc import Callable
from typing import Any, Final

from core.ids import new_id
from openadr.model.codes import OpenADRError
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
from vtn.services.registration import vtn_profile
from vtn.services.settings import VtnSettings

_ANSWERS: Final[dict[type[Message], Callable[[Any, Response, VtnSettings], Message]]] = {
    RequestEvent: lambda said, fault, vtn: DistributeEvent(vtn.vtn_id, said.request_id or new_id("req"), (), fault),
    CreateOpt: lambda said, fault, _: CreatedOpt(fault, said.opt.opt_id),
    CancelOpt: lambda said, fault, _: CanceledOpt(fault, said.opt_id),
    RegisterReport: lambda _, fault, __: RegisteredReport(fault),
    CreateReport: lambda _, fault, __: CreatedReport(fault),
    UpdateReport: lambda _, fault, __: UpdatedReport(fault),
    CancelReport: lambda _, fault, __: CanceledReport(fault),
    QueryRegistration: lambda _, fault, vtn: CreatedPartyRegistration(fault, vtn_profile(vtn)),
    CreatePartyRegistration: lambda _, fault, vtn: CreatedPartyRegistration(fault, vtn_profile(vtn)),
    CancelPartyRegistration: lambda said, fault, _: CanceledPartyRegistration(fault, said.registration_id),
}
"""How each request is answered when it is refused; everything else gets an oadrResponse."""


def refuse(message: Message, fault: OpenADRError, settings: VtnSettings) -> Message:
    """Return the answer that refuses a message with a code; the requestID is echoed (GN-06)."""
    said = getattr(message, "response", None)
    request_id = getattr(message, "request_id", None) or (said.request_id if said is not None else "")
    response = Response(fault.code, fault.description, request_id)
    answer = _ANSWERS.get(type(message))
    return OadrResponse(response) if answer is None else answer(message, response, settings)
