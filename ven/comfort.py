"""Comfort: what events give back early, because a tank gets cold or a room hot (`comfort` of a device).

Once a rule applied while an event asked something of its device, the event does without that device until its end: a
tank that is warm again is not taken a second time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from bridges.device import CapabilityKind
from core.clock import Clock
from core.errors import UnavailableError
from core.points import Reading
from ven.household import ComfortRule, Household
from ven.store import Store

_log = structlog.get_logger(__name__)

_OLD: Final = timedelta(hours=1)
"""What a sensor said longer ago says nothing of now."""
_FACT: Final = "comfort"
_MOST_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class _Rule:
    device: str
    point: str
    rule: ComfortRule

    def covers(self, capability: CapabilityKind) -> bool:
        return not self.rule.release or capability in self.rule.release


class Comfort:
    """The comfort rules of a household, and what events have given up by them."""

    def __init__(self, household: Household, store: Store, clock: Clock) -> None:
        self._rules = tuple(
            _Rule(entry.id, ".".join((other or entry.id, point)), rule)
            for entry in household.devices
            for rule in entry.comfort
            for other, point in [rule.reading()]
        )
        self._points = {each.point for each in self._rules}
        self._store = store
        self._clock = clock
        self._newest: dict[str, tuple[datetime, float]] = {}
        self._given_up: dict[str, list[str]] = store.fact(_FACT) or {}
        self.on_change: Callable[[], None] = lambda: None
        """Called when a rule begins or ceases to apply."""

    def take(self, reading: Reading) -> None:
        """Take a reading."""
        if reading.point not in self._points:
            return
        at = reading.start + (reading.duration or timedelta())
        known = self._newest.get(reading.point)
        if known is not None and at < known[0] <= self._clock.now():  # what lies ahead is of a clock that was set back
            return
        before = self._applying()
        self._newest[reading.point] = (at, reading.value)
        if self._applying() != before:
            self.on_change()

    def _applying(self) -> list[_Rule]:
        now = self._clock.now()
        return [each for each in self._rules if self._holds(each, now)]

    def _holds(self, each: _Rule, now: datetime) -> bool:
        at, value = self._newest.get(each.point, (None, 0.0))
        return at is not None and now - at <= _OLD and each.rule.holds(value)

    def devices(self) -> set[str]:
        """Return the devices to which a rule applies now: nothing may be asked of them."""
        return {each.device for each in self._applying()}

    def reason(self, device: str, capability: CapabilityKind) -> str | None:
        """Return the rule by which a device would be given back now, or None."""
        applies = (each for each in self._applying() if each.device == device and each.covers(capability))
        return next((f"comfort: {each.rule.when}" for each in applies), None)

    def gives_up(self, event_id: str, device: str, capability: CapabilityKind) -> bool:
        """Tell whether an event that runs does without a device; remembered until it is over, also over restarts."""
        what = f"{device} {capability}"
        if what in self._given_up.get(event_id, ()):
            return True
        why = next((each for each in self._applying() if each.device == device and each.covers(capability)), None)
        if why is None:
            return False
        _log.info("a device is given back for comfort", event_id=event_id, device=device, rule=why.rule.when)
        kept = dict(list(self._given_up.items())[-_MOST_KEPT:])
        kept[event_id] = [*kept.get(event_id, ()), what]
        self._keep(kept)
        return True

    def _keep(self, kept: dict[str, list[str]]) -> None:
        """Remember; a full disk keeps nobody from a warm room."""
        self._given_up = kept
        try:
            self._store.set_fact(_FACT, kept)
        except UnavailableError as error:
            _log.error("what was given back for comfort is forgotten by a restart", reason=str(error))

    def given_up(self, event_id: str) -> frozenset[tuple[str, str]]:
        """Return (device, capability) of what an event does without."""
        pairs = (what.rpartition(" ") for what in self._given_up.get(event_id, ()))
        return frozenset((device, capability) for device, _, capability in pairs)

    def forget(self, event_ids: Iterable[str]) -> None:
        """Forget all events but these."""
        there = set(event_ids)
        kept = {event_id: what for event_id, what in self._given_up.items() if event_id in there}
        if kept != self._given_up:
            self._keep(kept)
