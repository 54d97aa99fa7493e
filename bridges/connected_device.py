"""What all drivers of devices behind a connection share: subscriptions, contact, readings, requests for history."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from bridges.backfill_request import HistoryRequest, request_topic, write_request
from bridges.connections import Connection, Handler
from bridges.device import CapabilityKind, Contact, Device, DeviceSpec, StateListener, Value, same
from bridges.device_clock import NEAR, DeviceClock
from bridges.senml import finite
from core.clock import Clock
from core.errors import InvalidError, UnavailableError
from core.fault_words import faults_in_a_line
from core.points import Flow, Kind, Phase, Point, Quantity, Reading
from core.spans import EARLIEST

_log = structlog.get_logger(__name__)

_NO_CLOCK: Final = timedelta(days=36_525)
"""A stamp that lies so far ahead comes from no clock, also from none that is wrong."""
_QUIET_S: Final = 3.0
"""So long after it, or our link, came back what a device says is no person's doing. Longer than it takes to answer."""

POINTS: Final = {
    "energy": (Quantity.ENERGY_REAL, Kind.REGISTER, Flow.IMPORT, Phase.TOTAL),
    "export_energy": (Quantity.ENERGY_REAL, Kind.REGISTER, Flow.EXPORT, Phase.TOTAL),
    "power": (Quantity.POWER_REAL, Kind.INSTANT, Flow.IMPORT, Phase.TOTAL),
    "export_power": (Quantity.POWER_REAL, Kind.INSTANT, Flow.EXPORT, Phase.TOTAL),
    "voltage_l1": (Quantity.VOLTAGE, Kind.INSTANT, Flow.IMPORT, Phase.L1),
    "voltage_l2": (Quantity.VOLTAGE, Kind.INSTANT, Flow.IMPORT, Phase.L2),
    "voltage_l3": (Quantity.VOLTAGE, Kind.INSTANT, Flow.IMPORT, Phase.L3),
    "current_l1": (Quantity.CURRENT, Kind.INSTANT, Flow.IMPORT, Phase.L1),
    "current_l2": (Quantity.CURRENT, Kind.INSTANT, Flow.IMPORT, Phase.L2),
    "current_l3": (Quantity.CURRENT, Kind.INSTANT, Flow.IMPORT, Phase.L3),
}
"""The point names that drivers use, and what they mean; a point's id is `{device}.{name}`."""

OptionsT = TypeVar("OptionsT", bound=BaseModel)


def point(device: str, name: str, kind: Kind | None = None) -> Point:
    """Return the point of that name on a device."""
    quantity, usual, flow, phase = POINTS[name]
    return Point(f"{device}.{name}", quantity, kind or usual, flow, phase)


def options_of(model: type[OptionsT], device: DeviceSpec) -> OptionsT:
    """Check a device's options. Raises InvalidError that names the device and the field."""
    if isinstance(device.options, model):
        return device.options
    given = device.options.model_dump() if isinstance(device.options, BaseModel) else dict(device.options)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = faults_in_a_line(error.errors())
        raise InvalidError(f"Device {device.id} ({device.driver}): {faults}.") from error


def _no_reading(_: Reading) -> None:
    """Take the place of a listener until there is one."""


def _no_state(_: CapabilityKind, __: Value, ___: datetime | None) -> None:
    """Take the place of a listener until there is one."""


class ConnectedDevice:
    """A device behind a connection. Subclasses say what they listen to, and how to greet and command the device."""

    def __init__(self, device: Device, connection: Connection, clock: Clock) -> None:
        self.device = device
        self.connection = connection
        self.clock = clock
        self._states: dict[CapabilityKind, Value] = {}
        self._said_at: dict[CapabilityKind, timedelta] = {}
        self._changed: dict[CapabilityKind, tuple[timedelta, Value]] = {}
        self._stored: dict[CapabilityKind, Value] = {}
        self._quiet: tuple[float, datetime] | None = None
        self._meter_clock = DeviceClock()
        self._distrusted = False
        self._on_reading: Callable[[Reading], None] = _no_reading
        self._on_state: StateListener = _no_state
        self._observers: list[Callable[[Contact], None]] = []
        self._listening = False
        self._tasks: set[asyncio.Task[None]] = set()
        connection.observe(self._link_changed)

    def describe(self) -> Device:
        """Return what the device is and can do."""
        return self.device

    @property
    def online(self) -> bool:
        """Whether the device is believed to be reachable now."""
        return self.connection.connected

    def state(self, capability: CapabilityKind) -> Value | None:
        """Return the last state that the device itself reported; before it spoke, the one that the broker has."""
        return self._states.get(capability, self._stored.get(capability))

    def changed(self, capability: CapabilityKind) -> tuple[timedelta, Value] | None:
        """Return when it last was said to change, by `Clock.elapsed`, and what it was before; None if it never did."""
        return self._changed.get(capability)

    def observe(self, on_contact: Callable[[Contact], None]) -> None:
        """Call `on_contact` when the device, or our link, comes and goes."""
        self._observers.append(on_contact)

    async def start(self, on_reading: Callable[[Reading], None], on_state: StateListener) -> None:
        """Begin to listen."""
        self._on_reading, self._on_state, self._listening = on_reading, on_state, True
        for topic_filter, handler, qos in self.subscriptions():
            await self.connection.subscribe(topic_filter, handler, qos)
        if self.connection.connected:
            await self._greet_quietly()

    async def stop(self) -> None:
        """Stop listening; leaves the device as it is."""
        self._listening = False
        for topic_filter, handler, _ in self.subscriptions():
            await self.connection.unsubscribe(topic_filter, handler)
        for task in self._tasks:
            task.cancel()

    def subscriptions(self) -> tuple[tuple[str, Handler, int], ...]:
        """Return topic filters, handlers and QoS."""
        raise NotImplementedError

    async def greet(self) -> None:
        """Ask the device to speak; called whenever it may have missed us or we it."""

    def announce(self, contact: Contact) -> None:
        """Pass on what became of the way to the device."""
        for observer in self._observers:
            observer(contact)

    def reading(self, name: str, at: datetime, value: float, duration: timedelta | None = None) -> None:
        """Pass on a value; one that claims to come from the future, or from before the calendar, is dropped.

        Raises InvalidError for what is no number in our unit, though it may have been one in the device's.
        """
        finite(value)
        if EARLIEST < at <= self.clock.now() + NEAR:
            self._on_reading(Reading(f"{self.device.id}.{name}", at, value, duration))

    def correction(self, stamps: Iterable[datetime], *, retained: bool) -> timedelta:
        """Return what to add to the stamps of one message's readings, where the device's clock is far from ours."""
        now = self.clock.now()
        newest = max((stamp for stamp in stamps if stamp - now < _NO_CLOCK), default=None)
        if newest is None or retained:
            return timedelta()
        off = self._meter_clock.correction(newest, now, self.clock.elapsed())
        if off and not self._distrusted:
            _log.warning(
                "a device's clock is wrong; its readings count from their arrival",
                device=self.device.id,
                stamp=newest.isoformat(),
                now=now.isoformat(),
            )
        self._distrusted = bool(off)
        return off

    def report(self, capability: CapabilityKind, value: Value, at: datetime | None = None) -> None:
        """Note and pass on the device's own state message; `at` is when it was said by the device's own stamp.

        One that was overtaken is passed on, but is not the state.
        """
        elapsed = self.clock.elapsed()
        said = elapsed if at is None else elapsed - max(timedelta(), self.clock.now() - at)
        if said >= self._said_at.get(capability, said):
            before = self.state(capability)
            if before is not None and not same(before, value):
                self._changed[capability] = said, before
            self._states[capability], self._said_at[capability] = value, said
        self._on_state(capability, value, self._said(at))

    def note_stored(self, capability: CapabilityKind, value: Value) -> None:
        """Note a state that the broker has kept: it may be of any age, and the device need not be there."""
        if capability not in self._states:
            self._stored[capability] = value

    def hush(self) -> None:
        """Take nothing for a person's doing for a moment: the device, or our way to it, has just come back."""
        self._quiet = time.monotonic() + _QUIET_S, self.clock.now()

    def speak(self) -> None:
        """Listen again: we are about to tell the device something, and it will answer."""
        self._quiet = None

    def _said(self, at: datetime | None) -> datetime | None:
        """Return when a word was said, or None where it belongs to a coming back."""
        if self._quiet is not None:
            until, since = self._quiet
            if time.monotonic() >= until:
                self._quiet = None
            elif at is None or at >= since:
                return None
        return self.clock.now() if at is None else at

    async def ask_history(self, measurement_topic: str, since: datetime, until: datetime, device: str | None) -> None:
        """Request back-dated readings (`bridges.backfill_request`)."""
        await self.connection.publish(
            request_topic(measurement_topic), write_request(HistoryRequest(since, until, device)), qos=1
        )

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that a message or the link gave rise to; `stop` ends it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _link_changed(self, up: bool) -> None:
        if not self._listening:
            return
        if up:
            self.hush()
            self.in_background(self._greet_quietly())
        self.announce(Contact.LINK if up else Contact.LOST)

    async def _greet_quietly(self) -> None:
        try:
            await self.greet()
        except UnavailableError as error:
            _log.info("the device is greeted at the next connection", device=self.device.id, reason=str(error))
