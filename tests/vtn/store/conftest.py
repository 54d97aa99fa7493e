"""The fixtures of the store's tests."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from support import postgres
from support.databases import database, database_url, empty_database_url, postgresql_url

__all__ = ["database", "database_url", "empty_database_url", "postgresql_url"]

HERE = Path(__file__).parent


@contextmanager
def _another(url: str, config: pytest.Config, directory: Path) -> Iterator[str]:
    """Yield the URL of one more empty database of the same kind."""
    if url.startswith("sqlite"):
        yield f"sqlite:///{directory / 'old.db'}"
        return
    with postgres.cluster(config).database(migrated=False) as other:
        yield other


@pytest_asyncio.fixture
async def old_database_url(
    request: pytest.FixtureRequest, empty_database_url: str, tmp_path: Path
) -> AsyncIterator[str]:
    """Yield the URL of a database that the code of schema 0002 filled (make_schema_0002.py).

    It is of the kind of `empty_database_url`, which stays empty beside it.
    """
    with _another(empty_database_url, request.config, tmp_path) as url:
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
                connection.executescript((HERE / "schema_0002.sqlite.sql").read_text("utf-8"))
        else:
            remote = await asyncpg.connect(url)
            await remote.execute((HERE / "schema_0002.postgresql.sql").read_text("utf-8"))
            await remote.close()
        yield url


@pytest.fixture(scope="session")
def old_columns() -> dict[str, list[str]]:
    """Return table -> columns of schema 0002."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript((HERE / "schema_0002.sqlite.sql").read_text("utf-8"))
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
