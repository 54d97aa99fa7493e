"""What price events there ought to be, and what has to be done for it. Reads rows, changes none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, func, select

from aggregator.tables import price_dispatch
from aggregator.tariff import tariffs
from aggregator.tariff.household_tariffs import Choice, choose
from aggregator.tariff.price_series import Series, merged, run_from, total
from aggregator.tariff.tariffs import Tariff
from core.spans import Duration, Span, ceil_to
from openadr.model.event import Event
from openadr.model.signal import Interval, Signal
from openadr.model.units import currency_per_kwh
from vtn.services.programme import Programme
from vtn.store.database import Connection
from vtn.store.rows import from_json
from vtn.store.tables import dispatch as dispatch_table
from vtn.store.tables import enrolment, event, site, ven

NOT_IN_OPENADR: Final = frozenset({"BYN", "MRU", "SLE", "SSP", "STN", "VES", "XCG", "ZMW", "ZWG"})
"""Currencies that OpenADR 2.0b's schema, which is of 2010, does not know."""
_MINUTE_S: Final = 60
_MOST_STRAYS: Final = 500


@dataclass(frozen=True, slots=True)
class Quote:
    """What an event says about the tariffs of some areas of a programme ("" stands for VENs without area)."""

    choice: Choice
    areas: tuple[str, ...]

    @property
    def key(self) -> tuple[str | None, str | None]:
        """The ids of its tariffs, network and electricity."""
        return _id(self.choice.network), _id(self.choice.electricity)

    @property
    def parts(self) -> tuple[Tariff, ...]:
        """The tariffs whose sum it is."""
        one = self.choice.electricity or self.choice.network
        return self.choice.both or ((one,) if one is not None else ())

    @property
    def comment(self) -> str:
        """What the household reads."""
        names = " and ".join(one.kind.value for one in self.parts)
        return f"Price of {names}, {'VAT included' if self.parts[0].vat_included else 'without VAT'}"

    @property
    def remark(self) -> str | None:
        """Why something is missing, or None."""
        if self.parts[0].currency in NOT_IN_OPENADR:
            return f"OpenADR 2.0b has no currency {self.parts[0].currency}, so no event is sent."
        if self.choice.network and self.choice.electricity and self.choice.both is None:
            return "Network and electricity differ in currency or VAT, so the event carries electricity alone."
        return None

    def signals(self, intervals: tuple[Interval, ...]) -> tuple[Signal, ...]:
        """Return the event's one signal."""
        unit = currency_per_kwh(self.parts[0].currency)
        return (Signal("ELECTRICITY_PRICE", "price", "price", intervals, unit),)


def _id(tariff: Tariff | None) -> str | None:
    return None if tariff is None else tariff.id


def days(now: datetime, time_zone: str) -> dict[str, Span]:
    """Return today and tomorrow of a time zone as spans in UTC, by date; a day may have 23 or 25 hours."""
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    dates = [today + timedelta(days=number) for number in range(3)]
    edges = [datetime.combine(one, time(), zone).astimezone(UTC) for one in dates]
    return {one.isoformat(): Span(edges[place], edges[place + 1]) for place, one in enumerate(dates[:2])}


async def quotes(conn: Connection, programme_id: str, now: datetime) -> list[Quote]:
    """Return what the events of a programme are about: the same for areas that have the same tariffs."""
    query = select(func.coalesce(site.c.area, "")).distinct()
    areas = (await conn.execute(_taking_part(query, programme_id, now))).scalars()
    candidates = await tariffs.in_force(conn, now)
    choices = {area: choose(candidates, programme_id, area or None) for area in sorted(areas)}
    alike: dict[Choice, list[str]] = {}
    for area, choice in choices.items():
        if choice != Choice():
            alike.setdefault(choice, []).append(area)
    return [Quote(choice, tuple(areas)) for choice, areas in alike.items()]


async def known(conn: Connection, quote: Quote, span: Span) -> Series:
    """Return the prices of a quote in a span, as far as all its parts are known."""
    if quote.parts[0].currency in NOT_IN_OPENADR:
        return ()
    found = [await tariffs.series(conn, one.id, span) for one in quote.parts]
    return found[0] if len(found) == 1 else total(found[0], found[1])


def _taking_part(query: Select[Any], programme_id: str, now: datetime) -> Select[Any]:
    """Restrict a query on sites and VENs to those VENs that take part in a programme now."""
    return query.select_from(ven.outerjoin(site, site.c.id == ven.c.site_id)).where(
        ven.c.removed_at.is_(None) & ven.c.id.in_(_enrolled(programme_id, now))
    )


def _enrolled(programme_id: str, now: datetime) -> Select[Any]:
    return select(enrolment.c.ven_id).where(
        (enrolment.c.programme_id == programme_id)
        & (enrolment.c.valid_from <= now)
        & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now))
    )


# -- what is to be done


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel a dispatch: its prices are not known any more, or nobody's."""

    dispatch_id: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Cancel the event of a VEN that has left the programme or the area."""

    event_id: str


@dataclass(frozen=True, slots=True)
class Change:
    """Change what is to come of a dispatch."""

    dispatch_id: str
    start: datetime
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """Send the prices of a day to VENs that have none of it."""

    day: str
    quote: Quote
    start: datetime
    signals: tuple[Signal, ...]
    ven_ids: tuple[str, ...]


Action = Cancel | Leave | Change | Create


async def plan(conn: Connection, programme: Programme, now: datetime, *, on: bool) -> list[Action]:
    """Return what has to be done so that the VENs of a programme have the prices that they ought to have.

    Without `on` they ought to have none.
    """
    wanted = await quotes(conn, programme.id, now) if on else []
    actions: list[Action] = []
    for day, span in days(now, programme.parameters.time_zone).items():
        prices = {quote.key: (quote, await known(conn, quote, span)) for quote in wanted}
        for row in await open_dispatches(conn, programme.id, day, now):
            actions += await _follow_up(conn, programme.id, row, prices, now)
        for quote, series in prices.values():
            run = run_from(series, next_minute(now))
            if run and (ven_ids := await _without(conn, programme.id, day, quote, now)):
                actions.append(Create(day, quote, run[0].start, quote.signals(_intervals(run)), ven_ids))
    return actions


async def open_dispatches(conn: Connection, programme_id: str, day: str, now: datetime) -> Sequence[Any]:
    """Return the price dispatches of a day that are not over."""
    columns = (price_dispatch, dispatch_table.c.event)
    query = select(*columns).join(dispatch_table, dispatch_table.c.id == price_dispatch.c.dispatch_id)
    return (await conn.execute(query.where(_is_open(programme_id, day, now)))).all()


def _is_open(programme_id: str, day: str, now: datetime) -> ColumnElement[bool]:
    return (
        (price_dispatch.c.programme_id == programme_id)
        & (price_dispatch.c.day == day)
        & dispatch_table.c.cancelled_at.is_(None)
        & (dispatch_table.c.ends_at > now)
    )


async def _follow_up(
    conn: Connection,
    programme_id: str,
    row: Any,
    prices: Mapping[tuple[str | None, str | None], tuple[Quote, Series]],
    now: datetime,
) -> list[Action]:
    """Return what an open price dispatch needs."""
    quote, series = prices.get((row.network_id, row.electricity_id), (None, ()))
    old = from_json(Event, row.event)
    shape = adjusted(old, series, now)
    if quote is None or shape is None:
        return [Cancel(row.dispatch_id)]
    start, intervals = shape
    actions: list[Action] = [Leave(one) for one in await _strays(conn, programme_id, row.dispatch_id, quote, now)]
    if (start, intervals) != (old.period.start, old.signals[0].intervals):
        actions.append(Change(row.dispatch_id, start, quote.signals(intervals)))
    return actions


def adjusted(old: Event, series: Series, now: datetime) -> tuple[datetime, tuple[Interval, ...]] | None:
    """Return start and intervals of an event that follows a series from the next minute on; None: it cannot.

    What has elapsed stays (EV-34). Adjoining intervals of one price are one.
    """
    cut = next_minute(now)
    start, intervals, end = old.period.start, old.signals[0].intervals, old.period.end
    if end is None or (start <= now and end <= cut):
        return start, intervals
    run = run_from(series, cut)
    if not run:
        return None
    if start > now:
        return run[0].start, _intervals(run)
    if run[0].start > cut:
        return None
    kept = _until(intervals, int((cut - start).total_seconds()))
    return start, _joined([*kept, *_intervals(run)])


def next_minute(now: datetime) -> datetime:
    """Return the first whole minute that has not begun yet: from then on prices can change."""
    return ceil_to(now, _MINUTE_S)


def _intervals(run: Series) -> tuple[Interval, ...]:
    return _joined(Interval(Duration.between(one.start, one.end), float(one.amount)) for one in merged(run))


def _until(intervals: Iterable[Interval], left_s: int) -> list[Interval]:
    """Return the first seconds of some intervals."""
    kept = []
    for one in intervals:
        if left_s <= 0:
            break
        kept.append(Interval(Duration.of(seconds=min(left_s, one.duration.exact_s)), one.value))
        left_s -= one.duration.exact_s
    return kept


def _joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    joined: list[Interval] = []
    for one in intervals:
        if joined and joined[-1].value == one.value:
            seconds = joined.pop().duration.exact_s + one.duration.exact_s
            joined.append(Interval(Duration.of(seconds=seconds), one.value))
        else:
            joined.append(one)
    return tuple(joined)


async def _strays(conn: Connection, programme_id: str, dispatch_id: str, quote: Quote, now: datetime) -> list[str]:
    """Return events of a dispatch whose VEN does not take part any more, or has other tariffs by now."""
    elsewhere = func.coalesce(site.c.area, "").not_in(quote.areas) | ven.c.id.not_in(_enrolled(programme_id, now))
    query = (
        select(event.c.id)
        .select_from(event.join(ven, ven.c.id == event.c.ven_id).outerjoin(site, site.c.id == ven.c.site_id))
        .where((event.c.dispatch_id == dispatch_id) & event.c.cancelled_at.is_(None) & elsewhere)
        .order_by(event.c.id)
        .limit(_MOST_STRAYS)
    )
    return list((await conn.execute(query)).scalars())


async def _without(conn: Connection, programme_id: str, day: str, quote: Quote, now: datetime) -> tuple[str, ...]:
    """Return the VENs that a quote is for and that have no open price event of the day."""
    supplied = (
        select(event.c.ven_id)
        .join(price_dispatch, price_dispatch.c.dispatch_id == event.c.dispatch_id)
        .join(dispatch_table, dispatch_table.c.id == event.c.dispatch_id)
        .where(_is_open(programme_id, day, now) & event.c.cancelled_at.is_(None))
    )
    mine = func.coalesce(site.c.area, "").in_(quote.areas) & ven.c.id.not_in(supplied)
    query = _taking_part(select(ven.c.id), programme_id, now).where(mine).order_by(ven.c.id)
    return tuple((await conn.execute(query)).scalars())
