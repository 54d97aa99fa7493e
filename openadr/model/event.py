"""Events: their values, the rules on their shape, their status at a time, and their order in a list."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, datetime
from enum import StrEnum

from core.errors import InvalidError
from core.spans import ZERO, Duration, Span
from openadr.model.signal import Baseline, Interval, Signal, check_signal
from openadr.model.target import EVERYTHING, Target, check_device_classes


class EventStatus(StrEnum):
    """The eventStatus of an event. Computed from the event and the time, never stored (EV-33)."""

    NONE = "none"
    FAR = "far"
    NEAR = "near"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class ResponseRequired(StrEnum):
    """Whether the VEN must answer an event (EV-40, EV-41)."""

    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class ActivePeriod:
    """When an event runs. A zero `duration` means open-ended, until cancelled (EV-66), and so does one without end.

    `start_after` is the width of the random start window (EV-61). All times are aware UTC.
    """

    start: datetime
    duration: Duration
    notification: Duration = ZERO
    start_after: Duration | None = None
    ramp_up: Duration | None = None
    recovery: Duration | None = None

    @property
    def end(self) -> datetime | None:
        """The nominal end, or None for an open-ended event."""
        return Span.lasting(self.start, self.duration).end

    @property
    def window_s(self) -> int:
        """Width of the random start window in seconds, counted from the start; a negative one is none (GN-05).

        Raises InvalidError for one without end.
        """
        return max(0, int((self.start_after.after(self.start) - self.start).total_seconds())) if self.start_after else 0


@dataclass(frozen=True, slots=True)
class Event:
    """One event as one VEN sees it.

    `priority` 0 or None is the lowest; else lower numbers win (EV-11). `test_event` keeps the text of the element;
    `is_test` says what it means. `cancelled` is the one status that is a fact and not a matter of time.
    """

    event_id: str
    modification_number: int
    market_context: str
    created_at: datetime
    period: ActivePeriod
    signals: tuple[Signal, ...]
    target: Target = EVERYTHING
    response_required: ResponseRequired = ResponseRequired.ALWAYS
    priority: int | None = None
    test_event: str | None = None
    vtn_comment: str | None = None
    modification_reason: str | None = None
    modified_at: datetime | None = None
    baseline: Baseline | None = None
    cancelled: bool = False

    @property
    def is_test(self) -> bool:
        """Whether this is a test event: any text other than "false" (EV-64)."""
        return self.test_event is not None and self.test_event.strip() not in ("", "false")


@dataclass(frozen=True, slots=True)
class DeliveredEvent:
    """An event as it stands in an oadrDistributeEvent: with the status that the sender computed."""

    event: Event
    status: EventStatus


def check_event(event: Event) -> None:
    """Raise InvalidError if the event breaks a rule on its shape.

    Durations that sum up (EV-04), signal table (EV-29), distinct signalIDs (EV-30), one venID at most (EV-22),
    open-ended events with one open-ended interval (EV-66), and room for all of it on the calendar.
    """
    if event.period.duration.is_negative:
        raise InvalidError("An event cannot last a negative time.")
    if event.period.start.year == MAXYEAR:
        raise InvalidError(f"An event cannot start in the year {MAXYEAR}, the last of the calendar.")
    if not event.signals:
        raise InvalidError("An event needs at least one signal.")
    for signal in event.signals:
        check_signal(signal)
        _check_sum(signal.intervals, event.period.duration, f"signal {signal.name}")
    if len({signal.signal_id for signal in event.signals}) < len(event.signals):
        raise InvalidError("The signals of an event need distinct signalIDs.")
    if event.baseline is not None:
        _check_sum(event.baseline.intervals, event.baseline.duration, "the baseline")
    if len(event.target.ven_ids) > 1:
        raise InvalidError("An event's target names at most one venID.")
    check_device_classes(event.target)


def _check_sum(intervals: Sequence[Interval], total: Duration, subject: str) -> None:
    if any(interval.duration.is_negative for interval in intervals):
        raise InvalidError(f"An interval of {subject} has a negative duration.")
    if any(not math.isfinite(interval.value) for interval in intervals):
        raise InvalidError(f"An interval of {subject} has no finite value.")
    months = sum(interval.duration.months for interval in intervals)
    seconds = sum(interval.duration.seconds for interval in intervals)
    if (months, seconds) != (total.months, total.seconds):
        raise InvalidError(f"The intervals of {subject} last {Duration(months, seconds)} in all, not {total}.")
    if not total and len(intervals) != 1:
        raise InvalidError(f"An open-ended {subject} has exactly one interval.")


def near_from(period: ActivePeriod) -> datetime:
    """Return when the event turns from far to near: the start of the ramp-up if one is set, else the start (EV-09).

    A negative ramp-up begins with the start (EV-65).
    """
    ramp = period.ramp_up
    return (-ramp).held_after(period.start) if ramp and not ramp.is_negative else period.start


def status_at(event: Event, when: datetime) -> EventStatus:
    """Return the event's status at a time (EV-08, EV-09, EV-66)."""
    if event.cancelled:
        return EventStatus.CANCELLED
    if when < near_from(event.period):
        return EventStatus.FAR
    if when < event.period.start:
        return EventStatus.NEAR
    end = event.period.end
    return EventStatus.ACTIVE if end is None or when < end else EventStatus.COMPLETED


def listed_until(event: Event) -> datetime | None:
    """Return when the event leaves the list: its end plus startafter (EV-17); None for an open-ended event."""
    end = event.period.end
    return end if end is None or event.period.start_after is None else event.period.start_after.after(end)


def interval_at(start: datetime, intervals: Sequence[Interval], when: datetime) -> int | None:
    """Return the index of the interval that runs at `when`, or None outside.

    At a seam the later interval rules (EV-39). A single open-ended interval runs for ever; one without length among
    others never runs (EV-27).
    """
    if when < start:
        return None
    edge = start
    for index, interval in enumerate(intervals):
        if not interval.duration and len(intervals) == 1:
            return index
        edge = interval.duration.held_after(edge)
        if when < edge:
            return index
    return None


def current_value(signal: Signal, event: Event, when: datetime) -> float:
    """Return the currentValue to send: the running interval's value while active, else 0 (EV-26, EV-27)."""
    if status_at(event, when) is not EventStatus.ACTIVE:
        return 0.0
    index = interval_at(event.period.start, signal.intervals, when)
    return signal.intervals[index].value if index is not None else 0.0


def in_order(events: Iterable[Event], when: datetime) -> list[Event]:
    """Return the events in the order of an oadrDistributeEvent.

    Active before pending before completed; the active by priority (0 last), then start; the pending by start (EV-12).
    Completed is also what is only listed because of its startafter (EV-17). A cancelled event keeps the place that it
    had (EV-14); ties are broken by eventID, so that the order is the same in successive answers (EV-13).
    """

    def key(event: Event) -> tuple[int, float, datetime, str]:
        end = event.period.end
        active = event.period.start <= when and (end is None or when < end)
        rank = 0 if active else 1 if when < event.period.start else 2
        priority = (event.priority or math.inf) if active else 0.0
        return (rank, priority, event.period.start, event.event_id)

    return sorted(events, key=key)
