"""When a participant will have a baseline: how many days it has, how many its method needs, and when it has them."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from metrics.days import DayType, day_type, from_days
from metrics.method import BaselineMethod, DayUse, Verdict

_LONGEST_DAYS: Final = 400
_ELIGIBLE: Final = frozenset({Verdict.KEPT, Verdict.NOT_KEPT, Verdict.NO_TEMPERATURE})


def eligible(days: Sequence[DayUse]) -> int:
    """Return how many of the days looked at could be used, once their temperatures are there where those are asked."""
    return sum(one.verdict in _ELIGIBLE for one in days)


def ready_on(
    method: BaselineMethod, have: int, first_day: int, kind: DayType, holidays: frozenset[date] = frozenset()
) -> date | None:
    """Return the first local date of a kind like `kind` on which an event can be measured.

    `have`: eligible days so far; every like day from `first_day` (days since 1970-01-01) on is taken to become one.
    None: not within a year, since the method lacks such days.
    """
    alike = method.alike(kind)
    for day in range(first_day, first_day + _LONGEST_DAYS):
        if day_type(from_days(day), holidays) not in alike:
            continue
        if have >= method.min_days:
            return from_days(day)
        have += 1
    return None
