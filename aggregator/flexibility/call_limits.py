"""A programme's limits at a moment, in its own time zone: windows, lengths, and which day, week and season it is.

Local days are as long as the calendar makes them (23 to 25 hours where the clocks change).
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.errors import InvalidError
from core.spans import Duration, Span
from vtn.services.programme import Limits, Window

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Periods:
    """The local day, week (from Monday) and season in which a call would begin, as spans of UTC."""

    day: Span
    week: Span
    season: Span


def periods(limits: Limits, zone: ZoneInfo, when: datetime) -> Periods:
    """Return the periods by which a call that begins then is counted. Raises InvalidError for a season that is none."""
    today = when.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday())
    first, following = _season(limits.seasons, today)
    return Periods(
        Span(midnight(today, zone), midnight(today + _DAY, zone)),
        Span(midnight(monday, zone), midnight(monday + 7 * _DAY, zone)),
        Span(midnight(first, zone), midnight(following, zone)),
    )


def counted(limits: Limits, zone: ZoneInfo, span: Span) -> Span | None:
    """Return the time in which other calls count against one in a span, None where no limit looks at others.

    That is its day, week and season as far as they are limited, and the rest around it.
    """
    around = periods(limits, zone, span.start)
    spans = [
        one
        for one, limit in (
            (around.day, limits.per_day),
            (around.week, limits.per_week),
            (around.season, limits.per_season),
        )
        if limit is not None
    ]
    if limits.rest and span.end is not None:
        spans.append(Span((-limits.rest).after(span.start), limits.rest.after(span.end)))
    ends = [one.end for one in spans if one.end is not None]
    return Span(min(one.start for one in spans), max(ends)) if ends else None


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return when a local day begins, UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _season(seasons: tuple[str, ...], today: date) -> tuple[date, date]:
    """Return the first day of the season of a date, and of the one after; without seasons, of the year."""
    starts = sorted(
        _day_of(text, year) for text in seasons or ("01-01",) for year in range(today.year - 1, today.year + 3)
    )
    before = [one for one in starts if one <= today]
    return before[-1], next(one for one in starts if one > today)


def _day_of(text: str, year: int) -> date:
    try:
        month, day = (int(part) for part in text.split("-"))
        if (month, day) == (2, 29) and not calendar.isleap(year):
            month, day = 3, 1
        return date(year, month, day)
    except ValueError as error:
        raise InvalidError(f"'{text[:20]}' is no day on which a season begins, such as 04-01.") from error


def allows(limits: Limits, zone: ZoneInfo, span: Span) -> bool:
    """Tell whether a call may last for a span: inside the windows all the time, neither too short nor too long."""
    if span.end is None or _shorter(span, limits.shortest):
        return False
    if limits.longest is not None and span.end > limits.longest.after(span.start):
        return False
    return not limits.windows or _covered(limits.windows, zone, span.start, span.end)


def _shorter(span: Span, least: Duration | None) -> bool:
    return least is not None and span.end is not None and span.end < least.after(span.start)


def _covered(windows: tuple[Window, ...], zone: ZoneInfo, start: datetime, end: datetime) -> bool:
    """Tell whether windows that may adjoin cover [start, end)."""
    reached = start
    for opens, closes in sorted(_openings(windows, zone, start, end)):
        if opens <= reached < closes:
            reached = closes
    return reached >= end


def _openings(
    windows: tuple[Window, ...], zone: ZoneInfo, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the windows around a span, as times in UTC."""
    day = start.astimezone(zone).date() - _DAY
    last = end.astimezone(zone).date()
    while day <= last:
        for one in windows:
            if not one.days or day.isoweekday() in one.days:
                opens, closes = time.fromisoformat(one.start), time.fromisoformat(one.end)
                until = day if closes > opens else day + _DAY
                yield (
                    datetime.combine(day, opens, zone).astimezone(UTC),
                    datetime.combine(until, closes, zone).astimezone(UTC),
                )
        day += _DAY
