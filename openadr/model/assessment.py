"""A VEN's own assessment of an event on the wire: what it would have used without it, and by how much it changed that.

OpenADR has report types for both, `baseline` and `deltaUsage` ("change in usage as compared to the baseline"). It has
no report that is made of them, so ours has a name of its own; the points mean the same in any report.
"""

from typing import Final

from core.direction import Direction
from openadr.model.report import ReportDescription, SamplingRate
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH

REPORT_NAME: Final = "x-SELF_ASSESSMENT"
BASELINE: Final = "baseline"
DELTA: Final = "deltaUsage"
REPORT_TYPES: Final = (BASELINE, DELTA)
_READING_TYPE: Final = "Derived"


def r_id(resource: str, report_type: str, method: str) -> str:
    """Return the rID of one data point: `{resource}/{baseline|deltaUsage}/{id of the baseline method}`."""
    return f"{resource}/{report_type}/{method}"


def method_of(name: str) -> str:
    """Return the id of the baseline method that an rID of ours names; of one of another make just its end."""
    return name.rpartition("/")[2]


def describe(resource: str, method: str, sampling: SamplingRate) -> tuple[ReportDescription, ...]:
    """Return the metadata of a resource's assessments, energies in Wh (RP-04, RP-07)."""
    source = Target(resource_ids=(resource,))
    return tuple(
        ReportDescription(
            r_id(resource, name, method),
            name,
            _READING_TYPE,
            source=source,
            item_base=ENERGY_REAL_WH,
            sampling=sampling,
        )
        for name in REPORT_TYPES
    )


def delivered_wh(delta_wh: float, direction: Direction) -> float:
    """Return what a change of usage (negative: less than the baseline) delivers of what was ordered, Wh."""
    return delta_wh if direction is Direction.INCREASE else -delta_wh
