"""Every VEN of a programme as arrays, for pooling and selection: what it could do then, and whether it may be called.

Whatever the size of the fleet, the number of queries is the same.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from sqlalchemy import Select, case, func, or_, select

from aggregator.flexibility.call_limits import Periods, allows, periods
from aggregator.flexibility.fleet import Fleet, Floats, Reason, Whole
from aggregator.flexibility.reliability import effective_opts, reliability
from core.direction import Direction
from core.errors import InvalidError
from core.spans import Span
from metrics.days import zone_named
from openadr.model.contexts import normal_context
from openadr.model.opt import OptType
from openadr.model.registration import Profile
from vtn.services import fleet, potential_arrays
from vtn.services.opt import schedules
from vtn.services.potential_arrays import Batch
from vtn.services.programme import Programme, Reward, control_homes
from vtn.store.database import Connection
from vtn.store.rows import portions
from vtn.store.tables import dispatch, enrolment, event, group_member, opt, resource, site, ven

Mask = npt.NDArray[np.bool_]

NO_LIMIT: Final = 2**31
_MOST_INTERVALS: Final = 10_000
_LONGEST_CALL: Final = timedelta(days=2)
# A VEN of 2.0a cannot be told a level: it has no signal for it.
_LEVELS: Final = tuple(
    case((ven.c.protocol_version != Profile.A, column)).label(column.name) for column in (ven.c.minimum_w, ven.c.step_w)
)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be known: of which programme, for which span."""

    programme: Programme
    start: datetime
    end: datetime
    step_s: int
    direction: str
    now: datetime

    @property
    def start_s(self) -> int:
        """Start in seconds since 1970."""
        return int(self.start.timestamp())

    @property
    def end_s(self) -> int:
        """End in seconds since 1970."""
        return int(self.end.timestamp())

    @property
    def intervals(self) -> int:
        """T."""
        return (self.end_s - self.start_s) // self.step_s


@dataclass(frozen=True, slots=True)
class Promised:
    """VENs that will be called from `start` to `end` for what was sold or offered, though nobody called them yet."""

    ven_ids: tuple[str, ...]
    start: datetime
    end: datetime


async def load(
    conn: Connection,
    programme: Programme,
    span: Span,
    step_s: int,
    direction: str,
    now: datetime,
    *,
    stale_after_s: float,
    area: str | None = None,
    group_ids: Sequence[str] = (),
    exclude: Collection[str] = (),
    batches: Sequence[Batch] | None = None,
    promised: Sequence[Promised] = (),
    is_part: bool = False,
) -> Fleet:
    """Return the VENs enrolled in a programme throughout a span, by venID, with their potential in steps of `step_s`.

    `area` and `group_ids` (any of them) narrow the fleet, `exclude` leaves VENs out. A VEN that was silent for
    `stale_after_s` (world time) is offline. `batches`: the potentials in force, if they were read before. `promised`
    calls count like planned ones. `is_part`: the span is a part of whatever call, so that it may be shorter than calls
    are. Raises InvalidError for a span that the steps do not divide, or without end.
    """
    wish = _wish(programme, span, step_s, direction, now)
    members = _members(wish, area, group_ids)
    left_out = frozenset(exclude)
    told = portions(conn, members.order_by(ven.c.id))
    rows = [row async for some in told for row in some if row.id not in left_out]
    index = {row.id: place for place, row in enumerate(rows)}
    ids = members.subquery()
    chosen = select(ids.c.id)
    if batches is None:
        batches = await potential_arrays.batches(conn, direction=direction, ven_ids=chosen)
    calls = await _calls(conn, wish, index, chosen, promised)
    busy, refused = await _elsewhere(conn, wish, index, chosen)
    opted_out = refused | await _opted_out(conn, wish, index, chosen)
    nameplate_w = await _nameplates(conn, index, chosen)
    responds = await reliability(conn, index, chosen, now)
    control = _mask(index, await control_homes(conn, programme.parameters))

    def fleet() -> Fleet:
        powers, unknown, stale = _potentials(batches, wish, index)
        limits = programme.parameters.limits
        closed = not allows(replace(limits, shortest=None) if is_part else limits, _zone(programme), span)
        bars = {
            Reason.OFFLINE: _offline(rows, now, stale_after_s),
            Reason.STALE: stale,
            Reason.CONTROL: control,
            Reason.NO_POTENTIAL: unknown,
            Reason.UNMEASURED: np.isnan(responds),
            Reason.OUTSIDE_WINDOW: np.full(len(rows), closed),
            Reason.BUSY: busy,
            Reason.LIMIT: calls.left <= 0,
            Reason.RESTING: calls.resting,
            Reason.OPTED_OUT: opted_out,
        }
        areas = tuple(sorted({row.area for row in rows if row.area}))
        return Fleet(
            ven_ids=tuple(index),
            start_s=wish.start_s,
            step_s=step_s,
            nameplate_w=nameplate_w,
            p10_w=powers[0],
            p50_w=powers[1],
            p90_w=powers[2],
            reliability=responds,
            price=_price(programme.parameters.reward, powers[1], step_s),
            calls_left=calls.left,
            calls=calls.season,
            last_call_s=calls.last_s,
            barred=_barred(bars, len(rows)),
            area=np.array([areas.index(row.area) if row.area else -1 for row in rows], dtype=np.int64),
            areas=areas,
            minimum_w=np.array([row.minimum_w for row in rows], dtype=np.float64),
            step_w=np.array([row.step_w for row in rows], dtype=np.float64),
        )

    return await asyncio.to_thread(fleet)  # some tenths of a second for 10,000 homes


def _wish(programme: Programme, span: Span, step_s: int, direction: str, now: datetime) -> _Wish:
    if span.end is None or span.end <= span.start or step_s <= 0:
        raise InvalidError("Flexibility is looked for in a span with an end, in steps of a second or more.")
    if direction not in set(Direction):
        raise InvalidError("direction is reduce or increase.")
    wish = _Wish(programme, span.start, span.end, step_s, direction, now)
    if (wish.end_s - wish.start_s) % step_s or wish.intervals > _MOST_INTERVALS:
        raise InvalidError(f"The span is a number of whole steps of {step_s} s, {_MOST_INTERVALS} at most.")
    return wish


def _zone(programme: Programme) -> ZoneInfo:
    return zone_named(programme.parameters.time_zone)


def _barred(bars: dict[Reason, Mask], homes: int) -> tuple[Reason | None, ...]:
    """Return each VEN's first reason, in the order in which they are listed."""
    found: list[Reason | None] = [None] * homes
    for reason, which in reversed(bars.items()):
        for place in np.flatnonzero(which):
            found[place] = reason
    return tuple(found)


# -- who takes part


def _members(wanted: _Wish, area: str | None, group_ids: Sequence[str]) -> Select[Any]:
    """Return the query of the VENs to look at: enrolled before the span and until its end."""
    enrolled = (
        (enrolment.c.programme_id == wanted.programme.id)
        & (enrolment.c.valid_from <= wanted.start)
        & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to >= wanted.end))
    )
    query = (
        select(ven.c.id, fleet.heard_at(), ven.c.registered_at, site.c.area, *_LEVELS)
        .select_from(ven.outerjoin(site, site.c.id == ven.c.site_id))
        .where(ven.c.removed_at.is_(None) & ven.c.id.in_(select(enrolment.c.ven_id).where(enrolled)))
    )
    if area is not None:
        query = query.where(site.c.area == area)
    if group_ids:
        mine = select(group_member.c.ven_id).where(group_member.c.group_id.in_(group_ids))
        query = query.where(ven.c.id.in_(mine))
    return query


def _offline(rows: Sequence[Any], now: datetime, stale_after_s: float) -> Mask:
    since = now - timedelta(seconds=stale_after_s)
    silent = [row.registered_at is None or row.heard_at is None or row.heard_at < since for row in rows]
    return np.array(silent, dtype=np.bool_)


async def _nameplates(conn: Connection, index: dict[str, int], chosen: Select[Any]) -> Floats:
    """Return the nominal power of each VEN's resources as far as it is known, NaN for none."""
    query = (
        select(resource.c.ven_id, func.sum(resource.c.nominal_w).label("nominal_w"))
        .where(resource.c.ven_id.in_(chosen) & resource.c.nominal_w.is_not(None))
        .group_by(resource.c.ven_id)
    )
    found = np.full(len(index), np.nan)
    for row in await conn.execute(query):
        if row.ven_id in index:
            found[index[row.ven_id]] = float(row.nominal_w)
    return found


# -- what they could do


def _potentials(batches: Sequence[Batch], wanted: _Wish, index: dict[str, int]) -> tuple[Floats, Mask, Mask]:
    """Return powers (3, N, T), and masks (N): nothing is known or offered; what is known is too old or too short.

    The quantiles of several resources of one VEN are summed: as if they moved together. Takes CPU: use a thread.
    """
    powers = np.zeros((len(index), 3, wanted.intervals))
    heard, fresh = np.zeros(len(index), dtype=bool), np.zeros(len(index), dtype=bool)
    edges_s = wanted.start_s + wanted.step_s * np.arange(wanted.intervals + 1, dtype=np.int64)
    for batch in batches:
        if batch.direction != wanted.direction:
            continue
        places = np.array([index.get(ven_id, -1) for ven_id in batch.ven_ids], dtype=np.int64)
        here = places >= 0
        heard[places[here]] = True
        if batch.start_s > wanted.start_s or batch.end_s < wanted.end_s:
            continue
        here &= ~batch.too_old(wanted.now)
        fresh[places[here]] = True
        np.add.at(powers, places[here], batch.values_w[here] @ batch.shares(edges_s))
    quantiles = np.ascontiguousarray(powers.transpose(1, 0, 2))
    nothing: Mask = ~heard | (fresh & (quantiles[1].max(axis=1, initial=0.0) <= 0))
    return quantiles, nothing, heard & ~fresh


def _price(reward: Reward, p50_w: Floats, step_s: int) -> Floats:
    """Return what a kWh of each VEN costs: the reward by energy, and that for the call spread over what is expected."""
    energy_kwh = p50_w.sum(axis=1) * step_s / 3.6e6
    per_call = np.divide(
        float(Decimal(reward.per_call)), energy_kwh, out=np.zeros(len(energy_kwh)), where=energy_kwh > 0
    )
    return np.asarray(float(Decimal(reward.per_kwh)) + per_call, dtype=np.float64)


# -- how often they were called


@dataclass(frozen=True, slots=True, eq=False)
class _Calls:
    """Calls of each VEN under the programme (N): left by the limits, in the season, when the last one began."""

    left: Whole
    season: Whole
    last_s: Whole
    resting: Mask


async def _calls(
    conn: Connection, wanted: _Wish, index: dict[str, int], chosen: Select[Any], promised: Sequence[Promised]
) -> _Calls:
    """Count past, planned and promised calls around the span; one that was cancelled before it began is none."""
    limits = wanted.programme.parameters.limits
    around = periods(limits, _zone(wanted.programme), wanted.start)
    rested_from, rested_until = (-limits.rest).after(wanted.start), limits.rest.after(wanted.end)
    planned = {
        row.id: row
        for row in await conn.execute(
            select(dispatch.c.id, dispatch.c.starts_at, dispatch.c.ends_at).where(
                (dispatch.c.programme_id == wanted.programme.id)
                & dispatch.c.direction.is_not(None)
                & (dispatch.c.starts_at >= min(around.season.start, around.week.start, rested_from - _LONGEST_CALL))
                & (dispatch.c.starts_at < max(*_ends(around), rested_until))
            )
        )
    }
    query = select(event.c.ven_id, event.c.dispatch_id, event.c.cancelled_at).where(
        event.c.dispatch_id.in_(planned) & event.c.ven_id.in_(chosen)
    )
    rows = [
        (index[ven_id], planned[dispatch_id].starts_at, _first(cancelled_at, planned[dispatch_id].ends_at))
        for ven_id, dispatch_id, cancelled_at in await conn.execute(query)
        if ven_id in index and (cancelled_at is None or cancelled_at > planned[dispatch_id].starts_at)
    ]
    rows += [(index[name], one.start, one.end) for one in promised for name in one.ven_ids if name in index]
    place = np.array([row[0] for row in rows], dtype=np.int64)
    starts = np.array([row[1].timestamp() for row in rows])
    ends = np.array([row[2].timestamp() if row[2] else np.inf for row in rows])

    def number(span: Span) -> Whole:
        end = span.end or datetime.max.replace(tzinfo=UTC)
        inside = (starts >= span.start.timestamp()) & (starts < end.timestamp())
        return np.bincount(place[inside], minlength=len(index)).astype(np.int64)

    season = number(around.season)
    left = np.full(len(index), NO_LIMIT, dtype=np.int64)
    for limit, used in (
        (limits.per_day, number(around.day)),
        (limits.per_week, number(around.week)),
        (limits.per_season, season),
    ):
        if limit is not None:
            left = np.minimum(left, limit - used)
    close = (starts < rested_until.timestamp()) & (ends > rested_from.timestamp()) & bool(limits.rest)
    last_s = np.zeros(len(index), dtype=np.int64)
    np.maximum.at(last_s, place, starts.astype(np.int64))
    return _Calls(np.maximum(left, 0), season, last_s, np.bincount(place[close], minlength=len(index)) > 0)


def _ends(around: Periods) -> list[datetime]:
    return [span.end for span in (around.day, around.week, around.season) if span.end is not None]


def _first(cancelled_at: datetime | None, ends_at: datetime | None) -> datetime | None:
    return ends_at if cancelled_at is None else cancelled_at


# -- whether they are free, and willing


async def _elsewhere(conn: Connection, wanted: _Wish, index: dict[str, int], chosen: Select[Any]) -> tuple[Mask, Mask]:
    """Return who takes part in another event at that time, of any programme, and who refused one of this programme (N).

    Who has not answered yet is believed to take part.
    """
    overlapping = (
        dispatch.c.direction.is_not(None)
        & event.c.cancelled_at.is_(None)
        & (dispatch.c.starts_at < wanted.end)
        & or_(event.c.listed_until.is_(None), event.c.listed_until > wanted.start)
    )
    joined = event.join(dispatch, dispatch.c.id == event.c.dispatch_id)
    opts = effective_opts(select(event.c.id).select_from(joined).where(overlapping)).subquery()
    query = (
        select(event.c.ven_id, dispatch.c.programme_id, opts.c.opt_type)
        .select_from(joined.outerjoin(opts, opts.c.event_id == event.c.id))
        .where(overlapping & event.c.ven_id.in_(chosen))
    )
    rows = (await conn.execute(query)).all()
    out = [row for row in rows if row.opt_type == OptType.OUT]
    busy = _mask(index, (row.ven_id for row in rows if row.opt_type != OptType.OUT))
    return busy, _mask(index, (row.ven_id for row in out if row.programme_id == wanted.programme.id))


async def _opted_out(conn: Connection, wanted: _Wish, index: dict[str, int], chosen: Select[Any]) -> Mask:
    """Return who has said, by an opt schedule for the whole VEN, that it is not there at that time (N) (OP-12).

    Of several schedules that touch the span the newest counts.
    """
    context = normal_context(wanted.programme.market_context)
    rows = await schedules(conn, opt.c.ven_id.in_(chosen), Span(wanted.start, wanted.end), context)
    says = {row.ven_id: row.opt_type for row in rows}
    return _mask(index, (ven_id for ven_id, said in says.items() if said == OptType.OUT))


def _mask(index: dict[str, int], ven_ids: Iterable[str]) -> Mask:
    found = np.zeros(len(index), dtype=bool)
    found[[index[ven_id] for ven_id in ven_ids if ven_id in index]] = True
    return found
