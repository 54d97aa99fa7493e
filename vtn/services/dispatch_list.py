"""Dispatches as people look at them: what runs, what comes next, what was; with how many VENs said what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, case, func, select

from openadr.model.event import Event, EventStatus, status_at
from openadr.model.opt import OptSource, OptType
from openadr.model.signal import Signal
from vtn.services.opt import SPEAKS_FOR_VEN
from vtn.store.database import Connection
from vtn.store.rows import from_json
from vtn.store.tables import dispatch, event, opt, programme


class When(StrEnum):
    """Where a dispatch lies in time."""

    RUNNING = "running"
    NEXT = "next"
    OVER = "over"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class DispatchFilter:
    """Which dispatches to list; None: whichever."""

    when: When | None = None
    programme_id: str | None = None
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class DispatchRow:
    """A dispatch in a listing. The last answer of a VEN counts; `silent` ones gave none."""

    id: str
    programme_id: str
    programme: str
    direction: str | None
    signals: tuple[Signal, ...]
    starts_at: datetime
    ends_at: datetime | None
    status: EventStatus
    when: When
    created_at: datetime
    created_by: str
    called: int
    opted_in: int
    opted_out: int

    @property
    def silent(self) -> int:
        """VENs that gave no answer."""
        return max(self.called - self.opted_in - self.opted_out, 0)

    @property
    def signal(self) -> str:
        """The first signal in a word or two."""
        return f"{self.signals[0].name} {self.signals[0].type}" if self.signals else ""


def _time(when: When, now: datetime) -> ColumnElement[bool]:
    began = dispatch.c.starts_at <= now
    ended = dispatch.c.ends_at.is_not(None) & (dispatch.c.ends_at <= now)
    here = dispatch.c.cancelled_at.is_(None)
    match when:
        case When.RUNNING:
            return here & began & ~ended
        case When.NEXT:
            return here & ~began
        case When.OVER:
            return here & ended
        case When.CANCELLED:
            return dispatch.c.cancelled_at.is_not(None)


async def listing(
    conn: Connection,
    wanted: DispatchFilter,
    now: datetime,
    *,
    after: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[DispatchRow]:
    """Return dispatches, those that start latest first; what is to come begins with the next one.

    `after` is (starts_at, id) of the last one of the page before.
    """
    where: list[ColumnElement[bool]] = []
    if wanted.when is not None:
        where.append(_time(wanted.when, now))
    if wanted.programme_id is not None:
        where.append(dispatch.c.programme_id == wanted.programme_id)
    if wanted.ven_id is not None:
        where.append(dispatch.c.id.in_(select(event.c.dispatch_id).where(event.c.ven_id == wanted.ven_id)))
    forward = wanted.when is When.NEXT
    place = (dispatch.c.starts_at, dispatch.c.id)
    if after is not None:
        later = (place[0] > after[0]) | ((place[0] == after[0]) & (place[1] > after[1]))
        earlier = (place[0] < after[0]) | ((place[0] == after[0]) & (place[1] < after[1]))
        where.append(later if forward else earlier)
    named = (programme.c.id == dispatch.c.programme_id) & (programme.c.version == dispatch.c.programme_version)
    query = (
        select(dispatch, programme.c.name)
        .join(programme, named)
        .where(*where)
        .order_by(*(column.asc() if forward else column.desc() for column in place))
        .limit(limit)
    )
    rows = (await conn.execute(query)).all()
    tallies = await _tallies(conn, [row.id for row in rows])
    return [_row(row, tallies.get(row.id), now) for row in rows]


_RANK: Final = case((opt.c.source == OptSource.OPERATOR, 2), (opt.c.source == OptSource.CREATE_OPT, 1), else_=0)
"""Whose word counts most (openadr.model.opt.effective_opt)."""


async def _tallies(conn: Connection, dispatch_ids: Sequence[str]) -> dict[str, Any]:
    """Return dispatch -> called, opted_in, opted_out, by the word of each event's VEN that counts for it as a whole."""
    place = func.row_number().over(partition_by=opt.c.event_id, order_by=(_RANK.desc(), opt.c.sequence.desc()))
    ranked = (
        select(opt.c.event_id, opt.c.opt_type, place.label("place"))
        .join(event, event.c.id == opt.c.event_id)
        .where(event.c.dispatch_id.in_(dispatch_ids) & SPEAKS_FOR_VEN)
        .subquery()
    )
    said = ranked.c.opt_type
    query = (
        select(
            event.c.dispatch_id,
            func.count().label("called"),
            func.sum(case((said == OptType.IN, 1), else_=0)).label("opted_in"),
            func.sum(case((said == OptType.OUT, 1), else_=0)).label("opted_out"),
        )
        .select_from(event.outerjoin(ranked, (ranked.c.event_id == event.c.id) & (ranked.c.place == 1)))
        .where(event.c.dispatch_id.in_(dispatch_ids))
        .group_by(event.c.dispatch_id)
    )
    return {row.dispatch_id: row for row in await conn.execute(query)}


def _row(row: Any, tally: Any, now: datetime) -> DispatchRow:
    shared = from_json(Event, row.event)
    status = EventStatus.CANCELLED if row.cancelled_at is not None else status_at(shared, now)
    if row.cancelled_at is not None:
        when = When.CANCELLED
    elif row.starts_at > now:
        when = When.NEXT
    else:
        when = When.RUNNING if row.ends_at is None or row.ends_at > now else When.OVER
    return DispatchRow(
        id=row.id,
        programme_id=row.programme_id,
        programme=row.name,
        direction=row.direction,
        signals=shared.signals,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        status=status,
        when=when,
        created_at=row.created_at,
        created_by=row.created_by,
        called=int(tally.called) if tally else 0,
        opted_in=int(tally.opted_in) if tally else 0,
        opted_out=int(tally.opted_out) if tally else 0,
    )


async def count(conn: Connection, wanted: When, now: datetime) -> int:
    """Return how many dispatches lie there in time."""
    return int((await conn.execute(select(func.count()).select_from(dispatch).where(_time(wanted, now)))).scalar_one())
