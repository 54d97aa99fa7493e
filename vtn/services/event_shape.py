"""The shape of the event that an order's VENs share: what it may be, and what of it can still change (EV-34)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from core.errors import ConflictError, InvalidError
from openadr.model.event import Event, check_event
from openadr.model.signal import SIGNAL_TABLE, Baseline, Interval, Signal

_TYPES: Final = frozenset(kind for _, kind in SIGNAL_TABLE)
_PRIORITIES: Final = 2**32
_LAST_YEAR: Final = 2199
"""The last year that the operator API writes."""


def check_shape(shared: Event) -> None:
    """Raise InvalidError for an event that breaks a rule, or that no message could carry."""
    check_event(shared)
    period = shared.period
    if period.duration and period.end is None:
        raise InvalidError("The event would outlast the calendar. One without end has no duration (PT0S).")
    if any(one is not None and one.seconds + one.months < 0 for one in (period.start_after, period.notification)):
        raise InvalidError("Neither the start window nor the notification can be negative.")
    if shared.priority is not None and not 0 <= shared.priority < _PRIORITIES:
        raise InvalidError(f"A priority is a whole number from 0 to {_PRIORITIES - 1}.")
    for signal in shared.signals:
        if period.duration and not all(interval.duration for interval in signal.intervals):
            raise InvalidError(
                "An interval of PT0S has no end: only an open-ended event has one, and no other (EV-66)."
            )
        if signal.type not in _TYPES:
            raise InvalidError(f"'{signal.type[:40]}' is no type of signal; OpenADR has {', '.join(sorted(_TYPES))}.")
    if shared.baseline is not None:
        _check_baseline(shared.baseline, shared.signals)


def _check_baseline(baseline: Baseline, signals: Sequence[Signal]) -> None:
    """Raise InvalidError for a baseline without length or end, or whose id is a signal's: own values go by these."""
    if any(signal.signal_id == baseline.baseline_id for signal in signals):
        raise InvalidError(f"The baseline needs another id than the signals: '{baseline.baseline_id}' is taken.")
    if not all(interval.duration for interval in baseline.intervals):
        raise InvalidError("An interval of a baseline has a length.")
    if baseline.start.year > _LAST_YEAR or baseline.duration.after(baseline.start).year > _LAST_YEAR:
        raise InvalidError(f"The baseline would end after the year {_LAST_YEAR}.")


def check_past(old: Event, new: Event, now: datetime) -> None:
    """Raise ConflictError if the change touches what has elapsed (EV-34)."""
    if now < old.period.start:
        if new.period.start < now:
            raise ConflictError("The start cannot be moved into the past.")
        return
    end = new.period.end
    if new.period.start != old.period.start or (end is not None and end <= now):
        raise ConflictError("The event has begun: its start and its past cannot change. To end it now, cancel it.")
    for before in old.signals:
        after = next((one for one in new.signals if one.signal_id == before.signal_id), None)
        if after is None or _said(after, old.period.start, now) != _said(before, old.period.start, now):
            raise ConflictError(
                f"Signal '{before.signal_id}' would change what has elapsed. Split the running interval at a time to "
                "come, and keep what lies before."
            )
    if _supposed(old.baseline, now) != _supposed(new.baseline, now):
        raise ConflictError("The baseline would change for a time that has elapsed.")


def _said(signal: Signal, start: datetime, now: datetime) -> tuple[object, ...]:
    """Return what a signal has said until now: its meaning, and each value from when on."""
    return signal.name, signal.type, signal.item_base, _elapsed(signal.intervals, start, now)


def _supposed(baseline: Baseline | None, now: datetime) -> tuple[object, ...]:
    """Return what a baseline has said of the time until now."""
    if baseline is None:
        return ()
    return baseline.item_base, baseline.resource_ids, _elapsed(baseline.intervals, baseline.start, now)


def _elapsed(intervals: Sequence[Interval], start: datetime, now: datetime) -> tuple[tuple[datetime, float], ...]:
    """Return each value until now, and from when on."""
    steps: list[tuple[datetime, float]] = []
    edge = start
    for interval in intervals:
        if edge >= now:
            break
        if not steps or steps[-1][1] != interval.value:
            steps.append((edge, interval.value))
        edge = interval.duration.after(edge)
    return tuple(steps)
