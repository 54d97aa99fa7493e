"""What was nominated for the VENs of a programme together, as their baseline (`metrics.nominated`).

A nomination is of a UTC day and of everybody who takes part in the programme. What was said before a dispatch was
ordered counts for it: who has bought could make its own bill by nominating anew.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import func, insert, select

from core.spans import Span
from metrics.days import DAY_S, Floats, Ints, Series, day_matrix, from_epoch_s
from metrics.method import Calendar, NoBaselineError
from metrics.nominated import Nominated
from vtn.services import day_calendar, load_profile, programme
from vtn.services.dispatch import Dispatch
from vtn.services.programme import Programme, Spread
from vtn.store.database import Connection, Transaction
from vtn.store.rows import evenly, in_parts
from vtn.store.tables import nominated_power

MOST_VENS: Final = 2_000
"""So many VENs say how much all of a programme usually use; more would take longer and say the same."""
_SOME: Final = 500
_BESIDE: Final = timedelta(hours=1)
"""Readings that reach so far beyond an event have a part of the nomination."""


async def put(
    tx: Transaction,
    programme_id: str,
    source: str,
    day: str,
    revision: int,
    step_s: int,
    power_w: Sequence[int],
    now: datetime,
) -> None:
    """Keep what a source (a contract) nominates for a UTC day; from now on it counts instead of earlier revisions.

    `power_w`: the mean power of each step of the day, W, positive = consumption.
    """
    row = {"programme_id": programme_id, "source": source, "day": day, "revision": revision, "created_at": now}
    await tx.conn.execute(insert(nominated_power).values(**row, step_s=step_s, power_w=list(power_w)))


async def on_top(conn: Connection, rules: Programme, method: Nominated, dispatch: Dispatch) -> Series | None:
    """Return what each VEN's usual load lacks so that those of all who take part add up to the nomination, Wh.

    Around an event with an end; NaN where nothing was nominated before it was ordered. None where that is so of all of
    it, several sources nominated for its days, or of no VEN anything usual is known. Of more than `MOST_VENS` VENs so
    many are asked, spread evenly over their ids.
    """
    event, dispatch_id = dispatch.span, dispatch.id
    beside = _BESIDE
    if rules.parameters.spread is Spread.BY_ORDER:  # readings that are longer reach so far
        beside = timedelta(seconds=load_profile.LONGEST_S)
    step_s = rules.parameters.interval_s
    end = event.end or event.start
    first_s = int((event.start - beside).timestamp()) // step_s * step_s
    cells = -(-(int((end + beside).timestamp()) - first_s) // step_s)
    starts_s = first_s + step_s * np.arange(cells, dtype=np.int64)
    nominated_wh = await _nominated_wh(conn, rules.id, dispatch, starts_s, step_s)
    ven_ids = await programme.enrolled(conn, rules.id, event.start)
    if nominated_wh is None or not ven_ids:
        return None
    since = event.start - timedelta(days=method.lookback_days + 2)
    span_s = int(since.timestamp()), int(end.timestamp()) + step_s
    usual: list[Floats] = []
    for some in in_parts(evenly(ven_ids, MOST_VENS), _SOME):
        calendars = await day_calendar.of_each(conn, rules, [method.usual], some, dispatch_id, Span(since, end))
        readings = await load_profile.energy_of_each(conn, dict.fromkeys(some, span_s), step_s)
        homes = [(readings[ven_id], calendars[ven_id]) for ven_id in some]
        usual += await asyncio.to_thread(_usual, method, homes, event, rules.parameters.time_zone, starts_s)
    if not usual:
        return None
    return Series(starts_s, nominated_wh / len(ven_ids) - np.mean(usual, axis=0), step_s)


def _usual(
    method: Nominated, homes: Sequence[tuple[Series, Calendar]], event: Span, zone: str, starts_s: Ints
) -> list[Floats]:
    """Return the usual energies (Wh) of those homes that have them in all intervals, each (n,)."""
    shown = Span(from_epoch_s(starts_s[0]), from_epoch_s(starts_s[-1] + 1))
    found = []
    for readings, calendar in homes:
        try:
            one = method.usual.baseline(day_matrix(readings, zone), event, calendar, show=shown)
        except NoBaselineError:
            continue
        energy_wh = Series(one.starts_s, one.unadjusted_wh, one.step_s).at(starts_s)
        if np.isfinite(energy_wh).all():
            found.append(energy_wh)
    return found


async def _nominated_wh(
    conn: Connection, programme_id: str, dispatch: Dispatch, starts_s: Ints, step_s: int
) -> Floats | None:
    """Return what was nominated for intervals (n,), Wh, NaN where nothing was; None: nothing, or by several."""
    last_s = int(starts_s[-1]) + step_s - 1
    column = nominated_power.c
    asked = (column.programme_id == programme_id) & (column.created_at <= dispatch.created_at)
    asked &= column.day.between(_day(int(starts_s[0])), _day(last_s))
    newest = (
        select(column.day, column.source, func.max(column.revision).label("revision"))
        .where(asked)
        .group_by(column.day, column.source)
        .subquery()
    )
    same = (column.day == newest.c.day) & (column.source == newest.c.source) & (column.revision == newest.c.revision)
    query = select(nominated_power).join(newest, same).where(column.programme_id == programme_id)
    rows: Sequence[Any] = (await conn.execute(query)).all()
    event = dispatch.span
    end_s = int((event.end or event.start).timestamp())
    first, last = _day(int(event.start.timestamp())), _day(max(end_s - 1, int(event.start.timestamp())))
    sources = {row.source for row in rows if first <= row.day <= last}
    if len(sources) != 1:
        return None
    rows = [row for row in rows if row.source in sources]
    energy_wh = np.full(starts_s.shape, np.nan)
    for row in rows:
        midnight_s = int(datetime.fromisoformat(row.day).replace(tzinfo=UTC).timestamp())
        powers_w = np.array(row.power_w, np.float64)
        edges_s = midnight_s + row.step_s * np.arange(powers_w.size + 1)
        sums_wh = np.concatenate(([0.0], np.cumsum(powers_w))) * (row.step_s / 3600)
        here = (starts_s >= midnight_s) & (starts_s < midnight_s + DAY_S)
        energy_wh[here] = np.interp(starts_s[here] + step_s, edges_s, sums_wh) - np.interp(
            starts_s[here], edges_s, sums_wh
        )
    return energy_wh


def _day(second_s: int) -> str:
    return datetime.fromtimestamp(second_s, UTC).date().isoformat()
