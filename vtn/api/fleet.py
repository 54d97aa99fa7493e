"""The fleet in the operator API: a filtered listing, groups, areas, and what is done to many VENs at once."""

from typing import Annotated, Literal

from pydantic import Field

from core.errors import InvalidError
from metrics.presets import DEFAULT_PRESET
from vtn.api.desk import DESK
from vtn.api.fields import LAST_YEAR, Printable
from vtn.services import fleet, learning, partial_power
from vtn.services import site as sites
from vtn.services.fleet import Filter, Presence
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_VENS_BY_NAME = Keyset("fleet", str)
_GROUPS_BY_NAME = Keyset("groups", str)
_BY_AREA = Keyset("areas", str)

_Watts = Annotated[int, Field(ge=1, le=partial_power.MOST_W)]
_Name = Annotated[Printable, Field(min_length=1, max_length=80)]
_VenIds = Annotated[
    list[Annotated[Printable, Field(min_length=1, max_length=80)]], Field(min_length=1, max_length=fleet.MOST_NAMED)
]


class FleetVen(Model):
    """A VEN in the listing."""

    ven_id: str
    name: str
    area: str | None
    groups: list[str]
    """Names of its groups."""
    presence: Presence
    last_seen_at: UtcTime | None
    registered: bool
    registered_at: UtcTime | None
    certificate_until: UtcTime | None
    """End of its last certificate that is not revoked; null: it has none, or nobody knows."""
    learning: "VenLearning"
    """Whether what it delivers can be measured."""


class VenLearning(Model):
    """How many weekdays without events are known of a VEN, and from when what it delivers can be measured."""

    state: Literal["ready", "learning", "unheard"]
    """unheard: its meter was never heard of."""
    days: int
    needed: int
    ready_on: str | None
    """The local date from which, by and large, events on weekdays can be measured; null: nobody knows."""


class FleetCounts(Model):
    """The fleet in numbers."""

    online: int
    offline: int
    stale: int
    unreachable: int
    """In push mode, at an address that takes no messages."""
    registered: int
    waiting: int
    """Certificates of a trusted CA that belong to no VEN."""


class GroupName(Model):
    """A group's name."""

    name: _Name


class Group(Model):
    """A group of VENs."""

    id: str
    name: str
    members: int


class Area(Model):
    """A grid area or feeder, and how many VENs stand in it."""

    area: str
    vens: int


class PartialPower(Model):
    """The levels at which a VEN can be called: multiples of the step from the minimum up to what it can do."""

    minimum_w: _Watts
    """The least that it can be called for, a whole number of steps."""
    step_w: _Watts


class Site(Model):
    """Where a VEN stands."""

    time_zone: Annotated[str, Field(max_length=64, examples=["Europe/Ljubljana"])]
    area: _Name | None = None
    metering_point: _Name | None = None


class BulkAction(Model):
    """Something to do to many VENs: all of it or nothing."""

    action: Literal["add_to_group", "remove_from_group", "set_area", "request_report"]
    ven_ids: _VenIds
    group_id: Annotated[Printable, Field(max_length=80)] | None = None
    """For add_to_group and remove_from_group."""
    area: _Name | None = None
    """For set_area; null: nobody knows."""
    report: _Name | None = None
    """For request_report: the reportName, of which one is asked for."""


class BulkResult(Model):
    """What a bulk action did."""

    changed: int
    """VENs for which something changed."""
    unable: list[str]
    """venIDs that do not offer the report."""


@operation("GET", "/v1/fleet", summary="List VENs by name, filtered", role="viewer", tags=["fleet"])
async def list_fleet(
    context: Context,
    text: Annotated[str, Field(max_length=120)] | None = None,
    group_id: str | None = None,
    area: str | None = None,
    presence: Presence | None = None,
    registered: bool | None = None,
    certificate_before: UtcTime | None = None,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[FleetVen]:
    desk = context.service(DESK)
    after = _VENS_BY_NAME.decode(cursor)
    wanted = Filter(text, group_id, area, presence, registered, certificate_before)
    async with desk.db.read() as conn:
        rows = await fleet.listing(
            conn,
            wanted,
            desk.clock.now(),
            desk.stale_after_s,
            after=after[0] if after else None,
            limit=limit + 1,
        )
        zone, method = desk.settings.time_zone, learning.method_of(DEFAULT_PRESET)
        known = await learning.of_vens(conn, [row.ven_id for row in rows], method, zone, desk.clock.now())
    return _VENS_BY_NAME.page([_shown(row, known[row.ven_id]) for row in rows], limit, key=lambda row: (row.name,))


def _shown(row: fleet.FleetRow, learnt: learning.Learning) -> FleetVen:
    until = row.certificate_until
    return FleetVen(
        ven_id=row.ven_id,
        name=row.name,
        area=row.area,
        groups=list(row.groups),
        presence=row.presence,
        last_seen_at=row.last_seen_at,
        registered=row.registered,
        registered_at=row.registered_at,
        certificate_until=until if until and 1970 <= until.year <= LAST_YEAR else None,  # noqa: PLR2004  as in `vens`
        learning=VenLearning(
            state=learnt.state,
            days=learnt.days,
            needed=learnt.needed,
            ready_on=learnt.ready_on.isoformat() if learnt.ready_on else None,
        ),
    )


@operation("GET", "/v1/fleet/counts", summary="Count VENs by presence", role="viewer", tags=["fleet"])
async def count_fleet(context: Context) -> FleetCounts:
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        found = await fleet.counts(conn, desk.clock.now(), desk.stale_after_s)
    return FleetCounts(
        online=found.online,
        offline=found.offline,
        stale=found.stale,
        unreachable=found.unreachable,
        registered=found.registered,
        waiting=found.waiting,
    )


@operation(
    "POST",
    "/v1/fleet/actions",
    summary="Change many VENs at once",
    role="dispatcher",
    tags=["fleet"],
    errors=[404],
)
async def act_on_fleet(context: Context, body: BulkAction) -> BulkResult:
    desk = context.service(DESK)
    now, who = desk.clock.now(), context.principal.name
    unable: list[str] = []
    async with desk.db.write() as tx:
        match body.action:
            case "add_to_group" | "remove_from_group":
                if body.group_id is None:
                    raise InvalidError("Name the group in group_id.")
                move = fleet.add_to_group if body.action == "add_to_group" else fleet.remove_from_group
                changed = await move(tx, body.group_id, body.ven_ids, now, who=who)
            case "set_area":
                zone = desk.settings.time_zone
                changed = await sites.set_area(tx, body.ven_ids, body.area, now, time_zone=zone, who=who)
            case "request_report":
                if body.report is None:
                    raise InvalidError("Name the report.")
                asked = await fleet.request_report(tx, body.ven_ids, body.report, now, who=who)
                unable = [ven_id for ven_id, request_id in asked.items() if request_id is None]
                changed = len(asked) - len(unable)
    return BulkResult(changed=changed, unable=unable)


@operation("GET", "/v1/areas", summary="List the areas of VENs", role="viewer", tags=["fleet"])
async def list_areas(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Area]:
    async with context.service(DESK).db.read() as conn:
        rows = [Area(area=name, vens=number) for name, number in (await sites.areas(conn)).items()]
    return _BY_AREA.part(rows, limit, cursor, key=lambda row: (row.area,))


@operation("GET", "/v1/vens/{ven_id}/site", summary="Read a VEN's site", role="viewer", tags=["fleet"], errors=[404])
async def read_site(context: Context, ven_id: str) -> Site | None:
    async with context.service(DESK).db.read() as conn:
        found = await sites.site_of(conn, ven_id)
    if found is None:
        return None
    return Site(time_zone=found.time_zone, area=found.area, metering_point=found.metering_point)


@operation("PUT", "/v1/vens/{ven_id}/site", summary="Set a VEN's site", role="dispatcher", tags=["fleet"], errors=[404])
async def set_site(context: Context, ven_id: str, body: Site) -> Site:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        made = await sites.set_site(
            tx,
            ven_id,
            time_zone=body.time_zone,
            area=body.area,
            metering_point=body.metering_point,
            now=desk.clock.now(),
            who=context.principal.name,
        )
    return Site(time_zone=made.time_zone, area=made.area, metering_point=made.metering_point)


@operation(
    "GET",
    "/v1/vens/{ven_id}/partial-power",
    summary="Read at which levels a VEN can be called",
    role="viewer",
    tags=["fleet"],
    errors=[404],
)
async def read_partial_power(context: Context, ven_id: str) -> PartialPower | None:
    """Return minimum and step; null: it is called as a whole."""
    async with context.service(DESK).db.read() as conn:
        found = await partial_power.partial_power_of(conn, ven_id)
    return None if found is None else PartialPower(minimum_w=found.minimum_w, step_w=found.step_w)


@operation(
    "PUT",
    "/v1/vens/{ven_id}/partial-power",
    summary="Set the levels at which a VEN can be called",
    role="dispatcher",
    tags=["fleet"],
    errors=[404],
)
async def set_partial_power(context: Context, ven_id: str, body: PartialPower) -> PartialPower:
    """Say that a VEN has a set-point, so that it is called for no more than is wanted, from the next call on.

    Its events say the level as its own values of a LOAD_DISPATCH signal. A VEN of OpenADR 2.0a cannot be told.
    """
    desk = context.service(DESK)
    levels = partial_power.PartialPower(body.minimum_w, body.step_w)
    async with desk.db.write() as tx:
        await partial_power.set_partial_power(tx, ven_id, levels, desk.clock.now(), who=context.principal.name)
    return body


@operation(
    "DELETE",
    "/v1/vens/{ven_id}/partial-power",
    summary="Call a VEN as a whole",
    role="dispatcher",
    tags=["fleet"],
    errors=[404],
)
async def delete_partial_power(context: Context, ven_id: str) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await partial_power.set_partial_power(tx, ven_id, None, desk.clock.now(), who=context.principal.name)


@operation("GET", "/v1/groups", summary="List groups", role="viewer", tags=["fleet"])
async def list_groups(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Group]:
    async with context.service(DESK).db.read() as conn:
        rows = [Group(id=group.id, name=group.name, members=group.members) for group in await fleet.groups(conn)]
    return _GROUPS_BY_NAME.part(rows, limit, cursor, key=lambda row: (row.name,))


@operation("POST", "/v1/groups", summary="Create a group", role="dispatcher", tags=["fleet"], status=201, errors=[409])
async def create_group(context: Context, body: GroupName) -> Group:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        made = await fleet.create_group(tx, body.name, desk.clock.now(), who=context.principal.name)
    return Group(id=made.id, name=made.name, members=0)


@operation(
    "PUT", "/v1/groups/{group_id}", summary="Rename a group", role="dispatcher", tags=["fleet"], errors=[404, 409]
)
async def rename_group(context: Context, group_id: str, body: GroupName) -> Group:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        made = await fleet.rename_group(tx, group_id, body.name, desk.clock.now(), who=context.principal.name)
    return Group(id=made.id, name=made.name, members=made.members)


@operation(
    "DELETE", "/v1/groups/{group_id}", summary="Delete a group", role="dispatcher", tags=["fleet"], errors=[404, 409]
)
async def delete_group(context: Context, group_id: str) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await fleet.delete_group(tx, group_id, desk.clock.now(), who=context.principal.name)


OPERATIONS = (
    list_fleet,
    count_fleet,
    act_on_fleet,
    list_areas,
    read_site,
    set_site,
    read_partial_power,
    set_partial_power,
    delete_partial_power,
    list_groups,
    create_group,
    rename_group,
    delete_group,
)
