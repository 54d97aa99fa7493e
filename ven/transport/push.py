"""OpenADR 2.0b over HTTP, push mode: the VTN posts, the answer goes back in the same exchange.

Everything here is machine time.
"""

import asyncio
import hmac
import posixpath
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web

from core.errors import ConflictError, UnavailableError
from openadr.signature.values import SignatureError
from openadr.v20b.decode import UnreadableError, WireError, decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import SERVICES, Message
from ven.transport.door import Door
from ven.transport.signatures import Signatures

_log = structlog.get_logger(__name__)

MOST_BYTES: Final = 4 * 1024 * 1024
_BASE: Final = "/OpenADR2/Simple/2.0b/"
_SERVICES: Final = frozenset(SERVICES.values()) - {"OadrPoll"}
_HANDSHAKE_S: Final = 10.0
_IDLE_S: Final = 30.0
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
        self._http = web.Server(
            self._handle, access_log=None, auto_decompress=False, keepalive_timeout=_IDLE_S, lingering_time=0.0
        )
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        door = self._door
        handshake_s = None if door.tls is None else _HANDSHAKE_S
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._http, door.host, door.port, ssl=door.tls, ssl_handshake_timeout=handshake_s
            )
        except OSError as error:
            raise UnavailableError(f"Nothing can listen at {door.host}:{door.port}: {error.strerror}.") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._http.shutdown(_LAST_ANSWERS_S)
            await self._server.wait_closed()

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else 0

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._busy >= _AT_ONCE:
            response = web.Response(status=503, text="Busy.\n", headers={"Retry-After": "1"})
            response.force_close()
            return response
        self._busy += 1
        try:
            return await self._answer(request)
        finally:
            self._busy -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._check(request)
            answer = await self._take(self._read(await self._body(request)))
            if answer is None:
                return web.Response(headers={"Server": "evenload"})
            body = encode(answer, sign=None if self._signatures is None else self._signatures.sign)
            return web.Response(body=body, headers={"Content-Type": "application/xml", "Server": "evenload"})
        except _Refused as refused:
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
        response = web.Response(status=status, text=f"{why[:300]}\n", headers={"Server": "evenload"})
        response.force_close()
        return response

    def _check(self, request: web.BaseRequest) -> None:
        secret = self._door.proxy_secret
        if secret is not None:
            given = b"\n".join(_raw(value) for value in request.headers.getall("X-Proxy-Secret", []))
            if not hmac.compare_digest(given, secret.encode()):
                raise _Refused(403, "Only the proxy may speak here.")
        _, base, service = posixpath.normpath(request.path).rpartition(_BASE)
        if not base or service not in _SERVICES:
            raise _Refused(404, "There is no such service here.")
        if request.method != "POST":
            raise _Refused(501, "OpenADR messages are posted.")
        if request.content_type != "application/xml" or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
            raise _Refused(406, "Content-Type must be application/xml in UTF-8.")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _Refused(406, "What is pushed is not compressed (TR-08).")
        if (request.content_length or 0) > MOST_BYTES:
            raise _Refused(406, f"The body is larger than {MOST_BYTES} bytes.")

    async def _body(self, request: web.BaseRequest) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._time_out_s):
                async for part in request.content.iter_any():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise _Refused(406, f"The body is larger than {MOST_BYTES} bytes.")
        except TimeoutError:
            raise _Refused(406, "The body did not arrive in time.") from None
        except (web.RequestPayloadError, ValueError) as error:
            raise _Refused(406, "The body could not be read.") from error
        return bytes(body)

    def _read(self, body: bytes) -> Message | UnreadableError:
        try:
            return decode(body, verify=None if self._signatures is None else self._signatures.verify)
        except UnreadableError as fault:
            return fault


def _raw(header: str) -> bytes:
    """Return the bytes of a header: aiohttp keeps those that are no UTF-8 as lone surrogates."""
    return header.encode("utf-8", "surrogateescape")


class _Refused(Exception):  # noqa: N818  control flow inside this module, not an error type
    """A fault of the transport that ends the exchange."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
