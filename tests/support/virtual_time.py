"""An event loop whose time passes only when nobody has anything to do, and a world clock that follows it."""

import asyncio
from datetime import datetime, timedelta


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it: hours take milliseconds, and always the same way."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_s = 0.0

    def time(self) -> float:
        return self._virtual_s

    def _run_once(self) -> None:
        timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self._virtual_s = max(self._virtual_s, min(timers))
        super()._run_once()  # type: ignore[misc]


class LoopClock:
    """World time that follows a loop's time; it can be set in both directions."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: datetime) -> None:
        self._loop = loop
        self._start = now

    def now(self) -> datetime:
        return self._start + self.elapsed()

    def elapsed(self) -> timedelta:
        return timedelta(seconds=self._loop.time())

    def step(self, by: timedelta) -> None:
        self._start += by

    async def sleep_until(self, when: datetime) -> None:
        while (left_s := (when - self.now()).total_seconds()) > 0:  # noqa: ASYNC110  as the real clock does
            await asyncio.sleep(min(left_s, 30.0))
