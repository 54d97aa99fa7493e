"""Outages, in the operator API."""

from typing import Annotated

from pydantic import Field

from vtn.api.desk import DESK
from vtn.api.fields import Printable
from vtn.services import outages
from vtn.services.outages import Outage as Stored
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_NEWEST_FIRST = Keyset("outages", str)


class NewOutage(Model):
    """A time without power or without a meter, past, present or planned; of a VEN, of an area, or of everybody."""

    starts_at: UtcTime
    ends_at: UtcTime | None = None
    """null: it lasts."""
    reason: Annotated[Printable, Field(min_length=1, max_length=200, examples=["Cable damaged"])]
    ven_id: Annotated[str, Field(max_length=80)] | None = None
    area: Annotated[Printable, Field(min_length=1, max_length=80)] | None = None
    """Grid area or feeder; neither this nor a VEN: everybody's."""


class OutageEnd(Model):
    """When an outage came to its end."""

    ends_at: UtcTime


class Outage(NewOutage):
    """An outage: the days that it touches make no baseline, and an event that it touches has no result."""

    id: str
    created_at: UtcTime
    created_by: str

    @classmethod
    def of(cls, stored: Stored) -> "Outage":
        """Return an outage as the API shows it."""
        return cls(**{name: getattr(stored, name) for name in cls.model_fields})


@operation("GET", "/v1/outages", summary="List outages, the last entered first", role="viewer", tags=["readings"])
async def list_outages(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Outage]:
    after = _NEWEST_FIRST.decode(cursor)
    async with context.service(DESK).db.read() as conn:
        rows = await outages.listing(conn, before=after[0] if after else None, limit=limit + 1)
    return _NEWEST_FIRST.page([Outage.of(row) for row in rows], limit, key=lambda row: (row.id,))


@operation("POST", "/v1/outages", summary="Enter an outage", role="admin", tags=["readings"], status=201, errors=[404])
async def add_outage(context: Context, body: NewOutage) -> Outage:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        made = await outages.add(
            tx,
            body.starts_at,
            body.ends_at,
            body.reason,
            desk.clock.now(),
            who=context.principal.name,
            ven_id=body.ven_id,
            area=body.area,
        )
    return Outage.of(made)


@operation(
    "POST",
    "/v1/outages/{outage_id}/end",
    summary="Say when an outage ended",
    role="admin",
    tags=["readings"],
    errors=[404, 409],
)
async def end_outage(context: Context, outage_id: str, body: OutageEnd) -> Outage:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        return Outage.of(await outages.end(tx, outage_id, body.ends_at, desk.clock.now(), who=context.principal.name))


@operation(
    "DELETE",
    "/v1/outages/{outage_id}",
    summary="Remove an outage that was none",
    role="admin",
    tags=["readings"],
    errors=[404],
)
async def remove_outage(context: Context, outage_id: str) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await outages.remove(tx, outage_id, desk.clock.now(), who=context.principal.name)


OPERATIONS = (list_outages, add_outage, end_outage, remove_outage)
