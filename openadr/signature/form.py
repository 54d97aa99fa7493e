"""Forms: what a sender says again and again, where only the values of the signature differ.

A VEN's signed poll is the same bytes each time but for five values: two digests, the signature, time and nonce. Where
all that stands around them is what stood in a message that was read before, the canonical texts are those of before
with the new values in their places, and neither parser nor schema is needed to know them. The claim that comes of it is
judged like any other.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from core.errors import InvalidError
from openadr.signature.claim import Claim
from openadr.v20b.reading import instant_of

Skeleton: TypeAlias = tuple[bytes, ...]
"""What stands around the values."""

MOST_BYTES: Final = 8 * 1024
"""A longer message has no form."""
_BASE64: Final = rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_DIGEST: Final = re.compile(rb"[A-Za-z0-9+/]{43}=")
_PLACES: Final = (
    (b"DigestValue>", _DIGEST),
    (b"DigestValue>", _DIGEST),
    (b"SignatureValue>", re.compile(_BASE64)),
    (b"timestamp>", re.compile(rb"[0-9T:.Z+-]{1,40}")),
    (b"nonce>", re.compile(rb"[A-Za-z0-9+/=_.:-]{1,128}")),
)
"""Where the values stand, in this order, and what they must be like: nothing that means something in XML."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A message, taken apart."""

    skeleton: Skeleton
    values: tuple[bytes, ...]


def cut(body: bytes) -> Cut | None:
    """Take a signed message apart; None if it is long, or its values are not where they usually are."""
    if len(body) > MOST_BYTES or b"<!" in body:
        return None
    pieces: list[bytes] = []
    values: list[bytes] = []
    at = 0
    for mark, likeness in _PLACES:
        start = body.find(mark, at) + len(mark)
        end = body.find(b"<", start)
        value = body[start:end]
        if start < len(mark) or end < 0 or likeness.fullmatch(value) is None:
            return None
        pieces.append(body[at:start])
        values.append(value)
        at = body.find(b">", end) + 1
        pieces.append(body[end:at])
    return Cut((*pieces, body[at:]), tuple(values))


class Form:
    """A message that was read, to be filled in with other values."""

    def __init__(self, message: Cut, claim: Claim) -> None:
        """`claim` is what was read of that message. Raises InvalidError if it does not say what the message says."""
        digests = tuple(b64encode(stated) for stated, _ in claim.digests)
        written = (*digests, b64encode(claim.value), message.values[3], claim.nonce.encode())
        if written != message.values or instant_of(message.values[3].decode()) != claim.timestamp:
            raise InvalidError("The values of the signature stand elsewhere.")
        actual = hashlib.sha256(claim.replay_protect).digest()
        self._claim = replace(claim, signed_object=None)
        self._own = next(number for number, (_, digest) in enumerate(claim.digests) if digest == actual)
        self._signed_info = _around(claim.signed_info, digests)
        self._replay_protect = _around(claim.replay_protect, message.values[3:])

    def fill(self, values: tuple[bytes, ...]) -> Claim:
        """Return what a message of the same skeleton claims. Raises InvalidError for a time that cannot be read."""
        digests, (value, timestamp, nonce) = values[:2], values[2:]
        replay_protect = _filled(self._replay_protect, (timestamp, nonce))
        actual = [digest for _, digest in self._claim.digests]
        actual[self._own] = hashlib.sha256(replay_protect).digest()
        return replace(
            self._claim,
            signed_info=_filled(self._signed_info, digests),
            value=b64decode(value),
            digests=tuple(zip(map(b64decode, digests), actual, strict=True)),
            timestamp=instant_of(timestamp.decode()),
            nonce=nonce.decode(),
            replay_protect=replay_protect,
        )


def _around(text: bytes, values: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return what stands around values that follow each other in a canonical text, each being an element's text."""
    pieces = []
    for value in values:
        before, found, text = text.partition(b">" + value + b"<")
        if not found:
            raise InvalidError("A value of the signature is not written as it is meant.")
        pieces.append(before + b">")
        text = b"<" + text
    return (*pieces, text)


def _filled(pieces: tuple[bytes, ...], values: tuple[bytes, ...]) -> bytes:
    return b"".join(piece + value for piece, value in zip(pieces, (*values, b""), strict=True))
