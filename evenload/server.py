"""A VTN process: store, services, listeners and periodic work, wired together."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC

import structlog
from aiohttp import web
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from certs.authority import Authority
from certs.tls import server_context
from core.clock import Clock, WorldClock, load_clock, system_clock
from core.errors import EvenloadError, InvalidError
from evenload.settings import Settings
from vtn.services import outbox
from vtn.services.directory import Directory
from vtn.store.database import Database
from vtn.store.writer import GroupWriter
from vtn.transport.http import Edge, OpenADRServer
from vtn.transport.v20b import Vtn20b
from vtn.web.api import Api
from vtn.web.operator import DESK, OPERATIONS, Desk
from vtn.web.principals import StoredPrincipals
from vtn.web.server import HttpMetrics, make_app

_log = structlog.get_logger(__name__)

_RESYNC_S = 30
_FLUSH_S = 5
_SWEEP_S = 5


def operator_api() -> Api:
    """Return the operator API, for serving and for its OpenAPI document."""
    return Api("evenload operator API", "1", OPERATIONS, description="For the operators of a VTN.")


@dataclass(frozen=True, slots=True)
class Running:
    """Where a VTN listens."""

    openadr_url: str
    api_url: str
    db: Database
    clock: Clock


def clock_of(settings: Settings) -> WorldClock:
    """Return the world's clock. Raises InvalidError if a fast clock would be seen beyond this machine."""
    clock = system_clock() if settings.clock is None else load_clock(settings.clock)
    if clock.speed != 1.0 and {settings.openadr.host, settings.api.host} - {"127.0.0.1", "::1", "localhost"}:
        raise InvalidError("A clock with a speed other than 1 is for loopback addresses only.")
    return clock


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Run a VTN until the block ends."""
    clock = clock_of(settings)
    authority = Authority.load(settings.authority) if settings.authority is not None else None
    registry = CollectorRegistry()
    async with contextlib.AsyncExitStack() as stack:
        db = await Database.open(settings.database)
        stack.push_async_callback(db.close)
        writer = GroupWriter(db)
        await writer.start()
        stack.push_async_callback(writer.close)
        directory = Directory(db, clock)
        await directory.refresh()
        stack.push_async_callback(directory.flush_seen)
        vtn = Vtn20b(writer, directory, settings.vtn(), clock)
        openadr_port = await _listen_openadr(stack, settings, vtn, registry)
        scheme = "http" if settings.openadr.insecure else "https"
        openadr_url = settings.openadr.url or (
            f"{scheme}://{settings.openadr.host}:{openadr_port}{settings.openadr.prefix}/OpenADR2/Simple/2.0b"
        )
        desk = Desk(db, clock, settings.vtn(), openadr_url, authority)
        api_port = await _listen_api(stack, settings, desk, registry)
        api_url = f"{'https' if settings.api.certificate else 'http'}://{settings.api.host}:{api_port}"
        _schedule(stack, db, directory, clock)
        yield Running(openadr_url, api_url, db, clock)


async def _listen_openadr(
    stack: contextlib.AsyncExitStack, settings: Settings, vtn: Vtn20b, registry: CollectorRegistry
) -> int:
    openadr = settings.openadr
    edge = Edge(openadr.prefix, openadr.max_body_bytes, openadr.insecure, openadr.proxy_header, openadr.proxy_secret)
    context: ssl.SSLContext | None = None
    if not openadr.insecure and openadr.proxy_header is None and openadr.ca is not None:
        first, *others = openadr.certificates
        also = [(one.cert, one.key) for one in others]
        context = server_context(first.cert, first.key, openadr.ca, also=also, profile=openadr.tls)
    return await _serve(stack, OpenADRServer(vtn, edge, registry).runner(), openadr.host, openadr.port, context)


async def _listen_api(
    stack: contextlib.AsyncExitStack, settings: Settings, desk: Desk, registry: CollectorRegistry
) -> int:
    async def store_answers() -> None:
        async with desk.db.read() as conn:
            await conn.execute(select(1))

    app = make_app(
        operator_api(),
        StoredPrincipals(desk.db),
        hosts={settings.api.host, "localhost", "127.0.0.1", "[::1]", *settings.api.hosts},
        metrics=HttpMetrics(registry),
        ready={"store": store_answers},
    )
    app[DESK] = desk
    context = None
    if settings.api.certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.api.certificate.cert, settings.api.certificate.key)
    return await _serve(stack, web.AppRunner(app, access_log=None), settings.api.host, settings.api.port, context)


async def _serve(
    stack: contextlib.AsyncExitStack,
    runner: web.AppRunner | web.ServerRunner,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
) -> int:
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, ssl_context=context, reuse_address=True, shutdown_timeout=5).start()
    except OSError as error:
        raise InvalidError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
    return int(runner.addresses[0][1])


def _schedule(stack: contextlib.AsyncExitStack, db: Database, directory: Directory, clock: Clock) -> None:
    """Start the periodic work of this process. What must survive a crash is a row with a due time, not a job."""

    async def sweep() -> None:
        async with db.write() as tx:
            await outbox.expire(tx, clock.now())

    async def resync() -> None:
        directory.resync()

    scheduler = AsyncIOScheduler(timezone=UTC)
    for work, every_s in ((directory.flush_seen, _FLUSH_S), (resync, _RESYNC_S), (sweep, _SWEEP_S)):
        scheduler.add_job(_guarded(work), "interval", seconds=every_s, coalesce=True, max_instances=1)
    scheduler.start()
    stack.callback(scheduler.shutdown, wait=False)


def _guarded(work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Log a failing periodic job instead of losing it: the next turn tries again."""

    async def run() -> None:
        try:
            await work()
        except EvenloadError as error:
            _log.warning("periodic work failed", work=getattr(work, "__name__", "?"), why=str(error))

    return run


async def serve(settings: Settings, *, on_ready: Callable[[Running], None]) -> None:
    """Run a VTN until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as vtn:
        on_ready(vtn)
        await stop.wait()
