"""A VEN's metered energy on an even grid, from whatever its reports brought."""

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.points import Kind, Quantity
from metrics.days import Floats, Series, series
from vtn.store.readings import Loaded, SeriesKey, load
from vtn.store.tables import series as series_table


async def energy(conn: AsyncConnection, ven_id: str, start_s: int, end_s: int, step_s: int) -> Series:
    """Return the energy (Wh) of a VEN per `step_s`, summed over its metered resources; NaN where unknown.

    Where a resource has energies they are used; else its mean powers are.
    """
    first, last = start_s - start_s % step_s, end_s + -end_s % step_s
    starts = np.arange(first, last, step_s, dtype=np.int64)
    query = (
        select(series_table.c.resource_id, series_table.c.quantity, series_table.c.kind, series_table.c.source)
        .where(
            (series_table.c.ven_id == ven_id)
            & (
                ((series_table.c.quantity == Quantity.ENERGY_REAL) & (series_table.c.kind == Kind.SUM))
                | ((series_table.c.quantity == Quantity.POWER_REAL) & (series_table.c.kind == Kind.MEAN))
            )
        )
        .order_by(series_table.c.quantity)
    )
    by_resource: dict[str, SeriesKey] = {}
    for row in await conn.execute(query):
        by_resource.setdefault(row.resource_id, SeriesKey(ven_id, row.resource_id, row.quantity, row.kind, row.source))
    total = np.full(len(starts), np.nan)
    for number, key in enumerate(by_resource.values()):
        loaded = await load(conn, key, first, last)
        part = on_grid(loaded, first, len(starts), step_s, is_power=key.quantity == Quantity.POWER_REAL)
        total = part if number == 0 else total + part
    return series(starts, total, step_s)


def on_grid(loaded: Loaded, first_s: int, cells: int, step_s: int, *, is_power: bool) -> Floats:
    """Return energy (Wh) per cell, shape (cells,), from intervals of any length; NaN for a cell not fully covered.

    An interval's energy is spread evenly over its own time: a gap that a register bridges keeps its sum. Where
    intervals of different length cover the same time (history asked again over telemetry), the shortest count.
    """
    energy_wh, covered_s = np.zeros(cells), np.zeros(cells)
    known = np.isfinite(loaded.values) & (loaded.durations_s > 0)
    starts, durations = loaded.starts_s[known], loaded.durations_s[known]
    values = loaded.values[known] * (durations / 3600 if is_power else 1.0)
    for duration in np.unique(durations):
        same = durations == duration
        wh, seconds = _spread(starts[same], int(duration), values[same], (first_s, cells, step_s))
        free = covered_s + seconds <= step_s
        energy_wh += np.where(free, wh, 0.0)
        covered_s += np.where(free, seconds, 0.0)
    return np.where(covered_s >= step_s, energy_wh, np.nan)


def _spread(starts: Floats, duration: int, values: Floats, grid: tuple[int, int, int]) -> tuple[Floats, Floats]:
    """Spread intervals of one length over the cells of a grid: energy and seconds per cell."""
    first_s, cells, step_s = grid
    wh, seconds = np.zeros(cells), np.zeros(cells)
    reach = -(-duration // step_s) + 1
    begin = (starts - first_s) // step_s
    for shift in range(int(reach)):
        cell = begin + shift
        low = np.maximum(starts, first_s + cell * step_s)
        high = np.minimum(starts + duration, first_s + (cell + 1) * step_s)
        overlap = np.maximum(high - low, 0)
        inside = (cell >= 0) & (cell < cells) & (overlap > 0)
        index = cell[inside].astype(np.int64)
        np.add.at(wh, index, values[inside] * overlap[inside] / duration)
        np.add.at(seconds, index, overlap[inside])
    return wh, seconds
