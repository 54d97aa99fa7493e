"""OpenADR 2.0b over HTTP, pull mode: one POST at a time over mutual TLS.

Everything here is machine time.
"""

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final, Self

import aiohttp

from core.errors import EvenloadError, InvalidError
from openadr.signature.values import SignatureError
from openadr.v20b.decode import UnreadableError, WireError, decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import SERVICES, Message
from ven.engine import Failure
from ven.transport.signatures import Signatures

LONGEST_AFTER_S: Final = 300.0
_MOST_DIGITS: Final = 9
MOST_BYTES: Final = 10 * 1024 * 1024
_HEADERS: Final = {
    "Content-Type": "application/xml",
    "Accept": "application/xml",
    "Accept-Encoding": "gzip",
    "User-Agent": "evenload",
}
_OK: Final = 200
_BUSY: Final = frozenset({408, 429, 503})
_NOT_IMPLEMENTED: Final = 501
_FORBIDDEN: Final = 403
_SERVER_ERRORS: Final = 500


class TransportError(EvenloadError):
    """A message got no OpenADR answer; `failure` says in which way.

    `code` and `text` are what came instead ("HTTP 503"), `after_s` how long the server wants to be left alone.
    """

    def __init__(self, failure: Failure, text: str, *, code: str = "", after_s: float = 0.0) -> None:
        super().__init__(text)
        self.failure = failure
        self.code = code or failure.value
        self.text = text
        self.after_s = after_s


class PullTransport:
    """The VTN at one base URL. Use as an async context manager.

    `base_url` ends before the service name: `https://vtn.example/OpenADR2/Simple/2.0b`. Plain `http` is taken on
    loopback only. `time_out_s` is for a whole exchange (TR-10). With `signatures` what we say is signed, and an answer
    that must be ignored for its signature is none (SE-08).
    """

    def __init__(
        self,
        base_url: str,
        tls: ssl.SSLContext | None,
        time_out_s: float = 10.0,
        signatures: Signatures | None = None,
    ) -> None:
        self._signatures = signatures
        self._base = base_url.rstrip("/")
        if not self._base.startswith("https://") and not _is_loopback(self._base):
            raise InvalidError(f"{base_url} is no https:// URL; without TLS only this machine itself is talked to.")
        if self._base.startswith("https://") and tls is None:
            raise InvalidError(f"{base_url} needs an identity with key and certificate: run `evenload ven enrol`.")
        connector = aiohttp.TCPConnector(ssl=tls if tls is not None else True, limit=1)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=time_out_s),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, message: Message) -> Message | None:
        """Post a message to its service and return the answer; None is an empty HTTP 200.

        Raises TransportError where there is no OpenADR answer, UnreadableError where it holds an unreadable value.
        """
        url = f"{self._base}/{SERVICES[type(message)]}"
        body = encode(message, sign=None if self._signatures is None else self._signatures.sign)
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as response:
                content = await _bounded(response)
                status, after = response.status, response.headers.get("Retry-After", "")
        except TimeoutError as error:
            raise TransportError(Failure.UNREACHABLE, f"{url} did not answer in time.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(Failure.UNREACHABLE, f"{url} cannot be reached: {error}") from error
        if status != _OK:
            text = content[:200].decode("utf-8", "replace").strip()
            raise TransportError(
                self._failure(status),
                f"{url} answered HTTP {status}: {text}",
                code=f"HTTP {status}",
                after_s=_after_s(after),
            )
        try:
            return self._read(content)
        except UnreadableError:
            raise
        except SignatureError as error:  # as good as no answer: what we said may have arrived, and is said again
            text = f"{url}: its answer is ignored. {error}"
            raise TransportError(Failure.UNREACHABLE, text, code="signature") from error
        except WireError as error:
            raise TransportError(Failure.BROKEN, f"{url} answered with something unreadable: {error}") from error

    def _read(self, content: bytes) -> Message | None:
        if content.strip():
            return decode(content, verify=None if self._signatures is None else self._signatures.verify)
        if self._signatures is not None:
            self._signatures.refuse_unsigned()
        return None

    def _failure(self, status: int) -> Failure:
        """Return in which way a status fails. What is refused for its signature is signed anew, so waiting may help."""
        if status == _FORBIDDEN and self._signatures is not None:
            return Failure.UNREACHABLE
        return _failure(status)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(65536):
        size += len(part)
        if size > MOST_BYTES:
            response.close()
            raise TransportError(Failure.BROKEN, f"{response.url} answered with more than {MOST_BYTES} bytes.")
        parts.append(part)
    return b"".join(parts)


def _failure(status: int) -> Failure:
    if status in _BUSY:
        return Failure.BUSY
    return Failure.BROKEN if status >= _SERVER_ERRORS and status != _NOT_IMPLEMENTED else Failure.REJECTED


def _after_s(header: str) -> float:
    """Return the seconds that a Retry-After header names (RFC 9110, 10.2.3), within reason; 0 for none."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return min(float(header[:_MOST_DIGITS]), LONGEST_AFTER_S)
    try:
        when = parsedate_to_datetime(header)
        left_s = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(left_s, 0.0), LONGEST_AFTER_S)


def _is_loopback(url: str) -> bool:
    host = url.removeprefix("http://").partition("/")[0]
    name = host.rpartition(":")[0] or host
    return url.startswith("http://") and name in ("127.0.0.1", "localhost", "[::1]")
