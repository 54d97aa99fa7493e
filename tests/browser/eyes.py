"""A browser page under observation: what it says, breaks, hides or leaves out is noted as a finding."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Response
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
_GRAVE: Final = {"serious", "critical"}
_AXE: Final = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
_CALM_MS: Final = 20_000
_ALIKE: Final = {"exclude": [["tbody tr:nth-child(n+9)"], ["datalist"]]}
"""Left out of what axe looks at: later rows of a table are as the first ones."""
_TELL_VIOLATIONS: Final = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
_UNREST: Final = """() => document.readyState === "complete"
  && !document.querySelector("[data-chart] .loading")
  && [...document.querySelectorAll("[data-chart]")].every(
    (one) => (one.closest("figure") ?? one).querySelector(".empty") || one.querySelector("canvas")?.width)"""
_SPILT: Final = r"""() => {
  const wide = document.documentElement.scrollWidth, room = document.documentElement.clientWidth, found = [];
  if (wide > room) {
    const spills = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > room + 1
      && !one.closest(".scroll, pre"));
    const shown = spills.slice(0, 3).map((one) => one.outerHTML.slice(0, 120));
    found.push(`is ${wide} px wide in ${room}: ` + shown.join(" | "));
  }
  for (const one of document.querySelectorAll("main table")) {
    if (one.closest(".scroll, details:not([open])")) continue;
    const card = one.closest(".sheet, figure, .notice, .panel") ?? document.querySelector("main");
    const style = getComputedStyle(card), edge = card.getBoundingClientRect().right - parseFloat(style.paddingRight);
    const right = one.getBoundingClientRect().right;
    if (right > edge + 1) found.push(`table "${one.innerText.slice(0, 60)}" leaves its card by ${right - edge} px`);
  }
  for (const one of document.querySelectorAll("[data-chart]")) {
    const canvas = one.querySelector("canvas")?.getBoundingClientRect(), box = one.getBoundingClientRect();
    if (canvas && box.width && (canvas.right > box.right + 1 || canvas.left < box.left - 1))
      found.push(`chart ${one.dataset.chart} is clipped: ${canvas.width} px in ${box.width}`);
  }
  for (const one of document.querySelectorAll("main .stat dd")) {
    if (one.scrollWidth > one.clientWidth + 1) found.push(`figure "${one.innerText}" leaves its tile`);
  }
  for (const one of document.querySelectorAll("main table bdi")) {
    const text = one.firstChild, range = document.createRange();
    if (text?.nodeType !== Node.TEXT_NODE || !one.getClientRects().length) continue;
    for (const word of text.data.matchAll(/[^\s-]{1,16}(?![^\s-])-?/g)) {
      if (/[^\s-]/.test(text.data[word.index - 1] ?? " ")) continue; // the end of a longer one
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((line) => Math.round(line.top))).size > 1)
        found.push(`"${word[0]}" of "${text.data}" is broken in two`);
    }
  }
  const pen = document.createElement("canvas").getContext("2d");
  for (const one of document.querySelectorAll("main select:not([multiple])")) {
    if (one.closest("details:not([open])")) continue;
    const style = getComputedStyle(one), shown = one.selectedOptions[0]?.text ?? "", arrow = 20;
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const room = one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - arrow;
    if (one.clientWidth && pen.measureText(shown).width > room + 1) found.push(`choice "${shown}" is cut off`);
  }
  for (const one of document.querySelectorAll("details.confirm:not([open])")) {
    one.open = true;
    const panel = one.querySelector(".panel").getBoundingClientRect();
    if (panel.width && (panel.right > room || panel.left < 0))
      found.push(`question of "${one.querySelector("summary").innerText}" is cut off: ${panel.left} to ${panel.right}`);
    one.open = false;
  }
  return found;
}"""


@dataclass(frozen=True)
class Look:
    """A screen and its colours."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]
    phone: bool = False


DESKTOP: Final = Look("desktop", 1280, 800, "light")
NARROW: Final = 320
PHONE: Final = Look("phone", 390, 844, "dark", phone=True)


@dataclass
class Eyes:
    """One page of a browser, and everything found wrong on it. `wanted`: statuses of answers that a test asks for."""

    page: Page
    url: str
    findings: list[str] = field(default_factory=list)
    wanted: set[int] = field(default_factory=set)
    _axe: Axe = field(default_factory=Axe)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self._note(f"page error: {error}"))
        self.page.on("response", self._answered)

    def _note(self, text: str) -> None:
        self.findings.append(f"{self.page.url.removeprefix(self.url)}: {text}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        if any(f"status of {one} " in message.text for one in self.wanted):
            return
        self._note(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _answered(self, answer: Response) -> None:
        if answer.status >= 400 and answer.status not in self.wanted:
            self._note(f"{answer.status} for {answer.request.method} {answer.url.removeprefix(self.url)}")

    # -- going about

    async def go(self, path: str) -> None:
        """Open an address of the console."""
        await self.page.goto(self.url + path.removeprefix(self.url))
        await self.calm()

    async def calm(self) -> None:
        """Wait until everything is there, the charts included."""
        try:
            await self.page.wait_for_function(_UNREST, timeout=_CALM_MS)
        except PlaywrightTimeoutError:
            self._note("it never comes to rest: is a chart not drawn?")

    async def press(self, name: str, *, exact: bool = False) -> None:
        """Press a button of the page and wait for what comes."""
        async with self.page.expect_navigation():
            await self.page.get_by_role("button", name=name, exact=exact).first.click()
        await self.calm()

    async def follow(self, name: str, within: str = "main") -> None:
        """Follow a link."""
        async with self.page.expect_navigation():
            await self.page.locator(within).get_by_role("link", name=name).first.click()
        await self.calm()

    async def fill(self, **fields: str) -> None:
        """Fill fields by their names (`a__b` is `a.b`)."""
        for name, value in fields.items():
            place = self.page.locator(f'main [name="{name.replace("__", ".")}"]').first
            if await place.evaluate("one => one.tagName") == "SELECT":
                await place.select_option(value)
            else:
                await place.fill(value)

    async def value(self, name: str) -> str:
        """Return what a field holds."""
        return await self.page.locator(f'main [name="{name}"]').first.input_value()

    async def text(self, place: str = "main") -> str:
        """Return what is to be read at a place, blanks reduced."""
        return " ".join((await self.page.locator(place).first.inner_text()).split())

    async def heading(self) -> str:
        return await self.text("h1")

    @property
    def path(self) -> str:
        return self.page.url.removeprefix(self.url)

    async def becomes(self, place: str, words: str) -> None:
        """Wait until an element says something, without a reload."""
        script = "([place, words]) => document.querySelector(place)?.innerText.includes(words)"
        await self.page.wait_for_function(script, arg=[place, words], timeout=_CALM_MS)

    # -- judging

    async def judge(self) -> None:
        """Hold what is on the screen against accessibility rules, and look for what does not fit."""
        for text in await self.page.evaluate(_SPILT):
            self._note(text)
        await self._judge_narrow()
        results = await self._axe.run(self.page, _ALIKE, _AXE)
        for one in results.response["violations"]:
            if one["impact"] in _GRAVE:
                places = "; ".join(f"{node['target']} {_why(node)}" for node in one["nodes"][:3])
                self._note(f"axe {one['id']} ({one['impact']}): {places}")

    async def _judge_narrow(self) -> None:
        """Look for what does not fit on the narrowest screen that counts (WCAG 1.4.10, reflow)."""
        size = self.page.viewport_size
        assert size is not None
        await self.page.set_viewport_size({"width": NARROW, "height": size["height"]})
        for text in await self.page.evaluate(_SPILT):
            if not text.startswith(("chart ", "choice ")):  # charts are drawn anew only later, choices open
                self._note(f"at {NARROW} px: {text}")
        await self.page.set_viewport_size(size)

    async def visit(self, *paths: str) -> None:
        """Open addresses and judge each."""
        for path in paths:
            await self.go(path)
            await self.judge()

    async def judge_with(self, other: "Eyes") -> None:
        """Judge this page, and how it looks in another window."""
        await asyncio.gather(self.judge(), other.visit(self.path))

    def content(self) -> None:
        """Fail with everything that was found."""
        assert not self.findings, "\n".join(dict.fromkeys(self.findings))


def _why(node: dict[str, Any]) -> str:
    return " ".join(node["failureSummary"].split())[:240]


@asynccontextmanager
async def looking(browser: Browser, url: str, look: Look = DESKTOP, **more: Any) -> AsyncIterator[Eyes]:
    """Open a fresh window of a look."""
    context = await _context(browser, look, **more)
    try:
        yield Eyes(await context.new_page(), url)
    finally:
        await context.close()


async def _context(browser: Browser, look: Look, **more: Any) -> BrowserContext:
    context = await browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
        is_mobile=look.phone,
        has_touch=look.phone,
        locale="en-GB",
        **more,
    )
    await context.add_init_script(_TELL_VIOLATIONS)
    return context
