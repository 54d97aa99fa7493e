"""Decoding of EiRegisterParty messages, of oadrPoll and of the general oadrResponse."""

from collections.abc import Mapping
from typing import Final

from lxml.etree import _Element

from openadr.model.registration import Profile, Transport, VenProfile, VtnProfile
from openadr.v20b import names as n
from openadr.v20b.decode_parts import Reader, response
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    OadrResponse,
    Poll,
    QueryRegistration,
    RequestReregistration,
)
from openadr.v20b.reading import flag, inner_duration, optional, parts, string, token


def _query(element: _Element) -> QueryRegistration:
    return QueryRegistration(string(element[0]))


def _create(element: _Element) -> CreatePartyRegistration:
    of = parts(element)
    pull = of.get(n.HTTP_PULL_MODEL)
    profile = VenProfile(
        profile=Profile(token(of[n.PROFILE_NAME])),
        transport=Transport(token(of[n.TRANSPORT_NAME])),
        transport_address=optional(of.get(n.TRANSPORT_ADDRESS)),
        report_only=flag(of[n.REPORT_ONLY]),
        xml_signature=flag(of[n.XML_SIGNATURE]),
        ven_name=optional(of.get(n.VEN_NAME)),
        http_pull=flag(pull) if pull is not None else None,
    )
    return CreatePartyRegistration(
        request_id=string(of[n.REQUEST_ID]),
        profile=profile,
        registration_id=optional(of.get(n.REGISTRATION_ID)),
        ven_id=optional(of.get(n.VEN_ID)),
    )


def _created(element: _Element) -> CreatedPartyRegistration:
    of = parts(element)
    profiles = tuple(
        (Profile(token(name)), tuple(Transport(token(transport[0])) for transport in transports))
        for name, transports in of[n.PROFILES]
    )
    return CreatedPartyRegistration(
        response=response(of[n.EI_RESPONSE]),
        vtn=VtnProfile(string(of[n.VTN_ID]), profiles, inner_duration(of.get(n.POLL_FREQ))),
        registration_id=optional(of.get(n.REGISTRATION_ID)),
        ven_id=optional(of.get(n.VEN_ID)),
    )


def _cancel(element: _Element) -> CancelPartyRegistration:
    of = parts(element)
    return CancelPartyRegistration(string(of[n.REQUEST_ID]), string(of[n.REGISTRATION_ID]), optional(of.get(n.VEN_ID)))


def _canceled(element: _Element) -> CanceledPartyRegistration:
    of = parts(element)
    return CanceledPartyRegistration(
        response(of[n.EI_RESPONSE]), optional(of.get(n.REGISTRATION_ID)), optional(of.get(n.VEN_ID))
    )


def _reregister(element: _Element) -> RequestReregistration:
    return RequestReregistration(string(element[0]))


def _poll(element: _Element) -> Poll:
    return Poll(string(element[0]))


def _response(element: _Element) -> OadrResponse:
    of = parts(element)
    return OadrResponse(response(of[n.EI_RESPONSE]), optional(of.get(n.VEN_ID)))


READERS: Final[Mapping[str, Reader]] = {
    n.clark("oadr:oadrQueryRegistration"): _query,
    n.clark("oadr:oadrCreatePartyRegistration"): _create,
    n.clark("oadr:oadrCreatedPartyRegistration"): _created,
    n.clark("oadr:oadrCancelPartyRegistration"): _cancel,
    n.clark("oadr:oadrCanceledPartyRegistration"): _canceled,
    n.clark("oadr:oadrRequestReregistration"): _reregister,
    n.clark("oadr:oadrPoll"): _poll,
    n.clark("oadr:oadrResponse"): _response,
}
