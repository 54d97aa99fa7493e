"""What events brought, as people and scripts see it at the gateway."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ven.assessment import HOW_TO_INSTALL, Assessment, Assessments, is_installed
from ven.household import Household
from ven.words import in_a_line

_LONGEST: Final = 200


def assessment_fields(assessment: Assessment, *, with_intervals: bool = True) -> dict[str, Any]:
    """Return an assessment for JSON. Energies are in Wh, a negative delta is less than the baseline."""
    outcome = assessment.outcome
    resources = []
    for one in outcome.resources:
        known = sum(each.delta_wh is not None for each in one.intervals)
        fields: dict[str, Any] = {
            "resource": one.resource,
            "baseline_wh": _rounded(one.baseline_wh),
            "delta_wh": _rounded(one.delta_wh),
            "coverage": known / len(one.intervals) if one.intervals else 0.0,
            "note": one.note,
        }
        if with_intervals:
            fields["intervals"] = [
                {
                    "start": each.start.isoformat(),
                    "baseline_wh": _rounded(each.baseline_wh),
                    "actual_wh": _rounded(each.actual_wh),
                }
                for each in one.intervals
            ]
        resources.append(fields)
    return {
        "event_id": assessment.event_id,
        "start": assessment.start.isoformat(),
        "end": assessment.end.isoformat(),
        "computed_at": assessment.made_at.isoformat(),
        "method": outcome.method or None,
        "interval_s": assessment.step_s,
        "failure": outcome.failure or None,
        "resources": resources,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def status_fields(household: Household, assessments: Assessments) -> dict[str, Any]:
    """Return whether events are assessed here, how that could be, and the last one."""
    newest = assessments.newest(1)
    installed = is_installed()
    return {
        "enabled": household.assess.enabled,
        "installed": installed,
        "install": None if installed else HOW_TO_INSTALL,
        "last": assessment_fields(newest[0], with_intervals=False) if newest else None,
    }


def status_lines(fields: Mapping[str, Any]) -> list[str]:
    """Return `status_fields` for people."""
    if not fields["enabled"]:
        return []
    if not fields["installed"]:
        return [f"  what events bring is not computed here: {fields['install']} lets it be"]
    return [f"  last assessed: {line}" for line in as_lines([fields["last"]])] if fields["last"] else []


def as_lines(assessments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what `assessment_fields` gave in lines for a terminal; times are local."""
    lines = []
    for one in assessments:
        head = f"{in_a_line(one['event_id'], _LONGEST)}, {_local(one['start'])} .. {_local(one['end'])}"
        if one["failure"]:
            lines.append(f"{head}: not known, {in_a_line(one['failure'], _LONGEST)}")
        lines += [
            f"{head}: {in_a_line(each['resource'], _LONGEST)} {_words(each, one['method'])}"
            for each in one["resources"]
        ]
    return lines


def _words(fields: Mapping[str, Any], method: str) -> str:
    if fields["delta_wh"] is None:
        return f"not known, {in_a_line(fields['note'], _LONGEST)}"
    way = "less" if fields["delta_wh"] <= 0 else "more"
    part = "" if fields["coverage"] == 1 else f", known of {fields['coverage']:.0%} of it"
    return (
        f"used {abs(fields['delta_wh']):,.0f} Wh {way} than the {fields['baseline_wh']:,.0f} Wh expected"
        f" (by {in_a_line(method, _LONGEST)}{part})"
    )


def _local(when: str) -> str:
    moment = datetime.fromisoformat(when)
    try:
        return f"{moment.astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, OSError, ValueError):  # the calendar's edges have no local time
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"
