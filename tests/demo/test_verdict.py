"""What may be missing at the end of the demo, and what may not."""

from typing import Any

import pytest

from evenload.demo.checks import Evidence, faults

NEW = {"days": 0, "needed": 5, "ready_on": "2013-11-27"}


def ven(name: str, delivered_kwh: float | None, learning: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "ven_name": name,
        "selected": "called",
        "learning": learning,
        "opt": "not called",
        "ordered_kwh": 0.0,
        "delivered_kwh": delivered_kwh,
        "true_kwh": 2.0,
        "commands": [],
    }


def evidence(*vens: dict[str, Any], learning: int = 1, newcomer: str | None = "home-03") -> Evidence:
    side = {"learning": learning, "unheard": 0}
    told = {
        "vens": list(vens),
        "learning": {"programme": side, "brp": side},
        "intervals": [{"duration_s": 3600, "baseline_kw": 3.0, "actual_kw": 1.0, "delivered_kw": 2.0}],
        "delivered_kwh": 2.0,
        "true_kwh": 2.0,
        "placebo_sd_kwh": 0.5,
        "ordered_kwh": 4.0,
        "requested_kwh": 4.0,
        "offered_kwh": 4.0,
        "accepted_kwh": 4.0,
        "report": {"delivered_wh": 2000},
    }
    return Evidence(told, {one["ven_name"]: [] for one in vens}, {}, newcomer)


def test_what_the_newcomer_delivered_need_not_be_known():
    assert faults(evidence(ven("home-01", 2.0), ven("home-03", None, NEW))) == []


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (evidence(ven("home-01", 2.0), ven("home-02", None), ven("home-03", None, NEW)), "home-02 stayed in, but"),
        (evidence(ven("home-01", 2.0), ven("home-03", None)), "home-03 is new, but the fleet does not say"),
        (evidence(ven("home-01", 2.0, NEW), ven("home-03", None, NEW)), "home-01 told its history, but"),
        (evidence(ven("home-01", 2.0), ven("home-03", None, NEW), learning=0), "The brp is told that 0 homes"),
        (evidence(ven("home-01", 2.0), learning=1, newcomer=None), "The programme is told that 1 homes"),
    ],
)
def test_a_home_that_learns_where_it_must_not_or_does_not_say_so_is_a_fault(found, fault):
    assert any(one.startswith(fault) for one in faults(found)), faults(found)


def test_what_was_ordered_from_the_newcomer_has_to_be_shed_truly():
    new = ven("home-03", None, NEW) | {"opt": "optIn", "ordered_kwh": 6.0}
    assert any(one.startswith("Only 4.00 kWh of the 6.00 kWh") for one in faults(evidence(ven("home-01", 2.0), new)))
