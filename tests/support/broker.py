"""A real Mosquitto for tests: on a free port of the loopback, with its own directory, ended by its process id."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evenload.demo.processes import free_port

_DEADLINE_S = 15.0


@dataclass(frozen=True, slots=True)
class Tls:
    """Files (PEM) for the broker's TLS; with `client_ca` it demands client certificates of that authority."""

    ca: Path
    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(slots=True)
class Broker:
    """A Mosquitto that can be stopped, killed and restarted on the same port with the same files."""

    binary: str
    config: Path
    host: str
    port: int
    username: str | None = None
    password: str | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        assert self.process is not None, "the broker does not run"
        return self.process.pid

    def start(self) -> None:
        log = self.config.with_name("mosquitto.log")
        with log.open("ab") as sink:
            self.process = subprocess.Popen([self.binary, "-c", str(self.config)], stdout=sink, stderr=sink)
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"mosquitto ended at once:\n{log.read_text(errors='replace')[-2000:]}")
            try:
                socket.create_connection((self.host, self.port), timeout=1.0).close()
            except OSError:
                if time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"mosquitto does not listen:\n{log.read_text(errors='replace')}") from None
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """End it politely: it writes its persistence file."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it like a power cut: what it had not written is gone."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> None:
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(_DEADLINE_S)
            self.process = None


def find_mosquitto() -> str:
    """Return the binary. Where it is missing: an error in CI, elsewhere a skip that says what to install."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if found is None:
        reason = "Mosquitto is not installed: apt-get install mosquitto"
        if os.environ.get("CI"):
            raise RuntimeError(reason)
        pytest.skip(reason)
    return found


@contextmanager
def mosquitto(
    tmp_path: Path,
    *,
    persistence: bool = True,
    password: str | None = None,
    port: int | None = None,
    tls: Tls | None = None,
    username: str = "gateway",
) -> Iterator[Broker]:
    """Run a broker while the context lasts; with `password` it admits only `username`, else everybody."""
    binary = find_mosquitto()
    home = tmp_path / "mosquitto"
    home.mkdir(exist_ok=True)
    port = port or free_port()
    lines = [f"listener {port} 127.0.0.1", "log_dest stdout", "set_tcp_nodelay true"]
    if os.geteuid() == 0:
        lines.append("user root")  # else it drops its rights and cannot read the test's files
    if persistence:
        lines += [
            "persistence true",
            f"persistence_location {home}/",
            "autosave_interval 1",
            "autosave_on_changes true",
        ]
    if password is None:
        lines.append("allow_anonymous true")
    else:
        users = home / "users"
        users.touch(mode=0o600)
        subprocess.run(
            ["mosquitto_passwd", "-b", str(users), username, password], check=True, capture_output=True, timeout=30
        )
        lines += ["allow_anonymous false", f"password_file {users}"]
    if tls is not None:
        lines += [f"certfile {tls.cert}", f"keyfile {tls.key}"]
        if tls.client_ca is not None:
            lines += [f"cafile {tls.client_ca}", "require_certificate true", "use_identity_as_username true"]
    config = home / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    broker = Broker(binary, config, "127.0.0.1", port, username if password else None, password)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
