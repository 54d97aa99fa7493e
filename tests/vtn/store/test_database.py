"""Reading, writing, failing, and telling who changed."""

import asyncio
import errno
import json
import os
import shutil
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text, update

from core.errors import ConflictError, InvalidError, UnavailableError
from openadr.model.registration import VenProfile
from support.databases import NOON, add_vens
from support.waiting import until
from vtn.store import Database, engines
from vtn.store import database as database_module
from vtn.store.change_notifications import EVERYTHING, payloads
from vtn.store.database import LostTransactionError
from vtn.store.tables import audit, outbox, ven, ven_certificate


def new_ven(ven_id, **values):
    return insert(ven).values(id=ven_id, name=values.pop("name", ven_id), created_at=NOON, **values)


async def count(database, table=ven):
    async with database.read() as conn:
        return await conn.scalar(select(func.count()).select_from(table))


async def test_sqlite_is_durable_and_checks_references(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")
    async with database.write() as tx:
        pragmas = {
            name: await tx.conn.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    await database.close()


async def test_a_transaction_commits_at_its_end(database):
    async with database.write() as tx:
        await tx.conn.execute(new_ven("v1", poll_period_s=10, last_seen_at=NOON))
        assert await count(database) == 0
    async with database.read() as conn:
        row = (await conn.execute(select(ven))).one()
    assert (row.id, row.poll_period_s, row.last_seen_at, row.strict) == ("v1", 10, NOON, False)


async def test_a_transaction_that_raises_leaves_nothing(database):
    async def fail():
        async with database.write() as tx:
            await tx.conn.execute(new_ven("v1"))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()
    assert await count(database) == 0


async def test_a_read_sees_one_moment(database):
    async with database.read() as conn:
        before = await conn.scalar(select(func.count()).select_from(ven))
        await add_vens(database, "v1")
        after = await conn.scalar(select(func.count()).select_from(ven))
    assert (before, after, await count(database)) == (0, 0, 1)


async def test_a_read_cannot_write(database):
    with pytest.raises(UnavailableError):
        async with database.read() as conn:
            await conn.execute(new_ven("v1"))
    assert await count(database) == 0


async def test_transactions_that_lock_what_they_change_lose_no_update(database):
    await add_vens(database, "v1")

    async def one_more():
        async with database.write() as tx:
            query = select(ven.c.poll_period_s).where(ven.c.id == "v1").with_for_update()
            present = await tx.conn.scalar(query) or 0
            await asyncio.sleep(0)
            await tx.conn.execute(update(ven).where(ven.c.id == "v1").values(poll_period_s=present + 1))

    await asyncio.gather(*(one_more() for _ in range(25)))
    async with database.read() as conn:
        assert await conn.scalar(select(ven.c.poll_period_s)) == 25


async def test_a_duplicate_is_a_conflict(database):
    await add_vens(database, "v1")
    with pytest.raises(ConflictError, match="name"):
        async with database.write() as tx:
            await tx.conn.execute(new_ven("v2", name="v1"))


async def test_a_reference_to_nothing_is_a_conflict(database):
    with pytest.raises(ConflictError):
        async with database.write() as tx:
            await tx.conn.execute(insert(ven_certificate).values(fingerprint="aa", ven_id="nobody", created_at=NOON))


@pytest.mark.parametrize(
    "values",
    [
        {"last_seen_at": NOON.replace(tzinfo=None)},
        {"poll_period_s": 10**30},
        {"profile": {"share": float("nan")}},
        {"profile": {"share": object()}},
    ],
    ids=["time without zone", "endless number", "no number", "no JSON"],
)
async def test_a_value_that_cannot_be_stored_is_invalid(database, values):
    with pytest.raises(InvalidError):
        async with database.write() as tx:
            await tx.conn.execute(new_ven("v1", **values))
    assert await count(database) == 0


async def test_text_that_postgresql_cannot_hold_is_invalid(postgresql_url):
    database = await Database.open(postgresql_url)
    for ven_id in ("x" * 81, "a\x00b"):
        with pytest.raises(InvalidError):
            async with database.write() as tx:
                await tx.conn.execute(new_ven(ven_id, name="n"))
    await database.close()


async def test_writing_inside_writing_is_noticed(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")
    with pytest.raises(RuntimeError, match="for ever"):
        async with database.write(), database.write():
            pass
    await add_vens(database, "v1")
    await database.close()


async def test_a_full_disk_is_unavailable_and_loses_nothing(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")
    await add_vens(database, "v1")
    async with database.write() as tx:
        pages = await tx.conn.scalar(text("PRAGMA page_count"))
        await tx.conn.execute(text(f"PRAGMA max_page_count={pages + 2}"))
    with pytest.raises(UnavailableError, match=r"disk of the database is full.*Free some space"):
        async with database.write() as tx:
            await tx.conn.execute(new_ven("v2", profile={"text": "x" * 100_000}))
    assert await count(database) == 1
    async with database.write() as tx:
        await tx.conn.execute(text("PRAGMA max_page_count=1000000"))
    await add_vens(database, "v3")
    assert await count(database) == 2
    await database.close()


async def test_a_transaction_that_sqlite_gave_up_is_not_continued(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")

    async def go_on():
        async with database.write() as tx:
            await tx.conn.execute(new_ven("v1"))
            await tx.conn.execute(text("ROLLBACK"))
            await tx.conn.execute(text("SELECT 1"))

    with pytest.raises(LostTransactionError):
        await go_on()
    assert await count(database) == 0
    await database.close()


async def test_a_locked_database_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "LOCK_WAIT_S", 0.2)
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")
    other = sqlite3.connect(tmp_path / "vtn.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="Another process"):
        await add_vens(database, "v1")
    other.execute("ROLLBACK")
    other.close()
    await add_vens(database, "v1")
    assert await count(database) == 1
    await database.close()


async def test_a_writer_that_takes_too_long_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "LOCK_WAIT_S", 0.2)
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")
    async with database.write():
        with pytest.raises(UnavailableError, match="busy"):
            await asyncio.create_task(add_vens(database, "v1"))
    await add_vens(database, "v1")
    assert await count(database) == 1
    await database.close()


async def test_a_lost_connection_is_unavailable_and_the_next_one_works(postgresql_url):
    database = await Database.open(postgresql_url)
    others = await Database.open(postgresql_url)

    async def lose_it():
        async with database.write() as tx:
            await tx.conn.execute(new_ven("v1"))
            backend = await tx.conn.scalar(select(func.pg_backend_pid()))
            async with others.write() as killer:
                await killer.conn.execute(select(func.pg_terminate_backend(backend)))
            await tx.conn.execute(new_ven("v2"))

    with pytest.raises(UnavailableError):
        await lose_it()
    await add_vens(database, "v3")
    assert await count(database) == 1
    await others.close()
    await database.close()


async def test_a_savepoint_undoes_what_failed_and_keeps_the_rest(database):
    heard = []
    database.on_change(heard.append)

    async def fail(tx):
        async with tx.savepoint():
            await tx.conn.execute(new_ven("v2"))
            tx.changed("v2")
            raise ConflictError("no")

    async with database.write() as tx:
        await tx.conn.execute(new_ven("v1"))
        tx.changed("v1")
        with pytest.raises(ConflictError, match="no"):
            await fail(tx)
        async with tx.savepoint():
            await tx.conn.execute(new_ven("v3"))
    async with database.read() as conn:
        assert set(await conn.scalars(select(ven.c.id))) == {"v1", "v3"}
    assert heard == [frozenset({"v1"})]


async def test_the_audit_says_who_did_what(database):
    async with database.write() as tx:
        await tx.audit("ada", "register", "v1", None, VenProfile(ven_name="kitchen"), at=NOON)
        await tx.audit("ada", "rename", "x" * 300, {"name": "a"}, {"name": "b"}, at=NOON)
    async with database.read() as conn:
        first, second = (await conn.execute(select(audit).order_by(audit.c.id))).all()
    assert (first.who, first.action, first.subject, first.at, first.before) == ("ada", "register", "v1", NOON, None)
    assert first.after["ven_name"] == "kitchen"
    assert (second.before, second.after, len(second.subject)) == ({"name": "a"}, {"name": "b"}, 200)


async def test_numbers_of_deleted_rows_are_not_given_again(database):
    await add_vens(database, "v1")
    row = {"ven_id": "v1", "kind": "events_changed", "state": "pending", "created_at": NOON, "due_at": NOON}
    numbers = []
    for _ in range(2):
        async with database.write() as tx:
            numbers.append((await tx.conn.execute(insert(outbox).values(row).returning(outbox.c.id))).scalar_one())
            await tx.conn.execute(outbox.delete())
    assert numbers[0] < numbers[1]


# -- who changed


async def test_changes_are_told_after_the_commit_and_not_without_one(database):
    heard = []
    seen = []

    def broken(ven_ids):
        raise ValueError(ven_ids)

    async def fail():
        async with database.write() as tx:
            tx.changed("v3")
            raise KeyError

    database.on_change(broken)
    database.on_change(heard.append)
    async with database.write() as tx:
        tx.changed("v1", "v2")
        tx.changed("v2")
        seen.extend(heard)
    with pytest.raises(KeyError):
        await fail()
    async with database.write():
        pass
    assert seen == []
    assert heard == [frozenset({"v1", "v2"})]


async def test_changes_of_another_process_are_heard(postgresql_url):
    here, there = await Database.open(postgresql_url), await Database.open(postgresql_url)
    heard_here, heard_there = [], []
    here.on_change(heard_here.append)
    there.on_change(heard_there.append)
    async with there.write() as tx:
        tx.changed("v1", 'odd "id"\u00fc')
    await until(lambda: heard_here, "the notice")
    async with here.write() as tx:
        tx.changed(*(f"ven-{number}" for number in range(10_000)))
    await until(lambda: len(heard_there) > 1, "the big notice")
    assert heard_here == [frozenset({"v1", 'odd "id"\u00fc'}), frozenset(f"ven-{n}" for n in range(10_000))]
    assert heard_there == [heard_here[0], EVERYTHING]
    await here.close()
    await there.close()


async def test_after_a_lost_connection_everything_may_have_changed(postgresql_url):
    here, there = await Database.open(postgresql_url), await Database.open(postgresql_url)
    heard = []
    here.on_change(heard.append)
    async with there.write() as tx:
        listeners = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        await tx.conn.execute(text(f"{listeners} AND pid <> pg_backend_pid()"))
    await until(lambda: EVERYTHING in heard, "the reconnection")
    heard.clear()
    async with there.write() as tx:
        tx.changed("v1")
    await until(lambda: heard, "the notice")
    assert heard == [frozenset({"v1"})]
    await here.close()
    await there.close()


async def test_somebody_elses_notice_means_everything(postgresql_url):
    database = await Database.open(postgresql_url)
    heard = []
    database.on_change(heard.append)
    async with database.write() as tx:
        for payload in ("", "not json", "[]", "{}", "7"):
            await tx.conn.execute(select(func.pg_notify("evenload", payload)))
    await until(lambda: heard, "the notice")
    assert set(heard) == {EVERYTHING}
    await database.close()


@given(st.frozensets(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=200))
def test_notices_are_short_and_name_every_ven(ven_ids):
    sent = list(payloads("me", ven_ids))
    assert all(len(payload.encode()) < 8000 for payload in sent)
    assert {name for payload in sent for name in json.loads(payload)[1:]} == ven_ids


async def test_a_database_that_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "vtn.db"
    await (await Database.open(f"sqlite:///{path}")).close()
    path.chmod(0o644)
    database = await Database.open(f"sqlite:///{path}")
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}
    await database.close()


async def test_a_database_that_could_not_be_written_is_not_ready(tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    database = await Database.open(f"sqlite:///{place / 'vtn.db'}")
    await database.check()
    assert not list(place.glob("*probe"))
    usage = shutil.disk_usage(place)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
        with pytest.raises(UnavailableError, match="nearly full"):
            await database.check()
    with monkeypatch.context() as patch:
        patch.setattr(engines.os, "fsync", _full)
        with pytest.raises(UnavailableError, match="No space left"):
            await database.check()
    assert not list(place.glob(".*probe"))
    await database.close()


def _full(_handle):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
