"""Backup and restore: all rows in one portable file, taken while the VTN runs.

The file (`backup_file`) has a header with the schema revision, for each table its name and columns and then its rows,
and a last line with the number of rows. It does not depend on the kind of database: a deployment moves from SQLite to
PostgreSQL by a backup and a restore. A file that was changed, cut short or added to is refused.

Secrets are not in it in the clear: what is worth nothing elsewhere is left out (keys of tokens, sessions), the rest is
sealed under a key that lies elsewhere (`sealing`).
"""

import asyncio
import os
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, DateTime, MetaData, Table, event, func, insert, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import ConflictError, InvalidError, UnavailableError
from vtn.store import backup_file, engines, schema
from vtn.store.backup_file import DAMAGED, Writer
from vtn.store.engines import Address
from vtn.store.errors import translated
from vtn.store.sealing import PREFIX, Sealer
from vtn.store.tables import Json, UtcDateTime

_FORMAT: Final = 2
_UNCHECKED_FORMAT: Final = 1
"""Of earlier versions: without checksum, secrets in the clear."""
_BATCH: Final = 500
_BATCH_BYTES: Final = 4 << 20
_LARGEST: Final = 2**63
_VERSION_TABLE: Final = "alembic_version"
_LEFT_OUT: Final = frozenset({"token_key", "console_session", "login_link", "message_log", "message_event"})
"""Tables that a backup does not hold: keys, by which whoever has them could be anybody, and the message log, which is
large, private and soon forgotten. A restored server makes its own."""
_SEALED: Final[Mapping[tuple[str, str], Callable[[], str | None]]] = {
    ("webhook_subscription", "secret"): lambda: f"whsec_{b64encode(secrets.token_bytes(32)).decode()}",
    ("webhook_subscription", "url"): lambda: "https://lost.invalid/",
    ("tariff_source", "url"): lambda: "https://lost.invalid/",
    ("idempotency", "body"): lambda: None,
}
"""Columns whose values are sealed, each with what takes its place where the key is lost."""

_Batch = tuple[str, list[str], list[list[Any]]]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backup holds: its schema revision and how many rows."""

    revision: str
    rows: int


async def backup(url: str, target: Path, key: Path | None = None) -> Summary:
    """Write all rows of a database, as they are at one moment, to a file (0600) that replaces `target` when complete.

    `key` is the file with the key that seals secrets, made if it is missing. The VTN may run meanwhile. Raises
    NotFoundError or ConflictError where there is no database of ours, ConflictError where there are secrets but no
    `key`, and UnavailableError if the database is damaged (SQLite checks it first) or the file cannot be written.
    """
    address = engines.parse(url)
    if address.path is not None:
        engines.prepare_file(address.path, create=False)
    writing = engines.writer(address)
    reading = engines.reader(address, writing)
    try:
        sealer = None if key is None else await asyncio.to_thread(Sealer.load_or_make, key)
        with _replacing(target) as temporary, translated():
            async with reading.connect() as conn:
                return await _dump(conn, address.label, temporary, sealer)
    finally:
        await reading.dispose()
        await writing.dispose()


async def restore(source: Path, url: str, key: Path | None = None, *, without_secrets: bool = False) -> Summary:
    """Fill an empty database from a backup, and bring its schema up to date. All of it or nothing.

    `key` is the file with the key that sealed its secrets; `without_secrets` does without it, and puts values in their
    place that work for nobody. Raises ConflictError if the database has tables already or the backup comes from a newer
    evenload, InvalidError if the file is no complete backup, or its secrets do not open.
    """
    address = engines.parse(url)
    async with _empty(address) as place:
        engine = engines.keeper(place)
        try:
            with backup_file.reading(source) as (checked, lines), translated():
                revision, key_id = await asyncio.to_thread(_header, next(lines, (None, 0))[0], checked=checked)
                opened = _opener(key_id, key, without_secrets=without_secrets)
                async with engine.connect() as conn, conn.begin():
                    await schema.lock(conn)
                    return await _fill(conn, address.label, revision, lines, opened)
        finally:
            await engine.dispose()


# -- writing


async def _dump(conn: AsyncConnection, label: str, target: Path, sealer: Sealer | None) -> Summary:
    revision = await conn.run_sync(schema.revision_of)
    if revision is None or not schema.is_known(revision):
        raise ConflictError(f"{label} has schema {revision or 'none'}, which this evenload cannot back up.")
    if conn.dialect.name == engines.SQLITE:
        await _check_integrity(conn, label)
    tables = [table for table in await conn.run_sync(_tables) if table.name not in _LEFT_OUT]
    taken_at = datetime.now(UTC).isoformat()
    key_id = None if sealer is None else sealer.key_id
    rows = 0
    with backup_file.writing(target) as file:
        file.write([{"evenload_backup": _FORMAT, "schema": revision, "taken_at": taken_at, "key": key_id}])
        for table in tables:
            rows += await _dump_table(conn, table, file, sealer)
        file.write([{"end": rows}])
    return Summary(revision, rows)


async def _dump_table(conn: AsyncConnection, table: Table, file: Writer, sealer: Sealer | None) -> int:
    columns = list(table.columns)
    encoders = [_encoder(column, sealer) for column in columns]
    file.write([{"table": table.name, "columns": [column.name for column in columns]}])
    rows = 0
    result = await conn.stream(select(table).order_by(*table.primary_key.columns))
    async for batch in result.partitions(_BATCH):
        encoded = ([encode(value) for encode, value in zip(encoders, row, strict=True)] for row in batch)
        await asyncio.to_thread(file.write, encoded)
        rows += len(batch)
    return rows


def _encoder(column: Column[Any], sealer: Sealer | None) -> Callable[[Any], Any]:
    place = f"{column.table.name}.{column.name}"
    if (column.table.name, column.name) not in _SEALED:
        return lambda value: value.isoformat() if isinstance(value, datetime) else value

    def seal(value: Any) -> Any:
        if value is None:
            return None
        if sealer is None:
            raise ConflictError(f"The database holds secrets ({place}): name the file of the key that seals them.")
        return sealer.seal(value, place)

    return seal


async def _check_integrity(conn: AsyncConnection, label: str) -> None:
    found = (await conn.execute(text("PRAGMA integrity_check(1)"))).scalar_one()
    if found != "ok":
        raise UnavailableError(f"{label} is damaged, so it is not backed up: {found}. Restore an older backup.")


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a new file (0600) beside `target`, which takes its place at the end, or vanishes."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise UnavailableError(f"{target} cannot be written: {error.strerror}.") from error
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        engines.sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


# -- reading


def _header(header: Any, *, checked: bool) -> tuple[str, str | None]:
    """Return schema revision and name of the key. Raises InvalidError, ConflictError for a newer backup."""
    number = header.get("evenload_backup") if isinstance(header, dict) else None
    if number not in (_FORMAT, _UNCHECKED_FORMAT) or isinstance(number, bool):
        raise InvalidError("This file is no evenload backup.")
    if number == _FORMAT and not checked:
        raise InvalidError(f"{DAMAGED}: its checksum is not right. Take another copy.")
    revision, key_id = str(header.get("schema")), header.get("key")
    if schema.is_too_old(revision):
        raise ConflictError(f"The backup has schema {revision}, which is too old to be restored.")
    if not schema.is_known(revision):
        raise ConflictError(f"The backup has schema {revision}: a newer evenload wrote it. Restore it with that one.")
    return revision, key_id if isinstance(key_id, str) else None


def _opener(key_id: str | None, key: Path | None, *, without_secrets: bool) -> Callable[[str, str, str], str | None]:
    """Return what opens the sealed value of a table and column."""
    sealer: Sealer | None = None

    def opened(table: str, column: str, value: str) -> str | None:
        nonlocal sealer
        if without_secrets:
            return _SEALED[table, column]()
        if sealer is None:
            sealer = _key_of(key_id, key)
        found = sealer.open(value, f"{table}.{column}")
        return None if found is None else str(found)

    return opened


def _key_of(key_id: str | None, key: Path | None) -> Sealer:
    how = "Copy the key from the server whose backup this is, or restore with --without-secrets."
    if key is None or not key.is_file():
        raise InvalidError(f"The backup's secrets are sealed under key {key_id}, and there is none at {key}. {how}")
    sealer = Sealer.load(key)
    if sealer.key_id != key_id:
        raise InvalidError(f"The backup's secrets are sealed under key {key_id}; {key} is another one. {how}")
    return sealer


async def _fill(
    conn: AsyncConnection,
    label: str,
    revision: str,
    lines: Iterator[tuple[Any, int]],
    opened: Callable[[str, str, str], str | None],
) -> Summary:
    if await conn.run_sync(lambda connection: inspect(connection).get_table_names()):
        raise ConflictError(f"{label} is not empty. Restore into a new database.")
    await schema.make(conn, revision)
    tables = {table.name: table for table in await conn.run_sync(_tables)}
    rows = 0
    batches = _batches(lines)
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        name, names, values = batch
        if name not in tables or not set(names) <= set(tables[name].columns.keys()):
            raise InvalidError(f"The backup has a table '{name[:80]}' that does not fit schema {revision}.")
        if name in _LEFT_OUT:  # an older backup holds them
            continue
        decoders = [_decoder(tables[name].columns[column], opened) for column in names]
        decoded = [
            {column: decode(value) for column, decode, value in zip(names, decoders, row, strict=True)}
            for row in values
        ]
        await _insert(conn, tables[name], decoded)
        rows += len(values)
    if conn.dialect.name == engines.POSTGRESQL:
        await _reset_sequences(conn, tables.values())
    await schema.migrate(conn, schema.HEAD)
    return Summary(revision, rows)


async def _insert(conn: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    try:
        with translated():
            await conn.execute(insert(table), rows)
    except (ConflictError, ValueError) as error:
        why = str(error).splitlines()[0][:300]
        raise InvalidError(f"{DAMAGED}: a row of table '{table.name}' cannot be: {why}") from error


def _batches(lines: Iterator[tuple[Any, int]]) -> Iterator[_Batch]:
    """Yield (table, columns, rows), some hundred rows at a time. Raises InvalidError unless all rows are there."""
    table, count, size = "", 0, 0
    columns: list[str] = []
    rows: list[list[Any]] = []
    for line, length in lines:
        if isinstance(line, list) and columns and len(line) == len(columns):
            count += 1
            size += length
            rows.append(line)
        elif not isinstance(line, dict):
            raise InvalidError(f"{DAMAGED}: a row of table '{table[:80]}' does not fit its columns.")
        if rows and (len(rows) == _BATCH or size > _BATCH_BYTES or isinstance(line, dict)):
            yield table, columns, rows
            rows, size = [], 0
        if isinstance(line, dict) and "end" in line:
            if line["end"] != count:
                break
            if next(lines, None) is not None:  # this reads on to gzip's own checksum
                raise InvalidError(f"{DAMAGED}: something stands behind its end.")
            return
        if isinstance(line, dict):
            table, columns = _heading(line)
    raise InvalidError(f"{DAMAGED}: not all rows are there ({count} are).")


def _heading(line: dict[str, Any]) -> tuple[str, list[str]]:
    match line:
        case {"table": str(table), "columns": [*columns]} if columns and all(isinstance(one, str) for one in columns):
            if len(set(columns)) == len(columns):
                return table, columns
    raise InvalidError(f"{DAMAGED}: a line begins no table.")


def _decoder(column: Column[Any], opened: Callable[[str, str, str], str | None]) -> Callable[[Any], Any]:
    """Return what turns a value of the file into one of this column. It raises InvalidError."""
    table, name = column.table.name, column.name
    if isinstance(column.type, Json):
        return lambda value: value
    kind = datetime if isinstance(column.type, UtcDateTime) else column.type.python_type
    fault = f"{DAMAGED}: {name} of a row of {table} is no {'time' if kind is datetime else kind.__name__}."

    def decode(value: Any) -> Any:
        if value is None:
            return None
        if (table, name) in _SEALED and isinstance(value, str) and value.startswith(PREFIX):
            return opened(table, name, value)
        if kind is datetime:
            return _time(value, fault)
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind or (isinstance(value, int) and not -_LARGEST <= value < _LARGEST):
            raise InvalidError(fault)
        return value

    return decode


def _time(value: Any, fault: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise InvalidError(fault) from error
    if time.tzinfo is None:
        raise InvalidError(fault)
    return time


async def _reset_sequences(conn: AsyncConnection, tables: Iterable[Table]) -> None:
    """Let PostgreSQL count on after the highest number that was restored."""
    for table in tables:
        for column in table.primary_key.columns:
            quoted = conn.dialect.identifier_preparer.quote(table.name)
            sequence = await conn.scalar(select(func.pg_get_serial_sequence(quoted, column.name)))
            if sequence is not None and (highest := await conn.scalar(select(func.max(column)))) is not None:
                await conn.execute(select(func.setval(sequence, highest)))


@asynccontextmanager
async def _empty(address: Address) -> AsyncIterator[Address]:
    """Yield where to restore: for SQLite a new file beside the wanted one, which takes its place at the end."""
    if address.path is None:
        yield address
        return
    target = address.path
    for path in (target, *_companions(target)):
        if path.exists() and path.stat().st_size:
            raise ConflictError(f"{path} is there already. Restore into a new database, or move it away.")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    engines.prepare_file(temporary, create=True)
    try:
        yield replace(address, path=temporary)
        if any(path.exists() for path in _companions(temporary)):
            raise UnavailableError(f"{target} could not be completed; nothing was restored. Try again.")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        engines.sync_directory(target.parent)
    finally:
        for path in (temporary, *_companions(temporary)):
            path.unlink(missing_ok=True)


def _companions(path: Path) -> list[Path]:
    """Return the files that SQLite keeps beside a database with unfinished work."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]


def _tables(connection: Connection) -> list[Table]:
    """Return the tables that the database has, whatever its revision, referred-to ones first."""
    metadata = MetaData()

    @event.listens_for(metadata, "column_reflect")
    def _ours(_inspector: object, _table: object, info: Any) -> None:
        if isinstance(info["type"], DateTime):
            info["type"] = UtcDateTime()
        elif isinstance(info["type"], JSON):
            info["type"] = Json

    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != _VERSION_TABLE]
