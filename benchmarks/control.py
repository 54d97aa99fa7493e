"""The control endpoints that both servers under test have beside OpenADR, on a port of their own.

POST /vens    [{"name", "fingerprint"}]   make VENs known; answers their venIDs in the same order
POST /events  [venID]                     one event for each, in an hour from now
GET  /counts                              {"opts": optIns taken, "values": values taken}

The process ends when its standard input does, so that it cannot outlive the benchmark.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiohttp import web

EVENT_IN_S = 3600
EVENT_FOR_S = 3600
EVENT_LEVEL = 1


class Subject(Protocol):
    """A server under test."""

    async def add_vens(self, vens: list[dict[str, str]]) -> list[str]:
        """Make VENs known and return their venIDs."""
        ...

    async def send_events(self, ven_ids: list[str]) -> None:
        """Queue one event for each VEN."""
        ...

    async def counts(self) -> dict[str, int]:
        """Return how many optIns and values came in."""
        ...


@asynccontextmanager
async def controlled(subject: Subject, **ready: Any) -> AsyncIterator[None]:
    """Serve the control endpoints and say on standard output where everything is."""

    async def add_vens(request: web.Request) -> web.Response:
        return web.json_response(await subject.add_vens(await request.json()))

    async def send_events(request: web.Request) -> web.Response:
        await subject.send_events(await request.json())
        return web.json_response({})

    async def counts(_: web.Request) -> web.Response:
        return web.json_response(await subject.counts())

    app = web.Application(client_max_size=2**26)
    app.add_routes([web.post("/vens", add_vens), web.post("/events", send_events), web.get("/counts", counts)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        print(json.dumps({"pid": os.getpid(), "control": url} | ready), flush=True)
        yield
    finally:
        await runner.cleanup()


async def until_told() -> None:
    """Return when standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
