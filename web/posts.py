"""What a listener for machines asks of a POST before it reads it: who brings it, its type, its size, its pace."""

import asyncio
import hmac
from typing import Final

from aiohttp import HttpVersion11, web

_UTF_8: Final = ("utf-8", "utf8")


class RefusedError(Exception):
    """A fault of the transport that ends the exchange, with an HTTP status and the reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def check_xml(request: web.BaseRequest) -> None:
    """Raise RefusedError (406) unless the body is said to be XML in UTF-8."""
    if request.content_type != "application/xml" or (request.charset or _UTF_8[0]).lower() not in _UTF_8:
        raise RefusedError(406, "Content-Type must be application/xml in UTF-8.")


def check_proxy(request: web.BaseRequest, secret: str) -> None:
    """Raise RefusedError (403) unless the proxy's secret is in `X-Proxy-Secret`; an empty secret lets nobody in."""
    given = b"\n".join(raw(value) for value in request.headers.getall("X-Proxy-Secret", []))
    if not hmac.compare_digest(given, raw(secret)) or not secret:
        raise RefusedError(403, "Only the proxy may speak here.")


def raw(header: str) -> bytes:
    """Return the bytes of a header: aiohttp keeps those that are no UTF-8 as lone surrogates."""
    return header.encode("utf-8", "surrogateescape")


async def body_of(request: web.BaseRequest, most_bytes: int, within_s: float) -> bytes:
    """Return a body of at most so many bytes that arrives in time (machine time). Raises RefusedError (406)."""
    if (request.content_length or 0) > most_bytes:
        raise RefusedError(406, f"The body is larger than {most_bytes} bytes.")
    content = request.content
    if content.is_eof() and content.exception() is None and content.total_bytes <= most_bytes:
        return content.read_nowait()  # it came together with the head, as short ones do
    if request.headers.get("Expect") and request.version >= HttpVersion11:  # anything but 100-continue got a 417
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within_s):
            async for part in content.iter_any():
                size += len(part)
                if size > most_bytes:
                    raise RefusedError(406, f"The body is larger than {most_bytes} bytes.")
                parts.append(part)
    except TimeoutError:
        raise RefusedError(406, "The body did not arrive in time.") from None
    except (web.RequestPayloadError, ValueError) as error:
        raise RefusedError(406, "The body could not be read.") from error
    return b"".join(parts)
