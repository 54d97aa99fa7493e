"""Encoding of EiOpt messages."""

from openadr.model.opt import Availability
from openadr.v20b.encode_event import qualified_event_id
from openadr.v20b.encode_parts import optional_target, response, target
from openadr.v20b.messages import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from openadr.v20b.writing import dtstart, instant, lasting, leaf, optional


def create_opt(message: CreateOpt) -> str:
    """Write the content of an oadrCreateOpt."""
    opt = message.opt
    schedule = ""
    if opt.availability:
        spans = "".join(_available(one) for one in opt.availability)
        schedule = f"<xcal:vavailability><xcal:components>{spans}</xcal:components></xcal:vavailability>"
    event = qualified_event_id(opt.event_id, opt.modification_number or 0) if opt.event_id is not None else ""
    return (
        f"{leaf('ei:optID', opt.opt_id)}{leaf('ei:optType', opt.opt_type)}{leaf('ei:optReason', opt.reason)}"
        f"{optional('emix:marketContext', opt.market_context)}{leaf('ei:venID', message.ven_id)}{schedule}"
        f"{leaf('ei:createdDateTime', instant(opt.created_at))}{leaf('pyld:requestID', message.request_id)}{event}"
        f"{target('ei:eiTarget', opt.target)}{optional_target('oadr:oadrDeviceClass', opt.device_class)}"
    )


def _available(availability: Availability) -> str:
    return (
        f"<xcal:available><xcal:properties>{dtstart(availability.start)}"
        f"{lasting('xcal:duration', availability.duration)}"
        f"</xcal:properties></xcal:available>"
    )


def created_opt(message: CreatedOpt) -> str:
    """Write the content of an oadrCreatedOpt."""
    return f"{response(message.response)}{leaf('ei:optID', message.opt_id)}"


def cancel_opt(message: CancelOpt) -> str:
    """Write the content of an oadrCancelOpt."""
    ids = f"{leaf('ei:optID', message.opt_id)}{leaf('ei:venID', message.ven_id)}"
    return f"{leaf('pyld:requestID', message.request_id)}{ids}"


def canceled_opt(message: CanceledOpt) -> str:
    """Write the content of an oadrCanceledOpt."""
    return f"{response(message.response)}{optional('ei:optID', message.opt_id)}"
