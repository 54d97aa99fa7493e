"""Whether a certificate is one that a server could show us by TLS: for what a server signs outside of it."""

import ipaddress
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.keys import STRONG_HASHES, checked_strength, leads_to
from core.clock import machine_now
from core.errors import InvalidError

_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
_MOST_BYTES: Final = 16 * 1024
_MOST_ANSWERS: Final = 64


class ServerTrust:
    """The servers of an authority that may be called by one name. What was found of a certificate is kept."""

    def __init__(self, ca_pem: bytes, host: str | None, now: Callable[[], datetime] = machine_now) -> None:
        """`host` is the name or address by which the server is called; None: its name does not matter.

        Raises InvalidError if `ca_pem` holds no certificates.
        """
        try:
            self._roots = x509.load_pem_x509_certificates(ca_pem)
        except ValueError as error:
            raise InvalidError("The authority's file holds no PEM certificate.") from error
        self._host = None if host is None else host.lower().strip("[]").rstrip(".")
        self._now = now
        self._answers: dict[bytes, x509.Certificate | None] = {}

    def accepts(self, der: bytes) -> bool:
        """Return whether a certificate (DER) comes from the authority, is for servers of that name, and valid now."""
        if der not in self._answers:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[der] = self._read(der)
        certificate = self._answers[der]
        return certificate is not None and (
            certificate.not_valid_before_utc <= self._now() < certificate.not_valid_after_utc
        )

    def _read(self, der: bytes) -> x509.Certificate | None:
        if len(der) > _MOST_BYTES:
            return None
        try:
            certificate = x509.load_der_x509_certificate(der)
            checked_strength(certificate.public_key())
            used = certificate.signature_hash_algorithm
            extensions = certificate.extensions
            names = [each.value for each in extensions if isinstance(each.value, x509.SubjectAlternativeName)]
            is_server = _is_server(extensions)
        except (
            ValueError,
            TypeError,
            InvalidError,
            UnsupportedAlgorithm,
            x509.InvalidVersion,
            x509.DuplicateExtension,
        ):
            return None
        named = self._host is None or any(_names(each, self._host) for each in names)
        strong = used is None or used.name in STRONG_HASHES
        return certificate if is_server and named and strong and leads_to(certificate, [], self._roots) else None


def _is_server(extensions: x509.Extensions) -> bool:
    for extension in extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True):
                return False
            case x509.ExtendedKeyUsage() as purposes if not _PURPOSES.intersection(purposes):
                return False
            case x509.KeyUsage() as usage if not usage.digital_signature:
                return False
    return True


def _names(alternatives: x509.SubjectAlternativeName, host: str) -> bool:
    """Return whether a certificate's names hold a host; `*.example.com` stands for one label (RFC 6125)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        names = {name.lower().rstrip(".") for name in alternatives.get_values_for_type(x509.DNSName)}
        return host in names or f"*.{host.partition('.')[2]}" in names
    return address in alternatives.get_values_for_type(x509.IPAddress)
