"""How a dispatch goes at a moment, whoever ordered it, whatever it says.

Baseline and delivery are quick estimates by telemetry (`trade.telemetry`): the baseline is each VEN's usual power
before the start. What counts is the result (`vtn.services.evaluation`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np

from aggregator.flexibility.fleet import Floats
from aggregator.trade import activations, dispatch_changes, dispatch_timeline, telemetry
from aggregator.trade.activations import Activation
from aggregator.trade.dispatch_timeline import Line
from aggregator.trade.telemetry import Metered
from core.direction import Direction
from core.spans import floor_to
from openadr.model.event import Event, EventStatus, ResponseRequired, status_at
from openadr.model.opt import OptType
from openadr.model.signal import Signal
from vtn.services import dispatch, dispatch_view, programme
from vtn.services.dispatch import Dispatch
from vtn.services.dispatch_view import CalledVen
from vtn.services.ordered_energy import as_run, ordered_between
from vtn.services.programme import Programme
from vtn.store.database import Connection

_BEFORE_S: Final = 3600
_MINUTE_S: Final = 60
_CARRY: Final = 15
"""Minutes for which the last measured power of a VEN stands in: reports come in batches."""
_LEAST_KNOWN: Final = 0.5
_LONGEST_S: Final = 48 * 3600
"""Of a longer dispatch the newest part is followed."""
_UNKNOWN: Final = Metered(np.nan, np.zeros(0))


@dataclass(frozen=True, slots=True)
class Row:
    """One VEN of a dispatch. Powers are W of this moment; `delivered_w` positive = as ordered; None: not known.

    `ordered_w`: what is asked of it now, before the start in the first minute, after the end in the last one; 0 for one
    that opted out or was released.

    `latency_s`: from the order to its first answer; `sent_at`: when the present version first went out; `cancelled_at`:
    when it was released from a dispatch that went on.
    """

    ven_id: str
    name: str
    event_id: str
    modification_number: int
    opt: OptType | None
    reason: str | None
    queued_at: datetime | None
    sent_at: datetime | None
    answered_at: datetime | None
    latency_s: float | None
    ordered_w: float
    usual_w: float | None
    actual_w: float | None
    delivered_w: float | None
    last_seen_at: datetime | None
    cancelled_at: datetime | None
    answers: bool
    """Whether an answer is wanted."""

    @property
    def state(self) -> str:
        """Return one word for where it stands."""
        if self.cancelled_at is not None:
            return "released"
        if self.opt is OptType.OUT:
            return "opted out"
        if self.opt is OptType.IN:
            return "opted in"
        if self.sent_at is None:
            return "not sent yet"
        return "no answer" if self.answers else "no answer wanted"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many VENs there are of each kind; `called` includes those that were released."""

    called: int
    delivered_to: int
    opted_in: int
    opted_out: int
    no_answer: int
    released: int
    measured: int


@dataclass(frozen=True, slots=True)
class Trace:
    """Powers of the VENs that take part, minute by minute from an hour before the start, W; None: not known."""

    times: tuple[datetime, ...]
    usual_w: tuple[float | None, ...]
    actual_w: tuple[float | None, ...]
    target_times: tuple[datetime, ...]
    target_w: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How a dispatch goes. `target_w`: what is wanted now, None: a plain signal; `ordered_w`: sum of the rows."""

    at: datetime
    dispatch: Dispatch
    programme: Programme
    activation: Activation | None
    selection_id: str | None
    is_pool: bool
    status: EventStatus
    rows: tuple[Row, ...]
    counts: Counts
    target_w: float | None
    ordered_w: float
    delivered_w: float | None
    trace: Trace
    lines: tuple[Line, ...]

    @property
    def id(self) -> str:
        """The dispatch's id."""
        return self.dispatch.id

    @property
    def start(self) -> datetime:
        """When it starts."""
        return self.dispatch.shared.period.start

    @property
    def end(self) -> datetime | None:
        """When it ends, or ended by cancellation; None: open."""
        ends = [one for one in (self.dispatch.shared.period.end, self.dispatch.cancelled_at) if one is not None]
        return min(ends, default=None)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self.status in (EventStatus.COMPLETED, EventStatus.CANCELLED)

    @property
    def has_result(self) -> bool:
        """Whether it ran, so that there is something to evaluate."""
        return self.is_over and self.end is not None and self.end > self.start and self.end <= self.at

    @property
    def signal(self) -> Signal:
        """Its first signal."""
        return self.dispatch.shared.signals[0]


async def read(conn: Connection, dispatch_id: str, now: datetime) -> Progress:
    """Return a dispatch as it stands. Raises NotFoundError."""
    ordered = await dispatch.get(conn, dispatch_id)
    rules = await programme.get(conn, ordered.programme_id, ordered.programme_version)
    activation_id = await activations.of_dispatch(conn, dispatch_id)
    behind = await activations.get(conn, activation_id) if activation_id else None
    selection_id = await dispatch_changes.selection_of(conn, dispatch_id)
    status = EventStatus.CANCELLED if ordered.cancelled_at is not None else status_at(ordered.shared, now)
    called = await dispatch_view.vens(conn, dispatch_id)
    powers, first_s = await _powers(conn, ordered, [ven.ven_id for ven in called], now)
    surplus = await dispatch_changes.surplus(conn, selection_id) if selection_id else 1.0
    lines = await dispatch_timeline.lines(conn, dispatch_id, activation_id)

    def progress() -> Progress:
        rows = _rows(ordered, called, powers, now)
        target_times, target_w = _target(ordered, behind, called, rows, surplus, now)
        names = {one.ven_id: one.name for one in rows}
        staying = [one for one in rows if one.cancelled_at is None and one.opt is not OptType.OUT]
        delivered = [one.delivered_w for one in staying if one.delivered_w is not None]
        return Progress(
            at=now,
            dispatch=ordered,
            programme=rules,
            activation=behind,
            selection_id=selection_id,
            is_pool=dispatch_changes.is_pool(ordered),
            status=status,
            rows=rows,
            counts=_counts(rows),
            target_w=_now(target_times, target_w, now),
            ordered_w=sum(one.ordered_w for one in rows),
            delivered_w=sum(delivered) if delivered and now >= ordered.shared.period.start else None,
            trace=_trace(ordered, rows, powers, first_s, (target_times, target_w)),
            lines=tuple(replace(line, name=names.get(line.ven_id or "")) for line in lines),
        )

    return await asyncio.to_thread(progress)  # some tenths of a second for 10,000 VENs


# -- what VENs consume


async def _powers(
    conn: Connection, dispatch: Dispatch, ven_ids: Sequence[str], now: datetime
) -> tuple[dict[str, Metered], int]:
    """Return venID -> usual power, and those of each minute from an hour before the start until now (or its end)."""
    period = dispatch.shared.period
    start = floor_to(period.start, _MINUTE_S)
    ends = [one for one in (period.end, dispatch.cancelled_at, now) if one is not None]
    last_s = int(min(ends).timestamp())
    first_s = max(int(start.timestamp()) - _BEFORE_S, last_s - _LONGEST_S)
    cells = max((last_s - first_s) // _MINUTE_S, 0)
    if now < period.start or not ven_ids:
        return {}, first_s
    return await telemetry.metered(conn, ven_ids, dispatch.id, start, (first_s, cells)), first_s


def _carried(power_w: Floats) -> Floats:
    """Return the powers with gaps filled by the value before, for some minutes."""
    places = np.arange(power_w.size)
    last = np.maximum.accumulate(np.where(np.isfinite(power_w), places, -1)) if power_w.size else places
    near = (last >= 0) & (places - last <= _CARRY)
    return np.where(near, power_w[np.maximum(last, 0)], np.nan) if power_w.size else power_w


def _rows(
    dispatch: Dispatch, called: Sequence[CalledVen], powers: dict[str, Metered], now: datetime
) -> tuple[Row, ...]:
    direction = Direction(dispatch.direction or Direction.REDUCE)
    begun = now >= dispatch.shared.period.start
    sign = 1 if direction is Direction.REDUCE else -1
    rows = []
    for ven in called:
        power = powers.get(ven.ven_id, _UNKNOWN)
        usual, actual = power.usual_w if np.isfinite(power.usual_w) else None, _latest(power.minutes)
        running = begun and actual is not None and usual is not None and dispatch.direction is not None
        released_at = None if ven.cancelled_at == dispatch.cancelled_at else ven.cancelled_at
        stays = released_at is None and ven.opt is not OptType.OUT
        queued_at, answered_at = ven.first_queued_at, ven.first_answered_at
        rows.append(
            Row(
                ven_id=ven.ven_id,
                name=ven.name,
                event_id=ven.event.event_id,
                modification_number=ven.event.modification_number,
                opt=ven.opt,
                reason=ven.reason,
                queued_at=queued_at,
                sent_at=ven.sent_at,
                answered_at=answered_at,
                latency_s=(answered_at - queued_at).total_seconds() if queued_at and answered_at else None,
                ordered_w=_ordered_now(ven.event, now, direction) if stays else 0.0,
                usual_w=usual,
                actual_w=actual,
                delivered_w=sign * ((usual or 0.0) - (actual or 0.0)) if running else None,
                last_seen_at=ven.last_seen_at,
                cancelled_at=released_at,
                answers=ven.event.response_required is ResponseRequired.ALWAYS,
            )
        )
    return tuple(rows)


def _latest(power_w: Floats) -> float | None:
    known = _carried(power_w)[-1:]
    return float(known[0]) if known.size and np.isfinite(known[0]) else None


def _ordered_now(event: Event, now: datetime, direction: Direction) -> float:
    """Return the power (W) that a VEN's event orders in this minute; before it in its first, after it in its last."""
    minute = timedelta(seconds=_MINUTE_S)
    at = now if event.period.end is None else min(now, event.period.end - minute)
    at = max(at, event.period.start)
    return float(ordered_between(event, (at, at + minute), direction)[0]) * 3600 / _MINUTE_S


def _counts(rows: Sequence[Row]) -> Counts:
    here = [one for one in rows if one.cancelled_at is None]
    return Counts(
        called=len(rows),
        delivered_to=sum(one.sent_at is not None for one in rows),
        opted_in=sum(one.opt is OptType.IN for one in here),
        opted_out=sum(one.opt is OptType.OUT for one in here),
        no_answer=sum(one.opt is None and one.answers for one in here),
        released=len(rows) - len(here),
        measured=sum(one.actual_w is not None for one in here),
    )


# -- what is wanted


def _target(
    dispatch: Dispatch,
    behind: Activation | None,
    called: Sequence[CalledVen],
    rows: Sequence[Row],
    surplus: float,
    now: datetime,
) -> tuple[tuple[datetime, ...], tuple[float | None, ...]]:
    """Return what is wanted as steps: what a BRP ordered, or what the VENs were ordered, less the selection's surplus.

    A plain signal wants no power. An order without end is drawn up to now (EV-66).
    """
    if behind is not None:
        times = tuple(one.start for one in behind.intervals)
        return (*times, behind.ends_at), (*(float(one.power_w) for one in behind.intervals), None)
    if dispatch.direction is None or not called:
        return (), ()
    direction = Direction(dispatch.direction)
    released = {one.ven_id for one in rows if one.cancelled_at is not None}
    edges = [dispatch.shared.period.start]
    for interval in dispatch.shared.signals[0].intervals:
        ahead = max(dispatch.cancelled_at or now, edges[-1]) + timedelta(seconds=_MINUTE_S)
        edges.append(interval.duration.after(edges[-1]) if interval.duration else ahead)
    hours = np.array([(end - start).total_seconds() / 3600 for start, end in pairwise(edges)])
    sums = np.zeros(len(hours))
    for ven in called:
        ran = as_run(ven.event, None)
        if ran is None or ven.ven_id in released:
            continue
        sums += np.divide(ordered_between(ran, edges, direction), hours, out=np.zeros(len(hours)), where=hours > 0)
    if not sums.any():
        return (), ()
    return tuple(edges), (*(float(one) / surplus for one in sums), None)


def _now(times: Sequence[datetime], values: Sequence[float | None], now: datetime) -> float | None:
    """Return the step that holds now; before the first one that one, after the last one that one."""
    found = values[0] if values else None
    for when, value in zip(times, values, strict=True):
        if when <= now and value is not None:
            found = value
    return found


def _trace(
    dispatch: Dispatch,
    rows: Sequence[Row],
    powers: dict[str, Metered],
    first_s: int,
    target: tuple[tuple[datetime, ...], tuple[float | None, ...]],
) -> Trace:
    """Return the sums over the VENs that take part and whose usual power is known.

    A VEN that was not heard of for a while counts with its usual power: nothing is known of what it delivers.
    """
    counted = {one.ven_id: one.usual_w for one in rows if one.usual_w is not None and one.opt is not OptType.OUT}
    if not counted:
        return Trace((), (), (), *target)
    cells = max(power.minutes.size for ven_id, power in powers.items() if ven_id in counted)
    total, heard = np.zeros(cells), np.zeros(cells)
    for ven_id, usual_w in counted.items():
        power_w = _carried(powers[ven_id].minutes)
        known = np.isfinite(power_w)
        total += np.where(known, power_w, usual_w)
        heard += known
    usual = sum(counted.values())
    times = tuple(datetime.fromtimestamp(first_s + _MINUTE_S * place, UTC) for place in range(cells))
    enough = heard >= _LEAST_KNOWN * len(counted)
    actual = tuple(float(value) if good else None for value, good in zip(total, enough, strict=True))
    sign = Direction(dispatch.direction or Direction.INCREASE).sign
    wanted = tuple(None if value is None else usual + sign * value for value in target[1])
    return Trace(times, (usual,) * cells, actual, target[0], wanted)
