"""Reports of this VTN's own: what a VEN may have of us, what it asked for, and what is due of that (EiReport).

A VEN may have its own energy as it is settled (`vtn.services.load_profile`), and nobody else's. What it asks for is a
row; when the next report of it may go is the `due_at` of a row in the outbox, so that nothing has to look for what is
due, and a restart loses nothing. A report is made when it is delivered: its content is what is known then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import delete, select

from core.errors import InvalidError, Reason
from core.spans import ZERO, Duration, Span, Steps, floor_to, shifted
from openadr.model.report import (
    BAD,
    ESTIMATED,
    GOOD,
    METADATA,
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    SamplingRate,
    check_lengths,
    check_request,
)
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH
from vtn.services import load_profile, outbox
from vtn.services.outbox import Intent
from vtn.services.precedence import Rank
from vtn.services.settings import VtnSettings
from vtn.services.wanted import check_within
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, in_parts, to_json, upsert
from vtn.store.tables import own_report

TELEMETRY: Final = "TELEMETRY_USAGE"
HISTORY: Final = "HISTORY_USAGE"
R_ID: Final = "energy"
_MINUTE: Final = Duration.of(minutes=1)
_HALF_HOUR: Final = Duration.of(minutes=30)
_DAY: Final = Duration.of(days=1)
_WEEK: Final = Duration.of(days=7)
_LATE: Final = timedelta(days=1)
"""A VEN that does not fetch its periodic reports misses what is older."""
_MOST: Final = 200
"""Requests of one VEN."""
_LONGEST_ID: Final = 80


def offers(ven_id: str, settings: VtnSettings, now: datetime) -> tuple[ReportOffer, ...]:
    """Return what a VEN may have: its energy (Wh) by intervals, import positive, as telemetry and as history."""
    if settings.own_reports_after is None:
        return ()
    point = ReportDescription(R_ID, "usage", "Direct Read", Target(ven_ids=(ven_id,)), item_base=ENERGY_REAL_WH)
    telemetry = replace(point, sampling=SamplingRate(_MINUTE, Duration.of(hours=1)))
    history = replace(point, sampling=SamplingRate(_HALF_HOUR, _HALF_HOUR))
    return (
        ReportOffer(TELEMETRY, TELEMETRY, _DAY, (telemetry,), now),
        ReportOffer(HISTORY, HISTORY, _WEEK, (history,), now),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as it stands. `next_at`: where the next report of a periodic one begins."""

    request: ReportRequest
    next_at: datetime | None
    created_at: datetime
    last: bool = False

    @property
    def id(self) -> str:
        return self.request.request_id

    @property
    def intent(self) -> Intent:
        return Intent.REPORTS_OFFERED if self.request.is_metadata else Intent.REPORT_DUE

    @property
    def end(self) -> datetime | None:
        """When a periodic request is over; None: never."""
        return Span.lasting(self.request.start or self.created_at, self.request.duration or ZERO).end

    def due_at(self, settings: VtnSettings) -> datetime:
        """Return when the next report may go."""
        if self.next_at is None or self.last:
            return self.created_at
        if self.request.is_metadata:
            return self.next_at
        return (settings.own_reports_after or ZERO).held_after(self.over_at(self.next_at))

    def over_at(self, start: datetime) -> datetime:
        """Return the end of the window that begins at a time."""
        over = self.request.report_back.held_after(start)
        return over if self.end is None else min(over, self.end)


# -- asking


async def ask(
    tx: Transaction, ven_id: str, requests: Sequence[ReportRequest], settings: VtnSettings, now: datetime
) -> None:
    """Keep what a VEN asks for, and queue it for when it is due (RP-13, RP-14, RP-20, RP-24 to RP-30): all or nothing.

    The same request again is no new one (TR-12), another one of the same id takes its place. Raises InvalidError for
    what cannot be had, and for more than is kept.
    """
    known = await _of(tx.conn, ven_id)
    offered = offers(ven_id, settings, now)
    news: dict[str, _Asked] = {}
    replaced: list[_Asked] = []
    for asked in (_begun(request, offered, now) for request in requests):
        before = known.get(asked.id)
        if before is None or before.last or before.request != asked.request:
            known[asked.id] = news[asked.id] = asked
            replaced += [before] if before is not None else []
    if news and len(known) > _MOST:
        raise InvalidError(f"This VTN keeps at most {_MOST} report requests of a VEN.")
    await _drop(tx, ven_id, replaced)
    await _keep(tx, ven_id, news.values(), settings, now)


def _begun(request: ReportRequest, offered: Sequence[ReportOffer], now: datetime) -> _Asked:
    """Return a fresh request. Raises InvalidError if it cannot be had."""
    if len(request.request_id) > _LONGEST_ID:
        text = f"A reportRequestID is longer than {_LONGEST_ID} characters."
        raise InvalidError(text, reason=Reason.TOO_LONG)
    if request.is_metadata:
        return _metadata_begun(request, now)
    if not offered:
        raise InvalidError("This VTN offers no reports.", reason=Reason.REPORT_NOT_SUPPORTED)
    start = request.start.replace(microsecond=0) if request.start is not None else None
    request = replace(request, r_ids=tuple(dict.fromkeys(request.r_ids)), start=start, reading_types=())
    offer = check_request(request, offered)
    check_within(request, offer, now)
    if not request.report_back:
        if offer.name == HISTORY and (start is None or start >= now):
            raise InvalidError("A history begins in the past.")
        return _Asked(request, None, now)
    if not request.granularity:
        raise InvalidError("Values on change are asked, none are offered: give a granularity.")
    if request.report_back.held_after(now) > offer.duration.held_after(now):
        raise InvalidError(f"Reports of {request.report_back} are asked, of {offer.duration} are offered.")
    asked = _Asked(request, start, now)
    return replace(asked, next_at=_first(asked, now))


def _metadata_begun(request: ReportRequest, now: datetime) -> _Asked:
    """Return a request for what is offered; of a periodic one the next is due at its start (RP-14)."""
    request = ReportRequest(
        request.request_id, METADATA, (), ZERO, request.report_back, request.start, request.duration
    )
    check_lengths(request)
    if not request.report_back:
        return _Asked(request, None, now)
    if request.report_back.held_after(now) < _MINUTE.held_after(now):
        raise InvalidError(f"Metadata each {request.report_back} is asked, each {_MINUTE} is offered.")
    return _Asked(request, max(request.start or now, now), now)


def _first(asked: _Asked, now: datetime) -> datetime:
    """Return where the next window begins that is not too late; of a request that is over, of its last day."""
    oldest = shifted(now if asked.end is None else min(now, asked.end), -_LATE.total_seconds())
    if asked.next_at is None or asked.next_at >= oldest:
        return asked.next_at or now
    return Steps(asked.next_at, asked.request.report_back).from_(oldest)


async def pending(conn: Connection, ven_id: str) -> tuple[str, ...]:
    """Return the reportRequestIDs of all that is still to be delivered to a VEN (RP-31)."""
    return tuple(await _of(conn, ven_id))


async def cancel(
    tx: Transaction, ven_id: str, request_ids: Iterable[str], settings: VtnSettings, now: datetime, *, follow: bool
) -> list[str]:
    """Stop reports at their VEN's wish; with `follow` each sends one more (RP-60, RP-61). Return the unknown ids."""
    known = await _of(tx.conn, ven_id)
    named = dict.fromkeys(request_ids)
    stopped = [known[one] for one in named if one in known]
    last = [replace(one, last=True) for one in stopped if follow and not one.request.is_metadata]
    await _drop(tx, ven_id, [one for one in stopped if not follow or one.request.is_metadata])
    await _keep(tx, ven_id, last, settings, now)
    return [one for one in named if one not in known]


# -- delivering


async def due(tx: Transaction, ven_id: str, request_id: str, settings: VtnSettings, now: datetime) -> Report | None:
    """Return the report that is due of a request; None, and it has ended, if there is none."""
    asked = (await _of(tx.conn, ven_id, [request_id])).get(request_id)
    if asked is None:
        return None
    offer = next((one for one in offers(ven_id, settings, now) if one.specifier_id == asked.request.specifier_id), None)
    if asked.next_at is not None and not asked.last:
        first = _first(asked, now)
        if first != asked.next_at:
            asked = replace(asked, next_at=first)
            await _write(tx, ven_id, [asked])
    steps = None if offer is None else _cells(asked, offer, now)
    if offer is None or steps is None:
        await _delete(tx, ven_id, [request_id])
        return None
    return await _report(tx.conn, ven_id, asked.request, offer, steps, now)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Intervals of one length; of those `newest` is the last that is known, if only that is wanted."""

    start: datetime
    count: int
    step_s: int
    newest: bool = False


def _cells(asked: _Asked, offer: ReportOffer, now: datetime) -> _Cells | None:
    """Return the intervals of the next report; None: nothing is left to be said."""
    request = asked.request
    if offer.name == HISTORY:
        return _past(request, now)
    if asked.next_at is None:
        return _newest(now)
    steps = Steps(request.start or asked.created_at, request.granularity)
    over = min(asked.over_at(asked.next_at), now) if asked.last else asked.over_at(asked.next_at)
    begin, end = steps.index(asked.next_at), steps.index(over)
    if end > begin:
        return _Cells(steps.at(begin), end - begin, request.granularity.exact_s)
    return _newest(now) if asked.last else None


def _newest(now: datetime) -> _Cells:
    """Return the minutes of which the newest that is known answers a one-shot request (RP-24, RP-51)."""
    minutes = _DAY.exact_s // _MINUTE.exact_s
    return _Cells(floor_to(now, _MINUTE.exact_s) - _DAY.timedelta(), minutes, _MINUTE.exact_s, newest=True)


def _past(request: ReportRequest, now: datetime) -> _Cells:
    """Return the half hours of a history, none of them in the future; without a length those of the last week."""
    start = request.start or now
    if not request.duration:
        start = Steps(start, _HALF_HOUR).from_(max(start, (-_WEEK).after(now)))
    end = min(request.duration.held_after(start) if request.duration else now, now)
    step_s = _HALF_HOUR.exact_s
    return _Cells(start, max(1, int((end - start).total_seconds()) // step_s), step_s)


async def _report(
    conn: Connection, ven_id: str, request: ReportRequest, offer: ReportOffer, cells: _Cells, now: datetime
) -> Report:
    """Return a report of the VEN's energy; what is not known is a placeholder of bad quality (RP-48)."""
    first_s = int(cells.start.timestamp())
    profile = await load_profile.profile_of(conn, ven_id, first_s, cells.count, cells.step_s)
    numbers = np.arange(cells.count)
    if cells.newest:
        numbers = (numbers[np.isfinite(profile.energy_wh)] if np.isfinite(profile.energy_wh).any() else numbers)[-1:]
    length = Duration.of(seconds=cells.step_s)
    intervals = tuple(
        ReportInterval(
            (_payload(float(profile.energy_wh[number]), int(profile.ranks[number])),),
            cells.start + timedelta(seconds=cells.step_s * number),
            length,
        )
        for number in numbers.tolist()
    )
    return Report(request.request_id, offer.specifier_id, offer.name, now, intervals, intervals[0].start)


def _payload(energy_wh: float, rank: int) -> ReportPayload:
    if not np.isfinite(energy_wh):
        return ReportPayload(R_ID, 0.0, BAD)
    return ReportPayload(R_ID, round(energy_wh, 3), ESTIMATED if rank == Rank.ESTIMATE else GOOD)


async def delivered(
    tx: Transaction, ven_id: str, answered: str, settings: VtnSettings, now: datetime, *, wanted: bool = True
) -> None:
    """Note a VEN's oadrUpdatedReport: its request goes on, or is over; it is if the VEN does not know it any more.

    Each oadrUpdateReport has its reportRequestID as requestID, so `answered` says which is meant; any other one means
    all that were sent.
    """
    sent = await outbox.sent_subjects(tx, ven_id, Intent.REPORT_DUE)
    meant = [answered] if answered in sent else sent
    known = await _of(tx.conn, ven_id, meant)
    await outbox.done_subjects(tx, ven_id, Intent.REPORT_DUE, meant)
    after = {one: _after(asked) if wanted else None for one, asked in known.items() if not asked.request.is_metadata}
    await _delete(tx, ven_id, [one for one, asked in after.items() if asked is None])
    await _keep(tx, ven_id, [asked for asked in after.values() if asked is not None], settings, now)


async def offered(tx: Transaction, ven_id: str, settings: VtnSettings, now: datetime) -> None:
    """Note a VEN's oadrRegisteredReport: what it asked of our metadata is done, or due again (RP-14)."""
    told = await outbox.sent_subjects(tx, ven_id, Intent.REPORTS_OFFERED, given_up=True)
    await outbox.done(tx, ven_id, Intent.REPORTS_OFFERED)
    known = await _of(tx.conn, ven_id, told)
    after = {one: _told(asked, now) for one, asked in known.items() if asked.request.is_metadata}
    await _delete(tx, ven_id, [one for one, asked in after.items() if asked is None])
    await _keep(tx, ven_id, [asked for asked in after.values() if asked is not None], settings, now)


def _after(asked: _Asked) -> _Asked | None:
    """Return a request after its report has arrived; None: it is over."""
    if asked.next_at is None or asked.last:
        return None
    over = asked.over_at(asked.next_at)
    return None if asked.end is not None and over >= asked.end else replace(asked, next_at=over)


def _told(asked: _Asked, now: datetime) -> _Asked | None:
    """Return a metadata request after it was answered; None: it is over."""
    if asked.next_at is None:
        return None
    following = Steps(asked.next_at, asked.request.report_back).after(now)
    return None if asked.end is not None and following >= asked.end else replace(asked, next_at=following)


# -- rows


async def _of(conn: Connection, ven_id: str, request_ids: Iterable[str] | None = None) -> dict[str, _Asked]:
    """Return what a VEN has asked for (or some of it), oldest first."""
    query = select(own_report).where(own_report.c.ven_id == ven_id)
    if request_ids is not None:
        query = query.where(own_report.c.request_id.in_(list(request_ids)))
    ordered = query.order_by(own_report.c.created_at, own_report.c.request_id)
    return {row.request_id: _asked(row) for row in await conn.execute(ordered)}


def _asked(row: Any) -> _Asked:
    return _Asked(from_json(ReportRequest, row.request), row.next_at, row.created_at, row.last)


async def _write(tx: Transaction, ven_id: str, asked: Iterable[_Asked]) -> None:
    rows: list[Mapping[str, Any]] = [
        {
            "ven_id": ven_id,
            "request_id": one.id,
            "request": to_json(one.request),
            "next_at": one.next_at,
            "last": one.last,
            "created_at": one.created_at,
        }
        for one in asked
    ]
    await upsert(tx.conn, own_report, rows, keys=("ven_id", "request_id"))


async def _keep(tx: Transaction, ven_id: str, asked: Iterable[_Asked], settings: VtnSettings, now: datetime) -> None:
    """Write requests, and queue what comes next of each."""
    kept = list(asked)
    await _write(tx, ven_id, kept)
    for intent in (Intent.REPORT_DUE, Intent.REPORTS_OFFERED):
        due_at = {one.id: one.due_at(settings) for one in kept if one.intent is intent}
        if due_at:
            await outbox.plan(tx, ven_id, intent, now, due_at)


async def _drop(tx: Transaction, ven_id: str, asked: Sequence[_Asked]) -> None:
    """Forget requests, and what is queued of them."""
    await _delete(tx, ven_id, [one.id for one in asked])
    for intent in (Intent.REPORT_DUE, Intent.REPORTS_OFFERED):
        await outbox.withdraw_all(tx, ven_id, intent, [one.id for one in asked if one.intent is intent])


async def _delete(tx: Transaction, ven_id: str, request_ids: Sequence[str]) -> None:
    for ids in in_parts(request_ids):
        mine = (own_report.c.ven_id == ven_id) & own_report.c.request_id.in_(ids)
        await tx.conn.execute(delete(own_report).where(mine))
