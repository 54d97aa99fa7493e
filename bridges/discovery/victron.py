"""Victron's GX devices and what is connected to them: `N/<portal>/<service>/<instance>/<path>` with `{"value": ...}`.

A GX device is known by `N/<portal>/system/0/Serial`, the one topic that its broker keeps. The rest it says when it is
asked, once for each portal: `R/<portal>/keepalive` with an empty payload makes it publish everything it has. An empty
message, or a value that is null, says that a service went away.

Sources: Victron's dbus-flashmq, README and `types.cpp` (as of its version 23; in Venus OS since 3.20); paths and
services as in the page "dbus" of Venus OS's wiki, 2025-01.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from bridges.discovery import FoundDevice
from bridges.discovery.collecting import BoundedCollector, mapping
from bridges.discovery.homeassistant_messages import printable
from core.errors import InvalidError

SOURCE: Final = "victron"
_MAKER: Final = "Victron"
_MOST_PORTALS: Final = 20
_SET_POINT: Final = (
    "Its normal grid set point is not announced: add it by hand with the driver victron, the portal id {portal}, and "
    "normal_w as in the settings of its ESS. Power and charge of the battery are read by it, too."
)


@dataclass(frozen=True, slots=True)
class _Service:
    """What a service of a GX device is here. `driver` None: `why` says what its owner can do."""

    words: str
    role: str
    driver: str | None = None
    why: str = ""


_SERVICES: Final[Mapping[str, _Service]] = MappingProxyType(
    {
        "grid": _Service("grid meter", "grid_meter", "victron_grid_meter"),
        "pvinverter": _Service("PV inverter", "pv", "victron_pv_inverter"),
        "battery": _Service(
            "battery", "battery", None, "Add the system by hand with the driver victron: it reads its battery, too."
        ),
        "evcharger": _Service(
            "EV charging station",
            "ev_charger",
            None,
            "No driver here sets Victron's charging stations; evcc does, and then evcc_loadpoint fits.",
        ),
    }
)
_SERIAL: Final = re.compile(r"N/([0-9a-zA-Z]{1,64})/system/0/Serial")
_PLACE: Final = re.compile(
    rf"N/([0-9a-zA-Z]{{1,64}})/({'|'.join(_SERVICES)})/([0-9]{{1,4}})/(DeviceInstance|ProductName|CustomName)"
)


@dataclass(slots=True)
class _Heard:
    """What was heard of one service."""

    there: bool = False
    names: dict[str, str] = field(default_factory=dict)


class VictronCollector(BoundedCollector):
    """Hears GX devices, and the meters, inverters, batteries and charging stations that these know."""

    topics = (
        "N/+/system/0/Serial",
        *(
            f"N/+/{service}/+/{path}"
            for service in _SERVICES
            for path in ("DeviceInstance", "ProductName", "CustomName")
        ),
    )

    def __init__(self) -> None:
        super().__init__()
        self._portals: dict[str, None] = {}
        self._services: dict[str, _Heard] = {}

    def questions(self) -> tuple[tuple[str, str], ...]:
        """Return what makes each GX device say everything it knows."""
        return tuple((f"R/{portal}/keepalive", "") for portal in self._portals)

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message. Raises InvalidError."""
        value = mapping(payload, "A Victron message").get("value") if payload else None
        if (match := _SERIAL.fullmatch(topic)) is not None:
            self._hear_system(match[1], value)
        elif (match := _PLACE.fullmatch(topic)) is not None:
            self._hear_service(match[1], match[2], int(match[3]), match[4], value, gone=not payload)
        else:
            raise InvalidError("A Victron message has a topic without a portal id or an instance.")

    def _hear_system(self, portal: str, value: object) -> None:
        key = f"{SOURCE}:{portal}/system"
        if value is None:
            self._portals.pop(portal, None)
            self._devices.pop(key, None)
            return
        if value != portal:
            raise InvalidError("A Victron system's serial is not the portal id of its topic.")
        if portal not in self._portals and len(self._portals) >= _MOST_PORTALS:
            raise InvalidError(f"More than {_MOST_PORTALS} Victron systems announce themselves; the rest is left out.")
        skipped = (("grid set point", _SET_POINT.format(portal=portal)),)
        self.put(FoundDevice(key, SOURCE, f"Victron {portal}", _MAKER, "GX", "battery", None, {}, None, skipped))
        self._portals[portal] = None

    def _hear_service(self, portal: str, service: str, instance: int, path: str, value: object, *, gone: bool) -> None:
        key = f"{SOURCE}:{portal}/{service}/{instance}"
        if gone or (path == "DeviceInstance" and value is None):
            self._services.pop(key, None)
            self._devices.pop(key, None)
            return
        if path == "DeviceInstance" and (isinstance(value, bool) or value != instance):
            raise InvalidError("A Victron device's instance is not that of its topic.")
        self.check_room(self._services, key)
        heard = self._services.setdefault(key, _Heard())
        if path == "DeviceInstance":
            heard.there = True
        else:
            heard.names[path] = printable(value)
        if heard.there:
            self.put(_device(key, portal, service, instance, heard.names))


def _device(key: str, portal: str, service: str, instance: int, names: Mapping[str, str]) -> FoundDevice:
    what = _SERVICES[service]
    name = names.get("CustomName") or f"Victron {what.words} {instance}"
    model = names.get("ProductName", "")
    skipped = () if what.driver else ((what.words, what.why),)
    options = {"portal": portal, "instance": instance} if what.driver else {}
    speaks = f"N/{portal}/{service}/{instance}/"
    return FoundDevice(key, SOURCE, name, _MAKER, model, what.role, what.driver, options, None, skipped, speaks)
