"""Decoding of EiOpt messages."""

from collections.abc import Mapping
from typing import Final

from lxml.etree import _Element

from openadr.model.opt import Availability, Opt, OptType
from openadr.v20b import names as n
from openadr.v20b.decode_parts import Reader, response, target
from openadr.v20b.messages import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from openadr.v20b.reading import duration_or_zero, instant, optional, optional_token, parts, string, token, whole


def _create_opt(element: _Element) -> CreateOpt:
    of = parts(element)
    event = of.get(n.QUALIFIED_EVENT_ID)
    schedule = of.get(n.VAVAILABILITY)
    opt = Opt(
        opt_id=string(of[n.OPT_ID]),
        opt_type=OptType(token(of[n.OPT_TYPE])),
        reason=token(of[n.OPT_REASON]),
        created_at=instant(of[n.CREATED_DATE_TIME]),
        event_id=string(event[0]) if event is not None else None,
        modification_number=whole(event[1]) if event is not None else None,
        availability=tuple(_availability(one[0]) for one in schedule[0]) if schedule is not None else (),
        market_context=optional_token(of.get(n.MARKET_CONTEXT)),
        target=target(of[n.TARGET]),
        device_class=target(of.get(n.DEVICE_CLASS)),
    )
    return CreateOpt(string(of[n.VEN_ID]), string(of[n.REQUEST_ID]), opt)


def _availability(properties: _Element) -> Availability:
    of = parts(properties)
    return Availability(instant(of[n.DTSTART][0]), duration_or_zero(of[n.DURATION]))


def _created_opt(element: _Element) -> CreatedOpt:
    of = parts(element)
    return CreatedOpt(response(of[n.EI_RESPONSE]), string(of[n.OPT_ID]))


def _cancel_opt(element: _Element) -> CancelOpt:
    of = parts(element)
    return CancelOpt(string(of[n.VEN_ID]), string(of[n.REQUEST_ID]), string(of[n.OPT_ID]))


def _canceled_opt(element: _Element) -> CanceledOpt:
    of = parts(element)
    return CanceledOpt(response(of[n.EI_RESPONSE]), optional(of.get(n.OPT_ID)))


READERS: Final[Mapping[str, Reader]] = {
    n.clark("oadr:oadrCreateOpt"): _create_opt,
    n.clark("oadr:oadrCreatedOpt"): _created_opt,
    n.clark("oadr:oadrCancelOpt"): _cancel_opt,
    n.clark("oadr:oadrCanceledOpt"): _canceled_opt,
}
