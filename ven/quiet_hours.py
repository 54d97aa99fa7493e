"""Quiet hours: when a household never takes part. The VTN is told by an opt schedule, a week ahead, again and again.

So it does not choose this home for those hours. Events that reach into them are opted out of (OP-02), also those that
lie further ahead than the schedule.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from core.errors import NotFoundError
from core.spans import Duration, Span
from openadr.model.opt import Availability, Opt, OptType
from ven.engine import Action, Engine
from ven.household import Household, Quiet
from ven.memory import Memory

_FACT: Final = "quiet hours"
_REASON: Final = "notParticipating"
_AHEAD: Final = timedelta(days=8)
_RENEWED: Final = timedelta(days=2)
"""How long before its end a schedule is followed by the next one: for that long a gateway may be away."""
_STEP: Final = timedelta(hours=1)
"""A clock that is put back by less makes no new schedule."""


def availabilities(quiet: Iterable[Quiet], zone: tzinfo | None, now: datetime) -> tuple[Availability, ...]:
    """Return the quiet spans from now on, eight days ahead, by the local time of `zone` (None: this machine's).

    Where clocks are put back or forward while one begins or ends, it is the longer one.
    """
    return tuple(
        Availability(start, Duration.between(start, end))
        for start, end in sorted(set(_spans(quiet, zone, now)))
        if end > start
    )


def are_quiet(quiet: Iterable[Quiet], zone: tzinfo | None, start: datetime, end: datetime | None) -> bool:
    """Tell whether some of the time from start to end (None: without end) is quiet, however far ahead it lies."""
    hours = tuple(quiet)
    try:
        last = start + _AHEAD if end is None else min(end, start + _AHEAD)  # within a week each of them comes
        return any(begins < last for begins, _ in _spans(hours, zone, start))
    except (OverflowError, ValueError):  # at an edge of the calendar there is no telling
        return bool(hours)


def spans_without_events(quiet: Iterable[Quiet], zone: tzinfo | None, opts: Iterable[Opt], now: datetime) -> list[Span]:
    """Return when a household takes part in nothing: its quiet hours, and where it opted out of all by a schedule."""
    schedules = (opt for opt in opts if opt.opt_type is OptType.OUT and opt.market_context is None)
    every = [*availabilities(quiet, zone, now), *(each for opt in schedules for each in opt.availability)]
    return [each.span for each in every]


def _spans(quiet: Iterable[Quiet], zone: tzinfo | None, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    today = now.astimezone(zone).date()
    for each in quiet:
        for ahead in range(-1, _AHEAD.days + 1):
            day = today + timedelta(days=ahead)
            if each.days and day.weekday() not in {weekday.number for weekday in each.days}:
                continue
            last = day if each.ends > each.begins else day + timedelta(days=1)
            start = min(_instants(day, each.begins, zone))
            end = max(_instants(last, each.ends, zone))
            if end > now and start < now + _AHEAD:
                yield max(start, now.replace(microsecond=0)), end


def _instants(day: date, clock_time: time, zone: tzinfo | None) -> list[datetime]:
    """Return when clocks show a time: twice where they are put back; around the gap where they skip it."""
    local = datetime.combine(day, clock_time, zone)
    return [local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]


class QuietHours:
    """Keeps the VTN told of a household's quiet hours."""

    def __init__(self, household: Household, engine: Engine, memory: Memory) -> None:
        self._quiet = household.quiet
        self._zone = household.site.zone
        self._named = [quiet.model_dump_json() for quiet in self._quiet] + [str(self._zone)]
        self._engine = engine
        self._memory = memory

    def keep(self, now: datetime) -> list[Action] | None:
        """Tell the VTN what it does not know yet; returns what follows, None if it knows all, or cannot be told.

        Raises UnavailableError, and InvalidError where too many schedules are kept.
        """
        registration = self._engine.registration
        if registration is None:
            return None
        told = self._memory.fact(_FACT)
        ours = told is not None and told["registration"] == registration.registration_id
        if not self._quiet and told is None:
            return None
        if ours and told["quiet"] == self._named and _holds(datetime.fromisoformat(told["until"]), now):
            return None
        with self._memory.transaction():
            actions = self._tell(registration.registration_id, now)
            if ours and told["opt_id"]:
                with suppress(NotFoundError):  # people ended it, or it is over
                    self._engine.cancel_opt(told["opt_id"])  # after the new one: there is no gap between them
        return actions

    def _tell(self, registration_id: str, now: datetime) -> list[Action]:
        spans = availabilities(self._quiet, self._zone, now)
        opt_id: str | None = None
        actions: list[Action] = []
        if spans:
            opt_id, actions = self._engine.schedule_opt(spans, OptType.OUT, _REASON, now, keep_chosen=True)
        until = (now + _AHEAD).isoformat()
        told = {"registration": registration_id, "quiet": self._named, "until": until, "opt_id": opt_id}
        self._memory.set_fact(_FACT, told if self._quiet else None)
        return actions


def _holds(until: datetime, now: datetime) -> bool:
    """Tell whether a schedule reaches far enough ahead, and not as far as one that a wrong clock made."""
    return now + _RENEWED < until <= now + _AHEAD + _STEP


def quiet_schedule(memory: Memory) -> str | None:
    """Return the optID of the schedule that says the quiet hours, None without one."""
    told = memory.fact(_FACT)
    return told["opt_id"] if told else None
