"""What must hold at the end of the demo. Each fault is one sentence; no fault, and the demo exits with 0."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenload.demo.model import Switch

_SAME_KWH = 1e-6
_WHOLE_KWH = 0.01
_LEAST_SHARE = 0.8
_SPREADS = 3.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks look at.

    `told` is the demo's JSON; `switched` what the houses' own log says of each home (by VEN name); `outbox` the VTN's
    rows by state; `newcomer` the home (its VEN's name) without a past, if there is one.
    """

    result: dict[str, Any]
    switched: Mapping[str, Sequence[Switch]]
    outbox: dict[str, int]
    newcomer: str | None = None


def faults(evidence: Evidence) -> list[str]:
    """Return everything that is wrong."""
    return [
        *_opts(evidence),
        *_switches(evidence),
        *_outbox(evidence),
        *_learning(evidence),
        *_sums(evidence),
        *_energy(evidence),
        *_report(evidence),
    ]


def _opts(evidence: Evidence) -> Iterator[str]:
    for ven in evidence.result["vens"]:
        if ven["opt"] not in ("optIn", "optOut", "no answer", "not called"):
            yield f"{ven['ven_name']} has no final opt: {ven['opt']}."
        if not ven["selected"]:
            yield f"{ven['ven_name']} has no reason why it was called or not."


def _switches(evidence: Evidence) -> Iterator[str]:
    """Hold the houses' log, the gateways' commands and the JSON against each other."""
    for ven in evidence.result["vens"]:
        name = ven["ven_name"]
        happened = ["on" if one.on else "off" for one in evidence.switched[name]]
        commanded: list[str] = []
        for command in ven["commands"]:
            commanded += [command["value"]] if command["acknowledged"] else []
            commanded += ["on"] if command["restored"] else []
        if happened != commanded:
            yield f"{name}: the house switched {happened or 'nothing'}, its gateway says {commanded or 'nothing'}."
        stayed = ven["opt"] == "optIn"
        if stayed and happened != ["off", "on"]:
            yield f"{name} stayed in, but its heater was not shed and restored once: {happened or 'no switch'}."
        if not stayed and happened:
            yield f"{name} did not take part, but its heater was switched: {happened}."


def _outbox(evidence: Evidence) -> Iterator[str]:
    waiting = {state: evidence.outbox.get(state, 0) for state in ("pending", "sent")}
    if any(waiting.values()):
        yield f"The VTN's outbox is not empty: {waiting}."


def _learning(evidence: Evidence) -> Iterator[str]:
    """Let the newcomer, and nobody else, be learning and deliver what nobody can know."""
    for ven in evidence.result["vens"]:
        name, learning = ven["ven_name"], ven["learning"]
        if name == evidence.newcomer and (learning is None or not learning["ready_on"]):
            yield f"{name} is new, but the fleet does not say from when it can be measured."
        if name != evidence.newcomer and learning is not None:
            yield f"{name} told its history, but the fleet says that it is learning."
        if name != evidence.newcomer and ven["delivered_kwh"] is None:
            yield f"{name} stayed in, but what it delivered is not known."
    for side, learnt in evidence.result["learning"].items():
        if learnt["learning"] != (evidence.newcomer is not None) or learnt["unheard"]:
            yield f"The {side} is told that {learnt['learning']} homes are learning and {learnt['unheard']} unheard."


def _sums(evidence: Evidence) -> Iterator[str]:
    told = evidence.result
    by_ven = math.fsum(ven["delivered_kwh"] or 0.0 for ven in told["vens"])
    hours = [one["duration_s"] / 3600 for one in told["intervals"]]
    by_interval = math.fsum(one["delivered_kw"] * h for one, h in zip(told["intervals"], hours, strict=True))
    if abs(by_ven - told["delivered_kwh"]) > _SAME_KWH:
        yield f"The VENs delivered {by_ven} kWh in sum, the total says {told['delivered_kwh']}."
    if abs(by_interval - told["delivered_kwh"]) > _SAME_KWH:
        yield f"The intervals delivered {by_interval} kWh in sum, the total says {told['delivered_kwh']}."
    for index, one in enumerate(told["intervals"]):
        if abs(one["baseline_kw"] - one["actual_kw"] - one["delivered_kw"]) > _SAME_KWH:
            yield f"Interval {index}: baseline minus actual is not what was delivered."


def _energy(evidence: Evidence) -> Iterator[str]:
    told = evidence.result
    spread = told["placebo_sd_kwh"]
    gap = abs(told["delivered_kwh"] - told["true_kwh"])
    if not gap <= _SPREADS * spread:
        yield (
            f"Delivered {told['delivered_kwh']:.2f} kWh is {gap:.2f} kWh off the truth ({told['true_kwh']:.2f} kWh), "
            f"more than {_SPREADS:g} placebo standard deviations ({spread:.2f} kWh each)."
        )
    stayed = math.fsum(ven["ordered_kwh"] for ven in told["vens"] if ven["opt"] == "optIn")
    shed = math.fsum(ven["true_kwh"] for ven in told["vens"])
    if not shed >= _LEAST_SHARE * stayed:
        yield f"Only {shed:.2f} kWh of the {stayed:.2f} kWh ordered from homes that stayed in were shed."
    if not told["ordered_kwh"] >= 5 * spread:
        yield f"The order of {told['ordered_kwh']:.2f} kWh does not stand out of the noise ({spread:.2f} kWh)."


def _report(evidence: Evidence) -> Iterator[str]:
    """Hold what the BRP was told against what the VTN computed: whole watts and watt-hours, else the same."""
    told = evidence.result
    gap_kwh = abs(told["report"]["delivered_wh"] / 1000 - told["delivered_kwh"])
    if gap_kwh > _WHOLE_KWH:
        yield f"The BRP's report says {told['report']['delivered_wh']} Wh, the result {told['delivered_kwh']:.3f} kWh."
    if told["offered_kwh"] > told["requested_kwh"] + _SAME_KWH:
        yield f"{told['offered_kwh']} kWh were offered where {told['requested_kwh']} kWh were requested."
    if told["accepted_kwh"] > told["offered_kwh"] + _SAME_KWH:
        yield f"{told['accepted_kwh']} kWh were accepted of an offer of {told['offered_kwh']} kWh."
