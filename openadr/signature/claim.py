"""What a signature claims: exactly the shape of the profile, nothing of XML Signature's generality (SE-09, SE-10).

Everything is found by where it stands, never looked up by Id, so that the element that was verified is the one that is
read. What is looked at is small, except for the message itself, which is gone through a fixed number of times.
"""

import binascii
import hashlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from lxml.etree import _Element

from core.errors import InvalidError
from openadr.signature import names as n
from openadr.signature.canonical import Canonical
from openadr.signature.values import Fault, SignatureError
from openadr.v20b.names import PAYLOAD, SIGNED_OBJECT
from openadr.v20b.reading import instant

_MOST_ELEMENTS: Final = 64
_MOST_TEXT: Final = 16 * 1024
_MOST_CERTIFICATES: Final = 4
_NONCES: Final = range(1, 129)
_REFERENCES: Final = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signature says, well formed and not yet judged.

    `method` is its algorithm, `certificates` (DER) are those that it shows, `signed_info` is the canonical text that
    `value` signs, `digests` are what it states of each part that it covers and what the part's digest is.
    `signed_object` is the element that it covers, None where the claim was made from a form (`openadr.signature.form`).
    """

    method: str
    certificates: tuple[bytes, ...] = field(repr=False)
    signed_info: bytes = field(repr=False)
    value: bytes = field(repr=False)
    digests: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    timestamp: datetime
    nonce: str
    signed_object: _Element | None = field(default=None, repr=False, compare=False)
    replay_protect: bytes = field(default=b"", repr=False)
    """The canonical text of the part that holds timestamp and nonce."""


@dataclass(frozen=True, slots=True)
class _Property:
    """The element that a second reference may name, or one within it: all hold the ReplayProtect and nothing else."""

    timestamp: datetime
    nonce: str
    holders: Sequence[_Element]


def read_claim(payload: _Element) -> Claim:
    """Return what the signature of an oadrPayload claims, as `openadr.v20b.decode.parse` gives it.

    Raises SignatureError unless it stands before an oadrSignedObject, both alone in the payload, and covers that.
    """
    signature, signed_object = _shape(payload)
    signed_info, value, key_info, holder = _parts(signature)
    references = signed_info[2:]
    protection = _replay_protect(holder)
    targets = _targets(references, signed_object, protection)
    shown = list(islice(key_info.iterfind(f"{n.X509_DATA}/{n.X509_CERTIFICATE}"), _MOST_CERTIFICATES))
    if not shown:
        raise SignatureError(Fault.CERTIFICATE, "it shows no certificate.")
    order = {element: number for number, element in enumerate((payload, *signature.iter("*"), signed_object))}
    canonical = Canonical(payload, len(order))
    parts = [canonical.part(_path(target, order)) for target in targets]
    return Claim(
        method=signed_info[1].get("Algorithm", ""),
        certificates=tuple(map(_base64, shown)),
        signed_info=canonical.part(_path(signed_info, order)),
        value=_base64(value),
        digests=tuple(
            (_base64(reference[-1]), hashlib.sha256(part).digest())
            for reference, part in zip(references, parts, strict=True)
        ),
        timestamp=protection.timestamp,
        nonce=protection.nonce,
        signed_object=signed_object,
        replay_protect=next(part for target, part in zip(targets, parts, strict=True) if target is not signed_object),
    )


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
    if not signed_object.get(n.OBJECT_ID):
        raise SignatureError(Fault.SHAPE, "the oadrSignedObject has no oadr:Id.")
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
