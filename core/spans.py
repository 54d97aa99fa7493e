"""Durations and spans of time.

A `Duration` keeps months and seconds apart, because a month has no fixed length; everything from weeks to seconds is
exact in UTC.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

from core.errors import InvalidError

_ISO = re.compile(
    r"(?P<sign>[+-]?)P?(?:(?P<weeks>(?<=P)\d+|\d+)W"
    r"|(?<=P)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<days>\d+)D)?"
    r"(?:T?(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?)",
    re.ASCII,
)
_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Duration:
    """An ISO 8601 duration: whole calendar months plus whole seconds, both of the same sign.

    Equality is by value: `PT90M` equals `PT1H30M`, `P1Y` equals `P12M`; `P1M` equals no number of days.
    """

    months: int = 0
    seconds: int = 0

    def __post_init__(self) -> None:
        if self.months * self.seconds < 0:
            raise InvalidError("A duration cannot mix positive and negative parts.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `PT15M`, `-P1DT2H`, `P1Y`, `P2W` or `2W` (OpenADR's XSD allows the latter, catalogue GN-05).

        An empty `P` is zero. Raises InvalidError for anything else, decimals included.
        """
        match = _ISO.fullmatch(text.strip())
        if match is None or any(part and len(part) > _MAX_DIGITS for part in match.groups()):
            raise InvalidError(f"'{text[:40]}' is not a duration such as PT15M or P1DT2H (no decimals).")
        part = {name: int(value or 0) for name, value in match.groupdict().items() if name != "sign"}
        sign = -1 if match["sign"] == "-" else 1
        days = 7 * part["weeks"] + part["days"]
        seconds = ((24 * days + part["hours"]) * 60 + part["minutes"]) * 60 + part["seconds"]
        return cls(sign * (12 * part["years"] + part["months"]), sign * seconds)

    @classmethod
    def of(cls, *, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0) -> Self:
        """Build an exact duration from its parts."""
        return cls(0, ((24 * days + hours) * 60 + minutes) * 60 + seconds)

    @classmethod
    def between(cls, start: datetime, end: datetime) -> Self:
        """Return the exact duration from start to end, cut to whole seconds."""
        return cls(0, int((end - start).total_seconds()))

    @property
    def exact_s(self) -> int:
        """Length in seconds. Raises InvalidError where months make it depend on the calendar."""
        if self.months:
            raise InvalidError(f"The length of {self} depends on the calendar; use days or hours.")
        return self.seconds

    def timedelta(self) -> timedelta:
        """Return the exact length; raises like `exact_s`."""
        return timedelta(seconds=self.exact_s)

    def after(self, start: datetime) -> datetime:
        """Return start plus this duration; a day that the target month lacks becomes its last day.

        Raises InvalidError where the result leaves the calendar (years 1 to 9999).
        """
        try:
            if self.months:
                years, month0 = divmod(start.month - 1 + self.months, 12)
                year, month = start.year + years, month0 + 1
                day = min(start.day, calendar.monthrange(year, month)[1]) if 1 <= year <= 9999 else 1  # noqa: PLR2004
                start = start.replace(year=year, month=month, day=day)
            return start + timedelta(seconds=self.seconds)
        except (OverflowError, ValueError) as error:
            raise InvalidError(f"{self} after {start.isoformat()} is outside the calendar.") from error

    def __neg__(self) -> "Duration":
        return Duration(-self.months, -self.seconds)

    def __bool__(self) -> bool:
        return bool(self.months or self.seconds)

    def __str__(self) -> str:
        """Return the canonical text: no weeks, no zero parts, `PT0S` for zero."""
        if not self:
            return "PT0S"
        years, months = divmod(abs(self.months), 12)
        minutes, seconds = divmod(abs(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24)
        date = "".join(f"{n}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n)
        time = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)
        sign = "-" if self.months < 0 or self.seconds < 0 else ""
        return f"{sign}P{date}{'T' + time if time else ''}"


ZERO = Duration()


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open span of time [start, end), both aware UTC; `end` None means open-ended."""

    start: datetime
    end: datetime | None

    def contains(self, when: datetime) -> bool:
        """Tell whether `when` lies in the span."""
        return self.start <= when and (self.end is None or when < self.end)

    def overlaps(self, other: "Span") -> bool:
        """Tell whether the two spans share any time; adjacent spans do not."""
        return (self.end is None or other.start < self.end) and (other.end is None or self.start < other.end)


def utc(when: datetime) -> datetime:
    """Return `when` as aware UTC. Raises InvalidError for a time without zone or outside the years 1 to 9999."""
    if when.utcoffset() is None:
        raise InvalidError(f"{when.isoformat()} has no time zone.")
    try:
        return when.astimezone(UTC)
    except OverflowError as error:
        raise InvalidError(f"{when.isoformat()} is outside the calendar in UTC.") from error


def floor_to(when: datetime, step_s: int) -> datetime:
    """Return the last multiple of `step_s` seconds since 1970 that is not after `when`."""
    seconds = int(when.timestamp() // step_s) * step_s
    return datetime.fromtimestamp(seconds, UTC)


def ceil_to(when: datetime, step_s: int) -> datetime:
    """Return the first multiple of `step_s` seconds since 1970 that is not before `when`."""
    floor = floor_to(when, step_s)
    return floor if floor == when else floor + timedelta(seconds=step_s)


def day_in_words(day: date) -> str:
    """Return a local date as people name it when it is near, such as `Tuesday, 3 March`."""
    return f"{day:%A}, {day.day} {day:%B}"
