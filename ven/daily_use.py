"""How often a day events may use a device (`limits.max_per_day`): one more does without it."""

from datetime import datetime
from typing import Final

import structlog

from core.clock import Clock
from core.errors import UnavailableError
from ven.household import Household
from ven.store import Store

_log = structlog.get_logger(__name__)

_FACT: Final = "used"


class DailyUse:
    """Which events used the devices that have such a limit, on the local day that it is now."""

    def __init__(self, household: Household, store: Store, clock: Clock) -> None:
        self._most = {entry.id: most for entry in household.devices if (most := entry.limits.max_per_day) is not None}
        self._zone = household.site.zone
        self._store = store
        self._clock = clock
        kept = store.fact(_FACT) or {}
        self._day: str = kept.get("day", "")
        self._users: dict[str, list[str]] = kept.get("users", {})

    def allows(self, event_id: str, device: str) -> bool:
        """Tell whether an event may use a device now; it counts from then on, until the end of the local day."""
        most = self._most.get(device)
        if most is None:
            return True
        self._turn(self._clock.now())
        users = self._users.get(device, [])
        if event_id in users:
            return True
        if len(users) >= most:
            return False
        self._users = self._users | {device: [*users, event_id]}
        self._keep()
        return True

    def _turn(self, now: datetime) -> None:
        """Begin another day, where it is one. An event that runs on counts there, too, once it is asked about."""
        day = now.astimezone(self._zone).date().isoformat()
        if day != self._day:
            self._day, self._users = day, {}

    def _keep(self) -> None:
        try:
            self._store.set_fact(_FACT, {"day": self._day, "users": self._users})
        except UnavailableError as error:
            _log.error("which devices were used today is forgotten by a restart", reason=str(error))
