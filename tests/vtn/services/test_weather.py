"""Outdoor temperatures: what is taken, whose they are, and what they make of a result (vtn.services.weather)."""

from datetime import timedelta

import numpy as np
import pytest

from core.errors import InvalidError
from core.spans import Duration, Span
from metrics.days import DayType
from metrics.method import AdjustmentStatus
from metrics.needs import Need
from metrics.presets import PRESETS
from openadr.model.report import ReportRequest
from support.metered import HALF, metered_ven, send
from support.vtn_world import NOON, counted_statements, power, usage
from vtn.services import baseline_comparison, dispatch, evaluation, evaluation_view, report, result_due, site, weather
from vtn.services.baseline_comparison import Hours
from vtn.services.result_due import Waits
from vtn.services.weather import Temperature, TemperatureRow

START = NOON + timedelta(hours=1)
END = START + timedelta(hours=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WAITS = Waits(timedelta(minutes=10), timedelta(days=7))
COLD = [name for name, method in PRESETS.items() if Need.TEMPERATURE in method.needs]


def row(line=1, area="", time="2026-01-12T10:00:00Z", celsius="-3.5"):
    return TemperatureRow(line, area, time, celsius)


async def take(world, *rows, refused=()):
    async with world.tx() as tx:
        return await weather.take(tx, rows, refused, world.now, who="ada")


async def take_all(world, temperatures, area=""):
    """Take in time -> degrees."""
    rows = [
        row(line, area, at.isoformat(), f"{celsius:.3f}") for line, (at, celsius) in enumerate(temperatures.items(), 1)
    ]
    for first in range(0, len(rows), 5_000):
        assert not (await take(world, *rows[first : first + 5_000])).refused


async def in_area(world, area, *vens):
    async with world.tx() as tx:
        await site.set_area(tx, [ven.ven_id for ven in vens], area, world.now, time_zone="UTC", who="ada")


async def of_each(world, vens, within):
    async with world.db.read() as conn:
        return await weather.of_each(conn, [ven.ven_id for ven in vens], within)


# -- what is taken

BAD = {
    "no VEN stands in an area 'nowhere'": {"area": "nowhere"},
    "its area is longer": {"area": "a" * 81},
    "time is no time in whole seconds": {"time": "2026-01-12T10:00:00"},
    "time is no time": {"time": "now"},
    "no whole minute": {"time": "2026-01-12T10:00:30Z"},
    "before 2000": {"time": "1999-12-31T23:00:00Z"},
    "more than 16 days ahead": {"time": "2026-01-28T12:01:00Z"},
    "no plain number from -100 to 100": {"celsius": "273.15"},
    "such as -3 or 21.5": {"celsius": "NaN"},
    "such as -3": {"celsius": "1e1"},
    "no plain number": {"celsius": ""},
    "its celsius is longer": {"celsius": "1" * 81},
}


@pytest.mark.parametrize(("reason", "changes"), BAD.items(), ids=BAD)
async def test_a_bad_row_is_refused_with_a_reason_and_the_good_ones_are_taken(world, reason, changes):
    await in_area(world, "north", await world.ven())
    taken = await take(world, row(1), row(2, **changes), row(3, area="north", time="2026-01-28T12:00:00Z"))
    assert (taken.accepted, taken.areas) == (2, 2)
    ((line, text),) = [(one.line, one.reason) for one in taken.refused]
    assert line == 2
    assert reason.lower() in text.lower()
    (audited,) = [one for one in await world.rows("audit") if one.action == "take in temperatures"]
    assert (audited.who, audited.subject) == ("ada", "2 areas")
    assert audited.after == {"areas": ["everybody", "north"], "accepted": 2, "refused": 1}


async def test_a_later_message_replaces_and_one_message_does_not_contradict_itself(any_world):
    world = any_world
    taken = await take(world, row(1), row(2), row(3, celsius="1"))
    assert (taken.accepted, [(one.line, one.reason) for one in taken.refused]) == (
        2,
        [(3, "Line 1 says something else of this moment.")],
    )
    world.later(hours=1)
    again = await take(world, row(1, celsius="-0", time="2026-01-12T12:00:00+02:00"))
    assert again.accepted == 1
    async with world.db.read() as conn:
        assert await weather.listing(conn) == [Temperature(None, NOON - 2 * HOUR, 0.0, world.now)]


def test_csv_is_read_in_any_order_of_columns():
    rows, refused = weather.read_csv('\ufeffcelsius,area,time\r\n-3.5,"a, b",x\r\n\r\n1\r\n')
    assert rows == [TemperatureRow(2, "a, b", "x", "-3.5")]
    assert [(one.line, one.reason) for one in refused] == [(4, "It has 1 fields, not 3.")]
    with pytest.raises(InvalidError, match="names the columns: area,time,celsius"):
        weather.read_csv("a,b\n")


async def test_they_are_listed_by_area_and_time(any_world):
    world = any_world
    await in_area(world, "north", await world.ven())
    times = [NOON + number * HOUR for number in range(3)]
    for area in ("north", ""):
        await take_all(world, {at: number for number, at in enumerate(times)}, area)
    async with world.db.read() as conn:
        every = await weather.listing(conn)
        assert [(one.area, one.time) for one in every] == [
            *((None, at) for at in times),
            *(("north", at) for at in times),
        ]
        assert await weather.listing(conn, area="north", start=times[1], end=times[1]) == [every[4]]
        assert await weather.listing(conn, area="", end=times[0]) == every[:1]
        after = ("", int(times[1].timestamp()))
        assert await weather.listing(conn, after=after, limit=2) == every[2:4]


# -- whose they are


async def test_a_ven_has_those_of_its_area_else_everybodys_and_vens_of_an_area_share_them(any_world):
    world = any_world
    first, second, west, nowhere = await world.vens(4)
    await in_area(world, "east", first, second)
    await in_area(world, "west", west)
    within = Span(NOON, NOON + 2 * HOUR)
    assert await of_each(world, [first, west, nowhere], within) == {}
    await take_all(world, {NOON + n * HOUR: n for n in range(3)}, "east")
    found = await of_each(world, [first, second, west, nowhere], within)
    assert set(found) == {first.ven_id, second.ven_id}
    await take_all(world, {NOON + n * HOUR: 10 + n for n in range(3)})
    found = await of_each(world, [first, second, west, nowhere], within)
    assert found[first.ven_id] is found[second.ven_id]
    assert found[west.ven_id] is found[nowhere.ven_id]
    assert found[first.ven_id].celsius.tolist() == [0, 1, 2]
    assert found[west.ven_id].celsius.tolist() == [10, 11, 12]


async def test_a_feed_of_an_area_that_has_just_begun_takes_nothing_away(world):
    """Else the results of the day on which it begins would lose their temperatures, and new ones for two months."""
    (ven,) = await world.vens(1)
    await in_area(world, "north", ven)
    within = Span(NOON - 10 * HOUR, NOON)
    every = {NOON - n * HOUR: 5.0 for n in range(-1, 12)}
    await take_all(world, every)
    await take_all(world, {at: 20.0 for at in every if at > NOON - 4 * HOUR}, "north")
    assert set((await of_each(world, [ven], within))[ven.ven_id].celsius) == {5.0}, "it knows four hours of ten"
    await take_all(world, {at: 20.0 for at in every if at < NOON - 4 * HOUR}, "north")
    assert set((await of_each(world, [ven], within))[ven.ven_id].celsius) == {20.0}


async def test_an_area_whose_feed_ends_before_the_event_has_everybodys(world):
    (ven,) = await world.vens(1)
    await in_area(world, "north", ven)
    within = Span(NOON - 100 * HOUR, NOON)
    every = {NOON - n * HOUR: 5.0 for n in range(-1, 102)}
    await take_all(world, every)
    await take_all(world, {at: 20.0 for at in every if at < NOON - 5 * HOUR}, "north")
    assert set((await of_each(world, [ven], within))[ven.ven_id].celsius) == {5.0}


async def test_only_what_decides_a_span_is_read(world):
    ven = await world.ven()
    await take_all(world, {NOON + n * HOUR / 2: n for n in range(-20, 20)})
    found = (await of_each(world, [ven], Span(NOON, NOON + HOUR)))[ven.ven_id]
    assert found.celsius.tolist() == [0, 1, 2]
    between = Span(NOON + HOUR / 4, NOON + HOUR * 3 / 4)
    found = (await of_each(world, [ven], between))[ven.ven_id]
    assert found.celsius.tolist() == [0, 1, 2], "the next on each side say what it was at the edges"
    assert found.digest() == (await of_each(world, [ven], between))[ven.ven_id].digest()
    far = Span(NOON + DAY, NOON + DAY + HOUR)
    assert await of_each(world, [ven], far) == {}


async def test_the_number_of_statements_is_that_of_one_ven(world):
    vens = await world.vens(12)
    for number, ven in enumerate(vens):
        await in_area(world, f"area {number}", ven)
        await take_all(world, {NOON: number}, f"area {number}")
    counts = []
    for some in (vens[:1], vens):
        with counted_statements() as seen:
            found = await of_each(world, some, Span(NOON, NOON + HOUR))
        assert len(found) == len(some)
        counts.append(len([text for text in seen if "SELECT" in text]))
    assert counts == [2, 2]


# -- what they make of a result


def celsius_at(at):
    """A year of days that are warmer and cooler, each with a warm afternoon."""
    days = (at - NOON) / DAY
    return 22 + 5 * np.sin(days * 1.7) + 4 * np.sin((days + 0.9) * 2 * np.pi)


def usual_wh(at, celsius):
    """Half an hour of a home with an air conditioner: 150 Wh, and 40 Wh for each degree above 18."""
    return 150 + 40 * max(celsius - 18, 0) + 20 * (at.hour in range(7, 10))


async def home_that_follows_the_weather(world, *, today=35.0, days=60):
    """Return a VEN with half hours of so many days before noon, its request, and the temperature of each moment."""
    ven = await world.ven()
    await ven.offer(usage("meter"))
    wish = ReportRequest("w", "usage", ("meter",), HALF, HALF, NOON, Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    half = timedelta(minutes=30)
    starts = [NOON - days * DAY + n * half for n in range(48 * days)]
    await send(ven, wish, starts[0], *(usual_wh(at, celsius_at(at + half / 2)) for at in starts))
    warm = {NOON - (days + 3) * DAY + n * half: 0.0 for n in range(48 * (days + 3))}
    warm = {at: celsius_at(at) for at in warm} | {NOON + n * half: today for n in range(48)}
    return ven, wish, warm


async def called(world, ven, wish, preset, *used):
    """Run an event of an hour, in which it used so many Wh each half hour; return the dispatch."""
    dispatch_id = await world.dispatch(ven, rules={"baseline": preset, "settlement_interval": HALF})
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, usual_wh(NOON, 35.0), usual_wh(NOON, 35.0), *used)
    return dispatch_id


async def look(world, dispatch_id):
    await result_due.tick(world.db, dispatch_id, world.now, WAITS, who="worker")
    async with world.db.read() as conn:
        return await evaluation.stored(conn, dispatch_id)


async def due(world, dispatch_id):
    async with world.db.read() as conn:
        return await result_due.due_at(conn, dispatch_id)


async def test_on_a_hot_day_what_was_delivered_is_near_the_truth_with_temperatures(any_world):
    """At 35 degrees the home would have used 830 Wh each half hour; in the event it used 300, so it delivered 1,060 Wh.

    Nothing before was as hot: by the time of the week alone it delivered much less, and the result says so.
    """
    world = any_world
    ven, wish, warm = await home_that_follows_the_weather(world)
    dispatch_id = await called(world, ven, wish, "time-of-week-temperature", 300.0, 300.0)
    world.later(minutes=10)
    without = (await look(world, dispatch_id)).vens[0]
    assert (
        without.baseline_note
        == AdjustmentStatus.NO_TEMPERATURE.value
        == ("by time of week alone: the temperatures do not reach")
    )
    assert without.delivered_wh < 500

    await take_all(world, warm)
    assert await due(world, dispatch_id) == world.now, "it is looked at again"
    result = await look(world, dispatch_id)
    assert (result.version, result.vens[0].baseline_note) == (2, AdjustmentStatus.NONE.value)
    assert result.vens[0].delivered_wh == pytest.approx(1060, rel=0.05)

    async with world.db.read() as conn:
        how = await evaluation_view.workings(conn, dispatch_id, ven.ven_id)
    assert how.celsius == pytest.approx(35)
    assert all(day.has_temperature for day in how.days[:30])


async def test_days_nearest_in_temperature_and_nothing_without_them(any_world):
    world = any_world
    ven, wish, warm = await home_that_follows_the_weather(world)
    alike = celsius_at(START - 3 * DAY + HOUR / 2)  # as warm as last Friday
    warm |= {at: alike for at in warm if at >= NOON}
    dispatch_id = await called(world, ven, wish, "weather-5", 100.0, 100.0)
    world.later(minutes=10)
    first = await look(world, dispatch_id)
    (one,) = first.vens
    assert (one.counts, one.delivered_wh, one.baseline_note) == (False, None, "Lacks outdoor temperatures.")
    assert one.why_unknown == "weather-5 compares temperatures, and that of the event is not known."
    assert one.measurable_from is None
    assert first.why_unknown == "Not known of 1 of 1 VENs called: 1 lacks outdoor temperatures."

    await take_all(world, warm)
    result = await look(world, dispatch_id)
    assert result.version == 2
    assert "2026-01-09" in result.vens[0].days_used
    assert len(result.vens[0].days_used) == 5
    truth = 2 * (usual_wh(START, alike) - 100)
    assert result.vens[0].delivered_wh == pytest.approx(truth, rel=0.1)


async def test_a_result_changes_only_with_what_decides_it(world):
    ven, wish, warm = await home_that_follows_the_weather(world)
    await take_all(world, warm)
    dispatch_id = await called(world, ven, wish, "time-of-week-temperature", 300.0, 300.0)
    world.later(minutes=10)
    assert (await look(world, dispatch_id)).version == 1
    await take_all(world, warm)
    assert (await look(world, dispatch_id)).version == 1, "the same again"
    await take_all(world, {END + 2 * HOUR + n * HOUR: 40.0 for n in range(30)})
    await take_all(world, {NOON - 300 * DAY: 0.0})
    assert (await look(world, dispatch_id)).version == 1, "neither what comes after nor what lay long before"
    await take_all(world, {START + HOUR / 2: 34.0})
    assert (await look(world, dispatch_id)).version == 2


async def test_of_an_event_without_end_what_comes_after_its_cancellation_decides_nothing(world):
    ven, wish, warm = await home_that_follows_the_weather(world, days=20)
    await take_all(world, warm)
    open_ended = power(-100.0, each=Duration())
    rules = {"baseline": "time-of-week-temperature", "settlement_interval": HALF}
    dispatch_id = await world.dispatch(ven, signals=(open_ended,), duration=Duration(), rules=rules)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="ada")
    await send(ven, wish, NOON, 800.0, 800.0, 300.0, 300.0)
    first = await evaluation.evaluate(world.db, dispatch_id, world.now)
    assert first.vens[0].baseline_note == AdjustmentStatus.NONE.value
    await take_all(world, {END + n * HOUR: 3.0 for n in range(1, 100)})
    assert (await evaluation.evaluate(world.db, dispatch_id, world.now)).version == first.version
    await take_all(world, {START + HOUR / 2: 3.0})
    assert (await evaluation.evaluate(world.db, dispatch_id, world.now)).version == first.version + 1


async def test_who_compares_no_temperatures_is_not_looked_at_again(world):
    ven, wish, warm = await home_that_follows_the_weather(world, days=20)
    dispatch_id = await called(world, ven, wish, "10of10", 300.0, 300.0)
    world.later(minutes=10)
    first = await look(world, dispatch_id)
    before = await due(world, dispatch_id)
    await take_all(world, warm)
    assert await due(world, dispatch_id) == before > world.now
    again = await evaluation.evaluate(world.db, dispatch_id, world.now)
    assert again.version == first.version, "and nothing of them is in its hash"


async def test_forecasts_alone_disturb_no_result(world):
    ven, wish, _ = await home_that_follows_the_weather(world, days=20)
    dispatch_id = await called(world, ven, wish, "time-of-week-temperature", 300.0, 300.0)
    world.later(minutes=10)
    await look(world, dispatch_id)
    before = await due(world, dispatch_id)
    await take_all(world, {END + n * HOUR: 3.0 for n in range(8, 24 * 10)})
    assert await due(world, dispatch_id) == before


async def test_presets_that_compare_temperatures_are_compared_with_them(world):
    ven, _, warm = await home_that_follows_the_weather(world)
    await metered_ven(world, 3)
    game = await world.programme(ven)
    hours = Hours(NOON.replace(hour=17).time(), Duration.of(hours=1))
    assert hours.days is DayType.WEEKDAY
    found = await baseline_comparison.compare(world.db, game.id, hours, world.now)
    assert [found.presets[name].days for name in COLD] == [0] * len(COLD)
    await take_all(world, {at: celsius for at, celsius in warm.items() if at > NOON - 5 * DAY})
    few = await baseline_comparison.compare(world.db, game.id, hours, world.now)
    assert [few.presets[name].days for name in COLD] == [0] * len(COLD), "on most days there are none"
    assert few.presets["10of10"] == found.presets["10of10"]
    await take_all(world, warm)
    found = await baseline_comparison.compare(world.db, game.id, hours, world.now)
    assert {one.days for _, one in found.ranked() if one.is_known} == {found.presets["10of10"].days}
    assert found.ranked()[0][0] == "time-of-week-temperature"
    assert found.presets["weather-5"].pool_rmse < found.presets["10of10-unadjusted"].pool_rmse / 3
