"""Making signatures. What is hashed is what is sent: the message goes out in canonical form (SE-09, SE-10)."""

import hashlib
import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lxml import etree

from core.errors import InvalidError
from openadr.signature.canonical import Canonical, declared
from openadr.signature.keys import algorithm_of, read_pair, sign
from openadr.signature.names import C14N, DS, DSP, OBJECT_ID, RSA_SHA256, SHA256
from openadr.v20b.names import PAYLOAD, SIGNED_OBJECT
from openadr.v20b.writing import instant

_DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_OBJECT: Final = (0, 1)
"""The root, and within it the oadrSignedObject."""
_PROPERTY_ID: Final = "replay-protect"
_SIGNATURE_ID: Final = "signature"
_OWN: Final = {b"ds": DS.encode(), b"dsp": DSP.encode()}
_DECLARED: Final = declared(_OWN).decode()
_SHORT: Final = 1024
_MOST_DRAFTS: Final = 64
_DIGEST: Final = (
    f'<ds:Transforms><ds:Transform Algorithm="{C14N}"></ds:Transform></ds:Transforms>'
    f'<ds:DigestMethod Algorithm="{SHA256}"></ds:DigestMethod>'
)


def new_nonce() -> str:
    """Return a nonce that nobody can guess: 128 random bits."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class _Draft:
    """An unsigned message in canonical form, taken apart where the signature goes.

    `scope` are the namespaces that are declared around what is signed, `reference` is that to the message's object.
    """

    before: bytes
    after: bytes
    scope: str
    reference: str

    @classmethod
    def of(cls, payload: bytes) -> "_Draft":
        root = etree.fromstring(payload)
        name = root[0].get(OBJECT_ID) if len(root) == 1 and root[0].tag == SIGNED_OBJECT else None
        if root.tag != PAYLOAD or not name or not name.isascii():
            raise InvalidError("Only an oadrPayload whose oadrSignedObject has an Id is signed.")
        canonical = Canonical(root, len(_OBJECT))
        place = canonical.start(_OBJECT[-1])
        return cls(
            before=_DECLARATION + canonical.text[:place],
            after=canonical.text[place:],
            scope=declared({**canonical.scope(_OBJECT[:1]), **_OWN}).decode(),
            reference=_reference(name, canonical.part(_OBJECT)),
        )


class Signer:
    """Signs messages with a key, and shows its certificate. Both are read once."""

    def __init__(self, key_pem: bytes, cert_pem: bytes) -> None:
        """Take a key without password (RSA, P-256, P-384, P-521) and its certificate. Raises InvalidError."""
        self._key, self.certificate = read_pair(key_pem, cert_pem)
        self.algorithm = algorithm_of(self._key)
        self.is_slow = self.algorithm == RSA_SHA256
        """Whether a signature takes about a millisecond: an event loop has better things to do meanwhile."""
        self._drafts: dict[bytes, _Draft] = {}
        self._key_info = (
            "<ds:KeyInfo><ds:X509Data><ds:X509Certificate>"
            f"{b64encode(self.certificate).decode()}"
            "</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        )

    def sign(self, payload: bytes, now: datetime, nonce: str) -> bytes:
        """Return an unsigned message of ours with a signature, made at `now` (machine time, aware).

        Raises InvalidError unless it is an oadrPayload with nothing but an oadrSignedObject that has an Id.
        """
        draft = self._draft(payload)
        replay_protect = (
            f'<ds:SignatureProperty%s Id="{_PROPERTY_ID}" Target="#{_SIGNATURE_ID}"><dsp:ReplayProtect>'
            f"<dsp:timestamp>{instant(now)}</dsp:timestamp><dsp:nonce>{nonce}</dsp:nonce>"
            "</dsp:ReplayProtect></ds:SignatureProperty>"
        )
        signed_info = (
            f'<ds:SignedInfo%s><ds:CanonicalizationMethod Algorithm="{C14N}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{self.algorithm}"></ds:SignatureMethod>'
            f"{draft.reference}"
            f"{_reference(_PROPERTY_ID, (replay_protect % draft.scope).encode())}</ds:SignedInfo>"
        )
        value = b64encode(sign(self._key, (signed_info % draft.scope).encode())).decode()
        signature = (
            f'<ds:Signature{_DECLARED} Id="{_SIGNATURE_ID}">{signed_info % ""}'
            f"<ds:SignatureValue>{value}</ds:SignatureValue>{self._key_info}"
            f"<ds:Object><ds:SignatureProperties>{replay_protect % ''}</ds:SignatureProperties></ds:Object>"
            "</ds:Signature>"
        )
        return draft.before + signature.encode() + draft.after

    def _draft(self, payload: bytes) -> _Draft:
        """Return a message ready to be signed. Short ones come again and again: a poll, and the answer to it."""
        draft = self._drafts.get(payload)
        if draft is None:
            draft = _Draft.of(payload)
            if len(payload) <= _SHORT:
                if len(self._drafts) >= _MOST_DRAFTS:
                    self._drafts.clear()
                self._drafts[payload] = draft
        return draft


def _reference(name: str, part: bytes) -> str:
    digest = b64encode(hashlib.sha256(part).digest()).decode()
    return f'<ds:Reference URI="#{name}">{_DIGEST}<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>'
