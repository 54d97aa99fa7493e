"""How far the delivered energy of an activation is known: what the same baseline errs on days without an event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from core.direction import Direction
from core.spans import Span
from metrics.days import Series, day_matrix
from metrics.method import BaselineMethod, Calendar
from metrics.needs import Need
from metrics.placebo import placebo
from metrics.uncertainty import Uncertainty, uncertainty
from vtn.services import control_group, day_calendar, load_profile
from vtn.services.evaluation import Computed
from vtn.services.evaluation_result import VenResult
from vtn.services.programme import Programme
from vtn.store.database import Connection
from vtn.store.rows import evenly, in_parts
from vtn.store.tables import delivery

MOST_VENS: Final = 60
"""Of a larger pool so many homes speak for all, spread evenly over their ids: some seconds of CPU."""
_LOOKBACK_DAYS: Final = 75


@dataclass(frozen=True, slots=True, eq=False)
class _Home:
    """A home of the sum: its readings, when it delivered, when it learnt of it, and what is special about its days."""

    readings: Series
    span: Span
    notified_at: datetime | None
    calendar: Calendar


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What `estimated` works on. `count`: how many homes are in the sum; `homes` are some or all of them."""

    homes: tuple[_Home, ...]
    count: int
    method: BaselineMethod
    zone: str


async def inputs(conn: Connection, computed: Computed, rules: Programme) -> Inputs | None:
    """Read what is needed for a result: of the homes in its sum, released ones too; None where there are none."""
    spans = {one.ven_id: (one.event_id, span) for one in computed.result.vens if (span := _delivered_in(one))}
    count = len(spans)
    if not count or Need.NOMINATED in computed.method.needs:  # days without an order have no nomination to err by
        return None
    chosen = evenly(sorted(spans), MOST_VENS)
    since = min(spans[ven_id][1].start for ven_id in chosen) - timedelta(days=_LOOKBACK_DAYS + 2)
    until = max(spans[ven_id][1].end or since for ven_id in chosen)
    calendars = await day_calendar.of_each(
        conn, rules, [computed.method], chosen, computed.result.dispatch_id, Span(since, until)
    )
    if Need.CONTROL in computed.method.needs:
        calendars = control_group.with_control(calendars, await control_group.on_days(conn, rules, Span(since, until)))
    sent = await _sent(conn, [spans[ven_id][0] for ven_id in chosen])
    stretch = int(since.timestamp()), int(until.timestamp())
    readings = await load_profile.energy_of_each(conn, dict.fromkeys(chosen, stretch), rules.parameters.interval_s)
    homes = tuple(
        _Home(readings[ven_id], spans[ven_id][1], sent.get(spans[ven_id][0]), calendars[ven_id]) for ven_id in chosen
    )
    return Inputs(homes, count, computed.method, rules.parameters.time_zone)


def _delivered_in(ven: VenResult) -> Span | None:
    """Return from when to when what a home delivered is in the sum."""
    heard = [one for one in ven.intervals if one.coverage]
    if not ven.counts or not heard:
        return None
    return Span(heard[0].start, heard[-1].start + timedelta(seconds=heard[-1].duration_s))


async def _sent(conn: Connection, event_ids: Sequence[str]) -> dict[str, datetime]:
    """Return eventID -> when it first went out."""
    found: dict[str, datetime] = {}
    query = select(delivery.c.event_id, func.min(delivery.c.first_sent_at).label("at")).group_by(delivery.c.event_id)
    for some in in_parts(event_ids):
        rows = await conn.execute(query.where(delivery.c.event_id.in_(some)))
        found |= {row.event_id: row.at for row in rows if row.at is not None}
    return found


def estimated(data: Inputs, direction: str) -> Uncertainty | None:
    """Return how far the delivered energy is known; None with too few days. Takes CPU.

    Each home is asked about the days before on which it had no event and no outage, at the hours in which it delivered
    and with the notice that it had.
    """
    homes = [
        placebo(
            day_matrix(one.readings, data.zone),
            one.span,
            data.method,
            one.calendar,
            notified_at=one.notified_at,
            direction=Direction(direction),
            lookback_days=_LOOKBACK_DAYS,
        )
        for one in data.homes
    ]
    return uncertainty(homes, data.count)
