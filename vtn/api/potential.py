"""Flexibility potential of VENs, in the operator API (FN-DR-01, FN-DR-02)."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from core.direction import Direction
from core.errors import InvalidError
from core.spans import Duration
from vtn.api.desk import DESK
from vtn.services import potential as potentials
from vtn.services import ven_view
from vtn.services.potential import at_s
from web.api import Context
from web.model import IsoDuration, Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_NEWEST_FIRST = Keyset("potential", int)
_LAST_TIME = datetime(2199, 12, 31, tzinfo=UTC)


class Potential(Model):
    """By how much a resource could change its consumption, in even steps; columns of equal length."""

    resource_id: str
    """Empty for the VEN as a whole."""
    direction: Direction
    source: Literal["ven", "history"]
    """Who says so: the VEN itself, or this VTN out of the VEN's history."""
    issued_at: UtcTime
    superseded_at: UtcTime | None
    """When a newer one took its place; null: in force."""
    age_s: float
    stale: bool
    """Whether it is too old to be relied on."""
    start: UtcTime
    step: IsoDuration
    p10_w: list[float]
    """Reached nine times out of ten."""
    p50_w: list[float]
    p90_w: list[float]


def _shown(potential: potentials.Potential, now: datetime) -> Potential:
    figures = potential.figures
    return Potential(
        resource_id=figures.resource_id,
        direction="reduce" if figures.direction == "reduce" else "increase",
        source=potential.source,
        issued_at=potential.issued_at,
        superseded_at=potential.superseded_at,
        age_s=max(0.0, potential.age_s(now)),
        stale=potential.superseded_at is not None or potential.is_stale(now),
        start=min(at_s(figures.start_s), _LAST_TIME),
        step=Duration.of(seconds=figures.step_s),
        p10_w=list(figures.p10_w),
        p50_w=list(figures.p50_w),
        p90_w=list(figures.p90_w),
    )


@operation(
    "GET",
    "/v1/vens/{ven_id}/potential",
    summary="Read a VEN's flexibility potential: in force, or issued in a period",
    role="viewer",
    tags=["potential"],
    errors=[404],
)
async def read_potential(
    context: Context,
    ven_id: str,
    since: UtcTime | None = None,
    until: UtcTime | None = None,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[Potential]:
    desk = context.service(DESK)
    now = desk.clock.now()
    after = _NEWEST_FIRST.decode(cursor)
    if since is None and (until is not None or after is not None):
        raise InvalidError("What was issued in a span needs 'since'; without it there is what is in force.")
    async with desk.db.read() as conn:
        await ven_view.get(conn, ven_id)
        if since is None:
            found = (await potentials.latest(conn, [ven_id], now)).get(ven_id, [])
            return Page[Potential](items=[_shown(one, now) for one in found], next=None)
        end = until or now + timedelta(seconds=1)
        rows = await potentials.history(conn, ven_id, since, end, before=after[0] if after else None, limit=limit + 1)
    page = _NEWEST_FIRST.page(rows, limit, key=lambda row: (row.id,))
    return Page[Potential](items=[_shown(one, now) for one in page.items], next=page.next)


OPERATIONS = (read_potential,)
