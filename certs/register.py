"""The register of issued certificates: a small SQLite file beside the authority's key.

A certificate is in the register before anybody gets it. Several processes may use the file at the same time.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from core.errors import ConflictError, NotFoundError, UnavailableError
from core.private import private_database

_TABLE = """
CREATE TABLE IF NOT EXISTS certificate (
    serial TEXT PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL, kind TEXT NOT NULL,
    not_before TEXT NOT NULL, not_after TEXT NOT NULL, pem TEXT NOT NULL, revoked_at TEXT, reason TEXT
) STRICT
"""
_COLUMNS = "serial, fingerprint, name, kind, not_before, not_after, pem, revoked_at, reason"
_BUSY_S = 15.0


@dataclass(frozen=True, slots=True)
class Record:
    """One issued certificate. `serial` is lower-case hex; `kind` is a Kind; times are aware UTC."""

    serial: str
    fingerprint: str
    name: str
    kind: str
    not_before: datetime
    not_after: datetime
    pem: str = field(repr=False)
    revoked_at: datetime | None = None
    reason: str | None = None


class Register:
    """The register in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, record: Record) -> None:
        """Enter a certificate; durable when this returns. Raises ConflictError if it is entered already."""
        row = (
            record.serial,
            record.fingerprint,
            record.name,
            record.kind,
            record.not_before.isoformat(),
            record.not_after.isoformat(),
            record.pem,
        )
        with self._open() as database:
            try:
                database.execute(
                    "INSERT INTO certificate (serial, fingerprint, name, kind, not_before, not_after, pem)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
            except sqlite3.IntegrityError as error:
                raise ConflictError(f"A certificate {record.fingerprint} is in the register already.") from error

    def get(self, which: str) -> Record:
        """Return the certificate of that serial or fingerprint (upper or lower case). Raises NotFoundError."""
        key = which.strip()
        with self._open() as database:
            row = database.execute(
                f"SELECT {_COLUMNS} FROM certificate WHERE serial = ? OR fingerprint = ?",  # noqa: S608  constant
                (key.lower(), key.upper()),
            ).fetchone()
        if row is None:
            raise NotFoundError(f"No certificate {key[:60]!r} was issued here; `evenload certs list` shows them all.")
        return _record(row)

    def all(self) -> tuple[Record, ...]:
        """Return every certificate, in the order of issue."""
        with self._open() as database:
            rows = database.execute(f"SELECT {_COLUMNS} FROM certificate ORDER BY rowid").fetchall()  # noqa: S608  constant
        return tuple(map(_record, rows))

    def revoke(self, serial: str, at: datetime, reason: str) -> None:
        """Mark a certificate revoked; the first time and reason stand."""
        with self._open() as database:
            database.execute(
                "UPDATE certificate SET revoked_at = ?, reason = ? WHERE serial = ? AND revoked_at IS NULL",
                (at.isoformat(), reason, serial),
            )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from entering anything meanwhile; reading goes on."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction; a fault rolls it back."""
        try:
            private_database(self._path)
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as database, database:
                database.execute("PRAGMA synchronous = FULL")
                database.execute(_TABLE)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"{self._path}: the register of certificates cannot be used: {error}") from error


def _record(row: tuple[str, ...]) -> Record:
    serial, fingerprint, name, kind, not_before, not_after, pem, revoked_at, reason = row
    return Record(
        serial,
        fingerprint,
        name,
        kind,
        _time(not_before),
        _time(not_after),
        pem,
        _time(revoked_at) if revoked_at else None,
        reason,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
