"""The demo's processes: started one by one, watched, and ended together."""

import asyncio
import atexit
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import UnavailableError

_PATIENCE_S = 8.0


def free_port() -> int:
    """Return a port of the loopback that is free now; on Linux nobody else is given it while this process lives.

    There a socket may stay bound to it without listening: servers still can listen, and the system chooses other ports
    for whoever asks for any, or connects. Otherwise a server that starts seconds later may find its port taken.
    """
    probe = socket.socket()
    if sys.platform == "linux":
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port = int(probe.getsockname()[1])
    if sys.platform == "linux":
        atexit.register(probe.close)  # which also keeps it until then
    else:
        probe.close()
    return port


def is_free(port: int) -> bool:
    """Tell whether nobody listens on that port of the loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass(slots=True)
class Stage:
    """The processes of one run. Each logs into a file of its own in the run's directory."""

    directory: Path
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _started: dict[str, tuple[tuple[str, ...], dict[str, str] | None]] = field(default_factory=dict)

    async def start(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Start `python -m ...` under a name; `environment` is added to our own."""
        self._started[name] = arguments, environment
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | (environment or {}),
                start_new_session=True,  # Ctrl-C reaches us alone; we end the others in order
            )

    async def run(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Run `python -m ...` to its end and return what it printed. Raises UnavailableError with its complaint."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | (environment or {}),
        )
        out, complaint = await process.communicate()
        if process.returncode:
            raise UnavailableError(f"{' '.join(arguments[:3])} failed: {complaint.decode(errors='replace').strip()}")
        return out.decode()

    def check(self, expected: Sequence[str] = ()) -> None:
        """Raise UnavailableError if a process has died; `expected` names those that may have."""
        for name, process in self.processes.items():
            if process.returncode is not None and name not in expected:
                tail = (self.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-1500:]
                raise UnavailableError(f"The process '{name}' ended with {process.returncode}:\n{tail}")

    async def restart(self, name: str) -> None:
        """Start a process that has ended once more, just as before."""
        arguments, environment = self._started[name]
        await self.start(name, *arguments, environment=environment)

    def signal(self, number: signal.Signals, names: Sequence[str]) -> None:
        """Send a signal to processes that run."""
        for name in names:
            if self.processes[name].returncode is None:
                self.processes[name].send_signal(number)

    async def kill(self, name: str) -> None:
        """End a process without warning, as a power cut would."""
        process = self.processes[name]
        process.kill()
        await process.wait()

    async def stop(self, *names: str) -> None:
        """End processes politely (all of them if none is named, the newest first), then firmly."""
        for name in names or tuple(reversed(self.processes)):
            process = self.processes.pop(name)
            if process.returncode is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
