"""The certificate authority: one self-signed root in a directory of its own.

    ca-key.pem (0600)   ca.pem   crl.pem   register.db

Machine time rules here: a certificate's validity is for TLS, not for the world of events.
"""

import ipaddress
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.files import is_vacant, make_private_directory, read_text, sync_directory, write_new, write_over
from certs.keys import (
    MAX_NAME,
    KeyType,
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
from certs.register import Record, Register
from core.errors import ConflictError, InvalidError
from openadr.fingerprint import fingerprint

_SKEW = timedelta(minutes=5)
_MAX_DAYS = 36_500
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_KEY, _CA, _CRL, _REGISTER = "ca-key.pem", "ca.pem", "crl.pem", "register.db"
_INIT = "Make an authority with `evenload certs init`, or name its directory with --ca."


class Kind(StrEnum):
    """What a certificate is for."""

    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just issued. `chain_pem`: the certificate (the root is not repeated in it).

    `key_pem` is None where the key was made elsewhere.
    """

    record: Record
    chain_pem: str
    key_pem: str | None = field(default=None, repr=False)


def machine_now() -> datetime:
    """Return the host's own UTC."""
    return datetime.now(UTC)


class Authority:
    """Issues, renews and revokes. Make one with `create` or `load`; safe to use from several threads and processes."""

    def __init__(
        self, directory: Path, key: PrivateKey, certificate: x509.Certificate, now: Callable[[], datetime]
    ) -> None:
        self.directory = directory
        self._key = key
        self._certificate = certificate
        self._now = now
        self._register = Register(directory / _REGISTER)

    @classmethod
    def create(
        cls,
        directory: Path,
        name: str,
        *,
        key_type: KeyType | str = KeyType.EC,
        days: int = 3650,
        now: Callable[[], datetime] = machine_now,
    ) -> "Authority":
        """Make a new authority in a directory that does not exist yet or is empty (0700; the key 0600).

        Raises ConflictError if anything is there: a root key is never overwritten. A half-made one leaves nothing.
        """
        directory = directory.resolve()
        if not is_vacant(directory):
            raise ConflictError(f"{directory} is not empty; a new authority needs a directory of its own.")
        key = new_key(key_type, rsa_bits=3072)
        start = now() - _SKEW
        builder = _builder(common_name(name), key.public_key(), start, now() + _lifetime(days))
        builder = builder.issuer_name(common_name(name)).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        certificate = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())
        draft = directory.with_name(f".{directory.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        make_private_directory(draft)
        try:
            write_new(draft / _KEY, key_to_pem(key))
            write_new(draft / _CA, _pem(certificate))
            cls(draft, key, certificate, now).write_crl()
            try:
                draft.rename(directory)
            except OSError as error:
                raise ConflictError(f"{directory} was taken in the meantime.") from error
            sync_directory(directory.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return cls(directory, key, certificate, now)

    @classmethod
    def load(cls, directory: Path, *, now: Callable[[], datetime] = machine_now) -> "Authority":
        """Open an existing authority. Raises NotFoundError if there is none, InvalidError if it is damaged."""
        key = key_from_pem(read_text(directory / _KEY, _INIT), str(directory / _KEY))
        try:
            certificate = x509.load_pem_x509_certificate(read_text(directory / _CA, _INIT).encode())
        except ValueError as error:
            raise InvalidError(f"{directory / _CA} is no PEM certificate; restore it from a backup.") from error
        if public_pem(checked_strength(certificate.public_key())) != public_pem(key.public_key()):
            raise InvalidError(f"{directory}: {_KEY} and {_CA} do not belong together; restore both from one backup.")
        return cls(directory, key, certificate, now)

    @property
    def ca_pem(self) -> str:
        """The root certificate: what peers must trust."""
        return _pem(self._certificate)

    @property
    def not_after(self) -> datetime:
        """When the root itself expires; nothing that it issues lives longer."""
        return self._certificate.not_valid_after_utc

    def issue_server(self, names: Sequence[str], *, key_type: KeyType | str = KeyType.EC, days: int = 365) -> Issued:
        """Issue a key and certificate for a server known by DNS names and IP addresses; the first names it."""
        alternatives = _alternatives(names)
        key = new_key(key_type)
        return self._issue(names[0], Kind.SERVER, key.public_key(), days, key=key, alternatives=alternatives)

    def issue_client(self, name: str, *, key_type: KeyType | str = KeyType.EC, days: int = 365) -> Issued:
        """Issue a key and certificate for a client (a VEN) that cannot make its own key."""
        key = new_key(key_type)
        return self._issue(name, Kind.CLIENT, key.public_key(), days, key=key)

    def sign_request(self, csr_pem: str, common_name: str, *, days: int = 365) -> Issued:
        """Issue a client certificate for the key of a signing request.

        The name is ours to give: subject and extensions of the request are ignored. Its signature must prove the key,
        and the key be strong enough (SE-02). Raises InvalidError.
        """
        return self._issue(common_name, Kind.CLIENT, key_of_request(csr_pem), days)

    def renew(self, which: str, *, csr_pem: str | None = None, days: int = 365) -> Issued:
        """Issue a new certificate of the same name and kind; the old one stays valid until it ends or is revoked.

        `which`: serial or fingerprint of the old one. The key stays, or comes from `csr_pem`. Raises NotFoundError,
        or ConflictError if the old one was revoked.
        """
        record = self._register.get(which)
        if record.revoked_at is not None:
            raise ConflictError(f"{record.fingerprint} was revoked ({record.reason}); issue a new certificate instead.")
        old = x509.load_pem_x509_certificate(record.pem.encode())
        key = checked_strength(old.public_key()) if csr_pem is None else key_of_request(csr_pem)
        alternatives = None
        if record.kind == Kind.SERVER:
            alternatives = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return self._issue(record.name, Kind(record.kind), key, days, alternatives=alternatives)

    def revoke(self, which: str, reason: str = "unspecified") -> Record:
        """Revoke a certificate by serial or fingerprint and write the revocation list; again changes nothing.

        `reason` is one of RFC 5280's: keyCompromise, superseded, cessationOfOperation ...
        """
        if reason not in _reasons():
            raise InvalidError(f"'{reason[:40]}' is no reason; use one of {', '.join(_reasons())}.")
        record = self._register.get(which)
        self._register.revoke(record.serial, self._now(), reason)
        self.write_crl()
        return self._register.get(record.serial)

    def issued(self) -> tuple[Record, ...]:
        """Return every certificate ever issued, in the order of issue."""
        return self._register.all()

    def write_crl(self, days: int = 365) -> Path:
        """Write `crl.pem`, the list of revoked certificates that have not ended yet, and return its path.

        TLS refuses every client when the list itself has expired: write it again within `days`.
        """
        with self._register.exclusive():  # or two revocations at once might lose one of them from the list
            return self._write_crl(self._now(), days)

    def _write_crl(self, now: datetime, days: int) -> Path:
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._certificate.subject)
        builder = builder.last_update(now - _SKEW).next_update(now + _lifetime(days))
        builder = builder.add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        builder = builder.add_extension(self._identifier(), critical=False)
        for record in self._register.all():
            if record.revoked_at is not None and record.not_after > now:
                builder = builder.add_revoked_certificate(_revoked(record, record.revoked_at))
        path = self.directory / _CRL
        write_over(path, builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())
        return path

    def _issue(
        self,
        name: str,
        kind: Kind,
        public_key: PublicKey,
        days: int,
        *,
        key: PrivateKey | None = None,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> Issued:
        now = self._now()
        if now >= self.not_after:
            raise ConflictError(f"The authority expired on {self.not_after:%Y-%m-%d}; make a new one and enrol again.")
        end = min(now + _lifetime(days), self.not_after)
        subject = common_name(name[:MAX_NAME] if kind is Kind.SERVER else name)
        builder = _builder(subject, public_key, max(now - _SKEW, self._certificate.not_valid_before_utc), end)
        builder = builder.issuer_name(self._certificate.subject).add_extension(self._identifier(), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        usage, purpose = _purpose(kind, public_key)
        builder = builder.add_extension(usage, critical=True).add_extension(purpose, critical=False)
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = _pem(certificate)
        record = Record(
            serial=f"{certificate.serial_number:x}",
            fingerprint=fingerprint(certificate.public_bytes(serialization.Encoding.DER)),
            name=name,
            kind=kind,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            pem=pem,
        )
        self._register.add(record)
        return Issued(record, pem, None if key is None else key_to_pem(key))

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
    return usage, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


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


def _lifetime(days: int) -> timedelta:
    if not 1 <= days <= _MAX_DAYS:
        raise InvalidError(f"A validity of {days} days: use 1 to {_MAX_DAYS}.")
    return timedelta(days=days)


def _reasons() -> tuple[str, ...]:
    """RFC 5280's reasons, without the one that only delta lists use."""
    return tuple(flag.value for flag in x509.ReasonFlags if flag is not x509.ReasonFlags.remove_from_crl)


def _revoked(record: Record, at: datetime) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(int(record.serial, 16)).revocation_date(at)
    reason = x509.ReasonFlags(record.reason or "unspecified")
    if reason is not x509.ReasonFlags.unspecified:  # RFC 5280 wants the reason left out then
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
