"""Levers: by what a device's consumption is changed, how far, and what it is told for so many watts.

Consumption is counted in watts; what feeds in, such as a battery, draws a negative power.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bridges.device import Capability, CapabilityKind, Device, Value
from core.direction import Direction
from core.errors import InvalidError
from ven.household import Step

_SHIFT: Final = re.compile(r"([+-][0-9]+(?:\.[0-9]+)?) ?(K|%|W|A)?")
_KILO: Final = 1000.0
_SHARED: Final = frozenset({CapabilityKind.CURRENT_LIMIT, CapabilityKind.DUTY})
"""Capabilities that stand for a share of what the device draws without them."""
_ENOUGH: Final = 1e-9
_BY_TURNS: Final = Capability(CapabilityKind.DUTY, 100.0, "%", low=0.0, high=100.0)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a device shall be set to."""

    device: str
    capability: CapabilityKind
    value: Value


@dataclass(frozen=True, slots=True)
class _Scale:
    """A number: at `rest` nothing is changed, and a unit more or less changes `unit_w` watts."""

    capability: Capability
    rest: float
    unit_w: float


@dataclass(frozen=True, slots=True)
class Lever:
    """One way to change what a device draws in a direction, by `most_w` at most.

    All of it at once by `settings`, or as much as is wanted along a scale.
    """

    device: str
    direction: Direction
    most_w: float
    settings: tuple[Setting, ...] = ()
    scale: _Scale | None = None

    def change(self, wanted_w: float) -> tuple[tuple[Setting, ...], float]:
        """Return what changes the device by as much as is wanted, or all it can, and by how many watts."""
        if self.scale is None:
            return self.settings, self.most_w
        capability, rest, unit_w = self.scale.capability, self.scale.rest, self.scale.unit_w
        sign = -1.0 if self.direction is Direction.REDUCE else 1.0
        value = fit(capability, rest + sign * min(wanted_w, self.most_w) / unit_w)
        if not isinstance(value, int | float):
            return (), 0.0
        return (Setting(self.device, capability.name, value),), sign * (value - rest) * unit_w


def levers(device: Device, direction: Direction, step: Step | None = None) -> list[Lever]:
    """Return what changes a device's consumption in a direction, what is finer first.

    A step that says what to tell it leaves no choice.
    """
    if step is not None and step.do is not None:
        settings = tuple(table_settings({device.id: step.do}, {device.id: device}))
        return [Lever(device.id, direction, step.changes_w or 0.0, settings)] if settings else []
    nominal_w = device.nominal_w or 0.0
    found = [_scaled(device, direction, scale, end) for scale, end in _scales(device, direction, nominal_w)]
    usable = [lever for lever in found if lever.most_w > _ENOUGH]
    switch, word = device.capability(CapabilityKind.SWITCH), "off" if direction is Direction.REDUCE else "on"
    if switch is not None and word in switch.values:
        usable.append(Lever(device.id, direction, nominal_w, (Setting(device.id, switch.name, word),)))
    return usable


def _scaled(device: Device, direction: Direction, scale: _Scale, end: Value | None) -> Lever:
    sign = -1.0 if direction is Direction.REDUCE else 1.0
    most_w = sign * (end - scale.rest) * scale.unit_w if isinstance(end, int | float) else 0.0
    return Lever(device.id, direction, max(0.0, most_w), (), scale)


def _scales(device: Device, direction: Direction, nominal_w: float) -> Iterator[tuple[_Scale, Value | None]]:
    """Yield the numbers that change a device's consumption, and how far each may go."""
    for one in device.capabilities:
        if one.values or one.text:
            continue
        if one.name == CapabilityKind.STORAGE_POWER:
            unit_w = _unit_w(one)
            reach = -nominal_w if direction is Direction.REDUCE else nominal_w
            yield _Scale(one, 0.0, unit_w), fit(one, reach / unit_w)
        elif direction is Direction.REDUCE and one.name == CapabilityKind.IMPORT_LIMIT:
            unit_w = _unit_w(one)
            yield _Scale(one, nominal_w / unit_w, unit_w), fit(one, 0.0)
        elif direction is Direction.INCREASE and one.name == CapabilityKind.EXPORT_LIMIT:
            full = _full(one) or nominal_w  # feeding in less is drawing more
            yield _Scale(one, full, -(nominal_w / full if one.unit == "%" else _unit_w(one))), fit(one, 0.0)
        elif direction is Direction.REDUCE and one.name in _SHARED and (full := _full(one)) > 0:
            yield _Scale(one, full, nominal_w / full), fit(one, 0.0)


def _unit_w(capability: Capability) -> float:
    return _KILO if capability.unit == "kW" else 1.0


def _full(capability: Capability) -> float:
    """Return the value of a share at which the device draws its nominal power."""
    if isinstance(capability.normal, int | float):
        return float(capability.normal)
    return capability.high or 0.0


def best(choices: Iterable[Lever], wanted_w: float) -> Lever | None:
    """Return the finest lever that reaches what is wanted, else the one that reaches furthest; None without any."""
    every = list(choices)
    covering = (lever for lever in every if lever.most_w + _ENOUGH >= wanted_w)
    return next(covering, max(every, key=lambda lever: lever.most_w, default=None))


def is_source(device: Device) -> bool:
    """Tell whether a device is there to feed in: what it could draw more is not known by what it drew."""
    return device.capability(CapabilityKind.EXPORT_LIMIT) is not None


def is_storage(device: Device) -> bool:
    """Tell whether a device charges and feeds in: without an order it is taken to do neither."""
    return device.capability(CapabilityKind.STORAGE_POWER) is not None


def capability_of(device: Device, kind: CapabilityKind) -> Capability | None:
    """Return a device's capability of a kind; what can be switched off can have a duty, too: by turns of off and on."""
    own = device.capability(kind)
    if own is None and kind == CapabilityKind.DUTY:
        switch = device.capability(CapabilityKind.SWITCH)
        return _BY_TURNS if switch is not None and "off" in switch.values else None
    return own


def by_turns(device: Device, kind: CapabilityKind) -> bool:
    """Tell whether that is a duty which its switch has to make."""
    return capability_of(device, kind) is _BY_TURNS


def table_settings(
    table: Mapping[str, Mapping[CapabilityKind, Value]], devices: Mapping[str, Device]
) -> Iterator[Setting]:
    """Yield the settings of a table (device -> capability -> value) that its devices can take."""
    for name, wanted in table.items():
        for kind, value in wanted.items() if name in devices else ():
            fitted = fit(capability_of(devices[name], kind), value)
            if fitted is not None:
                yield Setting(name, kind, fitted)


def shifted_value(capability: Capability, word: str) -> float:
    """Return what a word such as `-1K`, `+500W` or `-25%` means: so much more or less than what is normal.

    Raises InvalidError for a word that is none.
    """
    match = _SHIFT.fullmatch(word)
    if match is None or isinstance(capability.normal, str):
        raise InvalidError(f"'{word:.40}' is no number, and no shift such as -1K or -25%.")
    shift = float(match[1])
    return capability.normal * (1 + shift / 100) if match[2] == "%" else capability.normal + shift


def fit(capability: Capability | None, value: Value) -> Value | None:
    """Return a value that the capability can take: words as they are, numbers within its bounds and above its floor."""
    if capability is None:
        return None
    if capability.values or capability.text:
        return value
    if value == "floor":
        return capability.floor
    number = max(float(value) if isinstance(value, int | float) else shifted_value(capability, value), capability.least)
    return min(number, capability.high) if capability.high is not None else number
