"""The home whose meters are loaded: a broker, a household file with templates, the gateway's process, its store."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from benchmarks.load import DriveError
from benchmarks.servers import ROOT, of_checkout

PATH: Final = "electricity.power.active.consumed.total"
"""What the meters of the FLEXMETER project call the active power (deliverable D2.2, table of 5.2)."""
_SETTLED_S: Final = 3.0
"""Nothing new in the store for so long: what is missing does not come any more."""
_LOOK_S: Final = 0.01
_START_S: Final = 30.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Reading = tuple[str, int, float]
"""A stored value: its point, microseconds since 1970, and the value."""


def microseconds(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)


# -- the broker


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def mosquitto(folder: Path, *more: str) -> Iterator[int]:
    """Run a Mosquitto that keeps sessions on disk, on a free port of the loopback; `more`: lines of its settings."""
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise DriveError("Mosquitto is not installed: apt-get install mosquitto")
    folder.mkdir(parents=True)
    port = _free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder}/",
    ]
    lines += ["user root"] if os.geteuid() == 0 else []
    settings = folder / "mosquitto.conf"
    settings.write_text("\n".join([*lines, *more]) + "\n")
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([binary, "-c", str(settings)], stdout=log, stderr=log)  # noqa: S603  the broker
    try:
        _until(lambda: _listens(port), process, folder / "mosquitto.log")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise DriveError(f"A process did not start. Its log ends:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


# -- the household


def _template(qos: int) -> dict[str, object]:
    """Return a template for what FLEXMETER's gateways send (D2.2, 4 and 5.2; the JSON is SiteWhere 1.x's)."""
    value = {"unit": "W", "qos": qos, "quantity": "power_real", "kind": "instant"}
    return {
        "title": "Meter of the bench",
        "description": "Single values and batches.",
        "parameters": {"id": {"title": "Id", "description": "Its hardware id.", "example": "meter-0"}},
        "points": {
            "power": value
            | {
                "topic": "bench/{id}/json",
                "path": f"/request/measurements/{PATH}",
                "time": "request.eventDate",
                "where": {"hardwareId": "{id}", "type": "DeviceMeasurements"},
            },
            "batched_power": value
            | {
                "topic": "bench/{id}/jsonbatch",
                "each": "measurements",
                "path": f"/measurements/{PATH}",
                "time": "eventDate",
            },
        },
    }


@dataclass(frozen=True, slots=True)
class Home:
    """A household's files. `devices` meters: of the bench's template, or of the driver `senml_meter`."""

    folder: Path
    devices: int

    @classmethod
    def make(cls, folder: Path, port: int, devices: int, *, qos: int = 1, driver: str = "bench_meter") -> "Home":
        (folder / "templates").mkdir(parents=True)
        if driver == "bench_meter":
            (folder / "templates" / "bench_meter.yaml").write_text(json.dumps(_template(qos), indent=1))
        household = {
            "version": 1,
            "name": "bench",
            "identity": "identity",
            "state": "state",
            "vtn": {"url": "http://127.0.0.1:9/OpenADR2/Simple/2.0b"},
            "mqtt": {"host": "127.0.0.1", "port": port, "client_id": "bench-gateway"},
            "devices": [
                {"id": f"meter-{number}", "driver": driver, "role": "load", "with": {"id": f"meter-{number}"}}
                for number in range(devices)
            ],
        }
        (folder / "household.yaml").write_text(json.dumps(household, indent=1))
        return cls(folder, devices)

    @contextmanager
    def gateway(self, root: Path = ROOT) -> Iterator[int]:
        """Run `evenload ven run` of a checkout until the block ends; yields its process id once it listens."""
        log = self.folder / "gateway.log"
        command = [
            sys.executable,
            *os.environ.get("PROF", "").split(),
            "-m",
            "evenload",
            "ven",
            "run",
            "--config",
            str(self.folder / "household.yaml"),
        ]
        with log.open("wb") as sink:
            process = subprocess.Popen(command, cwd=root, env=of_checkout(root), stdout=sink, stderr=sink)  # noqa: S603
        try:
            _until(lambda: b"is up" in log.read_bytes(), process, log)
            time.sleep(0.3)  # subscribed, and what starts has started
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stored(self) -> list[Reading]:
        """Return what the store holds of the meters."""
        with closing(self._open()) as db:
            return db.execute("SELECT point, start_us, value FROM readings WHERE point LIKE 'meter-%'").fetchall()

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.folder / 'state' / 'gateway.db'}?mode=ro", uri=True, timeout=10)


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has taken so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


class Watch:
    """Notes when how many readings are in the store, every hundredth of a second, until none come any more."""

    def __init__(self, home: Home, wanted: int) -> None:
        self._home, self._wanted = home, wanted
        self.counts: list[tuple[float, int]] = []
        self._sent = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sent.set()
        self._thread.join()

    def _look(self) -> None:
        with closing(self._home._open()) as db:  # noqa: SLF001  a part of it
            version, last_s = -1, time.monotonic()
            while True:
                (current,) = db.execute("PRAGMA data_version").fetchone()
                now = time.monotonic()
                if current != version:
                    version = current
                    (count,) = db.execute("SELECT count(*) FROM readings WHERE point LIKE 'meter-%'").fetchone()
                    if not self.counts or count != self.counts[-1][1]:
                        self.counts.append((now, count))
                        last_s = now
                    if count >= self._wanted:
                        return
                if not self._sent.is_set():
                    last_s = now
                elif now - last_s > _SETTLED_S:
                    return
                time.sleep(_LOOK_S)

    def latencies(self, sent: Sequence[float], each: int) -> list[float]:
        """Return the seconds from the sending of each message that came to be stored until it was, all its values."""
        result, place = [], 0
        for number, at_s in enumerate(sent, 1):
            while place < len(self.counts) and self.counts[place][1] < number * each:
                place += 1
            if place == len(self.counts):
                break
            result.append(self.counts[place][0] - at_s)
        return result
