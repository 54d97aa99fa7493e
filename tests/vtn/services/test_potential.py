"""Flexibility potential as it comes in: what is in force, what was, and what is refused."""

import math
from datetime import timedelta

import pytest

from core.direction import Direction
from core.spans import Duration
from openadr.model.potential import REPORT_NAME, Quantile, describe, describe_nominal, r_id
from openadr.model.report import (
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ResourceStatus,
    SamplingRate,
)
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, ItemBase, PowerAttributes
from openadr.v20b.codes import Code
from support.vtn_world import HOUR, MINUTE, NOON, usage
from vtn.services import potential as potentials
from vtn.services.potential import Figures
from vtn.services.settings import VtnSettings, WantedReport

HALF_HOUR = Duration.of(minutes=30)
RATE = SamplingRate(MINUTE, HOUR, on_change=True)
NOON_S = int(NOON.timestamp())
P10, P50, P90 = Quantile


@pytest.fixture
def settings():
    wanted = (WantedReport(REPORT_NAME, HALF_HOUR, HALF_HOUR), WantedReport("TELEMETRY_USAGE", MINUTE, HOUR))
    return VtnSettings("vtn", wanted_reports=wanted)


def offer(*resources, directions=(Direction.REDUCE,), more=()):
    lines = [line for name in resources for way in directions for line in describe(name, way, RATE)]
    lines += [describe_nominal(name, RATE) for name in resources]
    return ReportOffer("ahead", REPORT_NAME, Duration.of(days=1), (*lines, *more), NOON)


def told(request, *rows, at=NOON, start=None, step=HALF_HOUR, name=REPORT_NAME):
    """Return a report; each row is rID -> value in one interval."""
    begin, intervals = start or at, []
    for row in rows:
        payloads = tuple(
            ReportPayload(key, *(value if isinstance(value, tuple) else (value,))) for key, value in row.items()
        )
        intervals.append(ReportInterval(payloads, begin, step))
        begin = step.after(begin)
    return Report(request.request_id, "ahead", name, at, tuple(intervals), intervals[0].start)


def spread(resource, low, mid, high, direction=Direction.REDUCE):
    return {r_id(resource, direction, name): value for name, value in zip(Quantile, (low, mid, high), strict=True)}


async def asked(world, *resources, **more):
    ven = await world.ven()
    (request,) = await ven.offer(offer(*resources or ("home",), **more))
    return ven, request


async def force(world, ven):
    async with world.db.read() as conn:
        return (await potentials.latest(conn, [ven.ven_id], world.now)).get(ven.ven_id, [])


async def past(world, ven, **more):
    async with world.db.read() as conn:
        span = NOON - timedelta(days=1), NOON + timedelta(days=9)
        return await potentials.history(conn, ven.ven_id, *span, **more)


async def test_the_vtn_asks_for_it_and_keeps_what_it_hears(any_world):
    ven, request = await asked(any_world)
    assert request.specifier_id == "ahead"
    assert (request.granularity, request.report_back) == (HALF_HOUR, HALF_HOUR)
    answer = await ven.report(
        told(request, spread("home", 800, 1600, 2000) | {"home/nominal": 2400}, spread("home", 0, 1.5, 2))
    )
    assert answer.response.ok
    (one,) = await force(any_world, ven)
    assert one.figures == Figures("home", "reduce", NOON_S, 1800, (800, 0), (1600, 1.5), (2000, 2))
    assert (one.source, one.issued_at, one.superseded_at) == ("ven", NOON, None)
    assert [(row.resource_id, row.nominal_w) for row in await any_world.rows("resource")] == [("home", 2400)]
    assert await any_world.rows("chunk") == []
    state = [row.state for row in await any_world.rows("report_request")]
    assert state == ["active"]


async def test_of_old_history_what_was_in_force_at_a_midnight_stays(any_world):
    ven, request = await asked(any_world)
    thinning = potentials.Thinning(any_world.db, timedelta(days=7))
    for _ in range(40):  # noon of one day to two o'clock of the third
        await ven.report(told(request, spread("home", 0, 100, 200), at=any_world.now))
        any_world.later(hours=1)
    issued = [one.issued_at for one in await past(any_world, ven)]
    assert await thinning.turn(any_world.now) == 0  # all of it is new
    any_world.later(days=6, hours=8)  # noon of the ninth day: what was replaced by noon of the second is old
    assert await thinning.turn(any_world.now) == 22
    left = [one.issued_at for one in await past(any_world, ven)]
    assert left == [at for at in issued if at == NOON + timedelta(hours=11) or at >= NOON + timedelta(hours=23)]
    assert await thinning.turn(any_world.now) == 0
    any_world.later(days=30)
    assert await thinning.turn(any_world.now) > 0
    again = potentials.Thinning(any_world.db, timedelta(days=7))  # the process was started anew
    assert await again.turn(any_world.now) == 0
    assert [one.issued_at - NOON for one in await past(any_world, ven)] == [timedelta(hours=h) for h in (39, 35, 11)]
    assert [one.superseded_at for one in await force(any_world, ven)] == [None]


async def test_the_newest_is_in_force_and_the_older_stay(any_world):
    ven, request = await asked(any_world, directions=tuple(Direction))
    for hour in range(3):
        rows = spread("home", 0, 100 * hour, 999) | spread("home", 0, 7, 7, Direction.INCREASE)
        await ven.report(told(request, rows, at=any_world.now))
        any_world.later(hours=1)
    reduce, increase = sorted(await force(any_world, ven), key=lambda one: one.figures.direction, reverse=True)
    assert reduce.figures.p50_w == (200,)
    assert increase.figures.p50_w == (7,)
    history = [one for one in await past(any_world, ven) if one.figures.direction == "reduce"]
    assert [one.figures.p50_w for one in history] == [(200,), (100,), (0,)]
    assert [one.superseded_at is None for one in history] == [True, False, False]
    page = await past(any_world, ven, limit=2)
    assert [one.id for one in await past(any_world, ven, before=page[-1].id)] == [
        one.id for one in (await past(any_world, ven))[2:]
    ]


async def test_the_same_report_again_changes_nothing(any_world):
    ven, request = await asked(any_world)
    report = told(request, spread("home", 1, 2, 3))
    await ven.report(report)
    before = await any_world.rows("potential")
    any_world.later(minutes=2)
    assert (await ven.report(report)).response.ok
    assert await any_world.rows("potential") == before


async def test_a_late_report_does_not_replace_a_newer_one(world):
    ven, request = await asked(world)
    world.later(hours=1)
    await ven.report(told(request, spread("home", 1, 2, 3), at=world.now))
    await ven.report(told(request, spread("home", 7, 8, 9), at=NOON))
    (one,) = await force(world, ven)
    assert one.figures.p50_w == (2,)
    assert len(await past(world, ven)) == 2


async def test_a_time_from_the_future_is_no_advantage(world):
    ven, request = await asked(world)
    await ven.report(told(request, spread("home", 1, 2, 3), at=NOON + timedelta(days=400), start=NOON))
    (one,) = await force(world, ven)
    assert one.issued_at == NOON
    world.later(minutes=1)
    await ven.report(told(request, spread("home", 7, 8, 9), at=world.now))
    (one,) = await force(world, ven)
    assert one.figures.p50_w == (8,)


async def test_it_grows_stale(world):
    ven, request = await asked(world)
    await ven.report(told(request, *[spread("home", 1, 2, 3)] * 48))
    (one,) = await force(world, ven)
    assert one.age_s(NOON + timedelta(hours=1)) == 3600
    assert not one.is_stale(NOON + timedelta(hours=2))
    assert one.is_stale(NOON + timedelta(hours=2, seconds=1))
    await ven.report(told(request, spread("home", 1, 2, 3), at=NOON + timedelta(seconds=1)))
    (short,) = await force(world, ven)
    assert not short.is_stale(NOON)
    assert short.is_stale(NOON + timedelta(minutes=31))
    assert short.figures.covers(NOON_S + 1, NOON_S + 1800)
    assert not short.figures.covers(NOON_S + 1, NOON_S + 1802)


async def test_a_resource_that_is_not_spoken_of_any_more_fades(world):
    ven, request = await asked(world, "a", "b")
    both = spread("a", 1, 2, 3) | spread("b", 4, 5, 6)
    await ven.report(told(request, *[both] * 48))
    world.later(hours=1)
    await ven.report(told(request, *[spread("a", 1, 2, 3)] * 48, at=world.now))
    assert [one.figures.resource_id for one in await force(world, ven)] == ["a", "b"]
    world.later(hours=1.5)
    await ven.report(told(request, *[spread("a", 1, 2, 3)] * 48, at=world.now))
    assert [one.figures.resource_id for one in await force(world, ven)] == ["a"]


async def test_its_own_word_supersedes_what_was_derived(any_world):
    ven, request = await asked(any_world)
    for power in (5.0, 6.0, 6.0):
        async with any_world.tx() as tx:
            figures = Figures("", "reduce", NOON_S, 1800, (0.0,), (power,), (power,))
            await potentials.derived(tx, ven.ven_id, [figures], any_world.now)
    (one,) = await force(any_world, ven)
    assert (one.source, one.figures.p50_w) == ("history", (6.0,))
    any_world.later(minutes=1)
    await ven.report(told(request, spread("home", 1, 2, 3), at=any_world.now))
    (one,) = await force(any_world, ven)
    assert one.source == "ven"


async def test_what_is_missing_is_filled_in_carefully(world):
    ven, request = await asked(world)
    bad = (500.0, "Quality Bad - Non Specific")
    await ven.report(told(request, {"home/reduce/p50": 100}, {"home/reduce/p50": bad}, {"home/reduce/p90": 50}))
    (one,) = await force(world, ven)
    assert one.figures.p10_w == one.figures.p50_w == one.figures.p90_w == (100, 0, 50)
    await ven.report(told(request, spread("home", 9, 3, 1), {"home/reduce/p10": math.nan}))
    (one,) = await force(world, ven)
    assert (one.figures.p10_w, one.figures.p50_w, one.figures.p90_w) == ((1, 0), (3, 0), (9, 0))


async def test_holes_offer_nothing(world):
    ven, request = await asked(world)
    report = told(request, *[spread("home", 1, 1, 1)] * 4)
    holed = Report(**{name: getattr(report, name) for name in report.__slots__} | {
        "intervals": (report.intervals[0], report.intervals[3])})  # fmt: skip
    await ven.report(holed)
    (one,) = await force(world, ven)
    assert one.figures.p50_w == (1, 0, 0, 1)


async def test_kilowatts_are_watts(world):
    unit = ItemBase("powerReal", "RealPower", "W", "k", PowerAttributes())
    foreign = ReportDescription(
        "load", "upRegulationCapacityAvailable", "Projected", Target(), Target(), unit, sampling=RATE
    )
    ven = await world.ven()
    (request,) = await ven.offer(ReportOffer("ahead", REPORT_NAME, HOUR, (foreign,), NOON))
    await ven.report(told(request, {"load": 1.5}))
    (one,) = await force(world, ven)
    assert (one.figures.resource_id, one.figures.p50_w) == ("", (1500,))


async def test_bad_reports_are_refused_whole(any_world):
    other = ReportDescription("home/usage", "usage", "Direct Read", Target(), Target(), ENERGY_REAL_WH, sampling=RATE)
    ven, request = await asked(any_world, more=(other,))
    assert "home/usage" not in request.r_ids
    good = spread("home", 1, 2, 3)
    uneven = told(request, good, good)
    uneven = Report(**{name: getattr(uneven, name) for name in uneven.__slots__} | {
        "intervals": (uneven.intervals[0], ReportInterval(uneven.intervals[1].payloads, NOON + timedelta(minutes=45), HALF_HOUR))})  # noqa: E501  # fmt: skip
    instant = told(request, good)
    instant = Report(**{name: getattr(instant, name) for name in instant.__slots__} | {
        "intervals": (ReportInterval(instant.intervals[0].payloads, NOON),)})  # fmt: skip
    far = told(request, good, good)
    far = Report(**{name: getattr(far, name) for name in far.__slots__} | {
        "intervals": (far.intervals[0], ReportInterval(far.intervals[1].payloads, NOON + timedelta(days=90), HALF_HOUR))})  # noqa: E501  # fmt: skip
    refused = [
        (told(request, good, good | {"home/other": 1.0}), Code.INVALID_ID),
        (told(request, good, {"home/reduce/p50": -1.0}), Code.INVALID_DATA),
        (told(request, good, {"home/reduce/p50": 1e12}), Code.INVALID_DATA),
        (told(request, good, {"home/usage": 1.0}), Code.INVALID_DATA),
        (
            told(request, good, {"home/reduce/p50": ResourceStatus(online=True, manual_override=False)}),
            Code.INVALID_DATA,
        ),
        (uneven, Code.COMPLIANCE),
        (instant, Code.COMPLIANCE),
        (far, Code.INVALID_DATA),
    ]
    for report, code in refused:
        answer = await ven.report(report)
        assert answer.response.code == code, answer.response
        assert await any_world.rows("potential") == []


async def test_a_potential_without_direction_is_not_asked_for(world):
    ven = await world.ven()
    odd = ReportDescription("x", "demand", "Projected", Target(), Target(), sampling=RATE)
    asked_for = await ven.offer(ReportOffer("ahead", REPORT_NAME, HOUR, (odd,), NOON), usage("meter"))
    assert [one.specifier_id for one in asked_for] == ["usage"]


async def test_gn05_a_potential_of_months_lies_on_the_days_in_them(world):
    ven, request = await asked(world)
    rows = [spread("home", *(100.0 * month + add for add in (0, 10, 20))) for month in (1, 2, 3)]
    assert (await ven.report(told(request, *rows, step=Duration(1, 0)))).response.code == 200
    (only,) = await force(world, ven)
    assert (only.figures.start_s, only.figures.step_s) == (NOON_S, 86_400)
    assert only.figures.p50_w == (110.0,) * 31 + (210.0,) * 28 + (310.0,) * 31


async def test_gn05_a_potential_of_five_months_in_one_interval(world):
    ven, request = await asked(world)
    assert (await ven.report(told(request, spread("home", 1.0, 2.0, 3.0), step=Duration(5, 0)))).response.code == 200
    (only,) = await force(world, ven)
    assert (only.figures.step_s, only.figures.p50_w) == (151 * 86_400, (2.0,))
