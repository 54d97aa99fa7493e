"""The form of a chunk: how values, their starts, durations, qualities and times of receipt lie in one row."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row

from core.errors import InvalidError
from core.points import Kind, Quality

DAY_S: Final = 86_400
MAX_VALUES: Final = 500_000
_END_OF_TIME_S: Final = 253_402_300_800  # the year 10000
_LONGEST_S: Final = 2**31 - 1
_LONGEST_WORD: Final = 32
_SPANNING: Final = frozenset({Kind.MEAN, Kind.SUM})


class Point(NamedTuple):
    """One value with its time: seconds since 1970, and a duration (0: an instant).

    `received_us` is when it was received, in microseconds after the chunk's `received_at`.
    """

    start_s: int
    duration_s: int
    value: float | None
    quality: str
    received_us: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """The columns of a chunk that hold its values (table `chunk` says what they mean)."""

    start_s: int
    end_s: int
    step_s: int | None
    offsets: Sequence[int] | None
    durations: Sequence[int] | None
    values: Sequence[float | None]
    qualities: Sequence[str] | None
    received: Sequence[int] | None


def pack(points: Sequence[Point], kind: str) -> Content:
    """Return the form of points of one day, in order of start and duration: as short as it gets."""
    starts = [point.start_s for point in points]
    durations = [point.duration_s for point in points]
    qualities = [point.quality for point in points]
    received = [point.received_us for point in points]
    steps = {later - earlier for earlier, later in itertools.pairwise(starts)}
    if len(points) == 1:
        step = durations[0] or None if kind in _SPANNING else None
        even = True
    else:
        even = len(steps) == 1 and 0 not in steps
        step = steps.pop() if even else None
    implied = step or 0 if kind in _SPANNING else 0
    return Content(
        start_s=starts[0],
        end_s=max(start + duration for start, duration in zip(starts, durations, strict=True)),
        step_s=step,
        offsets=None if even else [start - starts[0] for start in starts],
        durations=None if all(one == implied for one in durations) else durations,
        values=[_short(point.value) for point in points],
        qualities=None if all(word == Quality.GOOD for word in qualities) else qualities,
        received=received if any(received) else None,
    )


def evenly(
    start_s: int, step_s: int | None, values: Sequence[float | None], qualities: Sequence[str] | None, kind: str
) -> Content | None:
    """Return what `pack` returns for good values of one day at an even step; None where `check` has to look closer."""
    last_s = start_s + (len(values) - 1) * (step_s or 0)
    lasting_s = (step_s or 0) if kind in _SPANNING else 0
    if start_s // DAY_S != last_s // DAY_S or start_s < 0 or last_s >= _END_OF_TIME_S or lasting_s > _LONGEST_S:
        return None
    if qualities is not None or not all(value is None or math.isfinite(value) for value in values):
        return None
    step = step_s if len(values) > 1 or kind in _SPANNING else None
    return Content(start_s, last_s + lasting_s, step, None, None, [_short(value) for value in values], None, None)


def arrays(
    row: Content | Row[Any], kind: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.str_]]:
    """Return starts, durations, values and qualities (as in Point) of a chunk, by start; NaN: a value is missing."""
    count, step = len(row.values), row.step_s or 0
    starts_s = row.start_s + (step * np.arange(count) if row.offsets is None else np.array(row.offsets, np.int64))
    durations_s = np.full(count, step if kind in _SPANNING else 0, np.int64)
    if row.durations is not None:
        durations_s = np.array(row.durations, np.int64)
    words = np.full(count, Quality.GOOD.value) if row.qualities is None else np.array(row.qualities, np.str_)
    return starts_s, durations_s, np.array(row.values, np.float64), words


def even_arrays(
    rows: Sequence[Content | Row[Any]], kind: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None:
    """Return what `arrays` does of several chunks, one after another, if all have one step and good values; else None.

    That is what most meters send. It takes half of the time.
    """
    step = rows[0].step_s or 0
    counts = [len(row.values) for row in rows]
    for row in rows:
        if row.offsets is not None or row.durations is not None or row.qualities is not None or row.step_s != step:
            return None
    total = sum(counts)
    firsts = [
        row.start_s - step * before for row, before in zip(rows, itertools.accumulate(counts, initial=0), strict=False)
    ]
    starts_s = np.repeat(np.array(firsts, np.int64), counts) + step * np.arange(total)
    durations_s = np.full(total, step if kind in _SPANNING else 0, np.int64)
    return starts_s, durations_s, np.array([value for row in rows for value in row.values], np.float64)


def expand(row: Content | Row[Any], kind: str) -> Iterable[Point]:
    """Return the points of a chunk, by start."""
    count, step = len(row.values), row.step_s or 0
    starts: Iterable[int] = itertools.count(row.start_s, step)
    if row.offsets is not None:
        starts = [row.start_s + offset for offset in row.offsets]
    durations = itertools.repeat(step if kind in _SPANNING else 0) if row.durations is None else row.durations
    # Whole numbers come back as integers, and from PostgreSQL 1e300 as one of 301 digits that is not the same number.
    floats = (None if value is None else float(value) for value in row.values)
    words = row.qualities if row.qualities is not None else itertools.repeat(Quality.GOOD.value, count)
    received = row.received if row.received is not None else itertools.repeat(0)
    return map(Point, starts, durations, floats, words, received)


def by_day(points: Iterable[Point]) -> list[list[Point]]:
    """Split points, in order of start, at midnight UTC."""
    return [list(day) for _, day in itertools.groupby(points, key=lambda point: point.start_s // DAY_S)]


def shifted(points: Iterable[Point], since: datetime, base: datetime) -> list[Point]:
    """Return the points of a chunk received at `since` as points of one received at `base`."""
    delta = since - base
    by_us = (delta.days * DAY_S + delta.seconds) * 1_000_000 + delta.microseconds
    return [point._replace(received_us=point.received_us + by_us) for point in points]


def check(point: Point) -> None:
    """Raise InvalidError for times outside the calendar, values that are not finite, or endless words."""
    if not 0 <= point.start_s < _END_OF_TIME_S or not 0 <= point.duration_s <= _LONGEST_S:
        raise InvalidError(
            f"A value at {point.start_s} s for {point.duration_s} s lies outside the years 1970 to 9999."
        )
    if point.value is not None and not math.isfinite(point.value):
        raise InvalidError(f"The value at {point.start_s} s is not finite; a missing value is none.")
    if len(point.quality) > _LONGEST_WORD:
        raise InvalidError(f"'{point.quality[:_LONGEST_WORD]}...' is no quality.")


def _short(value: float | None) -> float | None:
    """Write whole numbers without `.0`: they are most of all readings."""
    if value is None:
        return None
    whole = int(value)
    return whole if whole == value and abs(whole) < 2**53 else float(value)
