"""From an event to orders for devices: a pure function of event, household and devices.

The runtime carries out what stands here, and `evenload explain` prints it; neither has rules of its own.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter
from typing import Final, TypeVar

from bridges.device import CapabilityKind, Device, Value
from core.direction import Direction
from core.spans import Duration, Span, shifted
from openadr.model.signal import Signal
from ven.household import Household, Programme, SiteRule, Step
from ven.levers import Setting, by_turns
from ven.rules import Effect, effects, programme_for, signal_devices, site_w, targeted
from ven.vtn_state import KnownEvent

OPEN_LEASE: Final = timedelta(hours=24)
"""The usual longest lease: longer and open-ended events are carried out in leases, one after the other (EV-66)."""
HORIZON: Final = timedelta(hours=24)
"""How far ahead of now an executor plans; later leases of a long event follow as time goes on."""
_FEW_LEASES: Final = 30
_What = TypeVar("_What")
_MOST_NOTES: Final = 20


@dataclass(frozen=True, slots=True)
class Planned:
    """One order: `device` shall do `value` in [at, until). `dry_run` orders are only shown (EV-64)."""

    id: str
    event_id: str
    at: datetime
    until: datetime
    device: str
    capability: CapabilityKind
    value: Value
    signal: str
    interval: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class SiteLimit:
    """What the whole site may draw (REDUCE), or feed in (INCREASE), in [at, until), by the devices of an order.

    `id` is that of the rule and the event's signal: the same in all intervals.
    """

    id: str
    event_id: str
    at: datetime
    until: datetime
    watts: float
    direction: Direction
    meter: str
    order: tuple[Step, ...]
    margin_w: float
    signal: str
    interval: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What an event means for a household: orders by time, and remarks on what it does not do."""

    orders: tuple[Planned, ...]
    notes: tuple[str, ...] = ()
    asks: bool = False
    """Whether the event asks for any change: one that does and has no orders is not carried out at all."""
    limits: tuple[SiteLimit, ...] = ()
    """What the meter decides while the event runs (`ven.site_limits`)."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A setting for a span of time; `interval` is the first signal interval that it belongs to."""

    setting: Setting
    span: Span
    interval: int


def command_id(known_event: KnownEvent, interval: int, device: str, capability: CapabilityKind, lease: int = 0) -> str:
    """Return the id of an order: the same after every restart."""
    event = known_event.event
    parts = (event.event_id, str(event.modification_number), str(interval), device, capability, str(lease))
    return "cmd_" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def plan(
    event: KnownEvent, household: Household, devices: Mapping[str, Device], ven_id: str, horizon: datetime
) -> Plan:
    """Return the orders of an event that this household takes part in.

    `horizon` (now + HORIZON) bounds the leases of an open-ended or very long event. An event that was refused or opted
    out of has no orders.
    """
    if not event.runs:
        return Plan((), (f"no part is taken: {event.reason or 'opted out'}",))
    mine = targeted(household, event.event.target, ven_id) or frozenset()
    notes: list[str] = []
    pieces: list[tuple[_Piece, str]] = []
    taken: set[str] = set()
    turns: dict[str, None] = {}
    asks = False
    limits: list[SiteLimit] = []
    for signal, programme in _by_programme(event, household, notes):
        allowed = (signal_devices(household, mine, signal) or frozenset()) - taken
        intervals = list(_intervals(event, signal))
        if programme is not None and programme.site is not None:
            limits += _site_limits(event, signal, programme.site, intervals, allowed, household, horizon)
            continue
        follows = effects(programme, signal, intervals, devices, allowed, household.site.zone)
        carried = list(_until(event.span.end, zip([span for span, _ in intervals], follows, strict=True)))
        asks = asks or any(what.asks for _, what in carried)
        remarks = ((index, what.remark) for index, (_, what) in enumerate(carried) if what.remark)
        notes += [f"{signal.name} interval {index}: {remark}" for index, remark in islice(remarks, _MOST_NOTES)]
        mine_now = list(_pieces(carried))
        turns |= dict.fromkeys(setting.device for _, what in carried for setting in what.settings)
        taken |= {piece.setting.device for piece in mine_now}
        pieces += [(piece, signal.name) for piece in mine_now]
    orders = _orders(event, pieces, list(turns), household, devices, horizon)
    ordered = tuple(sorted(orders, key=lambda row: (row.at, row.device, row.capability)))
    return Plan(ordered, tuple(notes), asks, tuple(limits))


def _by_programme(event: KnownEvent, household: Household, notes: list[str]) -> list[tuple[Signal, Programme | None]]:
    """Return the event's signals in the order of the household's programmes: earlier ones claim their devices first."""
    matched = []
    for signal in event.event.signals:
        programme = programme_for(household, signal, event.event.market_context)
        if programme is None:
            notes.append(f"{signal.name}/{signal.type}: no programme of this household uses it")
        place = len(household.programmes) if programme is None else household.programmes.index(programme)
        matched.append((place, signal, programme))
    return [(signal, programme) for _, signal, programme in sorted(matched, key=itemgetter(0))]


# -- signal values to settings


def _pieces(effects: Iterable[tuple[Span, Effect]]) -> Iterator[_Piece]:
    """Yield a signal's settings, adjoining intervals with the same setting as one piece."""
    running: dict[tuple[str, CapabilityKind], _Piece] = {}
    for index, (span, what) in enumerate(effects):
        now = {(one.device, one.capability): one for one in what.settings}
        for key in [key for key in running if running[key].setting != now.get(key)]:
            yield running.pop(key)
        for key, setting in now.items():
            start, first = (running[key].span.start, running[key].interval) if key in running else (span.start, index)
            running[key] = _Piece(setting, Span(start, span.end), first)
    yield from running.values()


def _intervals(event: KnownEvent, signal: Signal) -> Iterator[tuple[Span, float]]:
    """Yield each interval of a signal, with its value, up to the first that never ends."""
    start = event.start
    for interval in signal.intervals:
        timeless = not interval.duration and bool(event.event.period.duration)  # of a bounded event (EV-27)
        end = start if timeless else Span.lasting(start, interval.duration).end
        yield Span(start, end), interval.value
        if end is None:
            return
        start = end


def _until(stop: datetime | None, effects: Iterable[tuple[Span, _What]]) -> Iterator[tuple[Span, _What]]:
    """Yield what is carried out of a signal: cut where the event stops here."""
    for span, what in effects:
        end = span.end
        if stop is not None:
            end = min(end, stop) if end is not None else stop
        if end is None or end > span.start:
            yield Span(span.start, end), what
        if end is None or end == stop:
            return


# -- settings to orders


def _orders(
    known_event: KnownEvent,
    pieces: list[tuple[_Piece, str]],
    names: list[str],
    household: Household,
    devices: Mapping[str, Device],
    horizon: datetime,
) -> Iterator[Planned]:
    """Yield the orders for the pieces of the plan; `names` are the devices in the order in which they take turns."""
    event = known_event.event
    dry_run = event.is_test and household.test_events == "dry_run"
    for piece, signal in pieces:
        share = names.index(piece.setting.device) / len(names), (names.index(piece.setting.device) + 1) / len(names)
        entry = household.device(piece.setting.device)
        longest = entry.limits.max_event if entry else None
        ramped = _ramped(known_event, piece.span, share, household.recovery)
        span = _bounded(ramped, _first_switching(known_event, share), longest)
        if span.end is not None and span.end <= span.start:
            continue
        setting, longest_lease = piece.setting, household.limits.lease.timedelta()
        leases = _leases(span, horizon, longest_lease)
        where = (setting.device, setting.capability, setting.value)
        if entry is not None and by_turns(devices[setting.device], setting.capability):
            where = (setting.device, CapabilityKind.SWITCH, "off")
            leases = _turns(span, horizon, setting.value, entry.limits.cycle.timedelta(), longest_lease)
        for lease, start, end in leases:
            ident = command_id(known_event, piece.interval, setting.device, setting.capability, lease)
            yield Planned(ident, event.event_id, start, end, *where, signal, piece.interval, dry_run)


def _site_limits(
    known_event: KnownEvent,
    signal: Signal,
    rule: SiteRule,
    intervals: Iterable[tuple[Span, float]],
    allowed: frozenset[str],
    household: Household,
    horizon: datetime,
) -> Iterator[SiteLimit]:
    """Yield what a signal allows the site, by interval and lease, for those devices that the event may use."""
    event = known_event.event
    order = tuple(step for step in rule.order if step.device in allowed)
    direction = Direction.INCREASE if rule.feed_in else Direction.REDUCE
    place = next(index for index, each in enumerate(event.signals) if each is signal)
    ident = f"{event.event_id} {place} {rule.meter} {direction}"
    dry_run = event.is_test and household.test_events == "dry_run"
    spans = [(span, site_w(signal, value, household.site.connection_w)) for span, value in intervals]
    for index, (span, watts) in enumerate(_until(known_event.span.end, spans)):
        for _, start, end in _leases(span, horizon, household.limits.lease.timedelta()) if order else ():
            where = (direction, rule.meter, order, rule.margin_w, signal.name, index, dry_run)
            yield SiteLimit(ident, event.event_id, start, end, watts, *where)


def _ramped(event: KnownEvent, span: Span, share: tuple[float, float], recovery: Duration | None) -> Span:
    """Spread the devices' first switching over the ramp-up and their last over the recovery (EV-65).

    A positive ramp-up ends with the start, a negative one begins there; a positive recovery begins with the end, a
    negative one ends there, and either may take in several intervals. A cancelled event has no recovery; one that names
    none has the household's.
    """
    begins, ends = _first_switching(event, share), _last_switching(event, share, recovery)
    start, end = span.start, span.end
    start = begins if start == event.start else max(start, begins)
    if ends is not None and end is not None:
        end = ends if end == event.span.end else min(end, ends)
    return replace(span, start=start, end=end)


def _first_switching(event: KnownEvent, share: tuple[float, float]) -> datetime:
    """Return when a device's turn comes to follow the event, by its share of the ramp-up."""
    ramp = event.event.period.ramp_up
    if not ramp:
        return event.start
    ramp_s = (event.start - (-ramp).held_after(event.start)).total_seconds()
    return shifted(event.start, ramp_s * (share[0] - 1) if ramp_s > 0 else -ramp_s * share[0])


def _last_switching(event: KnownEvent, share: tuple[float, float], usual: Duration | None) -> datetime | None:
    """Return when a device's turn comes to leave the event, by its share of the recovery; None: it has no end."""
    recovery, end = event.event.period.recovery or usual, event.span.end
    if not recovery or end is None or event.stop_at is not None:
        return end
    recovery_s = (recovery.held_after(end) - end).total_seconds()
    return shifted(end, recovery_s * share[0] if recovery_s > 0 else recovery_s * (1 - share[1]))


def _bounded(span: Span, begins: datetime, longest: Duration | None) -> Span:
    """Cut a span at the longest time that one event may hold the device, which it may do from `begins` on."""
    if longest is None:
        return span
    limit = longest.held_after(begins)
    return Span(span.start, min(span.end, limit) if span.end is not None else limit)


def _turns(
    span: Span, horizon: datetime, duty: Value, cycle: timedelta, longest: timedelta
) -> Iterator[tuple[int, datetime, datetime]]:
    """Yield when a device is off that shall run for `duty` per cent of each cycle: number, start and end."""
    off = cycle * (1 - duty / 100) if isinstance(duty, int | float) else cycle
    if off >= cycle:
        yield from _leases(span, horizon, longest)
        return
    for number, start, end in _leases(span, horizon, cycle):
        until = min(end, shifted(start, min(off, longest).total_seconds()))
        if until > start:
            yield number, start, until


def _leases(span: Span, horizon: datetime, longest: timedelta) -> Iterator[tuple[int, datetime, datetime]]:
    """Cut an open or long span into leases, one after the other (EV-66): number, start and end of those around now.

    No command holds a device for longer than `longest`, whatever a VTN says of an event's end.
    """
    last = max(0, (horizon - span.start) // longest)
    first = max(0, last - HORIZON // longest - 1)
    if span.end is not None and span.end - span.start <= _FEW_LEASES * longest:
        first, last = 0, _FEW_LEASES
    for number in range(first, last + 1):
        start = shifted(span.start, (number * longest).total_seconds())
        if span.end is not None and start >= span.end:
            return
        end = shifted(start, longest.total_seconds())
        yield number, start, end if span.end is None else min(end, span.end)
