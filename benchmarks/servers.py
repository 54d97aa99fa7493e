"""Starting and ending the servers under test, each a process of its own."""

import asyncio
import contextlib
import json
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import DriveError, Ven

ROOT = Path(__file__).parent.parent
_START_S = 60.0
_STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test. `api`, its `token`, and the console's sign-in `link` are ours; the peer has none."""

    name: str
    pid: int
    openadr: str
    control: str
    api: str = ""
    link: str = ""
    token: str = ""

    async def add_vens(self, vens: Sequence[Ven]) -> None:
        """Make VENs known and note their venIDs."""
        wanted = [{"name": ven.name, "fingerprint": ven.fingerprint} for ven in vens]
        for ven, ven_id in zip(vens, await self._call("/vens", wanted), strict=True):
            ven.ven_id = ven_id

    async def send_events(self, vens: Sequence[Ven]) -> None:
        """Queue one event for each VEN."""
        await self._call("/events", [ven.ven_id for ven in vens])

    async def counts(self) -> dict[str, int]:
        """Return how many optIns and values the server has taken."""
        counts: dict[str, int] = await self._call("/counts")
        return counts

    async def _call(self, path: str, data: Any = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.control + path, body)  # noqa: S310  our own loopback address

        def call() -> Any:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                return json.load(answer)

        return await asyncio.to_thread(call)


def of_checkout(root: Path) -> dict[str, str]:
    """Return the environment in which Python imports the modules of that checkout."""
    return os.environ | {"PYTHONPATH": str(root)}


@asynccontextmanager
async def started(
    name: str, log: Path, *arguments: str, tls: bool, token: str = "", root: Path | None = None
) -> AsyncIterator[Server]:
    """Run `python -m benchmarks.NAME ARGUMENTS` until the block ends, `root` says of which checkout (this one).

    Raises DriveError if it does not start.
    """
    root = root or ROOT
    environment = of_checkout(root) | {"EVENLOAD_OPENADR__INSECURE": "false" if tls else "true"}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"benchmarks.{name}",
            *arguments,
            cwd=root,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        ready = await _ready(process, log)
        yield Server(name, token=token, **ready)
    finally:
        await _end(process)


async def _ready(process: asyncio.subprocess.Process, log: Path) -> dict[str, Any]:
    """Return what the server says of itself; whatever else it prints is for people."""
    assert process.stdout is not None  # noqa: S101  it is a pipe
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            while line := await process.stdout.readline():
                if line.startswith(b"{"):
                    ready: dict[str, Any] = json.loads(line)
                    return ready
    raise DriveError(f"A server did not start. Its log ends:\n{log.read_text(errors='replace')[-2000:]}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a server by ending its input; one that does not listen is killed."""
    assert process.stdin is not None  # noqa: S101  it is a pipe
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
