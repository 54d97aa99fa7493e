"""Signals, and the table of well-known ones (2.0b table 1, catalogue 2c)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.target import EVERYTHING, Target, check_only_device_classes
from openadr.model.units import ItemBase


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval of a signal or baseline: its uid is its place in the sequence (EV-01), it has no start (EV-03)."""

    duration: Duration
    value: float


@dataclass(frozen=True, slots=True)
class Signal:
    """One eiEventSignal.

    `target` may only name device classes (EV-31). `current_value` is what a delivery said; it is computed on sending
    (EV-26, EV-27), never stored.
    """

    name: str
    type: str
    signal_id: str
    intervals: tuple[Interval, ...]
    item_base: ItemBase | None = None
    target: Target = EVERYTHING
    current_value: float | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """An eiEventBaseline: what the VTN thinks would have been used, as an aggregate of `resource_ids` (EV-37)."""

    start: datetime
    duration: Duration
    intervals: tuple[Interval, ...]
    baseline_id: str
    name: str
    resource_ids: tuple[str, ...] = ()
    item_base: ItemBase | None = None


def _any(_: float) -> bool:
    return True


def _level(value: float) -> bool:
    return value in (0, 1, 2, 3)


def _share(value: float) -> bool:
    return 0.0 <= value <= 1.0


def _whole(value: float) -> bool:
    return float(value).is_integer()


def _dispatch_level(value: float) -> bool:
    return _whole(value) and -10 <= value <= 10  # noqa: PLR2004


_POWER: Final = frozenset({"powerReal", "powerApparent", "powerReactive"})
_ENERGY: Final = frozenset({"energyReal", "energyApparent", "energyReactive"})
_PER_KWH: Final = frozenset({"currencyPerKWh"})
_PER_KW: Final = frozenset({"currencyPerKW"})
_NO_UNIT: Final[frozenset[str]] = frozenset()

SIGNAL_TABLE: Final[dict[tuple[str, str], tuple[frozenset[str], Callable[[float], bool], str]]] = {
    ("SIMPLE", "level"): (_NO_UNIT, _level, "0, 1, 2 or 3"),
    ("ELECTRICITY_PRICE", "price"): (_PER_KWH, _any, "any"),
    ("ELECTRICITY_PRICE", "priceRelative"): (_PER_KWH, _any, "any"),
    ("ELECTRICITY_PRICE", "priceMultiplier"): (_NO_UNIT, _any, "any"),
    ("ENERGY_PRICE", "price"): (_PER_KWH, _any, "any"),
    ("ENERGY_PRICE", "priceRelative"): (_PER_KWH, _any, "any"),
    ("ENERGY_PRICE", "priceMultiplier"): (_NO_UNIT, _any, "any"),
    ("DEMAND_CHARGE", "price"): (_PER_KW, _any, "any"),
    ("DEMAND_CHARGE", "priceRelative"): (_PER_KW, _any, "any"),
    ("DEMAND_CHARGE", "priceMultiplier"): (_NO_UNIT, _any, "any"),
    ("BID_PRICE", "price"): (frozenset({"currency"}), _any, "any"),
    ("BID_LOAD", "setpoint"): (_POWER, _any, "any"),
    ("BID_ENERGY", "setpoint"): (_ENERGY, _any, "any"),
    ("CHARGE_STATE", "setpoint"): (_ENERGY, _any, "any"),
    ("CHARGE_STATE", "delta"): (_ENERGY, _any, "any"),
    ("CHARGE_STATE", "multiplier"): (_NO_UNIT, _share, "0.0 to 1.0"),
    ("LOAD_DISPATCH", "setpoint"): (_POWER, _any, "any"),
    ("LOAD_DISPATCH", "delta"): (_POWER, _any, "any"),
    ("LOAD_DISPATCH", "multiplier"): (_NO_UNIT, _any, "any"),
    ("LOAD_DISPATCH", "level"): (_POWER, _dispatch_level, "a whole number from -10 to 10"),
    ("LOAD_CONTROL", "x-loadControlCapacity"): (_NO_UNIT, _share, "0.0 to 1.0"),
    ("LOAD_CONTROL", "x-loadControlLevelOffset"): (_NO_UNIT, _whole, "a whole number"),
    ("LOAD_CONTROL", "x-loadControlSetpoint"): (_NO_UNIT, _any, "any"),
    ("LOAD_CONTROL", "x-loadControlPercentOffset"): (_NO_UNIT, _any, "any"),
}
"""(signalName, signalType) -> (allowed itemBase names, value test, its words). EV-24, EV-25, EV-29."""

WELL_KNOWN_SIGNALS: Final = frozenset(name for name, _ in SIGNAL_TABLE)


def check_signal(signal: Signal) -> None:
    """Raise InvalidError if the signal breaks the signal table, interval or target rules (EV-24..EV-31).

    Names starting with `x-` are outside the table and only their intervals and target are checked (GN-14).
    """
    if not signal.intervals:
        raise InvalidError(f"Signal {signal.name} has no intervals.")
    check_only_device_classes(signal.target)
    if signal.name.startswith("x-"):
        return
    try:
        units, accepts, wanted = SIGNAL_TABLE[signal.name.upper(), signal.type]
    except KeyError:
        raise InvalidError(f"Signal {signal.name}/{signal.type} is not in OpenADR's table of signals.") from None
    unit = signal.item_base.name if signal.item_base else None
    if (unit is None) != (not units) or (unit is not None and unit not in units):
        raise InvalidError(f"{signal.name}/{signal.type} takes {' or '.join(sorted(units)) or 'no unit'}, not {unit}.")
    for uid, interval in enumerate(signal.intervals):
        if not accepts(interval.value):
            raise InvalidError(f"{signal.name}/{signal.type} takes {wanted}; interval {uid} says {interval.value:g}.")
