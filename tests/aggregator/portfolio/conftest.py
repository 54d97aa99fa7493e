"""A VTN on SQLite for most tests, on PostgreSQL too for those whose SQL differs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import aggregator.tables  # noqa: F401  its tables are part of the schema
from support.databases import DIALECTS
from support.vtn_world import World, migrated_sqlite, open_copy, world_on
from vtn.store import Database


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with the schema and nothing in it, to be copied."""
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "vtn.db")


@pytest_asyncio.fixture(params=DIALECTS)
async def world(request: pytest.FixtureRequest, empty_sqlite: Path, tmp_path: Path) -> AsyncIterator[World]:
    """Yield a VTN on each kind of database in turn."""
    if request.param == "sqlite":
        database = open_copy(empty_sqlite, tmp_path / "world.db")
    else:
        database = await Database.open(request.getfixturevalue("postgresql_url"))
    async with world_on(database) as made:
        yield made


@pytest_asyncio.fixture
async def quick_world(empty_sqlite: Path, tmp_path: Path) -> AsyncIterator[World]:
    """Yield a VTN on SQLite."""
    async with world_on(open_copy(empty_sqlite, tmp_path / "world.db")) as made:
        yield made
