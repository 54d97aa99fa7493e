"""Days: a metered series laid out by local calendar day and wall clock.

Day matching compares the same wall-clock hours of different days. A `DayMatrix` holds one row per local calendar day
and one column per step of the wall clock; the hour that a spring day lacks is neither data nor a gap, and the hour
that an autumn day has twice is one column with the mean of both.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import InvalidError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY_S = 86_400
_LATEST_S = 7_258_118_400  # the year 2200: whatever lies beyond is a unit mistake, not a meter
_MAX_CELLS = 20_000_000  # ten years of minutes are five million
_EPOCH_DAY = date(1970, 1, 1)


class DayType(StrEnum):
    """What kind of day a date is. A holiday is a holiday also on a Sunday."""

    WEEKDAY = "weekday"
    WEEKEND = "weekend"
    HOLIDAY = "holiday"


def day_type(day: date, holidays: frozenset[date] = frozenset()) -> DayType:
    """Return the type of a local calendar date."""
    if day in holidays:
        return DayType.HOLIDAY
    return DayType.WEEKDAY if day.isoweekday() <= 5 else DayType.WEEKEND  # noqa: PLR2004  Friday is the fifth day


class LikeDays:
    """Which days say something about a day where weekdays are one kind, and weekends and holidays the other."""

    __slots__ = ()

    def alike(self, kind: DayType) -> tuple[DayType, ...]:
        """Return the kinds of days that say something about a day of that kind."""
        return (DayType.WEEKDAY,) if kind is DayType.WEEKDAY else (DayType.WEEKEND, DayType.HOLIDAY)


def from_epoch_s(seconds: float) -> datetime:
    """Return seconds since 1970 as an aware UTC time."""
    return datetime.fromtimestamp(int(seconds), UTC)


def to_days(day: date) -> int:
    """Return a calendar date as days since 1970-01-01."""
    return (day - _EPOCH_DAY).days


def from_days(days: int) -> date:
    """Return days since 1970-01-01 as a calendar date."""
    return _EPOCH_DAY + timedelta(days=int(days))


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database. Raises InvalidError for any other name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidError(f"'{name[:60]}' is no time zone; use an IANA name such as Europe/London.") from error


def to_local_s(utc_s: Ints, zone: ZoneInfo) -> Ints:
    """Return wall-clock times (seconds since 1970 as the local clock shows them) of UTC times, same shape."""
    days, which = np.unique(utc_s // DAY_S, return_inverse=True)
    midnights = np.array([_offset_s(int(day) * DAY_S, zone) for day in days], np.int64)
    next_midnights = np.array([_offset_s(int(day + 1) * DAY_S, zone) for day in days], np.int64)
    offsets = midnights[which]
    closer = (midnights != next_midnights)[which]  # the clocks change on these days
    quarters, which = np.unique(utc_s[closer] // 900, return_inverse=True)
    offsets[closer] = np.array([_offset_s(int(quarter) * 900, zone) for quarter in quarters], np.int64)[which]
    return utc_s + offsets


def period_of(start: datetime, step_s: int, zone: ZoneInfo) -> tuple[int, str]:
    """Return a settlement period's number in its local day, from 1, and its start by the wall clock (ISO 8601).

    Counted is the time since local midnight: a day of 23 hours has 92 quarters, one of 25 hours has 100.
    """
    local = start.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    since_s = (start - midnight.astimezone(UTC)).total_seconds()
    return int(since_s // step_s) + 1, local.isoformat(timespec="minutes")


def _offset_s(utc_s: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(utc_s, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Energy per interval. Build it with `series`.

    `starts_s` (n,) int64: interval starts, seconds since 1970 UTC, ascending, all with the same remainder modulo
    `step_s`. `energy_wh` (n,) float64: energy of [start, start + step_s); NaN is missing. Import is positive.
    """

    starts_s: Ints
    energy_wh: Floats
    step_s: int

    @property
    def phase_s(self) -> int:
        """Where the intervals begin within a step."""
        return int(self.starts_s[0]) % self.step_s if self.starts_s.size else 0

    def at(self, starts_s: Ints) -> Floats:
        """Return the energies (Wh) of the intervals that begin then; NaN where there is none. Same shape."""
        if not self.starts_s.size:
            return np.full(starts_s.shape, np.nan)
        index = np.minimum(np.searchsorted(self.starts_s, starts_s), self.starts_s.size - 1)
        return np.where(self.starts_s[index] == starts_s, self.energy_wh[index], np.nan)

    def grid(self, start_s: float, end_s: float, *, within: bool = False) -> Ints:
        """Return the starts of the intervals that touch [start_s, end_s), or with `within` lie wholly inside it."""
        step, phase = self.step_s, self.phase_s
        first = -(-(start_s - phase) // step) if within else (start_s - phase) // step
        last = (end_s - phase) // step if within else -(-(end_s - phase) // step)
        return np.arange(int(first), int(last), dtype=np.int64) * step + phase


def series(starts: ArrayLike, energy_wh: ArrayLike, step_s: int) -> Series:
    """Check and sort a series.

    `starts` (n,): numpy datetime64 (UTC) or seconds since 1970; `energy_wh` (n,): Wh per interval, NaN or infinite =
    missing; `step_s`: length of every interval, a divisor of a day. Raises InvalidError for other shapes, doubled
    starts, starts off the common grid, or times outside 1970 to 2200.
    """
    times = np.asarray(starts)
    if np.issubdtype(times.dtype, np.datetime64):
        times = times.astype("datetime64[s]")
    starts_s = times.astype(np.int64)
    energy = np.asarray(energy_wh, dtype=np.float64)
    if starts_s.ndim != 1 or starts_s.shape != energy.shape:
        raise InvalidError(f"A series needs one start per energy, not shapes {starts_s.shape} and {energy.shape}.")
    if not 1 <= step_s <= DAY_S or DAY_S % step_s:
        raise InvalidError(f"A step of {step_s} s does not divide a day; resample the readings first.")
    if (np.diff(starts_s) < 0).any():
        order = np.argsort(starts_s, kind="stable")
        starts_s, energy = starts_s[order], energy[order]
    if starts_s.size:
        if starts_s[0] < 0 or starts_s[-1] > _LATEST_S:
            raise InvalidError("A reading lies outside the years 1970 to 2200; are the times in seconds?")
        if np.any(np.diff(starts_s) == 0):
            raise InvalidError("Two readings begin at the same time; keep the newest revision of each.")
        if np.any(starts_s % step_s != starts_s[0] % step_s):
            raise InvalidError(f"The readings do not lie on one grid of {step_s} s; resample them first.")
    return Series(starts_s, np.where(np.isfinite(energy), energy, np.nan), step_s)


def _wall_clock(starts_s: Ints, step_s: int, zone: ZoneInfo) -> Ints:
    """Return what `to_local_s` does of ascending starts on a grid; for reading only."""
    if not starts_s.size or int(starts_s[-1]) - int(starts_s[0]) != (starts_s.size - 1) * step_s:  # there are gaps
        return to_local_s(starts_s, zone)
    return _even_wall_clock(int(starts_s[0]), starts_s.size, step_s, zone)


@lru_cache(maxsize=64)  # the homes of one event are looked at over the same time
def _even_wall_clock(first_s: int, count: int, step_s: int, zone: ZoneInfo) -> Ints:
    local = to_local_s(first_s + step_s * np.arange(count), zone)
    local.flags.writeable = False
    return local


@dataclass(frozen=True, slots=True, eq=False)
class DayMatrix:
    """A series by local day and wall clock. Build it with `day_matrix`.

    Row r is the local date `first_day + r` (days since 1970-01-01), column c the wall clock c * step_s after
    midnight. `energy_wh` (days, slots): mean energy of the intervals there, NaN = missing. `measured` and `expected`
    (days, slots): how many intervals have a value there, and how many the calendar has (0, 1 or 2).
    """

    series: Series
    zone: ZoneInfo
    first_day: int
    energy_wh: Floats
    measured: Ints
    expected: Ints

    @property
    def slots(self) -> int:
        """Steps in a day of 24 hours."""
        return DAY_S // self.series.step_s

    def offsets(self, starts_s: Ints, day: int) -> Ints:
        """Return the wall-clock steps from local midnight of `day` to intervals of the series, same shape."""
        return (_wall_clock(starts_s, self.series.step_s, self.zone) - day * DAY_S) // self.series.step_s

    def local_day(self, when: datetime) -> int:
        """Return the local calendar date at a time, as days since 1970-01-01."""
        return to_days(when.astimezone(self.zone).date())

    def energies(self, days: Ints, offsets: Ints) -> Floats:
        """Return the energies (Wh) that `gather` does, (k, m)."""
        return self._gathered(days, offsets)[0]

    def _gathered(self, days: Ints, offsets: Ints) -> tuple[Floats, Ints, Bools]:
        flat = (days[:, None] - self.first_day) * self.slots + offsets[None, :]
        known = (flat >= 0) & (flat < self.energy_wh.size)
        if not self.energy_wh.size:
            return np.full(flat.shape, np.nan), flat, known
        index = np.where(known, flat, 0)
        return np.where(known, self.energy_wh.ravel()[index], np.nan), index, known

    def gather(self, days: Ints, offsets: Ints) -> tuple[Floats, Floats]:
        """Return energies (Wh) at wall-clock `offsets` (m,) from the midnights of `days` (k,), and each day's coverage.

        Shapes (k, m) and (k,). Offsets may reach into neighbouring days. Coverage = intervals measured / intervals
        that exist, 0 to 1; beyond the series every interval exists and none is measured.
        """
        energy, index, known = self._gathered(days, offsets)
        if not self.energy_wh.size:
            return energy, np.zeros(len(days))
        measured = np.where(known, self.measured.ravel()[index], 0).sum(axis=1)
        expected = np.where(known, self.expected.ravel()[index], 1).sum(axis=1)
        return energy, np.divide(measured, expected, out=np.zeros(len(days)), where=expected > 0)


def day_matrix(readings: Series, zone: str) -> DayMatrix:
    """Lay a series out by local day. `zone` is an IANA name.

    Raises InvalidError where the wall clock and the series' grid do not fit (hourly UTC readings where the local
    clock is half an hour off), or where the series is unreasonably long.
    """
    where = zone_named(zone)
    slots = DAY_S // readings.step_s
    if not readings.starts_s.size:
        nothing = np.zeros((0, slots), np.int64)
        return DayMatrix(readings, where, 0, np.zeros((0, slots)), nothing, nothing)
    span_s = int(readings.starts_s[-1] - readings.starts_s[0])
    if span_s // readings.step_s > _MAX_CELLS:
        raise InvalidError("The series is too long for one baseline; pass the look-back days only.")
    local = _wall_clock(readings.starts_s, readings.step_s, where)
    if np.any(local % readings.step_s):
        raise InvalidError(
            f"Steps of {readings.step_s} s do not begin on {zone}'s wall clock; use readings of 900 s or less."
        )
    first_day, last_day = int(local.min()) // DAY_S, int(local.max()) // DAY_S
    cells = (last_day - first_day + 1) * slots
    index = (local - first_day * DAY_S) // readings.step_s
    expected = _expected(readings.phase_s, readings.step_s, where, first_day, last_day)
    here = np.isfinite(readings.energy_wh)
    if (index[1:] > index[:-1]).all():  # no hour is there twice
        measured, energy = np.zeros(cells, np.int64), np.full(cells, np.nan)
        measured[index], energy[index] = here, readings.energy_wh
    else:
        measured = np.bincount(index[here], minlength=cells)
        total = np.bincount(index[here], weights=readings.energy_wh[here], minlength=cells)
        energy = np.divide(total, measured, out=np.full(cells, np.nan), where=measured > 0)
    shape = (-1, slots)
    return DayMatrix(
        readings, where, first_day, energy.reshape(shape), measured.reshape(shape), expected.reshape(shape)
    )


@lru_cache(maxsize=64)  # the homes of one event are looked at over the same days
def _expected(phase_s: int, step_s: int, zone: ZoneInfo, first_day: int, last_day: int) -> Ints:
    """Return how many intervals the calendar has in each step of some local days, (days * slots,), for reading only."""
    cells = (last_day - first_day + 1) * (DAY_S // step_s)
    # Offsets from UTC stay below 26 hours; two days of margin cover every local day whole.
    first = ((first_day - 2) * DAY_S - phase_s) // step_s
    last = -(-((last_day + 3) * DAY_S - phase_s) // step_s)
    starts_s = np.arange(first, last, dtype=np.int64) * step_s + phase_s
    index = (to_local_s(starts_s, zone) - first_day * DAY_S) // step_s
    expected: Ints = np.bincount(index[(index >= 0) & (index < cells)], minlength=cells)
    expected.flags.writeable = False
    return expected
