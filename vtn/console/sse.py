"""Server-sent events: what an open page hears of, as it happens.

    async def source(after: str | None) -> Sequence[Message]:
        '''Return what is new since the message with that id; None: from the beginning.'''

    return await sse.stream(visit, source, every_s=1.0)

The source is asked every `every_s` (machine time). A browser that lost the connection sends the id of the last message
that it saw, and the source goes on from there, so ids are best times or numbers of rows, not counters of a process.
"""

import contextlib
import time
from typing import Final

from aiohttp import web

from core.errors import EvenloadError
from vtn.console.page import Visit
from vtn.services import sessions
from web.pages.sse import LONGEST_ID, Message, Source, Streams

__all__ = ["Message", "Source", "Streams", "stream"]

_HEARTBEAT_S: Final = 15.0
_RETRY_MS: Final = 3000


async def stream(visit: Visit, source: Source, every_s: float = 1.0) -> web.StreamResponse:
    """Send what the source has until the browser goes away, the person signs out, or the server stops.

    Raises what the source raises, as long as nothing was sent; later errors end the stream, and the browser comes back.
    """
    session = visit.session
    streams = visit.frame.streams
    with streams.one_more(session.handle if session else ""):
        last = visit.request.headers.get("Last-Event-ID") or visit.query.get("after")
        last = last[:LONGEST_ID] if last else None
        messages = await source(last)
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(visit.request)
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
                if not await _still_signed_in(visit):
                    break
                messages = await source(last)
    return response


async def _still_signed_in(visit: Visit) -> bool:
    """Look at the session now and then: a stream must not outlive it."""
    session = visit.session
    if session is None:
        return True
    checked: float = visit.request.get(_CHECKED, 0.0)
    if time.monotonic() - checked < _HEARTBEAT_S:
        return True
    visit.request[_CHECKED] = time.monotonic()
    async with visit.desk.db.read() as conn:
        found = await sessions.working(conn, visit.frame.utcnow(), principal_id=session.principal.id)
    return any(one.token_hash == session.token_hash for one in found)


_CHECKED: Final = web.RequestKey("session_checked", float)
