"""Reports (EiReport): what VENs offer, what we ask, and the data as it comes in.

A reading reaches the store through `record`; it is acknowledged only after the commit (DESIGN, journey 2).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from core.spans import ZERO, Duration
from openadr.model.codes import Code, OpenADRError
from openadr.model.report import Report, ReportOffer, ReportRequest, check_offers, check_request
from vtn.services import outbox
from vtn.services.measurements import to_values
from vtn.services.outbox import Kind
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.database import Transaction
from vtn.store.readings import store
from vtn.store.rows import from_json, to_json
from vtn.store.tables import report_offer, report_request, resource, ven

LIVE = ("queued", "active")
"""States of a report request that may still bring data."""


@dataclass(frozen=True, slots=True)
class Requested:
    """A report request as it stands."""

    request: ReportRequest
    ven_id: str
    name: str
    state: str
    reason: str | None
    created_at: datetime
    last_report_at: datetime | None


async def offered(conn: AsyncConnection, ven_id: str) -> list[ReportOffer]:
    """Return what a VEN last said that it can report."""
    query = select(report_offer.c.offer).where(report_offer.c.ven_id == ven_id).order_by(report_offer.c.specifier_id)
    return [from_json(ReportOffer, offer) for offer in (await conn.execute(query)).scalars()]


async def register(
    tx: Transaction, ven_id: str, offers: Sequence[ReportOffer], settings: VtnSettings, now: datetime
) -> None:
    """Replace what a VEN offers; its running requests end, and what this VTN wants is asked anew (RP-03).

    Raises OpenADRError 459 for offers that contradict themselves (RP-05, RP-07).
    """
    try:
        check_offers(offers)
    except InvalidError as error:
        raise OpenADRError(Code.COMPLIANCE, str(error)) from error
    await tx.conn.execute(delete(report_offer).where(report_offer.c.ven_id == ven_id))
    if offers:
        await tx.conn.execute(
            insert(report_offer),
            [
                {
                    "ven_id": ven_id,
                    "specifier_id": offer.specifier_id,
                    "name": offer.name,
                    "offer": to_json(offer),
                    "registered_at": now,
                }
                for offer in offers
            ],
        )
    await _end(tx, (report_request.c.ven_id == ven_id) & report_request.c.state.in_(LIVE), now, "new metadata")
    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(metadata_at=now))
    await _learn_resources(tx, ven_id, offers)
    for wanted in settings.wanted_reports:
        for offer in offers:
            if offer.name == wanted.name:
                await request(tx, ven_id, _wish(wanted, offer, now), now, who="vtn")


async def _end(tx: Transaction, where: object, now: datetime, reason: str) -> None:
    ending = {"state": "cancelled", "ended_at": now, "reason": reason}
    await tx.conn.execute(update(report_request).where(where).values(**ending))  # type: ignore[arg-type]


async def _learn_resources(tx: Transaction, ven_id: str, offers: Sequence[ReportOffer]) -> None:
    """Add resources that the metadata names and that we did not know."""
    named = {one for offer in offers for line in offer.descriptions for one in line.source.resource_ids}
    known = set((await tx.conn.execute(select(resource.c.resource_id).where(resource.c.ven_id == ven_id))).scalars())
    fresh = [{"ven_id": ven_id, "resource_id": name} for name in sorted(named - known)]
    if fresh:
        await tx.conn.execute(insert(resource), fresh)


def _wish(wanted: WantedReport, offer: ReportOffer, now: datetime) -> ReportRequest:
    if wanted.history is not None:
        start, duration = (-wanted.history).after(now), wanted.history
    else:
        start, duration = now, ZERO
    return ReportRequest(
        new_id("rrq"),
        offer.specifier_id,
        tuple(line.r_id for line in offer.descriptions),
        granularity=ZERO if wanted.history is not None else wanted.granularity,
        report_back=ZERO if wanted.history is not None else wanted.report_back,
        start=start,
        duration=duration,
    )


async def request(tx: Transaction, ven_id: str, wish: ReportRequest, now: datetime, *, who: str) -> str:
    """Queue a request for a report that the VEN offers; return its reportRequestID.

    Raises InvalidError if the VEN does not offer that (RP-20, RP-27, RP-30).
    """
    try:
        offer = check_request(wish, await offered(tx.conn, ven_id))
    except OpenADRError as error:
        raise InvalidError(error.description) from error
    await tx.conn.execute(
        insert(report_request).values(
            id=wish.request_id,
            ven_id=ven_id,
            specifier_id=wish.specifier_id,
            name=offer.name,
            request=to_json(wish),
            state="queued",
            created_at=now,
        )
    )
    await outbox.put(tx, ven_id, Kind.CREATE_REPORT, now, wish.request_id)
    await tx.audit(who, "request report", wish.request_id, after=to_json(wish), at=now)
    return wish.request_id


async def cancel(tx: Transaction, request_id: str, now: datetime, *, who: str) -> None:
    """Stop a report. Raises NotFoundError, or ConflictError if it has ended."""
    known = await get(tx.conn, request_id)
    if known.state not in LIVE:
        raise ConflictError(f"Report request '{request_id}' is {known.state}.")
    await _end(tx, report_request.c.id == request_id, now, "cancelled by the operator")
    await outbox.put(tx, known.ven_id, Kind.CANCEL_REPORT, now, request_id)
    await tx.audit(who, "cancel report", request_id, at=now)


async def get(conn: AsyncConnection, request_id: str) -> Requested:
    """Return a report request. Raises NotFoundError."""
    row = (await conn.execute(select(report_request).where(report_request.c.id == request_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"No report request '{request_id}'.")
    wish = from_json(ReportRequest, row.request)
    return Requested(wish, row.ven_id, row.name, row.state, row.reason, row.created_at, row.last_report_at)


async def requests_of(conn: AsyncConnection, ven_id: str) -> list[Requested]:
    """Return every report request ever made to a VEN, oldest first."""
    query = select(report_request).where(report_request.c.ven_id == ven_id).order_by(report_request.c.id)
    return [
        Requested(
            from_json(ReportRequest, row.request),
            row.ven_id,
            row.name,
            row.state,
            row.reason,
            row.created_at,
            row.last_report_at,
        )
        for row in await conn.execute(query)
    ]


async def created(tx: Transaction, ven_id: str, code: int, description: str | None, now: datetime) -> None:
    """Note the VEN's oadrCreatedReport: its queued requests that were sent are active now, or refused."""
    sent = await outbox.sent_subjects(tx, ven_id, Kind.CREATE_REPORT)
    await outbox.done(tx, ven_id, Kind.CREATE_REPORT)
    accepted = 200 <= code < 300  # noqa: PLR2004  HTTP-like success
    await tx.conn.execute(
        update(report_request)
        .where(report_request.c.id.in_(sent) & (report_request.c.state == "queued"))
        .values(
            state="active" if accepted else "refused",
            answered_at=now,
            reason=None if accepted else f"{code} {description or ''}".strip(),
        )
    )


async def cancelled(tx: Transaction, ven_id: str) -> None:
    """Note the VEN's oadrCanceledReport."""
    await outbox.done(tx, ven_id, Kind.CANCEL_REPORT)


async def record(tx: Transaction, ven_id: str, reports: Iterable[Report], now: datetime) -> tuple[str, ...]:
    """Store the values of data reports; return the requests among them that this VTN has cancelled (RP-62).

    All or nothing: raises OpenADRError 452 for an id that we never gave out or an rID that was not offered (RP-55).
    The same report again changes nothing (RP-53).
    """
    unwanted = []
    offers = {offer.specifier_id: offer for offer in await offered(tx.conn, ven_id)}
    for report in reports:
        row = (
            await tx.conn.execute(
                select(report_request).where(
                    (report_request.c.id == report.request_id) & (report_request.c.ven_id == ven_id)
                )
            )
        ).one_or_none()
        if row is None:
            raise OpenADRError(Code.INVALID_ID, f"reportRequestID '{report.request_id}' is not ours.")
        if report.specifier_id != row.specifier_id:
            raise OpenADRError(Code.INVALID_ID, f"reportSpecifierID '{report.specifier_id}' does not belong to it.")
        offer = offers.get(report.specifier_id)
        if row.state not in LIVE:
            unwanted.append(report.request_id)
        if offer is None:
            continue
        last_end_s = 0
        for key, unit, values in to_values(ven_id, report, offer):
            await store(tx, key, unit, values, now)
            last_end_s = max(last_end_s, values.start_s)
        await _progress(tx, from_json(ReportRequest, row.request), row.state, last_end_s, now)
    return tuple(unwanted)


async def _progress(tx: Transaction, wish: ReportRequest, state: str, last_s: int, now: datetime) -> None:
    """Note that data came; a one-shot request is done with it, a bounded one when its span is over."""
    bounded = wish.start is not None and wish.duration
    end = wish.duration.after(wish.start) if wish.duration and wish.start else None
    over = (not wish.report_back and not bounded) or (end is not None and last_s >= _last_start_s(end, wish))
    changes: dict[str, object] = {"last_report_at": now}
    if state in LIVE:
        changes |= {"state": "done", "ended_at": now} if over else {"state": "active"}
    await tx.conn.execute(update(report_request).where(report_request.c.id == wish.request_id).values(**changes))


def _last_start_s(end: datetime, wish: ReportRequest) -> float:
    """When the last interval of a bounded request begins, at the latest an hour before its end for history."""
    step = wish.granularity.timedelta() if wish.granularity else timedelta(hours=1)
    return (end - step).timestamp()


def one_shot(offer: ReportOffer) -> ReportRequest:
    """Return a request for the newest values of everything in an offer (RP-24)."""
    return ReportRequest(new_id("rrq"), offer.specifier_id, tuple(line.r_id for line in offer.descriptions))


def periodic(offer: ReportOffer, granularity: Duration, report_back: Duration, now: datetime) -> ReportRequest:
    """Return a request for everything in an offer, for ever (RP-25, RP-28)."""
    r_ids = tuple(line.r_id for line in offer.descriptions)
    return ReportRequest(new_id("rrq"), offer.specifier_id, r_ids, granularity, report_back, now, ZERO)
