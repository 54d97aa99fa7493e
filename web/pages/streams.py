"""Server-sent events of a page: what an open page hears of, as it happens.

    async def source(after: str | None) -> Sequence[Message]:
        '''Return what is new since the message with that id; None: from the beginning.'''

    return await stream(request, source, every_s=1.0)

The source is asked every `every_s` (machine time). A browser that lost the connection sends the id of the last message
that it saw, and the source goes on from there, so ids are best times or numbers of rows, not counters of a process.
"""

import contextlib
import time
from typing import Final

from aiohttp import web

from core.errors import EvenloadError
from web.pages.page import PageRequest
from web.pages.sse import LONGEST_ID, Message, Source

__all__ = ["Message", "Source", "stream"]

_HEARTBEAT_S: Final = 15.0
_RETRY_MS: Final = 3000


async def stream(request: PageRequest, source: Source, every_s: float = 1.0) -> web.StreamResponse:
    """Send what the source has until the browser goes away, the person signs out, or the server stops.

    Raises what the source raises, as long as nothing was sent; later errors end the stream, and the browser comes back.
    """
    session = request.session
    streams = request.shell.streams
    with streams.one_more(session.handle if session else ""):
        last = request.http.headers.get("Last-Event-ID") or request.query.get("after")
        last = last[:LONGEST_ID] if last else None
        messages = await source(last)
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request.http)
        await response.write(f"retry: {_RETRY_MS}\n\n".encode())
        heard_at = time.monotonic()
        with contextlib.suppress(ConnectionError, EvenloadError):
            while True:
                for message in messages:
                    await response.write(message.encode())
                    last, heard_at = message.id, time.monotonic()
                if not await streams.pause(every_s):
                    break
                if time.monotonic() - heard_at >= _HEARTBEAT_S:
                    await response.write(b": still here\n\n")
                    heard_at = time.monotonic()
                if not await _still_signed_in(request):
                    break
                messages = await source(last)
    return response


async def _still_signed_in(request: PageRequest) -> bool:
    """Look at the session now and then: a stream must not outlive it."""
    session = request.session
    if session is None:
        return True
    checked: float = request.http.get(_CHECKED, 0.0)
    if time.monotonic() - checked < _HEARTBEAT_S:
        return True
    request.http[_CHECKED] = time.monotonic()
    return await request.shell.sessions.works(session)


_CHECKED: Final = web.RequestKey("session_checked", float)
