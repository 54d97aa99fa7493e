"""`/health`: does the process live, and does what it depends on answer?"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import structlog

from core.errors import UnavailableError
from web.api import Context
from web.model import Model
from web.operation import operation

Check = Callable[[], Awaitable[object]]
"""Returns if the thing answers (False counts as no answer), raises if it does not."""

_CHECK_S = 2.0
_KEEP_S = 1.0

log = structlog.get_logger("evenload.web")


class Alive(Model):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Alive):
    """The process and everything that it depends on answer."""

    ready: list[str]
    """What was asked and answered."""


class Health:
    """Runs the readiness checks, at most once a second however often they are asked for (machine time)."""

    def __init__(self, checks: Mapping[str, Check], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._checks = dict(checks)
        self._monotonic = monotonic
        self._failing: list[str] = []
        self._until = float("-inf")
        self._lock = asyncio.Lock()

    @operation("GET", "/health", summary="Is the server ready to work?", role=None, tags=["server"], errors=[503])
    async def health(self, _context: Context) -> Ready:
        """Name what does not answer, as a 503. Needs no token."""
        async with self._lock:
            if self._monotonic() >= self._until:
                answers = await asyncio.gather(*(self._answers(name, check) for name, check in self._checks.items()))
                self._failing = [name for name, answered in zip(self._checks, answers, strict=True) if not answered]
                self._until = self._monotonic() + _KEEP_S
        if self._failing:
            raise UnavailableError(f"Not ready: no answer from {', '.join(self._failing)}.")
        return Ready(ready=list(self._checks))

    @operation("GET", "/health/live", summary="Does the process live?", role=None, tags=["server"])
    async def alive(self, _context: Context) -> Alive:
        """Answer 200 while the process serves requests. Needs no token."""
        return Alive()

    async def _answers(self, name: str, check: Check) -> bool:
        try:
            async with asyncio.timeout(_CHECK_S):
                return await check() is not False
        except Exception as error:  # noqa: BLE001  whatever a check raises means the same: not ready
            log.warning("readiness check failed", check=name, error=repr(error)[:200])
            return False
