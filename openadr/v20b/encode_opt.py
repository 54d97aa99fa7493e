"""Encoding of EiOpt messages."""

from openadr.model.opt import Availability
from openadr.v20b.encode_event import qualified_event_id
from openadr.v20b.encode_parts import optional_target, response, target
from openadr.v20b.messages import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from openadr.v20b.writing import dtstart, instant, lasting, leaf, optional


def create_opt(of: CreateOpt) -> str:
    """Write the content of an oadrCreateOpt."""
    opt = of.opt
    schedule = ""
    if opt.availability:
        spans = "".join(_available(one) for one in opt.availability)
        schedule = f"<xcal:vavailability><xcal:components>{spans}</xcal:components></xcal:vavailability>"
    event = qualified_event_id(opt.event_id, opt.modification_number or 0) if opt.event_id is not None else ""
    return (
        f"{leaf('ei:optID', opt.opt_id)}{leaf('ei:optType', opt.opt_type)}{leaf('ei:optReason', opt.reason)}"
        f"{optional('emix:marketContext', opt.market_context)}{leaf('ei:venID', of.ven_id)}{schedule}"
        f"{leaf('ei:createdDateTime', instant(opt.created_at))}{leaf('pyld:requestID', of.request_id)}{event}"
        f"{target('ei:eiTarget', opt.target)}{optional_target('oadr:oadrDeviceClass', opt.device_class)}"
    )


def _available(of: Availability) -> str:
    return (
        f"<xcal:available><xcal:properties>{dtstart(of.start)}{lasting('xcal:duration', of.duration)}"
        f"</xcal:properties></xcal:available>"
    )


def created_opt(of: CreatedOpt) -> str:
    """Write the content of an oadrCreatedOpt."""
    return f"{response(of.response)}{leaf('ei:optID', of.opt_id)}"


def cancel_opt(of: CancelOpt) -> str:
    """Write the content of an oadrCancelOpt."""
    return f"{leaf('pyld:requestID', of.request_id)}{leaf('ei:optID', of.opt_id)}{leaf('ei:venID', of.ven_id)}"


def canceled_opt(of: CanceledOpt) -> str:
    """Write the content of an oadrCanceledOpt."""
    return f"{response(of.response)}{optional('ei:optID', of.opt_id)}"
