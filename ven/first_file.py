"""A first household file: what `evenload ven setup` writes, from what was found and asked."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bridges.device import CapabilityKind
from ven.household_edit import NewDevice, row

_HALVED: Final = (CapabilityKind.IMPORT_LIMIT, CapabilityKind.CURRENT_LIMIT)
_SETTABLE: Final = frozenset({CapabilityKind.SWITCH, CapabilityKind.STORAGE_POWER, *_HALVED})
"""What a proposed programme knows how to use."""
_METERS: Final = frozenset({"grid_meter"})


_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9.-]*[A-Za-z][A-Za-z0-9.-]*")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null"})


def quoted(text: str) -> str:
    """Return a text as YAML, in quotes where it could be taken for something else."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A device that goes into the file; `nominal_w` is what it draws when it runs, `sets` what it can be told."""

    device: NewDevice
    sets: tuple[str, ...] = ()
    nominal_w: float | None = None

    @property
    def sheds(self) -> bool:
        """Whether events may use it, by the proposed programmes."""
        return self.nominal_w is not None and not _SETTABLE.isdisjoint(self.sets)

    @property
    def stores(self) -> bool:
        """Whether it is a battery: nobody misses anything while it helps."""
        return CapabilityKind.STORAGE_POWER in self.sets


def is_switched(sets: Sequence[str]) -> bool:
    """Tell whether a device can be switched or limited, so that its power is worth asking for."""
    return not _SETTABLE.isdisjoint(sets)


def written(name: str, host: str, port: int, devices: Sequence[Chosen]) -> str:
    """Return the text of a household file."""
    return "\n".join(
        (
            f"# The household {name}. docs/how-to/gateway.md says what may stand here.",
            "version: 1",
            f"name: {quoted(name)}",
            "identity: identity            # made by evenload ven enrol",
            "state: state                  # the gateway's database and journal",
            f"mqtt: {{host: {quoted(host)}, port: {port}, client_id: evenload-{name}}}",
            "",
            *_devices(devices),
            *_resources(name, devices),
            *_programmes(devices),
        )
    )


def _devices(devices: Sequence[Chosen]) -> list[str]:
    if not devices:
        return ["# devices: evenload ven discover finds them", ""]
    return ["devices:", *(f"  - {row(each.device, nominal_w=each.nominal_w)}" for each in devices), ""]


def _resources(name: str, devices: Sequence[Chosen]) -> list[str]:
    """Say which meter counts, and which devices are behind it."""
    meter = next((quoted(each.device.id) for each in devices if each.device.role in _METERS), None)
    others = [quoted(each.device.id) for each in devices if each.device.role not in _METERS]
    if not devices:
        return []
    first = f"meter: {meter}, " if meter else ""
    return ["resources:", f"  - {{id: {quoted(name)}, {first}devices: [{', '.join(others)}]}}", ""]


def _programmes(devices: Sequence[Chosen]) -> list[str]:
    """Propose what signals mean: batteries, then the largest first where watts are asked, and more with each level."""
    ordered = sorted(
        (each for each in devices if each.sheds), key=lambda each: (not each.stores, -(each.nominal_w or 0.0))
    )
    if not ordered:
        return ["# programmes: say here what events may do, once there is a device that can be switched", ""]
    lines = [
        "programmes:                   # a proposal: change what does not suit you",
        "  - match: {signal: LOAD_DISPATCH}",
        f"    shed: {{order: [{', '.join(quoted(each.device.id) for each in ordered)}]}}",
    ]
    levelled = [(each.device.id, least) for each in ordered if (least := _least(each)) is not None]
    if levelled:
        lines += ["  - match: {signal: SIMPLE}", "    levels:"]
    for level in (1, 2, 3) if levelled else ():
        count = -(-len(levelled) * level // 3)
        table = ", ".join(f"{quoted(name)}: {least}" for name, least in levelled[:count])
        lines.append(f"      {level}: {{{table}}}")
    return [*lines, ""]


def _least(chosen: Chosen) -> str | None:
    """Return what a level tells a device, or None: how far a battery goes, a level does not say."""
    if CapabilityKind.SWITCH in chosen.sets:
        return "{switch: off}"
    return next((f"{{{kind}: -50%}}" for kind in _HALVED if kind in chosen.sets), None)
