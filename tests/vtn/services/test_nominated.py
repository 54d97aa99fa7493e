"""What was nominated for a programme's VENs, as the baseline of those that are called."""

from datetime import timedelta

import numpy as np
import pytest

from core.spans import Duration, Span
from metrics import PRESETS
from openadr.model.event import ActivePeriod, Event
from openadr.model.report import ReportRequest
from support.metered import HALF, send
from support.vtn_world import NOON, power, usage
from vtn.services import evaluation, evaluation_view, nominated, report
from vtn.services.dispatch import Dispatch
from vtn.services.programme import Spread

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


async def nominate(world, rules, powers, source="contract", step_s=3600, days=0):
    day = (START.date() + timedelta(days=days)).isoformat()
    async with world.tx() as tx:
        await nominated.put(tx, rules.id, source, day, next(world.numbers), step_s, powers, world.now)


async def share(world, rules, event=EVENT, ordered_at=None):
    """Return what is on top for a dispatch that was ordered then, by default now."""
    period = ActivePeriod(event.start, Duration.of(seconds=int((event.end - event.start).total_seconds())))
    whole = Event("", 0, rules.market_context, event.start, period, ())
    asked = Dispatch("dsp", rules.id, 1, whole, "reduce", ordered_at or world.now, "test", None)
    async with world.db.read() as conn:
        return await nominated.on_top(conn, rules, PRESETS["nominated"], asked)


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


async def test_without_a_nomination_in_time_it_is_the_usual_load_and_says_so(world):
    """Whoever has bought could make its own bill by nominating anew: what comes after the order changes nothing."""
    pair, rules = await portfolio(world)
    (ven, wish), _ = pair
    dispatch_id = await world.dispatch(ven, under=rules, signals=(power(-200.0, each=HALF),))
    world.later(minutes=1)
    await nominate(world, rules, [0] * 24)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, 200.0, 200.0, 30.0, 30.0)
    found = await evaluation.evaluate(world.db, dispatch_id, world.now)
    assert found.delivered_wh == pytest.approx(170.0)
    assert found.vens[0].baseline_note == "by the usual load alone: nothing was nominated in time"


async def test_what_was_said_before_the_order_counts_however_it_is_revised_later(world):
    _, rules = await portfolio(world)
    await nominate(world, rules, [1400] * 24)
    ordered_at = world.now
    world.later(minutes=1)
    await nominate(world, rules, [0] * 24)
    at = np.array([int(START.timestamp())])
    assert (await share(world, rules, ordered_at=ordered_at)).at(at) == pytest.approx(100)
    assert (await share(world, rules)).at(at) == pytest.approx(-250)
    assert await share(world, rules, ordered_at=ordered_at - timedelta(seconds=1)) is None


async def test_another_contract_s_nomination_for_the_next_day_changes_nothing(world):
    _, rules = await portfolio(world)
    late = Span(START.replace(hour=22, minute=30), START.replace(hour=23, minute=30))
    await nominate(world, rules, [1400] * 24)
    before = await share(world, rules, late)
    await nominate(world, rules, [9000] * 24, source="its successor", days=1)
    np.testing.assert_array_equal((await share(world, rules, late)).energy_wh, before.energy_wh)


async def test_an_event_of_several_days_has_what_was_nominated_for_each(world):
    _, rules = await portfolio(world)
    for days in range(4):
        await nominate(world, rules, [1000] * 24, days=days)
    found = await share(world, rules, Span(START, START + timedelta(hours=60)))
    np.testing.assert_allclose(found.energy_wh, 0.0, atol=1e-9)


async def test_readings_spread_by_the_order_reach_a_day_further(world):
    """A baseline of a part of a long reading would spread it wrongly."""
    pair = [await steady_ven(world, 200.0), await steady_ven(world, 300.0)]
    rules = await world.programme(
        *(ven for ven, _ in pair), baseline="nominated", settlement_interval=HALF, spread=Spread.BY_ORDER
    )
    for days in (-1, 0, 1):
        await nominate(world, rules, [1000] * 24, days=days)
    found = await share(world, rules)
    assert found.starts_s[0] == int((START - timedelta(days=1)).timestamp())
    assert np.isfinite(found.energy_wh).all()


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
