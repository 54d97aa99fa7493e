"""What can be read of entities: sensors by device class, unit and state class, and what their names say of the way.

Source: Home Assistant's "Sensor" and "Binary sensor" pages (device classes, state classes), 2025. Home Assistant does
not say which phase a value is of, nor which way energy goes; names do, and only those of the usual words are believed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any, Final

from bridges.connected_device import POINTS
from bridges.discovery.homeassistant_messages import Entity, printable, words
from bridges.discovery.homeassistant_sources import Sources, heard_words, spelled
from core.errors import InvalidError
from core.points import UNITS, Flow, Kind, Phase, Quantity

MOST_POINTS: Final = 100
"""Of a device template."""

_CLASSES: Final = {
    "apparent_energy": Quantity.ENERGY_APPARENT,
    "apparent_power": Quantity.POWER_APPARENT,
    "current": Quantity.CURRENT,
    "energy": Quantity.ENERGY_REAL,
    "frequency": Quantity.FREQUENCY,
    "power": Quantity.POWER_REAL,
    "reactive_energy": Quantity.ENERGY_REACTIVE,
    "reactive_power": Quantity.POWER_REACTIVE,
    "temperature": Quantity.TEMPERATURE,
    "voltage": Quantity.VOLTAGE,
}
_ENERGIES: Final = (Quantity.ENERGY_REAL, Quantity.ENERGY_REACTIVE, Quantity.ENERGY_APPARENT)
_SCALES: Final[Mapping[str, tuple[Quantity, float, float]]] = {
    "mW": (Quantity.POWER_REAL, 1e-3, 0.0),
    "W": (Quantity.POWER_REAL, 1.0, 0.0),
    "kW": (Quantity.POWER_REAL, 1e3, 0.0),
    "MW": (Quantity.POWER_REAL, 1e6, 0.0),
    "mVA": (Quantity.POWER_APPARENT, 1e-3, 0.0),
    "VA": (Quantity.POWER_APPARENT, 1.0, 0.0),
    "kVA": (Quantity.POWER_APPARENT, 1e3, 0.0),
    "mvar": (Quantity.POWER_REACTIVE, 1e-3, 0.0),
    "var": (Quantity.POWER_REACTIVE, 1.0, 0.0),
    "kvar": (Quantity.POWER_REACTIVE, 1e3, 0.0),
    "mWh": (Quantity.ENERGY_REAL, 1e-3, 0.0),
    "Wh": (Quantity.ENERGY_REAL, 1.0, 0.0),
    "kWh": (Quantity.ENERGY_REAL, 1e3, 0.0),
    "MWh": (Quantity.ENERGY_REAL, 1e6, 0.0),
    "GWh": (Quantity.ENERGY_REAL, 1e9, 0.0),
    "J": (Quantity.ENERGY_REAL, 1 / 3600, 0.0),
    "kJ": (Quantity.ENERGY_REAL, 1e3 / 3600, 0.0),
    "MJ": (Quantity.ENERGY_REAL, 1e6 / 3600, 0.0),
    "GJ": (Quantity.ENERGY_REAL, 1e9 / 3600, 0.0),
    "VAh": (Quantity.ENERGY_APPARENT, 1.0, 0.0),
    "kVAh": (Quantity.ENERGY_APPARENT, 1e3, 0.0),
    "varh": (Quantity.ENERGY_REACTIVE, 1.0, 0.0),
    "kvarh": (Quantity.ENERGY_REACTIVE, 1e3, 0.0),
    "µV": (Quantity.VOLTAGE, 1e-6, 0.0),
    "mV": (Quantity.VOLTAGE, 1e-3, 0.0),
    "V": (Quantity.VOLTAGE, 1.0, 0.0),
    "kV": (Quantity.VOLTAGE, 1e3, 0.0),
    "mA": (Quantity.CURRENT, 1e-3, 0.0),
    "A": (Quantity.CURRENT, 1.0, 0.0),
    "Hz": (Quantity.FREQUENCY, 1.0, 0.0),
    "kHz": (Quantity.FREQUENCY, 1e3, 0.0),
    "°C": (Quantity.TEMPERATURE, 1.0, 0.0),
    "°F": (Quantity.TEMPERATURE, 5 / 9, -160 / 9),
}
"""Units as Home Assistant spells them: the quantity, and how a number becomes one of our unit."""
_NATIVE: Final = frozenset({"kW", "MW", "kvar", "kVA", "kWh", "MWh", "J", "kvarh", "kVAh", "mV", "mA", "°C"})
"""Those that a template's `unit` takes, so that it need not be reckoned."""
_ALIASES: Final = {"VAr": "var", "kVAr": "kvar", "VArh": "varh", "kVArh": "kvarh", "C": "°C", "F": "°F", "μV": "µV"}

_EXPORT: Final = frozenset(
    words("""
        export exported exports returned return injected injection feedin feed sold produced production generated
        generation yield solar pv discharge discharged discharging
    """)
)
_IMPORT: Final = frozenset(words("import imported imports consumed consumption delivered bought charge charged usage"))
_NET: Final = frozenset({"net", "balance"})
_NOT_NOW: Final = frozenset(
    words("""
        limit max maximum min minimum peak average avg setpoint target nominal rated threshold forecast expected alarm
        calibration offset
    """)
)
_PERIODS: Final = frozenset(
    words("today yesterday tomorrow daily day weekly week monthly month yearly year hourly hour last session period")
)
_HEAT: Final = frozenset(words("heat heating thermal cooling pool dhw ww warmwater solarthermal"))
_PLAIN: Final = frozenset(
    words("""
        energy power voltage current frequency total sum active real electric electricity electrical now instant
        instantaneous value measured state sensor meter grid in from to out ac the a b c l phase w wh kwh v hz net
        balance consumption consumed usage delivered import imported export exported returned injected production
        produced
    """)
)
"""Words that say no more than what a value is anyway."""
_PHASE: Final = re.compile(r"(?:^|[^a-z0-9])(?:l|phase[ _-]?)([123abc])(?:$|[^a-z0-9])")
_PHASES: Final = {"1": Phase.L1, "2": Phase.L2, "3": Phase.L3, "a": Phase.L1, "b": Phase.L2, "c": Phase.L3}
_COMFORT: Final = (Quantity.TEMPERATURE, Quantity.STATE)
_STATES: Final = frozenset({"battery_charging", "heat", "plug", "power", "running"})
_WORD: Final = re.compile(r"[A-Za-z0-9 _.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class Measured:
    """What can be read of an entity: where, and what it is. `odd` counts words of its names that say more than that."""

    entity: Entity
    source: dict[str, Any]
    quantity: Quantity
    kind: Kind
    flow: Flow
    phase: Phase
    odd: int

    @property
    def meaning(self) -> tuple[Quantity, Kind, Flow, Phase]:
        """Return what it is, as the usual points have it."""
        return self.quantity, self.kind, self.flow, self.phase


def scale(unit: str) -> tuple[Quantity, float, float]:
    """Return the quantity of a unit, and by what (and what is added then) a number becomes one of our unit.

    Raises InvalidError for units of nothing that is read here.
    """
    if (row := _SCALES.get(_ALIASES.get(unit, unit))) is None:
        raise InvalidError(f"Its unit {unit} is of no quantity that is read here." if unit else "It gives no unit.")
    return row


def sensor(entity: Entity, sources: Sources, role: str) -> Measured:
    """Return what a sensor measures. Raises InvalidError for what is no quantity of ours, or no measurement."""
    options = entity.options
    given = options.get("device_class")
    if given is not None and not (isinstance(given, str) and given in _CLASSES):
        raise InvalidError(f"Its device class {printable(given, 40)} is no quantity of ours.")
    unit = printable(options.get("unit_of_measurement"), 20)
    quantity, factor, offset = scale(unit)
    if given is not None and _CLASSES[given] is not quantity:
        raise InvalidError(f"Its device class {given:.40} does not fit to its unit {unit}.")
    names = entity.words()
    kind = _kind(quantity, options.get("state_class"), names)
    if quantity is Quantity.TEMPERATURE and options.get("entity_category") is not None:
        raise InvalidError("It is a temperature of the device itself.")
    source = sources.heard(options.get("state_topic"), options.get("value_template"))
    source |= _unit(_ALIASES.get(unit, unit), quantity, factor, offset)
    flow = _flow(quantity, names, role)
    odd = sum(word not in _PLAIN and not word.isdecimal() for word in names)
    return Measured(entity, source, quantity, kind, flow, _phase(entity), odd)


def temperature(entity: Entity, sources: Sources) -> Measured | None:
    """Return the temperature that a climate or water heater measures, if it does."""
    options = entity.options
    topic = options.get("current_temperature_topic")
    if topic in (None, ""):
        return None
    fahrenheit = options.get("temperature_unit") == "F"
    source = sources.heard(topic, options.get("current_temperature_template"))
    source |= _unit("°F", *scale("°F")) if fahrenheit else {"unit": "°C"}
    return Measured(entity, source, Quantity.TEMPERATURE, Kind.INSTANT, Flow.IMPORT, Phase.TOTAL, 0)


def state(entity: Entity, sources: Sources) -> Measured:
    """Return what a binary sensor says, as 1 and 0. Raises InvalidError."""
    options = entity.options
    given = printable(options.get("device_class"), 40)
    if given not in _STATES:
        raise InvalidError(f"Its device class {given or '(none)'} is no state that is read here.")
    source = sources.heard(options.get("state_topic"), options.get("value_template"))
    on, off = options.get("payload_on", "ON"), options.get("payload_off", "OFF")
    meanings = heard_words({"on": [on], "off": [off]})
    if not all(_WORD.fullmatch(word) for word in meanings) or "template" in source:
        raise InvalidError("What it says is no plain word.")
    value = _value_of(source.pop("path", None))
    lists = {
        ours: ", ".join(f"'{word.lower()}'" for word, meaning in meanings.items() if meaning == ours)
        for ours in ("on", "off")
    }
    source["template"] = (
        f"{{% set said = {value} | string | lower | trim %}}"
        f"{{{{ 1 if said in [{lists['on']}] else 0 if said in [{lists['off']}] else none }}}}"
    )
    if {spelled(on).lower()} & {spelled(off).lower()}:
        raise InvalidError("Its words for on and off are the same.")
    return Measured(entity, source, Quantity.STATE, Kind.INSTANT, Flow.IMPORT, Phase.TOTAL, 0)


def _value_of(path: str | None) -> str:
    if path is None:
        return "value"
    parts = path.split(".")
    if not all(re.fullmatch(r"[A-Za-z0-9_ -]+", part) for part in parts):
        raise InvalidError("The way to what it says is not plain.")
    return "value_json" + "".join(f"[{part}]" if part.isdecimal() else f"['{part}']" for part in parts)


def _kind(quantity: Quantity, state_class: object, names: Sequence[str]) -> Kind:
    if not _NOT_NOW.isdisjoint(names):
        raise InvalidError("Its name says that it is no measurement.")
    if quantity not in _ENERGIES:
        return Kind.INSTANT
    if state_class == "measurement":
        raise InvalidError("It says that its energy is no counter.")
    if not _PERIODS.isdisjoint(names) or any(name.endswith("day") for name in names):
        raise InvalidError("It counts a day, a month or the like, so it is not the meter's register.")
    if _is_heat(names):
        raise InvalidError("Its name says that it is heat.")
    return Kind.REGISTER


def _is_heat(names: Sequence[str]) -> bool:
    """Tell whether energy is heat; heating systems count what they take, and what they give."""
    text = " ".join(names)
    if re.search(r"cons|elec|power meter", text):
        return False
    return not _HEAT.isdisjoint(text.replace("heat pump", "").split()) or "supp" in text


def _flow(quantity: Quantity, names: Sequence[str], role: str) -> Flow:
    if quantity not in (Quantity.POWER_REAL, Quantity.ENERGY_REAL):
        return Flow.IMPORT
    if not _NET.isdisjoint(names):
        return Flow.NET
    if not _EXPORT.isdisjoint(names):
        return Flow.EXPORT
    return Flow.EXPORT if role == "pv" and _IMPORT.isdisjoint(names) else Flow.IMPORT


def _phase(entity: Entity) -> Phase:
    for text in (entity.object_id, entity.name):
        if match := _PHASE.search(text.lower()):
            return _PHASES[match[1]]
    return Phase.TOTAL


def _unit(unit: str, quantity: Quantity, factor: float, offset: float) -> dict[str, Any]:
    """Return unit, scale and offset of a point, the shortest way."""
    if unit == UNITS[quantity] or unit in _NATIVE:
        return {"unit": unit}
    return {"unit": UNITS[quantity], "scale": factor} | ({"offset": offset} if offset else {})


def named(measured: Sequence[Measured]) -> tuple[dict[str, dict[str, Any]], list[Measured]]:
    """Give points their names: the usual ones to what is plainly that, others after their entities.

    Returns the points, those of electricity first, and those for which there was no room.
    """
    usual = {meaning: name for name, meaning in POINTS.items()}
    points: dict[str, dict[str, Any]] = {}
    others: list[Measured] = []
    for entry in sorted(measured, key=lambda entry: (entry.odd, len(entry.entity.words()), entry.entity.object_id)):
        name = usual.get(entry.meaning) or usual.get(_of_one_phase(entry, measured))
        if name is None or name in points or (entry.odd and _has_rivals(entry, measured)):
            others.append(entry)
        else:
            points[name] = entry.source
    others.sort(key=lambda entry: (entry.quantity in _COMFORT, entry.entity.object_id))
    room = MOST_POINTS - len(points)
    for entry in others[:room]:
        points[_own_name(entry.entity, points)] = entry.source | _described(entry)
    return points, others[room:]


def _of_one_phase(entry: Measured, measured: Sequence[Measured]) -> tuple[Quantity, Kind, Flow, Phase]:
    """Return the meaning of a voltage or current without a phase: a device that names none has one."""
    phases = {other.phase for other in measured if other.quantity is entry.quantity}
    phase = Phase.L1 if entry.phase is Phase.TOTAL and Phase.L1 not in phases else entry.phase
    return entry.quantity, entry.kind, entry.flow, phase


def _has_rivals(entry: Measured, measured: Sequence[Measured]) -> bool:
    return any(other is not entry and other.meaning == entry.meaning for other in measured)


def _own_name(entity: Entity, taken: Mapping[str, object]) -> str:
    of_device = set(words(entity.device, entity.device_name))
    ids = list(dropwhile(of_device.__contains__, words(entity.object_id)))
    slug = "_".join(ids or words(entity.object_id) or words(entity.name)) or "value"
    slug = (slug if slug[0].isalpha() else f"p_{slug}")[:60]
    name, count = slug, 1
    while name in taken or name in POINTS:
        count += 1
        name = f"{slug}_{count}"
    return name


def _described(entry: Measured) -> dict[str, Any]:
    described: dict[str, Any] = {"quantity": entry.quantity.value, "kind": entry.kind.value}
    if entry.flow is not Flow.IMPORT:
        described["flow"] = entry.flow.value
    if entry.phase is not Phase.TOTAL:
        described["phase"] = entry.phase.value
    return described
