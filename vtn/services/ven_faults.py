"""What was wrong with VENs' messages, counted per VEN and kind: operators see it, and can tell a VEN's maker.

Faults are tallied in memory and written many at a time: a VEN with a deviation has it in every message. What can be
counted comes from fixed lists, the transport's and the codec's, so that no VEN makes more than some hundred rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import select

from core.clock import Clock
from vtn.store.database import Connection, Database
from vtn.store.rows import upsert
from vtn.store.tables import ven_fault

_LONGEST_TEXT: Final = 200


class Kind(StrEnum):
    """How a fault was met."""

    MENDED = "mended"
    """The message broke the schema in a known way and was read all the same."""
    DOUBTED = "doubted"
    """What the message says was stored, and is not believed."""
    UNREADABLE = "unreadable"
    """The message was refused with HTTP 406, or holds a value that nobody can read."""
    REFUSED = "refused"
    """The message could be read, and was answered with an error code."""
    ANSWERED = "answered"
    """The VEN answered with an error code."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a VEN. `subject` says what of `kind` it is, `text` what was said of it the last time."""

    kind: Kind
    subject: str
    count: int
    text: str
    first_at: datetime
    last_at: datetime


@dataclass(slots=True)
class _Tally:
    count: int
    text: str
    first_at: datetime
    last_at: datetime


class VenFaults:
    """The faults that one process met. Times are world time."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._tallies: dict[tuple[str, Kind, str], _Tally] = {}

    def mended(self, ven_id: str, repairs: Iterable[str]) -> None:
        """Count deviations that were mended in a message."""
        for repair in repairs:
            self._add(ven_id, Kind.MENDED, repair, "")

    def doubted(self, ven_id: str, subject: str, text: str) -> None:
        """Count a message with values that are not believed; `subject` is what is wrong with them."""
        self._add(ven_id, Kind.DOUBTED, subject, text)

    def unreadable(self, ven_id: str, text: str) -> None:
        """Count a message that could not be read."""
        self._add(ven_id, Kind.UNREADABLE, "message", text)

    def refused(self, ven_id: str, subject: str, text: str) -> None:
        """Count a message that was answered with an error; `subject` is its type and what it was answered with."""
        self._add(ven_id, Kind.REFUSED, subject, text)

    def answered(self, ven_id: str, subject: str, text: str) -> None:
        """Count an error that the VEN answered with; `subject` is the type of its message, and the error."""
        self._add(ven_id, Kind.ANSWERED, subject, text)

    def _add(self, ven_id: str, kind: Kind, subject: str, text: str) -> None:
        now = self._clock.now()
        tally = self._tallies.setdefault((ven_id, kind, subject), _Tally(0, "", now, now))
        tally.count += 1
        tally.text = "".join(char if char.isprintable() else " " for char in text[:_LONGEST_TEXT])
        tally.last_at = now

    async def flush(self) -> None:
        """Write what was counted since the last time."""
        tallies, self._tallies = self._tallies, {}
        if not tallies:
            return
        rows = [
            {
                "ven_id": ven_id,
                "kind": kind,
                "subject": subject,
                "times": tally.count,
                "text": tally.text,
                "first_at": tally.first_at,
                "last_at": tally.last_at,
            }
            for (ven_id, kind, subject), tally in sorted(tallies.items())
        ]
        try:
            async with self._db.write() as tx:
                keys = ("ven_id", "kind", "subject")
                await upsert(tx.conn, ven_fault, rows, keys=keys, update=("text", "last_at"), add=("times",))
        except BaseException:
            self._put_back(tallies)
            raise

    def _put_back(self, tallies: dict[tuple[str, Kind, str], _Tally]) -> None:
        for key, tally in tallies.items():
            since = self._tallies.get(key)
            if since is None:
                self._tallies[key] = tally
            else:
                since.count += tally.count
                since.first_at = tally.first_at


async def of_ven(conn: Connection, ven_id: str) -> list[Fault]:
    """Return a VEN's faults, the last one first; what was met in the last seconds may not be there yet."""
    query = select(ven_fault).where(ven_fault.c.ven_id == ven_id).order_by(ven_fault.c.last_at.desc())
    return [
        Fault(Kind(row.kind), row.subject, row.times, row.text, row.first_at, row.last_at)
        for row in await conn.execute(query.order_by(ven_fault.c.kind, ven_fault.c.subject))
    ]
