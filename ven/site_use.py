"""How long the limits of the site have held each device: by that an event's, and a day's, longest time is kept.

What they hold is decided from moment to moment, so no plan tells it afterwards.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from core.errors import UnavailableError
from core.spans import Span
from ven.household import Household
from ven.planning import Planned
from ven.store import Store

_log = structlog.get_logger(__name__)

_FACT: Final = "site use"
_KEPT: Final = timedelta(days=2)
"""A local day, and what a clock that is set may add to it."""
_MOST: Final = 1000


@dataclass(slots=True)
class _Held:
    """From when to when an event held a device; `end` None: it does so now."""

    event_id: str
    device: str
    start: datetime
    end: datetime | None = None

    def lasts(self, now: datetime) -> timedelta:
        return max(timedelta(), (self.end or now) - self.start)


class SiteUse:
    """What was held when, also before a restart."""

    def __init__(self, household: Household, store: Store) -> None:
        self._longest = {
            entry.id: longest.timedelta()
            for entry in household.devices
            if (longest := entry.limits.max_event) is not None
        }
        self._counted = {*self._longest, *(each.id for each in household.devices if each.limits.max_time_per_day)}
        self._store = store
        self._held = [
            _Held(event_id, device, datetime.fromisoformat(start), end and datetime.fromisoformat(end))
            for event_id, device, start, end in store.fact(_FACT) or ()
        ]

    def end(self, event_id: str, device: str, now: datetime) -> datetime | None:
        """Return until when an event may hold a device that it holds now, or takes now; None: for any time."""
        longest = self._longest.get(device)
        if longest is None:
            return None
        mine = [held for held in self._held if (held.event_id, held.device) == (event_id, device)]
        return now + longest - sum((held.lasts(now) for held in mine), timedelta())

    def note(self, orders: Collection[Planned], now: datetime) -> list[Planned]:
        """Take notice of what is held from now on; return the orders as they are, since their devices were taken."""
        counted = (order for order in orders if order.device in self._counted and not order.dry_run)
        wanted = {(order.event_id, order.device) for order in counted}
        running = {(held.event_id, held.device): held for held in self._held if held.end is None}
        for key in running.keys() - wanted:
            running[key].end = now
        fresh = {key: _Held(*key, now) for key in sorted(wanted - running.keys())}
        if fresh or running.keys() - wanted:
            self._held = [held for held in self._held if held.end is None or now - held.end < _KEPT]
            self._held = [*self._held, *fresh.values()][-_MOST:]
            self._keep()
        since = {key: held.start for key, held in (running | fresh).items()}
        return [
            replace(order, at=min(order.at, since.get((order.event_id, order.device), order.at))) for order in orders
        ]

    def before(self) -> list[tuple[str, Span]]:
        """Return which devices were held when, and are not any more; of the last two days."""
        return [
            (held.device, Span(held.start, held.end)) for held in self._held if (held.end or held.start) > held.start
        ]

    def _keep(self) -> None:
        rows = [
            [held.event_id, held.device, held.start.isoformat(), held.end and held.end.isoformat()]
            for held in self._held
        ]
        try:
            self._store.set_fact(_FACT, rows)
        except UnavailableError as error:
            _log.error("how long the site's limits held devices is forgotten by a restart", reason=str(error))
