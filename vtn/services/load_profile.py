"""A VEN's metered energy on an even grid, from whatever its reports brought.

Which of its series count, `vtn.services.settlement_series` says. What its connection cannot carry is doubtful, as is
what the VEN itself calls uncertain: it is kept, marked, and never settled.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from core import plausible
from core.points import Flow, Kind, Quality, Quantity
from metrics.days import Bools, Floats, Series, series
from metrics.overlap import overlap
from vtn.services import settlement_series
from vtn.services.settlement_series import Basis
from vtn.store.readings import Loaded, SeriesKey, load_many

_AROUND_S: Final = 6 * 3600
"""How far around a grid registers are read: what comes next tells which readings are believed."""
_LONGEST_S: Final = 86_400
"""A longer interval (a month's sum) says nothing of the hours in it."""


async def energy(conn: AsyncConnection, ven_id: str, start_s: int, end_s: int, step_s: int) -> Series:
    """Return the energy (Wh) of a VEN per `step_s`, summed over what is settled of it; NaN where unknown.

    Import counts positive. What is doubtful is not known.
    """
    first, last = start_s - start_s % step_s, end_s + -end_s % step_s
    starts = np.arange(first, last, step_s, dtype=np.int64)
    basis = (await settlement_series.of(conn, [ven_id])).get(ven_id, Basis())
    found = await energies(conn, {ven_id: basis}, first, len(starts), step_s)
    return series(starts, found.get(ven_id, np.full(len(starts), np.nan)), step_s)


async def energies(
    conn: AsyncConnection, bases: Mapping[str, Basis], first_s: int, cells: int, step_s: int
) -> dict[str, Floats]:
    """Return venID -> energy (Wh) per cell, of those of which anything is settled."""
    last_s = first_s + cells * step_s
    kinds = {number: one.key.kind for basis in bases.values() for one in basis.parts for number in one.numbers}
    registers = {number: kind for number, kind in kinds.items() if kind == Kind.REGISTER}
    others = {number: kind for number, kind in kinds.items() if kind != Kind.REGISTER}
    loaded = await load_many(conn, others, first_s, last_s)
    if cells:
        loaded |= await load_many(conn, registers, max(first_s - _AROUND_S, 0), last_s + _AROUND_S)
    total: dict[str, Floats] = {}
    for ven_id, basis in bases.items():
        for part in basis.parts:
            some = (loaded[number] for number in part.numbers if number in loaded)
            amount = joined([amounts(one, part.key, basis.connection_w) for one in some])
            energy_wh = part.sign * on_grid(amount, first_s, cells, step_s, is_power=part.is_power)
            total[ven_id] = total[ven_id] + energy_wh if ven_id in total else energy_wh
    return total


def joined(parts: Sequence[Loaded]) -> Loaded:
    """Return the values of several series as one; of the same start and duration the later series counts."""
    if len(parts) == 1:
        return parts[0]
    names = ("starts_s", "durations_s", "values", "qualities")
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.str_))
    columns = zip(names, empty, strict=True)
    return Loaded(*(np.concatenate([none, *(getattr(one, name) for one in parts)]) for name, none in columns))


def marked(loaded: Loaded, key: SeriesKey, connection_w: float) -> Loaded:
    """Return values with what a connection cannot carry marked uncertain (core.plausible); none is left out."""
    if not len(loaded) or key.quantity not in (Quantity.ENERGY_REAL, Quantity.POWER_REAL):
        return loaded
    if key.kind == Kind.REGISTER:
        doubtful = np.ones(len(loaded), dtype=np.bool_)
        doubtful[[one.place for one in _believed(loaded, key, connection_w)]] = False
        doubtful &= np.isfinite(loaded.values)
    else:
        durations = np.maximum(loaded.durations_s, 1)
        powers_w = loaded.values * (3600 / durations if key.quantity == Quantity.ENERGY_REAL else 1.0)
        with np.errstate(invalid="ignore"):
            doubtful = np.abs(powers_w) > connection_w * (1 + 1e-9)
    qualities = np.where(doubtful, Quality.UNCERTAIN.value, loaded.qualities)
    return Loaded(loaded.starts_s, loaded.durations_s, loaded.values, qualities)


def amounts(loaded: Loaded, key: SeriesKey, connection_w: float) -> Loaded:
    """Return values of intervals, doubtful ones marked; a register's lie between the readings that are believed."""
    if key.kind != Kind.REGISTER:
        return marked(loaded, key, connection_w)
    levels = _believed(loaded, key, connection_w)
    starts = loaded.starts_s[[one.place for one in levels]]
    total = np.array([one.total_wh for one in levels], dtype=np.float64)
    uncertain = np.diff(np.array([one.uncertain for one in levels], dtype=np.int64)) > 0
    estimated = np.diff(np.array([one.estimated for one in levels], dtype=np.int64)) > 0
    words = np.where(
        uncertain, Quality.UNCERTAIN.value, np.where(estimated, Quality.ESTIMATED.value, Quality.GOOD.value)
    )
    return Loaded(starts[:-1], np.diff(starts), np.diff(total), words)


def _believed(loaded: Loaded, key: SeriesKey, connection_w: float) -> list[plausible.Level]:
    readings: Iterable[plausible.Reading] = map(
        plausible.Reading,
        loaded.starts_s.tolist(),
        loaded.values.tolist(),
        (loaded.qualities == Quality.GOOD).tolist(),
    )
    return plausible.believed(readings, connection_w, net=key.point.flow is Flow.NET)


def on_grid(loaded: Loaded, first_s: int, cells: int, step_s: int, *, is_power: bool) -> Floats:
    """Return energy (Wh) per cell, shape (cells,), from intervals of up to a day; NaN for a cell not fully covered.

    An interval's energy is spread evenly over its own time: a gap that a register bridges keeps its sum. Where
    intervals of different length cover the same time (history asked again over telemetry), the shortest counts.
    Uncertain values cover nothing.
    """
    known: Bools = np.isfinite(loaded.values) & (loaded.durations_s > 0) & (loaded.durations_s <= _LONGEST_S)
    known &= loaded.qualities != Quality.UNCERTAIN
    starts, durations = loaded.starts_s[known], loaded.durations_s[known]
    power_w = loaded.values[known] * (1.0 if is_power else 3600 / durations)
    cuts = np.unique(np.concatenate((first_s + step_s * np.arange(cells + 1), starts, starts + durations)))
    cuts = cuts[(cuts >= first_s) & (cuts <= first_s + cells * step_s)]
    begin, length = cuts[:-1], np.diff(cuts)
    mean_w = np.full(begin.shape, np.nan)
    for duration in np.unique(durations):
        same = np.flatnonzero(durations == duration)
        same = same[np.argsort(starts[same], kind="stable")]
        latest = np.searchsorted(starts[same], begin, side="right") - 1
        running = same[np.maximum(latest, 0)]
        here_s = overlap(starts[running], starts[running] + duration, begin, begin + length)
        free = (here_s > 0) & np.isnan(mean_w)
        mean_w[free] = power_w[running[free]]
    energy_wh = np.bincount((begin - first_s) // step_s, weights=mean_w * length / 3600, minlength=cells)
    return energy_wh.astype(np.float64)
