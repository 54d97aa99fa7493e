"""What this VTN says of itself in OpenADR 2.0b, and which VENs it can serve."""

from openadr.model.registration import Mode, Profile, VenProfile, VtnProfile
from openadr.v20b.codes import Code, OpenADRError
from vtn.services.settings import VtnSettings


def vtn_profile(settings: VtnSettings) -> VtnProfile:
    """Return what this VTN says of itself (RG-02, RG-05)."""
    return VtnProfile(settings.vtn_id, poll_freq=settings.poll_period)


def check_profile(profile: VenProfile, *, signs: bool) -> None:
    """Raise OpenADRError 459 unless the VEN speaks 2.0b by HTTP pull, as is served here (RG-04).

    `signs`: whether this VTN can and may sign its messages to this VEN. One that wants signatures would ignore every
    unsigned message (SE-08): better it hears so at once.
    """
    if profile.profile is not Profile.B:
        raise OpenADRError(Code.COMPLIANCE, "This VTN serves profile 2.0b.")
    if profile.mode is not Mode.PULL:
        raise OpenADRError(Code.COMPLIANCE, "This VTN serves simpleHttp in pull mode; set oadrHttpPullModel to true.")
    if profile.xml_signature and not signs:
        raise OpenADRError(Code.COMPLIANCE, "Messages to this VEN are not signed; set oadrXmlSignature to false.")
