"""A VTN process, and all dialogues of the kit played at it once; the tests judge what was recorded."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
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
from evenload.setup import Shape, prepare

SPEED = 10.0
PACE_S = 10
"""What is waited for lasts a second of this machine's time."""


@dataclass(frozen=True)
class Live:
    """A running VTN, and what is needed to reach it."""

    openadr: str
    api: str
    token: str
    ca: Path
    expired: Credentials


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    place = tmp_path_factory.mktemp("subject")
    clock = place / "clock.json"
    WorldClock(machine_now().replace(microsecond=0), machine_now(), SPEED).save(clock)
    shape = Shape("127.0.0.1", 0, 0, clock=str(clock))
    with ThreadPoolExecutor(1) as pool:  # a loop of its own: the test may have one already
        prepared = pool.submit(asyncio.run, prepare(place / "vtn", ("127.0.0.1",), "EVENLOAD", shape)).result()
    with prepared.settings.open("a") as settings:
        settings.write('\n[openadr.push]\nallow = ["127.0.0.1/32"]\n')
    authority = place / "vtn" / "ca"
    expired = keys.expired(place, "expired", authority / "ca.pem", authority / "ca-key.pem")
    command = [sys.executable, "-m", "evenload", "vtn", "--config", str(prepared.settings), "--json"]
    with (place / "log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (place / "log").read_text()
        urls = json.loads(line)
        try:
            yield Live(urls["openadr"], urls["api"], prepared.token, authority / "ca.pem", expired)
        finally:
            process.terminate()
            assert process.wait(20) == 0


@pytest.fixture(scope="session")
def setting(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    directory = tmp_path_factory.mktemp("keys")
    operator = EvenloadOperator(live.api, live.token, live.ca, directory)
    timeline = Timeline(operator.now(), machine_now(), SPEED)
    return Setting(Access(live.openadr, live.ca), operator, timeline, directory, 1, PACE_S, live.expired)


@pytest.fixture(scope="session")
def transcripts(setting: Setting) -> tuple[Transcript, ...]:
    """All dialogues, played at our own VTN."""
    return tuple(play(name, dialogue, setting) for name, dialogue in DIALOGUES.items())
