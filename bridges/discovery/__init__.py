"""Devices that announce themselves: what they say of themselves becomes a driver with its options, or a template.

Pure: collectors are given messages and say which devices those make; who listens and who writes files is elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that announced itself, with what it takes to use it.

    `key` is stable and unique (`homeassistant:0x00158d0001a2b3c4`). `source` is how it announced itself:
    `homeassistant`, `zigbee2mqtt`, `shelly`, `tasmota`, `victron` or `ems_esp`. `name` is what its owner calls it,
    bounded and printable. `role` is a guess (`grid_meter`, `pv`, `water_heater`, `heat_pump`, `ev_charger`, `battery`,
    `plug`, `thermostat`), empty where nothing tells. Either `driver` names a bundled driver or template that fits with
    its `options`, or `template` is the body of a template of its own, as `bridges.template` reads it; both None:
    nothing of it can be used without its owner. `skipped` says what of it cannot be used, and why. `speaks` is how the
    topics begin on which such a device speaks: where another announcement has it listened to there, it is not told of.
    """

    key: str
    source: str
    name: str
    maker: str
    model: str
    role: str
    driver: str | None
    options: Mapping[str, Any]
    template: Mapping[str, Any] | None
    skipped: tuple[tuple[str, str], ...]
    speaks: str = ""


class Collector(Protocol):
    """Hears announcements and says which devices they make."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The topic filters to listen to."""

    @property
    def refused(self) -> Mapping[str, int]:
        """Why messages were refused, and how many."""

    def questions(self) -> tuple[tuple[str, str], ...]:
        """Return what makes devices say more, topic and payload, after what was heard; each is asked once."""

    def take(self, topic: str, payload: bytes) -> None:
        """Take a message. Raises nothing: what is wrong is counted in `refused`."""

    def devices(self) -> list[FoundDevice]:
        """Return the devices that are announced now, by their keys."""
