"""The demo, run as a user runs it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DEADLINE_S = 300


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a run: its exit code, what it printed, its JSON, and where its files are."""

    code: int
    printed: str
    json: dict[str, Any]
    directory: Path


def tell(place: Path, *arguments: str) -> Told:
    """Run the demo headless with its files in `place`; fast, but in time for the event on a busy host."""
    file, directory = place / "out.json", place / "run"
    command = [sys.executable, "-m", "evenload", "demo", "--once", "--speed", "120", "--run", directory, "--json", file]
    done = subprocess.run(
        [*command, *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        timeout=_DEADLINE_S,
    )
    assert file.exists(), done.stdout
    return Told(done.returncode, done.stdout, json.loads(file.read_text(encoding="utf-8")), directory)
