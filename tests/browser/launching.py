"""Start the system's Chromium."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from support.chromium import find_chromium


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a headless Chromium while the context lasts. As root it has no sandbox, or it would not start."""
    path = find_chromium()
    sandbox = os.geteuid() != 0
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, headless=True, chromium_sandbox=sandbox, args=["--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()
