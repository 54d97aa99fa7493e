"""Day-matching rules as data.

Every day-matching baseline is "x of the last y eligible days", told apart by how days are ranked, which are kept and
how the result is adjusted on the day itself. The published ones are `metrics.presets`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.errors import InvalidError
from metrics.days import DayType
from metrics.needs import Need

_DAY_S: Final = 86_400


class Keep(StrEnum):
    """Which of the y eligible days are averaged: the x highest, lowest or middle ones, or all."""

    HIGH = "high"
    LOW = "low"
    MID = "mid"
    ALL = "all"


class Rank(StrEnum):
    """What days are ranked by.

    Their energy in the event window, that of the whole day, anew in every single interval, how unlike the event's day
    they were outside the event (`low` keeps the most similar), or how far from the event's the mean outdoor temperature
    of the same wall-clock hours was (`low` keeps the nearest).
    """

    EVENT_WH = "event_wh"
    DAY_WH = "day_wh"
    INTERVAL = "interval"
    UNLIKENESS = "unlikeness"
    TEMPERATURE = "temperature"


class AdjustmentKind(StrEnum):
    """How the same-day adjustment acts: the baseline is multiplied, or shifted."""

    RATIO = "ratio"
    ADDITIVE = "additive"


class Anchor(StrEnum):
    """Which edge of the event a window is counted from."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time relative to the event: [anchor + from_s, anchor + to_s)."""

    from_s: int
    to_s: int
    anchor: Anchor = Anchor.START

    def __post_init__(self) -> None:
        before = self.to_s <= 0 if self.anchor is Anchor.START else self.from_s >= 0
        if not (self.from_s < self.to_s and before):
            raise InvalidError("An adjustment window lies before the event's start or after its end, and has a length.")


def reach_s(windows: Sequence[Window]) -> int:
    """Return how many seconds after an event's end the last of some windows ends; 0: none lies after it."""
    return max((window.to_s for window in windows if window.anchor is Anchor.END), default=0)


@dataclass(frozen=True, slots=True)
class Rule:
    """The parameters of one day-matching baseline.

    - `y`: so many of the latest eligible days are considered; `x` of them are kept, as `keep` and `rank` say. Ties go
      to the more recent day.
    - `like`: groups of day types that count as alike; a day is eligible if its type is in the event day's group.
    - `lookback_days`: how far back eligible days are sought; with fewer than `min_days` there is no baseline. With
      fewer than y, the kept share stays as many as x but never more than there are.
    - `coverage`: least share of the window's intervals that a day must have measured, 0 to 1.
    - `adjustment`, `windows`: the same-day adjustment, from the mean load in the windows. `cap` bounds the ratio.
      `upward_only`: never adjust downwards. `ratio_floor_w`: if the unadjusted baseline's mean in the windows is below
      this power, a ratio means nothing and the adjustment is additive instead.
    - `id`, `version`, `citation`: what a stored result names as its method.
    """

    id: str
    version: int
    citation: str
    y: int
    x: int
    keep: Keep = Keep.HIGH
    rank: Rank = Rank.EVENT_WH
    like: tuple[tuple[DayType, ...], ...] = ((DayType.WEEKDAY,), (DayType.WEEKEND, DayType.HOLIDAY))
    lookback_days: int = 45
    min_days: int = 5
    coverage: float = 0.9
    adjustment: AdjustmentKind | None = None
    windows: tuple[Window, ...] = ()
    cap: tuple[float, float] = (0.0, float("inf"))
    upward_only: bool = False
    ratio_floor_w: float = 1.0

    def __post_init__(self) -> None:
        if not (1 <= self.x <= self.y <= self.lookback_days and 1 <= self.min_days <= self.y):
            raise InvalidError(f"{self.id}: needs 1 <= x <= y <= lookback_days and 1 <= min_days <= y.")
        if not (0 < self.coverage <= 1 and 0 <= self.cap[0] <= 1 <= self.cap[1] and self.ratio_floor_w >= 0):
            raise InvalidError(f"{self.id}: coverage is a share above 0, the cap encloses 1, the floor is a power.")
        if (self.adjustment is None) != (not self.windows):
            raise InvalidError(f"{self.id}: an adjustment and its windows come together.")

    @property
    def needs(self) -> frozenset[Need]:
        """What it asks of the calendar: temperatures, if days are ranked by them."""
        return frozenset({Need.TEMPERATURE} if self.rank is Rank.TEMPERATURE else ())

    @property
    def reach_s(self) -> int:
        """How many seconds after an event's end it looks at: to the end of a window, or of the day that it compares."""
        return _DAY_S if self.rank is Rank.UNLIKENESS else reach_s(self.windows)

    def alike(self, kind: DayType) -> tuple[DayType, ...]:
        """Return the day types that count as like `kind`. Raises InvalidError if the rule does not cover it."""
        for group in self.like:
            if kind in group:
                return group
        raise InvalidError(f"{self.id} has no baseline for a {kind}; choose a rule that covers it.")
