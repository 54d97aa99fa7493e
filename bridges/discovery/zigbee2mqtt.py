"""Zigbee devices behind zigbee2mqtt, by its own list of them: `bridge/devices`, with what each `exposes`.

Source: zigbee2mqtt.io, "MQTT topics and messages" and "Exposes" (2.14): features have `property`, `access` (1
published, 2 settable, 4 can be asked for), `unit`, `value_on` and `value_off`; a device with several channels has
properties such as `state_l1`. Each of its switches is a device here; what is measured belongs to the first.

After its own start zigbee2mqtt repeats old states, so its `bridge/state` counts as a start of its devices; when it ends
it leaves their availability as it was, so its own counts, too. Values are not asked for: many plugs cannot be asked for
power and energy (TS011F).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from bridges.discovery import FoundDevice
from bridges.discovery.collecting import BoundedCollector
from bridges.discovery.homeassistant_messages import printable
from bridges.senml import parse_json
from core.errors import InvalidError

SOURCE: Final = "zigbee2mqtt"
_PUBLISHED: Final = 1
_SETTABLE: Final = 2
_IEEE: Final = re.compile(r"0x[0-9a-fA-F]{1,16}")
_PROPERTY: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_NAME: Final = re.compile(r"[^+#\x00-\x1f]{1,200}")
_MOST_EXPOSES: Final = 300
_MOST_SKIPPED: Final = 100
_DEEPEST: Final = 3
_LONGEST_WORD: Final = 60

_POINTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "power": {"quantity": "power_real", "kind": "instant"},
        "energy": {"quantity": "energy_real", "kind": "register"},
        "produced_energy": {"quantity": "energy_real", "kind": "register", "flow": "export"},
        "voltage": {"quantity": "voltage", "kind": "instant"},
        "current": {"quantity": "current", "kind": "instant"},
        "ac_frequency": {"quantity": "frequency", "kind": "instant"},
        "temperature": {"quantity": "temperature", "kind": "instant"},
        "local_temperature": {"quantity": "temperature", "kind": "instant"},
        "device_temperature": {"quantity": "temperature", "kind": "instant"},
        "power_reactive": {"quantity": "power_reactive", "kind": "instant"},
        "power_apparent": {"quantity": "power_apparent", "kind": "instant"},
    }
)
"""What is read, by the property without its channel."""
_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "°C": "°C",
        "℃": "°C",
        "W": "W",
        "kW": "kW",
        "kWh": "kWh",
        "Wh": "Wh",
        "V": "V",
        "mV": "mV",
        "A": "A",
        "mA": "mA",
        "Hz": "Hz",
    }
    | {"VAR": "var", "VAr": "var", "VA": "VA", "var": "var"}
)
_PHASES: Final[Mapping[str, str]] = MappingProxyType(
    {"phase_a": "l1", "phase_b": "l2", "phase_c": "l3", "a": "l1", "b": "l2", "c": "l3"}
)
_NAMES: Final[Mapping[str, str]] = MappingProxyType({"produced_energy": "export_energy", "local_temperature": "room"})
_CHANNEL: Final = re.compile(r"(.+?)_((?:l|phase_)?[a-z0-9]|left|right|top|bottom|center|ep[0-9])")
_ROLES: Final = (
    ("pv", re.compile(r"\b(inverter|solar|photovoltaic)\b", re.IGNORECASE)),
    ("grid_meter", re.compile(r"\b(energy|power|din[- ]rail) ?meter\b|clamp", re.IGNORECASE)),
    ("plug", re.compile(r"\b(plug|socket|outlet)s?\b", re.IGNORECASE)),
)


class Zigbee2MqttCollector(BoundedCollector):
    """Hears one zigbee2mqtt, by its base topic."""

    longest = 4_000_000

    def __init__(self, base: str = "zigbee2mqtt") -> None:
        super().__init__()
        self._base = base
        self.topics = (f"{base}/bridge/devices",)

    def hear(self, topic: str, payload: bytes) -> None:  # noqa: ARG002  there is one topic
        """Take the list. Raises InvalidError."""
        listed = parse_json(payload)
        if not isinstance(listed, list):
            raise InvalidError("zigbee2mqtt's list of devices is a JSON array.")
        self.drop(f"{SOURCE}:")
        for entry in listed:
            try:
                for device in found_devices(entry, self._base):
                    self.put(device)
            except InvalidError as error:
                self.count(str(error))


def found_devices(entry: object, base: str) -> Iterator[FoundDevice]:
    """Yield what an entry of the list makes: a device for each switch; nothing for the coordinator.

    Raises InvalidError for what is none, or of no use here.
    """
    if not isinstance(entry, dict):
        raise InvalidError("An entry of zigbee2mqtt's list is no object.")
    if entry.get("type") == "Coordinator":
        return
    ieee, name, definition = entry.get("ieee_address"), entry.get("friendly_name"), entry.get("definition")
    if not isinstance(ieee, str) or not _IEEE.fullmatch(ieee):
        raise InvalidError("A Zigbee device has no address.")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith(("bridge/", "/")):
        raise InvalidError("A Zigbee device has a name that can be no topic.")
    if not isinstance(definition, dict) or not isinstance(definition.get("exposes"), list):
        raise InvalidError("A Zigbee device is not supported by zigbee2mqtt, or not interviewed yet.")
    about = printable(definition.get("description"), 200)
    role = next((role for role, words in _ROLES if words.search(about)), "")
    maker, model = printable(definition.get("vendor")), printable(definition.get("model"))
    exposed = read_exposes(definition["exposes"], f"{base}/{name}")
    for number, (switch, points) in enumerate(exposed.parts()):
        label = (
            printable(name) if number == 0 or switch is None else f"{printable(name)} {switch.removeprefix('state_')}"
        )
        template = _template(base, name, label, about, points, exposed.switches.get(switch or ""))
        key = f"{SOURCE}:{ieee}" if number == 0 else f"{SOURCE}:{ieee}/{switch}"
        skipped = tuple(exposed.skipped) if number == 0 else ()
        yield FoundDevice(key, SOURCE, label, maker, model, role, None, {}, template, skipped)


@dataclass(slots=True)
class Exposed:
    """What a device exposes that is of use here: its switches and points by name; the rest with the reason."""

    switches: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def parts(self) -> list[tuple[str | None, dict[str, dict[str, Any]]]]:
        """Return the devices that it makes: the name of a switch, if any, and the points that go with it."""
        names: list[str | None] = list(self.switches) or [None]
        return [(name, self.points if number == 0 else {}) for number, name in enumerate(names)]


def read_exposes(exposes: Sequence[Any], topic: str) -> Exposed:
    """Read what a device exposes. Raises InvalidError where nothing of it is of use here."""
    found = Exposed()
    for feature in _features(exposes, 0):
        try:
            if _is_switch(feature):
                found.switches.setdefault(_property(feature), _switch(feature, topic))
            else:
                label, point = _point(feature, topic)
                found.points.setdefault(label, point)
        except InvalidError as error:
            what = printable(feature.get("property") or feature.get("name") or feature.get("type")) or "something"
            if len(found.skipped) < _MOST_SKIPPED:
                found.skipped.append((what, str(error)))
    if not found.points and not found.switches:
        raise InvalidError("A Zigbee device exposes nothing that is of use here.")
    return found


def _template(
    base: str,
    name: str,
    label: str,
    about: str,
    points: Mapping[str, Mapping[str, Any]],
    switch: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the body of a template."""
    topic = f"{base}/{name}"
    template: dict[str, Any] = {"title": label or "Zigbee device", "description": about}
    if switch is not None:
        template["presence"] = {
            "topic": f"{topic}/availability",
            "path": "state",
            "online": "online",
            "offline": "offline",
        }
        bridge = {"topic": f"{base}/bridge/state", "path": "state", "equals": "online", "offline": "offline"}
        template["starts"] = [bridge]
        template["capabilities"] = {"switch": dict(switch)}
    if points:
        template["points"] = {name: dict(source) for name, source in points.items()}
    return template


def _features(exposes: Sequence[Any], depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield what a device exposes, the features of switches, lights and the like among it."""
    for entry in exposes[:_MOST_EXPOSES]:
        if not isinstance(entry, dict):
            continue
        features = entry.get("features")
        if isinstance(features, list) and entry.get("type") not in ("composite", "list"):
            if depth < _DEEPEST:
                yield from ({**feature, "of": entry.get("type")} for feature in _features(features, depth + 1))
        else:
            yield entry


def _is_switch(feature: Mapping[str, Any]) -> bool:
    name = str(feature.get("property", ""))
    return feature.get("type") == "binary" and feature.get("of") in ("switch", "light") and name.startswith("state")


def _switch(feature: Mapping[str, Any], topic: str) -> dict[str, Any]:
    name = _property(feature)
    on, off = _word(feature.get("value_on")), _word(feature.get("value_off"))
    access = feature.get("access")
    if not isinstance(access, int) or not access & _PUBLISHED or not access & _SETTABLE:
        raise InvalidError("It cannot be both set and read.")
    return {
        "values": ["on", "off"],
        "normal": "on",
        "state": {"topic": topic, "path": name, "words": {on: "on", off: "off"}},
        "set": {
            "topic": f"{topic}/set",
            "payload": f'{{"{name}": {{value}}}}',
            "words": {"on": _json_word(feature["value_on"]), "off": _json_word(feature["value_off"])},
        },
    }


def _property(feature: Mapping[str, Any]) -> str:
    name = feature.get("property")
    if not isinstance(name, str) or not _PROPERTY.fullmatch(name):
        raise InvalidError("It has no property that can be read.")
    return name


def _word(value: object) -> str:
    """Return a word as a template reads it out of JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD and value.isprintable():
        return value
    raise InvalidError("Its words for on and off are none.")


def _json_word(value: object) -> str:
    """Return a word as JSON, for an order."""
    return json.dumps(value if isinstance(value, bool) else _word(value))


def _point(feature: Mapping[str, Any], topic: str) -> tuple[str, dict[str, Any]]:
    """Return a point's name and source. Raises InvalidError for what is no quantity that is kept here."""
    name = _property(feature)
    if feature.get("type") != "numeric":
        raise InvalidError(f"Features of the type {printable(feature.get('type'), 20) or 'none'} are not used here.")
    access = feature.get("access")
    if not isinstance(access, int) or not access & _PUBLISHED:
        raise InvalidError("It is not published.")
    base, channel = name, ""
    if name not in _POINTS and (match := _CHANNEL.fullmatch(name)) is not None:
        base, channel = match[1], match[2]
    if base not in _POINTS:
        raise InvalidError("It is no quantity that is kept here.")
    source: dict[str, Any] = {"topic": topic, "path": name, **_POINTS[base]}
    unit = feature.get("unit")
    if isinstance(unit, str):
        if unit not in _UNITS:
            raise InvalidError(f"The unit {printable(unit, 20)} is not known here.")
        source["unit"] = _UNITS[unit]
    if (phase := _PHASES.get(channel)) is not None:
        source["phase"] = phase
    label = _NAMES.get(base, base)
    return (f"{label}_{channel}" if channel else label), source
