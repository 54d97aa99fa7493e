"""What was nominated for a programme's VENs, as the baseline of those that are called."""

from datetime import timedelta

import numpy as np
import pytest

from core.spans import Duration, Span
from metrics import PRESETS
from openadr.model.report import ReportRequest
from support.metered import HALF, send
from support.vtn_world import NOON, power, usage
from vtn.services import evaluation, evaluation_view, nominated, report

START, END = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
EVENT = Span(START, END)


async def steady_ven(world, wh, *, days=20):
    """Return a VEN that has used so much in every half hour for days, and its request."""
    ven = await world.ven()
    await ven.offer(usage("meter"))
    wish = ReportRequest(f"w-{ven.ven_id}", "usage", ("meter",), HALF, HALF, NOON, Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    await send(ven, wish, NOON - timedelta(days=days), *[wh] * (48 * days))
    return ven, wish


async def nominate(world, rules, powers, source="contract", step_s=3600):
    async with world.tx() as tx:
        await nominated.put(tx, rules.id, source, START.date().isoformat(), step_s, powers, world.now)


async def share(world, rules, event=EVENT):
    async with world.db.read() as conn:
        return await nominated.on_top(conn, rules, PRESETS["nominated"], event, None)


async def portfolio(world, *more):
    """Return two VENs of 400 and 600 W, of which nothing is known but that, and their programme."""
    pair = [await steady_ven(world, 200.0), await steady_ven(world, 300.0)]
    rules = await world.programme(*(ven for ven, _ in pair), *more, baseline="nominated", settlement_interval=HALF)
    return pair, rules


async def test_the_nomination_is_shared_out_among_those_who_take_part(any_world):
    """1,400 W nominated, 1,000 W usual: 200 W more for each of two. One of 400 W uses 60: 270 Wh in half an hour."""
    pair, rules = await portfolio(any_world)
    (ven, wish), _ = pair
    await nominate(any_world, rules, [1400] * 24)
    dispatch_id = await any_world.dispatch(ven, under=rules, signals=(power(-200.0, each=HALF),))
    await ven.opt((await ven.events())[0])
    any_world.clock.advance(to=END)
    await send(ven, wish, NOON, 200.0, 200.0, 30.0, 30.0)
    (row,) = (await evaluation.evaluate(any_world.db, dispatch_id, any_world.now)).vens
    assert [one.baseline_w for one in row.intervals] == [pytest.approx(600.0)]
    assert row.delivered_wh == pytest.approx(270.0)
    async with any_world.db.read() as conn:
        how = await evaluation_view.workings(conn, dispatch_id, ven.ven_id)
    assert (how.why_not, how.rule) == (None, "nominated/1")


async def test_without_a_nomination_there_is_no_result_and_it_says_so(world):
    pair, rules = await portfolio(world)
    (ven, wish), _ = pair
    dispatch_id = await world.dispatch(ven, under=rules, signals=(power(-200.0, each=HALF),))
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, 200.0, 200.0, 30.0, 30.0)
    found = await evaluation.evaluate(world.db, dispatch_id, world.now)
    assert found.delivered_wh is None
    assert found.why_unknown == "Not known of 1 of 1 VENs called: 1 lacks a nomination of its BRP."
    assert "BRP nominated" in found.vens[0].why_unknown
    await nominate(world, rules, [1400] * 24)
    assert (await evaluation.evaluate(world.db, dispatch_id, world.now)).version == 2


async def test_steps_of_any_length_are_laid_into_the_settlement_intervals(world):
    """Quarters of 0, 800, 1,600 and 2,400 W: half hours of 200 and 1,000 Wh, of which 250 Wh a VEN are usual."""
    _, rules = await portfolio(world)
    await nominate(world, rules, [0, 800, 1600, 2400] * 24, step_s=900)
    found = await share(world, rules)
    starts = int(START.timestamp()) + 1800 * np.arange(2)
    np.testing.assert_allclose(found.at(starts), [200 / 2 - 250, 1000 / 2 - 250])


async def test_who_has_no_usual_load_takes_its_part_of_the_nomination_all_the_same(world):
    """Three take part, two are known: 250 Wh on average. A third of 750 Wh is 250: nothing is on top."""
    new = await world.ven()
    _, rules = await portfolio(world, new)
    await nominate(world, rules, [1500] * 24)
    np.testing.assert_allclose((await share(world, rules)).energy_wh, 0.0, atol=1e-9)


async def test_several_who_nominate_the_same_vens_nominate_nothing(world):
    _, rules = await portfolio(world)
    await nominate(world, rules, [1400] * 24)
    assert await share(world, rules) is not None
    await nominate(world, rules, [1500] * 24, source="another contract")
    assert await share(world, rules) is None


async def test_the_last_word_of_a_source_counts(world):
    _, rules = await portfolio(world)
    for powers in ([9000] * 24, [1000] * 24):
        await nominate(world, rules, powers)
    np.testing.assert_allclose((await share(world, rules)).energy_wh, 0.0, atol=1e-9)


async def test_nobody_known_is_nobody_to_share_it_out_among(world):
    new = await world.ven()
    rules = await world.programme(new, baseline="nominated", settlement_interval=HALF)
    await nominate(world, rules, [1400] * 24)
    assert await share(world, rules) is None
    other = await world.programme(baseline="nominated")
    assert await share(world, other) is None


async def test_beyond_the_day_nothing_is_nominated(world):
    _, rules = await portfolio(world)
    await nominate(world, rules, [1400] * 24)
    midnight = START.replace(hour=0) + timedelta(days=1)
    found = await share(world, rules, Span(midnight - timedelta(hours=1), midnight + timedelta(hours=1)))
    edges = int(midnight.timestamp()) + np.array([-1800, 0])
    assert np.isfinite(found.at(edges)).tolist() == [True, False]
