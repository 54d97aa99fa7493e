"""Shelly devices: the first generation announces itself, later ones are known by what they publish, or are asked.

Asked is once, of each that is `online`: the first generation by `shellies/command`, later ones for their configuration
by an RPC to `<prefix>/rpc`, which they answer on `<src>/rpc`. It has names, components, and what they publish.

Sources: Shelly's API documentation, Gen1 (MQTT: `shellies/announce`, `shellies/command`) and Gen2 (MQTT:
`<prefix>/online`, `<prefix>/status/<component>:<id>`, NotifyStatus and NotifyFullStatus on `<prefix>/events/rpc`; RPC
Protocol; Shelly.GetConfig; MQTT, Configuration: `topic_prefix`, `status_ntf`), version 1.0. Later ones with Shelly's
script `mqtt-announce.js` answer `shellies/command`, too, with their device info (`gen`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from bridges.discovery import FoundDevice
from bridges.discovery.collecting import BoundedCollector, mapping
from bridges.discovery.homeassistant_messages import printable
from core.errors import InvalidError

SOURCE: Final = "shelly"
_MAKER: Final = "Shelly"
_ID: Final = re.compile(r"shelly[a-z0-9]+(-[a-z0-9]+)?-[0-9A-Fa-f]{4,12}")
"""The id that a Shelly has from the factory, also its topic unless its owner changed that."""
_PREFIX: Final = re.compile(r"[^/+#\s\x00-\x1f]{1,64}(/[^/+#\s\x00-\x1f]{1,64})?")
"""Where its owner changed the topic, up to two words long."""
_ASKER: Final = "evenload-discover"
_ANSWERS: Final = f"{_ASKER}/rpc"
_MOST_ASKED: Final = 200
_QUESTION: Final = json.dumps({"id": 1, "src": _ASKER, "method": "Shelly.GetConfig"})
_SILENT: Final = (
    ("values", 'Switch "Generic status update over MQTT" on in its MQTT settings: without it nothing is heard of it.'),
)
_COMPONENT: Final = re.compile(r"(switch|em|em1):([0-9])")
_RELAYS: Final[Mapping[str, tuple[str, int]]] = MappingProxyType(
    {
        "SHPLG-1": ("Plug", 1),
        "SHPLG-S": ("Plug S", 1),
        "SHPLG2-1": ("Plug E", 1),
        "SHPLG-U1": ("Plug US", 1),
        "SHSW-1": ("1", 1),
        "SHSW-PM": ("1PM", 1),
        "SHSW-L": ("1L", 1),
        "SHSW-21": ("2", 2),
        "SHSW-25": ("2.5", 2),
        "SHSW-44": ("4Pro", 4),
        "SHUNI-1": ("UNI", 2),
    }
)
"""First generation: model -> its name and how many relays it has."""
_METERS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"SHEM": ("EM", "shelly1_meter"), "SHEM-3": ("3EM", "shelly1_3em")}
)
_SECOND: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"switch": ("shelly2_switch", "switch"), "em": ("shelly2_meter", "em"), "em1": ("shelly2_meter_1p", "clamp")}
)
"""Later generations: component -> template, and the option that takes its number."""


class ShellyCollector(BoundedCollector):
    """Hears Shellys."""

    topics = ("shellies/announce", "+/status/+", "+/events/rpc", "+/online", "+/+/online", _ANSWERS)

    def __init__(self) -> None:
        super().__init__()
        self._online: dict[str, None] = {}
        """The prefixes of what may be Shellys of a later generation."""

    def questions(self) -> tuple[tuple[str, str], ...]:
        """Return what makes Shellys say what they are."""
        return ("shellies/command", "announce"), *((f"{prefix}/rpc", _QUESTION) for prefix in self._online)

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message. Raises InvalidError."""
        prefix, _, rest = topic.partition("/")
        if topic == "shellies/announce":
            self._hear_first(mapping(payload, "A Shelly's announcement"))
        elif topic == _ANSWERS:
            self._hear_answer(mapping(payload, "A Shelly's answer"))
        elif topic.endswith("/online"):
            if payload == b"true":
                self._may_be_asked(topic.removesuffix("/online"))
        elif not _ID.fullmatch(prefix):
            return  # of something else that has such topics, too
        elif rest == "events/rpc":
            status = mapping(payload, "A Shelly's notification").get("params")
            self._hear_second(prefix, status if isinstance(status, dict) else {})
        elif (component := rest.removeprefix("status/")) != rest:
            self._hear_second(prefix, (component,))

    def _may_be_asked(self, prefix: str) -> None:
        """Have a prefix asked. One of the first generation, or of another maker, knows no such question."""
        if _PREFIX.fullmatch(prefix) and len(self._online) < _MOST_ASKED:
            self._online[prefix] = None

    def _hear_first(self, words: Mapping[str, Any]) -> None:
        ident, model = words.get("id"), words.get("model")
        if not isinstance(ident, str) or not _ID.fullmatch(ident):
            raise InvalidError("A Shelly announced itself without an id of theirs.")
        if isinstance(words.get("gen"), int):  # a later one, whose topic this need not be
            self._may_be_asked(ident)
            return
        for device in _of_first(ident, printable(model), printable(words.get("fw_ver"))):
            self.put(device)

    def _hear_second(self, prefix: str, components: Mapping[str, Any] | tuple[str, ...]) -> None:
        for component in components:
            match = _COMPONENT.fullmatch(component)
            if match is not None:
                device = _of_second(prefix, match[1], int(match[2]))
                if device.key not in self._devices:  # an answer knows its name, too
                    self.put(device)

    def _hear_answer(self, answer: Mapping[str, Any]) -> None:
        ident, config = answer.get("src"), answer.get("result")
        if not isinstance(ident, str) or not _ID.fullmatch(ident) or not isinstance(config, dict):
            raise InvalidError("A Shelly answered without its id or its configuration.")
        mqtt, system = _part(config, "mqtt"), _part(_part(config, "sys"), "device")
        prefix = mqtt.get("topic_prefix") or ident
        if not isinstance(prefix, str) or prefix not in self._online:
            raise InvalidError("A Shelly answered that was not asked.")
        skipped = _SILENT if mqtt.get("status_ntf") is False else ()
        model = ident.removeprefix("shelly").partition("-")[0]
        for component in config:
            if (match := _COMPONENT.fullmatch(component)) is not None:
                device = _of_second(prefix, match[1], int(match[2]), printable(system.get("name")))
                name = printable(_part(config, component).get("name")) or device.name
                self.put(replace(device, name=name, model=model, skipped=skipped))


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}


def _of_first(ident: str, model: str, firmware: str) -> Iterator[FoundDevice]:
    if model in _METERS:
        name, driver = _METERS[model]
        yield _device(ident, ident, f"{name} ({firmware})", "grid_meter", driver, {"id": ident})
    elif model in _RELAYS:
        name, relays = _RELAYS[model]
        for relay in range(relays):
            options = {"id": ident} if relays == 1 else {"id": ident, "relay": relay}
            own = ident if relays == 1 else f"{ident} relay {relay}"
            yield _device(f"{ident}/{relay}", own, f"{name} ({firmware})", "plug", "shelly1", options)
    else:
        reason = f"Shellys of the model {model or 'without a name'} have neither relay nor meter that is known here."
        raise InvalidError(reason)


def _of_second(prefix: str, component: str, number: int, name: str = "") -> FoundDevice:
    driver, option = _SECOND[component]
    model = prefix.removeprefix("shelly").partition("-")[0]
    own = (name or prefix) if number == 0 else f"{name or prefix} {component} {number}"
    options = {"id": prefix} if number == 0 else {"id": prefix, option: number}
    role = "plug" if component == "switch" else "grid_meter"
    return _device(f"{prefix}/{component}:{number}", own, model, role, driver, options)


def _device(place: str, name: str, model: str, role: str, driver: str, options: dict[str, Any]) -> FoundDevice:
    return FoundDevice(f"{SOURCE}:{place}", SOURCE, name, _MAKER, model, role, driver, options, None, ())
