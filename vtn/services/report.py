"""Reports (EiReport): what VENs offer, and what we ask. The data that comes of it: `vtn.services.telemetry`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, delete, insert, select, update

from core.errors import ConflictError, InvalidError, NotFoundError, Reason
from core.spans import ZERO, Duration, floor_to
from openadr.model.report import ReportOffer, ReportRequest, check_offers, check_request
from vtn.services import outbox
from vtn.services.outbox import Intent
from vtn.services.settings import VtnSettings, WantedReport
from vtn.services.wanted import check_within, requests_for
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, in_parts, to_json, upsert
from vtn.store.tables import report_offer, report_request, resource, ven

LIVE = ("queued", "unanswered", "active")
"""States of a report request that may still bring data."""
UNANSWERED = ("queued", "unanswered")
"""States in which the VEN has not said that it will report."""
UNWANTED = ("cancelled", "refused")
"""States in which no more data is wanted."""
_LONGEST_ID = 200
_HALF_HOUR_S = 1800
_GRACE = timedelta(minutes=10)
_NEVER = datetime.min.replace(tzinfo=UTC)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Requested:
    """A report request as it stands."""

    request: ReportRequest
    ven_id: str
    name: str
    state: str
    reason: str | None
    created_at: datetime
    answered_at: datetime | None
    last_report_at: datetime | None

    def missing_since(self, now: datetime) -> datetime | None:
        """Return when data was due that has not come, with some grace; None if all is well, or no data is expected."""
        if self.state != "active" or self.answered_at is None:
            return None
        back = self.request.report_back
        begun = max(self.answered_at, self.request.start) if back and self.request.start else self.answered_at
        try:
            due = back.after(self.last_report_at or begun)
            return due if back.after(due) + _GRACE < now else None
        except (InvalidError, OverflowError):
            return None  # beyond the calendar


async def offered(conn: Connection, ven_id: str) -> list[ReportOffer]:
    """Return what a VEN last said that it can report."""
    query = select(report_offer.c.offer).where(report_offer.c.ven_id == ven_id).order_by(report_offer.c.specifier_id)
    return [from_json(ReportOffer, offer) for offer in (await conn.execute(query)).scalars()]


async def register(
    tx: Transaction, ven_id: str, offers: Sequence[ReportOffer], settings: VtnSettings, now: datetime
) -> None:
    """Replace what a VEN offers; its running requests end, and what this VTN wants is asked anew (RP-03).

    Where the VEN offers what it did, its running requests go on, and are only sent again: a VEN that forgot them has
    them anew, to one that did not (its metadata comes periodically, RP-14) they are no news (TR-12).

    Raises InvalidError for offers that contradict themselves (RP-05, RP-07), and for ids that are too long.
    """
    check_offers(offers)
    _check_lengths(offers)
    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(metadata_at=now))
    if _content(offers) == _content(await offered(tx.conn, ven_id)):
        await _ask_wanted(tx, ven_id, offers, settings, now, already=await _send_again(tx, ven_id, now))
        return
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
    await _learn_resources(tx, ven_id, offers)
    await _ask_wanted(tx, ven_id, offers, settings, now)


def _content(offers: Iterable[ReportOffer]) -> dict[str, ReportOffer]:
    """Return offers by reportSpecifierID, without the time at which they were made."""
    return {offer.specifier_id: replace(offer, created_at=_NEVER) for offer in offers}


async def _send_again(tx: Transaction, ven_id: str, now: datetime) -> list[ReportRequest]:
    """Queue the requests that may still bring data once more; return what was asked of the VEN and not cancelled."""
    asked = await requests_of(tx.conn, ven_id, report_request.c.state != "cancelled")
    live = [requested.request.request_id for requested in asked if requested.state in LIVE]
    await _send_again_all(tx, ven_id, live, now)
    return [requested.request for requested in asked]


async def send_again(tx: Transaction, ven_id: str, request_id: str, now: datetime) -> None:
    """Queue a request that was sent already; one that was not answered waits for its answer again."""
    await _send_again_all(tx, ven_id, [request_id], now)


async def _send_again_all(tx: Transaction, ven_id: str, request_ids: Sequence[str], now: datetime) -> None:
    for ids in in_parts(request_ids):
        unanswered = report_request.c.id.in_(ids) & (report_request.c.state == "unanswered")
        await tx.conn.execute(update(report_request).where(unanswered).values(state="queued", reason=None))
    await outbox.put_subjects(tx, ven_id, Intent.REPORT_WANTED, now, request_ids)


async def to_send(conn: Connection, request_id: str) -> ReportRequest | None:
    """Return a report request as it is to be sent now; None if it has ended. Raises NotFoundError.

    One that runs for ever begins with what has not come yet: a VEN that has it already need not report twice.
    """
    asked = await get(conn, request_id)
    if asked.state not in LIVE:
        return None
    request = asked.request
    if asked.last_report_at is None or request.start is None or request.duration or not request.report_back:
        return request
    lately = floor_to((-request.report_back).after(asked.last_report_at), _HALF_HOUR_S)
    return replace(request, start=max(request.start, lately))


def _check_lengths(offers: Sequence[ReportOffer]) -> None:
    """Raise InvalidError for names that the store cannot keep; any other text will do (RP-54)."""
    for offer in offers:
        for text, most in ((offer.name, 80), (offer.specifier_id, _LONGEST_ID)):
            _check_length(text, most)
        for line in offer.descriptions:
            for text in (line.r_id, *line.source.resource_ids):
                _check_length(text, _LONGEST_ID)
            for text in line.subject.device_classes:
                _check_length(text, 80)


def _check_length(text: str, most: int) -> None:
    if len(text) > most:
        raise InvalidError(f"'{text[:40]}...' is longer than {most} characters.", reason=Reason.TOO_LONG)


async def _ask_wanted(
    tx: Transaction,
    ven_id: str,
    offers: Iterable[ReportOffer],
    settings: VtnSettings,
    now: datetime,
    already: Iterable[ReportRequest] = (),
) -> None:
    """Ask for the reports that this VTN wants, but for what was asked `already`.

    An offer that cannot satisfy it is no fault of the VEN's registration.
    """
    there = {_essence(request) for request in already}
    asked: list[tuple[ReportRequest, ReportOffer]] = []
    for wanted in settings.wanted_reports:
        for offer in offers:
            if offer.name != wanted.name or not offer.descriptions:
                continue
            try:
                for request in requests_for(wanted, offer, now):
                    if _essence(request) not in there:
                        _check(request, [offer], now)
                        asked.append((request, offer))
            except InvalidError as error:
                _log.warning("a wanted report is not asked for", ven_id=ven_id, report=offer.name, why=str(error))
    await _queue(tx, ven_id, asked, now, who="vtn")


def _essence(request: ReportRequest) -> ReportRequest:
    """Return what is asked for, whenever that was."""
    return replace(request, request_id="", start=None)


def _check(request: ReportRequest, offers: Sequence[ReportOffer], now: datetime) -> ReportOffer:
    """Return the offer that a request asks of. Raises InvalidError if it is none of these (RP-20, RP-27, RP-30)."""
    offer = check_request(request, offers)
    check_within(request, offer, now)
    return offer


async def _queue(
    tx: Transaction, ven_id: str, asked: Sequence[tuple[ReportRequest, ReportOffer]], now: datetime, *, who: str
) -> None:
    """Store and queue requests, each with the offer that it asks of; as many statements for many as for one."""
    if not asked:
        return
    texts = {wish.request_id: to_json(wish) for wish, _ in asked}
    rows = [
        {
            "id": wish.request_id,
            "ven_id": ven_id,
            "specifier_id": wish.specifier_id,
            "name": offer.name,
            "request": texts[wish.request_id],
            "state": "queued",
            "created_at": now,
        }
        for wish, offer in asked
    ]
    await tx.conn.execute(insert(report_request), rows)
    await outbox.put_subjects(tx, ven_id, Intent.REPORT_WANTED, now, texts)
    await tx.audit_each(who, "request report", texts, at=now)


async def _end(tx: Transaction, where: object, now: datetime, reason: str) -> None:
    ending = {"state": "cancelled", "ended_at": now, "reason": reason}
    await tx.conn.execute(update(report_request).where(where).values(**ending))  # type: ignore[arg-type]


async def _learn_resources(tx: Transaction, ven_id: str, offers: Sequence[ReportOffer]) -> None:
    """Add resources that the metadata names, with their device class where it is given (RP-09)."""
    named: dict[str, str | None] = {}
    for line in (line for offer in offers for line in offer.descriptions):
        kind = line.subject.device_classes[0] if len(line.subject.device_classes) == 1 else None
        for name in line.source.resource_ids:
            named[name] = kind or named.get(name)
    rows = [{"ven_id": ven_id, "resource_id": name, "device_class": kind} for name, kind in sorted(named.items())]
    keys = ("ven_id", "resource_id")
    await upsert(tx.conn, resource, [row for row in rows if row["device_class"]], keys=keys, update=("device_class",))
    await upsert(tx.conn, resource, [row for row in rows if not row["device_class"]], keys=keys, update=())


async def request(tx: Transaction, ven_id: str, request: ReportRequest, now: datetime, *, who: str) -> str:
    """Queue a request for a report that the VEN offers; return its reportRequestID.

    Raises InvalidError if the VEN does not offer that (RP-20, RP-27, RP-30).
    """
    offer = _check(request, await offered(tx.conn, ven_id), now)
    await _queue(tx, ven_id, [(request, offer)], now, who=who)
    return request.request_id


async def request_now(tx: Transaction, ven_id: str, name: str, now: datetime, *, who: str) -> str | None:
    """Queue a request for one report of that name with its newest values; None if the VEN does not offer it.

    A history report brings the last day.
    """
    offer = next((one for one in await offered(tx.conn, ven_id) if one.name == name and one.descriptions), None)
    if offer is None:
        return None
    wanted = WantedReport(name, ZERO, history=Duration.of(days=1) if name.startswith("HISTORY_") else None)
    (asked,) = requests_for(wanted, offer, now)
    return await request(tx, ven_id, asked, now, who=who)


async def cancel(tx: Transaction, request_id: str, now: datetime, *, who: str) -> None:
    """Stop a report; a VEN that was not asked yet hears nothing. Raises NotFoundError, ConflictError if it ended."""
    known = await get(tx.conn, request_id)
    if known.state not in LIVE:
        raise ConflictError(f"Report request '{request_id}' is {known.state}.")
    await _end(tx, report_request.c.id == request_id, now, "cancelled by the operator")
    if not await outbox.withdraw(tx, known.ven_id, Intent.REPORT_WANTED, request_id):
        await outbox.put(tx, known.ven_id, Intent.REPORT_UNWANTED, now, request_id)
    await tx.audit(who, "cancel report", request_id, at=now)


async def get(conn: Connection, request_id: str) -> Requested:
    """Return a report request. Raises NotFoundError."""
    row = (await conn.execute(select(report_request).where(report_request.c.id == request_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"No report request '{request_id}'.")
    return _requested(row)


async def requests_of(conn: Connection, ven_id: str, which: ColumnElement[bool] | None = None) -> list[Requested]:
    """Return every report request ever made to a VEN (or some of them), oldest first."""
    query = select(report_request).where(report_request.c.ven_id == ven_id).order_by(report_request.c.id)
    query = query if which is None else query.where(which)
    return [_requested(row) for row in await conn.execute(query)]


def _requested(row: Any) -> Requested:
    return Requested(
        from_json(ReportRequest, row.request),
        row.ven_id,
        row.name,
        row.state,
        row.reason,
        row.created_at,
        row.answered_at,
        row.last_report_at,
    )


async def created(
    tx: Transaction, ven_id: str, request_id: str, pending: Sequence[str], refusal: str | None, now: datetime
) -> None:
    """Note the VEN's oadrCreatedReport: what was asked is active now, or refused for a reason.

    Each oadrCreateReport carries one request and its reportRequestID as requestID, so `request_id` says which one is
    meant. An answer with another requestID means those that it lists as `pending` (RP-31), or all that were sent.
    """
    sent = await outbox.sent_subjects(tx, ven_id, Intent.REPORT_WANTED)
    late = await outbox.sent_subjects(tx, ven_id, Intent.REPORT_WANTED, given_up=True)
    listed = frozenset(pending)
    meant = [request_id] if request_id in late else [one for one in late if one in listed] or sent
    await outbox.done_subjects(tx, ven_id, Intent.REPORT_WANTED, meant)
    for ids in in_parts(meant):
        await tx.conn.execute(
            update(report_request)
            .where(report_request.c.id.in_(ids) & report_request.c.state.in_(UNANSWERED))
            .values(state="active" if refusal is None else "refused", answered_at=now, reason=refusal)
        )


async def cancelled(tx: Transaction, ven_id: str, request_id: str) -> None:
    """Note the VEN's oadrCanceledReport; `request_id` says which cancellation is meant, any other one means all."""
    sent = await outbox.sent_subjects(tx, ven_id, Intent.REPORT_UNWANTED, given_up=True)
    await outbox.done(tx, ven_id, Intent.REPORT_UNWANTED, request_id if request_id in sent else None)
