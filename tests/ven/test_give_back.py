"""`evenload ven restore`, with a plug behind a real broker: what a crash left is given back by hand."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from paho.mqtt import client as paho
from typer.testing import CliRunner

from bridges.device import CapabilityKind, Command
from core.clock import machine_now
from evenload.cli import app
from support.broker import mosquitto
from ven.household_file import load_household
from ven.state_files import StateFiles

PLUG = "shellies/plug-1"
HOUSEHOLD = """\
version: 1
name: home
identity: identity
state: state
mqtt: {{host: 127.0.0.1, port: {port}, client_id: gateway}}
devices:
  - {{id: boiler, driver: shelly1, nominal_w: 2000, with: {{id: plug-1}}}}
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def path(broker, tmp_path):
    path = tmp_path / "household.yaml"
    path.write_text(HOUSEHOLD.format(port=broker.port))
    return path


@contextmanager
def plug(broker, *, obeys=True):
    """Play a plug that is off, and yield the orders that it gets."""
    orders = []
    device = paho.Client(paho.CallbackAPIVersion.VERSION2, "plug-1")

    def told(_, __, message):
        if message.topic.endswith("relay/0/command"):
            orders.append(message.payload.decode())
            if obeys:
                device.publish(f"{PLUG}/relay/0", message.payload, retain=True)
        else:
            device.publish(f"{PLUG}/relay/0", "off", retain=True)

    device.on_message = told
    device.connect(broker.host, broker.port)
    device.subscribe([(f"{PLUG}/relay/0/command", 1), (f"{PLUG}/command", 1)])
    device.publish(f"{PLUG}/online", "true", retain=True)
    device.publish(f"{PLUG}/relay/0", "off", retain=True)
    device.loop_start()
    try:
        yield orders
    finally:
        device.loop_stop()


def crash_in_an_event(path):
    """Leave a journal as a gateway does that was killed while it held the plug."""
    files = StateFiles(load_household(path).state)
    now = machine_now()
    where = ("boiler", CapabilityKind.SWITCH, "off", now + timedelta(hours=1), "evt")
    files.journal.accept(Command("cmd", *where), now, "")
    files.journal.before_write("boiler", CapabilityKind.SWITCH, "on", "off", now)
    files.close()


def restore(path, *words):
    return CliRunner().invoke(app, ["ven", "restore", "--config", str(path), *words])


def test_what_a_crash_left_is_given_back(broker, path):
    crash_in_an_event(path)
    with plug(broker) as orders:
        done = restore(path)
    assert done.exit_code == 0, done.output
    assert orders == ["on"]
    assert "boiler.switch is as it was." in done.output
    assert "Nothing is held." in done.output


def test_a_device_that_does_not_confirm_is_named_and_stays_in_the_journal(broker, path):
    crash_in_an_event(path)
    with plug(broker, obeys=False):
        done = restore(path, "--seconds", "2")
    assert done.exit_code == 1
    assert "Not confirmed yet: boiler." in done.output
    with plug(broker):
        assert "boiler.switch is as it was." in restore(path).output


def test_a_device_that_the_file_names_no_more_is_said(broker, path):
    crash_in_an_event(path)
    before = path.read_text()
    path.write_text(before.replace("id: boiler", "id: tank"))
    with plug(broker) as orders:
        done = restore(path)
    assert (done.exit_code, orders) == (1, [])
    assert "Held, but not as the household file has it now: boiler." in done.output
    assert "Nothing is held" not in done.output
    path.write_text(before)
    with plug(broker) as orders:
        assert restore(path).exit_code == 0
    assert orders == ["on"]


def test_where_nothing_is_held_nothing_is_told(broker, path):
    with plug(broker) as orders:
        done = restore(path)
    assert (done.exit_code, orders) == (0, [])


def test_beside_a_gateway_that_runs_it_does_nothing(path):
    files = StateFiles(load_household(path).state)
    done = restore(path)
    files.close()
    assert done.exit_code == 1
    assert "runs" in done.output
