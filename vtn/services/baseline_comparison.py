"""Which baseline errs least on a programme's homes: every preset, asked about days without events."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from core.errors import InvalidError
from core.spans import Duration, Span, utc
from metrics.days import DayMatrix, DayType, day_matrix, day_type
from metrics.method import Calendar
from metrics.placebo import Accuracy, Placebo, accuracy, on_common_days, placebo
from metrics.presets import PRESETS
from vtn.services import day_calendar, holidays, load_profile, programme
from vtn.services.programme import Programme
from vtn.store.database import Database

MOST_VENS: Final = 20
"""So many homes say which rule suits the programme; more would take longer and say the same."""
_LOOKBACK_DAYS: Final = 75
_HISTORY: Final = timedelta(days=_LOOKBACK_DAYS + max(method.lookback_days for method in PRESETS.values()) + 2)
_USES_TEMPERATURE: Final = any(method.uses_temperature for method in PRESETS.values())
_NOTHING: Final = Placebo((), np.zeros(0), np.zeros(0))
_LONGEST_S: Final = 86_400
_AHEAD_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours to ask about: from `start` (local time of the programme) for `duration`, on weekdays or weekends."""

    start: time
    duration: Duration
    days: DayType = DayType.WEEKDAY

    def __post_init__(self) -> None:
        if self.duration.months or not 0 < self.duration.seconds <= _LONGEST_S:
            raise InvalidError("An event lasts longer than nothing, and a day at most.", field="duration")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What every preset is worth to a programme: id -> its accuracy on `vens` of the `enrolled` VENs.

    `in_use`: the programme's own.
    """

    in_use: str
    enrolled: int
    vens: int
    presets: Mapping[str, Accuracy]

    def ranked(self) -> list[tuple[str, Accuracy]]:
        """Return id and accuracy, the smallest error of the pool first, what is not known last."""
        return sorted(self.presets.items(), key=lambda row: row[1].pool_rmse if row[1].is_known else math.inf)


async def compare(db: Database, programme_id: str, hours: Hours, now: datetime) -> Comparison:
    """Ask every preset about the days of the last eleven weeks on which no VEN asked was in an event.

    Of each home only days count on which every preset has a baseline, so that all are asked the same; of presets that
    compare temperatures nothing is known where these are not. At most `MOST_VENS` of the VENs that take part now are
    looked at, spread evenly over their ids; each has the notice that the programme gives. Takes a second or several of
    CPU, in a thread. Raises NotFoundError.
    """
    async with db.read() as conn:
        rules = await programme.get(conn, programme_id)
        enrolled = await programme.enrolled(conn, programme_id, now)
        to_come = await holidays.within(conn, rules.id, rules.parameters, Span(now, now + timedelta(days=_AHEAD_DAYS)))
        event = _event(rules, hours, now, to_come)
        count = min(len(enrolled), MOST_VENS)
        chosen = [enrolled[place * len(enrolled) // count] for place in range(count)]
        since = event.start - _HISTORY
        asked = Span(since, event.end)
        calendars = await day_calendar.of_each(conn, rules, chosen, None, asked, uses_temperature=_USES_TEMPERATURE)
        spans = dict.fromkeys(chosen, _seconds(since, event))
        readings = await load_profile.energy_of_each(conn, spans, rules.parameters.interval_s)
    notified_at = (-rules.parameters.notification).after(event.start)

    def work() -> Comparison:
        homes = [
            (day_matrix(series, rules.parameters.time_zone), calendars[ven_id]) for ven_id, series in readings.items()
        ]
        by_home = [_placebos(matrix, event, calendar, notified_at) for matrix, calendar in homes]
        found = {name: accuracy([home[name] for home in by_home]) for name in PRESETS}
        return Comparison(rules.parameters.baseline, len(enrolled), len(chosen), found)

    return await asyncio.to_thread(work)


def _placebos(matrix: DayMatrix, event: Span, calendar: Calendar, notified_at: datetime) -> dict[str, Placebo]:
    """Return what each preset errs on a home, on the days that all of them have.

    One that lacks temperatures on most of the days that the others have is left out, with no days: it would take
    theirs from them.
    """
    asked = {
        name: placebo(
            matrix,
            event,
            method,
            calendar,
            notified_at=notified_at,
            lookback_days=_LOOKBACK_DAYS,
            needs_temperature=True,
        )
        for name, method in PRESETS.items()
        if calendar.weather is not None or not method.uses_temperature
    }
    days = set.intersection(*(set(one.dates) for name, one in asked.items() if not PRESETS[name].uses_temperature))
    names = [name for name, one in asked.items() if 2 * len(days & set(one.dates)) >= len(days)]
    alike = zip(names, on_common_days([asked[name] for name in names]), strict=True)
    return dict.fromkeys(PRESETS, _NOTHING) | dict(alike)


def _event(rules: Programme, hours: Hours, now: datetime, holidays_: frozenset[date]) -> Span:
    """Return the hours on the next such day: all days before it can be asked about."""
    zone = ZoneInfo(rules.parameters.time_zone)
    today = now.astimezone(zone).date()
    days = [today + timedelta(days=number) for number in range(1, _AHEAD_DAYS)]
    day = next((one for one in days if day_type(one, holidays_) is hours.days), None)
    if day is None:
        raise InvalidError(f"The next {_AHEAD_DAYS} days have no {hours.days}: all of them are holidays.", field="days")
    start = utc(datetime.combine(day, hours.start, zone))
    return Span(start, hours.duration.after(start))


def _seconds(since: datetime, event: Span) -> tuple[int, int]:
    return int(since.timestamp()), int((event.end or event.start).timestamp())
