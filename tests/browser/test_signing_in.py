"""Signing in and out, moving back and forward, forms that fail, and a console in which nothing is there yet."""

import asyncio

import pytest
from browser.eyes import DESKTOP, PHONE, Eyes, Look, looking
from browser.world import PASSWORD, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _in(eyes: Eyes, world: World, name: str = "admin") -> None:
    await eyes.page.goto(await world.link(name))
    await eyes.press(f"Sign in as {name}")


@pytest.mark.parametrize("look", [DESKTOP, PHONE], ids=lambda look: look.name)
async def test_by_password(browser, shown, look):
    async with looking(browser, shown.url, look) as eyes:
        await eyes.visit("/fleet")
        assert eyes.path == "/login?next=%2Ffleet"
        await eyes.fill(name="admin", password="not the right one")
        eyes.wanted.add(422)
        await eyes.press("Sign in")
        await eyes.judge()
        assert await eyes.value("name") == "admin"
        assert await eyes.value("password") == ""
        await eyes.fill(password=PASSWORD)
        await eyes.press("Sign in")
        assert await eyes.heading() == "Fleet"
        await eyes.press("Sign out")
        await eyes.go("/fleet")
        assert eyes.path.startswith("/login")
        eyes.content()


async def test_by_a_link_that_works_once(browser, shown):
    link = await shown.link()
    async with looking(browser, shown.url, PHONE) as eyes:
        await eyes.visit(link.removeprefix(shown.url))
        await eyes.press("Sign in as admin")
        assert await eyes.heading() == "Overview"
        await eyes.page.context.clear_cookies()
        eyes.wanted |= {404, 410, 422}
        await eyes.visit(link.removeprefix(shown.url))
        assert "doesn't work" in await eyes.heading()
        eyes.content()


async def test_numbers_lead_to_their_lists_and_back(browser, shown):
    async with looking(browser, shown.url) as eyes:
        await _in(eyes, shown)
        figures = [await one.get_attribute("href") for one in await eyes.page.locator("main .stat a").all()]
        assert len(figures) >= 5
        for path in dict.fromkeys(figures):
            await eyes.go(path)
            await eyes.page.go_back()
            await eyes.calm()
            assert await eyes.heading() == "Overview"
        await eyes.page.go_forward()
        await eyes.calm()
        assert await eyes.heading() != "Overview"
        eyes.content()


async def test_the_fleet_is_filtered_and_changed_together(browser, lived):
    async with looking(browser, lived.url, PHONE) as eyes:
        await _in(eyes, lived)
        await eyes.go("/fleet")
        await eyes.fill(text="weg", area="North")
        await eyes.press("Filter")
        names = await eyes.page.locator("tbody th").all_inner_texts()
        assert names == ["Fliederweg 21", "Rosenweg 33"]
        await eyes.page.get_by_label("Select all on this page").check()
        await eyes.page.locator("summary", has_text="Change the VENs selected").click()
        eyes.wanted.add(422)
        await eyes.press("Add to group")  # into which?
        await eyes.judge()
        assert await eyes.page.locator('[name="ven_ids[]"]:checked').count() == 2
        await eyes.page.locator("#bulk-area").fill("Hillside")
        await eyes.press("Set area")
        await eyes.judge()
        await eyes.go("/fleet?area=Hillside")
        assert await eyes.page.locator("tbody th").count() == 2
        eyes.content()


async def test_forms_keep_what_was_typed(browser, shown):
    bad = {
        "/programmes/new": ("Create programme", {"name": "Morning", "parameters__limits__per_day": "-3"}),
        "/tariffs/new": ("Create tariff", {"name": "Night rate", "currency": "12"}),
        "/market/brps/new": ("Create BRP", {"name": "", "email": "desk@grid.example"}),
        "/enrolment": ("Create VEN", {"name": "x" * 119, "consent_version": "\N{BELL}"}),
    }
    async with looking(browser, shown.url, PHONE) as eyes:
        await _in(eyes, shown)
        eyes.wanted.add(422)
        for path, (button, fields) in bad.items():
            await eyes.go(path)
            await eyes.fill(**fields)
            await eyes.press(button)
            await eyes.judge()
            for name, value in fields.items():
                assert await eyes.value(name.replace("__", ".")) == value, path
            assert await eyes.page.locator("main .notice.bad[role=alert]").is_visible(), path
            assert await eyes.page.locator("main [aria-invalid=true]").count(), path
        eyes.content()


_BARE = (
    "/",
    "/potential",
    "/dispatches",
    "/dispatches/new",
    "/programmes",
    "/fleet",
    "/groups",
    "/enrolment",
    "/messages",
    "/market",
    "/market/requests",
    "/market/offers",
    "/market/activations",
    "/market/settlements",
    "/market/contracts",
    "/market/contracts/new",
    "/market/brps",
    "/market/potential",
    "/market/webhooks",
    "/tariffs",
)


async def test_nothing_is_there_yet(browser, empty):
    async def walk(look: Look) -> list[str]:
        async with looking(browser, empty.url, look) as eyes:
            await _in(eyes, empty)
            for path in _BARE:
                await eyes.visit(path)
                assert await eyes.page.locator("main .empty, main .stat, main form").count(), path
            return eyes.findings

    assert await asyncio.gather(walk(DESKTOP), walk(PHONE)) == [[], []]
