"""The story must not end well where it must not."""

from pathlib import Path

import pytest
from demo.told import tell

pytestmark = pytest.mark.slow


def test_houses_that_ignore_commands_are_told_of(tmp_path: Path) -> None:
    told = tell(tmp_path, "--households", "6", "--fault", "ignore-commands")

    assert told.code == 1
    assert "stayed in, but its heater was not shed and restored once" in told.printed
    assert not any(command["acknowledged"] for ven in told.json["vens"] for command in ven["commands"])


def test_a_constant_baseline_is_told_of(tmp_path: Path) -> None:
    told = tell(tmp_path, "--fault", "constant-baseline")

    assert told.code == 1
    assert "placebo standard deviations" in told.printed  # its energy is off
    assert "The BRP's report says" in told.printed  # which has the true baseline's
