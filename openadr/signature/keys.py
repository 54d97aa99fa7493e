"""Keys that sign messages: RSA and the NIST curves, always with SHA-256 (SE-09)."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from core.errors import InvalidError
from openadr.signature.names import ECDSA_SHA256, RSA_SHA256

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_RSA_BITS: Final = range(2048, 8193)
_NUMBER_BYTES: Final[Mapping[str, int]] = {"secp256r1": 32, "secp384r1": 48, "secp521r1": 66}
"""How long each of the two numbers of an ECDSA signature is written, by curve."""
_MOST_EXPONENT: Final = 2**32
_ECDSA: Final = ec.ECDSA(SHA256())
_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()


def algorithm_of(key: PublicKey | PrivateKey) -> str:
    """Return the signature method of a key."""
    return RSA_SHA256 if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey) else ECDSA_SHA256


def sign(key: PrivateKey, text: bytes) -> bytes:
    """Return the value of a signature as XML carries it: of ECDSA the two numbers, one behind the other."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(text, _PADDING, _HASH)
    r, s = decode_dss_signature(key.sign(text, _ECDSA))
    length = _NUMBER_BYTES[key.curve.name]
    return r.to_bytes(length) + s.to_bytes(length)


def is_genuine(key: PublicKey, value: bytes, text: bytes) -> bool:
    """Return whether a value, as XML carries it, is the key's signature of a text."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, text, _PADDING, _HASH)
            return True
        length = _NUMBER_BYTES[key.curve.name]
        if len(value) != 2 * length:
            return False
        der = encode_dss_signature(int.from_bytes(value[:length]), int.from_bytes(value[length:]))
        key.verify(der, text, _ECDSA)
    except InvalidSignature:
        return False
    return True


def read_certificate(der: bytes) -> tuple[PublicKey, x509.Certificate]:
    """Return the key of a certificate, RSA from 2048 bit or P-256, P-384, P-521. Raises InvalidError (SE-02)."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        return _strong(certificate.public_key()), certificate
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidError("The certificate cannot be read.") from error


def read_pair(key_pem: bytes, cert_pem: bytes) -> tuple[PrivateKey, bytes]:
    """Return a private key and its certificate, the first of a PEM text, as DER.

    Raises InvalidError if either cannot be read or used, or they do not belong together.
    """
    try:
        key = load_pem_private_key(key_pem, None)
        certificate = x509.load_pem_x509_certificates(cert_pem)[0]
        public = _strong(certificate.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidError("This is no PEM private key without password, and its certificate.") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or key.public_key() != public:
        raise InvalidError("The key and the certificate do not belong together.")
    return key, certificate.public_bytes(Encoding.DER)


def _strong(key: object) -> PublicKey:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size in _RSA_BITS and key.public_numbers().e < _MOST_EXPONENT:
            return key
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _NUMBER_BYTES:
        return key
    raise InvalidError("Signatures need an RSA key from 2048 to 8192 bit, or one of P-256, P-384, P-521.")
