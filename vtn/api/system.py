"""The VTN itself, in the operator API: time, outbox, audit."""

from typing import Any

from sqlalchemy import select

from vtn.api.desk import DESK
from vtn.services import outbox
from vtn.store.tables import audit
from vtn.store.tables import outbox as outbox_table
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_NUMBER = Keyset("audit", int)


class DeadRow(Model):
    """A message that was given up."""

    ven_id: str
    kind: str
    subject: str
    tries: int
    created_at: UtcTime


class Status(Model):
    """How the VTN stands."""

    vtn_id: str
    now: UtcTime
    """The world's time."""
    openadr_url: str
    outbox: dict[str, int]
    """Rows by state: pending, sent, done, dead."""
    dead: list[DeadRow]
    """The newest messages that were given up."""


class AuditRow(Model):
    """Who changed what."""

    id: int
    at: UtcTime
    who: str
    action: str
    subject: str
    before: Any
    after: Any


@operation("GET", "/v1/status", summary="How the VTN stands", role="viewer", tags=["system"])
async def read_status(context: Context) -> Status:
    desk = context.service(DESK)
    query = (
        select(outbox_table)
        .where(outbox_table.c.state == outbox.State.DEAD)
        .order_by(outbox_table.c.id.desc())
        .limit(100)
    )
    async with desk.db.read() as conn:
        counts = await outbox.count_open(conn)
        dead = (await conn.execute(query)).all()
    return Status(
        vtn_id=desk.settings.vtn_id,
        now=desk.clock.now(),
        openadr_url=desk.openadr_url,
        outbox=counts,
        dead=[DeadRow.model_validate(row, from_attributes=True, extra="ignore") for row in dead],
    )


@operation("GET", "/v1/audit", summary="List changes, newest first", role="admin", tags=["system"])
async def list_audit(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[AuditRow]:
    after = _BY_NUMBER.decode(cursor)
    query = select(audit).order_by(audit.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(audit.c.id < after[0])
    async with context.service(DESK).db.read() as conn:
        rows = (await conn.execute(query)).all()
    found = [AuditRow.model_validate(row, from_attributes=True) for row in rows]
    return _BY_NUMBER.page(found, limit, key=lambda one: (one.id,))


OPERATIONS = (read_status, list_audit)
