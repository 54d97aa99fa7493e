"""Who may use the BRP API: access tokens (RFC 9068), bound to a certificate where the client has one (RFC 8705)."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from aiohttp import web

from core.errors import InvalidError, NotFoundError
from vtn.services import api_clients
from vtn.services.access_tokens import Grant, Tokens
from vtn.services.api_clients import Client
from vtn.store.database import Database
from web.attempts import FailureLimit
from web.auth import Principal, Role, bearer_token
from web.callers import address_of
from web.problem import ProblemError

_CACHE_S: Final = 10.0
_CACHE_SIZE: Final = 1024
_REALM: Final = 'Bearer realm="evenload"'


def peer_thumbprint(request: web.Request) -> str | None:
    """Return the x5t#S256 of the certificate that the caller has proven to own in TLS, None without one."""
    connection = None if request.transport is None else request.transport.get_extra_info("ssl_object")
    der = None if connection is None else connection.getpeercert(binary_form=True)
    return api_clients.thumbprint(der) if der else None


class TokenGate:
    """Turns an access token into a principal, asking for the client at most every ten seconds.

    A client that is revoked in this process ends at once through `clear`; elsewhere after those ten seconds.
    """

    def __init__(
        self,
        db: Database,
        tokens: Tokens,
        failures: FailureLimit,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        peer: Callable[[web.Request], str | None] = peer_thumbprint,
    ) -> None:
        self._db = db
        self._tokens = tokens
        self._failures = failures
        self._monotonic = monotonic
        self._peer = peer
        self._cache: OrderedDict[str, tuple[Client, float]] = OrderedDict()
        self._generation = 0

    def clear(self) -> None:
        """Forget every cached client; call it after one was revoked or changed."""
        self._cache.clear()
        self._generation += 1

    async def require(self, request: web.Request, *roles: Role) -> Principal:
        """Return the client that is calling. Raises ProblemError 401 without a good token, 429 after too many bad ones.

        A good token passes even while its address is refused.
        """
        token = bearer_token(request)
        if token is None:
            text = "Send 'Authorization: Bearer <token>'; POST /brp/v1/token makes one from client id and secret."
            raise ProblemError(401, text, {"WWW-Authenticate": _REALM})
        try:
            grant = await self._tokens.read(token)
            client = await self._client(grant)
        except (InvalidError, NotFoundError) as error:
            raise self._failed(request, "The token is malformed, expired or revoked; get a new one.") from error
        bound = {one for one in (grant.certificate, client.certificate) if one is not None}
        if bound and bound != {self._peer(request)}:
            raise self._failed(
                request, "The token is bound to a certificate; show that one in TLS, or get a new token."
            )
        if Role.BRP not in roles:
            raise ProblemError(403, f"This needs the role {' or '.join(roles)}; your token is a BRP's.")
        scopes = grant.scopes.intersection(client.scopes)
        return Principal(client.id, f"brp:{client.id}", Role.BRP, client.party_id, grant.expires_at, scopes)

    def _failed(self, request: web.Request, text: str) -> ProblemError:
        try:
            self._failures.refuse(address_of(request))
        except ProblemError as error:
            return error
        return ProblemError(401, text, {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})

    async def _client(self, grant: Grant) -> Client:
        """Return the client of a token. Raises NotFoundError for one that is unknown or revoked."""
        client, until = self._cache.get(grant.client_id, (None, 0.0))
        if client is not None and self._monotonic() < until:
            return client
        generation = self._generation
        async with self._db.read() as conn:
            client = await api_clients.get(conn, grant.client_id)
        if client.revoked_at is not None:
            raise NotFoundError("The client is revoked.")
        if generation == self._generation:
            self._cache.pop(client.id, None)
            self._cache[client.id] = (client, self._monotonic() + _CACHE_S)
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return client


GATE: Final = web.AppKey("brp_gate", TokenGate)
"""The application's gate: for `clear()` after a client was revoked."""
