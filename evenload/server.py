"""A VTN process: store, services, listeners and periodic work, wired together."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from prometheus_client import CollectorRegistry

from certs.authority import Authority
from certs.tls import check_pair, server_context
from core.clock import Clock, WorldClock, load_clock, machine_now, system_clock
from core.errors import EvenloadError, InvalidError
from evenload.aggregator_app import AggregatorApp, Job, with_market
from evenload.console import console_app
from evenload.expiry_watch import ExpiryWatch
from evenload.gauges import Gauges
from evenload.process_memory import give_back, settle, spare
from evenload.push import push_addresses, push_client, push_rules
from evenload.revocation import Revocations
from evenload.server_certificates import ServerCertificates
from evenload.settings import ConsoleSettings, KeyPair, Settings, is_loopback, is_wildcard
from evenload.setup import console_url
from vtn.api import DESK, OPERATIONS, Desk
from vtn.services import outbox, signatures
from vtn.services.potential import Thinning
from vtn.services.principals import StoredPrincipals
from vtn.services.ven_cache import VenCache
from vtn.services.ven_faults import VenFaults
from vtn.store.database import Database
from vtn.store.readings import merge_days
from vtn.store.writer import GroupWriter
from vtn.transport.message_log import MessageLog
from vtn.transport.renewal import PATH as RENEWAL_PATH
from vtn.transport.renewal import Renewals
from vtn.transport.v20a.push import Push20a
from vtn.transport.v20a.service import PATH as PATH_20A
from vtn.transport.v20a.service import Vtn20a
from vtn.transport.v20b.http import Edge, OpenADRServer
from vtn.transport.v20b.push import PushSender
from vtn.transport.v20b.service import Vtn20b
from vtn.transport.v20b.signatures import Signatures, SigningFiles, SigningKeys
from web.api import Api
from web.callers import PROXIES
from web.connection_metrics import measured
from web.connections import Connections
from web.listening import listen, raise_handle_limit
from web.server import AUTHENTICATOR, HttpMetrics, make_app

_log = structlog.get_logger(__name__)

_RESYNC_S: Final = 30
_FLUSH_S: Final = 5
_PUSH_S: Final = 1
_LOG_S: Final = 1
_LOG_SWEEP_S: Final = 30
_SWEEP_S: Final = 5
_GAUGE_S: Final = 15
_TIDY_S: Final = 3600
_GIVE_BACK_S: Final = 10
_WATCH_S: Final = 300
_DAY_S: Final = 86400
_LAST_ANSWERS_S: Final = 5.0
"""How long a stopping VTN waits for answers that are on their way."""
_LONGEST_ADDRESS: Final = 64 << 10
"""Of the console's pages, bytes: all that was typed for a new dispatch lies in one."""
_LAST_WORK_S: Final = 10.0
"""And how long for periodic work."""


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
    console_url: str | None = None


def clock_of(settings: Settings) -> WorldClock:
    """Return the world's clock. Raises InvalidError if a fast clock would be seen beyond this machine."""
    clock = system_clock() if settings.clock is None else load_clock(settings.clock)
    listeners = [settings.openadr.host, settings.api.host, *([settings.console.host] if settings.console else [])]
    if clock.speed != 1.0 and not all(map(is_loopback, listeners)):
        raise InvalidError("A clock with a speed other than 1 is for loopback addresses only.")
    return clock


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Run a VTN until the block ends.

    Then listeners stop first (answers on their way are finished), what is coalesced is written, the store closes.
    Raises InvalidError for files and addresses that cannot be used.
    """
    clock = clock_of(settings)
    authority = Authority.load(settings.authority) if settings.authority is not None else None
    _warn_of_open_keys(settings, authority)
    registry = CollectorRegistry()
    async with contextlib.AsyncExitStack() as stack:
        db = await Database.open(settings.database)
        stack.push_async_callback(db.close)
        writer = GroupWriter(db)
        await writer.start()
        stack.push_async_callback(writer.close)
        ven_cache = VenCache(db, clock)
        await ven_cache.refresh()
        stack.push_async_callback(ven_cache.flush_seen)
        faults = VenFaults(db, clock)
        stack.push_async_callback(faults.flush)
        message_log = _message_log(stack, settings, db, ven_cache, registry)
        revocations = Revocations(db, clock, authority)
        await _guarded(revocations.renew_list)()
        certificates = ServerCertificates(settings, authority)
        await certificates.renew()
        vtn = Vtn20b(
            writer,
            ven_cache,
            settings.vtn(),
            clock,
            faults,
            _signatures(settings, ven_cache, writer),
            push_addresses(settings),
        )
        renewals = None if authority is None else Renewals(db, authority, settings.vtn_id, clock)
        connections = measured(settings.connections.limits(), registry)
        openadr_port = await _listen_openadr(
            stack,
            settings,
            vtn,
            _vtn20a(settings, vtn, ven_cache, writer, clock, message_log),
            registry,
            revocations,
            certificates,
            message_log,
            renewals,
            connections,
        )
        stale_after_s = _stale_after_s(settings, clock)
        openadr_url = _openadr_url(settings, openadr_port)
        if renewals is not None:
            renewals.vtn_url = openadr_url
        desk = Desk(
            db,
            clock,
            settings.vtn(),
            openadr_url,
            authority,
            stale_after_s,
            client_ca=settings.openadr.ca,
            api_url=_enrol_url(settings, openadr_url),
            watched=certificates.watched,
            expires_within=settings.alerts.expires_within.timedelta(),
            pushes_to=push_addresses(settings),
        )
        metrics = HttpMetrics(registry)
        market = AggregatorApp.build(settings, desk)
        stack.push_async_callback(market.close)
        api = _api(settings, desk, metrics, market)
        api_port = await _listen_api(stack, settings, api, certificates, connections)
        console_at = None
        if settings.console is not None:
            names = _names(settings.console.host, settings.console.hosts)
            console = console_app(settings, settings.console, desk, names, metrics=metrics)
            console[AUTHENTICATOR] = api[AUTHENTICATOR]  # a token that the console revokes ends there at once
            console[PROXIES] = tuple(map(ip_network, settings.console.proxies))
            market.put_into(console)  # a BRP's program that it shuts out, too
            console_at = await _listen_console(stack, settings, settings.console, console, certificates, connections)
        watchman = ExpiryWatch(db, certificates.watched, settings, registry)
        await watchman.look()
        gauges = Gauges(db, clock, registry, stale_after_s)
        await gauges.refresh()
        watch: Sequence[Job] = (
            (message_log.flush, _LOG_S),
            (message_log.sweep, _LOG_SWEEP_S),
            (certificates.check, _SWEEP_S),
            (certificates.renew, _TIDY_S),
            (watchman.turn, _WATCH_S),
        )
        await _schedule(
            stack,
            db,
            ven_cache,
            faults,
            clock,
            gauges,
            revocations,
            Thinning(db, settings.market.potential_kept.timedelta()),
            (
                *market.jobs(),
                *watch,
                *_pushes(stack, settings, vtn, ven_cache, writer, faults, clock, registry, message_log),
            ),
        )
        yield Running(desk.openadr_url, _api_url(settings, api_port), db, clock, console_at)


def _warn_of_open_keys(settings: Settings, authority: Authority | None) -> None:
    """Say which private keys other users of this machine can read: whoever has the root's can make itself any VEN."""
    pairs = [*settings.openadr.certificates, *settings.openadr.signing, settings.api.certificate]
    pairs.append(settings.console.certificate if settings.console else None)
    paths = {pair.key for pair in pairs if pair is not None} | ({authority.key_path} if authority else set())
    for path in sorted(paths):
        if path.exists() and path.stat().st_mode & 0o077:
            _log.warning("a key can be read by others", path=str(path), next=f"chmod 600 {path}")


def _signatures(settings: Settings, ven_cache: VenCache, writer: GroupWriter) -> Signatures:
    """Return what signs and verifies messages. Raises InvalidError for files that cannot be used."""
    openadr = settings.openadr
    pairs = openadr.signing or openadr.certificates
    for pair in openadr.signing:
        check_pair(pair.cert, pair.key)
    keys = SigningKeys([SigningFiles(pair.cert, pair.key) for pair in pairs])
    return Signatures(ven_cache, writer, keys, window=openadr.signature_window.timedelta())


def _message_log(
    stack: contextlib.AsyncExitStack, settings: Settings, db: Database, ven_cache: VenCache, registry: CollectorRegistry
) -> MessageLog:
    """Return the log of messages; what it still holds is written when the stack ends."""
    log = MessageLog(db, ven_cache, settings.openadr.log.bounds(), registry)
    stack.push_async_callback(log.flush)
    return log


def _vtn20a(
    settings: Settings,
    vtn: Vtn20b,
    ven_cache: VenCache,
    writer: GroupWriter,
    clock: Clock,
    message_log: MessageLog,
) -> Vtn20a:
    return Vtn20a(vtn, writer, ven_cache, clock, message_log.note, settings.openadr.max_body_bytes)


def _pushes(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    vtn: Vtn20b,
    ven_cache: VenCache,
    writer: GroupWriter,
    faults: VenFaults,
    clock: Clock,
    registry: CollectorRegistry,
    message_log: MessageLog,
) -> Sequence[Job]:
    """Return the work of pushing, where this VTN does so; it ends with the stack."""
    addresses = push_addresses(settings)
    if addresses is None:
        return ()
    client, rules = push_client(settings, ven_cache, addresses), push_rules(settings)
    sender = PushSender(
        vtn,
        ven_cache,
        writer,
        faults,
        client,
        settings.vtn(),
        clock,
        registry,
        older=Push20a(_vtn20a(settings, vtn, ven_cache, writer, clock, message_log)),
        rules=rules,
        note=message_log.note,
    )
    stack.push_async_callback(sender.close)
    return ((sender.turn, _PUSH_S),)


def _openadr_url(settings: Settings, port: int) -> str:
    """Return what gateways are told."""
    openadr = settings.openadr
    scheme = "http" if openadr.insecure else "https"
    own = f"{scheme}://{_in_url(openadr.host)}:{port}{openadr.prefix}/OpenADR2/Simple/2.0b"
    return openadr.url.rstrip("/") if openadr.url else own


def _enrol_url(settings: Settings, openadr_url: str) -> str:
    """Return the address at which gateways enrol, as far as it is known: the API's port, where VENs reach this VTN."""
    api = settings.api
    host = urlsplit(openadr_url).hostname or "localhost"
    return f"{'https' if api.certificate else 'http'}://{_in_url(host)}:{api.port}"


def _api_url(settings: Settings, port: int) -> str:
    """Return an address by which the operator API can be called from this machine."""
    api = settings.api
    host = "localhost" if is_wildcard(api.host) else _in_url(api.host)
    return f"{'https' if api.certificate else 'http'}://{host}:{port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _stale_after_s(settings: Settings, clock: WorldClock) -> float:
    """Return after how long a VEN that is silent counts as stale, world time.

    Three missed polls, at least a minute; and `last_seen` is only written every few seconds of machine time.
    """
    return max(60.0, 3.0 * settings.openadr.poll_period.exact_s) + 2 * _FLUSH_S * clock.speed


async def _listen_openadr(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    vtn: Vtn20b,
    vtn20a: Vtn20a,
    registry: CollectorRegistry,
    revocations: Revocations,
    certificates: ServerCertificates,
    message_log: MessageLog,
    renewals: Renewals | None,
    connections: Connections,
) -> int:
    openadr = settings.openadr
    edge = Edge(openadr.prefix, openadr.max_body_bytes, openadr.insecure, openadr.proxy_header, openadr.proxy_secret)
    context: ssl.SSLContext | None = None
    if not openadr.insecure and openadr.proxy_header is None and openadr.ca is not None:
        first, *others = openadr.certificates
        also = [(one.cert, one.key) for one in others]
        context = server_context(first.cert, first.key, openadr.ca, also=also, crl=openadr.crl, profile=openadr.tls)
        for pair in openadr.certificates:
            certificates.serve(context, pair)
        if openadr.crl is not None:
            revocations.watch(context, openadr.crl)
    beside = {} if renewals is None else {RENEWAL_PATH: renewals.answer}
    older = {PATH_20A: vtn20a.answer}
    listener = web.Server(OpenADRServer(vtn, edge, registry, message_log.note, beside, older).handle, access_log=None)
    runner = web.ServerRunner(listener, shutdown_timeout=_LAST_ANSWERS_S)
    return await _serve(
        stack,
        runner,
        openadr.host,
        openadr.port,
        context,
        connections,
        shared=settings.reuse_port,
        trusted=context is None,
    )


def _api(settings: Settings, desk: Desk, metrics: HttpMetrics, market: AggregatorApp) -> web.Application:
    app = make_app(
        with_market(operator_api()),
        StoredPrincipals(desk.db),
        hosts=_names(settings.api.host, settings.api.hosts),
        metrics=metrics,
        ready={"store": desk.db.check},
        mounts=market.mounts(),
    )
    app[DESK] = desk
    app[PROXIES] = tuple(map(ip_network, settings.api.proxies))
    market.put_into(app)
    return app


async def _listen_api(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    app: web.Application,
    certificates: ServerCertificates,
    connections: Connections,
) -> int:
    api = settings.api
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LAST_ANSWERS_S)
    context = _tls(api.certificate, certificates)
    if context is not None and settings.brp.mutual_tls:
        context.verify_mode = ssl.CERT_OPTIONAL  # which certificate a BRP's token is bound to is checked with the token
        context.load_verify_locations(settings.openadr.ca)
    return await _serve(stack, runner, api.host, api.port, context, connections, shared=settings.reuse_port)


async def _listen_console(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    console: ConsoleSettings,
    app: web.Application,
    certificates: ServerCertificates,
    connections: Connections,
) -> str:
    """Serve the console and return its address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LAST_ANSWERS_S, max_line_size=_LONGEST_ADDRESS)
    context = _tls(console.certificate, certificates)
    port = await _serve(stack, runner, console.host, console.port, context, connections, shared=settings.reuse_port)
    return console_url(settings, port)


def _tls(pair: KeyPair | None, certificates: ServerCertificates) -> ssl.SSLContext | None:
    if pair is None:
        return None
    context = server_context(pair.cert, pair.key, pair.cert, require_client=False)
    certificates.serve(context, pair)
    return context


def _names(host: str, others: tuple[str, ...]) -> set[str]:
    """Return by which names a listener may be called."""
    return {_in_url(host), "localhost", "127.0.0.1", "[::1]", *map(_in_url, others)}


async def _serve(
    stack: contextlib.AsyncExitStack,
    runner: web.AppRunner | web.ServerRunner,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    connections: Connections,
    *,
    shared: bool,
    trusted: bool = False,
) -> int:
    """Listen and return the port. `shared`: other processes may listen there too (SO_REUSEPORT)."""
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return await listen(runner, host, port, connections, tls=context, shared=shared, trusted=trusted)


async def _schedule(
    stack: contextlib.AsyncExitStack,
    db: Database,
    ven_cache: VenCache,
    faults: VenFaults,
    clock: Clock,
    gauges: Gauges,
    revocations: Revocations,
    thinning: Thinning,
    more: Sequence[Job] = (),
) -> None:
    """Start the periodic work of this process. What must survive a crash is a row with a due time, not a job."""

    async def sweep() -> None:
        async with db.write() as tx:
            await outbox.expire(tx, clock.now())

    async def resync() -> None:
        ven_cache.resync()

    async def tidy() -> None:
        async with db.write() as tx:
            await signatures.forget_nonces(tx, machine_now())
        await merge_days(db, clock.now())
        await thinning.turn(clock.now())

    async def spare_memory() -> None:
        await asyncio.to_thread(give_back)

    await _guarded(revocations.check)()
    under_way: set[asyncio.Task[None]] = set()
    scheduler = AsyncIOScheduler(timezone=UTC)
    for work, every_s in (
        (ven_cache.flush_seen, _FLUSH_S),
        (faults.flush, _FLUSH_S),
        (sweep, _SWEEP_S),
        (gauges.refresh, _GAUGE_S),
        (revocations.check, _SWEEP_S),
        (resync, _RESYNC_S),
        (tidy, _TIDY_S),
        (spare_memory, _GIVE_BACK_S),
        (revocations.renew_list, _DAY_S),
        *more,
    ):
        scheduler.add_job(
            _noted(_guarded(work), under_way),
            "interval",
            seconds=every_s,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.start()

    async def stop() -> None:
        """Let what is under way end by itself: a cancelled statement leaves a task that waits for SQLite for ever."""
        scheduler.pause()
        await asyncio.sleep(0)  # what was due a moment ago has begun by now
        if under_way:
            await asyncio.wait(under_way, timeout=_LAST_WORK_S)
        scheduler.shutdown(wait=False)

    stack.push_async_callback(stop)


def _noted(
    work: Callable[[], Awaitable[object]], under_way: "set[asyncio.Task[None]]"
) -> Callable[[], Awaitable[None]]:
    """Have periodic work stand in `under_way` for as long as it lasts."""

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine runs in a task
        under_way.add(task)
        try:
            await work()
        finally:
            under_way.discard(task)

    return run


def _guarded(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """Log a failing periodic job instead of losing it: the next turn tries again."""

    async def run() -> None:
        try:
            await work()
        except EvenloadError as error:
            _log.warning("periodic work failed", work=getattr(work, "__qualname__", "?"), why=str(error))

    return run


async def serve(settings: Settings, *, on_ready: Callable[[Running], None]) -> None:
    """Run a VTN until SIGINT or SIGTERM."""
    spare()
    raise_handle_limit()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as vtn:
        settle()
        on_ready(vtn)
        await stop.wait()
        _log.info("stopping: answers on their way are finished")
