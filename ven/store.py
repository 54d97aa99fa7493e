"""The gateway's durable memory: one SQLite file (WAL, synchronous=FULL), written in short transactions.

A process may die at any instant. Whatever the gateway has answered, or has told a device, was committed before.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from core.errors import EvenloadError, InvalidError, NotFoundError, UnavailableError
from core.private import private_database, private_directory
from openadr.model.opt import Opt, OptType, check_reason
from openadr.v20b import messages
from ven.memory import Fault, Waiting
from ven.vtn_state import KnownEvent, Registration, ReportTask

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
CREATE TABLE IF NOT EXISTS absence_wishes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, reason TEXT NOT NULL,
    ends_opt_id TEXT);
CREATE TABLE IF NOT EXISTS faults (
    kind TEXT NOT NULL, key TEXT NOT NULL, count INTEGER NOT NULL, ends INTEGER NOT NULL, reason TEXT NOT NULL,
    last_us INTEGER NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refusals (
    message TEXT NOT NULL, code TEXT NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL, last_us INTEGER NOT NULL,
    PRIMARY KEY (message, code)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS assessments (
    event_id TEXT PRIMARY KEY, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, made_us INTEGER NOT NULL,
    body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS copies (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, copy TEXT NOT NULL, point TEXT NOT NULL, start_us INTEGER NOT NULL,
    duration_us INTEGER, value REAL NOT NULL, quality TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS copies_by_copy ON copies (copy, seq);
"""
_LAYOUT: Final = 5
_KEEP_DEAD: Final = 100
_MOST_WAITING: Final = 1000
_MOST_FAULTS: Final = 200
_LONGEST_KEY: Final = 200
_LONGEST_REASON: Final = 500

_KINDS: Final[Mapping[str, type]] = {kind.__name__: kind for kind in (*messages.SERVICES, messages.OadrResponse)}


class _Json:
    """Turns the gateway's values to JSON and back; an adapter is built once a type."""

    def __init__(self) -> None:
        self._adapters: dict[Any, TypeAdapter[Any]] = {}

    def _adapter(self, kind: type[T]) -> TypeAdapter[T]:
        if kind not in self._adapters:
            self._adapters[kind] = TypeAdapter(kind)
        return self._adapters[kind]

    @staticmethod
    def dump(value: object) -> str:
        """Return JSON, with NaN and Infinity as they are: both are legal in an xs:float, and read back."""
        return to_json(value, inf_nan_mode="constants").decode()

    def dump_checked(self, value: object) -> str:
        """Return the JSON of what must be read again. Raises InvalidError if it would not come back as it is."""
        text = self.dump(value)
        if self.dump(self.load(type(value), text)) != text:  # as texts, for NaN is not itself
            raise InvalidError(f"This {type(value).__name__} holds a value that cannot be stored.")
        return text

    def load(self, kind: type[T], text: str) -> T:
        try:
            return self._adapter(kind).validate_json(text)
        except (ValidationError, EvenloadError, ArithmeticError, LookupError, TypeError) as error:
            raise InvalidError(f"The gateway's store holds an unreadable {kind.__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code that the VTN answered a kind of message with, how often, and its last text."""

    message: str
    code: str
    count: int
    reason: str
    last: datetime


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person at the command line wants the running gateway to say about an event."""

    seq: int
    event_id: str
    opt: OptType
    reason: str


@dataclass(frozen=True, slots=True)
class AbsenceWish:
    """A span in which a person wants to take part in no event; or, with `ends_opt_id`, such a span to be taken back."""

    seq: int
    start: datetime
    end: datetime
    reason: str
    ends_opt_id: str | None = None


_READ_BACK: Final = (("events", "event_id", KnownEvent), ("reports", "request_id", ReportTask), ("opts", "opt_id", Opt))
_ABOUT_THE_VALUE: Final = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


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
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"The gateway's store {name} cannot be opened: {error}.") from error
        try:
            self._lay_out(name)
        except BaseException:
            self.db.close()
            raise

    def _lay_out(self, name: str) -> None:
        try:
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            (layout,) = self.db.execute("PRAGMA user_version").fetchone()
            if layout < _LAYOUT:  # a later layout only has more tables
                self.db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_LAYOUT}; COMMIT;")
        except sqlite3.Error as error:
            raise UnavailableError(f"The gateway's store {name} cannot be opened: {error}.") from error
        if layout > _LAYOUT:
            raise UnavailableError(f"The gateway's store {name} has layout {layout}; this version reads {_LAYOUT}.")

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit everything inside together, or nothing. May be nested: the outermost one commits.

        An inner one that fails takes back its own writes only, so that the rest can go on.
        """
        begin, commit, rollback = ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        if self._depth:
            point = f"inner{self._depth}"
            begin, commit, rollback = f"SAVEPOINT {point}", f"RELEASE {point}", f"ROLLBACK TO {point}; RELEASE {point}"
        try:
            self.db.execute(begin)
            self._depth += 1
            try:
                yield self.db
            finally:
                self._depth -= 1
            self.db.execute(commit)
        except BaseException as error:
            if self.db.in_transaction:  # a full disk may have ended it
                for statement in rollback.split("; "):
                    self.db.execute(statement)
            if isinstance(error, _ABOUT_THE_VALUE):
                raise InvalidError(f"The gateway's store does not take this value: {error}.") from error
            if isinstance(error, sqlite3.Error):
                advice = "Free some disk space or check the disk; the gateway then goes on by itself."
                raise UnavailableError(f"The gateway's store cannot write: {error}. {advice}") from error
            raise

    def rows(self, sql: str, *args: object) -> list[Any]:
        """Run a query and return its rows."""
        try:
            return self.db.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise UnavailableError(f"The gateway's store cannot be read: {error}.") from error

    def _each(self, kind: type[T], table: str, key: str, ident: str | None = None) -> list[T]:
        """Return the values of a table in the order of their keys, or the one of that key.

        One that cannot be read is passed over; `drop_unreadable` names it, and lets it go.
        """
        only, args = (f" WHERE {key} = ?", (ident,)) if ident is not None else ("", ())
        values: list[T] = []
        for (body,) in self.rows(f"SELECT body FROM {table}{only} ORDER BY {key}", *args):  # noqa: S608  names of ours
            with suppress(InvalidError):
                values.append(self._json.load(kind, body))
        return values

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
        with suppress(InvalidError):  # one that cannot be read is none: this VEN registers anew
            return self._json.load(Registration, text) if text else None
        return None

    def set_registration(self, registration: Registration | None) -> None:
        """Store the registration; None forgets it."""
        self.set_fact("registration", self._json.dump(registration) if registration else None)

    # -- events

    def events(self) -> list[KnownEvent]:
        """Return every remembered event."""
        return self._each(KnownEvent, "events", "event_id")

    def event(self, event_id: str) -> KnownEvent | None:
        """Return one remembered event, or None."""
        return next(iter(self._each(KnownEvent, "events", "event_id", event_id)), None)

    def put_event(self, event: KnownEvent, kept_until: datetime | None = None) -> None:
        """Remember an event; `kept_until` lets `tidy` forget it after that time."""
        with self.transaction() as db:
            limit = microseconds(kept_until) if kept_until else None
            row = (event.event.event_id, self._json.dump_checked(event), limit)
            db.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", row)

    def forget_events(self, *, before: datetime | None = None) -> None:
        """Forget the events whose time to be kept has run out; without `before`, all of them."""
        with self.transaction() as db:
            if before is None:
                db.execute("DELETE FROM events")
            else:
                db.execute("DELETE FROM events WHERE kept_until < ?", (microseconds(before),))

    def trim_events(self, kept_until: datetime, most_bytes: int) -> None:
        """Of the events that are to be kept until then at most, forget the oldest beyond so many bytes."""
        with self.transaction() as db:
            db.execute(
                "DELETE FROM events WHERE event_id IN (SELECT event_id FROM (SELECT event_id, sum(length(body))"
                " OVER (ORDER BY kept_until DESC, event_id) AS size FROM events WHERE kept_until <= ?) WHERE size > ?)",
                (microseconds(kept_until), most_bytes),
            )

    # -- reports

    def report_tasks(self) -> list[ReportTask]:
        """Return every report request that is still owed something."""
        return self._each(ReportTask, "reports", "request_id")

    def report_task_count(self) -> int:
        """Return how many report requests are still owed something."""
        return int(self.rows("SELECT count(*) FROM reports")[0][0])

    def report_task(self, request_id: str) -> ReportTask | None:
        """Return one report request, or None."""
        return next(iter(self._each(ReportTask, "reports", "request_id", request_id)), None)

    def put_report_task(self, task: ReportTask) -> None:
        """Remember a report request and how far it was served."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO reports VALUES (?, ?)", (task.id, self._json.dump_checked(task)))

    def drop_report_task(self, request_id: str) -> None:
        """Forget a report request."""
        with self.transaction() as db:
            db.execute("DELETE FROM reports WHERE request_id = ?", (request_id,))

    # -- opts

    def opts(self) -> list[Opt]:
        """Return the opts and opt schedules that were created here and not cancelled."""
        return self._each(Opt, "opts", "opt_id")

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
        """Put a message at the end of the outbox; of more than a thousand that wait, the oldest are set aside."""
        with self.transaction() as db:
            row = (type(message).__name__, self._json.dump(message))
            db.execute("INSERT INTO outbox (kind, body) VALUES (?, ?)", row)
            oldest = "SELECT seq FROM outbox WHERE dead IS NULL ORDER BY seq DESC LIMIT -1 OFFSET ?"
            for (seq,) in db.execute(oldest, (_MOST_WAITING,)).fetchall():
                self.bury(seq, "too many messages wait for the VTN")

    def waiting_seqs(self) -> list[int]:
        """Return the numbers of the messages that still have to go out, oldest first."""
        return [seq for (seq,) in self.rows("SELECT seq FROM outbox WHERE dead IS NULL ORDER BY seq")]

    def waiting(self, seq: int) -> Waiting:
        """Return a message that still has to go out. Raises InvalidError if it cannot be read."""
        (row,) = self.rows("SELECT seq, kind, body, tries FROM outbox WHERE seq = ?", seq)
        seq, kind, body, tries = row
        if kind not in _KINDS:
            raise InvalidError(f"The gateway's store holds a message of the unknown kind {kind}.")
        return Waiting(seq, self._json.load(_KINDS[kind], body), tries)

    def waiting_count(self) -> int:
        """Return how many messages wait."""
        return int(self.rows("SELECT count(*) FROM outbox WHERE dead IS NULL")[0][0])

    def done(self, seq: int) -> None:
        """Remove a message that the VTN has answered."""
        with self.transaction() as db:
            db.execute("DELETE FROM outbox WHERE seq = ?", (seq,))

    def drop_waiting(self) -> None:
        """Forget the messages that wait."""
        with self.transaction() as db:
            db.execute("DELETE FROM outbox WHERE dead IS NULL")

    def tried(self, seq: int) -> None:
        """Count a failed try of a message."""
        with self.transaction() as db:
            db.execute("UPDATE outbox SET tries = tries + 1 WHERE seq = ?", (seq,))

    def bury(self, seq: int, reason: str) -> None:
        """Set a message aside that the VTN will never take; the newest hundred are kept for people to see."""
        with self.transaction() as db:
            db.execute("UPDATE outbox SET dead = ? WHERE seq = ?", (_plain(reason), seq))
            self._forget_dead()

    def _forget_dead(self) -> None:
        self.db.execute(
            "DELETE FROM outbox WHERE dead IS NOT NULL AND seq NOT IN"
            " (SELECT seq FROM outbox WHERE dead IS NOT NULL ORDER BY seq DESC LIMIT ?)",
            (_KEEP_DEAD,),
        )

    def dead(self) -> list[tuple[str, str]]:
        """Return (kind of message, reason) of what was set aside."""
        return self.rows("SELECT kind, dead FROM outbox WHERE dead IS NOT NULL ORDER BY seq")

    # -- what went wrong, for people to see

    def note_fault(self, kind: str, key: str, reason: str, now: datetime, *, ended: bool = False) -> Fault:
        """Count a failure to handle something, and return what is known of it now; the newest are kept.

        `ended`: it ended the process.
        """
        with self.transaction() as db:
            db.execute(
                "INSERT INTO faults VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET count = count + 1,"
                " ends = ends + excluded.ends, reason = excluded.reason, last_us = excluded.last_us",
                (kind, key[:_LONGEST_KEY], int(ended), _plain(reason), microseconds(now)),
            )
            self._keep_newest(db, "faults")
        return next(fault for fault in self.faults() if (fault.kind, fault.key) == (kind, key[:_LONGEST_KEY]))

    def faults(self) -> list[Fault]:
        """Return what could not be handled, the newest last."""
        rows = self.rows("SELECT kind, key, count, ends, reason, last_us FROM faults ORDER BY last_us, kind, key")
        return [
            Fault(kind, key, count, ends, why, from_microseconds(last)) for kind, key, count, ends, why, last in rows
        ]

    def note_refusal(self, message: str, code: str, reason: str, now: datetime) -> None:
        """Count an answer of the VTN that is an error; the newest kinds are kept."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO refusals VALUES (?, ?, 1, ?, ?) ON CONFLICT (message, code) DO UPDATE SET"
                " count = count + 1, reason = excluded.reason, last_us = excluded.last_us",
                (message, code, _plain(reason), microseconds(now)),
            )
            self._keep_newest(db, "refusals")

    def refusals(self) -> list[Refusal]:
        """Return the errors that the VTN answered with, the newest last."""
        rows = self.rows("SELECT message, code, count, reason, last_us FROM refusals ORDER BY last_us, message, code")
        return [Refusal(name, code, count, why, from_microseconds(last)) for name, code, count, why, last in rows]

    @staticmethod
    def _keep_newest(db: sqlite3.Connection, table: str) -> None:
        limit = f"SELECT last_us FROM {table} ORDER BY last_us DESC LIMIT 1 OFFSET {_MOST_FAULTS}"  # noqa: S608  written here
        db.execute(f"DELETE FROM {table} WHERE last_us <= ({limit})")  # noqa: S608  written here

    def drop_unreadable(self, now: datetime) -> None:
        """Let go of the stored rows that cannot be read, and note each as a fault: the VTN will say them again."""
        for table, name, kind in _READ_BACK:
            for key, body in self.rows(f"SELECT {name}, body FROM {table}"):  # noqa: S608  the names are written here
                try:
                    self._json.load(kind, body)
                except InvalidError as error:
                    with self.transaction() as db:
                        db.execute(f"DELETE FROM {table} WHERE {name} = ?", (key,))  # noqa: S608  written here
                        self.note_fault(f"unreadable {kind.__name__}", key, str(error), now)

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

    def granted(self, opt_wish: Wish) -> None:
        """Remove a wish that was acted on."""
        with self.transaction() as db:
            db.execute("DELETE FROM wishes WHERE seq = ?", (opt_wish.seq,))

    def wish_absence(self, start: datetime, end: datetime, reason: str) -> None:
        """Ask the running gateway to opt out of all events in a span. Raises InvalidError for none."""
        if end <= start:
            raise InvalidError("The end does not lie after the start.")
        check_reason(reason)
        self._put_absence(microseconds(start), microseconds(end), reason, None)

    def wish_presence(self, opt_id: str) -> None:
        """Ask the running gateway to end an absence. Raises NotFoundError for an unknown one."""
        if all(opt.opt_id != opt_id for opt in self.opts()):
            known = ", ".join(opt.opt_id for opt in self.opts()) or "none"
            raise NotFoundError(f"This gateway knows no opt schedule '{opt_id}'. It knows: {known}.")
        self._put_absence(0, 0, "", opt_id)

    def _put_absence(self, *row: int | str | None) -> None:
        with self.transaction() as db:
            columns = "(start_us, end_us, reason, ends_opt_id)"
            db.execute(f"INSERT INTO absence_wishes {columns} VALUES (?, ?, ?, ?)", row)  # noqa: S608  written here

    def absence_wishes(self) -> list[AbsenceWish]:
        """Return what is asked about absences, oldest first."""
        rows = self.rows("SELECT seq, start_us, end_us, reason, ends_opt_id FROM absence_wishes ORDER BY seq")
        return [
            AbsenceWish(seq, from_microseconds(start), from_microseconds(end), reason, opt_id)
            for seq, start, end, reason, opt_id in rows
        ]

    def absence_granted(self, absence: AbsenceWish) -> None:
        """Remove a wish that was acted on."""
        with self.transaction() as db:
            db.execute("DELETE FROM absence_wishes WHERE seq = ?", (absence.seq,))

    # -- all of it

    def erase_relation(self) -> None:
        """Forget everything about the VTN: registration, events and what they brought, reports, opts, outbox (RG-10).

        The readings stay: they are the household's own.
        """
        with self.transaction() as db:
            for table in ("events", "assessments", "reports", "opts", "outbox", "wishes", "absence_wishes"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608  the names are written here
            db.execute("DELETE FROM facts WHERE name IN ('registration', 'offers')")


def _plain(text: str) -> str:
    """Return a text as the store takes it: bounded, without half characters."""
    return text[:_LONGEST_REASON].encode("utf-8", "replace").decode()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(when: datetime) -> int:
    """Return whole microseconds since 1970, exactly."""
    return (when - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime:
    """Return the aware UTC time of `microseconds`."""
    return _EPOCH + timedelta(microseconds=number)
