"""A VEN's metered energy on an even grid, from whatever its reports brought.

Which of its series count, `vtn.services.settlement_series` says. What its connection cannot carry is doubtful, as is
what the VEN itself calls uncertain: it is kept, marked, and never settled. Of several sources the one that goes before
the others counts, interval by interval (`vtn.services.precedence`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from core import plausible
from core.points import Flow, Kind, Quality, Quantity
from metrics.days import Bools, Floats, Ints, Series
from metrics.overlap import overlap
from vtn.services import settlement_series
from vtn.services.precedence import METER, Rank, rank_of
from vtn.services.settlement_series import Basis, Part
from vtn.store.database import Connection
from vtn.store.readings import Loaded, SeriesKey, Stretch, load_many

_AROUND_S: Final = 6 * 3600
"""How far around a grid registers are read: what comes next tells which readings are believed."""
_FARTHEST_S: Final = 3600
_SPACINGS: Final = 3
"""Between powers of moments farther apart than this (s), or than so many of their usual distances, nothing is known."""
_MOST_LONG: Final = 600
"""Readings longer than five minutes in two days; more of them overlap."""
_NONE: Final = np.zeros((0, 2), np.int64)
_LATEST_S: Final = 2 * 86_400
LONGEST_S: Final = 86_400
"""A longer interval (a month's sum) says nothing of the hours in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Energy (Wh) per cell, shape (cells,), NaN where unknown, and the Rank of the source that says so."""

    energy_wh: Floats
    ranks: Ints


async def energy(conn: Connection, ven_id: str, start_s: int, end_s: int, step_s: int) -> Series:
    """Return the energy (Wh) of a VEN per `step_s`, summed over what is settled of it; NaN where unknown.

    Import counts positive. What is doubtful is not known.
    """
    return (await energy_of_each(conn, {ven_id: (start_s, end_s)}, step_s))[ven_id]


async def energy_of_each(conn: Connection, spans: Mapping[str, tuple[int, int]], step_s: int) -> dict[str, Series]:
    """Return venID -> what `energy` returns, in the order of `spans`: venID -> (start_s, end_s), one much like another.

    Takes two statements for 1,000 VENs; what is held is the result, and the readings of one VEN.
    """
    return {ven_id: one.series for ven_id, one in (await metered_of_each(conn, spans, step_s)).items()}


@dataclass(frozen=True, slots=True, eq=False)
class Metered:
    """A VEN's energy per step, the Rank of the source of each, and which of it comes from longer readings.

    `long_s`: their starts and ends (k, 2), seconds since 1970, of the last two days only.
    """

    series: Series
    ranks: Ints
    long_s: Ints


async def metered_of_each(conn: Connection, spans: Mapping[str, tuple[int, int]], step_s: int) -> dict[str, Metered]:
    """Return venID -> energy and how it was read, as `energy_of_each` does."""
    grids = {ven_id: _grid(start_s, end_s, step_s) for ven_id, (start_s, end_s) in spans.items()}
    found = await _profiles(conn, grids, step_s, tell_long=True)
    made = {}
    for ven_id, (first_s, cells) in grids.items():
        one, long_s = found[ven_id] if ven_id in found else (_unknown(cells), _NONE)
        made[ven_id] = Metered(Series(first_s + step_s * np.arange(cells), one.energy_wh, step_s), one.ranks, long_s)
    return made


def _unknown(cells: int) -> Profile:
    return Profile(np.full(cells, np.nan), np.full(cells, Rank.UNKNOWN, np.int64))


def _grid(start_s: int, end_s: int, step_s: int) -> tuple[int, int]:
    """Return the first second and the number of the cells that cover a span."""
    first = start_s // step_s
    return first * step_s, -(-end_s // step_s) - first


async def energies(conn: Connection, grids: Mapping[str, tuple[int, int]], step_s: int) -> dict[str, Floats]:
    """Return venID -> energy (Wh) per cell, of those of which anything is settled, as `energy_of_each` does.

    `grids`: venID -> first second and number of the cells, which last `step_s`.
    """
    return {ven_id: one.energy_wh for ven_id, (one, _) in (await _profiles(conn, grids, step_s)).items()}


async def profile_of(conn: Connection, ven_id: str, first_s: int, cells: int, step_s: int) -> Profile:
    """Return the energy (Wh) of a VEN in cells of `step_s` from a second on, as `energy` does, with its sources.

    The cells may begin anywhere, in the middle of a reading, too.
    """
    before = -(-LONGEST_S // step_s)
    found = await _profiles(conn, {ven_id: (first_s - before * step_s, before + cells)}, step_s)
    whole = found[ven_id][0] if ven_id in found else _unknown(before + cells)
    return Profile(whole.energy_wh[before:], whole.ranks[before:])


async def _profiles(
    conn: Connection, grids: Mapping[str, tuple[int, int]], step_s: int, *, tell_long: bool = False
) -> dict[str, tuple[Profile, Ints]]:
    bases = await settlement_series.of(conn, list(grids))
    wanted = {
        ven_id: {number: _stretch(part, *grids[ven_id], step_s) for part in basis.everything for number in part.numbers}
        for ven_id, basis in bases.items()
        if basis.parts
    }
    found = {
        ven_id: (
            _profile(bases[ven_id], loaded, *grids[ven_id], step_s),
            _long(bases[ven_id], loaded, *grids[ven_id], step_s) if tell_long else _NONE,
        )
        async for ven_id, loaded in load_many(conn, wanted)
    }
    return {ven_id: found[ven_id] for ven_id in grids if ven_id in found}


def _amounts(basis: Basis, part: Part, loaded: Mapping[int, Loaded]) -> Loaded:
    return joined([amounts(loaded[number], part.key, basis.connection_w) for number in part.numbers])


def _long(basis: Basis, loaded: Mapping[int, Loaded], first_s: int, cells: int, step_s: int) -> Ints:
    """Return start and end of the readings longer than a step that count, of the last two days, (k, 2).

    One does not count where a shorter one of its source speaks, or any of a source that goes before it: in the same
    summand, or before all that stands behind. Of readings that overlap in such numbers none counts as long.
    """
    end_s = first_s + cells * step_s
    if all(
        part.key.kind in (Kind.SUM, Kind.MEAN) and (loaded[number].durations_s <= step_s).all()
        for part in basis.everything
        for number in part.numbers
    ):
        return _NONE
    spans: set[tuple[int, int]] = set()
    heard: list[tuple[Ints, Ints]] = []
    for parts, before in ((basis.parts, ()), (basis.behind, heard)):
        for part in parts:
            taken = list(before)
            for layer in sorted((part, *part.others), key=lambda part: rank_of(part.key)):
                starts_s, lasts_s = _latest(_amounts(basis, layer, loaded), end_s)
                spans |= _uncovered(starts_s, lasts_s, taken, step_s)
                taken.append((starts_s, lasts_s))
            heard += taken if before is not heard else []
    return np.array(sorted(spans), np.int64).reshape(-1, 2)


def _latest(amount: Loaded, end_s: int) -> tuple[Ints, Ints]:
    """Return starts and ends of the readings of intervals that count, of the last two days."""
    last_s = amount.starts_s + amount.durations_s
    counts = np.isfinite(amount.values) & ~amount.are(Quality.UNCERTAIN) & (amount.durations_s > 0)
    counts &= (amount.durations_s <= LONGEST_S) & (last_s > end_s - _LATEST_S) & (amount.starts_s < end_s)
    return amount.starts_s[counts], last_s[counts]


def _uncovered(starts_s: Ints, lasts_s: Ints, taken: Sequence[tuple[Ints, Ints]], step_s: int) -> set[tuple[int, int]]:
    """Return the readings longer than a step that share no time with shorter ones, or with those taken before."""
    long = lasts_s - starts_s > step_s
    if not long.any() or long.sum() > _MOST_LONG:
        return set()
    others = [*taken, (starts_s[~long], lasts_s[~long])]
    ordered = [(np.sort(first), np.sort(last)) for first, last in others if first.size]
    found: set[tuple[int, int]] = set()
    own = list(zip(starts_s[long].tolist(), lasts_s[long].tolist(), strict=True))
    for start, last in own:
        # As many that begin before its end have ended by its start: then none of them touches it.
        free = all(
            np.searchsorted(firsts, last, "left") == np.searchsorted(ends, start, "right") for firsts, ends in ordered
        )
        if free and not any(a < last and b > start for a, b in own if b - a < last - start):
            found.add((start, last))
    return found


def _stretch(part: Part, first_s: int, cells: int, step_s: int) -> Stretch:
    """Return what is read of a part's series for a grid."""
    around_s = {Kind.REGISTER: _AROUND_S, Kind.INSTANT: _FARTHEST_S}.get(Kind(part.key.kind), 0)
    return Stretch(part.key.kind, max(first_s - around_s, 0), first_s + cells * step_s + around_s)


def _profile(basis: Basis, loaded: Mapping[int, Loaded], first_s: int, cells: int, step_s: int) -> Profile:
    """Return the sum of the parts, in cells where what stands behind them does not go before it."""

    def summed(parts: Sequence[Part]) -> Profile:
        energy_wh, ranks = np.zeros(cells), np.full(cells, Rank.METER, np.int64)
        for part in parts:
            layers = [
                Layer(_amounts(basis, one, loaded), one.is_power, rank_of(one.key)) for one in (part, *part.others)
            ]
            own = laid(layers, first_s, cells, step_s)
            back_wh = part.sign * own.energy_wh
            if part.key.source == METER and part.key.point.flow is Flow.EXPORT:  # a meter that tells of none had none
                back_wh = np.nan_to_num(back_wh)
            energy_wh, ranks = energy_wh + back_wh, np.maximum(ranks, own.ranks)
        return Profile(energy_wh, ranks)

    first = summed(basis.parts)
    if not basis.behind:
        return first
    second = summed(basis.behind)
    kept = np.isfinite(first.energy_wh) & (np.isnan(second.energy_wh) | (first.ranks <= second.ranks))
    return Profile(
        np.where(kept, first.energy_wh, second.energy_wh),
        np.where(kept, first.ranks, second.ranks),
    )


def joined(parts: Sequence[Loaded]) -> Loaded:
    """Return the values of several series as one; of the same start and duration the later series counts."""
    if len(parts) == 1:
        return parts[0]
    names = ("starts_s", "durations_s", "values", "words")
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.str_))
    columns = zip(names, empty, strict=True)
    return Loaded(*(np.concatenate([none, *(getattr(one, name) for one in parts)]) for name, none in columns))


def marked(loaded: Loaded, key: SeriesKey, connection_w: float) -> Loaded:
    """Return values with what a connection cannot carry marked uncertain (core.plausible); none is left out."""
    if not len(loaded) or key.quantity not in (Quantity.ENERGY_REAL, Quantity.POWER_REAL):
        return loaded
    if _are_sums(loaded, key, connection_w):
        doubtful = np.zeros(len(loaded), dtype=np.bool_)
    elif key.kind == Kind.REGISTER:
        doubtful = np.ones(len(loaded), dtype=np.bool_)
        doubtful[[one.place for one in _believed(loaded, key, connection_w)]] = False
        doubtful &= np.isfinite(loaded.values)
    else:
        durations = np.maximum(loaded.durations_s, 1)
        with np.errstate(invalid="ignore", over="ignore"):
            powers_w = loaded.values * (3600 / durations if key.quantity == Quantity.ENERGY_REAL else 1.0)
            doubtful = np.abs(powers_w) > connection_w * (1 + 1e-9)
    if not doubtful.any():
        return loaded
    qualities = np.where(doubtful, Quality.UNCERTAIN.value, loaded.words)
    return Loaded(loaded.starts_s, loaded.durations_s, loaded.values, qualities)


def amounts(loaded: Loaded, key: SeriesKey, connection_w: float) -> Loaded:
    """Return values of intervals, doubtful ones marked; a register's lie between the readings that are believed.

    Powers of moments are taken to change evenly from one to the next. Energies of moments that do not rise as a
    register does are those of the time until the next.
    """
    if _are_sums(loaded, key, connection_w):
        return marked(_until_the_next(loaded), replace(key, kind=Kind.SUM), connection_w)
    if key.kind == Kind.INSTANT:
        return _between(marked(loaded, key, connection_w))
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


def _are_sums(loaded: Loaded, key: SeriesKey, connection_w: float) -> bool:
    """Tell whether energies of moments are no register's after all, but each that of an interval.

    Some VENs send every value with a start alone. A register rises, but for a reset now and then; and soon stands
    higher than what a connection carries from one reading to the next.
    """
    if key.kind != Kind.REGISTER or key.point.flow is Flow.NET:
        return False
    values = loaded.values[np.isfinite(loaded.values)]
    changes = np.diff(values)
    falls, rises = int((changes < 0).sum()), int((changes > 0).sum())
    if not falls or rises > 2 * falls:
        return False
    spacing_s = float(np.median(np.diff(loaded.starts_s)))
    return bool((values >= 0).all()) and plausible.carries(float(values.max()), spacing_s, connection_w)


def _until_the_next(points: Loaded) -> Loaded:
    """Return values that are stamped with a start alone as those of the time until the next, if that is near."""
    apart_s = np.diff(points.starts_s)
    usual_s = int(np.median(apart_s))
    durations_s = np.minimum(np.append(apart_s, usual_s), usual_s)
    return Loaded(points.starts_s, durations_s, points.values, points.qualities)


def _between(points: Loaded) -> Loaded:
    """Return the mean powers between points in time, of those that lie close enough together."""
    known = points.take(np.flatnonzero(np.isfinite(points.values) & ~points.are(Quality.UNCERTAIN)))
    if len(known) < 2:  # noqa: PLR2004  two points make an interval
        return known.take(np.zeros(0, np.int64))
    apart_s = np.diff(known.starts_s)
    near = (apart_s > 0) & (apart_s <= min(_FARTHEST_S, _SPACINGS * float(np.median(apart_s))))
    means = (known.values[:-1] + known.values[1:]) / 2
    return Loaded(known.starts_s[:-1][near], apart_s[near], means[near], known.words[:-1][near])


def _believed(loaded: Loaded, key: SeriesKey, connection_w: float) -> list[plausible.Level]:
    readings: Iterable[plausible.RegisterReading] = map(
        plausible.RegisterReading,
        loaded.starts_s.tolist(),
        loaded.values.tolist(),
        loaded.are(Quality.GOOD).tolist(),
    )
    return plausible.believed(readings, connection_w, net=key.point.flow is Flow.NET)


def on_grid(loaded: Loaded, first_s: int, cells: int, step_s: int, *, is_power: bool) -> Floats:
    """Return energy (Wh) per cell, shape (cells,), from intervals of up to a day; NaN for a cell not fully covered.

    An interval's energy is spread evenly over its own time: a gap that a register bridges keeps its sum. Where
    intervals of different length cover the same time (history asked again over telemetry), the shortest counts.
    Uncertain values cover nothing.
    """
    return laid([Layer(loaded, is_power, Rank.POWER if is_power else Rank.REGISTER)], first_s, cells, step_s).energy_wh


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Values of one source: energies of their intervals, or mean powers; `rank`: where it stands."""

    loaded: Loaded
    is_power: bool
    rank: Rank


def laid(layers: Sequence[Layer], first_s: int, cells: int, step_s: int) -> Profile:
    """Lay several sources of the same thing over a grid, as `on_grid` does one of them.

    At any time the source counts that goes before the others; of the same rank the earlier layer, then the shortest
    interval. The rank of a cell is the last of those that it is made of.
    """
    known = [_usable(layer.loaded) for layer in layers]
    starts = np.concatenate([layer.loaded.starts_s[some] for layer, some in zip(layers, known, strict=True)])
    durations = np.concatenate([layer.loaded.durations_s[some] for layer, some in zip(layers, known, strict=True)])
    power_w = np.concatenate([_power_w(layer, some) for layer, some in zip(layers, known, strict=True)])
    ranks = np.concatenate(
        [
            np.where(layer.loaded.are(Quality.ESTIMATED)[some], Rank.ESTIMATE, layer.rank)
            for layer, some in zip(layers, known, strict=True)
        ]
    )
    if (even := _laid_evenly(starts, durations, power_w, ranks, first_s, cells, step_s)) is not None:
        return even
    places = np.repeat(np.arange(len(layers)), [int(some.sum()) for some in known])
    order = (ranks * len(layers) + places) * (LONGEST_S + 1) + durations
    cuts = np.unique(np.concatenate((first_s + step_s * np.arange(cells + 1), starts, starts + durations)))
    cuts = cuts[(cuts >= first_s) & (cuts <= first_s + cells * step_s)]
    begin, length = cuts[:-1], np.diff(cuts)
    mean_w = np.full(begin.shape, np.nan)
    rank_of_part = np.full(begin.shape, Rank.UNKNOWN, np.int64)
    for number in np.unique(order):
        same = np.flatnonzero(order == number)
        same = same[np.argsort(starts[same], kind="stable")]
        latest = np.searchsorted(starts[same], begin, side="right") - 1
        running = same[np.maximum(latest, 0)]
        here_s = overlap(starts[running], starts[running] + durations[running], begin, begin + length)
        free = (here_s > 0) & np.isnan(mean_w)
        mean_w[free] = power_w[running[free]]
        rank_of_part[free] = ranks[running[free]]
    cell = (begin - first_s) // step_s
    energy_wh = np.bincount(cell, weights=mean_w * length / 3600, minlength=cells)
    worst = np.zeros(cells, np.int64)
    np.maximum.at(worst, cell, rank_of_part)
    return Profile(energy_wh.astype(np.float64), worst)


def _laid_evenly(
    starts_s: Ints, durations_s: Ints, power_w: Floats, ranks: Ints, first_s: int, cells: int, step_s: int
) -> Profile | None:
    """Return what `laid` does if no two intervals overlap, all are alike and none lies in two cells; None if not.

    That is what most meters send. It takes a tenth of the time.
    """
    if not starts_s.size:
        return None
    length_s, rank = int(durations_s[0]), int(ranks[0])
    if step_s % length_s or (durations_s != length_s).any() or (ranks != rank).any():
        return None
    after_s = starts_s - first_s
    if (after_s % length_s).any() or (np.diff(starts_s) <= 0).any():
        return None
    inside = (after_s >= 0) & (after_s < cells * step_s)
    cell = after_s[inside] // step_s
    whole = np.bincount(cell, minlength=cells) == step_s // length_s
    energy_wh = np.bincount(cell, weights=power_w[inside] * length_s / 3600, minlength=cells)
    return Profile(np.where(whole, energy_wh, np.nan), np.where(whole, rank, int(Rank.UNKNOWN)))


def _usable(loaded: Loaded) -> Bools:
    usable: Bools = np.isfinite(loaded.values) & (loaded.durations_s > 0) & (loaded.durations_s <= LONGEST_S)
    usable &= ~loaded.are(Quality.UNCERTAIN)
    return usable


def _power_w(layer: Layer, some: Bools) -> Floats:
    values: Floats = layer.loaded.values[some]
    return values if layer.is_power else values * (3600 / layer.loaded.durations_s[some])
