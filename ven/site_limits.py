"""Limits of the whole site: what it draws, or feeds in, is kept below what an event says, by the meter's word.

The devices of the order are held back until the meter shows that it suffices, and given back, the last first, as soon
as there is room for what they draw. While the meter says nothing, they are held back as if all of them ran.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from bridges.device import CapabilityKind, Device, Value
from core.clock import Clock
from core.direction import Direction
from core.errors import UnavailableError
from core.points import Flow, Kind, Phase, Point, Quality, Quantity, Reading
from core.spans import EARLIEST, Span
from ven.household import Household
from ven.levers import Lever, Setting, best, is_storage, levers
from ven.planning import Planned, SiteLimit
from ven.site_use import SiteUse
from ven.store import Store

_log = structlog.get_logger(__name__)

_FACT: Final = "site limits"
_SETTLE: Final = timedelta(seconds=15)
"""So long devices, and the meter, take to show what an order brought."""
_STAY: Final = timedelta(minutes=5)
"""How long devices are held back at least, before any is given back for want of need."""
_SILENT: Final = timedelta(minutes=2)
_LOOK: Final = timedelta(seconds=30)
"""How often it is looked whether there is room for a device."""
_LEAST_SPAN: Final = timedelta(seconds=10)
"""A power out of two readings of a register that lie closer together says little."""
_UNKEPT: Final = timedelta(minutes=5)
_ENOUGH_W: Final = 1.0
_USABLE: Final = frozenset({Quality.GOOD, Quality.ESTIMATED, Quality.UNCERTAIN})

_POINTS: Final = frozenset(
    {
        (Quantity.POWER_REAL, Kind.INSTANT),
        (Quantity.POWER_REAL, Kind.MEAN),
        (Quantity.ENERGY_REAL, Kind.REGISTER),
    }
)
"""By what a meter tells the power that flows."""

Spared = Callable[[str, str], bool]
"""Tells whether an event does without a device."""


@dataclass(slots=True)
class _Flow:
    """One direction at a meter: what it says now, W, and of which span that is."""

    power_w: float = 0.0
    since: datetime | None = None
    at: datetime | None = None
    register: tuple[datetime, float] | None = None
    has_power: bool = False

    def take_power(self, since: datetime, at: datetime, power_w: float, now: datetime) -> None:
        """Take a power, of a moment or the mean of a span; one that was overtaken says nothing.

        What lies ahead was said before the clock was set back.
        """
        if self.at is None or at >= self.at or self.at > now + _SETTLE or not self.has_power:
            self.power_w, self.since, self.at, self.has_power = power_w, since, at, True

    def take_register(self, at: datetime, energy_wh: float) -> None:
        """Take a register's reading: the mean since the one before counts, where it tells no power by itself."""
        if self.has_power:
            return
        if self.register is None or at < self.register[0] or energy_wh < self.register[1]:
            self.register = at, energy_wh
            return
        since, before_wh = self.register
        if at - since >= _LEAST_SPAN:
            self.power_w = (energy_wh - before_wh) * 3600 / (at - since).total_seconds()
            self.since, self.at, self.register = since, at, (at, energy_wh)


@dataclass(slots=True)
class _Meter:
    """What flows, as a whole or by phases: all of what is drawn has to be told."""

    drawn: dict[str, _Flow] = field(default_factory=dict)
    fed_in: dict[str, _Flow] = field(default_factory=dict)

    def _leading(self) -> list[_Flow]:
        return list((self.drawn or self.fed_in).values())

    def net_w(self, since: datetime | None, now: datetime) -> float | None:
        """Return what is drawn less what is fed in, W, by what was said since a time; None where that is too old."""
        begins = [flow.since for flow in self._leading() if flow.since is not None]
        if self.is_silent(now) or len(begins) < len(self._leading()) or (since is not None and min(begins) < since):
            return None
        return math.fsum(flow.power_w for flow in self.drawn.values()) - math.fsum(
            flow.power_w for flow in self.fed_in.values()
        )

    def is_silent(self, now: datetime) -> bool:
        """Tell whether it, or a phase of it, has said nothing for a while."""
        return any(flow.at is None or now - flow.at > _SILENT for flow in self._leading())


def metering_points(device: Device) -> tuple[Point, ...]:
    """Return by which points a device tells the power of the site: those of the whole, else those of all its phases."""
    points = [point for point in device.points if (point.quantity, point.kind) in _POINTS]
    return tuple(point for point in points if point.phase is Phase.TOTAL) or tuple(points)


@dataclass(slots=True)
class _State:
    """How far the devices of one limit are held back, W, and since when that is so."""

    held_w: float = 0.0
    changed: datetime | None = None
    over_since: datetime | None = None
    unkept: bool = False
    settings: dict[tuple[str, CapabilityKind], tuple[Value, datetime]] = field(default_factory=dict)
    """What devices are told, and since when they are told anything."""
    count: int = 0
    """How many orders there were."""
    numbers: dict[tuple[str, CapabilityKind], int] = field(default_factory=dict)
    most_w: float = math.inf
    """How far they can be held back at most."""

    def has_stayed(self, now: datetime) -> bool:
        """Tell whether they were held back for so long that some may be given back."""
        return self.changed is None or now - self.changed >= _STAY


class SiteLimiter:
    """Keeps the limits that events set to the site."""

    def __init__(self, household: Household, devices: Mapping[str, Device], store: Store, clock: Clock) -> None:
        self._devices = devices
        self._store = store
        self._clock = clock
        self._looked = EARLIEST
        wanted = {programme.site.meter for programme in household.programmes if programme.site is not None}
        self._meters = {name: _Meter() for name in wanted}
        self._points: dict[str, tuple[Kind, _Flow]] = {}
        for name, meter in self._meters.items():
            for point in metering_points(devices[name]):
                flows = meter.fed_in if point.flow is Flow.EXPORT else meter.drawn
                self._points[point.id] = point.kind, flows.setdefault(point.phase, _Flow())
        self._states: dict[str, _State] = {}
        self._kept: dict[str, float] = store.fact(_FACT) or {}
        self._holding: tuple[SiteLimit, ...] = ()
        self._use = SiteUse(household, store)
        self.on_change: Callable[[], None] = lambda: None
        """Called when the meter of a limit that holds has spoken."""

    def take(self, reading: Reading) -> None:
        """Take a reading."""
        where, now = self._points.get(reading.point), self._clock.now()
        if where is None or reading.quality not in _USABLE or reading.start > now + _SETTLE:
            return
        kind, flow = where
        if kind is Kind.REGISTER:
            flow.take_register(reading.start, reading.value)
        else:
            flow.take_power(reading.start, reading.start + (reading.duration or timedelta()), reading.value, now)
        if any(self._matters(limit, now) for limit in self._holding):
            self.on_change()

    def _matters(self, limit: SiteLimit, now: datetime) -> bool:
        """Tell whether what the meter says now changes how far devices are held back; most of its words do not."""
        state = self._states[limit.id]
        over_w = self._over_w(limit, state, now)
        if over_w is None:
            return False
        if over_w > _ENOUGH_W:
            return state.held_w < state.most_w
        room = over_w < -limit.margin_w and state.held_w > 0 and state.has_stayed(now)
        return room and not timedelta() <= now - self._looked < _LOOK

    def _over_w(self, limit: SiteLimit, state: _State, now: datetime) -> float | None:
        """Return by how much the limit is passed, by what was said since the last change; None: nothing was."""
        since = None if state.changed is None else state.changed + _SETTLE
        net_w = self._meters[limit.meter].net_w(since, now)
        return None if net_w is None else (net_w if limit.direction is Direction.REDUCE else -net_w) - limit.watts

    def orders(self, limits: Iterable[SiteLimit], spared: Spared, now: datetime) -> list[Planned]:
        """Return what keeps the limits that hold now."""
        holding = [limit for limit in limits if limit.at <= now < limit.until]
        self._states = {
            limit.id: self._states.get(limit.id) or _State(self._kept.get(limit.id, 0.0)) for limit in holding
        }
        taken: set[str] = set()
        planned: list[Planned] = []
        self._holding, self._looked = tuple(holding), now
        for limit in sorted(holding, key=lambda each: each.at):
            state = self._states[limit.id]
            if state.changed is not None and state.changed > now:  # the clock was set back
                state.changed = now
            usable = self._usable(limit, taken, spared, now)
            self._judge(limit, state, usable, now)
            mine = list(self._orders_of(limit, state, usable, now))
            taken |= {order.device for order in mine}
            planned += mine
        self._keep()
        return self._use.note(planned, now)

    def held_before(self) -> list[tuple[str, Span]]:
        """Return which devices were held for the site when, as far as that is over."""
        return self._use.before()

    def look_again(self, now: datetime) -> datetime | None:
        """Return when to look again though no meter has spoken; None while no limit holds."""
        return now + _SILENT if self._states else None

    # -- how far

    def _usable(self, limit: SiteLimit, taken: set[str], spared: Spared, now: datetime) -> list[Device]:
        """Return the devices that may be held back now, in their order: none longer than one event may hold it."""
        names = (step.device for step in limit.order if step.device in self._devices and step.device not in taken)
        return [
            self._devices[name]
            for name in names
            if not spared(limit.event_id, name) and self._until(limit, name, now) > now
        ]

    def _until(self, limit: SiteLimit, device: str, now: datetime) -> datetime:
        end = self._use.end(limit.event_id, device, now)
        return limit.until if end is None else min(limit.until, end)

    def _judge(self, limit: SiteLimit, state: _State, usable: Sequence[Device], now: datetime) -> None:
        """Hold devices back further where the meter says that it does not suffice, or less where there is room."""
        meter = self._meters[limit.meter]
        most_w = math.fsum(lever.most_w for device in usable if (lever := self._lever(limit, device)) is not None)
        state.most_w = most_w
        if meter.is_silent(now):
            wanted_w = self._worst_w(usable) - limit.watts if limit.direction is Direction.REDUCE else most_w
            if wanted_w > state.held_w:
                _log.warning("the meter is silent: devices are held back as if all of them ran", meter=limit.meter)
                self._hold(state, min(wanted_w, most_w), now)
            return
        over_w = self._over_w(limit, state, now)
        if over_w is None:
            return
        self._notice(limit, state, over_w, now)
        held_w = self._held_w(
            limit, usable, state.held_w
        )  # a device that is switched off may give more than was wanted
        if over_w > _ENOUGH_W:
            if state.held_w < most_w:
                self._hold(state, min(held_w + over_w, most_w), now)
        elif -over_w > limit.margin_w and state.has_stayed(now):
            less_w = max(0.0, held_w - (-over_w - limit.margin_w))  # no more is given back than there is room for
            if self._held_w(limit, usable, less_w) < held_w - _ENOUGH_W:
                self._hold(state, less_w, now)

    def _held_w(self, limit: SiteLimit, usable: Sequence[Device], wanted_w: float) -> float:
        return math.fsum(change_w for _, change_w in self._shares(limit, usable, wanted_w))

    @staticmethod
    def _hold(state: _State, held_w: float, now: datetime) -> None:
        state.held_w, state.changed = held_w, now

    def _notice(self, limit: SiteLimit, state: _State, over_w: float, now: datetime) -> None:
        """Say once that a limit is not kept, though everything is held back that may be."""
        if over_w <= limit.margin_w:
            state.over_since, state.unkept = None, False
            return
        state.over_since = state.over_since or now
        if not state.unkept and now - state.over_since >= _UNKEPT:
            state.unkept = True
            _log.warning("the site's limit is not kept", event_id=limit.event_id, limit_w=limit.watts, over_w=over_w)

    @staticmethod
    def _worst_w(usable: Sequence[Device]) -> float:
        return math.fsum(device.nominal_w or 0.0 for device in usable if not is_storage(device))

    @staticmethod
    def _lever(limit: SiteLimit, device: Device, wanted_w: float = math.inf) -> Lever | None:
        step = next((step for step in limit.order if step.device == device.id), None)
        return best(levers(device, limit.direction, step), wanted_w)

    # -- by what

    def _shares(
        self, limit: SiteLimit, usable: Sequence[Device], wanted_w: float
    ) -> Iterable[tuple[tuple[Setting, ...], float]]:
        left_w = wanted_w
        for device in usable:
            lever = self._lever(limit, device, left_w) if left_w > _ENOUGH_W else None
            if lever is not None:
                settings, change_w = lever.change(left_w)
                left_w -= change_w
                yield settings, change_w

    def _orders_of(self, limit: SiteLimit, state: _State, usable: Sequence[Device], now: datetime) -> Iterable[Planned]:
        settings = [setting for each, _ in self._shares(limit, usable, state.held_w) for setting in each]
        before, state.settings = state.settings, {}
        for setting in settings:
            where = (setting.device, setting.capability)
            value, since = before.get(where, (None, now))
            if value != setting.value:
                state.count += 1
                state.numbers[where] = state.count
            state.settings[where] = setting.value, since
            until = self._until(limit, setting.device, now)
            parts = (limit.id, until.isoformat(), *where, repr(setting.value), str(state.numbers[where]))
            yield Planned(
                "cmd_" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24],
                limit.event_id,
                since,
                until,
                setting.device,
                setting.capability,
                setting.value,
                limit.signal,
                limit.interval,
                limit.dry_run,
            )

    def _keep(self) -> None:
        """Remember how far devices are held back, so that a restart lets none of them go for a moment."""
        held = {ident: state.held_w for ident, state in self._states.items() if state.held_w > 0}
        if held == self._kept:
            return
        self._kept = held
        try:
            self._store.set_fact(_FACT, held)
        except UnavailableError as error:
            _log.error("how far the site is held back is forgotten by a restart", reason=str(error))
