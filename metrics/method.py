"""The seam that every baseline stands behind: readings and an event in, what would have been used without it out.

A programme names its method by id (`metrics.presets`); services feed it and store what it says, whatever it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from core.errors import InvalidError
from core.spans import Span
from metrics.agreed_profile import AgreedProfile
from metrics.control import Control
from metrics.days import Bools, DayMatrix, DayType, Floats, Ints, Series
from metrics.matching import Adjustment
from metrics.needs import Need
from metrics.weather import Weather


@dataclass(frozen=True, slots=True)
class Calendar:
    """What is special about a participant's days, and how warm they were.

    `events` and `outages`: all of this participant's, past and present; the local days that they touch are never
    used. `holidays`: local dates of the programme. `weather`: outdoor temperatures where it is, None: not known.
    `control`: what the programme's control group used, None: it has none.
    `nominated`: what its baseline gets on top so that those of its portfolio add up to a nomination, Wh per interval.
    `agreed`: the powers that were agreed with it beforehand, by the id of the method that rests on them.
    """

    events: tuple[Span, ...] = ()
    outages: tuple[Span, ...] = ()
    holidays: frozenset[date] = frozenset()
    weather: Weather | None = None
    control: Control | None = None
    nominated: Series | None = None
    agreed: Mapping[str, tuple[AgreedProfile, ...]] = field(default_factory=dict)


ORDINARY = Calendar()
"""Nothing special: no events, outages or holidays known."""


class Verdict(StrEnum):
    """What became of a day that was looked at."""

    KEPT = "kept"
    NOT_KEPT = "eligible, not among the kept"
    EVENT = "event day"
    OUTAGE = "outage"
    MISSING = "missing data"
    UNLIKE = "not a like day"
    NO_TEMPERATURE = "no temperature"


@dataclass(frozen=True, slots=True)
class DayUse:
    """One local day and its verdict, the `coverage` of its windows (0 to 1) and its mean power in the event window.

    `celsius`: the mean outdoor temperature there; NaN where it is not known, or the method asks for none.
    """

    day: date
    verdict: Verdict
    coverage: float
    mean_w: float
    celsius: float = math.nan

    @property
    def has_temperature(self) -> bool:
        """Tell whether its temperature is known."""
        return math.isfinite(self.celsius)


class AdjustmentStatus(StrEnum):
    """Whether the day's own load, temperature or nomination was taken into account, and from which window."""

    NONE = "the rule has none"
    APPLIED = "applied"
    MOVED = "applied, window moved before the notice"
    NO_WINDOW = "not applied: no window before the notice, or shorter than the readings' step"
    MISSING_DATA = "not applied: too few readings in the window"
    NO_TEMPERATURE = "by time of week alone: the temperatures do not reach"
    NOT_NOMINATED = "by the usual load alone: nothing was nominated in time"


class NoBaselineError(InvalidError):
    """There are too few eligible days. `days` lists every day looked at, newest first, with its verdict."""

    def __init__(self, message: str, days: tuple[DayUse, ...]) -> None:
        super().__init__(message)
        self.days = days


class NoBasisError(NoBaselineError):
    """What the method rests on, besides the participant's readings, is not there: no fault of these.

    `lacks` says what, for a sentence such as "it lacks outdoor temperatures".
    """

    def __init__(self, message: str, days: tuple[DayUse, ...], lacks: str) -> None:
        super().__init__(message, days)
        self.lacks = lacks


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A baseline and how it came about. Arrays have one entry per interval of the meter, shape (n,).

    `starts_s`: interval starts, seconds since 1970 UTC; `overlap_s`: seconds of the interval that lie in the event,
    0 for intervals shown beyond it. `baseline_wh`, `unadjusted_wh`, `actual_wh`: NaN where unknown. An event that
    begins or ends inside an interval counts the whole interval: what was shed in it shows in its energy.
    `adjustment` is in W; `windows` are the spans it was made from. `days`: newest first. `celsius`: the mean outdoor
    temperature in the event; NaN where it is not known, or the method asks for none.
    """

    method: "BaselineMethod"
    step_s: int
    starts_s: Ints
    overlap_s: Floats
    baseline_wh: Floats
    unadjusted_wh: Floats
    actual_wh: Floats
    adjustment: Adjustment
    status: AdjustmentStatus
    windows: tuple[Span, ...]
    days: tuple[DayUse, ...]
    celsius: float = math.nan

    @property
    def in_event(self) -> Bools:
        """Which intervals belong to the event, (n,)."""
        return self.overlap_s > 0


class BaselineMethod(Protocol):
    """A way to say what a participant would have used without an event.

    - `id`, `version`, `citation`: what a stored result names as its method. `repr` holds all that decides the outcome:
      results are hashed with it.
    - `lookback_days`: readings from so many days before the event are of use.
    - `reach_s`: so long after an event readings still say something of its baseline.
    - `min_days`, `coverage`: so many days, each measured to that share (0 to 1), are needed; `alike` says which.
    - `needs`: what else it asks of the calendar.
    """

    @property
    def id(self) -> str:
        """What a programme calls it."""

    @property
    def version(self) -> int:
        """Counted up when the same id means something else."""

    @property
    def citation(self) -> str:
        """Where it comes from."""

    @property
    def lookback_days(self) -> int:
        """How many days before an event it looks at."""

    @property
    def reach_s(self) -> int:
        """How many seconds after an event's end it looks at."""

    @property
    def min_days(self) -> int:
        """How many days it needs at least."""

    @property
    def coverage(self) -> float:
        """Which share of a day must be measured for it to be of use."""

    @property
    def needs(self) -> frozenset[Need]:
        """What it asks of the calendar."""

    def alike(self, kind: DayType) -> Sequence[DayType]:
        """Return the kinds of days that say something about a day of that kind. Raises InvalidError if none does."""

    def baseline(
        self,
        matrix: DayMatrix,
        event: Span,
        calendar: Calendar = ORDINARY,
        *,
        notified_at: datetime | None = None,
        show: Span | None = None,
    ) -> Baseline:
        """Return the baseline of a participant for an event.

        `event` is the participant's own active period; `notified_at` when it learnt of it: what was used from then on
        may already answer it. `show`: a longer span to return intervals for. Raises NoBaselineError where the readings
        do not suffice, its kind NoBasisError where something else is missing and nothing stands in for it,
        InvalidError for an event without end or longer than 31 days.
        """
