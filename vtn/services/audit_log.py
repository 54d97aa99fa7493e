"""The audit as people read it: who changed what, newest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select

from vtn.store.database import Connection
from vtn.store.tables import audit


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows to list; None: whichever. `text` is part of the subject; `since` and `until` are world time."""

    who: str | None = None
    action: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str
    before: Any
    after: Any


async def listing(
    conn: Connection, wanted: AuditFilter, *, before: int | None = None, limit: int = 100
) -> list[AuditEntry]:
    """Return changes, newest first; `before` is the number of the last one of the page before."""
    where: list[ColumnElement[bool]] = []
    if wanted.who is not None:
        where.append(audit.c.who == wanted.who)
    if wanted.action is not None:
        where.append(audit.c.action == wanted.action)
    if wanted.text is not None:
        where.append(
            or_(*(column.icontains(wanted.text, autoescape=True) for column in (audit.c.subject, audit.c.who)))
        )
    if wanted.since is not None:
        where.append(audit.c.at >= wanted.since)
    if wanted.until is not None:
        where.append(audit.c.at < wanted.until)
    if before is not None:
        where.append(audit.c.id < before)
    query = select(audit).where(*where).order_by(audit.c.id.desc()).limit(limit)
    return [
        AuditEntry(row.id, row.at, row.who, row.action, row.subject, row.before, row.after)
        for row in await conn.execute(query)
    ]


async def actions(conn: Connection) -> list[str]:
    """Return every kind of change that was ever made."""
    return sorted((await conn.execute(select(audit.c.action).distinct())).scalars())
