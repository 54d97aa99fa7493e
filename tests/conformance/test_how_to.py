"""The five steps of docs/how-to/test-your-vtn.md, as they are printed there."""

import shlex
from pathlib import Path

import pytest

from evenload.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-vtn.md"


def _commands() -> list[list[str]]:
    """Return what the five steps have people type."""
    steps = PAGE.read_text(encoding="utf-8").partition("## In five steps")[2].partition("\n## ")[0]
    lines = [line.strip() for line in steps.splitlines() if line.startswith("    ")]
    return [shlex.split(line) for line in lines]


def test_the_five_steps_do_what_they_say(live, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    typed = []
    for name, *arguments in _commands():
        if name == "export":
            assert [each.partition("=")[0] for each in arguments] == ["EVENLOAD_TOKEN", "EVENLOAD_CA"]
            assert Path(arguments[1].partition("=")[2]).is_file()
            monkeypatch.setenv("EVENLOAD_TOKEN", live.token)
            monkeypatch.setenv("EVENLOAD_CA", str(live.ca))
            continue
        assert name == "evenload"
        if arguments[:2] == ["vtn", "--config"]:
            assert Path(arguments[2]).is_file(), "what would be run until Ctrl-C; the test has a VTN already"
            continue
        urls = {"https://localhost:8443/OpenADR2/Simple/2.0b": live.openadr, "https://localhost:8444": live.api}
        here = [urls.get(each, each) for each in arguments]
        if "--record" in here:
            here += ["--only", "RG"]  # the whole run is another test's
        with pytest.raises(SystemExit) as end:
            main(here)
        assert not end.value.code, (arguments, capsys.readouterr())
        typed.append(arguments[:2])
    assert typed == [
        ["vtn", "init"],
        ["conform", "vtn"],
        ["conform", "vtn"],
        ["conform", "send"],
        ["conform", "replay"],
    ]
    assert (tmp_path / "run.html").read_text().startswith("<!DOCTYPE html>")
    shown = capsys.readouterr().out
    assert "452" in shown, "the answer to a wrong venID"
    assert "RG-05" in shown, "the replay lists what passed"
