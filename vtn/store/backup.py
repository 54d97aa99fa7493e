"""Backup and restore: all rows in one portable file, taken while the VTN runs.

The file is gzip'ed JSON, one value a line: a header with the schema revision, for each table its name and columns and
then its rows, and a last line with the number of rows. It does not depend on the kind of database: a deployment moves
from SQLite to PostgreSQL by a backup and a restore. A file that was cut short or damaged is refused.
"""

import asyncio
import gzip
import json
import os
import secrets
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, DateTime, MetaData, Table, event, func, insert, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from vtn.store import engines, schema
from vtn.store.engines import Address, to_text
from vtn.store.failures import translated
from vtn.store.tables import Json, UtcDateTime

_FORMAT: Final = 1
_BATCH: Final = 500
_VERSION_TABLE: Final = "alembic_version"
_DAMAGED: Final = "The backup is damaged or was cut short"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backup holds: its schema revision and how many rows."""

    revision: str
    rows: int


async def backup(url: str, target: Path) -> Summary:
    """Write all rows of a database, as they are at one moment, to a file (0600) that replaces `target` when complete.

    The VTN may run meanwhile. Raises NotFoundError or ConflictError where there is no database of ours, and
    UnavailableError if it is damaged (SQLite checks it first) or the file cannot be written.
    """
    address = engines.parse(url)
    if address.path is not None:
        engines.prepare_file(address.path, create=False)
    writing = engines.writer(address)
    reading = engines.reader(address, writing)
    try:
        with _replacing(target) as temporary, translated():
            async with reading.connect() as conn:
                return await _dump(conn, address.label, temporary)
    finally:
        await reading.dispose()
        await writing.dispose()


async def restore(source: Path, url: str) -> Summary:
    """Fill an empty database from a backup, and bring its schema up to date. All of it or nothing.

    Raises ConflictError if the database has tables already or the backup comes from a newer evenload, InvalidError
    if the file is no complete backup.
    """
    address = engines.parse(url)
    async with _empty(address) as place:
        engine = engines.keeper(place)
        try:
            with translated(), _reading(source) as lines:
                async with engine.connect() as conn, conn.begin():
                    await schema.lock(conn)
                    return await _fill(conn, address.label, lines)
        finally:
            await engine.dispose()


# -- writing


async def _dump(conn: AsyncConnection, label: str, target: Path) -> Summary:
    revision = await conn.run_sync(schema.revision_of)
    if revision is None or not schema.is_known(revision):
        raise ConflictError(f"{label} has schema {revision or 'none'}, which this evenload cannot back up.")
    if conn.dialect.name == engines.SQLITE:
        await _check_integrity(conn, label)
    tables = await conn.run_sync(_tables)
    rows = 0
    with gzip.open(target, "wt", encoding="utf-8", compresslevel=6) as file:
        taken_at = datetime.now(UTC).isoformat()
        file.write(to_text({"evenload_backup": _FORMAT, "schema": revision, "taken_at": taken_at}) + "\n")
        for table in tables:
            file.write(to_text({"table": table.name, "columns": [column.name for column in table.columns]}) + "\n")
            result = await conn.stream(select(table).order_by(*table.primary_key.columns))
            async for batch in result.partitions(_BATCH):
                await asyncio.to_thread(file.writelines, [to_text(_encoded(row)) + "\n" for row in batch])
                rows += len(batch)
        file.write(to_text({"end": rows}) + "\n")
    return Summary(revision, rows)


async def _check_integrity(conn: AsyncConnection, label: str) -> None:
    found = (await conn.execute(text("PRAGMA integrity_check(1)"))).scalar_one()
    if found != "ok":
        raise UnavailableError(f"{label} is damaged, so it is not backed up: {found}. Restore an older backup.")


def _encoded(row: Any) -> list[Any]:
    return [value.isoformat() if isinstance(value, datetime) else value for value in row]


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


async def _fill(conn: AsyncConnection, label: str, lines: Iterator[Any]) -> Summary:
    revision = _revision_of(next(lines, None))
    if await conn.run_sync(lambda connection: inspect(connection).get_table_names()):
        raise ConflictError(f"{label} is not empty. Restore into a new database.")
    await schema.migrate(conn, revision)
    tables = {table.name: table for table in await conn.run_sync(_tables)}
    rows = 0
    batches = _batches(lines)
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        name, names, values = batch
        if name not in tables or not set(names) <= set(tables[name].columns.keys()):
            raise InvalidError(f"The backup has a table '{name}' that does not fit schema {revision}.")
        columns = [tables[name].columns[column] for column in names]
        await conn.execute(insert(tables[name]), [_decoded(columns, row) for row in values])
        rows += len(values)
    if conn.dialect.name == engines.POSTGRESQL:
        await _reset_sequences(conn, tables.values())
    await schema.migrate(conn, schema.HEAD)
    return Summary(revision, rows)


def _revision_of(header: Any) -> str:
    if not isinstance(header, dict) or header.get("evenload_backup") != _FORMAT:
        raise InvalidError("This file is no evenload backup.")
    revision = str(header.get("schema"))
    if not schema.is_known(revision):
        raise ConflictError(f"The backup has schema {revision}: a newer evenload wrote it. Restore it with that one.")
    return revision


def _batches(lines: Iterator[Any]) -> Iterator[tuple[str, list[str], list[list[Any]]]]:
    """Yield (table, columns, rows), some hundred rows at a time. Raises InvalidError unless all rows are there."""
    table, count = "", 0
    columns: list[str] = []
    rows: list[list[Any]] = []
    for line in lines:
        if isinstance(line, list) and len(line) == len(columns):
            count += 1
            rows.append(line)
        elif not isinstance(line, dict):
            raise InvalidError(f"{_DAMAGED}: a row of table '{table}' does not fit its columns.")
        if rows and (len(rows) == _BATCH or isinstance(line, dict)):
            yield table, columns, rows
            rows = []
        if isinstance(line, dict) and "end" in line:
            if line["end"] != count:
                break
            return
        if isinstance(line, dict):
            table, columns = str(line.get("table")), list(line.get("columns", ()))
    raise InvalidError(f"{_DAMAGED}: not all rows are there ({count} are).")


@contextmanager
def _reading(source: Path) -> Iterator[Iterator[Any]]:
    """Yield the lines of a backup, decoded."""
    if not source.is_file():
        raise NotFoundError(f"There is no backup at {source}.")
    with gzip.open(source, "rt", encoding="utf-8") as file:
        yield _lines(file)


def _lines(file: Iterable[str]) -> Iterator[Any]:
    try:
        for line in file:
            yield json.loads(line)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, RecursionError) as error:
        raise InvalidError(f"{_DAMAGED}: {error}.") from error


def _decoded(columns: Sequence[Column[Any]], row: list[Any]) -> dict[str, Any]:
    return {column.name: _value(column, value) for column, value in zip(columns, row, strict=True)}


def _value(column: Column[Any], value: Any) -> Any:
    if value is None or not isinstance(column.type, UtcDateTime):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise InvalidError(f"{_DAMAGED}: {column.name} of a row of {column.table.name} is no time.") from error


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
