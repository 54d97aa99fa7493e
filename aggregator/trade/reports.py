"""Activation reports: what was ordered and what was delivered, interval by interval (FN-DR-10). Versions are kept.

They are made from the evaluation of the dispatch (`vtn.services.evaluation`) on the grid of the programme's intervals,
in whole watts. A version is added when late readings change the evaluation, and a last one when the report is final.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import insert, select, update

from aggregator.grid import Grid
from aggregator.tables import activation_report
from aggregator.topics import Topic
from aggregator.trade import activations, contracts, settlements
from aggregator.trade.activation_report import ActivationReport, ReportInterval, VenRow
from aggregator.trade.activations import Activation
from aggregator.trade.contracts import Contract
from core.errors import ConflictError, NotFoundError
from core.spans import ceil_to, floor_to
from metrics.days import period_of, zone_named
from metrics.method import AdjustmentStatus
from metrics.presets import PRESETS
from metrics.uncertainty import Uncertainty
from vtn.services import dispatch, evaluation, programme, result_due
from vtn.services.evaluation import Computed
from vtn.services.evaluation_result import Result, VenResult
from vtn.services.programme import Parameters, Programme
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import from_json, to_json

LEAST_VENS: Final = 5
"""With fewer called VENs no rows of single VENs are given away (k-anonymity)."""
_UNADJUSTED: Final = {
    AdjustmentStatus.NO_WINDOW.value,
    AdjustmentStatus.MISSING_DATA.value,
    AdjustmentStatus.NO_TEMPERATURE.value,
}


# -- made


async def evaluated(db: Database, activation: Activation, now: datetime) -> Computed | None:
    """Return the evaluation of the dispatch, None where nobody was called, or not before the cancellation."""
    if activation.dispatch_id is None:
        return None
    try:
        return await evaluation.compute(db, activation.dispatch_id, now)
    except ConflictError:
        return None


async def publish_report(
    tx: Transaction,
    activation_id: str,
    computed: Computed | None,
    now: datetime,
    *,
    who: str,
    final: bool,
    uncertainty: Uncertainty | None = None,
    final_at: datetime | None = None,
) -> int | None:
    """Report on an activation that has come to its end, as it was evaluated, and settle; return the version.

    A final report is the last, unless its result is disputed. One that says the same as the newest makes no version:
    that becomes final, if it is to be. `final_at`: when
    reports become final. Returns None, and nothing changes, where the finality is the same, too. Raises ConflictError
    before the end.
    """
    one = await activations.get(tx.conn, activation_id, lock=True)
    end = one.ended_at(now)
    if end is None:
        raise ConflictError(f"The activation lasts until {one.ends_at.isoformat()}.")
    last = await _last(tx.conn, activation_id)
    if last is not None and last.final and not await _is_open_again(tx.conn, one):
        return None
    result = None if computed is None else await evaluation.keep(tx, computed, now)
    evaluation_version = 0 if result is None else result.version
    if final and result is not None:
        await result_due.freeze(tx, result.dispatch_id, now)
    contract = await contracts.get(tx.conn, one.contract_id)
    rules = (await rules_of(tx.conn, one)).parameters
    report = compose(one, contract, result, end, now, uncertainty, rules)
    newest = None if last is None else _report(last)
    if newest is not None and newest.says_the_same(report):
        return await _finalise(tx, one, newest, now, who=who) if final and not newest.final else None
    version = 1 if newest is None else newest.version + 1
    report = replace(report, version=version, final=final, final_at=now if final else final_at)
    await tx.conn.execute(
        insert(activation_report).values(
            activation_id=one.id,
            version=version,
            final=final,
            report=to_json(report),
            evaluation_version=evaluation_version,
            created_at=now,
        )
    )
    await _published(tx, one, report, now, who=who)
    return version


async def _is_open_again(conn: Connection, activation: Activation) -> bool:
    """Tell whether a dispute has opened the result again that the final report was made from."""
    if activation.dispatch_id is None:
        return False
    opened = await result_due.reopened_at(conn, activation.dispatch_id)
    return opened is not None and await evaluation.final_at(conn, activation.dispatch_id) is None


async def _finalise(
    tx: Transaction, activation: Activation, report: ActivationReport, now: datetime, *, who: str
) -> int:
    """Let the newest report be the final one: its figures stay."""
    final = replace(report, final=True, final_at=now)
    this = (activation_report.c.activation_id == activation.id) & (activation_report.c.version == report.version)
    await tx.conn.execute(update(activation_report).where(this).values(final=True, report=to_json(final)))
    await _published(tx, activation, final, now, who=who)
    return report.version


async def _published(
    tx: Transaction, activation: Activation, report: ActivationReport, now: datetime, *, who: str
) -> None:
    """Let everybody know of a report, and settle it."""
    await tx.audit(who, "report", f"{activation.id}/{report.version}", after={"final": report.final}, at=now)
    told = {"activation_id": activation.id, "version": report.version, "final": report.final}
    await publish(tx, activation.party_id, Topic.REPORT_PUBLISHED, told, now)
    if report.delivered_wh is not None or report.final:  # what nobody knows costs nothing before it is final
        await settlements.settle(tx, activation, report, now, who=who)


async def rules_of(conn: Connection, activation: Activation) -> Programme:
    """Return the programme as it was for the dispatch; where nobody was called, as it is."""
    if activation.dispatch_id is None:
        contract = await contracts.get(conn, activation.contract_id)
        return await programme.get(conn, contract.programme_id)
    whole = await dispatch.get(conn, activation.dispatch_id)
    return await programme.get(conn, whole.programme_id, whole.programme_version)


def compose(
    activation: Activation,
    contract: Contract,
    result: Result | None,
    end: datetime,
    now: datetime,
    uncertainty: Uncertainty | None = None,
    rules: Parameters | None = None,
) -> ActivationReport:
    """Return the report of an activation that ran until `end`; version 1, not final. `rules` of the programme."""
    rules = rules or Parameters()
    step_s = rules.interval_s if result is None else result.interval_s
    vens = () if result is None else result.vens
    intervals = _intervals(activation, result, end, step_s, zone_named(rules.time_zone))
    asked = sum(it.ordered_w * it.duration_s for it in intervals)
    got = sum((it.delivered_w or 0) * it.duration_s for it in intervals)
    lacked = sum((it.deficiency_w or 0) * it.duration_s for it in intervals)
    is_known = result is None or result.delivered_wh is not None
    known = sum(it.coverage * it.ordered_w * it.duration_s for it in intervals)
    method, _, _ = (result.method if result else "none").partition("/")
    rows = contract.limits.per_ven_rows and len(vens) >= LEAST_VENS
    return ActivationReport(
        activation_id=activation.id,
        contract_id=activation.contract_id,
        version=1,
        final=False,
        created_at=now,
        direction=activation.direction,
        starts_at=activation.starts_at,
        ends_at=end,
        method=result.method if result else "none",
        citation=PRESETS[method].citation if method in PRESETS else "Nobody was called.",
        called=len(vens),
        opted_out=0 if result is None else result.opted_out,
        no_answer=0 if result is None else result.no_answer,
        ordered_wh=round(asked / 3600),
        delivered_wh=round(got / 3600) if is_known else None,
        deficiency_wh=round(lacked / 3600) if is_known else None,
        uncertainty_wh=None if uncertainty is None else round(uncertainty.half_width_wh),
        bias_wh=None if uncertainty is None else round(uncertainty.bias_wh),
        coverage=round(known / asked, 4) if asked else 0.0,
        intervals=tuple(intervals),
        vens=_rows(activation.id, vens) if rows else None,
        why_unknown=None if result is None else result.why_unknown,
        measurable_from=None if result is None else result.measurable_from,
        interval_s=step_s,
        spread=0 if result is None else result.spread,
        time_zone=rules.time_zone,
        unadjusted=sum(one.counts and one.baseline_note in _UNADJUSTED for one in vens),
    )


def _intervals(
    activation: Activation, result: Result | None, end: datetime, step_s: int, zone: ZoneInfo
) -> list[ReportInterval]:
    first = floor_to(activation.starts_at, step_s)
    grid = Grid(first, step_s, int((ceil_to(end, step_s) - first).total_seconds()) // step_s)
    ran = [it for it in activation.intervals if it.start < end]
    cut = [replace(it, duration_s=int((min(it.end, end) - it.start).total_seconds())) for it in ran]
    found = {it.start: it for it in result.intervals} if result else {}
    rows = []
    for number, asked in enumerate(grid.power_w(cut).tolist()):
        start, ordered = grid.at(number), round(asked)
        pool = found.get(start)
        got = _whole(pool.delivered_w) if pool else None
        rows.append(
            ReportInterval(
                start,
                step_s,
                ordered,
                _whole(pool.baseline_w) if pool else None,
                _whole(pool.actual_w) if pool else None,
                got,
                None if pool and got is None else max(ordered - max(got or 0, 0), 0),
                round(pool.coverage or 0.0, 4) if pool else 0.0,
                *period_of(start, step_s, zone),
            )
        )
    return rows


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _rows(activation_id: str, vens: Sequence[VenResult]) -> tuple[VenRow, ...]:
    """Return the VENs in an order that tells nothing, numbered."""

    def place(result: VenResult) -> str:
        return hashlib.sha256(f"{activation_id}/{result.ven_id}".encode()).hexdigest()

    return tuple(
        VenRow(f"home-{number}", one.opt, round(one.ordered_wh), _whole(one.delivered_wh) if one.counts else None)
        for number, one in enumerate(sorted(vens, key=place), start=1)
    )


# -- read


async def get(
    conn: Connection, activation_id: str, party_id: str | None = None, *, version: int | None = None
) -> ActivationReport:
    """Return the report of an activation (of a party), by default the newest version. Raises NotFoundError."""
    await activations.get(conn, activation_id, party_id)
    row = await _last(conn, activation_id, version)
    if row is None:
        raise NotFoundError(
            f"No report of activation '{activation_id}'" + (f", version {version}." if version else ".")
        )
    return _report(row)


async def result_version(conn: Connection, report: ActivationReport) -> int | None:
    """Return the version of the dispatch's result that a report was made from; None where nobody was called."""
    row = await _last(conn, report.activation_id, report.version)
    return row.evaluation_version or None


async def versions(conn: Connection, activation_id: str, party_id: str | None = None) -> list[ActivationReport]:
    """Return every version of a report, oldest first."""
    await activations.get(conn, activation_id, party_id)
    query = select(activation_report.c.report).where(activation_report.c.activation_id == activation_id)
    rows = (await conn.execute(query.order_by(activation_report.c.version))).scalars()
    return [from_json(ActivationReport, one) for one in rows]


def _report(row: Any) -> ActivationReport:
    return from_json(ActivationReport, row.report)


async def _last(conn: Connection, activation_id: str, version: int | None = None) -> Any:
    query = select(activation_report).where(activation_report.c.activation_id == activation_id)
    if version is not None:
        query = query.where(activation_report.c.version == version)
    return (await conn.execute(query.order_by(activation_report.c.version.desc()).limit(1))).one_or_none()


def to_csv(report: ActivationReport) -> str:
    """Return the intervals of a report as CSV (RFC 4180): a header, then one line an interval; empty: not known.

    Each line names the report that it is from, so that lines of several can be put together.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    names = (
        *("start", "duration_s", "ordered_w", "baseline_w", "actual_w", "delivered_w", "deficiency_w", "coverage"),
        *("number", "local_start"),
    )
    writer.writerow((*_REPORT_NAMES, *names))
    for one in report.intervals:
        row = [one.start.isoformat().replace("+00:00", "Z"), *(getattr(one, name) for name in names[1:])]
        writer.writerow(["" if it is None else it for it in (*_of_report(report), *row)])
    return text.getvalue()


_REPORT_NAMES: Final = ("activation_id", "version", "direction", "method")


def _of_report(report: ActivationReport) -> list[object]:
    return [getattr(report, name) for name in _REPORT_NAMES]


def to_vens_csv(report: ActivationReport) -> str:
    """Return the rows of single VENs as CSV; only the header where the report has none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*_REPORT_NAMES, "pseudonym", "opt", "ordered_wh", "delivered_wh"))
    for one in report.vens or ():
        row = (*_of_report(report), one.pseudonym, one.opt, one.ordered_wh, one.delivered_wh)
        writer.writerow(["" if it is None else it for it in row])
    return text.getvalue()
