"""Shelly devices: the first generation announces itself, later ones are known by what they publish.

Sources: Shelly's API documentation, Gen1 (MQTT: `shellies/announce`) and Gen2 (MQTT: `<prefix>/online`,
`<prefix>/status/<component>:<id>`, NotifyStatus and NotifyFullStatus on `<prefix>/events/rpc`), version 1.0.
"""

import re
from collections.abc import Iterator, Mapping
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

    topics = ("shellies/announce", "+/status/+", "+/events/rpc")

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message. Raises InvalidError."""
        prefix, _, rest = topic.partition("/")
        if topic == "shellies/announce":
            self._hear_first(mapping(payload, "A Shelly's announcement"))
        elif not _ID.fullmatch(prefix):
            return  # of something else that has such topics, too
        elif rest == "events/rpc":
            status = mapping(payload, "A Shelly's notification").get("params")
            self._hear_second(prefix, status if isinstance(status, dict) else {})
        elif (component := rest.removeprefix("status/")) != rest:
            self._hear_second(prefix, (component,))

    def _hear_first(self, words: Mapping[str, Any]) -> None:
        ident, model = words.get("id"), words.get("model")
        if not isinstance(ident, str) or not _ID.fullmatch(ident):
            raise InvalidError("A Shelly announced itself without an id of theirs.")
        for device in _of_first(ident, printable(model), printable(words.get("fw_ver"))):
            self.put(device)

    def _hear_second(self, prefix: str, components: Mapping[str, Any] | tuple[str, ...]) -> None:
        for component in components:
            match = _COMPONENT.fullmatch(component)
            if match is not None:
                self.put(_of_second(prefix, match[1], int(match[2])))


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


def _of_second(prefix: str, component: str, number: int) -> FoundDevice:
    driver, option = _SECOND[component]
    model = prefix.removeprefix("shelly").partition("-")[0]
    name = prefix if number == 0 else f"{prefix} {component} {number}"
    options = {"id": prefix} if number == 0 else {"id": prefix, option: number}
    role = "plug" if component == "switch" else "grid_meter"
    return _device(f"{prefix}/{component}:{number}", name, model, role, driver, options)


def _device(place: str, name: str, model: str, role: str, driver: str, options: dict[str, Any]) -> FoundDevice:
    return FoundDevice(f"{SOURCE}:{place}", SOURCE, name, _MAKER, model, role, driver, options, None, ())
