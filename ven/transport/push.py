"""OpenADR 2.0b over HTTP, push mode: the VTN posts, the answer goes back in the same exchange.

Everything here is machine time.
"""

import asyncio
import posixpath
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web

from core.errors import ConflictError, UnavailableError
from openadr.signature.values import SignatureError
from openadr.v20b.decode import UnreadableError, WireError, decode
from openadr.v20b.encode import encode, message_name
from openadr.v20b.messages import SERVICES, Message, OadrResponse
from ven.transport.door import Door
from ven.transport.signatures import Signatures
from web.connections import Connections, Limits
from web.listening import Site
from web.plain_response import PlainResponse
from web.posts import RefusedError, body_of, check_proxy, check_xml

_log = structlog.get_logger(__name__)

MOST_BYTES: Final = 4 * 1024 * 1024
_BASE: Final = "/OpenADR2/Simple/2.0b/"
_SERVICES: Final = frozenset(SERVICES.values()) - {"OadrPoll"}
_LIMITS: Final = Limits(most=64, per_address=16, per_client=8, handshake_s=10.0, idle_s=30.0)
"""A VTN needs one or two connections; strangers give way to it."""
_AT_ONCE: Final = 4
_LAST_ANSWERS_S: Final = 2.0

Take = Callable[[Message | UnreadableError], Awaitable[Message | None]]
"""Takes a message, or one of which a value cannot be read; returns the answer, None for an empty 200."""


class PushListener:
    """Where the VTN posts. Use as an async context manager; it listens inside of it.

    What stands before `/OpenADR2/Simple/2.0b/` in the path is a proxy's matter, and not looked at.
    """

    def __init__(self, door: Door, take: Take, signatures: Signatures | None = None, time_out_s: float = 10.0) -> None:
        """Listen at a door; a body must arrive within `time_out_s`.

        With `signatures` what we say is signed, and what is not signed well is refused (SE-08).
        """
        self._door = door
        self._take = take
        self._signatures = signatures
        self._time_out_s = time_out_s
        self._busy = 0
        http = web.Server(self._handle, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(http, shutdown_timeout=_LAST_ANSWERS_S)

    async def __aenter__(self) -> Self:
        door = self._door
        await self._runner.setup()
        site = Site(self._runner, door.host, door.port, Connections(_LIMITS), tls=door.tls, trusted=door.tls is None)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise UnavailableError(f"Nothing can listen at {door.host}:{door.port}: {error.strerror}.") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return int(self._runner.addresses[0][1]) if self._runner.addresses else 0

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._busy >= _AT_ONCE:
            response = PlainResponse(status=503, text="Busy.\n", headers={"Retry-After": "1"})
            response.force_close()
            return response
        self._busy += 1
        try:
            return await self._answer(request)
        finally:
            self._busy -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            service = self._check(request)
            answer = await self._take(self._read(await body_of(request, MOST_BYTES, self._time_out_s), service))
            if answer is None:
                return PlainResponse()
            body = encode(answer, sign=None if self._signatures is None else self._signatures.sign)
            return PlainResponse(body=body, headers={"Content-Type": "application/xml"})
        except RefusedError as refused:
            status, why = refused.status, str(refused)
        except WireError as error:
            status, why = error.status, str(error)
        except SignatureError as error:  # ignored, but not in silence: somebody has to find out why (SE-08)
            status, why = 403, str(error)
        except ConflictError as error:  # it is not registered; the VTN tries again when it may be (RG-13)
            status, why = 403, str(error)
        except UnavailableError as error:
            status, why = 503, str(error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:  # noqa: BLE001  one bad message must not stop the listener
            _log.exception("unexpected fault in a pushed message")
            status, why = 500, "Internal error."
        _log.warning("a pushed message was refused", status=status, reason=why[:300])
        response = PlainResponse(status=status, text=f"{why[:300]}\n")
        response.force_close()
        return response

    def _check(self, request: web.BaseRequest) -> str:
        """Return the service that is posted to. Raises RefusedError."""
        if self._door.proxy_secret is not None:
            check_proxy(request, self._door.proxy_secret)
        _, base, service = posixpath.normpath(request.path).rpartition(_BASE)
        if not base or service not in _SERVICES:
            raise RefusedError(404, "There is no such service here.")
        if request.method != "POST":
            raise RefusedError(501, "OpenADR messages are posted.")
        check_xml(request)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RefusedError(406, "What is pushed is not compressed (TR-08).")
        return service

    def _read(self, body: bytes, service: str) -> Message | UnreadableError:
        """Return the message. Raises RefusedError for one of another service (GN-15), WireError, SignatureError."""
        try:
            message = decode(body, verify=None if self._signatures is None else self._signatures.verify)
        except UnreadableError as fault:
            return fault
        if SERVICES.get(type(message)) != service and not isinstance(message, OadrResponse):
            raise RefusedError(404, f"{message_name(type(message))} is not for {service} of a VEN.")
        return message
