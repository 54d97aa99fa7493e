"""Nonces that were used: each message counts once (SE-10)."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from core.errors import UnavailableError
from openadr.signature.values import Fault, SignatureError, Verified

MOST: Final = 1_000_000
"""So many nonces are kept in memory by default, about 150 MB; a fleet that sends more needs a shorter window."""


def replay_key(verified: Verified) -> bytes:
    """Return 16 bytes that stand for a certificate and a nonce, whatever their length."""
    return hashlib.sha256(verified.certificate + verified.nonce.encode()).digest()[:16]


def expires_at(verified: Verified, window: timedelta) -> datetime:
    """Return when a message is refused for its time anyway, and its nonce can be forgotten (machine time)."""
    return verified.timestamp + window


class NonceMemory:
    """The nonces of one process, in two generations: a step costs the same however many there are."""

    def __init__(self, window: timedelta, most: int = MOST) -> None:
        """`window`: how far a signature's time may be from ours, either way."""
        self._span = 2 * window
        self._most = most
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._since: datetime | None = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def use(self, verified: Verified, now: datetime) -> None:
        """Note that a message is used at `now` (machine time). Raises SignatureError if it was used before.

        Raises UnavailableError if there are more nonces than may be kept: a message that cannot be told from a replay
        is not taken.
        """
        self._grow_old(now)
        key = replay_key(verified)
        if key in self._young or key in self._old:
            raise SignatureError(Fault.REPLAYED, "this message was sent before.")
        if len(self) >= self._most:
            raise UnavailableError("Too many signed messages at once; try again in a minute.")
        self._young.add(key)

    def _grow_old(self, now: datetime) -> None:
        """Forget what is older than a span; machine time is taken not to go back by minutes."""
        if self._since is None:
            self._since = now
        age = now - self._since
        if age >= 2 * self._span:
            self._young, self._old, self._since = set(), set(), now
        elif age >= self._span:
            self._young, self._old, self._since = set(), self._young, now
