"""Make the project's pictures of the console: `make screenshots` writes them to docs/screenshots/."""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from browser.eyes import Eyes, Look, looking
from browser.launching import chromium
from browser.world import World, live_a_day, open_world

OUT: Final = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
_DESK: Final = Look("desktop", 1280, 860, "light")
_DARK: Final = Look("desktop", 1280, 860, "dark")
_PHONE: Final = Look("phone", 390, 844, "light", phone=True)
_MOST_BYTES: Final = 300_000


@dataclass(frozen=True)
class Shot:
    """A picture: its name, the address, how it is looked at, and what is scrolled to the top."""

    name: str
    path: Callable[[World], str]
    look: Look = _DESK
    top: str = ""


SHOTS: Final = (
    Shot("overview", lambda _: "/"),
    Shot("wizard", lambda world: f"/dispatches/drafts/{world.ids['draft']}"),
    Shot("live", lambda world: f"/dispatches/{world.ids['running']}"),
    Shot("live-dark", lambda world: f"/dispatches/{world.ids['running']}", _DARK),
    Shot("result", lambda world: f"/dispatches/{world.ids['done']}/result"),
    Shot("ven", lambda world: f"/fleet/{world.ids['called']}"),
    Shot("market", lambda _: "/market"),
    Shot("report", lambda world: f"/market/activations/{world.ids['activation']}", _DESK, "#report"),
    Shot("fleet-phone", lambda _: "/fleet", _PHONE),
    Shot("live-phone", lambda world: f"/dispatches/{world.ids['running']}", _PHONE),
)


async def _make(out: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        async with open_world(Path(place)) as world, chromium() as browser:
            await live_a_day(world)
            for look in (_DESK, _DARK, _PHONE):
                async with looking(browser, world.url, look) as eyes:
                    await eyes.page.goto(await world.link())
                    await eyes.press("Sign in as admin")
                    for shot in SHOTS:
                        if shot.look is look:
                            await _take(eyes, shot, world, out)
                    eyes.content()


async def _take(eyes: Eyes, shot: Shot, world: World, out: Path) -> None:
    await eyes.go(shot.path(world))
    if await eyes.page.locator("[data-stream]").count():
        await eyes.becomes("[data-stream-state]", "live")
    if shot.top:
        await eyes.page.evaluate("place => document.querySelector(place).scrollIntoView()", shot.top)
    await eyes.page.wait_for_timeout(600)  # charts that slide in, letters that come late
    path = out / f"{shot.name}.png"
    await eyes.page.screenshot(path=path)
    size = path.stat().st_size
    assert size < _MOST_BYTES, f"{path.name} is too large: {size} bytes"
    print(f"{path.name}: {size // 1000} kB")  # noqa: T201  what the maker of pictures wants to know


def main() -> None:
    """Make all pictures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    OUT.mkdir(parents=True, exist_ok=True)
    asyncio.run(_make(OUT))


if __name__ == "__main__":
    main()
