"""A VTN process, and all dialogues of the kit played at it once; the tests judge what was recorded."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance import keys
from conformance.dialogues import DIALOGUES
from conformance.exchange import Transcript
from conformance.operators.evenload import EvenloadOperator
from conformance.runner import Setting, play
from conformance.stage import Timeline
from conformance.wire import Access, Credentials
from core.clock import WorldClock, machine_now
from evenload.demo.processes import free_port
from evenload.setup import Shape, prepare

SPEED = 10.0
PACE_S = 10
"""What is waited for lasts a second of this machine's time."""


@dataclass
class Live:
    """A running VTN, and what is needed to reach it."""

    openadr: str
    api: str
    token: str
    ca: Path
    expired: Credentials
    restart: Callable[[], None]


class _Process:
    """The VTN's process."""

    def __init__(self, settings: Path, log: Path) -> None:
        self._command = [sys.executable, "-m", "evenload", "vtn", "--config", str(settings), "--json"]
        self._log = log

    def start(self) -> dict[str, str]:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log)
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        return json.loads(line)

    def end(self) -> None:
        self._process.terminate()
        assert self._process.wait(20) == 0
        self._process.stdout.close()

    def restart(self) -> None:
        self.end()
        self.start()


class _Operator(EvenloadOperator):
    """The operator of a VTN that the tests started themselves."""

    restarts: Callable[[], None]

    def restart(self) -> None:
        self.restarts()


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    place = tmp_path_factory.mktemp("subject")
    clock = place / "clock.json"
    WorldClock(machine_now().replace(microsecond=0), machine_now(), SPEED).save(clock)
    shape = Shape("127.0.0.1", free_port(), free_port(), clock=str(clock))  # the same ones after a restart
    with ThreadPoolExecutor(1) as pool:  # a loop of its own: the test may have one already
        prepared = pool.submit(asyncio.run, prepare(place / "vtn", ("127.0.0.1",), "EVENLOAD", shape)).result()
    with prepared.settings.open("a") as settings:
        settings.write('\n[openadr.push]\nallow = ["127.0.0.1/32"]\n')
        settings.write('\n[openadr.own_reports]\noffer = true\nsettle = "PT0S"\n')
    authority = place / "vtn" / "ca"
    expired = keys.expired(place, "expired", authority / "ca.pem", authority / "ca-key.pem")
    process = _Process(prepared.settings, place / "log")
    urls = process.start()
    try:
        ca = authority / "ca.pem"
        yield Live(urls["openadr"], urls["api"], prepared.token, ca, expired, process.restart)
    finally:
        process.end()


@pytest.fixture(scope="session")
def setting(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    directory = tmp_path_factory.mktemp("keys")
    operator = _Operator(live.api, live.token, live.ca, directory)
    operator.restarts = live.restart
    timeline = Timeline(operator.now(), machine_now(), SPEED)
    return Setting(Access(live.openadr, live.ca), operator, timeline, directory, 1, PACE_S, live.expired)


@pytest.fixture(scope="session")
def transcripts(setting: Setting) -> tuple[Transcript, ...]:
    """All dialogues, played at our own VTN."""
    return tuple(play(name, dialogue, setting) for name, dialogue in DIALOGUES.items())
