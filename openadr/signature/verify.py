"""Judging signatures: exactly the shape of the profile, nothing of XML Signature's generality (SE-08 to SE-10).

Everything is found by where it stands, never looked up by Id, so that the element that was verified is the one that is
read. What is looked at is small, except for the message itself, which is gone through a fixed number of times.
"""

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from lxml.etree import _Element

from core.clock import machine_now
from core.errors import InvalidError
from openadr.signature import names as n
from openadr.signature.canonical import Canonical
from openadr.signature.keys import PublicKey, algorithm_of, is_genuine, read_certificate
from openadr.signature.values import Fault, SignatureError, Verified, is_signed
from openadr.v20b.names import PAYLOAD, SIGNED_OBJECT
from openadr.v20b.reading import instant

WINDOW: Final = timedelta(minutes=1)
"""How far a signature's time may be from ours, either way."""
_MOST_ELEMENTS: Final = 64
_MOST_TEXT: Final = 16 * 1024
_MOST_CERTIFICATES: Final = 4
_MOST_KEYS: Final = 4096
_NONCES: Final = range(1, 129)
_REFERENCES: Final = 2


@dataclass(frozen=True, slots=True)
class _Key:
    """The key of a certificate, and when it may be used."""

    key: PublicKey
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class _Property:
    """The element that a second reference may name, or one within it: all hold the ReplayProtect and nothing else."""

    timestamp: datetime
    nonce: str
    holders: Sequence[_Element]


class Verifier:
    """Verifies signatures in messages as `openadr.v20b.decode.parse` gives them. Certificates are read once."""

    def __init__(self, window: timedelta = WINDOW, now: Callable[[], datetime] = machine_now) -> None:
        self._window = window
        self._now = now
        self._keys: dict[bytes, _Key] = {}

    def verify(self, payload: _Element, is_trusted: Callable[[bytes], bool]) -> Verified | None:
        """Return what the signature of a message covers and says; None if the message has no signature.

        `is_trusted` says whether a certificate (DER) is the peer's. It is asked before the certificate is read. Raises
        SignatureError unless the signature is good and covers the oadrSignedObject that is the payload's last child.
        Whether its nonce was used before is asked elsewhere (`openadr.signature.replay`).
        """
        if not is_signed(payload):
            return None
        signature, signed_object = _shape(payload)
        signed_info, value, key_info, holder = _parts(signature)
        references = signed_info[2:]
        certificate = self._certificate(key_info, is_trusted)
        protection = _replay_protect(holder)
        targets = _targets(references, signed_object, protection)
        key = self._key(certificate)
        if signed_info[1].get("Algorithm") != algorithm_of(key):
            raise SignatureError(
                Fault.ALGORITHM, "RSA-SHA256 and ECDSA-SHA256 are accepted, as the certificate's key is."
            )
        order = {element: number for number, element in enumerate((payload, *signature.iter("*"), signed_object))}
        canonical = Canonical(payload, len(order))
        for reference, target in zip(references, targets, strict=True):
            digest = hashlib.sha256(canonical.part(_path(target, order))).digest()
            if not hmac.compare_digest(digest, _base64(reference[-1])):
                raise SignatureError(Fault.DIGEST, "the message was changed after it was signed.")
        if not is_genuine(key, _base64(value), canonical.part(_path(signed_info, order))):
            raise SignatureError(Fault.VALUE, "it was not made by the key of its certificate.")
        if abs(self._now() - protection.timestamp) > self._window:
            raise SignatureError(
                Fault.TIME, f"its time differs by more than {self._window.total_seconds():g} s from ours."
            )
        return Verified(signed_object, certificate, protection.timestamp, protection.nonce)

    def _certificate(self, key_info: _Element, is_trusted: Callable[[bytes], bool]) -> bytes:
        """Return the first certificate that is the peer's: others may be there to lead to an authority."""
        shown = list(islice(key_info.iterfind(f"{n.X509_DATA}/{n.X509_CERTIFICATE}"), _MOST_CERTIFICATES))
        if not shown:
            raise SignatureError(Fault.CERTIFICATE, "it shows no certificate.")
        certificate = next(filter(is_trusted, map(_base64, shown)), None)
        if certificate is None:
            raise SignatureError(Fault.CERTIFICATE, "its certificate is not one that the sender is known by.")
        return certificate

    def _key(self, certificate: bytes) -> PublicKey:
        known = self._keys.get(certificate)
        if known is None:
            try:
                key, read = read_certificate(certificate)
            except InvalidError as error:
                raise SignatureError(Fault.CERTIFICATE, str(error)) from error
            known = _Key(key, read.not_valid_before_utc, read.not_valid_after_utc)
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            self._keys[certificate] = known
        if not known.not_before <= self._now() < known.not_after:
            raise SignatureError(Fault.CERTIFICATE, "its certificate is not valid now (SE-04).")
        return known.key


def _shape(payload: _Element) -> tuple[_Element, _Element]:
    """Return the signature and what it must cover: they are all that the payload holds."""
    if payload.tag != PAYLOAD or [child.tag for child in payload] != [n.SIGNATURE, SIGNED_OBJECT]:
        raise SignatureError(Fault.SHAPE, "an oadrPayload holds it before the oadrSignedObject, and nothing else.")
    signature, signed_object = payload
    elements = list(islice(signature.iter("*"), _MOST_ELEMENTS + 1))
    texts = sum(len(element.text or "") + len(element.tail or "") for element in elements)
    if len(elements) > _MOST_ELEMENTS or texts > _MOST_TEXT:
        raise SignatureError(Fault.SHAPE, "it is too large.")
    if sum(1 for _ in payload.iter(n.SIGNATURE)) > 1:
        raise SignatureError(Fault.SHAPE, "there are several.")
    ids = [name for element in elements if (name := element.get("Id")) is not None]
    if len({*ids, signed_object.get(n.OBJECT_ID)}) <= len(ids):
        raise SignatureError(Fault.SHAPE, "several elements have one Id.")
    return signature, signed_object


def _parts(signature: _Element) -> tuple[_Element, _Element, _Element, _Element]:
    """Return SignedInfo, SignatureValue, KeyInfo and Object; what algorithms they name is accepted."""
    signed_info, value, key_info, holder = _children(signature, n.SIGNED_INFO, n.SIGNATURE_VALUE, n.KEY_INFO, n.OBJECT)
    method, signature_method, *references = _children(
        signed_info, n.CANONICALIZATION_METHOD, n.SIGNATURE_METHOD, *[n.REFERENCE] * _REFERENCES
    )
    _algorithm(method, n.C14NS)
    _children(signature_method)
    for reference in references:
        if reference.find(n.TRANSFORMS) is None:  # that means the same
            digest_method, digest = _children(reference, n.DIGEST_METHOD, n.DIGEST_VALUE)
        else:
            transforms, digest_method, digest = _children(reference, n.TRANSFORMS, n.DIGEST_METHOD, n.DIGEST_VALUE)
            (transform,) = _children(transforms, n.TRANSFORM)
            _algorithm(transform, n.C14NS)
        _algorithm(digest_method, {n.SHA256})
        _children(digest)
    _children(value)
    return signed_info, value, key_info, holder


def _children(element: _Element, *tags: str) -> list[_Element]:
    children = list(element)
    if [child.tag for child in children] != list(tags):
        expected = ", ".join(tag.rpartition("}")[2] for tag in tags) or "nothing"
        raise SignatureError(Fault.SHAPE, f"{str(element.tag).rpartition('}')[2]} must hold {expected}.")
    return children


def _algorithm(element: _Element, accepted: set[str] | frozenset[str]) -> None:
    _children(element)
    if element.get("Algorithm") not in accepted:
        raise SignatureError(Fault.ALGORITHM, "only Canonical XML 1.0 and SHA-256 are accepted.")


def _replay_protect(holder: _Element) -> _Property:
    """Return what a ReplayProtect says (SE-10)."""
    (properties,) = _children(holder, n.PROPERTIES)
    (own,) = _children(properties, n.PROPERTY)
    (protection,) = _children(own, n.REPLAY_PROTECT)
    timestamp, nonce = _children(protection, n.TIMESTAMP, n.NONCE)
    _children(timestamp)
    _children(nonce)
    text = nonce.text or ""
    if len(text) not in _NONCES:
        raise SignatureError(Fault.SHAPE, f"a nonce has {_NONCES[0]} to {_NONCES[-1]} characters.")
    try:
        return _Property(instant(timestamp), text, (holder, properties, own, protection))
    except InvalidError as error:
        raise SignatureError(Fault.SHAPE, f"its timestamp cannot be read: {error}") from error


def _targets(references: Sequence[_Element], signed_object: _Element, protection: _Property) -> tuple[_Element, ...]:
    """Return what each reference is about: one the signed object, the other an element that holds the ReplayProtect."""
    named = {f"#{name}": each for each in protection.holders if (name := each.get("Id"))}
    object_id = f"#{signed_object.get(n.OBJECT_ID)}"
    targets = tuple(
        signed_object if reference.get("URI") == object_id else named.get(reference.get("URI", ""))
        for reference in references
    )
    covered = [target for target in targets if target is not None]
    if len(covered) != len(targets) or sum(target is signed_object for target in covered) != 1:
        raise SignatureError(Fault.SHAPE, "it must cover the oadrSignedObject and the ReplayProtect, by their Ids.")
    return tuple(covered)


def _path(element: _Element, order: Mapping[_Element, int]) -> tuple[int, ...]:
    """Return the numbers of an element and those around it, from the root on."""
    numbers = [order[element], *(order[ancestor] for ancestor in element.iterancestors())]
    return tuple(reversed(numbers))


def _base64(element: _Element) -> bytes:
    try:
        return b64decode("".join((element.text or "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError(Fault.SHAPE, f"{str(element.tag).rpartition('}')[2]} is not Base64.") from error
