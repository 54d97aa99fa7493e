"""The schema that migrations make is the schema that the code expects, and only that is opened."""

import asyncio
import json
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, select, text

import aggregator.tables  # noqa: F401  its tables are part of the schema
from core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from openadr.model.report import ReportDescription
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W
from vtn.services.report_mapping import lines_of
from vtn.store import Database, engines, schema
from vtn.store.data_point import usage_of
from vtn.store.readings import SeriesKey, Values, load, series_of, store
from vtn.store.rows import to_json
from vtn.store.tables import METADATA, audit


def differences(connection: Connection) -> list[Any]:
    return compare_metadata(MigrationContext.configure(connection), METADATA)


async def test_the_migrated_schema_is_the_one_in_the_code(empty_database_url):
    database = await Database.open(empty_database_url)
    async with database.read() as conn:
        assert await conn.run_sync(differences) == []
        for name in METADATA.tables:
            assert (await conn.execute(text(f'SELECT count(*) FROM "{name}"'))).scalar_one() == 0  # noqa: S608
    await database.close()


UNITS = {"W": POWER_REAL_W, "Wh": ENERGY_REAL_WH}
OLD_OFFER = {
    "specifier_id": "usage",
    "name": "TELEMETRY_USAGE",
    "duration": {"months": 0, "seconds": 3600},
    "created_at": "2026-01-01T00:00:00Z",
}


def old_line(r_id: str, resource: str, unit: str, report_type: str = "usage") -> dict[str, Any]:
    """Return a description as offers are stored."""
    return to_json(
        ReportDescription(r_id, report_type, "Direct Read", Target(resource_ids=(resource,)), item_base=UNITS[unit])
    )


async def test_series_that_are_there_get_the_description_that_their_ven_offers(empty_database_url):
    address = engines.parse(empty_database_url)
    if address.path is not None:
        engines.prepare_file(address.path, create=True)
    lines = [
        old_line("home/energy", "home", "Wh"),
        old_line("home/power", "home", "W"),
        old_line("home/target", "home", "W", "setPoint"),
        old_line("exp", "roof", "Wh"),
    ]
    old = [
        ("home", "energy_real", "sum", "ven"),
        ("home", "power_real", "mean", "ven"),
        ("roof", "energy_real", "sum", "ven"),
        ("shed", "energy_real", "sum", "meter file"),
    ]
    now = "2026-01-01 00:00:00+00:00"
    keeper = engines.keeper(address)
    async with keeper.connect() as conn, conn.begin():
        await schema.migrate(conn, "0002")
        await conn.execute(
            text(f"INSERT INTO ven (id, name, strict, created_at) VALUES ('v', 'v', false, '{now}')")  # noqa: S608
        )
        # two reports of the same data points: one series, as ever
        for specifier in ("usage", "past"):
            offer = json.dumps(OLD_OFFER | {"descriptions": lines, "specifier_id": specifier}).replace(":", "\\:")
            await conn.execute(
                text(f"INSERT INTO report_offer VALUES ('v', '{specifier}', 'TELEMETRY_USAGE', '{offer}', '{now}')")  # noqa: S608
            )
        for number, (resource, quantity, kind, source) in enumerate(old, 1):
            values = f"'v', '{resource}', '{quantity}', '{kind}', '{source}', 'x'"
            await conn.execute(
                text(f"INSERT INTO series (ven_id, resource_id, quantity, kind, source, unit) VALUES ({values})")  # noqa: S608
            )
            columns = 'series_id, start_s, end_s, step_s, "values", revision, received_at'
            await conn.execute(
                text(f"INSERT INTO chunk ({columns}) VALUES ({number}, 0, 3600, 3600, '[{number}]', 0, '{now}')")  # noqa: S608
            )
    await keeper.dispose()
    database = await Database.open(empty_database_url)
    async with database.write() as tx:
        keys = {one.resource_id + one.quantity: one for one in await series_of(tx.conn, "v")}
        read = {name: (await load(tx.conn, one, 0, 9)).values.tolist() for name, one in keys.items()}
        assert read == {"homeenergy_real": [1], "homepower_real": [2], "roofenergy_real": [3], "shedenergy_real": [4]}
        assert (await tx.conn.execute(text("SELECT sum(value), min(r_id) FROM reading"))).one() == (10, "exp")
        points = {name: one.point for name, one in keys.items()}
        assert points["homepower_real"].report_type == "mixed", "set-point and actual were one series: nobody can tell"
        assert points["roofenergy_real"].flow == "export"
        assert points["shedenergy_real"] == usage_of("shed")
        energy = lines_of(json.dumps(OLD_OFFER | {"descriptions": lines}))["home/energy"]
        assert points["homeenergy_real"] == energy.point
        key = SeriesKey("v", "home", "energy_real", "sum", point=energy.point)
        assert not await store(tx, key, "x", Values(0, 3600, (1.0,)), datetime(2026, 1, 2, tzinfo=UTC))
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


async def test_what_the_audit_held_of_keys_in_addresses_is_gone_and_the_rest_stays(empty_database_url):
    address = engines.parse(empty_database_url)
    if address.path is not None:
        engines.prepare_file(address.path, create=True)
    engine = engines.keeper(address)
    row = (
        "INSERT INTO audit (at, who, action, subject, before, after)"
        " VALUES ('2026-01-12 12:00:00+00:00', 'ann', '{}', 'trf', {}, '{}')"
    )
    url = '{"url": "https://prices.example/v1?securityToken=9a1c", "every_s": 60}'
    async with engine.connect() as conn, conn.begin():
        await schema.migrate(conn, "0002")
        for action in ("tariff source", "another"):
            await conn.exec_driver_sql(row.format(action, "NULL", url))
    await engine.dispose()
    database = await Database.open(empty_database_url)
    async with database.read() as conn:
        rows = (await conn.execute(select(audit.c.action, audit.c.before, audit.c.after).order_by(audit.c.id))).all()
        absent = select(func.count()).where(audit.c.before.is_(None))
        assert await conn.scalar(absent) == 2
    await database.close()
    assert [(one.action, one.after["url"], one.after["every_s"]) for one in rows] == [
        ("tariff source", "https://prices.example/v1", 60),
        ("another", "https://prices.example/v1?securityToken=9a1c", 60),
    ]


async def test_a_database_that_lacks_a_table_is_refused_by_name(database_url):
    database = await Database.open(database_url)
    async with database.write() as tx:
        await tx.conn.execute(text("DROP TABLE waiting_certificate"))
    await database.close()
    for create in (True, False):
        with pytest.raises(ConflictError, match=r"lacks waiting_certificate.*backup"):
            await Database.open(database_url, create=create)
