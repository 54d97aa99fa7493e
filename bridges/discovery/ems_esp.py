"""EMS-ESP by its own messages, for where its Home Assistant discovery is switched off.

It does not announce what is on its bus. It keeps `<base>/info` at the broker, with its `version` and how it is
connected; asked for by `<base>/system/publish`, it says `<base>/boiler_data` and `<base>/thermostat_data`, whose
entities tell a heat pump (`hppowerlimit`), hot water (`dhw.seltemp`) and heating circuits (`hc1.seltemp`). What those
are in normal times it does not say, so each is named with its driver, and left to its owner.

Sources: EMS-ESP32's `system.cpp` (`send_info_mqtt`, `heartbeat_json`) and `mqtt.cpp`, version 3.7; format "Nested".
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridges.discovery import FoundDevice
from bridges.discovery.collecting import BoundedCollector, mapping
from bridges.discovery.homeassistant_messages import printable
from bridges.senml import parse_json
from core.errors import InvalidError

SOURCE: Final = "ems_esp"
_MAKER: Final = "EMS-ESP"
_MOST_BASES: Final = 20
_HIGHEST: Final = 1e6
_PLACE: Final = re.compile(r"([^+#/\s]{1,64})/(info|boiler_data|thermostat_data)")
_VERSION: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}[\w.-]{0,20}")
_NETWORKS: Final = ("wifi", "ethernet")
_CIRCUITS: Final = tuple(f"hc{number}" for number in range(1, 9))
_WHY: Final = (
    "Its normal value is not announced: add it by hand with the driver {driver}, {options}, and {normal} ({entity} "
    "says {now} now). Or switch on Home Assistant's discovery in EMS-ESP's MQTT settings."
)


class EmsEspCollector(BoundedCollector):
    """Hears EMS-ESPs whose base is one word, as `ems-esp` is."""

    topics = ("+/info", "+/boiler_data", "+/thermostat_data")

    def __init__(self) -> None:
        super().__init__()
        self._versions: dict[str, str] = {}

    def questions(self) -> tuple[tuple[str, str], ...]:
        """Return what makes each EMS-ESP say what its boiler and its thermostats do."""
        return tuple((f"{base}/system/publish", what) for base in self._versions for what in ("boiler", "thermostat"))

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message. Raises InvalidError."""
        match = _PLACE.fullmatch(topic)
        if match is None:
            return  # of something else: many have a topic that ends so
        base, what = match[1], match[2]
        if what == "info":
            self._hear_info(base, payload)
            return
        if base not in self._versions:
            self._check_base(base)
            self._versions[base] = ""
        self.drop(f"{SOURCE}:{base}/{what}/")
        for device in self._devices_of(base, what, mapping(payload, "An EMS-ESP's message")):
            self.put(device)

    def _hear_info(self, base: str, payload: bytes) -> None:
        try:
            info = parse_json(payload)
        except InvalidError:
            return  # of something else
        version = info.get("version") if isinstance(info, dict) else None
        if not isinstance(version, str) or not _VERSION.fullmatch(version) or info.get("network") not in _NETWORKS:
            return
        self._check_base(base)
        self._versions[base] = version

    def _check_base(self, base: str) -> None:
        if base not in self._versions and len(self._versions) >= _MOST_BASES:
            raise InvalidError(f"More than {_MOST_BASES} EMS-ESPs announce themselves; the rest is left out.")

    def _devices_of(self, base: str, what: str, data: Mapping[str, Any]) -> Iterator[FoundDevice]:
        if what == "boiler_data":
            if (limit := _number(data, "hppowerlimit")) is not None:
                yield self._device(base, what, "heat pump", "heat_pump", "ems_esp_heat_pump", "normal_w", limit)
            if (water := _number(data.get("dhw"), "seltemp")) is not None:
                yield self._device(base, what, "hot water", "water_heater", "ems_esp_hot_water", "normal_c", water)
            return
        for circuit in _CIRCUITS:
            if (room := _number(data.get(circuit), "seltemp")) is not None:
                yield self._device(base, what, circuit, "thermostat", "ems_esp_thermostat", "normal_c", room)

    def _device(self, base: str, topic: str, what: str, role: str, driver: str, normal: str, now: float) -> FoundDevice:
        entity = {"heat pump": "hppowerlimit", "hot water": "dhw.seltemp"}.get(what, f"{what}.seltemp")
        options = f"base {base}" if what not in _CIRCUITS else f"base {base}, circuit {what}"
        why = _WHY.format(driver=driver, options=options, normal=normal, entity=entity, now=f"{now:g}")
        model = f"EMS-ESP {self._versions[base]}".rstrip()
        key, name = f"{SOURCE}:{base}/{topic}/{what}", printable(f"{base} {what}")
        return FoundDevice(key, SOURCE, name, _MAKER, model, role, None, {}, None, ((entity, why),), f"{base}/{topic}")


def _number(part: object, entity: str) -> float | None:
    """Return what an entity says; None where it says no number that a heating may have."""
    value = part.get(entity) if isinstance(part, dict) else None
    fits = isinstance(value, int | float) and not isinstance(value, bool) and -_HIGHEST < value < _HIGHEST
    return value if fits else None
