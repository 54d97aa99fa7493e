"""What a dispatch brought: baseline, delivered energy, performance and opts, per VEN and in all (FN-DR-10..12).

An evaluation is a row with a version: it names its method and the hash of its inputs, and is never overwritten.
"""

import asyncio
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import numpy as np
from sqlalchemy import Select, func, insert, select

from core.direction import Direction
from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration, Span, ceil_to, floor_to
from metrics import credit as earnings
from metrics import learning
from metrics.days import Floats, Ints, Series, day_matrix, day_type, from_days, from_epoch_s
from metrics.method import Baseline, BaselineMethod, Calendar, NoBaselineError
from metrics.overlap import overlap
from metrics.participation import Answer, participation
from metrics.performance import delivered, performance
from metrics.presets import PRESETS
from openadr.model.event import Event, ResponseRequired
from openadr.model.opt import OptType
from vtn.services import credit, day_calendar, load_profile, opt, precedence, programme, settlement_series
from vtn.services import dispatch as dispatches
from vtn.services import event as events
from vtn.services.credit import Claim
from vtn.services.dispatch import Dispatch
from vtn.services.programme import Parameters, Programme, Spread
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import from_json, portions, to_json
from vtn.store.tables import delivery, evaluation, event, ven
from vtn.store.tables import dispatch as dispatch_table

_NO_READINGS = "Readings of the event are missing."
_OUTAGE = "An outage touched the event."
_EDITION = 4
"""Of what a result says; a new one makes a new version of a result even of the same readings."""
_LONGEST_S: Final = 86_400
"""How long a reading may be."""
_BY_HAND: Final = frozenset({"readings", "ranks", "calendar"})
_TICK: Final = timedelta(microseconds=1)
_TICKS_A_SECOND: Final = 1e6


@dataclass(frozen=True, slots=True)
class IntervalResult:
    """One settlement interval. Powers are means in W; positive target and delivered: as ordered; None: not known.

    `delivered_w`: what counts, 0 where nothing was ordered. Of a dispatch, the target is what was ordered from all
    that were called, the rest are sums of the VENs that were to deliver here and count, and `coverage` says of which
    share of those that were to deliver here the delivery is known (0 to 1; None: of nobody was anything ordered).
    `credited_to`: the dispatch that goes before this one here (`vtn.services.credit`); then nothing was to be delivered
    to this one. `source`: who says what was used (`vtn.services.precedence`).
    """

    start: datetime
    duration_s: int
    target_w: float | None
    baseline_w: float | None
    actual_w: float | None
    delivered_w: float | None
    coverage: float | None = None
    credited_to: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class VenResult:
    """What one VEN did. `counts` says whether it belongs to the sum: it took part and some of its delivery is known.

    A VEN took part if it opted in, or was not to answer and did not opt out; one that opted out later, until then.
    `delivered_wh`: 0 where nothing is credited, since it opted out or never opted in; None: not known, and
    `why_unknown` says why. `coverage`: share of its intervals with an order whose delivery is known, 0 to 1.
    `measurable_from`: the local date from which, by and large, events like this one can be measured, where it has too
    few days for a baseline so far. `spread`: how readings longer than the interval count (`programme.Spread`), where
    there are such in the event; None: there are none.
    """

    ven_id: str
    ven_name: str
    event_id: str
    opt: str | None
    reason: str | None
    counts: bool
    ordered_wh: float
    delivered_wh: float | None
    performance_ratio: float | None
    latency_s: float | None
    baseline_note: str
    days_used: tuple[str, ...]
    intervals: tuple[IntervalResult, ...]
    why_unknown: str | None = None
    measurable_from: str | None = None
    coverage: float | None = None
    spread: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a dispatch brought. What was delivered is that of the VENs that count, what was ordered that of all called.

    The ratios are over all that was ordered. `coverage`: share of the intervals of those that took part whose delivery
    is known, 0 to 1; the others earn nothing. `unknown`: VENs that did not opt out and of whose delivery nothing is
    known. `delivered_wh`: None where that is so of all that could count; `why_unknown` and `measurable_from` are as of
    VenResult, for all of them. `interval_s`: the length of the intervals. `spread`: of how many VENs that count the
    readings are longer than that. `final_at`: since when it is frozen (`vtn.services.result_due`).
    """

    dispatch_id: str
    version: int
    method: str
    computed_at: datetime
    ordered_wh: float
    delivered_wh: float | None
    performance_ratio: float | None
    capped_ratio: float | None
    participation_rate: float | None
    opt_out_rate: float | None
    response_rate: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    called: int
    opted_in: int
    opted_out: int
    no_answer: int
    intervals: tuple[IntervalResult, ...]
    vens: tuple[VenResult, ...]
    unknown: int = 0
    why_unknown: str | None = None
    measurable_from: str | None = None
    interval_s: int = 1800
    coverage: float | None = None
    spread: int = 0
    final_at: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """Everything that the evaluation of one VEN needs."""

    ven_id: str
    name: str
    event: Event
    opt: OptType | None
    reason: str | None
    left_at: datetime | None
    readings: Series
    ranks: Ints
    calendar: Calendar
    claims: tuple[Claim, ...]
    queued_at: datetime | None
    sent_at: datetime | None
    answered_at: datetime | None
    long_s: tuple[tuple[int, int], ...] = ()
    """Starts and ends of the event's readings that are longer than an interval, seconds since 1970."""
    unsettled: str | None = None
    """Why none of its series is settled, though it reports."""

    @property
    def need_not_answer(self) -> bool:
        """Whether no answer is wanted: who says nothing takes part."""
        return self.event.response_required is ResponseRequired.NEVER

    @property
    def took_part(self) -> bool:
        """Whether it took part, to the end or until it left."""
        if self.opt is None:
            return self.need_not_answer
        return self.opt is OptType.IN or self.left_at is not None

    @property
    def had_outage(self) -> bool:
        """Whether an outage touched its event."""
        period = self.event.period
        return any(Span(period.start, period.end).overlaps(one) for one in self.calendar.outages)


@dataclass(frozen=True, slots=True)
class Computed:
    """A result that is not stored yet, and what it was made from. Its version is that of no stored one."""

    result: Result
    method: BaselineMethod
    input_hash: str


async def evaluate(db: Database, dispatch_id: str, now: datetime) -> Result:
    """Evaluate a dispatch with the data that is there now, store it and return it. Raises like `compute`."""
    found = await compute(db, dispatch_id, now)
    async with db.write() as tx:
        return await keep(tx, found, now)


async def compute(db: Database, dispatch_id: str, now: datetime) -> Computed:
    """Evaluate a dispatch with the data that is there now. Nobody waits for it: it holds no lock, and takes a thread.

    An event that was cancelled while it ran counts until then; one that was cancelled before it began was not called.
    A result that is final is returned as it is stored. Raises ConflictError before the event is over and for a dispatch
    that never began, InvalidError for an open-ended event.
    """
    async with db.read() as conn:
        whole = await dispatches.get(conn, dispatch_id)
        end = min(filter(None, (whole.shared.period.end, whole.cancelled_at)), default=None)
        if end is None:
            raise InvalidError("An open-ended event has no result before it is cancelled.")
        if end <= whole.shared.period.start:
            raise ConflictError("This dispatch was cancelled before it began; there is nothing to evaluate.")
        if now < end:
            raise ConflictError(f"The event lasts until {end.isoformat()}.")
        rules = await programme.get(conn, whole.programme_id, whole.programme_version)
        method = PRESETS.get(rules.parameters.baseline)
        if method is None:
            raise InvalidError(f"Unknown baseline '{rules.parameters.baseline}'; known: {', '.join(PRESETS)}.")
        frozen = None if await final_at(conn, dispatch_id) is None else await _newest(conn, dispatch_id)
        if frozen is not None:
            return Computed(from_json(Result, frozen.result), method, frozen.input_hash)
        inputs = await _inputs(conn, whole, method, rules)
    direction = Direction(whole.direction or Direction.REDUCE)

    def work() -> Computed:
        result = _result(inputs, method, direction, rules.parameters, dispatch_id, now)
        return Computed(result, method, _hash(inputs, method))

    return await asyncio.to_thread(work)


async def keep(tx: Transaction, computed: Computed, now: datetime) -> Result:
    """Store a result as the newest version and return it; of the same data, return the version that is there."""
    dispatch_id = computed.result.dispatch_id
    await dispatches.get(tx.conn, dispatch_id, lock=True)
    last = await _newest(tx.conn, dispatch_id)
    if last is not None and (
        last.input_hash == computed.input_hash or await final_at(tx.conn, dispatch_id) is not None
    ):  # of the same data; or it became final while this one was computed
        return from_json(Result, last.result)
    result = replace(computed.result, version=1 if last is None else last.version + 1)
    method = computed.method
    await tx.conn.execute(
        insert(evaluation).values(
            dispatch_id=dispatch_id,
            version=result.version,
            method={"id": method.id, "version": method.version, "citation": method.citation},
            result=to_json(result),
            input_hash=computed.input_hash,
            created_at=now,
        )
    )
    return result


async def stored(conn: Connection, dispatch_id: str, version: int | None = None) -> Result:
    """Return a stored evaluation, by default the newest. Raises NotFoundError."""
    newest = await _newest(conn, dispatch_id)
    row = newest
    if version is not None and newest is not None and newest.version != version:
        where = (evaluation.c.dispatch_id == dispatch_id) & (evaluation.c.version == version)
        row = (await conn.execute(select(evaluation).where(where))).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no result of dispatch '{dispatch_id}' yet; it comes by itself after the end.")
    result = from_json(Result, row.result)
    return replace(result, final_at=await final_at(conn, dispatch_id)) if row is newest else result


async def final_at(conn: Connection, dispatch_id: str) -> datetime | None:
    """Return since when the result of a dispatch is frozen; None: new data changes it."""
    query = select(dispatch_table.c.result_final_at).where(dispatch_table.c.id == dispatch_id)
    return (await conn.execute(query)).scalar_one_or_none()


async def _newest(conn: Connection, dispatch_id: str) -> Any:
    query = select(evaluation).where(evaluation.c.dispatch_id == dispatch_id).order_by(evaluation.c.version.desc())
    return (await conn.execute(query.limit(1))).first()


async def _inputs(conn: Connection, dispatch: Dispatch, method: BaselineMethod, rules: Programme) -> list[_Inputs]:
    step_s, by_order = rules.parameters.interval_s, rules.parameters.spread is Spread.BY_ORDER
    said = await opt.effective(conn, dispatch.id)
    left = await opt.left(conn, dispatch.id, dispatch.shared)
    ran: list[tuple[Any, Event]] = []
    async for rows in portions(conn, _called(dispatch.id)):
        ran += await asyncio.to_thread(_ran, dispatch.shared, rows)
    period, lookback = dispatch.shared.period, timedelta(days=method.lookback_days + 2)
    ven_ids = [row.ven_id for row, _ in ran]
    touched = Span(floor_to(period.start, step_s), None if period.end is None else ceil_to(period.end, step_s))
    after_s = max(_LONGEST_S if by_order else step_s, method.reach_s)
    reach = timedelta(seconds=method.reach_s)  # what comes later changes no baseline
    history = Span(period.start - lookback, None if touched.end is None else touched.end + reach)
    calendars = await day_calendar.of_each(conn, rules, ven_ids, dispatch.id, history)
    busy = [ven_id for ven_id, days in calendars.items() if any(touched.overlaps(one) for one in days.events)]
    claims = await credit.of_each(conn, dispatch.id, busy, touched, step_s) if busy else {}
    spans = {
        row.ven_id: (
            int((one.period.start - lookback).timestamp()),
            int((one.period.end or one.period.start).timestamp()) + after_s,
        )
        for row, one in ran
    }
    metered = await load_profile.metered_of_each(conn, spans, step_s)
    long_s = {row.ven_id: _touching(metered[row.ven_id].long_s, one) for row, one in ran}
    ends_s = {
        ven_id: max(_end_s(one) + max(step_s, method.reach_s), *(end for _, end in long_s[ven_id]), 0)
        for ven_id, one in ((row.ven_id, one) for row, one in ran)
    }
    readings = {ven_id: _until(one.series, ends_s[ven_id]) for ven_id, one in metered.items()}
    blank = [ven_id for ven_id, one in readings.items() if not np.isfinite(one.energy_wh).any()]
    bases = await settlement_series.of(conn, blank) if blank else {}
    unsettled = {ven_id: " ".join(basis.notes) for ven_id, basis in bases.items() if not basis.parts}
    return [
        _Inputs(
            row.ven_id,
            row.name,
            one,
            *said.get(row.ven_id, (None, None)),
            left.get(row.ven_id),
            readings[row.ven_id],
            metered[row.ven_id].ranks[: readings[row.ven_id].starts_s.size],
            calendars[row.ven_id],
            claims.get(row.ven_id, ()),
            row.queued_at,
            row.first_sent_at,
            row.answered_at,
            long_s[row.ven_id],
            unsettled.get(row.ven_id) or None,
        )
        for row, one in ran
    ]


def _end_s(ordered: Event) -> int:
    return math.ceil((ordered.period.end or ordered.period.start).timestamp())


def _touching(spans_s: Ints, ordered: Event) -> tuple[tuple[int, int], ...]:
    """Return those of some spans (k, 2) that share time with an event."""
    start_s, end_s = ordered.period.start.timestamp(), _end_s(ordered)
    return tuple((first, last) for first, last in spans_s.tolist() if first < end_s and last > start_s)


def _until(readings: Series, end_s: int) -> Series:
    """Return a series without what begins later: that changes no result, and makes no version."""
    count = int(np.searchsorted(readings.starts_s, end_s))
    return Series(readings.starts_s[:count], readings.energy_wh[:count], readings.step_s)


def _called(dispatch_id: str) -> Select[Any]:
    """Query the events of a dispatch, each with its VEN's name and when it was first queued, sent and answered."""
    first = (func.min(delivery.c[name]).label(name) for name in ("queued_at", "first_sent_at", "answered_at"))
    return (
        select(*events.COLUMNS, ven.c.name, *first)
        .select_from(event.join(ven).outerjoin(delivery, delivery.c.event_id == event.c.id))
        .where(event.c.dispatch_id == dispatch_id)
        .group_by(event.c.id, ven.c.id)
        .order_by(event.c.ven_id)
    )


def _ran(shared: Event, rows: Sequence[Any]) -> list[tuple[Any, Event]]:
    """Return the events that began, each with its row."""
    ordered = ((row, as_run(events.assemble(shared, row, ven_id=row.ven_id), row.cancelled_at)) for row in rows)
    return [(row, one) for row, one in ordered if one is not None]


def as_run(ordered: Event, cancelled_at: datetime | None) -> Event | None:
    """Return the event as far as it ran, in whole seconds: cut off at its cancellation; None: it did not run.

    What ran for less than a second did not run: a length of nothing would mean that it has no end (EV-66).
    """
    period = ordered.period
    if cancelled_at is None or (period.end is not None and period.end <= cancelled_at):
        return ordered
    ran_s = math.floor((cancelled_at - period.start).total_seconds())
    if ran_s <= 0:
        return None
    cancelled_at = period.start + timedelta(seconds=ran_s)
    signals = []
    for signal in ordered.signals:
        edge, intervals = period.start, []
        for interval in signal.intervals:
            after = interval.duration.after(edge) if interval.duration else cancelled_at
            if edge < cancelled_at:
                intervals.append(replace(interval, duration=Duration.between(edge, min(after, cancelled_at))))
            edge = after
        signals.append(replace(signal, intervals=tuple(intervals)))
    ran = replace(period, duration=Duration.between(period.start, cancelled_at))
    return replace(ordered, period=ran, signals=tuple(signals))


def _hash(inputs: Sequence[_Inputs], method: BaselineMethod) -> str:
    digest = hashlib.sha256(repr((_EDITION, method)).encode())
    for one in inputs:
        digest.update(repr([getattr(one, name.name) for name in fields(one) if name.name not in _BY_HAND]).encode())
        days = one.calendar
        digest.update(repr((days.events, days.outages, sorted(days.holidays))).encode())  # a set has no order
        digest.update(one.readings.energy_wh.tobytes())
        digest.update(one.ranks.tobytes())
    return digest.hexdigest()


def _result(
    inputs: Sequence[_Inputs],
    method: BaselineMethod,
    direction: Direction,
    rules: Parameters,
    dispatch_id: str,
    now: datetime,
) -> Result:
    rows = [_ven_result(one, method, direction, rules) for one in inputs]
    unknown = [row for row in rows if row.why_unknown is not None]
    counted = [row for row in rows if row.counts]
    took_part = [row for one, row in zip(inputs, rows, strict=True) if one.took_part]
    intervals = _pool(rows, counted, took_part)
    figures = participation(
        Answer(
            OptType.IN if one.opt is None and one.need_not_answer else one.opt,
            _nan(row.latency_s),
            ratio=_nan(row.performance_ratio),
        )
        for one, row in zip(inputs, rows, strict=True)
    )
    known = not unknown or bool(counted)
    got = np.array([_nan(one.delivered_w) * one.duration_s / 3600 for one in intervals])
    asked = np.array([(one.target_w or 0.0) * one.duration_s / 3600 for one in intervals])
    figure = performance(got, asked) if known and asked.any() and (asked >= 0).all() else None
    expected, heard = _coverage(took_part)
    return Result(
        dispatch_id=dispatch_id,
        version=0,
        method=f"{method.id}/{method.version}",
        computed_at=now,
        ordered_wh=math.fsum(row.ordered_wh for row in rows),
        delivered_wh=math.fsum(row.delivered_wh or 0.0 for row in rows) if known else None,
        performance_ratio=_known(figure.ratio) if figure else None,
        capped_ratio=_known(figure.capped_ratio) if figure else None,
        participation_rate=_known(figures.participation_rate),
        opt_out_rate=_known(figures.opt_out_rate),
        response_rate=None if all(one.need_not_answer for one in inputs) else _known(figures.response_rate),
        latency_p50_s=_known(figures.latency_p50_s),
        latency_p95_s=_known(figures.latency_p95_s),
        called=figures.called,
        opted_in=figures.opted_in,
        opted_out=figures.opted_out,
        no_answer=figures.no_answer,
        intervals=intervals,
        vens=tuple(rows),
        unknown=len(unknown),
        why_unknown=_why_unknown(rows, unknown, counted),
        measurable_from=max((row.measurable_from for row in unknown if row.measurable_from), default=None),
        interval_s=rules.interval_s,
        coverage=heard / expected if expected else None,
        spread=sum(row.spread is not None for row in counted),
    )


def _coverage(rows: Sequence[VenResult]) -> tuple[int, int]:
    """Return how many intervals VENs were to deliver in, and of how many of them the delivery is known."""
    flags = [one.coverage for row in rows for one in row.intervals if one.coverage is not None]
    return len(flags), sum(flag > 0 for flag in flags)


def _why_unknown(rows: Sequence[VenResult], unknown: Sequence[VenResult], counted: Sequence[VenResult]) -> str | None:
    """Return in sentences of which VENs and intervals the delivery is not known, and why."""
    expected, heard = _coverage(counted)
    gaps = ""
    if heard < expected:
        gaps = f"{expected - heard} of {expected} intervals of the VENs that count are not known, and earn nothing."
    if not unknown:
        return gaps or None
    late = sum(row.baseline_note == _NO_READINGS for row in unknown)
    dark = sum(row.baseline_note == _OUTAGE for row in unknown)
    odd = sum(row.baseline_note == row.why_unknown for row in unknown)
    few = len(unknown) - late - dark - odd
    parts = [
        f"{dark} had an outage" if dark else "",
        f"{late} {'lacks' if late == 1 else 'lack'} readings of the event" if late else "",
        f"{few} {'has' if few == 1 else 'have'} too few days for a baseline" if few else "",
        f"{odd} {'reports' if odd == 1 else 'report'} nothing that can be settled" if odd else "",
    ]
    text = f"Not known of {len(unknown)} of {len(rows)} VENs called: {', '.join(filter(None, parts))}."
    return f"{text} {gaps}".rstrip()


def _ven_result(ven: _Inputs, method: BaselineMethod, direction: Direction, rules: Parameters) -> VenResult:
    period = ven.event.period
    span = Span(period.start, period.end)
    days: tuple[str, ...] = ()
    why, ready = None, None
    matrix = day_matrix(ven.readings, rules.time_zone)
    found = None
    by_order = bool(ven.long_s) and rules.spread is Spread.BY_ORDER
    try:
        show = _shown(span, ven.long_s) if by_order else None
        found = method.baseline(matrix, span, ven.calendar, notified_at=ven.sent_at, show=show)
    except NoBaselineError as error:
        note = why = ven.unsettled or str(error)
        if ven.unsettled is None and learning.eligible(error.days) < method.min_days:
            why, ready = _too_few(error, method, matrix.local_day(span.start), ven.calendar)
        elif ven.unsettled is None:  # its own day lacks what the method looks at
            note = _NO_READINGS
    else:
        note = found.status.value
        days = tuple(use.day.isoformat() for use in found.days if use.verdict == "kept")
    intervals, got, share = _intervals(found, ven, direction, by_order=by_order)
    if ven.had_outage:
        got, note, why, ready = math.nan, _OUTAGE, f"{_OUTAGE} What it did not use then was not saved.", None
    elif found is not None and not math.isfinite(got):
        note, why = _NO_READINGS, f"{_NO_READINGS} It is computed as soon as they come in."
    asked = float(ordered_between(ven.event, (period.start, period.end or period.start), direction)[0])
    counts = ven.took_part and why is None and math.isfinite(got) and (ven.left_at is None or math.isfinite(share))
    latency = (ven.answered_at - ven.queued_at).total_seconds() if ven.answered_at and ven.queued_at else None
    if ven.opt is OptType.OUT and not ven.took_part:
        why, ready = None, None
    return VenResult(
        ven_id=ven.ven_id,
        ven_name=ven.name,
        event_id=ven.event.event_id,
        opt=ven.opt,
        reason=ven.reason,
        counts=counts,
        ordered_wh=asked,
        delivered_wh=None if why else got if counts else 0.0,
        performance_ratio=got / asked if asked and math.isfinite(got) else None,
        latency_s=latency,
        baseline_note=note,
        days_used=days,
        intervals=intervals,
        why_unknown=why,
        measurable_from=ready.isoformat() if ready else None,
        coverage=_known(share),
        spread=rules.spread.value if ven.long_s else None,
    )


def _shown(span: Span, long_s: Sequence[tuple[int, int]]) -> Span:
    """Return the event's span with the long readings that it shares time with."""
    starts, ends = zip(*((from_epoch_s(first), from_epoch_s(last)) for first, last in long_s), strict=True)
    return Span(min(span.start, *starts), max(span.end or span.start, *ends))


def _too_few(error: NoBaselineError, method: BaselineMethod, today: int, days: Calendar) -> tuple[str, date | None]:
    """Return why there is no baseline, and the local date from which there will be one."""
    have = learning.eligible(error.days)
    kind = day_type(from_days(today), days.holidays)
    ready = learning.ready_on(method, have, today + 1, kind, days.holidays)  # today is an event day
    text = f"{method.id} needs {method.min_days} days like this one without events before it, and there"
    return f"{text} {'is' if have == 1 else 'are'} {have}.", ready


def ordered_between(ordered: Event, edges: Sequence[datetime], direction: Direction) -> Floats:
    """Return the energy (Wh, positive = as ordered) that an event orders between each two of the edges (T + 1), (T,).

    0 if no signal names a power. The edges ascend. LOAD_DISPATCH/delta is the change of consumption:
    negative for `reduce`.
    """
    total = np.zeros(len(edges) - 1)
    for signal in ordered.signals:
        if (signal.name, signal.type) != ("LOAD_DISPATCH", "delta") or signal.item_base is None:
            continue
        durations = tuple(interval.duration for interval in signal.intervals)
        for place, shared_s in _shared_s(ordered.period.start, durations, tuple(edges)):
            total += signal.intervals[place].value * signal.item_base.factor * shared_s / 3600
        break
    return -total if direction is Direction.REDUCE else total


@lru_cache(maxsize=8)  # the VENs of a dispatch mostly differ in their values alone
def _shared_s(
    start: datetime, durations: tuple[Duration, ...], edges: tuple[datetime, ...]
) -> list[tuple[int, Floats]]:
    """Return which of the intervals in a row lie between the edges (T + 1), and how long (s) between each two, (T,)."""
    times = [start]
    for duration in durations:
        times.append(duration.after(times[-1]) if duration else max(times[-1], edges[-1]))  # EV-66
    begin, cell = _ticks(start, times), _ticks(start, edges)
    shared_s = overlap(begin[:-1, None], begin[1:, None], cell[:-1], cell[1:]) / _TICKS_A_SECOND
    return [(place, shared_s[place]) for place in np.flatnonzero(shared_s.any(axis=1)).tolist()]


def _ticks(since: datetime, times: Sequence[datetime]) -> Ints:
    """Return microseconds since a time: whole numbers, of which differences are exact."""
    return np.array([(when - since) // _TICK for when in times], np.int64)


def _names_power(ordered: Event) -> bool:
    """Tell whether an event says how much: whether `ordered_between` goes by one of its signals."""
    return any(
        (signal.name, signal.type) == ("LOAD_DISPATCH", "delta") and signal.item_base is not None
        for signal in ordered.signals
    )


def _intervals(
    baseline: Baseline | None, ven: _Inputs, direction: Direction, *, by_order: bool
) -> tuple[tuple[IntervalResult, ...], float, float]:
    """Return the event's intervals, the energy that counts (Wh, NaN: nothing is known), and its coverage.

    Nothing can be earned in those that are credited to another dispatch, and of an outage's nothing is known.
    """
    ordered, step_s = ven.event, ven.readings.step_s
    period = ordered.period
    starts_s = ven.readings.grid(period.start.timestamp(), (period.end or period.start).timestamp())
    usual = actual = np.full(starts_s.shape, np.nan)
    if baseline is not None:
        usual, actual = baseline.baseline_wh[baseline.in_event], baseline.actual_wh[baseline.in_event]
    step, to_w = timedelta(seconds=step_s), 3600 / step_s
    starts = [from_epoch_s(start_s) for start_s in starts_s]
    asked = ordered_between(ordered, [*starts, starts[-1] + step], direction)
    left_s = math.inf if ven.left_at is None else ven.left_at.timestamp()
    first = [next((it for it in ven.claims if it.span.overlaps(Span(start, start + step))), None) for start in starts]
    free = np.array([one is None for one in first])
    earns = earnings.earning(asked, (starts_s + step_s <= left_s) & free, names_power=_names_power(ordered))
    if baseline is not None and by_order:
        actual = _by_order(baseline, ven, direction)
    saved = np.full(starts_s.shape, np.nan) if ven.had_outage else delivered(usual, actual, direction)
    got = earnings.credited(saved, earns)
    sources = [precedence.word(rank) for rank in ven.ranks[np.searchsorted(ven.readings.starts_s, starts_s)].tolist()]
    rows = tuple(
        IntervalResult(
            start,
            step_s,
            float(want * to_w),
            _known(float(base * to_w)),
            _known(float(used * to_w)),
            _known(float(gain * to_w)),
            float(math.isfinite(gain)) if due else None,
            None if claim is None else claim.dispatch_id,
            source,
        )
        for start, want, base, used, gain, due, claim, source in zip(
            starts, asked, usual, actual, got, earns, first, sources, strict=True
        )
    )
    return rows, earnings.total(got, earns), earnings.coverage(got, earns)


def _by_order(baseline: Baseline, ven: _Inputs, direction: Direction) -> Floats:
    """Return what was used in the event's intervals if long readings hold what they delivered where it was ordered."""
    step = timedelta(seconds=baseline.step_s)
    starts = [from_epoch_s(start_s) for start_s in baseline.starts_s]
    asked = ordered_between(ven.event, [*starts, starts[-1] + step], direction)
    weights = asked if _names_power(ven.event) else baseline.overlap_s
    got = delivered(baseline.baseline_wh, baseline.actual_wh, direction)
    spans_s = np.array(ven.long_s, np.int64).reshape(-1, 2)
    got = earnings.by_order(got, baseline.starts_s, baseline.step_s, weights, spans_s)
    actual = baseline.baseline_wh - (got if direction is Direction.REDUCE else -got)
    return actual[baseline.in_event]


def _pool(
    rows: Sequence[VenResult], counted: Sequence[VenResult], took_part: Sequence[VenResult]
) -> tuple[IntervalResult, ...]:
    """Return what was ordered from all, and the sums of those that count; not known where that is so of all of them."""
    asked, sums, due = _by_start(rows), _by_start(counted), _by_start(took_part)

    def pooled(start: datetime, ones: Sequence[IntervalResult]) -> IntervalResult:
        flags = [one.coverage for one in due.get(start, ()) if one.coverage is not None]
        here = [one for one in sums.get(start, ()) if one.coverage]
        heard = not flags or any(flags)
        return IntervalResult(
            start,
            ones[0].duration_s,
            math.fsum(one.target_w or 0.0 for one in ones),
            math.fsum(one.baseline_w or 0.0 for one in here) if heard else None,
            math.fsum(one.actual_w or 0.0 for one in here) if heard else None,
            math.fsum(one.delivered_w or 0.0 for one in here) if heard else None,
            math.fsum(flags) / len(flags) if flags else None,
        )

    return tuple(pooled(start, ones) for start, ones in sorted(asked.items()))


def _by_start(rows: Sequence[VenResult]) -> dict[datetime, list[IntervalResult]]:
    found: dict[datetime, list[IntervalResult]] = {}
    for row in rows:
        for one in row.intervals:
            found.setdefault(one.start, []).append(one)
    return found


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
