"""Everything about one VEN, as its page shows it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select

from core.errors import NotFoundError
from openadr.model.opt import Opt
from openadr.model.registration import VenProfile
from openadr.model.report import ReportOffer
from vtn.services.outbox import Intent
from vtn.store.database import Connection
from vtn.store.rows import from_json, in_parts
from vtn.store.tables import dispatch, event, opt, outbox, report_request, resource, ven, ven_certificate
from vtn.store.tables import report_offer as report_offer_table


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that the VEN's reports named. `nominal_w` is what it can draw, if that is known."""

    id: str
    device_class: str | None
    nominal_w: int | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that speaks (or spoke) for the VEN; its validity is machine time, None where it is unknown."""

    fingerprint: str
    serial: str | None
    not_before: datetime | None
    not_after: datetime | None
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ven:
    """A VEN as it stands in its row. `metadata_at`: when it last said what it can report.

    `mode` is a Mode; with `address`, `unreachable_at` says since when it takes no messages there. `signatures` is a
    SignaturePolicy; `xml_signature`: whether the VEN asked for signed messages when it registered.
    """

    id: str
    name: str
    strict: bool
    signatures: str
    xml_signature: bool
    created_at: datetime
    removed_at: datetime | None
    registration_id: str | None
    registered_at: datetime | None
    metadata_at: datetime | None
    last_seen_at: datetime | None
    mode: str
    address: str | None
    unreachable_at: datetime | None
    unreachable_why: str | None


@dataclass(frozen=True, slots=True)
class Dossier(Ven):
    """A VEN and what belongs to it. `profile` is what it said of itself at registration."""

    profile: VenProfile | None
    resources: tuple[Resource, ...]
    certificates: tuple[Certificate, ...]


_COLUMNS: Final = tuple(ven.c[each.name] for each in fields(Ven))


async def listed(conn: Connection, *, after: str | None = None, limit: int = 100) -> list[Ven]:
    """Return the VENs that were not removed, oldest first; `after`: the id of the last one of the page before."""
    query = select(*_COLUMNS).where(ven.c.removed_at.is_(None)).order_by(ven.c.id).limit(limit)
    if after is not None:
        query = query.where(ven.c.id > after)
    return [Ven(*row) for row in await conn.execute(query)]


async def get(conn: Connection, ven_id: str) -> Ven:
    """Return a VEN, also a removed one. Raises NotFoundError."""
    row = (await conn.execute(select(*_COLUMNS).where(ven.c.id == ven_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    return Ven(*row)


async def names(conn: Connection, ven_ids: Iterable[str]) -> dict[str, str]:
    """Return venID -> name, by name; unknown ones are left out."""
    rows: dict[str, str] = {}
    for some in in_parts(ven_ids):
        rows |= {row.id: row.name for row in await conn.execute(select(ven.c.id, ven.c.name).where(ven.c.id.in_(some)))}
    return dict(sorted(rows.items(), key=lambda row: row[1]))


async def read(conn: Connection, ven_id: str) -> Dossier:
    """Return a VEN with what belongs to it, also a removed one. Raises NotFoundError."""
    about = await get(conn, ven_id)
    profile = (await conn.execute(select(ven.c.profile).where(ven.c.id == ven_id))).scalar_one_or_none()
    resources = select(resource).where(resource.c.ven_id == ven_id).order_by(resource.c.resource_id)
    certificates = (
        select(ven_certificate)
        .where(ven_certificate.c.ven_id == ven_id)
        .order_by(ven_certificate.c.created_at.desc(), ven_certificate.c.fingerprint)
    )
    return Dossier(
        **{each.name: getattr(about, each.name) for each in fields(Ven)},
        profile=None if profile is None else from_json(VenProfile, profile),
        resources=tuple(
            Resource(one.resource_id, one.device_class, one.nominal_w) for one in await conn.execute(resources)
        ),
        certificates=tuple(
            Certificate(one.fingerprint, one.serial, one.not_before, one.not_after, one.created_at, one.revoked_at)
            for one in await conn.execute(certificates)
        ),
    )


# -- what it said


@dataclass(frozen=True, slots=True)
class Said:
    """An opt of the VEN: of an event, or (with `spans`) for a time to come."""

    at: datetime
    opt_type: str
    source: str
    reason: str | None
    resource_id: str | None
    event_id: str | None
    dispatch_id: str | None
    market_context: str | None
    spans: tuple[tuple[datetime, datetime | None], ...]
    ended_at: datetime | None


async def opts(conn: Connection, ven_id: str, *, limit: int = 100) -> list[Said]:
    """Return what a VEN said about taking part, newest first."""
    query = (
        select(opt, event.c.dispatch_id)
        .outerjoin(event, event.c.id == opt.c.event_id)
        .where(opt.c.ven_id == ven_id)
        .order_by(opt.c.sequence.desc())
        .limit(limit)
    )
    rows = (await conn.execute(query)).all()
    schedules = await _schedules(conn, ven_id, rows)
    return [
        Said(
            at=row.at,
            opt_type=row.opt_type,
            source=row.source,
            reason=row.reason,
            resource_id=row.resource_id,
            event_id=row.event_id,
            dispatch_id=row.dispatch_id,
            market_context=row.market_context,
            spans=_spans(from_json(Opt, row.schedule)) if row.schedule else schedules.get(row.schedule_digest, ()),
            ended_at=row.ended_at,
        )
        for row in rows
    ]


async def _schedules(
    conn: Connection, ven_id: str, rows: Sequence[Any]
) -> dict[str, tuple[tuple[datetime, datetime | None], ...]]:
    """Return digest -> spans for those rows whose schedule stands in another one."""
    digests = {row.schedule_digest for row in rows if row.schedule is None and row.schedule_digest is not None}
    held = (opt.c.ven_id == ven_id) & opt.c.schedule_digest.in_(digests) & opt.c.schedule.is_not(None)
    last = select(func.max(opt.c.sequence)).where(held).group_by(opt.c.schedule_digest)
    query = select(opt.c.schedule_digest, opt.c.schedule).where(opt.c.sequence.in_(last))
    return {row.schedule_digest: _spans(from_json(Opt, row.schedule)) for row in await conn.execute(query)}


def _spans(schedule: Opt) -> tuple[tuple[datetime, datetime | None], ...]:
    return tuple((one.span.start, one.span.end) for one in schedule.availability)


@dataclass(frozen=True, slots=True)
class Called:
    """An event of the VEN."""

    event_id: str
    dispatch_id: str
    modification_number: int
    starts_at: datetime
    ends_at: datetime | None
    cancelled_at: datetime | None


async def events(conn: Connection, ven_id: str, *, limit: int = 50) -> list[Called]:
    """Return a VEN's events, those that start latest first."""
    query = (
        select(event, dispatch.c.starts_at, dispatch.c.ends_at)
        .join(dispatch, dispatch.c.id == event.c.dispatch_id)
        .where(event.c.ven_id == ven_id)
        .order_by(dispatch.c.starts_at.desc(), event.c.id)
        .limit(limit)
    )
    return [
        Called(row.id, row.dispatch_id, row.modification_number, row.starts_at, row.ends_at, row.cancelled_at)
        for row in await conn.execute(query)
    ]


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """How far a report request has come: the communication test reads it. Times are world time."""

    request_id: str
    name: str
    state: str
    reason: str | None
    queued_at: datetime
    sent_at: datetime | None
    tries: int
    answered_at: datetime | None
    data_at: datetime | None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("refused", "unanswered", "cancelled", "done") or self.data_at is not None


async def round_trip(conn: Connection, ven_id: str, request_id: str) -> RoundTrip:
    """Return how far a VEN's report request has come. Raises NotFoundError."""
    mine = (report_request.c.id == request_id) & (report_request.c.ven_id == ven_id)
    row = (await conn.execute(select(report_request).where(mine))).one_or_none()
    if row is None:
        raise NotFoundError(f"No report request '{request_id}' of this VEN.")
    asked = (outbox.c.ven_id == ven_id) & (outbox.c.kind == Intent.REPORT_WANTED) & (outbox.c.subject == request_id)
    sent = (await conn.execute(select(outbox.c.sent_at, outbox.c.tries).where(asked))).one_or_none()
    return RoundTrip(
        request_id=row.id,
        name=row.name,
        state=row.state,
        reason=row.reason,
        queued_at=row.created_at,
        sent_at=sent.sent_at if sent else None,
        tries=int(sent.tries) if sent else 0,
        answered_at=row.answered_at,
        data_at=row.last_report_at,
    )


async def testable_report(conn: Connection, ven_id: str) -> str | None:
    """Return the name of a report by which the way to the VEN and back can be tried; None if it offers nothing."""
    query = select(report_offer_table.c.offer).where(report_offer_table.c.ven_id == ven_id)
    offers = [from_json(ReportOffer, offer) for offer in (await conn.execute(query)).scalars()]
    live = [one.name for one in offers if one.descriptions and one.name.startswith("TELEMETRY_")]
    return next(iter(sorted(live) or sorted(one.name for one in offers if one.descriptions)), None)
