"""The certificate fingerprint by which VTN and VEN know each other (catalogue SE-06)."""

import binascii
import hashlib
import ssl

from core.errors import InvalidError

_LENGTH = 10


def fingerprint(der: bytes) -> str:
    """Return the last 10 bytes of the SHA-256 of a DER certificate, as `AA:BB:...` (29 characters)."""
    return hashlib.sha256(der).digest()[-_LENGTH:].hex(":").upper()


def fingerprint_of_pem(pem: bytes) -> str:
    """Return the fingerprint of the first certificate in a PEM text. Raises InvalidError if there is none."""
    return fingerprint(der_of_pem(pem))


def sha256_of_pem(pem: bytes) -> str:
    """Return the whole SHA-256 of the first certificate in a PEM text, as openssl prints it. Raises InvalidError."""
    return hashlib.sha256(der_of_pem(pem)).digest().hex(":").upper()


def der_of_pem(pem: bytes) -> bytes:
    """Return the first certificate in a PEM text as DER. Raises InvalidError if there is none."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    text = pem.decode("ascii", errors="replace")
    start = text.find(begin)
    stop = text.find(end, start)
    if start < 0 or stop < 0:
        raise InvalidError("This is no PEM certificate: it needs a BEGIN CERTIFICATE and an END CERTIFICATE line.")
    try:
        return ssl.PEM_cert_to_DER_cert(text[start : stop + len(end)] + "\n")
    except (binascii.Error, ValueError) as error:
        raise InvalidError(f"This PEM certificate is damaged: {error}") from error
