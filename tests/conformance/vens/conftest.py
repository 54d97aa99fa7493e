"""A gateway process, and all dialogues of the kit played at it once; the tests judge what was recorded."""

import sys
from pathlib import Path

import pytest

from conformance.exchange import Transcript
from conformance.listener import Place
from conformance.stage import Timeline
from conformance.vens.desk import Rules
from conformance.vens.runner import play
from core.clock import WorldClock, machine_now
from evenload.demo.processes import free_port

SPEED = 30.0
RESOURCE = "home-01"
_HOUSEHOLD = """\
version: 1
name: kit
identity: identity
state: state
clock: clock.json
vtn: {{url: "http://127.0.0.1:{port}/OpenADR2/Simple/2.0b"{more}}}
mqtt: {{host: 127.0.0.1, port: {broker}}}
devices:
  - {{id: meter, driver: senml_meter, with: {{id: home-01}}, role: grid_meter, class: Smart_Energy_Module}}
  - id: heater
    driver: iflex
    with: {{hems_id: H, device_id: "2", actuator_id: "284"}}
    role: water_heater
    class: Water_Heater
    nominal_w: 2400
resources:
  - {{id: home-01, meter: meter, devices: [heater]}}
programmes:
  - {{match: {{signal: LOAD_DISPATCH}}, shed: {{order: [heater]}}}}
  - {{match: {{signal: SIMPLE}}, levels: {{1: {{heater: {{switch: "off"}}}}}}}}
  - {{match: {{signal: ELECTRICITY_PRICE}}, prices: [{{above: 0.3, do: {{heater: {{switch: "off"}}}}}}]}}
market_contexts: ["http://conformance.example/programme"]
reports: {{min_period: PT10S, settle: PT1S}}
"""
"""Nobody is at the broker's port: what is judged here is what a gateway says, not what its devices do."""


def household(place: Path, port: int, clock: WorldClock, more: str = "") -> Path:
    """Write a household file with a world of its own."""
    clock.save(place / "clock.json")
    path = place / "household.yaml"
    path.write_text(_HOUSEHOLD.format(port=port, broker=free_port(), more=more))
    return path


@pytest.fixture(scope="session")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transcript, ...]:
    """All dialogues, played at our own gateway, which polls."""
    return _played(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="session")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transcript, ...]:
    """All dialogues, played at our own gateway, which is pushed to."""
    port = free_port()
    listen = f"{{host: 127.0.0.1, port: {port}, address: 'http://127.0.0.1:{port}/a/prefix'}}"
    return _played(tmp_path_factory.mktemp("listener"), f", mode: push, listen: {listen}")


def _played(place: Path, more: str = "") -> tuple[Transcript, ...]:
    port = free_port()
    clock = WorldClock(machine_now().replace(microsecond=0), machine_now(), SPEED)
    path = household(place, port, clock, more)
    rules = Rules(poll_s=6, resource=RESOURCE, patience_s=20.0, first_s=30.0, quiet_s=0.4)
    command = f"{sys.executable} -m evenload ven run --config {path}"
    return tuple(play(rules, Place(port=port), Timeline(clock.epoch, clock.origin, SPEED), command=command))
