"""What a dispatch brought, against an independent computation (vtn.services.evaluation)."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration
from metrics import gaming
from openadr.model.event import ResponseRequired
from openadr.model.opt import OptType
from openadr.model.report import ReportRequest
from openadr.model.signal import Signal
from openadr.model.units import currency_per_kwh
from support.metered import HALF, metered_ven, send
from support.vtn_world import NOON, data, intervals, power, simple, usage
from vtn.services import dispatch, evaluation, evaluation_view, report
from vtn.services.evaluation_result import Result
from vtn.services.programme import Spread
from vtn.store.rows import from_json

START = NOON + timedelta(hours=1)
END = START + timedelta(hours=1)
RULES = {"baseline": "high5of10", "settlement_interval": HALF}
"""The preset that tells most about days: it keeps some and leaves some."""


async def evaluate(world, dispatch_id):
    return await evaluation.evaluate(world.db, dispatch_id, world.now)


def high_5_of_10(wh, start=START, slots=2):
    """Return the baseline (Wh per half hour), computed naively for a weekday event and one notified in time."""
    half, day = timedelta(minutes=30), timedelta(days=1)
    earlier = [start - n * day for n in range(1, 40) if (start - n * day).isoweekday() <= 5]
    earlier = [one for one in earlier if one - timedelta(hours=3) in wh][:10]
    event = {one: np.array([wh[one + n * half] for n in range(slots)]) for one in earlier}
    kept = sorted(earlier, key=lambda one: event[one].sum(), reverse=True)[:5]
    window = [n * half for n in range(-6, -2)]
    usual = np.mean([wh[one + step] for one in kept for step in window])
    today = np.mean([wh[start + step] for step in window])
    return np.mean([event[one] for one in kept], axis=0) * np.clip(today / usual, 0.8, 1.2), kept


async def story(world, *, own=None):
    """Run an event of an hour: one VEN in, one out, one silent; return the VENs, their readings and the dispatch."""
    vens = [await metered_ven(world, seed) for seed in (1, 2, 3)]
    values = {vens[0][0].ven_id: {"ld": own}} if own else {}
    dispatch_id = await world.dispatch(
        *(ven for ven, _, _ in vens), signals=(power(-200.0, -400.0, each=HALF),), own_values=values, rules=RULES
    )
    stays, leaves, _ = (ven for ven, _, _ in vens)
    world.later(seconds=90)
    await stays.opt((await stays.events())[0])
    await leaves.opt((await leaves.events())[0], OptType.OUT)
    world.clock.advance(to=END)
    for ven, wish, wh in vens:
        fresh = {NOON + n * timedelta(minutes=30): float(100 + n) for n in range(4)}
        wh.update(fresh)
        await send(ven, wish, NOON, *fresh.values())
    return vens, dispatch_id


async def test_an_evaluation_equals_an_independent_computation(any_world):
    world = any_world
    vens, dispatch_id = await story(world)
    result = await evaluate(world, dispatch_id)
    by_ven = {one.ven_id: one for one in result.vens}
    for ven, _, wh in vens:
        expected, kept = high_5_of_10(wh)
        actual = np.array([wh[START], wh[START + timedelta(minutes=30)]])
        got = by_ven[ven.ven_id]
        np.testing.assert_allclose([one.baseline_w for one in got.intervals], expected * 2)
        np.testing.assert_allclose([one.actual_w for one in got.intervals], actual * 2)
        np.testing.assert_allclose([one.delivered_w for one in got.intervals], (expected - actual) * 2)
        assert [one.target_w for one in got.intervals] == [200, 400]
        assert sorted(got.days_used) == sorted(one.date().isoformat() for one in kept)
        assert got.ordered_wh == 300
        np.testing.assert_allclose(got.performance_ratio, (expected - actual).sum() / 300)


async def test_sums_equal_their_intervals_and_vens(world):
    vens, dispatch_id = await story(world)
    result = await evaluate(world, dispatch_id)
    expected, _ = high_5_of_10(vens[0][2])
    actual = [vens[0][2][START], vens[0][2][START + timedelta(minutes=30)]]
    delivered = (expected - actual).sum()
    np.testing.assert_allclose(result.delivered_wh, delivered)
    np.testing.assert_allclose(sum(one.delivered_wh for one in result.vens), delivered)
    np.testing.assert_allclose(sum(one.delivered_w / 2 for one in result.intervals), delivered)
    assert [one.target_w for one in result.intervals] == [600, 1200]
    assert [one.start for one in result.intervals] == [START, START + timedelta(minutes=30)]
    assert result.ordered_wh == sum(one.ordered_wh for one in result.vens) == 900
    np.testing.assert_allclose(result.performance_ratio, delivered / 900)


async def test_opt_out_and_no_answer_figures(world):
    vens, dispatch_id = await story(world)
    result = await evaluate(world, dispatch_id)
    assert (result.called, result.opted_in, result.opted_out, result.no_answer) == (3, 1, 1, 1)
    np.testing.assert_allclose(
        [result.participation_rate, result.opt_out_rate, result.response_rate], [1 / 3, 1 / 3, 2 / 3]
    )
    assert (result.latency_p50_s, result.latency_p95_s) == (90, 90)
    figures = {one.ven_id: (one.opt, one.counts, one.delivered_wh > 0, one.latency_s) for one in result.vens}
    stays, leaves, silent = (ven.ven_id for ven, _, _ in vens)
    assert figures == {
        stays: ("optIn", True, True, 90),
        leaves: ("optOut", False, False, 90),
        silent: (None, False, False, None),
    }


async def test_the_interval_of_the_programme_counts(world):
    """What is shed in a quarter in which nothing was ordered is not delivered in the one before."""
    quarter, step = Duration.of(minutes=15), timedelta(minutes=15)
    results, homes = [], []
    for number, length in enumerate((quarter, HALF)):
        ven = await world.ven()
        await ven.offer(usage("meter"))
        wish = ReportRequest(f"w{number}", "usage", ("meter",), quarter, quarter, NOON, Duration())
        async with world.tx() as tx:
            await report.request(tx, ven.ven_id, wish, world.now, who="test")
        await ven.drain()
        first = NOON - timedelta(days=20)
        sent = data(wish, first, *[250.0] * 4 * 24 * 20, step=quarter)
        assert (await ven.report(sent)).response.code == 200
        homes.append((ven, wish))
        rules = {"baseline": "10of10-unadjusted", "settlement_interval": length}
        order = power(-500.0, 0.0, -500.0, 0.0, each=quarter)
        results.append(await world.dispatch(ven, signals=(order,), rules=rules))
        await ven.opt((await ven.events())[-1])
    world.clock.advance(to=END)
    for ven, wish in homes:
        await ven.report(data(wish, NOON, *[250.0] * 4, 250.0, 125.0, 250.0, 125.0, step=quarter))
    by_quarter, by_half = [await evaluate(world, one) for one in results]
    assert [(one.start, one.duration_s) for one in by_quarter.intervals] == [(START + n * step, 900) for n in range(4)]
    assert [one.target_w for one in by_quarter.intervals] == [500, 0, 500, 0]
    assert [one.delivered_w for one in by_quarter.intervals] == [0, 0, 0, 0]
    assert [one.actual_w for one in by_quarter.vens[0].intervals] == [1000, 500, 1000, 500]
    used = [(one.baseline_w, one.actual_w) for one in by_quarter.intervals]
    assert used == [(1000, 1000), (None, None)] * 2, "of those that were to deliver"
    assert (by_quarter.delivered_wh, by_quarter.performance_ratio, by_quarter.capped_ratio) == (0, 0, 0)
    assert (by_quarter.interval_s, by_half.interval_s) == (900, 1800)
    assert [(one.target_w, one.delivered_w) for one in by_half.intervals] == [(250, 250), (250, 250)]


async def test_a_vens_own_values_are_its_order(world):
    vens, dispatch_id = await story(world, own=[-1000.0, 0.0])
    result = await evaluate(world, dispatch_id)
    assert {one.ven_id: one.ordered_wh for one in result.vens} == {
        vens[0][0].ven_id: 500,
        vens[1][0].ven_id: 300,
        vens[2][0].ven_id: 300,
    }
    assert [one.target_w for one in result.intervals] == [1400, 800]
    assert [one.target_w for one in result.vens[0].intervals] == [1000, 0]


PLAIN = {"baseline": "10of10-unadjusted", "settlement_interval": HALF}


async def steady_ven(world, wh, *, days=20):
    """Return a VEN that has used so much in every half hour for days, and its request."""
    ven = await world.ven()
    await ven.offer(usage("meter"))
    wish = ReportRequest("w", "usage", ("meter",), HALF, HALF, NOON, Duration())
    wish = replace(wish, request_id=f"w-{ven.ven_id}")
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    await send(ven, wish, NOON - timedelta(days=days), *[wh] * (48 * days))
    return ven, wish


async def test_a_gap_costs_its_interval_only(world):
    homes = [await steady_ven(world, 1000.0) for _ in range(4)]
    signals = (power(*[-1500.0] * 3, each=HALF),)
    dispatch_id = await world.dispatch(*(ven for ven, _ in homes), signals=signals, rules=PLAIN)
    for ven, _ in homes:
        await ven.opt((await ven.events())[0])
    world.clock.advance(to=START + 3 * timedelta(minutes=30))
    for place, (ven, wish) in enumerate(homes):
        for half in range(3):
            if half != place % 3:
                await send(ven, wish, START + half * timedelta(minutes=30), 250.0)
    result = await evaluate(world, dispatch_id)
    assert (result.delivered_wh, result.unknown, result.called) == (6000, 0, 4)
    np.testing.assert_allclose(result.coverage, 8 / 12)
    np.testing.assert_allclose([one.coverage for one in result.intervals], [2 / 4, 3 / 4, 3 / 4])
    assert [one.delivered_w for one in result.intervals] == [3000, 4500, 4500]
    assert [one.actual_w for one in result.intervals] == [1000, 1500, 1500]
    assert [one.delivered_w for one in result.vens[0].intervals] == [None, 1500, 1500]
    np.testing.assert_allclose([one.coverage for one in result.vens], [2 / 3] * 4)
    assert result.performance_ratio == 6000 / 9000
    assert result.why_unknown == "4 of 12 intervals of the VENs that count are not known, and earn nothing."


async def test_where_nobody_takes_part_nothing_is_delivered_and_no_consumption_is_summed(world):
    ven, _ = home = await steady_ven(world, 1000.0)
    dispatch_id = await world.dispatch(ven, rules=PLAIN)
    await ven.opt((await ven.events())[0], OptType.OUT)
    world.clock.advance(to=END)
    await send(*home, START, 500.0, 500.0)
    result = await evaluate(world, dispatch_id)
    assert (result.delivered_wh, result.coverage) == (0, None)
    assert [(one.baseline_w, one.actual_w, one.delivered_w) for one in result.intervals] == [(None, None, 0.0)] * 2


async def test_coverage_is_that_of_the_vens_in_the_sum(world):
    homes = [await steady_ven(world, 1000.0) for _ in range(3)]
    dispatch_id = await world.dispatch(*(ven for ven, _ in homes), rules=PLAIN)
    await homes[0][0].opt((await homes[0][0].events())[0])
    await homes[1][0].opt((await homes[1][0].events())[0], OptType.OUT)
    world.clock.advance(to=END)
    await send(*homes[0], START, 500.0)
    await send(*homes[1], START, 500.0, 500.0)
    await send(*homes[2], START, 500.0, 500.0)
    result = await evaluate(world, dispatch_id)
    assert (result.delivered_wh, result.coverage) == (500, 0.5), "one opted out, one never answered"
    assert [one.coverage for one in result.intervals] == [1, 0]
    assert [one.delivered_w for one in result.intervals] == [1000, None]


async def test_an_interval_without_an_order_earns_nothing(world):
    """A reserve home that is called at minute 31 has had low consumption before: that was nobody's order."""
    ven, wish = await steady_ven(world, 1500.0)
    dispatch_id = await world.dispatch(
        ven, signals=(power(*[0.0] * 31, *[-2000.0] * 29, each=Duration.of(minutes=1)),), rules=PLAIN
    )
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, START, 500.0, 500.0)
    result = await evaluate(world, dispatch_id)
    assert [one.delivered_w for one in result.vens[0].intervals] == [0, 2000]
    assert (result.delivered_wh, result.coverage) == (1000, 1)


async def test_who_opts_out_during_the_event_keeps_what_it_delivered(any_world):
    world = any_world
    homes = [await steady_ven(world, 2000.0) for _ in range(3)]
    signals = (power(-2000.0, each=Duration.of(hours=3)),)
    dispatch_id = await world.dispatch(*(ven for ven, _ in homes), signals=signals, rules=PLAIN)
    opened = [(await ven.events())[0] for ven, _ in homes]
    for (ven, _), one in zip(homes[:2], opened[:2], strict=True):
        await ven.opt(one)
    left_at = START + timedelta(hours=2, minutes=30)
    world.clock.advance(to=left_at)
    await homes[1][0].opt(opened[1], OptType.OUT)
    await homes[2][0].opt(opened[2], OptType.OUT)
    world.clock.advance(to=START + timedelta(hours=3))
    await send(*homes[0], START, *[1000.0] * 6)
    await send(*homes[1], START, *[900.0] * 6)
    await send(*homes[2], START, *[900.0] * 6)
    result = await evaluate(world, dispatch_id)
    by_ven = {one.ven_id: one for one in result.vens}
    stays, leaves, never_in = (by_ven[ven.ven_id] for ven, _ in homes)
    assert (stays.delivered_wh, leaves.delivered_wh, result.delivered_wh) == (6000, 5500, 11_500)
    assert (leaves.counts, leaves.opt, leaves.coverage) == (True, "optOut", 1)
    assert (never_in.counts, never_in.delivered_wh) == (False, 0), "who never opted in took no part"
    assert [one.delivered_w for one in leaves.intervals] == [2200] * 5 + [0]
    assert (result.opted_in, result.opted_out, result.ordered_wh) == (1, 2, 18_000)


async def test_ratios_are_over_all_that_was_ordered(world):
    homes = [await steady_ven(world, 10_000.0) for _ in range(2)]
    own = {ven.ven_id: {"ld": [-order_w]} for (ven, _), order_w in zip(homes, (15_360.0, 5320.0), strict=True)}
    dispatch_id = await world.dispatch(*(ven for ven, _ in homes), own_values=own, rules=PLAIN)
    await homes[0][0].opt((await homes[0][0].events())[0])
    await homes[1][0].opt((await homes[1][0].events())[0], OptType.OUT)
    world.clock.advance(to=END)
    for home in homes:
        await send(*home, START, 1785.0, 1785.0)
    result = await evaluate(world, dispatch_id)
    assert (result.ordered_wh, result.delivered_wh) == (20_680, 16_430)
    np.testing.assert_allclose([result.performance_ratio, result.capped_ratio], 16_430 / 20_680)
    assert f"{result.performance_ratio:.0%}" == "79%"


@pytest.mark.parametrize(("wanted", "delivered_wh"), [(ResponseRequired.NEVER, 1200), (ResponseRequired.ALWAYS, 0)])
async def test_who_must_not_answer_and_was_called_took_part(world, wanted, delivered_wh):
    homes = [await steady_ven(world, 1000.0) for _ in range(2)]
    rules = PLAIN | {"response_required": wanted}
    dispatch_id = await world.dispatch(*(ven for ven, _ in homes), rules=rules)
    for ven, _ in homes:
        await ven.events()
    world.clock.advance(to=END)
    for home in homes:
        await send(*home, START, 700.0, 700.0)
    result = await evaluate(world, dispatch_id)
    assert result.delivered_wh == delivered_wh
    stayed = wanted is ResponseRequired.NEVER
    assert [(one.opt, one.counts) for one in result.vens] == [(None, stayed)] * 2
    assert (result.participation_rate, result.no_answer) == ((1, 0) if stayed else (0, 2))


async def test_what_cannot_be_settled_says_why(world):
    ven = await world.ven()
    line = replace(usage("meter").descriptions[0], reading_type="Estimated")
    await ven.offer(replace(usage("meter"), descriptions=(line,)))
    wish = ReportRequest("w", "usage", ("meter",), HALF, HALF, NOON, Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    await send(ven, wish, NOON - timedelta(days=20), *[250.0] * (48 * 20))
    dispatch_id = await world.dispatch(ven, rules=PLAIN)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    result = await evaluate(world, dispatch_id)
    (one,) = result.vens
    assert (one.why_unknown, one.measurable_from) == ("No data point is a usage that was read directly.", None)
    assert one.baseline_note == one.why_unknown
    assert result.why_unknown == "Not known of 1 of 1 VENs called: 1 reports nothing that can be settled."


@pytest.mark.parametrize(("spread", "delivered_wh"), [("by_order", 2000), ("evenly", 1000)])
@pytest.mark.parametrize("names_power", [True, False])
async def test_hourly_meters_are_spread_by_the_order_if_the_programme_allows_it(
    world, spread, delivered_wh, names_power
):
    hour = Duration.of(hours=1)
    ven = await world.ven()
    await ven.offer(usage("meter"))
    wish = ReportRequest("w", "usage", ("meter",), hour, hour, NOON, Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    first = NOON - timedelta(days=20)
    assert (await ven.report(data(wish, first, *[3000.0] * 480, step=hour))).response.code == 200
    order = power(-4000.0, each=HALF) if names_power else simple(1, each=HALF)
    rules = {"baseline": "10of10-unadjusted", "spread": Spread(spread)}
    dispatch_id = await world.dispatch(ven, signals=(order,), rules=rules)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=START + timedelta(minutes=30))
    before = await evaluate(world, dispatch_id)
    assert (before.delivered_wh, before.unknown) == (None, 1), "the hour is not over"
    world.later(hours=1)
    await ven.report(data(wish, NOON, 3000.0, 1000.0, step=hour))
    result = await evaluate(world, dispatch_id)
    assert result.delivered_wh == delivered_wh
    assert [one.delivered_w for one in result.intervals] == [2 * delivered_wh] * 2
    assert (result.vens[0].spread, result.spread) == (spread, 1), "it is flagged"
    await ven.report(data(wish, NOON + timedelta(hours=2), 5.0, 5.0, step=hour))
    assert (await evaluate(world, dispatch_id)).version == result.version, "what comes later makes no version"


async def test_readings_as_short_as_the_interval_are_no_matter_of_spreading(world):
    ven, wish = await steady_ven(world, 1000.0)
    dispatch_id = await world.dispatch(ven, rules=PLAIN | {"spread": Spread.BY_ORDER})
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, START, 900.0, 700.0)
    result = await evaluate(world, dispatch_id)
    assert [one.delivered_w for one in result.intervals] == [200, 600]
    assert (result.vens[0].spread, result.spread) == (None, 0)


async def test_the_same_data_is_the_same_version_and_new_data_a_new_one(world):
    vens, dispatch_id = await story(world)
    first = await evaluate(world, dispatch_id)
    world.later(hours=1)
    assert await evaluate(world, dispatch_id) == first
    ven, wish, _ = vens[0]
    await send(ven, wish, START, 50.0, 60.0)
    second = await evaluate(world, dispatch_id)
    assert (first.version, second.version) == (1, 2)
    assert second.delivered_wh > first.delivered_wh
    async with world.db.read() as conn:
        assert await evaluation.stored(conn, dispatch_id) == second
        assert await evaluation.stored(conn, dispatch_id, 1) == first
        with pytest.raises(NotFoundError):
            await evaluation.stored(conn, dispatch_id, 3)
        with pytest.raises(NotFoundError):
            await evaluation.stored(conn, "none such")
    rows = await world.rows("evaluation")
    assert [(row.version, row.method["id"]) for row in rows] == [(1, "high5of10"), (2, "high5of10")]


async def test_a_late_answer_is_a_new_version(world):
    vens, dispatch_id = await story(world)
    first = await evaluate(world, dispatch_id)
    leaves = vens[1][0]
    (row,) = await world.rows("event", ven_id=leaves.ven_id)
    await leaves.created((row.id, 0, OptType.IN, 200))
    second = await evaluate(world, dispatch_id)
    assert (second.version, second.opted_in, second.opted_out) == (first.version + 1, 2, 0)


async def test_what_is_not_known_is_no_zero_and_says_why_and_from_when(world):
    ven, _, _ = await metered_ven(world, 4)
    stranger = await world.ven()
    dispatch_id = await world.dispatch(ven, stranger, rules=RULES)
    for one in (ven, stranger):
        await one.opt((await one.events())[0])
    world.clock.advance(to=END)
    result = await evaluate(world, dispatch_id)
    by_ven = {one.ven_id: one for one in result.vens}
    assert (by_ven[ven.ven_id].counts, by_ven[ven.ven_id].delivered_wh) == (False, None)
    assert by_ven[ven.ven_id].why_unknown.startswith("Readings of the event are missing")
    assert [one.actual_w for one in by_ven[ven.ven_id].intervals] == [None, None]
    assert len(by_ven[ven.ven_id].days_used) == 5
    fresh = by_ven[stranger.ven_id]
    assert "eligible days" in fresh.baseline_note
    assert (fresh.delivered_wh, fresh.why_unknown) == (
        None,
        "high5of10 needs 5 days like this one without events before it, and there are 0.",
    )
    # The event is on Monday, 12 January: Tuesday to Monday are five weekdays without one.
    assert fresh.measurable_from == result.measurable_from == "2026-01-20"
    assert (result.delivered_wh, result.performance_ratio, result.participation_rate) == (None, None, 1)
    assert result.unknown == 2
    assert result.why_unknown == (
        "Not known of 2 of 2 VENs called: 1 lacks readings of the event, 1 has too few days for a baseline."
    )


async def test_a_method_of_the_same_day_needs_no_history(world):
    """The hour before the notice stands for the event; where hours after it count, too, those have to come first."""
    found = {}
    for seed, preset in enumerate(("meter-before", "same-day-3plus2")):
        ven, wish, wh = await metered_ven(world, seed, days=1)
        found[preset] = (
            ven,
            wish,
            wh,
            await world.dispatch(
                ven, signals=(power(-200.0, each=HALF),), rules={"baseline": preset, "settlement_interval": HALF}
            ),
        )
        await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    results = {}
    for preset, (ven, wish, _, dispatch_id) in found.items():
        await send(ven, wish, NOON, 100.0, 100.0, 30.0, 30.0)
        (results[preset],) = (await evaluate(world, dispatch_id)).vens
    before, around = results["meter-before"], results["same-day-3plus2"]
    wh = found["meter-before"][2]
    usual_w = wh[NOON - timedelta(hours=1)] + wh[NOON - timedelta(minutes=30)]
    assert [row.baseline_w for row in before.intervals] == [pytest.approx(usual_w)]
    assert before.delivered_wh == pytest.approx(usual_w / 2 - 30)
    assert before.days_used == (START.date().isoformat(),)
    assert around.delivered_wh is None
    assert "hours around the event" in around.why_unknown
    assert around.measurable_from is None


async def test_who_opted_out_delivered_nothing_and_that_is_known(world):
    stranger = await world.ven()
    dispatch_id = await world.dispatch(stranger, rules=RULES)
    await stranger.opt((await stranger.events())[0], OptType.OUT)
    world.clock.advance(to=END)
    result = await evaluate(world, dispatch_id)
    assert (result.delivered_wh, result.unknown, result.why_unknown) == (0, 0, None)


async def test_the_sum_is_of_those_that_are_known(world):
    vens, dispatch_id = await story(world)
    stranger = await world.ven()
    mixed = await world.dispatch(vens[0][0], stranger, starts_in=timedelta(hours=1), rules=RULES)
    assert (await evaluate(world, dispatch_id)).why_unknown is None
    for one in (vens[0][0], stranger):
        await one.opt((await one.events())[-1])
    world.clock.advance(to=END + timedelta(hours=2))
    await send(vens[0][0], vens[0][1], END, 1.0, 1.0, 1.0, 1.0)
    result = await evaluate(world, mixed)
    known = next(one for one in result.vens if one.ven_id == vens[0][0].ven_id)
    assert result.delivered_wh == known.delivered_wh > 0
    assert result.unknown == 1


async def test_days_with_prices_alone_are_used(world):
    """A tariff's households have a price event every day; none of their days would be left."""
    ven, wish, _ = await metered_ven(world, 5)
    day = Duration.of(hours=24)
    prices = Signal("ELECTRICITY_PRICE", "price", "price", intervals(0.3, each=day), currency_per_kwh("EUR"))
    await world.dispatch(ven, starts_in=timedelta(), signals=(prices,), direction=None, rules=RULES)
    world.later(days=1)
    await send(ven, wish, NOON, *[5000.0] * 48)
    later = await world.dispatch(ven, rules=RULES)
    world.later(hours=2)
    await send(ven, wish, NOON + timedelta(days=1), *[100.0] * 4)
    (result,) = (await evaluate(world, later)).vens
    assert NOON.date().isoformat() in result.days_used


async def test_what_comes_afterwards_makes_no_new_version(world):
    vens, dispatch_id = await story(world)
    first = await evaluate(world, dispatch_id)
    world.later(days=1)
    await world.dispatch(vens[0][0], rules=RULES)
    assert await evaluate(world, dispatch_id) == first


@pytest.mark.parametrize("cancelled", [False, True])
async def test_days_with_other_events_are_not_used(world, cancelled):
    ven, wish, _ = await metered_ven(world, 5)
    earlier = await world.dispatch(ven, rules=RULES)
    if cancelled:
        async with world.tx() as tx:
            await dispatch.cancel(tx, earlier, world.now, who="test")
    world.later(days=1)
    await send(ven, wish, NOON, *[5000.0] * 48)
    later = await world.dispatch(ven, rules=RULES)
    world.later(hours=2)
    await send(ven, wish, NOON + timedelta(days=1), *[100.0] * 4)
    (result,) = (await evaluate(world, later)).vens
    assert (NOON.date().isoformat() in result.days_used) is cancelled
    assert len(result.days_used) == 5


async def test_targets_of_short_intervals_add_up(world):
    ven, wish, _ = await metered_ven(world, 6)
    quarter = Duration.of(minutes=15)
    signals = (simple(1, each=Duration.of(minutes=45)), power(-100.0, -300.0, -500.0, each=quarter))
    dispatch_id = await world.dispatch(ven, signals=signals, duration=Duration.of(minutes=45), rules=RULES)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, 100.0, 100.0, 100.0, 100.0)
    result = await evaluate(world, dispatch_id)
    assert result.ordered_wh == 25 + 75 + 125
    assert [one.target_w for one in result.intervals] == [200, 250]


@pytest.mark.parametrize(("direction", "sign"), [("reduce", 1), ("increase", -1)])
async def test_the_direction_gives_the_sign(world, direction, sign):
    ven, wish, wh = await metered_ven(world, 7)
    signals = (power(-100.0 * sign, -100.0 * sign, each=HALF),)
    dispatch_id = await world.dispatch(ven, signals=signals, direction=direction, rules=RULES)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    wh.update({NOON + n * timedelta(minutes=30): 100.0 for n in range(4)})
    await send(ven, wish, NOON, 100.0, 100.0, 100.0, 100.0)
    result = await evaluate(world, dispatch_id)
    expected, _ = high_5_of_10(wh)
    assert result.ordered_wh == 100
    np.testing.assert_allclose(result.delivered_wh, sign * (expected - 100).sum())


async def test_an_event_that_was_cancelled_while_it_ran_counts_until_then(any_world):
    world = any_world
    ven, wish, _ = await metered_ven(world, 8)
    other, _, _ = await metered_ven(world, 9)
    dispatch_id = await world.dispatch(ven, other, signals=(power(-100.0, -300.0),), rules=RULES)
    for one in (ven, other):
        await one.opt((await one.events())[0])
    (theirs,) = await world.rows("event", ven_id=other.ven_id)
    async with world.tx() as tx:
        await dispatch.cancel_event(tx, theirs.id, world.now, who="test")
    with pytest.raises(ConflictError, match="lasts until"):
        await evaluate(world, dispatch_id)
    world.clock.advance(to=START + timedelta(minutes=90))
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="test")
    await send(ven, wish, NOON, *[100.0] * 5)
    result = await evaluate(world, dispatch_id)
    assert [one.ven_id for one in result.vens] == [ven.ven_id], "whose event never began was not called"
    assert result.ordered_wh == 100 + 150
    assert [one.target_w for one in result.intervals] == [100, 100, 300]


async def test_an_open_ended_event_has_a_result_once_it_is_cancelled(world):
    ven, wish, _ = await metered_ven(world, 10)
    dispatch_id = await world.dispatch(ven, signals=(power(-100.0, each=Duration()),), duration=Duration(), rules=RULES)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    with pytest.raises(InvalidError, match="open-ended"):
        await evaluate(world, dispatch_id)
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="test")
    await send(ven, wish, NOON, *[100.0] * 4)
    result = await evaluate(world, dispatch_id)
    assert (result.ordered_wh, len(result.intervals)) == (100, 2)


async def test_a_dispatch_that_never_began_has_no_result(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven, rules=RULES)
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="test")
    world.clock.advance(to=END)
    with pytest.raises(ConflictError, match="before it began"):
        await evaluate(world, dispatch_id)


async def test_signals_without_power_order_nothing(world):
    ven, wish, _ = await metered_ven(world, 11)
    dispatch_id = await world.dispatch(ven, signals=(simple(1),), rules=RULES)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, *[100.0] * 4)
    result = await evaluate(world, dispatch_id)
    assert (result.ordered_wh, result.performance_ratio, result.participation_rate) == (0, None, 1)
    assert result.delivered_wh != 0


async def test_an_order_that_gives_back_later_is_evaluated(world):
    ven, wish, _ = await metered_ven(world, 12)
    dispatch_id = await world.dispatch(ven, signals=(power(-500.0, 100.0, each=HALF),), rules=RULES)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, *[100.0] * 4)
    result = await evaluate(world, dispatch_id)
    assert result.ordered_wh == 200
    assert [one.target_w for one in result.intervals] == [500, -100]


async def test_an_unknown_baseline_is_refused(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven, rules={"baseline": "crystal ball"})
    world.clock.advance(to=END)
    with pytest.raises(InvalidError, match="crystal ball"):
        await evaluate(world, dispatch_id)


async def test_zones_that_are_three_quarters_off_are_settled_by_quarters(world):
    """Asia/Kathmandu is 5:45 ahead of UTC: its days begin at 18:15."""
    ven, wish = await steady_ven(world, 500.0)
    rules = {"baseline": "10of10-unadjusted", "time_zone": "Asia/Kathmandu"}
    dispatch_id = await world.dispatch(ven, signals=(power(-600.0),), rules=rules)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, START, 200.0, 200.0)
    result = await evaluate(world, dispatch_id)
    assert (result.interval_s, [one.delivered_w for one in result.intervals]) == (900, [600] * 4)


async def test_a_method_that_looks_past_the_event_waits_for_what_comes_then(world):
    ven, wish, _ = await metered_ven(world, 20)
    rules = {"baseline": "same-day-3plus2", "settlement_interval": HALF}
    dispatch_id = await world.dispatch(ven, signals=(power(-200.0, -200.0, each=HALF),), rules=rules)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, *[100.0] * 4)
    assert (await evaluate(world, dispatch_id)).delivered_wh is None
    world.clock.advance(to=END + timedelta(hours=3))
    await send(ven, wish, END, *[300.0] * 6)
    (row,) = (await evaluate(world, dispatch_id)).vens
    assert row.why_unknown is None
    assert len(row.intervals) == 2
    assert row.delivered_wh is not None


async def raised(world, *, direction="reduce", wh=3000.0):
    """Run an event before which two of three VENs use so much per half hour; one of these opts out."""
    vens = [await metered_ven(world, seed) for seed in (1, 2, 3)]
    start = NOON - timedelta(hours=2)
    for ven, wish, used in vens[:2]:
        await send(ven, wish, start, *[wh] * 4)
        used |= {start + n * timedelta(minutes=30): wh for n in range(4)}
    signal = power(-200.0 if direction == "reduce" else 200.0)
    dispatch_id = await world.dispatch(
        *(ven for ven, _, _ in vens), signals=(signal,), direction=direction, rules=RULES
    )
    for (ven, _, _), said in zip(vens, (OptType.IN, OptType.OUT, OptType.IN), strict=True):
        await ven.opt((await ven.events())[0], said)
    world.clock.advance(to=END)
    for ven, wish, _ in vens:
        await send(ven, wish, NOON, *[300.0] * 4)
    return vens, dispatch_id


def like_days_before(wh):
    """Return the mean powers (W) from 3 h to 1 h before the event on the ten like days before, computed naively."""
    days = [START - n * timedelta(days=1) for n in range(1, 30) if (START - n * timedelta(days=1)).isoweekday() <= 5]
    window = [n * timedelta(minutes=30) for n in range(-6, -2)]
    return [2 * np.mean([wh[day + step] for step in window]) for day in days[:10]]


@pytest.mark.parametrize(
    ("direction", "wh", "flag"), [("reduce", 3000.0, "raised_before"), ("increase", 5.0, "lowered_before")]
)
async def test_a_load_that_was_changed_just_before_is_flagged_of_those_that_took_part(world, direction, wh, flag):
    vens, dispatch_id = await raised(world, direction=direction, wh=wh)
    result = await evaluate(world, dispatch_id)
    by_ven = {one.ven_id: one for one in result.vens}
    odd, left, usual = (by_ven[ven.ven_id] for ven, _, _ in vens)
    assert (odd.flags, left.flags, usual.flags) == ((flag,), (), ())
    assert left.before is None, "it did not take part"
    for (_, _, used), one in zip(vens[::2], (odd, usual), strict=True):
        means = like_days_before(used)
        today = 2 * np.mean([used[START + n * timedelta(minutes=30)] for n in range(-6, -2)])
        sign = 1 if direction == "reduce" else -1
        seen = one.before
        np.testing.assert_allclose(
            (seen.actual_w, seen.usual_w, seen.sd_w, seen.excess_w, seen.z),
            (
                today,
                np.mean(means),
                np.std(means, ddof=1),
                sign * (today - np.mean(means)),
                sign * (today - np.mean(means)) / np.std(means, ddof=1),
            ),
        )
        assert (seen.days, seen.starts_at, seen.ends_at) == (10, START - timedelta(hours=3), START - timedelta(hours=1))
    async with world.db.read() as conn:
        assert await evaluation.stored(conn, dispatch_id) == result
        how = await evaluation_view.workings(conn, dispatch_id, odd.ven_id)
    assert how.before == odd.before


async def test_a_flag_changes_no_figure(world, monkeypatch):
    _, dispatch_id = await raised(world)
    async with world.db.read() as conn:
        whole = await dispatch.get(conn, dispatch_id)
    marked = (await evaluation.compute(world.db, whole.id, world.now)).result
    monkeypatch.setattr(gaming, "load_before", lambda *_args, **_more: None)
    plain = (await evaluation.compute(world.db, whole.id, world.now)).result
    assert any(one.flags for one in marked.vens)
    assert replace(marked, vens=tuple(replace(one, flags=(), before=None) for one in marked.vens)) == plain


async def test_results_of_an_earlier_edition_can_still_be_read(world):
    _, dispatch_id = await raised(world)
    result = await evaluate(world, dispatch_id)
    (row,) = await world.rows("evaluation")
    old = {**row.result, "vens": [_without(one, "flags", "before") for one in row.result["vens"]]}
    read = from_json(Result, old)
    assert all((one.flags, one.before) == ((), None) for one in read.vens)
    assert read.delivered_wh == result.delivered_wh


def _without(data, *names):
    return {name: value for name, value in data.items() if name not in names}
