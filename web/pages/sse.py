"""Server-sent events: the messages, and the streams that a process has open."""

import asyncio
import contextlib
import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from web.pages.translations import gettext as _
from web.problem import ProblemError

LONGEST_ID: Final = 200


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
    return "".join(char for char in text[:LONGEST_ID] if char.isprintable())


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
            raise ProblemError(
                503, _("Too many live pages are open. Close one and reload this page."), {"Retry-After": "10"}
            )
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
