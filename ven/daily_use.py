"""How many events may use a device on one local day, and how long; what goes beyond does without it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

import structlog

from core.clock import Clock
from core.errors import UnavailableError
from core.spans import LATEST, Span, local_day, next_midnight
from ven.household import Household
from ven.planning import Planned
from ven.store import Store

_log = structlog.get_logger(__name__)

_FACT: Final = "used"
_DAYS_KEPT: Final = 4
"""Also those of late: a clock that went wrong and is put right again makes no day a new one."""

DayEnds = Mapping[tuple[str, date], datetime]
"""(device, local day) -> when events have used it as long as they may that day."""


class DailyUse:
    """Which events used the devices that have such limits, by local day, and how long they may.

    An event that runs on past midnight counts on the new day, too, once it is asked about.
    """

    def __init__(self, household: Household, store: Store, clock: Clock) -> None:
        self._most = {entry.id: most for entry in household.devices if (most := entry.limits.max_per_day) is not None}
        self._longest = {
            entry.id: longest.timedelta()
            for entry in household.devices
            if (longest := entry.limits.max_time_per_day) is not None
        }
        self._zone = household.site.zone
        self._store = store
        self._clock = clock
        kept = store.fact(_FACT) or {}
        earlier = {kept["day"]: kept["users"]} if "day" in kept else {}
        self._days: dict[str, dict[str, list[str]]] = kept.get("days", earlier)

    @property
    def limits_anything(self) -> bool:
        """Whether any device has such a limit."""
        return bool(self._most or self._longest)

    # -- how many events

    def allows(self, event_id: str, device: str) -> bool:
        """Tell whether an event may use a device now; it counts from then on, until the end of the local day."""
        most = self._most.get(device)
        if most is None:
            return True
        day = local_day(self._clock.now(), self._zone).isoformat()
        today = self._days.get(day, {})
        users = today.get(device, [])
        if event_id in users:
            return True
        if len(users) >= most:
            return False
        others = [(each, used) for each, used in self._days.items() if each != day]
        self._days = dict([*others[1 - _DAYS_KEPT :], (day, today | {device: [*users, event_id]})])
        self._keep()
        return True

    def _keep(self) -> None:
        try:
            self._store.set_fact(_FACT, {"days": self._days})
        except UnavailableError as error:
            _log.error("which devices were used today is forgotten by a restart", reason=str(error))

    # -- how long

    def ends(self, orders: Iterable[Planned], held: Iterable[tuple[str, Span]] = ()) -> DayEnds:
        """Return when all orders together have used a device as long as they may, by local day.

        `held` are spans in which devices were held beside: by what no plan tells any more.
        """
        found: dict[tuple[str, date], datetime] = {}
        every = [(order.device, Span(order.at, order.until)) for order in orders if not order.dry_run] + [*held]
        for device, longest in self._longest.items():
            left: dict[date, timedelta] = {}
            for day, span in _by_day(_joined(span for name, span in every if name == device), self._zone):
                rest = left.setdefault(day, longest)
                length = (span.end or span.start) - span.start
                if (device, day) not in found and length >= rest:
                    found[device, day] = span.start + rest
                left[day] = max(timedelta(), rest - length)
        return found

    def cut(self, order: Planned, ends: DayEnds) -> Planned | None:
        """Return an order up to where its device was used as long as it may be; None where nothing is left of it.

        It is not taken up again on the next day.
        """
        if order.device not in self._longest or order.dry_run:
            return order
        for day, span in _by_day([Span(order.at, order.until)], self._zone):
            end = ends.get((order.device, day))
            if end is not None and span.end is not None and end < span.end:
                return replace(order, until=end) if end > order.at else None
        return order

    # -- what is to be expected

    def spent(
        self, now: datetime, orders: Iterable[Planned], held: Iterable[tuple[str, Span]] = ()
    ) -> dict[str, datetime]:
        """Return device -> until when no other event may use it: those that were used enough today, by all of that."""
        today = local_day(now, self._zone)
        users = self._days.get(today.isoformat(), {})
        found = {device: LATEST for device, most in self._most.items() if not most}
        midnight = next_midnight(now, self._zone)
        found |= {
            device: midnight for device, most in self._most.items() if most and len(users.get(device, [])) >= most
        }
        return found | {
            device: midnight for (device, day), end in self.ends(orders, held).items() if day == today and end <= now
        }

    def out_of_reach(
        self, orders: Iterable[Planned], others: Iterable[Planned], held: Iterable[tuple[str, Span]] = ()
    ) -> frozenset[str]:
        """Return the devices that an event, by its orders, will not get, since others, or `held`, come before it."""
        mine, theirs = list(orders), list(others)
        days = {order.device: local_day(order.at, self._zone) for order in reversed(mine)}
        gone = set()
        for device, day in days.items():
            if device in self._most:
                users = {order.event_id for order in theirs if order.device == device and day in self._reached(order)}
                users |= set(self._days.get(day.isoformat(), {}).get(device, ()))
                if len(users - {order.event_id for order in mine}) >= self._most[device]:
                    gone.add(device)
        ends = self.ends([*theirs, *mine], held)
        left = {order.device for order in mine if self.cut(order, ends) is not None}
        return frozenset(gone | (days.keys() - left))

    def _reached(self, order: Planned) -> set[date]:
        return {day for day, _ in _by_day([Span(order.at, order.until)], self._zone)}


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield when any of the spans, which have ends, holds the device, ascending."""
    start = end = None
    for span in sorted(spans, key=lambda span: span.start):
        until = span.end or span.start
        if start is None or end is None or span.start > end:
            if start is not None:
                yield Span(start, end)
            start, end = span.start, until
        else:
            end = max(end, until)
    if start is not None:
        yield Span(start, end)


def _by_day(spans: Iterable[Span], zone: tzinfo | None) -> Iterator[tuple[date, Span]]:
    """Yield spans with an end cut at midnight, with their local day."""
    for span in spans:
        start = span.start
        while span.end is not None and start < span.end:
            until = min(next_midnight(start, zone), span.end)
            yield local_day(start, zone), Span(start, until)
            start = until
