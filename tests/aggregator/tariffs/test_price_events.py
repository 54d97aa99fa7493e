"""Price events: one a day for each VEN, in step with the tariffs, and never a word about the past."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.currencies import CURRENCIES
from aggregator.tariff import prices as price_events
from aggregator.tariff import tariffs
from aggregator.tariff.price_plan import NOT_IN_OPENADR, adjusted, days
from aggregator.tariff.price_series import Price
from aggregator.tariff.prices import PriceSignals
from aggregator.tariff.tariffs import Kind, NewTariff, Source
from core.errors import InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.event import ActivePeriod, Event, EventStatus, interval_at
from openadr.model.signal import Interval, Signal
from openadr.model.units import currency_per_kwh
from support.vtn_world import NOON
from vtn.services import programme
from vtn.services.event_shape import check_past
from vtn.transport.v20b.check import check_event

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Market:
    """A world with tariffs whose prices go to VENs."""

    def __init__(self, world):
        self.world = world
        self.signals = PriceSignals(world.db, world.clock)

    async def tariff(self, kind=Kind.ELECTRICITY, currency="EUR", *, vat=True, **where):
        async with self.world.tx() as tx:
            new = NewTariff(kind, "T", currency, vat, **where)
            return (await tariffs.create(tx, new, self.world.now, who="test")).id

    async def put(self, tariff_id, *amounts, start=NOON, step=HOUR, whole=True):
        given_ = [Price(start + n * step, start + (n + 1) * step, amount) for n, amount in enumerate(amounts)]
        async with self.world.tx() as tx:
            await tariffs.put_prices(tx, tariff_id, given_, self.world.now, who="t", source=Source.REST, whole=whole)

    async def turn(self):
        await self.signals.turn()

    async def switch(self, programme_id, *, on):
        async with self.world.tx() as tx:
            await price_events.switch(tx, programme_id, self.world.now, on=on, who="ann")

    async def status(self, programme_id):
        async with self.world.db.read() as conn:
            one = await programme.get(conn, programme_id)
            return await price_events.status(conn, one, self.world.now)


@pytest.fixture
def market(world):
    return Market(world)


def told(one):
    """Return what an event says: start in hours after noon, and (hours, price) of each interval."""
    (signal,) = one.event.signals
    assert (signal.name, signal.type) == ("ELECTRICITY_PRICE", "price")
    start = (one.event.period.start - NOON) / HOUR
    return start, [(interval.duration.exact_s / 3600, interval.value) for interval in signal.intervals]


async def heard(ven):
    """Poll, answer, and return what the VEN's events say; cancelled ones left out."""
    found = await ven.events()
    for one in found:
        await ven.opt(one)
    return [told(one) for one in found if one.status is not EventStatus.CANCELLED]


async def test_today_and_tomorrow_come_as_one_event_each(any_world):
    world = any_world
    market = Market(world)
    ven = await world.ven()
    game = await world.programme(ven, time_zone="Europe/Helsinki")
    one = await market.tariff()
    await market.put(one, *[str(number) for number in range(40)], start=NOON - 2 * HOUR)
    await market.turn()
    found = await ven.events()
    assert [told(event) for event in found] == [
        (0.0, [(1.0, float(number)) for number in range(2, 12)]),
        (10.0, [(1.0, float(number)) for number in range(12, 36)]),
    ]
    first = found[0].event
    (signal,) = first.signals
    assert (signal.item_base.name, signal.item_base.units, signal.item_base.scale) == ("currencyPerKWh", "EUR", "none")
    assert (first.market_context, first.vtn_comment) == (game.market_context, "Price of electricity, VAT included")
    assert [row.direction for row in await world.rows("dispatch")] == [None, None]
    assert {row.day for row in await world.rows("price_dispatch")} == {"2026-01-12", "2026-01-13"}


async def test_a_turn_without_news_does_nothing(world, market):
    ven = await world.ven()
    await world.programme(ven)
    await market.put(await market.tariff(), "0.1", "0.2", "0.3")
    for _ in range(3):
        await market.turn()
        before = await world.dump()
        await market.turn()
        assert await world.dump() == before
        world.later(minutes=25, seconds=17)
    assert len(await world.rows("event")) == 1


async def test_many_processes_make_no_duplicates(any_world):
    world = any_world
    market = Market(world)
    vens = [await world.ven(), await world.ven()]
    await world.programme(*vens)
    await market.put(await market.tariff(), "0.1")
    await asyncio.gather(*(PriceSignals(world.db, world.clock).turn() for _ in range(4)))
    assert sorted(row.ven_id for row in await world.rows("event")) == sorted(one.ven_id for one in vens)


async def test_new_prices_change_what_is_to_come_and_nothing_else(world, market):
    ven = await world.ven()
    await world.programme(ven)
    one = await market.tariff()
    await market.put(one, "0.1", "0.2", "0.3")
    await market.turn()
    assert await heard(ven) == [(0.0, [(1.0, 0.1), (1.0, 0.2), (1.0, 0.3)])]
    world.later(minutes=90, seconds=20)
    await market.put(one, "0.7", "0.8", "0.9", "1")
    await market.turn()
    (event,) = await ven.events()
    assert event.event.modification_number == 1
    start, intervals = told(event)
    minutes = [(round(60 * length), value) for length, value in intervals]
    assert (start, minutes) == (0.0, [(60, 0.1), (31, 0.2), (29, 0.8), (60, 0.9), (60, 1.0)])
    await ven.opt(event)
    await market.put(one, "0.5", start=NOON + 4 * HOUR, whole=False)
    await market.turn()
    ((_, intervals),) = await heard(ven)
    assert intervals[-2:] == [(1.0, 1.0), (1.0, 0.5)]


async def test_prices_of_tomorrow_may_come_and_change_before_it_begins(world, market):
    ven = await world.ven()
    await world.programme(ven)
    one = await market.tariff()
    midnight = NOON + 12 * HOUR
    await market.put(one, "0.1", "0.2", start=midnight + 6 * HOUR)
    await market.turn()
    assert await heard(ven) == [(18.0, [(1.0, 0.1), (1.0, 0.2)])]
    await market.put(one, "0.3", "0.4", start=midnight)
    await market.turn()
    assert await heard(ven) == [(12.0, [(1.0, 0.3), (1.0, 0.4)])]
    world.later(hours=12, minutes=1)
    await market.turn()
    assert len(await world.rows("dispatch")) == 1
    world.later(hours=2)
    await market.turn()
    await market.put(one, "0.5", start=midnight + 3 * HOUR, whole=False)
    await market.turn()
    (event,) = await ven.events()
    assert told(event) == (15.0, [(1.0, 0.5)])
    assert len(await world.rows("dispatch")) == 2, "what is over is not taken up again"


async def test_network_and_electricity_are_one_price_where_they_may_be(world, market, street):
    plain, north, swiss = await world.ven(), await world.ven(), await world.ven()
    await world.programme(plain, north, swiss)
    await street.home(north, area="north")
    await street.home(swiss, area="swiss")
    await market.put(await market.tariff(), "0.2", "0.3")
    await market.put(await market.tariff(Kind.NETWORK, area="north"), "0.05")
    await market.put(await market.tariff(Kind.NETWORK, "CHF", area="swiss"), "0.05")
    await market.turn()
    assert await heard(plain) == [(0.0, [(1.0, 0.2), (1.0, 0.3)])]
    assert await heard(swiss) == [(0.0, [(1.0, 0.2), (1.0, 0.3)])]
    (event,) = await north.events()
    assert told(event) == (0.0, [(1.0, 0.25)]), "the sum is known as long as both parts are"
    assert event.event.vtn_comment == "Price of network and electricity, VAT included"
    (game,) = await world.rows("programme")
    remarks = {day.areas: day.remark for day in await market.status(game.id)}
    assert "carries electricity alone" in remarks["swiss",]
    assert remarks["north",] is None
    assert remarks["",] is None


async def test_a_network_tariff_alone_is_sent_as_it_is(world, market):
    ven = await world.ven()
    await world.programme(ven)
    await market.put(await market.tariff(Kind.NETWORK, vat=False), "0.05")
    await market.turn()
    (event,) = await ven.events()
    assert told(event) == (0.0, [(1.0, 0.05)])
    assert event.event.vtn_comment == "Price of network, without VAT"


async def test_who_joins_gets_the_rest_of_the_day_and_who_leaves_is_told(world, market):
    first, second = await world.ven(), await world.ven()
    game = await world.programme(first)
    await market.put(await market.tariff(), "0.1", "0.2", "-0.3")
    await market.turn()
    assert len(await heard(first)) == 1
    world.later(minutes=70)
    async with world.tx() as tx:
        await programme.enrol(tx, game.id, [second.ven_id], world.now, who="test")
        await programme.end_enrolment(tx, game.id, first.ven_id, world.now, who="test")
    await market.turn()
    assert await heard(first) == []
    ((start, intervals),) = await heard(second)
    assert (start, intervals[-1]) == (70 / 60, (1.0, -0.3))


async def test_who_moves_to_another_area_gets_its_prices_in_the_same_turn(world, market, street):
    ven = await world.ven()
    await world.programme(ven)
    await market.put(await market.tariff(), "0.1", "0.2")
    await market.put(await market.tariff(area="north"), "0.6", "0.7")
    await market.turn()
    assert await heard(ven) == [(0.0, [(1.0, 0.1), (1.0, 0.2)])]
    await street.home(ven, area="north")
    world.later(minutes=60)
    await market.turn()
    assert await heard(ven) == [(1.0, [(1.0, 0.7)])]


async def test_a_removed_ven_gets_nothing(world, market):
    from vtn.services import provisioning  # noqa: PLC0415  only here

    ven = await world.ven()
    await world.programme(ven)
    async with world.tx() as tx:
        await provisioning.remove_ven(tx, ven.ven_id, world.now, who="test")
    await market.put(await market.tariff(), "0.1", "0.2")
    await market.turn()
    assert await world.rows("event") == []


async def test_a_programme_may_switch_prices_off(world, market):
    ven = await world.ven()
    loud, quiet = await world.programme(ven), await world.programme(ven)
    await market.switch(quiet.id, on=False)
    await market.switch(quiet.id, on=False)
    await market.put(await market.tariff(), "0.1", "0.2")
    await market.turn()
    assert len(await heard(ven)) == 1
    await market.switch(loud.id, on=False)
    await market.turn()
    assert await heard(ven) == []
    await market.turn()
    await market.switch(quiet.id, on=True)
    await market.turn()
    (event,) = await ven.events()
    assert event.event.market_context == quiet.market_context
    changes = [
        (row.subject, row.before, row.after) for row in await world.rows("audit") if row.action == "price signals"
    ]
    assert changes == [(quiet.id, True, False), (loud.id, True, False), (quiet.id, False, True)]
    with pytest.raises(NotFoundError):
        await market.switch("prg_none", on=False)


async def test_a_retired_tariff_is_taken_back(world, market):
    ven = await world.ven()
    await world.programme(ven)
    one = await market.tariff()
    await market.put(one, "0.1", "0.2")
    await market.turn()
    assert len(await heard(ven)) == 1
    async with world.tx() as tx:
        await tariffs.retire(tx, one, world.now, who="test")
    await market.turn()
    assert await heard(ven) == []
    assert [row.who for row in await world.rows("audit") if row.action == "cancel dispatch"] == ["price signals"]


async def test_prices_that_end_now_end_the_event(world, market):
    ven = await world.ven()
    await world.programme(ven)
    one = await market.tariff()
    await market.put(one, "0.1", "0.2")
    await market.turn()
    assert len(await heard(ven)) == 1
    world.later(minutes=30)
    await market.put(one, "0.9", start=NOON + DAY)
    await market.turn()
    assert await heard(ven) == [(24.0, [(1.0, 0.9)])]


async def test_prices_that_an_operator_gave_one_ven_do_not_hold_up_the_others(world, market):
    ven, other = await world.ven(), await world.ven()
    game = await world.programme(ven)
    one = await market.tariff()
    await market.put(one, "0.1", "0.2")
    await market.turn()
    (event,) = await ven.events()
    await ven.opt(event)
    async with world.tx() as tx:
        await price_events.dispatch.change_values(
            tx, event.event.event_id, {"price": [0.1, 0.9]}, world.now, who="operator"
        )
        await programme.enrol(tx, game.id, [other.ven_id], world.now, who="test")
    await market.put(one, "0.1", "0.5", "0.6")
    await market.turn()
    assert await heard(other) == [(0.0, [(1.0, 0.1), (1.0, 0.5), (1.0, 0.6)])]
    assert await heard(ven) == [(0.0, [(1.0, 0.1), (1.0, 0.9)])]


async def test_one_programme_that_fails_does_not_stop_the_others(world, market, monkeypatch):
    ven = await world.ven()
    bad, _ = await world.programme(ven), await world.programme(ven)
    await market.put(await market.tariff(), "0.1", "0.2")
    create = price_events.dispatch.create

    async def failing(tx, order, *args, **how):
        if order.programme_id == bad.id:
            raise InvalidError("not this one")
        return await create(tx, order, *args, **how)

    monkeypatch.setattr(price_events.dispatch, "create", failing)
    await market.turn()
    assert len(await heard(ven)) == 1


async def test_currencies_that_openadr_does_not_know_are_left_out(world, market):
    ven = await world.ven()
    game = await world.programme(ven)
    await market.put(await market.tariff(currency="XCG"), "0.1")
    await market.turn()
    assert await world.rows("event") == []
    assert "no currency XCG" in (await market.status(game.id))[0].remark


async def test_exactly_those_currencies_cannot_be_sent():
    for code in CURRENCIES:
        signal = Signal(
            "ELECTRICITY_PRICE", "price", "p", (Interval(Duration.of(hours=1), 0.1),), currency_per_kwh(code)
        )
        event = Event("e", 0, "http://x", NOON, ActivePeriod(NOON, Duration.of(hours=1)), (signal,))
        try:
            await check_event(event)
        except InvalidError:
            assert code in NOT_IN_OPENADR
        else:
            assert code not in NOT_IN_OPENADR


async def test_the_status_says_how_far_prices_are_known(world, market):
    ven = await world.ven()
    game = await world.programme(ven)
    assert await market.status(game.id) == []
    one = await market.tariff()
    await market.put(one, "0.1", "0.2")
    await market.turn()
    today, tomorrow = await market.status(game.id)
    assert (today.day, today.areas, today.electricity_id, today.network_id) == ("2026-01-12", ("",), one, None)
    assert today.known_until == NOON + 2 * HOUR
    assert today.dispatch_ids == tuple(row.id for row in await world.rows("dispatch"))
    assert (tomorrow.day, tomorrow.known_until, tomorrow.dispatch_ids) == ("2026-01-13", None, ())


@pytest.mark.parametrize(
    ("now", "hours"),
    [("2026-03-28T12:00", (24, 23)), ("2026-10-25T12:00", (25, 24)), ("2026-06-01T12:00", (24, 24))],
)
def test_days_are_those_of_the_zone(now, hours):
    found = days(datetime.fromisoformat(now).replace(tzinfo=UTC), "Europe/Ljubljana")
    assert [(span.end - span.start) / HOUR for span in found.values()] == list(hours)
    assert next(iter(found)) == now[:10]


# -- the past stays, whatever comes


amounts = st.sampled_from(["0.1", "0.2", "-0.3"])


@st.composite
def series(draw):
    edges = sorted(draw(st.sets(st.integers(-30, 90), min_size=2, max_size=7)))
    pairs = pairwise(edges)
    made = [Price(NOON + timedelta(minutes=a), NOON + timedelta(minutes=b), draw(amounts)) for a, b in pairs]
    return tuple(one for one in made if draw(st.integers(0, 3)))


@settings(max_examples=300)
@given(series(), series(), st.integers(-20 * 60, 100 * 60))
def test_a_followed_event_keeps_its_past_and_says_the_series_afterwards(first, second, elapsed_s):
    """An event made of one series at noon follows another one later: EV-34 is kept, and the rest is what is known."""
    made = adjusted(_empty(), first, NOON - HOUR)
    if made is None:
        return
    old = _event(*made)
    now = NOON + timedelta(seconds=elapsed_s)
    if now >= old.period.end:
        return
    shape = adjusted(old, second, now)
    if shape is None:
        return
    new = _event(*shape)
    check_past(old, new, now)
    cut = now.replace(second=0) + timedelta(minutes=1 if now.second else 0)
    minute = max(cut, new.period.start)
    if old.period.start <= now and old.period.end <= cut:
        assert shape == made
        return
    while minute < new.period.end:
        index = interval_at(new.period.start, new.signals[0].intervals, minute)
        expected = [float(one.amount) for one in second if one.start <= minute < one.end]
        assert [new.signals[0].intervals[index].value] == expected
        minute += timedelta(minutes=1)


def _empty():
    return _event(NOON + DAY, (Interval(Duration.of(hours=1), 9.0),))


def _event(start, intervals):
    length = Duration.of(seconds=sum(one.duration.exact_s for one in intervals))
    signal = Signal("ELECTRICITY_PRICE", "price", "price", intervals, currency_per_kwh("EUR"))
    return Event("e", 0, "http://x", NOON, ActivePeriod(start, length), (signal,))
