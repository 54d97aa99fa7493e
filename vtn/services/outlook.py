"""What the fleet's VENs offer together, step by step from now on, straight from their own figures.

The sums of p10 and of p90 are what would be there if all VENs fell short, or did well, at the same time: bounds, not
the pool that can be sold.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.spans import floor_to
from vtn.services import potential
from vtn.services.potential import Potential
from vtn.store.tables import ven

STEP_S: Final = 1800
STEPS: Final = 48
_KEEP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Direction:
    """Sums of one direction: mean powers (W) of each step."""

    p10_w: tuple[float, ...]
    p50_w: tuple[float, ...]
    p90_w: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """A day from `start`, in steps of STEP_S. VENs whose figures are stale are counted, not summed."""

    start: datetime
    reduce: Direction
    increase: Direction
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

    async def today(self, conn: AsyncConnection, now: datetime) -> Outlook:
        """Return the outlook of the coming day."""
        async with self._lock:
            if self._kept is None or self._kept[0] <= self._monotonic() or self._kept[1].start != _start(now):
                self._kept = self._monotonic() + _KEEP_S, await _outlook(conn, now)
            return self._kept[1]


def _start(now: datetime) -> datetime:
    return floor_to(now, STEP_S)


async def _outlook(conn: AsyncConnection, now: datetime) -> Outlook:
    ven_ids = list((await conn.execute(select(ven.c.id).where(ven.c.removed_at.is_(None)))).scalars())
    known = await potential.latest(conn, ven_ids, now)
    return await asyncio.to_thread(_summed, known, len(ven_ids), now)


def _summed(known: dict[str, list[Potential]], vens: int, now: datetime) -> Outlook:
    start = _start(now)
    edges_s = int(start.timestamp()) + STEP_S * np.arange(STEPS, dtype=np.int64)
    sums = {name: np.zeros((3, STEPS)) for name in ("reduce", "increase")}
    fresh = stale = from_history = 0
    for ones in known.values():
        usable = [one for one in ones if not one.is_stale(now)]
        fresh += bool(usable)
        stale += not usable
        from_history += any(one.source == "history" for one in usable)
        for one in usable:
            if one.figures.direction in sums:
                sums[one.figures.direction] += _on_grid(one, edges_s)
    directions = {name: Direction(*(tuple(map(float, row)) for row in rows)) for name, rows in sums.items()}
    return Outlook(
        start, directions["reduce"], directions["increase"], fresh, from_history, stale, vens - fresh - stale
    )


def _on_grid(one: Potential, edges_s: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return p10, p50 and p90 at the start of each step, 0 where nothing is told."""
    figures = one.figures
    place = (edges_s - figures.start_s) // figures.step_s
    inside = (place >= 0) & (place < len(figures.p50_w))
    rows: Sequence[Sequence[float]] = (figures.p10_w, figures.p50_w, figures.p90_w)
    found = np.zeros((3, len(edges_s)))
    found[:, inside] = np.asarray(rows, dtype=np.float64)[:, place[inside]]
    return found
