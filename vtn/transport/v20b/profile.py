"""What this VTN says of itself in OpenADR 2.0b, and which VENs it can serve."""

from typing import Final

from openadr.model.registration import Mode, Profile, Transport, VenProfile, VtnProfile
from openadr.v20b.codes import Code, OpenADRError
from vtn.services.settings import VtnSettings

_SERVED: Final = ((Profile.B, (Transport.SIMPLE_HTTP,)), (Profile.A, (Transport.SIMPLE_HTTP,)))


def vtn_profile(settings: VtnSettings) -> VtnProfile:
    """Return what this VTN says of itself (RG-02, RG-05)."""
    return VtnProfile(settings.vtn_id, _SERVED, settings.poll_period)


def check_profile(profile: VenProfile, *, signs: bool) -> None:
    """Raise OpenADRError 459 unless the VEN speaks 2.0b by HTTP pull, as is served here (RG-04).

    `signs`: whether this VTN can and may sign its messages to this VEN. One that wants signatures would ignore every
    unsigned message (SE-08): better it hears so at once.
    """
    if profile.profile is not Profile.B:
        raise OpenADRError(Code.COMPLIANCE, "A VEN registers with profile 2.0b; by 2.0a it only asks for events.")
    if profile.mode is not Mode.PULL:
        raise OpenADRError(Code.COMPLIANCE, "This VTN serves simpleHttp in pull mode; set oadrHttpPullModel to true.")
    if profile.xml_signature and not signs:
        raise OpenADRError(Code.COMPLIANCE, "Messages to this VEN are not signed; set oadrXmlSignature to false.")
