"""The keys that sign access tokens: JWTs with ES256.

Needs `joserfc` and so `cryptography`, some 10 MB of memory: a server loads this module only once a client has called.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

_ALGORITHM: Final = "ES256"
_TYPES: Final = {"at+jwt", "application/at+jwt"}


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that signs, or (once it is retired) only reads what it signed."""

    jwk: ECKey
    created_at: datetime
    retired_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the key of a row of `token_key`."""
        return cls(ECKey.import_key(row.key), row.created_at, row.retired_at)

    def sign(self, kid: str, claims: dict[str, Any]) -> str:
        """Return an access token (RFC 9068) with those claims."""
        return jwt.encode({"alg": _ALGORITHM, "typ": "at+jwt", "kid": kid}, claims, self.jwk, algorithms=[_ALGORITHM])

    def read(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of an access token; None if this key did not sign it."""
        try:
            read = jwt.decode(token, self.jwk, algorithms=[_ALGORITHM])
        except (JoseError, ValueError, TypeError, RecursionError):
            return None
        return read.claims if str(read.header.get("typ", "")).lower() in _TYPES else None


def new_key(kid: str) -> dict[str, Any]:
    """Return a new private key as a row holds it."""
    return dict(ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": _ALGORITHM}).as_dict(private=True))
