"""The schema that is made at once is the one that migrations make and the code expects, and only that is opened."""

import asyncio
import json
import re
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.tables import contract, dispatch_draft, flexibility_request, selection
from core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from vtn.services.outbox import Intent
from vtn.services.report_mapping import lines_of
from vtn.store import Database, engines, schema
from vtn.store.data_point import usage_of
from vtn.store.readings import SeriesKey, Values, load, series_of, store
from vtn.store.tables import (
    METADATA,
    api_client,
    audit,
    dispatch,
    evaluation,
    nominated_power,
    opt,
    outbox,
    programme,
    report_offer,
    ven,
)

REVISIONS = sorted(one.revision for one in ScriptDirectory.from_config(schema.configuration()).walk_revisions())


@asynccontextmanager
async def changing(url: str) -> AsyncIterator[AsyncConnection]:
    """Yield a connection that may change the schema, in a transaction."""
    engine = engines.keeper(engines.parse(url))
    try:
        async with engine.begin() as conn:
            yield conn
    finally:
        await engine.dispose()


def shape(connection: Connection) -> dict[str, Any]:
    """Return all that a database says of its schema, but not in which order things were made."""
    if connection.dialect.name == "sqlite":
        made = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {name: clauses(sql) for name, sql in made}
    found = inspect(connection)
    said = {
        what: {name: sorted(parts(one), key=repr) for (_, name), one in getattr(found, f"get_multi_{what}")().items()}
        for what in ("columns", "pk_constraint", "foreign_keys", "unique_constraints", "check_constraints", "indexes")
    }
    views = {name: found.get_view_definition(name) for name in found.get_view_names()}
    return {**said, "sequences": sorted(found.get_sequence_names()), **views}


def clauses(sql: str) -> list[str]:
    """Return what stands between the commas of a statement, sorted."""
    head, _, body = " ".join(sql.replace('"', "").split()).partition("(")
    return [head, *sorted(one.strip() for one in re.split(r",(?![^(]*\))", body.removesuffix(")")))]


def parts(said: Any) -> list[dict[str, Any]]:
    """Return what an inspector says of a table, with types as text, so that they can be compared.

    Comments are left out: they name the code's places, which may have moved since an older database was made.
    """
    each = [{**one, "comment": None} for one in (said if isinstance(said, list) else [said])]
    return [{**one, "type": one["type"].compile(postgresql.dialect())} if "type" in one else one for one in each]


def differences(connection: Connection) -> list[Any]:
    found = compare_metadata(MigrationContext.configure(connection), METADATA)
    return [one for one in found if not (isinstance(one, list) and all(it[0] == "modify_comment" for it in one))]


async def test_a_new_schema_and_a_migrated_one_are_the_one_in_the_code(empty_database_url, old_database_url):
    for url in (empty_database_url, old_database_url):
        database = await Database.open(url)
        async with database.read() as conn:
            assert await conn.run_sync(differences) == []
            for name in METADATA.tables if url == empty_database_url else ():
                assert (await conn.execute(text(f'SELECT count(*) FROM "{name}"'))).scalar_one() == 0  # noqa: S608
        await database.close()


async def test_a_schema_is_the_same_made_at_once_and_by_migrations(empty_database_url, old_database_url):
    """Of every revision: backups of the older ones are restored into it. PostgreSQL, which is slow, does the ends."""
    for revision in REVISIONS if empty_database_url.startswith("sqlite") else (REVISIONS[0], REVISIONS[-1]):
        async with changing(old_database_url) as conn:
            if revision != REVISIONS[0]:
                await schema.migrate(conn, revision)
            assert await conn.run_sync(schema.revision_of) == revision
            migrated = await conn.run_sync(shape)
        async with changing(empty_database_url) as conn:
            await schema.make(conn, revision)
            assert await conn.run_sync(schema.revision_of) == revision
            made = await conn.run_sync(shape)
            await conn.rollback()
        if revision == REVISIONS[0]:
            assert migrated.pop("reading")
            assert "reading" not in made, "the old view is of no use to a restore"
        assert made == migrated, revision


async def test_series_that_are_there_get_the_description_that_their_ven_offers(old_database_url):
    database = await Database.open(old_database_url)
    async with database.write() as tx:
        ven_id = (await tx.conn.execute(select(ven.c.id).where(ven.c.name == "Mill Lane 1"))).scalar_one()
        keys = {one.resource_id + one.quantity: one for one in await series_of(tx.conn, ven_id)}
        read = {name: (await load(tx.conn, one, 0, 2**33)).values.tolist() for name, one in keys.items()}
        assert read == {"homeenergy_real": [1], "homepower_real": [2], "roofenergy_real": [3], "shedenergy_real": [4]}
        assert (await tx.conn.execute(text("SELECT sum(value), min(r_id) FROM reading"))).one() == (10, "exp")
        points = {name: one.point for name, one in keys.items()}
        assert points["homepower_real"].report_type == "mixed", "set-point and actual were one series: nobody can tell"
        assert points["roofenergy_real"].flow == "export"
        assert points["shedenergy_real"] == usage_of("shed")
        found = select(report_offer.c.specifier_id, report_offer.c.offer).where(report_offer.c.ven_id == ven_id)
        offers = {row.specifier_id: row.offer for row in await tx.conn.execute(found)}
        for specifier in ("usage", "past"):  # two reports of the same data points: one series, as ever
            energy = lines_of(json.dumps(offers[specifier]))["home/energy"]
            assert points["homeenergy_real"] == energy.point
        key = SeriesKey(ven_id, "home", "energy_real", "sum", point=energy.point)
        start_s = int((await load(tx.conn, key, 0, 2**33)).starts_s[0])
        assert not await store(tx, key, "Wh", Values(start_s, 3600, (1.0,)), datetime(2026, 1, 13, tzinfo=UTC))
    await database.close()


async def test_what_was_there_stays_and_what_is_new_follows_from_it(old_database_url, old_columns):
    tables = [name for name in METADATA.tables if name in old_columns]
    count = text("SELECT 'x'" + "".join(f', (SELECT count(*) FROM "{name}")' for name in tables))  # noqa: S608
    async with changing(old_database_url) as conn:
        before = (await conn.execute(count)).one()
        gone = (await conn.execute(select(ven.c.id).where(ven.c.removed_at.is_not(None)))).scalar_one()
    database = await Database.open(old_database_url)
    async with database.read() as conn:
        assert (await conn.execute(count)).one() == before
        names = set((await conn.execute(select(ven.c.name))).scalars())
        assert names == {"Mill Lane 1", "Mill Lane 2", f"Old Barn (removed, {gone})"}
        query = select(dispatch.c.starts_at, dispatch.c.direction, dispatch.c.result_due_at)
        evaluated, late, signal = (await conn.execute(query.order_by(dispatch.c.starts_at))).all()
        assert (evaluated.direction, evaluated.result_due_at) == ("reduce", None)
        assert (late.direction, late.result_due_at) == ("reduce", late.starts_at)
        assert (signal.direction, signal.result_due_at) == (None, None)
        parameters = (await conn.execute(select(programme.c.parameters))).scalars()
        lengths = {one["settlement_interval"]["seconds"] for one in parameters}
        assert lengths == {1800}, "what was settled by half hours stays so"
        schedules = select(opt.c.ended_at, opt.c.schedule_digest, opt.c.cancelled_at).where(opt.c.schedule.is_not(None))
        assert {row[1:] for row in await conn.execute(schedules)} == {(None, None)}
        asked = (await conn.execute(select(flexibility_request.c.status, flexibility_request.c.possible_w))).one()
        assert tuple(asked) == ("declined", None)
        asked_of_them = select(ven.c.signatures, ven.c.xml_signature).distinct()
        assert (await conn.execute(asked_of_them)).one() == ("when_present", False)
        reached = select(ven.c.protocol_version, ven.c.mode, ven.c.address).distinct()
        assert (await conn.execute(reached)).one() == ("2.0b", "pull", None)
    await database.close()


@pytest.mark.parametrize("report", [None, "provisional", "final"])
async def test_results_that_were_final_are_frozen_and_no_others(old_database_url, report):
    """A result that nothing computes any more, and one that a final report of an activation tells."""
    async with changing(old_database_url) as conn:
        await schema.migrate(conn, "0016")
        if report is not None:
            await conn.exec_driver_sql(
                "INSERT INTO activation (id, contract_id, party_id, direction, starts_at, ends_at, intervals, terms,"
                " modification_number, created_at, created_by, dispatch_id) SELECT 'act_1', id, party_id, 'reduce',"
                " valid_from, valid_from, '[]', '{}', 0, valid_from, 'ann', (SELECT dispatch_id FROM evaluation)"
                " FROM contract"
            )
            await conn.exec_driver_sql(
                "INSERT INTO activation_report (activation_id, version, final, report, evaluation_version, created_at)"
                " SELECT id, 1, (1 = 0), '{}', 1, created_at FROM activation"
            )
        if report == "final":
            await conn.exec_driver_sql("UPDATE activation_report SET final = (1 = 1)")
    database = await Database.open(old_database_url)
    async with database.read() as conn:
        query = select(dispatch.c.result_final_at).order_by(dispatch.c.starts_at)
        evaluated, late, signal = (await conn.execute(query)).scalars()
        since = None if report == "provisional" else await conn.scalar(select(evaluation.c.created_at))
        assert (evaluated, late, signal) == (since, None, None)
    await database.close()


async def test_what_waits_for_vens_keeps_its_meaning_both_ways(old_database_url):
    """The words of the rows of schema 0002 are those of OpenADR 2.0b's messages."""
    kinds = select(outbox.c.id, outbox.c.kind).order_by(outbox.c.id)

    def back(connection: Connection) -> None:
        config = schema.configuration()
        config.attributes["connection"] = connection
        command.downgrade(config, "0010")

    async with changing(old_database_url) as conn:
        for number, kind in enumerate(("cancel_report", "reregister", "cancel_registration")):
            row = select(ven.c.id, text(f"'{kind}', '{number}', 'pending', created_at, created_at")).limit(1)
            columns = ["ven_id", "kind", "subject", "state", "created_at", "due_at"]
            await conn.execute(outbox.insert().from_select(columns, row))
        before = (await conn.execute(kinds)).all()
    assert len({row.kind for row in before}) == 6
    async with changing(old_database_url) as conn:
        await schema.migrate(conn, "0011")
        words = {row.kind: Intent(after.kind) for row, after in zip(before, await conn.execute(kinds), strict=True)}
        assert words == {
            "events": Intent.EVENTS_CHANGED,
            "register_report": Intent.REPORTS_OFFERED,
            "create_report": Intent.REPORT_WANTED,
            "cancel_report": Intent.REPORT_UNWANTED,
            "reregister": Intent.REREGISTER,
            "cancel_registration": Intent.UNREGISTER,
        }
        await conn.run_sync(back)
        assert (await conn.execute(kinds)).all() == before


@pytest.mark.parametrize("time", range(8))
async def test_many_may_open_an_empty_database_at_once(empty_database_url, time):
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


async def test_a_schema_that_is_too_old_is_refused_and_left_alone(old_database_url):
    async with changing(old_database_url) as conn:
        await conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        before = await conn.run_sync(shape)
    for create in (True, False):
        with pytest.raises(ConflictError, match=r"schema 0001.*too old.*0002 and later"):
            await Database.open(old_database_url, create=create)
    async with changing(old_database_url) as conn:
        assert await conn.run_sync(shape) == before


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


async def test_what_the_audit_held_of_keys_in_addresses_is_gone_and_the_rest_stays(old_database_url):
    absent = select(func.count()).where(audit.c.before.is_(None))
    async with changing(old_database_url) as conn:
        url = '{"url": "https://prices.example/v1?securityToken=made-up", "every_s": 60}'
        row = f"VALUES ('2026-01-12 12:00:00+00:00', 'ann', 'another', 'trf', NULL, '{url}')"
        await conn.exec_driver_sql(f"INSERT INTO audit (at, who, action, subject, before, after) {row}")
        nulls = await conn.scalar(absent)
    database = await Database.open(old_database_url)
    query = select(audit.c.action, audit.c.before, audit.c.after).order_by(audit.c.id)
    async with database.read() as conn:
        rows = (
            await conn.execute(query.where(audit.c.action.contains("source") | (audit.c.action == "another")))
        ).all()
        hooks = (await conn.execute(query.where(audit.c.action.contains("webhook")))).all()
        assert await conn.scalar(absent) == nulls
    await database.close()
    assert [(one.action, one.after["url"], one.after["every_s"]) for one in rows] == [
        ("tariff source", "https://prices.example/v1", 3600),
        ("tariff source", "https://prices.example/v1", 3600),
        ("another", "https://prices.example/v1?securityToken=made-up", 60),
    ]
    assert (rows[0].before, rows[1].before["url"]) == (None, "https://prices.example/v1")
    assert [(one.action, one.before and one.before["url"], one.after["url"]) for one in hooks] == [
        ("create webhook", None, "https://balance.example/hook"),
        ("change webhook", "https://balance.example/hook", "https://balance.example/hook"),
    ]


async def test_programs_of_brps_and_drafts_of_dispatches_keep_their_ids_in_tables_of_their_own(old_database_url):
    draft = '{"wish": {"power_w": 3000}, "figures": {"ordered_w": 3300.0}, "who": "ann"}'
    async with changing(old_database_url) as conn:
        await conn.exec_driver_sql(
            "INSERT INTO brp_client (id, party_id, name, secret_hash, scopes, created_at)"
            " SELECT 'cli_1', id, 'night shift', 'abc', '[\"flex:read\"]', '2026-01-12 12:00:00+00:00' FROM party"
            " WHERE kind = 'brp'"
        )
        for selection_id, inputs in (("drf_1", f'{{"seed": 7, "draft": {draft}}}'), ("sel_1", '{"seed": 8}')):
            row = f"VALUES ('{selection_id}', '{inputs}', '2026-01-12 12:00:00+00:00')"
            await conn.exec_driver_sql(f"INSERT INTO selection (id, inputs, created_at) {row}")
    database = await Database.open(old_database_url)
    async with database.read() as conn:
        (client,) = (await conn.execute(select(api_client))).all()
        (kept,) = (await conn.execute(select(dispatch_draft))).all()
        selections = {row.id: row.inputs for row in await conn.execute(select(selection))}
    await database.close()
    assert (client.id, client.name, client.scopes, client.revoked_at) == ("cli_1", "night shift", ["flex:read"], None)
    assert (kept.id, kept.selection_id, kept.created_by) == ("drf_1", "drf_1", "ann")
    assert (kept.pool_order, kept.figures) == ({"power_w": 3000}, {"ordered_w": 3300.0})
    assert (selections["drf_1"], selections["sel_1"]) == ({"seed": 7}, {"seed": 8})


async def test_what_brps_nominated_so_far_is_there_for_baselines(old_database_url):
    """Every revision with its time, of the BRPs alone: what was said before an order counts."""
    async with changing(old_database_url) as conn:
        await schema.migrate(conn, "0021")
        for side, revision, power_w in (("brp", 1, 5), ("brp", 2, 7), ("aggregator", 1, 9)):
            await conn.exec_driver_sql(
                "INSERT INTO nomination"  # noqa: S608  our own words
                " (contract_id, day, declared_by, revision, step_s, power_w, created_at, created_by)"
                f" SELECT id, '2031-01-31', '{side}', {revision}, 86400, '[{power_w}]',"
                " valid_from, 'ann' FROM contract"
            )
    database = await Database.open(old_database_url)
    async with database.read() as conn:
        rows = (await conn.execute(select(nominated_power).order_by(nominated_power.c.revision))).all()
        held = (await conn.execute(select(contract.c.id, contract.c.programme_id, contract.c.valid_from))).one()
    await database.close()
    assert [(row.revision, row.step_s, row.power_w) for row in rows] == [(1, 86400, [5]), (2, 86400, [7])]
    assert {(row.source, row.programme_id, row.created_at, row.day) for row in rows} == {(*held, "2031-01-31")}


async def test_a_database_that_lacks_a_table_is_refused_by_name(database_url):
    database = await Database.open(database_url)
    async with database.write() as tx:
        await tx.conn.execute(text("DROP TABLE waiting_certificate"))
    await database.close()
    for create in (True, False):
        with pytest.raises(ConflictError, match=r"lacks waiting_certificate.*backup"):
            await Database.open(database_url, create=create)
