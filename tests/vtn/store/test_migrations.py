"""The schema that migrations make is the schema that the code expects, and only that is opened."""

import asyncio
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

import aggregator.tables  # noqa: F401  its tables are part of the schema
from core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from vtn.store import Database
from vtn.store.tables import METADATA


def differences(connection: Connection) -> list[Any]:
    return compare_metadata(MigrationContext.configure(connection), METADATA)


async def test_the_migrated_schema_is_the_one_in_the_code(empty_database_url):
    database = await Database.open(empty_database_url)
    async with database.read() as conn:
        assert await conn.run_sync(differences) == []
        for name in METADATA.tables:
            assert (await conn.execute(text(f'SELECT count(*) FROM "{name}"'))).scalar_one() == 0  # noqa: S608
    await database.close()


async def test_many_may_open_an_empty_database_at_once(empty_database_url):
    databases = await asyncio.gather(*(Database.open(empty_database_url) for _ in range(4)))
    for database in databases:
        async with database.read() as conn:
            assert (await conn.execute(text("SELECT count(*) FROM alembic_version"))).scalar_one() == 1
        await database.close()


async def test_a_newer_schema_is_refused_and_left_alone(database_url):
    database = await Database.open(database_url)
    async with database.write() as tx:
        await tx.conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    for create in (True, False):
        with pytest.raises(ConflictError, match=r"schema 9999.*newer"):
            await Database.open(database_url, create=create)


async def test_an_empty_database_is_only_filled_where_that_is_wanted(empty_database_url):
    if empty_database_url.startswith("sqlite"):
        with pytest.raises(NotFoundError, match="no database"):
            await Database.open(empty_database_url, create=False)
        assert not Path(empty_database_url.removeprefix("sqlite:///")).exists()
        Path(empty_database_url.removeprefix("sqlite:///")).touch()
    with pytest.raises(ConflictError, match="has schema none"):
        await Database.open(empty_database_url, create=False)


async def test_somebody_elses_database_is_refused(tmp_path):
    path = tmp_path / "photos.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photo (id INTEGER)")
    connection.close()
    with pytest.raises(ConflictError, match="photo"):
        await Database.open(f"sqlite:///{path}")


async def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "letter.db"
    path.write_text("Dear Sir or Madam, " * 400)
    with pytest.raises(UnavailableError, match="no SQLite database"):
        await Database.open(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear Sir")


async def test_a_new_sqlite_file_belongs_to_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "vtn.db"
    database = await Database.open(f"sqlite:///{path}")
    async with database.write() as tx:
        await tx.conn.execute(text("INSERT INTO ven_group (id, name) VALUES ('g', 'g')"))
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"vtn.db": 0o600, "vtn.db-wal": 0o600, "vtn.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "vtn.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///vtn.db?mode=ro",
        "sqlite://host/vtn.db",
        "mysql://root@localhost/vtn",
        "postgresql://user:secret@host:port/vtn",
    ],
)
async def test_a_wrong_url_gets_the_allowed_forms(url):
    with pytest.raises(InvalidError, match=r"sqlite:///path/to/file\.db or postgresql://") as caught:
        await Database.open(url)
    assert "secret" not in str(caught.value)


async def test_a_database_that_does_not_answer_is_unavailable():
    with pytest.raises(UnavailableError) as caught:
        await Database.open("postgresql://user:secret@127.0.0.1:1/vtn")
    assert "secret" not in str(caught.value)


async def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be created"):
        await Database.open(f"sqlite:///{tmp_path / 'file' / 'vtn.db'}")


async def test_a_database_that_lacks_a_table_is_refused_by_name(database_url):
    database = await Database.open(database_url)
    async with database.write() as tx:
        await tx.conn.execute(text("DROP TABLE waiting_certificate"))
    await database.close()
    for create in (True, False):
        with pytest.raises(ConflictError, match=r"lacks waiting_certificate.*backup"):
            await Database.open(database_url, create=create)
