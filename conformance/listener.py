"""The kit as a server, which keeps each request as it came and says what it is told to say: a VTN, or a pushed VEN."""

import select
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from conformance.exchange import Answer, Request
from conformance.wire import Credentials
from core.errors import InvalidError, UnavailableError

_LARGEST: Final = 4 << 20
_MOST_AT_ONCE: Final = 32
_SILENCE_S: Final = 90.0
_HANDSHAKE_S: Final = 10.0
_MOST_FAULTS: Final = 20


def _ignore(*, waited: bool) -> None:
    del waited


@dataclass(frozen=True, slots=True)
class Saying:
    """What is said to a request: an answer, after a pause of machine time; without one the connection is closed.

    `before` is called just before that, and hears whether the client has `waited`, or hung up during the pause.
    """

    answer: Answer | None
    pause_s: float = 0.0
    before: Callable[..., None] = _ignore


@dataclass(frozen=True, slots=True)
class Place:
    """Where is listened. With a certificate it is TLS, and a client shows one of the authority in `trust`.

    With `anybody` any client is taken, whatever it shows. `authority_key` is the key of the authority in `trust`, where
    the kit may issue by it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    trust: Path | None = None
    anybody: bool = False
    authority_key: Path | None = None

    @property
    def credentials(self) -> Credentials | None:
        """The certificate that is shown, with its key; None for plain HTTP."""
        return Credentials(self.certificate, self.key) if self.certificate and self.key else None

    def context(self) -> ssl.SSLContext | None:
        """Return the server's context, None for plain HTTP. Raises InvalidError."""
        if self.certificate is None or self.key is None or (self.trust is None and not self.anybody):
            if self.certificate or self.key or self.trust or self.authority_key:
                raise InvalidError("TLS needs all of --cert, --key and --ca.")
            if self.host not in ("127.0.0.1", "::1", "localhost"):
                raise InvalidError(f"Plain HTTP is spoken on this machine only, not on {self.host}; give --cert.")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        files = [path for path in (self.certificate, self.key, self.trust) if path is not None]
        for path in files:
            if not path.is_file():
                raise InvalidError(f"There is no file {path}.")
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.trust is not None:
                context.load_verify_locations(self.trust)
        except (OSError, ssl.SSLError) as error:
            raise InvalidError(f"{', '.join(map(str, files))} cannot be used: {error}.") from error
        context.verify_mode = ssl.CERT_NONE if self.anybody else ssl.CERT_REQUIRED
        return context


Hear = Callable[[Request, str], Saying]
"""Takes a request, or a fault of it (no request then), and returns what is said."""


@dataclass(eq=False)
class Front:
    """What a server is for a while: its TLS (None: plain HTTP), and who hears what comes; and how clients took it.

    `certificate` is what a client showed last (DER). A front that `is_shut` closes each connection at once, as that of
    a server that is being restarted.
    """

    context: ssl.SSLContext | None
    hear: Hear
    is_shut: bool = False
    certificate: bytes = b""
    ended: int = 0
    """How many connections are over."""


@dataclass(frozen=True, slots=True)
class Host:
    """A server that runs. `url` ends before the service."""

    server: "_Server"
    scheme: str

    @property
    def front(self) -> Front:
        """What it is now."""
        return self.server.front

    @contextmanager
    def meanwhile(self, front: Front) -> Iterator[Front]:
        """Be something else while the context lasts. Connections from before end, and those in the end."""
        before = self.front
        self.server.turn(front)
        try:
            yield front
        finally:
            self.server.turn(before)

    @property
    def calls(self) -> int:
        """How many connections were opened."""
        return self.server.calls

    @property
    def faults(self) -> tuple[str, ...]:
        """What went wrong before a request came, with how often."""
        return tuple(f"connections that failed: {count} ({text})" for text, count in self.server.faults.most_common(3))

    @property
    def url(self) -> str:
        """The address for VENs, where it is a VTN."""
        return f"{self.base}/OpenADR2/Simple/2.0b"

    @property
    def base(self) -> str:
        """The address without a path."""
        host, port = self.server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"{self.scheme}://{shown}:{port}"


@contextmanager
def serving(place: Place, hear: Hear) -> Iterator[Host]:
    """Serve while the context lasts. Raises InvalidError, UnavailableError if nothing can listen there."""
    context = place.context()
    try:
        server = _Server((place.host, place.port), _Handler)
    except OSError as error:
        raise UnavailableError(f"Nothing can listen at {place.host}:{place.port}: {error.strerror}.") from error
    server.front = Front(context, hear)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield Host(server, "http" if context is None else "https")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    front: Front

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.faults: Counter[str] = Counter()
        self.calls = 0
        if ":" in arguments[0][0]:
            self.address_family = socket.AF_INET6
        super().__init__(*arguments)

    def turn(self, front: Front) -> None:
        """Be another front from now on; who is connected has to connect anew."""
        with self._lock:
            self.front = front
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.calls += 1
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS first, in the connection's own thread: a slow client holds up nobody."""
        with self._lock:
            front = self.front
        try:
            if front.is_shut:
                return
            if front.context is None:
                self._serve(request, client_address, front)
                return
            request.settimeout(_HANDSHAKE_S)
            with front.context.wrap_socket(request, server_side=True) as secured:
                front.certificate = secured.getpeercert(binary_form=True) or b""
                self._serve(secured, client_address, front)
        finally:
            with self._lock:
                front.ended += 1

    def _serve(self, connection: socket.socket, client_address: Any, front: Front) -> None:
        with self._lock:
            if front is not self.front:
                return
            self._open.add(connection)
        try:
            connection.settimeout(_SILENCE_S)
            _Handler(connection, client_address, self, front.hear)
        finally:
            with self._lock:
                self._open.discard(connection)

    def handle_error(self, *_: Any) -> None:
        """Count what was no TLS that we take; what else a VEN does to a connection shows in what it says."""
        error = sys.exception()
        if isinstance(error, ssl.SSLError) and len(self.faults) < _MOST_FAULTS:
            self.faults[f"TLS: {error.reason or error}"] += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, client_address: Any, server: _Server, hear: Hear) -> None:
        self._hear = hear
        super().__init__(connection, client_address, server)

    def log_message(self, *_: Any) -> None:
        """Nothing: the transcript has it."""

    def __getattr__(self, name: str) -> Any:
        """Take every method alike."""
        if name.startswith("do_"):
            return self._take
        raise AttributeError(name)

    def _has_hung_up(self) -> bool:
        """Tell whether the client has closed the connection: before it has its answer it says nothing else."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0))

    def _take(self) -> None:
        length = self.headers.get("Content-Length", "")
        fault = "" if length.isdigit() else "it has no Content-Length that can be read"
        if not fault and int(length) > _LARGEST:
            fault = f"it is larger than {_LARGEST >> 20} MiB"
        body = b"" if fault else self.rfile.read(int(length))
        headers = tuple((name, str(value)) for name, value in self.headers.items())
        saying = self._hear(Request(self.command, self.path, headers, body), fault)
        time.sleep(saying.pause_s)
        saying.before(waited=not self._has_hung_up())
        if saying.answer is None or fault:
            self.close_connection = True
        if saying.answer is None:
            return
        with suppress(ConnectionError):
            self.send_response_only(saying.answer.status)
            for name, value in saying.answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(saying.answer.body)
