"""How the kit reads a signature that another made: where it stands, what it covers, and whether it is good.

Everything raises ValueError, which says what is wrong. Whose the certificate is, is not asked here.
"""

import hashlib
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from conformance.judge import Document
from conformance.signing import C14N, ECDSA_SHA256, OBJECT_ID, RSA_SHA256, WITH_COMMENTS, canonical_text, identified
from conformance.templates import NAMESPACES

_SHA1: Final = "http://www.w3.org/2000/09/xmldsig#sha1"
_DIGESTS: Final[Mapping[str, str]] = MappingProxyType(
    {"http://www.w3.org/2001/04/xmlenc#sha256": "sha256", _SHA1: "sha1"}
)
_METHODS: Final[Mapping[str, tuple[type, hashes.HashAlgorithm]]] = MappingProxyType(
    {
        RSA_SHA256: (rsa.RSAPublicKey, hashes.SHA256()),
        ECDSA_SHA256: (ec.EllipticCurvePublicKey, hashes.SHA256()),
        "http://www.w3.org/2000/09/xmldsig#rsa-sha1": (rsa.RSAPublicKey, hashes.SHA1()),  # noqa: S303  noted (SE-09)
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1": (ec.EllipticCurvePublicKey, hashes.SHA1()),  # noqa: S303
    }
)
"""What a SignatureMethod may be: the kind of key, and the hash."""
_C14NS: Final = (C14N, WITH_COMMENTS)


@dataclass(frozen=True, slots=True)
class Protection:
    """What a ReplayProtect says."""

    at: datetime
    nonce: str


def is_signed(document: Document) -> bool:
    """Whether a message has a signature anywhere, be it good or bad."""
    return next(document.root.iter(f"{{{NAMESPACES['ds']}}}Signature"), None) is not None


def verified(document: Document) -> bool:
    """Verify the signature of a message (SE-09); return whether it uses SHA-1, which is noted and no fault."""
    signature, signed_object = _shape(document.root)
    signed_info = _only(signature, "ds:SignedInfo")
    references = signed_info.findall("ds:Reference", NAMESPACES)
    covered = {reference.get("URI") for reference in references}
    if f"#{signed_object.get(OBJECT_ID)}" not in covered:
        raise ValueError("no Reference names the Id of the oadrSignedObject")
    digests = [_digest(document.root, reference) for reference in references]
    canonical = _algorithm(signed_info, "ds:CanonicalizationMethod", _C14NS)
    method = _algorithm(signed_info, "ds:SignatureMethod", tuple(_METHODS))
    certificate = _certificate(signature)
    value = _bytes(_only(signature, "ds:SignatureValue"))
    _genuine(certificate, method, value, canonical_text(signed_info, with_comments=canonical == WITH_COMMENTS))
    return _SHA1 in digests or isinstance(_METHODS[method][1], hashes.SHA1)


def protection(document: Document) -> Protection:
    """Return the time and the nonce of a signature, which it has to cover itself (SE-10)."""
    path = "ds:Signature/ds:Object/ds:SignatureProperties/ds:SignatureProperty/dsp:ReplayProtect"
    holder = document.root.find(path, NAMESPACES)
    if holder is None:
        raise ValueError("no SignatureProperty holds a ReplayProtect")
    names = {f"#{element.get('Id')}" for element in (holder, *holder.iterancestors()) if element.get("Id")}
    references = document.root.findall("ds:Signature/ds:SignedInfo/ds:Reference", NAMESPACES)
    if not names & {reference.get("URI") for reference in references}:
        raise ValueError("no Reference covers the ReplayProtect")
    stamp = holder.findtext("dsp:timestamp", "", NAMESPACES).strip()
    nonce = holder.findtext("dsp:nonce", "", NAMESPACES).strip()
    if not nonce:
        raise ValueError("the ReplayProtect has no nonce")
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        raise ValueError(f"the ReplayProtect has the timestamp '{stamp}'") from None
    return Protection(at.replace(tzinfo=at.tzinfo or UTC), nonce)


def _shape(root: Any) -> tuple[Any, Any]:
    signatures = list(root.iter(f"{{{NAMESPACES['ds']}}}Signature"))
    if not signatures:
        raise ValueError("it is not signed")
    signed_objects = root.findall("oadr:oadrSignedObject", NAMESPACES)
    if len(signatures) != 1 or signatures[0].getparent() is not root or len(signed_objects) != 1:
        raise ValueError("the signature is not the one sibling of the oadrSignedObject")
    if not signed_objects[0].get(OBJECT_ID):
        raise ValueError("the oadrSignedObject has no oadr:Id")
    return signatures[0], signed_objects[0]


def _digest(root: Any, reference: Any) -> str:
    """Hold a Reference against what it names; return its DigestMethod."""
    uri = str(reference.get("URI"))
    parts = identified(root, uri.removeprefix("#")) if uri.startswith("#") else []
    if len(parts) != 1:
        raise ValueError(f"the Reference '{uri}' names {len(parts)} elements")
    for transform in reference.findall("ds:Transforms/ds:Transform", NAMESPACES):
        if transform.get("Algorithm") not in _C14NS:
            raise ValueError(f"the Transform {transform.get('Algorithm')}")
    method = _algorithm(reference, "ds:DigestMethod", tuple(_DIGESTS))
    actual = hashlib.new(_DIGESTS[method], canonical_text(parts[0])).digest()  # an Id leaves comments out
    if actual != _bytes(_only(reference, "ds:DigestValue")):
        raise ValueError(f"'{uri}' is not what was signed: its digest is another one")
    return method


def _certificate(signature: Any) -> x509.Certificate:
    shown = signature.find("ds:KeyInfo/ds:X509Data/ds:X509Certificate", NAMESPACES)
    if shown is None:
        raise ValueError("KeyInfo has no X509Certificate")
    return x509.load_der_x509_certificate(_bytes(shown))


def _genuine(certificate: x509.Certificate, method: str, value: bytes, signed_info: bytes) -> None:
    kind, used = _METHODS[method]
    try:
        key = certificate.public_key()
        if not isinstance(key, kind):
            raise ValueError(f"the key of its certificate does not sign by {method}")  # noqa: TRY004  as all here
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, signed_info, padding.PKCS1v15(), used)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            half = len(value) // 2
            pair = int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big")
            key.verify(encode_dss_signature(*pair), signed_info, ec.ECDSA(used))
    except (InvalidSignature, UnsupportedAlgorithm):
        raise ValueError("the SignatureValue was not made by the key of its certificate") from None


def _algorithm(parent: Any, path: str, accepted: tuple[str, ...]) -> str:
    name = str(_only(parent, path).get("Algorithm"))
    if name not in accepted:
        raise ValueError(f"the {path.removeprefix('ds:')} {name}")
    return name


def _only(parent: Any, path: str) -> Any:
    elements = parent.findall(path, NAMESPACES)
    if len(elements) != 1:
        raise ValueError(f"it has {len(elements)} {path.removeprefix('ds:')}")
    return elements[0]


def _bytes(element: Any) -> bytes:
    try:
        return b64decode("".join((element.text or "").split()), validate=True)
    except ValueError as error:
        raise ValueError(f"a {element.tag.rpartition('}')[2]} is no Base64") from error
