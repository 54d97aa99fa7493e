"""What is backed up comes back, on either kind of database; what is damaged or not ours leaves nothing."""

import asyncio
import gzip
import hashlib
import json
import sqlite3
import stat
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, inspect, select, text

from aggregator import tables as aggregator_tables
from core.errors import ConflictError, EvenloadError, InvalidError, NotFoundError, UnavailableError
from support import postgres
from support.databases import NOON, add_vens
from vtn.store import Database, backup_file, engines, tables
from vtn.store.backup import backup, restore
from vtn.store.readings import SeriesKey, Values, load, merge_days, store
from vtn.store.sealing import Sealer, make_key
from vtn.store.tables import (
    METADATA,
    audit,
    console_session,
    opt,
    outbox,
    party,
    party_personal,
    principal,
    programme,
    site,
    ven,
)

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
                id="v4",
                name="v4",
                site_id="s1",
                strict=True,
                signatures="required",
                unreachable_at=NOON,
                unreachable_why="nobody answers",
                created_at=NOON + timedelta(microseconds=1),
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
        await tx.conn.execute(
            insert(tables.push_line).values(ven_id="v4", failures=5, retry_at=NOON, leased_until=NOON)
        )
        own = {"programme_id": "pr", "day": "2026-12-24", "name": "n", "created_at": NOON, "created_by": "ada"}
        await tx.conn.execute(insert(tables.own_holiday).values(own))
        dark = {"id": "out", "ven_id": "v1", "starts_at": NOON, "reason": "r", "created_at": NOON, "created_by": "ada"}
        await tx.conn.execute(insert(tables.outage).values(dark))
        warm = [{"area": area, "time_s": 2**33, "celsius": -7.1, "received_at": NOON} for area in ("", "N\u00f6rd")]
        await tx.conn.execute(insert(tables.temperature), warm)
        wish = {"request_id": "r", "request": {"a": 1}, "next_at": NOON, "last": False, "created_at": NOON}
        await tx.conn.execute(insert(tables.own_report).values(ven_id="v1", **wish))
        await tx.conn.execute(insert(tables.used_nonce).values(key="0" * 32, expires_at=NOON))
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
        first = {"ven_id": "v1", "kind": "events_changed", "state": "pending", "created_at": NOON, "due_at": NOON}
        await tx.conn.execute(insert(outbox).values(first))
    assert number == 4
    await again.close()


async def test_the_message_log_stays_where_it_is(database, database_url, empty_database_url, tmp_path):
    plain = {"who": "v1", "fingerprint": "", "sender": "ven", "profile": "2.0b", "fault": False, "cut": False}
    sizes = {"request_bytes": 1, "answer_bytes": 1, "size": 1, "subjects": {}}
    async with database.write() as tx:
        await tx.conn.execute(insert(tables.message_log).values(id="m", at=NOON, bodies=b"private", **plain, **sizes))
        await tx.conn.execute(insert(tables.message_event).values(message_id="m", event_id="private"))
    assert (await backup(database_url, tmp_path / "vtn.backup")).rows == 0
    assert b"private" not in gzip.decompress((tmp_path / "vtn.backup").read_bytes())
    assert (await restore(tmp_path / "vtn.backup", empty_database_url)).rows == 0


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


def lines_of(file: Path) -> list:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().rstrip("\n").split("\n")]


def rewritten(change):
    """Change the lines and leave the checksum right, so that they are refused for what they say."""

    def damage(file: Path) -> None:
        lines = lines_of(file)
        change(lines)
        with gzip.open(file, "wb") as packed:
            packed.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        packed_bytes = file.read_bytes()
        digest = hashlib.sha256(packed_bytes).digest()
        file.write_bytes(packed_bytes + backup_file._SEAL_HEAD + digest + backup_file._SEAL_TAIL)

    return damage


def in_ven(column: str, value):
    """Put a value into a row of table `ven`."""

    def change(lines):
        index = next(index for index, line in enumerate(lines) if isinstance(line, dict) and line.get("table") == "ven")
        lines[index + 1][lines[index]["columns"].index(column)] = value

    return rewritten(change)


def in_heading(**values):
    def change(lines):
        index = next(index for index, line in enumerate(lines) if isinstance(line, dict) and line.get("table") == "ven")
        lines[index] |= values

    return rewritten(change)


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


FILES = {
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
    "no list of columns": in_heading(columns=5),
    "columns that are no names": in_heading(columns=[["id"], {}]),
    "a column twice": in_heading(columns=["id", "id"]),
    "a strange column": in_heading(columns=["id", "colour"]),
    "a table that is no name": in_heading(table={}),
    "something behind the end": rewritten(lambda lines: lines.append({"table": "ven", "columns": ["id"]})),
    "two ends": rewritten(lambda lines: lines.append(lines[-1])),
    "a byte behind the end": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "another file behind the end": lambda file: file.write_bytes(file.read_bytes() + gzip.compress(b"")),
    "without checksum": lambda file: file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()))),
    "deep": lambda file: file.write_bytes(gzip.compress(b"[" * 100_000)),
    "UTF-16": lambda file: file.write_bytes(gzip.compress('{"evenload_backup": 1}\n'.encode("utf-16"))),
    "a schema too old": rewritten(lambda lines: lines[0].__setitem__("schema", "0001")),
    "a newer schema": rewritten(lambda lines: lines[0].__setitem__("schema", "9999")),
    "a newer format": rewritten(lambda lines: lines[0].__setitem__("evenload_backup", 99)),
}
"""Files that are wrong whatever they are restored into."""
VALUES = {
    "a strange time": in_ven("created_at", "yesterday"),
    "a time without zone": in_ven("created_at", "2026-01-01T00:00:00"),
    "a number for a time": in_ven("created_at", 7),
    "a list for a text": in_ven("name", ["x"]),
    "a text for a number": in_ven("poll_period_s", "10"),
    "a number too large": in_ven("poll_period_s", 2**70),
    "half a character": in_ven("name", "\ud800"),
    "nothing where something must be": in_ven("name", None),
    "no number": in_ven("profile", float("nan")),
    "an infinite number": in_ven("profile", [float("inf")]),
    "a name twice": in_ven("name", "v2"),
    "a site that is not there": in_ven("site_id", "nowhere"),
}
"""Values that a database may judge in its own way."""


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


async def _is_refused(damage, backup, url, tmp_path):
    file = tmp_path / "vtn.backup"
    file.write_bytes(backup)
    damage(file)
    with pytest.raises(EvenloadError) as refused:
        await restore(file, url)
    assert len(str(refused.value).splitlines()) == 1
    assert await is_empty(url)


@pytest.mark.parametrize("damage", (FILES | VALUES).values(), ids=FILES | VALUES)
async def test_a_damaged_backup_is_refused_and_leaves_nothing(damage, good_backup, tmp_path):
    await _is_refused(damage, good_backup, f"sqlite:///{tmp_path / 'empty.db'}", tmp_path)


async def test_postgresql_refuses_values_that_cannot_be_and_keeps_nothing(good_backup, request, tmp_path):
    with postgres.cluster(request.config).database(migrated=False) as url:
        for damage in VALUES.values():
            await _is_refused(damage, good_backup, url, tmp_path)


async def test_a_backup_with_one_bit_flipped_is_refused_wherever_it_lies(good_backup, tmp_path):
    file, bits = tmp_path / "vtn.backup", 8 * len(good_backup)
    places = {*range(80), *range(bits - 8 * 70, bits, 3), *range(0, bits, bits // 100)}
    for place in sorted(places):
        data = bytearray(good_backup)
        data[place // 8] ^= 1 << place % 8
        file.write_bytes(data)
        with pytest.raises(InvalidError, match=r"damaged|no evenload backup"):
            await restore(file, f"sqlite:///{tmp_path / 'new.db'}")
        assert [each.name for each in tmp_path.iterdir()] == ["vtn.backup"], place


async def test_a_backup_that_unpacks_to_more_than_memory_is_refused_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(backup_file, "_LONGEST_LINE", 1 << 20)
    file = tmp_path / "vtn.backup"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        packed.write(b'{"evenload_backup": 1, "schema": "')
        for _ in range(64):
            packed.write(b"x" * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidError, match="longer than any row"):
            await restore(file, f"sqlite:///{tmp_path / 'new.db'}")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


SECRETS = {
    "webhook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "webhook's address": "https://hooks.example/T0001/B0002/token-in-path",
    "price source": "https://prices.example/v1?securityToken=9a1c",
    "answer": '{"secret": "whsec_remembered"}',
    "token key": "private-d-of-the-key",
    "form": "csrf-of-a-session",
}


async def fill_secrets(database):
    async with database.write() as tx:
        await tx.conn.execute(insert(party).values(id="brp", kind="brp", created_at=NOON))
        await tx.conn.execute(insert(tables.token_key).values(id="k", key={"d": SECRETS["token key"]}, created_at=NOON))
        hook = {"url": SECRETS["webhook's address"], "events": [], "secret": SECRETS["webhook"], "created_at": NOON}
        await tx.conn.execute(insert(tables.webhook_subscription).values(id="w", party_id="brp", **hook))
        answer = {"caller": "c", "key": "k", "request_hash": "h", "status": 201, "created_at": NOON}
        await tx.conn.execute(insert(tables.idempotency).values(body=SECRETS["answer"], **answer))
        price = {"kind": "network", "name": "t", "currency": "EUR", "vat_included": True, "created_at": NOON}
        await tx.conn.execute(insert(aggregator_tables.tariff).values(id="t", **price))
        source = {"mapping": {}, "every_s": 60, "due_at": NOON}
        await tx.conn.execute(
            insert(aggregator_tables.tariff_source).values(tariff_id="t", url=SECRETS["price source"], **source)
        )
        await tx.conn.execute(insert(principal).values(id="p", name="p", role="admin", token_hash="h", created_at=NOON))
        session = {"token_hash": "s", "csrf": SECRETS["form"], "created_at": NOON, "seen_at": NOON, "expires_at": NOON}
        await tx.conn.execute(insert(console_session).values(principal_id="p", **session))


def stored_secrets(path: Path):
    with sqlite3.connect(path) as connection:
        query = (
            "SELECT secret, url, (SELECT url FROM tariff_source), (SELECT body FROM idempotency),"
            " (SELECT count(*) FROM token_key), (SELECT count(*) FROM console_session) FROM webhook_subscription"
        )
        return connection.execute(query).fetchone()


@pytest.fixture
async def with_secrets(tmp_path):
    """A database with every kind of secret, a backup of it, and the key."""
    source, key = f"sqlite:///{tmp_path / 'source.db'}", tmp_path / "backup.key"
    database = await Database.open(source)
    await fill_secrets(database)
    await database.close()
    await backup(source, tmp_path / "vtn.backup", key)
    return tmp_path / "vtn.backup", key


async def test_a_backup_holds_no_secret_in_the_clear_and_restores_them_with_its_key(with_secrets, tmp_path):
    file, key = with_secrets
    text_of_it = gzip.decompress(file.read_bytes()).decode()
    assert not [name for name, secret in SECRETS.items() if secret in text_of_it or json.dumps(secret) in text_of_it]
    assert key.read_text().strip() not in text_of_it
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    await restore(file, f"sqlite:///{tmp_path / 'new.db'}", key)
    secret, url, source, body, keys, sessions = stored_secrets(tmp_path / "new.db")
    assert secret == SECRETS["webhook"]
    assert url == SECRETS["webhook's address"]
    assert source == SECRETS["price source"]
    assert body == SECRETS["answer"]
    assert (keys, sessions) == (0, 0)


async def test_without_its_key_a_backup_with_secrets_says_what_to_do(with_secrets, tmp_path):
    file, key = with_secrets
    new = f"sqlite:///{tmp_path / 'new.db'}"
    other = tmp_path / "other.key"
    make_key(other)
    for wrong in (None, tmp_path / "none.key", other):
        with pytest.raises(InvalidError, match="--without-secrets"):
            await restore(file, new, wrong)
        assert await is_empty(new)
    key.chmod(0o644)
    with pytest.raises(InvalidError, match="chmod 600"):
        await restore(file, new, key)
    await restore(file, new, without_secrets=True)
    secret, url, _, body, _, _ = stored_secrets(tmp_path / "new.db")
    assert secret.startswith("whsec_")
    assert secret != SECRETS["webhook"]
    assert (url, body) == ("https://lost.invalid/", None)


async def test_secrets_without_a_key_are_not_backed_up(with_secrets, tmp_path):
    with pytest.raises(ConflictError, match="name the file of the key"):
        await backup(f"sqlite:///{tmp_path / 'source.db'}", tmp_path / "again.backup")
    assert not (tmp_path / "again.backup").exists()


async def test_a_sealed_value_opens_only_where_it_was_sealed():
    sealer = Sealer(bytes(32))
    sealed = sealer.seal({"a": "\u00e4"}, "a.b")
    assert sealer.open(sealed, "a.b") == {"a": "\u00e4"}
    for broken, place in ((sealed, "a.c"), (sealed[:-8] + "AAAAAAA=", "a.b"), ("sealed:!", "a.b"), ("sealed:", "a.b")):
        with pytest.raises(InvalidError, match="does not open"):
            sealer.open(broken, place)


def _rewritten(lines, known):
    """Yield tables and rows as a database with only those tables and columns would have them."""
    kept: list[int] | None = None
    for line in lines:
        if isinstance(line, dict) and line.get("table"):
            columns = known.get(line["table"])
            kept = None if columns is None else [line["columns"].index(name) for name in columns]
            if columns is not None:
                yield {**line, "columns": columns}
        elif isinstance(line, list) and kept is not None:
            yield [line[place] for place in kept]


async def test_a_backup_of_an_earlier_version_is_restored_without_its_token_keys(good_backup, old_columns, tmp_path):
    """Such a file has no checksum, and secrets in the clear."""
    file = tmp_path / "vtn.backup"
    file.write_bytes(good_backup)
    lines = lines_of(file)
    lines[0] = {"evenload_backup": 1, "schema": "0002", "taken_at": NOON.isoformat()}
    first = next(index for index, line in enumerate(lines) if isinstance(line, dict) and line.get("table"))
    lines = [*lines[:first], *_rewritten(lines[first:-1], old_columns), lines[-1]]
    keys = [{"table": "token_key", "columns": ["id", "key", "created_at", "retired_at"]}]
    keys.append(["k", {"d": "private"}, NOON.isoformat(), None])
    lines[first:first] = keys
    lines[-1]["end"] = sum(isinstance(line, list) for line in lines)
    file.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    await restore(file, f"sqlite:///{tmp_path / 'new.db'}")
    with sqlite3.connect(tmp_path / "new.db") as connection:
        assert connection.execute("SELECT count(*) FROM ven").fetchone() == (4,)
        assert connection.execute("SELECT count(*) FROM token_key").fetchone() == (0,)


async def test_a_backup_of_an_older_schema_comes_back_as_if_its_database_had_been_migrated(
    old_database_url, empty_database_url, tmp_path
):
    file, key = tmp_path / "vtn.backup", tmp_path / "backup.key"
    made = await backup(old_database_url, file, key)
    assert (made.revision, await restore(file, empty_database_url, key)) == ("0002", made)
    migrated = await Database.open(old_database_url)
    restored = await Database.open(empty_database_url, create=False)
    assert await content(restored) == await content(migrated)
    async with restored.write() as tx:
        await tx.audit("ada", "test", "v1", at=NOON)
    await migrated.close()
    await restored.close()


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
