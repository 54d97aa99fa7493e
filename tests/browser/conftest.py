"""Worlds and one Chromium for the walks. They share one event loop, which lasts for the session, and one
worker (tests/conftest.py)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from browser.launching import chromium
from browser.world import World, live_a_day, open_world
from playwright.async_api import Browser

LOOP = "session"


@pytest_asyncio.fixture(scope="session", loop_scope=LOOP)
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all walks."""
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope=LOOP)
async def shown(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A world with a past, for looking at: nobody changes it."""
    async with open_world(tmp_path_factory.mktemp("shown")) as world:
        await live_a_day(world)
        yield world


@pytest_asyncio.fixture(loop_scope=LOOP)
async def lived(tmp_path: Path) -> AsyncIterator[World]:
    """A world of a test's own, in which nothing has happened yet."""
    async with open_world(tmp_path) as world:
        yield world


@pytest_asyncio.fixture(loop_scope=LOOP)
async def empty(tmp_path: Path) -> AsyncIterator[World]:
    """A world without anything."""
    async with open_world(tmp_path, homes=()) as world:
        yield world
