"""What this VTN says of itself in OpenADR 2.0b, and which VENs it can serve."""

from typing import Final

from core.errors import InvalidError
from openadr.model.registration import Mode, Profile, Transport, VenProfile, VtnProfile
from openadr.v20b.codes import Code, OpenADRError
from vtn.services.settings import VtnSettings
from vtn.transport.v20b.push_address import Addresses

_SERVED: Final = ((Profile.B, (Transport.SIMPLE_HTTP,)), (Profile.A, (Transport.SIMPLE_HTTP,)))


def vtn_profile(settings: VtnSettings) -> VtnProfile:
    """Return what this VTN says of itself (RG-02, RG-05)."""
    return VtnProfile(settings.vtn_id, _SERVED, settings.poll_period)


def check_profile(profile: VenProfile, *, signs: bool, addresses: Addresses | None = None) -> None:
    """Raise OpenADRError 459 unless the VEN speaks 2.0b by HTTP, and can be reached as it says (RG-04).

    `signs`: whether this VTN can and may sign its messages to this VEN. One that wants signatures would ignore every
    unsigned message (SE-08): better it hears so at once. `addresses`: those it pushes to; None: it does not push.
    """
    if profile.profile is not Profile.B:
        raise OpenADRError(Code.COMPLIANCE, "A VEN registers with profile 2.0b; by 2.0a it only asks for events.")
    if profile.transport is not Transport.SIMPLE_HTTP:
        raise OpenADRError(Code.COMPLIANCE, "This VTN serves simpleHttp only.")
    if profile.mode is Mode.PUSH:
        _check_address(profile.push_address, addresses)
    if profile.xml_signature and not signs:
        raise OpenADRError(Code.COMPLIANCE, "Messages to this VEN are not signed; set oadrXmlSignature to false.")


def _check_address(address: str | None, addresses: Addresses | None) -> None:
    if addresses is None:
        raise OpenADRError(Code.COMPLIANCE, "This VTN does not push; set oadrHttpPullModel to true.")
    if not address:
        raise OpenADRError(Code.COMPLIANCE, "A VEN in push mode says its address in oadrTransportAddress.")
    try:
        addresses.check(address)
    except InvalidError as error:
        raise OpenADRError(Code.COMPLIANCE, f"oadrTransportAddress: {error}") from error
