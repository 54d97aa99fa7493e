"""The tutorial docs/tutorials/first-device.md, as somebody new follows it: its files and commands, in their order.

What differs from the page: free ports, a plug that is played in here, and what is of one run alone (ids, codes,
fingerprints), which is taken from what the commands printed.
"""

import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from paho.mqtt import client as paho

from evenload.demo.processes import free_port
from support.broker import mosquitto

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "first-device.md"
PLUG = "shellies/shelly-test"
DEADLINE_S = 240.0


class Newcomer:
    """Follows the page in a directory."""

    def __init__(self, directory: Path, broker_port: int, stack: ExitStack) -> None:
        self._directory, self._broker_port, self._stack = directory, broker_port, stack
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EVENLOAD"))}
        self._env["PATH"] = f"{Path(sys.executable).parent}:{self._env['PATH']}"
        self._printed: list[str] = []
        self.answers: dict[str, str] = {}

    def save(self, name: str, text: str) -> None:
        """Save a file that the page shows."""
        own = text.replace("mqtt: {host: localhost,", f"mqtt: {{host: localhost, port: {self._broker_port},")
        assert own != text
        (self._directory / name).write_text(own)

    def follow(self, command: str) -> None:
        """Run a command of the page; one that runs for ever goes on behind."""
        command = self._own(command)
        if re.fullmatch(r"evenload (vtn|ven) --config \S+", command):
            self._behind(command)
            return
        deadline = time.monotonic() + 30
        while True:
            done = subprocess.run(
                ("bash", "-c", command),
                check=False,
                cwd=self._directory,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=60,
            )
            if done.returncode == 0 or time.monotonic() > deadline:  # what was just started takes its moment
                break
            time.sleep(0.5)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        self.answers[command.split(" --")[0]] = done.stdout
        self._printed.append(done.stdout)
        if command.startswith("evenload vtn init"):
            self._choose_ports()

    def _own(self, command: str) -> str:
        """Return a command with the words of this run: what was printed last that begins alike."""
        printed = "\n".join(self._printed)
        for words in ("evenload ven fetch-ca", "evenload ven enrol"):
            if command.startswith(words):
                return re.findall(rf"{words} .*", printed)[-1]
        if ids := re.findall(r"dsp_[0-9a-z]{26}", printed):
            command = re.sub(r"dsp_[0-9a-z]{26}", ids[-1], command)
        if command.startswith("export"):
            for name, value in re.findall(r"(EVENLOAD_\w+)=(\S+)", re.findall(r"export .*", printed)[-1]):
                self._env[name] = value
            self._env["EVENLOAD_URL"] = f"https://localhost:{self.ports[8444]}"
        return command

    def _choose_ports(self) -> None:
        self.ports = {usual: free_port() for usual in (8443, 8444, 8445)}
        settings = self._directory / "my-vtn" / "vtn.toml"
        text = settings.read_text()
        for usual, port in self.ports.items():
            text = text.replace(str(usual), str(port))
        settings.write_text(text)

    def _behind(self, command: str) -> None:
        log = self._stack.enter_context((self._directory / f"{len(self._printed)}.log").open("wb"))
        process = subprocess.Popen(command.split(), cwd=self._directory, env=self._env, stdout=log, stderr=log)
        self._stack.callback(process.wait, 60)
        self._stack.callback(process.terminate)


@pytest.fixture
def plug(tmp_path):
    """Yield a broker's port, and the orders that a plug there got."""
    with mosquitto(tmp_path) as broker:
        orders: list[str] = []
        device = paho.Client(paho.CallbackAPIVersion.VERSION2, "plug")

        def told(_, __, message):
            orders.append(message.payload.decode())
            device.publish(f"{PLUG}/relay/0", message.payload, retain=True)

        device.on_message = told
        device.connect(broker.host, broker.port)
        device.subscribe(f"{PLUG}/relay/0/command", 1)
        device.publish(f"{PLUG}/online", "true", retain=True)
        device.publish(f"{PLUG}/relay/0", "on", retain=True)
        device.loop_start()
        yield broker.port, orders
        device.loop_stop()


def test_somebody_new_calls_a_device(plug, tmp_path):
    port, orders = plug
    page = PAGE.read_text("utf-8")
    directory = tmp_path / "first"
    directory.mkdir()
    began = time.monotonic()
    with ExitStack() as stack:
        newcomer = Newcomer(directory, port, stack)
        (household,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        newcomer.save("household.yaml", household)
        commands = re.findall(r"^    ((?:evenload|export) .*)$", page, re.MULTILINE)
        assert len(commands) > 10
        for command in commands:
            newcomer.follow(command)
        while orders[-1:] != ["on"] and time.monotonic() - began < DEADLINE_S:
            time.sleep(0.5)
    assert orders == ["off", "on"]
    assert time.monotonic() - began < 600, "the page promises ten minutes"
    assert "household.yaml is good: 1 device, 1 programme." in newcomer.answers["evenload ven check"]
    assert "1 VEN takes part." in newcomer.answers['evenload programme enrol "Evening peak" "Home 1"']
    steps = (directory / "gateway.log").read_text()
    assert all(word in steps for word in ("journalled", "sent", "confirmed", "restored"))
