"""Copies of readings for others (`copies` of a household file): at least once, in order, and bounded.

What is to be copied is stored with the reading itself, in one transaction, and forgotten when the broker has it. So
nothing is lost while the other side is away, or when this process is killed; a message may come twice, with the same
point and time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Final

import structlog

from bridges.backoff import Backoff
from bridges.connections import Connection
from core.errors import InvalidError, UnavailableError
from core.points import Point, Quality, Reading
from ven.copy_formats import Labels, written
from ven.household import Copy, Household
from ven.store import Store, from_microseconds, microseconds

_log = structlog.get_logger(__name__)

_RETRY: Final = Backoff(1.0, 60.0)
_SLACK: Final = 64
"""The cap is enforced in steps of 1/64 of it."""
_MICROSECOND: Final = timedelta(microseconds=1)
_DROPPED: Final = "copies_dropped"


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be copied, and how many readings were dropped because too many waited."""

    copy: str
    waiting: int
    dropped: int


def backlogs(store: Store, household: Household) -> list[Backlog]:
    """Return how each copy does."""
    counts = dict(store.rows("SELECT copy, count(*) FROM copies GROUP BY copy"))
    dropped = store.fact(_DROPPED) or {}
    return [Backlog(each.id, counts.get(each.id, 0), dropped.get(each.id, 0)) for each in household.copies]


class CopyQueue:
    """What waits to be copied, in the gateway's store."""

    def __init__(self, store: Store, copies: Sequence[Copy]) -> None:
        self._store = store
        self._copies = tuple(copies)
        self._waiting = dict.fromkeys((each.id for each in copies), 0)
        for name, count in store.rows("SELECT copy, count(*) FROM copies GROUP BY copy"):
            self._waiting[name] = count
        self._wanted: dict[str, tuple[Copy, ...]] = {}
        self.some = asyncio.Event()
        """Set when something was added."""

    def put(self, readings: Sequence[Reading]) -> None:
        """Note new readings, within the transaction that stores them."""
        rows = [
            (
                each.id,
                reading.point,
                microseconds(reading.start),
                reading.duration // _MICROSECOND if reading.duration is not None else None,
                reading.value,
                reading.quality.value,
            )
            for reading in readings
            for each in self._of(reading.point)
        ]
        if not rows:
            return
        with self._store.transaction() as db:
            db.executemany(
                "INSERT INTO copies (copy, point, start_us, duration_us, value, quality) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            counts = dict(self._waiting)
            for name, *_ in rows:
                counts[name] += 1
            for each in self._copies:
                if counts[each.id] > each.keep:  # by our own count, which a write that was taken back may have raised
                    (there,) = db.execute("SELECT count(*) FROM copies WHERE copy = ?", (each.id,)).fetchone()
                    surplus = there - each.keep
                    gone = self._drop(each.id, surplus + each.keep // _SLACK) if surplus > 0 else 0
                    counts[each.id] = there - gone
        self._waiting = counts
        self.some.set()

    def _of(self, point: str) -> tuple[Copy, ...]:
        if point not in self._wanted:
            self._wanted[point] = tuple(each for each in self._copies if is_copied(each, point))
        return self._wanted[point]

    def _drop(self, name: str, count: int) -> int:
        query = "DELETE FROM copies WHERE seq IN (SELECT seq FROM copies WHERE copy = ? ORDER BY seq LIMIT ?)"
        gone = self._store.db.execute(query, (name, count)).rowcount
        dropped = self._store.fact(_DROPPED) or {}
        self._store.set_fact(_DROPPED, dropped | {name: dropped.get(name, 0) + gone})
        _log.error("readings are not copied: too many wait", copy=name, dropped=gone)
        return int(gone)

    def next(self, name: str, count: int) -> tuple[int, list[Reading]]:
        """Return the oldest that wait, and the number by which they are taken out. Raises UnavailableError."""
        rows = self._store.rows(
            "SELECT seq, point, start_us, duration_us, value, quality FROM copies WHERE copy = ? ORDER BY seq LIMIT ?",
            name,
            count,
        )
        readings = [
            Reading(
                point,
                from_microseconds(start),
                value,
                timedelta(microseconds=duration) if duration is not None else None,
                Quality(quality),
            )
            for _, point, start, duration, value, quality in rows
        ]
        return (rows[-1][0] if rows else 0), readings

    def done(self, name: str, until: int) -> None:
        """Forget what has arrived. Raises UnavailableError."""
        with self._store.transaction() as db:
            gone = db.execute("DELETE FROM copies WHERE copy = ? AND seq <= ?", (name, until)).rowcount
        self._waiting[name] -= gone

    def forget_others(self) -> None:
        """Forget what waits for copies that the household file no longer names. Raises UnavailableError."""
        for name in set(self._waiting) - {each.id for each in self._copies}:
            with self._store.transaction() as db:
                db.execute("DELETE FROM copies WHERE copy = ?", (name,))
            del self._waiting[name]


def is_copied(copy: Copy, point: str) -> bool:
    """Tell whether a copy is about a point."""
    return not copy.points or any(fnmatchcase(point, pattern) for pattern in copy.points)


class Copier:
    """Sends what waits, each copy at its own pace."""

    def __init__(
        self,
        household: Household,
        queue: CopyQueue,
        connections: Mapping[str, Connection],
        points: Sequence[Point],
    ) -> None:
        self._household = household
        self._queue = queue
        self._connections = connections
        self._units = {point.id: point.unit for point in points}

    async def run(self) -> None:
        """Send until cancelled."""
        self._queue.forget_others()
        async with asyncio.TaskGroup() as group:
            for copy in self._household.copies:
                group.create_task(self._keep_sending(copy))

    async def _keep_sending(self, copy: Copy) -> None:
        failures = 0
        while True:
            self._queue.some.clear()
            try:
                busy = await self.send(copy)
                failures = 0
            except UnavailableError as error:
                failures, busy = failures + 1, True
                if failures == 1:
                    _log.warning("readings wait to be copied", copy=copy.id, reason=str(error))
                await asyncio.sleep(_RETRY.delay_s(failures))
            if not busy:
                await self._queue.some.wait()

    async def send(self, copy: Copy) -> bool:
        """Send the oldest readings that wait; tell whether there were any. Raises UnavailableError."""
        until, readings = self._queue.next(copy.id, copy.batch)
        if not readings:
            return False
        connection = self._connections[self._household.broker_name(copy.connection, copy.id)]
        try:
            await self._publish(copy, connection, readings)
        except InvalidError:
            for reading in readings:  # one that cannot be written must not cost the others
                await self._publish_alone(copy, connection, reading)
        self._queue.done(copy.id, until)
        return True

    async def _publish(self, copy: Copy, connection: Connection, readings: Sequence[Reading]) -> None:
        labels = Labels(self._household.name, copy.hardware_id or self._household.name, copy.names, self._units)
        for topic, payload in written(copy.format, copy.place(), readings, labels):
            await connection.publish(topic, payload, qos=1)

    async def _publish_alone(self, copy: Copy, connection: Connection, reading: Reading) -> None:
        try:
            await self._publish(copy, connection, [reading])
        except InvalidError as error:
            _log.error("a reading cannot be copied", copy=copy.id, point=reading.point, reason=str(error))
