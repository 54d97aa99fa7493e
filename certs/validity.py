"""From when until when a certificate is valid, read without the libraries that signing needs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certs.files import read_text
from core.errors import InvalidError
from openadr.fingerprint import der_of_pem

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0
_BEFORE_VALIDITY = 3
"""Serial number, signature algorithm, issuer (RFC 5280, 4.1)."""
_FAULT = "The certificate cannot be read."


@dataclass(frozen=True, slots=True)
class Validity:
    """The span of a certificate, aware UTC."""

    start: datetime
    end: datetime

    @property
    def renew_at(self) -> datetime:
        """When it should be replaced: after two thirds of its life."""
        return self.start + (self.end - self.start) * 2 / 3

    @property
    def life(self) -> timedelta:
        """How long it is valid in all."""
        return self.end - self.start


def validity_of_file(path: Path) -> Validity:
    """Return the span of the first certificate of a PEM file. Raises NotFoundError, UnavailableError, InvalidError."""
    return validity_of_pem(read_text(path, "Restore it, or issue another one."))


def validity_of_pem(pem: str) -> Validity:
    """Return the span of the first certificate of a PEM text. Raises InvalidError."""
    der = der_of_pem(pem.encode())
    try:
        certificate = _inside(der, _SEQUENCE)
        fields = _fields(_inside(certificate, _SEQUENCE))
        if fields[0][0] == _VERSION:
            del fields[0]
        times = _fields(fields[_BEFORE_VALIDITY][1])
        return Validity(*(_time(tag, value) for tag, value in times[:2]))
    except (IndexError, ValueError, TypeError) as error:
        raise InvalidError(_FAULT) from error


def _inside(der: bytes, tag: int) -> bytes:
    found, value, _ = _field(der)
    if found != tag:
        raise ValueError(found)
    return value


def _fields(der: bytes) -> list[tuple[int, bytes]]:
    found = []
    while der:
        tag, value, der = _field(der)
        found.append((tag, value))
    return found


def _field(der: bytes) -> tuple[int, bytes, bytes]:
    """Return tag and value of the first field (DER, definite length), and what follows it."""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[2 : 2 + size]), 2 + size
    if start + length > len(der):
        raise ValueError(length)
    return tag, der[start : start + length], der[start + length :]


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # years from 1950 to 2049 (RFC 5280, 4.1.2.5.1)
        text = ("20" if int(text[:2]) < 50 else "19") + text  # noqa: PLR2004
    elif tag != _GENERALIZED_TIME:
        raise ValueError(tag)
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
