"""What a programme's pool, or an area's or group's part of it, can do from now on, and where the figures come from."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy import select

from aggregator.flexibility import portfolio
from aggregator.flexibility.fleet import Fleet
from aggregator.flexibility.pool import Pool, Step, pool
from core.direction import Direction
from core.spans import Span, floor_to
from vtn.services import learning, potential_arrays, ven_view
from vtn.services import programme as programmes
from vtn.services.learning import FleetLearning
from vtn.services.potential_arrays import Batch
from vtn.services.programme import Programme
from vtn.store.database import Connection, Database
from vtn.store.tables import enrolment

STEP_S: Final = 1800
STEPS: Final = 24
"""Half a day: as far as most VENs look ahead."""
_KEEP_S: Final = 30.0
_MOST_KEPT: Final = 64
MOST_STALE: Final = 200


@dataclass(frozen=True, slots=True)
class Curve:
    """What a pool can change in one direction: quantiles (W) of each step, and where the rest of it went."""

    direction: str
    times: tuple[datetime, ...]
    p10_w: tuple[float, ...]
    p50_w: tuple[float, ...]
    p90_w: tuple[float, ...]
    waterfall: tuple[Step, ...]
    vens: int
    free: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where a pool's figures come from: VENs by source, the oldest and the median age (s), and who is stale."""

    from_vens: int
    from_history: int
    silent: int
    median_age_s: float | None
    oldest_age_s: float | None
    stale: tuple[tuple[str, str, datetime], ...]


@dataclass(frozen=True, slots=True)
class PoolForecast:
    """What a programme's pool (or a part of it) can do in the coming half day."""

    programme: Programme
    curves: tuple[Curve, ...]
    source: Source
    learning: FleetLearning


async def today(
    db: Database,
    programme_id: str,
    now: datetime,
    *,
    stale_after_s: float,
    area: str | None = None,
    group_ids: Sequence[str] = (),
) -> PoolForecast:
    """Return what a pool can do from now on, both ways, by Monte Carlo. Raises NotFoundError."""
    start = floor_to(now, STEP_S)
    span = Span(start, start + timedelta(seconds=STEP_S * STEPS))
    known: list[tuple[str, list[Fleet]]] = []
    async with db.read() as conn:
        rules = await programmes.get(conn, programme_id)
        told = await potential_arrays.batches(
            conn, ven_ids=select(enrolment.c.ven_id).where(enrolment.c.programme_id == rules.id)
        )
        for direction in Direction:
            slices = await _slices(conn, rules, span, direction, now, stale_after_s, area, group_ids, told)
            known.append((direction, slices))
        ven_ids = {ven_id for _, slices in known for one in slices for ven_id in one.ven_ids}
        source = await _source(conn, ven_ids, told, now)
        method = learning.method_of(rules.parameters.baseline)
        free = await learning.holidays_of(conn, rules, now)
        learnt = await learning.of_vens(conn, ven_ids, method, rules.parameters.time_zone, now, free)
    curves = await asyncio.gather(*(asyncio.to_thread(_curve, direction, slices, span) for direction, slices in known))
    return PoolForecast(rules, tuple(curves), source, learning.together(learnt, method.min_days))


async def _slices(
    conn: Connection,
    rules: Programme,
    span: Span,
    direction: str,
    now: datetime,
    stale_after_s: float,
    area: str | None,
    group_ids: Sequence[str],
    batches: Sequence[Batch],
) -> list[Fleet]:
    """Return the fleet of each two hours: a VEN may be barred from one, and look ahead no further than another."""
    width = timedelta(seconds=4 * STEP_S)
    found = []
    start = span.start
    while start < (span.end or start):
        part = Span(start, start + width)
        found.append(
            await portfolio.load(
                conn,
                rules,
                part,
                STEP_S,
                direction,
                now,
                stale_after_s=stale_after_s,
                area=area,
                group_ids=tuple(group_ids),
                batches=batches,
            )
        )
        start += width
    return found


def _curve(direction: str, slices: Sequence[Fleet], span: Span) -> Curve:
    pools: list[Pool] = [pool(one, draws=1000) for one in slices]
    rows = [np.concatenate([getattr(one, name) for one in pools]) for name in ("p10_w", "p50_w", "p90_w")]
    times = tuple(span.start + timedelta(seconds=STEP_S * number) for number in range(STEPS))
    first = slices[0]
    free = sum(why is None for why in first.barred)
    p10, p50, p90 = (tuple(float(value) for value in row) for row in rows)
    return Curve(direction, times, p10, p50, p90, pools[0].waterfall, len(first.ven_ids), free)


async def _source(conn: Connection, ven_ids: Collection[str], batches: Sequence[Batch], now: datetime) -> Source:
    newest, fresh = await asyncio.to_thread(_newest, ven_ids, batches, now)
    ages = [now.timestamp() - issued_at for issued_at, _ in newest.values()]
    stale = sorted((newest[ven_id][0], ven_id) for ven_id in newest.keys() - fresh)[:MOST_STALE]
    names = await ven_view.names(conn, [ven_id for _, ven_id in stale])
    kinds = Counter(source for _, source in newest.values())
    return Source(
        from_vens=kinds["ven"],
        from_history=kinds["history"],
        silent=len(ven_ids) - len(newest),
        median_age_s=float(np.median(ages)) if ages else None,
        oldest_age_s=max(ages, default=None),
        stale=tuple(
            (ven_id, names.get(ven_id, ven_id), datetime.fromtimestamp(issued_at, UTC)) for issued_at, ven_id in stale
        ),
    )


def _newest(
    ven_ids: Collection[str], batches: Sequence[Batch], now: datetime
) -> tuple[dict[str, tuple[float, str]], set[str]]:
    """Return when and by whom a VEN's newest figures were issued, and of which VENs some are not stale."""
    newest: dict[str, tuple[float, str]] = {}
    fresh: set[str] = set()
    for batch in batches:
        usable = batch.fresh(now)
        rows = zip(batch.ven_ids, batch.issued_at.tolist(), batch.sources, usable.tolist(), strict=True)
        for ven_id, issued_at, source, is_usable in rows:
            if ven_id in ven_ids:
                newest[ven_id] = max(newest.get(ven_id, (issued_at, source)), (issued_at, source))
                if is_usable:
                    fresh.add(ven_id)
    return newest, fresh


class PoolForecasts:
    """Reckons a pool at most every half minute (machine time), however many people look."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], tuple[float, PoolForecast]] = OrderedDict()
        self._lock = asyncio.Lock()

    async def today(
        self, db: Database, programme_id: str, now: datetime, stale_after_s: float, area: str | None, group: str | None
    ) -> PoolForecast:
        """Return what `today` returns."""
        start = floor_to(now, STEP_S).isoformat()
        key = (programme_id, area or "", group or "", start)
        async with self._lock:
            until, found = self._kept.get(key, (0.0, None))
            if found is None or time.monotonic() >= until:
                groups = (group,) if group else ()
                found = await today(db, programme_id, now, stale_after_s=stale_after_s, area=area, group_ids=groups)
                self._kept[key] = time.monotonic() + _KEEP_S, found
                self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found
