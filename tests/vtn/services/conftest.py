"""A VTN on SQLite for most tests; on SQLite and PostgreSQL for the core scenarios."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.databases import DIALECTS
from support.vtn_world import World, migrated_sqlite, open_copy, world_on
from vtn.services.settings import VtnSettings
from vtn.store import Database


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with the schema and nothing in it, to be copied."""
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest.fixture
def settings() -> VtnSettings:
    """Return the world's settings; a test module may override them."""
    return VtnSettings("vtn")


@pytest_asyncio.fixture
async def world(empty_sqlite: Path, tmp_path: Path, settings: VtnSettings) -> AsyncIterator[World]:
    """Yield a VTN on a SQLite file."""
    async with world_on(open_copy(empty_sqlite, tmp_path / "world.db"), settings) as made:
        yield made


@pytest_asyncio.fixture(params=DIALECTS)
async def any_world(
    request: pytest.FixtureRequest, empty_sqlite: Path, tmp_path: Path, settings: VtnSettings
) -> AsyncIterator[World]:
    """Yield a VTN on each kind of database in turn."""
    if request.param == "sqlite":
        database = open_copy(empty_sqlite, tmp_path / "world.db")
    else:
        database = await Database.open(request.getfixturevalue("postgresql_url"))
    async with world_on(database, settings) as made:
        yield made
