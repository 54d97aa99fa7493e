"""Potential out of history, for VENs that report none: marked `history`, and never better than what was seen.

The rule. What a VEN usually draws in a half hour is the median of that half hour over the last 20 days, without the
times of its events and the hour after; at least three such days are needed. Of that it is believed to change a share:
the 10, 50 and 90 per cent quantiles of delivered over baseline in its own past events (newest evaluations, half hours
in which it took part, four at least). A VEN that was never called offers 0, 10 and 25 per cent of its load as a
reduction, and no increase. Days are 24 hours of UTC.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import Select, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.flexibility.reliability import newest_results
from core.spans import floor_to
from metrics.days import DAY_S, Floats, Ints
from openadr.model.potential import Direction
from vtn.services import metered
from vtn.services import potential as potentials
from vtn.services.participation import IntervalResult
from vtn.services.potential import WHOLE_VEN, Figures
from vtn.store.database import Database
from vtn.store.rows import from_json
from vtn.store.tables import dispatch, enrolment, event, potential, ven

STEP_S: Final = 1800
DAYS: Final = 20
REFRESH_AFTER: Final = timedelta(hours=6)
HORIZON: Final = timedelta(days=2)
NEVER_CALLED: Final = {Direction.REDUCE: (0.0, 0.10, 0.25), Direction.INCREASE: (0.0, 0.0, 0.0)}
_LEAST_DAYS: Final = 3
_LEAST_SEEN: Final = 4
_AFTERMATH_S: Final = 3600
_MOST_EVENTS: Final = 30
_SLOTS: Final = DAY_S // STEP_S


async def derive(db: Database, now: datetime, *, limit: int = 50) -> int:
    """Derive the potential of up to `limit` VENs whose turn it is, and store it; return how many that were.

    A VEN's turn comes when it takes part in a programme, reports no potential, and nothing was derived for six hours.
    Safe to be called by several processes: the same again only replaces itself.
    """
    async with db.read() as conn:
        ven_ids = await waiting(conn, now, limit)
        found = {ven_id: await figures(conn, ven_id, now) for ven_id in ven_ids}
    if found:
        async with db.write() as tx:
            for ven_id, ones in found.items():
                await potentials.derived(tx, ven_id, ones, now)
    return len(found)


async def waiting(conn: AsyncConnection, now: datetime, limit: int) -> list[str]:
    """Return the venIDs whose potential has to be derived, those that never had one first."""
    mine = (potential.c.ven_id == ven.c.id) & potential.c.superseded_at.is_(None)
    derived_at = select(func.max(potential.c.issued_at)).where(mine).correlate(ven).scalar_subquery()
    takes_part = exists().where(
        (enrolment.c.ven_id == ven.c.id) & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now))
    )
    query = (
        select(ven.c.id)
        .where(ven.c.removed_at.is_(None) & takes_part)
        .where(~exists().where(mine & (potential.c.source == "ven")))
        .where(or_(derived_at.is_(None), derived_at <= now - REFRESH_AFTER))
        .order_by(derived_at.is_not(None), derived_at, ven.c.id)
        .limit(limit)
    )
    return list((await conn.execute(query)).scalars())


async def figures(conn: AsyncConnection, ven_id: str, now: datetime) -> list[Figures]:
    """Return what a VEN's history says of both directions, from the running half hour on."""
    start_s = int(floor_to(now, STEP_S).timestamp())
    load_w = await _usual_w(conn, ven_id, start_s)
    starts = start_s + STEP_S * np.arange(int(HORIZON.total_seconds()) // STEP_S)
    coming = load_w[(starts % DAY_S) // STEP_S]
    return [
        Figures(WHOLE_VEN, direction.value, start_s, STEP_S, *_powers(coming, await _shares(conn, ven_id, direction)))
        for direction in Direction
    ]


def _powers(load_w: Floats, shares: Sequence[float]) -> list[tuple[float, ...]]:
    return [tuple(float(value) for value in np.round(np.nan_to_num(load_w) * share)) for share in shares]


async def _usual_w(conn: AsyncConnection, ven_id: str, start_s: int) -> Floats:
    """Return the usual power (48) by half hour of the day (UTC), NaN where too little is known."""
    since_s = start_s - DAYS * DAY_S
    readings = await metered.energy(conn, ven_id, since_s, start_s, STEP_S)
    energy = readings.energy_wh.copy()
    for begin, end in await _events(conn, ven_id, since_s):
        energy[(readings.starts_s + STEP_S > begin) & (readings.starts_s < end + _AFTERMATH_S)] = np.nan
    slots: Ints = (readings.starts_s % DAY_S) // STEP_S
    usual = np.full(_SLOTS, np.nan)
    for slot in range(_SLOTS):
        known = energy[(slots == slot) & np.isfinite(energy)]
        if len(known) >= _LEAST_DAYS:
            usual[slot] = max(0.0, float(np.median(known)) * 3600 / STEP_S)
    return usual


async def _events(conn: AsyncConnection, ven_id: str, since_s: int) -> list[tuple[float, float]]:
    """Return (start, end) of the events by which the VEN was called, in seconds since 1970."""
    ended = func.coalesce(event.c.cancelled_at, dispatch.c.ends_at)
    query = (
        select(dispatch.c.starts_at, ended.label("ended_at"))
        .join(event, event.c.dispatch_id == dispatch.c.id)
        .where((event.c.ven_id == ven_id) & dispatch.c.direction.is_not(None))
        .where(event.c.cancelled_at.is_(None) | (event.c.cancelled_at > dispatch.c.starts_at))
    )
    rows = await conn.execute(query)
    spans = [(row.starts_at.timestamp(), row.ended_at.timestamp() if row.ended_at else np.inf) for row in rows]
    return [span for span in spans if span[1] > since_s - _AFTERMATH_S]


async def _shares(conn: AsyncConnection, ven_id: str, direction: Direction) -> Sequence[float]:
    """Return which shares (p10, p50, p90) of its load the VEN changed in its past events, as far as was evaluated."""
    ids = list((await conn.execute(_past(ven_id, direction))).scalars())
    if not ids:
        return NEVER_CALLED[direction]
    query = newest_results(conn.dialect.name, ids, ("counts", "intervals"), only=ven_id)
    seen = [share for row in await conn.execute(query) if row.counts in (1, "1", "true") for share in _seen(row)]
    if len(seen) < _LEAST_SEEN:
        return NEVER_CALLED[direction]
    return [float(share) for share in np.quantile(np.clip(seen, 0.0, 1.0), (0.1, 0.5, 0.9))]


def _past(ven_id: str, direction: Direction) -> Select[Any]:
    return (
        select(dispatch.c.id)
        .join(event, event.c.dispatch_id == dispatch.c.id)
        .where((event.c.ven_id == ven_id) & (dispatch.c.direction == direction.value))
        .order_by(dispatch.c.starts_at.desc())
        .limit(_MOST_EVENTS)
    )


def _seen(row: Any) -> list[float]:
    """Return delivered over baseline of each half hour; the database hands the intervals out as text."""
    return [
        one.delivered_w / one.baseline_w
        for one in from_json(tuple[IntervalResult, ...], json.loads(row.intervals))
        if one.delivered_w is not None and one.baseline_w is not None and one.baseline_w > 0
    ]
