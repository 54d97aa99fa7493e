"""What the fleet's VENs offer together, step by step from now on, straight from their own figures.

The sums of p10 and of p90 are what would be there if all VENs fell short, or did well, at the same time: bounds, not
the pool that can be sold.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import compress
from typing import Final

import numpy as np
from sqlalchemy import func, select

from core.direction import Direction
from core.spans import floor_to
from vtn.services import potential_arrays
from vtn.services.potential_arrays import Batch
from vtn.store.database import Connection
from vtn.store.tables import ven

STEP_S: Final = 1800
STEPS: Final = 48
_KEEP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class DirectionForecast:
    """Sums of one direction: mean powers (W) of each step."""

    p10_w: tuple[float, ...]
    p50_w: tuple[float, ...]
    p90_w: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """A day from `start`, in steps of STEP_S. VENs whose figures are stale are counted, not summed."""

    start: datetime
    reduce: DirectionForecast
    increase: DirectionForecast
    vens: int
    from_history: int
    stale: int
    silent: int

    @property
    def times(self) -> tuple[datetime, ...]:
        """The start of each step."""
        return tuple(self.start + timedelta(seconds=STEP_S * number) for number in range(STEPS))


class Outlooks:
    """Computes the outlook at most once a minute (machine time), however many people look."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: tuple[float, Outlook] | None = None
        self._lock = asyncio.Lock()

    async def today(self, conn: Connection, now: datetime) -> Outlook:
        """Return the outlook of the coming day."""
        async with self._lock:
            if self._kept is None or self._kept[0] <= self._monotonic() or self._kept[1].start != _start(now):
                self._kept = self._monotonic() + _KEEP_S, await _outlook(conn, now)
            return self._kept[1]


def _start(now: datetime) -> datetime:
    return floor_to(now, STEP_S)


async def _outlook(conn: Connection, now: datetime) -> Outlook:
    here = ven.c.removed_at.is_(None)
    known = await potential_arrays.batches(conn, ven_ids=select(ven.c.id).where(here))
    vens: int = (await conn.execute(select(func.count()).select_from(ven).where(here))).scalar_one()
    return await asyncio.to_thread(_summed, known, vens, now)


def _summed(batches: Sequence[Batch], vens: int, now: datetime) -> Outlook:
    start = _start(now)
    edges_s = int(start.timestamp()) + STEP_S * np.arange(STEPS + 1, dtype=np.int64)
    sums = {direction: np.zeros((3, STEPS)) for direction in Direction}
    heard: set[str] = set()
    fresh: set[str] = set()
    from_history: set[str] = set()
    for batch in batches:
        heard.update(batch.ven_ids)
        usable = batch.fresh(now)
        fresh.update(compress(batch.ven_ids, usable))
        from_history.update(compress(batch.ven_ids, usable & (np.array(batch.sources) == "history")))
        if batch.direction in set(Direction):
            sums[Direction(batch.direction)] += batch.values_w[usable].sum(axis=0) @ batch.shares(edges_s)
    directions = {name: DirectionForecast(*(tuple(map(float, row)) for row in rows)) for name, rows in sums.items()}
    return Outlook(
        start,
        directions[Direction.REDUCE],
        directions[Direction.INCREASE],
        vens=len(fresh),
        from_history=len(from_history),
        stale=len(heard - fresh),
        silent=vens - len(heard),
    )
