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
        .order_by(series_table.c.quantity, series_table.c.source)
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
    intervals of different length cover the same time (history asked again over telemetry), the shortest counts.
    """
    known = np.isfinite(loaded.values) & (loaded.durations_s > 0)
    starts, durations = loaded.starts_s[known], loaded.durations_s[known]
    power_w = loaded.values[known] * (1.0 if is_power else 3600 / durations)
    cuts = np.unique(np.concatenate((first_s + step_s * np.arange(cells + 1), starts, starts + durations)))
    cuts = cuts[(cuts >= first_s) & (cuts <= first_s + cells * step_s)]
    begin, length = cuts[:-1], np.diff(cuts)
    mean_w = np.full(begin.shape, np.nan)
    for duration in np.unique(durations):
        same = np.flatnonzero(durations == duration)
        same = same[np.argsort(starts[same])]
        latest = np.searchsorted(starts[same], begin, side="right") - 1
        running = same[np.maximum(latest, 0)]
        free = (latest >= 0) & (begin < starts[running] + duration) & np.isnan(mean_w)
        mean_w[free] = power_w[running[free]]
    energy_wh = np.bincount((begin - first_s) // step_s, weights=mean_w * length / 3600, minlength=cells)
    return energy_wh.astype(np.float64)
