"""Whether a client's certificate could ever connect: looked at before it is let in, since TLS only says no.

Needs `cryptography`, some 10 MB of memory: a server loads this module only when a certificate is accepted.
"""

from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.keys import STRONG_HASHES, checked_strength, leads_to
from core.errors import InvalidError

_MOST: Final = 8
_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


def check_client(pem: str, authorities: str | None, now: datetime) -> None:
    """Raise InvalidError with the reason if TLS would never let this client in (SE-02 to SE-04).

    `pem` holds its certificate and perhaps those between it and the root; `authorities` those whose clients are let in
    (PEM), None where the VTN does not end TLS itself. `now` is machine time.
    """
    chain = _read(pem, "The certificate")
    leaf = chain[0]
    if now >= leaf.not_valid_after_utc:
        raise InvalidError(f"The certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d}; a new one is needed.")
    _check_purpose(leaf)
    checked_strength(leaf.public_key())
    used = leaf.signature_hash_algorithm
    if used is not None and used.name not in STRONG_HASHES:
        raise InvalidError(f"The certificate is signed with {used.name}: SHA-256 or better is needed.")
    if authorities is not None:
        roots = _read(authorities, "The file of authorities (openadr.ca)", most=1000)
        if not leads_to(leaf, [*chain[1:], *roots], roots):
            issuer = leaf.issuer.rfc4514_string()[:200]
            raise InvalidError(f"The certificate comes from '{issuer}', none of the authorities in openadr.ca.")


def _check_purpose(leaf: x509.Certificate) -> None:
    try:
        extensions = leaf.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise InvalidError("The certificate's extensions cannot be read.") from error
    for extension in extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True):
                raise InvalidError("This is an authority's certificate, not a client's.")
            case x509.ExtendedKeyUsage() as purposes if not _PURPOSES.intersection(purposes):
                raise InvalidError("The certificate is not for clients: its extended key usage has no clientAuth.")
            case x509.KeyUsage() as usage if not (usage.digital_signature or usage.key_agreement):
                raise InvalidError("The certificate is not for clients: its key usage has no digitalSignature.")


def _read(pem: str, what: str, most: int = _MOST) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        for one in found[:most]:  # these are read lazily, and may be as broken as the rest
            one.public_key(), one.not_valid_after_utc, one.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        text = "is no PEM text: from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
        raise InvalidError(f"{what} {text}") from error
    if len(found) > most:
        raise InvalidError(f"{what} has {len(found)} certificates; at most {most} make sense.")
    return found
