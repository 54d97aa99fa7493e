"""Flexibility potential on the wire: the one place where our directions meet OpenADR's words.

OpenADR looks from the grid: *up regulation* is more power for the grid, which a consumer gives by using less. We look
from the household: `reduce` is less consumption, `increase` is more.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from core.direction import Direction
from openadr.model.report import ReportDescription, SamplingRate
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W

REPORT_NAME: Final = "x-FLEXIBILITY_POTENTIAL"
NOMINAL: Final = "nominal"
NOMINAL_TYPE: Final = "x-nominalPower"
"""What the devices of a resource draw at most, so that potential can be seen beside it."""
_READING_TYPE: Final = "Projected"


class Quantile(StrEnum):
    """How sure a potential is: it is at least p10 nine times out of ten, at least p90 once."""

    P10 = "p10"
    P50 = "p50"
    P90 = "p90"


_TYPES: Final = {
    Direction.REDUCE: "upRegulationCapacityAvailable",
    Direction.INCREASE: "downRegulationCapacityAvailable",
}
REPORT_TYPES: Final[Mapping[Direction, str]] = MappingProxyType(_TYPES)
DIRECTIONS: Final[Mapping[str, Direction]] = MappingProxyType({name: way for way, name in _TYPES.items()})


def r_id(resource: str, direction: Direction, quantile: Quantile) -> str:
    """Return the rID of one data point: `{resource}/{reduce|increase}/{p10|p50|p90}`."""
    return f"{resource}/{direction}/{quantile}"


def nominal_r_id(resource: str) -> str:
    """Return the rID of a resource's nominal power."""
    return f"{resource}/{NOMINAL}"


def quantile_of(name: str) -> Quantile:
    """Return what an rID says of its certainty; one that says nothing is the middle."""
    last = name.rpartition("/")[2]
    return Quantile(last) if last in list(Quantile) else Quantile.P50


def describe(resource: str, direction: Direction, sampling: SamplingRate) -> tuple[ReportDescription, ...]:
    """Return the metadata of a resource's potential in one direction (RP-04, RP-07)."""
    source = Target(resource_ids=(resource,))
    return tuple(
        ReportDescription(
            r_id(resource, direction, quantile),
            REPORT_TYPES[direction],
            _READING_TYPE,
            source=source,
            item_base=POWER_REAL_W,
            sampling=sampling,
        )
        for quantile in Quantile
    )


def describe_nominal(resource: str, sampling: SamplingRate) -> ReportDescription:
    """Return the metadata of a resource's nominal power."""
    return ReportDescription(
        nominal_r_id(resource),
        NOMINAL_TYPE,
        "x-notApplicable",
        source=Target(resource_ids=(resource,)),
        item_base=POWER_REAL_W,
        sampling=sampling,
    )
