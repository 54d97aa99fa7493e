"""From an event to orders for devices: a pure function of event, household and devices.

The runtime carries out what stands here, and `evenload explain` prints it; neither has rules of its own.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from bridges.device import Capability, Device, Value
from core.errors import InvalidError
from core.spans import Duration, Span
from openadr.model.signal import Signal
from ven.household import Household, Programme
from ven.judgement import name_of, programme_for, signal_devices, targeted
from ven.known import KnownEvent

OPEN_LEASE: Final = timedelta(hours=24)
"""An open-ended event is carried out in leases of this length, one after the other (EV-66)."""
_MOST_LEASES: Final = 400
_ENOUGH_W: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Planned:
    """One order: `device` shall do `value` in [at, until). `dry_run` orders are only shown (EV-64)."""

    id: str
    event_id: str
    at: datetime
    until: datetime
    device: str
    capability: str
    value: Value
    signal: str
    interval: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What an event means for a household: orders by time, and remarks on what it does not do."""

    orders: tuple[Planned, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Setting:
    device: str
    capability: str
    value: Value


@dataclass(frozen=True, slots=True)
class _Piece:
    """A setting for a span of time; `interval` is the first signal interval that it belongs to."""

    setting: _Setting
    span: Span
    interval: int


def command_id(known: KnownEvent, interval: int, device: str, capability: str, lease: int = 0) -> str:
    """Return the id of an order: the same after every restart."""
    event = known.event
    parts = (event.event_id, str(event.modification_number), str(interval), device, capability, str(lease))
    return "cmd_" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def plan(
    known: KnownEvent, household: Household, devices: Mapping[str, Device], ven_id: str, horizon: datetime
) -> Plan:
    """Return the orders of an event that this household takes part in.

    `horizon` bounds the leases of an open-ended event. An event that was refused or opted out of has no orders.
    """
    if not known.runs:
        return Plan((), (f"no part is taken: {known.reason or 'opted out'}",))
    mine = targeted(household, known.event.target, ven_id) or frozenset()
    notes: list[str] = []
    pieces: list[tuple[_Piece, str]] = []
    taken: set[str] = set()
    for signal, programme in _by_programme(known, household, notes):
        allowed = (signal_devices(household, mine, signal) or frozenset()) - taken
        found = list(_pieces(known, signal, programme, devices, allowed, notes))
        taken |= {piece.setting.device for piece in found}
        pieces += [(piece, signal.name) for piece in found]
    orders = _orders(known, pieces, household, horizon)
    return Plan(tuple(sorted(orders, key=lambda one: (one.at, one.device, one.capability))), tuple(notes))


def _by_programme(known: KnownEvent, household: Household, notes: list[str]) -> list[tuple[Signal, Programme]]:
    """Return the event's signals in the order of the household's programmes: earlier ones claim their devices first."""
    matched = []
    for signal in known.event.signals:
        programme = programme_for(household, signal, known.event.market_context)
        if programme is None:
            notes.append(f"{signal.name}/{signal.type}: no programme of this household uses it")
        else:
            matched.append((signal, programme))
    return sorted(matched, key=lambda pair: household.programmes.index(pair[1]))


# -- signal values to settings


def _pieces(
    known: KnownEvent,
    signal: Signal,
    programme: Programme,
    devices: Mapping[str, Device],
    allowed: frozenset[str],
    notes: list[str],
) -> Iterator[_Piece]:
    """Yield a signal's settings, adjoining intervals with the same setting as one piece."""
    running: dict[tuple[str, str], _Piece] = {}
    for index, (span, value) in enumerate(_intervals(known, signal)):
        settings = _settings(programme, signal, value, devices, allowed, notes, index)
        now = {(one.device, one.capability): one for one in settings}
        for key in [key for key in running if running[key].setting != now.get(key)]:
            yield running.pop(key)
        for key, setting in now.items():
            start, first = (running[key].span.start, running[key].interval) if key in running else (span.start, index)
            running[key] = _Piece(setting, Span(start, span.end), first)
    yield from running.values()


def _intervals(known: KnownEvent, signal: Signal) -> Iterator[tuple[Span, float]]:
    """Yield each interval that is carried out, with its value; cut where the event stops here."""
    stop = known.span.end
    start = known.start
    for interval in signal.intervals:
        without_end = not interval.duration and not known.event.period.duration
        end = None if without_end else interval.duration.after(start)
        if stop is not None:
            end = min(end, stop) if end is not None else stop
        if end is None or end > start:
            yield Span(start, end), interval.value
        if end is None or end == stop:
            return
        start = end


def _settings(
    programme: Programme,
    signal: Signal,
    value: float,
    devices: Mapping[str, Device],
    allowed: frozenset[str],
    notes: list[str],
    index: int,
) -> list[_Setting]:
    table: Mapping[str, Mapping[str, Value]] = {}
    if programme.levels is not None:
        table = programme.levels.get(round(value), {})
    elif programme.prices is not None:
        passed = [rule for rule in programme.prices if value > rule.above]
        table = max(passed, key=lambda rule: rule.above).do if passed else {}
    elif programme.shed is not None:
        order = [name for name in programme.shed.order if name in allowed and name in devices]
        asked = _asked_w(signal, value, sum(devices[name].nominal_w or 0.0 for name in order))
        settings, left = _shed(order, devices, asked)
        if left > _ENOUGH_W:
            notes.append(f"{signal.name} interval {index}: {asked:g} W are asked, {asked - left:g} W can be shed")
        if asked < 0:
            notes.append(f"{signal.name} interval {index}: asks to use more; nothing here does")
        return settings
    return [
        _Setting(name, capability, fitted)
        for name, wanted in table.items()
        if name in allowed and name in devices
        for capability, setting in wanted.items()
        if (fitted := _fit(devices[name].capability(capability), setting)) is not None
    ]


def _asked_w(signal: Signal, value: float, whole_w: float) -> float:
    """Return how many watts less are asked for; negative for more. Every other signal asks for nothing."""
    bare = value * signal.item_base.factor if signal.item_base else value
    match name_of(signal), signal.type:
        case "LOAD_DISPATCH", "delta":
            return -bare
        case "LOAD_DISPATCH", "setpoint":
            return max(0.0, whole_w - bare)
        case ("LOAD_DISPATCH", "multiplier") | ("LOAD_CONTROL", "x-loadControlCapacity"):
            return (1.0 - bare) * whole_w
        case "LOAD_CONTROL", "x-loadControlPercentOffset":
            return -bare / 100.0 * whole_w
    return 0.0


def _shed(order: Iterable[str], devices: Mapping[str, Device], asked_w: float) -> tuple[list[_Setting], float]:
    """Return settings that take away `asked_w`, device after device, and what could not be taken away."""
    settings = []
    for name in order:
        if asked_w <= _ENOUGH_W:
            break
        device = devices[name]
        nominal_w = device.nominal_w or 0.0
        if (switch := device.capability("switch")) is not None and "off" in switch.values:
            settings.append(_Setting(name, "switch", "off"))
            asked_w -= nominal_w
        elif (limit := device.capability("import_limit")) is not None:
            value = _fit(limit, max(0.0, nominal_w - asked_w))
            if isinstance(value, float) and value < nominal_w:
                settings.append(_Setting(name, "import_limit", value))
                asked_w -= nominal_w - value
    return settings, max(0.0, asked_w)


def _fit(capability: Capability | None, value: Value) -> Value | None:
    """Return a value that the capability can take: words as they are, numbers within its bounds and above its floor."""
    if capability is None:
        return None
    if capability.values:
        return value
    if value == "floor":
        return capability.floor
    number = float(value)
    lows = [bound for bound in (capability.low, capability.floor) if bound is not None]
    number = max([number, *lows])
    return min(number, capability.high) if capability.high is not None else number


# -- settings to orders


def _orders(
    known: KnownEvent, pieces: list[tuple[_Piece, str]], household: Household, horizon: datetime
) -> Iterator[Planned]:
    event = known.event
    dry_run = event.is_test and household.test_events == "dry_run"
    names = list(dict.fromkeys(piece.setting.device for piece, _ in pieces))
    for piece, signal in pieces:
        share = names.index(piece.setting.device) / len(names), (names.index(piece.setting.device) + 1) / len(names)
        entry = household.device(piece.setting.device)
        longest = entry.limits.max_event if entry else None
        span = _bounded(_ramped(known, piece.span, share), known.start, longest)
        if span.end is not None and span.end <= span.start:
            continue
        for lease, (start, end) in enumerate(_leases(span, horizon)):
            setting = piece.setting
            ident = command_id(known, piece.interval, setting.device, setting.capability, lease)
            where = (setting.device, setting.capability, setting.value)
            yield Planned(ident, event.event_id, start, end, *where, signal, piece.interval, dry_run)


def _ramped(known: KnownEvent, span: Span, share: tuple[float, float]) -> Span:
    """Spread the devices' first switching over the ramp-up and their last over the recovery (EV-65).

    A positive ramp-up ends with the start, a negative one begins there; a positive recovery begins with the end, a
    negative one ends there. A cancelled event has no recovery.
    """
    before, after = share
    period = known.event.period
    start, end = span.start, span.end
    if period.ramp_up and start == known.start:
        ramp_s = _seconds(period.ramp_up)
        start += timedelta(seconds=ramp_s * (before - 1) if ramp_s > 0 else -ramp_s * before)
    if period.recovery and end is not None and end == known.span.end and known.stop_at is None:
        ramp_s = _seconds(period.recovery)
        end += timedelta(seconds=ramp_s * before if ramp_s > 0 else ramp_s * (1 - after))
    return replace(span, start=start, end=end)


def _seconds(duration: Duration) -> int:
    try:
        return duration.exact_s
    except InvalidError:
        return 0  # a ramp of months has no meaning for a household


def _bounded(span: Span, event_start: datetime, longest: Duration | None) -> Span:
    """Cut a span at the longest time that one event may hold the device."""
    if longest is None:
        return span
    limit = longest.after(event_start)
    return Span(span.start, min(span.end, limit) if span.end is not None else limit)


def _leases(span: Span, horizon: datetime) -> Iterator[tuple[datetime, datetime]]:
    if span.end is not None:
        yield span.start, span.end
        return
    start = span.start
    for _ in range(_MOST_LEASES):
        yield start, start + OPEN_LEASE
        start += OPEN_LEASE
        if start > horizon:
            return
