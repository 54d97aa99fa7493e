"""Prices: what a household does by what energy costs: thresholds, and the dearest or cheapest hours of a day.

Looks at a signal's whole series at once, since a rank needs the day, and since what goes to and fro with every interval
would wear devices out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta, tzinfo
from typing import Final

from bridges.device import CapabilityKind, Value
from core.spans import Span, local_day
from ven.household import PriceRule

Table = Mapping[str, Mapping[CapabilityKind, Value]]
"""device -> capability -> value."""

_NOTHING: Final[Table] = {}
_HOLD: Final = timedelta(minutes=15)


def tables(
    rules: Sequence[PriceRule], prices: Sequence[tuple[Span, float]], zone: tzinfo | None, hold: timedelta = _HOLD
) -> list[Table]:
    """Return what to do in each interval of a price signal; `prices` adjoin, in bare units (currency per kWh).

    Of the rules that apply, the highest threshold that is passed counts, then the lowest that is undercut, then the
    shortest of the dearest and the shortest of the cheapest hours. What was begun, or left, stays so for `hold` at
    least, from interval to interval. Days are local days of `zone` (None: this machine's).
    """
    ranked = {id(rule): frozenset(_ranked(rule, prices, zone)) for rule in rules if rule.hours is not None}
    active: set[int] = set()
    chosen: list[Table] = []
    running: Table = _NOTHING
    since = None
    for index, (span, price) in enumerate(prices):
        active = {
            id(rule)
            for rule in rules
            if (index in ranked[id(rule)] if rule.hours is not None else rule.holds(price, running=id(rule) in active))
        }
        best = min((rule for rule in rules if id(rule) in active), key=PriceRule.precedence, default=None)
        wanted = best.do if best is not None else _NOTHING
        if wanted != running and (since is None or span.start - since >= hold):
            running, since = wanted, span.start
        chosen.append(running)
    return chosen


def _ranked(rule: PriceRule, prices: Sequence[tuple[Span, float]], zone: tzinfo | None) -> Iterator[int]:
    """Yield the intervals that are among a day's dearest (or cheapest) hours; of a day of one price none is."""
    days: dict[date, list[int]] = {}
    for index, (span, _) in enumerate(prices):
        if span.end is not None:
            days.setdefault(local_day(span.start, zone), []).append(index)
    for mine in days.values():
        yield from _of_a_day(rule, mine, prices)


def _of_a_day(rule: PriceRule, mine: Iterable[int], prices: Sequence[tuple[Span, float]]) -> Iterator[int]:
    sign = -1.0 if rule.dearest is not None else 1.0
    order = sorted(mine, key=lambda index: (sign * prices[index][1], index))
    worst = prices[order[-1]][1]
    left = rule.hours or timedelta()
    for index in order:
        span, price = prices[index]
        length = span.end - span.start if span.end is not None else left
        if price == worst or length > left:
            return
        left -= length
        yield index
