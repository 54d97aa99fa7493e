"""A foreign program as a process of its own: it tells what happens and obeys, one JSON object a line each way."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

_DEADLINE_S = 30.0
_PATIENCE_S = 5.0
Told = dict[str, Any]


class Peer:
    """A running peer. `told` holds everything it has said so far, oldest first."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._news = asyncio.Event()
        self.told: list[Told] = []

    async def listen(self) -> None:
        """Take in what it says until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            with suppress(ValueError):  # it may print for people too
                self.told.append(json.loads(line))
            self._news.set()
        self._news.set()

    async def obey(self, command: str, **details: object) -> None:
        """Give it an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command} | details).encode() + b"\n")
        await self._process.stdin.drain()

    async def heard(self, what: str, fits: Callable[[Told], object] = bool, *, after: int = 0) -> Told:
        """Return the first thing of a kind that fits, of what was told after the first `after` things."""
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            self._news.clear()
            for one in self.told[after:]:
                if one.get("told") == what and fits(one):
                    return one
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._process.returncode is not None:
                log = self._log.read_text(encoding="utf-8", errors="replace")[-3000:]
                raise AssertionError(f"never heard: {what}. Heard: {self.told[-10:]}\nIts log ends:\n{log}")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(left_s, 1.0))

    async def end(self) -> None:
        """End it, politely and then firmly."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


@asynccontextmanager
async def peer(
    script: Path, log: Path, *, python: str | Path = sys.executable, **config: object
) -> AsyncIterator[Peer]:
    """Run a script with a configuration while the context lasts, by this Python unless another one is named."""
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            str(python),
            str(script),
            json.dumps(config),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            limit=1 << 22,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    one = Peer(process, log)
    listening = asyncio.create_task(one.listen())
    try:
        yield one
    finally:
        await one.end()
        await listening
