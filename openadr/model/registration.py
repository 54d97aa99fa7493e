"""Registration: what a VEN says of itself and what a VTN answers."""

from dataclasses import dataclass
from enum import StrEnum

from core.spans import Duration


class Profile(StrEnum):
    """OpenADR profiles."""

    A = "2.0a"
    B = "2.0b"


class Transport(StrEnum):
    """OpenADR transports."""

    SIMPLE_HTTP = "simpleHttp"
    XMPP = "xmpp"


@dataclass(frozen=True, slots=True)
class VenProfile:
    """What a VEN says of itself when it registers (RG-04)."""

    profile: Profile = Profile.B
    transport: Transport = Transport.SIMPLE_HTTP
    transport_address: str | None = None
    report_only: bool = False
    xml_signature: bool = False
    ven_name: str | None = None
    http_pull: bool | None = True


@dataclass(frozen=True, slots=True)
class VtnProfile:
    """What a VTN says of itself (RG-02, RG-05): profiles with their transports, and the poll frequency it wants."""

    vtn_id: str
    profiles: tuple[tuple[Profile, tuple[Transport, ...]], ...] = ((Profile.B, (Transport.SIMPLE_HTTP,)),)
    poll_freq: Duration | None = None
