"""What a plain signal's event says beside its signal, as forms: whom it is for, and what would be used without it."""

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, field_validator

from aggregator.console.shared import LocalTime, in_utc
from core.errors import InvalidError
from core.spans import Duration
from openadr.model.area import corners_of, ring_text
from openadr.model.signal import Baseline
from openadr.model.target import AREAS, Target
from vtn.api.fields import Number, Printable
from vtn.api.signals import BaselineIn, IntervalIn
from vtn.api.targets import EventTarget, Ids
from web.model import Model
from web.pages.translations import gettext as _
from web.pages.translations import ngettext

MOST_MINUTES: Final = 48 * 60
_MOST_VALUES: Final = 96
_MOST_CHARACTERS: Final = 10_000
"""Of one field: all of them lie in an address."""
_Unit = Literal["kW", "W", "MW", "kWh", "Wh", "MWh"]
BASELINE_UNITS: Final[tuple[str, ...]] = get_args(_Unit)
PREFIXES: Final = ("target.", "baseline.")
"""How the names of these fields begin."""
GRID_FIELDS: Final = (
    "target.aggregated_pnodes",
    "target.pnodes",
    "target.delivery_points",
    "target.meters",
    "target.transports",
    "target.service_areas",
    "target.service_locations",
)
"""Those that name a place in the grid or on the map."""


def _lines(value: object) -> list[str]:
    """Return what stands in the lines of a text, blank ones left out."""
    text = str(value)
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(_("Enter at most %(max_length)s characters.", max_length=_MOST_CHARACTERS))
    return [line for line in map(str.strip, text.splitlines()) if line]


class TargetFields(EventTarget):
    """Whom an event is for, as it is typed: one entry a line."""

    resource_ids: Ids = Field(default_factory=list)

    @field_validator(
        "resource_ids",
        "group_ids",
        "group_names",
        "party_ids",
        "aggregated_pnodes",
        "pnodes",
        "delivery_points",
        "meters",
        mode="before",
    )
    @classmethod
    def _each_line(cls, value: object) -> list[str]:
        return _lines(value)

    @field_validator("transports", mode="before")
    @classmethod
    def _each_transport(cls, value: object) -> list[dict[str, str]]:
        pairs = [[part.strip() for part in line.split(">")] for line in _lines(value)]
        if not all(len(pair) == 2 and all(pair) for pair in pairs):  # noqa: PLR2004  receipt and delivery
            raise ValueError(_("Enter the two nodes as RECEIPT > DELIVERY."))
        return [{"receipt": receipt, "delivery": delivery} for receipt, delivery in pairs]

    @field_validator("service_areas", "service_locations", mode="before")
    @classmethod
    def _each_area(cls, value: object) -> list[list[dict[str, float]]]:
        return [_area(line) for line in _lines(value)]


def _area(line: str) -> list[dict[str, float]]:
    try:
        corners = [(float(latitude), float(longitude)) for latitude, longitude in _pairs(line)]
        ring_text(corners)
    except ValueError:
        raise ValueError(_("Enter the corners of an area as LAT,LON LAT,LON LAT,LON.")) from None
    except InvalidError as error:
        raise ValueError(str(error)) from error
    return [{"latitude": latitude, "longitude": longitude} for latitude, longitude in corners]


def _pairs(line: str) -> list[list[str]]:
    return [corner.split(",") for corner in line.split()]


class BaselineFields(Model):
    """What would be used without the event, as it is typed; without `values` there is no baseline."""

    values: Annotated[str, Field(max_length=2000)] | None = None
    unit: _Unit = "kW"
    name: Annotated[Printable, Field(max_length=80)] | None = None
    start: LocalTime | None = None
    minutes: Annotated[int, Field(ge=1, le=MOST_MINUTES)] | None = None
    resource_ids: Ids = Field(default_factory=list)

    @field_validator("resource_ids", mode="before")
    @classmethod
    def _each_line(cls, value: object) -> list[str]:
        return _lines(value)

    def value(self, event_start: datetime, event_minutes: int, zone: tzinfo) -> Baseline | None:
        """Return the baseline of an event, None if none was typed. Raises InvalidError, which names its field."""
        if self.values is None:
            if self.name or self.start or self.minutes or self.resource_ids:
                raise InvalidError(
                    _("Enter the baseline's values, or clear its other fields."), field="baseline.values"
                )
            return None
        try:
            start = event_start if self.start is None else in_utc(self.start, zone)
        except InvalidError as error:
            raise InvalidError(str(error), field="baseline.start") from error
        intervals = intervals_of(self.values, self.minutes or event_minutes, field="baseline.values")
        made = BaselineIn(
            name=self.name or "baseline", unit=self.unit, resource_ids=self.resource_ids, intervals=intervals
        )
        return made.value(start)


class _Value(Model):
    value: Number


def intervals_of(text: str, minutes: int, *, field: str) -> list[IntervalIn]:
    """Return typed values as intervals of equal length that last so many minutes. Raises InvalidError for the field."""
    words = [word for word in re.split(r"[\s;]+", text.strip()) if word]
    if not 1 <= len(words) <= _MOST_VALUES:
        raise InvalidError(_("Enter one value, or up to %(most)s separated by spaces.", most=_MOST_VALUES), field=field)
    try:
        values = [_Value(value=float(word.replace(",", ".").replace("\N{MINUS SIGN}", "-"))).value for word in words]
    except ValueError:
        raise InvalidError(_("Enter values such as 2 or -1.5, separated by spaces."), field=field) from None
    if minutes % len(values):
        raise InvalidError(
            _(
                "%(minutes)s minutes can't be divided into %(count)s parts of whole minutes.",
                minutes=minutes,
                count=len(values),
            ),
            field=field,
        )
    each = Duration.of(minutes=minutes // len(values))
    return [IntervalIn(duration=each, value=value) for value in values]


def is_typed(name: str, values: Sequence[str]) -> bool:
    """Tell whether somebody filled one of these fields in; a unit alone says nothing."""
    return name.startswith(PREFIXES) and name != "baseline.unit" and any(values)


def named(target: Target) -> list[tuple[str, str]]:
    """Return whom events name, by element and value, as operators wrote it; an area by the number of its corners."""
    ids = (
        ("resourceID", target.resource_ids),
        ("groupID", target.group_ids),
        ("groupName", target.group_names),
        ("partyID", target.party_ids),
        ("endDeviceAsset", target.device_classes),
    )
    found = [(element, text) for element, texts in ids for text in texts]
    for element, text in target.other:
        if element in AREAS:
            count = len(corners_of(text))
            found.append((element, ngettext("%(count)s corner", "%(count)s corners", count, count=count)))
        else:
            found.append((element, " > ".join(text.split("\n"))))
    return found
