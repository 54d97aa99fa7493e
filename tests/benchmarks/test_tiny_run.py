"""A benchmark from begin to end: it measures, checks what the servers did, and leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_tiny_run_writes_what_it_measured(tmp_path):
    page = (ROOT / "docs" / "explanation" / "performance.md").read_bytes()
    before = set((ROOT / "build").glob("bench-*"))
    rows = tmp_path / "rows.json"
    cases = "update-report-96-tls,dispatch-1000,poll-signed-ec"
    arguments = ("--quick", "--cases", cases, "--homes", "8", "--seconds", "0.2", "--json", str(rows))
    command = [sys.executable, "-m", "benchmarks", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = json.loads(rows.read_text())
    assert [row["case"] for row in written["rows"]] == cases.split(",")
    for row in written["rows"]:
        assert min(row[who][figure] for who in ("ours", "peer", "ratio") for figure in ("least", "median", "most")) > 0
    assert written["machine"]["cores"]
    assert (ROOT / "docs" / "explanation" / "performance.md").read_bytes() == page
    assert set((ROOT / "build").glob("bench-*")) == before
