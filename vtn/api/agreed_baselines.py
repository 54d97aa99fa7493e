"""Powers agreed with VENs as their baselines, in the operator API."""

from typing import Annotated, Literal

from pydantic import Field

from metrics.agreed_profile import LENGTHS, MOST_W, AgreedProfile
from vtn.api.desk import DESK
from vtn.api.fields import Printable
from vtn.services import agreed, fleet
from web.api import Context
from web.model import Day, Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_OLDEST_FIRST = Keyset("agreed-baselines", str, str)

_Powers = Annotated[
    list[Annotated[int, Field(ge=-MOST_W, le=MOST_W)]], Field(max_length=max(LENGTHS), examples=[[350] * 24])
]


class AgreedPowers(Model):
    """Mean powers (W, import positive) of equal parts of the local day: 1, 24, 48, 96 or 288 values."""

    method: Literal["fixed-profile", "firm-level"]
    """The preset that it is for; a firm level is a single value."""
    valid_from: Day
    """The first local date that it is for; it ends where another begins."""
    weekdays_w: Annotated[_Powers, Field(min_length=1)]
    weekends_w: _Powers = Field(default_factory=list)
    """Of Saturdays, Sundays and holidays; empty: as on weekdays."""


class NewAgreedBaseline(AgreedPowers):
    """What is agreed with each of some VENs; for the same first day it replaces what was agreed before."""

    ven_ids: Annotated[
        list[Annotated[Printable, Field(min_length=1, max_length=80)]], Field(min_length=1, max_length=fleet.MOST_NAMED)
    ]


class AgreedVens(Model):
    """How many VENs it was entered for."""

    vens: int


class AgreedBaseline(AgreedPowers):
    """What was agreed with a VEN."""

    created_at: UtcTime
    created_by: str


@operation(
    "POST",
    "/v1/agreed-baselines",
    summary="Enter powers that were agreed with VENs as their baseline",
    role="admin",
    tags=["results"],
    errors=[404],
)
async def agree_baseline(context: Context, body: NewAgreedBaseline) -> AgreedVens:
    """Enter a profile or level: all VENs named or none. Results that are not final are computed anew."""
    desk = context.service(DESK)
    profile = AgreedProfile(agreed.first_day(body.valid_from), tuple(body.weekdays_w), tuple(body.weekends_w))
    async with desk.db.write() as tx:
        count = await agreed.agree(tx, body.ven_ids, body.method, profile, desk.clock.now(), who=context.principal.name)
    return AgreedVens(vens=count)


@operation(
    "GET",
    "/v1/vens/{ven_id}/agreed-baselines",
    summary="List what was agreed with a VEN as its baseline, the first day's first",
    role="viewer",
    tags=["results"],
    errors=[404],
)
async def list_agreed_baselines(
    context: Context, ven_id: str, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[AgreedBaseline]:
    async with context.service(DESK).db.read() as conn:
        rows = [
            AgreedBaseline(
                method=row.method,
                valid_from=row.profile.valid_from.isoformat(),
                weekdays_w=list(row.profile.weekdays_w),
                weekends_w=list(row.profile.weekends_w),
                created_at=row.created_at,
                created_by=row.created_by,
            )
            for row in await agreed.of_ven(conn, ven_id)
        ]
    return _OLDEST_FIRST.part(rows, limit, cursor, key=lambda row: (row.valid_from, row.method))


OPERATIONS = (agree_baseline, list_agreed_baselines)
