"""Series of prices per kWh: what a good one is, how versions lie over each other, how two add up. Pure functions.

A price is a decimal string, never a float. Intervals are half-open, UTC, and begin and end on whole minutes.
"""

import bisect
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from core.errors import InvalidError
from core.spans import Span, utc

MOST_INTERVALS: Final = 10_000
"""So many intervals one version may have, and one answer."""
MOST_DECIMALS: Final = 8
HIGHEST: Final = Decimal(1_000_000)
"""No price per kWh lies beyond this, or below its negative, in any currency."""
_DECIMAL: Final = re.compile(r"-?[0-9]{1,7}(\.[0-9]{1,8})?", re.ASCII)
_YEARS: Final = range(1970, 2200)


@dataclass(frozen=True, slots=True)
class Price:
    """`per_kwh`, a decimal string in the tariff's currency, in [start, end); negative prices are prices."""

    start: datetime
    end: datetime
    per_kwh: str

    @property
    def amount(self) -> Decimal:
        """The price as a number."""
        return Decimal(self.per_kwh)


Series = tuple[Price, ...]
"""Prices in order, without overlap; there may be gaps where no price is known."""


@dataclass(frozen=True, slots=True)
class Claim:
    """For which time a version speaks: [start, end), or for all time if it is the `whole` series."""

    start: datetime
    end: datetime
    whole: bool


def written(amount: Decimal) -> str:
    """Return the one way in which an amount is written: no exponent, no needless zeros, no negative zero."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def read_amount(text: str) -> str:
    """Return a decimal string as `written`. Raises InvalidError for what is no price."""
    if not _DECIMAL.fullmatch(text) or abs(amount := Decimal(text)) > HIGHEST:
        raise InvalidError(
            f"'{text[:40]}' is no price: write a decimal such as 0.2815 or -0.05, with at most {MOST_DECIMALS} "
            f"decimals, between -{HIGHEST} and {HIGHEST}."
        )
    return written(amount)


def checked(prices: Sequence[Price]) -> Series:
    """Return prices as they are stored. Raises InvalidError for a series that is not good.

    Good is: one interval at least and 10,000 at most, each begins where the one before ends, on whole minutes.
    """
    if not 0 < len(prices) <= MOST_INTERVALS:
        raise InvalidError(f"A series has 1 to {MOST_INTERVALS} intervals, not {len(prices)}.")
    series = tuple(_checked(one) for one in prices)
    for before, after in itertools.pairwise(series):
        if after.start < before.end:
            raise InvalidError(f"Two prices are given from {after.start.isoformat()}; put them in order, each once.")
        if after.start > before.end:
            raise InvalidError(f"No price is given from {before.end.isoformat()} to {after.start.isoformat()}.")
    return series


def _checked(price: Price) -> Price:
    start, end = utc(price.start), utc(price.end)
    if start.year not in _YEARS or end.year not in _YEARS:
        raise InvalidError(f"A price lies in the years {_YEARS.start} to {_YEARS.stop - 1}.")
    if any(when.second or when.microsecond for when in (start, end)):
        raise InvalidError(f"The price from {start.isoformat()} does not begin and end on whole minutes.")
    if end <= start:
        raise InvalidError(f"The price from {start.isoformat()} ends at {end.isoformat()}, which is not later.")
    return Price(start, end, read_amount(price.per_kwh))


def spoken(claims: Sequence[Claim], span: Span) -> list[tuple[int, Span]]:
    """Return which of the versions speaks for which part of a span: the newest that claims it. Newest come first.

    `span` has an end. The parts of one version are in order; a time that nobody claims is in none.
    """
    found: list[tuple[int, Span]] = []
    free = [span]
    for index, claim in enumerate(claims):
        found += [(index, part) for gap in free if (part := gap if claim.whole else _within(gap, claim))]
        free = [] if claim.whole else [rest for gap in free for rest in _outside(gap, claim)]
        if not free:
            break
    return found


def _end(span: Span) -> datetime:
    if span.end is None:
        raise TypeError("A span of prices has an end.")
    return span.end


def _within(span: Span, claim: Claim) -> Span | None:
    start, end = max(span.start, claim.start), min(_end(span), claim.end)
    return Span(start, end) if start < end else None


def _outside(span: Span, claim: Claim) -> list[Span]:
    sides = (Span(span.start, min(_end(span), claim.start)), Span(max(span.start, claim.end), span.end))
    return [side for side in sides if side.start < _end(side)]


def clipped(series: Series, span: Span) -> Series:
    """Return the part of a series that lies in a span (not empty, with an end); prices that reach beyond are cut."""
    end = _end(span)
    first = bisect.bisect_right(series, span.start, key=lambda row: row.end)
    last = bisect.bisect_left(series, end, key=lambda row: row.start)
    return tuple(replace(one, start=max(one.start, span.start), end=min(one.end, end)) for one in series[first:last])


def merged(series: Series) -> Series:
    """Return the same prices with adjoining intervals of the same price as one."""
    joined: list[Price] = []
    for one in series:
        if joined and joined[-1].end == one.start and joined[-1].per_kwh == one.per_kwh:
            joined[-1] = replace(joined[-1], end=one.end)
        else:
            joined.append(one)
    return tuple(joined)


def total(series: Series, other: Series) -> Series:
    """Return the sum of two series, where both have a price."""
    sums: list[Price] = []
    left, right = iter(series), iter(other)
    here, there = next(left, None), next(right, None)
    while here is not None and there is not None:
        start, end = max(here.start, there.start), min(here.end, there.end)
        if start < end:
            sums.append(Price(start, end, written(here.amount + there.amount)))
        done, also_done = here.end == end, there.end == end
        here = next(left, None) if done else here
        there = next(right, None) if also_done else there
    return tuple(sums)


def run_from(series: Series, start: datetime) -> Series:
    """Return the prices from the first known at or after `start` until the next gap; adjoining equal ones are one."""
    run: list[Price] = []
    for one in series:
        if one.end <= start:
            continue
        if run and run[-1].end != one.start:
            break
        run.append(replace(one, start=max(one.start, start)))
    return merged(tuple(run))


def current(series: Series, when: datetime) -> Price | None:
    """Return the price that holds at a time, or None."""
    index = bisect.bisect_right(series, when, key=lambda row: row.end)
    return series[index] if index < len(series) and series[index].start <= when else None


def following(series: Series, when: datetime) -> Price | None:
    """Return the first price that begins after a time, or None."""
    index = bisect.bisect_right(series, when, key=lambda row: row.start)
    return series[index] if index < len(series) else None
