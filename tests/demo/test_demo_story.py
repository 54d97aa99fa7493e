"""The whole story as a user starts it, and its JSON."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aggregator.flexibility.fleet import Reason

pytestmark = pytest.mark.slow

_NUMBERS = {
    "requested_kwh",
    "offered_kwh",
    "ordered_kwh",
    "delivered_kwh",
    "true_kwh",
    "placebo_sd_kwh",
    "performance_ratio",
    "participation_rate",
}
_INTERVAL = {"start", "target_kw", "baseline_kw", "actual_kw", "delivered_kw"}
_VEN = {"ven_name", "selected", "opt", "reason", "delivered_kwh", "true_kwh", "commands"}
_NEW = "home-03"
_COMMAND = {"device", "capability", "value", "until", "acknowledged", "restored"}

Story = tuple[Path, dict[str, Any]]


def test_the_story_says_what_was_ordered_and_what_came_of_it(story: Story) -> None:
    _, told = story

    assert all(isinstance(told[name], float) for name in _NUMBERS)
    assert len(told["intervals"]) == 3
    assert all(one.keys() >= _INTERVAL for one in told["intervals"])
    assert len(told["vens"]) == 12
    assert all(ven.keys() >= _VEN for ven in told["vens"])
    assert told["ordered_kwh"] >= 5 * told["placebo_sd_kwh"] > 0
    assert abs(told["delivered_kwh"] - told["true_kwh"]) <= 3 * told["placebo_sd_kwh"]
    opts = {why: sorted(ven["opt"] for ven in told["vens"] if ven["selected"] == why) for why in ("called", "reserve")}
    assert opts["called"] == ["no answer", *["optIn"] * (len(opts["called"]) - 2), "optOut"]
    assert all(bool(ven["reason"]) == (ven["opt"] == "optOut") for ven in told["vens"]), "who opts out says why"
    assert set(opts["reserve"]) <= {"optIn", "not called"}
    # The reserve is as large as it must be; nobody was barred, and who is not needed is not called.
    spare = [ven for ven in told["vens"] if ven["selected"] not in ("called", "reserve")]
    assert {ven["selected"] for ven in spare} <= {Reason.TURN, Reason.CHEAPER}
    assert {ven["opt"] for ven in spare} <= {"not called"}


def test_the_brp_bought_what_the_pool_could_do_and_was_told_what_came_of_it(story: Story) -> None:
    _, told = story

    assert told["requested_kwh"] >= told["offered_kwh"] >= told["accepted_kwh"] > 0
    report = told["report"]
    assert report["delivered_wh"] == pytest.approx(told["delivered_kwh"] * 1000, abs=10)
    assert len(report["intervals"]) >= 3
    selected = {ven["ven_name"]: ven["selected"] for ven in told["vens"]}
    assert {"called", "reserve"} <= set(selected.values()) <= {one.value for one in Reason}
    first = [ven for ven in told["vens"] if ven["selected"] == "called"]
    assert all(ven["opt"] != "not called" for ven in first)


def test_the_new_home_is_learning_for_fleet_programme_and_brp_and_its_energy_is_left_out(story: Story) -> None:
    _, told = story
    learning = {ven["ven_name"]: ven["learning"] for ven in told["vens"] if ven["learning"]}

    assert set(learning) == {_NEW}
    assert learning[_NEW]["days"] < learning[_NEW]["needed"]
    assert told["learning"]["programme"] == told["learning"]["brp"]
    assert told["learning"]["brp"]["learning"] == 1
    for ready_on in (learning[_NEW]["ready_on"], told["learning"]["brp"]["ready_on"]):
        assert date.fromisoformat(ready_on) > datetime.fromisoformat(told["world_start"]).date()
    (new,) = (ven for ven in told["vens"] if ven["ven_name"] == _NEW)
    assert new["opt"] != "optOut"
    assert (new["delivered_kwh"] is None) == (new["opt"] == "optIn")
    known = [ven for ven in told["vens"] if ven["delivered_kwh"] is not None]
    for name in ("delivered_kwh", "true_kwh"):
        assert told[name] == pytest.approx(sum(ven[name] for ven in known), abs=1e-6)


def test_homes_that_opted_out_or_fell_silent_were_replaced_from_the_reserve(story: Story) -> None:
    _, told = story
    called_later = [ven for ven in told["vens"] if ven["selected"] == "reserve" and ven["opt"] == "optIn"]

    assert called_later
    assert all(ven["ordered_kwh"] > 0 and ven["true_kwh"] > 0 for ven in called_later)


def test_every_home_that_stayed_in_was_switched_and_restored(story: Story) -> None:
    _, told = story
    ends = {_end(one) for one in told["intervals"]}

    for ven in told["vens"]:
        if ven["opt"] != "optIn":
            assert (ven["commands"], ven["delivered_kwh"]) == ([], 0.0)
            continue
        (command,) = ven["commands"]
        assert command.keys() >= _COMMAND
        assert (command["capability"], command["value"]) == ("switch", "off")
        assert datetime.fromisoformat(command["until"]) in ends
        assert (command["acknowledged"], command["restored"]) == (True, True)
    untils = [datetime.fromisoformat(command["until"]) for ven in told["vens"] for command in ven["commands"]]
    assert untils.count(max(ends)) > len(untils) / 2


def _end(interval: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(interval["start"]) + timedelta(seconds=interval["duration_s"])
