"""Where an event and the windows around it lie in a series."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from core.errors import InvalidError
from core.spans import Span
from metrics.days import DAY_S, Bools, DayMatrix, Floats, Ints
from metrics.overlap import overlap
from metrics.rules import Anchor, Window

_MAX_EVENT_S: Final = 31 * DAY_S
_EARLIEST_S: Final = DAY_S
"""A window moved further ahead of the event than this says nothing about the day."""


@dataclass(frozen=True, slots=True, eq=False)
class EventFrame:
    """An event and its windows in a series: UTC starts, and wall-clock offsets from the local day `today`.

    `starts_s` (n,): intervals of the event, or of the longer span that is shown; `overlap_s` (n,): their seconds in the
    event. `windows` are seconds since 1970, `before_s` the intervals wholly inside them; `moved`: one lies elsewhere
    than the rule says, because of the notice.
    """

    today: int
    starts_s: Ints
    offsets: Ints
    overlap_s: Floats
    windows: tuple[tuple[float, float], ...]
    moved: bool
    before_s: Ints
    before_offsets: Ints

    @property
    def in_event(self) -> Bools:
        """Which intervals belong to the event, (n,)."""
        return self.overlap_s > 0


def event_frame(
    matrix: DayMatrix, event: Span, windows: Sequence[Window], notified_at: datetime | None, show: Span | None
) -> EventFrame:
    """Place an event and its windows in a series; a window that ends after `notified_at` moves before it.

    Raises InvalidError for an event without end or longer than 31 days.
    """
    start_s, end_s = _edges(event)
    shown = _edges(show or event)
    step_s, today = matrix.series.step_s, matrix.local_day(event.start)
    starts_s = matrix.series.grid(min(start_s, shown[0]), max(end_s, shown[1]))
    notice_s = start_s if notified_at is None else notified_at.timestamp()
    wanted = [_placed(window, start_s, end_s) for window in windows]
    placed = [_before_notice(window, one, notice_s) for window, one in zip(windows, wanted, strict=True)]
    near = tuple(one for one in placed if one[0] >= start_s - _EARLIEST_S)
    grids = [matrix.series.grid(first, last, within=True) for first, last in near]
    before_s = grids[0] if len(grids) == 1 else np.unique(np.concatenate([np.zeros(0, np.int64), *grids]))
    return EventFrame(
        today=today,
        starts_s=starts_s,
        offsets=matrix.offsets(starts_s, today),
        overlap_s=overlap(start_s, end_s, starts_s, starts_s + step_s),
        windows=near,
        moved=placed != wanted,
        before_s=before_s,
        before_offsets=matrix.offsets(before_s, today),
    )


def _edges(span: Span) -> tuple[float, float]:
    """Return a span's edges as seconds since 1970, not rounded."""
    if span.end is None or not 0 < (span.end - span.start).total_seconds() <= _MAX_EVENT_S:
        raise InvalidError("A baseline needs an event with an end, at most 31 days after its start.")
    return span.start.timestamp(), span.end.timestamp()


def _placed(window: Window, start_s: float, end_s: float) -> tuple[float, float]:
    anchor_s = start_s if window.anchor is Anchor.START else end_s
    return anchor_s + window.from_s, anchor_s + window.to_s


def _before_notice(window: Window, placed: tuple[float, float], notice_s: float) -> tuple[float, float]:
    """Move a window that ends after the notice: from then on the load may already answer it (or play with it)."""
    late_s = max(0.0, placed[1] - notice_s) if window.anchor is Anchor.START else 0.0
    return placed[0] - late_s, placed[1] - late_s


def undisturbed(matrix: DayMatrix, starts_s: Ints, spans: Sequence[Span]) -> Bools:
    """Tell which intervals no event or outage touches: a load that is being steered adjusts nothing."""
    free = np.ones(starts_s.shape, dtype=bool)
    for span in spans:
        end_s = np.inf if span.end is None else span.end.timestamp()
        free &= (starts_s + matrix.series.step_s <= span.start.timestamp()) | (starts_s >= end_s)
    return free
