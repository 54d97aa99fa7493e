"""The VTN itself, in the operator API: time, outbox, audit."""

from typing import Any

from vtn.api.desk import DESK
from vtn.services import audit_log, outbox, pending
from vtn.services.outbox import State
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


@operation("GET", "/v1/status", summary="Read the state of the VTN", role="viewer", tags=["system"])
async def read_status(context: Context) -> Status:
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        counts = await outbox.count_open(conn, desk.clock.now())
        dead = await pending.messages(conn, state=State.DEAD)
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
    before = after[0] if after else None
    async with context.service(DESK).db.read() as conn:
        entries = await audit_log.listing(conn, audit_log.AuditFilter(), before=before, limit=limit + 1)
    rows = [AuditRow.model_validate(entry, from_attributes=True) for entry in entries]
    return _BY_NUMBER.page(rows, limit, key=lambda row: (row.id,))


OPERATIONS = (read_status, list_audit)
