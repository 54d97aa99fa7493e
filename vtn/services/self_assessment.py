"""What VENs say that an event brought, held against our result: agreement, or a dispute to look into; never settlement.

A VEN's word is a data point of report type `deltaUsage` in real energy, in whatever report (openadr.model.assessment).
Its values are readings like all others; what they say of a result is read from them when it is asked for, so that
a value that comes late counts, and one that is corrected, too.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from core.direction import Direction
from core.plausible import HOME_W
from core.points import Kind, Quantity
from metrics.days import Floats
from metrics.presets import PRESETS
from openadr.model.assessment import DELTA, delivered_wh, method_of
from vtn.services import load_profile, settlement_series
from vtn.services.evaluation_result import IntervalResult, Result, VenResult
from vtn.services.settlement_series import Basis
from vtn.store.database import Connection
from vtn.store.readings import Loaded, SeriesKey, Stretch, load_many, numbered
from vtn.store.tables import series

OF_DELIVERY: Final = 0.1
OF_BASELINE: Final = 0.05
"""Two figures agree within a tenth of what was delivered, or a twentieth of the baseline if that is more.

The same readings and method differ by roundings alone. Another method errs by some per cent of what a home uses: a
small delivery is not known to a tenth.
"""
_SAID: Final = (series.c.report_type == DELTA, series.c.quantity == Quantity.ENERGY_REAL, series.c.kind == Kind.SUM)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one VEN says beside what its result says, over those intervals that count there and that both know.

    Energies in Wh, positive as ordered. `difference_wh`: the VEN's less ours; `difference_ratio`: of ours. `agrees`:
    within `tolerance_wh`. These are None where our result knows nothing of it: then `own_wh` is all that the VEN says.
    `coverage`: share of the intervals that count of which both know, 0 to 1. `method`: the baseline by which the VEN
    computes, if it says so; `same_method`: whether that is the result's.
    """

    ven_id: str
    ven_name: str
    own_wh: float
    result_wh: float | None
    difference_wh: float | None
    difference_ratio: float | None
    tolerance_wh: float | None
    agrees: bool | None
    coverage: float
    method: str | None = None
    same_method: bool | None = None

    @property
    def is_disputed(self) -> bool:
        """Whether the two differ."""
        return self.agrees is False


@dataclass(frozen=True, slots=True)
class SelfAssessments:
    """What VENs say of a version of a dispatch's result. `silent`: so many VENs that took part say nothing."""

    dispatch_id: str
    version: int
    agreeing: int
    disputed: int
    silent: int
    vens: tuple[Agreement, ...]


async def of_result(
    conn: Connection, result: Result, direction: Direction, vens: Sequence[VenResult] | None = None
) -> SelfAssessments:
    """Return what the VENs of a result (or some of them) say of it, in the result's order; those that say something."""
    asked = [one for one in (result.vens if vens is None else vens) if _due(one)]
    rows = await _said_by(conn, asked, direction, result.method.partition("/")[0])
    return SelfAssessments(
        result.dispatch_id,
        result.version,
        sum(one.agrees is True for one in rows),
        sum(one.is_disputed for one in rows),
        len(asked) - len(rows),
        tuple(rows),
    )


def _due(ven: VenResult) -> list[IntervalResult]:
    """Return the intervals that count: where it was to deliver, of a VEN that took part."""
    if not ven.counts and ven.why_unknown is None:
        return []
    return [one for one in ven.intervals if one.coverage is not None]


async def _said_by(conn: Connection, vens: Sequence[VenResult], direction: Direction, method: str) -> list[Agreement]:
    keys = await numbered(conn, [one.ven_id for one in vens], *_SAID)
    own: dict[str, dict[int, SeriesKey]] = {}
    for number, key in keys.items():
        own.setdefault(key.ven_id, {})[number] = key
    bases = await settlement_series.of(conn, list(own)) if own else {}
    results = {one.ven_id: one for one in vens if one.ven_id in own}
    wanted = {
        ven_id: dict.fromkeys(_chosen(own[ven_id], bases.get(ven_id)), _stretch(one)) for ven_id, one in results.items()
    }
    rows: dict[str, Agreement] = {}
    async for ven_id, loaded in load_many(conn, wanted):
        connection_w = bases[ven_id].connection_w if ven_id in bases else HOME_W
        marked = {number: load_profile.marked(one, keys[number], connection_w) for number, one in loaded.items()}
        words = _one_of_each(results[ven_id], marked, keys)
        found = await asyncio.to_thread(compared, results[ven_id], words.values(), direction)
        if found is not None:
            own_method = _method_of(keys[number] for number in words)
            same = None if own_method is None else own_method == method
            rows[ven_id] = replace(found, method=own_method, same_method=same)
    return [rows[one.ven_id] for one in vens if one.ven_id in rows]


def _chosen(own: Mapping[int, SeriesKey], basis: Basis | None) -> list[int]:
    """Return the series of the resources that are settled; of all resources where none of them is."""
    settled = {part.key.resource_id for part in basis.everything} if basis else set()
    return [number for number, key in own.items() if key.resource_id in settled] or list(own)


def _one_of_each(ven: VenResult, words: Mapping[int, Loaded], keys: Mapping[int, SeriesKey]) -> dict[int, Loaded]:
    """Return the series to add up: of each resource the newest that says something of the event, if any does.

    A VEN that computes by another baseline from now on says so by another data point.
    """
    best: dict[str, tuple[bool, int]] = {}
    for number, loaded in words.items():
        name = keys[number].resource_id
        heard = bool(np.isfinite(_on_intervals(ven, loaded)).any())
        best[name] = max(best.get(name, (False, number)), (heard, number))
    return {number: words[number] for _, number in best.values()}


def _on_intervals(ven: VenResult, loaded: Loaded) -> Floats:
    """Return energies (Wh) in the intervals of a VEN's result."""
    first = ven.intervals[0]
    return load_profile.on_grid(
        loaded, int(first.start.timestamp()), len(ven.intervals), first.duration_s, is_power=False
    )


def _method_of(keys: Iterable[SeriesKey]) -> str | None:
    """Return the baseline method that all of some data points name, or None."""
    names = {method_of(key.point.r_id) for key in keys}
    return name if len(names) == 1 and (name := names.pop()) in PRESETS else None


def _stretch(ven: VenResult) -> Stretch:
    first, last = ven.intervals[0], ven.intervals[-1]
    start_s = int(first.start.timestamp()) - load_profile.LONGEST_S
    return Stretch(Kind.SUM, max(0, start_s), int(last.start.timestamp()) + last.duration_s)


def compared(ven: VenResult, words: Iterable[Loaded], direction: Direction) -> Agreement | None:
    """Hold what a VEN says against its result; None: it says nothing of it. `words`: a series for each resource."""
    deltas_wh: Floats = np.zeros(len(ven.intervals))
    for loaded in words:
        deltas_wh = deltas_wh + _on_intervals(ven, loaded)
    due = [
        (float(delta_wh), one, one.duration_s / 3600)
        for delta_wh, one in zip(deltas_wh.tolist(), ven.intervals, strict=True)
        if one.coverage is not None
    ]
    heard = [row for row in due if math.isfinite(row[0])]
    both = [row for row in heard if _is_known(row[1])]
    if not heard:
        return None
    own_wh = delivered_wh(math.fsum(delta_wh for delta_wh, *_ in both or heard), direction)
    result_wh = difference_wh = ratio = tolerance_wh = agrees = None
    if both:
        result_wh = math.fsum((one.delivered_w or 0.0) * hours for _, one, hours in both)
        baseline_wh = math.fsum((one.baseline_w or 0.0) * hours for _, one, hours in both)
        difference_wh = own_wh - result_wh
        ratio = difference_wh / abs(result_wh) if result_wh else None
        tolerance_wh = max(OF_DELIVERY * abs(result_wh), OF_BASELINE * abs(baseline_wh))
        agrees = abs(difference_wh) <= tolerance_wh
    return Agreement(
        ven.ven_id,
        ven.ven_name,
        own_wh,
        result_wh,
        difference_wh,
        ratio,
        tolerance_wh,
        agrees,
        len(both) / len(due),
    )


def _is_known(interval: IntervalResult) -> bool:
    """Tell whether a result knows what was delivered in an interval that counts."""
    return bool(interval.coverage) and interval.delivered_w is not None
