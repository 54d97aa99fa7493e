"""A VTN behind mutual TLS on loopback, and clients that post raw bytes to it."""

import asyncio
import contextlib
import functools
import io
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from yarl import URL

from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import SERVICES, Message, Poll
from support.pki import Pki, make_pki
from support.vtn_world import MINUTE, Ven, World, migrated_sqlite, open_copy, world_on
from vtn.services import provisioning
from vtn.services.settings import VtnSettings, WantedReport
from vtn.transport.message_log import Note, ignore
from vtn.transport.peer import Peer
from vtn.transport.v20a.service import PATH, Vtn20a
from vtn.transport.v20b.http import Edge, OpenADRServer
from web.connections import Connections, Limits
from web.listening import Site

BASE = "/OpenADR2/Simple/2.0b/"
XML = {"Content-Type": "application/xml"}
_LARGE = 1_000_000
PROBLEMS = ("warning", "error", "critical")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Return two authorities, a server certificate and clients: home, other, stranger, foreign, expired."""
    made = make_pki(tmp_path_factory.mktemp("pki"))
    for name in ("home", "other", "stranger"):
        made.issue(name)
    made.issue("foreign", kind="foreign")
    made.issue("expired", kind="expired")
    return made


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with the schema and nothing in it, to be copied."""
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest_asyncio.fixture
async def world(empty_sqlite: Path, tmp_path: Path) -> AsyncIterator[World]:
    """Yield a VTN on a SQLite file."""
    settings = VtnSettings("vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),))
    async with world_on(open_copy(empty_sqlite, tmp_path / "world.db"), settings) as made:
        yield made


@dataclass
class Line:
    """A running listener, with two registered VENs: `home` and `other`."""

    world: World
    pki: Pki
    port: int
    home: Ven
    other: Ven
    scheme: str = "https"
    prefix: str = ""
    sessions: dict[str | None, aiohttp.ClientSession] = field(default_factory=dict)
    connections: Connections = field(default_factory=Connections)

    def session(self, certificate: str | None) -> aiohttp.ClientSession:
        """Return the session of a client, which keeps its connection."""
        if certificate not in self.sessions:
            tls = self.pki.client(certificate) if self.scheme == "https" else False
            self.sessions[certificate] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))
        return self.sessions[certificate]

    async def send(
        self,
        body: Any = b"",
        *,
        service: str = "OadrPoll",
        path: str | None = None,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        certificate: str | None = "home",
    ) -> tuple[int, bytes, Any]:
        """Send a request; return its status, body and headers."""
        data = io.BytesIO(body) if isinstance(body, bytes) and len(body) > _LARGE else body
        base = f"{self.scheme}://127.0.0.1:{self.port}"
        url = URL(base + (path or f"{self.prefix}{BASE}{service}"), encoded=True)
        request = self.session(certificate).request(
            method, url, data=data, headers=XML if headers is None else headers, skip_auto_headers=["Content-Type"]
        )
        async with request as response:
            return response.status, await response.read(), response.headers

    async def say(self, message: Message, *, certificate: str = "home", **options: Any) -> Any:
        """Post a message and return the answer, judged in strict mode."""
        service = options.pop("service", SERVICES[type(message)])
        status, body, _ = await self.send(encode(message), service=service, certificate=certificate, **options)
        assert status == 200, body
        return decode(body, strict=True)

    async def refuses(self, status: int, body: Any = b"", *, note: str = "", **request: Any) -> None:
        """Send bad input: it gets this status, is logged once, changes nothing, and the server goes on."""
        before = await self.world.dump()
        with capture_logs() as logs:
            got, text, _ = await self.send(body, **request)
        assert got == status, (note, request, text)
        assert len([one for one in logs if one["log_level"] in PROBLEMS]) == 1, (note, request, logs)
        assert await self.world.dump() == before, (note, request)
        await self.works()

    async def works(self) -> None:
        """Check that the server still answers, a client that was there before and one that is new."""
        assert (await self.say(Poll(self.home.ven_id))).response.code == 200
        await self.forget("other")
        assert (await self.say(Poll(self.other.ven_id), certificate="other")).response.code == 200

    async def forget(self, certificate: str | None) -> None:
        """Close a client's connection."""
        if (session := self.sessions.pop(certificate, None)) is not None:
            await session.close()

    @contextlib.asynccontextmanager
    async def bare(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection to write bytes to, as the VEN `home`."""
        tls = self.pki.client("home") if self.scheme == "https" else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def line_on(
    world: World,
    pki: Pki,
    edge: Edge | None = None,
    *,
    tls: bool = True,
    limits: Limits | None = None,
    note: Note = ignore,
) -> AsyncIterator[Line]:
    """Run a listener until the block ends."""
    chosen = edge or Edge()
    context: ssl.SSLContext | None = pki.server() if tls else None
    connections = Connections(limits)
    older = Vtn20a(world.vtn, world.writer, world.directory, world.clock, note)
    server = OpenADRServer(world.vtn, chosen, CollectorRegistry(), note, others={PATH: older.answer})
    runner: web.ServerRunner = server.runner()
    await runner.setup()
    await Site(runner, "127.0.0.1", 0, connections, tls=context, trusted=context is None).start()
    home, other = [await _known(world, pki, name) for name in ("home", "other")]
    line = Line(world, pki, runner.addresses[0][1], home, other, "https" if tls else "http", chosen.prefix)
    line.connections = connections
    try:
        yield line
    finally:
        for name in list(line.sessions):
            await line.forget(name)
        await runner.cleanup()


async def _known(world: World, pki: Pki, name: str) -> Ven:
    """Create and register the VEN of a certificate."""
    pem = (pki.directory / f"{name}.pem").read_text()
    async with world.tx() as tx:
        ven_id = await provisioning.create_ven(tx, name, world.now, who="test")
        fingerprint = await provisioning.add_certificate(tx, ven_id, pem, world.now, who="test")
    ven = Ven(world, ven_id, Peer(fingerprint))
    await ven.register()
    await ven.drain()
    return ven


@pytest_asyncio.fixture
async def line(world: World, pki: Pki) -> AsyncIterator[Line]:
    """Yield a listener with mutual TLS."""
    async with line_on(world, pki) as made:
        yield made


@pytest.fixture
def line_at(world: World, pki: Pki) -> Callable[..., contextlib.AbstractAsyncContextManager[Line]]:
    """Return what runs a listener as the test wants it: `async with line_at(Edge(...)) as line`."""
    return functools.partial(line_on, world, pki)
