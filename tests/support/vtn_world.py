"""A VTN in memory: a real database, the services and the transport, and VENs that a test speaks for.

Every message goes through the codec in both directions and is read in strict mode: what is not schema-valid fails.
"""

import asyncio
import contextlib
import functools
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lxml import etree
from sqlalchemy import event as sql_events
from sqlalchemy import select
from sqlalchemy.engine import Engine

from core.clock import ManualClock
from core.points import Kind, Quantity
from core.spans import Duration
from openadr.model.event import DeliveredEvent
from openadr.model.opt import OptType
from openadr.model.registration import VenProfile
from openadr.model.report import (
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    SamplingRate,
)
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import (
    SERVICES,
    CreatedEvent,
    CreatedPartyRegistration,
    CreatedReport,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    EventResponse,
    Message,
    OadrResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    Response,
    UpdateReport,
)
from openadr.v20b.names import NAMESPACES
from vtn.services import dispatch, programme, provisioning
from vtn.services.dispatch import Order
from vtn.services.programme import Parameters, Programme
from vtn.services.settings import VtnSettings
from vtn.services.ven_cache import VenCache
from vtn.services.ven_faults import VenFaults
from vtn.store import readings
from vtn.store.database import Database, Transaction
from vtn.store.engines import parse
from vtn.store.readings import SeriesKey, Values
from vtn.store.tables import METADATA
from vtn.store.writer import GroupWriter
from vtn.transport.peer import Peer
from vtn.transport.v20b.service import Vtn20b

NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)
"""Where every world begins: a Monday."""
HOUR = Duration.of(hours=1)
MINUTE = Duration.of(minutes=1)
_VOLATILE = frozenset({("ven", "last_seen_at")})


def fake_fingerprint(number: int) -> str:
    """Return a fingerprint that no certificate has."""
    return ":".join(["AA"] * 9 + [f"{number % 256:02X}"])


@dataclass
class World:
    """One VTN. `clock` moves when the test says so."""

    db: Database
    writer: GroupWriter
    directory: VenCache
    vtn: Vtn20b
    settings: VtnSettings
    clock: ManualClock
    faults: VenFaults
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def later(self, **parts: float) -> None:
        """Let world time pass."""
        self.clock.advance(timedelta(**parts))

    @contextlib.asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        async with self.db.write() as tx:
            yield tx

    async def ven(self, name: str | None = None, *, register: bool = True, strict: bool = False) -> "Ven":
        """Create a VEN with a certificate; by default registered, with its queue empty."""
        number = next(self.numbers)
        fingerprint = fake_fingerprint(number)
        async with self.tx() as tx:
            ven_id = await provisioning.create_ven(tx, name or f"home {number}", self.now, who="test", strict=strict)
            await provisioning.add_fingerprint(tx, ven_id, fingerprint, self.now, who="test")
        ven = Ven(self, ven_id, Peer(fingerprint, f"commonName={ven_id}"))
        if register:
            await ven.register()
            await ven.drain()
        return ven

    async def vens(self, count: int) -> list["Ven"]:
        """Create registered VENs with empty queues, all at once."""
        made = []
        async with self.tx() as tx:
            for number in itertools.islice(self.numbers, count):
                fingerprint = fake_fingerprint(number)
                ven_id = await provisioning.create_ven(tx, f"home {number}", self.now, who="test")
                await provisioning.add_fingerprint(tx, ven_id, fingerprint, self.now, who="test")
                made.append(Ven(self, ven_id, Peer(fingerprint, f"commonName={ven_id}")))

        async def settle(ven: Ven) -> None:
            await ven.register()
            await ven.drain()

        await asyncio.gather(*map(settle, made))
        return made

    async def metered(self, *vens: "Ven") -> None:
        """Let the meters of VENs have been heard of, long before anything that a test looks at."""
        key = functools.partial(SeriesKey, resource_id="meter", quantity=Quantity.ENERGY_REAL, kind=Kind.SUM)
        long_ago_s = int((self.now - timedelta(days=300)).timestamp()) // 3600 * 3600
        async with self.tx() as tx:
            for ven in vens:
                await readings.store(tx, key(ven.ven_id), "Wh", Values(long_ago_s, 1800, (500.0,)), self.now)

    async def programme(self, *vens: "Ven", context: str | None = None, **parameters: Any) -> Programme:
        """Create a programme and enrol VENs in it."""
        number = next(self.numbers)
        async with self.tx() as tx:
            made = await programme.create(
                tx, f"P{number}", context or f"http://grid/{number}", Parameters(**parameters), self.now, who="test"
            )
            await programme.enrol(tx, made.id, [one.ven_id for one in vens], self.now, who="test")
        return made

    async def dispatch(
        self,
        *vens: "Ven",
        starts_in: timedelta = timedelta(hours=1),
        signals: tuple[Signal, ...] | None = None,
        duration: Duration | None = None,
        under: Programme | None = None,
        rules: dict[str, Any] | None = None,
        **order: Any,
    ) -> str:
        """Create a dispatch for VENs, under a programme of its own unless one is given; return its id."""
        chosen = signals or (power(-1000.0),)
        whole = duration if duration is not None else _whole(chosen[0])
        game = under or await self.programme(*vens, **(rules or {}))
        named = Order(
            game.id,
            self.now + starts_in,
            whole,
            chosen,
            ven_ids=tuple(ven.ven_id for ven in vens),
            **({"direction": "reduce"} | order),
        )
        async with self.tx() as tx:
            return await dispatch.create(tx, named, self.now, who="test")

    async def rows(self, table: str, **where: Any) -> list[Any]:
        """Return rows of a table in the order of its primary key."""
        known = METADATA.tables[table]
        query = select(known).order_by(*known.primary_key.columns)
        for name, value in where.items():
            query = query.where(known.c[name] == value)
        async with self.db.read() as conn:
            return list((await conn.execute(query)).all())

    async def outbox(self, ven: "Ven") -> dict[tuple[str, str], str]:
        """Return (kind, subject) -> state of the VEN's rows."""
        return {(row.kind, row.subject): row.state for row in await self.rows("outbox", ven_id=ven.ven_id)}

    async def dump(self, *, without: Sequence[str] = ()) -> dict[str, list[Any]]:
        """Return everything that the database holds, but for columns that say who was seen when."""
        queries = {}
        for name, table in METADATA.tables.items():
            if name not in without:
                kept = [column for column in table.columns if (name, column.name) not in _VOLATILE]
                queries[name] = select(*kept).order_by(*table.primary_key.columns)
        async with self.db.read() as conn:
            return {name: [tuple(row) for row in await conn.execute(query)] for name, query in queries.items()}


@dataclass
class Ven:
    """One VEN, spoken for by the test."""

    world: World
    ven_id: str
    peer: Peer
    registration_id: str | None = None
    raw: bytes = b""

    def xpath(self, expression: str) -> list[Any]:
        """Return what an XPath finds in the last answer's XML; prefixes as the specification has them."""
        return etree.fromstring(self.raw).xpath(expression, namespaces=NAMESPACES)

    async def say(self, message: Message, service: str | None = None, *, peer: Peer | None = None) -> Any:
        """Send a message over the wire format and return the answer, both judged in strict mode."""
        sent = decode(encode(message), strict=True)
        answer = await self.world.vtn.answer(service or SERVICES[type(message)], sent, peer or self.peer)
        self.raw = encode(answer)
        return decode(self.raw, strict=True)

    async def register(self, **profile: Any) -> CreatedPartyRegistration:
        answer = await self.say(CreatePartyRegistration("reg", VenProfile(**profile)))
        self.registration_id = answer.registration_id or self.registration_id
        return answer

    async def poll(self) -> Any:
        return await self.say(Poll(self.ven_id))

    async def drain(self, *, answer: bool = True) -> list[Any]:
        """Poll until nothing waits, answering what is no event; return what came."""
        came = []
        for _ in range(50):
            message = await self.poll()
            if isinstance(message, OadrResponse):
                return came
            came.append(message)
            if answer and isinstance(message, RegisterReport):
                await self.say(RegisteredReport(Response(200, "OK", message.request_id), (), self.ven_id))
            elif answer and isinstance(message, CreateReport):
                ids = tuple(one.request_id for one in message.requests)
                await self.say(CreatedReport(Response(200, "OK", message.request_id), ids, self.ven_id))
        raise AssertionError("the queue never ends")

    async def events(self) -> list[DeliveredEvent]:
        """Poll, expect an oadrDistributeEvent and return its events."""
        message = await self.poll()
        assert isinstance(message, DistributeEvent), message
        return list(message.events)

    async def opt(
        self, one: DeliveredEvent, opt_type: OptType = OptType.IN, *, code: int = 200, modification: int | None = None
    ) -> Any:
        """Answer an event with oadrCreatedEvent."""
        number = one.event.modification_number if modification is None else modification
        return await self.created((one.event.event_id, number, opt_type, code))

    async def created(self, *answers: tuple[str, int, OptType, int], response: Response | None = None) -> Any:
        """Send an oadrCreatedEvent with (eventID, modificationNumber, opt, code) answers."""
        responses = tuple(EventResponse(event_id, number, opt, "q", code) for event_id, number, opt, code in answers)
        return await self.say(CreatedEvent(self.ven_id, response or Response(), responses))

    async def offer(self, *offers: ReportOffer) -> list[ReportRequest]:
        """Register reports; return what the VTN then asks for."""
        registered = await self.say(RegisterReport("r", offers, self.ven_id))
        assert registered.response.ok, registered
        return [one for message in await self.drain() for one in getattr(message, "requests", ())]

    async def report(self, *reports: Report) -> Any:
        return await self.say(UpdateReport("u", reports, self.ven_id))


def _whole(signal: Signal) -> Duration:
    return Duration.of(seconds=sum(interval.duration.exact_s for interval in signal.intervals))


def intervals(*values: float, each: Duration = HOUR) -> tuple[Interval, ...]:
    return tuple(Interval(each, value) for value in values)


def power(*values: float, each: Duration = HOUR, signal_id: str = "ld") -> Signal:
    """Return a LOAD_DISPATCH/delta signal in W."""
    return Signal("LOAD_DISPATCH", "delta", signal_id, intervals(*values, each=each), POWER_REAL_W)


def simple(*values: float, each: Duration = HOUR, signal_id: str = "simple") -> Signal:
    return Signal("SIMPLE", "level", signal_id, intervals(*values, each=each))


def usage(
    *r_ids: str, specifier: str = "usage", name: str = "TELEMETRY_USAGE", duration: Duration = HOUR, **more: Any
) -> ReportOffer:
    """Return an offer of metered energies, one a resource named like the rID."""
    rate = SamplingRate(more.get("min_period", MINUTE), HOUR)
    lines = tuple(
        ReportDescription(
            r_id,
            "usage",
            "Direct Read",
            Target(resource_ids=(r_id,)),
            more.get("subject", Target()),
            more.get("item_base", ENERGY_REAL_WH),
            sampling=rate if name.startswith("TELEMETRY") else None,
        )
        for r_id in r_ids
    )
    return ReportOffer(specifier, name, duration, lines, NOON)


def data(
    request: ReportRequest | str,
    start: datetime,
    *values: float,
    step: Duration = MINUTE,
    r_id: str = "meter",
    specifier: str = "usage",
    name: str = "TELEMETRY_USAGE",
    quality: str | None = None,
    report_id: str | None = None,
) -> Report:
    """Return a data report with interval values one after the other."""
    rows = []
    edge = start
    for value in values:
        rows.append(ReportInterval((ReportPayload(r_id, value, quality),), edge, step))
        edge = step.after(edge)
    request_id = request if isinstance(request, str) else request.request_id
    return Report(request_id, specifier, name, start, tuple(rows), start, report_id=report_id)


@contextlib.asynccontextmanager
async def world_on(database: Database, settings: VtnSettings | None = None) -> AsyncIterator[World]:
    """Make a world on an open database, which is closed with it."""
    clock = ManualClock(NOON)
    chosen = settings or VtnSettings("vtn")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        writer = GroupWriter(database, max_wait_s=0.0)
        await writer.start()
        stack.push_async_callback(writer.close)
        directory = VenCache(database, clock)
        faults = VenFaults(database, clock)
        vtn = Vtn20b(writer, directory, chosen, clock, faults)
        yield World(database, writer, directory, vtn, chosen, clock, faults)


@functools.cache
def _migrated() -> bytes:
    """Return a SQLite file with the schema and nothing in it, made once a process and then copied."""

    async def make(path: Path) -> None:
        await (await Database.open(f"sqlite:///{path}")).close()

    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(1) as pool:
        path = Path(directory) / "vtn.db"
        pool.submit(lambda: asyncio.run(make(path))).result()  # a loop of its own: the test may have one already
        return path.read_bytes()


def migrated_sqlite(path: Path) -> Path:
    """Make a SQLite file with the schema and nothing in it, to be opened or copied."""
    path.write_bytes(_migrated())
    path.chmod(0o600)
    return path


def open_copy(template: Path, path: Path) -> Database:
    """Open a copy of a migrated SQLite file, without looking at its schema again."""
    shutil.copy(template, path)
    return Database(parse(f"sqlite:///{path}"))


@contextlib.contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Collect every SQL statement that any engine runs inside."""
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    sql_events.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sql_events.remove(Engine, "before_cursor_execute", note)
