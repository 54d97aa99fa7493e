"""An authority's key and certificate, and what they sign.

Needs `cryptography`, some 10 MB of memory: a server loads this module only when something has to be signed.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.keys import (
    MAX_NAME,
    PrivateKey,
    PublicKey,
    checked_strength,
    common_name,
    key_from_pem,
    key_of_request,
    key_to_pem,
    new_key,
    public_pem,
)
from certs.kinds import KeyType, Kind
from certs.register import Record
from core.errors import ConflictError, InvalidError
from openadr.fingerprint import fingerprint

_SKEW: Final = timedelta(minutes=5)
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


class Root:
    """A self-signed root: its private key and its certificate."""

    def __init__(self, key: PrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def make(cls, name: str, key_type: KeyType | str, now: datetime, lifetime: timedelta) -> "Root":
        """Make a key and sign its certificate."""
        key = new_key(key_type, rsa_bits=3072)
        builder = _builder(common_name(name), key.public_key(), now - _SKEW, now + lifetime)
        builder = builder.issuer_name(common_name(name)).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        return cls(key, builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256()))

    @classmethod
    def read(cls, key_pem: str, pem: str, where: str) -> "Root":
        """Read what was made before. Raises InvalidError, naming `where` it came from."""
        key = key_from_pem(key_pem, where)
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
        except ValueError as error:
            raise InvalidError(f"{where}: the certificate is no PEM; restore it from a backup.") from error
        if public_pem(checked_strength(certificate.public_key())) != public_pem(key.public_key()):
            raise InvalidError(f"{where}: key and certificate do not belong together; restore both from one backup.")
        return cls(key, certificate)

    @property
    def key_pem(self) -> str:
        """The private key."""
        return key_to_pem(self._key)

    @property
    def pem(self) -> str:
        """The certificate: what peers must trust."""
        return _pem(self._certificate)

    @property
    def not_after(self) -> datetime:
        """When it expires."""
        return self._certificate.not_valid_after_utc

    def sign_server(
        self, names: Sequence[str], key_type: KeyType | str, now: datetime, lifetime: timedelta, kind: Kind
    ) -> tuple[Record, str]:
        """Return a certificate for a server (or VTN) of those names and addresses, and its new key (PEM)."""
        alternatives = _alternatives(names)
        key = new_key(key_type)
        return self._sign(names[0], kind, key.public_key(), now, lifetime, alternatives), key_to_pem(key)

    def sign_client(self, name: str, key_type: KeyType | str, now: datetime, lifetime: timedelta) -> tuple[Record, str]:
        """Return a certificate for a client, and its new key (PEM)."""
        key = new_key(key_type)
        return self._sign(name, Kind.CLIENT, key.public_key(), now, lifetime), key_to_pem(key)

    def sign_request(self, csr_pem: str, name: str, now: datetime, lifetime: timedelta) -> Record:
        """Return a certificate for a client whose key is in a signing request. Raises InvalidError."""
        return self._sign(name, Kind.CLIENT, key_of_request(csr_pem), now, lifetime)

    def sign_again(self, old: Record, csr_pem: str | None, now: datetime, lifetime: timedelta) -> Record:
        """Return a certificate like an old one, for its key or for that of a signing request."""
        certificate = x509.load_pem_x509_certificate(old.pem.encode())
        key = checked_strength(certificate.public_key()) if csr_pem is None else key_of_request(csr_pem)
        alternatives = None
        if old.kind != Kind.CLIENT:
            alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return self._sign(old.name, Kind(old.kind), key, now, lifetime, alternatives)

    def _sign(
        self,
        name: str,
        kind: Kind,
        public_key: PublicKey,
        now: datetime,
        lifetime: timedelta,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> Record:
        """Return a new certificate, which nobody has yet; it does not outlive the root. Raises ConflictError."""
        if now >= self.not_after:
            raise ConflictError(f"The authority expired on {self.not_after:%Y-%m-%d}; make a new one and enrol again.")
        end = min(now + lifetime, self.not_after)
        subject = common_name(name if kind is Kind.CLIENT else name.encode()[:MAX_NAME].decode(errors="ignore").strip())
        builder = _builder(subject, public_key, max(now - _SKEW, self._certificate.not_valid_before_utc), end)
        builder = builder.issuer_name(self._certificate.subject).add_extension(self._identifier(), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        usage, purpose = _purpose(kind, public_key)
        builder = builder.add_extension(usage, critical=True).add_extension(purpose, critical=False)
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Record(
            serial=f"{certificate.serial_number:x}",
            fingerprint=fingerprint(certificate.public_bytes(serialization.Encoding.DER)),
            name=name,
            kind=kind,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            pem=_pem(certificate),
        )

    def sign_list(self, records: Iterable[Record], now: datetime, lifetime: timedelta) -> str:
        """Return the list of those that were revoked and have not ended, PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._certificate.subject)
        builder = builder.last_update(now - _SKEW).next_update(now + lifetime)
        builder = builder.add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        builder = builder.add_extension(self._identifier(), critical=False)
        for record in records:
            if record.revoked_at is not None and record.not_after > now:
                builder = builder.add_revoked_certificate(_revoked(record, record.revoked_at))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode("ascii")

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _builder(subject: x509.Name, key: PublicKey, start: datetime, end: datetime) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _purpose(kind: Kind, key: PublicKey) -> tuple[x509.KeyUsage, x509.ExtendedKeyUsage]:
    if kind is Kind.CLIENT:
        return _key_usage(digital_signature=True), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    # The suite AES128-SHA256 (SE-01) has the client encrypt to the server's RSA key.
    usage = _key_usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPublicKey))
    also = [ExtendedKeyUsageOID.CLIENT_AUTH] if kind is Kind.VTN else []
    return usage, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, *also])


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    if not names:
        raise InvalidError("A server certificate needs at least one host name or IP address.")
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if not _DNS_NAME.fullmatch(name):
                raise InvalidError(f"'{name[:80]}' is neither a DNS name nor an IP address.") from None
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


def _revoked(record: Record, at: datetime) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(int(record.serial, 16)).revocation_date(at)
    reason = x509.ReasonFlags(record.reason or "unspecified")
    if reason is not x509.ReasonFlags.unspecified:  # RFC 5280 wants the reason left out then
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
