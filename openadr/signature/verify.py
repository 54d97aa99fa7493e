"""Judging signatures (SE-08 to SE-10): whose they are, whether they are good, and of now."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lxml.etree import _Element

from core.clock import machine_now
from core.errors import InvalidError
from openadr.signature.claim import Claim, read_claim
from openadr.signature.keys import PublicKey, algorithm_of, is_genuine, read_certificate
from openadr.signature.values import Fault, SignatureError, Verified, is_signed

WINDOW: Final = timedelta(minutes=1)
"""How far a signature's time may be from ours, either way."""
_MOST_KEYS: Final = 4096


@dataclass(frozen=True, slots=True)
class _Key:
    """The key of a certificate, and when it may be used."""

    key: PublicKey
    not_before: datetime
    not_after: datetime


class Verifier:
    """Verifies the signatures of messages. Certificates are read once."""

    def __init__(self, window: timedelta = WINDOW, now: Callable[[], datetime] = machine_now) -> None:
        self._window = window
        self._now = now
        self._keys: dict[bytes, _Key] = {}

    def verify(self, payload: _Element, is_trusted: Callable[[bytes], bool]) -> Verified | None:
        """Return what the signature of a message covers and says; None if the message has no signature.

        `payload` is as `openadr.v20b.decode.parse` gives it. See `judge`.
        """
        return self.judge(read_claim(payload), is_trusted) if is_signed(payload) else None

    def judge(self, claim: Claim, is_trusted: Callable[[bytes], bool]) -> Verified:
        """Return what a claim says if it is true.

        `is_trusted` says whether a certificate (DER) is the peer's. It is asked before the certificate is read. Raises
        SignatureError unless the signature is good and of now. Whether its nonce was used before is asked elsewhere
        (`openadr.signature.replay`).
        """
        certificate = next(filter(is_trusted, claim.certificates), None)
        if certificate is None:
            raise SignatureError(Fault.CERTIFICATE, "its certificate is not one that the sender is known by.")
        key = self._key(certificate)
        if claim.method != algorithm_of(key):
            raise SignatureError(
                Fault.ALGORITHM, "RSA-SHA256 and ECDSA-SHA256 are accepted, as the certificate's key is."
            )
        if not all(hmac.compare_digest(stated, actual) for stated, actual in claim.digests):
            raise SignatureError(Fault.DIGEST, "the message was changed after it was signed.")
        if not is_genuine(key, claim.value, claim.signed_info):
            raise SignatureError(Fault.VALUE, "it was not made by the key of its certificate.")
        now = self._now()
        if abs(now - claim.timestamp) > self._window:
            raise SignatureError(
                Fault.TIME, f"its time differs by more than {self._window.total_seconds():g} s from ours."
            )
        return Verified(claim.signed_object, certificate, claim.method, claim.timestamp, claim.nonce)

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
