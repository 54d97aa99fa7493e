"""Makes monthly statements by itself, of every contract's month that is over and in which an activation began.

The first version is made as soon as all of the month is settled, at the latest LATEST after its end. The next one is
made when all of the month has become final; after that one, whenever a settlement of it was superseded, once that is
final. Versions in between are made only for who asks.

What is due is found from activations and settlements in three statements for all contracts together. A stored
statement can be megabytes: the database takes out of it what is compared, once in a process's life, since it never
changes.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Case, ColumnElement, Integer, Select, case, cast, func, select

from aggregator.tables import activation, contract, settlement, statement
from aggregator.trade import contracts, statements
from aggregator.trade.activation_start import WORKER
from core.clock import Clock
from core.errors import InvalidError
from metrics.days import zone_named
from vtn.services import programme
from vtn.store.database import Connection, Database
from vtn.store.engines import SQLITE

LOOK_BACK: Final = timedelta(days=100)
"""Months that ended longer ago are left as they are."""
LATEST: Final = timedelta(days=3)
"""So long after a month's end its first statement does not wait for settlements any more."""
_EVERY_S: Final = 600.0
"""Machine time between two looks of a process."""
_YEARS: Final = range(2000, 2100)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MonthState:
    """A contract's month, as its activations and settlements have it.

    `settled`: everything that began has a settlement. `final`: all newest settlements are final, and no dispute is
    open. `versions`: the sum of their versions, which grows whenever one is superseded. `statement_id`: the newest
    statement made since it ended, None: there is none.
    """

    contract_id: str
    month: str
    ended_at: datetime
    settled: bool
    final: bool
    versions: int
    statement_id: str | None

    @property
    def key(self) -> str:
        """Its name among all months."""
        return f"{self.contract_id}/{self.month}"

    def may_be_due(self, now: datetime) -> bool:
        """Tell whether a statement is due by what is known without reading the stored one."""
        if self.statement_id is None:
            return self.settled or now >= self.ended_at + LATEST
        return self.final


class StatementWatch:
    """One process's share of the statements; several processes may look at once."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._waiting: list[str] = []
        self._look_at = 0.0
        self._stated: dict[str, tuple[str | None, int, bool]] = {}
        """Of months of which nothing is to be stated anew: as they were then (`_as_it_is`)."""

    async def due(self, conn: Connection, now: datetime, limit: int) -> list[str]:
        """Return the keys of up to `limit` months to call `make` for; it looks for them every ten minutes at most.

        Those beyond the limit come first the next time. What `make` does not do is found again by the next look.
        """
        if not self._waiting and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _EVERY_S
            candidates = [state for state in await states(conn, now) if state.may_be_due(now)]
            self._stated = {one.key: self._stated[one.key] for one in candidates if one.key in self._stated}
            self._waiting = [one.key for one in candidates if not self._is_stated(one)]
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return taken

    def _is_stated(self, state: MonthState) -> bool:
        return self._stated.get(state.key) == _as_it_is(state)

    async def make(self, key: str) -> None:
        """Make the statement of a month if it is due, unless another process did so meanwhile."""
        contract_id, _, month = key.partition("/")
        now = self._clock.now()
        async with self._db.read() as conn:
            state = await _state(conn, now, contract_id, month)
            if state is None:
                return
            if not await _is_due(conn, state, now):
                if state.statement_id is not None and state.final:
                    self._stated[key] = _as_it_is(state)
                return
        async with self._db.write() as tx:
            await contracts.get(tx.conn, contract_id, lock=True)
            state = await _state(tx.conn, now, contract_id, month)
            if state is not None and await _is_due(tx.conn, state, now):
                made = await statements.make(tx, contract_id, month, now, who=WORKER)
                if made.created_at < state.ended_at:  # one of before says the same already
                    self._stated[key] = _as_it_is(state)


def _as_it_is(state: MonthState) -> tuple[str | None, int, bool]:
    return state.statement_id, state.versions, state.final


async def states(conn: Connection, now: datetime, contract_id: str | None = None) -> list[MonthState]:
    """Return the months of all contracts (or of one) that ended in the last LOOK_BACK, and in which something began."""
    calendars = _calendars(await programme.time_zones(conn), now)
    if not calendars:
        return []
    ends = {
        (each, one.name): one.end for calendar in calendars for each in calendar.programmes for one in calendar.over
    }
    stored = {(row.contract_id, row.month): row for row in await conn.execute(_newest(calendars, contract_id))}
    return [
        MonthState(
            row.contract_id,
            row.month,
            ends[row.programme_id, row.month],
            settled=row.settled == row.begun,
            final=row.final == row.begun and row.disputed == 0,
            versions=row.versions,
            statement_id=_made_since(stored.get((row.contract_id, row.month)), ends[row.programme_id, row.month]),
        )
        for row in await conn.execute(_settled(calendars, contract_id))
    ]


def _made_since(row: Any, ended_at: datetime) -> str | None:
    """Return the id of a month's statement; one that was made before the month's end says too little, and is none."""
    return row.id if row is not None and row.created_at >= ended_at else None


async def _state(conn: Connection, now: datetime, contract_id: str, month: str) -> MonthState | None:
    return next((one for one in await states(conn, now, contract_id) if one.month == month), None)


async def _is_due(conn: Connection, state: MonthState, now: datetime) -> bool:
    """Tell whether a month's statement is to be made, by what the newest one says."""
    if state.statement_id is None or not state.may_be_due(now):
        return state.may_be_due(now)
    is_final, versions = (await conn.execute(_said(conn, state.statement_id))).one()
    return not is_final or versions != state.versions


# -- months


@dataclass(frozen=True, slots=True)
class _Month:
    name: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class _Calendar:
    """The months that are over in one time zone, and the programmes whose zone it is."""

    programmes: tuple[str, ...]
    over: tuple[_Month, ...]


def _calendars(zones: Mapping[str, str], now: datetime) -> list[_Calendar]:
    by_zone: dict[str, list[str]] = {}
    for programme_id, name in zones.items():
        by_zone.setdefault(name, []).append(programme_id)
    every = [_Calendar(tuple(ids), tuple(_months_over(name, now))) for name, ids in by_zone.items()]
    return [one for one in every if one.over]


def _months_over(zone_name: str, now: datetime) -> Iterator[_Month]:
    try:
        zone = zone_named(zone_name)
    except InvalidError as error:  # one programme's zone was struck off: the others' months are over all the same
        _log.warning("no statements by themselves", time_zone=zone_name, why=str(error))
        return
    local = now.astimezone(zone)
    year, number = local.year, local.month
    while year in _YEARS:
        name = f"{year}-{number:02}"
        span = statements.month_span(name, zone)
        if span.end is None or span.end <= now - LOOK_BACK:
            return
        if span.end <= now:
            yield _Month(name, span.start, span.end)
        year, number = (year, number - 1) if number > 1 else (year - 1, 12)


# -- read


def _settled(calendars: Sequence[_Calendar], contract_id: str | None) -> Select[Any]:
    """Return the query for what each month has: how many began, are settled, final, disputed, and the versions' sum."""
    months = [one for calendar in calendars for one in calendar.over]
    starts, every = activation.c.starts_at, settlement.alias()
    newest = select(func.max(every.c.version)).where(every.c.activation_id == activation.c.id).scalar_subquery()
    is_newest = (settlement.c.activation_id == activation.c.id) & (settlement.c.version == newest)
    each = (
        select(
            activation.c.contract_id,
            contract.c.programme_id,
            _month_of(calendars).label("month"),
            settlement.c.version,
            _counted(settlement.c.final.is_(True)).label("final"),
            _counted(settlement.c.disputed_at.is_not(None) & settlement.c.answered_at.is_(None)).label("disputed"),
        )
        .join(contract, contract.c.id == activation.c.contract_id)
        .outerjoin(settlement, is_newest)
        .where(statements.begun())
        .where((starts >= min(one.start for one in months)) & (starts < max(one.end for one in months)))
    )
    if contract_id is not None:
        each = each.where(activation.c.contract_id == contract_id)
    of = each.subquery().c
    return (
        select(
            *(of.contract_id, of.programme_id, of.month),
            func.count().label("begun"),
            func.count(of.version).label("settled"),
            func.sum(of.final).label("final"),
            func.sum(of.disputed).label("disputed"),
            func.coalesce(func.sum(of.version), 0).label("versions"),
        )
        .where(of.month.is_not(None))
        .group_by(of.month, of.contract_id, of.programme_id)
        .order_by(of.month, of.contract_id)
    )


def _counted(condition: ColumnElement[bool]) -> Case[int]:
    return case((condition, 1), else_=0)


def _month_of(calendars: Sequence[_Calendar]) -> Case[str]:
    """Return the name of the month in which an activation starts by its programme's calendar; NULL: of none of them."""
    starts = activation.c.starts_at
    return case(
        *(
            (
                contract.c.programme_id.in_(calendar.programmes),
                case(*(((starts >= one.start) & (starts < one.end), one.name) for one in calendar.over)),
            )
            for calendar in calendars
        )
    )


def _newest(calendars: Sequence[_Calendar], contract_id: str | None) -> Select[Any]:
    """Return the query for the newest statement of each contract's month."""
    of = statement.c
    names = {one.name for calendar in calendars for one in calendar.over}
    last = select(of.contract_id, of.month, func.max(of.version).label("version")).where(of.month.in_(sorted(names)))
    if contract_id is not None:
        last = last.where(of.contract_id == contract_id)
    newest = last.group_by(of.contract_id, of.month).subquery().c
    same = (of.contract_id == newest.contract_id) & (of.month == newest.month) & (of.version == newest.version)
    return select(of.id, of.contract_id, of.month, of.created_at).join_from(statement, newest.contract_id.table, same)


def _said(conn: Connection, statement_id: str) -> Select[Any]:
    """Return the query for what a stored statement says: whether it is final, and its settlements' versions, summed."""
    content = statement.c.content
    rows = content["activations"]
    version: ColumnElement[Any]
    if conn.dialect.name == SQLITE:
        row = func.json_each(rows).table_valued("value", name="stated").c.value
        version = func.json_extract(row, "$.settlement_version")
    else:
        row = func.jsonb_array_elements(rows).column_valued("stated")
        version = cast(row.op("->>")("settlement_version"), Integer)
    total = select(func.coalesce(func.sum(version), 0)).scalar_subquery()
    return select(content["final"].as_boolean(), total).where(statement.c.id == statement_id)
