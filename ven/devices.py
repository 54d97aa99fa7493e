"""From the household's devices to drivers, and what the drivers say their devices can do."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from bridges.connections import Connection, NoConnection
from bridges.device import (
    Capability,
    CapabilityKind,
    Command,
    Contact,
    Device,
    DeviceSpec,
    Driver,
    Observable,
    Reverting,
    StateListener,
    Value,
)
from bridges.drivers import DriverModule, load
from core.clock import Clock
from core.errors import InvalidError
from core.points import Flow, Kind, Phase, Quantity, Reading
from ven.household import CapabilityLimits, DeviceEntry, Household
from ven.reports import Metered


def make_drivers(household: Household, connections: Mapping[str, Connection], clock: Clock) -> dict[str, Driver]:
    """Return the driver of every device, with the household's limits applied. Raises InvalidError."""
    drivers = {}
    for entry in household.devices:
        module = load(entry.driver, household.templates)
        name = household.connection_name(entry, module.CONNECTION)
        drivers[entry.id] = make_driver(entry, module, NoConnection() if name is None else connections[name], clock)
    return drivers


def make_driver(entry: DeviceEntry, module: DriverModule, connection: Connection, clock: Clock) -> Driver:
    """Return the driver of one device."""
    spec = DeviceSpec(entry.id, entry.driver, entry.role, entry.nominal_w, entry.options)
    driver = module.create(spec, connection, clock)
    if not entry.capabilities:
        return driver
    return Limited(driver, _limited(driver.describe(), entry.capabilities))


def describe(household: Household, clock: Clock) -> dict[str, Device]:
    """Return every device as its driver describes it, without touching one."""
    nowhere = dict.fromkeys(household.all_connections(), NoConnection())
    return {name: driver.describe() for name, driver in make_drivers(household, nowhere, clock).items()}


def metered(household: Household, devices: Mapping[str, Device]) -> tuple[Metered, ...]:
    """Return where each resource's energy is read: its meter's import register, else its power; and its export."""
    found = []
    for resource in household.all_resources():
        device = devices.get(resource.meter) if resource.meter else None
        points = device.points if device else ()
        registers = [one for one in points if (one.quantity, one.kind) == (Quantity.ENERGY_REAL, Kind.REGISTER)]
        totals = [one for one in registers if one.phase is Phase.TOTAL]
        register = next((one.id for one in totals if one.flow is not Flow.EXPORT), None)
        export = next((one.id for one in totals if one.flow is Flow.EXPORT), None)
        powers = [one for one in points if one.quantity is Quantity.POWER_REAL and one.phase is Phase.TOTAL]
        power = next((one.id for one in powers if one.flow is not Flow.EXPORT), None)
        found.append(Metered(resource.id, register, power, export if register else None))
    return tuple(found)


def _limited(device: Device, limits: Mapping[CapabilityKind, CapabilityLimits]) -> Device:
    names = {one.name for one in device.capabilities}
    if unknown := sorted(set(limits) - names):
        raise InvalidError(
            f"Device {device.id} has no {', '.join(unknown)}; it has {', '.join(sorted(names)) or 'none'}."
        )
    return replace(
        device,
        capabilities=tuple(
            _narrow(one, limits[one.name]) if one.name in limits else one for one in device.capabilities
        ),
    )


def _narrow(capability: Capability, limits: CapabilityLimits | None) -> Capability:
    if limits is None:
        return capability
    given = {name: value for name in ("floor", "low", "high", "normal") if (value := getattr(limits, name)) is not None}
    interval = limits.min_interval.timedelta() if limits.min_interval else capability.min_interval
    return _checked(replace(capability, min_interval=interval, **given))


def _checked(capability: Capability) -> Capability:
    """Return a capability whose normal state the device takes: else it might be left as an event had it."""
    name, normal = capability.name, capability.normal
    if capability.values and normal not in capability.values:
        raise InvalidError(f"{name}.normal is {' or '.join(capability.values)}, not {normal!s:.40}.")
    if not capability.values and isinstance(normal, str):
        raise InvalidError(f"{name}.normal is a number, not '{normal:.40}'.")
    if capability.high is not None and capability.high < capability.least:
        raise InvalidError(f"{name} has nothing between {capability.least:g} and {capability.high:g} to be set to.")
    return capability


class Limited:
    """A driver whose device is described with the household's own limits."""

    def __init__(self, inner: Driver, device: Device) -> None:
        self.inner = inner
        self._device = device

    def describe(self) -> Device:
        """Return what the device may do."""
        return self._device

    async def start(self, on_reading: Callable[[Reading], None], on_state: StateListener) -> None:
        """Begin to listen."""
        await self.inner.start(on_reading, on_state)

    async def stop(self) -> None:
        """Stop listening."""
        await self.inner.stop()

    @property
    def online(self) -> bool:
        """Whether the device is believed to be reachable now."""
        return self.inner.online

    def state(self, capability: CapabilityKind) -> Value | None:
        """Return the last state that the device itself reported."""
        return self.inner.state(capability)

    async def apply(self, capability: CapabilityKind, value: Value, until: datetime | None) -> None:
        """Send an order."""
        await self.inner.apply(capability, value, until)

    def recall(self, capability: CapabilityKind, before: Value | None, order: Command) -> None:
        """Pass on what an earlier life told the device, if its driver wants to know."""
        if isinstance(self.inner, Reverting):
            self.inner.recall(capability, before, order)

    def observe(self, on_contact: Callable[[Contact], None]) -> None:
        """Pass on what the driver tells of its contact, if it does."""
        if isinstance(self.inner, Observable):
            self.inner.observe(on_contact)
