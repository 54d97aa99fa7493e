"""A dispatch's result beyond the stored evaluation: its versions, and how a baseline came about."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from core.errors import InvalidError, NotFoundError
from core.spans import Span
from metrics.days import day_matrix
from metrics.method import AdjustmentStatus, DayUse, NoBaselineError
from metrics.presets import PRESETS
from vtn.services import day_calendar, dispatch, load_profile, programme
from vtn.services import event as events
from vtn.services.evaluation_result import Result, VenResult
from vtn.services.ordered_energy import as_run
from vtn.store.database import Connection
from vtn.store.tables import delivery, event
from vtn.store.tables import evaluation as evaluation_table


@dataclass(frozen=True, slots=True)
class Version:
    """A stored evaluation without its figures."""

    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure that differs between two versions, as text."""

    what: str
    before: float | None
    after: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Workings:
    """How one VEN's baseline came about: every day looked at, and the same-day adjustment (W).

    `why_not`: why there is none; then nothing else but the days is known.
    """

    days: tuple[DayUse, ...]
    why_not: str | None
    status: AdjustmentStatus | None
    factor: float
    shift_w: float
    windows: tuple[Span, ...]
    citation: str
    rule: str


async def versions(conn: Connection, dispatch_id: str) -> list[Version]:
    """Return the evaluations of a dispatch, newest first."""
    query = select(evaluation_table.c.version, evaluation_table.c.created_at).where(
        evaluation_table.c.dispatch_id == dispatch_id
    )
    rows = await conn.execute(query.order_by(evaluation_table.c.version.desc()))
    return [Version(row.version, row.created_at) for row in rows]


_SUMS = (
    ("Ordered energy", "ordered_wh", "Wh"),
    ("Delivered energy", "delivered_wh", "Wh"),
    ("Performance", "performance_ratio", ""),
    ("Capped performance", "capped_ratio", ""),
    ("Participation", "participation_rate", ""),
    ("Opt-outs", "opt_out_rate", ""),
    ("Answers", "response_rate", ""),
)


def differences(before: Result, after: Result) -> tuple[list[Difference], list[tuple[VenResult | None, VenResult]]]:
    """Return the sums that differ, and the VENs of which delivery, days or baseline do: before (or None) and after."""
    sums = [
        Difference(label, getattr(before, name), getattr(after, name), unit)
        for label, name, unit in _SUMS
        if getattr(before, name) != getattr(after, name)
    ]
    old = {one.ven_id: one for one in before.vens}
    vens = [(old.get(one.ven_id), one) for one in after.vens if _facts(old.get(one.ven_id)) != _facts(one)]
    return sums, vens


def _facts(result: VenResult | None) -> tuple[object, ...] | None:
    if result is None:
        return None
    return (result.opt, result.counts, result.ordered_wh, result.delivered_wh, result.days_used, result.baseline_note)


async def workings(conn: Connection, dispatch_id: str, ven_id: str) -> Workings:
    """Return how a VEN's baseline comes about with the readings of now. Raises NotFoundError, InvalidError."""
    whole = await dispatch.get(conn, dispatch_id)
    rules = await programme.get(conn, whole.programme_id, whole.programme_version)
    method = PRESETS.get(rules.parameters.baseline)
    if method is None:
        raise InvalidError(f"Unknown baseline '{rules.parameters.baseline}'.")
    ordered = dict(await events.of_dispatch(conn, dispatch_id)).get(ven_id)
    if ordered is None:
        raise NotFoundError("This VEN has no event of this dispatch.")
    row = (await conn.execute(select(event.c.cancelled_at).where(event.c.id == ordered.event_id))).one()
    ran = as_run(ordered, row.cancelled_at)
    if ran is None or ran.period.end is None:
        raise NotFoundError("This VEN's event was cancelled before it began, or has no end yet.")
    span = Span(ran.period.start, ran.period.end)
    since = span.start - timedelta(days=method.lookback_days + 2)
    step_s = rules.parameters.interval_s
    readings = await load_profile.energy(
        conn, ven_id, int(since.timestamp()), int(ran.period.end.timestamp()) + max(step_s, method.reach_s), step_s
    )
    seen = Span(since, ran.period.end + timedelta(seconds=method.reach_s))
    calendars = await day_calendar.of_each(conn, rules, [ven_id], dispatch_id, seen)
    sent = select(func.min(delivery.c.first_sent_at)).where(delivery.c.event_id == ordered.event_id)
    sent_at = (await conn.execute(sent)).scalar_one_or_none()
    matrix = day_matrix(readings, rules.parameters.time_zone)
    name = f"{method.id}/{method.version}"
    try:
        found = method.baseline(matrix, span, calendars[ven_id], notified_at=sent_at)
    except NoBaselineError as error:
        return Workings(error.days, str(error), None, 1.0, 0.0, (), method.citation, name)
    change = found.adjustment
    return Workings(found.days, None, found.status, change.factor, change.shift, found.windows, method.citation, name)
