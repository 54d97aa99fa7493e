"""The kit's own XML signatures: sound ones, and such as leave something out (SE-09, SE-10).

A signature is written beside the oadrSignedObject, empty, and filled in where it stands: what is hashed is what is
sent. How a signature is spoiled on purpose is said in `conformance.forgery`, how another's is read in
`conformance.signatures`.
"""

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from conformance.templates import NAMESPACES, Message
from conformance.wire import Credentials
from core.clock import machine_now
from core.errors import InvalidError

C14N: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
WITH_COMMENTS: Final = f"{C14N}#WithComments"
SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
ECDSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
OBJECT_ID: Final = f"{{{NAMESPACES['oadr']}}}Id"
"""The attribute of an oadrSignedObject by which a signature names it."""
OBJECT: Final = "signed"
"""The Id of what we sign."""
PROTECTION: Final = "protection"
"""The Id of the SignatureProperty with the ReplayProtect."""
_SIGNED_OBJECT: Final = "<oadr:oadrSignedObject>"


class Signer:
    """Signs messages with a key, and shows a certificate: that of the key, unless `shows` names another's."""

    def __init__(self, own: Credentials, shows: Credentials | None = None) -> None:
        """Read both. Raises InvalidError for files that cannot be used, and for other keys than RSA and EC."""
        try:
            key = serialization.load_pem_private_key(own.key.read_bytes(), None)
            self._certificate = x509.load_pem_x509_certificate((shows or own).certificate.read_bytes())
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InvalidError(f"Nothing can be signed with {own.key} and {own.certificate}: {error}") from error
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise InvalidError(f"{own.key} is neither an RSA nor an EC key.")
        self.own = own
        self.is_rsa = isinstance(key, rsa.RSAPrivateKey)
        self._key = key

    def sign(
        self,
        message: Message,
        at: datetime | None = None,
        *,
        covers: Sequence[str] = (OBJECT, PROTECTION),
        protected: bool = True,
        canonical: str = C14N,
    ) -> Message:
        """Return a message of the kit with a signature made at a time of this machine's, now unless told otherwise.

        Without `protected` it has no ReplayProtect. `covers` are the Ids of what has a Reference. Raises InvalidError
        for a message that is no XML any more.
        """
        parts = [each for each in covers if protected or each != PROTECTION]
        text = self._empty(parts, canonical) % (_property(at or machine_now()) if protected else "")
        named = _SIGNED_OBJECT.replace(">", f' oadr:Id="{OBJECT}">')
        try:
            root: Any = etree.fromstring(
                message.body.decode().replace(_SIGNED_OBJECT, text + named).encode(), _parser()
            )
        except (etree.XMLSyntaxError, ValueError) as error:
            raise InvalidError(f"{message.name} cannot be signed: {error}") from error
        for reference in root.iterfind("ds:Signature/ds:SignedInfo/ds:Reference", NAMESPACES):
            (part,) = identified(root, str(reference.get("URI")).removeprefix("#"))
            digest = hashlib.sha256(canonical_text(part)).digest()
            reference.find("ds:DigestValue", NAMESPACES).text = b64encode(digest).decode()
        signed_info = root.find("ds:Signature/ds:SignedInfo", NAMESPACES)
        value = self._value(canonical_text(signed_info, with_comments=canonical == WITH_COMMENTS))
        root.find("ds:Signature/ds:SignatureValue", NAMESPACES).text = b64encode(value).decode()
        return replace(message, body=serialized(root))

    def _empty(self, parts: Sequence[str], canonical: str) -> str:
        method = RSA_SHA256 if self.is_rsa else ECDSA_SHA256
        references = "".join(
            f'<ds:Reference URI="#{part}"><ds:Transforms><ds:Transform Algorithm="{canonical}"/></ds:Transforms>'
            f'<ds:DigestMethod Algorithm="{SHA256}"/><ds:DigestValue/></ds:Reference>'
            for part in parts
        )
        shown = b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()
        return (
            f'<ds:Signature xmlns:ds="{NAMESPACES["ds"]}" Id="signature"><ds:SignedInfo>'
            f'<ds:CanonicalizationMethod Algorithm="{canonical}"/><ds:SignatureMethod Algorithm="{method}"/>'
            f"{references}</ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo><ds:X509Data>"
            f"<ds:X509Certificate>{shown}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>%s</ds:Signature>"
        )

    def _value(self, signed_info: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(signed_info, padding.PKCS1v15(), hashes.SHA256())
        size = (self._key.curve.key_size + 7) // 8
        pair = decode_dss_signature(self._key.sign(signed_info, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(size, "big") for number in pair)


def _property(at: datetime) -> str:
    """Return the Object with a ReplayProtect; its nonce is new, whatever a run's seed is."""
    stamp = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return (
        f'<ds:Object><ds:SignatureProperties><ds:SignatureProperty Id="{PROTECTION}" Target="#signature">'
        f'<dsp:ReplayProtect xmlns:dsp="{NAMESPACES["dsp"]}"><dsp:timestamp>{stamp}Z</dsp:timestamp>'
        f"<dsp:nonce>{secrets.token_hex(16)}</dsp:nonce></dsp:ReplayProtect></ds:SignatureProperty>"
        "</ds:SignatureProperties></ds:Object>"
    )


def identified(root: Any, name: str) -> list[Any]:
    """Return the elements of a message that have an Id."""
    return [element for element in root.iter("*") if name in (element.get("Id"), element.get(OBJECT_ID))]


def canonical_text(element: Any, *, with_comments: bool = False) -> bytes:
    """Return an element by Canonical XML 1.0, with what is declared around it."""
    return bytes(etree.tostring(element, method="c14n", with_comments=with_comments))


def serialized(root: Any) -> bytes:
    """Return a message as bytes."""
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True)
