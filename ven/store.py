"""The gateway's durable memory: one SQLite file (WAL, synchronous=FULL), written in short transactions.

A process may die at any instant. Whatever the gateway has answered, or has told a device, was committed before.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import InvalidError, NotFoundError, UnavailableError
from core.private import private_database, private_directory
from openadr.model.opt import Opt, OptType
from openadr.v20b import messages
from ven.known import KnownEvent, Registration, ReportTask

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS readings (
    point TEXT NOT NULL, start_us INTEGER NOT NULL, duration_us INTEGER, value REAL NOT NULL, quality TEXT NOT NULL,
    PRIMARY KEY (point, start_us)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS readings_by_time ON readings (start_us);
CREATE TABLE IF NOT EXISTS events (event_id TEXT PRIMARY KEY, body TEXT NOT NULL, kept_until INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reports (request_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS opts (opt_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
    dead TEXT);
CREATE TABLE IF NOT EXISTS wishes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, opt TEXT NOT NULL, reason TEXT NOT NULL);
"""
_LAYOUT: Final = 1
_KEEP_DEAD: Final = 100

_KINDS: Final[Mapping[str, type]] = {kind.__name__: kind for kind in (*messages.SERVICES, messages.OadrResponse)}


class _Json:
    """Turns the gateway's values to JSON and back; an adapter is built once a type."""

    def __init__(self) -> None:
        self._adapters: dict[Any, TypeAdapter[Any]] = {}

    def _adapter(self, kind: type[T]) -> TypeAdapter[T]:
        if kind not in self._adapters:
            self._adapters[kind] = TypeAdapter(kind)
        return self._adapters[kind]

    def dump(self, value: object) -> str:
        return self._adapter(type(value)).dump_json(value).decode()

    def load(self, kind: type[T], text: str) -> T:
        try:
            return self._adapter(kind).validate_json(text)
        except ValidationError as error:
            raise InvalidError(f"The gateway's store holds an unreadable {kind.__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the outbox."""

    seq: int
    message: messages.Message
    tries: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person at the command line wants the running gateway to say about an event."""

    seq: int
    event_id: str
    opt: OptType
    reason: str


class Store:
    """The durable memory of one gateway.

    Every method may raise UnavailableError (full or failing disk, locked file): nothing of that call was stored, and
    the caller waits and tries again. Use from one thread.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; None keeps everything in memory (tests)."""
        self._json = _Json()
        self._depth = 0
        name = str(path) if path else ":memory:"
        try:
            if path:
                private_directory(path.parent)
                private_database(path)
            self.db = sqlite3.connect(name, isolation_level=None, timeout=10)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            self._lay_out(name)
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"The gateway's store {name} cannot be opened: {error}.") from error

    def _lay_out(self, name: str) -> None:
        (layout,) = self.db.execute("PRAGMA user_version").fetchone()
        if layout not in (0, _LAYOUT):
            raise UnavailableError(f"The gateway's store {name} has layout {layout}; this version reads {_LAYOUT}.")
        if layout == 0:
            self.db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_LAYOUT}; COMMIT;")

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit everything inside together, or nothing. May be nested; the outermost one commits."""
        if self._depth:
            yield self.db
            return
        self._depth = 1
        try:
            self.db.execute("BEGIN IMMEDIATE")
            yield self.db
            self.db.execute("COMMIT")
        except BaseException as error:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                advice = "Free some disk space or check the disk; the gateway then goes on by itself."
                raise UnavailableError(f"The gateway's store cannot write: {error}. {advice}") from error
            raise
        finally:
            self._depth = 0

    def rows(self, sql: str, *args: object) -> list[Any]:
        """Run a query and return its rows."""
        try:
            return self.db.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise UnavailableError(f"The gateway's store cannot be read: {error}.") from error

    # -- facts: single values

    def fact(self, name: str) -> Any:
        """Return a JSON value, or None."""
        found = self.rows("SELECT value FROM facts WHERE name = ?", name)
        return json.loads(found[0][0]) if found else None

    def set_fact(self, name: str, value: Any) -> None:
        """Store a JSON value; None removes it."""
        with self.transaction() as db:
            if value is None:
                db.execute("DELETE FROM facts WHERE name = ?", (name,))
            else:
                db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def registration(self) -> Registration | None:
        """Return the confirmed registration, or None."""
        text = self.fact("registration")
        return self._json.load(Registration, text) if text else None

    def set_registration(self, registration: Registration | None) -> None:
        """Store the registration; None forgets it."""
        self.set_fact("registration", self._json.dump(registration) if registration else None)

    # -- events

    def events(self) -> list[KnownEvent]:
        """Return every remembered event."""
        return [self._json.load(KnownEvent, body) for (body,) in self.rows("SELECT body FROM events ORDER BY event_id")]

    def event(self, event_id: str) -> KnownEvent | None:
        """Return one remembered event, or None."""
        found = self.rows("SELECT body FROM events WHERE event_id = ?", event_id)
        return self._json.load(KnownEvent, found[0][0]) if found else None

    def put_event(self, known: KnownEvent, kept_until: datetime | None = None) -> None:
        """Remember an event; `kept_until` lets `tidy` forget it after that time."""
        with self.transaction() as db:
            limit = microseconds(kept_until) if kept_until else None
            row = (known.event.event_id, self._json.dump(known), limit)
            db.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", row)

    def forget_events(self, *, before: datetime | None = None) -> None:
        """Forget the events whose time to be kept has run out; without `before`, all of them."""
        with self.transaction() as db:
            if before is None:
                db.execute("DELETE FROM events")
            else:
                db.execute("DELETE FROM events WHERE kept_until < ?", (microseconds(before),))

    # -- reports

    def report_tasks(self) -> list[ReportTask]:
        """Return every report request that is still owed something."""
        return [
            self._json.load(ReportTask, body) for (body,) in self.rows("SELECT body FROM reports ORDER BY request_id")
        ]

    def report_task(self, request_id: str) -> ReportTask | None:
        """Return one report request, or None."""
        found = self.rows("SELECT body FROM reports WHERE request_id = ?", request_id)
        return self._json.load(ReportTask, found[0][0]) if found else None

    def put_report_task(self, task: ReportTask) -> None:
        """Remember a report request and how far it was served."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO reports VALUES (?, ?)", (task.id, self._json.dump(task)))

    def drop_report_task(self, request_id: str) -> None:
        """Forget a report request."""
        with self.transaction() as db:
            db.execute("DELETE FROM reports WHERE request_id = ?", (request_id,))

    # -- opts

    def opts(self) -> list[Opt]:
        """Return the opts and opt schedules that were created here and not cancelled."""
        return [self._json.load(Opt, body) for (body,) in self.rows("SELECT body FROM opts ORDER BY opt_id")]

    def put_opt(self, opt: Opt) -> None:
        """Remember an opt."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO opts VALUES (?, ?)", (opt.opt_id, self._json.dump(opt)))

    def drop_opt(self, opt_id: str) -> None:
        """Forget an opt."""
        with self.transaction() as db:
            db.execute("DELETE FROM opts WHERE opt_id = ?", (opt_id,))

    # -- outbox

    def push(self, message: messages.Message) -> None:
        """Put a message at the end of the outbox."""
        with self.transaction() as db:
            row = (type(message).__name__, self._json.dump(message))
            db.execute("INSERT INTO outbox (kind, body) VALUES (?, ?)", row)

    def first_waiting(self) -> Waiting | None:
        """Return the oldest message that still has to go out, or None."""
        found = self.rows("SELECT seq, kind, body, tries FROM outbox WHERE dead IS NULL ORDER BY seq LIMIT 1")
        if not found:
            return None
        seq, kind, body, tries = found[0]
        return Waiting(seq, self._json.load(_KINDS[kind], body), tries)

    def waiting_count(self) -> int:
        """Return how many messages wait."""
        return int(self.rows("SELECT count(*) FROM outbox WHERE dead IS NULL")[0][0])

    def done(self, seq: int) -> None:
        """Remove a message that the VTN has answered."""
        with self.transaction() as db:
            db.execute("DELETE FROM outbox WHERE seq = ?", (seq,))

    def tried(self, seq: int) -> None:
        """Count a failed try of a message."""
        with self.transaction() as db:
            db.execute("UPDATE outbox SET tries = tries + 1 WHERE seq = ?", (seq,))

    def bury(self, seq: int, reason: str) -> None:
        """Set a message aside that the VTN will never take; the newest hundred are kept for people to see."""
        with self.transaction() as db:
            db.execute("UPDATE outbox SET dead = ? WHERE seq = ?", (reason[:500], seq))
            db.execute(
                "DELETE FROM outbox WHERE dead IS NOT NULL AND seq NOT IN"
                " (SELECT seq FROM outbox WHERE dead IS NOT NULL ORDER BY seq DESC LIMIT ?)",
                (_KEEP_DEAD,),
            )

    def dead(self) -> list[tuple[str, str]]:
        """Return (kind of message, reason) of what was set aside."""
        return self.rows("SELECT kind, dead FROM outbox WHERE dead IS NOT NULL ORDER BY seq")

    # -- wishes of people, written by another process

    def wish(self, event_id: str, opt: OptType, reason: str) -> None:
        """Ask the running gateway to opt for an event. Raises NotFoundError for an unknown event."""
        if self.event(event_id) is None:
            known = ", ".join(one.event.event_id for one in self.events()) or "none"
            raise NotFoundError(f"This gateway knows no event '{event_id}'. It knows: {known}.")
        with self.transaction() as db:
            db.execute("INSERT INTO wishes (event_id, opt, reason) VALUES (?, ?, ?)", (event_id, opt, reason[:200]))

    def wishes(self) -> list[Wish]:
        """Return the wishes, oldest first."""
        rows = self.rows("SELECT seq, event_id, opt, reason FROM wishes ORDER BY seq")
        return [Wish(seq, event_id, OptType(opt), reason) for seq, event_id, opt, reason in rows]

    def granted(self, wish: Wish) -> None:
        """Remove a wish that was acted on."""
        with self.transaction() as db:
            db.execute("DELETE FROM wishes WHERE seq = ?", (wish.seq,))

    # -- all of it

    def erase_relation(self) -> None:
        """Forget everything about the VTN: registration, events, report requests, opts, outbox (RG-10).

        The readings stay: they are the household's own.
        """
        with self.transaction() as db:
            for table in ("events", "reports", "opts", "outbox", "wishes"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608  the names are written here
            db.execute("DELETE FROM facts WHERE name IN ('registration', 'offers')")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(when: datetime) -> int:
    """Return whole microseconds since 1970, exactly."""
    return (when - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime:
    """Return the aware UTC time of `microseconds`."""
    return _EPOCH + timedelta(microseconds=number)
