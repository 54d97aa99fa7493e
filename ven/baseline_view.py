"""A baseline that came with an event (eiEventBaseline), as people and scripts see it. Nothing is done by it."""

from collections.abc import Mapping
from typing import Any, Final

from core.spans import Span
from openadr.model.signal import Baseline
from ven.words import in_a_line

_MOST_SHOWN: Final = 100
_LONGEST_NAME: Final = 80


def baseline_fields(baseline: Baseline) -> dict[str, Any]:
    """Return a sound baseline for JSON: what would be used without the event, by all of the resources together (EV-37).

    `length` counts its intervals; of a long one the first hundred are shown.
    """
    intervals, edge = [], baseline.start
    for interval in baseline.intervals[:_MOST_SHOWN]:
        intervals.append({"start": edge.isoformat(), "value": interval.value})
        edge = interval.duration.held_after(edge)
    end = Span.lasting(baseline.start, baseline.duration).end
    base = baseline.item_base
    scale = "" if base is None or base.scale == "none" else base.scale
    values = [interval.value for interval in baseline.intervals]
    return {
        "id": baseline.baseline_id,
        "name": baseline.name,
        "start": baseline.start.isoformat(),
        "end": end.isoformat() if end else None,
        "unit": f"{scale}{base.units}" if base else None,
        "resources": list(baseline.resource_ids[:_MOST_SHOWN]),
        "lowest": min(values),
        "highest": max(values),
        "length": len(values),
        "intervals": intervals,
    }


def baseline_words(fields: Mapping[str, Any]) -> str:
    """Return what `baseline_fields` gave in a few words for a terminal."""
    low, high = fields["lowest"], fields["highest"]
    figures = f"{low:,g}" if low == high else f"{low:,g} to {high:,g}"
    unit = f" {in_a_line(fields['unit'], _LONGEST_NAME)}" if fields["unit"] else ""
    name = in_a_line(fields["name"] or fields["id"], _LONGEST_NAME)
    return f"the VTN's baseline {name}: {figures}{unit}"
