"""Passwords of operators: scrypt, with its parameters beside the hash so that they can grow.

N = 2^14, r = 8, p = 5 needs 16 MB and about a fifth of a second; OWASP's cheat sheet counts it as equal to its
first recommendation (N = 2^17, p = 1), which needs 128 MB a login.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import unicodedata
from collections import Counter
from typing import Final

from core.errors import InvalidError
from web.problem import ProblemError

SHORTEST: Final = 12
LONGEST: Final = 200
_LOG_N: Final = 14
_R: Final = 8
_P: Final = 5
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32
_MOST_LOG_N: Final = 20
_MOST_P: Final = 16
_MOST_WAITING: Final = 8
_KEPT_PLACES: Final = 4
_MOST_OF_A_CALLER: Final = 3


def hash_password(password: str) -> str:
    """Return what is stored of a password. Raises InvalidError if it is too short, too long or not printable."""
    text = _normal(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise InvalidError(f"A password has {SHORTEST} to {LONGEST} characters.")
    if not text.isprintable():
        raise InvalidError("A password has no control characters.")
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt${_LOG_N}${_R}${_P}${_text(salt)}${_text(_key(text, salt, _LOG_N, _R, _P))}"


def password_matches(password: str, stored: str | None) -> bool:
    """Tell whether a password is the stored one; takes as long for None and for malformed text as for a real hash."""
    parts = _parse(stored or "")
    log_n, r, p, salt, key = parts or (_LOG_N, _R, _P, bytes(_SALT_BYTES), bytes(_KEY_BYTES))
    found = _key(_normal(password)[:LONGEST], salt, log_n, r, p)
    return hmac.compare_digest(found, key) and parts is not None


class PasswordCheck:
    """Checks one password at a time, in a thread: 16 MB each, however many people sign in at once.

    Few wait for their turn, and fewer from one caller, so that a flood holds up nobody for long; places are kept for
    callers that are known.
    """

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._waiting: Counter[str] = Counter()

    async def matches(self, password: str, stored: str | None, caller: str = "", *, is_known: bool = False) -> bool:
        """Tell whether a password is the stored one. Raises ProblemError 503 if too many wait already."""
        room = _MOST_WAITING + (_KEPT_PLACES if is_known else 0)
        if self._waiting.total() >= room or self._waiting[caller] >= _MOST_OF_A_CALLER:
            detail = "Too many people are signing in at this moment. Try again in a few seconds."
            raise ProblemError(503, detail, {"Retry-After": "5"})
        self._waiting[caller] += 1
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(password_matches, password, stored)
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller]

    async def hash(self, password: str) -> str:
        """Return what is stored of a password. Raises InvalidError."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(hash_password, password)


def _normal(password: str) -> str:
    """Return the same text for the same password typed on another keyboard (RFC 8265)."""
    return unicodedata.normalize("NFC", password[: 4 * LONGEST])


def _key(text: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    memory = 128 * r * ((1 << log_n) + p + 2)
    return hashlib.scrypt(text.encode(), salt=salt, n=1 << log_n, r=r, p=p, maxmem=memory + 1024, dklen=_KEY_BYTES)


def _parse(stored: str) -> tuple[int, int, int, bytes, bytes] | None:
    try:
        name, log_n, r, p, salt, key = stored.split("$")
        numbers = int(log_n), int(r), int(p)
        raw = base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
    except ValueError:
        return None
    bounded = 1 <= numbers[0] <= _MOST_LOG_N and numbers[1] == _R and 1 <= numbers[2] <= _MOST_P
    return (*numbers, *raw) if name == "scrypt" and bounded and raw[0] and len(raw[1]) == _KEY_BYTES else None


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
