"""Durations and spans of time.

A `Duration` keeps months and seconds apart, because a month has no fixed length; everything from weeks to seconds is
exact in UTC.
"""

import calendar
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, Self

from core.errors import InvalidError

_ISO = re.compile(
    r"(?P<sign>[+-]?)P?(?:(?P<weeks>(?<=P)\d+|\d+)W"
    r"|(?<=P)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<days>\d+)D)?"
    r"(?:T?(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?)",
    re.ASCII,
)
_MAX_DIGITS = 12
_DAY_S = 86_400

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)
"""The ends of the calendar. What would lie beyond them is held there: nothing falls due at LATEST."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_MONTH_S: Final = 31 * 86_400
_LEAST_MONTH_S: Final = 28 * 86_400


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
        months = 12 * part["years"] + part["months"]
        if (
            months >= 12 * 10**_MAX_DIGITS or seconds >= _DAY_S * 10**_MAX_DIGITS
        ):  # its canonical text could not be read
            raise InvalidError(f"'{text[:40]}' is longer than any calendar.")
        return cls(sign * months, sign * seconds)

    @classmethod
    def of(cls, *, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0) -> Self:
        """Build an exact duration from its parts."""
        return cls(0, ((24 * days + hours) * 60 + minutes) * 60 + seconds)

    @classmethod
    def between(cls, start: datetime, end: datetime) -> Self:
        """Return the exact duration from start to end, cut to whole seconds."""
        return cls(0, int((end - start).total_seconds()))

    @property
    def is_negative(self) -> bool:
        """Whether it points backwards."""
        return self.months < 0 or self.seconds < 0

    @property
    def exact_s(self) -> int:
        """Length in seconds. Raises InvalidError where months make it depend on the calendar."""
        if self.months:
            raise InvalidError(f"The length of {self} depends on the calendar; use days or hours.")
        return self.seconds

    def timedelta(self) -> timedelta:
        """Return the exact length. Raises InvalidError like `exact_s`, and for more than 2.7 million years."""
        try:
            return timedelta(seconds=self.exact_s)
        except OverflowError as error:
            raise InvalidError(f"{self} is longer than any calendar.") from error

    def times(self, count: int) -> "Duration":
        """Return this duration `count` times: `P1M` three times is `P3M`."""
        return Duration(self.months * count, self.seconds * count)

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

    def held_after(self, start: datetime) -> datetime:
        """Return start plus this duration, held at EARLIEST or LATEST where that leaves the calendar."""
        try:
            return self.after(start)
        except InvalidError:
            return EARLIEST if self.is_negative else LATEST

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

    @classmethod
    def lasting(cls, start: datetime, duration: Duration) -> Self:
        """Return the span that lasts so long; zero means without end, as in OpenADR, and so does past the calendar."""
        end = duration.held_after(start) if duration else LATEST
        return cls(start, end if end < LATEST else None)

    def contains(self, when: datetime) -> bool:
        """Tell whether `when` lies in the span."""
        return self.start <= when and (self.end is None or when < self.end)

    def overlaps(self, other: "Span") -> bool:
        """Tell whether the two spans share any time; adjacent spans do not."""
        return (self.end is None or other.start < self.end) and (other.end is None or self.start < other.end)


@dataclass(frozen=True, slots=True)
class Steps:
    """The times `start`, `start` + `step`, `start` + 2 `step` and so on; what lies past the calendar is LATEST.

    `step` is positive. Months count from `start`: P1M from 31 January goes by the 28th (or 29th) of February to the
    31st of March (GN-05).
    """

    start: datetime
    step: Duration

    def at(self, index: int) -> datetime:
        """Return the time of a step; the start is step 0."""
        if not self.step.months:
            return shifted(self.start, self.step.seconds * index)
        return self.step.times(index).held_after(self.start)

    def index(self, when: datetime) -> int:
        """Return the last step that is not after `when`; -1 before the start."""
        passed_s = math.floor((when - self.start).total_seconds())
        if passed_s < 0:
            return -1
        low = passed_s // (self.step.months * _MOST_MONTH_S + self.step.seconds)
        if not self.step.months:
            return low
        high = passed_s // (self.step.months * _LEAST_MONTH_S + self.step.seconds) + 1
        while high - low > 1:  # at(low) <= when < at(high); a few halvings, however long ago the start is
            middle = (low + high) // 2
            low, high = (middle, high) if self.at(middle) <= when else (low, middle)
        return low

    def after(self, when: datetime) -> datetime:
        """Return the first step later than `when`."""
        return self.at(self.index(when) + 1)

    def from_(self, when: datetime) -> datetime:
        """Return the first step that is not before `when`."""
        place = self.index(when)
        last = self.at(place)
        return last if last == when else self.at(place + 1)

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """Return `start`, the steps inside, and `end`: the first and the last part may be shorter than a step."""
        inside = (self.at(index) for index in range(self.index(start) + 1, self.index(end) + 1))
        return [start, *(edge for edge in inside if edge < end), end]


def shifted(when: datetime, seconds: float) -> datetime:
    """Return a time so many seconds later (or earlier), held within the calendar."""
    try:
        return when + timedelta(seconds=seconds)
    except OverflowError:
        return LATEST if seconds > 0 else EARLIEST


def utc(when: datetime) -> datetime:
    """Return `when` as aware UTC. Raises InvalidError for a time without zone or outside the years 1 to 9999."""
    if when.utcoffset() is None:
        raise InvalidError(f"{when.isoformat()} has no time zone.")
    try:
        return when.astimezone(UTC)
    except OverflowError as error:
        raise InvalidError(f"{when.isoformat()} is outside the calendar in UTC.") from error


def local_day(when: datetime, zone: tzinfo | None) -> date:
    """Return the day that it is at a time in a zone (None: this machine's); at the calendar's edges, that of UTC."""
    try:
        return when.astimezone(zone).date()
    except (OverflowError, ValueError, OSError):
        return when.date()


def next_midnight(when: datetime, zone: tzinfo | None) -> datetime:
    """Return when the next local day begins (UTC); where clocks leave midnight out, the first moment after it."""
    try:
        day = local_day(when, zone) + timedelta(days=1)
        midnight = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        return LATEST
    return midnight if midnight > when else shifted(when, 3600)


def floor_to(when: datetime, step_s: int) -> datetime:
    """Return the last multiple of `step_s` seconds since 1970 that is not after `when`."""
    return shifted(_EPOCH, (when - _EPOCH) // timedelta(seconds=step_s) * step_s)


def ceil_to(when: datetime, step_s: int) -> datetime:
    """Return the first multiple of `step_s` seconds since 1970 that is not before `when`."""
    floor = floor_to(when, step_s)
    return floor if floor == when else shifted(floor, step_s)


def day_in_words(day: date) -> str:
    """Return a local date as people name it when it is near, such as `Tuesday, 3 March`."""
    return f"{day:%A}, {day.day} {day:%B}"
