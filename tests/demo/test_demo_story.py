"""The whole story as a user starts it: its JSON, and that it does not end well where it must not."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from demo.told import tell

from aggregator.fleet import Reason

pytestmark = pytest.mark.slow
_TOGETHER = pytest.mark.xdist_group("story")

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
_COMMAND = {"device", "capability", "value", "until", "acknowledged", "restored"}

Story = tuple[Path, dict[str, Any]]


@_TOGETHER
def test_the_story_says_what_was_ordered_and_what_came_of_it(story: Story) -> None:
    _, told = story

    assert all(isinstance(told[name], float) for name in _NUMBERS)
    assert len(told["intervals"]) == 3
    assert all(one.keys() >= _INTERVAL for one in told["intervals"])
    assert len(told["vens"]) == 12
    assert all(ven.keys() >= _VEN for ven in told["vens"])
    assert told["ordered_kwh"] >= 5 * told["placebo_sd_kwh"] > 0
    assert abs(told["delivered_kwh"] - told["true_kwh"]) <= 3 * told["placebo_sd_kwh"]
    opts = [ven["opt"] for ven in told["vens"]]
    assert opts.count("optIn") >= 3
    assert (opts.count("optOut"), opts.count("no answer")) == (1, 1)


@_TOGETHER
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


@_TOGETHER
def test_homes_that_opted_out_or_fell_silent_were_replaced_from_the_reserve(story: Story) -> None:
    _, told = story
    called_later = [ven for ven in told["vens"] if ven["selected"] == "reserve" and ven["opt"] == "optIn"]

    assert called_later
    assert all(ven["ordered_kwh"] > 0 and ven["true_kwh"] > 0 for ven in called_later)


@_TOGETHER
def test_every_home_that_stayed_in_was_switched_and_restored(story: Story) -> None:
    _, told = story
    first = min(datetime.fromisoformat(one["start"]) for one in told["intervals"])

    for ven in told["vens"]:
        if ven["opt"] != "optIn":
            assert (ven["commands"], ven["delivered_kwh"]) == ([], 0.0)
            continue
        (command,) = ven["commands"]
        assert command.keys() >= _COMMAND
        assert (command["capability"], command["value"]) == ("switch", "off")
        assert datetime.fromisoformat(command["until"]) > first
        assert (command["acknowledged"], command["restored"]) == (True, True)


def test_houses_that_ignore_commands_are_told_of(tmp_path: Path) -> None:
    told = tell(tmp_path, "--households", "6", "--fault", "ignore-commands")

    assert told.code == 1
    assert "stayed in, but its heater was not shed and restored once" in told.printed
    assert not any(command["acknowledged"] for ven in told.json["vens"] for command in ven["commands"])


def test_a_constant_baseline_is_told_of(tmp_path: Path) -> None:
    told = tell(tmp_path, "--fault", "constant-baseline")

    assert told.code == 1
    assert "Fault:" in told.printed
    assert "The BRP's report says" in told.printed  # the true baseline's energy, so the constant one's stands out
