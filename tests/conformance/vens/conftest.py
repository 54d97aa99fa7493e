"""A gateway process, and all dialogues of the kit played at it once; the tests judge what was recorded."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from certs.provisioning import new_key_and_request, store_bundle
from conformance.exchange import Transcript
from conformance.listener import Place
from conformance.stage import Timeline
from conformance.vens.desk import Rules
from conformance.vens.dialogues import DIALOGUES
from conformance.vens.runner import play
from conformance.vens.user import User
from core.clock import WorldClock, machine_now
from evenload.demo.processes import free_port
from support.pki import Pki, make_pki
from support.small_vens import SmallVenOf20a

SPEED = 30.0
RESOURCE = "home-01"
VTN_ID = "Utility-1"
"""Whom a gateway that is enrolled expects."""
SIGNED = ("joining", "signatures", "certificates", "renewing", "leaving")
"""The dialogues that are played by TLS and with signatures, too."""
_HOUSEHOLD = """\
version: 1
name: kit
identity: identity
state: state
clock: clock.json
vtn: {{url: "{scheme}://127.0.0.1:{port}/OpenADR2/Simple/2.0b"{more}}}
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


def household(place: Path, port: int, clock: WorldClock, more: str = "", scheme: str = "http") -> Path:
    """Write a household file with a world of its own."""
    clock.save(place / "clock.json")
    path = place / "household.yaml"
    path.write_text(_HOUSEHOLD.format(port=port, broker=free_port(), more=more, scheme=scheme))
    return path


@pytest.fixture(scope="session")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transcript, ...]:
    """All dialogues, played at our own gateway, which polls, and whose user opts by its command line."""
    place = tmp_path_factory.mktemp("gateway")
    user = User(f"{sys.executable} -m evenload ven {{do}} --config {place / 'household.yaml'}")
    return _played(place, ", opts: createOpt", user=user)


@pytest.fixture(scope="session")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transcript, ...]:
    """All dialogues, played at our own gateway, which is pushed to."""
    port = free_port()
    listen = f"{{host: 127.0.0.1, port: {port}, address: 'http://127.0.0.1:{port}/a/prefix'}}"
    return _played(tmp_path_factory.mktemp("listener"), f", mode: push, listen: {listen}")


@pytest.fixture(scope="session")
def of_2_0_a() -> tuple[Transcript, ...]:
    """What is played with a VEN of 2.0a."""
    port, now = free_port(), machine_now()
    with SmallVenOf20a(f"http://127.0.0.1:{port}"):
        return tuple(play(Rules(patience_s=20.0), Place(port=port), Timeline(now, now)))


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transcript, ...]:
    """What signatures are about, played at our own gateway, which polls by TLS and wants all signed."""
    place = tmp_path_factory.mktemp("signing")
    return _played(place, ", signatures: required", pki=make_pki(place))


@pytest.fixture(scope="session")
def signed_and_pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transcript, ...]:
    """The same at a gateway that is pushed to."""
    place, port = tmp_path_factory.mktemp("signing-listener"), free_port()
    listen = f"{{host: 127.0.0.1, port: {port}, address: 'https://127.0.0.1:{port}'}}"
    return _played(place, f", mode: push, listen: {listen}, signatures: required", pki=make_pki(place))


def _played(place: Path, more: str = "", pki: Pki | None = None, user: User | None = None) -> tuple[Transcript, ...]:
    clock = WorldClock(machine_now().replace(microsecond=0), machine_now(), SPEED)
    port, dialogues = free_port(), DIALOGUES
    path, kit = household(place, port, clock, more), Place(port=port)
    rules = Rules(poll_s=6, resource=RESOURCE, device_class="Water_Heater", patience_s=20.0, first_s=30.0, quiet_s=0.4)
    if pki is not None:
        rules = replace(rules, ven_id="kit", vtn_id=VTN_ID)
        path = household(place, port, clock, more, "https")
        enrol(pki, place / "identity")
        kit = Place("127.0.0.1", port, place / "server.pem", place / "server.key", place / "ca" / "ca.pem")
        kit = replace(kit, authority_key=place / "ca" / "ca-key.pem")
        dialogues = {name: DIALOGUES[name] for name in SIGNED}
    command = f"{sys.executable} -m evenload ven run --config {path}"
    world = Timeline(clock.epoch, clock.origin, SPEED)
    return tuple(play(rules, kit, world, command=command, user=user, dialogues=dialogues))


def enrol(pki: Pki, directory: Path) -> None:
    """Give a gateway an identity, as enrolment does."""
    request = new_key_and_request(directory, "kit")
    issued = pki.authority.sign_request(request, "kit")
    names = {"ven_id": "kit", "ven_name": "kit", "vtn_id": VTN_ID, "vtn_url": "https://127.0.0.1"}
    trust = {"ca": pki.authority.ca_pem, "fingerprint": issued.record.fingerprint}
    store_bundle(directory, names | trust | {"certificate": issued.chain_pem})
