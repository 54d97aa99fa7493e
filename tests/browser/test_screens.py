"""Every screen of the console in a real browser, on a desk in light and on a phone in dark."""

import asyncio
import re
from datetime import timedelta

import pytest
from browser.eyes import DESKTOP, PHONE, Look, looking
from browser.world import World
from playwright.async_api import Browser

from evenload.console import SECTIONS
from vtn.console import all_pages

pytestmark = pytest.mark.asyncio(loop_scope="session")
_OTHERS = {
    "/login",  # test_signing_in
    "/link/{token}",
    "/dispatches/{dispatch_id}/stream",  # no page: what a live page listens to
    "/dispatches/{dispatch_id}/result.json",  # files to take away
    "/dispatches/{dispatch_id}/result.csv",
    "/dispatches/{dispatch_id}/result/vens/{ven_id}/report.pdf",
    "/market/activations/{activation_id}/report.csv",
    "/market/statements/{statement_id}/statement.csv",
    "/market/statements/{statement_id}/statement.pdf",
    "/programmes/{programme_id}/season.csv",
    "/programmes/{programme_id}/season/vens.csv",
    "/fleet/{ven_id}/message-record",
    "/fleet/{ven_id}/test/{request_id}",  # test_stories
    "/ca.pem",  # a file to take away: tests/vtn/console/test_pages.py
}


def _screens(world: World) -> list[str]:
    ids, home = world.ids, world.homes[0].ven_id
    programme, contract = world.programme.id, world.contract.id
    window = f"programme_id={programme}&start={world.local(world.now + timedelta(hours=2))}"
    signal = f"{window}&minutes=60&kind=signal&signal=SIMPLE/level&values=2"
    done, running, activation = ids["done"], ids["running"], ids["activation"]
    return [
        "/",
        "/potential",
        "/account",
        "/system",
        "/audit",
        "/settings",
        "/messages",
        "/meter-data",
        "/enrolment",
        "/groups",
        "/programmes",
        "/programmes/new",
        f"/programmes/{programme}",
        f"/programmes/{programme}/edit",
        f"/programmes/{programme}/baselines?since=17:00&until=18:30",
        f"/programmes/{programme}/days",
        f"/programmes/{programme}/season",
        f"/programmes/{programme}/versions/1",
        "/fleet",
        "/fleet?presence=online&area=North",
        "/fleet?text=nobody+is+called+so",
        f"/fleet/{home}",
        f"/fleet/{home}/readings",
        f"/fleet/{home}/events",
        f"/fleet/{home}/reports",
        f"/fleet/{home}/messages",
        f"/fleet/{home}/messages/{ids['message']}",
        f"/fleet/{ids['spare']}",
        "/dispatches",
        "/dispatches/new",
        f"/dispatches/new/window?programme_id={programme}&kind=target",
        f"/dispatches/new/order?{window}&minutes=60&kind=target",
        f"/dispatches/new/order?{window}&minutes=60&kind=signal",
        f"/dispatches/new/preview?{signal}",
        f"/dispatches/drafts/{ids['draft']}",
        f"/dispatches/drafts/{ids['draft']}/messages",
        f"/dispatches/{ids['next']}",
        f"/dispatches/{running}",
        f"/dispatches/{running}/selection",
        f"/dispatches/{running}/messages",
        f"/dispatches/{done}",
        f"/dispatches/{done}/result",
        f"/dispatches/{done}/result/vens/{ids['called']}",
        "/market",
        "/market/potential",
        "/market/requests",
        f"/market/requests/{ids['asked']}",
        "/market/offers",
        "/market/offers/new",
        f"/market/offers/{ids['offer']}",
        "/market/activations",
        f"/market/activations/{activation}",
        "/market/settlements",
        f"/market/settlements/{ids['settlement']}",
        "/market/contracts",
        "/market/contracts/new",
        f"/market/contracts/{contract}",
        f"/market/contracts/{contract}/nominations",
        f"/market/contracts/{contract}/statements",
        f"/market/statements/{ids['statement']}",
        "/market/brps",
        "/market/brps/new",
        f"/market/brps/{ids['brp']}",
        "/market/webhooks",
        "/tariffs",
        "/tariffs/new",
        f"/tariffs/{ids['tariff']}",
    ]


async def test_every_screen_is_sound(browser, shown):
    """Both looks at once: their pages are drawn by processes of their own."""
    findings = await asyncio.gather(*(_walk(browser, shown, look) for look in (DESKTOP, PHONE)))
    assert findings == [[], []]


async def _walk(browser: Browser, world: World, look: Look) -> list[str]:
    async with looking(browser, world.url, look) as eyes:
        await eyes.page.goto(await world.link())
        await eyes.press("Sign in as admin")
        await eyes.visit(*_screens(world))
        return [f"{look.name} {one}" for one in eyes.findings]


async def test_no_screen_is_left_out(shown):
    visited = [path.partition("?")[0] for path in _screens(shown)]
    patterns = {path: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)) for path in _paths() - _OTHERS}
    missed = {path for path, pattern in patterns.items() if not any(map(pattern.fullmatch, visited))}
    assert not missed


def _paths() -> set[str]:
    return {re.sub(r"\{(\w+):[^/]*\}", r"{\1}", one.path) for one in all_pages(SECTIONS) if one.method == "GET"}


async def test_a_page_that_is_not_there_says_so(browser, shown):
    for look in (DESKTOP, PHONE):
        async with looking(browser, shown.url, look) as eyes:
            await eyes.page.goto(await shown.link("viewer"))
            await eyes.press("Sign in as viewer")
            eyes.wanted |= {404, 403}
            await eyes.visit("/fleet/nobody", "/nowhere", "/audit")
            eyes.content()
