"""A real VTN on SQLite with its console and APIs, twelve homes and a BRP; world time moves when a test says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import aiohttp
from browser.homes import METER, Home, history
from sqlalchemy import update

from aggregator.scopes import SCOPES
from aggregator.tariff import tariffs
from aggregator.tariff.price_series import Price as TariffPrice
from aggregator.tariff.tariffs import NewTariff
from aggregator.trade import brps, contracts, dispatch_drafts, statements
from aggregator.trade.contracts import Contract, ContractTerms, Limits, Price
from aggregator.trade.dispatch_drafts import PoolOrder
from aggregator.trade.worker import MarketSettings, TradeWorker
from core.clock import ManualClock
from core.points import Kind, Quantity
from core.spans import Duration, Span, floor_to
from evenload import server
from evenload.brp_client import BrpClient
from evenload.server import Running, running
from evenload.settings import load_settings
from evenload.setup import Shape, add_operator, login_link, prepare, set_password
from openadr.model.opt import OptType
from support.vtn_world import fake_fingerprint
from vtn.services import api_clients, evaluation, fleet, message_log, programme, provisioning, site
from vtn.services.message_log import LogFilter
from vtn.services.programme import Limits as CallLimits
from vtn.services.programme import Parameters, Programme, Reward
from vtn.store import readings
from vtn.store.readings import SeriesKey, Values
from vtn.store.tables import ven as ven_table
from vtn.store.tables import ven_certificate

ZONE = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 1, 12, 14, 30, tzinfo=UTC)
"""When a world begins: half past three in the afternoon in Berlin."""
TUESDAY = datetime(2026, 1, 13, 14, tzinfo=UTC)
PASSWORD = "a long enough pass phrase"
NAMES = (
    "Amselweg 4",
    "Birkenallee 12",
    "Dorfstraße 7",
    "Erlengrund 3",
    "Fliederweg 21",
    "Gartenstraße 9",
    "Haselhof 1",
    "Kastanienring 16",
    "Lindenplatz 2",
    "Mühlgasse 5",
    "Rosenweg 33",
    "Sonnenhang 8",
)
STRANGER = fake_fingerprint(200)
"""A certificate that waits for somebody to say whose it is."""
LONG_SUBJECT = "commonName=gateway-4711.energy-management.residential.example,organizationName=Stadtwerke-Netz"
LONG_NAME = "Mehrfamilienhaus-Wohnungsbaugenossenschaft-Am-Alten-Güterbahnhof-17a"
_WHO = "set-up"
_STALE_AFTER_S = 1210.0
_HISTORY_DAYS = 20
_STEP = timedelta(minutes=15)
_OUT = frozenset({3})
_SILENT = frozenset({7})
_WEAK = {5: 0.7, 9: 0.85}


class Hands(ManualClock):
    """World time in a test's hands; its speed only says how long a silence is too long."""

    speed = 1.0


@dataclass
class World:
    """What runs, and what was put into it. Ids of what came about are in `ids`."""

    vtn: Running
    clock: Hands
    config: Path
    worker: TradeWorker
    http: aiohttp.ClientSession
    homes: list[Home] = field(default_factory=list)
    programme: Programme | None = None
    contract: Contract | None = None
    client: tuple[str, str] = ("", "")
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where a browser finds the console."""
        assert self.vtn.console_url is not None
        return self.vtn.console_url

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def local(self, when: datetime) -> str:
        """Return a time as the programme's forms have it."""
        return when.astimezone(ZONE).strftime("%Y-%m-%dT%H:%M")

    async def link(self, name: str = "admin") -> str:
        """Return a link that signs somebody in, once."""
        return await login_link(self.config, name, self.url)

    def brp(self) -> BrpClient:
        """Return the BRP, who knows nothing but the API."""
        return BrpClient(self.vtn.api_url, *self.client, ca=self.config.parent / "ca" / "ca.pem")

    # -- time

    async def turn(self) -> None:
        """Let the homes poll and report, and do the market's work."""
        await asyncio.gather(*(self._speak(home) for home in self.homes))
        await self._seen()
        await self.worker.turn()

    async def _speak(self, home: Home) -> None:
        await home.poll()
        await home.report()

    async def until(self, when: datetime, step: timedelta = _STEP) -> None:
        """Let world time pass until then, step by step."""
        while self.now < when:
            self.clock.advance(to=min(self.now + step, when))
            await self.turn()

    async def later(self, minutes: int, step_min: int = 5) -> None:
        """Let some minutes of world time pass."""
        await self.until(self.now + timedelta(minutes=minutes), timedelta(minutes=step_min))

    async def _seen(self) -> None:
        """Note that all homes were heard of: the server writes that every few seconds of machine time only."""
        ours = ven_table.c.id.in_([one.ven_id for one in self.homes if one.answers is not None])
        async with self.vtn.db.write() as tx:
            await tx.conn.execute(update(ven_table).where(ours).values(last_seen_at=self.now))

    async def overnight(self, when: datetime) -> None:
        """Let it be another day: meanwhile the meters were read as ever."""
        await self._meter(Span(floor_to(self.now, 1800), floor_to(when, 1800)))
        self.clock.advance(to=when)
        for home in self.homes:
            home.reported_until, home.told_at = floor_to(when, 60), None
        await self.turn()

    async def _meter(self, span: Span) -> None:
        for home in self.homes:
            key = SeriesKey(home.ven_id, METER, Quantity.ENERGY_REAL, Kind.SUM)
            values = Values(int(span.start.timestamp()), 1800, history(home.number, span))
            async with self.vtn.db.write() as tx:
                await readings.store(tx, key, "Wh", values, self.now)

    # -- what happens

    async def draft(self, power_w: int, starts_in: timedelta, minutes: int = 60, comment: str | None = None) -> str:
        """Select homes for a power, as the wizard does; return the draft's id."""
        assert self.programme is not None
        wish = PoolOrder(self.programme.id, "reduce", self.now + starts_in, minutes * 60, power_w, comment=comment)
        return await dispatch_drafts.draft(self.vtn.db, wish, self.now, stale_after_s=_STALE_AFTER_S, who="dispatcher")

    async def statement(self) -> str:
        """Make the statement of the running month; return its id."""
        assert self.contract is not None
        async with self.vtn.db.write() as tx:
            made = await statements.make(tx, self.contract.id, f"{self.now:%Y-%m}", self.now, who="dispatcher")
        return made.id

    async def dispatch(self, power_w: int, starts_in: timedelta, minutes: int = 60, comment: str | None = None) -> str:
        """Order a power of the pool; return the dispatch's id."""
        draft = await self.draft(power_w, starts_in, minutes, comment)
        return await dispatch_drafts.confirm(
            self.vtn.db, draft, self.now, stale_after_s=_STALE_AFTER_S, who="dispatcher"
        )

    async def request(self, brp: BrpClient, power_w: int, starts_in: timedelta, minutes: int = 60) -> dict[str, Any]:
        """Let the BRP ask for a power."""
        assert self.contract is not None
        start = self.now + starts_in
        interval = {"start": start.isoformat(), "duration_s": minutes * 60, "min_w": 500, "max_w": power_w}
        body = {
            "contract_id": self.contract.id,
            "direction": "reduce",
            "intervals": [interval],
            "deadline": (start - timedelta(minutes=15)).isoformat(),
            "reason": "evening peak",
        }
        return dict(await brp.post("/flexibility-requests", body))

    async def accept(self, brp: BrpClient, request_id: str) -> dict[str, Any]:
        """Let the BRP take the fullest option of what is offered on its request."""
        found = await brp.get(f"/flexibility-requests/{request_id}")
        offer = await brp.get(f"/flexibility-offers/{found['offer_ids'][0]}")
        self.ids["offer"] = offer["id"]
        body = {"option_id": offer["options"][0]["id"], "activation_factor": 1}
        return dict(await brp.post(f"/flexibility-offers/{offer['id']}/acceptance", body))


@contextlib.asynccontextmanager
async def open_world(directory: Path, *, homes: Sequence[str] = NAMES) -> AsyncIterator[World]:
    """Start a VTN with a console; with homes also programme, BRP, tariff and what waits for an answer."""
    shape = Shape("127.0.0.1", 0, 0, poll_period="PT5M", report_back="PT5M", console_port=0)
    made = await prepare(directory / "vtn", ("127.0.0.1",), "evenload", shape)
    _simplify(made.settings)
    for name, role in (("dispatcher", "dispatcher"), ("viewer", "viewer")):
        await add_operator(made.settings, name, role, None)
    await set_password(made.settings, "admin", PASSWORD)
    clock = Hands(MONDAY)
    async with contextlib.AsyncExitStack() as stack:
        with patch.object(server, "clock_of", return_value=clock):
            vtn = await stack.enter_async_context(running(load_settings(made.settings)))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        worker = TradeWorker(vtn.db, clock, MarketSettings(_STALE_AFTER_S))
        world = World(vtn, clock, made.settings, worker, http)
        if homes:
            await _settle(world, homes)
        yield world


def _simplify(config: Path) -> None:
    """Let the VENs speak without TLS, so that a test can speak for them, and show times as in Berlin."""
    lines = config.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("certificates =", 'ca = "ca/'))]
    text = "\n".join(kept).replace("poll_period =", "insecure = true\npoll_period =", 1)
    text = text.replace("[console]", f'[console]\ntime_zone = "{ZONE.key}"', 1)
    config.write_text(f"{text}\n")


async def _settle(world: World, names: Sequence[str]) -> None:
    """Let homes move in, with a programme, groups, areas, a BRP with a contract, a tariff, and 20 days of readings."""
    now, db = world.now, world.vtn.db
    machine_now = datetime.now(UTC)
    parameters = Parameters(
        time_zone=ZONE.key,
        notification=Duration.of(minutes=10),
        product="evening reduction",
        limits=CallLimits(per_day=6, per_week=12, per_season=60),
        reward=Reward("EUR", "0.18", "0.05"),
        baseline="high5of10",
    )
    async with db.write() as tx:
        made = await programme.create(tx, "Evening peak", "http://grid.example/evening", parameters, now, who=_WHO)
        ven_ids = [await provisioning.create_ven(tx, name, now, who=_WHO) for name in names]
        await programme.enrol(tx, made.id, ven_ids, now, who=_WHO, consent_version="2026-01")
        group = await fleet.create_group(tx, "Heat pumps", now, who=_WHO)
        await fleet.add_to_group(tx, group.id, ven_ids[::2], now, who=_WHO)
        for number, ven_id in enumerate(ven_ids):
            await provisioning.add_fingerprint(tx, ven_id, fake_fingerprint(number), now, who=_WHO)
            await site.set_area(tx, [ven_id], "North" if number % 3 else "South", now, who=_WHO, time_zone=ZONE.key)
        lasting = {"not_after": machine_now + timedelta(days=700)}
        await tx.conn.execute(update(ven_certificate).values(**lasting))
        spare = await provisioning.create_ven(tx, "Tannenweg 6", now, who=_WHO)
        await provisioning.new_enrolment_code(tx, spare, machine_now, who=_WHO)
        long = await provisioning.create_ven(tx, LONG_NAME, now, who=_WHO)
        await provisioning.new_enrolment_code(tx, long, machine_now, who=_WHO)
        await fleet.add_to_group(tx, group.id, [long], now, who=_WHO)
        await provisioning.note_waiting(tx, STRANGER, LONG_SUBJECT, now)
        party_id = await brps.create(tx, "Balance & Co", now, who=_WHO, email="desk@brp.example")
        scopes = ["flex:read", "flex:request", "flex:order", "report:read", "tariff:read", "webhook:manage"]
        client, secret = await api_clients.create(
            tx, party_id, "trading desk", scopes, machine_now, who=_WHO, offered=SCOPES
        )
        limits = Limits(max_power_w=2_000_000, direct_orders=True, per_ven_rows=True)
        terms = ContractTerms(party_id, made.id, limits, Price("EUR", "0.20", "0.05", "0.40"))
        contract = await contracts.create(tx, terms, now, who=_WHO)
        world.ids["tariff"] = await _tariff(tx, now)
    world.programme, world.contract, world.client = made, contract, (client.id, secret)
    world.ids |= {"group": group.id, "brp": party_id, "spare": spare}
    url = world.vtn.openadr_url
    for number, (name, ven_id) in enumerate(zip(names, ven_ids, strict=True)):
        opt = OptType.OUT if number in _OUT else None if number in _SILENT else OptType.IN
        home = Home(number, name, ven_id, url, world.http, world.clock, opt, _WEAK.get(number, 1.0))
        world.homes.append(home)
    await asyncio.gather(*(home.join() for home in world.homes))
    begin = floor_to(now, 86400) - timedelta(days=_HISTORY_DAYS)
    await world._meter(Span(begin, floor_to(now, 1800)))
    for home in world.homes:
        home.reported_until = floor_to(now, 1800)
    await world.turn()


async def _tariff(tx: Any, now: datetime) -> str:
    new = NewTariff(tariffs.Kind.ELECTRICITY, "Day ahead, Berlin", "EUR", vat_included=True)
    made = await tariffs.create(tx, new, now, who=_WHO)
    hour, start = Duration.of(hours=1), floor_to(now, 86400)
    shape = (22, 21, 20, 20, 21, 24, 29, 34, 36, 33, 30, 28, 27, 26, 26, 28, 33, 39, 42, 40, 35, 30, 26, 24)
    prices = []
    for number in range(72):
        at = start + number * hour.timedelta()
        cents = shape[(at.hour + 1) % 24] + number % 5 * 0.4
        prices.append(TariffPrice(at, hour.after(at), f"{cents / 100:.4f}"))
    await tariffs.put_prices(tx, made.id, prices, now, who=_WHO, source=tariffs.Source.CONSOLE)
    return made.id


async def live_a_day(world: World) -> None:
    """Let Monday pass, with a dispatch and an activation that are over; on Tuesday one runs, and a BRP waits.

    Ids: `done` and `running` are dispatches, `activation` is over, `asked` is a request, `offer` its offer.
    """
    now = world.now
    world.ids["done"] = await world.dispatch(6000, timedelta(minutes=30), comment="Thank you for helping the grid.")
    async with world.brp() as brp:
        first = await world.request(brp, 5000, timedelta(hours=2))
        await world.later(1)
        activation = await world.accept(brp, first["id"])
        world.ids["activation"] = activation["id"]
        await world.later(2)
        await world.until(now + timedelta(hours=3, minutes=15))
        result = await evaluation.evaluate(world.vtn.db, world.ids["done"], world.now)
        world.ids["called"] = result.vens[0].ven_id
        await world.overnight(TUESDAY)
        world.ids["running"] = await world.dispatch(6000, timedelta(minutes=15), 90)
        await world.later(2)
        await world.until(TUESDAY + timedelta(minutes=20))
        asked = await world.request(brp, 4000, timedelta(hours=4))
        world.ids["asked"] = asked["id"]
        await world.turn()
        found = await brp.get(f"/flexibility-requests/{asked['id']}")
        world.ids["offer"] = found["offer_ids"][0]
        await world.until(TUESDAY + timedelta(minutes=47), timedelta(minutes=9))
        second = await world.request(brp, 3000, timedelta(hours=6))
        world.ids["waiting"] = second["id"]
        settlements = await brp.all("/settlements", {"activation_id": world.ids["activation"]})
        world.ids["settlement"] = settlements[0]["id"]
        world.ids["statement"] = await world.statement()
    world.ids["next"] = await world.dispatch(3000, timedelta(hours=3))
    world.ids["draft"] = await world.draft(3000, timedelta(hours=5))
    async with world.vtn.db.read() as conn:
        (line,) = await message_log.listing(conn, LogFilter(world.homes[0].ven_id), limit=1)
    world.ids["message"] = line.id
