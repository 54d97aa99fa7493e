"""What a signature says once it is verified, and why one is refused."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lxml.etree import _Element

from core.errors import ForbiddenError
from openadr.signature.names import SIGNATURE


class Fault(StrEnum):
    """Why a signature is refused."""

    MISSING = "missing"
    SHAPE = "shape"
    """It is not built as the profile says, or is over something else than the oadrSignedObject."""
    ALGORITHM = "algorithm"
    CERTIFICATE = "certificate"
    """Its certificate is missing, not the peer's, or cannot be used."""
    DIGEST = "digest"
    """What it covers was changed."""
    VALUE = "value"
    """It was not made by the certificate's key."""
    TIME = "time"
    """It was made too long ago, or in the future."""
    REPLAYED = "replayed"


class SignatureError(ForbiddenError):
    """A message whose signature is missing, bad or used before: it is ignored (SE-08)."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(f"XML signature: {text}")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Verified:
    """A good signature: the oadrSignedObject element that it covers, its certificate (DER), method, time and nonce.

    `timestamp` is aware and the sender's machine time. There is no element where the message was read before.
    """

    signed_object: _Element | None = field(repr=False, compare=False)
    certificate: bytes = field(repr=False)
    method: str
    timestamp: datetime
    nonce: str


def is_signed(payload: _Element) -> bool:
    """Return whether there is a signature anywhere in a message, be it good or bad, and where it belongs or not."""
    return next(payload.iter(SIGNATURE), None) is not None
