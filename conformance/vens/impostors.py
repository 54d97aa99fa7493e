"""What the kit shows itself as to a VEN that calls by TLS: servers that it must not talk to, and such that it must.

Each has one fault only, or none: names, uses and kind of key are those of the kit's own certificate.
"""

import ssl
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from conformance import keys
from conformance.listener import Place
from conformance.wire import Credentials
from core.clock import machine_now
from core.errors import InvalidError

E = TypeVar("E", bound=x509.ExtensionType)

_DAY: Final = timedelta(days=1)
_ANOTHER_HOST: Final = "another-vtn.example"
_DEFAULT_SUITES: Final = "ECDHE-ECDSA-AES128-SHA256:AES128-SHA256"
"""Of TLS 1.2: a VTN has both, and a VEN one of them (SE-01)."""
_UNENCRYPTED: Final = "eNULL:!aNULL:@SECLEVEL=0"
_OF_OLD: Final = "ALL:@SECLEVEL=0"
Make = Callable[[], ssl.SSLContext]
"""Makes the context of a server. Raises InvalidError where OpenSSL does not have what it takes."""


@dataclass(frozen=True, slots=True)
class _Issuer:
    """Who signs; `identifier` is what its certificates say of its key, if anything."""

    name: x509.Name
    key: CertificateIssuerPrivateKeyTypes
    identifier: x509.AuthorityKeyIdentifier | None


def read_authority(place: Place) -> None:
    """Raise InvalidError unless the key of an authority, if one is given, is that of the authority in `place.trust`."""
    if place.authority_key is not None:
        _authority(place)


def impostors(place: Place, directory: Path) -> Mapping[str, Make]:
    """Return the servers by name: `bad:` are those that a VEN does not talk to, `good:` those that it talks to.

    What an authority's key is needed for is there with one only. Keys are written to the directory. Raises InvalidError
    without a certificate.
    """
    own = place.credentials
    if own is None:
        raise InvalidError("Without --cert there is no TLS.")
    original = x509.load_pem_x509_certificate(own.certificate.read_bytes())
    imitate = partial(_imitation, place, directory, original)
    servers: dict[str, Make] = {"bad:foreign authority": lambda: imitate("foreign", _foreign(original))}
    default = [own]
    if place.authority_key is not None:
        ours = _authority(place)
        servers["bad:another host"] = lambda: imitate("host", ours, host=_ANOTHER_HOST)
        servers["bad:expired"] = lambda: imitate("expired", ours, ended=_DAY)
        servers["good:issued"] = lambda: imitate("issued", ours)
        default = [_issued(directory, original, kind, ours, is_rsa=kind == "rsa") for kind in ("ec", "rsa")]
    servers["good:default suites"] = lambda: _limited(place, default, _DEFAULT_SUITES)
    servers["bad:TLS 1.1"] = lambda: _limited(place, [own], _OF_OLD, ssl.TLSVersion.TLSv1_1)
    servers["bad:no encryption"] = lambda: _limited(place, [own], _UNENCRYPTED)
    return servers


def clients(place: Place, directory: Path) -> Mapping[str, Credentials | None]:
    """Return what is shown to a VEN that serves, and must not be taken: nothing, and certificates as of `impostors`."""
    own = place.credentials
    if own is None:
        return {}
    original = x509.load_pem_x509_certificate(own.certificate.read_bytes())
    issue = partial(_issued, directory, original, is_rsa=isinstance(original.public_key(), rsa.RSAPublicKey))
    shown = {"no certificate": None, "foreign authority": issue("foreign client", _foreign(original))}
    if place.authority_key is not None:
        shown["expired"] = issue("expired client", _authority(place), ended=_DAY)
    return shown


def _foreign(original: x509.Certificate) -> _Issuer:
    """Return an authority of which all but the key is that of another."""
    return _Issuer(original.issuer, keys.new_key(), _extension(original, x509.AuthorityKeyIdentifier))


def _authority(place: Place) -> _Issuer:
    if place.trust is None or place.authority_key is None:
        raise InvalidError("--ca-key is the key of the authority in --ca: give both.")
    try:
        certificate = x509.load_pem_x509_certificate(place.trust.read_bytes())
        key = serialization.load_pem_private_key(place.authority_key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidError(f"{place.authority_key} and {place.trust} cannot be used: {error}.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) or (
        key.public_key() != certificate.public_key()
    ):
        raise InvalidError(f"{place.authority_key} is not the key of the authority in {place.trust}.")
    subject = _extension(certificate, x509.SubjectKeyIdentifier)
    named = None if subject is None else x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject)
    return _Issuer(certificate.subject, key, named)


def _imitation(
    place: Place,
    directory: Path,
    original: x509.Certificate,
    name: str,
    issuer: _Issuer,
    *,
    host: str = "",
    ended: timedelta = -_DAY,
) -> ssl.SSLContext:
    is_rsa = isinstance(original.public_key(), rsa.RSAPublicKey)
    return _context(place, [_issued(directory, original, name, issuer, is_rsa=is_rsa, host=host, ended=ended)])


def _issued(
    directory: Path,
    original: x509.Certificate,
    name: str,
    issuer: _Issuer,
    *,
    is_rsa: bool,
    host: str = "",
    ended: timedelta = -_DAY,
) -> Credentials:
    """Issue a certificate like another, with a key of its own, that ended so long ago; with `host` for that host."""
    key, until = keys.new_key(rsa_key=is_rsa), machine_now() - ended
    names = _extension(original, x509.SubjectAlternativeName)
    subject = original.subject
    if host:
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer.name)
        .subject_name(subject)
        .not_valid_before(until - 2 * _DAY)
        .not_valid_after(until)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension in (names, issuer.identifier):
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
    pem = builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    return keys.write(directory, name, key, pem)


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _context(place: Place, shown: list[Credentials]) -> ssl.SSLContext:
    """Return the context of the kit with other certificates than its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(place.trust)
    context.verify_mode = ssl.CERT_REQUIRED
    for credentials in shown:
        context.load_cert_chain(credentials.certificate, credentials.key)
    return context


def _limited(
    place: Place, shown: list[Credentials], suites: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
) -> ssl.SSLContext:
    """Return a context of one version of TLS and some cipher suites (OpenSSL names). Raises InvalidError."""
    context = _context(place, shown)
    try:
        context.set_ciphers(suites)
        with warnings.catch_warnings():  # an old version is what is wanted
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = version
            context.maximum_version = version
    except (ssl.SSLError, ValueError) as error:
        raise InvalidError(f"This machine's OpenSSL has no {suites} of {version.name}: {error}.") from error
    return context
