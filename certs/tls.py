"""TLS contexts: mutual authentication, TLS 1.2 and later (catalogue SE-01 to SE-05).

The `certification` profile is exactly what the OpenADR 2.0b profile names: TLS 1.2 with
TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256 and TLS_RSA_WITH_AES_128_CBC_SHA256. `modern` is Python's own choice of suites.
`compatible` is both: what is modern comes first, and a client that has only the profile's old suites is served, too.
"""

import ssl
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InvalidError

if TYPE_CHECKING:
    from certs.provisioning import Identity

_CERTIFICATION_SUITES = "ECDHE-ECDSA-AES128-SHA256:AES128-SHA256"
_COMPATIBLE_SUITES = (
    "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:AES128-SHA256:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
)
"""Python's own suites, and behind them the one of SE-01 that they lack: its RSA key exchange has no forward secrecy."""
_MISMATCHES = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
"""What OpenSSL says of a key and a certificate that do not fit; the last for different kinds of keys."""


class Profile(StrEnum):
    """Which protocol versions and cipher suites are offered."""

    MODERN = "modern"
    COMPATIBLE = "compatible"
    CERTIFICATION = "certification"


def server_context(
    cert: Path,
    key: Path,
    ca: Path,
    *,
    also: Iterable[tuple[Path, Path]] = (),
    crl: Path | None = None,
    profile: Profile | str = Profile.MODERN,
    require_client: bool = True,
) -> ssl.SSLContext:
    """Return the context of a server with certificate chain `cert` and `key`; clients must come from `ca`.

    `also`: further (cert, key) pairs, such as an RSA one beside an EC one; TLS picks what the client can use. `crl`: a
    revocation list; when it expires, every client is refused. `require_client` False asks for no certificate at all.
    Raises InvalidError, naming the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with_profile(context, profile)
    for chain, private in ((cert, key), *also):
        present(context, chain, private)
    if require_client:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_trust(context, ca)
        if crl is not None:
            _load_trust(context, crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def client_context(
    identity: "Identity", *, check_hostname: bool = True, profile: Profile | str = Profile.MODERN
) -> ssl.SSLContext:
    """Return the context of a client with its identity. The server's certificate is always checked (SE-05).

    Only the identity's own authority is trusted, not the system's. `check_hostname` False is for certification
    set-ups, where the address is not in the certificate; even then only a server certificate of that authority passes.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with_profile(context, profile)
    context.check_hostname = check_hostname
    _load_trust(context, identity.ca_path)
    present(context, identity.cert_path, identity.key_path)
    return context


def with_profile(context: ssl.SSLContext, profile: Profile | str) -> None:
    """Offer what a profile names. Raises InvalidError for a profile that is none."""
    try:
        chosen = Profile(profile)
    except ValueError as error:
        raise InvalidError(f"'{profile}' is no TLS profile; use modern, compatible or certification.") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if chosen is Profile.COMPATIBLE:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_ciphers(_COMPATIBLE_SUITES)
    if chosen is Profile.CERTIFICATION:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CERTIFICATION_SUITES)


def check_pair(cert: Path, key: Path) -> None:
    """See that a certificate and its key are there, readable, and fit. Raises InvalidError, naming the files."""
    present(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)


def present(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Show a certificate (chain) with its key. Raises InvalidError, naming the file that cannot be used."""
    for path in (cert, key):
        _readable(path)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            raise InvalidError(f"{cert} and {key} do not belong together.") from error
        raise InvalidError(f"{cert} and {key} are no PEM certificate and its private key: {error.reason}.") from error


def _no_password() -> str:
    """Keep OpenSSL from asking on the terminal."""
    raise InvalidError("The key is protected by a password; store it without, readable only by its owner.")


def _load_trust(context: ssl.SSLContext, path: Path) -> None:
    _readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise InvalidError(f"{path} holds no PEM certificate or revocation list: {error.reason}.") from error


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise InvalidError(
            f"{path} cannot be read: {error.strerror}. `evenload certs issue` makes such files."
        ) from error
