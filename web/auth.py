"""Who is calling: bearer tokens (RFC 6750), principals, roles.

A token is 256 random bits, so there is nothing to guess and nothing for a slow hash to protect: a plain SHA-256 is as
hard to invert as the token is to guess, and it makes the stored hash a key that a database can look up. Only the hash
is stored. Because the lookup is by hash, its timing tells about the hash of what the caller sent, never about how much
of a real token it matches. Everything here runs in machine time.
"""

import hashlib
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from aiohttp import web

from web.attempts import FailureLimit
from web.callers import address_of
from web.problem import ProblemError

_TOKEN = re.compile(r"evl_[A-Za-z0-9_-]{43}", re.ASCII)
_REALM = 'Bearer realm="evenload"'


def new_token() -> str:
    """Return a fresh token: `evl_` (so that secret scanners know it) and 256 random bits as text."""
    return f"evl_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    """Return what is stored of a token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


class Role(StrEnum):
    """What a principal may do. Each of viewer, dispatcher, admin includes the ones before; the others stand alone."""

    VIEWER = "viewer"
    DISPATCHER = "dispatcher"
    ADMIN = "admin"
    BRP = "brp"
    HOUSEHOLD = "household"

    def includes(self, needed: "Role") -> bool:
        """Tell whether this role may do what `needed` may do."""
        ladder = (Role.VIEWER, Role.DISPATCHER, Role.ADMIN)
        if self in ladder and needed in ladder:
            return ladder.index(self) >= ladder.index(needed)
        return self is needed


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling.

    `party_id` bounds what a BRP or household sees; `expires_at` (machine time, aware UTC) ends the token; `scopes` are
    what the token was made for, where tokens have scopes.
    """

    id: str
    name: str
    role: Role
    party_id: str | None = None
    expires_at: datetime | None = None
    scopes: frozenset[str] = frozenset()


class Gate(Protocol):
    """Who is let in."""

    async def require(self, request: web.Request, *roles: Role) -> Principal:
        """Return who is calling, if their role includes one of `roles`. Raises ProblemError 401, 403 or 429."""


class PrincipalLookup(Protocol):
    """Where tokens are kept."""

    async def by_token_hash(self, token_hash: str) -> Principal | None:
        """Return whose token has that hash, or None if it is unknown or revoked."""


class Authenticator:
    """Turns a request into a principal, asking the lookup at most once per token and `cache_s` seconds.

    A token revoked in this process ends at once through `clear`; one revoked in another process ends after `cache_s`.
    """

    def __init__(
        self,
        lookup: PrincipalLookup,
        *,
        cache_s: float = 10.0,
        cache_size: int = 1024,
        limit: FailureLimit | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lookup = lookup
        self._cache_s = cache_s
        self._cache_size = cache_size
        self._limit = limit if limit is not None else FailureLimit(monotonic=monotonic)
        self._monotonic = monotonic
        self._utcnow = utcnow
        self._cache: OrderedDict[str, tuple[Principal, float]] = OrderedDict()
        self._generation = 0

    def clear(self) -> None:
        """Look every principal up again; call it after a token was revoked or a role changed."""
        self._cache = OrderedDict((token_hash, (one, -math.inf)) for token_hash, (one, _) in self._cache.items())
        self._generation += 1

    async def require(self, request: web.Request, *roles: Role) -> Principal:
        """Return who is calling, if their role includes one of `roles`.

        Raises ProblemError: 401 without a valid token, 403 for another role, 429 after too many failed attempts.
        A token that was good before is looked up even while its address is refused, so that a stranger behind the
        same address cannot lock out a client that is at work.
        """
        principal = await self._principal(request)
        if not any(principal.role.includes(role) for role in roles):
            needed = " or ".join(roles)
            raise ProblemError(403, f"This needs the role {needed}; your token has the role {principal.role}.")
        return principal

    async def _principal(self, request: web.Request) -> Principal:
        token = bearer_token(request)
        if token is None:
            raise ProblemError(401, "Send 'Authorization: Bearer <token>'.", {"WWW-Authenticate": _REALM})
        token_hash = hash_token(token)
        principal = self._cached(token_hash) or await self._look_up(token, token_hash)
        if principal is None or (principal.expires_at is not None and principal.expires_at <= self._utcnow()):
            self._limit.refuse(address_of(request))  # a good token is no guess: it passes whoever else fails there
            detail = "The token is unknown, revoked or expired; ask an administrator for a new one."
            raise ProblemError(401, detail, {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})
        return principal

    def _cached(self, token_hash: str) -> Principal | None:
        principal, until = self._cache.get(token_hash, (None, 0.0))
        return principal if self._monotonic() < until else None

    async def _look_up(self, token: str, token_hash: str) -> Principal | None:
        if not _TOKEN.fullmatch(token):
            return None
        generation = self._generation
        principal = await self._lookup.by_token_hash(token_hash)
        if generation != self._generation:
            return principal  # cleared meanwhile: this answer may be from before the change, so it is not kept
        self._cache.pop(token_hash, None)
        if principal is None:
            return None
        self._cache[token_hash] = (principal, self._monotonic() + self._cache_s)
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return principal


def bearer_token(request: web.Request) -> str | None:
    """Return the token of the one Authorization header, None if there is none or another scheme."""
    headers = request.headers.getall("Authorization", [])
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    return token.strip(" ") if scheme.lower() == "bearer" and token.isascii() and token.strip(" ") else None
