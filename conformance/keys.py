"""Keys and certificates of the VENs that the kit plays, the malicious ones too."""

import hashlib
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from conformance.wire import Credentials
from core.clock import machine_now
from core.errors import InvalidError

_DAY: Final = timedelta(days=1)


def new_key(*, rsa_key: bool = False) -> CertificateIssuerPrivateKeyTypes:
    """Return a P-256 key, or one of RSA with 2048 bits (SE-02)."""
    return rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())


def signing_request(key: CertificateIssuerPrivateKeyTypes, name: str) -> str:
    """Return a signing request (PEM)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def write(directory: Path, name: str, key: CertificateIssuerPrivateKeyTypes, chain_pem: str) -> Credentials:
    """Write a key, for its owner alone, and its certificate."""
    credentials = Credentials(directory / f"{name}.pem", directory / f"{name}.key")
    credentials.certificate.write_text(chain_pem)
    credentials.key.touch(mode=0o600)
    credentials.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return credentials


def stranger(directory: Path, name: str, host: str = "", *, rsa_key: bool = False) -> Credentials:
    """Make a client's certificate of an authority that nobody trusts (SE-03); with `host` also a server's (SE-05)."""
    authority, key, now = new_key(), new_key(rsa_key=rsa_key), machine_now()
    builder = _builder(key, name, now - _DAY, now + _DAY).issuer_name(_name("an authority that nobody trusts"))
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if host:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host)]), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    certificate = builder.sign(authority, hashes.SHA256())
    return write(directory, name, key, certificate.public_bytes(serialization.Encoding.PEM).decode())


def authority(directory: Path, name: str) -> Credentials:
    """Make an authority for a trial of a day."""
    key, now = new_key(), machine_now()
    builder = _builder(key, name, now - _DAY, now + _DAY).issuer_name(_name(name))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return write(directory, name, key, pem.decode())


def expired(directory: Path, name: str, authority: Path, authority_key: Path) -> Credentials:
    """Make a client certificate of an authority (PEM files) that ended yesterday (SE-04)."""
    yesterday = machine_now() - _DAY
    return _issued(directory, name, Credentials(authority, authority_key), yesterday - _DAY, yesterday)


def issued(directory: Path, name: str, authority: Credentials, host: str = "", *, rsa_key: bool = False) -> Credentials:
    """Make a certificate of an authority, good until tomorrow; with `host` it is a server's."""
    now = machine_now()
    return _issued(directory, name, authority, now - _DAY, now + _DAY, host, rsa_key=rsa_key)


def _issued(
    directory: Path,
    name: str,
    authority: Credentials,
    begins: datetime,
    ends: datetime,
    host: str = "",
    *,
    rsa_key: bool = False,
) -> Credentials:
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    issuer_key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InvalidError(f"{authority.key} is no key of an authority.")
    key = new_key(rsa_key=rsa_key)
    builder = _builder(key, name, begins, ends).issuer_name(issuer.subject)
    if host:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host)]), critical=False)
    pem = builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return write(directory, name, key, pem.decode())


def _builder(
    key: CertificateIssuerPrivateKeyTypes, name: str, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .not_valid_before(begins)
        .not_valid_after(ends)
        .serial_number(x509.random_serial_number())
        .subject_name(_name(name))
        .public_key(key.public_key())
    )


def fingerprint(certificate: Path) -> str:
    """Return the last ten bytes of the SHA-256 of a certificate (PEM file), as AA:BB:... (SE-06)."""
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).digest()[-10:].hex(":").upper()


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
