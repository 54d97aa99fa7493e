"""The meters' own memory: on the very first start they are asked for their past."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from bridges.device import Backfill, Driver
from core.clock import Clock
from core.errors import UnavailableError
from ven.devices import Limited
from ven.household import History
from ven.ingest import Recorder
from ven.readings_store import Ring
from ven.reports import Reporter
from ven.store import Store

_log = structlog.get_logger(__name__)

_DONE: Final = "backfilled"
_QUIET_S: Final = 1.0
_RETRY_S: Final = 0.2


def backfillers(drivers: Mapping[str, Driver], points: Collection[str]) -> dict[str, Backfill]:
    """Return those of the points whose devices remember their readings, each with its driver."""
    found: dict[str, Backfill] = {}
    for driver in drivers.values():
        inner = driver.inner if isinstance(driver, Limited) else driver
        if isinstance(inner, Backfill):
            found |= {point.id: inner for point in driver.describe().points if point.id in points}
    return found


async def backfill(
    meters: Sequence[Backfill],
    points: Collection[str],
    plan: History,
    store: Store,
    ring: Ring,
    recorder: Recorder,
    reporter: Reporter,
    clock: Clock,
) -> None:
    """Ask the meters for the last `plan.days` days, once in a gateway's life; history reports wait meanwhile.

    It has worked once each of `points` has older readings than this moment, and no more of them come.
    """
    if not plan.days or not meters or store.fact(_DONE):
        return
    reporter.history_ready = False
    now = clock.now()
    try:
        async with asyncio.timeout(plan.wait_s):
            for meter in meters:
                await _ask(meter, now - timedelta(days=plan.days), now)
            await _quiet(points, ring, recorder, now)
        store.set_fact(_DONE, value=True)
    except TimeoutError:
        _log.warning("the meters did not tell of their past; they are asked again at the next start", days=plan.days)
    finally:
        reporter.history_ready = True


async def _ask(meter: Backfill, since: datetime, until: datetime) -> None:
    while True:
        try:
            await meter.history(since, until)
        except UnavailableError:
            await asyncio.sleep(_RETRY_S)
        else:
            return


async def _quiet(points: Collection[str], ring: Ring, recorder: Recorder, asked_at: datetime) -> None:
    """Wait until every meter has told of its past and has come to an end."""
    before: dict[str, int] = {}
    while True:
        await asyncio.sleep(_QUIET_S)
        recorder.flush()
        count = {point: ring.count_before(point, asked_at) for point in points}
        if all(count.values()) and count == before:
            return
        before = count
