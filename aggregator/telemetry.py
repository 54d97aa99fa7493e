"""What called VENs consume just now, and what they deliver by a quick estimate: for steering, never for money.

The estimate's baseline is the VEN's own mean power in the hour before the activation starts: known at once, right for
loads that go on evenly, wrong where the load would have changed by itself. The report uses the programme's baseline
(`vtn.services.participation`) instead.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.fleet import Floats
from aggregator.grid import Grid
from core.points import Kind, Quality, Quantity
from vtn.services.metered import on_grid
from vtn.store import chunks
from vtn.store.chunks import DAY_S
from vtn.store.readings import Loaded
from vtn.store.tables import chunk, series

_BEFORE_S: Final = 3600
MINUTE_S: Final = 60
_RECENT: Final = 20
_FEW: Final = 5
_LEAST_KNOWN: Final = 0.5
"""Part of the hour before that must be measured."""
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What VENs deliver by a quick estimate, W, positive = as ordered.

    `minutes`: venID -> mean of each minute since the start of `grid`, NaN where not known; VENs without any metered
    resource are left out.
    """

    grid: Grid
    minutes: Mapping[str, Floats]

    def by_step(self, ven_id: str) -> Floats:
        """Return the mean of each step of the grid (T), NaN where it is not wholly measured."""
        a_step = self.grid.step_s // MINUTE_S
        padded = np.full(self.grid.count * a_step, np.nan)
        known = self.minutes.get(ven_id, padded)[: padded.size]
        padded[: known.size] = known
        means: Floats = padded.reshape(self.grid.count, a_step).mean(axis=1)
        return means

    def latest(self, ven_id: str, since: datetime) -> tuple[float, Floats]:
        """Return the mean of the newest measured minutes after a time, five at most, and which minutes those are.

        NaN where none of the last 20 minutes is measured.
        """
        minutes = self.minutes.get(ven_id, np.zeros(0))
        first = max(math.ceil((since - self.grid.start).total_seconds() / MINUTE_S), minutes.size - _RECENT, 0)
        places = first + np.flatnonzero(np.isfinite(minutes[first:]))[-_FEW:]
        return (float(minutes[places].mean()) if places.size else float("nan")), places.astype(np.float64)


async def estimate(
    conn: AsyncConnection, ven_ids: Sequence[str], grid: Grid, direction: str, now: datetime
) -> Estimate:
    """Estimate what VENs delivered on a grid until now."""
    first_s = grid.start_s - _BEFORE_S
    cells = max((min(int(grid.end.timestamp()), int(now.timestamp())) - first_s) // MINUTE_S, 0)
    minutes: dict[str, Floats] = {}
    for begin in range(0, len(ven_ids), _AT_ONCE):
        some = ven_ids[begin : begin + _AT_ONCE]
        for ven_id, power_w in (await powers(conn, some, first_s, cells)).items():
            minutes[ven_id] = _gain(power_w, direction)
    return Estimate(grid, minutes)


def _gain(power_w: Floats, direction: str) -> Floats:
    """Return what was delivered in each minute since the start, NaN where not known."""
    before = _BEFORE_S // MINUTE_S
    usual = power_w[:before]
    known = usual[np.isfinite(usual)]
    if known.size < _LEAST_KNOWN * before:
        return np.full(max(power_w.size - before, 0), np.nan)
    difference: Floats = known.mean() - power_w[before:]
    return difference if direction == "reduce" else -difference


async def powers(conn: AsyncConnection, ven_ids: Sequence[str], first_s: int, cells: int) -> dict[str, Floats]:
    """Return venID -> mean power (W) of each minute, summed over its metered resources, for those that have any."""
    keys = await _series(conn, ven_ids)
    by_id = {row.id: row for row in keys}
    found: dict[int, dict[tuple[int, int], float]] = {}
    last_s = first_s + cells * MINUTE_S - 1
    query = (
        select(chunk)
        .where(chunk.c.series_id.in_(by_id))
        .where(chunk.c.start_s.between(first_s // DAY_S * DAY_S, last_s) & (chunk.c.end_s >= first_s))
        .order_by(chunk.c.revision)
    )
    for row in await conn.execute(query) if cells else ():
        points = found.setdefault(row.series_id, {})
        for start, duration, value, quality, _ in zip(*chunks.columns(row, by_id[row.series_id].kind), strict=True):
            if first_s <= start <= last_s:
                good = value is not None and quality != Quality.BAD
                points[start, duration] = float(value) if good else float("nan")
    total: dict[str, Floats] = {}
    for series_id, key in by_id.items():
        energy = _energy(found.get(series_id, {}), first_s, cells, is_power=key.quantity == Quantity.POWER_REAL)
        power = energy * (3600 / MINUTE_S)
        total[key.ven_id] = total[key.ven_id] + power if key.ven_id in total else power
    return total


def _energy(points: Mapping[tuple[int, int], float], first_s: int, cells: int, *, is_power: bool) -> Floats:
    places = sorted(points)
    loaded = Loaded(
        np.array([start for start, _ in places], dtype=np.int64),
        np.array([duration for _, duration in places], dtype=np.int64),
        np.array([points[place] for place in places], dtype=np.float64),
        np.full(len(places), Quality.GOOD.value),
    )
    return on_grid(loaded, first_s, cells, MINUTE_S, is_power=is_power)


async def _series(conn: AsyncConnection, ven_ids: Sequence[str]) -> list[Any]:
    """Return one series a resource: energies before mean powers, as `vtn.services.metered` chooses."""
    column = series.c
    metered = ((column.quantity == Quantity.ENERGY_REAL) & (column.kind == Kind.SUM)) | (
        (column.quantity == Quantity.POWER_REAL) & (column.kind == Kind.MEAN)
    )
    query = (
        select(column.id, column.ven_id, column.resource_id, column.quantity, column.kind)
        .where(column.ven_id.in_(ven_ids) & metered)
        .order_by(column.quantity, column.source)
    )
    chosen: dict[tuple[str, str], Any] = {}
    for row in await conn.execute(query):
        chosen.setdefault((row.ven_id, row.resource_id), row)
    return list(chosen.values())
