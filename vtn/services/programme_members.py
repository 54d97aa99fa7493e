"""A programme's members as people look at them: who takes part since when, and how often each was called."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, select

from vtn.services import programme as programmes
from vtn.services.programme import Limits, Programme
from vtn.store.database import Connection
from vtn.store.rows import from_json
from vtn.store.tables import dispatch, enrolment, event, programme, ven


@dataclass(frozen=True, slots=True)
class Member:
    """A VEN that takes part. Calls are this programme's that begin in the present local day, week and season."""

    ven_id: str
    name: str
    since: datetime
    consent_version: str | None
    consent_at: datetime | None
    calls_day: int
    calls_week: int
    calls_season: int


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A programme that a VEN takes part in, or took."""

    programme_id: str
    programme: str
    valid_from: datetime
    valid_to: datetime | None
    consent_version: str | None


async def versions(conn: Connection, programme_id: str) -> list[Programme]:
    """Return all versions of a programme, newest first. Raises NotFoundError."""
    newest = await programmes.get(conn, programme_id)
    query = select(programme).where(programme.c.id == programme_id).order_by(programme.c.version.desc())
    return [
        Programme(
            row.id,
            row.version,
            row.name,
            newest.market_context,
            from_json(programmes.Parameters, row.parameters),
            row.created_at,
        )
        for row in await conn.execute(query)
    ]


async def counts(conn: Connection, now: datetime) -> dict[str, int]:
    """Return programme -> how many VENs take part now."""
    query = (
        select(enrolment.c.programme_id, func.count(func.distinct(enrolment.c.ven_id)).label("vens"))
        .where((enrolment.c.valid_from <= now) & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now)))
        .group_by(enrolment.c.programme_id)
    )
    return {row.programme_id: int(row.vens) for row in await conn.execute(query)}


async def members(
    conn: Connection, programme: Programme, now: datetime, *, after: str | None = None, limit: int = 100
) -> list[Member]:
    """Return who takes part in a programme now, by name; `after` is the name of the last one of the page before."""
    takes_part = (enrolment.c.valid_from <= now) & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now))
    query = (
        select(ven.c.id, ven.c.name, enrolment.c.valid_from, enrolment.c.consent_version, enrolment.c.consent_at)
        .join(ven, ven.c.id == enrolment.c.ven_id)
        .where((enrolment.c.programme_id == programme.id) & takes_part)
        .order_by(ven.c.name, enrolment.c.valid_from)
        .limit(limit)
    )
    if after is not None:
        query = query.where(ven.c.name > after)
    rows = (await conn.execute(query)).all()
    calls = await _calls(conn, programme, [row.id for row in rows], now)
    none = (0, 0, 0)
    return [
        Member(row.id, row.name, row.valid_from, row.consent_version, row.consent_at, *calls.get(row.id, none))
        for row in {row.id: row for row in rows}.values()
    ]


async def _calls(
    conn: Connection, programme: Programme, ven_ids: list[str], now: datetime
) -> dict[str, tuple[int, int, int]]:
    """Count calls; mere signals and what was cancelled before it began are none."""
    day, week, season = periods_begin(programme.parameters.limits, ZoneInfo(programme.parameters.time_zone), now)
    tomorrow, next_week = day + timedelta(days=1), week + timedelta(days=7)
    starts = dispatch.c.starts_at
    query = (
        select(
            event.c.ven_id,
            func.sum(case(((starts >= day) & (starts < tomorrow), 1), else_=0)).label("day"),
            func.sum(case(((starts >= week) & (starts < next_week), 1), else_=0)).label("week"),
            func.sum(case((starts >= season, 1), else_=0)).label("season"),
        )
        .join(dispatch, dispatch.c.id == event.c.dispatch_id)
        .where((dispatch.c.programme_id == programme.id) & event.c.ven_id.in_(ven_ids))
        .where(dispatch.c.direction.is_not(None) & (starts >= min(day, week, season)))
        .where(event.c.cancelled_at.is_(None) | (event.c.cancelled_at > starts))
        .group_by(event.c.ven_id)
    )
    return {row.ven_id: (int(row.day), int(row.week), int(row.season)) for row in await conn.execute(query)}


def periods_begin(limits: Limits, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime, datetime]:
    """Return when the present local day, week (Monday) and season began, as UTC."""
    today = now.astimezone(zone).date()
    days = sorted(
        date(year, int(text[:2]), int(text[3:]))
        for text in limits.seasons or ("01-01",)
        for year in (today.year - 1, today.year)
    )
    season = max(one for one in days if one <= today)
    first = (today, today - timedelta(days=today.weekday()), season)
    day, week, begun = (datetime.combine(one, time(), zone).astimezone(UTC) for one in first)
    return day, week, begun


async def of_ven(conn: Connection, ven_id: str) -> list[Enrolment]:
    """Return what a VEN takes part in, and took, newest first."""
    newest = select(programme.c.id, func.max(programme.c.version).label("version")).group_by(programme.c.id).subquery()
    query = (
        select(enrolment, programme.c.name)
        .join(newest, newest.c.id == enrolment.c.programme_id)
        .join(programme, (programme.c.id == newest.c.id) & (programme.c.version == newest.c.version))
        .where(enrolment.c.ven_id == ven_id)
        .order_by(enrolment.c.valid_from.desc())
    )
    return [
        Enrolment(row.programme_id, row.name, row.valid_from, row.valid_to, row.consent_version)
        for row in await conn.execute(query)
    ]
