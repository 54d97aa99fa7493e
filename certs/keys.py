"""Keys and signing requests: RSA and elliptic curve, at least as strong as OpenADR asks (catalogue SE-02)."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from certs.files import read_text
from certs.kinds import KeyType
from core.errors import InvalidError
from openadr.fingerprint import fingerprint

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_RSA_BITS = range(2048, 8193)  # larger ones only cost us time
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
STRONG_HASHES = frozenset({"sha256", "sha384", "sha512"})
_MAX_REQUEST = 32_768
MAX_NAME = 64
"""Longest common name (RFC 5280, ub-common-name)."""


def new_key(key_type: KeyType | str = KeyType.EC, *, rsa_bits: int = 2048) -> PrivateKey:
    """Make a key: P-256, or RSA of `rsa_bits`. Raises InvalidError for other types."""
    try:
        kind = KeyType(key_type)
    except ValueError as error:
        raise InvalidError(f"'{key_type}' is no key type; use ec or rsa.") from error
    if kind is KeyType.EC:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)


def key_to_pem(key: PrivateKey) -> str:
    """Return a private key as unencrypted PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def key_from_pem(pem: str, where: str) -> PrivateKey:
    """Read a private key. Raises InvalidError, naming `where` it came from."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidError(f"{where} holds no private key in PEM without password.") from error
    if not isinstance(key, PrivateKey):
        raise InvalidError(f"{where}: use an RSA or an elliptic-curve key.")
    return key


def key_type_of_file(path: Path) -> KeyType:
    """Return the kind of a private key in a PEM file. Raises NotFoundError, InvalidError."""
    key = key_from_pem(read_text(path, "Enrol again."), str(path))
    return KeyType.RSA if isinstance(key, rsa.RSAPrivateKey) else KeyType.EC


def public_pem(key: PublicKey) -> bytes:
    """Return a public key in a form that can be compared."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def common_name(name: str) -> x509.Name:
    """Return a subject with that common name. Raises InvalidError unless it is printable and has 1 to 64 bytes."""
    if not (0 < len(name.encode("utf-8", "replace")) <= MAX_NAME and name.isprintable() and name.strip() == name):
        raise InvalidError(
            f"'{name[:MAX_NAME]}' cannot be a certificate's name: 1 to {MAX_NAME} printable characters, fewer where "
            "they are no plain letters."
        )
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says of itself: as DER, its fingerprint (SE-06), its serial in lower-case hex, aware UTC."""

    der: bytes = field(repr=False)
    fingerprint: str
    serial: str
    not_before: datetime
    not_after: datetime


def read_certificate(pem: str) -> Facts:
    """Read the first certificate of a PEM text. Raises InvalidError."""
    try:
        certificate = x509.load_pem_x509_certificates(pem.encode())[0]
    except ValueError as error:
        text = "The certificate is no PEM text: from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
        raise InvalidError(text) from error
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Facts(
        der,
        fingerprint(der),
        f"{certificate.serial_number:x}",
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def new_request(key: PrivateKey, name: str) -> str:
    """Return a signing request for a key, PEM, SHA-256."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(common_name(name))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode("ascii")


def key_of_request(pem: str) -> PublicKey:
    """Return the public key of a signing request, proven by its signature and strong enough.

    Nothing else of the request is trusted. Raises InvalidError.
    """
    if len(pem) > _MAX_REQUEST:
        raise InvalidError("The signing request is too large.")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = checked_strength(request.public_key())
        used = request.signature_hash_algorithm
        genuine = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidError("This is no signing request (CSR) in PEM.") from error
    if used is None or used.name not in STRONG_HASHES:
        raise InvalidError("The signing request is not signed with SHA-256 or better.")
    if not genuine:
        raise InvalidError("The signing request's signature does not fit its key.")
    return key


def checked_strength(key: object) -> PublicKey:
    """Return the key if it is RSA from 2048 bit or a NIST curve from 256 bit; raises InvalidError otherwise."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in _RSA_BITS:
            raise InvalidError(f"An RSA key of {key.key_size} bit: use 2048 to 8192.")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise InvalidError(f"The curve {key.curve.name} is not accepted: use P-256, P-384 or P-521.")
        return key
    raise InvalidError("Use an RSA or an elliptic-curve key.")


def leads_to(leaf: x509.Certificate, between: list[x509.Certificate], roots: list[x509.Certificate]) -> bool:
    """Tell whether a certificate comes from one of some roots, perhaps through others, by signatures alone."""
    current = leaf
    for _ in range(len(between) + 1):
        if any(_issued(current, root) for root in roots):
            return True
        following = next((one for one in between if one != current and _issued(current, one)), None)
        if following is None:
            return False
        current = following
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
