"""Home Assistant's discovery messages: one entity, or a device with all of its own, as entities with their full keys.

Source: "MQTT discovery" and "Discovery payload" on Home Assistant's page on MQTT, 2025.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridges.discovery.homeassistant_abbreviations import DEVICE, OPTIONS, spelled_out
from bridges.senml import parse_json
from core.errors import InvalidError

MOST_BYTES: Final = 262_144
"""Of a message; a device with hundreds of entities takes about half of it."""
MOST_ENTITIES: Final = 400
"""Of a device."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_COMPONENT: Final = re.compile(r"[a-z_]{1,32}")
_BASE: Final = "~"
_MOST_NAME: Final = 80
_MOST_ID: Final = 128
_MOST_AVAILABILITY: Final = 10
_WORD: Final = re.compile(r"[a-z]+|[0-9]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def printable(value: object, longest: int = _MOST_NAME) -> str:
    """Return a text of a device as people may be shown it: one line, bounded; empty for what is no text."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    text = str(value)[: 4 * longest]
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:longest].rstrip()


def words(*texts: str) -> list[str]:
    """Return the words of names in lower case: `hpPower_L1` has hp, power, l, 1."""
    return [word for text in texts for word in _WORD.findall(_CAMEL.sub(" ", text).lower())]


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity: what it is called, all its options with full keys and full topics, and the device it belongs to.

    `device` is the device's identity, `via` that of the device it is behind.
    """

    component: str
    object_id: str
    name: str
    options: Mapping[str, Any]
    device: str
    via: str
    device_name: str
    maker: str
    model: str

    @property
    def label(self) -> str:
        """What people are told of it."""
        return f"{self.component} {self.name or self.object_id}"

    def words(self) -> list[str]:
        """Return what its own names say, without the device's, which some publishers put before."""
        of_device = set(words(self.device_name, self.device))
        return [word for word in words(self.object_id, self.name) if word not in of_device]


def entities(prefix: str, topic: str, payload: bytes) -> list[Entity]:
    """Return the entities that a message announces: none, where it takes them back.

    Raises InvalidError, whose text is one of a few, for what is no message of discovery.
    """
    component, object_id = _place(prefix, topic)
    if len(payload) > MOST_BYTES:
        raise InvalidError("The message is too long.")
    if not payload.strip():
        return []
    try:
        values = parse_json(payload)
    except InvalidError as error:
        raise InvalidError("The message is not JSON.") from error
    if not isinstance(values, dict):
        raise InvalidError("The message is no JSON object.")
    if not values:
        return []
    top = spelled_out(values, OPTIONS)
    if component == "device":
        return list(_of_device(top))
    return [_entity(component, object_id, _with_topics(top, top.get(_BASE)), _Owner.read(top, object_id))]


def _place(prefix: str, topic: str) -> tuple[str, str]:
    """Return component and object id of a topic `<prefix>/<component>/[<node>/]<object>/config`."""
    parts = topic.removeprefix(f"{prefix}/").split("/")
    good = topic.startswith(f"{prefix}/") and len(parts) in (3, 4) and parts[-1] == "config"
    if not (good and _COMPONENT.fullmatch(parts[0]) and all(_ID.fullmatch(part) for part in parts[1:-1])):
        raise InvalidError("The topic is none of discovery.")
    return parts[0], parts[-2]


@dataclass(frozen=True, slots=True)
class _Owner:
    identity: str
    via: str
    name: str
    maker: str
    model: str

    @classmethod
    def read(cls, top: Mapping[str, Any], otherwise: str) -> "_Owner":
        values = top.get("device")
        device = spelled_out(values, DEVICE) if isinstance(values, dict) else {}
        identity = _identity(device.get("identifiers")) or _connection(device.get("connections")) or otherwise
        return cls(
            identity,
            _identity(device.get("via_device")),
            printable(device.get("name")),
            printable(device.get("manufacturer")),
            printable(device.get("model")),
        )


def _identity(value: object) -> str:
    """Return a device's identity: the first of its identifiers. Raises InvalidError for one that is no name."""
    first = value[0] if isinstance(value, list) and value else value
    if first is None or isinstance(first, list | dict):
        return ""
    text = str(first)
    if len(text) > _MOST_ID or not text.isprintable():
        raise InvalidError("The device's identifier is no short printable text.")
    return text.strip()


def _connection(value: object) -> str:
    first = value[0] if isinstance(value, list) and value else None
    return _identity(first[1]) if isinstance(first, list) and len(first) == 2 else ""  # noqa: PLR2004  kind and address


def _of_device(top: Mapping[str, Any]) -> Iterator[Entity]:
    """Yield the entities of a message about a device; what stands beside them holds for all of them."""
    components = top.get("components")
    if not isinstance(components, dict):
        raise InvalidError("The message about a device has no components.")
    if len(components) > MOST_ENTITIES:
        raise InvalidError("The device has too many entities.")
    owner = _Owner.read(top, "")
    if not owner.identity:
        raise InvalidError("The message about a device does not identify it.")
    shared = {key: value for key, value in top.items() if key not in ("components", "device", "origin", _BASE)}
    for object_id, values in components.items():
        if not isinstance(values, dict):
            raise InvalidError("A component is no JSON object.")
        own = spelled_out(values, OPTIONS)
        platform = own.get("platform")
        if not isinstance(platform, str) or not _COMPONENT.fullmatch(platform) or not object_id.isprintable():
            raise InvalidError("A component has no platform, or no name.")
        if len(own) > 1:  # the platform alone takes a component back
            options = _with_topics(shared | own, own.get(_BASE, top.get(_BASE)))
            yield _entity(platform, object_id[:_MOST_ID], options, owner)


def _entity(component: str, object_id: str, options: dict[str, Any], owner: _Owner) -> Entity:
    name = printable(options.get("name"))
    return Entity(
        component,
        object_id,
        name,
        options,
        owner.identity,
        owner.via,
        owner.name or (name if owner.identity == object_id else ""),
        owner.maker,
        owner.model,
    )


def _with_topics(options: Mapping[str, Any], base: object) -> dict[str, Any]:
    """Return an entity's options with full topics, also in its list of availability."""
    prefix = base if isinstance(base, str) else ""
    whole = {
        key: _topic(value, prefix) if key.endswith("topic") else value for key, value in options.items() if key != _BASE
    }
    listed = whole.get("availability")
    items = listed if isinstance(listed, list) else [listed]
    full = [spelled_out(item, OPTIONS) for item in items[:_MOST_AVAILABILITY] if isinstance(item, dict)]
    whole["availability"] = [item | {"topic": _topic(item.get("topic"), prefix)} for item in full]
    for key in ("device", "origin"):
        whole.pop(key, None)
    return whole


def _topic(value: object, base: str) -> object:
    if not isinstance(value, str) or not value:
        return value
    if value.startswith(_BASE):
        value = base + value[1:]
    return value[:-1] + base if value.endswith(_BASE) else value
