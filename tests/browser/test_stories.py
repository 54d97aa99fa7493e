"""What operators and BRPs do from beginning to end, in a browser and over the API, with homes that answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from math import cos, sin, tau
from urllib.parse import urlencode

import pytest
from browser.eyes import DESKTOP, PHONE, Eyes, Look, looking
from browser.world import World
from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _in(eyes: Eyes, world: World, name: str) -> None:
    await eyes.page.goto(await world.link(name))
    await eyes.press(f"Sign in as {name}")


@asynccontextmanager
async def _two(browser: Browser, world: World, first: Look, second: Look) -> AsyncIterator[tuple[Eyes, Eyes]]:
    """Open two windows of a dispatcher: one acts, the other looks at the same pages."""
    async with looking(browser, world.url, first) as acting, looking(browser, world.url, second) as other:
        for eyes in (acting, other):
            await _in(eyes, world, "dispatcher")
        yield acting, other
        acting.content()
        other.content()


async def _figure(eyes: Eyes, label: str) -> str:
    """Return what a figure of the page says."""
    stat = eyes.page.locator(".stat", has=eyes.page.get_by_text(label, exact=True)).first
    return await stat.locator("dd").first.inner_text()


async def _figure_becomes(eyes: Eyes, label: str, text: str) -> None:
    stat = eyes.page.locator(".stat", has=eyes.page.get_by_text(label, exact=True)).first
    await stat.locator("dd", has_text=text).first.wait_for(timeout=20_000)


async def _wizard(eyes: Eyes, other: Eyes, world: World, power: str) -> str:
    """Order a power of the pool, step by step, each step judged; return the dispatch's id."""
    await eyes.go("/dispatches")
    await eyes.follow("New dispatch")
    eyes.wanted.add(422)
    other.wanted.add(422)
    await eyes.press("Next: window")  # without a programme
    await eyes.judge_with(other)
    assert await eyes.page.locator("main [aria-invalid=true]").count()
    await eyes.fill(programme_id=world.programme.id)
    await eyes.press("Next: window")
    await eyes.fill(start=world.local(world.now + timedelta(minutes=30)), minutes="0")
    await eyes.press("Next: order")
    await eyes.judge_with(other)
    assert await eyes.value("minutes") == "0"
    await eyes.fill(minutes="60")
    await eyes.press("Next: order")
    await eyes.fill(power="a lot", comment="Thank you!")
    await eyes.press("Next: who and why")
    await eyes.judge_with(other)
    assert await eyes.value("power") == "a lot"
    assert await eyes.value("comment") == "Thank you!"
    await eyes.fill(power=power)
    await eyes.press("Next: who and why")
    await eyes.judge_with(other)
    assert await _figure(eyes, "Target") == f"{power}\N{NO-BREAK SPACE}kW"
    await eyes.page.go_back()
    await eyes.calm()
    assert await eyes.value("power") == power
    await eyes.page.go_forward()
    await eyes.calm()
    await eyes.follow("Next: messages")
    await eyes.judge_with(other)
    assert "oadrDistributeEvent" in await eyes.text("pre")
    await eyes.press("Order now")
    return eyes.path.partition("?")[0].rpartition("/")[2]


async def test_a_dispatch_from_the_wizard_to_its_result(browser, lived):
    async with _two(browser, lived, DESKTOP, PHONE) as (eyes, other):
        dispatch_id = await _wizard(eyes, other, lived, "5")
        await eyes.judge_with(other)
        await eyes.becomes("[data-stream-state]", "live")
        assert await _figure(eyes, "Opted in") == "0"
        await eyes.page.evaluate("document.body.dataset.same = 'page'")
        called = int(await _figure(eyes, "Called"))
        await lived.turn()
        listed = [home for home in lived.homes if home.orders]
        assert len(listed) == called
        agreed = sum(home.answers == "optIn" for home in listed)
        await _figure_becomes(eyes, "Opted in", str(agreed))
        await lived.later(45, 15)
        await lived.later(3)
        await _figure_becomes(eyes, "Delivered", "kW")
        assert await eyes.page.evaluate("document.body.dataset.same") == "page", "it was loaded anew"
        await eyes.judge_with(other)

        await eyes.page.locator("#f-power").fill("4")
        await eyes.press("Change", exact=True)
        await lived.later(2)
        await _figure_becomes(eyes, "Target", "4")
        await eyes.page.locator("summary", has_text="Replace").first.click()
        await eyes.judge()
        async with eyes.page.expect_navigation():
            await eyes.page.locator("details[open]").get_by_role("button", name="Replace").click()
        await eyes.calm()
        await eyes.judge_with(other)
        await lived.later(60, 15)
        await eyes.becomes("[data-stream-state]", "finished")
        await eyes.go(f"/dispatches/{dispatch_id}")
        await eyes.judge_with(other)
        await eyes.follow("See the result")
        await eyes.judge_with(other)
        await eyes.press("Compute")
        await eyes.judge_with(other)
        assert "Wh" in await _figure(eyes, "Delivered")
        await eyes.follow(listed[0].name)
        await eyes.judge_with(other)


async def test_a_dispatch_that_is_cancelled(browser, lived):
    dispatch_id = await lived.dispatch(4000, timedelta(minutes=15))
    await lived.later(25, 15)
    async with _two(browser, lived, PHONE, DESKTOP) as (eyes, other):
        await eyes.visit(f"/dispatches/{dispatch_id}")
        await eyes.page.locator("summary", has_text="Cancel dispatch").click()
        await eyes.judge()
        await eyes.press("Cancel now")
        assert "cancelled" in await eyes.text()
        await lived.turn()
        assert {one.status.value for home in lived.homes for one in home.orders} == {"cancelled"}
        await eyes.go(f"/dispatches/{dispatch_id}")
        await eyes.judge_with(other)


async def test_a_brp_buys_and_the_board_shows_it(browser, lived):
    """Request, offer, acceptance, activation, report, settlement: the BRP over its API, the operator at the board."""
    async with _two(browser, lived, DESKTOP, PHONE) as (eyes, other), lived.brp() as brp:
        await eyes.go("/market")
        asked = await lived.request(brp, 4000, timedelta(hours=1))
        await eyes.becomes("#board", "Balance & Co")  # by itself
        await eyes.judge_with(other)
        await lived.turn()
        await eyes.go(f"/market/requests/{asked['id']}")
        await eyes.judge_with(other)
        assert "offered" in await eyes.text()
        made = await lived.accept(brp, asked["id"])
        await eyes.go(f"/market/offers/{lived.ids['offer']}")
        await eyes.judge_with(other)
        assert "accepted" in await eyes.text()
        await lived.turn()
        await eyes.go(f"/market/activations/{made['id']}")
        await eyes.judge_with(other)
        await eyes.follow("Follow the dispatch")
        await eyes.becomes("[data-stream-state]", "live")
        await lived.later(75, 15)
        await _figure_becomes(eyes, "Delivered", "kW")
        await eyes.judge_with(other)
        for path in (f"/market/activations/{made['id']}", "/market"):
            await eyes.go(path)
            await eyes.judge_with(other)
            assert "active" in await eyes.text()
        await lived.later(60, 15)
        report = await brp.get(f"/activations/{made['id']}/report")
        await eyes.go(f"/market/activations/{made['id']}")
        await eyes.judge_with(other)
        shown = f"{report['delivered_wh'] / 1000:.2f}".rstrip("0").rstrip(".")
        assert f"{shown} kWh" in (await eyes.text("#report")).replace("\N{NO-BREAK SPACE}", " ")
        (settled,) = await brp.all("/settlements", {"activation_id": made["id"]})
        await eyes.go(f"/market/settlements/{settled['id']}")
        await eyes.judge_with(other)


async def test_meter_data_are_sent_and_a_final_result_is_disputed(browser, lived):
    dispatch_id = await lived.dispatch(4000, timedelta(minutes=15))
    await lived.later(100, 20)
    home = next(one for one in lived.homes if one.orders)
    start = lived.now - timedelta(hours=1)
    head, row = "metering_point,series,start,end,energy_wh,quality", "{},import,{},{},1000,validated"
    rows = [row.format(point, start.isoformat(), lived.now.isoformat()) for point in ("MP1", "MP2", "MP2")]
    async with looking(browser, lived.url, PHONE) as eyes:
        await _in(eyes, lived, "admin")
        await eyes.go(f"/fleet/{home.ven_id}")
        await eyes.fill(metering_point="MP1")
        await eyes.press("Save site")
        await eyes.go("/fleet")
        await eyes.follow("Meter data")
        file = {"name": "meters.csv", "mimeType": "text/csv", "buffer": "\r\n".join((head, *rows)).encode()}
        await eyes.page.locator("input[name=csv]").set_input_files(file)
        await eyes.press("Send")
        assert "1 row was taken in. 2 were refused." in await eyes.text()
        await eyes.judge()
        lived.clock.advance(to=lived.now + timedelta(days=8))
        for _ in range(2):
            await lived.worker.turn()
        await eyes.go(f"/dispatches/{dispatch_id}/result")
        await eyes.page.locator("summary", has_text="Dispute").click()
        await eyes.judge()
        eyes.wanted.add(422)
        await eyes.press("Dispute the result")
        assert await eyes.page.locator("details[open] textarea[aria-invalid=true]").count() == 1
        await eyes.judge()
        await eyes.fill(reason="The settlement meter shows less.")
        await eyes.press("Dispute the result")
        assert "Opened again" in await eyes.text()
        await eyes.judge()
        eyes.content()


async def test_the_wizard_by_keyboard_alone(browser, lived):
    async with looking(browser, lived.url) as eyes:
        await _in(eyes, lived, "dispatcher")
        await eyes.go("/dispatches/new")
        keys = eyes.page.keyboard
        await keys.press("Tab")
        assert await eyes.page.evaluate("document.activeElement.className") == "skip"
        await keys.press("Enter")
        await _tab_to(eyes, "#f-programme_id")
        await keys.type("Evening")
        await _submit(eyes)
        await _tab_to(eyes, "#f-minutes")
        await keys.type("45")
        await _submit(eyes)
        await _tab_to(eyes, "#f-power")
        await keys.type("3")
        await _submit(eyes)
        assert await eyes.heading() == "New dispatch: who and why"
        await _tab_to(eyes, "a.button.main")
        await _submit(eyes, tab=False)
        await _tab_to(eyes, "main form[method=post] button")
        await _submit(eyes, tab=False)
        assert eyes.path.startswith("/dispatches/dsp_")
        await _tab_to(eyes, "details.confirm summary")
        await keys.press("Enter")
        assert await eyes.page.locator("details.confirm[open]").count() == 1
        await keys.press("Escape")
        assert await eyes.page.locator("details.confirm[open]").count() == 0
        eyes.content()


async def test_a_signal_for_some_devices_with_a_baseline(browser, lived):
    """What is rarely needed is out of the way, opens by the keyboard, and keeps what was typed."""
    async with _two(browser, lived, DESKTOP, PHONE) as (eyes, other):
        start = lived.local(lived.now + timedelta(hours=1))
        window = urlencode({"programme_id": lived.programme.id, "kind": "signal", "start": start, "minutes": "60"})
        await eyes.go(f"/dispatches/new/order?{window}")
        await eyes.judge_with(other)
        await eyes.fill(values="1")
        assert not await eyes.page.locator("[name='baseline.values']").is_visible()
        for place in ("details.details > summary", "details.details details.details > summary"):
            await _tab_to(eyes, place)
            await eyes.page.keyboard.press("Enter")
        await eyes.page.get_by_label("Water_Heater").check()
        await eyes.page.get_by_label("Areas (serviceArea)").fill(_ring(200) + "\n1,1 2,2")
        await eyes.page.get_by_label("Baseline values").fill("1.5 2")
        await eyes.judge()
        eyes.wanted.add(422)
        other.wanted.add(422)
        await eyes.press("Next: recipients")
        await eyes.judge_with(other)
        assert "at least 3 different corners" in await eyes.text(".field:has([aria-invalid=true])")
        assert await eyes.page.get_by_label("Water_Heater").is_checked()
        await eyes.page.get_by_label("Areas (serviceArea)").fill(_ring(200))
        await eyes.press("Next: recipients")
        await eyes.judge_with(other)
        said = await eyes.text()
        assert "endDeviceAsset Water_Heater, serviceArea 200 corners" in said
        assert "Baseline sent along" in said
        await eyes.press("Order now")
        await eyes.judge()
        assert "serviceArea 200 corners" in await eyes.text()
        await lived.turn()
        heard = [one.event for home in lived.homes for one in home.events.values() if one.event.baseline]
        assert len(heard) == len(lived.homes)
        assert {(event.baseline.name, event.target.device_classes) for event in heard} == {
            ("baseline", ("Water_Heater",))
        }


def _ring(corners: int) -> str:
    """Return an area as it is typed; so many corners take more than the 8 KiB that web servers take as an address."""
    return " ".join(
        f"{50 + cos(tau * each / corners):.14f},{10 + sin(tau * each / corners):.14f}" for each in range(corners)
    )


async def _tab_to(eyes: Eyes, place: str) -> None:
    """Press Tab until a place has the focus, which can be seen."""
    for _ in range(60):
        await eyes.page.keyboard.press("Tab")
        if await eyes.page.evaluate("place => document.activeElement.matches(place)", place):
            width = await eyes.page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
            assert width >= 2, f"the focus on {place} cannot be seen"
            return
    raise AssertionError(f"{place} is not reached by Tab")


async def _submit(eyes: Eyes, *, tab: bool = True) -> None:
    if tab:
        await _tab_to(eyes, "main form button.main")
    async with eyes.page.expect_navigation():
        await eyes.page.keyboard.press("Enter")
    await eyes.calm()


async def test_a_gateway_is_let_in_and_its_line_tested(browser, lived):
    async with looking(browser, lived.url, PHONE) as eyes:
        await _in(eyes, lived, "admin")
        await eyes.visit("/enrolment")
        await eyes.fill(name="Wiesengrund 2", programme=lived.programme.id, consent_version="2026-01")
        await eyes.press("Create VEN and code")
        await eyes.judge()
        assert len(await eyes.text(".reveal code")) >= 8
        await eyes.page.locator("summary", has_text="Accept").first.click()
        await eyes.judge()
        await eyes.page.locator("#new-1").fill("Talblick 8")
        await eyes.press("Accept", exact=True)
        assert await eyes.heading() == "Talblick 8"
        await eyes.visit("/enrolment")
        assert "No certificate is awaiting approval." in await eyes.text()
        home = lived.homes[0]
        await eyes.visit(f"/fleet/{home.ven_id}/reports")
        await eyes.go(f"/fleet/{home.ven_id}")
        await eyes.press("Test communication")
        await eyes.judge()
        await lived.later(1)
        await eyes.becomes("#trip", "passed")
        await eyes.judge()
        await eyes.visit(f"/fleet/{home.ven_id}/messages", "/audit")
        eyes.content()
