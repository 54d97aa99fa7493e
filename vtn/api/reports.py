"""Reports and readings, in the operator API."""

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from core.errors import InvalidError
from core.ids import new_id
from core.points import Flow, Phase
from core.spans import ZERO
from openadr.model.report import ReportRequest
from vtn.api.desk import DESK
from vtn.api.fields import Printable
from vtn.services import provisioning, settlement_series, ven_view
from vtn.services import report as reports
from vtn.services.load_profile import marked
from vtn.services.wanted import shortfalls
from vtn.store.readings import SeriesKey, load, numbered
from vtn.transport.v20b.check import check_request
from web.api import Context
from web.model import IsoDuration, Model, UtcTime
from web.operation import operation
from web.pagination import Page

_LONGEST = timedelta(days=400)
_MOST_VALUES = 250_000


class DataPoint(Model):
    """A data point that a VEN offers."""

    r_id: str
    report_type: str
    reading_type: str
    resources: list[str]
    unit: str | None
    min_period: IsoDuration | None
    """The shortest time between two samples."""
    max_period: IsoDuration | None
    """The longest one; the VTN asks for nothing coarser."""


class Offer(Model):
    """A report that a VEN offers."""

    specifier_id: str
    name: str
    duration: IsoDuration
    points: list[DataPoint]


class Request(Model):
    """A report request."""

    id: str
    name: str
    specifier_id: str
    r_ids: list[str]
    granularity: IsoDuration
    report_back: IsoDuration
    state: str
    """queued, unanswered, active, refused, cancelled or done."""
    reason: str | None
    created_at: UtcTime
    last_report_at: UtcTime | None
    missing_since: UtcTime | None
    """Since when data is overdue that the VEN agreed to send; null if nothing is missing."""


class VenReports(Model):
    """What a VEN offers and what was requested of it."""

    offers: list[Offer]
    requests: list[Request]
    shortfalls: list[str]
    """In what the offers fall short of the reports that this VTN wants of every VEN."""


class NewRequest(Model):
    """A report to request."""

    specifier_id: Annotated[Printable, Field(min_length=1, max_length=200)]
    r_ids: Annotated[
        list[Annotated[Printable, Field(min_length=1, max_length=200)]],
        Field(min_length=1, max_length=500),
    ]
    granularity: IsoDuration = ZERO
    """How finely; zero: as the VEN likes (one-shot and history) or on change."""
    report_back: IsoDuration = ZERO
    """How often a report is sent; zero: once."""
    start: UtcTime | None = None
    """Start of the first report; for history, the oldest point wanted."""
    duration: IsoDuration | None = None
    """Span; zero: for ever, or all of the history since the start."""


class Series(Model):
    """A series that the store holds."""

    resource_id: str
    """The resources of its source, joined by "+"; without any, the rID."""
    quantity: str
    kind: str
    source: str


class Description(Model):
    """What the VEN said that a series is."""

    series_id: int
    r_id: str
    report_type: str
    reading_type: str
    resources: list[str]
    """Every reportDataSource that is a resource."""
    device_classes: list[str]
    """The reportSubject."""
    flow: Flow
    """Which way counts positive, as far as the description tells."""
    phase: Phase


class Readings(Model):
    """The values of a series, oldest first; columns of equal length."""

    series: Series
    point: Description
    start: list[UtcTime]
    duration_s: list[int]
    """0 for instants and registers."""
    value: list[float | None]
    quality: list[str]
    """good, estimated, uncertain, stale or bad. What the site's connection cannot carry is uncertain, too."""


def _shown(request: reports.Requested, now: datetime) -> Request:
    wish = request.request
    return Request(
        id=wish.request_id,
        name=request.name,
        specifier_id=wish.specifier_id,
        r_ids=list(wish.r_ids),
        granularity=wish.granularity,
        report_back=wish.report_back,
        state=request.state,
        reason=request.reason,
        created_at=request.created_at,
        last_report_at=request.last_report_at,
        missing_since=request.missing_since(now),
    )


def shown_series(key: SeriesKey) -> Series:
    """Return a series as the API writes it."""
    return Series(resource_id=key.resource_id, quantity=key.quantity, kind=key.kind, source=key.source)


def description(number: int, key: SeriesKey) -> Description:
    """Return what a series is, as the API writes it."""
    point = key.point
    return Description(
        series_id=number,
        r_id=point.r_id,
        report_type=point.report_type,
        reading_type=point.reading_type,
        resources=list(point.sources.resource_ids),
        device_classes=list(point.subject.device_classes),
        flow=point.flow,
        phase=point.phase,
    )


@operation(
    "GET",
    "/v1/vens/{ven_id}/reports",
    summary="List a VEN's reports",
    role="viewer",
    tags=["reports"],
    errors=[404],
)
async def list_reports(context: Context, ven_id: str) -> VenReports:
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        await ven_view.get(conn, ven_id)
        offers = await reports.offered(conn, ven_id)
        requested = await reports.requests_of(conn, ven_id)
    return VenReports(
        offers=[
            Offer(
                specifier_id=offer.specifier_id,
                name=offer.name,
                duration=offer.duration,
                points=[
                    DataPoint(
                        r_id=line.r_id,
                        report_type=line.report_type,
                        reading_type=line.reading_type,
                        resources=list(line.source.resource_ids),
                        unit=line.item_base.units if line.item_base else None,
                        min_period=line.sampling.min_period if line.sampling else None,
                        max_period=line.sampling.max_period if line.sampling else None,
                    )
                    for line in offer.descriptions
                ],
            )
            for offer in offers
        ],
        requests=[_shown(one, desk.clock.now()) for one in requested],
        shortfalls=shortfalls(desk.settings.wanted_reports, offers, desk.clock.now()),
    )


@operation(
    "POST",
    "/v1/vens/{ven_id}/report-requests",
    summary="Request a report from a VEN",
    role="dispatcher",
    tags=["reports"],
    status=201,
    errors=[404, 409],
)
async def request_report(context: Context, ven_id: str, body: NewRequest) -> Request:
    desk = context.service(DESK)
    wish = ReportRequest(
        new_id("rrq"),
        body.specifier_id,
        tuple(body.r_ids),
        body.granularity,
        body.report_back,
        body.start,
        body.duration,
    )
    await check_request(wish)
    async with desk.db.write() as tx:
        await provisioning.check_present(tx.conn, ven_id)
        await reports.request(tx, ven_id, wish, desk.clock.now(), who=context.principal.name)
        return _shown(await reports.get(tx.conn, wish.request_id), desk.clock.now())


@operation(
    "POST",
    "/v1/report-requests/{request_id}/cancellation",
    summary="Stop a report",
    role="dispatcher",
    tags=["reports"],
    errors=[404, 409],
)
async def cancel_report(context: Context, request_id: str) -> Request:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await reports.cancel(tx, request_id, desk.clock.now(), who=context.principal.name)
        return _shown(await reports.get(tx.conn, request_id), desk.clock.now())


@operation(
    "GET",
    "/v1/vens/{ven_id}/readings",
    summary="Read a VEN's series",
    role="viewer",
    tags=["readings"],
    errors=[404],
)
async def read_readings(
    context: Context,
    ven_id: str,
    since: UtcTime,
    until: UtcTime,
    resource_id: str | None = None,
    quantity: str | None = None,
    as_of: UtcTime | None = None,
) -> Page[Readings]:
    if not timedelta() < until - since <= _LONGEST:
        raise InvalidError("'until' lies after 'since', at most 400 days.")
    found: list[Readings] = []
    async with context.service(DESK).db.read() as conn:
        await ven_view.get(conn, ven_id)
        connection_w = (await settlement_series.of(conn, [ven_id]))[ven_id].connection_w
        for number, key in (await numbered(conn, [ven_id])).items():
            resources = (None, key.resource_id, *key.point.sources.resource_ids)
            if resource_id not in resources or quantity not in (None, key.quantity):
                continue
            read = await load(conn, key, int(since.timestamp()), int(until.timestamp()), as_of=as_of)
            loaded = marked(read, key, connection_w)
            if sum(len(one.start) for one in found) + len(loaded) > _MOST_VALUES:
                raise InvalidError(f"These are more than {_MOST_VALUES} values; ask for less time, or one resource.")
            found.append(
                Readings(
                    series=shown_series(key),
                    point=description(number, key),
                    start=[datetime.fromtimestamp(int(one), UTC) for one in loaded.starts_s],
                    duration_s=[int(one) for one in loaded.durations_s],
                    value=[float(one) if math.isfinite(one) else None for one in loaded.values],
                    quality=loaded.words.tolist(),
                )
            )
    return Page(items=found)


OPERATIONS = (list_reports, request_report, cancel_report, read_readings)
