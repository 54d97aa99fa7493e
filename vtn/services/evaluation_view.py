"""A dispatch's result beyond the stored evaluation: its versions, and how a baseline came about."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import func, select

from core.direction import Direction
from core.errors import InvalidError, NotFoundError
from core.spans import Span
from metrics.days import day_matrix
from metrics.gaming import LoadBefore, load_before
from metrics.method import AdjustmentStatus, DayUse, NoBaselineError
from metrics.presets import PRESETS
from openadr.model.event import Event
from vtn.services import (
    common_basis,
    day_calendar,
    dispatch,
    load_profile,
    opt,
    precedence,
    programme,
    settlement_series,
)
from vtn.services import event as events
from vtn.services.evaluation_result import Result, VenResult
from vtn.services.ordered_energy import as_run
from vtn.services.settlement_series import Basis
from vtn.store.database import Connection
from vtn.store.readings import SeriesKey
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
class SettledSeries:
    """A series that readings of a VEN are taken from; `sign` -1: it is taken off, as an export is."""

    number: int
    key: SeriesKey
    source: str
    sign: int


@dataclass(frozen=True, slots=True)
class Workings:
    """How one VEN's baseline came about: every day looked at, and the same-day adjustment (W).

    `why_not`: why there is none; then of the baseline nothing but the days is known. `usual_w` and `today_w`: the means
    in the `windows` that the adjustment was made from, of the days used and of the event's own; None without one.
    `celsius`: the mean outdoor temperature in the event, None where it is not known or nobody asks.
    `ordered`: the VEN's event as far as it ran. `notified_at`: when that first went out; `left_at`: when the VEN opted
    out of it after its start. `series`: what its readings are in, the source that goes before the others first.
    `before`: how its load before the event compares with that of like days, whether it took part or not; None: not
    known.
    """

    days: tuple[DayUse, ...]
    why_not: str | None
    status: AdjustmentStatus | None
    factor: float
    shift_w: float
    usual_w: float | None
    today_w: float | None
    windows: tuple[Span, ...]
    citation: str
    rule: str
    ordered: Event
    notified_at: datetime | None
    left_at: datetime | None
    series: tuple[SettledSeries, ...]
    celsius: float | None = None
    before: LoadBefore | None = None


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
    calendars = await day_calendar.of_each(conn, rules, [method], [ven_id], dispatch_id, seen)
    calendars = (await common_basis.of_dispatch(conn, rules, method, whole)).into(calendars)
    sent = select(func.min(delivery.c.first_sent_at)).where(delivery.c.event_id == ordered.event_id)
    sent_at = (await conn.execute(sent)).scalar_one_or_none()
    matrix = day_matrix(readings, rules.parameters.time_zone)
    basis = (await settlement_series.of(conn, [ven_id]))[ven_id]
    told = partial(
        Workings,
        citation=method.citation,
        rule=f"{method.id}/{method.version}",
        ordered=ran,
        notified_at=sent_at,
        left_at=(await opt.left(conn, dispatch_id, whole.shared)).get(ven_id),
        series=_series(basis),
    )
    try:
        found = method.baseline(matrix, span, calendars[ven_id], notified_at=sent_at)
    except NoBaselineError as error:
        return told(error.days, str(error), None, 1.0, 0.0, None, None, ())
    change = found.adjustment
    return told(
        found.days,
        None,
        found.status,
        change.factor,
        change.shift,
        None if math.isnan(change.baseline) else change.baseline,
        None if math.isnan(change.actual) else change.actual,
        found.windows,
        celsius=None if math.isnan(found.celsius) else found.celsius,
        before=load_before(
            matrix,
            span,
            found,
            calendars[ven_id],
            notified_at=sent_at,
            direction=Direction(whole.direction or Direction.REDUCE),
        ),
    )


def _series(basis: Basis) -> tuple[SettledSeries, ...]:
    return tuple(
        SettledSeries(number, part.key, precedence.WORDS[precedence.rank_of(part.key)], part.sign)
        for part in sorted(basis.everything, key=lambda part: precedence.rank_of(part.key))
        for number in part.numbers
    )
