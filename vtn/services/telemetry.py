"""The data of reports as they come in: many VENs' reports in one transaction, with a few statements for all.

A reading reaches the store through `record`; it is acknowledged only after the commit (docs/explanation/walks.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, select, update

from core.errors import EvenloadError, InvalidError, NotFoundError, Reason
from core.spans import Duration
from openadr.model import potential
from openadr.model.report import Report, ReportOffer, ReportRequest
from vtn.services import outbox
from vtn.services import potential as potentials
from vtn.services.outbox import Intent
from vtn.services.report import LIVE, UNANSWERED, UNWANTED
from vtn.services.report_mapping import AHEAD_S, lines_of, newest_start_s, to_values
from vtn.store.database import Transaction
from vtn.store.readings import Arrival, SeriesHints, store_all
from vtn.store.rows import as_text, from_text, in_parts
from vtn.store.tables import report_offer, report_request


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a VEN's reports: all is stored.

    `unwanted`: the requests among them that this VTN has cancelled (RP-62). `ahead_s`: so long after now the newest
    value begins, seconds, if that is more than a clock may run ahead, else 0: it is kept as uncertain.
    """

    unwanted: tuple[str, ...] = ()
    ahead_s: int = 0


Outcome = Recorded | EvenloadError
"""What became of a VEN's reports, or why nothing of them is stored."""

_ASKED: Final = (
    select(
        report_request.c.id,
        report_request.c.ven_id,
        report_request.c.specifier_id,
        report_request.c.name,
        report_request.c.state,
        as_text(report_request.c.request).label("request"),
        as_text(report_offer.c.offer).label("offer"),
    )
    .outerjoin(
        report_offer,
        and_(
            report_offer.c.ven_id == report_request.c.ven_id,
            report_offer.c.specifier_id == report_request.c.specifier_id,
        ),
    )
    .where(report_request.c.id.in_(bindparam("ids", expanding=True)))
)


@dataclass(frozen=True, slots=True)
class _Data:
    """A report with the row of its request, ready to be stored. `newest_s`: start of the newest value."""

    asked: Any
    arrivals: tuple[Arrival, ...]
    newest_s: int
    potential: potentials.Brought | None = None


async def record(
    tx: Transaction, reports_of: Mapping[str, Sequence[Report]], now: datetime, hints: SeriesHints | None = None
) -> dict[str, Outcome]:
    """Store the values of data reports, by VEN: of each VEN all or nothing.

    A VEN's outcome is NotFoundError for an id that we never gave out, InvalidError for an rID that was not offered
    (RP-55) and for intervals without time. The same report again changes nothing (RP-53).
    """
    names = {one.request_id for reports in reports_of.values() for one in reports}
    asked = {
        (row.ven_id, row.id): row for ids in in_parts(names) for row in await tx.conn.execute(_ASKED, {"ids": ids})
    }
    outcomes: dict[str, Outcome] = {}
    good: list[tuple[str, _Data]] = []
    for ven_id, reports in reports_of.items():
        try:
            data = [_read(ven_id, one, asked.get((ven_id, one.request_id)), now) for one in reports]
        except EvenloadError as error:
            outcomes[ven_id] = error
        else:
            good += [(ven_id, one) for one in data]
            unwanted = tuple(dict.fromkeys(one.asked.id for one in data if one.asked.state in UNWANTED))
            ahead_s = max((one.newest_s for one in data), default=0) - int(now.timestamp())
            outcomes[ven_id] = Recorded(unwanted, ahead_s if ahead_s > AHEAD_S else 0)
    for ven_id, one in good:
        if one.potential is not None:
            await potentials.store(tx, ven_id, one.potential, now)
    await store_all(tx, [arrival for _, one in good for arrival in one.arrivals], now, hints)
    await _progress(tx, [one for _, one in good], now)
    return outcomes


def _read(ven_id: str, report: Report, asked: Any, now: datetime) -> _Data:
    """Return what a report brings. Raises NotFoundError if it was not asked for, InvalidError if it makes no sense."""
    if asked is None:
        raise NotFoundError(f"reportRequestID '{report.request_id}' is not ours.")
    if report.specifier_id != asked.specifier_id:
        raise NotFoundError(f"reportSpecifierID '{report.specifier_id}' does not belong to it.")
    if asked.offer is None:
        text = f"Report '{report.specifier_id}' is not registered any more."
        raise NotFoundError(text, reason=Reason.NOT_OFFERED)
    if asked.name == potential.REPORT_NAME:
        brought = potentials.read(report, from_text(ReportOffer, asked.offer))
        return _Data(asked, (), int(now.timestamp()), brought)  # its intervals lie ahead
    arrivals = tuple(Arrival(*one) for one in to_values(ven_id, report, lines_of(asked.offer), now))
    return _Data(asked, arrivals, max((newest_start_s(one.values) for one in arrivals), default=0))


async def _progress(tx: Transaction, data: Sequence[_Data], now: datetime) -> None:
    """Note that data came; a one-shot request is done with it, a bounded one when its span is over."""
    of = report_request.c
    for ids in in_parts(dict.fromkeys(one.asked.id for one in data)):
        await tx.conn.execute(update(report_request).where(of.id.in_(ids)).values(last_report_at=now))
    over = {one.asked.id for one in data if _is_over(from_text(ReportRequest, one.asked.request), one.newest_s)}
    begun = {one.asked.id for one in data if one.asked.state != "active"} - over
    for ids in in_parts(over):
        await tx.conn.execute(
            update(report_request).where(of.id.in_(ids) & of.state.in_(LIVE)).values(state="done", ended_at=now)
        )
    for ids in in_parts(begun):
        await tx.conn.execute(update(report_request).where(of.id.in_(ids) & of.state.in_(LIVE)).values(state="active"))
    await _arrived(tx, [one.asked for one in data if one.asked.state in UNANSWERED])


async def _arrived(tx: Transaction, asked: Sequence[Any]) -> None:
    """Ask no more for what comes: some VENs send data without an oadrCreatedReport, and stop it if asked again."""
    ids_of: dict[str, list[str]] = {}
    for one in asked:
        ids_of.setdefault(one.ven_id, []).append(one.id)
    for ven_id, ids in ids_of.items():
        await outbox.done_subjects(tx, ven_id, Intent.REPORT_WANTED, ids)


def _is_over(request: ReportRequest, newest_s: int) -> bool:
    last_s = _last_start_s(request)
    return not request.report_back if last_s is None else newest_s >= last_s


def _last_start_s(request: ReportRequest) -> float | None:
    """When the last interval of a bounded request begins, at the latest an hour before its end for history.

    None: it is not bounded, or reaches beyond the calendar.
    """
    if not request.duration or not request.start:
        return None
    try:
        return (-(request.granularity or Duration.of(hours=1))).after(request.duration.after(request.start)).timestamp()
    except InvalidError:
        return None
