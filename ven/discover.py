"""What `evenload ven discover` shows of the devices that it finds, and what it adds to the household file."""

import logging
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from rich.table import Table
from rich.text import Text

from bridges.connections.mqtt_options import MqttOptions
from bridges.discovery.search import Result, Sight
from core.errors import InvalidError
from ven.household import Household
from ven.household_edit import NewDevice

_UNFIT: Final = re.compile(r"[^a-z0-9]+")
_LONGEST_ID: Final = 40
_MOST_VALUES: Final = 4
_THOUSAND: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A device that was found, and its number in the list; `known_as`: its id in the household file, if it has one."""

    number: int
    sight: Sight
    id: str
    known_as: str | None

    def entry(self) -> NewDevice:
        """Return what is written into the household file."""
        sight = self.sight
        return NewDevice(self.id, sight.driver, sight.device.role, dict(sight.device.options), sight.template)


@contextmanager
def quietly() -> Iterator[None]:
    """Log errors alone meanwhile: who looks around is told in words, and leaves no messages at the broker."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(**before)


def as_guest(options: MqttOptions) -> MqttOptions:
    """Return a broker's options for somebody who only looks in: the gateway may be there under its own name."""
    return options.model_copy(update={"client_id": "", "clean_session": True, "will_topic": None})


def offers(result: Result, household: Household | None) -> list[Offer]:
    """Return what was found, numbered, with ids that the household does not have yet."""
    entries = household.devices if household is not None else ()
    taken = {entry.id for entry in entries}
    known = {(entry.driver, _same(entry.options)): entry.id for entry in entries}
    numbered = []
    for number, sight in enumerate(result.sights, 1):
        known_as = known.get((sight.driver, _same(sight.device.options)))
        name = known_as or _free(sight.device.name or sight.device.model or sight.driver, taken)
        taken.add(name)
        numbered.append(Offer(number, sight, name, known_as))
    return numbered


def _same(options: Mapping[str, Any]) -> str:
    return repr(sorted((name, str(value)) for name, value in options.items()))


def plain(name: str) -> str:
    """Return a name in letters that need no accents: `Kuche Spulmaschine`."""
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()


def _free(name: str, taken: set[str]) -> str:
    slug = _UNFIT.sub("-", plain(name.casefold())).strip("-")[:_LONGEST_ID].strip("-") or "device"
    number, free = 1, slug
    while free in taken:
        number += 1
        free = f"{slug}-{number}"
    return free


def chosen(words: str, those: Sequence[Offer]) -> list[Offer]:
    """Return which offers are meant: `all`, `none`, or numbers such as `1, 3`. Raises InvalidError for what is none."""
    new = [offer for offer in those if offer.known_as is None]
    match words.strip().lower():
        case "all":
            return new
        case "" | "none":
            return []
    by_number = {str(offer.number): offer for offer in new}
    wanted = [word for word in re.split(r"[\s,]+", words.strip()) if word]
    if unknown := [word for word in wanted if word not in by_number]:
        raise InvalidError(f"'{unknown[0]:.20}' is no number of a device that can be added: {', '.join(by_number)}.")
    return [by_number[word] for word in dict.fromkeys(wanted)]


def as_table(those: Sequence[Offer]) -> Table:
    """Return what was found as a table."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("", "device", "what it is", "found by", "says now", "sets"):
        table.add_column(name, overflow="fold")
    for offer in those:
        device = offer.sight.device
        about = " ".join(filter(None, (device.maker, device.model))) or "-"
        note = f"in the file as {offer.known_as}" if offer.known_as else (device.role or "role unknown")
        cells = (
            str(offer.number),
            device.name,
            f"{about} ({note})",
            device.source,
            "\n".join(_values(offer.sight)) or ", ".join(offer.sight.reads[:_MOST_VALUES]) or "-",
            ", ".join(offer.sight.sets) or "-",
        )
        table.add_row(*(Text(cell) for cell in cells))  # as text: a device's name is no markup
    return table


def _values(sight: Sight) -> Iterator[str]:
    shown = 0
    for name, value in sight.states.items():
        yield f"{name} {value}"
    for name in sight.reads:
        if name in sight.readings and shown < _MOST_VALUES:
            shown += 1
            yield f"{name} {quantity_text(*sight.readings[name])}"
    if (more := len(sight.readings) - shown) > 0:
        yield f"and {more} more"


def quantity_text(value: float, unit: str) -> str:
    """Return a value as people read it: 1.5 kWh for 1,500 Wh."""
    if unit in ("W", "Wh") and abs(value) >= _THOUSAND:
        return f"{value / _THOUSAND:,.2f} k{unit}"
    return f"{value:,.4g} {'°C' if unit == 'Cel' else unit}".strip()


def as_json(result: Result, those: Sequence[Offer]) -> dict[str, Any]:
    """Return what was found as JSON values."""
    return {
        "devices": [
            {
                "number": offer.number,
                "id": offer.id,
                "known_as": offer.known_as,
                "key": offer.sight.device.key,
                "source": offer.sight.device.source,
                "name": offer.sight.device.name,
                "maker": offer.sight.device.maker,
                "model": offer.sight.device.model,
                "role": offer.sight.device.role,
                "driver": offer.sight.driver,
                "with": dict(offer.sight.device.options),
                "template": offer.sight.template,
                "reads": list(offer.sight.reads),
                "sets": list(offer.sight.sets),
                "values": {name: {"value": v, "unit": unit} for name, (v, unit) in offer.sight.readings.items()},
                "states": dict(offer.sight.states),
                "skipped": [{"what": what, "why": why} for what, why in offer.sight.device.skipped],
            }
            for offer in those
        ],
        "unusable": [{"key": device.key, "name": device.name, "why": why} for device, why in result.unusable],
        "refused": dict(result.refused),
    }


def notes(result: Result, those: Sequence[Offer]) -> Iterator[str]:
    """Yield what people should know beside the table."""
    for device, why in result.unusable:
        yield f"{device.name or device.key} was not added to the list. {why}"
    skipped = sum(len(offer.sight.device.skipped) for offer in those)
    if skipped:
        yield f"{skipped} parts of these devices are of no use here; --json says which, and why."
    for reason, count in result.refused.items():
        yield f"{count} message{'' if count == 1 else 's'} could not be read: {reason}"
