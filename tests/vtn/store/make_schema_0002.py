"""Made schema_0002.sqlite.sql and schema_0002.postgresql.sql: small databases of schema 0002, written by its own code.

It ran, once, on commit 9897552, the last one of that schema. To run it again, have `pg_dump` on the path and name an
empty PostgreSQL database (OLD is a checkout of that commit):

    PYTHONPATH=OLD:OLD/tests python tests/vtn/store/make_schema_0002.py postgresql://...

Names, keys and certificates in it are made up. There is something in it for every migration to work on.
"""

import asyncio
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from unittest import mock

from aggregator.buyers import webhooks
from aggregator.outgoing import Guard
from aggregator.tariff import tariff_source, tariffs
from aggregator.tariff.price_mapping import Mapping
from aggregator.trade import contracts, requests
from aggregator.trade.contracts import ContractTerms, Limits, Price
from aggregator.trade.requests import Need, NeedInterval
from aggregator.work import Market, MarketSettings
from core.spans import Duration
from openadr.model.opt import Availability, Opt, OptType
from openadr.model.report import ReportDescription, ReportOffer, ReportRequest, SamplingRate
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W
from openadr.v20b.messages import CancelOpt, CreateOpt
from support.vtn_world import HOUR, MINUTE, NOON, Ven, World, data, simple, usage, world_on
from vtn.services import enrolment, participation, report, site
from vtn.services.programme import Programme
from vtn.store import Database
from vtn.store.readings import SeriesKey, Values, store

UNITS = {"Wh": ENERGY_REAL_WH, "W": POWER_REAL_W}
LINES = (
    ("home/energy", "home", "Wh", "usage"),
    ("home/power", "home", "W", "usage"),
    ("home/target", "home", "W", "setPoint"),
    ("exp", "roof", "Wh", "usage"),
)
SETTINGS = MarketSettings(300.0, report_after=timedelta(minutes=10), final_after=timedelta(days=1))


def offer(specifier: str, name: str) -> ReportOffer:
    """Return an offer in which two data points of one resource have one unit, and one data point is an export."""
    lines = tuple(
        ReportDescription(
            r_id,
            report_type,
            "Direct Read",
            Target(resource_ids=(resource,)),
            item_base=UNITS[unit],
            sampling=SamplingRate(MINUTE, HOUR) if name.startswith("TELEMETRY") else None,
        )
        for r_id, resource, unit, report_type in LINES
    )
    return ReportOffer(specifier, name, HOUR, lines, NOON)


async def readings(world: World, home: Ven) -> None:
    """Let a home report one hour of each of its data points, two of which are one series; and a file say one more."""
    await home.offer(offer("usage", "TELEMETRY_USAGE"), offer("past", "HISTORY_USAGE"))
    wanted = ReportRequest("wanted", "usage", tuple(r_id for r_id, *_ in LINES), HOUR, HOUR, NOON, Duration())
    async with world.tx() as tx:
        await report.request(tx, home.ven_id, wanted, NOON, who="ann")
    await home.drain()
    start = NOON - timedelta(hours=1)
    for r_id, value in (("home/energy", 1.0), ("home/target", 9.0), ("home/power", 2.0), ("exp", 3.0)):
        await home.report(data(wanted, start, value, step=HOUR, r_id=r_id))
    shed = SeriesKey(home.ven_id, "shed", "energy_real", "sum", "meter file")
    async with world.tx() as tx:
        await store(tx, shed, "Wh", Values(int(start.timestamp()), 3600, (4.0,)), NOON)
        await site.set_site(
            tx, home.ven_id, time_zone="Europe/Berlin", area="north", metering_point=None, now=NOON, who="ann"
        )


async def opts(home: Ven) -> None:
    """Let a home say when it takes no part: two schedules, one of which it cancels."""
    for opt_id, days in (("holiday", 3), ("guests", 9)):
        when = (Availability(NOON + timedelta(days=days), HOUR),)
        said = Opt(opt_id, OptType.OUT, "notParticipating", NOON, availability=when)
        await home.say(CreateOpt(home.ven_id, "q", said))
    await home.say(CancelOpt(home.ven_id, "q", "guests"))


async def dispatches(world: World, rules: Programme, home: Ven, other: Ven) -> None:
    """Call both homes three times: with a result, without one, and for a mere signal, which never has one."""
    for evaluated, order in ((True, {}), (False, {}), (False, {"direction": None, "signals": (simple(1.0),)})):
        dispatch_id = await world.dispatch(home, other, under=rules, **order)
        for one, opt_type in ((home, OptType.IN), (other, OptType.OUT)):
            for event in await one.events():
                await one.opt(event, opt_type)
        world.later(hours=3)
        if evaluated:
            await participation.evaluate(world.db, dispatch_id, world.now)


async def trade(world: World, rules: Programme) -> None:
    """Let a BRP ask for more than there is, be told elsewhere, and an operator fetch prices."""
    start = world.now + timedelta(hours=2)
    wish = Need("reduce", (NeedInterval(start, 900, 1000, 4000),), world.now + timedelta(minutes=30))
    guard, hook = Guard(), "https://balance.example/hook"
    async with world.tx() as tx:
        party = await contracts.create_brp(tx, "Balance & Co", world.now, who="ann", email="desk@balance.example")
        terms = ContractTerms(party, rules.id, Limits(), Price("EUR", "0.20", "0.10", "0.40"))
        contract = await contracts.create(tx, terms, world.now, who="ann")
        await requests.create(tx, contract.id, wish, world.now, who="brp", party_id=party)
        with mock.patch("secrets.token_bytes", bytes):  # no secret, not even one that nobody uses
            made, _ = await webhooks.subscribe(tx, party, f"{hook}?key=made-up", (), world.now, who="brp", guard=guard)
        await webhooks.change(tx, made.id, hook, ("request.*",), world.now, who="brp", guard=guard)
        new = tariffs.NewTariff(tariffs.Kind.NETWORK, "Grid", "EUR", vat_included=True)
        tariff = await tariffs.create(tx, new, world.now, who="ann")
        where = Mapping("/from", "/price", step=Duration.of(hours=1))
        for key in ("made-up", "made-up-too"):
            url = f"https://prices.example/v1?securityToken={key}"
            await tariff_source.put_source(tx, tariff.id, url, where, 3600, world.now, who="ann")
    await Market(world.db, world.clock, SETTINGS).turn()


async def fill(url: str) -> None:
    """Make a database, and let there be a fleet, readings, calls and a trade."""
    async with world_on(await Database.open(url)) as world:
        home, other = await world.ven("Mill Lane 1"), await world.ven("Mill Lane 2")
        gone = await world.ven("Old Barn")
        await readings(world, home)
        await other.offer(usage("meter"))
        await opts(home)
        rules = await world.programme(home, other, gone)
        await dispatches(world, rules, home, other)
        await trade(world, rules)
        async with world.tx() as tx:
            await enrolment.remove_ven(tx, gone.ven_id, world.now, who="ann")


def short(statements: Iterable[str]) -> str:
    """Return statements, one a line, without their line breaks and indentation."""
    return "".join(re.sub(r"\s+", " ", one).strip() + "\n" for one in statements)


def sqlite() -> str:
    """Return what makes the SQLite database."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "vtn.db"
        asyncio.run(fill(f"sqlite:///{path}"))
        connection = sqlite3.connect(path)
        try:
            return short(connection.iterdump())
        finally:
            connection.close()


def postgresql(url: str) -> str:
    """Return what makes the PostgreSQL database."""
    asyncio.run(fill(url))
    how = ("--no-owner", "--no-privileges", "--column-inserts")
    text = subprocess.run(["pg_dump", *how, url], check=True, capture_output=True, text=True).stdout
    # Without the settings, which only some versions know, and the commands for psql.
    lines = [line for line in text.splitlines() if not line.startswith(("--", "SET ", "\\"))]
    statements = re.findall(r"\S.*?;$", "\n".join(lines), re.DOTALL | re.MULTILINE)
    return short(one for one in statements if "set_config(" not in one)


if __name__ == "__main__":
    here = Path(__file__).parent
    (here / "schema_0002.sqlite.sql").write_text(sqlite(), encoding="utf-8")
    (here / "schema_0002.postgresql.sql").write_text(postgresql(sys.argv[1]), encoding="utf-8")
