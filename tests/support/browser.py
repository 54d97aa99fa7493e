"""People with a browser, for tests of the console: every page that they get is held against its promises."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp.test_utils import TestClient
from lxml import html

from support.vtn_world import World
from vtn.services import principals, sessions
from web.auth import Principal, Role

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "دار الزيتون", "🏠 Ωmega & sons")


@dataclass
class Machine:
    """Machine time that a test can move."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def utcnow(self) -> datetime:
        return self.now

    def later(self, **parts: float) -> None:
        self.now += timedelta(**parts)


class Page:
    """A page as a browser has it."""

    def __init__(self, status: int, text: str, headers: Any) -> None:
        self.status = status
        self.text = text
        self.headers = headers
        self.root = html.fromstring(text) if text else None

    def texts(self, path: str) -> list[str]:
        """Return the texts of the elements that an XPath finds, blanks reduced."""
        return [" ".join(one.text_content().split()) for one in self.root.xpath(path)]

    @property
    def main(self) -> str:
        return self.texts("//main")[0]

    @property
    def title(self) -> str:
        return self.texts("//h1")[0]

    def value(self, name: str) -> str | None:
        """Return what a field shows: also of a text area or a select."""
        (one,) = self.root.xpath(f"//*[@name='{name}' and (self::input or self::select or self::textarea)]")
        if one.tag == "select":
            chosen = one.xpath("option[@selected]") or one.xpath("option")
            return chosen[0].get("value", chosen[0].text)
        return one.text.removeprefix("\n") if one.tag == "textarea" else one.get("value")

    def fault(self, name: str) -> str:
        """Return what is said beside a field."""
        (one,) = self.root.xpath(f"//*[@name='{name}']")
        ids = (one.get("aria-describedby") or "").split()
        assert one.get("aria-invalid") == "true", f"{name} is not marked"
        return " ".join(self.texts(" | ".join(f"//*[@id='{each}']" for each in ids)))


class Browser:
    """One person's browser. Pages must be safe and complete whatever they show."""

    def __init__(self, console: "Console", token: str | None, csrf: str) -> None:
        self.console = console
        self.token = token
        self.csrf = csrf
        self.notice: str | None = None

    def cookies(self) -> dict[str, str]:
        mine = {"evenload-session": self.token, "evenload-notice": self.notice}
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in mine.items() if value)}

    async def get(self, path: str, status: int = 200, **headers: str) -> Page:
        client = self.console.client
        async with client.get(path, headers=self.cookies() | headers, allow_redirects=False) as answer:
            page = await self._read(answer, status)
        if page.root is not None and answer.content_type == "text/html":
            _check_page(page)
        return page

    async def post(self, path: str, status: int = 303, /, **fields: Any) -> Page:
        """Send a form with the session's secret from one of our pages. `a__b` stands for `a.b`; lists repeat."""
        data = [("csrf", self.csrf)]
        for name, value in fields.items():
            plain = name.replace("__", ".")
            data += [(f"{plain}[]", one) for one in value] if isinstance(value, list) else [(plain, str(value))]
        return await self.send(path, status, data)

    async def send(self, path: str, status: int, data: Any, **headers: str) -> Page:
        client = self.console.client
        origin = {"Origin": f"http://127.0.0.1:{client.port}"}
        sent = self.cookies() | origin | headers
        async with client.post(path, data=data, headers=sent, allow_redirects=False) as answer:
            page = await self._read(answer, status)
        if status == 422:
            _check_faults(page, path)
        if "evenload-notice" in answer.cookies:
            self.notice = answer.cookies["evenload-notice"].value
        return page

    async def follow(self, answer: Page) -> Page:
        """Go where an answer says, and see there what was done."""
        page = await self.get(answer.headers["Location"])
        self.notice = None
        return page

    async def _read(self, answer: Any, status: int) -> Page:
        text = await answer.text()
        assert answer.status == status, f"{answer.status}: {re.sub('<[^>]+>', ' ', text)[:2000]}"
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        return Page(answer.status, text, answer.headers)


def _check_page(page: Page) -> None:
    """Hold a page against what every page promises."""
    root = page.root
    assert not root.xpath("//@style | //@onclick | //@onerror | //@onload"), "inline style or script"
    assert not root.xpath("//style | //script[not(@src) and @type != 'application/json'] | //script[not(@src | @type)]")
    assert len(root.xpath("//h1")) == 1
    assert root.xpath("//main[@id='main']")
    ids = root.xpath("//@id")
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    for form in root.xpath("//form[@method='post']"):
        if form.get("action") != "/login" and not form.get("action").startswith("/link/"):
            assert form.xpath(".//input[@name='csrf' and string-length(@value) > 20]"), form.get("action")
    for one in root.xpath("//input[not(@type='hidden')] | //select | //textarea"):
        labelled = (
            one.get("aria-label") or one.xpath("ancestor::label") or root.xpath(f"//label[@for='{one.get('id')}']")
        )
        assert labelled or one.get("hidden") is not None, html.tostring(one)
    for hostile in HOSTILE[:2]:
        assert hostile not in page.text


def _check_faults(page: Page, path: str) -> None:
    """Hold a form that came back against what it promises: what is wrong stands in the one that was sent."""
    _check_page(page)
    faulty = "//form[.//*[@role='alert'] or .//*[contains(@class, 'fault')] or .//*[@aria-invalid]]/@action"
    assert set(page.root.xpath(faulty)) <= {path.partition("?")[0]}
    assert page.root.xpath("//*[@role='alert']"), "nobody says what is wrong"
    linked = [one.removeprefix("#") for one in page.root.xpath("//*[@role='alert']//a/@href")]
    assert set(linked) <= set(page.root.xpath("//@id")), linked


@dataclass
class Console:
    """A console with its world and machine time."""

    client: TestClient
    world: World
    machine: Machine
    shell: Any
    browsers: dict[str, Browser] = field(default_factory=dict)

    @property
    def admin(self) -> Browser:
        return self.browsers["admin"]

    @property
    def dispatcher(self) -> Browser:
        return self.browsers["dispatcher"]

    @property
    def viewer(self) -> Browser:
        return self.browsers["viewer"]

    @property
    def stranger(self) -> Browser:
        return Browser(self, None, "")

    async def browser(self, name: str) -> Browser:
        """Sign a principal in, without the form."""
        now = self.machine.now
        async with self.world.tx() as tx:
            one = await principals.named(tx.conn, name)
            who = Principal(one.id, one.name, Role(one.role))
            token = await sessions.begin(tx, who, now, self.world.now, how="test")
            found = await sessions.find(tx.conn, token, now)
        assert found is not None
        return Browser(self, token, found.csrf)

    async def audited(self, *actions: str, who: str = "admin", since: int) -> None:
        """Expect just these actions in the audit since a row."""
        rows = [row for row in await self.world.rows("audit") if row.id > since]
        assert sorted(row.action for row in rows) == sorted(actions)
        assert {row.who for row in rows} <= {who}

    async def last_audit(self) -> int:
        rows = await self.world.rows("audit")
        return rows[-1].id if rows else 0
