"""What a dispatch brought, reckoned from its inputs: nothing here reads or stores."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np

from core.direction import Direction
from core.spans import Span
from metrics import earnings, gaming, learning
from metrics.days import DayMatrix, Floats, day_matrix, day_type, from_days, from_epoch_s
from metrics.gaming import Flag, LoadBefore
from metrics.method import Baseline, BaselineMethod, Calendar, NoBaselineError, NoBasisError
from metrics.participation import Answer, participation
from metrics.performance import delivered, performance
from openadr.model.opt import OptType
from vtn.services import precedence
from vtn.services.evaluation_inputs import VenInputs
from vtn.services.ordered_energy import names_power, ordered_between
from vtn.services.programme import Parameters, Spread

EDITION: Final = 6
"""Of what a result says; a new one makes a new version of a result even of the same readings."""
_NO_READINGS: Final = "Readings of the event are missing."
_LACKS: Final = "Lacks "
"""So begins the note of a baseline that rests on something that is not there."""
_OUTAGE: Final = "An outage touched the event."


@dataclass(frozen=True, slots=True)
class IntervalResult:
    """One settlement interval. Powers are means in W; positive target and delivered: as ordered; None: not known.

    `delivered_w`: what counts, 0 where nobody was to deliver. Of a dispatch, the target is what was ordered from all
    that were called, the rest are sums of the VENs that were to deliver here and count (None: of nobody is anything
    known), and `coverage` says of which share of those that were to deliver here the delivery is known (0 to 1; None:
    nobody was to).
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
    there are such in the event; None: there are none. `flags`: what looks odd about a VEN that took part, for somebody
    to look at (it changes no figure), and `before`: how its load before the event compares with that of like days;
    None: it did not take part, or that is not known.
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
    flags: tuple[Flag, ...] = ()
    before: LoadBefore | None = None


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


@dataclass(frozen=True, slots=True)
class VenRow:
    """What one VEN did, and what the sum of all asks besides: whether it took part, and was to answer."""

    result: VenResult
    answer: Answer
    took_part: bool
    need_not_answer: bool


def rows_of(
    inputs: Sequence[VenInputs], method: BaselineMethod, direction: Direction, rules: Parameters
) -> list[VenRow]:
    """Return what some VENs did. Takes CPU: use a thread."""
    return [_row(one, _ven_result(one, method, direction, rules)) for one in inputs]


def _row(ven: VenInputs, result: VenResult) -> VenRow:
    said = OptType.IN if ven.opt is None and ven.need_not_answer else ven.opt
    answer = Answer(said, _nan(result.latency_s), ratio=_nan(result.performance_ratio))
    return VenRow(result, answer, ven.took_part, ven.need_not_answer)


def result_of(
    vens: Sequence[VenRow], method: BaselineMethod, rules: Parameters, dispatch_id: str, now: datetime
) -> Result:
    """Return what a dispatch brought, as version 0. Takes CPU: use a thread."""
    rows = [one.result for one in vens]
    unknown = [row for row in rows if row.why_unknown is not None]
    counted = [row for row in rows if row.counts]
    took_part = [one.result for one in vens if one.took_part]
    intervals = _pool(rows, counted, took_part)
    figures = participation(one.answer for one in vens)
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
        response_rate=None if all(one.need_not_answer for one in vens) else _known(figures.response_rate),
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
    lacking = Counter(
        note.removeprefix(_LACKS)[:-1] for row in unknown if (note := row.baseline_note).startswith(_LACKS)
    )
    few = len(unknown) - late - dark - odd - lacking.total()
    parts = [
        f"{dark} had an outage" if dark else "",
        f"{late} {'lacks' if late == 1 else 'lack'} readings of the event" if late else "",
        *(f"{count} {'lacks' if count == 1 else 'lack'} {what}" for what, count in sorted(lacking.items())),
        f"{few} {'has' if few == 1 else 'have'} too few days for a baseline" if few else "",
        f"{odd} {'reports' if odd == 1 else 'report'} nothing that can be settled" if odd else "",
    ]
    text = f"Not known of {len(unknown)} of {len(rows)} VENs called: {', '.join(filter(None, parts))}."
    return f"{text} {gaps}".rstrip()


def _ven_result(ven: VenInputs, method: BaselineMethod, direction: Direction, rules: Parameters) -> VenResult:
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
    except NoBasisError as error:
        note, why = f"{_LACKS}{error.lacks}.", str(error)
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
    before = None if found is None else _before(ven, matrix, found, direction)
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
        flags=gaming.flags(before, direction),
        before=before,
    )


def _before(ven: VenInputs, matrix: DayMatrix, baseline: Baseline, direction: Direction) -> LoadBefore | None:
    """Return how the load of a VEN that took part, before its event, compares with that of like days."""
    if not ven.took_part or ven.had_outage:
        return None
    span = Span(ven.event.period.start, ven.event.period.end)
    return gaming.load_before(matrix, span, baseline, ven.calendar, notified_at=ven.sent_at, direction=direction)


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


def _intervals(
    baseline: Baseline | None, ven: VenInputs, direction: Direction, *, by_order: bool
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
    first = [
        next((it for it in ven.claims if it.span.overlaps(Span(start, start + step))), None) if ven.claims else None
        for start in starts
    ]
    free = np.array([one is None for one in first])
    earns = earnings.earning(asked, (starts_s + step_s <= left_s) & free, names_power=names_power(ordered))
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


def _by_order(baseline: Baseline, ven: VenInputs, direction: Direction) -> Floats:
    """Return what was used in the event's intervals if long readings hold what they delivered where it was ordered."""
    step = timedelta(seconds=baseline.step_s)
    starts = [from_epoch_s(start_s) for start_s in baseline.starts_s]
    asked = ordered_between(ven.event, [*starts, starts[-1] + step], direction)
    weights = asked if names_power(ven.event) else baseline.overlap_s
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
        return IntervalResult(
            start,
            ones[0].duration_s,
            math.fsum(one.target_w or 0.0 for one in ones),
            math.fsum(one.baseline_w or 0.0 for one in here) if here else None,
            math.fsum(one.actual_w or 0.0 for one in here) if here else None,
            math.fsum(one.delivered_w or 0.0 for one in here) if here else None if flags else 0.0,
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
