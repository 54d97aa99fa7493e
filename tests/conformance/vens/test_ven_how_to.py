"""The five steps of docs/how-to/test-your-ven.md, as they are printed there."""

import shlex
import sys
from pathlib import Path

import pytest

from evenload.cli import main
from evenload.demo.processes import free_port

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "test-your-ven.md"


def _steps():
    return PAGE.read_text(encoding="utf-8").partition("## In five steps")[2].partition("\n## ")[0]


def test_the_five_steps_do_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    port = str(free_port())
    steps = _steps().replace("8088", port)
    (tmp_path / "trial.yaml").write_text(steps.partition("```yaml\n")[2].partition("```")[0])
    typed = []
    for line in (line.strip() for line in steps.splitlines() if line.startswith("    ")):
        name, *arguments = shlex.split(line)
        assert name == "evenload"
        here = [each.replace("evenload ven run", f"{sys.executable} -m evenload ven run") for each in arguments]
        if arguments[:2] == ["conform", "ven"]:
            here += ["--listen", f"127.0.0.1:{port}", "--poll", "1"]
        if "--record" in here:
            here += ["--only", "RG"]  # the whole run is another test's
        with pytest.raises(SystemExit) as end:
            main(here)
        assert not end.value.code, (arguments, capsys.readouterr())
        typed.append(arguments[:2])
    assert typed == [["conform", "ven"], ["conform", "ven"], ["conform", "replay"]]
    assert (tmp_path / "run.html").read_text().startswith("<!DOCTYPE html>")
    shown = capsys.readouterr().out
    assert "the VEN trial" in shown
    assert "RG-09" in shown, "the replay lists what passed"
