"""What this VTN says of itself in OpenADR 2.0b, and which VENs it can serve."""

from openadr.model.registration import Profile, Transport, VenProfile, VtnProfile
from openadr.v20b.codes import Code, OpenADRError
from vtn.services.settings import VtnSettings


def vtn_profile(settings: VtnSettings) -> VtnProfile:
    """Return what this VTN says of itself (RG-02, RG-05)."""
    return VtnProfile(settings.vtn_id, poll_freq=settings.poll_period)


def check_profile(profile: VenProfile) -> None:
    """Raise OpenADRError 459 unless the VEN speaks 2.0b by HTTP pull without signatures, as is served here (RG-04).

    A VEN that wants signatures would ignore every unsigned message (SE-08): better it hears so at once.
    """
    if profile.profile is not Profile.B:
        raise OpenADRError(Code.COMPLIANCE, "This VTN serves profile 2.0b.")
    push = profile.http_pull is False or (profile.http_pull is None and profile.transport_address)
    if profile.transport is not Transport.SIMPLE_HTTP or push:
        raise OpenADRError(Code.COMPLIANCE, "This VTN serves simpleHttp in pull mode; set oadrHttpPullModel to true.")
    if profile.xml_signature:
        raise OpenADRError(Code.COMPLIANCE, "This VTN does not sign messages; set oadrXmlSignature to false.")
