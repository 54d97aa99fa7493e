"""What can be set of entities: switches, limits, setpoints and modes, as far as their names and units leave no doubt.

Source: Home Assistant's pages on the MQTT integrations switch, light, number, select, climate and water heater, 2025.
A device has one capability of a kind here. Where several entities could be it and none is plainly the one, none is
taken: switching the wrong thing is worse than switching nothing.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

from bridges.device import CapabilityKind
from bridges.discovery.homeassistant_messages import Entity, printable, words
from bridges.discovery.homeassistant_points import scale
from bridges.discovery.homeassistant_sources import Sources, heard_words
from bridges.template import CapabilityBody
from core.errors import InvalidError
from core.fault_words import faults_in_a_line
from core.points import Quantity

_MOST_OPTIONS: Final = 50
SWITCHING: Final = frozenset(
    words("""
        switch relay state power output plug socket outlet on off load channel light main heater pump boiler charger
        charging heating enable enabled active activated heatingactivated wwactivated dhw hc hp heat rl
    """)
)
"""Words of what switches the device itself."""
_LIMITING: Final = frozenset(words("limit limitation hppowerlimit powerlimit max maximum"))
_EXPORTING: Final = frozenset(words("export feed feedin injection production generation inverter"))
_CHARGING: Final = frozenset(words("charge charging charger current limit max maximum ampere amps wallbox evse"))
_SETPOINTS: Final = frozenset(words("setpoint seltemp target selected thermostat settemp"))
_STORING: Final = frozenset(words("setpoint charge discharge"))
_MODES: Final = frozenset(words("mode operation operating operationmode"))
_NORMAL: Final = ("auto", "automatic", "normal", "standard", "heat_cool", "heat", "eco", "comfort", "on")
_CONFIGURED: Final = frozenset({"number", "switch"})
"""Components of which some publishers announce as configuration what others announce plainly; all else is one."""
_AFTER: Final = 10
_OF_INVERTERS: Final = {CapabilityKind.IMPORT_LIMIT: CapabilityKind.EXPORT_LIMIT}
_ROOM_C: Final = 20.0
_WATER_C: Final = 50.0


@dataclass(frozen=True, slots=True)
class Settable:
    """Something that an entity can be told. Of several of a kind the one of least `rank` is meant."""

    entity: Entity
    kind: CapabilityKind
    rank: int
    body: dict[str, Any]


def settable(entity: Entity, sources: Sources, role: str) -> list[Settable]:
    """Return what an entity of a device of that role can be told.

    Raises InvalidError where that is nothing that is set here.
    """
    category = entity.options.get("entity_category")
    if category is not None and not (category == "config" and entity.component in _CONFIGURED):
        raise InvalidError("It is a setting of the device, not of what it does.")
    entries = [_checked(entry) for entry in _READERS[entity.component](entity, sources)]
    if category is not None:
        entries = [replace(entry, rank=entry.rank + _AFTER) for entry in entries]
    if role == "pv":  # what limits an inverter limits what it feeds in
        entries = [replace(entry, kind=_OF_INVERTERS.get(entry.kind, entry.kind)) for entry in entries]
    return entries


def chosen(entries: list[Settable]) -> tuple[dict[CapabilityKind, Settable], list[tuple[Settable, str]]]:
    """Return the one of each kind, and the others with the reason."""
    result: dict[CapabilityKind, Settable] = {}
    others: list[tuple[Settable, str]] = []
    for kind in CapabilityKind:
        ranked = sorted((entry for entry in entries if entry.kind is kind), key=lambda entry: entry.rank)
        if not ranked:
            continue
        first = [entry for entry in ranked if entry.rank == ranked[0].rank]
        if len(first) == 1:
            result[kind] = first[0]
            others += [(entry, f"{first[0].entity.label} is the device's {kind} already.") for entry in ranked[1:]]
        else:
            why = f"None of {len(ranked)} is plainly the {kind} of the device."
            others += [(entry, why) for entry in ranked]
    return result, others


def _checked(entry: Settable) -> Settable:
    try:
        CapabilityBody.model_validate_json(json.dumps(entry.body))
    except ValidationError as error:
        raise InvalidError(faults_in_a_line(error.errors())) from error
    return entry


def _switch(entity: Entity, sources: Sources) -> Iterator[Settable]:
    # Either of its names may say so: some publishers translate the one, some put addresses into the other.
    odd = min((_odd(entity, text) for text in (entity.object_id, entity.name)), key=len)
    if odd and not ("name" in entity.options and entity.options["name"] is None):  # without a name it is the device
        raise InvalidError(f"Its name ({' '.join(odd)[:40]}) does not say that it switches the device itself.")
    yield Settable(entity, CapabilityKind.SWITCH, 0, _switch_body(entity, sources, "value_template", "on"))


def _odd(entity: Entity, text: str) -> list[str]:
    of_device = words(entity.device_name, entity.device)
    names = [word for word in words(text) if word not in of_device and not word.isdecimal() and word != "l"]
    return [word for word in names if word not in SWITCHING] if words(text) else ["no", "name"]


def _light(entity: Entity, sources: Sources) -> Iterator[Settable]:
    options = entity.options
    schema = options.get("schema", "basic")
    if schema == "json":
        state = sources.state(entity, text="")
        state |= {"path": "state", "words": heard_words({"on": ["ON"], "off": ["OFF"]})}
        topic = sources.topic(options.get("command_topic"), "command topic")
        order = {"topic": topic, "payload": '{"state":"{value}"}', "words": {"on": "ON", "off": "OFF"}}
        body = {"values": ["on", "off"], "normal": "off", "state": state, "set": order}
    elif schema in ("basic", "default") and options.get("on_command_type", "last") != "brightness":
        body = _switch_body(entity, sources, "state_value_template", "off")
    else:
        raise InvalidError("It is a light that is not switched by words.")
    yield Settable(entity, CapabilityKind.SWITCH, 1, body)


def _switch_body(entity: Entity, sources: Sources, text: str, normal: str) -> dict[str, Any]:
    options = entity.options
    on, off = options.get("payload_on", "ON"), options.get("payload_off", "OFF")
    state = sources.state(entity, text=text)
    state["words"] = heard_words({"on": [options.get("state_on", on)], "off": [options.get("state_off", off)]})
    order = sources.order_of_words(entity, {"on": on, "off": off})
    return {"values": ["on", "off"], "normal": normal, "state": state, "set": order}


def _number(entity: Entity, sources: Sources) -> Iterator[Settable]:
    options = entity.options
    names = frozenset(entity.words())
    quantity, factor, offset = scale(printable(options.get("unit_of_measurement"), 20))
    if "persistent" in names and "non" not in names:
        raise InvalidError("Its name says that it is written into memory that wears out.")
    low, high = _bound(options, "min", 1.0), _bound(options, "max", 100.0)
    kind, normal, rank = _kind_of_number(quantity, names, low, high)
    scaled = {key: value for key, value in (("scale", factor), ("offset", offset)) if value != float(key == "scale")}
    body: dict[str, Any] = {
        "unit": {Quantity.POWER_REAL: "W", Quantity.CURRENT: "A"}.get(quantity, "Cel"),
        "low": low * factor + offset,
        "high": high * factor + offset,
        "normal": (high if normal is None else min(max(normal, low), high)) * factor + offset,
        "state": sources.state(entity) | scaled,
        "set": sources.order(entity) | scaled,
    }
    yield Settable(entity, kind, rank, body)


def _kind_of_number(
    quantity: Quantity, names: frozenset[str], low: float, high: float
) -> tuple[CapabilityKind, float | None, int]:
    """Return the kind, the normal value (None: the highest) and the rank of a number. Raises InvalidError."""
    match quantity:
        case Quantity.POWER_REAL if not names.isdisjoint(_LIMITING):
            kind = CapabilityKind.IMPORT_LIMIT if names.isdisjoint(_EXPORTING) else CapabilityKind.EXPORT_LIMIT
            return kind, None, 0
        case Quantity.POWER_REAL if low < 0 < high and not names.isdisjoint(_STORING):
            return CapabilityKind.STORAGE_POWER, 0.0, 0
        case Quantity.CURRENT if not names.isdisjoint(_CHARGING):
            return CapabilityKind.CURRENT_LIMIT, None, 0
        case Quantity.TEMPERATURE if not names.isdisjoint(_SETPOINTS):
            rank = 2 if names.isdisjoint(_SETPOINTS - {"selected"}) else 1
            return CapabilityKind.SETPOINT, _WATER_C if high > _WATER_C else _ROOM_C, rank
        case _:
            raise InvalidError("Neither its name nor its unit says that it is a limit or a setpoint.")


def _bound(options: Mapping[str, Any], key: str, otherwise: float) -> float:
    value = options.get(key, otherwise)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidError(f"Its {key} is no number.")
    return number


def _select(entity: Entity, sources: Sources) -> Iterator[Settable]:
    names = entity.words()
    if _MODES.isdisjoint(names):
        raise InvalidError("Its name does not say that it is the device's mode.")
    body = _mode_body(entity, sources, entity.options.get("options"), ("state_topic", "value_template"), "")
    yield Settable(entity, CapabilityKind.MODE, 1 + sum(name not in _MODES for name in names), body)


def _mode_body(
    entity: Entity, sources: Sources, options: object, heard: tuple[str, str], prefix: str
) -> dict[str, Any]:
    if not isinstance(options, list) or not 1 < len(options) <= _MOST_OPTIONS:
        raise InvalidError(f"It has not between 2 and {_MOST_OPTIONS} options.")
    values = [sources.word(option) for option in options]
    normal = next((value for word in _NORMAL for value in values if value.lower() == word), None)
    if normal is None:
        raise InvalidError("None of its options is known as the normal one.")
    meanings = heard_words({value: [value] for value in values})
    state = sources.state(entity, *heard)
    if any(ours != theirs for theirs, ours in meanings.items()):
        state["words"] = meanings
    order = sources.order_of_words(
        entity, {value: value for value in values}, f"{prefix}command_topic", f"{prefix}command_template"
    )
    return {"values": values, "normal": normal, "state": state, "set": order}


def _climate(entity: Entity, sources: Sources) -> Iterator[Settable]:
    """Yield setpoint and mode of a climate or a water heater, as far as each can be used."""
    faults: list[InvalidError] = []
    made: list[Settable] = []
    for part in (_climate_setpoint, _climate_mode):
        try:
            made.append(_checked(part(entity, sources)))
        except InvalidError as error:
            faults.append(error)
    if not made:
        raise faults[0]
    yield from made


def _climate_setpoint(entity: Entity, sources: Sources) -> Settable:
    options = entity.options
    water = entity.component == "water_heater"
    fahrenheit = options.get("temperature_unit") == "F"
    _, factor, offset = scale("°F" if fahrenheit else "°C")
    least, most = (43.3, 60.0) if water else (7.0, 35.0)
    low = _bound(options, "min_temp", (least - offset) / factor) * factor + offset
    high = _bound(options, "max_temp", (most - offset) / factor) * factor + offset
    scaled = {"scale": factor, "offset": offset} if fahrenheit else {}
    state = sources.state(entity, "temperature_state_topic", "temperature_state_template") | scaled
    order = sources.order(entity, "temperature_command_topic", "temperature_command_template") | scaled
    normal = min(max(_WATER_C if water else _ROOM_C, low), high)
    body = {"unit": "Cel", "low": low, "high": high, "normal": normal, "state": state, "set": order}
    return Settable(entity, CapabilityKind.SETPOINT, 0, body)


def _climate_mode(entity: Entity, sources: Sources) -> Settable:
    heard = ("mode_state_topic", "mode_state_template")
    return Settable(
        entity, CapabilityKind.MODE, 0, _mode_body(entity, sources, entity.options.get("modes"), heard, "mode_")
    )


_READERS: Final[Mapping[str, Callable[[Entity, Sources], Iterator[Settable]]]] = {
    "climate": _climate,
    "light": _light,
    "number": _number,
    "select": _select,
    "switch": _switch,
    "water_heater": _climate,
}
SETTABLE: Final = frozenset(_READERS)
"""The components of what can be set."""
