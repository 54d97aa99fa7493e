"""Encoding of EiRegisterParty messages, of oadrPoll and of the general oadrResponse."""

from core.errors import InvalidError
from openadr.model.registration import Profile, Transport
from openadr.v20b.encode_parts import response
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
from openadr.v20b.writing import flag, lasting, leaf, optional


def query_registration(message: QueryRegistration) -> str:
    """Write the content of an oadrQueryRegistration."""
    return leaf("pyld:requestID", message.request_id)


def create_party_registration(message: CreatePartyRegistration) -> str:
    """Write the content of an oadrCreatePartyRegistration."""
    ven = message.profile
    pull = leaf("oadr:oadrHttpPullModel", flag(ven.http_pull)) if ven.http_pull is not None else ""
    return (
        f"{leaf('pyld:requestID', message.request_id)}{optional('ei:registrationID', message.registration_id)}"
        f"{optional('ei:venID', message.ven_id)}{leaf('oadr:oadrProfileName', ven.profile)}"
        f"{leaf('oadr:oadrTransportName', ven.transport)}"
        f"{optional('oadr:oadrTransportAddress', ven.transport_address)}"
        f"{leaf('oadr:oadrReportOnly', flag(ven.report_only))}"
        f"{leaf('oadr:oadrXmlSignature', flag(ven.xml_signature))}{optional('oadr:oadrVenName', ven.ven_name)}{pull}"
    )


def created_party_registration(message: CreatedPartyRegistration) -> str:
    """Write the content of an oadrCreatedPartyRegistration."""
    vtn = message.vtn
    if not vtn.profiles:
        raise InvalidError("A VTN has at least one profile.")
    profiles = "".join(_profile(profile, transports) for profile, transports in vtn.profiles)
    frequency = lasting("oadr:oadrRequestedOadrPollFreq", vtn.poll_freq) if vtn.poll_freq is not None else ""
    return (
        f"{response(message.response)}"
        f"{optional('ei:registrationID', message.registration_id)}{optional('ei:venID', message.ven_id)}"
        f"{leaf('ei:vtnID', vtn.vtn_id)}<oadr:oadrProfiles>{profiles}</oadr:oadrProfiles>{frequency}"
    )


def _profile(profile: Profile, transports: tuple[Transport, ...]) -> str:
    if not transports:
        raise InvalidError(f"Profile {profile} has no transport.")
    names = "".join(
        f"<oadr:oadrTransport>{leaf('oadr:oadrTransportName', one)}</oadr:oadrTransport>" for one in transports
    )
    return (
        f"<oadr:oadrProfile>{leaf('oadr:oadrProfileName', profile)}"
        f"<oadr:oadrTransports>{names}</oadr:oadrTransports></oadr:oadrProfile>"
    )


def cancel_party_registration(message: CancelPartyRegistration) -> str:
    """Write the content of an oadrCancelPartyRegistration."""
    return (
        f"{leaf('pyld:requestID', message.request_id)}{leaf('ei:registrationID', message.registration_id)}"
        f"{optional('ei:venID', message.ven_id)}"
    )


def canceled_party_registration(message: CanceledPartyRegistration) -> str:
    """Write the content of an oadrCanceledPartyRegistration."""
    ids = f"{optional('ei:registrationID', message.registration_id)}{optional('ei:venID', message.ven_id)}"
    return f"{response(message.response)}{ids}"


def ven_id_only(message: RequestReregistration | Poll) -> str:
    """Write the content of an oadrRequestReregistration or oadrPoll."""
    return leaf("ei:venID", message.ven_id)


def oadr_response(message: OadrResponse) -> str:
    """Write the content of an oadrResponse."""
    return f"{response(message.response)}{optional('ei:venID', message.ven_id)}"
