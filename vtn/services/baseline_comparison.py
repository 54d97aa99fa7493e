"""Which baseline errs least on a programme's homes: every preset, asked about days without events."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np

from core.errors import InvalidError
from core.spans import Duration, Span, utc
from metrics.days import DayType, day_matrix, day_type
from metrics.method import BaselineMethod, Calendar
from metrics.needs import Need
from metrics.placebo import Accuracy, Placebo, accuracy, on_common_days, placebo
from metrics.presets import PRESETS
from vtn.services import control_group, day_calendar, holidays, load_profile, programme
from vtn.services.programme import Programme
from vtn.store.database import Database
from vtn.store.rows import evenly

MOST_VENS: Final = 12
"""So many homes say which rule suits the programme; more would take longer and say the same."""
WhyUnknown = Literal[
    "too little history",
    "nothing agreed",
    "no control group",
    "nothing nominated for days past",
    "too few temperatures",
]
_WHY: Final[Mapping[Need, WhyUnknown]] = {
    Need.AGREED: "nothing agreed",
    Need.CONTROL: "no control group",
    Need.NOMINATED: "nothing nominated for days past",
    Need.TEMPERATURE: "too few temperatures",
}
_FEW_VENS: Final = 6
"""Of more, every other day is asked about: it would take longer and say the same."""
_LOOKBACK_DAYS: Final = 75
_HISTORY: Final = timedelta(days=_LOOKBACK_DAYS + max(method.lookback_days for method in PRESETS.values()) + 2)
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

    `in_use`: the programme's own. `there`: what presets ask for, and homes or programme have.
    """

    in_use: str
    enrolled: int
    vens: int
    presets: Mapping[str, Accuracy]
    there: frozenset[Need] = frozenset()

    def why_unknown(self, name: str) -> WhyUnknown | None:
        """Return why a preset's accuracy is not known; None: it is."""
        if self.presets[name].is_known:
            return None
        return next((_WHY[need] for need in sorted(PRESETS[name].needs - self.there)), "too little history")

    def ranked(self) -> list[tuple[str, Accuracy]]:
        """Return id and accuracy, the smallest error of the pool first, what is not known last."""
        return sorted(self.presets.items(), key=lambda row: row[1].pool_rmse if row[1].is_known else math.inf)


async def compare(db: Database, programme_id: str, hours: Hours, now: datetime) -> Comparison:
    """Ask every preset about the days of the last eleven weeks on which no VEN asked was in an event.

    Of each home only days count on which every preset has a baseline, so that all are asked the same; one that rests on
    more than readings stands aside where it has fewer than half of the others' days. At most `MOST_VENS` of the VENs
    that take part now and are not in the control group are looked at, spread evenly over their ids, more than
    `_FEW_VENS` on every other day alone; each has the notice that the programme gives. Takes a second or several of
    CPU, in a thread. Raises NotFoundError.
    """
    async with db.read() as conn:
        rules = await programme.get(conn, programme_id)
        enrolled = await programme.enrolled(conn, programme_id, now)
        to_come = await holidays.within(conn, rules.id, rules.parameters, Span(now, now + timedelta(days=_AHEAD_DAYS)))
        event = _event(rules, hours, now, to_come)
        apart = set(await programme.control_homes(conn, rules.parameters))
        chosen = evenly([ven_id for ven_id in enrolled if ven_id not in apart], MOST_VENS)
        since = event.start - _HISTORY
        calendars = await day_calendar.of_each(
            conn, rules, list(PRESETS.values()), chosen, None, Span(since, event.end)
        )
        asked_since = event.start - timedelta(days=_LOOKBACK_DAYS + 2)
        control = await control_group.on_days(conn, rules, Span(asked_since, event.end))
        calendars = control_group.with_control(calendars, control)
        spans = dict.fromkeys(chosen, _seconds(since, event))
        readings = await load_profile.energy_of_each(conn, spans, rules.parameters.interval_s)
    notified_at = (-rules.parameters.notification).after(event.start)

    def work() -> Comparison:
        homes = [
            (day_matrix(series, rules.parameters.time_zone), calendars[ven_id]) for ven_id, series in readings.items()
        ]
        by_home = [
            {
                name: placebo(
                    matrix,
                    event,
                    method,
                    calendar,
                    notified_at=notified_at,
                    lookback_days=_LOOKBACK_DAYS,
                    every=1 if len(homes) <= _FEW_VENS else 2,
                    needs_temperature=True,
                )
                if _has_all(calendar, method)
                else _NOTHING
                for name, method in PRESETS.items()
            }
            for matrix, calendar in homes
        ]
        asked = _asked(by_home)
        alike = [on_common_days([home[name] for name in asked]) for home in by_home]
        found = {
            name: accuracy([home[asked.index(name)] for home in alike] if name in asked else []) for name in PRESETS
        }
        there = {Need.CONTROL} if control is not None else set()
        there |= {Need.AGREED} if any(calendar.agreed for _, calendar in homes) else set()
        there |= {Need.TEMPERATURE} if all(calendar.weather is not None for _, calendar in homes) else set()
        return Comparison(rules.parameters.baseline, len(enrolled), len(chosen), found, frozenset(there))

    return await asyncio.to_thread(work)


def _has_all(calendar: Calendar, method: BaselineMethod) -> bool:
    """Tell whether a home has what a method asks of its calendar; else it need not be tried."""
    there = {
        Need.AGREED: method.id in calendar.agreed,
        Need.CONTROL: calendar.control is not None,
        Need.NOMINATED: calendar.nominated is not None,
        Need.TEMPERATURE: calendar.weather is not None,
    }
    return all(there[need] for need in method.needs)


def _asked(homes: Sequence[Mapping[str, Placebo]]) -> list[str]:
    """Return the presets that are compared: without those that rest on more than readings and lack it on too many days.

    Else these would take their days from all of them.
    """
    alone = [name for name, method in PRESETS.items() if not method.needs]
    days = sum(len(on_common_days([home[name] for name in alone])[0].dates) for home in homes)
    return [
        name for name in PRESETS if name in alone or 2 * sum(len(home[name].dates) for home in homes) >= max(days, 1)
    ]


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
