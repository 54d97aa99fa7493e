"""Holidays: which days they are, and what they change (vtn.services.holidays, vtn.services.day_calendar)."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration, Span
from openadr.model.report import ReportRequest
from support.metered import HALF, send
from support.vtn_world import NOON, power, usage
from vtn.services import evaluation, evaluation_view, holidays, learning, programme, report
from vtn.services.programme import Parameters

GERMANY = Parameters(country="DE", time_zone="Europe/Berlin")
MAY_DAY = datetime(2026, 5, 1, tzinfo=UTC)
WEEKDAY_WH, SUNDAY_WH, USED_WH = 250.0, 1548.75, 572.75
"""Half hours of a home on an ordinary weekday, on a Sunday or holiday, and in the event."""


async def days_of(world, rules, first, last):
    game = await world.programme(country=rules.country, subdivision=rules.subdivision)
    async with world.db.read() as conn:
        return [one.day for one in await holidays.listing(conn, game.id, rules, first, last)]


def like_on_a_sunday(day):
    easter = (date(2026, 4, 3), date(2026, 4, 6))
    return day.isoweekday() > 5 or day in easter or day == MAY_DAY.date()


async def home_until(world, end):
    """Return a VEN with 40 days of half hours before a time, on which it lived as the calendar says."""
    ven = await world.ven()
    await ven.offer(usage("meter"))
    wish = ReportRequest("w1", "usage", ("meter",), HALF, HALF, NOON, Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    first = end - timedelta(days=40)
    starts = [first + n * timedelta(minutes=30) for n in range(int((end - first) / timedelta(minutes=30)))]
    await send(ven, wish, first, *(SUNDAY_WH if like_on_a_sunday(one.date()) else WEEKDAY_WH for one in starts))
    return ven, wish


async def may_day(world, **rules):
    """Run an event of two hours on 1 May with a home that lives as on a Sunday; return its result."""
    start = MAY_DAY + timedelta(hours=16)
    world.clock.advance(to=start - timedelta(hours=1))
    ven, wish = await home_until(world, start)
    game = await world.programme(ven, baseline="10of10-unadjusted", **rules)
    dispatch_id = await world.dispatch(ven, under=game, signals=(power(*[-2000.0] * 4, each=HALF),))
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=start + timedelta(hours=2))
    await send(ven, wish, start, *[USED_WH] * 4)
    return game, dispatch_id, await evaluation.evaluate(world.db, dispatch_id, world.now)


async def test_a_first_of_may_lived_as_a_sunday_is_worth_what_a_sunday_is(world):
    """4 half hours: 4 x 1548.75 - 4 x 572.75 = 3904 Wh; held against weekdays, 4 x 250 - 2291 = -1291 Wh."""
    _, _, plain = await may_day(world)
    assert plain.delivered_wh == -1291


async def test_a_holiday_is_held_against_weekends_and_holidays(any_world):
    world = any_world
    _, dispatch_id, result = await may_day(world, country="DE")
    assert result.delivered_wh == 3904
    (one,) = result.vens
    assert one.days_used == (
        "2026-04-26", "2026-04-25", "2026-04-19", "2026-04-18", "2026-04-12", "2026-04-11", "2026-04-06", "2026-04-05",
        "2026-04-04", "2026-04-03",
    )  # fmt: skip
    async with world.db.read() as conn:
        how = await evaluation_view.workings(conn, dispatch_id, one.ven_id)
    assert {use.verdict.value for use in how.days if use.day.isoweekday() <= 5 and use.day.month == 4} == {
        "kept",  # the Easter days
        "not a like day",
    }


async def test_a_day_of_ones_own_counts_as_a_holiday_and_makes_a_new_version(world):
    game, dispatch_id, plain = await may_day(world)
    for day in (date(2026, 4, 3), date(2026, 4, 6), date(2026, 5, 1)):
        async with world.tx() as tx:
            await holidays.add(tx, game.id, day, "A day off", world.now, who="ada")
    found = await evaluation.evaluate(world.db, dispatch_id, world.now)
    assert (found.version, found.delivered_wh) == (plain.version + 1, 3904)
    async with world.tx() as tx:
        await holidays.add(tx, game.id, date(2026, 5, 2), "Later days change nothing", world.now, who="ada")
    assert (await evaluation.evaluate(world.db, dispatch_id, world.now)).version == found.version


async def test_a_holiday_is_no_weekday_of_a_weekdays_baseline(world):
    """Good Friday and Easter Monday lie among the weekdays before a Tuesday."""
    start = datetime(2026, 4, 7, 16, tzinfo=UTC)
    world.clock.advance(to=start - timedelta(hours=1))
    ven, wish = await home_until(world, start)
    dispatch_id = await world.dispatch(ven, rules={"baseline": "10of10-unadjusted", "country": "DE"})
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=start + timedelta(hours=1))
    await send(ven, wish, start, 100.0, 100.0)
    (one,) = (await evaluation.evaluate(world.db, dispatch_id, world.now)).vens
    assert not {"2026-04-03", "2026-04-06"} & set(one.days_used)
    assert one.delivered_wh == 2 * (WEEKDAY_WH - 100)


async def test_public_holidays_are_those_of_the_subdivision(world):
    epiphany = date(2026, 1, 6)
    everywhere = await days_of(world, GERMANY, date(2026, 1, 1), date(2026, 1, 31))
    bavaria = await days_of(world, Parameters(country="DE", subdivision="BY"), date(2026, 1, 1), date(2026, 1, 31))
    assert (everywhere, bavaria) == ([date(2026, 1, 1)], [date(2026, 1, 1), epiphany])
    assert await days_of(world, Parameters(), date(2026, 1, 1), date(2026, 12, 31)) == []


async def test_days_are_local_ones(world):
    """Half past ten in the evening of 30 April in UTC is 1 May in Berlin."""
    game = await world.programme()
    edge = datetime(2026, 4, 30, 22, 30, tzinfo=UTC)
    async with world.db.read() as conn:
        found = await holidays.within(conn, game.id, GERMANY, Span(edge, edge + timedelta(hours=1)))
    assert found == {date(2026, 5, 1)}


async def test_the_outlook_counts_no_holiday(world):
    world.clock.advance(to=datetime(2026, 4, 8, 12, tzinfo=UTC))
    await home_until(world, world.now)
    rows = await world.rows("ven")
    counts = []
    for country in (None, "DE"):
        game = await world.programme(country=country, baseline="high15of20")
        async with world.db.read() as conn:
            free = await learning.holidays_of(conn, await programme.get(conn, game.id), world.now)
            ids = [rows[0].id]
            days = await learning._weekdays(conn, ids, range(20534, 20551), 0, learning.method_of("10of10"), free)
        counts.append(len(days[rows[0].id]))
    assert counts[0] - counts[1] == 2, "Good Friday and Easter Monday"


@pytest.mark.parametrize(
    ("country", "subdivision", "text"),
    [
        ("XX", None, "no country"),
        ("DE", "XX", "no part of DE with holidays of its own; there are BB, BE"),
        ("TV", "XX", "no part of TV"),
        (None, "BY", "belongs to a country"),
        ("de", None, "no country"),
        ("../../etc", None, "no country"),
    ],
)
def test_what_is_no_place_is_refused(country, subdivision, text):
    with pytest.raises(InvalidError, match=text):
        holidays.check(country, subdivision)


async def test_days_of_ones_own_are_entered_once_taken_back_and_audited(any_world):
    world = any_world
    game = await world.programme(country="DE")
    day = date(2026, 12, 24)
    async with world.tx() as tx:
        made = await holidays.add(tx, game.id, day, "Christmas Eve", world.now, who="ada")
        assert made == holidays.Holiday(day, "Christmas Eve", own=True, public=None)
        with pytest.raises(ConflictError):
            await holidays.add(tx, game.id, day, "Again", world.now, who="ada")
        with pytest.raises(NotFoundError):
            await holidays.add(tx, "prg_nobody", day, "x", world.now, who="ada")
        for name in ("", "  ", "x" * 81):
            with pytest.raises(InvalidError, match="1 to 80"):
                await holidays.add(tx, game.id, day, name, world.now, who="ada")
        with pytest.raises(InvalidError, match="2000 to 2100"):
            await holidays.add(tx, game.id, date(9999, 12, 31), "x", world.now, who="ada")
    async with world.db.read() as conn:
        listed = await holidays.listing(conn, game.id, game.parameters, day, date(2026, 12, 26))
    assert [(one.day.day, one.own) for one in listed] == [(24, True), (25, False), (26, False)]
    async with world.tx() as tx:
        await holidays.remove(tx, game.id, day, world.now, who="bob")
        with pytest.raises(NotFoundError):
            await holidays.remove(tx, game.id, date(2026, 12, 25), world.now, who="bob")
    rows = [(row.who, row.action) for row in await world.rows("audit", subject=game.id)]
    assert rows == [("ada", "add holiday"), ("bob", "remove holiday")]
