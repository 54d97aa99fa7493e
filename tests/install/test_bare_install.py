"""`pip install .` without extras is a whole gateway: no SQLAlchemy, no numpy, and the commands that gateways need."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.signal import Interval, Signal
from openadr.model.units import POWER_REAL_W
from openadr.v20b.encode import encode
from openadr.v20b.messages import DistributeEvent
from support.once import once

pytestmark = pytest.mark.slow

_TOP = Path(__file__).parents[2]
_START = datetime(2026, 1, 12, 17, tzinfo=UTC)


def _clean() -> dict[str, str]:
    """Return our environment without what would lead to this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EVENLOAD"))}


class Install:
    """A virtual environment with a bare evenload, and a directory that is nobody's checkout."""

    def __init__(self, environment: Path, directory: Path) -> None:
        self._bin = environment / "bin"
        self.directory = directory

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._bin / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=_clean(),
            timeout=120,
        )

    def evenload(self, *arguments: str) -> str:
        """Run a command that must succeed and return what it prints."""
        done = self.run("evenload", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Install:
    with once(tmp_path_factory, worker_id, "install") as (place, fresh):
        if fresh:
            _install(place)
    return Install(place / "venv", place / "home")


def _install(place: Path) -> None:
    source = _copy_of_the_source(place / "source")
    environment = place / "venv"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", environment],
        [*pip, "--python", environment, "install", "-q", "-c", _TOP / "constraints.txt", source],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=_clean(), timeout=300)
        assert done.returncode == 0, done.stderr
    home = place / "home"
    home.mkdir()
    shutil.copy(_TOP / "examples" / "household.yaml", home)
    (home / "event.xml").write_bytes(_event())


def _copy_of_the_source(target: Path) -> Path:
    """Copy what is packaged, so that no build leaves anything in the checkout."""
    target.mkdir()
    project = tomllib.loads((_TOP / "pyproject.toml").read_text(encoding="utf-8"))
    for room in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(_TOP / room, target / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_TOP / name, target)
    return target


def _event() -> bytes:
    hour = Duration.of(hours=1)
    signal = Signal("LOAD_DISPATCH", "delta", "s1", (Interval(hour, -2000.0),), POWER_REAL_W)
    event = Event("evt-1", 0, "http://evenload.example/p", _START, ActivePeriod(_START, hour), (signal,))
    return encode(DistributeEvent("vtn", "req-1", (DeliveredEvent(event, EventStatus.FAR),)))


@pytest.mark.parametrize("module", ["sqlalchemy", "numpy", "alembic", "uvloop", "amqtt", "aiomqtt"])
def test_the_servers_libraries_are_not_there(bare: Install, module: str) -> None:
    importlib.metadata.version(module)  # they are here, so their absence there means something

    assert "ModuleNotFoundError" in bare.run("python", "-c", f"import {module}").stderr


@pytest.mark.parametrize("arguments", [("--help",), ("ven", "--help"), ("certs", "--help"), ("demo", "--help")])
def test_help_is_there(bare: Install, arguments: tuple[str, ...]) -> None:
    assert "Usage:" in bare.evenload(*arguments)


def test_the_device_templates_are_there(bare: Install) -> None:
    listed = {one["name"]: one for one in json.loads(bare.evenload("devices", "--json"))}
    assert (listed["shelly1"]["origin"], listed["shelly1"]["fault"]) == ("template", None)


def test_explain_tells_what_an_event_would_do(bare: Install) -> None:
    at = ("--at", "2026-01-12T16:00:00Z")
    found = json.loads(bare.evenload("explain", "household.yaml", "event.xml", *at, "--json"))
    text = bare.evenload("explain", "household.yaml", "event.xml", *at)

    assert [(one["event_id"], one["opt"], one["code"]) for one in found] == [("evt-1", "optIn", 200)]
    first = found[0]["orders"][0]
    assert (first["device"], first["capability"], first["value"]) == ("heater", "switch", "off")
    assert first["at"] == _START.isoformat()
    assert "heater.switch is set to off until 2026-01-12 18:00:00Z" in text


def test_a_gateway_starts_as_far_as_its_missing_identity(bare: Install) -> None:
    done = bare.run("evenload", "ven", "run", "--config", "household.yaml")

    assert done.returncode == 1
    assert "evenload ven enrol" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_check_says_how_what_events_bring_can_be_computed(bare: Install) -> None:
    done = bare.run("evenload", "ven", "check", "--config", "household.yaml")

    assert done.returncode == 0
    assert "pip install 'evenload[assess]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_vtn_says_what_to_install(bare: Install) -> None:
    done = bare.run("evenload", "vtn", "--config", "vtn.toml")

    assert done.returncode == 1
    assert "pip install 'evenload[server]'" in done.stderr
    assert "Traceback" not in done.stderr
