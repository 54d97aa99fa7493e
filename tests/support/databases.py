"""Fixtures for tests that run on SQLite and on PostgreSQL alike.

A folder's conftest.py puts the tests directory on sys.path and imports the fixtures it wants:
`from support.databases import database, database_url`.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import insert

from support import postgres
from support.vtn_world import migrated_sqlite
from vtn.store import Database
from vtn.store.tables import ven

DIALECTS = ("sqlite", "postgresql")
NOON = datetime(2025, 3, 4, 12, tzinfo=UTC)


async def add_vens(database: Database, *ven_ids: str) -> None:
    """Add VENs with these ids and names."""
    rows = [{"id": ven_id, "name": ven_id, "created_at": NOON} for ven_id in ven_ids]
    async with database.write() as tx:
        await tx.conn.execute(insert(ven), rows)


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a fresh database, on each kind of database in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{migrated_sqlite(tmp_path / 'vtn.db')}"
        return
    with postgres.cluster(request.config).emptied() as url:
        yield url


@pytest.fixture(params=DIALECTS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a database without any table, on each kind of database in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with postgres.cluster(request.config).database(migrated=False) as url:
        yield url


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the URL of a fresh database on PostgreSQL, for what only PostgreSQL does."""
    with postgres.cluster(request.config).emptied() as url:
        yield url


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Yield an open database with the schema, on each kind of database in turn."""
    opened = await Database.open(database_url)
    yield opened
    await opened.close()
