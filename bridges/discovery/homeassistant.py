"""Devices that announce themselves by Home Assistant's discovery: each becomes a device template of its own.

Heard are `homeassistant/<component>/[<node>/]<object>/config` and `homeassistant/device/[<node>/]<id>/config`; an empty
message takes back what was announced there. Entities with the same device belong together. What is read and set of
them is in the modules beside this one; what cannot be used is listed with its reason.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any, Final

from pydantic import ValidationError

from bridges.device import CapabilityKind
from bridges.discovery import FoundDevice
from bridges.discovery.homeassistant_capabilities import SETTABLE, Settable, chosen, settable
from bridges.discovery.homeassistant_channels import split
from bridges.discovery.homeassistant_messages import MOST_ENTITIES, Entity, entities, printable, words
from bridges.discovery.homeassistant_points import MOST_POINTS, Measured, named, sensor, state, temperature
from bridges.discovery.homeassistant_sources import Sources
from bridges.template import PointSource, Presence, Start
from core.errors import InvalidError
from core.fault_words import faults_in_a_line

SOURCE: Final = "homeassistant"

_MOST_DEVICES: Final = 250
_MOST_TOPICS: Final = 5000
_MOST_BYTES: Final = 8_000_000
_MOST_STARTS: Final = 10
_JSON_WORDS: Final = {"True": "true", "False": "false"}
_LONGEST_SILENCE_S: Final = 86_400

_ROLES: Final = (
    ("ev_charger", frozenset(words("wallbox evse evcharger chargepoint goecharger openevse easee keba zaptec"))),
    ("heat_pump", frozenset(words("heatpump compressor hppower hppowerlimit warmepumpe"))),
    ("battery", frozenset(words("powerwall pylontech homebattery batterystorage byd"))),
    ("pv", frozenset(words("inverter solar photovoltaic pv opendtu ahoydtu hoymiles growatt fronius"))),
    ("water_heater", frozenset(words("waterheater boiler dhw geyser warmwater"))),
    ("grid_meter", frozenset(words("dsmr smartmeter gridmeter slimmelezer electricitymeter"))),
    ("plug", frozenset(words("plug socket outlet"))),
)
_COMPRESSING: Final = frozenset(words("hppower hppowerlimit heatpump compressor"))
_PAIRS: Final = (
    ("ev_charger", ("ev charger", "charge point", "charging station", "go echarger", "go e")),
    ("heat_pump", ("heat pump",)),
    ("battery", ("home battery", "battery storage")),
    ("water_heater", ("water heater",)),
    ("grid_meter", ("smart meter", "grid meter", "energy meter", "power meter", "electricity meter")),
)


class HomeAssistantCollector:
    """Hears discovery under one prefix. `own` are the prefixes of topics that are ours, which no device may name."""

    def __init__(self, prefix: str = "homeassistant", own: Iterable[str] = ("evenload/",)) -> None:
        self.topics: tuple[str, ...] = (f"{prefix}/+/+/config", f"{prefix}/+/+/+/config")
        self._refused: Counter[str] = Counter()
        self.refused: Mapping[str, int] = self._refused
        self._prefix = prefix
        self._sources = Sources(prefix, own)
        self._groups: dict[str, dict[tuple[str, int], Entity]] = {}
        self._places: dict[str, tuple[frozenset[str], int]] = {}
        self._vias: dict[str, str] = {}
        self._bytes = 0
        self._built: dict[str, list[FoundDevice]] = {}

    def questions(self) -> tuple[tuple[str, str], ...]:
        """Return nothing: announcements are kept by the broker."""
        return ()

    def take(self, topic: str, payload: bytes) -> None:
        """Take a message. What cannot be used is counted in `refused`, and what stood there before stays."""
        try:
            announced = entities(self._prefix, topic, payload)
            self._check_room(topic, announced, len(payload))
        except InvalidError as error:
            self._refused[str(error)] += 1
            return
        self._take_back(topic)
        if announced:
            self._places[topic] = frozenset(entity.device for entity in announced), len(payload)
            self._bytes += len(payload)
        for index, entity in enumerate(announced):
            self._groups.setdefault(entity.device, {})[topic, index] = entity
            if entity.via:
                self._vias[entity.device] = entity.via
        for identity in {entity.device for entity in announced}:
            self._forget(identity)

    def devices(self) -> list[FoundDevice]:
        """Return the devices that are announced now, sorted by key; those are worked out that changed since."""
        for identity, group in self._groups.items():
            if identity not in self._built:
                self._built[identity] = list(self._devices(identity, list(group.values())))
        built = (device for devices in self._built.values() for device in devices)
        return sorted(built, key=lambda device: device.key)

    def _check_room(self, topic: str, announced: list[Entity], size: int) -> None:
        """Check the bounds of what is kept. Raises InvalidError."""
        if not announced:
            return
        if topic not in self._places and len(self._places) >= _MOST_TOPICS:
            raise InvalidError("There are too many announcements.")
        if self._bytes - self._places.get(topic, ((), 0))[1] + size > _MOST_BYTES:
            raise InvalidError("The announcements are too long taken together.")
        identity = announced[0].device
        if identity not in self._groups and len(self._groups) >= _MOST_DEVICES:
            raise InvalidError("There are too many devices.")
        others = sum(1 for place, _ in self._groups.get(identity, {}) if place != topic)
        if others + len(announced) > MOST_ENTITIES:
            raise InvalidError("The device has too many entities.")

    def _take_back(self, topic: str) -> None:
        identities, size = self._places.pop(topic, (frozenset[str](), 0))
        self._bytes -= size
        for identity in identities:
            group = self._groups[identity]
            for place in [place for place in group if place[0] == topic]:
                del group[place]
            self._forget(identity)
            if not group:
                del self._groups[identity]
                self._vias.pop(identity, None)

    def _forget(self, identity: str) -> None:
        """Have a device worked out anew, and those behind it, whose presence it may tell."""
        self._built.pop(identity, None)
        for other, via in self._vias.items():
            if via == identity:
                self._built.pop(other, None)

    # -- one device

    def _devices(self, identity: str, group: list[Entity]) -> Iterator[FoundDevice]:
        """Yield what a device makes: one, or one for each of its channels besides."""
        behind = list(self._groups.get(self._vias.get(identity, ""), {}).values())
        rest, channels = split(group)
        if rest or not channels:
            yield self._device(identity, "", rest, [*behind, *group])
        for channel, own in channels.items():
            yield self._device(identity, channel, own, [*behind, *group])

    def _device(self, identity: str, channel: str, group: list[Entity], near: list[Entity]) -> FoundDevice:
        """Work out a device, or a channel of it; `near` are all entities that may tell its presence."""
        name = next((entity.device_name for entity in group if entity.device_name), printable(identity))
        name = f"{name} {channel}".strip()
        maker = next((entity.maker for entity in group if entity.maker), "")
        model = next((entity.model for entity in group if entity.model), "")
        role = _role(words(name, maker, model), group)
        skipped: list[tuple[str, str]] = []
        measured, settables = self._usable(group, role, skipped)
        points, left = named(measured)
        skipped += [(entry.entity.label, f"There are {MOST_POINTS} values already.") for entry in left]
        capabilities, others = chosen(settables)
        skipped += [(entry.entity.label, why) for entry, why in others]
        presence: dict[str, Any] = {}
        if capabilities:
            presence = self._presence(near, [entry.entity for entry in capabilities.values()])
            if not presence:
                why = "The device does not say when it starts, so what it does then would be taken for somebody's hand."
                skipped += [(entry.entity.label, why) for entry in capabilities.values()]
                capabilities = {}
        template = _template(name, maker, model, presence, points, capabilities)
        if not role and any(f"export_{name}" in points and name in points for name in ("power", "energy")):
            role = "grid_meter"
        elif not role and CapabilityKind.SWITCH in capabilities and points:
            role = "plug"
        return FoundDevice(
            key=_key(identity, channel),
            source=SOURCE,
            name=name,
            maker=maker,
            model=model,
            role=role,
            driver=None,
            options={},
            template=template if points or capabilities else None,
            skipped=tuple(sorted(skipped)),
        )

    def _usable(
        self, group: list[Entity], role: str, skipped: list[tuple[str, str]]
    ) -> tuple[list[Measured], list[Settable]]:
        """Return what can be read and set of a device's entities; what cannot goes to `skipped`."""
        measured: list[Measured] = []
        settables: list[Settable] = []
        for entity in group:
            try:
                match entity.component:
                    case "sensor":
                        measured.append(_checked(sensor(entity, self._sources, role)))
                    case "binary_sensor" if entity.options.get("device_class") == "connectivity":
                        continue  # it may tell the presence
                    case "binary_sensor":
                        measured.append(_checked(state(entity, self._sources)))
                    case component if component in SETTABLE:
                        if (warmth := _temperature(entity, self._sources)) is not None:
                            measured.append(_checked(warmth))
                        settables += settable(entity, self._sources, role)
                    case "button":
                        skipped.append((entity.label, "A button has no state that could be given back."))
                    case _:
                        skipped.append(
                            (entity.label, f"Entities of the kind {printable(entity.component)} are not used here.")
                        )
            except InvalidError as error:
                skipped.append((entity.label, printable(str(error), 200)))
        return measured, settables

    def _presence(self, near: list[Entity], used: list[Entity]) -> dict[str, Any]:
        """Return how a device's start is known, as a template says it: `presence` and `starts`, or `silence_s`.

        `near` are the entities of the device and of the bridge before it, `used` those whose state is set.
        """
        spoken = Counter(
            value
            for entity in near
            for key, value in entity.options.items()
            if key.endswith("state_topic") and isinstance(value, str)
        )
        # What stands beside a state tells of that value, and comes again with each message: it is no word of a start.
        places = {
            json.dumps(place, sort_keys=True): place
            for entity in used
            for place in _availability(entity, self._sources)
            if place["topic"] not in spoken
        }
        if not places:
            places = {
                entity.object_id: place
                for entity in near
                if (place := _connectivity(entity, self._sources)) is not None and spoken[place["topic"]] == 1
            }
        if places:
            # The device's own word stands nearest to its states; in lists it comes after that of the bridge.
            states = [value for entity in used for key, value in entity.options.items() if key.endswith("state_topic")]
            *others, own = sorted(places.values(), key=lambda place: _nearness(place["topic"], states))
            starts = [
                {key: value for key, value in place.items() if key not in {"online", "offline"}}
                | {"equals": place["online"]}
                for place in others[:_MOST_STARTS]
            ]
            return {"presence": own} | ({"starts": starts} if starts else {})
        silences = [entity.options.get("expire_after") for entity in used]
        seconds = [
            float(value) for value in silences if isinstance(value, int | float) and 1 <= value <= _LONGEST_SILENCE_S
        ]
        return {"silence_s": min(seconds)} if seconds else {}


def _key(identity: str, channel: str) -> str:
    """Return a key; a slash stands before a channel only."""
    plain = identity.replace("%", "%25").replace("/", "%2F")
    return f"{SOURCE}:{plain}/{channel}" if channel else f"{SOURCE}:{plain}"


def _temperature(entity: Entity, sources: Sources) -> Measured | None:
    return temperature(entity, sources) if entity.component in ("climate", "water_heater") else None


def _checked(entry: Measured) -> Measured:
    try:
        PointSource.model_validate_json(json.dumps(entry.source))
    except ValidationError as error:
        raise InvalidError(faults_in_a_line(error.errors())) from error
    return entry


def _availability(entity: Entity, sources: Sources) -> Iterator[dict[str, Any]]:
    """Yield where a device says whether it is there; places that cannot be used are passed over."""
    options = entity.options
    listed = list(options.get("availability", ()))
    if options.get("availability_topic"):
        listed.append(
            {"topic": options["availability_topic"], "value_template": options.get("availability_template")}
            | {key: options[key] for key in ("payload_available", "payload_not_available") if key in options}
        )
    for item in listed:
        online = item.get("payload_available", options.get("payload_available", "online"))
        offline = item.get("payload_not_available", options.get("payload_not_available", "offline"))
        place = _place(item.get("topic"), item.get("value_template"), online, offline, sources)
        if place is not None:
            yield place


def _connectivity(entity: Entity, sources: Sources) -> dict[str, Any] | None:
    """Return where a binary sensor tells that its device is connected, if it does."""
    options = entity.options
    if entity.component != "binary_sensor" or options.get("device_class") != "connectivity":
        return None
    on, off = options.get("payload_on", "ON"), options.get("payload_off", "OFF")
    return _place(options.get("state_topic"), options.get("value_template"), on, off, sources)


def _place(topic: object, text: object, online: object, offline: object, sources: Sources) -> dict[str, Any] | None:
    try:
        place = sources.heard(topic, text, "availability topic")
        said = {"online": sources.word(online), "offline": sources.word(offline)}
        if len(place) > 1:  # out of JSON or a template it comes as JSON spells it
            said = {key: _JSON_WORDS.get(word, word) for key, word in said.items()}
        place |= said
        Presence.model_validate_json(json.dumps(place))
        Start.model_validate_json(json.dumps({"topic": place["topic"], "equals": place["online"]}))
    except (InvalidError, ValidationError):
        return None
    return place


def _nearness(topic: str, others: Iterable[object]) -> int:
    """Return how many segments a topic shares with the one of the others that is nearest to it."""
    own = topic.split("/")

    def shared(other: object) -> int:
        pairs = zip(own, str(other).split("/"), strict=False)
        return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))

    return max((shared(other) for other in others), default=0)


def _template(
    name: str,
    maker: str,
    model: str,
    presence: dict[str, Any],
    points: dict[str, dict[str, Any]],
    capabilities: Mapping[CapabilityKind, Settable],
) -> dict[str, Any]:
    what = " ".join(part for part in (maker, model) if part)
    template: dict[str, Any] = {
        "title": name,
        "description": f"{what or 'A device'}, as it announced itself for Home Assistant.",
    }
    template |= presence
    if points:
        template["points"] = points
    if capabilities:
        template["capabilities"] = {kind.value: entry.body for kind, entry in capabilities.items()}
    return template


def _role(own: list[str], group: list[Entity]) -> str:
    """Guess what a device is to the household, by its own names first, then by its entities'."""
    role = _role_by(own)
    if role not in ("", "plug", "water_heater"):
        return role
    inner = {word for entity in group for word in words(entity.object_id)}
    if not _COMPRESSING.isdisjoint(inner):  # a boiler by name may be a heat pump
        return "heat_pump"
    return "water_heater" if any(entity.component == "water_heater" for entity in group) else role


def _role_by(names: list[str]) -> str:
    text = f" {' '.join(names)} "
    for role, pairs in _PAIRS:
        if any(f" {pair} " in text for pair in pairs):
            return role
    return next((role for role, known in _ROLES if not known.isdisjoint(names)), "")
