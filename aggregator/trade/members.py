"""Who is called in an activation, and for how much: the events of its dispatch, read and written as powers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy import func, select

from aggregator.flexibility.fleet import Floats
from aggregator.grid import Grid
from core.direction import Direction
from core.spans import Duration
from openadr.model.event import ResponseRequired
from openadr.model.opt import OptType
from openadr.model.signal import Interval, Signal
from openadr.model.units import POWER_REAL_W
from vtn.services import dispatch as dispatches
from vtn.services import fleet, opt
from vtn.services.event import Values
from vtn.store.database import Connection
from vtn.store.rows import portions
from vtn.store.tables import delivery, event, ven

SIGNAL_ID: Final = "power"


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One VEN of a dispatch. `ordered_w` (T), positive = as ordered, over the grid of the activation.

    `opt` is the opt that counts, None: none yet. `answered_at` and `queued_at` are of its event's first version,
    `cancelled_at` is when it was released.
    """

    ven_id: str
    event_id: str
    ordered_w: Floats
    opt: OptType | None
    heard_at: datetime | None
    queued_at: datetime
    answered_at: datetime | None
    cancelled_at: datetime | None

    @property
    def stays(self) -> bool:
        """Whether it is called and did not opt out."""
        return self.cancelled_at is None and self.opt is not OptType.OUT

    def silent(self, now: datetime, stale_after_s: float, *, answers: bool) -> bool:
        """Tell whether it stays away: unseen for `stale_after_s` (world time), or without the answer that is due."""
        since = now - timedelta(seconds=stale_after_s)
        if self.heard_at is None or self.heard_at < since:
            return True
        return answers and self.opt is None and self.queued_at < since

    def power_w(self, step: int) -> float:
        """Return what it is ordered in a step; 0 outside the grid."""
        return float(self.ordered_w[step]) if 0 <= step < self.ordered_w.size else 0.0


def signal(grid: Grid) -> Signal:
    """Return the signal that all events of a dispatch share: a change of consumption by 0 W, but for own values."""
    step = Duration.of(seconds=grid.step_s)
    return Signal("LOAD_DISPATCH", "delta", SIGNAL_ID, (Interval(step, 0.0),) * grid.count, POWER_REAL_W)


def values(power_w: Floats, direction: str) -> Values:
    """Return a VEN's own values for powers (T): whole watts, negative = consume less."""
    sign = Direction(direction).sign
    return {SIGNAL_ID: [float(sign * round(one) or 0) for one in power_w.tolist()]}


def _ordered_w(own: Mapping[str, Sequence[float]] | None, direction: str, count: int) -> Floats:
    """Return powers (count,) from a VEN's own values."""
    sign = Direction(direction).sign
    row = (own or {}).get(SIGNAL_ID)
    return np.zeros(count) if row is None else sign * np.asarray(row, np.float64)[:count]


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    """A dispatch as the market made it. `grid` is that of its events; `answers` tells whether they want an answer."""

    dispatch_id: str
    grid: Grid
    direction: str
    answers: bool
    start_after_s: int
    members: tuple[Member, ...]


async def read(conn: Connection, dispatch_id: str) -> Called:
    """Return everybody who was ever called in a dispatch, released ones too, in the order in which they were called."""
    whole = await dispatches.get(conn, dispatch_id)
    intervals = whole.shared.signals[0].intervals
    grid = Grid(whole.shared.period.start, intervals[0].duration.exact_s, len(intervals))
    direction = whole.direction or Direction.REDUCE
    found = await _members(conn, dispatch_id, grid, direction)
    answers = whole.shared.response_required is ResponseRequired.ALWAYS
    start_after = whole.shared.period.start_after
    return Called(dispatch_id, grid, direction, answers, start_after.exact_s if start_after else 0, tuple(found))


async def _members(conn: Connection, dispatch_id: str, grid: Grid, direction: str) -> list[Member]:
    said = await opt.effective(conn, dispatch_id)
    times = (
        select(
            delivery.c.event_id,
            func.min(delivery.c.queued_at).label("queued_at"),
            func.min(delivery.c.answered_at).label("answered_at"),
        )
        .join(event, event.c.id == delivery.c.event_id)
        .where(event.c.dispatch_id == dispatch_id)
        .group_by(delivery.c.event_id)
        .subquery()
    )
    query = (
        select(
            event.c.id,
            event.c.ven_id,
            event.c.own_values,
            event.c.cancelled_at,
            fleet.heard_at(),
            times.c.queued_at,
            times.c.answered_at,
        )
        .join(ven, ven.c.id == event.c.ven_id)
        .join(times, times.c.event_id == event.c.id)
        .where(event.c.dispatch_id == dispatch_id)
        .order_by(event.c.id)
    )
    return [
        Member(
            row.ven_id,
            row.id,
            _ordered_w(row.own_values, direction, grid.count),
            said.get(row.ven_id, (None, None))[0],
            row.heard_at,
            row.queued_at,
            row.answered_at,
            row.cancelled_at,
        )
        async for rows in portions(conn, query)
        for row in rows
    ]
