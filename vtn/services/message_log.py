"""The log of messages: what VENs and the VTN said to each other, for people who look for a fault.

It is no truth of the VTN's: nothing is decided by it, and lines may be missing. It is bounded, a VEN and in all, and
the oldest lines go first. Times are machine time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, func, insert, or_, select, tuple_

from core.errors import NotFoundError
from vtn.services.message_bodies import unpacked
from vtn.services.settings import LogBounds
from vtn.store.database import Connection, Database
from vtn.store.database import Transaction as Tx
from vtn.store.tables import message_event, message_log, ven_certificate

ROW_BYTES: Final = 500
"""What a line takes beside its bodies, with its places in indexes."""
_AT_ONCE: Final = 200
_MOST_SWEPT: Final = 50_000
_PLAIN: Final = [column.name for column in message_log.c if column.name not in ("bodies", "size")]


class MessageSender(StrEnum):
    """Who began an exchange."""

    VEN = "ven"
    """It posted the message; what answered is the VTN."""
    VTN = "vtn"
    """It pushed the message; what answered is the VEN."""


class SubjectKind(StrEnum):
    """What an id that a message names stands for."""

    EVENT = "event"
    REPORT_REQUEST = "report_request"
    REQUEST = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """An exchange. `who` is a venID, or of a stranger the certificate's fingerprint, or nothing.

    `status` is HTTP's; None: there was no answer, and the answer's body says why. `code` is the first responseCode
    that is an error, else the answer's. `request_bytes` and `answer_bytes` are how long they were. `bodies` are packed
    (`message_bodies`) and hold no secrets; where `cut`, one of them is not there to its end.
    """

    id: str
    at: datetime
    who: str
    fingerprint: str
    sender: str
    profile: str
    type: str | None
    answer_type: str | None
    status: int | None
    code: int | None
    fault: bool
    request_bytes: int
    answer_bytes: int
    cut: bool
    bodies: bytes | None = field(default=None, repr=False)
    subjects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ids that the message or its answer names, by `SubjectKind`."""

    @property
    def ven_id(self) -> str | None:
        """The venID, unless a stranger spoke."""
        return None if self.who in ("", self.fingerprint) else self.who

    def named(self, kind: SubjectKind) -> list[str]:
        """Return the ids of a kind that the message or its answer names."""
        return list(self.subjects.get(kind, ()))

    def texts(self) -> tuple[str, str] | None:
        """Return message and answer as text, None where they were not read."""
        if self.bodies is None:
            return None
        request, answer = unpacked(self.bodies)
        return request.decode("utf-8", "replace"), answer.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines to list; None: whichever. `type` is the message's or the answer's element."""

    ven_id: str | None = None
    event_id: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    faults: bool = False


async def keep(tx: Tx, lines: Sequence[LogLine]) -> None:
    """Store lines."""
    rows = [
        {name: getattr(line, name) for name in _PLAIN}
        | {"bodies": line.bodies, "size": len(line.bodies or b"") + ROW_BYTES}
        for line in lines
    ]
    if rows:
        await tx.conn.execute(insert(message_log), rows)
    events = [
        {"message_id": line.id, "event_id": event_id} for line in lines for event_id in line.named(SubjectKind.EVENT)
    ]
    if events:
        await tx.conn.execute(insert(message_event), events)


async def listing(
    conn: Connection,
    wanted: LogFilter,
    *,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
    bodies: bool = False,
) -> list[LogLine]:
    """Return lines, newest first; `before` is time and id of the last one of the page before.

    A VEN's are also those of its certificates from before it was known that they are its own.
    """
    where: list[ColumnElement[bool]] = []
    if wanted.ven_id is not None:
        where.append(await _by(conn, wanted.ven_id))
    if wanted.event_id is not None:
        naming = select(message_event.c.message_id).where(message_event.c.event_id == wanted.event_id)
        where.append(message_log.c.id.in_(naming))
    if wanted.type is not None:
        where.append(or_(message_log.c.type == wanted.type, message_log.c.answer_type == wanted.type))
    if wanted.since is not None:
        where.append(message_log.c.at >= wanted.since)
    if wanted.until is not None:
        where.append(message_log.c.at < wanted.until)
    if wanted.faults:
        where.append(message_log.c.fault)
    if before is not None:
        where.append(tuple_(message_log.c.at, message_log.c.id) < before)
    query = _query(bodies=bodies).where(*where).order_by(message_log.c.at.desc(), message_log.c.id.desc()).limit(limit)
    return [LogLine(**row._asdict()) for row in await conn.execute(query)]


async def types(conn: Connection, ven_id: str) -> list[str]:
    """Return the kinds of messages and answers of a VEN that the log has."""
    mine = await _by(conn, ven_id)
    names: set[str | None] = set()
    for column in (message_log.c.type, message_log.c.answer_type):
        names.update((await conn.execute(select(column).where(mine).distinct())).scalars())
    return sorted(filter(None, names))


async def _by(conn: Connection, ven_id: str) -> ColumnElement[bool]:
    own = select(ven_certificate.c.fingerprint).where(ven_certificate.c.ven_id == ven_id)
    return message_log.c.who.in_([ven_id, *(await conn.execute(own)).scalars()])


async def get(conn: Connection, message_id: str) -> LogLine:
    """Return a line with its bodies. Raises NotFoundError."""
    row = (await conn.execute(_query(bodies=True).where(message_log.c.id == message_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no message {message_id} in the log; old ones are deleted.")
    return LogLine(**row._asdict())


def _query(*, bodies: bool) -> Select[Any]:
    return select(*(message_log.c[name] for name in (*_PLAIN, "bodies") if bodies or name != "bodies"))


async def sweep(db: Database, bounds: LogBounds, now: datetime) -> int:
    """Delete what is beyond the bounds, oldest first, some hundred lines at a time; return how many.

    Each portion is a transaction of its own, so that answers never wait long. What is left over after many is for the
    next time. Several processes may do so at once.
    """
    deleted = 0
    for doomed in (_too_old, _too_many_each, _too_many):
        async with db.read() as conn:
            ids = list((await conn.execute((await doomed(conn, bounds, now)).limit(_MOST_SWEPT))).scalars())
        for start in range(0, len(ids), _AT_ONCE):
            async with db.write() as tx:
                deleted += await _delete(tx, ids[start : start + _AT_ONCE])
    return deleted


async def _delete(tx: Tx, ids: Iterable[str]) -> int:
    """Delete lines, but none that another process is deleting."""
    mine = select(message_log.c.id).where(message_log.c.id.in_(ids)).with_for_update(skip_locked=True)
    result = await tx.conn.execute(
        delete(message_log).where(message_log.c.id.in_(list((await tx.conn.execute(mine)).scalars())))
    )
    return result.rowcount


async def _too_old(_conn: Connection, bounds: LogBounds, now: datetime) -> Select[Any]:
    old = message_log.c.at <= now - bounds.keep.timedelta()
    return select(message_log.c.id).where(old).order_by(message_log.c.at)


async def _too_many_each(_conn: Connection, bounds: LogBounds, _now: datetime) -> Select[Any]:
    """Return the lines with so many newer ones of the same VEN. Only lines of VENs with too many are looked at."""
    crowded = (
        select(message_log.c.who)
        .group_by(message_log.c.who)
        .having(or_(func.count() > bounds.lines_each, func.sum(message_log.c.size) > bounds.size_each))
    )
    who, newest_first = message_log.c.who, (message_log.c.at.desc(), message_log.c.id.desc())
    counted = (
        select(
            message_log.c.id,
            message_log.c.at,
            func.row_number().over(partition_by=who, order_by=newest_first).label("place"),
            func.sum(message_log.c.size).over(partition_by=who, order_by=newest_first).label("bytes"),
        )
        .where(message_log.c.who.in_(crowded))
        .subquery()
    )
    beyond = or_(counted.c.place > bounds.lines_each, counted.c.bytes > bounds.size_each)
    return select(counted.c.id).where(beyond).order_by(counted.c.at)


async def _too_many(conn: Connection, bounds: LogBounds, _now: datetime) -> Select[Any]:
    """Return the oldest lines, as many as there are too many, or bytes too many. Only the oldest are looked at."""
    total = select(func.count(message_log.c.id), func.coalesce(func.sum(message_log.c.size), 0))
    lines, size = (await conn.execute(total)).one()
    oldest = select(message_log.c.id, message_log.c.at, message_log.c.size).order_by(message_log.c.at, message_log.c.id)
    part = oldest.limit(_MOST_SWEPT if lines > bounds.lines or size > bounds.size else 0).subquery()
    oldest_first = (part.c.at, part.c.id)
    counted = select(
        part.c.id,
        part.c.at,
        func.row_number().over(order_by=oldest_first).label("place"),
        (func.sum(part.c.size).over(order_by=oldest_first) - part.c.size).label("before"),
    ).subquery()
    beyond = or_(counted.c.place <= lines - bounds.lines, counted.c.before < size - bounds.size)
    return select(counted.c.id).where(beyond).order_by(counted.c.at)
