"""Access tokens of API clients: JWTs (RFC 9068) signed with ES256, and the keys that sign them. All in machine time.

The keys are rows, so that every process signs and reads alike and a restart ends no session. A new key replaces the
signing one after a month; the old one reads tokens until the last that it signed has expired, unless it is revoked.
"""

import base64
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select, update

from core.errors import InvalidError
from core.ids import new_id
from vtn.store.database import Database, Transaction
from vtn.store.tables import token_key

if TYPE_CHECKING:
    from vtn.services.token_keys import TokenKey

LIFETIME_S: Final = 900
_LONGEST_TOKEN: Final = 4096
_ROTATE_AFTER: Final = timedelta(days=30)
_RELOAD_S: Final = 60.0
"""How long another process may go on signing with a key that was retired here."""
_ASK_AGAIN_S: Final = 5.0
_KEYS_CHANGED: Final = "token keys"
"""What the processes of a deployment tell each other when keys were revoked."""
_LEEWAY_S: Final = 30


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says: whose it is, what for, until when, and the certificate that it is bound to (x5t#S256)."""

    client_id: str
    scopes: frozenset[str]
    certificate: str | None
    expires_at: datetime


class Tokens:
    """Makes and reads the tokens of one API. `issuer` names this deployment; tokens of any other are refused."""

    def __init__(
        self,
        db: Database,
        issuer: str,
        api: str,
        *,
        lifetime_s: int = LIFETIME_S,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self.issuer = issuer
        self.audience = f"{issuer}:{api}"
        self.lifetime_s = lifetime_s
        self._utcnow = utcnow
        self._monotonic = monotonic
        self._keys: Mapping[str, TokenKey] = {}
        self._loaded_at = float("-inf")
        self._generation = 0
        db.on_change(self._changed)

    def _changed(self, subjects: frozenset[str]) -> None:
        """Forget the keys when some were revoked, here or in another process, or when that may have been missed."""
        if _KEYS_CHANGED in subjects or not subjects:
            self._keys, self._loaded_at = {}, float("-inf")
            self._generation += 1

    async def sign(self, client_id: str, scopes: Iterable[str], certificate: str | None = None) -> str:
        """Return a token for a client, bound to a certificate if one is named."""
        kid, key = await self._signing_key()
        now = int(self._utcnow().timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": client_id,
            "client_id": client_id,
            "iat": now,
            "exp": now + self.lifetime_s,
            "jti": new_id("tok"),
            "scope": " ".join(sorted(scopes)),
        }
        if certificate is not None:
            claims["cnf"] = {"x5t#S256": certificate}
        return key.sign(kid, claims)

    async def read(self, token: str) -> Grant:
        """Return what a token grants. Raises InvalidError if it is malformed, expired, or not signed here."""
        key = await self._key(_kid(token))
        if key is None:
            raise _refused()
        claims = key.read(token)
        if claims is None:
            raise _refused()
        return self._grant(claims)

    def _grant(self, claims: Mapping[str, Any]) -> Grant:
        match claims:
            case {
                "iss": str(issuer),
                "aud": str(audience),
                "sub": str(client_id),
                "exp": int(exp),
                "iat": int(iat),
                "scope": str(scope),
            }:
                now = self._utcnow().timestamp()
                in_time = iat - _LEEWAY_S <= now < exp <= iat + self.lifetime_s
            case _:
                raise _refused()
        if issuer != self.issuer or audience != self.audience or not in_time:
            raise _refused()
        certificate = None
        if "cnf" in claims:
            bound = claims["cnf"]
            certificate = bound.get("x5t#S256") if isinstance(bound, dict) else None
            if not isinstance(certificate, str):
                raise _refused()
        return Grant(client_id, frozenset(scope.split()), certificate, datetime.fromtimestamp(exp, UTC))

    async def _signing_key(self) -> tuple[str, "TokenKey"]:
        """Return the newest key in use, making one if there is none or it is too old."""
        if self._monotonic() >= self._loaded_at + _RELOAD_S:
            await self._load()
        newest = self._newest()
        if newest is None or newest[1].created_at <= self._utcnow() - _ROTATE_AFTER:
            async with self._db.write() as tx:
                await rotate_keys(tx, self._utcnow(), who="evenload", lifetime_s=self.lifetime_s)
            await self._load()
            newest = self._newest()
        if newest is None:
            raise InvalidError("There is no key to sign tokens with.")
        return newest

    def _newest(self) -> "tuple[str, TokenKey] | None":
        working = [(kid, key) for kid, key in self._keys.items() if key.retired_at is None]
        return max(working, key=lambda row: (row[1].created_at, row[0]), default=None)

    async def _key(self, kid: str) -> "TokenKey | None":
        """Return the key of that id; an unknown one is looked for in the store, but not by every stranger's token."""
        if kid not in self._keys and self._monotonic() >= self._loaded_at + _ASK_AGAIN_S:
            await self._load()
        key = self._keys.get(kid)
        if key is None or key.retired_at is None:
            return key
        return key if self._utcnow() < key.retired_at + _reading_time(self.lifetime_s) else None

    async def _load(self) -> None:
        from vtn.services.token_keys import TokenKey  # noqa: PLC0415  see there

        generation = None
        while generation != self._generation:  # else these may be from before a revocation
            generation = self._generation
            async with self._db.read() as conn:
                rows = (await conn.execute(select(token_key))).all()
        self._keys = {row.id: TokenKey.of(row) for row in rows}
        self._loaded_at = self._monotonic()


async def rotate_keys(
    tx: Transaction, now: datetime, *, who: str, lifetime_s: int = LIFETIME_S, revoke: bool = False
) -> str:
    """Make a new signing key and return its id.

    The others are retired, and deleted once their tokens have all expired. `revoke` deletes them now: no token that
    they signed is taken any more.
    """
    from vtn.services.token_keys import new_key  # noqa: PLC0415  see there

    kid = new_id("key")
    if revoke:
        await tx.conn.execute(delete(token_key))
        tx.changed(_KEYS_CHANGED)
    await tx.conn.execute(update(token_key).where(token_key.c.retired_at.is_(None)).values(retired_at=now))
    await tx.conn.execute(delete(token_key).where(token_key.c.retired_at < now - 2 * _reading_time(lifetime_s)))
    await tx.conn.execute(insert(token_key).values(id=kid, key=new_key(kid), created_at=now))
    await tx.audit(who, "revoke token keys" if revoke else "rotate token key", kid, at=now)
    return kid


def _reading_time(lifetime_s: int) -> timedelta:
    """Return for how long after its retirement a key may have tokens out."""
    return timedelta(seconds=lifetime_s + 2 * _RELOAD_S)


def _kid(token: str) -> str:
    """Return the key id of a token's header. Raises InvalidError for what is no JWT."""
    head, *rest = token.split(".") if len(token) <= _LONGEST_TOKEN and token.isascii() else ("",)
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError) as error:
        raise _refused() from error
    kid = header.get("kid") if isinstance(header, dict) else None
    if len(rest) != 2 or not isinstance(kid, str):  # noqa: PLR2004  header, claims, signature
        raise _refused()
    return kid


def _refused() -> InvalidError:
    return InvalidError("The token is malformed, expired, or not one of ours.")
