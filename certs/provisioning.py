"""The gateway's side of enrolment: its key, the signing request, and the identity that comes back.

An identity is a directory that appears whole or not at all:

    key.pem (0600)   cert.pem (chain)   ca.pem   vtn.json

It is prepared beside its place (`NAME.new`) and moved there in one step; a replaced identity remains as `NAME.old`.
The key is made here and never leaves.
"""

import contextlib
import json
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from certs.files import exists, is_vacant, make_private_directory, read_text, sync_directory, write_new, write_over
from certs.keys import (
    PublicKey,
    checked_strength,
    key_from_pem,
    key_to_pem,
    leads_to,
    new_key,
    new_request,
    public_pem,
)
from certs.kinds import KeyType
from core.clock import machine_now
from core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from openadr.fingerprint import fingerprint

_KEY, _CERT, _CA, _VTN = "key.pem", "cert.pem", "ca.pem", "vtn.json"
_ENROL = "Enrol with `evenload ven enrol CODE`; the operator of the VTN gives out the code."
_NAMES = ("vtn_url", "vtn_id", "ven_id", "ven_name", "fingerprint")
_MAX_PEM, _MAX_TEXT, _MAX_CHAIN = 65_536, 2_048, 8
_WARN_DAYS = 30


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this gateway is to its VTN. Load it with `Identity.load`; the times are aware UTC, machine time."""

    directory: Path
    vtn_url: str
    vtn_id: str
    ven_id: str
    ven_name: str
    fingerprint: str
    not_before: datetime
    not_after: datetime

    @property
    def key_path(self) -> Path:
        """The private key."""
        return self.directory / _KEY

    @property
    def cert_path(self) -> Path:
        """The certificate chain, our own first."""
        return self.directory / _CERT

    @property
    def ca_path(self) -> Path:
        """The authority that the VTN's certificate must come from."""
        return self.directory / _CA

    @classmethod
    def load(cls, directory: Path) -> "Identity":
        """Read and check an identity: the parts belong together and the key is private.

        Raises NotFoundError if there is none, InvalidError if it is damaged; both say what to do. An expired
        certificate is no error here: see `warning`.
        """
        directory = directory.resolve()
        _settle(directory)
        if not exists(directory / _VTN):
            raise NotFoundError(f"There is no identity in {directory}. {_ENROL}")
        key_path = directory / _KEY
        key = key_from_pem(read_text(key_path, _ENROL), str(key_path))
        if stat.S_IMODE(key_path.stat().st_mode) & 0o077:
            raise InvalidError(f"{key_path} can be read by others. Run: chmod 600 {key_path}")
        try:
            bundle = json.loads(read_text(directory / _VTN, _ENROL))
        except (ValueError, RecursionError) as error:
            raise InvalidError(f"{directory / _VTN} is no JSON: {error}. {_ENROL}") from error
        names = _texts(bundle, _NAMES, _MAX_TEXT)
        chain = _certificates(read_text(directory / _CERT, _ENROL), _CERT)
        _check(key.public_key(), chain, _certificates(read_text(directory / _CA, _ENROL), _CA), names)
        return cls(
            directory=directory,
            vtn_url=names["vtn_url"],
            vtn_id=names["vtn_id"],
            ven_id=names["ven_id"],
            ven_name=names["ven_name"],
            fingerprint=names["fingerprint"],
            not_before=chain[0].not_valid_before_utc,
            not_after=chain[0].not_valid_after_utc,
        )

    def days_left(self, now: datetime | None = None) -> int:
        """Return whole days until the certificate expires; negative afterwards."""
        return (self.not_after - (now or machine_now())).days

    def warning(self, now: datetime | None = None, *, within_days: int = _WARN_DAYS) -> str | None:
        """Return what the user should know about the certificate's validity, or None (SE-04)."""
        present = now or machine_now()
        if present < self.not_before:
            return f"The certificate is valid only from {self.not_before:%Y-%m-%d %H:%M} UTC; is this clock right?"
        if present >= self.not_after:
            return f"The certificate expired on {self.not_after:%Y-%m-%d}; the VTN will refuse it. {_ENROL}"
        days = self.days_left(present)
        if days < within_days:
            return f"The certificate expires in {days} days, on {self.not_after:%Y-%m-%d}. Renew it in time."
        return None


def new_key_and_request(
    directory: Path, name: str, key_type: KeyType | str = KeyType.EC, *, replace: bool = False
) -> str:
    """Make a key for the identity that is to live in `directory` and return its signing request, PEM.

    An existing identity stays in use meanwhile. Raises ConflictError if there is one, unless `replace`. A key left over
    from an enrolment that was broken off is thrown away.
    """
    directory = directory.resolve()
    _settle(directory)
    _refuse(directory, replace=replace)
    key = new_key(key_type)
    request = new_request(key, name)
    pending = _pending(directory)
    discard(directory)
    make_private_directory(pending)
    write_new(pending / _KEY, key_to_pem(key))
    return request


def store_bundle(directory: Path, bundle: Mapping[str, object], *, replace: bool = False) -> Identity:
    """Complete the enrolment with the VTN's answer, and return the identity.

    `bundle` has ven_id, ven_name, vtn_id, vtn_url, certificate (PEM chain), ca (PEM) and fingerprint (of the VEN's
    certificate). Its certificate must be for our key, from that ca. Raises InvalidError, and then leaves nothing of
    this enrolment; ConflictError if an identity exists, unless `replace`.
    """
    directory = directory.resolve()
    _refuse(directory, replace=replace)
    pending = _pending(directory)
    key = key_from_pem(read_text(pending / _KEY, _ENROL), str(pending / _KEY))
    try:
        names = _texts(bundle, _NAMES, _MAX_TEXT)
        pems = _texts(bundle, ("certificate", "ca"), _MAX_PEM)
        _check(key.public_key(), _certificates(pems["certificate"], _CERT), _certificates(pems["ca"], _CA), names)
    except InvalidError:
        discard(directory)
        raise
    write_over(pending / _CERT, pems["certificate"])
    write_over(pending / _CA, pems["ca"])
    write_over(pending / _VTN, json.dumps(names, indent=2) + "\n")  # last: its presence means complete
    _swap(directory)
    return Identity.load(directory)


def discard(directory: Path) -> None:
    """Throw away an unfinished enrolment for `directory`; the identity itself is not touched."""
    pending = _pending(directory.resolve())
    try:
        shutil.rmtree(pending)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError(f"{pending}: cannot remove this unfinished enrolment: {error.strerror}.") from error


def _pending(directory: Path) -> Path:
    return directory.with_name(directory.name + ".new")


def _refuse(directory: Path, *, replace: bool) -> None:
    if is_vacant(directory):
        return
    if not exists(directory / _VTN):
        raise ConflictError(f"{directory} holds something else; give the identity a directory of its own.")
    if not replace:
        raise ConflictError(f"{directory} holds an identity already; use --replace to put a new one in its place.")


def _swap(directory: Path) -> None:
    old = directory.with_name(directory.name + ".old")
    try:
        if not is_vacant(directory):
            shutil.rmtree(old, ignore_errors=True)
            directory.rename(old)
        _pending(directory).rename(directory)
        sync_directory(directory.parent)
    except OSError as error:
        raise UnavailableError(f"{directory}: the new identity could not be put in place: {error.strerror}.") from error


def _settle(directory: Path) -> None:
    """Finish a replacement that was cut off between its two moves."""
    if not exists(directory) and exists(_pending(directory) / _VTN):
        with contextlib.suppress(FileNotFoundError):
            _pending(directory).rename(directory)


def _texts(bundle: object, names: tuple[str, ...], limit: int) -> dict[str, str]:
    if not isinstance(bundle, Mapping):
        raise InvalidError("The enrolment answer is no JSON object; is the VTN's address right?")
    found: dict[str, str] = {}
    for name in names:
        value = bundle.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= limit:
            raise InvalidError(f"The enrolment answer has no usable '{name}'; is the VTN's address right?")
        if limit == _MAX_TEXT and not value.isprintable():
            raise InvalidError(f"The enrolment answer's '{name}' has characters that do not belong there.")
        found[name] = value
    return found


def _certificates(pem: str, what: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        for one in found:  # these are read lazily, and may be as broken as the rest
            one.public_key(), one.not_valid_after_utc, one.not_valid_before_utc
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidError(f"{what} holds no certificates in PEM. {_ENROL}") from error
    if len(found) > _MAX_CHAIN:
        raise InvalidError(f"{what} holds {len(found)} certificates; at most {_MAX_CHAIN} make sense.")
    return found


def _check(key: PublicKey, chain: list[x509.Certificate], roots: list[x509.Certificate], names: dict[str, str]) -> None:
    """Raise InvalidError unless key, chain, roots and names belong together."""
    try:
        address = urlsplit(names["vtn_url"])
        usable = address.scheme in {"http", "https"} and bool(address.hostname) and address.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidError("The enrolment answer's 'vtn_url' is no http(s) address.")
    leaf = chain[0]
    if public_pem(checked_strength(leaf.public_key())) != public_pem(key):
        raise InvalidError(f"The certificate is for another key than {_KEY}. {_ENROL}")
    if fingerprint(leaf.public_bytes(serialization.Encoding.DER)) != names["fingerprint"]:
        raise InvalidError(f"The certificate and the fingerprint {names['fingerprint'][:40]} differ. {_ENROL}")
    if not leads_to(leaf, chain[1:], roots):
        raise InvalidError(f"The certificate does not come from the authority in {_CA}. {_ENROL}")
