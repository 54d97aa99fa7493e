"""Server-sent events: what an open page hears of, as it happens.

    async def source(after: str | None) -> Sequence[Message]:
        '''Return what is new since the message with that id; None: from the beginning.'''

    return await sse.stream(visit, source, every_s=1.0)

The source is asked every `every_s` (machine time). A browser that lost the connection sends the id of the last message
that it saw, and the source goes on from there, so ids are best times or numbers of rows, not counters of a process.
"""

import asyncio
import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from core.errors import EvenloadError
from vtn.web.console import sessions
from vtn.web.console.page import Visit
from vtn.web.problem import ProblemError

_HEARTBEAT_S: Final = 15.0
_RETRY_MS: Final = 3000
_LONGEST_ID: Final = 200


@dataclass(frozen=True, slots=True)
class Message:
    """One event: `data` is anything that JSON can hold; `event` is the name that scripts listen to."""

    id: str
    data: Any
    event: str = "message"

    def encode(self) -> bytes:
        """Return the message as it goes over the line. Not-a-number becomes null."""
        text = json.dumps(_finite(self.data), separators=(",", ":"), default=str, allow_nan=False)
        return f"id: {_line(self.id)}\nevent: {_line(self.event)}\ndata: {text}\n\n".encode()


Source = Callable[[str | None], Awaitable[Sequence[Message]]]


def _line(text: str) -> str:
    return "".join(char for char in text[:_LONGEST_ID] if char.isprintable())


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


class Streams:
    """The open streams of a process: bounded in number, ended together when it stops."""

    def __init__(self, most: int = 200, most_each: int = 8) -> None:
        self._most = most
        self._most_each = most_each
        self._open: Counter[str] = Counter()
        self._stopping = asyncio.Event()

    @contextlib.contextmanager
    def one_more(self, session: str) -> Iterator[None]:
        """Hold a place for a stream. Raises ProblemError 503 if there is none."""
        if self._stopping.is_set() or self._open.total() >= self._most or self._open[session] >= self._most_each:
            raise ProblemError(503, "Too many open live pages; close one and reload.", {"Retry-After": "10"})
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            if not self._open[session]:
                del self._open[session]

    def __len__(self) -> int:
        return self._open.total()

    def stop(self) -> None:
        """End all streams."""
        self._stopping.set()

    async def pause(self, seconds: float) -> bool:
        """Wait; return False if the process stops meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return not self._stopping.is_set()


async def stream(visit: Visit, source: Source, every_s: float = 1.0) -> web.StreamResponse:
    """Send what the source has until the browser goes away, the person signs out, or the server stops.

    Raises what the source raises, as long as nothing was sent; later errors end the stream, and the browser comes back.
    """
    session = visit.session
    streams = visit.frame.streams
    with streams.one_more(session.handle if session else ""):
        last = visit.request.headers.get("Last-Event-ID") or visit.query.get("after")
        last = last[:_LONGEST_ID] if last else None
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
