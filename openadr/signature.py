"""The seam for XML signatures (catalogue SE-08..SE-10). Who signs and verifies stands behind these two protocols."""

from typing import Protocol

from lxml.etree import _Element


class Signer(Protocol):
    """Signs what we send."""

    def sign(self, payload: _Element) -> None:
        """Put a ds:Signature over the oadrSignedObject into `payload`, an oadrPayload, as its first child."""


class Verifier(Protocol):
    """Verifies what we receive."""

    def verify(self, payload: _Element) -> None:
        """Return if `payload` is an oadrPayload whose own oadrSignedObject child is covered by a good signature.

        Raises ForbiddenError otherwise: no signature, a bad one, a foreign key, a replay, or a signature over anything
        but that very element. The tree is as parsed, before any repair, and is not yet known to be schema-valid.
        """
