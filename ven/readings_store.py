"""The ring of readings: durable, bounded, the oldest go first and are counted."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from core.points import Quality, Reading
from ven.store import Store, from_microseconds, microseconds

_SLACK: Final = 64
"""The cap is enforced in steps of 1/64 of it, so that a full ring does not delete one row for each new one."""
_MICROSECOND: Final = timedelta(microseconds=1)
_INSERT: Final = "INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?)"


class Ring:
    """Readings of every point, up to `cap` of them.

    A reading of the same point and time as one that is there replaces nothing: readings are never overwritten.
    """

    def __init__(self, store: Store, cap: int, on_new: Callable[[Sequence[Reading]], None] | None = None) -> None:
        """`on_new` gets the readings that are new, within the transaction that stores them."""
        self._store = store
        self._cap = cap
        self._on_new = on_new
        self._count = int(store.rows("SELECT count(*) FROM readings")[0][0])

    def __len__(self) -> int:
        return self._count

    @property
    def dropped(self) -> int:
        """How many readings the cap has cost so far."""
        return int(self._store.fact("readings_dropped") or 0)

    @property
    def dropped_until(self) -> datetime | None:
        """The time of the newest reading that the cap has cost, or None."""
        number = self._store.fact("readings_dropped_until")
        return from_microseconds(number) if number is not None else None

    def add(self, readings: Iterable[Reading]) -> None:
        """Store readings in one transaction; drop the oldest above the cap."""
        batch = list(readings)
        rows = [
            (
                one.point,
                microseconds(one.start),
                one.duration // _MICROSECOND if one.duration is not None else None,
                one.value,
                one.quality.value,
            )
            for one in batch
        ]
        count = self._count
        with self._store.transaction() as db:
            before = db.total_changes
            if self._on_new is None:
                db.executemany(_INSERT, rows)
                count += db.total_changes - before
            else:
                new = [one for one, row in zip(batch, rows, strict=True) if db.execute(_INSERT, row).rowcount]
                count += len(new)
                self._on_new(new)
            if count > self._cap:
                count -= self._drop(count - self._cap + self._cap // _SLACK)
        self._count = count

    def _drop(self, number: int) -> int:
        db = self._store.db
        row = db.execute("SELECT start_us FROM readings ORDER BY start_us LIMIT 1 OFFSET ?", (number - 1,)).fetchone()
        gone = db.execute("DELETE FROM readings WHERE start_us <= ?", row).rowcount
        self._store.set_fact("readings_dropped", self.dropped + gone)
        self._store.set_fact("readings_dropped_until", row[0])
        return int(gone)

    def between(self, point: str, since: datetime, until: datetime, *, around: bool = False) -> list[Reading]:
        """Return the readings of a point in [since, until], oldest first; `around` adds one before and one after."""
        rows = self._store.rows
        low, high = microseconds(since), microseconds(until)
        if around:
            before = rows("SELECT max(start_us) FROM readings WHERE point = ? AND start_us < ?", point, low)[0][0]
            after = rows("SELECT min(start_us) FROM readings WHERE point = ? AND start_us > ?", point, high)[0][0]
            low, high = (before if before is not None else low), (after if after is not None else high)
        found = rows(
            "SELECT start_us, duration_us, value, quality FROM readings"
            " WHERE point = ? AND start_us BETWEEN ? AND ? ORDER BY start_us",
            point,
            low,
            high,
        )
        return [
            Reading(
                point,
                from_microseconds(start),
                value,
                timedelta(microseconds=duration) if duration is not None else None,
                Quality(quality),
            )
            for start, duration, value, quality in found
        ]

    def newest(self, point: str, *, until: datetime | None = None) -> Reading | None:
        """Return the newest reading of a point (at or before `until`), or None."""
        limit = microseconds(until) if until else 2**62
        query = "SELECT max(start_us) FROM readings WHERE point = ? AND start_us <= ?"
        start = self._store.rows(query, point, limit)[0][0]
        if start is None:
            return None
        when = from_microseconds(start)
        return self.between(point, when, when)[0]

    def count_before(self, point: str, when: datetime) -> int:
        """Return how many readings of a point are older than `when`."""
        query = "SELECT count(*) FROM readings WHERE point = ? AND start_us < ?"
        return int(self._store.rows(query, point, microseconds(when))[0][0])

    def first_after(self, point: str, when: datetime) -> datetime | None:
        """Return the time of the first reading of a point after `when`, or None."""
        query = "SELECT min(start_us) FROM readings WHERE point = ? AND start_us > ?"
        start = self._store.rows(query, point, microseconds(when))[0][0]
        return from_microseconds(start) if start is not None else None

    def oldest(self, point: str) -> datetime | None:
        """Return the time of the oldest reading of a point, or None."""
        start = self._store.rows("SELECT min(start_us) FROM readings WHERE point = ?", point)[0][0]
        return from_microseconds(start) if start is not None else None
