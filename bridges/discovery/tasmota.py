"""Tasmota devices, as they announce themselves for Home Assistant's own Tasmota integration (SetOption19 0).

Heard are `tasmota/discovery/<mac>/config` and `/sensors`. Source: Tasmota's `xdrv_12_discovery.ino`, version 9 to 14:
`t` topic, `ft` full topic, `tp` prefixes, `rl` relays (1: a relay), `dn` and `fn` names, `md` model, `ofln` and `onln`
the words of the last will.
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
_USUAL: Final[Mapping[str, object]] = {
    "ft": "%prefix%/%topic%/",
    "tp": ["cmnd", "stat", "tele"],
    "ofln": "Offline",
    "onln": "Online",
}
"""What the template goes by; what its owner changed needs a template of its own."""
_MOST_RELAYS: Final = 32


class TasmotaCollector(BoundedCollector):
    """Hears Tasmota devices."""

    topics = ("tasmota/discovery/+/config", "tasmota/discovery/+/sensors")

    def __init__(self) -> None:
        super().__init__()
        self._configs: dict[str, dict[str, Any]] = {}
        self._measures: set[str] = set()

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
        self.check_room(self._configs if kind == "config" else self._measures, mac)
        if kind == "config":
            self.drop(f"{SOURCE}:{mac}/")
            self._configs[mac] = content
        elif isinstance(sensors := content.get("sn"), dict) and isinstance(sensors.get("ENERGY"), dict):
            self._measures.add(mac)
        if mac in self._configs:
            for device in _devices(mac, self._configs[mac], measures=mac in self._measures):
                self.put(device)


def _devices(mac: str, config: Mapping[str, Any], *, measures: bool) -> Iterator[FoundDevice]:
    topic = config.get("t")
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
        raise InvalidError("A Tasmota device announced itself without a topic that can be used.")
    if changed := [key for key, usual in _USUAL.items() if config.get(key, usual) != usual]:
        names = {
            "ft": "FullTopic",
            "tp": "prefixes",
            "ofln": "words of its last will",
            "onln": "words of its last will",
        }
        reason = f"Tasmota devices whose {names[changed[0]]} were changed need a template of their own."
        raise InvalidError(reason)
    relays = config.get("rl")
    numbers = (
        [number for number, kind in enumerate(relays[:_MOST_RELAYS], 1) if kind == 1]
        if isinstance(relays, list)
        else []
    )
    name, model = printable(config.get("dn")) or topic, printable(config.get("md"))
    skipped = () if measures else (("power, energy", "It announced no energy sensor."),)
    if not numbers:
        raise InvalidError("Tasmota devices without a relay are found by Home Assistant's discovery (SetOption19 1).")
    labels = config.get("fn")
    for number in numbers:
        options = {"topic": topic} if len(numbers) == 1 else {"topic": topic, "relay": f"POWER{number}"}
        own = printable(labels[number - 1]) if isinstance(labels, list) and number <= len(labels) else ""
        label = name if len(numbers) == 1 else own or f"{name} {number}"
        key = f"{SOURCE}:{mac}/{number}"
        yield FoundDevice(key, SOURCE, label, "Tasmota", model, "plug", "tasmota", options, None, skipped)
