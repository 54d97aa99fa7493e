"""The market's console pages on a VTN in memory, with homes, a BRP and people with a browser."""

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient
from lxml import html
from sqlalchemy import update

from aggregator.console import SECTION, share_reckoning
from aggregator.keys import SALES
from aggregator.trade import activations, offers, requests
from aggregator.trade.requests import Need, NeedInterval
from aggregator.trade.sales import Sales
from aggregator.trade.worker import MarketSettings, TradeWorker
from support import market_homes
from support.market_homes import Homes
from support.vtn_world import NOON, World, migrated_sqlite, open_copy, world_on
from vtn.api import Desk
from vtn.console import Section, make_console
from vtn.services import principals, sessions
from vtn.store import Database
from vtn.store.tables import ven as ven_table
from web.auth import Principal, Role

STALE_AFTER_S = 3600.0
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>')
NAMES = (*(f"home {number:02d}" for number in range(1, 11)), *HOSTILE)


class Page:
    """A page as a browser has it."""

    def __init__(self, status: int, text: str, headers: Any) -> None:
        self.status, self.text, self.headers = status, text, headers
        self.root = html.fromstring(text) if text.lstrip().startswith("<!doctype") else None

    def texts(self, path: str) -> list[str]:
        return [" ".join(one.text_content().split()) for one in self.root.xpath(path)]

    @property
    def main(self) -> str:
        return self.texts("//main")[0]

    def hrefs(self, start: str) -> list[str]:
        return [one for one in self.root.xpath("//a/@href") if one.startswith(start)]

    def value(self, name: str) -> str | None:
        (one,) = self.root.xpath(f"//form[not(@role='search')]//*[@name='{name}' and not(@type='hidden')]")
        if one.tag == "select":
            chosen = one.xpath("option[@selected]") or one.xpath("option")
            return chosen[0].get("value")
        return one.text.strip() if one.tag == "textarea" else one.get("value")

    def hidden(self, name: str) -> list[str]:
        return self.root.xpath(f"//input[@type='hidden' and @name='{name}']/@value")

    def fault(self, name: str) -> str:
        (one,) = self.root.xpath(f"//*[@name='{name}' and @aria-invalid='true']")
        ids = (one.get("aria-describedby") or "").split()
        return " ".join(self.texts(" | ".join(f"//*[@id='{each}']" for each in ids)))

    def stat(self, label: str) -> str:
        (text,) = self.texts(f"//div[contains(@class, 'stat')][dt='{label}']/dd[1]")
        return text


@dataclass
class Browser:
    """One person's browser; every page is held against what all pages promise."""

    client: TestClient
    token: str | None
    csrf: str
    notice: str | None = None

    def _cookies(self) -> dict[str, str]:
        mine = {"evenload-session": self.token, "evenload-notice": self.notice}
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in mine.items() if value)}

    async def get(self, path: str, status: int = 200, **headers: str) -> Page:
        async with self.client.get(path, headers=self._cookies() | headers, allow_redirects=False) as answer:
            page = Page(answer.status, await answer.text(), answer.headers)
        self.notice = None
        assert page.status == status, f"{path}: {page.status}: {re.sub('<[^>]+>', ' ', page.text)[-1500:]}"
        if page.root is not None:
            check_page(page)
        return page

    async def post(self, path: str, status: int = 303, /, *, csrf: str | None = None, **fields: Any) -> Page:
        """Send a form. `a__b` stands for `a.b`; lists repeat as `name[]`."""
        data = [("csrf", self.csrf if csrf is None else csrf)]
        for name, value in fields.items():
            plain = name.replace("__", ".")
            data += [(f"{plain}[]", one) for one in value] if isinstance(value, list) else [(plain, str(value))]
        headers = self._cookies() | {"Origin": f"http://127.0.0.1:{self.client.port}"}
        async with self.client.post(path, data=data, headers=headers, allow_redirects=False) as answer:
            page = Page(answer.status, await answer.text(), answer.headers)
            if "evenload-notice" in answer.cookies:
                self.notice = answer.cookies["evenload-notice"].value
        assert page.status == status, f"{path}: {page.status}: {re.sub('<[^>]+>', ' ', page.text)[-1500:]}"
        return page

    async def follow(self, answer: Page, status: int = 200) -> Page:
        return await self.get(answer.headers["Location"].partition("#")[0], status)


def check_page(page: Page) -> None:
    """Nothing inline, one heading, ids once, labels everywhere, secrets in every form, hostile names escaped."""
    root = page.root
    assert not root.xpath("//@style | //@onclick | //@onerror | //@onload | //style")
    assert not root.xpath("//script[not(@src) and not(@type='application/json')]")
    assert len(root.xpath("//h1")) == 1
    ids = root.xpath("//@id")
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    for form in root.xpath("//form[@method='post']"):
        assert form.xpath(".//input[@name='csrf' and string-length(@value) > 20]"), form.get("action")
    for one in root.xpath("//input[not(@type='hidden')] | //select | //textarea"):
        named = one.get("aria-label") or one.xpath("ancestor::label")
        assert named or root.xpath(f"//label[@for='{one.get('id')}']"), html.tostring(one)
    for hostile in HOSTILE:
        assert hostile not in re.sub(r'<script type="application/json".*?</script>', "", page.text, flags=re.DOTALL)


@dataclass
class Desks:
    """A console with its market; world time moves when the test says so."""

    client: TestClient
    world: World
    homes: Homes
    worker: TradeWorker
    people: dict[str, Browser] = field(default_factory=dict)

    @property
    def admin(self) -> Browser:
        return self.people["admin"]

    @property
    def dispatcher(self) -> Browser:
        return self.people["dispatcher"]

    @property
    def viewer(self) -> Browser:
        return self.people["viewer"]

    @property
    def now(self) -> datetime:
        return self.world.now

    def local(self, when: datetime) -> str:
        """Return a time as forms of the programme (UTC) have it."""
        return when.strftime("%Y-%m-%dT%H:%M")

    async def at(self, when: datetime, *, turns: int = 1) -> None:
        """Let it be that time, with all homes online, and do the market's work."""
        self.world.clock.advance(to=when)
        async with self.world.tx() as tx:
            ours = ven_table.c.id.in_(self.homes.ven_ids)
            await tx.conn.execute(update(ven_table).where(ours).values(last_seen_at=self.now))
        for _ in range(turns):
            await self.worker.turn()

    async def actions(self, since: int) -> list[tuple[str, str]]:
        """Return (who, action) of the audit since a row."""
        return [(row.who, row.action) for row in await self.world.rows("audit") if row.id > since]

    async def last(self) -> int:
        return (await self.world.rows("audit"))[-1].id

    async def draft(self, power: str = "4", *, starts_in: timedelta = timedelta(hours=1), minutes: int = 60) -> str:
        """Order a power and return the address of the draft."""
        answer = await self.dispatcher.post(
            "/dispatches/new/selection",
            programme_id=self.homes.programme.id,
            kind="target",
            start=self.local(self.now + starts_in),
            minutes=minutes,
            direction="reduce",
            power=power,
        )
        address = answer.headers["Location"]
        assert address.startswith("/dispatches/drafts/"), address
        return address

    async def ordered(self, power: str = "4", **more: Any) -> str:
        """Draft and confirm; return the dispatch's id."""
        answer = await self.dispatcher.post(f"{await self.draft(power, **more)}/confirmation")
        return answer.headers["Location"].rpartition("/")[2]

    async def request(self, **more: Any) -> str:
        """Let the BRP ask for an hour of 1 to 4 kW in an hour."""
        start = self.now + timedelta(hours=1)
        steps = tuple(NeedInterval(start + n * timedelta(minutes=15), 900, 1000, 4000) for n in range(4))
        wish = Need("reduce", steps, self.now + timedelta(minutes=30), **more)
        async with self.world.tx() as tx:
            return await requests.create(tx, self.homes.contract.id, wish, self.now, who="brp")

    async def bought(self) -> activations.Activation:
        """Let the BRP ask, be offered, accept; return the activation, with its homes called."""
        request_id = await self.request()
        await self.worker.turn()
        async with self.world.tx() as tx:
            found = await requests.get(tx.conn, request_id)
            activation_id = await offers.accept(tx, found.offer_ids[0], "full", self.now, who="brp")
        await self.worker.turn()
        async with self.world.db.read() as conn:
            return await activations.get(conn, activation_id)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Homes]:
    """A database with the homes and their past, and what they are: seeding one takes longer than copying it."""
    path = migrated_sqlite(tmp_path_factory.mktemp("seeded") / "vtn.db")

    async def seed() -> Homes:
        database = await Database.open(f"sqlite:///{path}")
        try:
            return await market_homes.seed(database, NOON, NAMES)
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as pool:  # a loop of its own: the test may have one already
        return path, pool.submit(asyncio.run, seed()).result()


@pytest.fixture
def sections() -> tuple[Section, ...]:
    """Sections of the console; tests that need more have a fixture of this name."""
    return (SECTION,)


@pytest.fixture
async def market(
    tmp_path: Path, aiohttp_client: Any, seeded: tuple[Path, Homes], sections: tuple[Section, ...]
) -> AsyncIterator[Desks]:
    template, homes = seeded
    async with world_on(open_copy(template, tmp_path / "vtn.db")) as world:
        desk = Desk(world.db, world.clock, world.settings, "https://vtn.example/OpenADR2", None, STALE_AFTER_S)
        app = make_console(
            desk, hosts={"127.0.0.1", "localhost"}, cache=tmp_path / "cache", secure=False, sections=sections
        )
        share_reckoning(app)
        app[SALES] = Sales(world.db, world.clock, stale_after_s=STALE_AFTER_S)
        client = await aiohttp_client(app, cookie_jar=DummyCookieJar())  # each browser has its own
        worker = TradeWorker(world.db, world.clock, MarketSettings(STALE_AFTER_S))
        made = Desks(client, world, homes, worker)
        machine_now = datetime.now(UTC)
        for role in (Role.ADMIN, Role.DISPATCHER, Role.VIEWER):
            async with world.tx() as tx:
                await principals.create(tx, role.value, role, machine_now, who="test")
                one = await principals.named(tx.conn, role.value)
                who = Principal(one.id, one.name, role)
                token = await sessions.begin(tx, who, machine_now, world.now, how="test")
                found = await sessions.find(tx.conn, token, machine_now)
            assert found is not None
            made.people[role.value] = Browser(client, token, found.csrf)
        yield made
