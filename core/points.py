"""Points and readings: what is measured, and one measured value."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from core.errors import InvalidError


class Quantity(StrEnum):
    """What a point measures. The unit in which we keep it stands in UNITS."""

    POWER_REAL = "power_real"
    POWER_REACTIVE = "power_reactive"
    POWER_APPARENT = "power_apparent"
    ENERGY_REAL = "energy_real"
    ENERGY_REACTIVE = "energy_reactive"
    ENERGY_APPARENT = "energy_apparent"
    VOLTAGE = "voltage"
    CURRENT = "current"
    FREQUENCY = "frequency"
    TEMPERATURE = "temperature"
    HEAT_POWER = "heat_power"
    HEAT_ENERGY = "heat_energy"
    VOLUME = "volume"
    VOLUME_FLOW = "volume_flow"
    CHARGE = "charge"
    STATE = "state"
    PULSES = "pulses"
    COUNT = "count"


UNITS: dict[Quantity, str] = {
    Quantity.POWER_REAL: "W",
    Quantity.POWER_REACTIVE: "var",
    Quantity.POWER_APPARENT: "VA",
    Quantity.ENERGY_REAL: "Wh",
    Quantity.ENERGY_REACTIVE: "varh",
    Quantity.ENERGY_APPARENT: "VAh",
    Quantity.VOLTAGE: "V",
    Quantity.CURRENT: "A",
    Quantity.FREQUENCY: "Hz",
    Quantity.TEMPERATURE: "Cel",
    Quantity.HEAT_POWER: "W",
    Quantity.HEAT_ENERGY: "Wh",
    Quantity.VOLUME: "l",
    Quantity.VOLUME_FLOW: "l/h",
    Quantity.CHARGE: "%",
    Quantity.STATE: "",
    Quantity.PULSES: "count",
    Quantity.COUNT: "",
}
"""The unit of every quantity inside evenload; unit codes as in SenML (RFC 8428, RFC 8798)."""

_FACTORS: dict[str, tuple[str, float]] = {
    "kW": ("W", 1e3),
    "MW": ("W", 1e6),
    "kvar": ("var", 1e3),
    "kVA": ("VA", 1e3),
    "kWh": ("Wh", 1e3),
    "MWh": ("Wh", 1e6),
    "J": ("Wh", 1 / 3600),
    "kvarh": ("varh", 1e3),
    "kVAh": ("VAh", 1e3),
    "Wmin": ("Wh", 1 / 60),
    "mV": ("V", 1e-3),
    "mA": ("A", 1e-3),
    "m3": ("l", 1e3),
    "m³": ("l", 1e3),
    "L": ("l", 1.0),
    "m3/h": ("l/h", 1e3),
    "m³/h": ("l/h", 1e3),
    "l/s": ("l/h", 3600.0),
    "°C": ("Cel", 1.0),
    "C": ("Cel", 1.0),
}


def to_unit(value: float, unit: str, wanted: str) -> float:
    """Convert a value to the unit that evenload keeps. Raises InvalidError for units of another quantity."""
    if unit == wanted:
        return value
    base, factor = _FACTORS.get(unit, (unit, 1.0))
    if base != wanted:
        raise InvalidError(f"Cannot turn {unit or 'a bare number'} into {wanted}.")
    return value * factor


class Kind(StrEnum):
    """How a value relates to its time."""

    INSTANT = "instant"
    MEAN = "mean"
    SUM = "sum"
    REGISTER = "register"


class Flow(StrEnum):
    """Which way the energy goes, seen from the grid connection; NET is import minus export."""

    IMPORT = "import"
    EXPORT = "export"
    NET = "net"


class Phase(StrEnum):
    """The phase of a measurement."""

    TOTAL = "total"
    L1 = "l1"
    L2 = "l2"
    L3 = "l3"


class Quality(StrEnum):
    """How far a value may be trusted."""

    GOOD = "good"
    ESTIMATED = "estimated"
    UNCERTAIN = "uncertain"
    STALE = "stale"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that can be read from a device: `meter.energy`, `heater.power`."""

    id: str
    quantity: Quantity
    kind: Kind
    flow: Flow = Flow.IMPORT
    phase: Phase = Phase.TOTAL

    @property
    def unit(self) -> str:
        """The unit of its values."""
        return UNITS[self.quantity]


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one point.

    `start` is aware UTC. `duration` is set for MEAN and SUM values (the value covers [start, start + duration)) and
    None for INSTANT and REGISTER values. `value` is in the point's unit.
    """

    point: str
    start: datetime
    value: float
    duration: timedelta | None = None
    quality: Quality = Quality.GOOD

    def __post_init__(self) -> None:
        if self.start.tzinfo is not UTC and self.start.utcoffset() != timedelta():
            raise InvalidError(f"Reading of {self.point}: {self.start!r} is not UTC.")
