"""What events brought, as the gateway itself sees it: the values, and where they are kept.

They are computed in another process (`ven.assessor`, `ven.assess`): nothing here knows numpy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from core.errors import EvenloadError, InvalidError
from core.spans import Span
from ven.reports import Metered
from ven.store import Store, from_microseconds, microseconds

HOW_TO_INSTALL: Final = "pip install 'evenload[assess]'"
MOST_INTERVALS: Final = 480
"""Of all resources together: 5 days of quarters of an hour. What is longer is no event of which other days tell."""
MOST_BYTES: Final = 1024 * 1024
"""What goes into the computation, and what comes out of it, at most."""
SECONDS: Final = 120
"""How long it may take."""
_KEPT: Final = 400
"""How many assessments are kept: more than a year of daily events."""
_LONGEST_KEY: Final = 200


def is_installed() -> bool:
    """Tell whether what the computation needs is there; imports nothing."""
    return find_spec("numpy") is not None


@dataclass(frozen=True, slots=True)
class Job:
    """All that the computation needs, for one event. Times are aware UTC.

    `start`, `end`: of the event, as far as it ran here; `others`: when other events held this household; `told_at`:
    since when its load may answer the event. `baseline`: id of the method. `time_zone`: None for the machine's.
    """

    store: Path
    resources: tuple[Metered, ...]
    start: datetime
    end: datetime
    others: tuple[tuple[datetime, datetime], ...]
    told_at: datetime | None
    baseline: str
    step_s: int
    time_zone: str | None
    connection_w: float
    most_readings: int


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval of an event: what would have been used without it, and what was; Wh, None: not known."""

    start: datetime
    baseline_wh: float | None
    actual_wh: float | None

    def __post_init__(self) -> None:
        if any(value is not None and not math.isfinite(value) for value in (self.baseline_wh, self.actual_wh)):
            raise InvalidError("An assessed energy is a finite number.")

    @property
    def delta_wh(self) -> float | None:
        """By how much more was used than without the event; negative: less."""
        if self.baseline_wh is None or self.actual_wh is None:
            return None
        return self.actual_wh - self.baseline_wh


@dataclass(frozen=True, slots=True)
class OfResource:
    """What an event brought at one resource. `note` says why nothing is known, or how the baseline was adjusted."""

    resource: str
    intervals: tuple[Interval, ...] = ()
    note: str = ""

    @property
    def delta_wh(self) -> float | None:
        """The change over the intervals that are known; None: none is."""
        known = [one.delta_wh for one in self.intervals if one.delta_wh is not None]
        return math.fsum(known) if known else None

    @property
    def baseline_wh(self) -> float | None:
        """The baseline over the same intervals."""
        known = [one.baseline_wh for one in self.intervals if one.delta_wh is not None and one.baseline_wh is not None]
        return math.fsum(known) if known else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the computation says. `method`: id and version, as in 10of10/2; `failure`: why there is nothing."""

    method: str = ""
    resources: tuple[OfResource, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What an event brought, as computed at `made_at`; of two, the later one has the later time."""

    event_id: str
    start: datetime
    end: datetime
    made_at: datetime
    step_s: int
    outcome: Outcome = field(default_factory=Outcome)


_ADAPTER: Final = TypeAdapter(Assessment)


class Assessments:
    """The assessments of one gateway, in its store: one of each event, up to some hundreds, the oldest go first.

    Every method may raise UnavailableError.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, assessment: Assessment) -> None:
        """Keep an assessment."""
        row = (
            assessment.event_id,
            microseconds(assessment.start),
            microseconds(assessment.end),
            microseconds(assessment.made_at),
            _ADAPTER.dump_json(assessment).decode(),
        )
        oldest = "SELECT event_id FROM assessments ORDER BY made_us DESC LIMIT -1 OFFSET ?"
        with self._store.transaction() as db:
            db.execute("INSERT OR REPLACE INTO assessments VALUES (?, ?, ?, ?, ?)", row)
            db.execute(f"DELETE FROM assessments WHERE event_id IN ({oldest})", (_KEPT,))  # noqa: S608  written here

    def has(self, event_id: str) -> bool:
        """Tell whether an event was assessed, or tried to be."""
        return bool(self._store.rows("SELECT 1 FROM assessments WHERE event_id = ?", event_id))

    def spans(self) -> list[Span]:
        """Return when the events were that were assessed."""
        rows = self._store.rows("SELECT start_us, end_us FROM assessments ORDER BY start_us")
        return [Span(from_microseconds(start), from_microseconds(end)) for start, end in rows]

    def newest_at(self) -> datetime | None:
        """Return when the newest was made, None without any."""
        ((made,),) = self._store.rows("SELECT max(made_us) FROM assessments")
        return None if made is None else from_microseconds(made)

    def after(self, when: datetime) -> list[Assessment]:
        """Return those that were made after a time, oldest first."""
        return self._read("WHERE made_us > ? ORDER BY made_us", microseconds(when))

    def newest(self, most: int) -> list[Assessment]:
        """Return the newest, newest first."""
        return self._read("ORDER BY made_us DESC LIMIT ?", most)

    def _read(self, which: str, *args: object) -> list[Assessment]:
        """Return some; what cannot be read is left out. Times are the row's: these are what is sorted by."""
        found: list[Assessment] = []
        for (body,) in self._store.rows(f"SELECT body FROM assessments {which}", *args):  # noqa: S608  written here
            try:
                found.append(_ADAPTER.validate_json(body))
            except (ValidationError, EvenloadError, ArithmeticError):
                continue  # `drop_unreadable` has said so, or will at the next start
        return found

    def drop_unreadable(self, now: datetime) -> None:
        """Let go of what cannot be read, and note each as a fault."""
        for key, body in self._store.rows("SELECT event_id, body FROM assessments"):
            try:
                _ADAPTER.validate_json(body)
            except (ValidationError, EvenloadError, ArithmeticError) as error:
                with self._store.transaction() as db:
                    db.execute("DELETE FROM assessments WHERE event_id = ?", (key,))
                    self._store.note_fault("unreadable assessment", str(key)[:_LONGEST_KEY], str(error), now)


def measurable(resources: Sequence[Metered]) -> tuple[Metered, ...]:
    """Return the resources whose energy is read."""
    return tuple(one for one in resources if one.register or one.power)
