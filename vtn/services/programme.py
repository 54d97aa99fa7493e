"""Programmes: versioned rules of the game. A new set of parameters is a new version; old dispatches keep theirs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import func, insert, or_, select, update

from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from core.spans import Duration
from metrics.presets import DEFAULT_PRESET
from openadr.model.contexts import normal_context
from openadr.model.event import ResponseRequired
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, to_json
from vtn.store.tables import dispatch, enrolment, group, group_member, programme, ven

_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Window:
    """When a programme may call: from `start` to `end` (local time, HH:MM) on `days` (ISO, 1 = Monday; empty: all).

    An end at or before the start lies on the next day.
    """

    start: str
    end: str
    days: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How often and how long a household may be called; None: no limit. `rest` lies between two calls.

    `seasons` are the local days (MM-DD) on which a new season begins; weeks begin on Monday. `windows` empty: always.
    """

    per_day: int | None = None
    per_week: int | None = None
    per_season: int | None = None
    rest: Duration = field(default_factory=Duration)
    shortest: Duration | None = None
    longest: Duration | None = None
    windows: tuple[Window, ...] = ()
    seasons: tuple[str, ...] = ("04-01", "10-01")


@dataclass(frozen=True, slots=True)
class Reward:
    """What a household gets: decimal strings of `currency`, per kWh delivered and per call followed."""

    currency: str = "EUR"
    per_kwh: str = "0"
    per_call: str = "0"


SETTLEMENT_INTERVALS: Final = tuple(Duration.of(minutes=minutes) for minutes in (5, 15, 30, 60))
"""The settlement periods of electricity markets."""


class Spread(StrEnum):
    """Where the energy of a reading lies that is longer than a settlement interval, such as a meter's hour.

    Evenly in its time; or what was delivered in it by what was ordered, as far as a market trusts that.
    """

    EVENLY = "evenly"
    BY_ORDER = "by_order"


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a programme fixes for its events. Durations are world time.

    `notification` is x-eiNotification; `start_after` the random start window; `baseline` the id of a preset of
    `metrics.presets`; `settlement_interval` the length of the intervals in which delivery is computed and settled;
    `spread` says how readings longer than that count; `time_zone` decides which days are alike, and so do the public
    holidays of `country` (ISO 3166-1) and its `subdivision` (`vtn.services.holidays`). `product` is the name under
    which it is sold. `control_group` is the id of a group of VENs that are never called, so that others can be held
    against them (`vtn.services.control_group`).
    """

    notification: Duration = field(default_factory=Duration)
    start_after: Duration | None = None
    ramp_up: Duration | None = None
    recovery: Duration | None = None
    response_required: ResponseRequired = ResponseRequired.ALWAYS
    priority: int | None = None
    baseline: str = DEFAULT_PRESET
    settlement_interval: Duration = SETTLEMENT_INTERVALS[1]
    spread: Spread = Spread.EVENLY
    time_zone: str = "UTC"
    country: str | None = None
    subdivision: str | None = None
    control_group: str | None = None
    product: str = "flexibility"
    limits: Limits = field(default_factory=Limits)
    reward: Reward = field(default_factory=Reward)

    @property
    def interval_s(self) -> int:
        """The length of a settlement interval in seconds."""
        return self.settlement_interval.exact_s


@dataclass(frozen=True, slots=True)
class Programme:
    """A programme at one version."""

    id: str
    version: int
    name: str
    market_context: str
    parameters: Parameters
    created_at: datetime


async def create(
    tx: Transaction, name: str, market_context: str, parameters: Parameters, now: datetime, *, who: str
) -> Programme:
    """Create a programme.

    Its control group may be named by id or name. Raises InvalidError, ConflictError if the market context is taken, in
    whatever spelling (GN-10).
    """
    name = _name(name)
    parameters = await _with_group(tx.conn, parameters)
    taken = (await tx.conn.execute(select(programme.c.market_context).distinct())).scalars()
    if normal_context(market_context) in map(normal_context, taken):
        raise ConflictError(f"A programme with market context '{market_context}' exists already.")
    return await _add(tx, Programme(new_id("prg"), 1, name, market_context, parameters, now), who)


async def change(
    tx: Transaction, programme_id: str, name: str, parameters: Parameters, now: datetime, *, who: str
) -> Programme:
    """Add a version. Dispatches made before keep the version that they were made with.

    Its control group may be named by id or name. Raises NotFoundError, InvalidError.
    """
    name = _name(name)
    parameters = await _with_group(tx.conn, parameters)
    old = await get(tx.conn, programme_id)
    return await _add(tx, Programme(old.id, old.version + 1, name, old.market_context, parameters, now), who)


def _name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise InvalidError(f"A programme has a name of 1 to {_LONGEST_NAME} characters.", field="name")
    return name


async def _with_group(conn: Connection, parameters: Parameters) -> Parameters:
    """Return parameters whose control group is named by its id. Raises InvalidError if there is no such group."""
    named = parameters.control_group
    if named is None:
        return parameters
    rows = (
        await conn.execute(select(group.c.id, group.c.name).where(or_(group.c.id == named, group.c.name == named)))
    ).all()
    there = next((row.id for row in sorted(rows, key=lambda row: row.id != named)), None)
    if there is None:
        raise InvalidError(f"There is no group '{named[:80]}' to be the control group.", field="control_group")
    return replace(parameters, control_group=there)


async def _add(tx: Transaction, new: Programme, who: str) -> Programme:
    await tx.conn.execute(
        insert(programme).values(
            id=new.id,
            version=new.version,
            name=new.name,
            market_context=new.market_context,
            parameters=to_json(new.parameters),
            created_at=new.created_at,
        )
    )
    await tx.audit(who, "programme", f"{new.id}/{new.version}", after=to_json(new.parameters), at=new.created_at)
    return new


async def get(conn: Connection, programme_id: str, version: int | None = None) -> Programme:
    """Return a programme at a version, or at its newest. Raises NotFoundError."""
    query = select(programme).where(programme.c.id == programme_id).order_by(programme.c.version.desc()).limit(1)
    if version is not None:
        query = query.where(programme.c.version == version)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No programme '{programme_id}'.")
    parameters = from_json(Parameters, row.parameters)
    return Programme(row.id, row.version, row.name, row.market_context, parameters, row.created_at)


async def newest(conn: Connection) -> list[Programme]:
    """Return the newest version of every programme, oldest programme first."""
    last = select(programme.c.id, func.max(programme.c.version).label("version")).group_by(programme.c.id)
    rows = (await conn.execute(last.order_by(programme.c.id))).all()
    return [await get(conn, row.id, row.version) for row in rows]


async def time_zones(conn: Connection) -> dict[str, str]:
    """Return the time zone of every programme's newest version by the programme's id, in one statement."""
    last = select(programme.c.id, func.max(programme.c.version).label("version")).group_by(programme.c.id).subquery()
    newest_version = (programme.c.id == last.c.id) & (programme.c.version == last.c.version)
    rows = await conn.execute(select(programme.c.id, programme.c.parameters).join(last, newest_version))
    return {row.id: from_json(Parameters, row.parameters).time_zone for row in rows}


async def enrol(
    tx: Transaction,
    programme_id: str,
    ven_ids: Sequence[str],
    now: datetime,
    *,
    who: str,
    consent_version: str | None = None,
) -> None:
    """Let VENs take part with all their resources, from now on; who takes part already goes on unchanged.

    `consent_version` names the text that the household agreed to. Raises NotFoundError, or ConflictError for a removed
    VEN.
    """
    await get(tx.conn, programme_id)
    wanted = list(dict.fromkeys(ven_ids))
    rows = await tx.conn.execute(select(ven.c.id, ven.c.removed_at).where(ven.c.id.in_(wanted)))
    removed = {row.id: row.removed_at for row in rows}
    for ven_id in wanted:
        if ven_id not in removed:
            raise NotFoundError(f"No VEN '{ven_id}'.")
        if removed[ven_id] is not None:
            raise ConflictError(f"VEN '{ven_id}' was removed; create a new one.")
    there = set(await enrolled(tx.conn, programme_id, now))
    new = [ven_id for ven_id in wanted if ven_id not in there]
    if not new:
        return
    common = {"programme_id": programme_id, "valid_from": now, "consent_version": consent_version}
    common["consent_at"] = now if consent_version else None
    await tx.conn.execute(insert(enrolment), [{"id": new_id("enr"), "ven_id": ven_id, **common} for ven_id in new])
    for ven_id in new:
        await tx.audit(who, "enrol", f"{ven_id} in {programme_id}", after={"consent": consent_version}, at=now)


async def end_enrolment(tx: Transaction, programme_id: str, ven_id: str, now: datetime, *, who: str) -> None:
    """Let a VEN take part no longer; its running events go on. Raises NotFoundError if it does not take part."""
    open_ = (
        (enrolment.c.programme_id == programme_id)
        & (enrolment.c.ven_id == ven_id)
        & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now))
    )
    ended = await tx.conn.execute(update(enrolment).where(open_).values(valid_to=now))
    if not ended.rowcount:
        raise NotFoundError(f"VEN '{ven_id}' does not take part in '{programme_id}'.")
    await tx.audit(who, "end enrolment", f"{ven_id} in {programme_id}", at=now)


async def enrolled(conn: Connection, programme_id: str, now: datetime) -> list[str]:
    """Return the venIDs that take part in a programme now."""
    query = select(enrolment.c.ven_id).where(
        (enrolment.c.programme_id == programme_id)
        & (enrolment.c.valid_from <= now)
        & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now))
    )
    return sorted(set((await conn.execute(query)).scalars()))


async def control_homes(conn: Connection, parameters: Parameters) -> list[str]:
    """Return the venIDs that are in a programme's control group now, by id; nobody where it has none."""
    if parameters.control_group is None:
        return []
    query = (
        select(group_member.c.ven_id)
        .join(ven, ven.c.id == group_member.c.ven_id)
        .where((group_member.c.group_id == parameters.control_group) & ven.c.removed_at.is_(None))
        .order_by(group_member.c.ven_id)
    )
    return list((await conn.execute(query)).scalars())


async def controlled_by(conn: Connection, group_id: str) -> list[str]:
    """Return the names of the programmes whose control group a group is, or was for a dispatch: results need it."""
    names = [each.name for each in await newest(conn) if each.parameters.control_group == group_id]
    ran = select(dispatch.c.programme_id, dispatch.c.programme_version).distinct().subquery()
    here = (programme.c.id == ran.c.programme_id) & (programme.c.version == ran.c.programme_version)
    asked = programme.c.parameters["control_group"].as_string() == group_id
    rows = await conn.execute(select(programme.c.name).join(ran, here).where(asked).order_by(programme.c.id))
    return list(dict.fromkeys([*names, *rows.scalars()]))
