"""Tasmota devices, as they announce themselves for Home Assistant's own Tasmota integration (SetOption19 0).

Heard are `tasmota/discovery/<mac>/config` and `/sensors`. Source: Tasmota's `xdrv_12_discovery.ino`, version 9 to 14:
`t` topic, `ft` full topic, `tp` prefixes, `rl` relays (1: a relay, 2: a light, 3: half a shutter), `dn` and `fn` names,
`md` model, `mac` address, `state` the words for off and on, `ofln` and `onln` those of the last will, `so` options (30:
its relays are lights). How HATasmota 0.9.2, Home Assistant's own reader, takes them is tested beside ours.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridges.discovery import FoundDevice
from bridges.discovery.collecting import BoundedCollector, mapping
from bridges.discovery.homeassistant_messages import printable
from core.errors import InvalidError

SOURCE: Final = "tasmota"
_PLACE: Final = re.compile(r"tasmota/discovery/([0-9A-F]{12})/(config|sensors)")
_TOPIC: Final = re.compile(r"[^/+#\s]{1,64}")
_USUAL: Final[Mapping[str, tuple[object, str]]] = {
    "ft": ("%prefix%/%topic%/", "FullTopic"),
    "tp": (["cmnd", "stat", "tele"], "prefixes"),
    "state": (["OFF", "ON"], "words for off and on (StateText)"),
    "ofln": ("Offline", "words of its last will"),
    "onln": ("Online", "words of its last will"),
}
"""What the template goes by, and its name; what its owner changed needs a template of its own."""
_MOST_RELAYS: Final = 32


class TasmotaCollector(BoundedCollector):
    """Hears Tasmota devices."""

    topics = ("tasmota/discovery/+/config", "tasmota/discovery/+/sensors")

    def __init__(self) -> None:
        super().__init__()
        self._configs: dict[str, dict[str, Any]] = {}
        self._energies: dict[str, str] = {}
        """Why no power and energy can be read, by address; empty where they can."""

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message. Raises InvalidError."""
        match = _PLACE.fullmatch(topic)
        if match is None:
            raise InvalidError("A Tasmota device announced itself under a name that is no hardware address.")
        mac, kind = match[1], match[2]
        if not payload:  # taken back
            if kind == "config":
                self._configs.pop(mac, None)
                self.drop(f"{SOURCE}:{mac}/")
            return
        content = mapping(payload, "A Tasmota announcement")
        self.check_room(self._configs if kind == "config" else self._energies, mac)
        if kind == "config":
            self.drop(f"{SOURCE}:{mac}/")
            self._configs[mac] = content
        elif isinstance(sensors := content.get("sn"), dict) and isinstance(energy := sensors.get("ENERGY"), dict):
            several = any(isinstance(energy.get(name), list) for name in ("Power", "Total"))
            self._energies[mac] = "It measures several channels, and sends lists." if several else ""
        if mac in self._configs:
            for device in _devices(mac, self._configs[mac], self._energies.get(mac, "It announced no energy sensor.")):
                self.put(device)


def _devices(mac: str, config: Mapping[str, Any], unmeasured: str) -> Iterator[FoundDevice]:
    if config.get("mac", mac) != mac:
        raise InvalidError("A Tasmota device announced itself under an address that is not its own.")
    topic = config.get("t")
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
        raise InvalidError("A Tasmota device announced itself without a topic that can be used.")
    for key, (usual, what) in _USUAL.items():
        said = config.get(key, usual)
        if (said[: len(usual)] if isinstance(said, list) and isinstance(usual, list) else said) != usual:
            raise InvalidError(f"Tasmota devices whose {what} were changed need a template of their own.")
    relays = config.get("rl")
    kinds = relays[:_MOST_RELAYS] if isinstance(relays, list) else []
    numbers = [number for number, kind in enumerate(kinds, 1) if kind == 1 and kind is not True]
    alone = numbers == [1] and not any(kinds[1:])  # POWER; among lights and shutters, too, a relay has its number
    name, model = printable(config.get("dn")) or topic, printable(config.get("md"))
    skipped = (("power, energy", unmeasured),) if unmeasured else ()
    if not numbers:
        raise InvalidError("Tasmota devices without a relay are found by Home Assistant's discovery (SetOption19 1).")
    settings = config.get("so")
    role = "" if isinstance(settings, dict) and settings.get("30") == 1 else "plug"  # lights, says its owner
    labels = config.get("fn")
    for number in numbers:
        options = {"topic": topic} if alone else {"topic": topic, "relay": f"POWER{number}"}
        own = printable(labels[number - 1]) if isinstance(labels, list) and number <= len(labels) else ""
        label = name if len(numbers) == 1 else own or f"{name} {number}"
        key = f"{SOURCE}:{mac}/{number}"
        yield FoundDevice(key, SOURCE, label, "Tasmota", model, role, "tasmota", options, None, skipped)
