"""What the evaluation of a dispatch is made from, read for many of its VENs at once."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import Select, func, select

from core.spans import Span, ceil_to, floor_to
from metrics.days import Ints, Series
from metrics.method import BaselineMethod, Calendar
from openadr.model.event import Event, ResponseRequired
from openadr.model.opt import OptType
from vtn.services import credit, day_calendar, load_profile, opt, settlement_series
from vtn.services import event as events
from vtn.services.common_basis import CommonBasis
from vtn.services.credit import Claim
from vtn.services.dispatch import Dispatch
from vtn.services.ordered_energy import as_run
from vtn.services.programme import Programme, Spread
from vtn.store.database import Connection
from vtn.store.tables import delivery, event, ven

_SOME: Final = 500
"""VENs that are read at once: some 100 kB each."""
_BY_HAND: Final = frozenset({"readings", "ranks", "calendar"})


@dataclass(frozen=True, slots=True, eq=False)
class VenInputs:
    """Everything that the evaluation of one VEN needs."""

    ven_id: str
    name: str
    event: Event
    opt: OptType | None
    reason: str | None
    left_at: datetime | None
    readings: Series
    ranks: Ints
    calendar: Calendar
    claims: tuple[Claim, ...]
    queued_at: datetime | None
    sent_at: datetime | None
    answered_at: datetime | None
    long_s: tuple[tuple[int, int], ...] = ()
    """Starts and ends of the event's readings that are longer than an interval, seconds since 1970."""
    unsettled: str | None = None
    """Why none of its series is settled, though it reports."""

    @property
    def need_not_answer(self) -> bool:
        """Whether no answer is wanted: who says nothing takes part."""
        return self.event.response_required is ResponseRequired.NEVER

    @property
    def took_part(self) -> bool:
        """Whether it took part, to the end or until it left."""
        if self.opt is None:
            return self.need_not_answer
        return self.opt is OptType.IN or self.left_at is not None

    @property
    def had_outage(self) -> bool:
        """Whether an outage touched its event."""
        period = self.event.period
        return any(Span(period.start, period.end).overlaps(one) for one in self.calendar.outages)


async def read(
    conn: Connection,
    dispatch: Dispatch,
    method: BaselineMethod,
    rules: Programme,
    common: CommonBasis,
) -> AsyncIterator[list[VenInputs]]:
    """Yield the inputs of every VEN whose event ran, by venID, some hundreds at a time: each has weeks of readings.

    `common`: what the baselines of all of them rest on. The number of statements is that of one VEN, for every so many.
    """
    opts = await opt.effective(conn, dispatch.id)
    left = await opt.left(conn, dispatch.id, dispatch.shared)
    last: str | None = ""
    while last is not None:
        rows = (await conn.execute(_called(dispatch.id).where(event.c.ven_id > last).limit(_SOME))).all()
        if ran := await asyncio.to_thread(_ran, dispatch.shared, rows):
            yield await _inputs(conn, dispatch, method, rules, ran, opts, left, common)
        last = rows[-1].ven_id if len(rows) == _SOME else None


async def _inputs(
    conn: Connection,
    dispatch: Dispatch,
    method: BaselineMethod,
    rules: Programme,
    ran: Sequence[tuple[Any, Event]],
    opts: Mapping[str, tuple[OptType | None, str | None]],
    left: Mapping[str, datetime],
    common: CommonBasis,
) -> list[VenInputs]:
    """Return the inputs of some VENs; `ran`: their events, each with its row."""
    step_s, by_order = rules.parameters.interval_s, rules.parameters.spread is Spread.BY_ORDER
    period, lookback = dispatch.shared.period, timedelta(days=method.lookback_days + 2)
    ven_ids = [row.ven_id for row, _ in ran]
    touched = Span(floor_to(period.start, step_s), None if period.end is None else ceil_to(period.end, step_s))
    after_s = max(load_profile.LONGEST_S if by_order else step_s, method.reach_s)
    reach = timedelta(seconds=method.reach_s)  # what comes later changes no baseline
    over = touched.end or ceil_to(max(one.period.end or one.period.start for _, one in ran), step_s)
    history = Span(period.start - lookback, over + reach)
    calendars = common.into(await day_calendar.of_each(conn, rules, [method], ven_ids, dispatch.id, history))
    busy = [ven_id for ven_id, days in calendars.items() if any(touched.overlaps(one) for one in days.events)]
    claims = await credit.of_each(conn, dispatch.id, busy, touched, step_s) if busy else {}
    spans = {
        row.ven_id: (
            int((one.period.start - lookback).timestamp()),
            int((one.period.end or one.period.start).timestamp()) + after_s,
        )
        for row, one in ran
    }
    metered = await load_profile.metered_of_each(conn, spans, step_s)
    long_s = {row.ven_id: _touching(metered[row.ven_id].long_s, one) for row, one in ran}
    ends_s = {
        ven_id: max(_end_s(one) + max(step_s, method.reach_s), *(end for _, end in long_s[ven_id]), 0)
        for ven_id, one in ((row.ven_id, one) for row, one in ran)
    }
    readings = {ven_id: _until(one.series, ends_s[ven_id]) for ven_id, one in metered.items()}
    blank = [ven_id for ven_id, one in readings.items() if not np.isfinite(one.energy_wh).any()]
    bases = await settlement_series.of(conn, blank) if blank else {}
    unsettled = {ven_id: " ".join(basis.notes) for ven_id, basis in bases.items() if not basis.parts}
    return [
        VenInputs(
            row.ven_id,
            row.name,
            one,
            *opts.get(row.ven_id, (None, None)),
            left.get(row.ven_id),
            readings[row.ven_id],
            metered[row.ven_id].ranks[: readings[row.ven_id].starts_s.size],
            calendars[row.ven_id],
            claims.get(row.ven_id, ()),
            row.queued_at,
            row.first_sent_at,
            row.answered_at,
            long_s[row.ven_id],
            unsettled.get(row.ven_id) or None,
        )
        for row, one in ran
    ]


def _end_s(ordered: Event) -> int:
    return math.ceil((ordered.period.end or ordered.period.start).timestamp())


def _touching(spans_s: Ints, ordered: Event) -> tuple[tuple[int, int], ...]:
    """Return those of some spans (k, 2) that share time with an event."""
    start_s, end_s = ordered.period.start.timestamp(), _end_s(ordered)
    return tuple((first, last) for first, last in spans_s.tolist() if first < end_s and last > start_s)


def _until(readings: Series, end_s: int) -> Series:
    """Return a series without what begins later: that changes no result, and makes no version."""
    count = int(np.searchsorted(readings.starts_s, end_s))
    return Series(readings.starts_s[:count], readings.energy_wh[:count], readings.step_s)


def _called(dispatch_id: str) -> Select[Any]:
    """Query the events of a dispatch, each with its VEN's name and when it was first queued, sent and answered."""
    first = (func.min(delivery.c[name]).label(name) for name in ("queued_at", "first_sent_at", "answered_at"))
    return (
        select(*events.COLUMNS, ven.c.name, *first)
        .select_from(event.join(ven).outerjoin(delivery, delivery.c.event_id == event.c.id))
        .where(event.c.dispatch_id == dispatch_id)
        .group_by(event.c.id, ven.c.id)
        .order_by(event.c.ven_id)
    )


def _ran(shared: Event, rows: Sequence[Any]) -> list[tuple[Any, Event]]:
    """Return the events that began, each with its row."""
    ordered = ((row, as_run(events.assemble(shared, row, ven_id=row.ven_id), row.cancelled_at)) for row in rows)
    return [(row, one) for row, one in ordered if one is not None]


class Digest:
    """A hash of all that decides a result; `edition` is that of what a result says."""

    def __init__(self, method: BaselineMethod, edition: int) -> None:
        self._hash = hashlib.sha256(repr((edition, method)).encode())

    def add(self, inputs: Sequence[VenInputs]) -> None:
        """Take in the inputs of some VENs."""
        warmth: dict[int, bytes] = {}  # VENs of one area share one Weather
        for one in inputs:
            plain = [getattr(one, name.name) for name in fields(one) if name.name not in _BY_HAND]
            days = one.calendar
            self._hash.update(repr(plain).encode())
            self._hash.update(repr((days.events, days.outages, sorted(days.holidays))).encode())  # a set has no order
            if days.agreed:
                self._hash.update(repr(sorted(days.agreed.items())).encode())
            self._hash.update(one.readings.energy_wh.tobytes())
            self._hash.update(one.ranks.tobytes())
            if days.weather is not None:
                shared = id(days.weather)
                if shared not in warmth:
                    warmth[shared] = days.weather.digest()
                self._hash.update(warmth[shared])

    def add_common(self, common: CommonBasis) -> None:
        """Take in what all VENs have in common."""
        for part in common.parts():
            self._hash.update(part)

    def __str__(self) -> str:
        """Return the hash of what was taken in so far, as hexadecimal digits."""
        return self._hash.hexdigest()
