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


class Mode(StrEnum):
    """How messages reach a VEN."""

    PULL = "pull"
    """It asks for them."""
    PUSH = "push"
    """They are sent to its address."""


class SignaturePolicy(StrEnum):
    """What the XML signatures of a VEN's messages mean (SE-08)."""

    REQUIRED = "required"
    """A message without a good one is ignored."""
    WHEN_PRESENT = "when_present"
    """A message with a bad one is ignored."""
    OFF = "off"
    """They are not looked at, and nothing is signed."""


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

    @property
    def mode(self) -> Mode:
        """How messages reach it; one that does not say so is pushed to if it names an address (RG-04)."""
        asks = not self.transport_address if self.http_pull is None else self.http_pull
        return Mode.PULL if asks and self.transport is Transport.SIMPLE_HTTP else Mode.PUSH

    @property
    def push_address(self) -> str | None:
        """Where messages are sent to; None: it asks for them."""
        return self.transport_address if self.mode is Mode.PUSH else None


@dataclass(frozen=True, slots=True)
class VtnProfile:
    """What a VTN says of itself (RG-02, RG-05): profiles with their transports, and the poll frequency it wants."""

    vtn_id: str
    profiles: tuple[tuple[Profile, tuple[Transport, ...]], ...] = ((Profile.B, (Transport.SIMPLE_HTTP,)),)
    poll_freq: Duration | None = None
