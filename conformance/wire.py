"""An HTTP/1.1 client that keeps bytes as they are: it sends what other clients refuse to send, and mends nothing.

One connection an exchange. Nothing here raises for what a server does: the outcome says it.
"""

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from conformance.exchange import Answer, Headers, Request, header
from core.errors import InvalidError

_LONGEST_HEAD: Final = 64 * 1024
_LARGEST_BODY: Final = 16 << 20
_HTTPS: Final = 443
_HTTP: Final = 80


def is_here(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client certificate (chain) with its key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Access:
    """How a VTN is reached: its base URL, whom to trust, and how long to wait (seconds of machine time).

    `url` ends before the service: `https://host:8443/prefix/OpenADR2/Simple/2.0b`.
    """

    url: str
    trust: Path | None = None
    check_hostname: bool = True
    timeout_s: float = 15.0

    @property
    def path(self) -> str:
        """The path of the base URL, without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def is_secure(self) -> bool:
        """Whether it is reached by TLS."""
        return urlsplit(self.url).scheme == "https"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer, or what the connection did instead."""

    answer: Answer | None
    trouble: str = ""


def tls_context(access: Access, credentials: Credentials | None, suites: str = "") -> ssl.SSLContext:
    """Return a client's context. With `suites` (OpenSSL names) it speaks TLS 1.2 with nothing else.

    Raises InvalidError for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = access.check_hostname
    try:
        if access.trust is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(access.trust)
        if credentials is not None:
            context.load_cert_chain(credentials.certificate, credentials.key)
        if suites:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(suites)
    except (OSError, ssl.SSLError) as error:
        raise InvalidError(f"The certificates for {access.url} cannot be used: {error}.") from error
    return context


@dataclass(frozen=True, slots=True)
class Line:
    """A client's way to a VTN. Without a context it speaks plain HTTP."""

    access: Access
    context: ssl.SSLContext | None

    @property
    def host(self) -> str:
        """What stands in the Host header."""
        return urlsplit(self.access.url).netloc

    def exchange(self, request: Request, *, parts: Sequence[bytes] = (), pause_s: float = 0.0) -> Outcome:
        """Send a request over a connection of its own and read one answer.

        `parts` are sent in place of the request's body, `pause_s` apart: for bodies that are slow or in chunks.
        """
        deadline = time.monotonic() + self.access.timeout_s + pause_s * len(parts)
        try:
            with self._connect() as connection:
                return self._speak(connection, request, parts or (request.body,), pause_s, deadline)
        except ssl.SSLError as error:
            return Outcome(None, f"TLS ended: {error.reason or error}")
        except TimeoutError:
            return Outcome(None, "no answer in time")
        except OSError as error:
            return Outcome(None, f"the connection ended: {error.strerror or error}")

    def _connect(self) -> socket.socket:
        address = urlsplit(self.access.url)
        port = address.port or (_HTTPS if self.access.is_secure else _HTTP)
        host = address.hostname or ""
        plain = socket.create_connection((host, port), self.access.timeout_s)
        if self.context is None:
            return plain
        try:
            return self.context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _speak(
        self, connection: socket.socket, request: Request, parts: Sequence[bytes], pause_s: float, deadline: float
    ) -> Outcome:
        try:
            connection.sendall(_head(request) + parts[0])
            for part in parts[1:]:
                time.sleep(pause_s)
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before it read everything
        return _Reader(connection, deadline).answer(bodiless=request.method == "HEAD")


def _head(request: Request) -> bytes:
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("utf-8")


class _Reader:
    """Reads one answer within bounds, by a deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = bytearray()

    def answer(self, *, bodiless: bool) -> Outcome:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                return Outcome(None, "the head of the answer is too long")
            if not self._more():
                return Outcome(None, "the connection was closed without an answer")
        head = bytes(self._buffer[:end]).decode("latin-1")
        del self._buffer[: end + 4]
        first, *lines = head.split("\r\n")
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not status.isdigit():
            return Outcome(None, f"no HTTP answer: {first[:100]}")
        if status.startswith("1"):
            return self.answer(bodiless=bodiless)
        headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        if bodiless or status in {"204", "304"}:
            return Outcome(Answer(int(status), headers, b""))
        return self._body(int(status), headers)

    def _body(self, status: int, headers: Headers) -> Outcome:
        if "chunked" in (header(headers, "Transfer-Encoding") or "").lower():
            return self._chunks(status, headers)
        length = header(headers, "Content-Length")
        wanted = int(length) if length is not None and length.isdigit() else _LARGEST_BODY
        if wanted > _LARGEST_BODY:
            return Outcome(None, f"the answer claims {length} bytes")
        while len(self._buffer) < wanted and self._more():
            pass
        if length is not None and len(self._buffer) < wanted:
            return Outcome(None, "the connection was closed in the middle of an answer")
        return Outcome(Answer(status, headers, bytes(self._buffer[:wanted])))

    def _chunks(self, status: int, headers: Headers) -> Outcome:
        body = bytearray()
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                if not self._more():
                    return Outcome(None, "the connection was closed in the middle of a chunk")
            digits = bytes(self._buffer[:end]).partition(b";")[0].strip()
            size = int(digits, 16) if digits and all(byte in b"0123456789abcdefABCDEF" for byte in digits) else -1
            if not 0 <= size <= _LARGEST_BODY - len(body):
                return Outcome(None, "a chunk without a length")
            while len(self._buffer) < end + 2 + size + 2:
                if not self._more():
                    return Outcome(None, "the connection was closed in the middle of a chunk")
            body += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 2 + size + 2]
            if not size:
                return Outcome(Answer(status, headers, bytes(body)))

    def _more(self) -> bool:
        """Read what is there; return whether there was anything. Raises TimeoutError at the deadline."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        data = self._connection.recv(1 << 16)
        self._buffer += data
        return bool(data)
