"""The durable journal of leases: what we told a device, what it did before, and how far each command got.

SQLite with a write-ahead log and `synchronous=FULL`: what a method has returned from survives kill -9 and a power cut.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog

from bridges.device import CapabilityKind, Command, Outcome, Rank, State, Value
from core.errors import InvalidError, UnavailableError
from core.private import private_database

_log = structlog.get_logger(__name__)

_VERSION = 2

_SCHEMA = """
CREATE TABLE slot (
    device TEXT NOT NULL,
    capability TEXT NOT NULL,
    held INTEGER NOT NULL,
    touched INTEGER NOT NULL DEFAULT 0,
    previous TEXT,
    written TEXT,
    written_at TEXT,
    chosen TEXT,
    chosen_at TEXT,
    PRIMARY KEY (device, capability)
);
CREATE TABLE command (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    device TEXT NOT NULL,
    capability TEXT NOT NULL,
    value TEXT NOT NULL,
    until TEXT NOT NULL,
    cause TEXT NOT NULL,
    rank INTEGER NOT NULL,
    released INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX command_open ON command (device, capability) WHERE closed = 0;
CREATE TABLE step (
    seq INTEGER PRIMARY KEY,
    command_id TEXT NOT NULL REFERENCES command (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    at TEXT NOT NULL,
    detail TEXT NOT NULL,
    UNIQUE (command_id, state)
);
"""

_FROM_1 = "ALTER TABLE slot ADD COLUMN chosen TEXT; ALTER TABLE slot ADD COLUMN chosen_at TEXT;"

_OPEN = """
SELECT (SELECT state FROM step WHERE command_id = command.id ORDER BY step.seq DESC LIMIT 1), released,
    (SELECT previous FROM slot
        WHERE slot.device = command.device AND slot.capability = command.capability AND touched = 1),
    command.id, device, capability, value, until, cause, rank
FROM command WHERE closed = 0 ORDER BY seq
"""
_COMMAND = "command.id, device, capability, value, until, cause, rank"


@dataclass(frozen=True, slots=True)
class Entry:
    """An open command: `seq` orders commands by arrival, `released` ended it before its time."""

    seq: int
    command: Command
    released: bool
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Held:
    """What the journal knows of one capability of one device.

    `held`: commands are open. `touched`: we have written since the last restore, so `previous` must be restored.
    `written` and `written_at` are our last write, also of earlier leases (for the least interval between writes).
    `chosen` and `chosen_at` are the last state that was the device's own (`bridges.own_state`).
    """

    held: bool = False
    touched: bool = False
    previous: Value | None = None
    written: Value | None = None
    written_at: datetime | None = None
    chosen: Value | None = None
    chosen_at: datetime | None = None


def _load(text: str | None) -> Value | None:
    return None if text is None else json.loads(text)


def _when(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _hint(value: str | None, at: str | None) -> tuple[Value | None, datetime | None]:
    """Read what is good to know and no more: what is damaged is not known."""
    try:
        loaded, when = _load(value), _when(at)
    except ValueError:
        return None, None
    return (None, None) if when is None or when.tzinfo is None else (loaded, when)


def _command(row: tuple[Any, ...]) -> Command:
    ident, device, capability, value, until, by, rank = row
    kind, ends = CapabilityKind(capability), datetime.fromisoformat(until)
    return Command(ident, device, kind, json.loads(value), ends, by, Rank(rank))


RowT = TypeVar("RowT")


def _readable(rows: Iterable[tuple[Any, ...]], make: Callable[[tuple[Any, ...]], RowT]) -> list[RowT]:
    """Return what the rows say; one that says nothing we know (a newer version wrote it) does not hide the others."""
    values = []
    for row in rows:
        try:
            values.append(make(row))
        except ValueError as error:
            _log.error("a row of the command journal is of no use and is left alone", reason=str(error))
    return values


class Journal:
    """The journal of one gateway, in one file. Use from one thread.

    Every method raises UnavailableError where the disk refuses (full, read-only, locked); nothing is then half done.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            private_database(path)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"{path}: the command journal cannot be opened: {error}") from error
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if (step := {0: _SCHEMA, 1: _FROM_1}.get(version)) is not None:
                self._db.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {_VERSION}; COMMIT;")
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"{self._path}: the command journal cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise InvalidError(f"{self._path}: this is not a command journal: {error}") from error
        if version > _VERSION:
            raise InvalidError(f"{self._path}: this journal was written by a newer version of evenload.")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Join several calls into one commit."""
        if self._db.in_transaction:
            yield
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:  # a COMMIT that failed leaves the transaction open
                self._db.execute("ROLLBACK")
            raise UnavailableError(f"{self._path}: the command journal cannot be written: {error}") from error

    def _rows(self, sql: str, *values: str | None) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise UnavailableError(f"{self._path}: the command journal cannot be read: {error}") from error

    def accept(self, command: Command, at: datetime, detail: str = "") -> Entry:
        """Open a command and hold its device. The id must be new.

        What was marked for commands of which none is open (a crash may leave that) is nothing to be restored.
        """
        with self.transaction():
            entry = self._insert(command, closed=False)
            self._db.execute(
                "INSERT INTO slot (device, capability, held) VALUES (?, ?, 1)"
                " ON CONFLICT (device, capability) DO UPDATE SET held = 1",
                (command.device, command.capability),
            )
            self._db.execute(
                "UPDATE slot SET touched = 0, previous = NULL WHERE device = ?1 AND capability = ?2 AND NOT EXISTS"
                " (SELECT 1 FROM command WHERE device = ?1 AND capability = ?2 AND closed = 0 AND id != ?3)",
                (command.device, command.capability, command.id),
            )
            self.step(command.id, State.JOURNALLED, at, detail)
        return entry

    def refuse(self, command: Command, at: datetime, detail: str) -> None:
        """Record a command that is not carried out."""
        with self.transaction():
            self._insert(command, closed=True)
            self.step(command.id, State.REFUSED, at, detail)

    def _insert(self, command: Command, *, closed: bool) -> Entry:
        row = self._db.execute(
            "INSERT INTO command (id, device, capability, value, until, cause, rank, closed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                command.id,
                command.device,
                command.capability,
                json.dumps(command.value),
                command.until.isoformat(),
                command.by,
                int(command.rank),
                closed,
            ),
        )
        return Entry(row.lastrowid or 0, command, released=False, confirmed_at=None)

    def step(self, command_id: str, state: State, at: datetime, detail: str = "") -> bool:
        """Record a step; False if the command took that step before (a restart repeats, the journal does not)."""
        with self.transaction():
            row = self._db.execute(
                "INSERT OR IGNORE INTO step (command_id, state, at, detail) VALUES (?, ?, ?, ?)",
                (command_id, state.value, at.isoformat(), detail),
            )
        return row.rowcount == 1

    def finish(self, command_id: str, state: State, at: datetime, detail: str = "") -> bool:
        """Record a command's last step and close it; False if it took that step before."""
        with self.transaction():
            self._db.execute("UPDATE command SET closed = 1 WHERE id = ?", (command_id,))
            return self.step(command_id, state, at, detail)

    def mark_released(self, command_id: str) -> None:
        """Remember that a command ends before its time."""
        with self.transaction():
            self._db.execute("UPDATE command SET released = 1 WHERE id = ?", (command_id,))

    def before_write(
        self, device: str, capability: CapabilityKind, previous: Value, value: Value, at: datetime
    ) -> None:
        """Record, before the device is told, what it did before us and what it is about to be told.

        `previous` is kept from the first write until `free`; later calls do not change it.
        """
        with self.transaction():
            self._db.execute(
                "UPDATE slot SET previous = CASE touched WHEN 1 THEN previous ELSE ? END,"
                " touched = 1, written = ?, written_at = ? WHERE device = ? AND capability = ?",
                (json.dumps(previous), json.dumps(value), at.isoformat(), device, capability),
            )

    def note_chosen(self, device: str, capability: CapabilityKind, value: Value, at: datetime) -> None:
        """Record what a device does by its user's will, and when it was last seen to."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO slot (device, capability, held, chosen, chosen_at) VALUES (?, ?, 0, ?, ?)"
                " ON CONFLICT (device, capability)"
                " DO UPDATE SET chosen = excluded.chosen, chosen_at = excluded.chosen_at",
                (device, capability, json.dumps(value), at.isoformat()),
            )

    def free(self, device: str, capability: CapabilityKind) -> None:
        """Let go of a device: nothing is held, nothing has to be restored."""
        with self.transaction():
            self._db.execute(
                "UPDATE slot SET held = 0, touched = 0, previous = NULL WHERE device = ? AND capability = ?",
                (device, capability),
            )

    def held(self, device: str, capability: CapabilityKind) -> Held:
        """Return what is known of a capability."""
        rows = self._rows(
            "SELECT held, touched, previous, written, written_at, chosen, chosen_at FROM slot"
            " WHERE device = ? AND capability = ?",
            device,
            capability,
        )
        if not rows:
            return Held()
        held, touched, previous, written, written_at, chosen, chosen_at = rows[0]
        ours = bool(held), bool(touched), _load(previous), _load(written), _when(written_at)
        return Held(*ours, *_hint(chosen, chosen_at))

    def open(self) -> list[Entry]:
        """Return the open commands in the order of their arrival."""
        rows = self._rows(
            f"SELECT seq, released, (SELECT at FROM step WHERE command_id = command.id AND state = ?), {_COMMAND}"  # noqa: S608  constants only
            " FROM command WHERE closed = 0 ORDER BY seq",
            State.CONFIRMED.value,
        )
        return _readable(rows, lambda row: Entry(row[0], _command(row[3:]), bool(row[1]), _when(row[2])))

    def last_sent(self, device: str, capability: CapabilityKind, unlike: Value | None) -> Outcome | None:
        """Return when a device was last sent a value, another than `unlike`, however that has ended; None if never."""
        rows = self._rows(
            f"SELECT at, {_COMMAND} FROM step JOIN command ON command.id = step.command_id"  # noqa: S608  constants only
            " WHERE device = ? AND capability = ? AND state = ? AND value != ? ORDER BY step.seq DESC LIMIT 1",
            device,
            capability,
            State.SENT.value,
            json.dumps(unlike),
        )
        sent = _readable(rows, lambda row: Outcome(_command(row[1:]), State.SENT, datetime.fromisoformat(row[0])))
        return next(iter(sent), None)

    def latest(self, command_id: str) -> Outcome | None:
        """Return the last step of a command, or None if the id is unknown."""
        steps = self.outcomes(command_id)
        return steps[-1] if steps else None

    def outcomes(self, command_id: str | None = None) -> list[Outcome]:
        """Return the steps of one command, or of all, in the order in which they were taken.

        A gateway that was killed between a step and its notification finds the step here.
        """
        rows = self._rows(
            f"SELECT state, at, detail, {_COMMAND} FROM step JOIN command ON command.id = step.command_id"  # noqa: S608  constants only
            " WHERE ?1 IS NULL OR command_id = ?1 ORDER BY step.seq",
            command_id,
        )
        return _readable(
            rows, lambda row: Outcome(_command(row[3:]), State(row[0]), datetime.fromisoformat(row[1]), row[2])
        )

    def was_overridden(self, device: str, capability: CapabilityKind, by: str) -> bool:
        """Tell whether the user took the device back from this cause."""
        rows = self._rows(
            "SELECT 1 FROM command JOIN step ON command_id = command.id"
            " WHERE device = ? AND capability = ? AND cause = ? AND state = ? LIMIT 1",
            device,
            capability,
            by,
            State.OVERRIDDEN.value,
        )
        return bool(rows)

    def prune(self, before: datetime) -> None:
        """Forget closed commands that ran out before that time."""
        with self.transaction():
            self._db.execute(
                "DELETE FROM command WHERE closed = 1 AND until < ?", (before.astimezone(UTC).isoformat(),)
            )


@dataclass(frozen=True, slots=True)
class OpenLease:
    """A command that is open, as another process sees it: how far it came, and what the device did before it."""

    command: Command
    state: State
    released: bool
    previous: Value | None


def read_open(path: Path) -> list[OpenLease]:
    """Return the open commands of a journal without touching it, in the order of their arrival.

    A journal that is not there has none. Raises UnavailableError if it cannot be read.
    """
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10.0)) as db:
            rows = db.execute(_OPEN).fetchall()
    except sqlite3.Error as error:
        raise UnavailableError(f"{path}: the command journal cannot be read: {error}") from error
    return _readable(rows, lambda row: OpenLease(_command(row[3:]), State(row[0]), bool(row[1]), _load(row[2])))
