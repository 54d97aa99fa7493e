"""A VTN process, for commands that are typed at it; and the command line, called in this process."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.clock import WorldClock
from evenload.cli import main
from evenload.setup import Shape, prepare
from support.databases import postgresql_url

__all__ = ["postgresql_url"]

SPEED = 3600.0
"""World time of that VTN: an hour passes in a second."""


@dataclass(frozen=True)
class Live:
    """A running VTN, and what is needed to reach it."""

    directory: Path
    token: str
    url: str
    openadr_url: str

    @property
    def ca(self) -> Path:
        return self.directory / "ca" / "ca.pem"

    @property
    def config(self) -> Path:
        return self.directory / "vtn.toml"


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A VTN process, which is stopped as an operator stops it."""
    place = tmp_path_factory.mktemp("live")
    clock = place / "clock.json"
    WorldClock(datetime(2026, 1, 12, tzinfo=UTC), datetime.now(UTC), SPEED).save(clock)
    shape = Shape("127.0.0.1", 0, 0, clock=str(clock))
    with ThreadPoolExecutor(1) as pool:  # a loop of its own: the test may have one already
        made = pool.submit(asyncio.run, prepare(place / "vtn", ("127.0.0.1",), "evenload", shape)).result()
    command = [sys.executable, "-m", "evenload", "vtn", "--config", str(made.settings), "--json"]
    with (place / "log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (place / "log").read_text()
        urls = json.loads(line)
        yield Live(made.settings.parent, made.token, urls["api"], urls["openadr"])
        process.terminate()
        assert process.wait(20) == 0


@dataclass(frozen=True)
class Typed:
    """What a command did."""

    code: int
    out: str
    err: str


class Terminal:
    """A command line whose environment is the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("TERMINAL_WIDTH", "200")

    def type(self, *arguments: object) -> Typed:
        self._capsys.readouterr()
        code: object = 0
        try:
            main([str(one) for one in arguments])
        except SystemExit as end:
            code = end.code or 0
        told = self._capsys.readouterr()
        assert isinstance(code, int)
        return Typed(code, told.out, told.err)

    def good(self, *arguments: object) -> str:
        """Type a command that works; return what it prints."""
        typed = self.type(*arguments)
        assert typed.code == 0, typed
        return typed.out

    def bad(self, *arguments: object, code: int = 1) -> str:
        """Type a command that fails; return its complaint, which is for people."""
        typed = self.type(*arguments)
        assert typed.code == code, typed
        assert "Traceback" not in typed.err
        return " ".join(typed.err.replace("│", " ").split())


@pytest.fixture
def shell(terminal: Terminal, live: Live, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal of an administrator of that VTN."""
    monkeypatch.setenv("EVENLOAD_URL", live.url)
    monkeypatch.setenv("EVENLOAD_TOKEN", live.token)
    monkeypatch.setenv("EVENLOAD_CA", str(live.ca))
    return terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)
