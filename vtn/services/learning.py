"""Which VENs have days enough for a baseline, and from when the others will.

Counted are the local days of which a metered series covers as much as the method asks for, without those on which the
VEN was called. It is an outlook, made by few queries whatever the fleet: a day is taken as a whole, and days to come
are taken to be like those so far. What counts is what `evaluation` finds.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import Select, and_, func, or_, select

from core.points import Kind, Quantity
from core.spans import Span
from metrics.days import DAY_S, DayType, day_type, from_days, to_days, zone_named
from metrics.learning import ready_on
from metrics.method import BaselineMethod
from metrics.presets import DEFAULT_PRESET, PRESETS
from vtn.services import event_days, holidays, outages, programme
from vtn.services.programme import Programme
from vtn.store.database import Connection
from vtn.store.rows import in_parts
from vtn.store.tables import chunk, series

_LOOK_DAYS: Final = 21
_SPARE_DAYS: Final = 10
"""Who has so many weekdays more than are needed, in three weeks, is ready even if some were those of events."""


_METERED: Final = or_(
    and_(series.c.quantity == Quantity.ENERGY_REAL, series.c.kind.in_((Kind.SUM, Kind.REGISTER))),
    and_(series.c.quantity == Quantity.POWER_REAL, series.c.kind.in_((Kind.MEAN, Kind.INSTANT))),
)


@dataclass(frozen=True, slots=True)
class Learning:
    """How far a VEN is with its weekdays: `days` of the `needed` ones.

    `ready_on`: the first local date, today at the earliest, on which an event on a weekday can be measured, by and
    large; None: its meter was never heard of.
    """

    days: int
    needed: int
    ready_on: date | None

    @property
    def state(self) -> str:
        """One word: ready, learning, or unheard (of its meter)."""
        if self.ready_on is None:
            return "unheard"
        return "ready" if self.days >= self.needed else "learning"


@dataclass(frozen=True, slots=True)
class FleetLearning:
    """How far VENs are together. `ready_on`: when the last of those that learn will be; None: none of them learns."""

    vens: int
    ready: int
    learning: int
    unheard: int
    needed: int
    ready_on: date | None


def method_of(preset: str) -> BaselineMethod:
    """Return the method of a preset; of an unknown one the default's, which needs as many days as any."""
    return PRESETS.get(preset, PRESETS[DEFAULT_PRESET])


def together(learning: Mapping[str, Learning], needed: int) -> FleetLearning:
    """Return how far VENs are together."""
    states = [one.state for one in learning.values()]
    coming = [one.ready_on for one in learning.values() if one.state == "learning" and one.ready_on is not None]
    return FleetLearning(
        vens=len(states),
        ready=states.count("ready"),
        learning=states.count("learning"),
        unheard=states.count("unheard"),
        needed=needed,
        ready_on=max(coming, default=None),
    )


def shown(learning: FleetLearning) -> dict[str, int | str | None]:
    """Return it as APIs say it."""
    return {**asdict(learning), "ready_on": learning.ready_on.isoformat() if learning.ready_on else None}


async def of_programme(conn: Connection, rules: Programme, now: datetime) -> FleetLearning:
    """Return how far the VENs of a programme are for its baseline."""
    method = method_of(rules.parameters.baseline)
    ven_ids = await programme.enrolled(conn, rules.id, now)
    days = await holidays_of(conn, rules, now)
    return together(await of_vens(conn, ven_ids, method, rules.parameters.time_zone, now, days), method.min_days)


async def holidays_of(conn: Connection, rules: Programme, now: datetime) -> frozenset[date]:
    """Return the holidays of a programme that an outlook looks at: those of the days before, and of a year."""
    lookback = timedelta(days=method_of(rules.parameters.baseline).lookback_days + 2)
    return await holidays.within(conn, rules.id, rules.parameters, Span(now - lookback, now + timedelta(days=400)))


async def of_vens(
    conn: Connection,
    ven_ids: Collection[str],
    method: BaselineMethod,
    zone: str,
    now: datetime,
    free: frozenset[date] = frozenset(),
) -> dict[str, Learning]:
    """Return venID -> how far it is, for events on weekdays; `free`: the holidays among them, which are none."""
    local = now.astimezone(zone_named(zone))
    today = to_days(local.date())
    offset_s = int((local.utcoffset() or timedelta()).total_seconds())
    days = await _weekdays(conn, ven_ids, range(today - _LOOK_DAYS, today), offset_s, method, free)
    unsure = [ven_id for ven_id in ven_ids if len(days.get(ven_id, ())) < method.min_days + _SPARE_DAYS]
    days |= await _weekdays(conn, unsure, range(today - method.lookback_days, today), offset_s, method, free)
    midnight = datetime.combine(local.date() + timedelta(days=1), time(), local.tzinfo)
    lookback = Span(now - timedelta(days=method.lookback_days + 1), midnight)
    busy = await event_days.others(conn, unsure, None, lookback)
    dark = await outages.of_each(conn, unsure, lookback)
    taken: dict[str, set[int]] = defaultdict(set)
    for ven_id, spans in [*busy.items(), *dark.items()]:
        taken[ven_id] |= {day for span in spans for day in _touched(span, local)}
        days[ven_id] = days.get(ven_id, set()) - taken[ven_id]
    heard = await _heard(conn, ven_ids)
    return {
        ven_id: Learning(
            min(count, method.min_days),
            method.min_days,
            ready_on(method, count, first, DayType.WEEKDAY, free) if ven_id in heard else None,
        )
        for ven_id in ven_ids
        for count in [len(days.get(ven_id, ()))]
        for first in [today + (count < method.min_days and today in taken.get(ven_id, ()))]
    }


async def _weekdays(
    conn: Connection,
    ven_ids: Sequence[str] | Collection[str],
    span: range,
    offset_s: int,
    method: BaselineMethod,
    free: frozenset[date],
) -> dict[str, set[int]]:
    """Return venID -> the weekdays (days since 1970-01-01) of which a metered series covers enough."""
    wanted = [day for day in span if day_type(from_days(day), free) is DayType.WEEKDAY]
    day = (chunk.c.start_s + offset_s) // DAY_S
    covered = func.sum(chunk.c.end_s - chunk.c.start_s)
    query = (
        select(series.c.ven_id, day.label("day"))
        .join(chunk, chunk.c.series_id == series.c.id)
        .where(_METERED & day.in_(wanted))
        .where(chunk.c.start_s.between(span.start * DAY_S - offset_s, span.stop * DAY_S - offset_s - 1))
        .group_by(series.c.ven_id, series.c.id, day)
        .having(covered >= method.coverage * DAY_S)
        .distinct()
    )
    found: dict[str, set[int]] = defaultdict(set)
    for some in in_parts(ven_ids):
        for row in await conn.execute(query.where(series.c.ven_id.in_(some))):
            found[row.ven_id].add(int(row.day))
    return dict(found)


async def _heard(conn: Connection, ven_ids: Collection[str]) -> set[str]:
    """Return the VENs with a metered series: nothing says when the others will begin."""
    query = select(series.c.ven_id).where(_METERED).distinct()
    rows: set[str] = set()
    for some in in_parts(ven_ids):
        rows |= set((await conn.execute(query.where(series.c.ven_id.in_(some)))).scalars())
    return rows


async def metered(conn: Connection, ven_ids: Select[Any]) -> set[str]:
    """Return those of the VENs that a query names whose meter was ever heard of: only they can be measured."""
    query = select(series.c.ven_id).where(_METERED & series.c.ven_id.in_(ven_ids)).distinct()
    return set((await conn.execute(query)).scalars())


def _touched(span: Span, local: datetime) -> range:
    """Return the local days that a call touches."""
    begin = to_days(span.start.astimezone(local.tzinfo).date())
    end = local if span.end is None else span.end.astimezone(local.tzinfo)
    return range(begin, to_days(end.date()) + 1)
