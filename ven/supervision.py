"""Keeping gateways and their parts running: what breaks begins again after a pause, and everything else goes on."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol, Self

import structlog

from bridges.backoff import Backoff
from ven.household import Household
from ven.quarantine import where

_log = structlog.get_logger(__name__)

_RESTART: Final = Backoff(2.0, 300.0)
"""How long a part of a gateway, or all of it, stays down after it broke."""


class Supervised(Protocol):
    """A gateway, as far as it is kept running: one that ends without having been stopped begins again."""

    household: Household

    async def run(self) -> None:
        """Work until stopped, or until another household file is to be used."""

    def again(self) -> Self:
        """Return a fresh one in its place."""

    async def stopped_within(self, pause_s: float) -> bool:
        """Wait for so long; tell whether it was stopped."""


class _Failures:
    """How often something broke in a row; what ran for long begins to count anew."""

    def __init__(self) -> None:
        self._count = 0

    def pause_s(self, began_s: float) -> float:
        """Count a failure of what began at that machine time; return how long to wait."""
        self._count = 1 if time.monotonic() - began_s > _RESTART.longest_s else self._count + 1
        return _RESTART.delay_s(self._count)


async def keep_up(work: Callable[[], Awaitable[None]], caught: Callable[[Exception], None]) -> None:
    """Do a part of a gateway's work until it is done; where it breaks, `caught` is told and it begins again."""
    failures = _Failures()
    while True:
        began_s = time.monotonic()
        try:
            await work()
        except Exception as error:  # noqa: BLE001  whatever it is, it stays with this part
            caught(error)
            await asyncio.sleep(failures.pause_s(began_s))
        else:
            return


async def run_gateways(gateways: Iterable[Supervised]) -> None:
    """Run several gateways in this process until each has stopped. One that breaks begins again after a pause."""
    async with asyncio.TaskGroup() as group:
        for gateway in gateways:
            group.create_task(_run_for_good(gateway))


async def _run_for_good(gateway: Supervised) -> None:
    failures = _Failures()
    current, is_over = gateway, False
    while True:
        began_s = time.monotonic()
        try:
            current = current.again() if is_over else current
            is_over = True
            await current.run()
        except Exception as error:  # noqa: BLE001  whatever it is, the other households go on
            pause_s = failures.pause_s(began_s)
            _log.error(
                "this gateway broke and begins again",
                household=gateway.household.name,
                in_s=round(pause_s),
                reasons=[f"{type(cause).__name__}: {cause}"[:200] for cause in _causes(error)],
                where=[where(cause) for cause in _causes(error)],
            )
        else:
            pause_s = 0.0
        if await gateway.stopped_within(pause_s):
            return


def _causes(error: BaseException) -> list[BaseException]:
    """Return what lies in the groups of an exception."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in _causes(inner)]
    return [error]
