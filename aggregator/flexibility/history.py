"""Potential out of history, for VENs that report none: marked `history`, and never better than what was seen.

The rule. What a VEN usually draws in a half hour is the median of that half hour over the last 20 days, without the
times of its events and the hour after; at least three such days are needed. Of that it is believed to change a share:
the 10, 50 and 90 per cent quantiles of delivered over baseline in its own past events (newest evaluations, half hours
in which it took part, four at least). A VEN that was never called offers 0, 10 and 25 per cent of its load as a
reduction, and no increase. Days are 24 hours of UTC.

Before three days are known, what is known counts, with a wide range: of a half hour the median of all half hours so
far, from the first hour on, and up to half of it as a reduction; without any reading the nameplate. Events that no
baseline could judge yet say what the meter did: the mean before the start against that of each half hour in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import Select, exists, func, or_, select

from aggregator.flexibility.reliability import effective_opts, newest_results
from core.direction import Direction
from core.spans import floor_to
from metrics.days import DAY_S, Floats, Ints, Series
from openadr.model.opt import OptType
from vtn.services import load_profile
from vtn.services import potential as potentials
from vtn.services.evaluation_result import IntervalResult
from vtn.services.potential import WHOLE_VEN, Figures
from vtn.store.database import Connection, Database
from vtn.store.rows import from_json
from vtn.store.tables import dispatch, enrolment, event, potential, resource, ven

STEP_S: Final = 1800
DAYS: Final = 20
REFRESH_AFTER: Final = timedelta(hours=6)
HORIZON: Final = timedelta(days=2)
NEVER_CALLED: Final = {Direction.REDUCE: (0.0, 0.10, 0.25), Direction.INCREASE: (0.0, 0.0, 0.0)}
LEARNING: Final = {Direction.REDUCE: (0.0, 0.10, 0.50), Direction.INCREASE: (0.0, 0.0, 0.0)}
"""The shares of a load of which less than three days are known."""
NAMEPLATE: Final = {Direction.REDUCE: (0.0, 0.10, 1.0), Direction.INCREASE: (0.0, 0.0, 1.0)}
"""The shares of the nominal power of a VEN of which nothing else is known."""
_LEARNS_FOR: Final = timedelta(days=4)
_REFRESH_WHILE_LEARNING: Final = timedelta(minutes=30)
_LEAST_DAYS: Final = 3
_LEAST_HALF_HOURS: Final = 2
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
        found = await figures(conn, ven_ids, now)
    if found:
        async with db.write() as tx:
            for ven_id, ones in found.items():
                await potentials.derived(tx, ven_id, ones, now)
    return len(found)


async def waiting(conn: Connection, now: datetime, limit: int) -> list[str]:
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
        .where(
            or_(
                derived_at.is_(None),
                derived_at <= now - REFRESH_AFTER,
                (ven.c.created_at > now - _LEARNS_FOR) & (derived_at <= now - _REFRESH_WHILE_LEARNING),
            )
        )
        .order_by(derived_at.is_not(None), derived_at, ven.c.id)
        .limit(limit)
    )
    return list((await conn.execute(query)).scalars())


async def figures(conn: Connection, ven_ids: Sequence[str], now: datetime) -> dict[str, list[Figures]]:
    """Return venID -> what its history says of both directions, from the running half hour on."""
    start_s = int(floor_to(now, STEP_S).timestamp())
    span_s = start_s - DAYS * DAY_S, start_s
    readings = await load_profile.energy_of_each(conn, dict.fromkeys(ven_ids, span_s), STEP_S)
    return {ven_id: await _figures(conn, ven_id, own, start_s) for ven_id, own in readings.items()}


async def _figures(conn: Connection, ven_id: str, readings: Series, start_s: int) -> list[Figures]:
    known = await _known(conn, ven_id, readings)
    nominal_w = await _nominal_w(conn, ven_id)
    starts = start_s + STEP_S * np.arange(int(HORIZON.total_seconds()) // STEP_S)
    slots = (starts % DAY_S) // STEP_S
    found = []
    for direction in Direction:
        shares = await _shares(conn, ven_id, direction, known)
        powers = np.array(_powers(known.usual_w[slots], shares or NEVER_CALLED[direction]))
        if np.isfinite(known.so_far_w):
            unlearnt = _powers(np.full(slots.size, known.so_far_w), shares or LEARNING[direction])
        else:
            unlearnt = _powers(np.full(slots.size, nominal_w), NAMEPLATE[direction])
        powers = np.where(np.isfinite(known.usual_w[slots]), powers, unlearnt)
        found.append(Figures(WHOLE_VEN, direction.value, start_s, STEP_S, *(tuple(map(float, row)) for row in powers)))
    return found


def _powers(load_w: Floats, shares: Sequence[float]) -> list[Floats]:
    return [np.round(np.nan_to_num(load_w) * share) for share in shares]


async def _nominal_w(conn: Connection, ven_id: str) -> float:
    query = select(func.sum(resource.c.nominal_w)).where(resource.c.ven_id == ven_id)
    return float((await conn.execute(query)).scalar_one() or 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What is known of a VEN's load, W.

    `raw_w`: its half hours (n,). Without events: `usual_w` by half hour of the day (48, UTC; NaN: less than three days)
    and the median of all half hours so far (NaN: less than an hour).
    """

    starts_s: Ints
    raw_w: Floats
    usual_w: Floats
    so_far_w: float


async def _known(conn: Connection, ven_id: str, readings: Series) -> _Known:
    raw = readings.energy_wh * 3600 / STEP_S
    own = raw.copy()
    for begin, end in await _events(conn, ven_id, int(readings.starts_s[0])):
        own[(readings.starts_s + STEP_S > begin) & (readings.starts_s < end + _AFTERMATH_S)] = np.nan
    slots: Ints = (readings.starts_s % DAY_S) // STEP_S
    usual = np.full(_SLOTS, np.nan)
    for slot in range(_SLOTS):
        known = own[(slots == slot) & np.isfinite(own)]
        if len(known) >= _LEAST_DAYS:
            usual[slot] = max(0.0, float(np.median(known)))
    ever = own[np.isfinite(own)]
    so_far = max(0.0, float(np.median(ever))) if len(ever) >= _LEAST_HALF_HOURS else np.nan
    return _Known(readings.starts_s, raw, usual, so_far)


async def _events(
    conn: Connection, ven_id: str, since_s: int, direction: Direction | None = None
) -> list[tuple[float, float]]:
    """Return (start, end) of the events by which the VEN was called, in seconds since 1970.

    With a direction only of those in which it was to change its consumption that way, and opted in.
    """
    ended = func.coalesce(event.c.cancelled_at, dispatch.c.ends_at)
    query = (
        select(dispatch.c.starts_at, ended.label("ended_at"))
        .join(event, event.c.dispatch_id == dispatch.c.id)
        .where((event.c.ven_id == ven_id) & dispatch.c.direction.is_not(None))
        .where(event.c.cancelled_at.is_(None) | (event.c.cancelled_at > dispatch.c.starts_at))
    )
    if direction is not None:
        opts = effective_opts(select(event.c.id).where(event.c.ven_id == ven_id)).subquery()
        query = query.join(opts, (opts.c.event_id == event.c.id) & (opts.c.opt_type == OptType.IN))
        query = query.where(dispatch.c.direction == direction.value)
    rows = await conn.execute(query)
    spans = [(row.starts_at.timestamp(), row.ended_at.timestamp() if row.ended_at else np.inf) for row in rows]
    return [span for span in spans if span[1] > since_s - _AFTERMATH_S]


async def _shares(conn: Connection, ven_id: str, direction: Direction, home: _Known) -> Sequence[float] | None:
    """Return which shares (p10, p50, p90) of its load the VEN changed in its past events; None: nothing is known.

    As far as they were evaluated; else by the meter before and in each event, with a day of nothing and a day of all
    added, since that is a guess.
    """
    ids = list((await conn.execute(_past(ven_id, direction))).scalars())
    if not ids:
        return None
    query = newest_results(conn.dialect.name, ids, ("counts", "intervals"), only=ven_id)
    seen = [share for row in await conn.execute(query) if row.counts in (1, "1", "true") for share in _seen(row)]
    if len(seen) < _LEAST_SEEN:
        guessed = await _before_and_in(conn, ven_id, direction, home)
        if not guessed:
            return None
        seen = [0.0, *guessed, 1.0]
    return [float(share) for share in np.quantile(np.clip(seen, 0.0, 1.0), (0.1, 0.5, 0.9))]


async def _before_and_in(conn: Connection, ven_id: str, direction: Direction, home: _Known) -> list[float]:
    """Return the share by which each half hour of past events differs from the mean of the hour before the event."""
    found: list[float] = []
    sign = 1 if direction is Direction.REDUCE else -1
    for begin, end in await _events(conn, ven_id, int(home.starts_s[0]), direction):
        before = home.raw_w[(home.starts_s >= begin - _AFTERMATH_S) & (home.starts_s + STEP_S <= begin)]
        inside = home.raw_w[(home.starts_s >= begin) & (home.starts_s + STEP_S <= end)]
        usual_w = float(before.mean()) if before.size else np.nan
        if np.isfinite(usual_w) and usual_w > 0:
            found += [float(share) for share in sign * (usual_w - inside) / usual_w if np.isfinite(share)]
    return found


def _past(ven_id: str, direction: Direction) -> Select[Any]:
    return (
        select(dispatch.c.id)
        .join(event, event.c.dispatch_id == dispatch.c.id)
        .where((event.c.ven_id == ven_id) & (dispatch.c.direction == direction.value))
        .order_by(dispatch.c.starts_at.desc())
        .limit(_MOST_EVENTS)
    )


def _seen(row: Any) -> list[float]:
    """Return delivered over baseline of each interval with an order; the database hands the intervals out as text."""
    intervals = from_json(tuple[IntervalResult, ...], json.loads(row.intervals))
    tells = any(one.coverage is not None for one in intervals)  # results of earlier editions do not
    return [
        one.delivered_w / one.baseline_w
        for one in intervals
        if (one.coverage or not tells)
        and one.delivered_w is not None
        and one.baseline_w is not None
        and one.baseline_w > 0
    ]
