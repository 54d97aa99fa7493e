"""Seasons: what a programme's events of a span brought, event by event and home by home, from the stored results.

Nothing is computed anew, and no result is read as a whole: the database takes out of it what is shown.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, String, Subquery, case, cast, func, select

from aggregator.csv_text import csv_text
from aggregator.tables import activation, activation_report
from core.direction import Direction
from core.errors import InvalidError
from metrics import gaming
from metrics.days import zone_named
from openadr.model.opt import OptType
from vtn.services import programme
from vtn.services.programme import Programme
from vtn.store.database import Connection
from vtn.store.rows import in_parts
from vtn.store.tables import dispatch, evaluation, ven

USUAL_DAYS: Final = 90
LONGEST_DAYS: Final = 366
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_YEARS: Final = range(1970, 2200)
MOST_EVENTS: Final = 400
"""Of one season: more than one a day of the longest."""


@dataclass(frozen=True, slots=True)
class SeasonSpan:
    """Local days of the programme, from the first to the one before `until`, and what they are in UTC."""

    first: date
    until: date
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class SeasonEvent:
    """What one event brought, by its newest result; None: it has no result yet, or that is not known.

    `ratio`: delivered of all that was ordered. `uncertainty_wh`: half the width of the 90 % interval of what was
    delivered, by the report of its activation; None as well where no BRP bought it.
    """

    dispatch_id: str
    starts_at: datetime
    direction: Direction
    version: int | None
    final: bool
    called: int | None
    opted_in: int | None
    opted_out: int | None
    ordered_wh: float | None
    delivered_wh: float | None
    ratio: float | None
    participation_rate: float | None
    uncertainty_wh: float | None


@dataclass(frozen=True, slots=True)
class SeasonSums:
    """Energies over the events whose delivery is known (`measured`), answers over all that have a result.

    `uncertainty_wh`: of the sum, if events err independently of each other; None where one is not known.
    """

    events: int
    measured: int
    ordered_wh: float
    delivered_wh: float
    ratio: float | None
    called: int
    opted_in: int
    opted_out: int
    participation_rate: float | None
    uncertainty_wh: float | None


@dataclass(frozen=True, slots=True)
class Season:
    """A programme's events that start in a span of its local days, oldest first."""

    programme_id: str
    time_zone: str
    span: SeasonSpan
    sums: SeasonSums
    events: tuple[SeasonEvent, ...]


@dataclass(frozen=True, slots=True)
class SeasonVen:
    """What one VEN was asked for and did, over the events that have a result.

    `ordered_wh` and `delivered_wh` are sums over the events in which its delivery is known, so many as `measured`;
    delivered is 0 where it opted out or never opted in. `compared`: in so many events its load before is known beside
    that of like days, in `flagged` of them something looked odd, and `excess_w` is by how much it lay, in the mean, on
    the side that raises what is credited (`metrics.gaming`). `systematic`: that is so by and large; None: of fewer than
    five events it is known.
    """

    ven_id: str
    name: str
    calls: int
    opt_outs: int
    measured: int
    ordered_wh: float
    delivered_wh: float
    compared: int
    flagged: int
    excess_w: float | None
    systematic: bool | None


def span_of(rules: Programme, first: date | None, until: date | None, now: datetime) -> SeasonSpan:
    """Return the span of local days; `until` is not in it. By default the 90 days up to today, which is in it.

    Raises InvalidError for an end that is not after the start, and for more than LONGEST_DAYS.
    """
    zone = zone_named(rules.parameters.time_zone)
    last = until or now.astimezone(zone).date() + timedelta(days=1)
    since = first or last - timedelta(days=USUAL_DAYS)
    if not timedelta() < last - since <= timedelta(days=LONGEST_DAYS):
        raise InvalidError(f"A season has 1 to {LONGEST_DAYS} days; its end is after its start.", field="until")
    starts_at, ends_at = (datetime.combine(day, time(), zone).astimezone(UTC) for day in (since, last))
    return SeasonSpan(since, last, starts_at, ends_at)


def read_day(text: str | None, field: str) -> date | None:
    """Return a day of the calendar from its text; None, or nothing: the usual one. Raises InvalidError."""
    if not text:
        return None
    try:
        if _DAY.fullmatch(text) and (day := date.fromisoformat(text)).year in _YEARS:
            return day
    except ValueError:
        pass  # the 30th of February
    raise InvalidError("Write a day of the calendar, such as 2026-01-31.", field=field)


async def of_programme(
    conn: Connection, programme_id: str, now: datetime, first: date | None = None, until: date | None = None
) -> Season:
    """Return a programme's season. Raises NotFoundError, and InvalidError like `span_of` or for too many events."""
    rules = await programme.get(conn, programme_id)
    span = span_of(rules, first, until, now)
    newest, result = _newest(), evaluation.c.result
    number = {name: result[name].as_integer().label(name) for name in ("called", "opted_in", "opted_out")}
    shares = ("ordered_wh", "delivered_wh", "performance_ratio", "participation_rate")
    query = (
        select(
            dispatch.c.id,
            dispatch.c.starts_at,
            dispatch.c.direction,
            dispatch.c.result_final_at,
            newest.c.version,
            *number.values(),
            *(result[name].as_float().label(name) for name in shares),
        )
        .select_from(dispatch)
        .outerjoin(newest, newest.c.dispatch_id == dispatch.c.id)
        .outerjoin(evaluation, (evaluation.c.dispatch_id == dispatch.c.id) & (evaluation.c.version == newest.c.version))
        .where(_ran(programme_id, span, now))
        .order_by(dispatch.c.starts_at, dispatch.c.id)
        .limit(MOST_EVENTS + 1)
    )
    rows = (await conn.execute(query)).all()
    if len(rows) > MOST_EVENTS:
        raise InvalidError(f"This span has more than {MOST_EVENTS} events; ask for a shorter one.", field="until")
    widths = await _uncertainties(conn, [row.id for row in rows])
    events = tuple(
        SeasonEvent(
            dispatch_id=row.id,
            starts_at=row.starts_at,
            direction=Direction(row.direction),
            version=row.version,
            final=row.result_final_at is not None,
            called=row.called,
            opted_in=row.opted_in,
            opted_out=row.opted_out,
            ordered_wh=row.ordered_wh,
            delivered_wh=row.delivered_wh,
            ratio=row.performance_ratio,
            participation_rate=row.participation_rate,
            uncertainty_wh=widths.get(row.id),
        )
        for row in rows
    )
    return Season(programme_id, rules.parameters.time_zone, span, _sums(events), events)


def _ran(programme_id: str, span: SeasonSpan, now: datetime) -> ColumnElement[bool]:
    """Match the events of a span that have begun: neither mere signals nor what was cancelled before."""
    column = dispatch.c
    began = column.cancelled_at.is_(None) | (column.cancelled_at > column.starts_at)
    inside = (column.starts_at >= span.starts_at) & (column.starts_at < min(span.ends_at, now))
    return (column.programme_id == programme_id) & column.direction.is_not(None) & inside & began


def _newest() -> Subquery:
    newest = select(evaluation.c.dispatch_id, func.max(evaluation.c.version).label("version"))
    return newest.group_by(evaluation.c.dispatch_id).subquery("newest")


async def _uncertainties(conn: Connection, dispatch_ids: Sequence[str]) -> dict[str, float]:
    """Return dispatch -> half the width of the interval, by the newest report of its activation."""
    last = (
        select(activation_report.c.activation_id, func.max(activation_report.c.version).label("version"))
        .group_by(activation_report.c.activation_id)
        .subquery("last")
    )
    here = (activation_report.c.activation_id == last.c.activation_id) & (activation_report.c.version == last.c.version)
    query = (
        select(activation.c.dispatch_id, activation_report.c.report["uncertainty_wh"].as_float().label("width"))
        .join(last, last.c.activation_id == activation.c.id)
        .join(activation_report, here)
    )
    found: dict[str, float] = {}
    for some in in_parts(dispatch_ids):
        rows = await conn.execute(query.where(activation.c.dispatch_id.in_(some)))
        found |= {row.dispatch_id: row.width for row in rows if row.width is not None}
    return found


def _sums(events: Sequence[SeasonEvent]) -> SeasonSums:
    known = [one for one in events if one.delivered_wh is not None]
    ordered = math.fsum(one.ordered_wh or 0.0 for one in known)
    delivered = math.fsum(one.delivered_wh or 0.0 for one in known)
    widths = [one.uncertainty_wh for one in known if one.uncertainty_wh is not None]
    called = sum(one.called or 0 for one in events)
    opted_in = sum(one.opted_in or 0 for one in events)
    return SeasonSums(
        events=len(events),
        measured=len(known),
        ordered_wh=ordered,
        delivered_wh=delivered,
        ratio=delivered / ordered if ordered else None,
        called=called,
        opted_in=opted_in,
        opted_out=sum(one.opted_out or 0 for one in events),
        participation_rate=opted_in / called if called else None,
        uncertainty_wh=math.hypot(*widths) if widths and len(widths) == len(known) else None,
    )


async def vens(
    conn: Connection, season: Season, *, after: str | None = None, limit: int | None = 100
) -> list[SeasonVen]:
    """Return what VENs did in a season, in the order of their venIDs, at most `limit` after the venID `after`.

    The database sums up the results of the season's events; what comes back grows with the VENs returned, not with the
    events. `limit` None: all of them.
    """
    ids = [one.dispatch_id for one in season.events if one.version is not None]
    if not ids:
        return []
    newest = _newest()
    each, read = _rows_of_vens(conn.dialect.name)
    ven_id = cast(read("ven_id"), String).label("ven_id")
    ordered, got = cast(read("ordered_wh"), Float), cast(read("delivered_wh"), Float)
    excess = cast(read("before", "excess_w"), Float)
    odd = func.coalesce(cast(read("flags"), String), "[]") != "[]"
    query = (
        select(
            ven_id,
            func.max(cast(read("ven_name"), String)).label("name"),
            func.count().label("calls"),
            func.sum(case((cast(read("opt"), String) == OptType.OUT.value, 1), else_=0)).label("opt_outs"),
            func.count(got).label("measured"),
            func.sum(case((got.is_not(None), ordered), else_=0.0)).label("ordered_wh"),
            func.coalesce(func.sum(got), 0.0).label("delivered_wh"),
            func.count(excess).label("compared"),
            func.sum(case((odd, 1), else_=0)).label("flagged"),
            func.coalesce(func.sum(excess), 0.0).label("excess"),
            func.coalesce(func.sum(excess * excess), 0.0).label("squares"),
        )
        .select_from(evaluation)
        .join(newest, (newest.c.dispatch_id == evaluation.c.dispatch_id) & (newest.c.version == evaluation.c.version))
        .join(each, evaluation.c.dispatch_id.is_not(None))
        .where(evaluation.c.dispatch_id.in_(ids))
        .group_by(ven_id)
        .order_by(ven_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(cast(read("ven_id"), String) > after)
    rows = (await conn.execute(query)).all()
    names = await _names(conn, [row.ven_id for row in rows])
    return [_season_ven(row, names) for row in rows]


def _season_ven(row: Any, names: Mapping[str, str]) -> SeasonVen:
    ramp = gaming.ramp(int(row.compared), float(row.excess), float(row.squares))
    return SeasonVen(
        ven_id=row.ven_id,
        name=names.get(row.ven_id, row.name),
        calls=int(row.calls),
        opt_outs=int(row.opt_outs),
        measured=int(row.measured),
        ordered_wh=float(row.ordered_wh),
        delivered_wh=float(row.delivered_wh),
        compared=int(row.compared),
        flagged=int(row.flagged),
        excess_w=float(row.excess) / row.compared if row.compared else None,
        systematic=None if ramp is None else ramp.is_systematic(),
    )


def _rows_of_vens(dialect: str) -> tuple[Any, Any]:
    """Return the VENs of a stored result as a table of JSON values, and how to read a field (of a field) as text."""
    if dialect == "sqlite":
        each = func.json_each(evaluation.c.result, "$.vens").table_valued("value", name="each", joins_implicitly=True)
        return each, lambda *path: func.json_extract(each.c.value, ".".join(("$", *path)))
    rows = func.jsonb_array_elements(evaluation.c.result["vens"])
    each = rows.table_valued("value", name="each", joins_implicitly=True).render_derived()

    def read(*path: str) -> Any:
        inner: Any = each.c.value
        for name in path[:-1]:
            inner = inner.op("->")(name)
        return inner.op("->>")(path[-1])

    return each, read


async def _names(conn: Connection, ven_ids: Sequence[str]) -> dict[str, str]:
    """Return what VENs are called now."""
    found: dict[str, str] = {}
    for some in in_parts(ven_ids):
        found |= {
            row.id: row.name for row in await conn.execute(select(ven.c.id, ven.c.name).where(ven.c.id.in_(some)))
        }
    return found


def to_csv(season: Season) -> str:
    """Return the events of a season as CSV (RFC 4180); empty: not known."""
    names = [one.name for one in fields(SeasonEvent)]
    return csv_text(["programme_id", *names], ((season.programme_id, *astuple(one)) for one in season.events))


def vens_to_csv(season: Season, rows: Sequence[SeasonVen]) -> str:
    """Return what VENs did in a season as CSV."""
    names = [one.name for one in fields(SeasonVen)]
    span = season.span
    lines = ((season.programme_id, span.first, span.until, *astuple(one)) for one in rows)
    return csv_text(["programme_id", "first", "until", *names], lines)
