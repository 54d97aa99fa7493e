"""Listening: aiohttp's servers behind our own acceptance of connections, with time-outs from the first byte on."""

import asyncio
import errno
import hashlib
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler

from core.errors import InvalidError
from web.connections import Connection, Connections
from web.plain_response import PlainResponse

_log = structlog.get_logger("evenload.web")

_BACKLOG: Final = 1024
_PAUSE_S: Final = 0.2
_LINGER_S: Final = 2.0
_RESERVED: Final = 256
"""Handles that are not for connections: database, files, sockets of our own."""
_FEWEST: Final = 64
_HANDLES: Final = 1 << 20
_NO_HANDLES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_WHY: Final = 200

_Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def raise_handle_limit() -> int:
    """Raise this process's limit of open files to what it may have; return what is left for connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _HANDLES if hard == resource.RLIM_INFINITY else min(hard, _HANDLES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return free_handles()


def free_handles() -> int:
    """Return how many connections this process may hold, so that the database can still be opened."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST, (_HANDLES if soft == resource.RLIM_INFINITY else soft) - _RESERVED)


class Site(web.BaseSite):
    """Listens at an address, and hands each connection to a runner's server. `start` raises OSError.

    A client is known by the certificate that it showed in the handshake; with `trusted` (on loopback: a proxy, or
    plain HTTP) everybody is known. `shared`: other processes may listen there too (SO_REUSEPORT).
    """

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        connections: Connections,
        *,
        tls: ssl.SSLContext | None = None,
        shared: bool = False,
        trusted: bool = False,
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=_BACKLOG)
        self._trusted = trusted
        self._address = (host, port)
        self._connections = connections
        self._shared = shared

    @property
    def name(self) -> str:
        """Where it listens."""
        scheme = "https" if self._ssl_context else "http"
        return f"{scheme}://{self._address[0]}:{self._address[1]}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        sockets = await _bound(*self._address, shared=self._shared)
        runner: Any = self._runner
        door = _Door(runner.server, self._connections, self._ssl_context, sockets, trusted=self._trusted)
        self._server = door  # type: ignore[assignment]  # what aiohttp asks of a server: `sockets` and `close`
        door.open()


async def _bound(host: str, port: int, *, shared: bool) -> list[socket.socket]:
    """Return listening sockets for each address of a host. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            one = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(one)
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            at = address[1] if one is sockets[0] else sockets[0].getsockname()[1]  # port 0: the same for all
            one.bind((address[0], at, *address[2:]))
            one.listen(_BACKLOG)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


class _Door:
    """Accepts connections on some sockets until it is closed."""

    def __init__(
        self,
        server: Any,
        connections: Connections,
        tls: ssl.SSLContext | None,
        sockets: list[socket.socket],
        *,
        trusted: bool,
    ) -> None:
        self.sockets = sockets
        self._trusted = trusted
        self._server = server
        self._connections = connections
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to accept."""
        for one in self.sockets:
            self._begin(self._accept(one))

    def close(self) -> None:
        """Accept nothing more, and drop what has not finished its handshake."""
        for task in tuple(self._tasks):
            task.cancel()
        for one in self.sockets:
            one.close()

    def _begin(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        full = False
        while True:
            try:
                one, address = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _NO_HANDLES and not full:
                    full = True
                    _log.error("no connection can be accepted", why=error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            full = False
            self._take(one, str(address[0]))

    def _take(self, sock: socket.socket, address: str) -> None:
        task: asyncio.Task[None] | None = None

        def close() -> None:
            if task is not None:
                task.cancel()

        connection = self._connections.accept(address, close)
        if connection is None:
            sock.close()
            return
        task = self._begin(self._shake(sock, address, connection))

    async def _shake(self, sock: socket.socket, address: str, connection: Connection) -> None:
        """Make a connection of a socket: with TLS that takes a handshake."""
        handler: _Handler | None = None

        def make() -> _Handler:
            nonlocal handler
            handler = _Handler(self._server, self._connections, connection, trusted=self._trusted)
            return handler

        within_s = self._connections.limits.handshake_s if self._tls else None
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(make, sock, ssl=self._tls, ssl_handshake_timeout=within_s)
        except ssl.SSLError as error:  # it never reaches HTTP, where everything else is logged (SE-03, SE-04)
            why = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
            _log.warning("client refused", why=str(why)[:_WHY], address=address)
        except (OSError, TimeoutError) as error:
            _log.debug("client gone", why=str(error)[:_WHY], address=address)
        finally:
            if handler is None or handler.transport is None:
                self._connections.gone(connection)
                sock.close()


class _Handler(RequestHandler):
    """aiohttp's handler of one connection, with a time-out for what aiohttp waits for without end."""

    __slots__ = ("_connection", "_connections", "_deadline", "_trusted")

    def __init__(self, server: Any, connections: Connections, connection: Connection, *, trusted: bool) -> None:
        settings = server._kwargs  # noqa: SLF001  aiohttp has no seam for a handler of one's own
        given = {**settings, "keepalive_timeout": connections.limits.idle_s, "lingering_time": _LINGER_S}
        super().__init__(server, loop=asyncio.get_running_loop(), **given)
        self._connections = connections
        self._connection = connection
        self._trusted = trusted
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note whose connection it is, or wait for its first request."""
        super().connection_made(transport)
        self._connection.close = self._abort
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else None
        if certificate or self._trusted:
            who = hashlib.sha256(certificate).hexdigest() if certificate else ""
            self._connections.prove(self._connection, who)
        else:
            self._expect_within(self._connections.limits.handshake_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._expect_nothing()
        self._connections.gone(self._connection)
        super().connection_lost(exc)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading, if it was paused: aiohttp lets its parser run after each body that was taken."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        """Wait for the client to fetch what is written."""
        super().pause_writing()
        self._expect_within(self._connections.limits.answer_s)

    def resume_writing(self) -> None:
        """Go on writing."""
        self._expect_nothing()
        super().resume_writing()

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._abort)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, request_handler: _Answering
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if self._deadline is not None:
            self._expect_nothing()
        if self._connection.who is None:
            self._connections.asked(self._connection)
        if hdrs.EXPECT in request.headers:
            expected = request.headers.getall(hdrs.EXPECT)
            if [one.lower() for one in expected] != ["100-continue"]:
                request_handler = _no_expectation
        return super()._handle_request(request, start_time, request_handler)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, or a fault of our own, without a word of who we are; one line in the log."""
        del message
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            why = " ".join(str(exc).split())[:_WHY]
            _log.warning("malformed request", address=request.remote, why=why)
        elif not isinstance(exc, ConnectionError):  # else the client has gone, and there is nobody to answer
            _log.error("unexpected fault", address=request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("Half an answer is out: the only honest end is to cut the connection.")
        return _plain(status)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Say in one line that the rest of a request, which nobody asked for, cannot be read; traces are for ours.

        The request has its answer, and who refused it has warned already.
        """
        error = kw.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            why = " ".join(str(error).split())[:_WHY]
            _log.info("malformed request", address=self._connection.address, why=why)
        else:
            super().log_exception(*args, **kw)


async def _no_expectation(request: web.BaseRequest) -> web.StreamResponse:
    _log.warning("request refused", address=request.remote, why="an Expect header other than 100-continue")
    return _plain(HTTPStatus.EXPECTATION_FAILED)


def _plain(status: int) -> web.Response:
    answer = PlainResponse(status=status, text=f"{HTTPStatus(status).phrase}\n")
    answer.force_close()
    return answer


async def listen(
    runner: web.BaseRunner,
    host: str,
    port: int,
    connections: Connections,
    *,
    tls: ssl.SSLContext | None,
    shared: bool = False,
    trusted: bool = False,
) -> int:
    """Listen and return the port; see `Site`. Raises InvalidError for an address that cannot be used."""
    site = Site(runner, host, port, connections, tls=tls, shared=shared, trusted=trusted)
    try:
        await site.start()
    except OSError as error:
        why = "the port is taken, by another VTN perhaps" if error.errno == errno.EADDRINUSE else error.strerror
        shown = f"[{host}]" if ":" in host else host
        raise InvalidError(f"Cannot listen on {shown}:{port}: {why or error}.") from error
    return int(runner.addresses[0][1])
