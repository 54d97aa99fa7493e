"""The whole story as a user starts it, its JSON, and its result computed again from the rows, without our code."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow
_TOGETHER = pytest.mark.xdist_group("story")

_NUMBERS = {"ordered_kwh", "delivered_kwh", "true_kwh", "placebo_sd_kwh", "performance_ratio", "participation_rate"}
_INTERVAL = {"start", "target_kw", "baseline_kw", "actual_kw", "delivered_kw"}
_VEN = {"ven_name", "opt", "reason", "delivered_kwh", "true_kwh", "commands"}
_COMMAND = {"device", "capability", "value", "until", "acknowledged", "restored"}


def _demo(directory: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Run the demo into a directory and return exit code, what it printed, and its JSON."""
    file = directory / "out.json"
    command = [sys.executable, "-m", "evenload", "demo", "--once", "--speed", "240", "--run", directory / "run"]
    done = subprocess.run(
        [*command, "--json", file, *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        timeout=300,
    )
    assert file.exists(), done.stdout
    return done.returncode, done.stdout, json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("story")
    code, printed, told = _demo(directory)
    assert code == 0, printed
    return directory / "run", told


@_TOGETHER
def test_the_story_says_what_was_ordered_and_what_came_of_it(story: tuple[Path, dict[str, Any]]) -> None:
    _, told = story

    assert all(isinstance(told[name], float) for name in _NUMBERS)
    assert all(told["intervals"])
    assert all(one.keys() >= _INTERVAL for one in told["intervals"])
    assert all(ven.keys() >= _VEN for ven in told["vens"])
    assert len(told["vens"]) == 12
    assert told["ordered_kwh"] >= 5 * told["placebo_sd_kwh"] > 0
    assert abs(told["delivered_kwh"] - told["true_kwh"]) <= 3 * told["placebo_sd_kwh"]
    opts = [ven["opt"] for ven in told["vens"]]
    assert (opts.count("optIn"), opts.count("optOut"), opts.count("no answer")) == (10, 1, 1)


@_TOGETHER
def test_every_home_that_stayed_in_was_switched_and_restored(story: tuple[Path, dict[str, Any]]) -> None:
    _, told = story
    end = max(datetime.fromisoformat(one["start"]) for one in told["intervals"])

    for ven in told["vens"]:
        if ven["opt"] != "optIn":
            assert (ven["commands"], ven["delivered_kwh"]) == ([], 0.0)
            continue
        (command,) = ven["commands"]
        assert command.keys() >= _COMMAND
        assert (command["capability"], command["value"]) == ("switch", "off")
        assert datetime.fromisoformat(command["until"]) > end
        assert (command["acknowledged"], command["restored"]) == (True, True)


@_TOGETHER
def test_delivered_energy_follows_from_the_rows(story: tuple[Path, dict[str, Any]]) -> None:
    directory, told = story
    with closing(sqlite3.connect(f"file:{directory / 'vtn' / 'vtn.db'}?mode=ro", uri=True)) as db:
        edges = db.execute("SELECT strftime('%s', starts_at) + 0, strftime('%s', ends_at) + 0 FROM dispatch").fetchone()
        delivered = {}
        for ven, name, opt, told_at in db.execute(
            "SELECT e.ven_id, v.name, (SELECT opt_type FROM opt WHERE event_id = e.id ORDER BY sequence DESC LIMIT 1),"
            " (SELECT strftime('%s', min(first_sent_at)) + 0 FROM delivery WHERE event_id = e.id)"
            " FROM event e JOIN ven v ON v.id = e.ven_id"
        ).fetchall():
            rows = db.execute(
                "SELECT start_s, start_s + duration_s, value FROM reading WHERE ven_id = ? AND kind = 'sum'"
                " AND quantity = 'energy_real' AND value IS NOT NULL ORDER BY start_s",
                (ven,),
            ).fetchall()
            delivered[name] = _delivered_wh(np.array(rows, float), *edges, told_at) if opt == "optIn" else 0.0
    assert {ven["ven_name"]: ven["delivered_kwh"] for ven in told["vens"]} == pytest.approx(
        {name: wh / 1000 for name, wh in delivered.items()}, abs=1e-6
    )
    assert told["delivered_kwh"] == pytest.approx(sum(delivered.values()) / 1000, abs=1e-6)


def _delivered_wh(rows: np.ndarray, start: int, end: int, told_at: int) -> float:
    """High 5 of 10 as docs/metrics.md defines it: half hours of UTC days, from rows (start, end, Wh)."""
    assert (rows[1:, 0] >= rows[:-1, 1]).all()
    so_far = np.repeat(np.cumsum([0, *rows[:, 2]]), 2)[1:-1]

    def half_hours(first: int, last: int) -> np.ndarray:
        return np.diff(np.interp(np.arange(first, last + 1, 1800), rows[:, :2].ravel(), so_far))

    late = max(0, start - 3600 - told_at)
    before = -(-(start - 10800 - late) // 1800) * 1800, (start - 3600 - late) // 1800 * 1800
    ago = [n * 86400 for n in range(1, 20) if datetime.fromtimestamp(start - n * 86400, UTC).weekday() < 5][:10]
    kept = sorted(ago, key=lambda s: -half_hours(start - s, end - s).sum())[:5]
    usual, earlier = (np.mean([half_hours(a - s, b - s) for s in kept], 0) for a, b in ((start, end), before))
    ratio = np.clip(half_hours(*before).mean() / earlier.mean(), 0.8, 1.2)
    return float((usual * ratio - half_hours(start, end)).sum())


def test_houses_that_ignore_commands_are_told_of(tmp_path: Path) -> None:
    code, printed, told = _demo(tmp_path, "--households", "6", "--fault", "ignore-commands")

    assert code == 1
    assert "stayed in, but its heater was not shed and restored once" in printed
    assert not any(command["acknowledged"] for ven in told["vens"] for command in ven["commands"])


def test_a_constant_baseline_is_told_of(tmp_path: Path) -> None:
    code, printed, _ = _demo(tmp_path, "--households", "6", "--fault", "constant-baseline")

    assert code == 1
    assert "placebo standard deviations" in printed
