"""What is backed up comes back, on either kind of database; what is damaged or not ours leaves nothing."""

import asyncio
import gzip
import json
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, inspect, select, text

from core.errors import ConflictError, EvenloadError, InvalidError, NotFoundError, UnavailableError
from support.databases import NOON, add_vens
from vtn.store import Database, engines
from vtn.store.backup import backup, restore
from vtn.store.readings import SeriesKey, Values, load, merge_days, store
from vtn.store.tables import METADATA, audit, opt, outbox, party, party_personal, programme, site, ven

KEY = SeriesKey("v1", "meter", "energy_real", "sum")


async def fill(database):
    """Add rows of every kind of column: references, JSON, no JSON, odd text, numbers, times, truth values."""
    await add_vens(database, "v1", "v2", 'odd "id"\u00fc\u2028')
    async with database.write() as tx:
        await tx.conn.execute(insert(party).values(id="p1", kind="person", created_at=NOON))
        await tx.conn.execute(insert(party_personal).values(party_id="p1", name="Zo\u00eb\n\t\\ 'x'", email=""))
        await tx.conn.execute(insert(site).values(id="s1", party_id="p1", time_zone="Europe/Berlin"))
        await tx.conn.execute(
            insert(ven).values(
                id="v4", name="v4", site_id="s1", strict=True, created_at=NOON + timedelta(microseconds=1)
            )
        )
        await tx.conn.execute(
            insert(programme).values(
                id="pr",
                version=2,
                name="n",
                market_context="http://example.org/",
                parameters={"a": [1, 2.5, None, True, {"b": "\u00e4"}], "z": {}},
                created_at=NOON,
            )
        )
        row = {"ven_id": "v1", "source": "operator", "opt_type": "optOut", "at": NOON}
        await tx.conn.execute(insert(opt), [{**row, "response_code": 2**31 - 1} for _ in range(3)])
        await tx.audit("ada", "test", "v1", None, {"x": 1}, at=NOON)
        await tx.audit("ada", "test", "v1", {"x": None}, None, at=NOON)
        for number in range(3):
            received_at = NOON + timedelta(seconds=number)
            await store(tx, KEY, "Wh", Values(60 * number, 60, (0.1 + number, None), None, (60, 59)), received_at)
    await merge_days(database, NOON)


async def content(database):
    async with database.read() as conn:
        return {
            name: sorted((tuple(row) for row in await conn.execute(select(table))), key=repr)
            for name, table in METADATA.tables.items()
        }


async def is_empty(url):
    """Tell whether a failed restore left nothing behind."""
    address = engines.parse(url)
    if address.path is not None:
        return not [each for each in address.path.parent.iterdir() if address.path.name in each.name]
    engine = engines.keeper(address)
    async with engine.connect() as conn:
        names = await conn.run_sync(lambda connection: inspect(connection).get_table_names())
    await engine.dispose()
    return names == []


async def test_everything_comes_back_on_either_kind_of_database(database, database_url, empty_database_url, tmp_path):
    await fill(database)
    before = await content(database)
    file = tmp_path / "vtn.backup"
    made = await backup(database_url, file)
    restored = await restore(file, empty_database_url)
    assert made == restored
    assert made.rows == sum(len(rows) for rows in before.values())
    again = await Database.open(empty_database_url, create=False)
    assert await content(again) == before
    async with again.read() as conn:
        assert await conn.scalar(text("SELECT count(*) FROM reading WHERE ven_id = 'v1'")) == 6
        assert len(await load(conn, KEY, 0, 2**40, as_of=NOON)) == 2
        assert await conn.scalar(select(func.count()).where(audit.c.before.is_(None))) == 1
    async with again.write() as tx:
        values = {"ven_id": "v1", "source": "operator", "opt_type": "optIn", "at": NOON}
        number = (await tx.conn.execute(insert(opt).values(values).returning(opt.c.sequence))).scalar_one()
        first = {"ven_id": "v1", "kind": "events", "state": "pending", "created_at": NOON, "due_at": NOON}
        await tx.conn.execute(insert(outbox).values(first))
    assert number == 4
    await again.close()


async def test_a_backup_is_its_owners_alone_and_replaces_the_last_one(database, database_url, tmp_path):
    file = tmp_path / "backups" / "vtn.backup"
    file.parent.mkdir()
    await backup(database_url, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await add_vens(database, "v1")
    assert (await backup(database_url, file)).rows == 1
    assert [each.name for each in file.parent.iterdir()] == ["vtn.backup"]


async def test_a_backup_while_the_vtn_writes_is_of_one_moment(database, database_url, tmp_path):
    stop = asyncio.Event()

    async def write_pairs():
        number = 0
        while not stop.is_set():
            async with database.write() as tx:
                await tx.conn.execute(insert(party).values(id=f"p{number}", kind="person", created_at=NOON))
                await tx.audit("x", "test", f"p{number}", at=NOON)
            number += 1

    writing = asyncio.create_task(write_pairs())
    for _ in range(3):
        await backup(database_url, tmp_path / "vtn.backup")
    stop.set()
    await writing
    with gzip.open(tmp_path / "vtn.backup", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    counts = {}
    for line in lines:
        if isinstance(line, dict):
            table = line.get("table")
        else:
            counts[table] = counts.get(table, 0) + 1
    assert counts["party"] == counts["audit"] > 0
    assert set(counts) == {"party", "audit"}


async def test_only_an_empty_database_is_filled(database, database_url, tmp_path):
    await add_vens(database, "v1")
    before = await content(database)
    await backup(database_url, tmp_path / "vtn.backup")
    with pytest.raises(ConflictError, match="new database"):
        await restore(tmp_path / "vtn.backup", database_url)
    assert await content(database) == before


async def test_files_left_beside_a_missing_database_are_not_mixed_in(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")
    await database.close()
    await backup(f"sqlite:///{tmp_path / 'vtn.db'}", tmp_path / "vtn.backup")
    (tmp_path / "new.db-wal").write_bytes(b"left")
    with pytest.raises(ConflictError, match=r"new\.db-wal"):
        await restore(tmp_path / "vtn.backup", f"sqlite:///{tmp_path / 'new.db'}")


def rewritten(change):
    def damage(file: Path) -> None:
        lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().rstrip("\n").split("\n")]
        change(lines)
        file.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))

    return damage


def cut(share: float):
    def damage(file: Path) -> None:
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return damage


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def drop_a_row(lines):
    del lines[next(index for index, line in enumerate(lines) if isinstance(line, list))]


def spoil_a_time(lines):
    index = next(index for index, line in enumerate(lines) if isinstance(line, dict) and line.get("table") == "ven")
    column = lines[index]["columns"].index("created_at")
    lines[index + 1][column] = "yesterday"


DAMAGES = {
    "nothing": lambda file: file.write_bytes(b""),
    "a letter": lambda file: file.write_text("Dear Sir or Madam"),
    "other JSON": lambda file: file.write_bytes(gzip.compress(b"[1]\n[2]\n")),
    "no JSON": lambda file: file.write_bytes(gzip.compress(b"\xff\xfe\n")),
    "cut at 20 %": cut(0.2),
    "cut at 90 %": cut(0.9),
    "flipped": flipped,
    "no end": rewritten(lambda lines: lines.pop()),
    "a row less": rewritten(drop_a_row),
    "a short row": rewritten(lambda lines: lines[-2].pop() if isinstance(lines[-2], list) else lines.insert(-1, [1])),
    "a strange line": rewritten(lambda lines: lines.insert(-1, 7)),
    "a strange table": rewritten(
        lambda lines: lines.__setitem__(slice(-1, None), [{"table": "x", "columns": ["y"]}, [1]])
    ),
    "a strange time": rewritten(spoil_a_time),
    "a newer schema": rewritten(lambda lines: lines[0].__setitem__("schema", "9999")),
    "a newer format": rewritten(lambda lines: lines[0].__setitem__("evenload_backup", 99)),
}


@pytest.fixture(scope="module")
def good_backup(tmp_path_factory):
    """A backup without fault."""
    directory = tmp_path_factory.mktemp("good")

    async def make():
        source = f"sqlite:///{directory / 'source.db'}"
        database = await Database.open(source)
        await fill(database)
        await database.close()
        await backup(source, directory / "vtn.backup")

    with ThreadPoolExecutor(1) as pool:  # the test's thread may have a loop of its own
        pool.submit(lambda: asyncio.run(make())).result()
    return (directory / "vtn.backup").read_bytes()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_backup_is_refused_and_leaves_nothing(damage, good_backup, empty_database_url, tmp_path):
    file = tmp_path / "vtn.backup"
    file.write_bytes(good_backup)
    damage(file)
    with pytest.raises((InvalidError, ConflictError)):
        await restore(file, empty_database_url)
    assert await is_empty(empty_database_url)


async def test_missing_files_are_named(empty_database_url, tmp_path):
    with pytest.raises(NotFoundError, match=r"no\.backup"):
        await restore(tmp_path / "no.backup", empty_database_url)
    assert await is_empty(empty_database_url)
    with pytest.raises(EvenloadError):
        await backup(empty_database_url, tmp_path / "vtn.backup")
    assert not (tmp_path / "vtn.backup").exists()


async def test_a_target_that_cannot_be_written_is_unavailable(database, database_url, tmp_path):
    with pytest.raises(UnavailableError, match="cannot be written"):
        await backup(database_url, tmp_path / "no" / "vtn.backup")


async def test_a_damaged_database_is_not_backed_up(tmp_path):
    path = tmp_path / "vtn.db"
    database = await Database.open(f"sqlite:///{path}")
    await add_vens(database, *(f"v{number}" for number in range(500)))
    await database.close()
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_ven_1'").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek(page * 4096 - 40)
        file.write(b"\xff" * 40)
    with pytest.raises(UnavailableError, match="damaged"):
        await backup(f"sqlite:///{path}", tmp_path / "vtn.backup")
    assert not (tmp_path / "vtn.backup").exists()
