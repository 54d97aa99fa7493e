"""A console on a VTN in memory, with somebody signed in for each role."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import DummyCookieJar

from support.browser import Console, Machine
from support.vtn_world import migrated_sqlite, open_copy, world_on
from vtn.api import Desk
from vtn.console import Section, make_console
from vtn.console.console import CONSOLE
from vtn.services import principals
from vtn.transport.v20b.push_address import Addresses
from web.auth import Role
from web.http_client import Guard

STALE_AFTER_S = 100.0
PUSHES_TO = Addresses(Guard.allowing(["10.0.0.0/8"]))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema and nothing in it: making one takes longer than copying it."""
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest.fixture
def sections() -> tuple[Section, ...]:
    """Sections beside the VTN's own; tests that need some have a fixture of this name."""
    return ()


@pytest.fixture
async def console(
    tmp_path: Path, aiohttp_client: Any, migrated: Path, sections: tuple[Section, ...]
) -> AsyncIterator[Console]:
    async with world_on(open_copy(migrated, tmp_path / "vtn.db")) as world:
        machine = Machine()
        desk = Desk(
            world.db,
            world.clock,
            world.settings,
            "https://vtn.example/OpenADR2",
            None,
            STALE_AFTER_S,
            pushes_to=PUSHES_TO,
        )
        app = make_console(
            desk,
            hosts={"127.0.0.1", "localhost"},
            cache=tmp_path / "cache",
            secure=False,
            sections=sections,
            about={"This VTN": {"vtnID": "vtn"}},
            utcnow=machine.utcnow,
        )
        client = await aiohttp_client(app, cookie_jar=DummyCookieJar())  # each browser has its own
        made = Console(client, world, machine, app[CONSOLE])
        async with world.tx() as tx:
            for role in Role:
                await principals.create(tx, role.value, role, machine.now, who="test")
        for name in ("admin", "dispatcher", "viewer"):
            made.browsers[name] = await made.browser(name)
        yield made
