"""The gateway's benchmark from begin to end, with few messages: none of them is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.broker import find_mosquitto

ROOT = Path(__file__).parents[2]
CASES = "single-5s-qos1,batch-12h-qos0,burst-5000-qos1,sustained-bench_meter-qos1"


@pytest.mark.slow
def test_a_quick_run_loses_nothing(tmp_path):
    find_mosquitto()
    rows = tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.bridges", "--quick", "--cases", CASES, "--json", str(rows)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written_rows = {row["case"]: row for row in json.loads(rows.read_text())["rows"]}
    assert sorted(written_rows) == sorted(
        ["single-5s-qos1", "batch-12h-qos0", "burst-5000-qos1", "burst-5000-qos1-bounded"]
        + [f"sustained-bench_meter-qos1-{name}" for name in ("bare", "ours")]
    )
    assert all(row["lost"] == 0 and row["sent"] == row["stored"] > 0 for row in written_rows.values())
    assert written_rows["sustained-bench_meter-qos1-ours"]["ratio"]["median"] > 0
    assert written_rows["burst-5000-qos1"]["p99_s"]["median"] > 0
